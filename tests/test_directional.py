"""Angles and unit vectors: published figures, digits, constraints and mixtures."""

from __future__ import annotations

import warnings
from typing import Any

import attrs
import numpy as np
import pytest
from scipy import integrate, optimize, special, stats

import latentem as lem
from latentem.distributions.bessel import concentration_of, excess_normaliser, mean_length

# Stops of a roulette wheel, in degrees (Mardia and Jupp, Directional Statistics, 2000, table 1.1).
ROULETTE = np.deg2rad([43.0, 45, 52, 61, 75, 88, 88, 279, 357])
BOTH = [lem.VonMises(), lem.VonMisesFisher()]


def _alone(dist: Any, value: np.ndarray) -> Any:
    return dist.fit(value, np.ones(len(value)))


def _vectors(angle: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _two_kinds(dist: Any, n: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    if isinstance(dist, lem.VonMises):
        return np.concatenate([rng.vonmises(3.0, 4.0, n), rng.vonmises(0.5, 12.0, n)])
    means = np.array([[0.0, 0.0, 1.0], [0.6, 0.8, 0.0]])
    return lem.VonMisesFisher(means, [6.0, 20.0]).sample(rng, np.repeat([0, 1], n))


def _model(dist: lem.Distribution, k: int = 2) -> lem.Model:
    z = lem.latent("z", lem.Categorical(k))
    return lem.Model([z, lem.observed("x", dist, given=z)])


# -- the normaliser and its inverse ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "kappa"),
    [(0.1, 0.20101), (0.5, 1.15932), (0.7, 2.01363), (0.71, 2.07685), (0.9, 5.3047)],
)
def test_concentrations_are_those_of_the_table(length: float, kappa: float) -> None:
    # Mardia and Jupp, 2000, appendix 2 (from Batschelet, 1981, table B).
    found = concentration_of(np.array(length), np.array(1 - length), 2)
    assert found == pytest.approx(kappa, abs=6e-6 * max(1, kappa))


def test_the_roulette_wheel() -> None:
    fitted = _alone(lem.VonMises(), ROULETTE)
    assert np.rad2deg(fitted.mean) == pytest.approx(51, abs=0.5)  # Mardia and Jupp, section 2.2.1
    assert mean_length(fitted.concentration, 2)[0] == pytest.approx(0.711, abs=5e-4)


@pytest.mark.parametrize("d", [2, 3, 5, 17, 60])
def test_the_normaliser_agrees_with_bessel_functions(d: int) -> None:
    kappa, nu = np.array([0.3, 1.0, 7.0, 30.0, 49.0, 51.0, 300.0]), d / 2 - 1
    expected = special.gammaln(nu + 1) + nu * np.log(2 / kappa) + np.log(special.ive(nu, kappa))
    np.testing.assert_allclose(excess_normaliser(kappa, d), expected, rtol=1e-12, atol=1e-12)
    ratio = special.ive(nu + 1, kappa) / special.ive(nu, kappa)
    np.testing.assert_allclose(mean_length(kappa, d)[0], ratio, rtol=1e-12)


def test_three_dimensions_have_a_closed_form() -> None:
    kappa = np.array([1e-3, 0.1, 1.0, 20.0, 49.9, 50.1, 1e3, 1e8])
    length, rest = mean_length(kappa, 3)
    inverse = 1 / kappa - 2 / np.expm1(2 * np.minimum(kappa, 300))
    np.testing.assert_allclose(rest, inverse, rtol=1e-12)  # 1 - coth + 1 / kappa
    np.testing.assert_allclose(length, 1 - inverse, rtol=1e-9)
    expected = np.log(-np.expm1(-2 * kappa) / (2 * kappa))
    np.testing.assert_allclose(excess_normaliser(kappa, 3), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("d", [2, 3, 4, 25, 100, 103, 1000, 10**5])
def test_the_inverse_is_exact_from_tiny_to_huge(d: int) -> None:
    kappa = 10.0 ** np.linspace(-10, 12, 89)
    length, rest = mean_length(kappa, d)
    assert (np.diff(length) >= 0).all()
    assert (np.diff(rest) <= 0).all()
    np.testing.assert_allclose(concentration_of(length, rest, d), kappa, rtol=1e-12)
    assert concentration_of(np.array(1e-300), np.array(1.0), d) == pytest.approx(d * 1e-300)
    assert concentration_of(np.array(0.0), np.array(1.0), d) == 0
    assert np.isfinite(excess_normaliser(kappa, d)).all()


@pytest.mark.parametrize("d", [2, 9, 101, 1000])
def test_the_mean_length_is_the_slope_of_the_normaliser(d: int) -> None:
    kappa = np.concatenate([np.linspace(0.5, 60, 30), [200.0, 1e3, 1e4]])
    step = 1e-4 * kappa
    slope = (excess_normaliser(kappa + step, d) - excess_normaliser(kappa - step, d)) / (2 * step)
    np.testing.assert_allclose(-slope, mean_length(kappa, d)[1], rtol=1e-5, atol=1e-7)


# -- densities -------------------------------------------------------------------------------------


def test_densities_agree_with_scipy() -> None:
    x = np.linspace(-10, 10, 41)
    dist = lem.VonMises([0.0, 2.0, -3.0], [1e-3, 1.0, 600.0])
    expected = stats.vonmises.logpdf(x[:, None], [1e-3, 1.0, 600.0], [0.0, 2.0, -3.0])
    np.testing.assert_allclose(dist.log_prob(x), expected, rtol=1e-10, atol=1e-10)
    rng = np.random.default_rng(0)
    for d in (2, 3, 7, 40):
        mean = np.eye(d)[:2]
        rows = lem.VonMisesFisher(mean, [2.0, 70.0]).sample(rng, np.arange(20) % 2)
        found = lem.VonMisesFisher(mean, [2.0, 70.0]).log_prob(rows)
        for k, kappa in enumerate((2.0, 70.0)):
            expected = stats.vonmises_fisher(mean[k], kappa).logpdf(rows)
            np.testing.assert_allclose(found[:, k], expected, rtol=1e-9, atol=1e-9)


def test_angles_have_no_beginning() -> None:
    x = np.random.default_rng(0).vonmises(3.0, 2.0, 100)
    dist = lem.VonMises([3.0], [2.0])
    turned = x + 2 * np.pi * np.arange(-50, 50)
    np.testing.assert_allclose(dist.log_prob(turned), dist.log_prob(x), rtol=1e-11)
    here, there = _alone(lem.VonMises(), x), _alone(lem.VonMises(), turned)
    assert there.mean == pytest.approx(here.mean, abs=1e-12)
    assert there.concentration == pytest.approx(here.concentration, rel=1e-11)
    for shift in np.linspace(0, 7, 15):  # the mean is always in (-pi, pi]
        moved = _alone(lem.VonMises(), x + shift)
        assert -np.pi < moved.mean <= np.pi
        assert np.cos(moved.mean - here.mean - shift) == pytest.approx(1, abs=1e-15)
        assert moved.concentration == pytest.approx(here.concentration, rel=1e-11)
    total, _ = integrate.quad(
        lambda a: np.exp(dist.log_prob(np.array([a]))[0, 0]), 5, 5 + 2 * np.pi
    )
    assert total == pytest.approx(1, abs=1e-10)


def test_two_dimensions_are_angles() -> None:
    x = _two_kinds(lem.VonMises())
    weights = np.random.default_rng(1).gamma(1.0, size=(len(x), 3))
    angles, vectors = lem.VonMises().fit(x, weights), lem.VonMisesFisher().fit(_vectors(x), weights)
    np.testing.assert_allclose(vectors.concentration, angles.concentration, rtol=1e-11)
    np.testing.assert_allclose(vectors.mean, _vectors(angles.mean), atol=1e-13)
    np.testing.assert_allclose(vectors.log_prob(_vectors(x)), angles.log_prob(x), atol=1e-11)
    both = [
        lem.fit(_model(d), v, seed=0, restarts=2).log_likelihood
        for d, v in ((lem.VonMises(), x), (lem.VonMisesFisher(), _vectors(x)))
    ]
    assert both[0] == pytest.approx(both[1], rel=1e-9)


def test_no_concentration_is_the_uniform_distribution() -> None:
    x = np.linspace(-9, 9, 7)
    np.testing.assert_allclose(np.exp(lem.VonMises(1.0, 0.0).log_prob(x)), 0.5 / np.pi, rtol=1e-15)
    sphere = lem.VonMisesFisher([0.0, 0.0, 1.0], 0.0)
    np.testing.assert_allclose(np.exp(sphere.log_prob(np.eye(3))), 0.25 / np.pi, rtol=1e-15)
    assert sphere.expected_value().tolist() == [0, 0, 0]
    balanced = lem.VonMises().fit(np.array([0.0, np.pi / 2, np.pi, -np.pi / 2]), np.ones(4))
    assert balanced.concentration < 1e-15
    assert np.isfinite(balanced.mean)
    corners = np.concatenate([np.eye(4), -np.eye(4)])
    balanced = lem.VonMisesFisher().fit(corners, np.ones(8))
    assert balanced.concentration == 0
    assert np.linalg.norm(balanced.mean) == 1
    assert balanced.directions() == []


# -- the maximiser ---------------------------------------------------------------------------------


def test_the_fit_is_that_of_scipy_and_of_a_direct_search() -> None:
    x = np.random.default_rng(0).vonmises(2.5, 3.0, 500)
    fitted = _alone(lem.VonMises(), x)
    kappa, mean, _ = stats.vonmises.fit(x, fscale=1)
    assert fitted.concentration == pytest.approx(kappa, rel=1e-8)
    assert fitted.mean == pytest.approx(mean, abs=1e-8)
    rng = np.random.default_rng(1)
    rows = lem.VonMisesFisher(np.eye(4)[:1], [5.0]).sample(rng, np.zeros(300, dtype=int))
    weights = rng.gamma(1.0, size=300)
    ours = lem.VonMisesFisher().fit(rows, weights)

    def loss(natural: np.ndarray) -> float:
        length = np.linalg.norm(natural)
        density = rows @ natural + np.log(length) - 2 * np.log(2 * np.pi)
        return -weights @ (density - np.log(special.ive(1, length)) - length) / weights.sum()

    found = optimize.minimize(loss, np.ones(4), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(ours.concentration * ours.mean, found.x, atol=2e-6)
    assert -(weights @ ours.log_prob(rows)) / weights.sum() <= found.fun + 1e-12


@pytest.mark.parametrize("kappa", [1e4, 1e6, 9e7])
def test_concentrated_directions_keep_their_digits(kappa: float) -> None:
    deviation = np.random.default_rng(0).normal(size=400) / np.sqrt(kappa)
    deviation -= np.arcsin(np.sin(deviation).mean())
    fitted = _alone(lem.VonMises(), 1.0 + deviation)
    sine, versine = np.sin(deviation).mean(), 2 * np.square(np.sin(deviation / 2)).mean()
    rest = versine - sine**2 / 2  # 1 - R but for terms of 1 / kappa^2
    assert fitted.concentration == pytest.approx(0.5 / rest, rel=2 / kappa)
    around = _alone(lem.VonMisesFisher(), _vectors(1.0 + deviation))
    assert around.concentration == pytest.approx(fitted.concentration, rel=1e-10)


def test_the_constraint_is_exact_and_says_so() -> None:
    x = np.array([0.2, 0.9, -0.7, 2.0, 2.0, 2.0])
    weights = np.repeat(np.eye(2), 3, axis=0)
    for dist, value in ((lem.VonMises(), x), (lem.VonMisesFisher(), _vectors(x))):
        limited = attrs.evolve(dist, largest_concentration=1e3)
        fitted = limited.fit(value, weights)
        assert fitted.at_constraint
        assert fitted.at_limit.tolist() == [False, True]
        assert fitted.events == ("the concentration is at its largest, 1000 (state 1)",)
        assert fitted.concentration[1] == 1e3
        assert len(fitted.directions()) == fitted.n_parameters - 1
        best = np.sum(weights * fitted.log_prob(value))
        less = attrs.evolve(fitted, concentration=fitted.concentration * [1, 0.999])
        assert np.sum(weights * less.log_prob(value)) < best
        moved = attrs.evolve(limited, mean=fitted.mean, concentration=np.full(2, 1e9)).feasible()
        assert moved.concentration.tolist() == [1e3, 1e3]


@pytest.mark.parametrize("dist", BOTH, ids=repr)
def test_tangents_keep_to_the_sphere_and_are_as_many_as_parameters(dist: Any) -> None:
    value = _two_kinds(dist)
    fitted = dist.fit(value, np.repeat(np.eye(2), len(value) // 2, axis=0))
    directions = fitted.directions()
    assert len(directions) == fitted.n_parameters
    moves = [
        np.concatenate([d.get(n, np.zeros_like(a)).ravel() for n, a in fitted.parameters.items()])
        for d in directions
    ]
    assert np.linalg.matrix_rank(moves) == fitted.n_parameters
    for direction in directions:
        moved = fitted.moved(direction, 0.1)
        if isinstance(dist, lem.VonMisesFisher):
            np.testing.assert_allclose(np.linalg.norm(moved.mean, axis=1), 1, rtol=1e-14)


# -- draws -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kappa", [0.0, 1e-8, 0.5, 30.0, 1e8])
@pytest.mark.parametrize("d", [2, 3, 10])
def test_draws_follow_the_density(d: int, kappa: float) -> None:
    mean = np.full(d, d**-0.5)
    dist = lem.VonMisesFisher(mean[None], [kappa])
    draws = dist.sample(np.random.default_rng(d), np.zeros(20_000, dtype=int))
    np.testing.assert_allclose(np.linalg.norm(draws, axis=1), 1, rtol=1e-14)
    versine = 0.5 * np.square(draws - mean).sum(axis=1)
    expected = mean_length(np.array(kappa), d)[1]
    assert versine.mean() == pytest.approx(expected, abs=5 * versine.std() / np.sqrt(20_000))
    tangent = (draws - mean) + versine[:, None] * mean
    error = tangent.std(axis=0) / np.sqrt(20_000)
    assert (np.abs(tangent.mean(axis=0)) < 5 * error).all()
    if d == 3 and kappa == 30.0:  # 1 - W is an exponential variable, cut off at 2
        assert stats.kstest(30 * versine, "expon").pvalue > 1e-4
    again = dist.sample(np.random.default_rng(d), np.zeros(20_000, dtype=int))
    np.testing.assert_array_equal(draws, again)


def test_draws_of_many_dimensions() -> None:
    dist = lem.VonMisesFisher(np.eye(1000)[:2], [0.0, 1e4])
    draws = dist.sample(np.random.default_rng(0), np.repeat([0, 1], 200))
    assert np.isfinite(dist.log_prob(draws)).all()
    means = np.stack([part @ row for part, row in zip(np.split(draws, 2), dist.mean, strict=True)])
    length = mean_length(dist.concentration, 1000)[0]
    np.testing.assert_allclose(means.mean(axis=1), length, atol=0.02)


# -- mixtures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dist", BOTH, ids=repr)
def test_a_simulated_mixture_is_recovered(dist: Any) -> None:
    fit = lem.fit(_model(dist), _two_kinds(dist, 600), seed=0)
    order = np.argsort(fit.model["x"].concentration)
    found = fit.model["x"].concentration[order]
    truth = np.array([4.0, 12.0] if isinstance(dist, lem.VonMises) else [6.0, 20.0])
    np.testing.assert_allclose(found, truth, rtol=0.15)
    mean = fit.model["x"].mean[order]
    if isinstance(dist, lem.VonMises):
        np.testing.assert_allclose(mean, [3.0, 0.5], atol=0.08)
    else:
        np.testing.assert_allclose(mean, [[0, 0, 1], [0.6, 0.8, 0]], atol=0.06)
    assert np.isfinite(fit.standard_errors()["x"]["mean"]).all()
    posterior = fit.posterior()
    q = lem.expected_log_joint(fit.model, _two_kinds(dist, 600), posterior)
    assert q.total + posterior.entropy == pytest.approx(fit.log_likelihood, rel=1e-11)


@pytest.mark.parametrize("dist", BOTH, ids=repr)
@pytest.mark.parametrize("seed", range(4))
def test_the_objective_never_falls(dist: Any, seed: int) -> None:
    value = _two_kinds(dist)
    plain = {"restarts": 1, "accelerate": None, "tol": 0, "max_iter": 40}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = lem.fit(_model(dist, 3), value, init=lem.init.random, seed=seed, **plain)
    objective = fit.trace["objective"]
    assert len(objective) > 10
    assert (np.diff(objective) >= -1e-10 * np.abs(objective[:-1])).all()


@pytest.mark.parametrize("dist", BOTH, ids=repr)
def test_the_objective_does_not_fall_where_a_state_collapses(dist: Any) -> None:
    value = _two_kinds(dist, 60)
    value[:30] = value[0]
    plain: dict[str, Any] = {"restarts": 1, "accelerate": None, "tol": 0, "max_iter": 60}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = lem.init.from_labels(np.arange(120) >= 30)
        fit = lem.fit(_model(dist), value, init=start, **plain)
    objective = fit.trace["objective"]
    # A concentration of 1e8 leaves the density eight digits.
    assert (np.diff(objective) >= -1e-8 * np.abs(objective[:-1]) - 1e-6).all()
    assert fit.model["x"].at_constraint


@pytest.mark.parametrize("dist", BOTH, ids=repr)
def test_weights_repeat_rows_and_missing_rows_drop_out(dist: Any) -> None:
    value = _two_kinds(dist, 60)
    weights = 1 + np.arange(len(value)) % 3
    start = lem.init.from_labels(np.arange(len(value)) >= 60)
    plain: dict[str, Any] = {"restarts": 1, "accelerate": None, "tol": 0, "max_iter": 6}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weighted = lem.fit(_model(dist), value, weights=weights, init=start, **plain)
        again = lem.init.from_labels(np.repeat(np.arange(len(value)) >= 60, weights))
        repeated = lem.fit(_model(dist), np.repeat(value, weights, axis=0), init=again, **plain)
        assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, rel=1e-10)
        gaps = value.copy()
        gaps[::7] = np.nan
        kept = np.arange(len(value)) % 7 > 0
        holes = lem.fit(_model(dist), gaps, init=start, **plain)
        labels = lem.init.from_labels((np.arange(len(value)) >= 60)[kept])
        whole = lem.fit(_model(dist), value[kept], init=labels, **plain)
    assert holes.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-10)


def test_standard_errors_are_those_of_the_information() -> None:
    # Mardia and Jupp, 2000, section 5.3.1: n kappa A of the mean, n A' of the concentration.
    x = np.random.default_rng(0).vonmises(1.0, 3.0, 400)
    fit = lem.fit(lem.Model([lem.observed("x", lem.VonMises())]), x)
    kappa = fit.model["x"].concentration
    length = mean_length(kappa, 2)[0]
    errors = fit.standard_errors()["x"]
    assert errors["mean"] == pytest.approx((400 * kappa * length) ** -0.5, rel=1e-4)
    slope = 1 - length**2 - length / kappa
    assert errors["concentration"] == pytest.approx((400 * slope) ** -0.5, rel=1e-4)
    sphere = lem.fit(lem.Model([lem.observed("x", lem.VonMisesFisher())]), _vectors(x))
    turned = np.abs([np.sin(fit.model["x"].mean), np.cos(fit.model["x"].mean)]) * errors["mean"]
    np.testing.assert_allclose(sphere.standard_errors()["x"]["mean"], turned, rtol=1e-4)


def test_background_all_around_the_circle() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.vonmises(1.0, 8.0, 600), rng.uniform(-9, 9, 200)])
    cases = lem.Switch([lem.VonMises(), lem.fixed(lem.VonMises(0.0, 0.0))])
    fit = lem.fit(_model(cases), x, seed=0)
    assert fit.model["x"].cases[0].mean == pytest.approx(1, abs=0.05)
    assert fit.model["x"].cases[0].concentration == pytest.approx(8, rel=0.2)
    assert fit.model["z"].probs[0] == pytest.approx(0.75, abs=0.06)


def test_documents_of_a_thousand_dimensions() -> None:
    rng = np.random.default_rng(0)
    truth = lem.VonMisesFisher(np.eye(1000)[:3], [400.0, 900.0, 3000.0])
    state = rng.integers(0, 3, 150)
    fit = lem.fit(_model(lem.VonMisesFisher(), 3), truth.sample(rng, state), seed=0, restarts=2)
    labels = fit.posterior().mode()["z"]
    assert len(set(zip(labels.tolist(), state.tolist(), strict=True))) == 3
    assert np.isfinite(fit.log_likelihood)


# -- extremes, and what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        [1e-300, 2e-300],
        [1e-9, 2.0],
        [0.0, np.pi],
        [-np.pi, np.pi, 0.1],
        [1.0, 1.0, 1.0, 1.0 + 1e-12],
        [1e9, 2e9, 3e9],
        [0.0] * 50 + [1e-7],
    ],
)
def test_extreme_angles_give_finite_fits(value: list[float]) -> None:
    x = np.array(value)
    for dist, rows in ((lem.VonMises(), x), (lem.VonMisesFisher(), _vectors(x))):
        fitted = _alone(dist, rows)
        assert np.isfinite(fitted.concentration)
        assert np.isfinite(fitted.mean).all()
        assert np.isfinite(fitted.log_prob(rows)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = lem.fit(_model(lem.VonMises()), x, seed=0, restarts=2)
        except lem.LatentemError as error:
            assert "must" in str(error)  # noqa: PT017
        else:
            assert np.isfinite(fit.log_likelihood)


def test_what_is_no_direction_has_no_density() -> None:
    angles = lem.VonMises([0.0], [1.0]).log_prob(np.array([np.nan, np.inf, -np.inf, 1e300]))
    assert (angles[:3] == -np.inf).all()
    assert np.isfinite(angles[3])
    rows = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 0.0], [np.nan, 1.0], [np.inf, 0.0]])
    density = lem.VonMisesFisher([[1.0, 0.0]], [1.0]).log_prob(rows)
    assert np.isfinite(density[0])
    assert (density[1:] == -np.inf).all()


