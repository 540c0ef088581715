"""Every way of writing a wrong distribution is found, and named; the right ones pass."""

from __future__ import annotations

import math
import re
from typing import Any

import attrs
import numpy as np
import pytest
from registry import CountedRayleigh, Exponential, Rayleigh

import latentem as lem
from latentem.testing import check_distribution, check_model

Array = lem.Array
RNG = np.random.default_rng(0)
X = RNG.rayleigh(2.0, size=60)
REAL = RNG.normal(1.0, 2.0, size=60)
INPUTS = RNG.uniform(-1, 1, size=(60, 1))
LINE = 2.0 * INPUTS[:, 0] + RNG.normal(size=60)


# -- two methods -----------------------------------------------------------------------------------


class Unnormalised(CountedRayleigh):
    def log_prob(self, value: Array) -> Array:
        return super().log_prob(value) + 0.01


class ForgottenFactor(CountedRayleigh):
    def fit(self, value: Array, weights: Array) -> Any:
        return type(self)(np.sqrt(weights.T @ value**2 / weights.sum(0)))


class SampleVariance(lem.Normal):
    """Divides by n - 1: unbiased, but no maximiser."""

    def fit(self, value: Array, weights: Array) -> Any:
        fitted, total = super().fit(value, weights), weights.sum(axis=0)
        return attrs.evolve(fitted, variance=fitted.variance * total / (total - 1))


@attrs.frozen(eq=False)
class MeanForMedian(lem.Distribution):
    """Laplace's distribution, whose location is a median."""

    location: Array | None = None
    scale: Array | None = None

    def log_prob(self, value: Array) -> Array:
        return -np.abs(value[:, None] - self.location) / self.scale - np.log(2 * self.scale)

    def fit(self, value: Array, weights: Array) -> MeanForMedian:
        share = weights / weights.sum(axis=0)
        location = share.T @ value
        return MeanForMedian(location, np.sum(share * np.abs(value[:, None] - location), axis=0))


class WeightsIgnored(CountedRayleigh):
    def fit(self, value: Array, weights: Array) -> Any:
        return type(self)(Rayleigh().fit(value, np.ones_like(weights)).scale)


class StatesPooled(CountedRayleigh):
    def fit(self, value: Array, weights: Array) -> Any:
        same = np.broadcast_to(weights.sum(axis=1, keepdims=True), weights.shape)
        return type(self)(Rayleigh().fit(value, same).scale)


class StatesSwapped(CountedRayleigh):
    def fit(self, value: Array, weights: Array) -> Any:
        return type(self)(Rayleigh().fit(value, np.roll(weights, 1, axis=1)).scale)


class ValueChanged(CountedRayleigh):
    def fit(self, value: Array, weights: Array) -> Any:
        value *= value
        return type(self)(np.sqrt(weights.T @ value / weights.sum(0) / 2))


class ValueChangedByLogProb(CountedRayleigh):
    def log_prob(self, value: Array) -> Array:
        value += 0.0
        found = super().log_prob(value)
        value *= 2.0
        return found


class WeightsChanged(CountedRayleigh):
    def fit(self, value: Array, weights: Array) -> Any:
        weights /= weights.sum(axis=0)
        return type(self)(np.sqrt(weights.T @ value**2 / 2))


class SelfChanged(CountedRayleigh):
    def fit(self, value: Array, weights: Array) -> Any:
        object.__setattr__(self, "scale", Rayleigh().fit(value, weights).scale)
        return self


class SelfWritten(CountedRayleigh):
    def fit(self, value: Array, weights: Array) -> Any:
        new = Rayleigh().fit(value, weights).scale
        if self.scale is None:
            return type(self)(new)
        self.scale[:] = new
        return self


class WeightsNotDividedBy(CountedRayleigh):
    def fit(self, value: Array, weights: Array) -> Any:
        return type(self)(np.sqrt(weights.T @ value**2 / len(value) / 2))


