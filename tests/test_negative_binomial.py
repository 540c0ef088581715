"""The negative binomial distribution: published figures, accuracy, its limit, its record."""

from __future__ import annotations

import warnings
from decimal import Decimal, getcontext

import attrs
import numpy as np
import pytest
from scipy import optimize, stats

import latentem as lem
from latentem.distributions.tally import Tally, distinct

# European red mites on apple leaves (Bliss and Fisher, Fitting the negative binomial distribution
# to biological data, Biometrics 9, 1953, table 1): 0 to 7 mites, how many leaves.
MITES = np.repeat(np.arange(8), [70, 38, 17, 10, 9, 3, 2, 1])


def _mixture(dist: lem.Distribution, k: int = 2) -> lem.Model:
    z = lem.latent("z", lem.Categorical(k))
    return lem.Model([z, lem.observed("x", dist, given=z)])


def _two_states(n: int = 400, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    few = rng.negative_binomial(4.0, 4.0 / (4.0 + 2.0), n)
    return np.concatenate([few, rng.negative_binomial(3.0, 3.0 / (3.0 + 30.0), n)])


def test_the_mites_of_bliss_and_fisher() -> None:
    fit = lem.fit(lem.Model([lem.observed("mites", lem.NegativeBinomial())]), MITES)
    assert fit.model["mites"].mean == pytest.approx(1.1467, abs=5e-5)
    assert fit.model["mites"].size == pytest.approx(1.0246, abs=5e-5)
    assert fit.n_parameters == 2
    assert fit.iterations <= 2  # one step finds it


# -- the density ----------------------------------------------------------------------------------


def _exactly(x: int, mean: float, size: float) -> float:
    """The formula in 50 digits."""
    getcontext().prec = 50
    m, s = Decimal(mean), Decimal(size)
    choose = Decimal(1)
    for j in range(x):
        choose *= (s + j) / (j + 1)
    log_prob = choose.ln() + s * (s / (s + m)).ln()
    return float(log_prob + x * (m / (s + m)).ln() if x else log_prob)


@pytest.mark.parametrize("mean", [1e-3, 1.0, 100.0, 1e6])
@pytest.mark.parametrize("size", [1e-3, 0.1, 1.0, 30.0, 1e4, 1e8])
def test_the_density_keeps_its_digits(mean: float, size: float) -> None:
    x = np.array([0, 1, 2, 3, 10, 100, 1000])
    found = lem.NegativeBinomial([mean], [size]).log_prob(x)[:, 0]
    np.testing.assert_allclose(found, [_exactly(i, mean, size) for i in x], rtol=2e-14, atol=2e-14)


def test_the_density_of_large_counts_is_smooth() -> None:
    # log p(x) - log p(x - 1) = log((x + s - 1) / x) + log(mean / (s + mean)), a textbook recursion.
    for mean, size in ((1e9, 2.0), (1e9, 1e8), (5e8, 1e-3)):
        x = np.array([10**9 - 1, 10**9])
        difference = np.diff(lem.NegativeBinomial([mean], [size]).log_prob(x)[:, 0])
        expected = np.log1p((size - 1) / x[1]) - np.log1p(size / mean)
        np.testing.assert_allclose(difference, expected, atol=1e-13 * 30)


def test_what_is_no_count_has_no_density() -> None:
    dist = lem.NegativeBinomial([0.0, 2.0, 1e300], [1.0, 1e-3, 1e8])
    value = np.array([-1.0, 0.5, np.nan, np.inf, 0.0, 1.0, 1e300])
    log_prob = dist.log_prob(value)
    assert (log_prob[:4] == -np.inf).all()
    assert not np.isnan(log_prob).any()
    assert log_prob[4, 0] == 0
    assert (log_prob[5:, 0] == -np.inf).all()
    assert np.isfinite(log_prob[4:6, 1:]).all()


def test_poisson_is_the_limit() -> None:
    x = np.arange(40)
    near = lem.NegativeBinomial([3.0], [1e8]).log_prob(x)
    np.testing.assert_allclose(near, lem.Poisson([3.0]).log_prob(x), rtol=1e-5)


# -- the maximiser --------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [0.05, 1.0, 40.0, 1e6])
@pytest.mark.parametrize("size", [1e-2, 0.3, 2.0, 50.0])
def test_the_size_is_the_one_of_direct_maximisation(mean: float, size: float) -> None:
    rng = np.random.default_rng(1)
    x = rng.negative_binomial(size, size / (size + mean), 4000)
    weights = rng.gamma(2.0, size=(4000, 2))
    fitted = lem.NegativeBinomial().fit(x, weights)
    np.testing.assert_allclose(fitted.mean, weights.T @ x / weights.sum(axis=0), rtol=1e-13)
    for k in np.flatnonzero(~fitted.at_limit):

        def loss(log_size: float, k: int = k) -> float:
            s, m = np.exp(log_size), fitted.mean[k]
            return -weights[:, k] @ stats.nbinom(s, s / (s + m)).logpmf(x)

        centre = np.log(fitted.size[k])
        best = optimize.minimize_scalar(loss, bounds=(centre - 2, centre + 2), method="bounded",
                                        options={"xatol": 1e-9})  # fmt: skip
        assert loss(centre) <= best.fun + 1e-9 * abs(best.fun)  # SciPy rounds
        assert centre == pytest.approx(best.x, abs=1e-3)


@pytest.mark.parametrize(
    "value",
    [[0, 0], [5, 5], [0, 1], [2**60] * 3, [1, 2, 3, 4], [0, 0, 0, 0, 1]],
    ids=str,
)
def test_counts_that_vary_no_more_than_poisson_have_the_largest_size(value: list[int]) -> None:
    x, weights = np.array(value), np.ones((len(value), 1))
    fitted = lem.NegativeBinomial(largest_size=1e4).fit(x, weights)
    assert fitted.size.tolist() == [1e4]
    assert fitted.at_limit.all()
    assert not fitted.at_constraint  # Poisson is no collapse
    assert fitted.events[0].startswith("the size is at its largest, 10000, where")
    assert "state 0" in fitted.events[0]
    best = fitted.log_prob(x).sum()
    for size in (1e-3, 1.0, 1e2, 9e3):
        assert attrs.evolve(fitted, size=np.array([size])).log_prob(x).sum() <= best + 1e-9
    assert all("size" not in direction for direction in fitted.directions())


@pytest.mark.parametrize("share", [0.1, 1e-5, 1e-10, 1e-100, 1e-300, 1e-310])
@pytest.mark.parametrize("count", [2, 10**9, 2**61])
def test_rare_large_counts_have_a_tiny_size(share: float, count: int) -> None:
    x, weights = np.array([0, count]), np.array([[1.0], [share]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = lem.NegativeBinomial().fit(x, weights)
    assert np.isfinite(fitted.size).all()
    if share > 1e-200 and not fitted.at_limit.all():
        best = (weights * fitted.log_prob(x)).sum()
        for factor in (0.5, 0.99, 1.01, 2.0):
            moved = attrs.evolve(fitted, size=fitted.size * factor)
            assert (weights * moved.log_prob(x)).sum() < best


def test_a_known_size_stays() -> None:
    x = _two_states()
    fit = lem.fit(_mixture(lem.NegativeBinomial(size=3.0)), x, seed=0)
    dist = fit.model["x"]
    assert dist.size.tolist() == [3.0, 3.0]
    assert fit.n_parameters == 3
    errors = fit.standard_errors()["x"]
    assert (errors["mean"] > 0).all()
    assert (errors["size"] == 0).all()
    again = lem.fit(fit.model, x, init=fit.model, restarts=1)
    assert again.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-3)
    lem.testing.check_distribution(lem.NegativeBinomial(size=3.0), x[::10])


def test_a_start_beyond_the_limit_is_moved_to_it() -> None:
    assert lem.NegativeBinomial([1.0], [1e9]).feasible().size.tolist() == [1e8]
    known = lem.NegativeBinomial(size=1e9)
    assert known.feasible() is known


# -- the record -----------------------------------------------------------------------------------


def test_a_record_has_as_many_entries_as_there_are_distinct_counts() -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.poisson(3.0, 5000), rng.random((2, 5000))
    kernel = lem.NegativeBinomial().kernel()
    parts = [kernel.on(x[rows]).record(weights[:, rows]) for rows in (slice(900), slice(900, 5000))]
    record = parts[0] + parts[1]
    assert isinstance(record, Tally)
    assert not record.holds_rows
    assert record.value.tolist() == np.unique(x).tolist()
    for count, weight in zip(record.value, record.weights.T, strict=True):
        np.testing.assert_allclose(weight, weights[:, x == count].sum(axis=1), rtol=1e-12)
    with pytest.raises(lem.ModelError, match="must have parameters"):
        kernel.expected_log_prob(record)
    with pytest.raises(lem.ModelError, match="must have parameters"):
        kernel.on(x).log_density()


@pytest.mark.parametrize("value", [[3, 1, 3, 2], [10**9, 0, 10**9], [7], [], [4.0, 4.0]], ids=str)
def test_distinct_counts_give_back_the_rows(value: list[int]) -> None:
    x = np.array(value)
    counts, place = distinct(x)
    assert counts[place].tolist() == [int(v) for v in value]
    assert (np.diff(counts) > 0).all()


# -- mixtures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("assign", [lem.soft, lem.hard], ids=["soft", "hard"])
@pytest.mark.parametrize("seed", range(4))
def test_no_step_of_a_mixture_lowers_the_objective(seed: int, assign: object) -> None:
    x = _two_states(150, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = lem.fit(
            _mixture(lem.NegativeBinomial(), 3), x, init=lem.init.random, seed=seed, assign=assign,
            restarts=1, accelerate=None, tol=0, max_iter=80,
        )  # fmt: skip
    objective = fit.trace["objective"]
    assert len(objective) > 2
    assert (np.diff(objective) >= -1e-12 * np.abs(objective[:-1])).all()


def test_a_mixture_is_recovered() -> None:
    x = _two_states(3000)
    fit = lem.fit(_mixture(lem.NegativeBinomial()), x, seed=0)
    order = np.argsort(fit.model["x"].mean)
    errors = fit.standard_errors()["x"]
    for name, truth in (("mean", [2.0, 30.0]), ("size", [4.0, 3.0])):
        deviation = fit.model["x"].parameters[name][order] - truth
        assert (np.abs(deviation) < 4 * errors[name][order]).all(), name
    posterior = lem.e_step(fit.model, x)
    q = lem.expected_log_joint(fit.model, x, posterior).total
    assert q + posterior.entropy == pytest.approx(lem.log_likelihood(fit.model, x), rel=1e-12)


def test_weights_are_repetitions_and_missing_values_are_left_out() -> None:
    x = _two_states(100).astype(float)
    counts = 1 + np.arange(len(x)) % 3
    start = lem.init.from_labels((np.arange(len(x)) >= 100).astype(int))
    plain = {"restarts": 1, "accelerate": None, "tol": 0, "max_iter": 10}
    model = _mixture(lem.NegativeBinomial())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lem.ConvergenceWarning)
        weighted = lem.fit(model, x, weights=counts, init=start, **plain)
        labels = (np.arange(len(x)) >= 100).astype(int).repeat(counts)
        repeated = lem.fit(model, x.repeat(counts), init=lem.init.from_labels(labels), **plain)
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, rel=1e-11)
    np.testing.assert_allclose(weighted.model["x"].size, repeated.model["x"].size, rtol=1e-8)
    gaps = x.copy()
    gaps[::5] = np.nan
    kept = ~np.isnan(gaps)
    with_gaps = lem.fit(model, gaps, seed=0)
    without = lem.fit(model, gaps[kept], seed=0)
    assert with_gaps.log_likelihood == pytest.approx(without.log_likelihood, abs=1e-3)


def test_a_switch_of_zeros_and_counts() -> None:
    rng = np.random.default_rng(0)
    x = np.where(rng.random(4000) < 0.3, 0, rng.negative_binomial(3.0, 3.0 / 13.0, 4000))
    cases = lem.Switch([lem.PointMass(0), lem.NegativeBinomial()])
    fit = lem.fit(_mixture(cases), x, seed=0)
    counts = fit.model["x"].cases[1]
    assert counts.mean == pytest.approx(10.0, rel=0.05)
    assert counts.size == pytest.approx(3.0, rel=0.15)


def test_counts_of_a_billion() -> None:
    rng = np.random.default_rng(0)
    x = rng.negative_binomial(5.0, 5.0 / (5.0 + 1e9), 400)
    dist = lem.NegativeBinomial().fit(x, np.ones((400, 1)))
    assert dist.mean[0] == pytest.approx(1e9, rel=0.1)
    assert dist.size[0] == pytest.approx(5.0, rel=0.3)
    # Such counts are all but continuous: the size is the shape of a Gamma distribution.
    gamma = lem.Gamma().fit(x.astype(float), np.ones((400, 1)))
    assert dist.size[0] == pytest.approx(gamma.shape[0], rel=1e-6)


def test_draws_have_the_mean_and_the_variance() -> None:
    dist = lem.NegativeBinomial([2.0, 50.0], [0.5, 4.0])
    state = np.repeat([0, 1], 40_000)
    draws = dist.sample(np.random.default_rng(0), state)
    for k in (0, 1):
        own = draws[state == k]
        variance = dist.mean[k] + dist.mean[k] ** 2 / dist.size[k]
        assert own.mean() == pytest.approx(
            dist.expected_value()[k], abs=5 * np.sqrt(variance / 4e4)
        )
        assert own.var() == pytest.approx(variance, rel=0.1)


WRONG = [
    (lambda: lem.NegativeBinomial([-1.0], [1.0]), "mean must be finite and not negative"),
    (lambda: lem.NegativeBinomial([1.0], [0.0]), "size must be positive and finite"),
    (lambda: lem.NegativeBinomial([1.0], [1.0, 2.0]), "one entry each"),
    (lambda: lem.NegativeBinomial(held=("size",)), "held must name some of the parameters"),
    (lambda: lem.NegativeBinomial(largest_size=0.1), "largest_size must be between"),
    (lambda: lem.NegativeBinomial().log_prob([1]), "got a template"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_wrong_parameters_are_refused(make: object, message: str) -> None:
    with pytest.raises(lem.ModelError, match=message):
        make()  # type: ignore[operator]


def test_what_is_no_count_is_refused() -> None:
    model = lem.Model([lem.observed("x", lem.NegativeBinomial())])
    with pytest.raises(lem.DataError, match=r"integers >= 0 because Node 'x' .* got -1 at row 1"):
        lem.fit(model, np.array([1, -1]))
