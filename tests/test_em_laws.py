"""The laws of the engine, over the registry of models and the assignment rules."""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np
import oracle
import pytest
from registry import (
    FAMILIES,
    MODELS,
    PROBABILISTIC,
    Case,
    CountedRayleigh,
    Family,
    Rayleigh,
    describe,
    numbers,
)

import latentem as lem
from latentem import parallel
from latentem.data import has_label
from latentem.em import init, search
from latentem.em.natural import Natural
from latentem.em.problem import Problem
from latentem.testing import check_model

PLAIN = {"restarts": 1, "accelerate": None, "tol": 0.0}

RULES: dict[str, Callable[[], Any]] = {
    "soft": lambda: lem.soft,
    "hard": lambda: lem.hard,
    "tempered(0.5)": lambda: lem.tempered(0.5),
    "tempered(2)": lambda: lem.tempered(2.0),
}
RUNS = [
    pytest.param(case, RULES[rule](), id=f"{case.name}, {rule}")
    for case in MODELS
    for rule in RULES
    if rule == "hard" or not case.hard_only
]


@pytest.fixture(autouse=True)
def _iteration_limits_are_wanted() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lem.ConvergenceWarning)
        yield


def _start(case: Case, seed: int = 0) -> lem.Model:
    return lem.initialize(case.model, case.data, seed=seed)


def _plain(case: Case, iterations: int, *, seed: int = 0, **arguments: Any) -> lem.Fit:
    """Exactly so many iterations of plain EM from one start."""
    assign = arguments.pop("assign", lem.hard if case.hard_only else lem.soft)
    data = arguments.pop("data", case.data)
    init = arguments.pop("init", None) or _start(case, seed)
    return lem.fit(
        case.model, data, init=init, assign=assign, max_iter=iterations, **PLAIN, **arguments
    )


def _assert_same(one: lem.Model, other: lem.Model, **tolerance: float) -> None:
    tolerance = tolerance or {"rtol": 1e-8, "atol": 1e-10}
    theirs = numbers(other)
    assert theirs.keys() == numbers(one).keys()
    for name, array in numbers(one).items():
        np.testing.assert_allclose(array, theirs[name], err_msg=name, **tolerance)


def _is_switch(node: lem.Node) -> bool:
    return isinstance(node.dist, lem.Switch)


# -- one step at a time ----------------------------------------------------------------------------


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_check_model_holds(case: Case) -> None:
    check_model(case.model, case.data, assign=lem.hard if case.hard_only else lem.soft)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_log_likelihood_equals_the_oracle(case: Case) -> None:
    model = _start(case)
    expected = oracle.log_likelihood(describe(model), case.data)
    assert lem.log_likelihood(model, case.data) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_log_likelihood_is_q_plus_entropy(case: Case) -> None:
    model = _start(case)
    posterior = lem.e_step(model, case.data)
    q = lem.expected_log_joint(model, case.data, posterior)
    assert q.total + posterior.entropy == pytest.approx(
        lem.log_likelihood(model, case.data), rel=1e-11
    )
    assert q.total == pytest.approx(math.fsum(q.by_node.values()), rel=1e-12)
    assert q(model) == pytest.approx(q.total, rel=1e-11)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_q_at_any_parameters_equals_the_oracle(case: Case) -> None:
    old, other = _start(case, seed=0), _start(case, seed=1)
    q = lem.expected_log_joint(old, case.data, lem.e_step(old, case.data))
    expected = oracle.expected_log_joint(describe(other), case.data, describe(old))
    assert q(other) == pytest.approx(math.fsum(expected.values()), rel=1e-9)
    for name, term in q.at(other).by_node.items():
        assert term == pytest.approx(expected[name], rel=1e-9, abs=1e-9), name


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_m_step_is_the_maximum_of_every_nodes_term_of_q(case: Case) -> None:
    old = _start(case)
    posterior = _e_step(case, old)
    new = lem.m_step(old, case.data, posterior)
    q = lem.expected_log_joint(new, case.data, posterior)
    best = q.at(new).by_node
    others = [old, *(_start(case, seed) for seed in range(1, 8))]
    for other in others:
        for name, term in q.at(other).by_node.items():
            assert term <= best[name] + 1e-9 * (1 + abs(best[name])), name
        for weight in (1e-2, -1e-2, 1e-3):
            between = _between(new, other, weight)
            for name, term in q.at(between).by_node.items():
                assert term <= best[name] + 1e-9 * (1 + abs(best[name])), (name, weight)


def _e_step(case: Case, model: lem.Model) -> lem.Posterior:
    return lem.e_step(model, case.data, assign=lem.hard if case.hard_only else lem.soft)


def _between(one: lem.Model, other: lem.Model, weight: float) -> lem.Model:
    """Parameters on the line through two models; a node whose family this leaves stays as it is."""
    changes = {}
    for node in one.nodes:
        mine, theirs = one[node.name].parameters, other[node.name].parameters
        fields = {field.name for field in attrs.fields(type(one[node.name]))}
        moved = {n: (1 - weight) * mine[n] + weight * theirs[n] for n in mine if n in fields}
        legal = all(np.all(a >= 0) for n, a in moved.items() if n in ("probs", "rate", "scale"))
        if moved and legal:
            moved.update({"rounding": None} if "rounding" in fields else {})
            with contextlib.suppress(lem.ModelError):  # a curved structure of covariances
                changes[node.name] = attrs.evolve(one[node.name], **moved)
    return one.replace(changes)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_weighted_steps_weigh_the_rows(case: Case) -> None:
    model = _start(case)
    counts = np.arange(case.n) % 3
    repeated = case.rows(np.repeat(np.arange(case.n), counts))
    assert lem.log_likelihood(model, case.data, weights=counts) == pytest.approx(
        lem.log_likelihood(model, repeated), rel=1e-11
    )
    weighted = lem.e_step(model, case.data, weights=counts)
    plain = lem.e_step(model, repeated)
    assert weighted.entropy == pytest.approx(plain.entropy, rel=1e-9, abs=1e-11)
    _assert_same(
        lem.m_step(model, case.data, weighted), lem.m_step(model, repeated, plain), rtol=1e-8
    )


