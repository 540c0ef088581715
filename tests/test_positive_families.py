"""Families of positive values, of proportions and of intervals: figures, units, constraints."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from typing import Any

import attrs
import numpy as np
import pytest
from scipy import special, stats

import latentem as lem

POSITIVE = [
    lem.Exponential(),
    lem.Gamma(),
    lem.InverseGaussian(),
    lem.LogNormal(),
    lem.Pareto(),
    lem.Rayleigh(),
    lem.Weibull(),
]
EVERY = [*POSITIVE, lem.Beta(), lem.Dirichlet(), lem.Uniform()]


def _name(dist: lem.Distribution) -> str:
    return type(dist).__name__


def _draw(dist: lem.Distribution, seed: int = 0, n: int = 200) -> np.ndarray:
    """Values of two kinds, each typical of the family."""
    rng = np.random.default_rng(seed)
    match dist:
        case lem.Beta():
            return np.concatenate([rng.beta(2, 9, n), rng.beta(9, 3, n)])
        case lem.Dirichlet():
            return np.concatenate([rng.dirichlet([2, 9, 3], n), rng.dirichlet([9, 3, 9], n)])
        case lem.Pareto():
            return np.concatenate([1 + rng.pareto(1, n), 1 + rng.pareto(9, n)])
        case lem.Uniform():
            return np.concatenate([rng.uniform(0, 2, n), rng.uniform(5, 6, n)])
        case _:
            return np.concatenate([rng.gamma(4, 0.5, n), rng.gamma(9, 3, n)])


def _alone(dist: Any, value: np.ndarray) -> Any:
    return dist.fit(value, np.ones(len(value)))


def _mixture(dist: lem.Distribution) -> lem.Model:
    z = lem.latent("z", lem.Categorical(2))
    return lem.Model([z, lem.observed("x", dist, given=z)])


# -- published and closed-form figures -------------------------------------------------------------


def test_closed_forms() -> None:
    x = np.array([1.0, 2.0, 6.0])
    assert _alone(lem.Exponential(), x).rate == pytest.approx(1 / 3, rel=1e-15)
    assert _alone(lem.Rayleigh(), x).scale == pytest.approx(math.sqrt(41 / 6), rel=1e-15)
    inverse = _alone(lem.InverseGaussian(), x)  # Tweedie (1957)
    assert inverse.mean == pytest.approx(3, rel=1e-15)
    assert inverse.shape == pytest.approx(1 / ((1 + 1 / 2 + 1 / 6) / 3 - 1 / 3), rel=1e-14)
    logs = _alone(lem.LogNormal(), x)
    assert logs.mean == pytest.approx(math.log(12) / 3, rel=1e-15)
    assert logs.variance == pytest.approx(np.log(x).var(), rel=1e-14)
    pareto = _alone(lem.Pareto(), x)  # Hill (1975)
    assert pareto.minimum == 1
    assert pareto.exponent == pytest.approx(3 / math.log(12), rel=1e-15)
    uniform = _alone(lem.Uniform(), x)
    assert (uniform.low, uniform.high) == (1, 6)


@pytest.mark.parametrize(
    ("dist", "peer", "fixed"),
    [
        (lem.Exponential(), stats.expon, {"floc": 0}),
        (lem.Gamma(), stats.gamma, {"floc": 0}),
        (lem.InverseGaussian(), stats.invgauss, {"floc": 0}),
        (lem.LogNormal(), stats.lognorm, {"floc": 0}),
        (lem.Rayleigh(), stats.rayleigh, {"floc": 0}),
        (lem.Weibull(), stats.weibull_min, {"floc": 0}),
        (lem.Beta(), stats.beta, {"floc": 0, "fscale": 1}),
    ],
    ids=lambda value: getattr(value, "name", _name(value)),
)
def test_the_fit_is_as_good_as_that_of_scipy(dist: Any, peer: Any, fixed: dict[str, float]) -> None:
    value = _draw(dist)
    log_likelihood = _alone(dist, value).log_prob(value).sum()
    other = peer.logpdf(value, *peer.fit(value, **fixed)).sum()
    assert log_likelihood > other - 1e-8
    assert log_likelihood == pytest.approx(other, abs=1e-6)  # SciPy's own search is not exact


def test_the_maximiser_solves_the_textbook_equations() -> None:
    x = _draw(lem.Gamma())
    gamma = _alone(lem.Gamma(), x)
    left = np.log(gamma.shape) - special.digamma(gamma.shape)
    assert left == pytest.approx(np.log(x.mean()) - np.log(x).mean(), rel=1e-12)
    assert gamma.shape / gamma.rate == pytest.approx(x.mean(), rel=1e-14)
    a = _alone(lem.Weibull(), x).shape
    power = x**a
    equation = (power @ np.log(x)) / power.sum() - 1 / a - np.log(x).mean()
    assert equation == pytest.approx(0, abs=1e-13)
    shares = _draw(lem.Dirichlet())
    alpha = _alone(lem.Dirichlet(), shares).concentration
    left = special.digamma(alpha) - special.digamma(alpha.sum())
    np.testing.assert_allclose(left, np.log(shares).mean(axis=0), rtol=1e-13)


def test_beta_is_the_dirichlet_of_two_parts() -> None:
    x = _draw(lem.Beta())
    weights = np.random.default_rng(0).gamma(2.0, size=(len(x), 3))
    parts = np.stack([x, 1 - x], axis=1)
    beta, dirichlet = lem.Beta().fit(x, weights), lem.Dirichlet().fit(parts, weights)
    np.testing.assert_allclose(np.stack([beta.a, beta.b], axis=1), dirichlet.concentration, 1e-12)
    np.testing.assert_allclose(beta.log_prob(x), dirichlet.log_prob(parts), rtol=1e-11, atol=1e-12)


def test_log_normal_is_normal_in_logarithms() -> None:
    x = _draw(lem.LogNormal())
    fit = lem.fit(_mixture(lem.LogNormal()), x, seed=0)
    logs = lem.fit(_mixture(lem.Normal()), np.log(x), seed=0)
    assert fit.log_likelihood == pytest.approx(logs.log_likelihood - np.log(x).sum(), rel=1e-12)


# -- digits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("delta", [1e-1, 1e-3, 2e-4])
def test_large_shapes_keep_their_digits(delta: float) -> None:
    # Two values m (1 - delta), m (1 + delta): log of the mean - mean of the logs is known exactly.
    x = 0.75 * (1 + delta * np.array([-1.0, 1.0]))
    spread = -0.5 * math.log1p(-(delta**2))
    shape = float(_alone(lem.Gamma(), x).shape)
    series = 1 / (2 * shape) + 1 / (12 * shape**2) - 1 / (120 * shape**4)
    assert series == pytest.approx(spread, rel=1e-10 if delta < 1e-1 else 1e-8)
    inverse = _alone(lem.InverseGaussian(), x)  # mean of 1 / x is 1 / (m (1 - delta^2))
    assert inverse.shape == pytest.approx(0.75 * (1 - delta**2) / delta**2, rel=1e-10)
    assert _alone(lem.LogNormal(), x).variance == pytest.approx(math.atanh(delta) ** 2, rel=1e-10)


def test_a_tight_state_far_from_the_others_has_the_shape_it_has_by_itself() -> None:
    rng = np.random.default_rng(0)
    x = rng.gamma(1e6, 1e-6, 300)
    both = np.concatenate([x, 50 * rng.gamma(1e6, 1e-6, 300)])
    weights = np.repeat(np.eye(2), 300, axis=0)
    for dist, field, rel in [
        (lem.Gamma(), "shape", 1e-7),
        (lem.InverseGaussian(), "shape", 1e-7),
        (lem.Weibull(), "shape", 1e-9),
    ]:
        alone = getattr(_alone(dist, x), field)
        assert getattr(dist.fit(both, weights), field)[0] == pytest.approx(alone, rel=rel)


@pytest.mark.parametrize("unit", [1e-100, 1e-8, 1e8, 1e100])
@pytest.mark.parametrize("dist", [*POSITIVE, lem.Uniform()], ids=_name)
def test_a_fit_has_no_unit(dist: Any, unit: float) -> None:
    x = _draw(dist)
    here, there = _alone(dist, x), _alone(dist, x * unit)
    np.testing.assert_allclose(
        there.log_prob(x * unit), here.log_prob(x) - math.log(unit), rtol=1e-11, atol=1e-11
    )
    if _name(dist) in ("Gamma", "Weibull"):
        assert there.shape == pytest.approx(here.shape, rel=1e-12)
    if _name(dist) in ("Exponential", "Gamma"):
        assert there.rate == pytest.approx(here.rate / unit, rel=1e-12)


# -- mixtures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dist", EVERY, ids=_name)
@pytest.mark.parametrize("assign", [lem.soft, lem.hard], ids=["soft", "hard"])
def test_no_step_of_a_mixture_lowers_the_objective(dist: Any, assign: Any) -> None:
    x = _draw(dist)
    start = lem.init.from_labels((np.arange(len(x)) >= len(x) // 2 + 20).astype(int))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lem.ConvergenceWarning)
        fit = lem.fit(
            _mixture(dist),
            x,
            init=start,
            assign=assign,
            restarts=1,
            accelerate=None,
            tol=0,
            max_iter=50,
        )
    objective = fit.trace["objective"]
    assert len(objective) > 2
    assert (np.diff(objective) >= -1e-12 * np.abs(objective[:-1])).all()


WITH_UNITS = [(dist, unit) for dist in [*POSITIVE, lem.Uniform()] for unit in (1e-8, 1.0, 1e8)]


@pytest.mark.parametrize(
    ("dist", "unit"),
    [case for case in WITH_UNITS if _name(case[0]) != "Pareto"]
    + [(lem.Beta(), 1.0), (lem.Dirichlet(), 1.0)],
    ids=lambda value: _name(value) if isinstance(value, lem.Distribution) else str(value),
)
def test_a_mixture_finds_its_two_states_in_any_unit(dist: Any, unit: float) -> None:
    x = _draw(dist) * unit
    fit = lem.fit(_mixture(dist), x, seed=0)
    truth = np.repeat([0, 1], len(x) // 2)
    agree = np.mean(fit.posterior().mode()["z"] == truth)
    assert max(agree, 1 - agree) > (0.7 if _name(dist) == "Exponential" else 0.8)


def test_several_nodes_and_missing_entries() -> None:
    rng = np.random.default_rng(0)
    state = rng.integers(0, 2, 300)
    data = {
        "income": rng.lognormal(2.0 * state, 0.5),
        "share": rng.beta(2 + 6 * state, 4),
        "wait": rng.weibull(2.0, 300) * (1 + 3 * state),
    }
    for column in data.values():
        column[rng.random(300) < 0.2] = np.nan
    z = lem.latent("z", lem.Categorical(2))
    families = {"income": lem.LogNormal(), "share": lem.Beta(), "wait": lem.Weibull()}
    nodes = [lem.observed(name, dist, given=z) for name, dist in families.items()]
    fit = lem.fit(lem.Model([z, *nodes]), data, seed=0)
    agree = np.mean(fit.posterior().mode()["z"] == state)
    assert max(agree, 1 - agree) > 0.85
    assert fit.standard_errors()["share"]["a"].shape == (2,)


def test_a_body_with_a_heavy_tail() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.lognormal(0, 0.4, 2000), 4 * (1 + rng.pareto(2.0, 400))])
    fit = lem.fit(_mixture(lem.Switch([lem.LogNormal(), lem.Pareto(minimum=4)])), x, seed=0)
    body, tail = fit.model["x"].cases
    assert tail.minimum == 4
    assert tail.exponent == pytest.approx(2, abs=0.25)
    assert body.variance == pytest.approx(0.16, abs=0.02)
    assert fit.posterior(np.array([1.0])).marginal("z")[0, 1] == 0  # below the tail's minimum


# -- states without a spread -----------------------------------------------------------------------


def _with_equal_values(dist: lem.Distribution) -> tuple[np.ndarray, np.ndarray]:
    """Values of which the second state's are all equal, and weights."""
    value = np.array([0.2, 0.3, 0.4, 0.7, 0.7, 0.7])
    match dist:
        case lem.Exponential():
            value = np.array([1.0, 2.0, 3.0, 0.0, 0.0, 0.0])
        case lem.Pareto():
            value = np.array([1.0, 2.0, 3.0, 0.1, 0.1, 0.1])
        case lem.Dirichlet():
            value = np.stack([value, 1 - value], axis=1)
    return value, np.repeat(np.eye(2), 3, axis=0)


