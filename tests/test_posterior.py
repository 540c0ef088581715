"""Exact posteriors against brute force, over small random graphs and fixed cases."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry import PROBABILISTIC, Case, describe
from scipy import stats

import latentem as lem

ROWS = 4
ROUNDING = {"rtol": 1e-9, "atol": 1e-11}


@dataclass(frozen=True)
class Plan:
    """A random graph: for each node its role, its number of states and its parents' places."""

    roles: tuple[str, ...]
    sizes: tuple[int, ...]
    parents: tuple[tuple[int, ...], ...]
    zeros: bool
    seed: int

    def build(self) -> tuple[lem.Model, dict[str, np.ndarray]]:
        """The parameterised model, and rows that are possible under it."""
        rng = np.random.default_rng(self.seed)
        nodes: list[lem.Node] = []
        for i, (role, size) in enumerate(zip(self.roles, self.sizes, strict=True)):
            given_ = [nodes[p] for p in self.parents[i]]
            shape = tuple(self.sizes[p] for p in self.parents[i])
            dist = self._distribution(role, size, shape, rng)
            declare = lem.latent if role == "latent" else lem.observed
            nodes.append(declare(f"v{i}", dist, given=given_ or None))
        data = {
            node.name: self._values(role, size, rng)
            for node, role, size in zip(nodes, self.roles, self.sizes, strict=True)
            if role != "latent"
        }
        order = rng.permutation(len(nodes))
        return lem.Model([nodes[i] for i in order]), data

    def _distribution(
        self, role: str, size: int, shape: tuple[int, ...], rng: np.random.Generator
    ) -> lem.Distribution:
        match role:
            case "normal":
                return lem.Normal(mean=rng.normal(size=shape), variance=rng.gamma(2.0, size=shape))
            case "poisson":
                return lem.Poisson(rate=rng.gamma(2.0, size=shape))
            case "bernoulli":
                return lem.Bernoulli(probs=rng.uniform(0.05, 0.95, size=shape))
        probs = rng.dirichlet(np.ones(size), size=shape)
        if self.zeros and role == "latent" and size > 2:
            probs[..., 0] = 0.0
            probs /= probs.sum(axis=-1, keepdims=True)
        return lem.Categorical(probs=probs)

    @staticmethod
    def _values(role: str, size: int, rng: np.random.Generator) -> np.ndarray:
        match role:
            case "normal":
                return rng.normal(size=ROWS)
            case "poisson":
                return rng.poisson(2.0, size=ROWS)
        return rng.integers(0, size, size=ROWS)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """One to four latents of two or three states, up to three observed nodes, in any order."""
    observed = ["categorical", "bernoulli", "normal", "poisson"]
    latents = draw(st.integers(1, 4))
    roles = ["latent"] * latents + draw(st.lists(st.sampled_from(observed), max_size=3))
    if len(roles) == latents:
        roles.append("normal")
    roles = draw(st.permutations(roles))
    sizes = [2 if role == "bernoulli" else draw(st.integers(2, 3)) for role in roles]
    discrete: list[int] = []
    parents = []
    for i, role in enumerate(roles):
        most = 2 if role == "latent" else 3
        chosen = st.lists(st.sampled_from(discrete), max_size=most, unique=True)
        parents.append(tuple(draw(chosen)) if discrete else ())
        if role in ("latent", "categorical", "bernoulli"):
            discrete.append(i)
    return Plan(
        tuple(roles), tuple(sizes), tuple(parents), draw(st.booleans()), draw(st.integers(0, 999))
    )


def _agree(model: lem.Model, data: dict[str, np.ndarray]) -> None:
    """Everything the posterior says equals the sum over all combinations of states."""
    posterior = lem.e_step(model, data)
    truth = describe(model)
    rows = oracle.rows(data)
    evidence = [truth.log_evidence(row) for row in rows]
    np.testing.assert_allclose(posterior.log_evidence, evidence, **ROUNDING)
    entropy = math.fsum(truth.entropy(row) for row in rows)
    assert posterior.entropy == pytest.approx(entropy, rel=1e-9, abs=1e-9)
    names = [node.name for node in model.latents]
    asked = [(name,) for name in names] + list(itertools.permutations(names, 2))
    if len(names) > 2:
        asked.append(tuple(names[::-1]))
    for group in asked:
        table = posterior.marginal(*group)
        assert table.shape == (len(rows), *(model[name].n_states for name in group))
        np.testing.assert_allclose(table, [truth.marginal(row, *group) for row in rows], **ROUNDING)
    _modes_agree(posterior, truth, rows)


