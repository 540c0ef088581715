"""Parameters that are held while the others are fitted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import attrs
import numpy as np
import pytest
from direct import maximum
from scipy import stats

import latentem as lem
from latentem.testing import check_distribution

Array = np.ndarray


@dataclass(eq=False)
class Held:
    """A family with a parameter held, and the kind of the one that is free."""

    dist: Any
    value: Array
    free: str
    kind: str = "positive"
    laws: bool = True

    def __str__(self) -> str:
        return f"{type(self.dist).__name__}({', '.join(self.dist.held)})"

    @property
    def mixture(self) -> lem.Model:
        z = lem.latent("z", lem.Categorical(2))
        return lem.Model([z, lem.observed("x", self.dist, given=z)])


def _values() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    state = np.repeat([0, 1], 20)
    positive = np.concatenate([rng.gamma(4, 0.5, 20), rng.gamma(9, 1, 20)])
    heavy = rng.standard_t(3, size=40) + 4.0 * state
    directions = lem.VonMisesFisher([[0.0, 0.0, 1.0], [0.6, 0.8, 0.0]], [6.0, 20.0])
    return {
        "real": rng.normal(4.0 * state),
        "positive": positive,
        "share": positive / (1.0 + positive),
        "angle": np.concatenate([rng.vonmises(3, 4, 20), rng.vonmises(0.5, 8, 20)]),
        "direction": directions.sample(rng, state),
        "count": rng.negative_binomial(2, np.where(state, 0.15, 0.5)),
        "heavy": heavy[:, None],
        "plane": np.stack([heavy, rng.standard_t(3, size=40)], axis=1),
    }


V = _values()
SCALE = np.array([[2.0, 0.3], [0.3, 1.0]])
FAMILIES = [
    Held(lem.Normal(mean=1.0), V["real"], "variance", laws=False),
    Held(lem.Normal(variance=0.7), V["real"], "mean", "real", laws=False),
    Held(lem.LogNormal(mean=0.1), V["positive"], "variance", laws=False),
    Held(lem.LogNormal(variance=0.7), V["positive"], "mean", "real", laws=False),
    Held(lem.Gaussian(mean=[1.0, 0.3]), V["plane"], "covariance", "matrix", laws=False),
    Held(lem.Gaussian(covariance=SCALE), V["plane"], "mean", "real", laws=False),
    Held(lem.Gamma(shape=2.0), V["positive"], "rate", laws=False),
    Held(lem.Gamma(rate=0.9), V["positive"], "shape", laws=False),
    Held(lem.Weibull(shape=1.7), V["positive"], "scale"),
    Held(lem.Weibull(scale=4.1), V["positive"], "shape"),
    Held(lem.InverseGaussian(mean=3.3), V["positive"], "shape"),
    Held(lem.InverseGaussian(shape=4.1), V["positive"], "mean"),
    Held(lem.Beta(a=1.3), V["share"], "b"),
    Held(lem.Beta(b=0.7), V["share"], "a"),
    Held(lem.Laplace(location=0.3), V["real"], "scale"),
    Held(lem.Laplace(scale=0.7), V["real"], "location", "real"),
    Held(lem.VonMises(mean=1.9), V["angle"], "concentration"),
    Held(lem.VonMises(concentration=1.7), V["angle"], "mean", "real"),
    Held(lem.VonMisesFisher(mean=[0.6, 0.0, 0.8]), V["direction"], "concentration"),
    Held(lem.VonMisesFisher(concentration=1.7), V["direction"], "mean", "direction"),
    Held(lem.NegativeBinomial(mean=4.3), V["count"], "size"),
    Held(lem.NegativeBinomial(size=1.7), V["count"], "mean"),
    Held(lem.Uniform(low=-9.1), V["real"], "high", "none"),
    Held(lem.Uniform(high=19.1), V["real"], "low", "none"),
    Held(lem.DiscreteUniform(low=-1), V["count"], "high", "none"),
    Held(lem.DiscreteUniform(high=99), V["count"] + 3, "low", "none", laws=False),
    Held(lem.StudentT(df=4.0, mean=[0.3]), V["heavy"], "scale", "matrix"),
    Held(lem.StudentT(df=4.0, scale=[[0.7]]), V["heavy"], "mean", "real", laws=False),
    Held(lem.StudentT(mean=[2.0], scale=[[2.0]]), V["heavy"], "df", laws=False),
]
every = pytest.mark.parametrize("held", FAMILIES, ids=str)


def _weights(n: int, k: int = 3, seed: int = 1) -> Array:
    return np.random.default_rng(seed).gamma(2.0, size=(n, k))


def _repeated(dist: Any, name: str, k: int) -> Array:
    given = np.asarray(getattr(dist, name))
    return np.broadcast_to(given, (k, *given.shape))


def _objective(dist: Any, value: Array, weights: Array) -> float:
    return float((weights * dist.log_prob(value)).sum())


# -- the maximum -----------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [f for f in FAMILIES if f.laws], ids=str)
def test_the_laws_hold(held: Held) -> None:
    check_distribution(held.dist, held.value)


@every
def test_what_is_held_comes_back_as_it_is(held: Held) -> None:
    fitted = held.dist.fit(held.value, _weights(40))
    fit = lem.fit(held.mixture, held.value, seed=0, max_iter=5, restarts=1, tol=0)
    for name in held.dist.held:
        np.testing.assert_array_equal(getattr(fitted, name), _repeated(held.dist, name, 3))
        np.testing.assert_array_equal(getattr(fit.model["x"], name), _repeated(held.dist, name, 2))
    assert fit.model["x"].held == held.dist.held


@every
def test_no_neighbour_of_what_is_free_is_better(held: Held) -> None:
    weights = _weights(40)
    fitted = held.dist.fit(held.value, weights)
    best, rng = _objective(fitted, held.value, weights), np.random.default_rng(0)
    tried = 0
    for size in (1e-1, 1e-2, 1e-3) * 10:
        array = np.asarray(getattr(fitted, held.free))
        move = rng.normal(size=array.shape)
        if held.kind == "matrix":
            move = move + np.swapaxes(move, -1, -2)
        moved = array + size * move
        if held.kind == "direction":
            moved /= np.linalg.norm(moved, axis=-1, keepdims=True)
        if np.issubdtype(array.dtype, np.integer):
            moved = array + rng.integers(-2, 3, size=array.shape)
        other = attrs.evolve(fitted, **{held.free: moved})
        with np.errstate(all="ignore"):
            assert _objective(other, held.value, weights) <= best + 1e-9
        tried += 1
    assert tried == 30


@pytest.mark.parametrize(
    "held", [f for f in FAMILIES if f.kind not in ("none", "direction")], ids=str
)
def test_the_fit_is_that_of_a_general_algorithm(held: Held) -> None:
    weights = _weights(40, k=1)
    fitted = held.dist.fit(held.value, weights)

    def objective(theta: Any) -> float:
        moved = attrs.evolve(fitted, **{held.free: theta["x"]})
        with np.errstate(all="ignore"):
            return _objective(moved, held.value, weights)

    start = np.asarray(getattr(fitted, held.free))
    start = start * 1.7 if held.kind != "real" else start + 0.4
    highest, theta = maximum(objective, {"x": start}, {"x": held.kind})
    found = np.asarray(getattr(fitted, held.free))
    assert _objective(fitted, held.value, weights) >= highest - 1e-9
    if not isinstance(held.dist, lem.Laplace):  # all points between two rows may be medians
        np.testing.assert_allclose(found, theta["x"], rtol=1e-3, atol=1e-4)


def test_closed_forms() -> None:
    x, ones = np.array([1.0, 2.0, 6.0]), np.ones(3)
    assert lem.Weibull(shape=2.0).fit(x, ones).scale == pytest.approx(math.sqrt(41 / 3))
    assert lem.InverseGaussian(shape=2.0).fit(x, ones).mean == pytest.approx(3.0)
    inverse = np.mean((x - 2.0) ** 2 / (4.0 * x))
    assert lem.InverseGaussian(mean=2.0).fit(x, ones).shape == pytest.approx(1 / inverse)
    assert lem.Beta(a=1.0).fit(x / 9, ones).b == pytest.approx(-1 / np.log1p(-x / 9).mean())
    assert lem.Beta(b=1.0).fit(x / 9, ones).a == pytest.approx(-1 / np.log(x / 9).mean())
    assert lem.Laplace(location=2.5).fit(x, ones).scale == pytest.approx(5.5 / 3)
    assert lem.Laplace(scale=3.0).fit(x, ones).location == 2.0
    assert lem.NegativeBinomial(size=3.0).fit(x.astype(int), ones).mean == pytest.approx(3.0)
    assert lem.Uniform(low=0.0).fit(x, ones).high == 6.0
    assert lem.DiscreteUniform(low=1).fit(x.astype(int) + 1, ones).high == 7
    assert lem.VonMises(concentration=2.0).fit(x, ones).mean == pytest.approx(
        np.angle(np.exp(1j * x).sum())
    )
    cosine = np.cos(x - 2.0).mean()
    kappa = lem.VonMises(mean=2.0).fit(x, ones).concentration
    step = 1e-5  # the slope of kappa C - log I_0 vanishes
    low, high = (stats.vonmises(kappa + s).logpdf(0.0) - kappa - s for s in (-step, step))
    assert (high - low) / (2 * step) + cosine == pytest.approx(0.0, abs=1e-8)


def test_a_scale_matrix_about_a_mean_that_is_held() -> None:
    # Lange, Little and Taylor (1989), section 3, with the mean known.
    x, weights = V["plane"], _weights(40, k=1)[:, 0]
    mean, v, d = np.array([0.5, -0.2]), 3.0, 2
    for structure in ("full", "diagonal", "spherical", "EEE"):
        fitted = lem.StudentT(df=v, mean=mean, scale=structure).fit(x, weights)
        residual = x - mean
        square = np.einsum("ni,ij,nj->n", residual, np.linalg.inv(fitted.scale), residual)
        u = weights * (v + d) / (v + square)
        scatter = np.einsum("n,ni,nj->ij", u, residual, residual) / weights.sum()
        expected = {
            "full": scatter,
            "EEE": scatter,
            "diagonal": np.diag(np.diag(scatter)),
            "spherical": np.eye(2) * np.trace(scatter) / 2,
        }[structure]
        np.testing.assert_allclose(fitted.scale, expected, rtol=1e-9, atol=1e-12)


def test_gaps_leave_what_is_held_alone() -> None:
    x = V["plane"].copy()
    x[::5, 0], x[1::5, 1] = np.nan, np.nan
    for dist in (lem.StudentT(df=4.0, mean=[0.3, 0.1]), lem.StudentT(df=4.0, scale=SCALE)):
        fit = lem.fit(lem.Model([lem.observed("x", dist)]), x, tol=1e-13)
        found = fit.model["x"]
        for name in dist.held:
            np.testing.assert_array_equal(getattr(found, name), getattr(dist, name))

        def objective(theta: Any, found: Any = found) -> float:
            moved = attrs.evolve(found, reference=None, **theta)
            mean, scale = moved.mean, moved.scale
            total = 0.0
            for row in x:
                o = ~np.isnan(row)
                part = stats.multivariate_t(mean[o], scale[np.ix_(o, o)], 4.0)
                total += float(part.logpdf(row[o]))
            return total

        (free,) = {"mean", "scale"} - set(dist.held)
        start = {free: getattr(found, free)}
        assert fit.log_likelihood == pytest.approx(objective(start), abs=1e-9)
        kind = {"mean": "real", "scale": "matrix"}[free]
        assert fit.log_likelihood >= maximum(objective, start, {free: kind})[0] - 1e-7


# -- the size of counts about a mean that is held --------------------------------------------------


@pytest.mark.parametrize("mean", [0.01, 1.0, 3.0, 40.0])
def test_a_size_about_a_mean_is_the_best_of_all(mean: float) -> None:
    # The likelihood may have other stationary points for all that is proved: a grid finds none.
    rng = np.random.default_rng(int(mean))
    sizes = np.logspace(-8, 7.9, 600)
    for _ in range(12):
        x = rng.negative_binomial(rng.uniform(0.2, 3.0), rng.uniform(0.05, 0.9), size=6)
        weights = rng.gamma(0.3, size=6)
        if not x.any():
            continue
        fitted = lem.NegativeBinomial(mean=mean).fit(x, weights)
        grid = lem.NegativeBinomial(np.full(600, mean), sizes)
        values = weights @ grid.log_prob(x)
        steps = np.sign(np.diff(values)[np.abs(np.diff(values)) > 1e-12])
        assert (np.diff(steps) <= 0).all()
        assert weights @ fitted.log_prob(x) >= values.max() - 1e-10


def test_counts_that_say_nothing_of_a_size() -> None:
    none = lem.NegativeBinomial(mean=2.0).fit(np.zeros(5, dtype=int), np.ones((5, 1)))
    assert "all counts are 0" in none.events[0]
    assert none.log_prob(np.zeros(1, dtype=int)) == pytest.approx(0.0, abs=1e-200)
    even = lem.NegativeBinomial(mean=3.0).fit(np.array([2, 3, 4]), np.ones((3, 1)))
    assert even.size == 1e8
    assert "Poisson" in even.events[0]
    zero = lem.NegativeBinomial(mean=0.0).fit(np.array([0, 0, 1]), np.ones((3, 1)))
    assert zero.size == 1e8
    assert zero.log_prob(np.array([0, 1])).tolist() == [[0.0], [-np.inf]]


# -- in a model ------------------------------------------------------------------------------------


@every
@pytest.mark.filterwarnings("ignore::latentem.ConvergenceWarning")
def test_no_step_of_a_mixture_falls(held: Held) -> None:
    for seed in (0, 1):
        start = lem.init.random
        if held.kind == "none":  # ends depend on which rows there are: all have the extremes
            start = lem.init.from_labels(held.value > np.quantile(held.value, 0.3 + 0.4 * seed))
        fit = lem.fit(held.mixture, held.value, seed=seed, init=start, restarts=1, max_iter=40)
        objective = fit.trace["objective"]
        assert len(objective) > 2
        assert np.isfinite(objective).all()
        assert (np.diff(objective) >= -1e-10 * np.abs(objective[1:])).all()


@every
@pytest.mark.filterwarnings("ignore::latentem.DegenerateWarning")
def test_what_is_held_is_not_counted_and_has_no_error(held: Held) -> None:
    fit = lem.fit(lem.Model([lem.observed("x", held.dist)]), held.value, tol=1e-12)
    found = fit.model["x"]
    free = np.asarray(getattr(found, held.free)).size
    assert fit.n_parameters == (2 if held.kind == "direction" else 3 if free == 4 else free)
    if held.kind == "none" or isinstance(held.dist, lem.Laplace):
        assert found.directions() == [] or held.free == "scale"
        return
    errors = fit.standard_errors()["x"]
    assert (errors[held.free] > 0).all()
    for name in held.dist.held:
        assert (errors[name] == 0).all()
    text = str(fit.summary())
    assert f", {fit.n_parameters} free parameter" in text


@every
def test_fixed_names_what_is_held(held: Held) -> None:
    fitted = held.dist.fit(held.value, _weights(40))
    plain = attrs.evolve(fitted, held=())
    again = lem.fixed(plain, *held.dist.held).fit(held.value, _weights(40))
    for name, array in fitted.parameters.items():
        np.testing.assert_allclose(again.parameters[name], array, rtol=1e-6)
    assert again.n_parameters < plain.n_parameters


def test_each_state_may_have_its_own() -> None:
    x, weights = V["positive"], _weights(40, k=2)
    both = lem.Weibull(shape=[1.0, 3.0]).fit(x, weights)
    for k, shape in enumerate((1.0, 3.0)):
        alone = lem.Weibull(shape=shape).fit(x, weights[:, k])
        assert both.scale[k] == pytest.approx(alone.scale)
    z = lem.latent("z", lem.Categorical(3))
    with pytest.raises(lem.ModelError, match="must have the states of its discrete parents"):
        lem.Model([z, lem.observed("x", lem.Weibull(shape=[1.0, 3.0]), given=z)])


def test_two_parents_share_what_is_held() -> None:
    x = V["count"]
    weights = np.random.default_rng(0).gamma(2.0, size=(40, 2, 3))
    for dist in (lem.NegativeBinomial(mean=4.3), lem.Laplace(scale=2.0), lem.Uniform(low=-1.0)):
        (free,) = set(dist.parameters) - set(dist.held)
        both, flat = dist.fit(x, weights), dist.fit(x, weights.reshape(40, 6))
        assert both.parameters[free].shape == (2, 3)
        np.testing.assert_allclose(both.parameters[free].ravel(), flat.parameters[free])


def test_equal_values_are_enough_where_something_is_held() -> None:
    x = np.full(9, 0.5)
    for dist, free, expected in (
        (lem.Gamma(shape=2.0), "rate", 4.0),
        (lem.Weibull(shape=2.0), "scale", 0.5),
        (lem.Beta(a=1.0), "b", 1 / math.log(2.0)),
        (lem.InverseGaussian(mean=1.0), "shape", 2.0),
        (lem.Laplace(location=0.0), "scale", 0.5),
        (lem.VonMises(concentration=2.0), "mean", 0.5),
        (lem.Uniform(low=0.0), "high", 0.5),
    ):
        fit = lem.fit(lem.Model([lem.observed("x", dist)]), x)
        assert getattr(fit.model["x"], free) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("dist", "value", "free", "end"),
    [
        (lem.Weibull(scale=0.5, largest_shape=1e3), 0.5, "shape", 1e3),
        (lem.Gamma(rate=2e4, largest_shape=1e3), 0.5, "shape", 1e3),
        (lem.Beta(a=4e2, largest_sum=1e3), 1e-3, "b", 6e2),
        (lem.InverseGaussian(mean=0.5, largest_shape=1e3), 0.5, "shape", 5e2),
        (lem.VonMises(mean=0.5, largest_concentration=1e3), 0.5, "concentration", 1e3),
        (lem.Laplace(location=0.5, floor=1e-3), 0.5, "scale", 1e-3),
        (lem.Uniform(low=0.5, floor=1e-3), 0.5, "high", 0.5 + 16 * np.spacing(0.5)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, lem.Distribution) else "",
)
def test_a_constraint_of_what_is_free_is_kept_and_said(
    dist: Any, value: float, free: str, end: float
) -> None:
    fitted = dist.fit(np.full(9, value), np.ones((9, 1)))
    assert getattr(fitted, free) == pytest.approx(end, rel=1e-12)
    assert fitted.at_constraint
    assert len(fitted.events) == 1
    beyond = attrs.evolve(fitted, **{free: getattr(fitted, free) * 10.0})
    kept = beyond.feasible()
    np.testing.assert_array_equal(getattr(kept, dist.held[0]), getattr(fitted, dist.held[0]))
    if free not in ("scale", "high"):
        assert getattr(kept, free) == pytest.approx(end, rel=1e-12)
        assert fitted.directions() == []


def test_a_limit_is_not_for_what_is_held() -> None:
    for dist in (
        lem.Gamma(shape=1e9, rate=1.0, held=("shape",)),
        lem.Weibull(shape=1e9, scale=1.0, held=("shape",)),
        lem.InverseGaussian(mean=1.0, shape=1e9, held=("shape",)),
        lem.VonMises(mean=0.0, concentration=1e9, held=("concentration",)),
    ):
        assert dist.feasible().parameters[dist.held[0]] == 1e9


def test_a_direction_away_from_the_data_has_no_concentration() -> None:
    x = np.array([0.1, -0.2, 0.3])
    assert lem.VonMises(mean=np.pi).fit(x, np.ones(3)).concentration == 0.0
    units = np.stack([np.cos(x), np.sin(x)], axis=1)
    assert lem.VonMisesFisher(mean=[-1.0, 0.0]).fit(units, np.ones(3)).concentration == 0.0


def test_a_start_changes_nothing_that_is_held() -> None:
    model = Held(lem.Laplace(scale=2.0), V["real"], "location").mixture
    start = model.replace({"x": lem.Laplace([0.0, 4.0], [1.0, 1.0])})
    start = start.replace({"z": lem.Categorical(probs=[0.5, 0.5])})
    fit = lem.fit(model, V["real"], init=start)
    assert fit.model["x"].scale.tolist() == [2.0, 2.0]
    far = lem.observed("x", lem.Normal(mean=0.0))
    of_far = lem.Model([lem.observed("x", lem.Normal(mean=1e8 + 0.3, variance=1.0))])
    found = lem.fit(lem.Model([far]), V["real"], init=of_far).model["x"]
    assert found.mean == 0.0
    assert found.variance == pytest.approx(np.mean(V["real"] ** 2), rel=1e-12)


def test_slopes_that_are_held_come_back_as_they_are() -> None:
    u = lem.covariate("u")
    node = lem.observed("y", lem.LinearGaussian(coefficients=[0.1]), given=u)
    rng = np.random.default_rng(0)
    fit = lem.fit(lem.Model([u, node]), {"u": rng.normal(size=40) + 7.3, "y": V["real"]})
    np.testing.assert_array_equal(fit.model["y"].coefficients, [[0.1]])


def test_numbers_below_an_end_that_is_held_are_impossible() -> None:
    model = lem.Model([lem.observed("x", lem.Uniform(low=1.0))])
    with pytest.raises(lem.LatentemError):
        lem.fit(model, np.array([0.5, 2.0, 3.0]))