class RowsOfWeightCounted(CountedRayleigh):
    """Right up to rows of zero weight and repeated rows: it divides by their number."""

    def fit(self, value: Array, weights: Array) -> Any:
        share = weights * len(weights) / weights.sum(axis=0)
        return type(self)(np.sqrt(share.T @ value**2 / (len(weights) - 1) / 2))


class FirstRowLeads(CountedRayleigh):
    def fit(self, value: Array, weights: Array) -> Any:
        share = weights.copy()
        share[0] *= 2
        return type(self)(Rayleigh().fit(value, share).scale)


class StatesFirst(CountedRayleigh):
    def log_prob(self, value: Array) -> Array:
        return super().log_prob(value).T


class ParentsLast(CountedRayleigh):
    def fit(self, value: Array, weights: Array) -> Any:
        return type(self)(Rayleigh().fit(value, weights).scale[None, :])


@attrs.frozen(eq=False)
class Cube(lem.Distribution):
    """Unit-variance Gaussian in as many dimensions as there are states, its axes in one order."""

    mean: Array | None = None  # (*parents, d)

    def log_prob(self, value: Array) -> Array:
        difference = value[:, None] - self.mean
        return -0.5 * np.sum(difference**2, axis=2) - 1.5 * math.log(2 * math.pi)

    def fit(self, value: Array, weights: Array) -> Any:
        return type(self)((weights / weights.sum(axis=0)).T @ value)


class ParentsLastInACube(Cube):
    def log_prob(self, value: Array) -> Array:
        return Cube(self.mean.T).log_prob(value)

    def fit(self, value: Array, weights: Array) -> Any:
        return type(self)(((weights / weights.sum(axis=0)).T @ value).T)


class RowsCoupled(CountedRayleigh):
    def log_prob(self, value: Array) -> Array:
        return super().log_prob(value) - super().log_prob(value).mean()


class WrongScale(CountedRayleigh):
    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        return rng.rayleigh(1.1 * self.scale[state])


class WrongFamily(CountedRayleigh):
    """Half-normal draws with the right second moment: only their distribution tells."""

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        return np.abs(rng.normal(size=len(state))) * self.scale[state] * np.sqrt(2)


class OwnGenerator(CountedRayleigh):
    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        return np.random.default_rng().rayleigh(self.scale[state])


class WrongShape(CountedRayleigh):
    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        return rng.rayleigh(self.scale, size=(len(state), len(self.scale)))


class OtherState(CountedRayleigh):
    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        return rng.rayleigh(self.scale[state - 1])


class StateIgnored(CountedRayleigh):
    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        return rng.rayleigh(self.scale[0], size=len(state))


class AxisTooMany(CountedRayleigh):
    def fit(self, value: Array, weights: Array) -> Any:
        return type(self)(Rayleigh().fit(value, weights).scale[:, None])


class ParentReturned(CountedRayleigh):
    def fit(self, value: Array, weights: Array) -> Any:
        return CountedRayleigh(Rayleigh().fit(value, weights).scale)


class WrongCount(CountedRayleigh):
    n_parameters = 1


class NotANumber(CountedRayleigh):
    def log_prob(self, value: Array) -> Array:
        return np.where(value[:, None] > 4.0, np.nan, super().log_prob(value))


class Infinite(CountedRayleigh):
    def log_prob(self, value: Array) -> Array:
        return np.where(value[:, None] > 4.0, np.inf, super().log_prob(value))


class Raises(CountedRayleigh):
    def fit(self, value: Array, weights: Array) -> Any:
        raise RuntimeError("no idea")


class NothingReturned(CountedRayleigh):
    def fit(self, value: Array, weights: Array) -> Any:
        Rayleigh().fit(value, weights)