@pytest.mark.parametrize(
    ("dist", "limit"),
    [
        (lem.Exponential(floor=1e-3), lambda d: 1 / d.rate),
        (lem.Gamma(largest_shape=1e3), lambda d: 1 / d.shape),
        (lem.InverseGaussian(largest_shape=1e3), lambda d: d.mean / d.shape),
        (lem.Weibull(largest_shape=1e3), lambda d: 1 / d.shape),
        (lem.Pareto(largest_exponent=1e3), lambda d: 1 / d.exponent),
        (lem.Beta(largest_sum=1e3), lambda d: 1 / (d.a + d.b)),
        (lem.Dirichlet(largest_sum=1e3), lambda d: 1 / d.concentration.sum(axis=-1)),
    ],
    ids=lambda value: _name(value) if isinstance(value, lem.Distribution) else "",
)
def test_the_constraint_is_exact_and_says_so(dist: Any, limit: Any) -> None:
    value, weights = _with_equal_values(dist)
    fitted = dist.fit(value, weights)
    assert fitted.at_constraint
    assert "state 1" in fitted.events[0]
    assert fitted.at_limit.tolist() == [False, True]
    bound = 1e-3 * value.mean() if _name(dist) == "Exponential" else 1e-3
    assert limit(fitted)[1] == pytest.approx(bound, rel=1e-9)
    # No other member that keeps the constraint is better.
    best = np.sum(weights * np.maximum(fitted.log_prob(value), -1e300))
    rng = np.random.default_rng(0)
    tried = 0
    for _ in range(400):
        scale = 10.0 ** rng.uniform(-6, -1)
        moved = {
            name: array * np.exp(scale * rng.normal(size=array.shape))
            for name, array in fitted.parameters.items()
        }
        other = attrs.evolve(fitted, **moved)
        if limit(other)[1] >= bound * (1 - 1e-12):
            tried += 1
            objective = np.sum(weights * np.maximum(other.log_prob(value), -1e300))
            assert objective <= best + 1e-9 * abs(best)
    assert tried > 50
    # What may still move are fewer directions, all of which keep the constraint.
    assert len(fitted.directions()) == fitted.n_parameters - 1
    for direction in fitted.directions():
        moved = fitted.moved(direction, 1e-3)
        assert limit(moved)[1] == pytest.approx(limit(fitted)[1], rel=1e-12)


