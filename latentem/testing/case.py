"""What the laws of a distribution look at: a fit, its values and weights, and fits nearby."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from latentem.distributions import Array, Distribution
from latentem.distributions.base import beside, sampler
from latentem.testing.neighbours import Moves, Pair, numbers, unmoved
from latentem.testing.probability import frequencies_differ, log_prob, total_probability
from latentem.testing.report import close

# Draws for each state when a sampler is compared with its density.
DRAWS = 3000
# Directions, at most, that fits to other weights are asked for.
MOST_DIRECTIONS = 100
# Relative changes of the weights: one whose fits show the tangents, and one for neighbours.
SMALL, MODERATE = 1e-3, 0.1
# Fits more than there are directions.
SPARE = 5
# Rows of each state in fits to a few.
FEW = 5


@attrs.frozen(eq=False)
class Case:
    """A distribution, values ``(n, *event)``, weights ``(n, K)`` and the fit to both.

    Of a regression the covariates too, ``(n, p)``; they stand in the values' first columns.
    """

    dist: Distribution
    value: Array
    weights: Array
    fitted: Distribution
    rng: np.random.Generator
    inputs: Array | None

    @classmethod
    def of(
        cls, dist: Distribution, own: Array, inputs: Array | None, rng: np.random.Generator
    ) -> Case:
        value = own if inputs is None else beside(inputs, own)
        flat, k = _one_parents_axis(dist, value)
        weights = _random_weights(len(value), k, rng)
        fitted = flat.fit(value.copy(), weights.copy())
        if not isinstance(fitted, Distribution):
            raise TypeError(f"fit must return a distribution, got {fitted!r}")
        if not isinstance(fitted, type(dist)):
            raise TypeError(
                f"fit must return a {type(dist).__name__}, got a {type(fitted).__name__}; return "
                "attrs.evolve(self, ...), which keeps the class"
            )
        return cls(flat, value, weights, fitted, rng, inputs)

    def own(self, value: Array) -> Array:
        """Return values without the covariates."""
        return value if self.inputs is None else value[:, self.inputs.shape[1] :]

    def total_probability(self, dist: Distribution) -> Array | None:
        """Return the total of each state's density, given the covariates of a row."""
        return total_probability(self._at_row(dist), self.own(self.value))

    def _at_row(self, dist: Distribution) -> Any:
        return (
            dist if self.inputs is None else _GivenInputs(dist, self.inputs[len(self.inputs) // 2])
        )

    def draw(self, n: int, *, at_row: bool = False) -> tuple[Array, Array]:
        """Return the states and values of n draws of each, at the covariates of rows, or of one."""
        state = np.arange(n * self.k) % self.k
        draw: Callable[..., Any] = sampler(self.apart)
        if self.inputs is None:
            return state, np.asarray(draw(np.random.default_rng(0), state))
        rows = np.arange(len(state)) // self.k % self.n
        inputs = self.inputs[np.full(len(state), self.n // 2) if at_row else rows]
        own = np.asarray(draw(np.random.default_rng(0), state, inputs))
        return state, beside(inputs, own)

    def frequencies_differ(self) -> bool:
        """Return whether draws are not distributed as the density says."""
        state, value = self.draw(DRAWS, at_row=True)
        at_row = self._at_row(self.apart)
        return frequencies_differ(at_row, self.own(self.value), self.own(value), state)

    @property
    def n(self) -> int:
        return len(self.value)

    @property
    def k(self) -> int:
        return int(self.weights.shape[1])

    @functools.cached_property
    def moves(self) -> Moves:
        count = min(len(numbers(self.fitted)), MOST_DIRECTIONS)
        pairs = [self.nearby_fits(SMALL) for _ in range(count + 3)]
        jumps = min(unmoved(self.fitted, pairs), MOST_DIRECTIONS)
        some = self.other_fits(2 * jumps, 0.2)
        share_extremes = all(self.same(other) for other in self.others)
        few = self.other_fits(2 * jumps, FEW / self.n) if share_extremes else []
        return Moves.of(self.fitted, pairs, [*self.others, *some, *few])

    @functools.cached_property
    def others(self) -> list[Distribution]:
        """A few fits to other weights."""
        return self.other_fits(SPARE)

    @property
    def fits_to_few(self) -> list[Distribution]:
        """Fits to a few rows each, where many rows say the same."""
        return self.other_fits(SPARE, FEW / self.n)

    @functools.cached_property
    def apart(self) -> Distribution:
        """A fit of states that differ: each has most of its weight in values of its own."""
        first = self.own(self.value).reshape(self.n, -1)[:, 0]
        part = np.argsort(np.argsort(first, kind="stable")) * self.k // self.n
        own = np.equal.outer(part, np.arange(self.k))
        return self.fit(self.weights * np.where(own, 1.0, 0.1))

    def nearby_fits(self, size: float) -> Pair:
        """Return fits to weights that differ by a relative change, up and down."""
        change = size * self.rng.uniform(-1, 1, size=self.weights.shape)
        up, down = self.weights * (1 + change), self.weights * (1 - change)
        # From the fit itself, where a maximiser that climbs has little left to climb.
        return self.fitted.fit(self.value.copy(), up), self.fitted.fit(self.value.copy(), down)

    def fit(self, weights: Array, value: Array | None = None) -> Distribution:
        rows = self.value if value is None else value
        return self.dist.fit(rows.copy(), weights.copy())

    def other_fits(self, count: int, share: float = 0.5) -> list[Distribution]:
        """Return fits to other random weights: points of the family known to be legal.

        Only a share of the rows has some, because parameters may depend on the extremes alone.
        """
        return [self._other_fit(share) for _ in range(count)]

    def _other_fit(self, share: float) -> Distribution:
        weights = _random_weights(self.n, self.k, self.rng)
        try:
            return self.fit(weights * (self.rng.random(weights.shape) < share))
        except (ValueError, ArithmeticError):  # too few rows are left
            return self.fit(weights)

    def log_prob(self, dist: Distribution, value: Array | None = None) -> Array:
        return log_prob(dist, self.value if value is None else value)

    def log_likelihood(self, dist: Distribution) -> float:
        return weighted_sum(self.weights, self.log_prob(dist))

    def objective(self, dist: Distribution) -> float:
        return self.log_likelihood(dist) + dist.log_prior

    def same(self, other: Distribution, expected: Array | None = None) -> bool:
        """Whether ``other`` gives the values the fitted (or expected) log-densities."""
        target = self.log_prob(self.fitted) if expected is None else expected
        found = self.log_prob(other)
        return found.shape == target.shape and close(found, target)


@attrs.frozen(eq=False)
class _GivenInputs:
    """A regression at one row of covariates ``(p,)``: a density of its own values alone."""

    dist: Distribution
    inputs: Array

    @property
    def requires_hard(self) -> bool:
        return self.dist.requires_hard

    def log_prob(self, value: Array) -> Array:
        return self.dist.log_prob(beside(np.tile(self.inputs, (len(value), 1)), value))


def _random_weights(n: int, k: int, rng: np.random.Generator) -> Array:
    return rng.gamma(2.0, size=(n, k))


def _one_parents_axis(dist: Distribution, value: Array) -> tuple[Distribution, int]:
    """Return the distribution with one parents' axis, and the length that this axis is to have."""
    if dist.is_parameterised:
        parents = np.shape(dist.log_prob(value.copy()))[1:]
        return dist.flatten(parents), math.prod(parents)
    for k in (3, 2, 4, 1, 5, 6):
        try:
            dist.check_parents((k,))
        except ValueError:
            continue
        return dist.flatten((k,)), k
    raise ValueError(f"{type(dist).__name__} takes none of 1 to 6 states of its parent")


def weighted_sum(weights: Array, log_prob: Array) -> float:
    """Return the weighted log-likelihood of log-densities ``(n, K)``; no weight, no term."""
    return float(
        np.sum(np.multiply(weights, log_prob, where=weights > 0, out=np.zeros_like(weights)))
    )