# -- every half-step -------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "assign"), RUNS)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_half_step_of_the_objective_is_not_below_the_last(
    case: Case, assign: Any, seed: int
) -> None:
    fit = _plain(case, 25, seed=seed, assign=assign)
    objective = fit.trace["objective"]
    assert len(objective) >= 3
    assert np.isfinite(objective).all()
    slack = 1e-10 * (1 + np.abs(objective[1:]))
    falls = np.flatnonzero(np.diff(objective) < -slack)
    assert not len(falls), f"F fell at half-steps {falls + 1}: {objective}"


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_annealing_falls_only_where_the_temperature_changes(case: Case) -> None:
    schedule = [0.3] * 4 + [0.7] * 4 + [1.0] * 6
    fit = _plain(case, 14, assign=lem.tempered(schedule))
    # Iteration t ends with an E-step at the t-th temperature; its M-step is still at the last one.
    beta = [schedule[min(row.iteration - (row.phase == "M"), 13)] for row in fit.trace]
    pairs = list(itertools.pairwise(zip(beta, fit.trace, strict=True)))
    equal = [(before, after) for (b, before), (c, after) in pairs if b == c]
    assert len(equal) == len(pairs) - 2
    for before, after in equal:
        assert after.objective >= before.objective - 1e-9 * (1 + abs(after.objective))
    assert fit.objective == pytest.approx(fit.log_likelihood, rel=1e-10)
    assert fit.log_likelihood == pytest.approx(lem.log_likelihood(fit.model, case.data), rel=1e-11)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_trace_rows_are_the_public_half_steps(case: Case) -> None:
    model = _start(case)
    fit = _plain(case, 4, init=model)
    rows = list(fit.trace)
    assert [(row.iteration, row.phase) for row in rows] == [
        (0, "E"),
        *((i, phase) for i in range(1, 5) for phase in "ME"),
    ]
    posterior = lem.e_step(model, case.data)
    for row in rows:
        if row.phase == "M":
            model = lem.m_step(model, case.data, posterior)
        else:
            posterior = lem.e_step(model, case.data)
        q = lem.expected_log_joint(model, case.data, posterior).at(model)
        assert row.q == pytest.approx(q.total, rel=1e-9)
        assert row.entropy == pytest.approx(posterior.entropy, rel=1e-8, abs=1e-9)
        assert row.objective == pytest.approx(q.total + posterior.entropy, rel=1e-9)
        if row.phase == "E":
            likelihood = lem.log_likelihood(model, case.data)
            assert row.log_likelihood == pytest.approx(likelihood, rel=1e-9)
        else:
            assert row.log_likelihood is None
    _assert_same(fit.model, model, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_hard_assignment_is_the_mode_and_has_no_entropy(case: Case) -> None:
    model = _start(case)
    posterior = lem.e_step(model, case.data, assign=lem.hard)
    mode = lem.e_step(model, case.data).mode()
    assert posterior.entropy == 0
    for name, state in mode.items():
        table = posterior.marginal(name)
        assert set(np.unique(table)) <= {0.0, 1.0}
        np.testing.assert_array_equal(table.argmax(axis=1), state)
    q = lem.expected_log_joint(model, case.data, posterior)
    assert q.total == pytest.approx(lem.log_joint(model, {**case.data, **mode}), rel=1e-10)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_what_a_fit_reports_belongs_together(case: Case) -> None:
    fit = _plain(case, 7)
    assert fit.log_likelihood == pytest.approx(lem.log_likelihood(fit.model, case.data), rel=1e-11)
    last = list(fit.trace)[-1]
    assert last.phase == "E"
    assert last.log_likelihood == pytest.approx(fit.log_likelihood, rel=1e-11)
    assert fit.objective == pytest.approx(fit.log_likelihood, rel=1e-11)
    assert fit.iterations == last.iteration == 7
    posterior = lem.e_step(fit.model, case.data)
    for node in case.model.latents:
        np.testing.assert_allclose(
            fit.posterior().marginal(node.name), posterior.marginal(node.name), atol=1e-10
        )
    np.testing.assert_allclose(
        fit.score_samples(case.data), posterior.log_evidence, rtol=1e-9, atol=1e-10
    )


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_iterate_takes_the_steps_of_fit(case: Case) -> None:
    start = _start(case)
    fit = _plain(case, 5, init=start)
    steps = list(lem.iterate(start, case.data, tol=0, max_iter=5))
    assert [step.iteration for step in steps] == list(range(6))
    ends = [row for row in fit.trace if row.phase == "E"]
    for step, row in zip(steps, ends, strict=True):
        assert step.objective == pytest.approx(row.objective, rel=1e-10)
        assert step.log_likelihood == pytest.approx(row.log_likelihood, rel=1e-10)
        assert lem.log_likelihood(step.model, case.data) == pytest.approx(
            step.log_likelihood, rel=1e-10
        )
        assert step.Q.total + step.posterior.entropy == pytest.approx(step.objective, rel=1e-10)
    _assert_same(steps[-1].model, fit.model)


# -- fixed points, symmetries, determinism ---------------------------------------------------------


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_a_converged_model_is_a_fixed_point(case: Case) -> None:
    fit = lem.fit(
        case.model, case.data, init=_start(case), restarts=1, accelerate=None, tol=1e-13,
        max_iter=20_000,
    )  # fmt: skip
    assert fit.status is lem.Status.CONVERGED
    again = lem.m_step(fit.model, case.data, lem.e_step(fit.model, case.data))
    assert lem.log_likelihood(again, case.data) == pytest.approx(fit.log_likelihood, rel=1e-11)
    _assert_same(again, fit.model, rtol=1e-4, atol=1e-4)
    resumed = lem.fit(fit.model, case.data, restarts=1, tol=1e-9)
    assert resumed.iterations <= 5
    assert resumed.log_likelihood == pytest.approx(fit.log_likelihood, rel=1e-11)


# A switch has a family for each state, so its states cannot change places.
SINGLE = [
    case
    for case in MODELS
    if len(case.model.latents) == 1 and not any(map(_is_switch, case.model.nodes))
]


@pytest.mark.parametrize("case", SINGLE, ids=str)
def test_relabelling_the_states_permutes_the_answer(case: Case) -> None:
    (latent,) = case.model.latents
    k = latent.dist.n_states
    labels = np.random.default_rng(0).integers(0, k, size=case.n)
    permutation = np.roll(np.arange(k), 1)
    one = _plain(case, 8, init=lem.init.from_labels(labels))
    other = _plain(case, 8, init=lem.init.from_labels(permutation[labels]))
    assert one.objective == pytest.approx(other.objective, rel=1e-10)
    for node in case.model.nodes:
        if latent.name != node.name and latent not in node.given:
            continue
        axis = -1 if node is latent else [p.name for p in node.given].index(latent.name)
        for name, array in one.model[node.name].parameters.items():
            moved = np.take(other.model[node.name].parameters[name], permutation, axis=axis)
            np.testing.assert_allclose(moved, array, rtol=1e-8, atol=1e-10, err_msg=name)
    np.testing.assert_allclose(
        other.posterior().marginal(latent.name)[:, permutation],
        one.posterior().marginal(latent.name),
        atol=1e-9,
    )


@pytest.mark.parametrize(
    ("dist", "values"),
    [
        (lem.Gaussian(), "vectors"),
        (lem.Gaussian(covariance="diagonal"), "vectors"),
        (lem.Gaussian(covariance="spherical", shared=True), "vectors"),
        (lem.Normal(), "real"),
        (lem.Poisson(), "counts"),
        (lem.Categorical(4), "levels"),
        (Rayleigh(), "real"),
    ],
    ids=str,
)
def test_one_state_gives_the_closed_form_maximum_in_one_step(
    dist: lem.Distribution, values: str
) -> None:
    rng = np.random.default_rng(0)
    data = {
        "vectors": rng.normal(size=(40, 2)),
        "real": rng.rayleigh(2.0, size=40),
        "counts": rng.poisson(3, size=40),
        "levels": rng.integers(0, 4, size=40),
    }[values]
    z = lem.latent("z", lem.Categorical(1))
    fit = lem.fit(lem.Model([z, lem.observed("x", dist, given=z)]), data, seed=0)
    closed = dist.fit(data, np.ones((40, 1)))
    for name, array in closed.parameters.items():
        np.testing.assert_allclose(fit.model["x"].parameters[name], array, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(fit.model["z"].probs, [1.0])
    assert fit.log_likelihood == pytest.approx(closed.log_prob(data).sum(), rel=1e-12)
    objective = fit.trace["objective"]
    np.testing.assert_allclose(objective, objective[-1], rtol=1e-12)
    assert fit.status is lem.Status.CONVERGED


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_complete_data_give_the_closed_form_maximum(case: Case) -> None:
    states = lem.e_step(_start(case), case.data).sample(1, seed=0)
    complete = {**case.data, **{name: state[0] for name, state in states.items()}}
    fit = lem.fit(case.model, complete, seed=0)
    for node in case.model.nodes:
        shape = tuple(parent.n_states for parent in node.given)
        parents = tuple(complete[parent.name] for parent in node.given)
        row = np.ravel_multi_index(parents, shape) if shape else np.zeros(case.n, dtype=int)
        one_hot = np.eye(math.prod(shape))[row]  # (n, all combinations of the parents' states)
        weights = one_hot.reshape(case.n, *shape) if _is_switch(node) else one_hot
        closed = node.dist.fit(node.dist.check(complete[node.name]), weights)
        for name, array in fit.model[node.name].parameters.items():
            np.testing.assert_allclose(
                np.ravel(array), np.ravel(closed.parameters[name]), rtol=1e-9, atol=1e-11
            )
    assert fit.log_likelihood == pytest.approx(lem.log_joint(fit.model, complete), rel=1e-10)
    assert fit.status is lem.Status.CONVERGED
    assert fit.iterations <= 2


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.fits_alone], ids=str)
def test_a_node_without_latents_is_fitted_in_one_step(family: Family) -> None:
    fit = lem.fit(lem.Model([lem.observed("x", family.dist)]), {"x": family.value})
    closed = family.dist.fit(family.dist.check(family.value), np.ones((len(family.value), 1)))
    # An auxiliary variable takes more than one.
    accuracy = 1e-5 if isinstance(family.dist, lem.AuxiliaryFamily) else 1e-12
    for name, array in fit.model["x"].parameters.items():
        np.testing.assert_allclose(array, closed.parameters[name][0], rtol=accuracy)
    expected = float(closed.log_prob(family.dist.check(family.value)).sum())
    assert fit.log_likelihood == pytest.approx(expected, rel=accuracy)
    assert fit.status is lem.Status.CONVERGED


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_the_same_seed_gives_the_same_result_on_any_number_of_threads(case: Case) -> None:
    assign = lem.hard if case.hard_only else lem.soft

    def run(threads: int) -> lem.Fit:
        with parallel.threads(threads):
            return lem.fit(case.model, case.data, seed=7, assign=assign, max_iter=30, restarts=6)

    first, second, third = run(1), run(1), run(2)
    for other in (second, third):
        _assert_same(first.model, other.model, rtol=0, atol=0)
        assert np.array_equal(first.trace["objective"], other.trace["objective"])


