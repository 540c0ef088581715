"""Nodes given covariates: linear and generalised linear regressions, and latents given them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

import latentem as lem
from latentem.testing import check_distribution

U, Z = lem.covariate("u"), lem.latent("z", lem.Categorical(2))
Array = lem.Array


def _line(n: int = 120, seed: int = 0) -> tuple[Array, Array]:
    """Two crossing lines."""
    rng = np.random.default_rng(seed)
    u, z = rng.uniform(0, 10, n), rng.random(n) < 0.4
    return u, np.where(z, 5 + u, 15 - u) + rng.normal(size=n)


def _counts(n: int = 150, seed: int = 0) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    u, t, z = rng.uniform(0, 3, n), rng.uniform(1, 10, n), rng.integers(0, 2, n)
    rate = t * np.exp(np.array([0.0, 1.5])[z] + np.array([0.8, -0.5])[z] * u)
    return u, t, rng.poisson(rate)


def _model(dist: lem.Distribution) -> lem.Model:
    return lem.Model([Z, U, lem.observed("y", dist, given=[Z, U])])


def _direct(objective: Any, start: Array) -> float:
    """The highest value that direct maximisation finds."""
    found = optimize.minimize(lambda t: -objective(t), start, method="BFGS", tol=1e-10)
    return float(-found.fun)


# -- each family keeps the laws, and its maximiser is the maximum ----------------------------------


def _values() -> dict[str, tuple[lem.Distribution, Array, Array]]:
    rng = np.random.default_rng(3)
    u = rng.normal(size=(60, 2))
    eta = 0.3 + u @ [0.8, -0.5]
    return {
        "linear": (lem.LinearGaussian(), eta + rng.normal(size=60), u),
        "linear, shared": (lem.LinearGaussian(shared=True), eta + rng.normal(size=60), u),
        "linear, two": (lem.LinearGaussian(), rng.normal(size=(60, 2)) + eta[:, None], u),
        "linear, diagonal": (lem.LinearGaussian(noise="diagonal"), rng.normal(size=(60, 2)), u),
        "linear, spherical": (lem.LinearGaussian(noise="spherical"), rng.normal(size=(60, 2)), u),
        "logistic": (lem.Logistic(), rng.binomial(1, 1 / (1 + np.exp(-eta))), u),
        "logistic, trials": (lem.Logistic(trials=5), rng.binomial(5, 1 / (1 + np.exp(-eta))), u),
        "poisson": (lem.PoissonRegression(), rng.poisson(np.exp(eta)), u),
        "gamma": (lem.GammaRegression(), rng.gamma(2.0, np.exp(eta)), u),
        "softmax": (lem.Softmax(3), rng.integers(0, 3, 60), u),
        "binomial by rows": (lem.Binomial("inputs"), rng.binomial(9, 0.4, 60), np.full((60, 1), 9)),
    }


VALUES = _values()


@pytest.mark.parametrize("name", VALUES)
def test_every_regression_keeps_the_laws(name: str) -> None:
    dist, y, u = VALUES[name]
    check_distribution(dist, y, inputs=u)


def _log_density(name: str, y: Array, eta: Array, shape: float) -> Array:
    match name:
        case "logistic":
            return stats.bernoulli.logpmf(y, 1 / (1 + np.exp(-eta)))
        case "logistic, trials":
            return stats.binom.logpmf(y, 5, 1 / (1 + np.exp(-eta)))
        case "poisson":
            return stats.poisson.logpmf(y, np.exp(eta))
        case "linear":
            return stats.norm.logpdf(y, eta, shape)
        case _:
            return stats.gamma.logpdf(y, shape, scale=np.exp(eta) / shape)


@pytest.mark.parametrize("name", ["linear", "logistic", "logistic, trials", "poisson", "gamma"])
def test_the_fit_is_the_maximum_likelihood(name: str) -> None:
    dist, y, u = VALUES[name]
    weights = np.random.default_rng(0).gamma(2.0, size=60)

    def objective(t: Array) -> float:
        eta = t[0] + u @ t[1:3]
        return float(weights @ _log_density(name, y, eta, np.exp(t[3])))

    value = np.column_stack([u, y])
    fitted = dist.fit(value, weights)
    found = float(weights @ fitted.log_prob(value))
    direct = _direct(objective, np.zeros(4))
    assert found == pytest.approx(direct, abs=1e-7 * (1 + abs(direct)))
    assert found >= direct - 1e-9 * abs(direct)


def test_the_softmax_fit_solves_its_equation() -> None:
    dist, y, u = VALUES["softmax"]
    value, weights = np.column_stack([u, y]), np.random.default_rng(1).gamma(2.0, size=60)
    fitted = dist.fit(value, weights)
    residual = (y[:, None] == np.arange(3)) - np.exp(fitted.state_log_probs(u))
    design = np.column_stack([np.ones(60), u])
    np.testing.assert_allclose((weights[:, None] * residual).T @ design, 0.0, atol=1e-8)
    two = lem.Softmax(2).fit(np.column_stack([u, y > 0]), weights)
    one = lem.Logistic().fit(np.column_stack([u, y > 0]), weights)
    np.testing.assert_allclose(two.coefficients[1] - two.coefficients[0], one.coefficients, 1e-7)


# -- in models -------------------------------------------------------------------------------------


def test_a_mixture_of_regressions_reaches_the_marginal_maximum() -> None:
    u, y = _line()
    fit = lem.fit(_model(lem.LinearGaussian()), {"u": u, "y": y}, seed=0)

    def objective(t: Array) -> float:
        log_p = -np.logaddexp(0, -t[0]), -np.logaddexp(0, t[0])
        lines = [
            log_p[k] + stats.norm.logpdf(y, t[1 + k] + t[3 + k] * u, np.exp(t[5 + k]))
            for k in range(2)
        ]
        return float(np.logaddexp(*lines).sum())

    direct = _direct(objective, np.array([0.0, 14, 6, -1, 1, 0, 0]))
    assert fit.log_likelihood == pytest.approx(direct, abs=1e-5)
    assert fit.model["y"].coefficients.shape == (2, 1, 1)
    assert np.sort(fit.model["y"].coefficients.ravel()) == pytest.approx([-1, 1], abs=0.1)
    assert fit.n_parameters == 7


@pytest.mark.parametrize(("shift", "scale"), [(1e8, 1.0), (0.0, 1e-8), (1e5, 1e3)])
def test_origin_and_unit_of_the_data_do_not_matter(shift: float, scale: float) -> None:
    u, y = _line(60)
    model = _model(lem.LinearGaussian())
    init = lem.init.from_labels(np.arange(60) % 2)
    options: dict[str, Any] = {"accelerate": None, "tol": 0, "max_iter": 100}
    fits = [
        lem.fit(model, {"u": a, "y": b}, init=init, **options)
        for a, b in ((u, y), (u * scale + shift, y * scale - shift))
    ]
    tables = [fit.posterior().marginal("z") for fit in fits]
    np.testing.assert_allclose(tables[1], tables[0], atol=1e-6 if shift else 1e-8)
    change = fits[1].log_likelihood - fits[0].log_likelihood
    assert change == pytest.approx(-60 * np.log(scale), abs=1e-5)


@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-6])
def test_little_noise_costs_no_digits(noise: float) -> None:
    rng = np.random.default_rng(0)
    u, z = rng.uniform(0, 10, 80), rng.integers(0, 2, 80)
    y = np.where(z, 5 + u, 30 - u) + noise * rng.normal(size=80)
    fit = lem.fit(
        _model(lem.LinearGaussian(floor=1e-15)), {"u": u, "y": y}, init=lem.init.from_labels(z)
    )
    for k, a, b in ((0, 30, -1), (1, 5, 1)):
        design = np.column_stack([np.ones(80), u])[z == k]
        residual = (y - a - b * u)[z == k]
        _, squares, *_ = np.linalg.lstsq(design, residual, rcond=None)
        found = fit.model["y"].covariance[k, 0, 0]
        assert found == pytest.approx(squares[0] / (z == k).sum(), rel=1e-6)
    objective = fit.trace["objective"]
    assert np.all(np.diff(objective) >= -1e-9 * np.abs(objective[1:]))


def test_collinear_covariates_are_said_and_do_no_harm() -> None:
    u, y = _line(60)
    columns = np.column_stack([u, 2 * u, np.ones(60)])
    init = lem.init.from_labels(np.arange(60) % 2)
    fit = lem.fit(_model(lem.LinearGaussian()), {"u": columns, "y": y}, init=init)
    alone = lem.fit(_model(lem.LinearGaussian()), {"u": u, "y": y}, init=init)
    assert fit.log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-6)
    assert any("collinear" in event for event in fit.events)


def test_standard_errors_of_a_regression_are_the_textbook_ones() -> None:
    u, y = _line(80)
    model = lem.Model([U, lem.observed("y", lem.LinearGaussian(), given=U)])
    fit = lem.fit(model, {"u": u, "y": y})
    errors = fit.standard_errors()["y"]
    design = np.column_stack([np.ones(80), u])
    variance = fit.model["y"].covariance[0, 0]
    expected = np.sqrt(np.diag(np.linalg.inv(design.T @ design) * variance))
    assert errors["intercept"][0] == pytest.approx(expected[0], rel=1e-5)
    assert errors["coefficients"][0, 0] == pytest.approx(expected[1], rel=1e-5)
    assert errors["covariance"][0, 0] == pytest.approx(variance * np.sqrt(2 / 80), rel=1e-5)


def test_an_offset_is_an_exposure_and_trials_a_column() -> None:
    u, t, y = _counts()
    offset = lem.covariate("log_t")
    node = lem.observed("y", lem.PoissonRegression(offset="log_t"), given=[U, offset])
    model = lem.Model([U, offset, node])
    fit = lem.fit(model, {"u": u, "log_t": np.log(t), "y": y})

    def objective(parameters: Array) -> float:
        a, b = parameters
        return float(stats.poisson.logpmf(y, t * np.exp(a + b * u)).sum())

    assert fit.log_likelihood == pytest.approx(_direct(objective, np.zeros(2)), abs=1e-6)
    assert fit.model["y"].coefficients.shape == (1,)
    trials = lem.covariate("n")
    successes = lem.observed("x", lem.Binomial("n"), given=[Z, trials])
    tosses, heads = np.array([10, 20, 5, 8, 30, 12]), np.array([1, 17, 1, 7, 4, 2])
    mixture = lem.fit(lem.Model([Z, trials, successes]), {"n": tosses, "x": heads}, seed=0)
    table = mixture.posterior().marginal("z")
    np.testing.assert_allclose(
        mixture.model["x"].probs, heads @ table / (tosses @ table), rtol=1e-4
    )


def test_missing_responses_say_nothing_and_are_filled_in() -> None:
    u, y = _line(80)
    holes = np.where(np.arange(80) % 4 == 0, np.nan, y)
    model, init = _model(lem.LinearGaussian()), lem.init.from_labels(np.arange(80) % 2)
    fit = lem.fit(model, {"u": u, "y": holes}, init=init)
    kept = ~np.isnan(holes)
    part = lem.fit(
        model, {"u": u[kept], "y": y[kept]}, init=lem.init.from_labels(np.arange(80)[kept] % 2)
    )
    assert fit.log_likelihood == pytest.approx(part.log_likelihood, abs=1e-5)
    filled = fit.impute({"u": u, "y": holes})["y"][:, 0]
    line = fit.model["y"]
    means = line.intercept[:, 0] + np.outer(u, line.coefficients[:, 0, 0])
    np.testing.assert_allclose(filled[~kept], (means @ fit.model["z"].probs)[~kept], rtol=1e-10)
    np.testing.assert_array_equal(filled[kept], y[kept])


def test_separated_and_empty_regressions_end_and_say_so() -> None:
    logistic = lem.Model([U, lem.observed("y", lem.Logistic(), given=U)])
    fit = lem.fit(logistic, {"u": [0, 1, 2, 3], "y": [0, 0, 1, 1]})
    assert np.isfinite(fit.model["y"].coefficients).all()
    assert fit.log_likelihood == pytest.approx(0.0, abs=1e-10)
    assert any("separate" in event for event in fit.events)
    poisson = lem.Model([U, lem.observed("y", lem.PoissonRegression(), given=U)])
    empty = lem.fit(poisson, {"u": [0, 1, 2, 3], "y": [0, 0, 0, 0]})
    assert np.isfinite(empty.model["y"].intercept)
    assert any("are 0" in event for event in empty.events)


def test_regressions_among_the_cases_of_a_switch() -> None:
    rng = np.random.default_rng(1)
    u = rng.uniform(0, 10, 150)
    noise = rng.random(150) < 0.2
    y = np.where(noise, rng.uniform(-20, 40, 150), 1 + 2 * u + 0.3 * rng.normal(size=150))
    for case in (lem.Normal(), lem.Gaussian(), lem.Uniform()):
        model = _model(lem.Switch([lem.LinearGaussian(), case]))
        fit = lem.fit(model, {"u": u, "y": y}, seed=0)
        slope = fit.model["y"].cases[0].coefficients.item()
        assert slope == pytest.approx(2.0, abs=0.05)
        assert fit.model["z"].probs[1] == pytest.approx(0.2, abs=0.1)
        assert np.all(np.diff(fit.trace["objective"]) >= -1e-9)
        assert lem.sample(fit.model, 5, seed=0, data={"u": u[:5]})["y"].shape == (5, 1)


# -- offsets ---------------------------------------------------------------------------------------


def _with_offsets() -> dict[str, tuple[lem.Distribution, Array, dict[str, Array]]]:
    """A template, values, and covariates by name, in an order that is not that of the options."""
    rng = np.random.default_rng(4)
    u, o, n = rng.normal(size=(60, 2)), rng.normal(size=60), rng.integers(1, 9, size=60)
    eta = 0.3 + u @ [0.8, -0.5] + o
    p = 1 / (1 + np.exp(-eta))
    two, three = rng.normal(size=(60, 2)), rng.normal(size=(60, 3))
    gumbel = rng.gumbel(size=(60, 3))  # of which the largest is a draw from the softmax
    states = (three + u @ [[0, 1, -1], [0, 0.5, 0.5]] + gumbel).argmax(axis=1)
    plain = {"o": o, "u": u}
    return {
        "linear": (lem.LinearGaussian(offset="o"), eta + rng.normal(size=60), plain),
        "linear, two": (
            lem.LinearGaussian(offset="o", shared=True),
            two + eta[:, None] + rng.normal(size=(60, 2)),
            {"u": u, "o": two},
        ),
        "logistic": (lem.Logistic(offset="o"), rng.binomial(1, p), plain),
        "logistic, trials": (
            lem.Logistic(offset="o", trials="n"),
            rng.binomial(n, p),
            {"n": n, "u": u, "o": o},
        ),
        "poisson": (lem.PoissonRegression(offset="o"), rng.poisson(np.exp(eta)), plain),
        "gamma": (lem.GammaRegression(offset="o"), rng.gamma(2.0, np.exp(eta)), plain),
        "softmax": (lem.Softmax(3, offset="o"), states, {"o": three, "u": u}),
    }


OFFSETS = _with_offsets()
every_offset = pytest.mark.parametrize("name", OFFSETS)


def _fit_to(name: str, offset: Array | None = None) -> lem.Fit:
    """The family fitted to all rows, by default with its own offsets."""
    dist, y, inputs = OFFSETS[name]
    inputs = inputs if offset is None else {**inputs, "o": offset}
    covariates = [lem.covariate(each) for each in inputs]
    model = lem.Model([*covariates, lem.observed("y", dist, given=covariates)])
    return lem.fit(model, {**inputs, "y": y})


@every_offset
def test_every_regression_keeps_the_laws_with_an_offset(name: str) -> None:
    dist, y, inputs = OFFSETS[name]
    check_distribution(dist, y, inputs=inputs)


def _offset_log_likelihood(name: str, t: Array) -> float:
    """The textbook's, of rows with their offsets in the predictor."""
    _, y, inputs = OFFSETS[name]
    u, o = inputs["u"], inputs["o"]
    if name == "softmax":
        a, b = np.append(0.0, t[:2]), np.vstack([np.zeros(2), t[2:].reshape(2, 2)])
        eta = a + u @ b.T + o
        return float((eta[np.arange(60), y] - np.logaddexp.reduce(eta, axis=1)).sum())
    if name == "linear, two":
        root = np.array([[np.exp(t[6]), 0.0], [t[7], np.exp(t[8])]])
        mean = t[:2] + u @ t[2:6].reshape(2, 2) + o
        return float(stats.multivariate_normal(cov=root @ root.T).logpdf(y - mean).sum())
    eta = t[0] + u @ t[1:3] + o
    if name == "logistic, trials":
        return float(stats.binom.logpmf(y, inputs["n"], 1 / (1 + np.exp(-eta))).sum())
    return float(_log_density(name, y, eta, np.exp(t[-1])).sum())