MAXIMISER = r"not the maximiser: moving `{}\[\d\]` by -2% raises the weighted log-likelihood by \d"
TWO_METHODS: list[tuple[lem.Distribution, Array, str]] = [
    (Unnormalised(), X, r"density must integrate \(or sum\) to 1, got 1\.01005 in state 0"),
    (ForgottenFactor(), X, MAXIMISER.format("scale")),
    (SampleVariance(), REAL, r"not the maximiser: moving `variance\[\d\]` by -\d"),
    (MeanForMedian(), REAL**3, r"not the maximiser: moving `location\[\d\]` by [-+]2% raises"),
    (WeightsIgnored(), X, r"fit ignores the weights: other weights give the same parameters"),
    (StatesPooled(), X, r"fit ignores which state the weights are for"),
    (StatesSwapped(), X, r"fit takes the weights of state 0 for those of state 1"),
    (ValueChanged(), X, r"fit changes its input: the array of values"),
    (ValueChangedByLogProb(), X, r"log_prob changes its input: the array of values"),
    (WeightsChanged(), X, r"fit changes its input: the array of weights"),
    (SelfChanged(), X, r"fit changes `scale` in place; return a new distribution instead"),
    (SelfWritten(), X, r"read-only; a distribution is never changed: return a new one instead"),
    (WeightsNotDividedBy(), X, r"multiplying all weights by 0\.001 must change nothing"),
    (RowsOfWeightCounted(), X, r"an integer weight must equal repeating the row"),
    (RowsOfWeightCounted(), X, r"rows of zero weight must change nothing"),
    (FirstRowLeads(), X, r"permuting the rows must change nothing"),
    (
        StatesFirst(),
        X,
        r"log_prob must return rows first, shape \(n, K\) = \(60, 3\), got \(3, 60\)",
    ),
    (ParentsLast(), X, r"`scale` must have the parents' states as its first axis, length 3, got"),
    (
        ParentsLastInACube(),
        RNG.normal(size=(60, 3)),
        r"permuting the first axis .+ put the parents' axes first in parameters",
    ),
    (RowsCoupled(), X, r"log_prob must treat each row alone"),
    (WrongScale(), X, r"sample disagrees with log_prob: parameters fitted to 9000 draws"),
    (WrongFamily(), X, r"sample disagrees with log_prob: the frequencies"),
    (OtherState(), X, r"sample disagrees with log_prob"),
    (StateIgnored(), np.tile(X, 10), r"sample disagrees with log_prob"),
    (OwnGenerator(), X, r"sample must draw from the generator it is given"),
    (WrongShape(), X, r"sample\(rng, state\) must return shape .+\(9000,\), got \(9000, 3\)"),
    (
        AxisTooMany(),
        X,
        r"log_prob raised ValueError: .+ 3 states have these shapes: `scale` \(3, 1\)",
    ),
    (ParentReturned(), X, r"fit must return a ParentReturned, got a CountedRayleigh; return attrs"),
    (WrongCount(), X, r"n_parameters must be .* got 1 where fits move in 3 directions"),
    (NotANumber(), X, r"log_prob must be a number or -inf, got nan at value"),
    (Infinite(), X, r"log_prob must be a number or -inf, got inf at value"),
    (Raises(), X, r"fit raised RuntimeError: no idea"),
    (NothingReturned(), X, r"fit must return a distribution, got None"),
]


# -- regressions -----------------------------------------------------------------------------------


@attrs.frozen(eq=False)
class Slope(lem.Distribution):
    """A line through the origin with unit noise; rows are (u, y)."""

    takes_covariates = True
    slope: Array | None = None  # (*parents,)

    @property
    def n_parameters(self) -> int:
        return self.slope.size

    def log_prob(self, value: Array) -> Array:
        u, y = value[:, :1], value[:, 1:]
        return -0.5 * (y - self.slope * u) ** 2 - 0.5 * math.log(2 * math.pi)

    def fit(self, value: Array, weights: Array) -> Any:
        u, y = value.T
        return type(self)(weights.T @ (u * y) / (weights.T @ u**2))

    def sample(self, rng: np.random.Generator, state: Array, inputs: Array) -> Array:
        return rng.normal(self.slope[state] * inputs[:, 0])


class SlopeUnnormalised(Slope):
    def log_prob(self, value: Array) -> Array:
        return super().log_prob(value) + 0.5 * math.log(2 * math.pi)