def test_an_interval_of_one_value_has_the_smallest_width() -> None:
    value, weights = _with_equal_values(lem.Uniform())
    fitted = lem.Uniform(floor=1e-3).fit(value, weights)
    assert (fitted.high - fitted.low)[1] == pytest.approx(1e-3 * 0.5, rel=1e-9)
    assert fitted.at_constraint
    assert "state 1" in fitted.events[0]
    assert np.isfinite(fitted.log_prob(value)[3:, 1]).all()


@pytest.mark.parametrize("dist", [lem.Gamma(), lem.InverseGaussian(), lem.Weibull()], ids=_name)
def test_a_start_beyond_the_constraint_is_moved_to_it(dist: Any) -> None:
    known = {name: np.full(2, value) for name, value in zip(dist.parameters, (1e9, 1.0), strict=1)}
    if _name(dist) == "InverseGaussian":
        known = {"mean": np.ones(2), "shape": np.full(2, 1e9)}
    moved = attrs.evolve(dist, **known).feasible()
    assert moved.shape.tolist() == [1e8, 1e8]


@pytest.mark.parametrize(
    "dist", [lem.Gamma(), lem.LogNormal(), lem.Weibull(), lem.Beta()], ids=repr
)
def test_the_objective_does_not_fall_where_a_state_collapses(dist: Any) -> None:
    x = np.concatenate([np.full(30, 2.5), np.random.default_rng(3).gamma(3, 2, 100)])
    x = x / (1 + x) if _name(dist) == "Beta" else x
    plain = {"restarts": 1, "accelerate": None, "tol": 0, "max_iter": 60}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = lem.init.from_labels(np.arange(130) >= 30)
        fit = lem.fit(_mixture(dist), x, init=start, **plain)
    objective = fit.trace["objective"]
    # A shape of 1e8 leaves the density eight digits.
    assert (np.diff(objective) >= -1e-8 * np.abs(objective[:-1]) - 1e-6).all()
    assert fit.model["x"].at_constraint