@every_offset
def test_the_fit_with_an_offset_is_the_maximum_likelihood(name: str) -> None:
    size = {"softmax": 6, "linear, two": 9}.get(name, 4)
    direct = _direct(lambda t: _offset_log_likelihood(name, t), np.zeros(size))
    found = _fit_to(name).log_likelihood
    assert found == pytest.approx(direct, rel=1e-6)
    assert found >= direct - 1e-9 * abs(direct)


@every_offset
def test_a_constant_added_to_the_offset_is_taken_from_the_intercept(name: str) -> None:
    shift = np.array({"softmax": [0.0, 2.0, -1.5], "linear, two": [2.0, -1.5]}.get(name, 2.0))
    before, after = _fit_to(name), _fit_to(name, OFFSETS[name][2]["o"] + shift)
    assert after.log_likelihood == pytest.approx(before.log_likelihood, rel=1e-9)
    for parameter, old in before.model["y"].parameters.items():
        new = after.model["y"].parameters[parameter]
        expected = old - shift if parameter == "intercept" else old
        np.testing.assert_allclose(new, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("noise", [1.0, 1e-4, 1e-6])
def test_a_line_with_an_offset_is_fitted_to_what_the_offset_leaves(noise: float) -> None:
    rng = np.random.default_rng(1)
    u, o, z = rng.uniform(0, 10, 80), rng.normal(size=80) * 20, rng.integers(0, 2, 80)
    y = np.where(z, 5 + u, 30 - u) + noise * rng.normal(size=80) + o
    offset = lem.covariate("o")
    node = lem.observed("y", lem.LinearGaussian(offset="o", floor=1e-15), given=[Z, offset, U])
    data, init = {"u": u, "o": o, "y": y}, lem.init.from_labels(z)
    fit = lem.fit(lem.Model([Z, U, offset, node]), data, init=init)
    plain = lem.fit(_model(lem.LinearGaussian(floor=1e-15)), {"u": u, "y": y - o}, init=init)
    np.testing.assert_array_equal(fit.trace["objective"], plain.trace["objective"])
    for name, value in plain.model["y"].parameters.items():
        np.testing.assert_array_equal(fit.model["y"].parameters[name], value)
    holes = {**data, "y": np.where(np.arange(80) == 3, np.nan, y)}
    filled = fit.impute(holes)["y"][3, 0]
    assert filled - o[3] == pytest.approx(
        plain.impute({"u": u, "y": holes["y"] - o})["y"][3, 0], rel=1e-9
    )


@pytest.mark.parametrize(
    ("dist", "lines"),
    [
        (lem.PoissonRegression(offset="o"), [0.0, 1.5, 0.8, -0.5]),
        (lem.Logistic(offset="o", trials=9), [0.0, -3.0, -1.5, 1.0]),
    ],
    ids=["poisson", "logistic"],
)
def test_a_mixture_of_regressions_with_offsets_reaches_the_marginal_maximum(
    dist: Any, lines: list[float]
) -> None:
    rng = np.random.default_rng(0)
    u, o, offset = rng.uniform(0, 3, 80), np.log(rng.uniform(1, 10, 80)), lem.covariate("o")

    def family(t: Array) -> Any:
        eta = t[:2] + np.outer(u, t[2:]) + o[:, None]
        if isinstance(dist, lem.Logistic):
            return stats.binom(9, 1 / (1 + np.exp(-eta)))
        return stats.poisson(np.exp(eta))

    y = family(np.array(lines)).rvs(random_state=rng)[np.arange(80), np.arange(80) % 2]
    model = lem.Model([Z, U, offset, lem.observed("y", dist, given=[Z, offset, U])])
    fit = lem.fit(model, {"u": u, "o": o, "y": y}, seed=0, restarts=3)

    def objective(t: Array) -> float:
        log_p = np.array([-np.logaddexp(0, -t[0]), -np.logaddexp(0, t[0])])
        log_density = family(t[1:]).logpmf(y[:, None])
        return float(np.logaddexp.reduce(log_p + log_density, axis=1).sum())

    direct = _direct(objective, np.array([0.0, *lines]))
    assert fit.log_likelihood == pytest.approx(direct, abs=1e-5)


@pytest.mark.parametrize("gate", [lem.Softmax(2, offset="o"), lem.Logistic(offset="o")], ids=repr)
def test_a_gate_with_an_offset_reaches_the_marginal_maximum(gate: Any) -> None:
    rng = np.random.default_rng(2)
    u, o = rng.normal(size=100), rng.normal(size=(100, 2)) * 2
    odds = 0.5 + u + o[:, 1] - o[:, 0]
    z = rng.random(100) < 1 / (1 + np.exp(-odds))
    y = np.where(z, 1.5, -1.5) + rng.normal(size=100)
    offset = lem.covariate("o")
    latent = lem.latent("z", gate, given=[U, offset])
    model = lem.Model([U, offset, latent, lem.observed("y", lem.Normal(), given=latent)])
    column = o if isinstance(gate, lem.Softmax) else o[:, 1] - o[:, 0]
    fit = lem.fit(model, {"u": u, "o": column, "y": y}, seed=0, restarts=2)

    def objective(t: Array) -> float:
        eta = t[0] + t[1] * u + o[:, 1] - o[:, 0]
        first = -np.logaddexp(0, eta) + stats.norm.logpdf(y, t[2], np.exp(t[4]))
        second = -np.logaddexp(0, -eta) + stats.norm.logpdf(y, t[3], np.exp(t[5]))
        return float(np.logaddexp(first, second).sum())

    direct = _direct(objective, np.array([0.5, 1.0, -1.5, 1.5, 0.0, 0.0]))
    assert fit.log_likelihood == pytest.approx(direct, abs=1e-5)
    assert fit.n_parameters == 2 + 4


def test_an_offset_alone_is_an_exposure() -> None:
    t, y = np.array([1.0, 2.0, 4.0, 0.5]), np.array([2, 3, 9, 1])
    exposure = lem.covariate("log_t")
    node = lem.observed("y", lem.PoissonRegression(offset="log_t"), given=exposure)
    fit = lem.fit(lem.Model([exposure, node]), {"log_t": np.log(t), "y": y})
    assert np.exp(fit.model["y"].intercept) == pytest.approx(15 / 7.5)
    assert fit.n_parameters == 1


# -- a plug-in of two methods ----------------------------------------------------------------------


def test_a_regression_of_two_methods_plugs_in() -> None:
    import attrs

    @attrs.frozen(eq=False)
    class ThroughOrigin(lem.Distribution):
        takes_covariates = True
        slope: Array | None = None

        def log_prob(self, value: Array) -> Array:  # rows (u, y)
            u, y = value[:, :1], value[:, 1:]
            return -0.5 * (y - self.slope * u) ** 2 - 0.5 * np.log(2 * np.pi)

        def fit(self, value: Array, weights: Array) -> ThroughOrigin:
            u, y = value[:, 0], value[:, 1]
            return ThroughOrigin(weights.T @ (u * y) / (weights.T @ u**2))

    u, y = _line()
    check_distribution(ThroughOrigin(), y, inputs=u)
    fit = lem.fit(_model(ThroughOrigin()), {"u": u, "y": y}, seed=0)
    assert np.all(np.diff(fit.trace["objective"]) >= -1e-9)


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"y": [1.0, 2.0]}, "data must have an entry 'u' because Node 'u' is a covariate"),
        ({"u": [1.0, np.nan], "y": [1.0, 2.0]}, "data\\['u'\\] must be known and finite .* row 1"),
        ({"u": ["a", "b"], "y": [1.0, 2.0]}, "data\\['u'\\] must be numeric"),
        ({"u": [1.0, 2.0, 3.0], "y": [1.0, 2.0]}, "same number of rows"),
        ({"u": [1.0, 2.0], "y": [1.0, 1.0]}, "data\\['y'\\] must vary in every column"),
        ({"u": np.zeros((2, 2, 2)), "y": [1.0, 2.0]}, "data\\['u'\\] must have a row of numbers"),
    ],
)
def test_bad_covariates_are_refused_by_name(data: dict[str, Any], message: str) -> None:
    model = lem.Model([U, lem.observed("y", lem.LinearGaussian(), given=U)])
    with pytest.raises(lem.DataError, match=message):
        lem.fit(model, data)