def test_unit_vectors_of_single_precision_are_taken_and_made_exact() -> None:
    rows = _two_kinds(lem.VonMisesFisher()).astype(np.float32)
    checked = lem.VonMisesFisher().check(rows)
    np.testing.assert_allclose(np.linalg.norm(checked, axis=1), 1, rtol=1e-15)


@pytest.mark.parametrize(
    ("dist", "value", "message"),
    [
        (lem.VonMises(), [1.0, 1.0], "must vary .* got a constant direction"),
        (lem.VonMises(), [[1.0, 2.0], [2.0, 1.0]], r"must be a column, shape \(n,\)"),
        (lem.VonMisesFisher(), [1.0, 2.0], r"got shape \(2,\). Use VonMises\(\) for angles"),
        (lem.VonMisesFisher(), [[1, 0], [1, 1]], "unit vectors .* length 1.41421 at row 1. Divide"),
        (lem.VonMisesFisher(), [[1, 0], [0, 0]], "length 0 at row 1. Divide rows by their lengths"),
        (lem.VonMisesFisher(), [[1, 0], [1, 0]], "must vary .* got a constant direction"),
    ],
)
def test_unsuitable_data_are_refused(dist: Any, value: Any, message: str) -> None:
    with pytest.raises(lem.DataError, match=message):
        lem.fit(lem.Model([lem.observed("x", dist)]), {"x": np.array(value)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lem.VonMises([1.0], held=("kappa",)), "held must name some of the parameters"),
        (lambda: lem.VonMises([1.0, 2.0], [1.0]), "one entry for each mean"),
        (lambda: lem.VonMises([1.0], [-1.0]), "must be finite and not negative"),
        (lambda: lem.VonMises([np.inf], [1.0]), "mean must be finite"),
        (lambda: lem.VonMises(largest_concentration=1e20), "must be between"),
        (lambda: lem.VonMises().log_prob([1.0]), "got a template"),
        (lambda: lem.VonMisesFisher([[1.0, 1.0]], [1.0]), "unit vectors, got lengths"),
        (lambda: lem.VonMisesFisher(1.0, 1.0), "mean"),
        (lambda: lem.VonMisesFisher([[1.0]], [1.0]), "at least 2 entries"),
    ],
)
def test_wrong_parameters_are_refused(make: Any, message: str) -> None:
    with pytest.raises(lem.ModelError, match=message):
        make()


@pytest.mark.parametrize("dist", BOTH, ids=repr)
def test_seeds_are_compared_in_units_of_the_spread(dist: Any) -> None:
    value = _two_kinds(dist)
    bound = dist.bind(value)
    distances = bound.dissimilarity(value, value)
    assert distances.shape == (len(value), len(value))
    assert (np.diagonal(distances) < 1e-12).all()
    assert distances.mean() == pytest.approx(2, rel=0.01)  # twice the variance, in its units
    with_weights = dist.bind(value, np.ones(len(value)))
    np.testing.assert_allclose(with_weights.dissimilarity(value, value[:3]), distances[:, :3])