# -- what is refused, and what is impossible -------------------------------------------------------

UNSUITABLE = [
    (lem.Exponential(), [1.0, -1.0], "must be zero or positive .* got -1 at row 1"),
    (lem.Exponential(), [0.0, 0.0], "must have a value above 0 .* got zeros only"),
    (lem.Gamma(), [1.0, 0.0], "must be positive .* got 0 at row 1.*Bernoulli"),
    (lem.LogNormal(), [1.0, 0.0], "must be positive .* got 0 at row 1.*Bernoulli"),
    (lem.Pareto(), [1.0, 0.0], "must be positive .* got 0 at row 1"),
    (lem.Beta(), [0.5, 1.0], "must be between 0 and 1, both excluded.* got 1 at row 1"),
    (lem.Dirichlet(), [[0.5, 0.5], [0.4, 0.4]], r"sum to 1 .* got \[0.4, 0.4\] at row 1"),
    (lem.Dirichlet(), [0.5, 0.5], r"got shape \(2,\). Use Beta"),
    (lem.Gamma(), [2.0, 2.0], "must vary .* got a constant column"),
    (lem.Weibull(), [2.0, 2.0], "must vary .* got a constant column"),
    (lem.Uniform(), [2.0, 2.0], "must vary .* got a constant column"),
    (lem.Gamma(), [[1.0, 2.0], [2.0, 1.0]], r"must be a column, shape \(n,\)"),
]


