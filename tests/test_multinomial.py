"""Vectors of counts, and ranges of integers."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

import latentem as lem


def _model(dist: lem.Distribution, k: int = 2) -> lem.Model:
    z = lem.latent("z", lem.Categorical(k))
    return lem.Model([z, lem.observed("x", dist, given=z)])


def _documents(n: int = 200, d: int = 30, k: int = 3, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    topics = rng.dirichlet(np.full(d, 0.3), size=k)
    state = rng.integers(0, k, n)
    totals = rng.integers(0, 80, n)
    counts = [rng.multinomial(m, topics[z]) for m, z in zip(totals, state, strict=True)]
    return np.array(counts), state, topics


PLAIN: dict[str, Any] = {"restarts": 1, "accelerate": None, "tol": 0, "max_iter": 25}


# -- the density and its maximiser -----------------------------------------------------------------


def test_the_fit_is_the_weighted_frequencies() -> None:
    x, weights = np.array([[2, 1, 0], [0, 1, 0], [3, 3, 0]]), np.array([1.0, 2.0, 0.5])
    probs = lem.Multinomial().fit(x, weights).probs
    np.testing.assert_allclose(probs, np.array([3.5, 4.5, 0]) / 8, rtol=1e-15)

    def loss(free: np.ndarray) -> float:
        logs = np.append(free, 0.0) - np.log(np.exp(free).sum() + 1)
        return -float(weights @ (x[:, :2] @ logs))

    best = optimize.minimize(loss, np.zeros(1), tol=1e-12).x
    assert np.exp(best) / (1 + np.exp(best)) == pytest.approx(probs[0], abs=1e-6)


def test_the_density_agrees_with_scipy() -> None:
    x, _, topics = _documents(50, 5)
    found = lem.Multinomial(topics).log_prob(x)
    expected = [[stats.multinomial.logpmf(row, row.sum(), p) for p in topics] for row in x]
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
    grid = np.array([[a, b, 4 - a - b] for a in range(5) for b in range(5 - a)])
    dist = lem.Multinomial([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(np.exp(dist.log_prob(grid)).sum(axis=0), 1, rtol=1e-13)


def test_two_categories_are_binomial_and_one_trial_is_categorical() -> None:
    probs = np.array([0.0, 0.3, 1.0])
    both = np.stack([probs, 1 - probs], axis=1)
    x = np.arange(6)
    pairs = np.stack([x, 5 - x], axis=1)
    expected = lem.Binomial(5, probs).log_prob(x)
    np.testing.assert_allclose(lem.Multinomial(both).log_prob(pairs), expected, rtol=1e-12)
    levels = np.array([0, 2, 1, 1])
    table = lem.Categorical(probs=[[0.2, 0.3, 0.5]])
    ones = lem.Multinomial(table.probs).log_prob(np.eye(3, dtype=int)[levels])
    np.testing.assert_allclose(ones, table.log_prob(levels), rtol=1e-14)


def test_impossible_counts_have_no_density() -> None:
    dist = lem.Multinomial([[0.5, 0.5, 0.0]])
    x = [[1, 1, 0], [1, 1, 1], [-1, 1, 0], [0.5, 0.5, 0], [np.nan, 1, 0], [np.inf, 0, 0], [0, 0, 0]]
    density = dist.log_prob(np.array(x))[:, 0]
    assert density[0] == pytest.approx(math.log(0.5))
    assert (density[1:6] == -np.inf).all()
    assert density[6] == 0
    known = lem.Multinomial([[0.5, 0.5, 0.0]], n=2).log_prob(np.array([[1, 1, 0], [2, 1, 0]]))
    assert known[1, 0] == -np.inf
    huge = dist.log_prob(np.array([[10**9, 10**9, 0], [10**9, 0, 10**9]]))[:, 0]
    assert np.isfinite(huge[0])
    assert huge[1] == -np.inf


def test_draws_and_means_need_a_total() -> None:
    rng = np.random.default_rng(0)
    probs = np.array([[0.2, 0.3, 0.5], [0.0, 0.9, 0.1]])
    dist = lem.Multinomial(probs, n=7)
    draws = dist.sample(rng, np.repeat([0, 1], 20_000))
    assert draws.shape == (40_000, 3)
    assert (draws.sum(axis=1) == 7).all()
    means = np.stack([part.mean(axis=0) for part in np.split(draws, 2)])
    np.testing.assert_allclose(means, dist.expected_value(), atol=0.05)
    np.testing.assert_allclose(dist.expected_value(), 7 * probs)
    open_ = lem.Multinomial(probs)
    with pytest.raises(lem.MissingMethodError, match=r"must have n for samples .* not modelled"):
        open_.sample(rng, np.zeros(2, dtype=int))
    with pytest.raises(lem.MissingMethodError, match="must have n for expected values"):
        open_.expected_value()
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    with pytest.raises(lem.MissingMethodError, match="must have n for samples"):
        lem.sample(lem.Model([z, lem.observed("x", open_, given=z)]), 3, seed=0)
    drawn = lem.sample(lem.Model([z, lem.observed("x", dist, given=z)]), 3, seed=0)
    assert drawn["x"].shape == (3, 3)


# -- mixtures --------------------------------------------------------------------------------------


def test_a_mixture_of_documents_is_recovered() -> None:
    x, state, topics = _documents(300)
    fit = lem.fit(_model(lem.Multinomial(), 3), x, seed=0)
    order = [int(np.abs(fit.model["x"].probs - topic).sum(axis=1).argmin()) for topic in topics]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(fit.model["x"].probs[order], topics, atol=0.03)
    right = np.array(order)[state] == fit.posterior().mode()["z"]
    assert right[x.sum(axis=1) > 20].mean() > 0.98
    q = lem.expected_log_joint(fit.model, x, fit.posterior())
    assert q.total + fit.posterior().entropy == pytest.approx(fit.log_likelihood, rel=1e-11)


def test_cases_of_a_switch_are_for_rows_of_their_total() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.multinomial(5, [0.2, 0.3, 0.5], 50), rng.multinomial(9, [0.7, 0.2, 0.1], 50)
    cases = lem.Switch([lem.Multinomial(n=5), lem.Multinomial(n=9)])
    fit = lem.fit(_model(cases), np.concatenate([few, many]), seed=0)
    np.testing.assert_allclose(fit.model["x"].cases[0].probs, few.sum(axis=0) / 250, rtol=1e-12)
    np.testing.assert_allclose(fit.model["x"].cases[1].probs, many.sum(axis=0) / 450, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_objective_never_falls(seed: int) -> None:
    x, _, _ = _documents(80, 12, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = lem.fit(_model(lem.Multinomial(), 3), x, init=lem.init.random, seed=seed, **PLAIN)
    objective = fit.trace["objective"]
    assert len(objective) > 10
    assert (np.diff(objective) >= -1e-11 * np.abs(objective[:-1])).all()


def test_one_step_is_that_of_a_loop_over_words() -> None:
    x, _, _ = _documents(40, 6)
    topics = np.random.default_rng(3).dirichlet(np.ones(6), size=2)
    z = lem.latent("z", lem.Categorical(probs=[0.4, 0.6]))
    model = lem.Model([z, lem.observed("x", lem.Multinomial(topics), given=z)])
    share = np.array([[0.4, 0.6] * np.prod(topics**row, axis=1) for row in x])
    share /= share.sum(axis=1, keepdims=True)
    new = lem.m_step(model, x, lem.e_step(model, x))
    for k in range(2):
        words = sum(share[i, k] * x[i] for i in range(40))
        np.testing.assert_allclose(new["x"].probs[k], words / words.sum(), rtol=1e-10)
    np.testing.assert_allclose(new["z"].probs, share.mean(axis=0), rtol=1e-11)


def test_weights_repeat_rows_and_missing_rows_drop_out() -> None:
    x, state, _ = _documents(60, 8, 2)
    weights = 1 + np.arange(60) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = lem.init.from_labels(state)
        weighted = lem.fit(_model(lem.Multinomial()), x, weights=weights, init=start, **PLAIN)
        start = lem.init.from_labels(np.repeat(state, weights))
        rows = np.repeat(x, weights, axis=0)
        repeated = lem.fit(_model(lem.Multinomial()), rows, init=start, **PLAIN)
        assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, rel=1e-10)
        gaps, kept = x.astype(float), np.arange(60) % 7 > 0
        gaps[~kept] = np.nan
        start = lem.init.from_labels(state)
        holes = lem.fit(_model(lem.Multinomial()), gaps, init=start, **PLAIN)
        start = lem.init.from_labels(state[kept])
        whole = lem.fit(_model(lem.Multinomial()), x[kept], init=start, **PLAIN)
    assert holes.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-10)


def test_standard_errors_are_the_multinomial_ones() -> None:
    x = np.random.default_rng(0).multinomial(9, [0.1, 0.2, 0.3, 0.4], size=300)
    fit = lem.fit(lem.Model([lem.observed("x", lem.Multinomial())]), x)
    probs = fit.model["x"].probs
    expected = np.sqrt(probs * (1 - probs) / x.sum())
    np.testing.assert_allclose(fit.standard_errors()["x"]["probs"], expected, rtol=1e-4)


def test_ten_thousand_words() -> None:
    x, _, _ = _documents(100, 10_000, 2)
    fit = lem.fit(_model(lem.Multinomial()), x, seed=0, restarts=2)
    assert np.isfinite(fit.log_likelihood)
    assert fit.model["x"].probs.shape == (2, 10_000)


def test_huge_counts_rows_of_zeros_and_two_rows() -> None:
    for value in (
        [[10**9, 0], [10**9 - 5, 5], [0, 10**9], [3, 10**9]],
        [[0, 0], [0, 3], [4, 0], [0, 0]],
        [[0, 0], [0, 0]],
        [[1, 2], [1, 2]],
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lem.ConvergenceWarning)
            warnings.simplefilter("ignore", lem.DegenerateWarning)
            try:
                fit = lem.fit(_model(lem.Multinomial()), np.array(value), seed=0, restarts=2)
            except lem.LatentemError as error:
                assert "must" in str(error)  # noqa: PT017
                continue
        assert np.isfinite(fit.log_likelihood)
        np.testing.assert_allclose(fit.model["x"].probs.sum(axis=1), 1, rtol=1e-12)
    empty = lem.Multinomial().fit(np.zeros((2, 4), dtype=int), np.ones(2))
    assert empty.probs.tolist() == [0.25] * 4


def test_seeds_are_compared_by_shares() -> None:
    x = np.array([[10, 0, 0], [20, 0, 0], [0, 10, 0], [5, 5, 0], [0, 0, 0]])
    distances = lem.Multinomial().dissimilarity(x, x)
    np.testing.assert_allclose(distances, distances.T, rtol=1e-12)
    assert (np.diagonal(distances)[:4] < 1e-12).all()
    assert distances[0, 1] < 1e-12
    assert distances[0, 2] == pytest.approx(80)
    assert np.isfinite(distances).all()


@pytest.mark.parametrize(
    ("dist", "value", "message"),
    [
        (lem.Multinomial(), [1, 2], r"rows of at least 2 counts .* got shape \(2,\).*Categorical"),
        (lem.Multinomial(), [[1, 2], [1, -2]], "integers >= 0 .* got -2 at row 1, column 1"),
        (lem.Multinomial(), [[1.0, 2.5], [1, 2]], "integers >= 0 .* got 2.5 at row 0, column 1"),
        (lem.Multinomial(n=3), [[1, 2], [1, 1]], "rows that sum to 3 .* got 2 at row 1. Leave n"),
        (lem.Multinomial([0.5, 0.5]), [[1, 2, 3]], "2 columns .* of 2 categories"),
        (lem.Multinomial(), [[1e300, 1.0]], r"totals up to 2\*\*53"),
        (lem.DiscreteUniform(), [1.5, 2.0], "integers .* got 1.5 at row 0. Use Uniform"),
        (lem.DiscreteUniform(), [1e300, 2.0], r"below 2\*\*53"),
    ],
)
def test_unsuitable_data_are_refused(dist: Any, value: Any, message: str) -> None:
    with pytest.raises(lem.DataError, match=message):
        lem.fit(lem.Model([lem.observed("x", dist)]), {"x": np.array(value)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lem.Multinomial([0.5, 0.6]), "sum to 1 over the last axis"),
        (lambda: lem.Multinomial([1.5, -0.5]), "at least 0"),
        (lambda: lem.Multinomial([np.nan, 1.0]), "at least 0"),
        (lambda: lem.Multinomial(1.0), "last axis of at least 2 categories"),
        (lambda: lem.Multinomial(n=0), "n must be a whole number"),
        (lambda: lem.Multinomial(n=2.5), "n must be a whole number"),
        (lambda: lem.Multinomial().log_prob([[1, 2]]), "got a template"),
        (lambda: lem.DiscreteUniform(3, 2), "low must not be above high"),
        (lambda: lem.DiscreteUniform(1.5, 2), "must be integers"),
        (lambda: lem.Multinomial(6), r"say n=\.\.\. if it is the total"),
        (lambda: lem.DiscreteUniform([1], [[2]]), "one entry each"),
        (lambda: lem.DiscreteUniform().log_prob([1]), "got a template"),
    ],
)
def test_wrong_parameters_are_refused(make: Any, message: str) -> None:
    with pytest.raises(lem.ModelError, match=message):
        make()


# -- ranges of integers ----------------------------------------------------------------------------


def test_a_range_is_that_of_the_rows_with_weight() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-20, 50, 300)
    weights = rng.gamma(2.0, size=(300, 2)) * (rng.random((300, 2)) < 0.05)
    fitted = lem.DiscreteUniform().fit(x, weights)
    for k in (0, 1):
        own = x[weights[:, k] > 0]
        assert (fitted.low[k], fitted.high[k]) == (own.min(), own.max())
        expected = stats.randint.logpmf(x, own.min(), own.max() + 1)
        np.testing.assert_allclose(fitted.log_prob(x)[:, k], expected, rtol=1e-14)
    assert fitted.n_parameters == 4
    assert fitted.directions() == []
    for copied in (copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))):
        assert not copied.low.flags.writeable
        np.testing.assert_array_equal(copied.log_prob(x), fitted.log_prob(x))
    values = np.array([0.5, np.nan, np.inf, 1e300, float(fitted.low[0])])
    density = fitted.log_prob(values)[:, 0]
    assert (density[:4] == -np.inf).all()
    assert np.isfinite(density[4])


def test_draws_of_a_range_are_even() -> None:
    dist = lem.DiscreteUniform([1, 4], [6, 4])
    draws = dist.sample(np.random.default_rng(0), np.repeat([0, 1], 6000))
    assert stats.chisquare(np.bincount(draws[:6000], minlength=7)[1:]).pvalue > 1e-4
    assert (draws[6000:] == 4).all()
    assert dist.expected_value().tolist() == [3.5, 4]


def test_a_fair_die_among_loaded_ones() -> None:
    rng = np.random.default_rng(0)
    fair = rng.random(3000) < 0.3
    x = np.where(fair, rng.integers(0, 21, 3000), rng.poisson(4.0, 3000))
    noise = lem.fixed(lem.DiscreteUniform(low=0, high=20))
    fit = lem.fit(_model(lem.Switch([noise, lem.Poisson()])), x, seed=0)
    assert fit.model["x"].cases[1].rate == pytest.approx(4, abs=0.2)
    assert fit.model["z"].probs[0] == pytest.approx(0.3, abs=0.04)


def test_a_mixture_of_ranges_only_improves() -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.integers(0, 10, 100), rng.integers(20, 40, 100)])
    gaps = np.where(np.arange(200) % 9 == 0, np.nan, x)
    for value in (x, gaps):
        fit = lem.fit(_model(lem.DiscreteUniform()), value, seed=0)
        assert (np.diff(fit.trace["objective"]) >= -1e-9).all()
        assert sorted(fit.model["x"].low.tolist()) == [0, 20]
    same = lem.fit(lem.Model([lem.observed("x", lem.DiscreteUniform())]), np.full(5, 7))
    assert same.log_likelihood == 0
    here = lem.DiscreteUniform().bind(x).dissimilarity(x, x[:3])
    there = lem.DiscreteUniform().bind(1000 * x + 5).dissimilarity(1000 * x + 5, 1000 * x[:3] + 5)
    np.testing.assert_allclose(here, there, rtol=1e-12)