def _modes_agree(
    posterior: lem.Posterior, truth: oracle.Oracle, rows: list[dict[str, float]]
) -> None:
    mode = posterior.mode()
    assert set(mode) == set(truth.latents)
    for i, row in enumerate(rows):
        states = {name: int(mode[name][i]) for name in truth.latents}
        best = truth.log_joint(row, truth.mode(row))
        assert truth.log_joint(row, states) == pytest.approx(best, rel=1e-9, abs=1e-9)


@given(plans())
def test_posterior_of_any_small_graph_equals_brute_force(plan: Plan) -> None:
    _agree(*plan.build())


@given(plans())
def test_log_likelihood_is_q_plus_entropy_in_any_small_graph(plan: Plan) -> None:
    model, data = plan.build()
    posterior = lem.e_step(model, data)
    q = lem.expected_log_joint(model, data, posterior)
    truth = describe(model)
    total = oracle.log_likelihood(truth, data)
    assert q.total + posterior.entropy == pytest.approx(total, rel=1e-9, abs=1e-9)
    assert lem.log_likelihood(model, data) == pytest.approx(total, rel=1e-9, abs=1e-9)
    terms = oracle.expected_log_joint(truth, data, truth)
    assert set(q.by_node) == set(terms)
    for name, term in terms.items():
        assert q.by_node[name] == pytest.approx(term, rel=1e-9, abs=1e-9)


@given(plans())
def test_log_joint_of_complete_data_is_the_sum_of_all_factors(plan: Plan) -> None:
    model, data = plan.build()
    truth = describe(model)
    states = lem.e_step(model, data).mode()
    complete = {**data, **states}
    rows = oracle.rows(data)
    expected = math.fsum(
        truth.log_joint(row, {name: int(states[name][i]) for name in truth.latents})
        for i, row in enumerate(rows)
    )
    assert lem.log_joint(model, complete) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(plans(), st.data())
def test_known_states_of_a_latent_make_it_observed(plan: Plan, choice: st.DataObject) -> None:
    model, data = plan.build()
    name = choice.draw(st.sampled_from([node.name for node in model.latents]))
    state = lem.e_step(model, data).mode()[name]
    truth = describe(model)
    posterior = lem.e_step(model, {**data, name: state})
    for i, row in enumerate(oracle.rows(data)):
        joint = truth.joint(row)
        place = list(truth.latents).index(name)
        kept = [term for z, term in joint.items() if z[place] == state[i]]
        expected = np.logaddexp.reduce(kept)
        assert posterior.log_evidence[i] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_posterior_of_every_model_equals_brute_force(case: Case) -> None:
    start = lem.initialize(case.model, case.data, seed=3)
    few = case.rows(np.arange(0, case.n, 6))
    _agree(start, few)


def test_independent_latents_stay_independent() -> None:
    # 30 latents of 4 states: the product has 4^30 cells, the largest clique has 4.
    rng = np.random.default_rng(0)
    nodes, data = [], {}
    for i in range(30):
        z = lem.latent(f"z{i}", lem.Categorical(probs=rng.dirichlet(np.ones(4))))
        dist = lem.Normal(mean=rng.normal(size=4), variance=np.ones(4))
        nodes += [z, lem.observed(f"x{i}", dist, given=z)]
        data[f"x{i}"] = rng.normal(size=5)
    model = lem.Model(nodes)
    posterior = lem.e_step(model, data)
    total = np.zeros(5)
    for i in range(30):
        pair = lem.Model(nodes[2 * i : 2 * i + 2])
        alone = lem.e_step(pair, data[f"x{i}"])
        total += alone.log_evidence
        np.testing.assert_allclose(posterior.marginal(f"z{i}"), alone.marginal(f"z{i}"), rtol=1e-12)
    np.testing.assert_allclose(posterior.log_evidence, total, rtol=1e-12)
    assert lem.cost(model, 5).largest_table == 4


def test_a_long_chain_costs_its_cliques_and_equals_forward_backward() -> None:
    rng = np.random.default_rng(1)
    length, k = 40, 3
    initial, transition = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), size=k)
    means = np.array([-1.0, 0.0, 2.0])
    nodes: list[lem.Node] = []
    previous = None
    for t in range(length):
        dist = lem.Categorical(probs=initial if previous is None else transition)
        z = lem.latent(f"z{t:02}", dist, given=previous)
        x = lem.observed(f"x{t:02}", lem.Normal(mean=means, variance=np.ones(k)), given=z)
        nodes += [z, x]
        previous = z
    model = lem.Model(nodes)
    values = rng.normal(size=(2, length))
    posterior = lem.e_step(model, {f"x{t:02}": values[:, t] for t in range(length)})
    for row in range(2):
        emission = stats.norm.pdf(values[row][:, None], means)
        forward = [initial * emission[0]]
        for t in range(1, length):
            forward.append((forward[-1] @ transition) * emission[t])
        assert posterior.log_evidence[row] == pytest.approx(math.log(forward[-1].sum()), rel=1e-10)
        backward = [np.ones(k)]
        for t in range(length - 1, 0, -1):
            backward.insert(0, transition @ (emission[t] * backward[0]))
        for t in (0, 17, length - 1):
            smoothed = forward[t] * backward[t]
            np.testing.assert_allclose(
                posterior.marginal(f"z{t:02}")[row], smoothed / smoothed.sum(), rtol=1e-9
            )
    assert lem.cost(model, 2).largest_table == k * k


