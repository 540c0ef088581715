r"""The nearest of some points to each row, again and again while the points move.

With rows standardised, :math:`z_i = (x_i - c) / s`, and points :math:`m_k` in the same units,

.. math:: |z_i - m_k|^2 = |z_i|^2 - 2 s_{ik}, \qquad s_{ik} = m_k \cdot z_i - |m_k|^2 / 2,

so the nearest is the one with the highest score. How much nearer it is than any other is the gap
:math:`g_i = |z_i - m_j| - |z_i - m_a|` of the nearest, a, and the second, j. When each point moves
by :math:`\delta_k`, the triangle inequality lets it shrink by no more than
:math:`\delta_a + \max_{k \ne a} \delta_k`. The sum of that over all moves is the drift of a, and a
row is to be looked at again only when the drift of its point has passed the row's limit: the gap,
and the drift when it was found. What rounding may have done to the scores is taken off the gap, so
that the rows left alone are those whose nearest point is certain (after G. Hamerly, "Making k-means
even faster", SDM 2010, who keeps two bounds where this keeps their difference).
"""

from __future__ import annotations

import math
from functools import cached_property

import attrs
import numpy as np
import numpy.typing as npt

from latentem.kernels.compiled import nearest_loops

Array = npt.NDArray[np.float64]

EPS = float(np.finfo(float).eps)
#: The distance between numbers at 1, and the largest |z|^2 that keeps well in range.
PRECISION = {
    real: (float(np.finfo(real).eps), float(np.finfo(real).max) * 1e-8)
    for real in (np.float32, np.float64)
}
#: A bound of rounding errors counts so many terms more than a sum of products has: it is ample.
MORE_TERMS = 8
#: Limits are kept in single precision, rounded down.
ROUND_DOWN = 1.0 - 2.0**-22


@attrs.frozen(eq=False)
class Places:
    """What is known of some rows; it is brought up to date in place.

    Attributes
    ----------
    label : array of int32, (rows,)
        The nearest point, -1 if it was never looked for.
    limit : array of float32, (rows,)
        The drift of that point up to which it stays the nearest.
    """

    label: npt.NDArray[np.int32]
    limit: npt.NDArray[np.float32]

    @classmethod
    def unknown(cls, n: int) -> Places:
        """Return those of rows that were never looked at."""
        return cls(np.full(n, -1, dtype=np.int32), np.full(n, -np.inf, dtype=np.float32))

    def forget(self, rows: npt.NDArray[np.bool_]) -> None:
        """Make these rows ones that were never looked at."""
        self.label[rows], self.limit[rows] = -1, -np.inf

    def __getitem__(self, rows: slice) -> Places:
        """Return those of a block of rows, sharing memory."""
        return Places(self.label[rows], self.limit[rows])


@attrs.frozen(eq=False, slots=False)
class Points:
    """Points that move.

    Attributes
    ----------
    at : array, (K, d)
        Where they are, in the units of standardised rows.
    centre, scale : array, (d,)
        Standardised rows are (x - centre) / scale.
    drift : array, (K,)
        How far they, and the others from them, have moved at most, altogether.
    exact : tuple of two arrays, (K, d), or None
        Where they are in the units of x, and what the rounding of that lost. If given, distances
        that the scores leave in doubt are taken from the residuals x - m.
    """

    at: Array
    centre: Array
    scale: Array
    drift: Array
    exact: tuple[Array, Array] | None = None

    @classmethod
    def of(cls, at: Array, centre: Array, scale: Array) -> Points:
        """Take points that have not moved yet."""
        return cls(at, centre, scale, np.zeros(len(at)))

    def moved(self, at: Array, exact: tuple[Array, Array] | None = None) -> Points:
        """Return them at other places."""
        if len(at) == 1:
            return attrs.evolve(self, at=at, exact=exact)
        new = Points(at, self.centre, self.scale, self.drift.copy(), exact)
        size = math.sqrt(max(self.largest, new.largest))
        move = at - self.at
        own = np.sqrt(np.vecdot(move, move)) * (1 + 1e-12)
        own += (own > 0) * (8 * EPS * size)
        first, second = own.argsort()[:-3:-1]
        new.drift[:] = self.drift + own + own[first]
        new.drift[first] = self.drift[first] + own[first] + own[second]
        return new

    @cached_property
    def half_square(self) -> Array:
        """|m|^2 / 2, ``(K,)``."""
        half: Array = 0.5 * np.einsum("kd,kd->k", self.at, self.at)
        return half

    @cached_property
    def largest(self) -> float:
        """The largest |m|^2."""
        return 2.0 * float(self.half_square.max())

    def rounding(self) -> float:
        """Return a bound on the error of twice a score, relative to |z|^2 and the largest |m|^2.

        A sum of d products is within (d u) |m| |z| of its value, u = eps / 2.
        """
        return EPS * float(self.at.shape[1] + MORE_TERMS)

    @property
    def for_loops(self) -> tuple[Array, ...]:
        """What the loops take: points, halves of squares, units, the exact points if any."""
        exact = np.empty((2, 0, self.at.shape[1])) if self.exact is None else np.stack(self.exact)
        given = self.at, self.half_square, self.centre, self.scale, exact
        return tuple(map(np.ascontiguousarray, given))


