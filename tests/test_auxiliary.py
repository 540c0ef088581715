"""Families with an auxiliary variable: Student's t, a plug-in; and Laplace's, which has none."""

from __future__ import annotations

import math
import warnings
from typing import Any

import attrs
import numpy as np
import pytest
from scipy import optimize, special, stats

import latentem as lem

STRUCTURES = ["full", "diagonal", "spherical", "EEE", "VEI"]
STUDENTS = [
    *(lem.StudentT(scale=scale) for scale in STRUCTURES),
    lem.StudentT(shared_df=True),
    lem.StudentT(df=4.0),
]


@attrs.frozen(eq=False)
class HyperbolicSecant(lem.AuxiliaryFamily):
    """The example of the documentation, with what is optional."""

    mean: lem.Array | None = lem.parameter()  # noqa: RUF009 (an attrs field marker)
    scale: lem.Array | None = lem.parameter()  # noqa: RUF009

    def log_prob(self, value: np.ndarray) -> np.ndarray:
        r = np.abs(value[:, None] - self.mean) / self.scale
        return -r - np.log1p(np.exp(-2 * r)) - np.log(np.pi / 2 * self.scale)

    def expected_statistics(self, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = value[:, None]
        r = np.abs(x - self.mean) / self.scale
        u = np.where(r > 0, np.tanh(r) / np.where(r > 0, r, 1), 1)
        expected = np.stack([u, u * x, u * x**2], axis=-1)
        return expected, self.log_prob(value) + u * r**2 / 2 + np.log(self.scale)

    def natural_parameters(self) -> tuple[np.ndarray, np.ndarray]:
        precision = 1 / self.scale**2
        eta = precision * np.stack([-(self.mean**2) / 2, self.mean, -0.5 + 0 * self.mean])
        return np.moveaxis(eta, 0, -1), np.log(self.scale)

    def from_mean(self, mean: np.ndarray, weight: np.ndarray) -> Any:
        u, ux, uxx = np.moveaxis(mean, -1, 0)
        return attrs.evolve(self, mean=ux / u, scale=np.sqrt(uxx - ux**2 / u))

    def statistics(self, value: np.ndarray) -> np.ndarray:
        return np.stack([np.ones_like(value), value, value**2], axis=1)

    @property
    def n_parameters(self) -> int:
        return 2 * self.mean.size

    def sample(self, rng: np.random.Generator, state: np.ndarray) -> np.ndarray:
        draws = stats.hypsecant.rvs(size=len(state), random_state=rng)
        return self.mean[state] + self.scale[state] * draws

    def dissimilarity(self, value: np.ndarray, other: np.ndarray) -> np.ndarray:
        return (value[:, None] - other) ** 2


def _two_kinds(d: int = 2, seed: int = 0, n: int = 120) -> np.ndarray:
    """Rows of two t distributions, and two rows far from both."""
    rng = np.random.default_rng(seed)
    x = rng.standard_t(3, size=(n, d))
    x[n // 2 :] = 0.6 * x[n // 2 :] + 7.0
    x[0], x[-1] = 60.0, -45.0
    return x


def _mixture(dist: lem.Distribution, k: int = 2) -> lem.Model:
    z = lem.latent("z", lem.Categorical(k))
    return lem.Model([z, lem.observed("x", dist, given=z)])


def _alone(dist: Any, value: np.ndarray) -> Any:
    return dist.fit(dist.check(np.asarray(value)), np.ones(len(value)))


def _label(dist: lem.Distribution) -> str:
    return repr(dist)


# -- figures ---------------------------------------------------------------------------------------


def test_the_density_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_t(2, size=(50, 3)) * 10.0
    root = rng.normal(size=(4, 3, 3))
    scale = root @ np.swapaxes(root, -1, -2) + 0.1 * np.eye(3)
    mean, df = rng.normal(size=(4, 3)), np.array([0.3, 1.0, 4.5, 1e3])
    dist = lem.StudentT(df, mean=mean, scale=scale)
    expected = [
        stats.multivariate_t(m, s, v).logpdf(x) for m, s, v in zip(mean, scale, df, strict=True)
    ]
    np.testing.assert_allclose(dist.log_prob(x), np.transpose(expected), rtol=1e-11)


def test_infinitely_many_degrees_of_freedom_are_a_gaussian() -> None:
    x = np.linspace(-8, 8, 41)
    for df, error in ((1e8, 1e-4), (1e12, 1e-8)):
        dist = lem.StudentT([df], mean=[[0.5]], scale=[[[2.0]]])
        normal = stats.norm.logpdf(x, 0.5, math.sqrt(2.0))
        np.testing.assert_allclose(dist.log_prob(x)[:, 0], normal, rtol=0, atol=error)


def test_the_maximum_is_that_of_scipy() -> None:
    rng = np.random.default_rng(3)
    x = 5.0 + 2.0 * rng.standard_t(3, size=300)
    fitted = _alone(lem.StudentT(), x)

    def minus(p: np.ndarray) -> float:
        return -stats.t.logpdf(x, math.exp(p[0]), p[1], math.exp(p[2])).sum()

    found = optimize.minimize(minus, [1.0, 5.0, 0.5], method="BFGS", options={"gtol": 1e-6})
    assert fitted.log_prob(x).sum() == pytest.approx(-found.fun, abs=1e-7)
    assert fitted.df == pytest.approx(math.exp(found.x[0]), rel=1e-4)
    assert fitted.mean[0] == pytest.approx(found.x[1], abs=1e-4)
    assert math.sqrt(fitted.scale[0, 0]) == pytest.approx(math.exp(found.x[2]), rel=1e-4)


def test_the_maximum_solves_the_equations_of_the_likelihood() -> None:
    # Lange, Little and Taylor (1989), equations of section 3, written out.
    x = np.random.default_rng(4).standard_t(2.5, size=(80, 2)) @ [[1.0, 0.4], [0.0, 2.0]]
    weights = np.random.default_rng(5).gamma(2.0, size=80)
    fitted = lem.StudentT().fit(x, weights)
    v, d = float(fitted.df), 2
    residual = x - fitted.mean
    square = np.einsum("ni,ij,nj->n", residual, np.linalg.inv(fitted.scale), residual)
    u = (v + d) / (v + square)
    total = weights.sum()
    np.testing.assert_allclose((weights * u) @ residual / total, 0, atol=1e-9)
    scatter = np.einsum("n,ni,nj->ij", weights * u, residual, residual) / total
    np.testing.assert_allclose(scatter, fitted.scale, rtol=1e-9)
    # d/dv of the log-density, twice: psi - psi - d/v - log(1 + s/v) + (v + d) s / (v (v + s))
    score = (
        special.digamma((v + d) / 2)
        - special.digamma(v / 2)
        - d / v
        + weights @ (u * square / v - np.log1p(square / v)) / total
    )
    assert score == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("df", [1.0, 1.5, 7.0])
def test_known_degrees_of_freedom_are_kept(df: float) -> None:
    x = _two_kinds()
    fitted = _alone(lem.StudentT(df=df), x)
    assert fitted.df == df
    assert fitted.n_parameters == 2 + 3

    def minus(p: np.ndarray) -> float:
        root = np.array([[math.exp(p[2]), 0.0], [p[3], math.exp(p[4])]])
        return -stats.multivariate_t(p[:2], root @ root.T, df).logpdf(x).sum()

    found = optimize.minimize(minus, [3.0, 3.0, 1.0, 0.0, 1.0], method="BFGS")
    assert fitted.log_prob(x).sum() == pytest.approx(-found.fun, abs=1e-6)


def test_the_covariance_is_that_of_draws_and_infinite_for_heavy_tails() -> None:
    scale = np.array([[2.0, 0.5], [0.5, 1.0]])
    dist = lem.StudentT([9.0, 2.0], mean=[[1.0, -1.0]] * 2, scale=[scale] * 2)
    draws = dist.sample(np.random.default_rng(0), np.zeros(400_000, dtype=int))
    np.testing.assert_allclose(dist.covariance[0], np.cov(draws.T), rtol=0.02)
    assert np.all(dist.covariance[1] == np.inf)


@pytest.mark.parametrize("dist", [lem.StudentT(), lem.StudentT(shared_df=True)], ids=_label)
def test_the_degrees_of_freedom_maximise_the_profile_likelihood(dist: lem.StudentT) -> None:
    x = _two_kinds()
    weights = np.random.default_rng(1).gamma(2.0, size=(len(x), 2))
    fitted = dist.fit(x, weights)
    own = (weights * fitted.log_prob(x)).sum(axis=0)

    def of_states(df: float) -> np.ndarray:
        known = lem.StudentT(df=df).fit(x, weights)
        return (weights * known.log_prob(x)).sum(axis=0)

    if dist.shared_df:
        assert np.ptp(fitted.df) == 0
        assert fitted.n_parameters == 2 * 5 + 1
        groups = [slice(None)]
    else:
        assert fitted.n_parameters == 2 * 6
        groups = [slice(0, 1), slice(1, 2)]
    for group in groups:
        found = optimize.minimize_scalar(
            lambda df, group=group: -of_states(df)[group].sum(), bounds=(1, 50), method="bounded"
        )
        assert own[group].sum() >= -found.fun - 1e-9
        assert fitted.df[group] == pytest.approx(found.x, rel=1e-3)


def test_the_plug_in_of_the_documentation_finds_its_maximum() -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.standard_t(3, size=200), rng.gamma(2.0, size=200)
    fitted = HyperbolicSecant().fit(x, weights)

    def minus(p: np.ndarray) -> float:
        return -weights @ stats.hypsecant.logpdf(x, p[0], math.exp(p[1]))

    found = optimize.minimize(minus, [0.1, 0.1], method="BFGS", options={"gtol": 1e-8})
    assert weights @ fitted.log_prob(x[:, None][:, 0]).ravel() == pytest.approx(
        -found.fun, abs=1e-8
    )
    assert fitted.mean == pytest.approx(found.x[0], abs=1e-6)
    assert np.log(fitted.scale) == pytest.approx(found.x[1], abs=1e-6)


def test_the_plug_in_of_the_documentation_keeps_the_laws() -> None:
    x = np.random.default_rng(1).standard_t(3, size=40)
    lem.testing.check_distribution(HyperbolicSecant(), x)


# -- what an auxiliary family promises the engine --------------------------------------------------


@pytest.mark.parametrize("dist", [*STUDENTS, HyperbolicSecant()], ids=_label)
def test_f_never_falls_and_is_q_and_the_entropy(dist: lem.Distribution) -> None:
    x = _two_kinds() if isinstance(dist, lem.StudentT) else _two_kinds(1)[:, 0]
    for seed in range(3):
        steps = []
        model = lem.initialize(_mixture(dist, 3), x, init=lem.init.random, seed=seed)
        for step, _ in zip(lem.iterate(model, x), range(25), strict=False):
            steps.append(step.log_likelihood)
        assert np.diff(steps).min() > -1e-9 * abs(steps[-1])
        posterior = lem.e_step(step.model, x)
        q = lem.expected_log_joint(step.model, x, posterior)
        total = lem.log_likelihood(step.model, x)
        assert q.total + posterior.entropy == pytest.approx(total, rel=1e-10)


@pytest.mark.parametrize("dist", STUDENTS, ids=_label)
def test_q_at_other_parameters_is_a_lower_bound(dist: lem.StudentT) -> None:
    x = _two_kinds()
    models = [lem.initialize(_mixture(dist), x, seed=seed) for seed in range(4)]
    posterior = lem.e_step(models[0], x)
    q = lem.expected_log_joint(models[0], x, posterior)
    for model in models:
        assert q(model) + posterior.entropy <= lem.log_likelihood(model, x) + 1e-9


@pytest.mark.parametrize("dist", STUDENTS, ids=_label)
def test_records_are_what_expected_statistics_add_up_to(dist: lem.StudentT) -> None:
    x = _two_kinds()
    weights = np.random.default_rng(0).gamma(2.0, size=(len(x), 3))
    fitted = dist.fit(x, weights)
    expected, base = fitted.expected_statistics(x)
    record = fitted.kernel().on(x).record(weights.T.copy())
    total = np.einsum("nk,nkp->kp", weights, expected)
    found = record.statistics[0].total if fitted.fit_df else record.total
    log_base = record.base[0].sum() if fitted.fit_df else record.log_base
    np.testing.assert_allclose(found, total, rtol=1e-9, atol=1e-9)
    assert log_base == pytest.approx((weights * base).sum(), rel=1e-11)
    # At the maximum an M-step changes nothing, and from elsewhere it raises the likelihood.
    again = fitted.update(record)
    np.testing.assert_allclose(again.log_prob(x), fitted.log_prob(x), rtol=1e-9, atol=1e-9)
    other = dist.fit(x, weights[::-1])
    moved = other.update(other.kernel().on(x).record(weights.T.copy()))
    gain = (weights * moved.log_prob(x)).sum() - (weights * other.log_prob(x)).sum()
    assert gain > 0


def test_what_the_plug_in_returns_in_a_wrong_shape_is_named() -> None:
    @attrs.frozen(eq=False)
    class Transposed(HyperbolicSecant):
        def expected_statistics(self, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            expected, base = super().expected_statistics(value)
            return expected, base.T

    with pytest.raises(lem.ModelError, match=r"Transposed\.expected_statistics must return arrays"):
        Transposed().fit(np.arange(9.0), np.ones((9, 2)))


# -- mixtures --------------------------------------------------------------------------------------


def test_a_mixture_is_recovered_though_rows_are_far_off() -> None:
    rng = np.random.default_rng(1)
    true = lem.StudentT(
        [3.0, 8.0],
        mean=[[0.0, 0.0], [6.0, 3.0]],
        scale=[[[1.0, 0.3], [0.3, 0.5]], [[0.6, 0.0], [0.0, 1.2]]],
    )
    z = lem.latent("z", lem.Categorical(probs=[0.4, 0.6]))
    data = lem.sample(lem.Model([z, lem.observed("x", true, given=z)]), 4000, seed=rng)
    fit = lem.fit(_mixture(lem.StudentT()), data["x"], seed=0)
    order = np.argsort(fit.model["x"].mean[:, 0])
    found = fit.model["x"].permuted_parents([order])
    np.testing.assert_allclose(fit.model["z"].probs[order], [0.4, 0.6], atol=0.03)
    np.testing.assert_allclose(found.mean, true.mean, atol=0.15)
    np.testing.assert_allclose(found.scale, true.scale, atol=0.2)
    np.testing.assert_allclose(found.df, true.df, rtol=0.4)


def test_an_integer_weight_equals_repeating_the_row() -> None:
    x = _two_kinds(n=60)
    counts = 1 + np.arange(len(x)) % 3
    for dist in (lem.StudentT(), lem.Laplace()):
        rows = x if isinstance(dist, lem.StudentT) else x[:, 0]
        model = lem.initialize(_mixture(dist), rows, weights=counts, seed=0)
        options = {"init": model, "tol": 0, "max_iter": 5, "restarts": 1}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lem.ConvergenceWarning)
            weighted = lem.fit(_mixture(dist), rows, weights=counts, **options)
            repeated = lem.fit(_mixture(dist), rows.repeat(counts, axis=0), **options)
        assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, rel=1e-9)


@pytest.mark.parametrize("dist", STUDENTS, ids=_label)
def test_gaps_are_integrated_out(dist: lem.StudentT) -> None:
    x = _two_kinds(3, n=90)
    rng = np.random.default_rng(2)
    x[rng.random(x.shape) < 0.25] = np.nan
    model = lem.initialize(_mixture(dist), x, seed=0)
    steps = [step for step, _ in zip(lem.iterate(model, x), range(15), strict=False)]
    likelihoods = [step.log_likelihood for step in steps]
    assert np.diff(likelihoods).min() > -1e-9 * abs(likelihoods[-1])
    model = steps[-1].model
    student, probs = model["x"], model["z"].probs
    expected = 0.0
    for row in x:
        seen = ~np.isnan(row)
        if not seen.any():
            continue
        terms = [
            math.log(p) + stats.multivariate_t(m[seen], s[np.ix_(seen, seen)], v).logpdf(row[seen])
            for p, m, s, v in zip(probs, student.mean, student.scale, student.df, strict=True)
        ]
        expected += special.logsumexp(terms)
    assert lem.log_likelihood(model, x) == pytest.approx(expected, rel=1e-11)
    posterior = lem.e_step(model, x)
    q = lem.expected_log_joint(model, x, posterior)
    assert q.total + posterior.entropy == pytest.approx(expected, rel=1e-11)


def test_gaps_are_filled_from_the_conditional_t() -> None:
    scale = np.array([[1.0, 0.8], [0.8, 2.0]])
    dist = lem.StudentT([5.0], mean=[[1.0, -1.0]], scale=[scale])
    x = np.tile([3.0, np.nan], (20_000, 1))
    means = dist.completed(x, np.ones((1, len(x))))
    np.testing.assert_allclose(means[:, 1], -1.0 + 0.8 * 2.0, rtol=1e-12)
    draws = dist.completed_by_draws(x, np.zeros(len(x), dtype=int), np.random.default_rng(0))[:, 1]
    # Kotz and Nadarajah, Multivariate t Distributions and Their Applications, 2004, section 1.11
    spread = (5.0 + 2.0**2) / 6.0 * (2.0 - 0.8**2)
    conditional = stats.t(6.0, -1.0 + 0.8 * 2.0, math.sqrt(spread))
    assert stats.kstest(draws, conditional.cdf).pvalue > 1e-6


@pytest.mark.parametrize("dist", [lem.StudentT(), lem.StudentT(df=3.0), lem.Laplace()], ids=_label)
def test_rows_without_a_value_say_nothing(dist: lem.Distribution) -> None:
    x = _two_kinds(1, n=60)[:, 0]
    holes = np.concatenate([x, np.full(7, np.nan)])
    model = lem.initialize(_mixture(dist), x, seed=0)
    assert lem.log_likelihood(model, holes) == pytest.approx(
        lem.log_likelihood(model, x), rel=1e-12
    )
    with_holes, without = (
        next(s for s in lem.iterate(model, rows) if s.iteration == 3) for rows in (holes, x)
    )
    assert with_holes.log_likelihood == pytest.approx(without.log_likelihood, rel=1e-10)


def test_standard_errors_agree_with_the_curvature_of_the_likelihood() -> None:
    x = 2.0 + np.random.default_rng(6).standard_t(4, size=400)
    fitted = _alone(lem.StudentT(), x)
    model = lem.Model([lem.observed("x", lem.StudentT())])
    fit = lem.fit(model, x, init=model.replace({"x": fitted}), tol=1e-12)
    errors = fit.standard_errors()["x"]
    point = np.array([float(fitted.df), fitted.mean[0], fitted.scale[0, 0]])

    def log_likelihood(p: np.ndarray) -> float:
        return stats.t.logpdf(x, p[0], p[1], math.sqrt(p[2])).sum()

    steps = 1e-3 * np.array([point[0], 1.0, point[2]])
    information = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            a, b = steps * np.eye(3)[i], steps * np.eye(3)[j]
            corners = [(a + b, 1), (a - b, -1), (b - a, -1), (-a - b, 1)]
            curvature = sum(sign * log_likelihood(point + move) for move, sign in corners)
            information[i, j] = -curvature / (4 * steps[i] * steps[j])
    expected = np.sqrt(np.diag(np.linalg.inv(information)))
    found = [errors["df"].item(), errors["mean"].item(), errors["scale"].item()]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


# -- units, limits and extremes --------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "shift"), [(1e-8, 0.0), (1.0, 1e8), (1e100, 0.0), (1e-100, 0)])
def test_the_fit_does_not_depend_on_the_unit(factor: float, shift: float) -> None:
    x = np.round(_two_kinds(), 3)
    moved = x * factor + shift
    weights = np.random.default_rng(0).gamma(2.0, size=(len(x), 2))
    here, there = (lem.StudentT().fit(value, weights) for value in (x, moved))
    error = 1e-7 if shift else 1e-9
    np.testing.assert_allclose(there.df, here.df, rtol=error)
    np.testing.assert_allclose((there.mean - shift) / factor, here.mean, atol=1e-7)
    np.testing.assert_allclose(there.scale / factor / factor, here.scale, rtol=error, atol=error)


def test_light_tails_reach_the_largest_df_and_say_so() -> None:
    x = np.random.default_rng(0).uniform(size=300)
    fitted = _alone(lem.StudentT(largest_df=1e5), x)
    assert fitted.df == 1e5
    assert not fitted.at_constraint  # a Gaussian is no collapsed state
    assert fitted.events == ("df is at its largest, 100000 (state 0)",)
    assert fitted.mean[0] == pytest.approx(x.mean(), abs=1e-5)
    assert fitted.scale[0, 0] == pytest.approx(x.var(), rel=1e-3)


def test_a_mixture_reaches_the_largest_df_in_few_steps() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_t(3, 300), rng.uniform(8, 10, 300)])
    fit = lem.fit(_mixture(lem.StudentT()), x, seed=0, restarts=2)
    assert fit.status is lem.Status.CONVERGED
    assert fit.iterations < 200
    df = np.sort(fit.model["x"].df)
    assert df[0] < 6
    assert df[1] == 1e6


