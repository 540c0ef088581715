"""The neighbourhood of a fit: legal parameters close to it, whatever their constraints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from latentem.distributions import Array, Distribution

# Relative moves of a parameter that must not raise the weighted log-likelihood.
STEPS = (0.02, -0.02, 0.001, -0.001)

Neighbours = Iterator[tuple[str, Distribution]]


@attrs.frozen(eq=False)
class Moves:
    """The directions in which fits to other weights move the parameters.

    Simplices, symmetric matrices, diagonals and parameters shared between states are linear
    constraints, so a move within the span of these directions keeps to them, whatever they are.

    Attributes
    ----------
    fitted : Distribution
    names : tuple of (str, tuple of int)
        Parameter and index of every number.
    centre : array, (p,)
        The parameters of the fit.
    scale : array, (p,)
        How far fits to other weights move each number.
    differences : array, (m, p)
        Other fits minus the fit, in units of ``scale``.
    basis : array, (r, p)
        Orthonormal basis of their span.
    """

    fitted: Distribution
    names: tuple[tuple[str, tuple[int, ...]], ...]
    centre: Array
    scale: Array
    differences: Array
    basis: Array

    @classmethod
    def of(cls, fitted: Distribution, others: Sequence[Distribution]) -> Moves:
        """Find the directions from the fits to other weights, more than there are numbers."""
        names = tuple(
            (name, index)
            for name, array in _float_parameters(fitted).items()
            for index in np.ndindex(array.shape)
        )
        centre = numbers(fitted)
        differences = np.array([numbers(other) - centre for other in others])
        scale = np.abs(differences).max(axis=0, initial=0.0)
        scale = np.where(scale > 1e-12 * np.abs(centre), scale, 0.0)
        differences = np.divide(differences, scale, where=scale > 0, out=np.zeros_like(differences))
        _, size, rows = np.linalg.svd(differences, full_matrices=False)
        basis = rows[size > 1e-6 * size.max(initial=0.0)]
        return cls(fitted, names, centre, scale, differences, basis)

    def contains(self, direction: Array) -> bool:
        """Return whether a direction, in units of ``scale``, keeps to the family."""
        rest = direction - (direction @ self.basis.T) @ self.basis
        return bool(np.linalg.norm(rest) < 1e-6 * np.linalg.norm(direction))

    def single(self) -> Neighbours:
        """Move one number at a time, where that keeps to the family."""
        for i, (name, index) in enumerate(self.names):
            direction = np.zeros_like(self.centre)
            direction[i] = 1.0
            if self.scale[i] and self.contains(direction):
                size = abs(self.centre[i]) or self.scale[i]
                yield from self._along(f"moving {_element(name, index)} by", direction * size)

    def joint(self) -> Neighbours:
        """Move the parameters of one state, or all, some of the way to the fit of other weights."""
        states = sorted({(name, index[:1]) for name, index in self.names})
        for difference in self.differences[:8]:
            for name, state in states:
                mask = np.array([(n, i[:1]) == (name, state) for n, i in self.names])
                direction = difference * mask
                if direction.any() and self.contains(direction):
                    words = f"moving {_element(name, state)} towards its value for other weights by"
                    yield from self._along(words, direction * self.scale)
            words = "moving all parameters towards their values for other weights by"
            yield from self._along(words, difference * self.scale)

    def _along(self, words: str, direction: Array) -> Neighbours:
        for step in STEPS:
            try:
                moved = _with(self.fitted, self.centre + step * direction)
            except ValueError:  # outside the domain
                continue
            yield f"{words} {100 * step:+g}%", moved


def _element(name: str, index: tuple[int, ...]) -> str:
    return f"`{name}[{', '.join(map(str, index))}]`" if index else f"`{name}`"


def fields(dist: Distribution) -> set[str]:
    """Return the names of the attrs fields."""
    kind: Any = type(dist)
    return {field.name for field in attrs.fields(kind)}


def numbers(dist: Distribution) -> Array:
    """Return all real parameters, flat."""
    arrays = _float_parameters(dist).values()
    return np.concatenate([np.zeros(0), *(array.ravel() for array in arrays)])


def _float_parameters(dist: Distribution) -> dict[str, Array]:
    return {
        name: array
        for name, array in dist.parameters.items()
        if array is not None and array.dtype.kind == "f"
    }


def _with(dist: Distribution, flat: Array) -> Distribution:
    """Return the distribution with other real parameters."""
    parameters = _float_parameters(dist)
    cuts = np.cumsum([array.size for array in parameters.values()])[:-1]
    pairs = zip(parameters.items(), np.split(flat, cuts), strict=True)
    return _replaced(dist, {name: part.reshape(array.shape) for (name, array), part in pairs})


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
