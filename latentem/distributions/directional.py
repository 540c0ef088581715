"""What the distributions of directions share."""

from __future__ import annotations

import abc
from typing import Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import ExponentialFamily, parameter, single_moves
from latentem.distributions.bessel import concentration_of, mean_length
from latentem.distributions.positive import check_limit
from latentem.errors import ModelError, Unsuitable


@attrs.frozen(eq=False)
class Pole:
    """What is taken from directions once.

    Attributes
    ----------
    centre : array, () or (d,)
        Their mean direction, about which statistics are taken; 0 where they have none.
    spread : float
        Their mean squared distance, as unit vectors, to their mean vector; 0 if all are equal.
    """

    centre: Array
    spread: float


@attrs.frozen(eq=False, repr=False)
class Directional(ExponentialFamily):
    """What both share: a mean direction and a concentration for each state."""

    mean: Array | None = parameter(converter=as_float_array)
    concentration: Array | None = parameter(converter=as_float_array)
    largest_concentration: float = attrs.field(default=1e8, kw_only=True, validator=check_limit)
    reference: Pole | None = attrs.field(default=None, kw_only=True)
    at_limit: Array | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        name = type(self).__name__
        if self.mean is None and self.concentration is None:
            return
        if self.mean is None or self.concentration is None:
            raise ModelError(
                f"{name}: mean and concentration must be given both or neither, got only a "
                f"{'mean' if self.concentration is None else 'concentration'}. Give both, or "
                "neither to fit them."
            )
        states = self.mean.shape[: self.mean.ndim - self.trailing_axes["mean"]]
        if self.concentration.shape != states:
            raise ModelError(
                f"{name}: concentration must have one entry for each mean, got shapes "
                f"{self.concentration.shape} and {self.mean.shape}. Repeat one that is shared."
            )
        if not (np.all(np.isfinite(self.concentration)) and np.all(self.concentration >= 0)):
            raise ModelError(
                f"{name}: concentration must be finite and not negative, got "
                f"{self.concentration}. Give 0 for the uniform distribution."
            )
        if not np.all(np.isfinite(self.mean)):
            raise ModelError(f"{name}: mean must be finite, got {self.mean}. Give directions.")

    def __repr__(self) -> str:
        name = type(self).__name__
        if not self.is_parameterised:
            return f"{name}()"
        return f"{name}(mean={self.mean!r}, concentration={self.concentration!r})"

    def known(self) -> tuple[Array, Array]:
        """Return the mean directions and the concentrations, or raise `ModelError`."""
        if self.mean is None or self.concentration is None:
            raise ModelError(
                f"{type(self).__name__} must have a mean and a concentration to be evaluated or "
                "sampled, got a template. Fit it, or give both."
            )
        return self.mean, self.concentration

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
        largest = f"{self.largest_concentration:g}"
        return (f"the concentration is at its largest, {largest} (state {states})",)

    @abc.abstractmethod
    def vectors(self, value: Array) -> Array:
        """Return directions as unit vectors, ``(n, d)``."""

    @abc.abstractmethod
    def direction(self, vector: Array) -> Array:
        """Return the direction of a vector ``(d,)``, 0 if it has none."""

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        vectors = self.vectors(value)
        mean = np.average(vectors, axis=0, weights=weights)
        squares = np.square(vectors - mean).sum(axis=1)
        spread = float(np.average(squares, weights=weights)) if np.ptp(vectors, 0).any() else 0.0
        return attrs.evolve(self, reference=Pole(self.direction(mean), spread))

    def check_fit(self) -> None:
        if self.reference is not None and not self.reference.spread:
            raise Unsuitable(
                "vary because the likelihood of {node} has no maximum where all values are equal",
                "a constant direction",
                "Drop that column, or fix its parameters.",
            )

    def about(self, reference: Pole | None) -> Self:
        """Return the same distribution with statistics about another reference."""
        return self if reference is self.reference else attrs.evolve(self, reference=reference)

    def dissimilarity(self, value: Array, other: Array) -> Array:
        # Squared chords, in units of the spread of all directions.
        vectors, others = self.vectors(value), self.vectors(other)
        squares = [np.square(vectors - row).sum(axis=1) for row in others]
        spread = 1.0 if self.reference is None else self.reference.spread or 1.0
        distances: Array = np.stack(squares, axis=1) / spread
        return distances

    def at_maximum(self, mean: Array, length: Array, square: Array, d: int) -> Self:
        """Return the maximiser for mean vectors of length R, given also 1 - R^2."""
        length = np.minimum(length, 1.0)
        rest = square / (1.0 + length)
        _, smallest = mean_length(np.asarray(self.largest_concentration), d)
        at_limit = rest < smallest
        kappa = concentration_of(length, np.maximum(rest, smallest), d)
        kappa = np.where(at_limit, self.largest_concentration, kappa)
        kappa = np.minimum(kappa, self.largest_concentration)
        return attrs.evolve(self, mean=mean, concentration=kappa, at_limit=at_limit)

    def feasible(self) -> Self:
        if self.concentration is None:
            return self
        most = np.minimum(self.concentration, self.largest_concentration)
        return attrs.evolve(self, concentration=most)

    def concentration_moves(self) -> list[dict[str, Array]]:
        """Return the moves of the concentrations that are between 0 and the largest."""
        _, kappa = self.known()
        held = False if self.at_limit is None else self.at_limit
        return [{"concentration": move} for move in single_moves(np.where(held, 0.0, kappa))]