def test_very_heavy_tails_reach_the_smallest_df_and_say_so() -> None:
    x = np.random.default_rng(0).standard_cauchy(size=200) ** 3
    fitted = _alone(lem.StudentT(), x)
    assert fitted.df == 1
    assert "df is at its smallest, 1 (state 0)" in fitted.events
    lower = _alone(lem.StudentT(smallest_df=0.1), x)
    assert 0.1 < lower.df < 1
    assert lower.log_prob(x).sum() > fitted.log_prob(x).sum()


@pytest.mark.parametrize("scale", ["full", "diagonal", "spherical", "EEE"])
def test_the_floor_is_the_maximum_under_the_constraint(scale: str) -> None:
    line = np.random.default_rng(0).standard_t(5, size=60)
    x = np.stack([line, line, np.zeros_like(line) + 1e-9 * line], axis=1)
    fitted = lem.StudentT(scale=scale, floor=1e-6, df=4.0).fit(x, np.ones((60, 1)))
    assert np.isfinite(fitted.log_prob(x)).all()
    if scale in ("full", "EEE"):
        assert fitted.at_constraint
        assert "floor, 1e-06 of the data's squared spread" in fitted.events[0]


@pytest.mark.parametrize(
    "x",
    [
        [0.0, 1.0],
        [3.0, 3.0, 3.0],
        [3.0, 3.0, 3.0, 3.0, 4.0],
        [0.0] * 30 + [1.0] * 29,
        np.append(np.random.default_rng(0).normal(size=30), 1e140),
        1e145 * np.random.default_rng(0).standard_t(3, size=30),
        np.random.default_rng(0).normal(size=(3, 5)),
    ],
    ids=["two", "equal", "most equal", "ties", "outlier", "huge", "fewer rows than columns"],
)
@pytest.mark.parametrize("dist", [lem.StudentT(), lem.StudentT(df=2.0)], ids=_label)
def test_extreme_values_give_numbers(x: Any, dist: lem.StudentT) -> None:
    value = dist.check(np.asarray(x))
    fitted = dist.fit(value, np.ones((len(value), 1)))
    for array in fitted.parameters.values():
        assert np.isfinite(array).all()
    assert np.isfinite(fitted.log_prob(value)).all()
    np.linalg.cholesky(fitted.scale)


