"""The neighbourhood of a fit: legal parameters close to it, whatever their constraints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from latentem.distributions import Array, Distribution

# Relative moves of a parameter that must not raise the weighted log-likelihood.
STEPS = (0.02, -0.02, 0.001, -0.001)
# Relative size of what is no direction of its own, but curvature or rounding.
NEGLIGIBLE = 1e-6

Neighbours = Iterator[tuple[str, Distribution]]
Pair = tuple[Distribution, Distribution]


@attrs.frozen(eq=False)
class Moves:
    """The directions in which fits move the parameters as the weights change.

    Fits to nearby weights move along the tangents of the set of legal parameters, whatever its
    constraints; numbers that these leave where they are (medians, extremes) move as other weights
    move them. Fits to other weights show which parameters form a linear space (simplices, symmetric
    matrices, diagonals, parameters shared between states do; spheres and covariances with a common
    shape do not), and so may be moved along straight lines.

    Attributes
    ----------
    fitted : Distribution
    names : tuple of (str, tuple of int)
        Parameter and index of every number.
    centre : array, (p,)
        The parameters of the fit.
    scale : array, (p,)
        How far fits to nearby weights move each number, or if they do not, fits to other weights.
    differences : array, (m, p)
        Fits to other weights minus the fit, in units of ``scale``.
    basis : array, (r, p)
        Orthonormal basis of the tangents, in units of ``scale``.
    straight : array of bool, (p,)
        The numbers of real parameters that may be moved along straight lines.
    is_counted : bool
        Whether there were enough fits to tell the number of directions.
    """

    fitted: Distribution
    names: tuple[tuple[str, tuple[int, ...]], ...]
    centre: Array
    scale: Array
    differences: Array
    basis: Array
    straight: Array
    is_counted: bool

    @classmethod
    def of(
        cls, fitted: Distribution, nearby: Sequence[Pair], others: Sequence[Distribution]
    ) -> Moves:
        """Find the directions of fits to nearby weights, in opposite pairs, and to others."""
        centre = numbers(fitted)
        names = tuple(
            (name, index)
            for name, array in _numeric_parameters(fitted).items()
            for index in np.ndindex(array.shape)
        )
        steps = _steps(nearby)
        leaps = np.array([numbers(other) - centre for other in others])
        still = _reach(steps, centre) == 0
        scale = np.where(still, _reach(leaps, centre), _reach(steps, centre))
        smooth = _span(_in_units(steps, np.where(still, 0.0, scale)))
        abrupt = _span(_in_units(leaps, np.where(still, scale, 0.0)))
        basis = np.concatenate([smooth, abrupt])
        differences = _in_units(leaps, scale)
        own = [np.array([name == each for name, _ in names]) for each, _ in names]
        straight = np.zeros(len(names), dtype=bool)
        for mask in {tuple(mask): mask for mask in own}.values():
            straight |= mask & _within(differences * mask, _span(basis * mask))
        straight &= _within(differences * straight, _span(basis * straight))
        real = {name for name, array in _numeric_parameters(fitted).items() if _is_real(array)}
        straight &= np.array([name in real for name, _ in names], dtype=bool)
        is_counted = len(smooth) < len(nearby) and len(abrupt) < len(others)
        return cls(fitted, names, centre, scale, differences, basis, straight, is_counted)

    def contains(self, direction: Array) -> bool:
        """Return whether a direction, in units of ``scale``, keeps to the family."""
        return _within(direction[None], self.basis)

    def single(self) -> Neighbours:
        """Move one number at a time, where that keeps to the family."""
        for i, (name, index) in enumerate(self.names):
            direction = np.zeros_like(self.centre)
            direction[i] = 1.0
            if self.straight[i] and self.scale[i] and self.contains(direction):
                size = abs(self.centre[i]) or self.scale[i]
                yield from self._along(f"moving {_element(name, index)} by", direction * size)

    def tangents(self) -> Iterator[tuple[str, Distribution, Distribution, float]]:
        """Move one number at a time a little, up and down; yield the distance of the two too."""
        for i, (name, index) in enumerate(self.names):
            direction = np.zeros_like(self.centre)
            direction[i] = 1e-5 * (abs(self.centre[i]) + self.scale[i])
            if self.straight[i] and self.scale[i] and self.contains(direction):
                up = _with(self.fitted, self.centre + direction)
                down = _with(self.fitted, self.centre - direction)
                yield _element(name, index), up, down, 2 * float(direction[i])

    def joint(self) -> Neighbours:
        """Move the parameters of one state, or all, some of the way to the fit of other weights."""
        states = sorted({(name, index[:1]) for name, index in self.names})
        for difference in self.differences[:8]:
            for name, state in states:
                mask = np.array([(n, i[:1]) == (name, state) for n, i in self.names])
                mask &= self.straight
                direction = difference * mask
                if direction.any() and self.contains(direction):
                    words = f"moving {_element(name, state)} towards its value for other weights by"
                    yield from self._along(words, direction * self.scale)
            if self.straight.all():
                words = "moving all parameters towards their values for other weights by"
                yield from self._along(words, difference * self.scale)

    def _along(self, words: str, direction: Array) -> Neighbours:
        for step in STEPS:
            try:
                moved = _with(self.fitted, self.centre + step * direction)
            except ValueError:  # outside the domain
                continue
            yield f"{words} {100 * step:+g}%", moved


def unmoved(fitted: Distribution, nearby: Sequence[Pair]) -> int:
    """Return how many numbers are the same for all nearby weights."""
    return int(np.sum(_reach(_steps(nearby), numbers(fitted)) == 0))


def _steps(nearby: Sequence[Pair]) -> Array:
    # From one side to the other: what is of second order cancels.
    return np.array([0.5 * (numbers(one) - numbers(other)) for one, other in nearby])


def _reach(differences: Array, centre: Array) -> Array:
    """Return the largest size of each number's differences, 0 if they are rounding."""
    size = np.abs(differences).max(axis=0, initial=0.0)
    return np.where(size > 1e-12 * np.abs(centre), size, 0.0)