def reassign(
    rows: npt.NDArray[np.generic],
    weights: Array | None,
    points: Points,
    places: Places,
    *,
    compiled: bool = False,
) -> tuple[Array, int]:
    r"""Bring the nearest points of rows up to date; return what that changes in the sums.

    .. math:: S_k = \sum_{i : a_i = k} (1, w_i, w_i z_i, w_i |z_i|^2)

    Of several points at the same distance the first is the nearest.

    Parameters
    ----------
    rows : array, (rows, d)
        x, of any real type.
    weights : array, (rows,), or None
        Those of 0 do not count in the first sum. None for ones.
    points : Points
    places : Places
        Is overwritten. It must be of the same points, and sums of the same rows and weights.
    compiled : bool
        Use the compiled kernel, which makes no tables.

    Returns
    -------
    array, (K, d + 3)
        The change of S.
    int
        The number of rows that have another point now.

    Examples
    --------
    >>> import numpy as np
    >>> points = Points.of(np.array([[0.0], [4.0]]), np.zeros(1), np.ones(1))
    >>> rows, places = np.array([[1.0], [3.0]]), Places.unknown(2)
    >>> reassign(rows, None, points, places)
    (array([[1., 1., 1., 1.],
           [1., 1., 3., 9.]]), 2)
    >>> places.label, places.limit.round(3)
    (array([0, 1], dtype=int32), array([2., 2.], dtype=float32))
    """
    if compiled:
        sums = np.zeros((len(points.at), rows.shape[1] + 3))
        given = np.empty(0) if weights is None else weights
        known = (points.drift, places.label, places.limit)
        loops = nearest_loops()
        return sums, loops.reassign(_as_floats(rows), given, points.for_loops, known, sums)
    old = places.label
    again = np.flatnonzero(~(places.limit > points.drift[old]))
    if not len(again):
        return np.zeros((len(points.at), rows.shape[1] + 3)), 0
    z: Array = (rows[again] - points.centre) / points.scale  # type: ignore[operator]  # (again, d)
    square = np.einsum("nd,nd->n", z, z)
    score = points.at @ z.T - points.half_square[:, None]
    label, each = score.argmax(axis=0), np.arange(len(again))
    first = score[label, each]
    score[label, each] = -np.inf
    gap = _gap(first, score.max(axis=0), square, points)
    if points.exact is not None:
        doubtful = np.flatnonzero(~(gap > 0))
        label[doubtful] = _by_residuals(rows[again[doubtful]], points)
    places.limit[again] = np.where(gap > 0, (gap + points.drift[label]) * ROUND_DOWN, -np.inf)
    changed = label != old[again]
    again, label = again[changed], label[changed]
    w = np.ones(len(again)) if weights is None else weights[again]
    columns = [w > 0, w, *(w * z[changed].T), w * square[changed]]
    before, k = old[again], len(points.at)
    gained = np.stack([np.bincount(label, column, k) for column in columns], axis=1)
    known = before >= 0
    before = before[known]
    lost = np.stack([np.bincount(before, column[known], k) for column in columns], axis=1)
    places.label[again] = label
    return (gained - lost).astype(float), len(again)