def test_an_outlier_does_not_move_the_others_floor() -> None:
    rng = np.random.default_rng(0)
    x = np.append(rng.normal(size=200), 1e12)
    fitted = _alone(lem.StudentT(), x)
    assert abs(fitted.mean[0]) < 0.3
    assert 0.2 < fitted.scale[0, 0] < 2.0
    assert not any("floor" in event for event in fitted.events)


def test_seeds_do_not_depend_on_the_unit() -> None:
    x = _two_kinds()
    for dist in (lem.StudentT(), lem.Laplace()):
        value = x if isinstance(dist, lem.StudentT) else x[:, 0]
        here, there = (
            dist.bind(rows).dissimilarity(rows, rows[:3]) for rows in (value, 1e-9 * value)
        )
        np.testing.assert_allclose(here, there, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"df": -1.0}, "df must be positive"),
        ({"df": [3.0, 4.0]}, "without means or scales give one number"),
        ({"df": [3.0], "mean": [[0.0]]}, "without means or scales give one number"),
        ({"held": ("scale",)}, "held must name some of the parameters that are given"),
        ({"scale": 2.0}, "scale must be matrices"),
        ({"df": 3.0, "mean": 0.0, "scale": 1.0}, "mean must be a vector"),
        ({"df": [3.0], "mean": [[0.0]], "scale": [[[-1.0]]]}, "scale must be positive"),
        ({"scale": "round"}, "StudentT: scale must be one of"),
        ({"scale": None}, "StudentT: scale must be one of .*, or an array of matrices, got None"),
        ({"structure": "round"}, "StudentT: structure must be one of .*, got 'round'"),
        ({"smallest_df": 5.0, "largest_df": 2.0}, "smallest_df must be positive and at most"),
    ],
)
def test_wrong_parameters_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(lem.ModelError, match=message):
        lem.StudentT(**arguments)