class SlopeOfDifferences(Slope):
    """Another estimate of the slope, and consistent; but no maximum of the likelihood."""

    def fit(self, value: Array, weights: Array) -> Any:
        u, y = value.T
        return type(self)(weights.T @ (np.sign(u) * y) / (weights.T @ np.abs(u)))


class SlopeWithoutWeights(Slope):
    def fit(self, value: Array, weights: Array) -> Any:
        return super().fit(value, np.ones_like(weights))


class SlopePooled(Slope):
    def fit(self, value: Array, weights: Array) -> Any:
        return super().fit(value, np.tile(weights.sum(axis=1, keepdims=True), weights.shape[1]))


class SlopeSwapped(Slope):
    def fit(self, value: Array, weights: Array) -> Any:
        return super().fit(value, np.roll(weights, 1, axis=1))


class SlopeChangesValue(Slope):
    def fit(self, value: Array, weights: Array) -> Any:
        value -= value.mean(axis=0)
        return super().fit(value, weights)


class SlopeChangesWeights(Slope):
    def fit(self, value: Array, weights: Array) -> Any:
        weights *= 2
        return super().fit(value, weights)


class SlopeChangesItself(Slope):
    def fit(self, value: Array, weights: Array) -> Any:
        object.__setattr__(self, "slope", super().fit(value, weights).slope)
        return self


class SlopeStatesFirst(Slope):
    def log_prob(self, value: Array) -> Array:
        return super().log_prob(value).T


class SlopeParentsLast(Slope):
    def fit(self, value: Array, weights: Array) -> Any:
        return type(self)(super().fit(value, weights).slope[None])


class SlopeCentred(Slope):
    def log_prob(self, value: Array) -> Array:
        return super().log_prob(value - value.mean(axis=0) * [0.0, 1.0])


class SlopeNoisier(Slope):
    def sample(self, rng: np.random.Generator, state: Array, inputs: Array) -> Array:
        return rng.normal(self.slope[state] * inputs[:, 0], 1.2)


class SlopeSteeper(Slope):
    def sample(self, rng: np.random.Generator, state: Array, inputs: Array) -> Array:
        return rng.normal(2.0 * self.slope[state] * inputs[:, 0])


class SlopeOwnGenerator(Slope):
    def sample(self, rng: np.random.Generator, state: Array, inputs: Array) -> Array:
        return super().sample(np.random.default_rng(), state, inputs)


class SlopeWrongShape(Slope):
    def sample(self, rng: np.random.Generator, state: Array, inputs: Array) -> Array:
        return rng.normal(size=(len(state), 3))


class SlopeCounted(Slope):
    n_parameters = 7


class SlopeNotANumber(Slope):
    def log_prob(self, value: Array) -> Array:
        return np.where(value[:, :1] > 0.5, np.nan, super().log_prob(value))


class SlopeOfTheRest(Slope):
    """Takes the variable for the covariate."""

    def log_prob(self, value: Array) -> Array:
        return super().log_prob(value[:, ::-1])

    def fit(self, value: Array, weights: Array) -> Any:
        return super().fit(value[:, ::-1], weights)


REGRESSIONS: list[tuple[lem.Distribution, str]] = [
    (SlopeUnnormalised(), r"density must integrate \(or sum\) to 1, got 2\.50663 in state 0"),
    (SlopeOfTheRest(), r"density must integrate \(or sum\) to 1, got"),
    (SlopeOfDifferences(), r"fit is not the maximiser: moving `slope\[\d\]` by [-+]\d"),
    (SlopeWithoutWeights(), r"fit ignores the weights"),
    (SlopePooled(), r"fit ignores which state the weights are for"),
    (SlopeSwapped(), r"fit takes the weights of state 0 for those of state 1"),
    (SlopeChangesValue(), r"fit changes its input: the array of values"),
    (SlopeChangesWeights(), r"fit changes its input: the array of weights"),
    (SlopeChangesItself(), r"fit changes `slope` in place"),
    (SlopeStatesFirst(), r"log_prob must return rows first"),
    (SlopeParentsLast(), r"`slope` must have the parents' states as its first axis, length 3"),
    (SlopeCentred(), r"log_prob must treat each row alone"),
    (SlopeNoisier(), r"sample disagrees with log_prob"),
    (SlopeSteeper(), r"sample disagrees with log_prob: parameters fitted to 9000 draws"),
    (SlopeOwnGenerator(), r"sample must draw from the generator it is given"),
    (SlopeWrongShape(), r"sample\(rng, state, inputs\) must return shape .+, got \(9000, 3\)"),
    (SlopeCounted(), r"n_parameters must be .* got 7 where fits move in 3 directions"),
    (SlopeNotANumber(), r"log_prob must be a number or -inf, got nan"),
]


