"""The compiled kernel of `latentem.kernels.nearest`, whose formulas it follows.

Rows to be looked at are gathered into tiles, k-major. Scores are made in blocks that stay in
registers until the best of them is known, see `latentem.kernels.nearest_blocks`. That is done in
single precision first, which takes half the time. It leaves in doubt which point is the nearest
only of rows about as near to two, and these are looked at again in double precision.
"""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import float32, float64, int32, int64, types

from latentem.kernels import nearest
from latentem.kernels.blocks import ROWS, STRIP
from latentem.kernels.loops import OPTIONS, TABLE, TILE, gather
from latentem.kernels.nearest_blocks import better_of_block
from latentem.kernels.vectors import LANES, tile_of

# Constants of this module are compiled in.
ROUND_DOWN, MORE_TERMS = nearest.ROUND_DOWN, nearest.MORE_TERMS
SINGLE, DOUBLE = nearest.PRECISION[np.float32], nearest.PRECISION[np.float64]


@numba.njit(**OPTIONS)
def _two_best(tile: Any, width: int, at: Any, minus_half: Any, work: Any) -> None:
    """Write the highest score of each row, the next, and the point of the highest.

    Into the first three rows of ``work``; the first of equal points is taken.
    """
    work[:2] = -np.inf
    work[2] = 0.0
    for t in range(0, width, STRIP * 8 // at.itemsize):
        for k in range(0, len(at), ROWS):
            better_of_block(at, minus_half, k, tile, t, work)


@numba.njit(**OPTIONS)
def _look(tile: Any, width: int, points: Any, work: Any) -> None:
    """Write the gap of each row of a tile ``(d, TILE)``, and the nearest point.

    Into the rows 1 and 2 of ``work``, in the precision of all of them.
    """
    at, minus_half, bounds = points
    _two_best(tile, width, at, minus_half, work)
    best, second, square = work[0, :width], work[1, :width], work[3, :width]
    square[:] = 0.0
    for j in range(at.shape[1]):
        column = tile[j, :width]
        for t in range(width):
            square[t] += column[t] * column[t]
    rounding, largest, highest = bounds[0], bounds[1], bounds[2]
    zero, two = rounding * 0, rounding * 0 + 2
    for t in range(width):
        error = rounding * (square[t] + largest)
        near = np.sqrt(max(square[t] - two * best[t], zero) + error)
        far = np.sqrt(max(square[t] - two * second[t], zero) + error)
        gap = two * (best[t] - second[t] - error) / (near + far)
        second[t] = gap if square[t] < highest else -np.inf


@numba.njit(**OPTIONS)
def _add(rows: Any, i: int, frame: Any, sign: float, weight: float, sums: Any, k: int) -> None:
    """Add a row to the sums of one point, ``(K, d + 3)``, or take it away."""
    d = rows.shape[1]
    sums[k, 0] += sign if weight > 0.0 else 0.0
    sums[k, 1] += sign * weight
    square = 0.0
    for j in range(d):
        z = (rows[i, j] - frame[0, j]) * frame[1, j]
        sums[k, j + 2] += sign * weight * z
        square += z * z
    sums[k, d + 2] += sign * weight * square


# Sums in another order would undo what the rounding of m is given for.
@numba.njit(**{**OPTIONS, "fastmath": {"contract"}})
def _residual(x: float, m: float, low: float) -> float:
    return (x - m) - low


@numba.njit(**OPTIONS)
def _by_residuals(row: Any, frame: Any, exact: Any) -> int:
    """Return the point nearest to a row, from x - m."""
    nearest, least = 0, np.inf
    for k in range(exact.shape[1]):
        square = 0.0
        for j in range(len(row)):
            y = _residual(row[j], exact[0, k, j], exact[1, k, j]) * frame[1, j]
            square += y * y
        if square < least:
            nearest, least = k, square
    return nearest


@numba.njit(**OPTIONS)
def _settle(index: Any, work: Any, data: Any, known: Any, sums: Any) -> int:
    """Write down what was found of a tile of rows; return how many have another point now.

    A row whose gap is not above 0 is left unknown, if its point must be ``certain``.
    """
    rows, weights, frame, exact, certain = data
    drift, labels, limits = known
    n_changed = 0
    for t in range(len(index)):
        i, new, gap = index[t], int(work[2, t]), float(work[1, t])
        if not gap > 0.0:
            if certain:
                continue
            if exact.shape[1] > 0:
                new = _by_residuals(rows[i], frame, exact)
        if len(drift) == 1:
            gap = np.inf
        limits[i] = (gap + drift[new]) * ROUND_DOWN if gap > 0.0 else -np.inf
        old = labels[i]
        if new != old:
            n_changed += 1
            labels[i] = new
            weight = 1.0 if len(weights) == 0 else weights[i]
            _add(rows, i, frame, 1.0, weight, sums, new)
            if old >= 0:
                _add(rows, i, frame, -1.0, weight, sums, old)
    return n_changed


@numba.njit(**OPTIONS)
def _doubtful(known: Any, index: Any) -> int:
    """Write the rows whose point is not certain any more; return how many.

    Without a branch for each row, which would often be guessed wrong.
    """
    drift, labels, limits = known
    n = 0
    for i in range(len(labels)):
        index[n] = i
        # The limit of a row without a point is -inf.
        n += int(not limits[i] > drift[max(labels[i], 0)])
    return n


@numba.njit(**OPTIONS)
def _pass(index: Any, data: Any, points: Any, known: Any, sums: Any) -> tuple[int, int]:
    """Look at some rows.

    Return how many have another point now, and how many are still in doubt: their numbers are then
    the first of ``index``. Where this leaves most in doubt, the others are not looked at.
    """
    rows, _, frame, _, certain = data
    at = points[0]
    n = len(index)
    picked = np.zeros((LANES * 8 // at.itemsize, at.shape[1]), at.dtype)
    tile, work = _tile(at.shape[1], at), _tile(4, at)
    n_changed, n_left = 0, 0
    for start in range(0, n, TILE):
        part = index[start : start + TILE]
        width = len(part)
        gather(rows, part, frame, picked, tile)
        _look(tile, width, points, work)
        n_changed += _settle(part, work, data, known, sums)
        if certain:
            for t in range(width):
                index[n_left] = part[t]
                n_left += int(not work[1, t] > 0.0)
            done = start + width
            if 2 * n_left > done:
                index[n_left : n_left + n - done] = index[done:]
                return n_changed, n_left + n - done
    return n_changed, n_left


@numba.njit(**OPTIONS)
def _tile(n_rows: int, like: Any) -> Any:
    """Return a table of zeros for a tile of rows, of a type of numbers; see `tile_of`."""
    return tile_of(n_rows, TILE * like.itemsize // 8).view(like.dtype)


@numba.njit(**OPTIONS)
def _in_fours(at: Any, half_square: Any, numbers: Any, precision: Any) -> Any:
    """Return points, minus halves of their squares, and bounds, in the type of ``numbers``.

    Points and columns are multiples of four: a point that is added has the score -inf. The bounds
    are that of rounding errors, the largest |m|^2, and the largest |z|^2 that stays in range.
    """
    k, d = at.shape
    points = np.zeros((-(-k // ROWS) * ROWS, -(-d // 4) * 4), numbers.dtype)
    minus_half = np.full((1, len(points)), -np.inf, numbers.dtype)
    bounds = np.empty(3, numbers.dtype)
    points[:k, :d] = at
    minus_half[0, :k] = -half_square
    eps, highest = precision
    bounds[0], bounds[1], bounds[2] = eps * (d + MORE_TERMS), 2 * half_square.max(), highest
    return points, minus_half, bounds


def _reassign(rows: Any, weights: Any, points: Any, known: Any, sums: Any) -> int:
    """In single precision where that leaves no doubt, which is most rows; then the others."""
    at, half_square, centre, scale, exact = points
    frame = np.stack((centre, 1.0 / scale))
    data = rows, weights, frame, exact
    index = np.empty(len(rows) + 1, np.int32)
    index = index[: _doubtful(known, index)]
    single = _in_fours(at, half_square, np.empty(0, np.float32), SINGLE)
    n_changed, n_left = _pass(index, (*data, True), single, known, sums)
    if n_left > 0:
        double = _in_fours(at, half_square, np.empty(0, np.float64), DOUBLE)
        n_changed += _pass(index[:n_left], (*data, False), double, known, sums)[0]
    return int(n_changed)


def _read_only(kind: Any, ndim: int) -> Any:
    return types.Array(kind, ndim, "C", readonly=True)


_POINTS = types.Tuple([_read_only(float64, ndim) for ndim in (2, 1, 1, 1, 3)])
_KNOWN = types.Tuple((_read_only(float64, 1), int32[::1], float32[::1]))


reassign = numba.njit(
    [
        int64(_read_only(kind, 2), _read_only(float64, 1), _POINTS, _KNOWN, TABLE)
        for kind in (float64, float32)
    ],
    **OPTIONS,
)(_reassign)


@numba.njit(
    [
        types.void(
            _read_only(kind, 2), _read_only(int32, 1), _read_only(float64, 2),
            _read_only(float64, 2), float64[::1],
        )
        for kind in (float64, float32)
    ],
    **OPTIONS,
)  # fmt: skip
def own_squares(rows: Any, label: Any, first: Any, second: Any, squares: Any) -> None:
    """Do what `latentem.kernels.nearest` says; m is the sum of two, the first may be one of all."""
    one = len(first) == 1
    for i in range(len(rows)):
        row, low = rows[i], second[label[i]]
        high = first[0 if one else label[i]]
        square = 0.0
        for j in range(len(row)):
            y = _residual(row[j], high[j], low[j])
            square += y * y
        squares[i] = square