def test_wrong_data_are_refused() -> None:
    z = lem.latent("z", lem.Categorical(2))
    for dist in (lem.StudentT(), lem.Laplace()):
        model = lem.Model([z, lem.observed("x", dist, given=z)])
        with pytest.raises(lem.DataError, match="data\\['x'\\] must vary"):
            lem.fit(model, np.ones(20), seed=0)
        with pytest.raises(lem.ModelError, match="template"):
            dist.log_prob(np.ones(3))


# -- Laplace ---------------------------------------------------------------------------------------


def test_laplace_is_that_of_scipy() -> None:
    x = np.random.default_rng(0).laplace(3.0, 2.0, size=101)
    fitted = _alone(lem.Laplace(), x)
    location, scale = stats.laplace.fit(x)
    assert fitted.location == location
    assert fitted.scale == pytest.approx(scale, rel=1e-14)
    np.testing.assert_allclose(
        fitted.log_prob(x), stats.laplace(location, scale).logpdf(x), rtol=1e-13
    )


def test_the_weighted_median_is_halfway_between_two_that_split_the_weight() -> None:
    def median(x: list[float], weights: list[float]) -> float:
        return float(lem.Laplace().fit(np.array(x), np.array(weights)).location)

    assert median([1.0, 2.0, 4.0], [1.0, 1.0, 2.0]) == 3.0
    assert median([4.0, 1.0, 2.0], [0.2, 0.1, 0.1]) == 3.0  # 0.1 + 0.1 and 0.2 but for rounding
    assert median([1.0, 9.0, 2.0], [1.0, 0.0, 1.0]) == 1.5
    assert median([1.0, 1.5, 2.0], [1.0, 0.0, 1.0]) == 1.5
    assert median([1.0, 1.0, 7.0], [1.0, 1.0, 1.0]) == 1.0
    assert median([1.0, 5.0, 7.0], [0.1, 0.1, 0.7]) == 7.0