# -- exponential families --------------------------------------------------------------------------


class CentredStatistics(Exponential):
    """Not additive: the statistics of a block depend on what else is in it."""

    def statistics(self, value: Array) -> Array:
        return (value - value.mean())[:, None]


class StatisticsInARow(Exponential):
    def statistics(self, value: Array) -> Array:
        return value[None, :]


class NaturalParametersWrong(Exponential):
    def natural_parameters(self) -> tuple[Array, Array]:
        return -2 * self.rate[..., None], -np.log(self.rate)


class MeanForRate(Exponential):
    def from_mean(self, mean: Array, weight: Array) -> Any:
        return type(self)(mean[..., 0])


class NormaliserForgotten(Exponential):
    def natural_parameters(self) -> tuple[Array, Array]:
        return -self.rate[..., None], np.zeros(self.rate.shape)


class BaseMeasureForgotten(Exponential):
    """ln h(x) = 0 where x < 0 too."""

    def log_base_measure(self, value: Array) -> float:
        return 0.5


class BaseMeasureOfAnother(Exponential):
    def log_base_measure(self, value: Array) -> Array:
        return np.where(value >= 0, -0.1 * np.abs(value), -np.inf)


class BaseMeasureCentred(Exponential):
    def log_base_measure(self, value: Array) -> Array:
        return np.where(value >= 0, value - value.mean(), -np.inf)


class NaturalParametersLast(Exponential):
    def natural_parameters(self) -> tuple[Array, Array]:
        return -self.rate[None, ...], -np.log(self.rate)


# `Exponential.from_mean` returns its own class, so those that inherit it say so themselves.
def _keeping(kind: type[Any]) -> Any:
    if "from_mean" not in vars(kind):
        kind.from_mean = lambda self, mean, weight: kind(1 / mean[..., 0])
    return kind()


EXPONENTIAL: list[tuple[type[Any], str]] = [
    (
        CentredStatistics,
        r"statistics must treat each row alone, .+ take nothing from them, such as",
    ),
    (StatisticsInARow, r"statistics must return a row for each value, .+ n = 60, got \(1, 60\)"),
    (
        NaturalParametersWrong,
        r"natural_parameters and from_mean disagree: moving `rate\[\d\]` by -2%",
    ),
    (MeanForRate, r"natural_parameters and from_mean disagree: moving `rate\[\d\]`"),
    (MeanForRate, r"fit is not the maximiser"),
    (NormaliserForgotten, r"to 1, got .+; look at natural_parameters first"),
    (BaseMeasureForgotten, r"to 1, got .+; look at log_base_measure first"),
    (BaseMeasureOfAnother, r"to 1, got .+; look at log_base_measure first"),
    (BaseMeasureCentred, r"log_base_measure must treat each row alone"),
]


# -- families with an auxiliary variable -----------------------------------------------------------


