"""What the families with positive parameters share."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import LOG_ZERO, Array
from latentem.distributions.base import Distribution, ExponentialFamily, free_entries
from latentem.distributions.checks import check_column, check_held, naming
from latentem.errors import ModelError, Unsuitable

#: Shapes beyond this lose half the digits of a density.
LARGEST_LIMIT = 1e12


def check_limit(instance: Any, attribute: Any, value: float) -> None:
    """Raise `ModelError` unless a largest shape is one that double precision can keep."""
    if not 1.0 <= value <= LARGEST_LIMIT:
        raise ModelError(
            f"{type(instance).__name__}: {attribute.name} must be between 1 and "
            f"{LARGEST_LIMIT:g} because larger ones are lost in rounding, got {value}. "
            "Give the largest value allowed."
        )


@attrs.frozen
class Unit:
    """What is taken from the data once.

    Attributes
    ----------
    centre : float
        Their mean: statistics are about it and in units of it.
    spread : float
        Their standard deviation on the scale on which seeds are compared, 0 if all are equal.
    """

    centre: float
    spread: float


@attrs.frozen(eq=False, repr=False)
class PositiveParameters(Distribution):
    """A distribution of a scalar whose parameters are positive numbers, one each for a state.

    A family adds its fields, its support and its log-density. The constraint that keeps the
    likelihood bounded, where one is needed, is named by ``limit``.
    """

    #: What is said when the constraint of a state is active.
    limit: ClassVar[str] = ""
    #: Whether the likelihood has a maximum only if the values differ, where nothing is held.
    needs_spread: ClassVar[bool] = True
    #: What to do about values at the end of the support.
    remedy: ClassVar[str] = (
        "Drop such rows, or make them missing and tell them apart by a Bernoulli node."
    )

    reference: Unit | None = attrs.field(default=None, kw_only=True)
    at_limit: Array | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        name = type(self).__name__
        given = {field: array for field, array in self.parameters.items() if array is not None}
        if self.holdable:
            check_held(self)
        for field, array in given.items():
            if not (np.all(np.isfinite(array)) and np.all(array > 0)):
                raise ModelError(
                    f"{name}: {field} must be positive and finite, got {array}. "
                    f"Give a positive {field}."
                )
        shapes = {field: array.shape for field, array in given.items()}
        if len(set(shapes.values())) > 1:
            raise ModelError(
                f"{name}: {' and '.join(shapes)} must have one entry each for each state, got "
                f"shapes {' and '.join(map(str, shapes.values()))}. Repeat the one that is shared."
            )

    def __repr__(self) -> str:
        known = {name: a for name, a in self.parameters.items() if a is not None}
        return f"{type(self).__name__}({', '.join(f'{name}={a!r}' for name, a in known.items())})"

    # -- parameters ----------------------------------------------------------------------------

    def known(self) -> tuple[Array, ...]:
        """Return the parameters, or raise `ModelError`."""
        arrays = [array for array in self.parameters.values() if array is not None]
        if len(arrays) < len(self.parameters):
            raise ModelError(
                f"{type(self).__name__} must have a {' and a '.join(self.parameters)} to be "
                "evaluated or sampled, got a template. Fit it, or give them."
            )
        return tuple(arrays)

    @property
    def n_parameters(self) -> int:
        """All entries of all parameters, less what is held."""
        return free_entries(self)

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return {**self.parameters, "at_limit": self.at_limit}

    @property
    def at_constraint(self) -> bool:
        return self.at_limit is not None and bool(self.at_limit.any())

    @property
    def events(self) -> tuple[str, ...]:
        if self.at_limit is None or not self.at_limit.any():
            return ()
        states = ", ".join(map(str, np.flatnonzero(self.at_limit)))
        return (f"{self.limit.format(self=self)} (state {states})",)

    # -- data ----------------------------------------------------------------------------------

    @abc.abstractmethod
    def supports(self, x: Array) -> Array:
        """Return which values have a density, as a mask."""

    @property
    @abc.abstractmethod
    def support(self) -> str:
        """Return the support in words, such as "positive"."""

    def check(self, value: Array) -> Array:
        name = type(self).__name__
        value = check_column(value, name)
        if not np.issubdtype(value.dtype, np.float64):
            value = value.astype(float)
        outside = ~self.supports(value)
        if outside.any():
            row = int(outside.argmax())
            raise Unsuitable(
                f"be {self.support} because {{node}} is {name}",
                f"{value[row]:g} at row {row}",
                self.remedy,
            )
        return value

    @property
    def centre(self) -> float:
        """The unit of the statistics: the mean of the data, 1 before there are any."""
        return 1.0 if self.reference is None else self.reference.centre or 1.0

    def even_scale(self, value: Array) -> Array:
        """Return the values on a scale where the spread of a state is about the same everywhere."""
        return np.log(value)

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        largest = float(value.max(initial=0.0)) or 1.0
        centre = largest * float(np.average(value / largest, weights=weights))
        bound = attrs.evolve(self, reference=Unit(centre, 0.0))
        if np.ptp(value) == 0:
            return bound
        even = bound.even_scale(value)
        mean = np.average(even, weights=weights, axis=0)
        square = np.average(np.square(even - mean), weights=weights, axis=0)
        return attrs.evolve(self, reference=Unit(centre, float(np.sqrt(np.sum(square)))))

    def check_fit(self) -> None:
        needs_spread = self.needs_spread and not self.held
        if needs_spread and self.reference is not None and not self.reference.spread:
            raise Unsuitable(
                "vary because the likelihood of {node} has no maximum where all values are equal",
                "a constant column",
                "Drop that column, or fix its parameters.",
            )

    def dissimilarity(self, value: Array, other: Array) -> Array:
        spread = 1.0 if self.reference is None else self.reference.spread or 1.0
        difference = self.even_scale(value)[:, None] - self.even_scale(other)
        return np.square(difference / spread)

    def about(self, reference: Unit | None) -> Self:
        """Return the same distribution with statistics about another reference."""
        return self if reference is self.reference else attrs.evolve(self, reference=reference)

    # -- the density ---------------------------------------------------------------------------

    @abc.abstractmethod
    def log_density(self, x: Array) -> Array:
        """Return log p(x | parents) for values ``(n, 1, ...)`` in the support."""

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; -inf off the support."""
        n_axes = self.known()[0].ndim
        name = type(self).__name__
        with naming(name):
            value = check_column(np.asarray(value), name)
        x = value.reshape(-1, *(1,) * n_axes).astype(float)
        inside = self.supports(x)
        with np.errstate(all="ignore"):  # at values off the support, or out of float64's range
            density = self.log_density(np.where(inside, x, 0.5))
        return np.where(inside, density, -np.inf)


