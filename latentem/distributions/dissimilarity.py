"""Dissimilarities between a row and a prototype, each with its centre in closed form.

K-means needs nothing of a distribution but a dissimilarity d(x, m) and, for a set of rows, the
prototype with the least total dissimilarity to them (Bishop, 2006, section 9.1; Kaufman and
Rousseeuw, Finding Groups in Data, 1990, for medoids).
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.formulas import Formulas
from latentem.errors import ModelError, Unsuitable
from latentem.kernels.compiled import is_loaded
from latentem.kernels.distances import squared_distances


class Dissimilarity(abc.ABC):
    """A dissimilarity and its centre."""

    __slots__ = ()
    name: ClassVar[str]
    #: Whether it is a sum over columns, each with a centre of its own: then it can leave some out.
    columnwise: ClassVar[bool] = False
    #: What a `Prototype` with it states.
    formulas: ClassVar[Formulas | None] = None

    @abc.abstractmethod
    def between(self, value: Array, prototypes: Array) -> Array:
        """Return d(x_i, m_k), ``(n, K)``, for rows ``(n, d)`` and prototypes ``(K, d)``."""

    @abc.abstractmethod
    def centre(self, value: Array, weights: Array) -> Array:
        """Return the prototype ``(d,)`` that minimises sum_i weights[i] d(x_i, m).

        ``weights`` ``(n,)`` are positive somewhere.
        """

    def check(self, value: Array) -> None:  # noqa: B027 (optional)
        """Raise `Unsuitable` for values the dissimilarity is not defined on."""

    def between_observed(self, value: Array, prototypes: Array) -> Array:
        """Return d(x_i, m_k) over the columns that are NaN in neither, ``(n, K)``.

        For squared distances this is what is left of the marginal density of spherical Gaussians.
        """
        known = np.nan_to_num(prototypes)
        gaps = np.isnan(value)
        columns = [
            self.between(np.where(gaps | np.isnan(m), k, value), k[None])
            for m, k in zip(prototypes, known, strict=True)
        ]
        return np.concatenate(columns, axis=1)

    def centre_of_observed(self, value: Array, weights: Array) -> Array:
        """Return the centre ``(d,)`` column by column; NaN where no row has an entry."""
        centre = np.full(value.shape[1], np.nan)
        for j, column in enumerate(value.T):
            seen = ~np.isnan(column) & (weights > 0)
            if seen.any():
                (centre[j],) = self.centre(column[seen, None], weights[seen])
        return centre


@attrs.frozen
class SquaredEuclidean(Dissimilarity):
    """|x - m|^2; its centre is the mean."""

    formulas = Formulas(
        log_density=r"\log p(x \mid k) = -(x - m_k)^\top (x - m_k)",
        statistics=r"T(x) = (x, x^\top x)",
        update=r"\hat m_k = \overline{x}",
        symbols={"m": "prototypes"},
    )

    name: ClassVar[str] = "squared_euclidean"
    columnwise: ClassVar[bool] = True

    def between(self, value: Array, prototypes: Array) -> Array:
        return squared_distances(value.T, prototypes.T, compiled=is_loaded()).T

    def centre(self, value: Array, weights: Array) -> Array:
        mean: Array = weights @ value / weights.sum()
        return mean


@attrs.frozen
class L1(Dissimilarity):
    """sum_j |x_j - m_j|; its centre is the median of each column."""

    formulas = Formulas(
        log_density=r"\log p(x \mid k) = -\sum_j |x_j - m_{kj}|",
        update=r"\hat m_{kj} = \operatorname{median}_{r_k} x_j",
        symbols={"m": "prototypes"},
    )

    name: ClassVar[str] = "l1"
    columnwise: ClassVar[bool] = True

    def between(self, value: Array, prototypes: Array) -> Array:
        return np.stack([np.abs(value - m).sum(axis=1) for m in prototypes], axis=1)

    def centre(self, value: Array, weights: Array) -> Array:
        member = weights > 0
        value, weights = value[member], weights[member]
        return np.array([_weighted_median(column, weights) for column in value.T])


def _weighted_median(x: Array, weights: Array) -> float:
    """Return the median; halfway between two values that split the weight equally."""
    order = np.argsort(x, kind="stable")
    cumulative = np.cumsum(weights[order])
    half = 0.5 * cumulative[-1]
    low = int(np.searchsorted(cumulative, half))
    at_half = cumulative[low] == half and low + 1 < len(x)
    return float(0.5 * (x[order[low]] + x[order[low + 1]]) if at_half else x[order[low]])


@attrs.frozen
class Cosine(Dissimilarity):
    """1 - x.m / (|x| |m|); its centre is the normalised mean of the normalised rows."""

    formulas = Formulas(
        log_density=r"\log p(x \mid k) = m_k^\top x / |m_k| |x| - 1",
        statistics=r"T(x) = x / |x|",
        update=r"\hat m_k = \overline{x / |x|} \, \Big/ \, | \overline{x / |x|} |",
        symbols={"m": "prototypes"},
    )

    name: ClassVar[str] = "cosine"

    def check(self, value: Array) -> None:
        zero = np.flatnonzero(~value.any(axis=1))
        if len(zero):
            raise Unsuitable(
                "have a direction in every row because {node} uses the cosine dissimilarity",
                f"a row of zeros at row {zero[0]}",
                "Drop it, or use another dissimilarity.",
            )

    def between(self, value: Array, prototypes: Array) -> Array:
        # As |u - v|^2 / 2 of unit vectors: 1 - u.v loses the digits of a small angle.
        return 0.5 * SquaredEuclidean().between(unit(value), unit(prototypes))

    def centre(self, value: Array, weights: Array) -> Array:
        rows = unit(value)
        resultant = weights @ rows
        # Rows that cancel are represented equally badly by every direction; take one of theirs.
        return unit(resultant) if resultant.any() else rows[int(np.argmax(weights))]


def in_floats(value: Array) -> Array:
    """Return values in double precision: differences of narrow integers wrap around."""
    return value.astype(float, copy=False)


def unit(rows: Array) -> Array:
    """Return rows ``(..., d)`` scaled to length one."""
    scaled = rows / np.abs(rows).max(axis=-1, keepdims=True)  # no overflow in the squares
    length: Array = scaled / np.sqrt(np.square(scaled).sum(axis=-1, keepdims=True))
    return length


@attrs.frozen
class Hamming(Dissimilarity):
    """The number of columns that differ; its centre is the mode of each column."""

    formulas = Formulas(
        log_density=r"\log p(x \mid k) = -\sum_j (1 - [x_j = m_{kj}])",
        update=r"\hat m_{kj} = \operatorname{mode}_{r_k} x_j",
        symbols={"m": "prototypes"},
    )

    name: ClassVar[str] = "hamming"
    columnwise: ClassVar[bool] = True

    def between(self, value: Array, prototypes: Array) -> Array:
        return np.stack([(value != m).sum(axis=1) for m in prototypes], axis=1).astype(float)

    def centre(self, value: Array, weights: Array) -> Array:
        return np.array([_weighted_mode(column, weights) for column in value.T])


def _weighted_mode(x: Array, weights: Array) -> Any:
    levels, codes = np.unique(x, return_inverse=True)
    return levels[int(np.argmax(np.bincount(codes, weights)))]


@attrs.frozen
class Medoid(Dissimilarity):
    """A dissimilarity of the user's own; its centre is the row with the least total.

    Parameters
    ----------
    function : callable
        ``function(value, prototype)`` of arrays ``(n, d)`` and ``(d,)`` returns ``(n,)`` numbers,
        at least 0. The centre compares all pairs of rows of a state, so time grows with the square
        of the rows in a state.

    Examples
    --------
    >>> import numpy as np
    >>> from latentem.distributions.dissimilarity import Medoid
    >>> largest = Medoid(lambda value, prototype: np.abs(value - prototype).max(axis=1))
    >>> largest.centre(np.array([[0.0], [1.0], [5.0]]), np.ones(3))
    array([1.])
    """

    name: ClassVar[str] = "medoid"
    function: Callable[[Array, Array], Array]

    def _to(self, value: Array, prototype: Array) -> Array:
        try:
            result = np.asarray(self.function(value, prototype), dtype=float)
        except Exception as error:
            raise ModelError(
                "Medoid: function(value, prototype) must return one number for each of the "
                f"{len(value)} rows of value, got {type(error).__name__}: {error}. "
                "Mend the function."
            ) from error
        if result.shape != (len(value),):
            raise ModelError(
                f"Medoid: function(value, prototype) must return one number for each of the "
                f"{len(value)} rows of value, got shape {result.shape}. "
                "Reduce over the last axis, as in abs(value - prototype).sum(axis=1)."
            )
        if not np.all(result >= 0) or not np.all(np.isfinite(result)):
            raise ModelError(
                "Medoid: function(value, prototype) must return finite numbers of at least 0, "
                f"got {result[~((result >= 0) & np.isfinite(result))][0]}. Mend the function."
            )
        return result

    def between(self, value: Array, prototypes: Array) -> Array:
        return np.stack([self._to(value, prototype) for prototype in prototypes], axis=1)

    def centre(self, value: Array, weights: Array) -> Array:
        member = np.flatnonzero(weights > 0)
        rows, weights = value[member], weights[member]
        candidates = np.unique(rows, axis=0)
        totals = [float(weights @ self._to(rows, candidate)) for candidate in candidates]
        medoid: Array = candidates[int(np.argmin(totals))]
        return medoid


DISSIMILARITIES: dict[str, Dissimilarity] = {
    d.name: d for d in (SquaredEuclidean(), L1(), Cosine(), Hamming())
}


def as_dissimilarity(dissimilarity: Any) -> Dissimilarity:
    """Return the dissimilarity of a name, or of a user's function."""
    if isinstance(dissimilarity, Dissimilarity):
        return dissimilarity
    if isinstance(dissimilarity, str) and dissimilarity in DISSIMILARITIES:
        return DISSIMILARITIES[dissimilarity]
    if callable(dissimilarity) and not isinstance(dissimilarity, type):
        return Medoid(dissimilarity)
    names = ", ".join(map(repr, DISSIMILARITIES))
    raise ModelError(
        f"dissimilarity must be one of {names}, or a function of a row array (n, d) and a "
        f"prototype (d,), got {dissimilarity!r}. Choose one of these."
    )
