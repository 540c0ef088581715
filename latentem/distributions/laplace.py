"""The Laplace distribution of a scalar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import Distribution, parameter, single_moves
from latentem.distributions.checks import check_column, check_floor, check_real, naming
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

    Raises
    ------
    ModelError
        If a scale is not positive and finite, only one is given, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> lem.Laplace().fit(np.array([1.0, 2.0, 9.0]), np.ones(3))
    Laplace(location=array(2.), scale=array(2.66666667))
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

    location: Array | None = parameter(converter=as_float_array)
    scale: Array | None = parameter(converter=as_float_array)
    floor: float = attrs.field(default=1e-9, kw_only=True, validator=check_floor)
    reference: _Spread | None = attrs.field(default=None, kw_only=True)
    at_floor: Array | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.location is None and self.scale is None:
            return
        if self.location is None or self.scale is None:
            raise ModelError(
                "Laplace: location and scale must be given both or neither, got only a "
                f"{'location' if self.scale is None else 'scale'}. Give both, or neither to fit "
                "them."
            )
        if self.location.shape != self.scale.shape:
            raise ModelError(
                "Laplace: location and scale must have one entry each for each state, got shapes "
                f"{self.location.shape} and {self.scale.shape}. Repeat the one that is shared."
            )
        if not np.all(np.isfinite(self.location)):
            raise ModelError(
                f"Laplace: location must be finite, got {self.location}. Give finite locations."
            )
        if not np.all((self.scale > 0) & np.isfinite(self.scale)):
            raise ModelError(
                f"Laplace: scale must be positive and finite, got {self.scale}. "
                "Give a positive scale."
            )

    def __repr__(self) -> str:
        if self.location is None:
            return "Laplace()"
        return f"Laplace(location={self.location!r}, scale={self.scale!r})"

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
        """A location and a scale for each state."""
        return 0 if self.location is None else 2 * self.location.size

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
        if self.reference is not None and not self.reference.deviation:
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
        bound = self if self.reference is not None else self.bind(value)
        flat = weights.reshape(len(weights), -1)
        location = weighted_median(value, flat)
        share = flat / np.maximum(flat.sum(axis=0), np.finfo(float).tiny)
        deviation = np.einsum("nk,nk->k", share, np.abs(value[:, None] - location))
        return bound._of(location, deviation, weights.shape[1:])

    def _of(self, location: Array, deviation: Array, parents: tuple[int, ...]) -> Self:
        """Return the distribution with these parameters, the scales no smaller than the floor."""
        assert self.reference is not None
        # Of equal values that stand alone the floor is that of a unit.
        smallest = self.floor * (self.reference.deviation or 1.0)
        return attrs.evolve(
            self,
            location=location.reshape(parents),
            scale=np.maximum(deviation, smallest).reshape(parents),
            at_floor=(deviation < smallest).reshape(parents),
        )

    def feasible(self) -> Self:
        if self.reference is None or not self.is_parameterised:
            return self
        location, scale = self.known()
        return self._of(location, scale, scale.shape)

    def directions(self) -> list[dict[str, Array]]:
        """Vary the scales; by a location that a row is on the likelihood has no derivative."""
        _, scale = self.known()
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