@attrs.frozen(eq=False)
class Secant(lem.AuxiliaryFamily):
    """The hyperbolic secant as a scale mixture of Gaussians, with a variable u for each row."""

    mean: Array | None = lem.parameter()  # noqa: RUF009 (an attrs field marker)
    scale: Array | None = lem.parameter()  # noqa: RUF009

    def _residual(self, value: Array) -> Array:
        return np.abs(value[:, None] - self.mean) / self.scale

    def _expected_u(self, r: Array) -> Array:
        return np.where(r > 0, np.tanh(r) / np.where(r > 0, r, 1), 1)

    def log_prob(self, value: Array) -> Array:
        r = self._residual(value)
        return -r - np.log1p(np.exp(-2 * r)) - np.log(np.pi / 2 * self.scale)

    def expected_statistics(self, value: Array) -> tuple[Array, Array]:
        x, r = value[:, None], self._residual(value)
        u = self._expected_u(r)
        expected = np.stack([u, u * x, u * x**2], axis=-1)
        return expected, self.log_prob(value) + u * r**2 / 2 + np.log(self.scale)

    def natural_parameters(self) -> tuple[Array, Array]:
        eta = np.stack([-(self.mean**2) / 2, self.mean, -0.5 + 0 * self.mean]) / self.scale**2
        return np.moveaxis(eta, 0, -1), np.log(self.scale)

    def from_mean(self, mean: Array, weight: Array) -> Any:
        u, ux, uxx = np.moveaxis(mean, -1, 0)
        return attrs.evolve(self, mean=ux / u, scale=np.sqrt(uxx - ux**2 / u))

    def statistics(self, value: Array) -> Array:
        return np.stack([np.ones_like(value), value, value**2], axis=1)


class SecantOfWrongPosterior(Secant):
    """Expects u as Student's t would."""

    def _expected_u(self, r: Array) -> Array:
        return 5 / (4 + r**2)


class SecantWithoutExpectation(Secant):
    def _expected_u(self, r: Array) -> Array:
        return np.ones_like(r)


class SecantOfWrongEntropy(Secant):
    def expected_statistics(self, value: Array) -> tuple[Array, Array]:
        expected, base = super().expected_statistics(value)
        return expected, base + 0.1


AUXILIARY: list[tuple[lem.Distribution, str]] = [
    (
        SecantOfWrongPosterior(),
        r"expected_statistics must be expectations under p\(u \| x\).+ moving",
    ),
    (SecantWithoutExpectation(), r"expected_statistics must be expectations under p\(u \| x\)"),
    (SecantOfWrongEntropy(), r"natural parameters must give the weighted log-likelihood"),
]


# -- curved sets of parameters ---------------------------------------------------------------------


class TooWide(lem.Gaussian):
    """Covariances with the divisor n - 1, in whatever structure."""

    def fit(self, value: Array, weights: Array) -> Any:
        total = weights.sum() / weights.shape[1]
        fitted = super().fit(value, weights)
        return attrs.evolve(fitted, covariance=fitted.covariance * total / (total - 1))


# -- the tests -------------------------------------------------------------------------------------


def _found(dist: lem.Distribution, value: Array, inputs: Array | None = None) -> str:
    with pytest.raises(AssertionError) as failure:
        check_distribution(dist, value, inputs=inputs)
    text = str(failure.value)
    assert text.startswith(type(dist).__name__)
    return text


def _names(text: str, sentence: str) -> bool:
    return re.search(sentence, text) is not None


@pytest.mark.parametrize(
    ("dist", "value", "sentence"), TWO_METHODS, ids=lambda x: type(x).__name__[:20]
)
def test_a_wrong_plug_in_is_named(dist: lem.Distribution, value: Array, sentence: str) -> None:
    text = _found(dist, value)
    assert _names(text, sentence), text


@pytest.mark.parametrize(("dist", "sentence"), REGRESSIONS, ids=lambda x: type(x).__name__)
def test_a_wrong_regression_is_named(dist: lem.Distribution, sentence: str) -> None:
    text = _found(dist, LINE, INPUTS)
    assert _names(text, sentence), text


@pytest.mark.parametrize(("kind", "sentence"), EXPONENTIAL, ids=lambda x: str(x)[:40])
def test_a_wrong_exponential_family_is_named(kind: type[Any], sentence: str) -> None:
    text = _found(_keeping(kind), X)
    assert _names(text, sentence), text


