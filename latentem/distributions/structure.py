"""What a covariance structure is: what the states share, and the maximiser that follows.

All act in standardised units, on arrays whose last axes are as said; leading axes are the states.
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.spectra import common_axes, pooled, spectra
from latentem.errors import ModelError

Feature = Literal["equal", "varying"]
#: Axes ``(K, d, d)`` in columns, and the standard deviations along them ``(K, d)``.
Eigen = tuple[Array, Array]


def _check_feature(instance: Any, attribute: Any, value: object) -> None:
    if value not in ("equal", "varying"):
        raise ModelError(
            f"{type(instance).__name__}: {attribute.name} must be 'equal' or 'varying' between the "
            f"states, got {value!r}. Choose one of these."
        )


@attrs.frozen
class Structure(abc.ABC):
    """A set of allowed covariance matrices, closed under scaling.

    Attributes
    ----------
    volume, shape, orientation : {"equal", "varying"}
        What the states share. The shape may also be ``"spherical"``, the orientation ``"axes"``.
    """

    word: ClassVar[str]
    volume: Feature = attrs.field(default="varying", validator=_check_feature)
    shape: str = attrs.field(default="varying", validator=_check_feature)
    orientation: str = attrs.field(default="varying", validator=_check_feature)

    # -- names and numbers ---------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The word for it where each state has its own, else its three letters."""
        return self.word if self == type(self)() else self.letters

    @property
    def letters(self) -> str:
        """Its three letters."""
        letter = {"equal": "E", "varying": "V", "spherical": "I", "axes": "I"}
        return "".join(letter[f] for f in (self.volume, self.shape, self.orientation))

    @cached_property
    def pooled(self) -> Structure:
        """The same structure with one matrix for all states."""
        own: dict[str, Any] = {f.name: "equal" for f in attrs.fields(type(self)) if f.init}
        return attrs.evolve(self, **own)

    @cached_property
    def is_shared(self) -> bool:
        """Whether all states have one matrix."""
        return self == self.pooled

    @cached_property
    def is_linear(self) -> bool:
        """Whether its matrices are a linear space: each state free, or all with one matrix."""
        return self == type(self)() or self.is_shared

    def n_parameters(self, k: int, d: int) -> int:
        """Return the number of free parameters of k matrices (Celeux and Govaert 1995, table 1)."""
        counts = {"equal": 1, "varying": k, "spherical": 0, "axes": 0}
        return (
            counts[self.volume]
            + counts[self.shape] * (d - 1)
            + counts[self.orientation] * (d * (d - 1) // 2)
        )

    def common_scale(self, scale: Array) -> Array:
        """Return the scale ``(d,)`` of the columns in which the structure keeps its shape.

        Their own, unless a change of one column's unit would leave the structure: it turns axes,
        and stretches matrices of the same shape unalike if their axes are not the same too.
        """
        if self.orientation == "axes" or self.shape == self.orientation:
            return scale
        return root_mean_square(scale)

    # -- second moments of rows ----------------------------------------------------------------

    @abc.abstractmethod
    def n_moments(self, d: int) -> int:
        """Return q, the number of second moments needed: as many as one matrix has parameters."""

    @abc.abstractmethod
    def pairs(self, d: int) -> Array | None:
        """Return the two columns, from 0, whose product each moment is, ``(q, 2)``; else None."""

    @abc.abstractmethod
    def moments_into(self, out: Array, z: Array) -> None:
        """Write the second moments of each column of z ``(d, rows)`` into out ``(q, rows)``."""

    @abc.abstractmethod
    def weighted_moments(self, z: Array, weights: Array) -> Array:
        """Return the sum over rows of the weighted second moments, ``(q,)``."""

    @abc.abstractmethod
    def of_products(self, products: Array) -> Array:
        """Return the second moments ``(..., q)`` of products z z' ``(..., d, d)``."""

    @abc.abstractmethod
    def coefficients(self, precision: Array) -> Array:
        """Return c ``(..., q)`` with c . moments(z) = -z' precision z / 2."""

    @abc.abstractmethod
    def covariance(self, moments: Array, mean: Array) -> Array:
        """Return the maximum-likelihood matrix ``(..., d, d)`` of mean moments ``(..., q)``.

        Of a state that shares nothing: its scatter about the mean.
        """

    # -- the maximiser -------------------------------------------------------------------------

    def of_scatter(self, scatter: Array, weight: Array) -> Array | None:
        """Return the maximum-likelihood matrices ``(K, d, d)``, or None if it takes their roots.

        Parameters
        ----------
        scatter : array, (K, d, d)
            Mean products of deviations, as `covariance` returns them.
        weight : array, (K,)
            The number of rows behind each.
        """
        if not self.is_linear:
            return None
        if self.volume == "varying":
            return scatter
        mean = np.tensordot(weight, scatter, axes=weight.ndim) / weight.sum()
        return np.broadcast_to(mean, scatter.shape)

    def maximum(self, root: Array, weight: Array, floor: float, old: Eigen | None = None) -> Eigen:
        """Return the maximum-likelihood matrices of this structure, by axes and deviations.

        With known axes it is the one maximum under variances >= floor. Common axes are a local one,
        not below the old matrices.

        Parameters
        ----------
        root : array, (K, d, r)
            R with R R' the scatter of each state.
        weight : array, (K,)
            The number of rows behind each; a state without rows takes part with the scatter given
            for it, to which what the states do not share is fitted.
        floor : float
            Smallest variance allowed in any direction.
        old : tuple of array, optional
            Axes and deviations before, to start from.

        Returns
        -------
        tuple of array
            Axes ``(K, d, d)``, in columns, and the standard deviations along them, ``(K, d)``.
        """
        share = weight / weight.sum()
        root = self._nearest(root)
        if self.is_linear:
            if self.volume == "equal":
                one = pooled(root, share)
                root = np.broadcast_to(one, (*weight.shape, *one.shape))
            axes, sizes, _ = np.linalg.svd(root, full_matrices=False)
            return axes, np.maximum(sizes, np.sqrt(floor))
        kind = (self.volume == "equal", self.shape == "equal")
        before = None if old is None else np.square(old[1])
        if self.orientation == "equal":
            start = None if old is None or before is None else (old[0][0], before)
            one, variances = common_axes(kind, root, share, floor, start)
            axes = np.broadcast_to(one, (*weight.shape, *one.shape))
        elif self.orientation == "axes":
            axes = np.broadcast_to(np.eye(root.shape[1]), (*weight.shape, *root.shape[1:2] * 2))
            variances = spectra(kind, row_norms(root) ** 2, share, floor, before)
        else:  # the scatters' own axes, in the order of their variances
            axes, sizes, _ = np.linalg.svd(root, full_matrices=False)
            variances = spectra(kind, np.square(sizes), share, floor, before)
        return axes, np.sqrt(variances)

    @abc.abstractmethod
    def _nearest(self, root: Array) -> Array:
        """Return a root of what counts of R R' in the likelihood of one state by itself."""

    def allows(self, covariance: Array) -> bool:
        """Return whether positive matrices ``(..., d, d)`` have this structure, to rounding."""
        if self.is_linear:
            return self._allows_each(covariance)
        d = covariance.shape[-1]
        flat = covariance.reshape(-1, d, d)
        scale = self.common_scale(np.sqrt(np.diagonal(flat, axis1=-2, axis2=-1).mean(axis=0)))
        values, vectors = np.linalg.eigh(flat / scale / scale[:, None])
        root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        axes, sizes = self.maximum(root, np.ones(len(flat)), 1e-100)
        nearest = np.swapaxes(axes, -1, -2) / sizes[..., None] @ root
        unit = nearest @ np.swapaxes(nearest, -1, -2)
        # Of a matrix close to singular, the small variances are known to fewer digits.
        smallest = values.min(axis=-1, keepdims=True) / values.max(axis=-1, keepdims=True)
        rounding = 1e-9 + 1e-14 / np.maximum(smallest, 1e-14)
        return bool(np.all(np.abs(unit - np.eye(d)) <= rounding[..., None]))

    @abc.abstractmethod
    def _allows_each(self, covariance: Array) -> bool:
        """Return whether each of the matrices ``(..., d, d)``, by itself, has this structure."""

    # -- neighbours ----------------------------------------------------------------------------

    @abc.abstractmethod
    def directions(self, d: int) -> Array:
        """Return a basis ``(q, d, d)`` of the matrices that are allowed to one state by itself."""

    def moves(self, axes: Array, sizes: Array, free: Array) -> Iterator[Array]:
        """Yield changes ``(K, d, d)`` of the matrices, one for each parameter that can move.

        Tangents to the structure where it is curved, of the size of the matrices themselves. States
        that are not ``free`` (a mask), and what others share with them, stay.
        """
        root = axes * sizes[..., None, :]
        for sharing, basis in self._generators(sizes):
            moved = root @ basis @ np.swapaxes(root, -1, -2)
            groups = (
                np.eye(len(free), dtype=bool)
                if sharing == "varying"
                else np.ones((1, len(free)), bool)
            )
            for states in groups:
                if free[states].all() and basis[states].any():
                    yield np.where(states[:, None, None], moved, 0.0)

    def _generators(self, sizes: Array) -> Iterator[tuple[str, Array]]:
        """Yield moves ``(K, d, d)`` in units of the roots, and whether states move together."""
        (k, d), one = sizes.shape, np.eye(sizes.shape[1])
        if self.is_linear:
            for move in self.directions(d):
                yield self.volume, np.broadcast_to(move, (k, d, d))
            return
        yield self.volume, np.broadcast_to(one, (k, d, d))
        for i in range(1, d):
            yield self.shape, np.broadcast_to(np.diag(one[i] - one[0]), (k, d, d))
        if self.orientation == "axes":
            return
        for i, j in itertools.combinations(range(d), 2):
            # A turn in the plane of two axes: none, if the deviations along them are the same.
            ratio = sizes[:, i] / sizes[:, j]
            turn = ratio - 1.0 / ratio
            largest = np.abs(turn).max() if self.orientation == "equal" else np.abs(turn)
            turn = np.where(np.abs(turn) > 1e-6, turn, 0.0) / np.maximum(largest, 1e-6)
            yield (
                self.orientation,
                turn[:, None, None] * (np.outer(one[i], one[j]) + np.outer(one[j], one[i])),
            )


def row_norms(root: Array) -> Array:
    """Return the square roots of the diagonal of R R', ``(..., d)``."""
    norms: Array = np.sqrt(np.square(root).sum(axis=-1))
    return norms


def root_mean_square(scale: Array) -> Array:
    """Return the root mean square over the last axis, for each of its entries; no overflow."""
    largest = scale.max(axis=-1, keepdims=True, initial=0.0)
    ratio = scale / np.where(largest > 0, largest, 1.0)
    mean: Array = largest * np.sqrt(np.mean(np.square(ratio), axis=-1, keepdims=True))
    return np.broadcast_to(mean, scale.shape)
