"""Somebody else's distribution: two methods, and it works in every graph under every rule."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import attrs
import numpy as np
import pytest
from registry import CountedRayleigh, Exponential, Rayleigh

import latentem as lem

PLAIN = {"restarts": 1, "accelerate": None, "tol": 0.0}
RNG = np.random.default_rng(5)
X = np.concatenate([RNG.rayleigh(1.0, 60), RNG.rayleigh(4.0, 60)])


def _mixture(dist: lem.Distribution, k: int = 2) -> lem.Model:
    z = lem.latent("z", lem.Categorical(k))
    return lem.Model([z, lem.observed("x", dist, given=z)])


def _log_rayleigh(x: float, scale: float) -> float:
    return math.log(x) - 2 * math.log(scale) - x * x / (2 * scale * scale)


def _em_by_hand(shares: list[float], scales: list[float], steps: int) -> list[float]:
    """Log-likelihoods of EM for a mixture of Rayleighs, in scalar arithmetic."""
    found = []
    for _ in range(steps + 1):
        joint = [
            [math.log(p) + _log_rayleigh(x, s) for p, s in zip(shares, scales, strict=True)]
            for x in X
        ]
        evidence = [math.log(math.fsum(map(math.exp, row))) for row in joint]
        found.append(math.fsum(evidence))
        r = [[math.exp(t - e) for t in row] for row, e in zip(joint, evidence, strict=True)]
        totals = [math.fsum(row[k] for row in r) for k in range(2)]
        shares = [total / len(X) for total in totals]
        scales = [
            math.sqrt(math.fsum(row[k] * x * x for row, x in zip(r, X, strict=True)) / total / 2)
            for k, total in enumerate(totals)
        ]
    return found


def _start(dist: lem.Distribution) -> lem.Model:
    z = lem.latent("z", lem.Categorical(probs=[0.4, 0.6]))
    return lem.Model([z, lem.observed("x", dist, given=z)])


def _fit(model: lem.Model, data: Any, **arguments: Any) -> lem.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lem.ConvergenceWarning)
        return lem.fit(model, data, **{**PLAIN, **arguments})


def test_a_mixture_of_plug_ins_is_em_by_hand() -> None:
    fit = _fit(_start(Rayleigh(np.array([0.8, 3.0]))), X, max_iter=8)
    ends = [row.objective for row in fit.trace if row.phase == "E"]
    np.testing.assert_allclose(ends, _em_by_hand([0.4, 0.6], [0.8, 3.0], 8), rtol=1e-12)
    assert isinstance(fit.model["x"], Rayleigh)
    assert fit.model["x"].scale.shape == (2,)


def test_the_default_call_finds_the_components() -> None:
    for seed in range(5):
        fit = lem.fit(_mixture(Rayleigh()), X, seed=seed)
        np.testing.assert_allclose(np.sort(fit.model["x"].scale), [1.0, 4.0], rtol=0.35)


def test_a_plug_in_without_latent_parents_is_fitted_in_one_step() -> None:
    fit = lem.fit(lem.Model([lem.observed("x", Rayleigh())]), X)
    scale = math.sqrt(math.fsum(X**2) / len(X) / 2)
    assert np.shape(fit.model["x"].scale) == ()
    assert float(fit.model["x"].scale) == pytest.approx(scale, rel=1e-12)
    assert fit.log_likelihood == pytest.approx(
        math.fsum(_log_rayleigh(x, scale) for x in X), rel=1e-12
    )


def test_two_parents_index_the_parameters_in_the_order_of_given() -> None:
    scale = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    a = lem.latent("a", lem.Categorical(probs=[0.5, 0.5]))
    b = lem.latent("b", lem.Categorical(probs=[0.2, 0.3, 0.5]))
    model = lem.Model([a, b, lem.observed("x", Rayleigh(scale), given=[a, b])])
    posterior = lem.e_step(model, X)
    for i in (0, 70):
        joint = np.array([
            [math.log(0.5 * p) + _log_rayleigh(X[i], s) for p, s in zip([0.2, 0.3, 0.5], row,
                                                                     strict=True)]
            for row in scale
        ])  # fmt: skip
        expected = np.exp(joint - np.logaddexp.reduce(joint.ravel()))
        np.testing.assert_allclose(posterior.marginal("a", "b")[i], expected, rtol=1e-11)
    new = lem.m_step(model, X, posterior)
    weights = posterior.marginal("a", "b")
    expected = np.sqrt(np.einsum("nab,n->ab", weights, X**2) / weights.sum(axis=0) / 2)
    np.testing.assert_allclose(new["x"].scale, expected, rtol=1e-11)
    turned = lem.Model([a, b, lem.observed("x", Rayleigh(scale.T), given=[b, a])])
    assert lem.log_likelihood(turned, X) == pytest.approx(lem.log_likelihood(model, X), rel=1e-12)


def test_an_observed_parent_indexes_the_parameters() -> None:
    group = np.arange(120) % 3
    z = lem.latent("z", lem.Categorical(2))
    g = lem.observed("g", lem.Categorical(3))
    model = lem.Model([z, g, lem.observed("x", Rayleigh(), given=[g, z])])
    fit = _fit(model, {"x": X, "g": group}, seed=0, max_iter=6)
    assert fit.model["x"].scale.shape == (3, 2)
    weights = lem.e_step(fit.model, {"x": X, "g": group}).marginal("z")
    new = lem.m_step(fit.model, {"x": X, "g": group}, fit.posterior())
    for k in range(3):
        w = weights[group == k]
        expected = np.sqrt(w.T @ X[group == k] ** 2 / w.sum(axis=0) / 2)
        np.testing.assert_allclose(new["x"].scale[k], expected, rtol=1e-9)


def test_a_plug_in_as_a_case_of_a_switch() -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.3, 0.7]))
    cases = lem.Switch([Exponential(rate=np.array(1.0)), Rayleigh(np.array(3.0))])
    model = lem.Model([z, lem.observed("x", cases, given=z)])
    posterior = lem.e_step(model, X)
    for i in (0, 70):
        joint = [math.log(0.3) - X[i], math.log(0.7) + _log_rayleigh(X[i], 3.0)]
        assert posterior.log_evidence[i] == pytest.approx(np.logaddexp(*joint), rel=1e-12)
    new = lem.m_step(model, X, posterior)
    r = posterior.marginal("z")
    first, second = new["x"].cases
    assert float(first.rate) == pytest.approx(r[:, 0].sum() / (r[:, 0] @ X), rel=1e-10)
    expected = math.sqrt(r[:, 1] @ X**2 / r[:, 1].sum() / 2)
    assert float(second.scale) == pytest.approx(expected, rel=1e-10)
    fit = _fit(model, X, max_iter=10)
    assert (np.diff(fit.trace["objective"]) >= -1e-9).all()


@pytest.mark.parametrize("assign", [lem.hard, lem.tempered(0.5), lem.tempered([0.2, 0.5, 1.0])])
def test_a_plug_in_under_other_rules(assign: Any) -> None:
    start = _start(Rayleigh(np.array([0.8, 3.0])))
    fit = _fit(start, X, max_iter=5, assign=assign)
    posterior = lem.e_step(start, X, assign=assign)
    r = posterior.marginal("z")
    expected = np.sqrt(r.T @ X**2 / r.sum(axis=0) / 2)
    new = lem.m_step(start, X, posterior)
    np.testing.assert_allclose(new["x"].scale, expected, rtol=1e-11)
    assert np.isfinite(fit.trace["objective"]).all()
    assert np.isfinite(fit.log_likelihood)


def test_row_weights_reach_a_plug_in() -> None:
    counts = np.arange(len(X)) % 3
    start = _start(Rayleigh(np.array([0.8, 3.0])))
    weighted = _fit(start, X, weights=counts, max_iter=6)
    repeated = _fit(start, X.repeat(counts), max_iter=6)
    np.testing.assert_allclose(weighted.trace["objective"], repeated.trace["objective"], rtol=1e-11)
    np.testing.assert_allclose(weighted.model["x"].scale, repeated.model["x"].scale, rtol=1e-10)


def test_a_plug_in_stands_beside_built_in_families() -> None:
    y = np.concatenate([RNG.normal(0, 1, 60), RNG.normal(5, 1, 60)])
    z = lem.latent("z", lem.Categorical(2))
    nodes = [
        z,
        lem.observed("x", Rayleigh(), given=z),
        lem.observed("y", lem.Normal(), given=z),
        lem.observed("w", Exponential(), given=z),
    ]
    fit = lem.fit(lem.Model(nodes), {"x": X, "y": y, "w": X}, seed=0)
    assert fit.status is lem.Status.CONVERGED
    order = np.argsort(fit.model["y"].mean)
    np.testing.assert_allclose(fit.model["y"].mean[order], [0, 5], atol=0.5)
    assert (np.diff(fit.trace["objective"]) >= -1e-9).all()
    q = lem.expected_log_joint(fit.model, {"x": X, "y": y, "w": X}, fit.posterior())
    assert q.total + fit.posterior().entropy == pytest.approx(fit.log_likelihood, rel=1e-11)


def test_a_family_by_statistics_equals_the_same_family_by_two_methods() -> None:
    @attrs.frozen(eq=False)
    class Plain(lem.Distribution):
        rate: lem.Array | None = None

        def log_prob(self, value: np.ndarray) -> np.ndarray:
            return np.log(self.rate) - value[:, None] * self.rate

        def fit(self, value: np.ndarray, weights: np.ndarray) -> Plain:
            return Plain(weights.sum(axis=0) / (weights.T @ value))

    rate = np.array([0.3, 1.5])
    one = _fit(_start(Plain(rate)), X, max_iter=10)
    other = _fit(_start(Exponential(rate)), X, max_iter=10)
    np.testing.assert_allclose(one.trace["objective"], other.trace["objective"], rtol=1e-11)
    np.testing.assert_allclose(one.trace["q"], other.trace["q"], rtol=1e-10)
    np.testing.assert_allclose(one.model["x"].rate, other.model["x"].rate, rtol=1e-9)


def test_optional_methods_open_sampling_and_criteria() -> None:
    fit = lem.fit(_mixture(CountedRayleigh()), X, seed=0)
    assert fit.n_parameters == 3
    assert fit.bic == pytest.approx(-2 * fit.log_likelihood + 3 * math.log(len(X)))
    drawn = fit.sample(5000, seed=0)
    assert drawn["x"].shape == (5000,)
    assert drawn["x"].mean() == pytest.approx(X.mean(), rel=0.1)


def test_a_vector_event_of_a_plug_in_keeps_its_axes() -> None:
    @attrs.frozen(eq=False)
    class Sphere(lem.Distribution):
        """Unit-variance Gaussian of any event shape: the mean is (*parents, *event)."""

        mean: lem.Array | None = None

        def log_prob(self, value: np.ndarray) -> np.ndarray:
            difference = value[:, None] - self.mean  # (n, K, 2, 3)
            return -0.5 * (difference**2).sum(axis=(2, 3)) - 3 * math.log(2 * math.pi)

        def fit(self, value: np.ndarray, weights: np.ndarray) -> Sphere:
            return Sphere(np.einsum("nk,nij->kij", weights / weights.sum(axis=0), value))

    rng = np.random.default_rng(0)
    value = rng.normal(size=(80, 2, 3)) + 4 * rng.integers(0, 2, size=(80, 1, 1))
    fit = lem.fit(_mixture(Sphere()), value, seed=0)
    assert fit.model["x"].mean.shape == (2, 2, 3)
    assert sorted(fit.model["x"].mean.mean(axis=(1, 2)).round()) == [0, 4]
    steps = itertools.pairwise(fit.trace["objective"])
    assert all(after >= before - 1e-9 for before, after in steps)


def test_a_maximiser_that_returns_nan_is_named_not_spread() -> None:
    @attrs.frozen(eq=False)
    class Broken(CountedRayleigh):
        def fit(self, value: np.ndarray, weights: np.ndarray) -> Any:
            return attrs.evolve(self, scale=np.full(weights.shape[1], np.nan))

    with pytest.raises(lem.DegenerateError, match=r"(?s)must .*finite.*, got .*nan.*\. .+"):
        lem.fit(_mixture(Broken()), X, seed=0)


# -- a base measure that is the same for all values ------------------------------------------------


@attrs.frozen(eq=False)
class UnitNormal(lem.ExponentialFamily):
    """N(mean, 1), whose base measure has a factor that depends on x and one that does not."""

    mean: np.ndarray | None = None
    apart: bool = False

    def statistics(self, value: np.ndarray) -> np.ndarray:
        return np.stack([value, value**2], axis=1)

    def natural_parameters(self) -> tuple[np.ndarray, np.ndarray]:
        half = np.full(self.mean.shape, -0.5)
        constant = 0.0 if self.apart else 0.5 * math.log(2 * math.pi)
        return np.stack([self.mean, half], axis=-1), 0.5 * self.mean**2 + constant

    def log_base_measure(self, value: np.ndarray) -> float:
        return -0.5 * math.log(2 * math.pi) if self.apart else 0.0

    def from_mean(self, mean: np.ndarray, weight: np.ndarray) -> UnitNormal:
        return attrs.evolve(self, mean=mean[..., 0])


def test_a_constant_base_measure_counts() -> None:
    value = np.array([0.0, 1.0, 5.0, 6.0])
    for weights in (None, np.array([1.0, 2.0, 0.0, 3.0])):
        runs = []
        for apart in (False, True):
            model = _start(UnitNormal(np.array([0.0, 4.0]), apart))
            fit = _fit(model, value, max_iter=3, weights=weights)
            step = lem.expected_log_joint(model, value, lem.e_step(model, value, weights=weights))
            runs.append([
                *fit.trace["objective"], *fit.trace["q"], fit.log_likelihood, step.total,
                *fit.score_samples(), *lem.e_step(model, value).log_evidence,
                *model["x"].log_prob(value).ravel(), fit.objective,
            ])  # fmt: skip
        np.testing.assert_allclose(runs[1], runs[0], rtol=1e-12)


def test_an_error_inside_a_plug_in_is_the_plug_ins() -> None:
    square = np.ones((6, 6)) + np.arange(6.0)
    with pytest.raises(
        lem.ModelError, match=r"Node 'x': Rayleigh\.fit must work for value of shape"
    ):
        lem.fit(_mixture(Rayleigh()), square, seed=0)
    with pytest.raises(lem.ModelError, match=r"Rayleigh\.log_prob must .+, got ValueError.+\. .+"):
        lem.e_step(_start(Rayleigh(np.array([1.0, 4.0]))), square)


# -- every graph, every rule, weights, gaps and restarts -------------------------------------------


@attrs.frozen(eq=False)
class Slope(lem.Distribution):
    """A line through the origin with unit noise."""

    takes_covariates = True
    slope: lem.Array | None = None  # (*parents,)

    def log_prob(self, value: np.ndarray) -> np.ndarray:
        return -0.5 * (value[:, 1:] - self.slope * value[:, :1]) ** 2 - 0.5 * math.log(2 * math.pi)

    def fit(self, value: np.ndarray, weights: np.ndarray) -> Slope:
        u, y = value.T
        return Slope(weights.T @ (u * y) / (weights.T @ u**2))


def _graphs() -> dict[str, tuple[lem.Model, dict[str, np.ndarray]]]:
    """Two-method plug-ins in one graph of each kind, beside built-in families."""
    rng = np.random.default_rng(11)
    state, group = np.arange(120) // 60, np.arange(120) % 3
    data = {
        "x": X,
        "y": rng.normal(4.0 * state),
        "g": group,
        "q": (state + (rng.random(120) < 0.2)) % 2,
        "u": rng.uniform(0.5, 2.0, size=120),
    }
    data["v"] = np.array([1.0, 5.0])[state] * data["u"] + rng.normal(size=120)
    z, a = lem.latent("z", lem.Categorical(2)), lem.latent("a", lem.Categorical(2))
    b = lem.latent("b", lem.Categorical(2), given=a)
    g, u = lem.observed("g", lem.Categorical(3)), lem.covariate("u")
    y = lem.observed("y", lem.Normal(), given=z)
    two = [
        lem.observed("x", CountedRayleigh(), given=[z, a]),
        lem.observed("y", lem.Normal(), given=[z, a]),
    ]
    switch = lem.Switch([lem.Exponential(), CountedRayleigh()])
    graphs = {
        "mixture": [z, lem.observed("x", CountedRayleigh(), given=z)],
        "beside a built-in": [z, lem.observed("x", CountedRayleigh(), given=z), y],
        "two latent parents": [z, a, *two, lem.observed("q", lem.Bernoulli(), given=a)],
        "an observed parent": [z, g, lem.observed("x", CountedRayleigh(), given=[g, z]), y],
        "a hierarchy": [
            a, b, lem.observed("x", CountedRayleigh(), given=b),
            lem.observed("q", lem.Bernoulli(), given=a),
        ],
        "a switch": [z, lem.observed("x", switch, given=z)],
        "a product": [
            z, lem.observed("w", lem.Product([CountedRayleigh(), lem.Normal()]), given=z)
        ],
        "a regression": [z, u, lem.observed("v", Slope(), given=[z, u])],
    }  # fmt: skip
    data["w"] = np.column_stack([data["x"], data["y"]])
    return {
        name: (
            lem.Model(nodes),
            {node.name: data[node.name] for node in nodes if node.name in data},
        )
        for name, nodes in graphs.items()
    }


RULES = {
    "soft": lambda: lem.soft,
    "hard": lambda: lem.hard,
    "tempered": lambda: lem.tempered([0.3, 0.6, 1.0]),
    "stochastic": lambda: lem.stochastic(3),  # which goes on drawing from its generator
}
GRAPHS = _graphs()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("graph", GRAPHS)
def test_every_graph_and_rule_takes_weights_gaps_and_restarts(graph: str, rule: str) -> None:
    model, complete = GRAPHS[graph]
    rows = np.arange(120)
    gaps = {
        name: np.where((rows % 7 == 3).reshape(-1, *(1,) * (column.ndim - 1)), np.nan, column)
        if name in ("x", "y", "v", "w")
        else column
        for name, column in complete.items()
    }
    weights = 1.0 + rows % 3
    for data in (complete, gaps):
        options = {"weights": weights, "seed": 0, "max_iter": 12, "restarts": 2}
        fit = _fit(model, data, assign=RULES[rule](), **options)
        assert np.isfinite(fit.trace["objective"]).all()
        if rule in ("soft", "hard"):
            objective = fit.trace["objective"]
            assert (np.diff(objective) >= -1e-9 * (1 + np.abs(objective[1:]))).all()
        again = _fit(model, data, assign=RULES[rule](), **options)
        assert again.log_likelihood == fit.log_likelihood
    repeated = {name: column.repeat(weights.astype(int), axis=0) for name, column in gaps.items()}
    assert lem.log_likelihood(fit.model, gaps, weights=weights) == pytest.approx(
        lem.log_likelihood(fit.model, repeated), rel=1e-11
    )


@pytest.mark.parametrize("graph", GRAPHS)
def test_every_graph_keeps_the_laws_of_a_model(graph: str) -> None:
    model, data = GRAPHS[graph]
    lem.testing.check_model(model, {name: column[::2] for name, column in data.items()})


# -- errors of the same quality as the built-in families' -----------------------------------------


class StatesFirst(CountedRayleigh):
    def log_prob(self, value: np.ndarray) -> np.ndarray:
        return super().log_prob(value).T


class OneState(CountedRayleigh):
    def log_prob(self, value: np.ndarray) -> np.ndarray:
        return super().log_prob(value)[:, :1]


class NotANumber(CountedRayleigh):
    def log_prob(self, value: np.ndarray) -> np.ndarray:
        return np.where(value[:, None] > 3, np.nan, super().log_prob(value))


class Nothing(CountedRayleigh):
    def fit(self, value: np.ndarray, weights: np.ndarray) -> Any:
        return None


class Template(CountedRayleigh):
    def fit(self, value: np.ndarray, weights: np.ndarray) -> Any:
        return type(self)()


class Falls(CountedRayleigh):
    def fit(self, value: np.ndarray, weights: np.ndarray) -> Any:
        scale = Rayleigh().fit(value, weights).scale
        return type(self)(3 * scale / (1 + scale))


@pytest.mark.parametrize(
    ("dist", "error", "words"),
    [
        (
            StatesFirst(),
            lem.ModelError,
            r"log_prob must return .+ got shape \(2, 120\)\. Put the r",
        ),
        (
            OneState(),
            lem.ModelError,
            r"Node 'x': log_prob must return one column for each .+ got 1\.",
        ),
        (
            NotANumber(),
            lem.ModelError,
            r"Node 'x': NotANumber\.log_prob must .+ got nan for row \d+",
        ),
        (
            Nothing(),
            lem.ModelError,
            r"Node 'x': Nothing\.fit must return a Nothing, got None\. Ret",
        ),
        (Template(), lem.DegenerateError, r"Node 'x': Template must .+, got scale = None\. Check"),
        (Falls(), lem.ObjectiveDecreasedError, r"the maximiser of node 'x' is the suspect"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_the_engine_names_what_is_wrong(
    dist: lem.Distribution, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        _fit(_mixture(dist), X, seed=0, max_iter=30)


def test_what_needs_an_absent_method_says_so() -> None:
    fit = _fit(_mixture(Rayleigh()), X, seed=0, max_iter=3)
    with pytest.raises(lem.MissingMethodError, match="Rayleigh must have 'n_parameters' because"):
        _ = fit.bic
    with pytest.raises(lem.MissingMethodError, match=r"a method 'sample\(rng, state\)' because"):
        fit.sample(5)


def test_data_that_do_not_suit_a_plug_in_are_refused_with_its_name() -> None:
    with pytest.raises(lem.DataError, match="must be numeric because Node 'x' is a Rayleigh"):
        lem.fit(_mixture(Rayleigh()), np.array(["a", "b"] * 20))
    partly = np.column_stack([X, X])
    partly[4, 0] = np.nan
    with pytest.raises(
        lem.DataError, match=r"because Rayleigh cannot marginalise a part .+ row 4\."
    ):
        lem.fit(_mixture(Rayleigh()), partly)
