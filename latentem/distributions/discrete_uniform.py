"""The Uniform distribution on a range of integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution, free_entries, parameter
from latentem.distributions.checks import as_names, check_column, check_held, naming
from latentem.distributions.formulas import Formulas
from latentem.errors import ModelError, Unsuitable

#: Larger integers are not exact in double precision.
LARGEST_INTEGER = 2**53


def _integers(value: Any) -> Array | None:
    if value is None:
        return None
    given = np.asarray(value)
    if given.dtype.kind not in "iuf" or not _are_integers(given).all():
        raise ModelError(
            f"DiscreteUniform: low and high must be integers, got {value}. "
            "Use Uniform() for an interval of real numbers."
        )
    return given.astype(np.int64)


def _are_integers(value: Array) -> Array:
    inside = (value > -LARGEST_INTEGER) & (value < LARGEST_INTEGER)
    whole: Array = inside & (value == np.floor(value))
    return whole


@attrs.frozen(eq=False, repr=False)
class DiscreteUniform(Distribution):
    r"""Uniform distribution on the integers from low to high, both included.

    .. math:: {log_density}, \qquad
              {update}

    (Johnson, Kemp and Kotz, Univariate Discrete Distributions, 3rd ed., 2005, section 6.10.1.) As
    for the continuous `Uniform`, the ends depend on which rows have weight and not on how much: EM
    can move a row out of a state's range but never into it, so its answer is as good as its start,
    and `fixed` ends are the usual choice. A state whose values are all equal is a point mass, and
    its likelihood is bounded, so no constraint is needed.

    Parameters
    ----------
    low, high : array of int, (\*parents,), optional
        The ends of the range, both included.
    held : tuple of str
        The end that is held at its value while the other is fitted, ``("low",)`` or ``("high",)``.
        Follows from giving only one of them, which may be one for all states.

    Raises
    ------
    ModelError
        If an end is no integer, a low end is above its high end, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> lem.DiscreteUniform().fit(np.array([1, 4, 9]), np.array([1.0, 1.0, 0.0]))
    DiscreteUniform(low=array(1), high=array(4))

    Numbers that count from 1, of which some have been seen:

    >>> lem.DiscreteUniform(low=1).fit(np.array([19, 40, 42, 60]), np.ones(4))
    DiscreteUniform(low=array(1), high=array(60))
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = -\log (h_k - l_k + 1), \qquad "
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

    low: Array | None = parameter(converter=_integers)
    high: Array | None = parameter(converter=_integers)
    held: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_names)
    #: The range of the data, in units of which seeds are compared.
    width: float | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_held(self)
        if self.low is None or self.high is None:
            return
        if self.low.shape != self.high.shape:
            raise ModelError(
                "DiscreteUniform: low and high must have one entry each for each state, got shapes "
                f"{self.low.shape} and {self.high.shape}. Repeat the one that is shared."
            )
        if not np.all(self.low <= self.high):
            raise ModelError(
                f"DiscreteUniform: low must not be above high, got {self.low} and {self.high}. "
                "Give a range for each state."
            )

    def __repr__(self) -> str:
        known = {name: array for name, array in self.parameters.items() if array is not None}
        return f"DiscreteUniform({', '.join(f'{name}={a!r}' for name, a in known.items())})"

    def known(self) -> tuple[Array, Array]:
        """Return the ends, or raise `ModelError`."""
        if self.low is None or self.high is None:
            raise ModelError(
                "DiscreteUniform must have a low and a high end to be evaluated or sampled, got a "
                "template. Fit it, or give both."
            )
        return self.low, self.high

    @property
    def n_parameters(self) -> int:
        """The ends of all ranges, less those that are held."""
        return free_entries(self)

    def check(self, value: Array) -> Array:
        value = check_column(value, "DiscreteUniform")
        wrong = ~_are_integers(value) if value.dtype.kind != "b" else np.zeros(len(value), bool)
        if wrong.any():
            row = int(wrong.argmax())
            raise Unsuitable(
                "be integers below 2**53 in size because {node} is DiscreteUniform",
                f"{value[row]:g} at row {row}",
                "Use Uniform() for real numbers.",
            )
        return value.astype(np.int64, copy=False)

    def supports(self, value: Array) -> Array:
        return _are_integers(value)

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        return attrs.evolve(self, width=float(np.ptp(value)) if len(value) else 0.0)

    def dissimilarity(self, value: Array, other: Array) -> Array:
        # In units of the standard deviation of a Uniform distribution over all of the data.
        difference = (value[:, None] - other) / (self.width or 1.0)
        return np.asarray(12.0 * np.square(difference))

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; -inf outside the range."""
        low, high = self.known()
        with naming("DiscreteUniform"):
            value = check_column(np.asarray(value), "DiscreteUniform")
        x = value.reshape(-1, *(1,) * low.ndim)
        inside = (x >= low) & (x <= high) & (x == np.floor(x))
        return np.where(inside, -np.log(high - low + 1.0), -np.inf)

    def fit(self, value: Array, weights: Array) -> Self:
        counted = weights > 0
        counted |= ~counted.any(axis=0)  # a state without weight: its caller keeps the old one
        x = value.reshape(-1, *(1,) * (weights.ndim - 1))
        low = np.where(counted, x, LARGEST_INTEGER).min(axis=0)
        high = np.where(counted, x, -LARGEST_INTEGER).max(axis=0)
        if "low" in self.held:
            low = np.broadcast_to(np.asarray(self.low), low.shape)
            high = np.maximum(low, high)
        if "high" in self.held:
            high = np.broadcast_to(np.asarray(self.high), high.shape)
            low = np.minimum(low, high)
        return attrs.evolve(self, low=low, high=high)

    def directions(self) -> list[dict[str, Array]]:
        """None: the likelihood has no derivative by an integer."""
        self.known()
        return []

    def expected_value(self) -> Array:
        """Return the middles, ``(*parents,)``."""
        low, high = self.known()
        return np.asarray(low + 0.5 * (high - low))

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one integer for each parent state, ``(n,)``."""
        low, high = self.known()
        draws: Array = rng.integers(low[state], high[state], endpoint=True)
        return draws