def _in_units(differences: Array, scale: Array) -> Array:
    return np.divide(differences, scale, where=scale > 0, out=np.zeros_like(differences))


def _span(vectors: Array) -> Array:
    """Return an orthonormal basis of the span of vectors ``(m, p)``."""
    _, size, rows = np.linalg.svd(vectors, full_matrices=False)
    basis: Array = rows[size > NEGLIGIBLE * size.max(initial=0.0)]
    return basis


def _within(vectors: Array, basis: Array) -> bool:
    """Return whether the span of an orthonormal basis holds all of ``vectors``."""
    rest = vectors - (vectors @ basis.T) @ basis
    size = np.linalg.norm(vectors, axis=1)
    return bool(np.all(np.linalg.norm(rest, axis=1) <= NEGLIGIBLE * size))


def _is_real(array: Array) -> bool:
    return array.dtype.kind == "f"


def _element(name: str, index: tuple[int, ...]) -> str:
    return f"`{name}[{', '.join(map(str, index))}]`" if index else f"`{name}`"


def fields(dist: Distribution) -> set[str]:
    """Return the names of the attrs fields."""
    kind: Any = type(dist)
    return {field.name for field in attrs.fields(kind)}


def numbers(dist: Distribution) -> Array:
    """Return the numbers of all parameters, flat."""
    arrays = _numeric_parameters(dist).values()
    return np.concatenate([np.zeros(0), *(array.ravel() for array in arrays)])


def _numeric_parameters(dist: Distribution) -> dict[str, Array]:
    return {
        name: array
        for name, array in dist.parameters.items()
        if array is not None and array.dtype.kind in "iuf"
    }


def _with(dist: Distribution, flat: Array) -> Distribution:
    """Return the distribution with other numbers for its real parameters."""
    parameters = _numeric_parameters(dist)
    cuts = np.cumsum([array.size for array in parameters.values()])[:-1]
    pairs = zip(parameters.items(), np.split(flat, cuts), strict=True)
    changes = {name: part.reshape(array.shape) for (name, array), part in pairs if _is_real(array)}
    return _replaced(dist, changes)


def _replaced(dist: Distribution, parameters: dict[str, Array]) -> Distribution:
    """Return the distribution with other parameters, those of its cases (`Switch`) included."""
    changes: dict[str, Any] = {}
    for name in fields(dist):
        inner = getattr(dist, name)
        if name in parameters:
            changes[name] = parameters[name]
        elif isinstance(inner, tuple) and inner and isinstance(inner[0], Distribution):
            changes[name] = tuple(
                _replaced(case, _below(f"{name}[{i}].", parameters)) for i, case in enumerate(inner)
            )
    return attrs.evolve(dist, **changes)  # type: ignore[misc]


def _below(prefix: str, parameters: dict[str, Array]) -> dict[str, Array]:
    return {
        name.removeprefix(prefix): array
        for name, array in parameters.items()
        if name.startswith(prefix)
    }