@attrs.frozen(eq=False, repr=False)
class PositiveFamily(PositiveParameters, ExponentialFamily):
    """Such a distribution that is an exponential family of its parameters.

    `statistics_within` are those of values in the support; values off it, which another case of a
    `Switch` may allow, count as the centre, and the base measure makes them impossible.
    """

    def supports(self, x: Array) -> Array:
        inside: Array = (x > 0) & (x < np.inf)
        return inside

    @property
    def support(self) -> str:
        return "positive"

    @abc.abstractmethod
    def statistics_within(self, value: Array) -> Sequence[Array]:
        """Return the statistics of values in the support, an array ``(n,)`` each."""

    def log_base_within(self, value: Array) -> Array:
        """Return log h(x) of values in the support, ``(n,)``."""
        return np.zeros(len(value))

    def _within(self, value: Array) -> tuple[Array, Array]:
        """Return the values with those off the support replaced, and which are in it."""
        inside = self.supports(value)
        return (value if inside.all() else np.where(inside, value, self.centre)), inside

    def statistics(self, value: Array) -> Array:
        return np.stack(self.statistics_within(self._within(value)[0]), axis=1)

    def statistics_into(self, out: Array, value: Array) -> None:
        for row, statistic in zip(out, self.statistics_within(self._within(value)[0]), strict=True):
            row[...] = statistic

    def log_base_measure(self, value: Array) -> Array:
        value, inside = self._within(value)
        return np.where(inside, self.log_base_within(value), LOG_ZERO)


def single_state_moves(arrays: dict[str, Array]) -> list[dict[str, Array]]:
    """Return, for each state, the move of all these parameters by their own size together."""
    (first, *_) = arrays.values()
    moves = []
    for state in np.ndindex(first.shape):
        move = {}
        for name, array in arrays.items():
            move[name] = np.zeros(array.shape)
            move[name][state] = array[state]
        moves.append(move)
    return moves