def test_threads_and_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30_000, 3)) + rng.integers(0, 4, size=(30_000, 1))
    model = lem.initialize(lem.models.gaussian_mixture(4), x, seed=0)

    def run() -> lem.Fit:
        return lem.fit(model, x, max_iter=4, **PLAIN)

    results = []
    for threads in (1, 2, 5):
        with parallel.threads(threads):
            results.append(run())
    for other in results[1:]:
        _assert_same(results[0].model, other.model, rtol=0, atol=0)
        assert results[0].log_likelihood == other.log_likelihood
    responsibilities = results[0].posterior().marginal("z")
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 40_000)
    small = run()
    _assert_same(results[0].model, small.model, rtol=1e-10, atol=1e-12)
    assert small.log_likelihood == pytest.approx(results[0].log_likelihood, rel=1e-13)
    np.testing.assert_allclose(small.posterior().marginal("z"), responsibilities, atol=1e-9)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
@pytest.mark.parametrize("rows", [1, 7])
def test_blocks_of_a_few_rows_equal_one_pass(
    case: Case, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _plain(case, 3)
    posterior = whole.posterior()
    evidence = posterior.log_evidence
    monkeypatch.setattr(parallel, "LARGEST_BLOCK", rows)
    blocks = _plain(case, 3)
    assert blocks.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-11)
    _assert_same(blocks.model, whole.model)
    np.testing.assert_allclose(blocks.posterior().log_evidence, evidence, rtol=1e-9, atol=1e-10)
    assert blocks.posterior().entropy == pytest.approx(posterior.entropy, rel=1e-9, abs=1e-10)
    for node in case.model.latents:
        np.testing.assert_allclose(
            blocks.posterior().marginal(node.name), posterior.marginal(node.name), atol=1e-9
        )
    one = blocks.posterior(case.rows(np.array([5])))
    assert one.log_evidence[0] == pytest.approx(evidence[5], rel=1e-9, abs=1e-10)


