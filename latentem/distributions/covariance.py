"""Covariance structures of a Gaussian: which second moments it needs, and its maximiser.

All act in standardised units, on arrays whose last axes are as said; leading axes are the states.
"""

from __future__ import annotations

import abc
import functools
from typing import ClassVar

import attrs
import numpy as np

from latentem.distributions.arrays import Array


class Structure(abc.ABC):
    """A set of allowed covariance matrices, closed under scaling."""

    __slots__ = ()
    name: ClassVar[str]

    @abc.abstractmethod
    def n_moments(self, d: int) -> int:
        """Return q, the number of second moments needed: as many as one matrix has parameters."""

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
        """Return the maximum-likelihood matrix ``(..., d, d)`` of mean moments ``(..., q)``."""

    @abc.abstractmethod
    def directions(self, d: int) -> Array:
        """Return a basis ``(q, d, d)`` of the symmetric matrices of this structure."""

    def allows(self, covariance: Array) -> bool:
        """Return whether matrices ``(..., d, d)`` have this structure, to rounding."""
        return True

    def common_scale(self, scale: Array) -> Array:
        """Return the scale ``(d,)`` of the columns in which the structure keeps its shape."""
        return scale


@functools.cache
def upper(d: int) -> tuple[Array, Array]:
    """Return row and column indices of the upper triangle of a d x d matrix."""
    return np.triu_indices(d)


@attrs.frozen
class Full(Structure):
    """Any symmetric positive definite matrix."""

    name: ClassVar[str] = "full"

    def n_moments(self, d: int) -> int:
        return d * (d + 1) // 2

    def moments_into(self, out: Array, z: Array) -> None:
        start = 0
        for i in range(len(z)):
            end = start + len(z) - i
            np.multiply(z[i:], z[i], out=out[start:end])
            start = end

    def weighted_moments(self, z: Array, weights: Array) -> Array:
        moments: Array = ((z * weights) @ z.T)[upper(len(z))]
        return moments

    def of_products(self, products: Array) -> Array:
        rows, columns = upper(products.shape[-1])
        moments: Array = products[..., rows, columns]
        return moments

    def coefficients(self, precision: Array) -> Array:
        rows, columns = upper(precision.shape[-1])
        return precision[..., rows, columns] * np.where(rows == columns, -0.5, -1.0)

    def covariance(self, moments: Array, mean: Array) -> Array:
        d = mean.shape[-1]
        rows, columns = upper(d)
        matrix = np.empty((*moments.shape[:-1], d, d))
        matrix[..., rows, columns] = moments
        matrix[..., columns, rows] = moments
        matrix -= mean[..., :, None] * mean[..., None, :]
        return matrix

    def directions(self, d: int) -> Array:
        rows, columns = upper(d)
        basis = np.zeros((len(rows), d, d))
        one_each = np.arange(len(rows))
        basis[one_each, rows, columns] = basis[one_each, columns, rows] = 1.0
        return basis


@attrs.frozen
class Diagonal(Structure):
    """Independent columns, each with its variance."""

    name: ClassVar[str] = "diagonal"

    def n_moments(self, d: int) -> int:
        return d

    def moments_into(self, out: Array, z: Array) -> None:
        np.square(z, out=out)

    def weighted_moments(self, z: Array, weights: Array) -> Array:
        return np.square(z) @ weights

    def of_products(self, products: Array) -> Array:
        return np.diagonal(products, axis1=-2, axis2=-1)

    def coefficients(self, precision: Array) -> Array:
        coefficients: Array = -0.5 * np.diagonal(precision, axis1=-2, axis2=-1)
        return coefficients

    def covariance(self, moments: Array, mean: Array) -> Array:
        variance: Array = moments - mean**2
        return variance[..., None] * np.eye(mean.shape[-1])

    def directions(self, d: int) -> Array:
        basis: Array = np.eye(d)[:, :, None] * np.eye(d)
        return basis

    def allows(self, covariance: Array) -> bool:
        variance = np.diagonal(covariance, axis1=-2, axis2=-1)
        return np.allclose(covariance, variance[..., None] * np.eye(variance.shape[-1]))


@attrs.frozen
class Spherical(Structure):
    """The same variance in every direction."""

    name: ClassVar[str] = "spherical"

    def n_moments(self, d: int) -> int:
        return 1

    def moments_into(self, out: Array, z: Array) -> None:
        np.einsum("dr,dr->r", z, z, out=out[0])

    def weighted_moments(self, z: Array, weights: Array) -> Array:
        return np.array([(np.square(z) @ weights).sum()])

    def of_products(self, products: Array) -> Array:
        trace: Array = np.trace(products, axis1=-2, axis2=-1)
        return trace[..., None]

    def coefficients(self, precision: Array) -> Array:
        coefficients: Array = -0.5 * precision[..., :1, 0]
        return coefficients

    def covariance(self, moments: Array, mean: Array) -> Array:
        d = mean.shape[-1]
        variance: Array = (moments[..., 0] - np.square(mean).sum(-1)) / d
        return variance[..., None, None] * np.eye(d)

    def directions(self, d: int) -> Array:
        return np.eye(d)[None]

    def allows(self, covariance: Array) -> bool:
        variance = covariance[..., :1, :1]
        return np.allclose(covariance, variance * np.eye(covariance.shape[-1]))

    def common_scale(self, scale: Array) -> Array:
        # Root mean square, without overflow.
        largest = scale.max(initial=0.0)
        if largest == 0:
            return scale
        return np.full_like(scale, largest * np.sqrt(np.mean((scale / largest) ** 2)))


def exceeds(covariance: Array, floor: float) -> bool:
    """Return whether all eigenvalues of all matrices ``(..., d, d)`` are above a floor."""
    try:
        np.linalg.cholesky(covariance - floor * np.eye(covariance.shape[-1]))
    except np.linalg.LinAlgError:
        return False
    return True


STRUCTURES: dict[str, Structure] = {s.name: s for s in (Full(), Diagonal(), Spherical())}
