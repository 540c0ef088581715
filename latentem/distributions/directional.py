"""What the distributions of directions share."""

from __future__ import annotations

import abc
from typing import ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import ExponentialFamily, parameter, single_moves
from latentem.distributions.bessel import concentration_of, mean_length
from latentem.distributions.checks import as_names, check_held
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

    holdable: ClassVar[tuple[str, ...]] = ("mean", "concentration")

    mean: Array | None = parameter(converter=as_float_array)
    concentration: Array | None = parameter(converter=as_float_array)
    largest_concentration: float = attrs.field(default=1e8, kw_only=True, validator=check_limit)
    held: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_names)
    reference: Pole | None = attrs.field(default=None, kw_only=True)
    at_limit: Array | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        name = type(self).__name__
        check_held(self)
        mean, kappa = self.mean, self.concentration
        if mean is not None and not np.all(np.isfinite(mean)):
            raise ModelError(f"{name}: mean must be finite, got {mean}. Give directions.")
        if kappa is None:
            return
        if not (np.all(np.isfinite(kappa)) and np.all(kappa >= 0)):
            raise ModelError(
                f"{name}: concentration must be finite and not negative, got {kappa}. "
                "Give 0 for the uniform distribution."
            )
        if mean is not None and kappa.shape != mean.shape[: mean.ndim - self.trailing_axes["mean"]]:
            raise ModelError(
                f"{name}: concentration must have one entry for each mean, got shapes "
                f"{kappa.shape} and {mean.shape}. Repeat one that is shared."
            )

    def __repr__(self) -> str:
        known = {name: array for name, array in self.parameters.items() if array is not None}
        return f"{type(self).__name__}({', '.join(f'{name}={a!r}' for name, a in known.items())})"

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
        if self.reference is not None and not self.reference.spread and not self.held:
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

    def towards(self, mean: Array, length: Array, square: Array, d: int) -> Self:
        """Return the maximiser for mean vectors of length R, given also 1 - R^2."""
        if "concentration" in self.held:
            return attrs.evolve(self, mean=mean)
        length = np.minimum(length, 1.0)
        return self.about_mean(mean, length, square / (1.0 + length), d)

    def about_mean(self, mean: Array, length: Array, rest: Array, d: int) -> Self:
        """Return the best about these directions for the mean of mu.x, given also 1 minus it."""
        length = np.maximum(length, 0.0)
        _, smallest = mean_length(np.asarray(self.largest_concentration), d)
        at_limit = rest < smallest
        kappa = concentration_of(length, np.maximum(rest, smallest), d)
        kappa = np.where(at_limit, self.largest_concentration, kappa)
        kappa = np.minimum(kappa, self.largest_concentration)
        return attrs.evolve(self, mean=mean, concentration=kappa, at_limit=at_limit)

    def feasible(self) -> Self:
        if self.concentration is None or "concentration" in self.held:
            return self
        most = np.minimum(self.concentration, self.largest_concentration)
        return attrs.evolve(self, concentration=most)

    def concentration_moves(self) -> list[dict[str, Array]]:
        """Return the moves of the concentrations that are between 0 and the largest."""
        _, kappa = self.known()
        if "concentration" in self.held:
            return []
        held = False if self.at_limit is None else self.at_limit
        return [{"concentration": move} for move in single_moves(np.where(held, 0.0, kappa))]