# -- rows and their weights ------------------------------------------------------------------------


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_integer_weights_equal_repeated_rows_in_a_whole_fit(case: Case) -> None:
    counts = 1 + np.arange(case.n) % 3
    repeated = case.rows(np.repeat(np.arange(case.n), counts))
    weighted = _plain(case, 10, weights=counts)
    plain = _plain(case, 10, data=repeated, init=_start(case))
    _assert_same(weighted.model, plain.model)
    np.testing.assert_allclose(weighted.trace["objective"], plain.trace["objective"], rtol=1e-10)


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_a_fit_ignores_rows_of_zero_weight(case: Case) -> None:
    kept = np.arange(case.n) % 4 > 0
    weighted = _plain(case, 10, weights=kept.astype(float))
    plain = _plain(case, 10, data=case.rows(np.flatnonzero(kept)), init=_start(case))
    _assert_same(weighted.model, plain.model)
    assert weighted.objective == pytest.approx(plain.objective, rel=1e-10)


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_weights_have_no_unit(case: Case) -> None:
    one = _plain(case, 10)
    for factor in (1e-3, 1e3):
        other = _plain(case, 10, weights=np.full(case.n, factor))
        _assert_same(one.model, other.model)
        np.testing.assert_allclose(
            other.trace["objective"], factor * one.trace["objective"], rtol=1e-9
        )


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_tolerance_is_per_unit_of_weight(case: Case) -> None:
    arguments = {"init": _start(case), "restarts": 1, "accelerate": None, "tol": 1e-5}
    arguments["assign"] = lem.hard if case.hard_only else lem.soft
    one = lem.fit(case.model, case.data, **arguments)
    other = lem.fit(case.model, case.data, weights=np.full(case.n, 50.0), **arguments)
    # Rounding may decide whether the last of very many is needed.
    assert one.iterations == pytest.approx(other.iterations, rel=2e-3)


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_the_order_of_rows_does_not_matter(case: Case) -> None:
    order = np.random.default_rng(0).permutation(case.n)
    one = _plain(case, 10)
    other = _plain(case, 10, data=case.rows(order), init=_start(case))
    _assert_same(one.model, other.model)
    for node in case.model.latents:
        np.testing.assert_allclose(
            other.posterior().marginal(node.name),
            one.posterior().marginal(node.name)[order],
            atol=1e-9,
        )


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_data_are_not_changed(case: Case) -> None:
    data = {name: column.copy() for name, column in case.data.items()}
    for column in data.values():
        column.flags.writeable = False
    weights = np.linspace(0.5, 1.5, case.n)
    before = weights.copy()
    _plain(case, 3, data=data, init=_start(case), weights=weights)
    lem.fit(case.model, data, seed=0, max_iter=5, assign=lem.hard if case.hard_only else lem.soft)
    assert np.array_equal(weights, before)
    for name, column in case.data.items():
        assert np.array_equal(data[name], column)


# -- the endings -----------------------------------------------------------------------------------


