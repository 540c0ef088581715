"""The Laplace distribution of a scalar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import Distribution, free_entries, parameter, single_moves
from latentem.distributions.checks import (
    as_names,
    check_column,
    check_floor,
    check_held,
    check_real,
    naming,
)
from latentem.distributions.formulas import Formulas
from latentem.errors import ModelError, Unsuitable


@attrs.frozen
class _Spread:
    """The mean absolute deviation of the data from their median."""

    deviation: float


@attrs.frozen(eq=False, repr=False)
class Laplace(Distribution):
    r"""Laplace's distribution of a scalar: exponential tails on both sides of its location.

    .. math:: {log_density}, \qquad
              {update}

    (Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 2, 1995, chapter 24.) The
    location is the weighted median: half of the weight is on either side of it. Where all points
    between two values are medians it is the point halfway between them. It is no exponential
    family: a median is not made of sums, so the maximiser needs all rows at once, and there is no
    fit in a stream.

    Parameters
    ----------
    location, scale : array, (\*parents,), optional
        The median, and the mean absolute deviation from it, in the unit of the data. The standard
        deviation is the square root of 2 times the scale.
    floor : float
        Smallest allowed scale, in units of the mean absolute deviation of all data from their
        median: a state whose values are all equal would have none. The fit is the exact maximiser
        under this constraint, and says when it is active.
    held : tuple of str
        What is held at its value while the other is fitted, ``("location",)`` or ``("scale",)``: of
        a scale that is held the location is the median still, about a location that is held the
        scale is the mean absolute deviation. Follows from giving only one of them, which may be one
        for all states.

    Raises
    ------
    ModelError
        If a scale is not positive and finite, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> lem.Laplace().fit(np.array([1.0, 2.0, 9.0]), np.ones(3))
    Laplace(location=array(2.), scale=array(2.66666667))
    >>> lem.Laplace(location=0.0).fit(np.array([1.0, 2.0, 9.0]), np.ones(3)).scale
    array(4.)
    """

    formulas = Formulas(
        log_density=r"\log p(x \mid k) = -\log 2 b_k - |x - m_k| / b_k",
        update=(
            r"\hat m_k = \operatorname{median}_{r_k} x, \qquad "
            r"\hat b_k = \sum_i r_{ik} |x_i - \hat m_k| \Big/ \sum_i r_{ik}"
        ),
        symbols={"m": "location", "b": "scale"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"location": 0, "scale": 0}

    holdable: ClassVar[tuple[str, ...]] = ("location", "scale")

    location: Array | None = parameter(converter=as_float_array)
    scale: Array | None = parameter(converter=as_float_array)
    floor: float = attrs.field(default=1e-9, kw_only=True, validator=check_floor)
    held: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_names)
    reference: _Spread | None = attrs.field(default=None, kw_only=True)
    at_floor: Array | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_held(self)
        location, scale = self.location, self.scale
        if location is not None and not np.all(np.isfinite(location)):
            raise ModelError(
                f"Laplace: location must be finite, got {location}. Give finite locations."
            )
        if scale is not None and not np.all((scale > 0) & np.isfinite(scale)):
            raise ModelError(
                f"Laplace: scale must be positive and finite, got {scale}. Give a positive scale."
            )
        if location is not None and scale is not None and location.shape != scale.shape:
            raise ModelError(
                "Laplace: location and scale must have one entry each for each state, got shapes "
                f"{location.shape} and {scale.shape}. Repeat the one that is shared."
            )

    def __repr__(self) -> str:
        known = {name: array for name, array in self.parameters.items() if array is not None}
        return f"Laplace({', '.join(f'{name}={array!r}' for name, array in known.items())})"

    def known(self) -> tuple[Array, Array]:
        """Return location and scale, or raise `ModelError`."""
        if self.location is None or self.scale is None:
            raise ModelError(
                "Laplace must have a location and a scale to be evaluated or sampled, got a "
                "template. Fit it, or give both."
            )
        return self.location, self.scale

    @property
    def n_parameters(self) -> int:
        """A location and a scale for each state, less what is held."""
        return free_entries(self)

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return {**self.parameters, "at_floor": self.at_floor}

    @property
    def at_constraint(self) -> bool:
        return self.at_floor is not None and bool(self.at_floor.any())

    @property
    def events(self) -> tuple[str, ...]:
        if self.at_floor is None or not self.at_floor.any():
            return ()
        states = ", ".join(map(str, np.flatnonzero(self.at_floor)))
        return (
            f"the scale of state {states} is at its floor, {self.floor:g} of the data's mean "
            "absolute deviation",
        )

    # -- data ----------------------------------------------------------------------------------

    def check(self, value: Array) -> Array:
        array = check_real(check_column(value, "Laplace"))
        return array.astype(float, copy=False)

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        ones = np.ones(len(value)) if weights is None else weights
        middle = weighted_median(value, ones[:, None])[0]
        deviation = np.average(np.abs(value - middle), weights=ones)
        return attrs.evolve(self, reference=_Spread(float(deviation)))

    def check_fit(self) -> None:
        if self.reference is not None and not self.reference.deviation and not self.held:
            raise Unsuitable(
                "vary because the likelihood of {node} has no maximum where all values are equal",
                "a constant column",
                "Drop that column, or fix its parameters.",
            )

    def dissimilarity(self, value: Array, other: Array) -> Array:
        unit = 1.0 if self.reference is None else self.reference.deviation or 1.0
        distance: Array = np.abs(value[:, None] - other) / unit
        return distance

    # -- the two methods -----------------------------------------------------------------------

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``."""
        location, scale = self.known()
        with naming("Laplace"):
            value = check_column(np.asarray(value), "Laplace")
        x = value.reshape(-1, *(1,) * location.ndim)
        with np.errstate(over="ignore"):  # a density of 0, of what is that far off
            return np.asarray(-np.abs(x - location) / scale - np.log(2.0 * scale))

    def fit(self, value: Array, weights: Array) -> Self:
        parents = weights.shape[1:]
        bound = self if self.reference is not None else self.bind(value)
        bound = bound.flatten(parents) if self.held else bound
        return bound._fit(value, weights.reshape(len(weights), -1)).unflatten(parents)

    def _fit(self, value: Array, weights: Array) -> Self:
        held = self._held_value("location")
        location = weighted_median(value, weights) if held is None else held
        if "scale" in self.held:
            return attrs.evolve(self, location=location)
        share = weights / np.maximum(weights.sum(axis=0), np.finfo(float).tiny)
        deviation = np.einsum("nk,nk->k", share, np.abs(value[:, None] - location))
        return attrs.evolve(self, location=location, **self._above_floor(deviation))

    def _above_floor(self, deviation: Array) -> dict[str, Any]:
        """Return the scales, no smaller than the floor, and which are at it."""
        assert self.reference is not None
        # Of equal values that stand alone the floor is that of a unit.
        smallest = self.floor * (self.reference.deviation or 1.0)
        return {"scale": np.maximum(deviation, smallest), "at_floor": deviation < smallest}

    def feasible(self) -> Self:
        if self.reference is None or not self.is_parameterised or "scale" in self.held:
            return self
        return attrs.evolve(self, **self._above_floor(self.known()[1]))

    def directions(self) -> list[dict[str, Array]]:
        """Vary the scales; by a location that a row is on the likelihood has no derivative."""
        _, scale = self.known()
        if "scale" in self.held:
            return []
        held = np.zeros(scale.shape, bool) if self.at_floor is None else self.at_floor
        return [{"scale": move} for move in single_moves(np.where(held, 0.0, scale))]

    def expected_value(self) -> Array:
        """Return the means, ``(*parents,)``, which are the locations."""
        return self.known()[0]

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one value for each parent state, ``(n,)``."""
        location, scale = self.known()
        return rng.laplace(location[state], scale[state])


def weighted_median(value: Array, weights: Array) -> Array:
    """Return the median ``(K,)`` of values ``(n,)`` under each column of weights ``(n, K)``.

    Halfway between two values that split the weight equally, to rounding; rows without weight do
    not count.
    """
    order = np.argsort(value, kind="stable")
    below = np.cumsum(weights[order], axis=0)
    half = 0.5 * below[-1]
    rounding = len(value) * np.finfo(float).eps * half
    low = value[order[np.argmax(below >= half - rounding, axis=0)]]
    high = value[order[np.argmax(below > half + rounding, axis=0)]]
    middle: Array = low + 0.5 * (high - low)
    return middle
