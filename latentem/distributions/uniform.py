"""The Uniform distribution on an interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import Distribution, free_entries, parameter
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
class _Range:
    """The range of the data, and the narrowest interval that numbers of their size can have."""

    width: float
    finest: float


@attrs.frozen(eq=False, repr=False)
class Uniform(Distribution):
    r"""Uniform distribution on an interval.

    .. math:: {log_density}, \qquad
              {update}

    (Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 2, 1995, section 26.3.) The
    ends depend on which rows have weight and not on how much: EM can move a row out of a state's
    interval but never into it, so its answer is as good as its start. As one state among others,
    for background noise over a known range, `fixed` parameters are the usual choice. It is no
    exponential family: the maximiser is an extreme and not a sum, and there is no fit in a stream.

    Parameters
    ----------
    low, high : array, (\*parents,), optional
        The ends of the interval, both included.
    floor : float
        Smallest allowed width, in units of the range of the data: a state whose values are all
        equal would have none. The fit is an exact maximiser under this constraint, the one in the
        middle, and says when it is active.
    held : tuple of str
        The end that is held at its value while the other is fitted, ``("low",)`` or ``("high",)``.
        Follows from giving only one of them, which may be one for all states.

    Raises
    ------
    ModelError
        If a low end is not below its high end, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> lem.Uniform().fit(np.array([1.0, 4.0, 9.0]), np.array([1.0, 1.0, 0.0]))
    Uniform(low=array(1.), high=array(4.))
    >>> lem.Uniform(low=0.0).fit(np.array([1.0, 4.0, 9.0]), np.ones(3))
    Uniform(low=array(0.), high=array(9.))
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = -\log (h_k - l_k), \qquad "
            r"l_k \le x \le h_k"
        ),
        update=(
            r"\hat l_k = \min_{i : r_{ik} > 0} x_i, \qquad "
            r"\hat h_k = \max_{i : r_{ik} > 0} x_i"
        ),
        symbols={"l": "low", "h": "high"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"low": 0, "high": 0}
    holdable: ClassVar[tuple[str, ...]] = ("low", "high")
    bounds_support: ClassVar[bool] = True

    low: Array | None = parameter(converter=as_float_array)
    high: Array | None = parameter(converter=as_float_array)
    floor: float = attrs.field(default=1e-9, kw_only=True, validator=check_floor)
    held: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_names)
    reference: _Range | None = attrs.field(default=None, kw_only=True)
    at_floor: Array | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_held(self)
        for name, end in self.parameters.items():
            if end is not None and not np.all(np.isfinite(end)):
                raise ModelError(f"Uniform: {name} must be finite, got {end}. Give a finite end.")
        if self.low is None or self.high is None:
            return
        if self.low.shape != self.high.shape:
            raise ModelError(
                "Uniform: low and high must have one entry each for each state, got shapes "
                f"{self.low.shape} and {self.high.shape}. Repeat the one that is shared."
            )
        if not np.all((self.low < self.high) & np.isfinite(self.high - self.low)):
            raise ModelError(
                "Uniform: low must be below high and both finite, got "
                f"{self.low} and {self.high}. Give an interval for each state."
            )

    def __repr__(self) -> str:
        known = {name: array for name, array in self.parameters.items() if array is not None}
        return f"Uniform({', '.join(f'{name}={array!r}' for name, array in known.items())})"

    def known(self) -> tuple[Array, Array]:
        """Return the ends, or raise `ModelError`."""
        if self.low is None or self.high is None:
            raise ModelError(
                "Uniform must have a low and a high end to be evaluated or sampled, got a "
                "template. Fit it, or give both."
            )
        return self.low, self.high

    @property
    def n_parameters(self) -> int:
        """The ends of all intervals, less those that are held."""
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
        return (f"the width of state {states} is at its floor, {self.floor:g} of the data's range",)

    def check(self, value: Array) -> Array:
        array = check_real(check_column(value, "Uniform"))
        return array.astype(float, copy=False)

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        reach = float(np.abs(value).max(initial=0.0))
        width = float(value.max(initial=-reach) - value.min(initial=reach))
        return attrs.evolve(self, reference=_Range(width, 16 * float(np.spacing(reach))))

    def check_fit(self) -> None:
        if self.reference is not None and not self.reference.width and not self.held:
            raise Unsuitable(
                "vary because the likelihood of {node} has no maximum where all values are equal",
                "a constant column",
                "Drop that column, or fix its parameters.",
            )

    def dissimilarity(self, value: Array, other: Array) -> Array:
        width = 1.0 if self.reference is None else self.reference.width or 1.0
        # In units of the standard deviation of a Uniform distribution over all of the data.
        return 12.0 * np.square((value[:, None] - other) / width)

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; -inf outside the interval."""
        low, high = self.known()
        with naming("Uniform"):
            value = check_column(np.asarray(value), "Uniform")
        x = value.reshape(-1, *(1,) * low.ndim)
        return np.where((x >= low) & (x <= high), -np.log(high - low), -np.inf)

    def fit(self, value: Array, weights: Array) -> Self:
        counted = weights > 0
        counted |= ~counted.any(axis=0)  # a state without weight: its caller keeps the old one
        bound = self if self.reference is not None else self.bind(value)
        x = value.reshape(-1, *(1,) * (weights.ndim - 1))
        low = np.where(counted, x, np.inf).min(axis=0)
        high = np.where(counted, x, -np.inf).max(axis=0)
        if "low" in self.held:
            low = np.broadcast_to(np.asarray(self.low), low.shape)
        if "high" in self.held:
            high = np.broadcast_to(np.asarray(self.high), high.shape)
        return bound._apart(low, high)

    def _apart(self, low: Array, high: Array) -> Self:
        """Return the same with these ends, those that are free far enough apart."""
        assert self.reference is not None
        finest = 16 * np.spacing(np.maximum(np.abs(low), np.abs(high)))
        finest = np.maximum(finest, self.reference.finest)
        narrowest = np.maximum(self.floor * self.reference.width, finest)
        at_floor = high - low < narrowest
        middle = low + 0.5 * (high - low)
        lower, upper = middle - 0.5 * narrowest, middle + 0.5 * narrowest
        if "low" in self.held:
            lower, upper = low, low + narrowest
        if "high" in self.held:
            lower, upper = high - narrowest, high
        return attrs.evolve(
            self,
            low=np.where(at_floor, lower, low),
            high=np.where(at_floor, upper, high),
            at_floor=at_floor,
        )

    def feasible(self) -> Self:
        if self.reference is None or not self.is_parameterised:
            return self
        return self._apart(*self.known())

    def directions(self) -> list[dict[str, Array]]:
        """None: the likelihood has no derivative by an end that a row is on."""
        self.known()
        return []

    def expected_value(self) -> Array:
        """Return the middles, ``(*parents,)``."""
        low, high = self.known()
        return np.asarray(low + 0.5 * (high - low))

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one value for each parent state, ``(n,)``."""
        low, high = self.known()
        return rng.uniform(low[state], high[state])