@pytest.mark.parametrize(("dist", "value", "message"), UNSUITABLE)
def test_unsuitable_data_are_refused(dist: Any, value: Any, message: str) -> None:
    with pytest.raises(lem.DataError, match=message):
        lem.fit(lem.Model([lem.observed("x", dist)]), {"x": np.array(value)})


WRONG = [
    (lambda: lem.Weibull(shape=1.0, held=("scale",)), "held must name some of the parameters"),
    (lambda: lem.Gamma(1.0, 2.0, held=("shape", "rate")), "not all of .* use fixed"),
    (lambda: lem.Beta(a=1e9), "a must be below largest_sum"),
    (lambda: lem.Gamma([1.0, 2.0], [1.0]), "one entry each for each state"),
    (lambda: lem.Beta(-1, 1), "a must be positive and finite"),
    (lambda: lem.Exponential(np.inf), "rate must be positive and finite"),
    (lambda: lem.Pareto(exponent=1.0), "minimum must be given"),
    (lambda: lem.Pareto(0), "minimum must be one positive"),
    (lambda: lem.Pareto([1, 2]), "because all states share it"),
    (lambda: lem.LogNormal([0.0], [-1.0]), "variance must be positive"),
    (lambda: lem.Uniform(1, 1), "low must be below high"),
    (lambda: lem.Uniform(low=np.inf), "low must be finite"),
    (lambda: lem.Uniform([1], [[2]]), "one entry each"),
    (lambda: lem.Gamma(largest_shape=1e20), "largest_shape must be between"),
    (lambda: lem.Gamma().log_prob([1.0]), "must have a shape and a rate .* got a template"),
    (lambda: lem.LogNormal().log_prob([1.0]), "got a template"),
    (lambda: lem.Uniform().log_prob([1.0]), "got a template"),
    (lambda: lem.Dirichlet(2.0).log_prob([[0.5, 0.5]]), "last axis of at least 2"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_wrong_parameters_are_refused(make: Any, message: str) -> None:
    with pytest.raises(lem.ModelError, match=message):
        make()


@pytest.mark.parametrize(
    "dist",
    [
        lem.Exponential([2.0]),
        lem.Gamma([0.5], [2.0]),
        lem.Gamma([1e8], [1e-8]),
        lem.InverseGaussian([1.0], [2.0]),
        lem.LogNormal([0.0], [1.0]),
        lem.Rayleigh([1e-8]),
        lem.Weibull([0.5], [1.0]),
        lem.Pareto(1.0, [2.0]),
        lem.Beta([0.5], [2.0]),
        lem.Uniform([0.0], [2.0]),
    ],
    ids=repr,
)
def test_densities_off_the_support_are_zero_and_never_nan(dist: Any) -> None:
    value = np.array([-1, -np.inf, np.inf, np.nan, 0.0, 1e-320, 1e-300, 0.5, 1e300, 1.7e308])
    log_prob = dist.log_prob(value)[:, 0]
    assert not np.isnan(log_prob).any()
    assert (log_prob[:4] == -np.inf).all()
    assert not (log_prob == np.inf).any()
    if _name(dist) not in ("Exponential", "Uniform"):
        assert log_prob[4] == -np.inf


def test_rows_off_the_simplex_have_no_density() -> None:
    dist = lem.Dirichlet([[2.0, 3.0]])
    log_prob = dist.log_prob(np.array([[0.5, 0.5], [0.5, 0.6], [1.0, 0.0], [1.5, -0.5]]))[:, 0]
    assert np.isfinite(log_prob[0])
    assert (log_prob[1:] == -np.inf).all()


def test_values_below_the_minimum_are_impossible_and_no_error() -> None:
    x = _draw(lem.Pareto())
    fit = lem.fit(lem.Model([lem.observed("x", lem.Pareto())]), x)
    scores = fit.score_samples(np.array([0.5 * x.min(), 2.0]))
    assert scores[0] == -np.inf
    assert np.isfinite(scores[1])
    assert lem.Pareto(2.0).fit(np.array([2.0, 2.0 * np.e**2]), np.ones(2)).exponent == 1


# -- the rest of the contract ----------------------------------------------------------------------


@pytest.mark.parametrize("dist", EVERY, ids=_name)
def test_expected_values_are_the_means_of_draws(dist: Any) -> None:
    value = _draw(dist)
    weights = np.repeat(np.eye(2), len(value) // 2, axis=0)
    fitted = dist.fit(value, weights)
    if _name(dist) == "Pareto":
        fitted = lem.Pareto(1.5, [3.5, 8.0])
    state = np.repeat([0, 1], 40_000)
    draws = fitted.sample(np.random.default_rng(0), state)
    means = np.stack([draws[state == k].mean(axis=0) for k in (0, 1)])
    errors = np.stack([draws[state == k].std(axis=0) for k in (0, 1)]) / 200
    assert (np.abs(means - fitted.expected_value()) < 5 * errors).all()


def test_the_mean_of_a_heavy_tail_is_infinite() -> None:
    assert lem.Pareto(2.0, [0.5, 1.0, 2.0]).expected_value().tolist() == [np.inf, np.inf, 4.0]


def test_draws_of_tiny_shapes_stay_in_the_support() -> None:
    state, rng = np.zeros(1000, dtype=int), np.random.default_rng(0)
    for dist in (
        lem.Gamma([1e-3], [1.0]),
        lem.Weibull([1e-3], [1.0]),
        lem.Beta([1e-3], [1e-3]),
        lem.Dirichlet([[1e-2, 1e-2, 1e-2]]),
    ):
        draws = dist.sample(rng, state)
        assert np.isfinite(dist.log_prob(draws)).mean() > 0.4
        assert not np.isnan(dist.log_prob(draws)).any()
    assert (lem.Gamma([1e-3], [1.0]).sample(rng, state) > 0).all()


def test_seeding_compares_on_a_scale_without_a_unit() -> None:
    for dist in (d for d in EVERY if _name(d) not in ("Beta", "Dirichlet")):
        x = _draw(dist)
        here = dist.bind(x).dissimilarity(x, x[:3])
        there = dist.bind(1e8 * x).dissimilarity(1e8 * x, 1e8 * x[:3])
        assert here.shape == (len(x), 3)
        np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-9)
    zeros = np.array([0.0, 1.0, 2.0])
    assert np.isfinite(lem.Exponential().bind(zeros).dissimilarity(zeros, zeros)).all()


def test_an_interval_is_that_of_the_rows_with_weight() -> None:
    x, rng = _draw(lem.Uniform()), np.random.default_rng(0)
    weights = rng.gamma(2.0, size=(len(x), 2)) * (rng.random((len(x), 2)) < 0.1)
    fitted = lem.Uniform().fit(x, weights)
    for k in (0, 1):
        own = x[weights[:, k] > 0]
        assert (fitted.low[k], fitted.high[k]) == (own.min(), own.max())
        assert np.exp(fitted.log_prob(own)[:, k]) == pytest.approx(1 / np.ptp(own))
    order = rng.permutation(len(x))
    again = lem.Uniform().fit(x[order], 1e3 * weights[order])
    assert (again.low == fitted.low).all()
    assert (again.high == fitted.high).all()
    assert fitted.n_parameters == 4
    assert fitted.directions() == []
    for copied in (copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))):
        assert not copied.low.flags.writeable
        np.testing.assert_array_equal(copied.log_prob(x), fitted.log_prob(x))


def test_background_noise_over_a_known_range() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(5, 0.3, 300), rng.uniform(0, 10, 100)])
    noise = lem.fixed(lem.Uniform(low=0.0, high=10.0))
    fit = lem.fit(_mixture(lem.Switch([noise, lem.Normal()])), x, seed=0)
    assert fit.model["x"].cases[1].mean == pytest.approx(5, abs=0.06)
    assert fit.model["z"].probs[0] == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize("spread", [1e-3, 1e-4])
def test_rounding_does_not_grow_with_the_shape_of_a_gamma(spread: float) -> None:
    rng = np.random.default_rng(20240229)
    x = 1e8 * (1 + spread * rng.normal(0.0, 2.0, 40))
    model = _mixture(lem.Gamma(largest_shape=1e10))
    for seed in range(4):
        fit = lem.fit(model, x, seed=seed, restarts=1, tol=1e-9)
        for accelerate in (None, lem.squarem):  # steps at the maximum gain and lose nothing
            again = lem.fit(fit.model, x, restarts=1, tol=0, max_iter=20, accelerate=accelerate)
            assert np.ptp(again.trace["objective"]) < 1e-6