def test_other_covariates_than_the_fitted_ones_are_refused() -> None:
    u, y = _line(20)
    model = lem.Model([U, lem.observed("y", lem.LinearGaussian(), given=U)])
    fit = lem.fit(model, {"u": u, "y": y})
    with pytest.raises(lem.DataError, match="Node 'y': its covariates must have 1 column because"):
        fit.posterior({"u": np.column_stack([u, u]), "y": y})
    with pytest.raises(lem.ModelError, match="Node 'u': a covariate must have its values in data"):
        lem.sample(fit.model, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lem.LinearGaussian(intercept=[1.0]), "must be given all or none"),
        (lambda: lem.LinearGaussian([0.0], [[1.0]], [[-1.0]]), "covariance must be positive"),
        (lambda: lem.LinearGaussian(noise="round"), "noise must be"),
        (lambda: lem.PoissonRegression(intercept=1.0), "must be given all or none"),
        (lambda: lem.Logistic(trials=0), "trials must be"),
        (lambda: lem.Softmax(1), "n_states must be at least 2"),
        (lambda: lem.Softmax(3, [0.0, 1.0], [[0.0], [1.0]]), "n_states must be at least 2"),
        (lambda: lem.GammaRegression(0.0, [1.0], -1.0), "shape must be positive"),
    ],
)
def test_bad_parameters_are_refused(make: Any, message: str) -> None:
    with pytest.raises(lem.ModelError, match=message):
        make()