def test_the_iteration_limit_warns_and_is_an_ending(faithful: np.ndarray) -> None:
    model = lem.models.gaussian_mixture(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", lem.ConvergenceWarning)
        with pytest.raises(lem.ConvergenceWarning, match="max_iter"):
            lem.fit(model, faithful, seed=0, restarts=1, max_iter=2, tol=1e-12)
    fit = lem.fit(model, faithful, seed=0, restarts=1, max_iter=2, tol=1e-12)
    assert fit.status is lem.Status.ITERATION_LIMIT
    assert fit.iterations == 2


def test_endings_are_sentences_that_name_the_remedy() -> None:
    assert [status.name for status in lem.Status] == [
        "CONVERGED",
        "ITERATION_LIMIT",
        "DECREASED",
        "DEGENERATE",
    ]
    assert all(len(status.value.split()) > 4 for status in lem.Status)
    assert "max_iter" in lem.Status.ITERATION_LIMIT.value


class _Shrinks(CountedRayleigh):
    """A maximiser of the wrong thing."""

    def fit(self, value: np.ndarray, weights: np.ndarray) -> Any:
        return attrs.evolve(self, scale=0.7 * super().fit(value, weights).scale)


def test_a_falling_objective_is_an_error_that_names_the_node() -> None:
    rng = np.random.default_rng(0)
    data = {"good": rng.normal(size=50), "bad": rng.rayleigh(1.0, size=50)}
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    known = lem.Normal(mean=[-0.5, 0.5], variance=[1.0, 1.0])
    model = lem.Model([
        z,
        lem.observed("good", known, given=z),
        lem.observed("bad", _Shrinks(scale=np.array([0.9, 1.1])), given=z),
    ])  # fmt: skip
    pattern = (
        r"F fell from -\d+\.\d+ to -\d+\.\d+ at iteration \d+\. .*node 'bad'.*"
        r"its term of Q fell by \d"
    )
    with pytest.raises(lem.ObjectiveDecreasedError, match=f"(?s){pattern}") as error:
        lem.fit(model, data, restarts=1)
    assert error.value.node == "bad"
    assert error.value.iteration == 1
    assert isinstance(error.value, RuntimeError)


def test_what_rounding_takes_of_a_probability_of_almost_one_is_no_fall() -> None:
    rng = np.random.default_rng(11)
    rare = rng.multinomial(100_000, [1 - 1e-6, 1e-6], size=(8, 40)).astype(float)
    z = lem.latent("z", lem.Categorical(3))
    model = lem.Model([z, lem.observed("x", lem.Multinomial(), given=z)])
    for counts in rare:
        assert np.isfinite(lem.fit(model, counts, restarts=3, max_iter=300, seed=0).log_likelihood)
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", lem.Poisson(), given=z)])
    certain = {"x": np.zeros(8), "z": [1.0, *[np.nan] * 7]}
    for seed in range(8):
        fit = lem.fit(model, certain, restarts=1, seed=seed)
        assert fit.log_likelihood == pytest.approx(0.0, abs=1e-6)


def test_a_start_at_which_all_states_are_equal_is_refused(faithful: np.ndarray) -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    same = lem.Normal(mean=[70.0, 70.0], variance=[100.0, 100.0])
    model = lem.Model([z, lem.observed("x", same, given=z)])
    with pytest.raises(lem.LatentemError, match=r"(?s)Node 'z': .*must .*start.*, got .*\. .+"):
        lem.fit(model, faithful[:, 1])
    uniform = lem.e_step(model, faithful[:, 1])
    template = lem.Model([
        z := lem.latent("z", lem.Categorical(2)), lem.observed("x", lem.Normal(), given=z)
    ])  # fmt: skip
    with pytest.raises(lem.LatentemError, match=r"(?s)Node 'z': .*must .*start.*, got .*\. .+"):
        lem.fit(template, faithful[:, 1], init=lem.init.from_posterior(uniform))


def test_on_step_sees_every_step_and_can_read_it(faithful: np.ndarray) -> None:
    steps: list[lem.Step] = []
    start = lem.initialize(lem.models.gaussian_mixture(2), faithful, seed=0)
    fit = lem.fit(start, faithful, on_step=steps.append, max_iter=5, **PLAIN)
    ends = [row for row in fit.trace if row.phase == "E"]
    assert [step.iteration for step in steps] == [row.iteration for row in ends]
    assert [step.objective for step in steps] == [row.objective for row in ends]
    for step in steps:
        assert lem.log_likelihood(step.model, faithful) == pytest.approx(step.objective, rel=1e-11)


# -- starts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_a_start_is_a_posterior_and_the_m_step_makes_the_parameters(case: Case) -> None:
    rng = np.random.default_rng(0)
    tables = {
        node.name: rng.dirichlet(np.ones(node.n_states), size=case.n) for node in case.model.latents
    }
    start = lem.initialize(case.model, case.data, init=lem.init.from_posterior(tables))
    posterior = lem.e_step(_start(case), case.data)
    again = lem.initialize(case.model, case.data, init=lem.init.from_posterior(posterior))
    _assert_same(again, lem.m_step(_start(case), case.data, posterior))
    for node in case.model.latents:
        if not node.given:
            share = tables[node.name].mean(axis=0)
            np.testing.assert_allclose(start[node.name].probs, share, rtol=1e-12)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_a_start_from_labels_is_complete_data_maximum_likelihood(case: Case) -> None:
    labels = {name: z[0] for name, z in lem.e_step(_start(case), case.data).sample(seed=0).items()}
    start = lem.initialize(case.model, case.data, init=lem.init.from_labels(labels))
    _assert_same(start, lem.fit(case.model, {**case.data, **labels}).model)


@pytest.mark.parametrize("init", [lem.init.random, lem.init.plus_plus])
def test_starts_are_seeded(init: Any, faithful: np.ndarray) -> None:
    model = lem.models.gaussian_mixture(3)
    one, same, other = (lem.initialize(model, faithful, init=init, seed=s) for s in (0, 0, 1))
    _assert_same(one, same, rtol=0, atol=0)
    assert np.abs(one["x"].mean - other["x"].mean).max() > 1e-3


def test_plus_plus_seeds_lie_far_apart() -> None:
    rng = np.random.default_rng(0)
    centres = 100 * rng.normal(size=(6, 2))
    x = np.repeat(centres, 20, axis=0) + rng.normal(size=(120, 2))
    spread = lem.models.gaussian_mixture(6, covariance="spherical")
    for seed in range(20):
        start = lem.initialize(spread, x, init=lem.init.plus_plus, seed=seed)
        nearest = np.linalg.norm(start["x"].mean[:, None] - centres, axis=2).argmin(axis=0)
        assert sorted(nearest) == list(range(6))


@pytest.mark.parametrize("seed", range(5))
def test_seeded_starts_and_moves_leave_no_state_without_a_level(seed: int) -> None:
    # A probability of 0 stays 0 under EM: 31 of 32 runs from such starts missed the best optimum.
    table = lem.datasets.carcinoma().table
    z = lem.latent("z", lem.Categorical(3))
    items = [lem.observed(item, lem.Bernoulli(), given=z) for item in table]
    data = {item: ratings - 1 for item, ratings in table.items()}
    model = lem.Model([z, *items])
    start = lem.initialize(model, data, init=lem.init.plus_plus, seed=seed)
    for item in table:
        probs = start[item].probs
        assert ((probs > 0.01) & (probs < 0.99)).all()
    fit = lem.fit(model, data, init=lem.init.plus_plus, restarts=1, accelerate=None, seed=seed)
    np.testing.assert_allclose(fit.log_likelihood, -293.70498, atol=1e-3)  # Agresti 2002


@pytest.mark.parametrize("seed", range(3))
def test_few_labels_do_not_make_all_starts_alike(seed: int) -> None:
    # The first flower of each species: seeds at these three all lead to -186.569.
    iris = lem.datasets.iris()
    names = np.full(150, None, dtype=object)
    names[::50] = iris.table["species"][::50]
    z = lem.latent("species", lem.Categorical(3))
    model = lem.Model([z, lem.observed("x", lem.Gaussian(), given=z)])
    fit = lem.fit(model, {"species": names, "x": iris.data}, seed=seed)
    assert fit.log_likelihood > -180.1859


def test_known_parameters_are_kept_at_the_start(faithful: np.ndarray) -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.25, 0.75]))
    model = lem.Model([z, lem.observed("x", lem.Gaussian(), given=z)])
    start = lem.initialize(model, faithful, seed=0)
    np.testing.assert_array_equal(start["z"].probs, [0.25, 0.75])
    assert start.is_parameterised
    held = lem.Model([
        z := lem.latent("z", lem.fixed(lem.Categorical(probs=[0.25, 0.75]))),
        lem.observed("x", lem.Gaussian(), given=z),
    ])  # fmt: skip
    fit = lem.fit(held, faithful, seed=0)
    np.testing.assert_array_equal(fit.model["z"].probs, [0.25, 0.75])
    assert fit.n_parameters == 10
    assert (np.diff(fit.trace["objective"]) >= -1e-9).all()


def test_every_start_is_recorded_and_agreement_is_counted(faithful: np.ndarray) -> None:
    fit = lem.fit(lem.models.gaussian_mixture(2), faithful, seed=0, restarts=6)
    assert len(fit.starts) == 6
    assert 1 <= fit.agreement <= 6
    known = [start.objective for start in fit.starts if start.objective is not None]
    assert max(known) == pytest.approx(fit.objective, abs=1e-9 * len(faithful))
    close = sum(abs(objective - fit.objective) <= 4e-6 * len(faithful) for objective in known)
    assert fit.agreement == close


def _many_rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(40_000, 2)) + 4.0 * rng.integers(0, 3, size=(40_000, 1))