def test_draws_from_the_posterior_have_its_joint_frequencies() -> None:
    model, data = _explaining_away()
    posterior = lem.e_step(model, data)
    draws = posterior.sample(4000, seed=0)
    table = posterior.marginal("a", "b")
    assert draws["a"].shape == draws["b"].shape == (4000, len(data["y"]))
    for i in range(len(data["y"])):
        count = np.zeros(table.shape[1:])
        np.add.at(count, (draws["a"][:, i], draws["b"][:, i]), 1)
        expected = 4000 * table[i]
        usual = expected > 5
        excess = np.sum((count[usual] - expected[usual]) ** 2 / expected[usual])
        assert excess < stats.chi2.isf(1e-6, max(1, usual.sum() - 1)) + 5
        assert count[expected < 1e-9].sum() == 0
    again = posterior.sample(4000, seed=0)
    assert all(np.array_equal(draws[name], again[name]) for name in draws)
    assert not np.array_equal(draws["a"], posterior.sample(4000, seed=1)["a"])


def _explaining_away() -> tuple[lem.Model, dict[str, np.ndarray]]:
    a = lem.latent("a", lem.Categorical(probs=[0.7, 0.3]))
    b = lem.latent("b", lem.Categorical(probs=[0.2, 0.5, 0.3]))
    dist = lem.Poisson(rate=[[1.0, 3.0, 9.0], [4.0, 8.0, 20.0]])
    model = lem.Model([a, b, lem.observed("y", dist, given=[a, b])])
    return model, {"y": np.array([0, 4, 9, 25])}


def test_parents_given_a_common_child_are_dependent() -> None:
    model, data = _explaining_away()
    posterior = lem.e_step(model, data)
    product = posterior.marginal("a")[:, :, None] * posterior.marginal("b")[:, None, :]
    assert np.abs(posterior.marginal("a", "b") - product).max() > 0.05
    _agree(model, data)


def test_the_most_probable_joint_state_is_not_that_of_the_marginals() -> None:
    # p(a) favours 0, but the best pair has a = 1.
    a = lem.latent("a", lem.Categorical(probs=[0.6, 0.4]))
    b = lem.latent("b", lem.Categorical(probs=[[0.5, 0.5], [1.0, 0.0]]), given=a)
    x = lem.observed("x", lem.Normal(mean=[0.0, 0.0], variance=[1.0, 1.0]), given=b)
    posterior = lem.e_step(lem.Model([a, b, x]), np.zeros(3))
    assert posterior.marginal("a").argmax(axis=1).tolist() == [0, 0, 0]
    assert posterior.mode()["a"].tolist() == [1, 1, 1]
    assert posterior.mode()["b"].tolist() == [0, 0, 0]


def test_impossible_rows_are_refused_or_have_no_evidence_but_never_nan() -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    cases = lem.Switch([lem.PointMass(0), lem.PointMass(1)])
    model = lem.Model([z, lem.observed("x", cases, given=z)])
    assert lem.e_step(model, np.array([0, 1, 1])).mode()["z"].tolist() == [0, 1, 1]
    with pytest.raises(lem.DataError, match=r"(?s)row 2.*") as error:
        lem.e_step(model, np.array([0, 1, 7]))
    assert "must" in str(error.value)


@pytest.mark.parametrize(
    "rows",
    [
        2, -1, np.int64(0), slice(1, 3), slice(None, None, -1), [3, 0, 0], np.array([-1, 1]),
        [False, True, False, True], np.zeros(4, dtype=bool), [], np.array([], dtype=int),
    ],
    ids=repr,
)  # fmt: skip
def test_a_posterior_is_cut_as_its_rows_are(rows: Any) -> None:
    model, data = _explaining_away()
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    posterior = lem.e_step(model, data, weights=weights)
    part = posterior[rows]
    index = np.atleast_1d(np.arange(4)[rows])
    assert part.n == len(index)
    np.testing.assert_array_equal(part.marginal("a", "b"), posterior.marginal("a", "b")[index])
    np.testing.assert_array_equal(part.log_evidence, posterior.log_evidence[index])
    np.testing.assert_array_equal(part.row_weights, weights[index])


