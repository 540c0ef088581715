r"""Covariance structures of a Gaussian, by what its states share.

Every covariance is a volume, a shape and an orientation,

.. math:: \Sigma_k = \lambda_k D_k A_k D_k^\top, \qquad A_k \text{ diagonal}, \; |A_k| = 1,
          \; D_k \text{ orthogonal},

and a structure says of each whether it is equal in all states or varies between them. `Full` has
any orientation, `Diagonal` that of the columns, `Spherical` has no shape. The fourteen structures
have names of three letters, for volume, shape and orientation: E for equal, V for varying, I for
the identity. How each is fitted says `latentem.distributions.spectra`, to which equations
`latentem.distributions.structure_formulas`.

References
----------
Banfield and Raftery, Model-based Gaussian and non-Gaussian clustering, Biometrics 49, 1993. Celeux
and Govaert, Gaussian parsimonious clustering models, Pattern Recognition 28, 1995. Browne and
McNicholas, Estimating common principal components in high dimensions, Advances in Data Analysis and
Classification 8, 2014.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.structure import Feature, Structure, root_mean_square, row_norms
from latentem.errors import ModelError

__all__ = [
    "LETTERS",
    "STRUCTURES",
    "Diagonal",
    "Full",
    "Spherical",
    "Structure",
    "exceeds",
    "structure_named",
    "structure_or_matrices",
]


@functools.cache
def upper(d: int) -> tuple[Array, Array]:
    """Return row and column indices of the upper triangle of a d x d matrix."""
    return np.triu_indices(d)


@functools.cache
def places(d: int) -> Array:
    """Return where the entries of a symmetric d x d matrix stand in its upper triangle."""
    rows, columns = upper(d)
    table = np.empty((d, d), dtype=np.intp)
    table[rows, columns] = table[columns, rows] = np.arange(len(rows))
    return table


@attrs.frozen
class Full(Structure):
    """Any symmetric positive definite matrices, by default those of each state by itself.

    Parameters
    ----------
    volume, shape, orientation : {"equal", "varying"}
        What the states share. So ``Full("equal", "equal", "equal")`` is one matrix for all (EEE),
        and ``Full(orientation="equal")`` are common principal components (VVE).

    Examples
    --------
    >>> import latentem as lem
    >>> lem.covariance.Full(shape="equal").name
    'VEV'
    >>> lem.Gaussian(covariance=lem.covariance.Full(shape="equal"))
    Gaussian(covariance="VEV")
    """

    word: ClassVar[str] = "full"

    def n_moments(self, d: int) -> int:
        return d * (d + 1) // 2

    def pairs(self, d: int) -> Array:
        return np.column_stack(upper(d))

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
        matrix: Array = moments.take(places(mean.shape[-1]), axis=-1)
        matrix -= mean[..., :, None] * mean[..., None, :]
        return matrix

    def directions(self, d: int) -> Array:
        rows, columns = upper(d)
        basis = np.zeros((len(rows), d, d))
        one_each = np.arange(len(rows))
        basis[one_each, rows, columns] = basis[one_each, columns, rows] = 1.0
        return basis

    def _nearest(self, root: Array) -> Array:
        return root

    def _allows_each(self, covariance: Array) -> bool:
        return True


@attrs.frozen
class Diagonal(Structure):
    """Independent columns, each with its variance.

    Parameters
    ----------
    volume, shape : {"equal", "varying"}
        What the states share.

    Examples
    --------
    >>> import latentem as lem
    >>> lem.covariance.Diagonal(volume="equal").name
    'EVI'
    """

    word: ClassVar[str] = "diagonal"
    orientation: str = attrs.field(default="axes", init=False)

    def n_moments(self, d: int) -> int:
        return d

    def pairs(self, d: int) -> Array:
        return np.column_stack([np.arange(d), np.arange(d)])

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

    def _nearest(self, root: Array) -> Array:
        if (np.count_nonzero(root, axis=-2) <= 1).all():  # R R' is diagonal already
            return root
        return row_norms(root)[..., None] * np.eye(root.shape[-2])

    def _allows_each(self, covariance: Array) -> bool:
        variance = np.diagonal(covariance, axis1=-2, axis2=-1)
        return np.allclose(covariance, variance[..., None] * np.eye(variance.shape[-1]))


@attrs.frozen
class Spherical(Structure):
    """The same variance in every direction.

    Parameters
    ----------
    volume : {"equal", "varying"}
        Whether the states share it.

    Examples
    --------
    >>> import latentem as lem
    >>> lem.covariance.Spherical().n_parameters(k=3, d=2)
    3
    """

    word: ClassVar[str] = "spherical"
    shape: str = attrs.field(default="spherical", init=False)
    orientation: str = attrs.field(default="axes", init=False)

    def n_moments(self, d: int) -> int:
        return 1

    def pairs(self, d: int) -> None:
        return None  # one sum of squares

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

    def _nearest(self, root: Array) -> Array:
        return root_mean_square(row_norms(root))[..., None] * np.eye(root.shape[-2])

    def _allows_each(self, covariance: Array) -> bool:
        variance = covariance[..., :1, :1]
        return np.allclose(covariance, variance * np.eye(covariance.shape[-1]))

    def common_scale(self, scale: Array) -> Array:
        return root_mean_square(scale)


def exceeds(covariance: Array, floor: float) -> bool:
    """Return whether all eigenvalues of all matrices ``(..., d, d)`` are above a floor."""
    try:
        np.linalg.cholesky(covariance - floor * np.eye(covariance.shape[-1]))
    except np.linalg.LinAlgError:
        return False
    return True


#: The structures in words, of what each state has by itself.
STRUCTURES: dict[str, Structure] = {s.name: s for s in (Full(), Diagonal(), Spherical())}

_BOTH: tuple[Feature, ...] = ("equal", "varying")
_EVERY: list[Structure] = [
    *(Spherical(volume) for volume in _BOTH),
    *(Diagonal(volume, shape) for shape in _BOTH for volume in _BOTH),
    *(Full(v, s, o) for o in _BOTH for s in _BOTH for v in _BOTH),
]
#: All fourteen by their letters.
LETTERS: dict[str, Structure] = {s.letters: s for s in _EVERY}
#: All by either name.
NAMED = STRUCTURES | LETTERS


def structure_or_matrices(given: Any, what: str) -> Structure | Array | None:
    """Return a structure, by its name too, or the matrices that were given instead.

    Raises
    ------
    ModelError
        If it is no name of a structure. ``what`` says whose it is: ``"Gaussian: covariance"``.
    """
    if isinstance(given, Structure):
        return given
    if given is None or isinstance(given, str):
        return _named(given, what, ", or an array of matrices")
    return as_float_array(given)


def structure_named(given: Any, what: str) -> Structure | None:
    """Return a structure, by its name too, or None; see `structure_or_matrices`."""
    return given if given is None or isinstance(given, Structure) else _named(given, what)


def _named(name: object, what: str, also: str = "") -> Structure:
    if not isinstance(name, str) or name not in NAMED:
        raise ModelError(
            f"{what} must be one of {', '.join(map(repr, NAMED))}{also}, got {name!r}. "
            "Choose one of these."
        )
    return NAMED[name]