def test_on_many_rows_only_objectives_of_all_rows_are_compared() -> None:
    x = _many_rows()
    fit = lem.fit(lem.models.gaussian_mixture(3), x, seed=0)
    assert len(fit.starts) == 24
    assert sorted({start.n_rows for start in fit.starts}) == [5_000, 40_000]
    (whole,) = [start for start in fit.starts if start.n_rows == len(x)]
    assert whole.objective == fit.objective
    assert fit.agreement == 1
    assert "chosen on 5,000 rows, 1 followed on all" in fit.starts_line


def test_the_best_of_few_rows_goes_on_on_more_and_then_on_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4_000, 2)) + 3.0 * rng.integers(3, size=(4_000, 1))
    model = lem.models.gaussian_mixture(3)
    whole = lem.fit(model, x, seed=0)
    monkeypatch.setattr(search, "short_rows", lambda _: 100)
    seen: dict[int, int] = {}

    def watch(step: lem.Step) -> None:
        rows = step.posterior.n
        seen[rows] = seen.get(rows, 0) + 1

    fit = lem.fit(model, x, seed=0, on_step=watch)
    assert list(seen) == [100, 800, 4_000]
    assert seen[4_000] <= seen[800]
    assert {start.n_rows for start in fit.starts} == {100, 4_000}
    assert fit.status is lem.Status.CONVERGED
    assert fit.log_likelihood == pytest.approx(whole.log_likelihood, abs=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_of_many_states_the_default_call_finds_all(seed: int) -> None:
    rng = np.random.default_rng(0)
    mean = 3.0 * rng.normal(size=(16, 8))
    x = rng.normal(size=(40_000, 8)) + mean[rng.integers(16, size=40_000)]
    z = lem.latent("z", lem.Categorical(probs=np.full(16, 1 / 16)))
    truth = lem.Gaussian(mean=mean, covariance=[np.eye(8)] * 16)
    best = lem.fit(lem.Model([z, lem.observed("x", truth, given=z)]), x)
    fit = lem.fit(lem.models.gaussian_mixture(16), x, seed=seed)
    assert fit.log_likelihood == pytest.approx(best.log_likelihood, abs=1e-5 * len(x))


def test_few_labels_of_many_rows_say_which_state_is_which() -> None:
    rng = np.random.default_rng(0)
    z = rng.integers(4, size=60_000)
    x = rng.normal(size=(len(z), 2)) + 5.0 * np.stack([z % 2, z // 2], axis=1)
    labels = np.full(len(z), -1)
    known = rng.choice(len(z), 20, replace=False)
    labels[known] = z[known]
    for seed in range(3):
        fit = lem.fit(lem.models.gaussian_mixture(4), {"x": x, "z": labels}, seed=seed)
        expected = [[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]]
        np.testing.assert_allclose(fit.model["x"].mean, expected, atol=0.1)


def test_equal_probabilities_of_all_states_are_no_label() -> None:
    labels = np.array([[0.5, 0.5], [1.0, 1.0], [0.9, 0.1], [0.0, 1.0], [np.nan, np.nan]])
    assert has_label(labels).tolist() == [False, False, True, True, False]
    assert has_label(np.array([-1, 0, 1])).tolist() == [False, True, True]


def test_a_dissimilarity_to_one_other_row_only_is_an_error() -> None:
    class ToFirst(lem.Normal):
        def dissimilarity(self, value: lem.Array, other: lem.Array) -> lem.Array:
            return np.abs(value - other[0])[:, None]

    z = lem.latent("z", lem.Categorical(3))
    model = lem.Model([z, lem.observed("x", ToFirst(), given=z)])
    with pytest.raises(lem.ModelError, match=r"'x': ToFirst\.dissimilarity .* \(40, 3\), got \(40"):
        lem.fit(model, {"x": np.random.default_rng(0).normal(size=40)}, seed=0)


def test_a_sample_of_rows_has_labelled_ones_up_to_half() -> None:
    rng = np.random.default_rng(0)
    for n_labelled, least, most in ((0, 0, 0), (30, 30, 30), (200, 50, 50), (900, 70, 100)):
        labels = np.full(1000, -1)
        labels[rng.choice(1000, n_labelled, replace=False)] = 1
        weights = np.ones(1000)
        weights[labels == -1] = np.arange(1000 - n_labelled) % 2  # every second row counts
        model = lem.models.gaussian_mixture(2)
        data = Problem.of(model, {"x": rng.normal(size=(1000, 1)), "z": labels}, weights).data
        rows = init.some_rows(data, 100, rng)
        assert len(rows) == len(set(rows.tolist())) == 100
        assert (data.row_weights[rows] > 0).all()
        assert least <= (labels[rows] == 1).sum() <= most


def test_an_interrupt_before_the_first_pass_over_all_rows_keeps_the_best_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = _many_rows()
    plain = Natural.expected

    def interrupted(natural: Natural, coefficients: Any) -> Any:
        if natural.problem.data.n == len(x) and not seen:
            seen.append(True)
            raise KeyboardInterrupt
        return plain(natural, coefficients)

    seen: list[bool] = []
    monkeypatch.setattr(Natural, "expected", interrupted)
    with pytest.warns(lem.ConvergenceWarning, match="Interrupted"):
        fit = lem.fit(lem.models.gaussian_mixture(3), x, seed=0)
    assert seen
    monkeypatch.undo()
    full = lem.fit(lem.models.gaussian_mixture(3), x, seed=0)
    # The start that won, evaluated on all rows: close to where it would have gone.
    assert fit.log_likelihood == pytest.approx(full.log_likelihood, rel=1e-3)
    assert fit.log_likelihood == pytest.approx(lem.log_likelihood(fit.model, x), rel=1e-12)


def test_a_row_that_no_sample_has_and_no_state_allows_is_named() -> None:
    rng = np.random.default_rng(0)
    x = {"level": rng.integers(3, size=60_000), "x": rng.normal(size=60_000)}
    x["level"][31_017] = 3
    z = lem.latent("z", lem.Categorical(8))
    level = lem.fixed(lem.Categorical(probs=np.tile([0.3, 0.3, 0.4, 0.0], (8, 1))))
    nodes = [lem.observed("level", level, given=z), lem.observed("x", lem.Normal(), given=z)]
    with pytest.raises(lem.DataError, match="value 3 in row 31017"):
        lem.fit(lem.Model([z, *nodes]), x, seed=0)


@pytest.mark.parametrize("repeats", [False, True])
def test_an_error_in_a_sample_names_the_row_as_given(repeats: bool) -> None:
    rng = np.random.default_rng(0)
    level, x = rng.integers(3, size=60_000), rng.poisson(3, size=60_000)
    level[rng.choice(60_000, 500, replace=False)] = 3
    z = lem.latent("z", lem.Categorical(3))
    fixed = lem.fixed(lem.Categorical(probs=np.tile([0.3, 0.3, 0.4, 0.0], (3, 1))))
    dist = lem.Poisson() if repeats else lem.Normal()
    nodes = [lem.observed("level", fixed, given=z), lem.observed("x", dist, given=z)]
    value = x if repeats else x + rng.normal(size=60_000)
    with pytest.raises(lem.DataError, match="value 3") as caught:
        lem.fit(lem.Model([z, *nodes]), {"level": level, "x": value}, seed=0)
    assert level[int(str(caught.value).split("in row ")[1].split(",")[0])] == 3


def test_of_two_that_go_on_the_other_is_finished_if_the_first_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, failed = _many_rows(), []
    plain = search.Run.steps

    def steps(run: search.Run, max_iter: int, **given: bool) -> Iterator[search.State]:
        for state in plain(run, max_iter, **given):
            whole = run.problem.data.n == len(x)
            if whole and state.iteration > 2 * search.SEEDED_ITERATIONS and failed in ([], [run]):
                failed[:] = [run]
                run.status, run.error = lem.Status.DEGENERATE, lem.DegenerateError("as if")
            yield state

    monkeypatch.setattr(search.Run, "steps", steps)
    fit = lem.fit(lem.models.gaussian_mixture(6), x, seed=0)
    assert failed
    assert fit.status is lem.Status.CONVERGED


def test_an_interrupt_on_more_rows_keeps_what_was_found_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = _many_rows()
    monkeypatch.setattr(search, "short_rows", lambda _: 500)
    seen: list[lem.Model] = []

    def interrupt(step: lem.Step) -> None:
        if step.posterior.n > 500:
            seen.append(step.model)
            if step.iteration == 3:
                raise KeyboardInterrupt

    with pytest.warns(lem.ConvergenceWarning, match="Interrupted"):
        fit = lem.fit(lem.models.gaussian_mixture(3), x, seed=0, on_step=interrupt)
    assert any(np.array_equal(fit.model["x"].mean, model["x"].mean) for model in seen)


@pytest.mark.parametrize("scale", [1e-14, 1 / 2000, 1.0, 1e3])
def test_random_starts_do_not_depend_on_the_scale_of_weights(scale: float) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(1000, 1)), 5 + rng.normal(size=(1000, 1))])
    model = lem.models.gaussian_mixture(2)
    weights = np.full(2000, scale)
    plain = lem.initialize(model, x, init=lem.init.random, seed=0)
    other = lem.initialize(model, x, init=lem.init.random, seed=0, weights=weights)
    np.testing.assert_allclose(other["x"].mean, plain["x"].mean, rtol=1e-9)