@pytest.mark.parametrize(("dist", "sentence"), AUXILIARY, ids=lambda x: type(x).__name__)
def test_a_wrong_auxiliary_family_is_named(dist: lem.Distribution, sentence: str) -> None:
    text = _found(dist, REAL)
    assert _names(text, sentence), text


@pytest.mark.parametrize("letters", ["VVV", "VEV", "EVE", "EEV", "VEI"])
def test_a_wrong_maximiser_among_curved_parameters_is_noticed(letters: str) -> None:
    x = np.random.default_rng(1).normal(size=(60, 2)) @ [[2.0, 0.5], [0.0, 0.4]]
    text = _found(TooWide(covariance=letters), x)
    assert _names(text, "fit is not the maximiser: "), text


@pytest.mark.parametrize(
    ("dist", "value", "inputs"),
    [
        (Rayleigh(), X, None),
        (CountedRayleigh(), X, None),
        (Cube(), np.random.default_rng(2).normal(size=(60, 3)), None),
        (Slope(), LINE, INPUTS),
        (Exponential(), X, None),
        (Secant(), REAL, None),
    ],
    ids=lambda x: type(x).__name__,
)
@pytest.mark.parametrize("seed", range(5))
def test_a_right_plug_in_passes(
    dist: lem.Distribution, value: Array, inputs: Array | None, seed: int
) -> None:
    check_distribution(dist, value, inputs=inputs, seed=seed)


def test_extremes_that_many_rows_share_are_no_fault() -> None:
    check_distribution(lem.DiscreteUniform(), np.tile(np.arange(2, 9), 20))


def test_values_and_covariates_that_a_family_does_not_take_are_named() -> None:
    with pytest.raises(AssertionError, match=r"^Poisson: value must be integers >= 0 .+, got -1"):
        check_distribution(lem.Poisson(), np.arange(-1, 9))
    offset = lem.PoissonRegression(offset="hours")
    inputs = {"u": np.linspace(0, 1, 10), "hours": np.linspace(1, 2, 10)}
    columns = np.column_stack(list(inputs.values()))
    with pytest.raises(AssertionError, match=r"inputs must be 'hours' .+ Here, pass inputs=\{name"):
        check_distribution(offset, np.arange(10), inputs=columns)
    check_distribution(offset, np.arange(10), inputs=inputs)


def test_check_model_names_the_node_of_a_wrong_plug_in() -> None:
    z = lem.latent("z", lem.Categorical(2))
    nodes = [z, lem.observed("x", ForgottenFactor(), given=z)]
    nodes += [lem.observed("y", lem.Normal(), given=z)]
    with pytest.raises(AssertionError) as failure:
        check_model(lem.Model(nodes), {"x": X, "y": REAL})
    text = str(failure.value)
    assert _names(text, r"node 'x': ForgottenFactor .+:\n +- .*not the maximiser: moving `scale"), (
        text
    )
    assert _names(text, r"other parameters raise the term of node 'x'"), text
    assert "node 'y'" not in text
    check_model(
        lem.Model([z, lem.observed("x", Rayleigh(), given=z), nodes[2]]), {"x": X, "y": REAL}
    )


class NoNumberAtTheEnd(CountedRayleigh):
    def log_prob(self, value: Array) -> Array:
        return np.where(value[:, None] == X.max(), np.nan, super().log_prob(value))


@pytest.mark.parametrize("assign", [lem.soft, lem.hard])
@pytest.mark.parametrize("weighted", [True, False])
def test_a_density_that_is_no_number_is_refused_even_in_a_row_without_weight(
    assign: Any, weighted: bool
) -> None:
    weights = np.where(np.arange(len(X)) == X.argmax(), 0.0, 1.0) if weighted else None
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    x = lem.observed("x", NoNumberAtTheEnd(scale=[1.0, 3.0]), given=z)
    match = f"Node 'x': NoNumberAtTheEnd.log_prob must be a number .+ nan for row {X.argmax()}"
    with pytest.raises(lem.ModelError, match=match):
        lem.fit(lem.Model([z, x]), {"x": X}, weights=weights, assign=assign)