def test_f_of_a_laplace_mixture_never_falls_and_its_states_are_found() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.laplace(0.0, 1.0, 600), rng.laplace(8.0, 0.5, 300)])
    for seed in range(3):
        model = lem.initialize(_mixture(lem.Laplace()), x, init=lem.init.random, seed=seed)
        steps = [s.log_likelihood for s, _ in zip(lem.iterate(model, x), range(30), strict=False)]
        assert np.diff(steps).min() > -1e-9 * abs(steps[-1])
    fit = lem.fit(_mixture(lem.Laplace()), x, seed=0)
    found = fit.model["x"]
    order = np.argsort(found.location)
    np.testing.assert_allclose(found.location[order], [0.0, 8.0], atol=0.2)
    np.testing.assert_allclose(found.scale[order], [1.0, 0.5], rtol=0.2)


def test_the_floor_of_a_laplace_scale_is_said() -> None:
    x = np.array([2.0, 2.0, 2.0, 9.0])
    weights = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    fitted = lem.Laplace(floor=1e-3).fit(x, weights)
    assert fitted.scale.tolist() == [1e-3 * 7 / 4, 3.5]
    assert fitted.at_constraint
    assert fitted.events[0].startswith("the scale of state 0 is at its floor, 0.001")
    assert len(fitted.directions()) == 1