def test_a_start_that_is_refused_leaves_the_others() -> None:
    value = np.ones(2000)
    value[:4] = 30.0  # which hardly any random start of few rows will see
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", Rayleigh(), given=z)])
    fit = lem.fit(model, value, seed=0, restarts=30, init=lem.init.random)
    assert len(fit.starts) == 30
    assert {start.status for start in fit.starts} >= {lem.Status.CONVERGED, lem.Status.DEGENERATE}
    assert fit.starts_line.startswith("30: ")


def test_an_interrupt_while_no_start_allows_all_rows_raises_what_is_wrong() -> None:
    level = np.random.default_rng(0).integers(0, 2, size=30_000)
    level[-1] = 2  # in no random subset of rows, to speak of
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", Levels(), given=z)])

    def interrupt(step: lem.Step) -> None:
        if step.iteration == 1:
            raise KeyboardInterrupt

    with pytest.raises(lem.DataError, match="positive density"):
        lem.fit(model, level, seed=1, restarts=3, init=lem.init.random, on_step=interrupt)


@attrs.frozen(eq=False)
class Levels(lem.Distribution):
    """Probabilities of three levels, in two methods."""

    probs: np.ndarray | None = None

    def log_prob(self, value: np.ndarray) -> np.ndarray:
        return np.log(self.probs[:, value].T)

    def fit(self, value: np.ndarray, weights: np.ndarray) -> Levels:
        counts = np.stack([weights[value == level].sum(axis=0) for level in range(3)], axis=1)
        return Levels(counts / counts.sum(axis=1, keepdims=True))


def test_a_latent_whose_states_are_equal_is_refused_though_others_differ() -> None:
    a, b = lem.latent("a", lem.Categorical(2)), lem.latent("b", lem.Categorical(2))
    x, y = lem.observed("x", lem.Normal(), given=a), lem.observed("y", lem.Normal(), given=b)
    model = lem.Model([a, b, x, y])
    half = lem.Categorical(probs=[0.5, 0.5])
    start = model.replace({
        "a": half,
        "b": half,
        "x": lem.Normal(mean=[0.0, 1.0], variance=[1.0, 1.0]),
        "y": lem.Normal(mean=[0.0, 0.0], variance=[1.0, 1.0]),
    })  # fmt: skip
    data = dict(zip("xy", np.random.default_rng(0).normal(size=(2, 50)), strict=True))
    with pytest.raises(lem.ModelError, match="Node 'b': the states must differ"):
        lem.fit(model, data, init=start)


def test_a_rule_that_draws_runs_once_and_ends_by_its_limit() -> None:
    x = np.concatenate([np.zeros(20), np.full(20, 9.0)]) + np.linspace(0, 1, 40)
    fit = lem.fit(lem.models.gaussian_mixture(2), x[:, None], assign=lem.stochastic(0), seed=0)
    assert len(fit.starts) == 1
    assert fit.iterations == 500
    assert fit.status is lem.Status.ITERATION_LIMIT