def test_a_posterior_that_is_the_same_for_all_rows_is_cut_too() -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.3, 0.7]))
    model = lem.Model([z, lem.observed("x", lem.Poisson(rate=1.0))])
    posterior = lem.e_step(model, {"x": [0, 1, 2]})
    np.testing.assert_allclose(posterior[[True, False, True]].marginal("z"), [[0.3, 0.7]] * 2)
    with pytest.raises(IndexError):
        posterior[3]


@pytest.mark.parametrize(
    "rows", ["a", 1.5, None, [True, False], [0.5], [[0, 1]], True, (0, 1), {"x": 1}],
    ids=repr,
)  # fmt: skip
def test_rows_of_a_posterior_that_are_none_are_refused(rows: Any) -> None:
    posterior = lem.e_step(*_explaining_away())
    with pytest.raises(lem.ModelError, match=r"^posterior\[rows\] must be given .*, got .*\. .+"):
        posterior[rows]


@pytest.mark.parametrize("rows", [4, -5, [0, 4], np.array([-5])], ids=repr)
def test_rows_beyond_a_posterior_are_refused(rows: Any) -> None:
    posterior = lem.e_step(*_explaining_away())
    with pytest.raises(IndexError, match=r"^posterior\[rows\] must .* 4 rows, got .*\. .+"):
        posterior[rows]
    assert [row.n for row in posterior] == [1] * 4


def test_marginal_of_what_is_no_latent_is_refused() -> None:
    model, data = _explaining_away()
    posterior = lem.e_step(model, data)
    with pytest.raises(ValueError, match=r"latents?.*got 'y'"):
        posterior.marginal("y")
    with pytest.raises(ValueError, match=r"must"):
        posterior.marginal()
    with pytest.raises(ValueError, match=r"must"):
        posterior.marginal("a", "a")


# -- cost ------------------------------------------------------------------------------------------


@given(plans())
def test_cost_foretells_cliques_of_an_elimination_order(plan: Plan) -> None:
    model, _ = plan.build()
    cost = lem.cost(model, 1000)
    sizes = {node.name: node.dist.n_states for node in model.latents}
    assert sorted(cost.order) == sorted(sizes)
    # The graph that the latents' moralised neighbourhoods make, eliminated in the stated order.
    graph = nx.Graph()
    graph.add_nodes_from(sizes)
    for node in model.nodes:
        family = [n for n in (node.name, *(p.name for p in node.given)) if n in sizes]
        graph.add_edges_from(itertools.combinations(family, 2))
    largest = 0
    for name in cost.order:
        clique = [name, *graph.neighbors(name)]
        largest = max(largest, math.prod(sizes[n] for n in clique))
        graph.add_edges_from(itertools.combinations(graph.neighbors(name), 2))
        graph.remove_node(name)
    assert cost.largest_table == largest
    assert math.prod(sizes[name] for name in cost.largest_clique) == largest


def test_a_clique_that_is_too_large_is_refused_before_any_work_with_what_to_change() -> None:
    latents = [lem.latent(f"z{i}", lem.Categorical(probs=np.full(10, 0.1))) for i in range(9)]
    child = lem.observed(
        "x", lem.Normal(mean=np.zeros((10,) * 2), variance=np.ones((10,) * 2)), given=latents[:2]
    )
    ring = [
        lem.latent(
            f"c{i}",
            lem.Categorical(probs=np.full((10,) * 3, 0.1)),
            given=[latents[i], latents[(i + 1) % 9]],
        )
        for i in range(9)
    ]
    assert lem.cost(lem.Model([*latents, *ring, child]), 10).largest_table <= 10**4
    every = [
        lem.latent(
            f"p{i}{j}",
            lem.Categorical(probs=np.full((10, 10, 2), 0.5)),
            given=[latents[i], latents[j]],
        )
        for i, j in itertools.combinations(range(9), 2)
    ]
    links = [
        lem.observed(f"x{node.name}", lem.Normal(mean=[0.0, 1.0], variance=[1.0, 1.0]), given=node)
        for node in every
    ]
    model = lem.Model([*latents, *every, *links])
    data = {node.name: np.zeros(3) for node in links}
    cost = lem.cost(model, 3)
    assert cost.largest_table >= 10**9
    assert set(cost.largest_clique) >= {f"z{i}" for i in range(9)}
    with pytest.raises(lem.TooLargeError, match=r"(?s)must .*got .*\. .+") as error:
        lem.e_step(model, data)
    assert all(f"z{i}" in str(error.value) for i in range(9))
    for line in str(cost).splitlines():  # order, clique, memory, operations
        assert line in str(error.value)
    assert {line.split()[0] for line in str(cost).splitlines()} == {
        "elimination", "largest", "memory", "operations",
    }  # fmt: skip
    assert isinstance(error.value, ValueError)