def _gap(first: Array, second: Array, square: Array, points: Points) -> Array:
    """Return how much farther the second is at least than the first, from their scores."""
    if len(points.at) == 1:
        return np.full(len(first), np.inf)
    error = points.rounding() * (square + points.largest)
    near = np.sqrt(np.maximum(square - 2 * first, 0.0) + error)
    far = np.sqrt(np.maximum(square - 2 * second, 0.0) + error)
    # As a difference of squares over the sum: the difference of scores keeps its digits.
    total = near + far
    gap: Array = 2 * (first - second - error) / np.where(total > 0, total, 1.0)
    return gap


def _by_residuals(rows: npt.NDArray[np.generic], points: Points) -> npt.NDArray[np.intp]:
    """Return the nearest point of each row, from x - m."""
    assert points.exact is not None
    distances = [
        np.square((rows - m - low) / points.scale).sum(axis=1)
        for m, low in zip(*points.exact, strict=True)
    ]
    nearest: npt.NDArray[np.intp] = np.stack(distances).argmin(axis=0)
    return nearest


def own_squares(
    rows: npt.NDArray[np.generic],
    label: npt.NDArray[np.int32],
    points: Points,
    *,
    compiled: bool = False,
) -> Array:
    r"""Return the squared distance of each row to its point, in the units of x.

    .. math:: |x_i - m_{a_i}|^2

    Parameters
    ----------
    rows : array, (rows, d)
    label : array, (rows,)
        The points of the rows, a.
    points : Points
    compiled : bool
        Use the compiled kernel, which makes no arrays of residuals.

    Returns
    -------
    array, (rows,)

    Examples
    --------
    >>> import numpy as np
    >>> points = Points.of(np.array([[0.0], [4.0]]), np.zeros(1), np.ones(1))
    >>> own_squares(np.array([[1.0], [3.5]]), np.array([0, 1], dtype=np.int32), points)
    array([1.  , 0.25])
    """
    # From m and what its rounding lost, else from z: m = c + s at would be rounded.
    if points.exact is None:
        about = points.centre[None], points.scale * points.at
    else:
        about = points.exact
    first, second = map(np.ascontiguousarray, about)
    squares: Array
    if compiled:
        squares = np.empty(len(rows))
        nearest_loops().own_squares(_as_floats(rows), label, first, second, squares)
        return squares
    y: Array = rows - (first if len(first) == 1 else first[label])  # type: ignore[operator]
    y -= second[label]
    squares = np.vecdot(y, y)
    return squares


def _as_floats(rows: npt.NDArray[np.generic]) -> npt.NDArray[np.floating]:
    """Return contiguous rows, in single precision if that holds them without loss."""
    single = np.can_cast(rows.dtype, np.float32)  # bytes too
    return np.ascontiguousarray(rows, dtype=np.float32 if single else float)


def residual_sums(
    rows: npt.NDArray[np.generic],
    weights: Array | None,
    label: npt.NDArray[np.int32],
    states: Array,
    about: tuple[Array, Array, Array],
) -> Array:
    r"""Return the sums over the rows of some states, each about a centre of its own.

    .. math:: S_k = \sum_{i : a_i = k} w_i (y_i, |y_i|^2), \qquad
              y_i = \left( (x_i - c_k) - l_k \right) / s

    Parameters
    ----------
    rows : array, (rows, d)
    weights : array, (rows,), or None
    label : array, (rows,)
        The states of the rows, a.
    states : array of bool, (K,)
        Which states; the sums of others are 0.
    about : tuple of array
        The centres c and what their rounding lost, l, ``(K, d)``, and the scale s, ``(d,)``.

    Returns
    -------
    array, (K, d + 1)

    Examples
    --------
    >>> import numpy as np
    >>> about = np.array([[1.0], [0.0]]), np.zeros((2, 1)), np.ones(1)
    >>> rows, label = np.array([[1.5], [7.0]]), np.array([0, 1], dtype=np.int32)
    >>> residual_sums(rows, None, label, np.array([True, False]), about)
    array([[0.5 , 0.25],
           [0.  , 0.  ]])
    """
    centres, low, scale = about
    members = np.flatnonzero(states[label])
    if not len(members):
        return np.zeros((len(states), rows.shape[1] + 1))
    label = label[members]
    y: Array = rows[members] - centres[label]  # type: ignore[operator]
    y -= low[label]
    y /= scale
    w = np.ones(len(y)) if weights is None else weights[members]
    columns = [*(w * y.T), w * np.einsum("nd,nd->n", y, y)]
    return np.stack([np.bincount(label, c, len(states)) for c in columns], axis=1).astype(float)