def test_convergence_may_be_asked_of_the_parameters_too(faithful: np.ndarray) -> None:
    start = lem.initialize(lem.models.gaussian_mixture(2), faithful, seed=0)
    loose = lem.fit(start, faithful, tol=1e-3)
    strict = lem.fit(start, faithful, tol=1e-3, parameter_tol=1e-10)
    assert strict.iterations > loose.iterations
    again = lem.m_step(strict.model, faithful, strict.posterior())
    _assert_same(again, strict.model, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("unknown", [-1, np.nan])
def test_some_labels_known_is_between_none_and_all(unknown: float, faithful: np.ndarray) -> None:
    labels = (faithful[:, 1] > 68).astype(float)
    labels[20:] = unknown
    data = {"x": faithful, "z": labels if np.isnan(unknown) else labels.astype(int)}
    fit = lem.fit(lem.models.gaussian_mixture(2), data, seed=0)
    assert fit.model["x"].mean[0, 1] < fit.model["x"].mean[1, 1]
    np.testing.assert_array_equal(
        fit.posterior().marginal("z")[:20], np.eye(2)[labels[:20].astype(int)]
    )
    truth = describe(fit.model)
    expected = math.fsum(
        truth.log_joint({"x": x}, {"z": int(label)})
        if label in (0, 1)
        else truth.log_evidence({"x": x})
        for x, label in zip(faithful, labels, strict=True)
    )
    assert fit.log_likelihood == pytest.approx(expected, rel=1e-10)
    assert (np.diff(fit.trace["objective"]) >= -1e-9).all()


# -- what a fit says of itself ---------------------------------------------------------------------


def test_information_criteria_are_their_formulas(faithful: np.ndarray) -> None:
    fit = lem.fit(lem.models.gaussian_mixture(3, covariance="diagonal"), faithful, seed=0)
    n, p = len(faithful), 2 + 3 * 2 + 3 * 2
    assert fit.n_parameters == p
    assert fit.aic == pytest.approx(-2 * fit.log_likelihood + 2 * p)
    assert fit.bic == pytest.approx(-2 * fit.log_likelihood + p * math.log(n))
    # Biernacki, Celeux & Govaert 2000: the complete-data likelihood at the most probable states.
    complete = lem.log_joint(fit.model, {"x": faithful, "z": fit.predict()})
    assert fit.icl == pytest.approx(-2 * complete + p * math.log(n))


@pytest.mark.parametrize("case", [c for c in PROBABILISTIC if "rayleigh" not in c.name], ids=str)
def test_number_of_parameters_is_the_sum_over_nodes(case: Case) -> None:
    fit = _plain(case, 2)
    assert fit.n_parameters == sum(fit.model[node.name].n_parameters for node in case.model.nodes)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_prediction_is_the_mode_of_the_posterior(case: Case) -> None:
    fit = _plain(case, 3)
    few = case.rows(np.arange(0, case.n, 5))
    mode = fit.posterior(few).mode()
    predicted = fit.predict(few)
    if len(case.model.latents) == 1:
        (expected,) = mode.values()
        np.testing.assert_array_equal(predicted, expected)
    else:
        assert predicted.keys() == mode.keys()
        for name, states in mode.items():
            np.testing.assert_array_equal(predicted[name], states)


def test_trace_is_a_table(faithful: np.ndarray) -> None:
    fit = lem.fit(lem.models.gaussian_mixture(2), faithful, seed=0)
    for backend in ("pandas", "polars"):
        frame = fit.trace.to_dataframe(backend=backend)
        assert list(frame.columns)[:6] == [
            "iteration", "phase", "objective", "q", "entropy", "log_likelihood",
        ]  # fmt: skip
        assert len(frame) == len(fit.trace) == len(list(fit.trace))
        np.testing.assert_array_equal(frame["objective"].to_numpy(), fit.trace["objective"])
    frame = fit.trace.to_dataframe()
    assert set(frame["phase"]) == {"E", "M"}
    assert frame["log_likelihood"].notna().equals(frame["phase"] == "E")
    np.testing.assert_allclose(frame["q"] + frame["entropy"], frame["objective"], rtol=1e-12)


def test_repr_and_summary_say_what_was_found(faithful: np.ndarray) -> None:
    fit = lem.fit(lem.models.gaussian_mixture(2), faithful, seed=0)
    for text in (repr(fit), str(fit.summary())):
        assert "-1130.26" in text or "−1130.26" in text
        assert "converged" in text.lower()


# -- sampling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [c for c in PROBABILISTIC if "rayleigh" not in c.name], ids=str)
def test_a_large_sample_has_the_log_likelihood_that_the_model_expects(case: Case) -> None:
    model = _plain(case, 5).model
    drawn = lem.sample(model, 4000, seed=0)
    assert set(drawn) == {node.name for node in model.nodes}
    again = lem.sample(model, 4000, seed=0)
    assert all(np.array_equal(drawn[name], again[name]) for name in drawn)
    half = {name: values[:2000] for name, values in drawn.items()}
    rest = {name: values[2000:] for name, values in drawn.items()}
    observed = [node.name for node in model.observed]

    def scores(part: dict[str, np.ndarray]) -> np.ndarray:
        return lem.e_step(model, {name: part[name] for name in observed}).log_evidence

    one, two = scores(half), scores(rest)
    error = math.hypot(one.std(), two.std()) / math.sqrt(2000)
    assert abs(one.mean() - two.mean()) < 5 * error + 1e-12
    # Ancestral draws have the posterior's states: the latents fit what was drawn with them.
    truth = describe(model)
    for name, k in truth.latents.items():
        share = np.bincount(drawn[name].astype(int), minlength=k) / 4000
        expected = lem.e_step(model, {n: drawn[n] for n in observed}).marginal(name).mean(axis=0)
        assert np.abs(share - expected).max() < 5 * 0.5 / math.sqrt(4000)


def test_a_large_sample_recovers_the_parameters() -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.3, 0.7]))
    dist = lem.Gaussian(mean=[[0.0, 0.0], [4.0, 1.0]], covariance=[np.eye(2), [[2, 0.5], [0.5, 1]]])
    model = lem.Model([z, lem.observed("x", dist, given=z)])
    drawn = lem.sample(model, 20_000, seed=0)
    fit = lem.fit(lem.models.gaussian_mixture(2), drawn["x"], seed=0)
    order = np.argsort(fit.model["x"].mean[:, 0])
    np.testing.assert_allclose(fit.model["z"].probs[order], [0.3, 0.7], atol=0.02)
    np.testing.assert_allclose(fit.model["x"].mean[order], dist.mean, atol=0.08)
    np.testing.assert_allclose(fit.model["x"].covariance[order], dist.covariance, atol=0.12)
    # Twice the gain over the truth is chi-square with as many degrees as parameters.
    gain = 2 * (fit.log_likelihood - lem.log_likelihood(model, drawn["x"]))
    assert 0 <= gain < 45
