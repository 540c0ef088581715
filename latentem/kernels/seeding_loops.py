"""The compiled kernel of `latentem.kernels.seeding`, whose formulas it follows.

Rows that may be nearer to a point than to their seed are gathered into tiles, k-major.
"""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,no-any-return"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import float32, float64, int32, int64, types

from latentem.kernels import seeding
from latentem.kernels.blocks import ROWS, STRIP, write_distances
from latentem.kernels.loops import GIVEN, OPTIONS, ROW, gather
from latentem.kernels.vectors import LANES, load, spread, tile_of, total, where_less

#: Numbers of a tile, which stay in a core's second cache, and its most rows.
CELLS, LONGEST = 16_384, 256
# Constants of another module are compiled in.
PART = seeding.PART
#: Rows of the numbers of a tile's rows: their weights, and n.
WEIGHT, SQUARE = range(2)


@numba.njit(**OPTIONS)
def _possible(known: Any, place: tuple[int, int]) -> Any:
    """Return the rows for which a point may be nearer than their seed.

    Without a branch for each row, which would often be guessed wrong.
    """
    reach, labels, squares = known
    start, end = place
    index, n = np.empty(end - start + 1, np.int32), 0
    for i in range(start, end):
        index[n] = i
        n += int(squares[i] > reach[labels[i]])
    return index[:n]


@numba.njit(**OPTIONS)
def _sum_of_others(weights: Any, known: Any, place: tuple[int, int]) -> float:
    """Return the sum of w n over the other rows."""
    reach, labels, squares = known
    others = 0.0
    for i in range(*place):
        others += 0.0 if squares[i] > reach[labels[i]] else weights[i] * squares[i]
    return others


@numba.njit(**OPTIONS)
def _room(points: Any) -> Any:
    """Return the rows of a tile, whole strips; and room for it, and for some rows of one."""
    m, d = points.shape
    width = max(STRIP, min(LONGEST, CELLS // d // STRIP * STRIP))
    return width, tile_of(d, width), tile_of(m, width), np.zeros((LANES, d))


@numba.njit(**OPTIONS)
def _measure(rows: Any, frame: Any, part: Any, points: Any, room: Any) -> int:
    """Write the squared distances of some rows to the points; return their number in strips."""
    _, tile, distances, picked = room
    gather(rows, part, frame, picked, tile)
    wide = -(-len(part) // STRIP) * STRIP
    for t in range(0, wide, STRIP):
        for k in range(0, len(points), ROWS):
            write_distances(points, k, rows.shape[1], tile, t, distances, k)
    return wide


def _totals(
    rows: Any, frame: Any, weights: Any, place: tuple[int, int], points: Any, known: Any, sums: Any
) -> None:
    squares, index = known[2], _possible(known, place)
    sums += _sum_of_others(weights, known, place)
    room = _room(points)
    width, _, distances, _ = room
    numbers = tile_of(2, width)
    for start in range(0, len(index), width):
        part = index[start : start + width]
        wide = _measure(rows, frame, part, points, room)
        numbers[WEIGHT] = 0.0
        for t in range(len(part)):
            numbers[WEIGHT, t], numbers[SQUARE, t] = weights[part[t]], squares[part[t]]
        for j in range(len(sums)):
            sum_of_part: Any = spread(0.0)
            for t in range(0, wide, LANES):
                far, near = load(distances, j, t), load(numbers, SQUARE, t)
                nearer = where_less(far, near, far, near)
                sum_of_part = sum_of_part + load(numbers, WEIGHT, t) * nearer
            sums[j] += total(sum_of_part)


def _approach(
    rows: Any, frame: Any, free: Any, place: tuple[int, int], point: Any, state: int, known: Any,
    share: float, left: Any,
) -> None:  # fmt: skip
    labels, squares, index = known[1], known[2], _possible(known, place)
    room = _room(point)
    width, _, distances, _ = room
    for start in range(0, len(index), width):
        part = index[start : start + width]
        _measure(rows, frame, part, point, room)
        for t in range(len(part)):
            i, far = part[t], distances[0, t]
            near, label = squares[i], labels[i]
            squares[i] = where_less(far, near, far, near)
            labels[i] = state if far < near * share else label
    left[:] = 0.0
    for part in range(len(left)):
        first = place[0] + part * PART
        for i in range(first, min(first + PART, place[1])):
            left[part] += free[i] * squares[i]


_ROWS = [types.Array(real, 2, "C", readonly=True) for real in (float64, float32)]
_READ = types.Array(float64, 1, "C", readonly=True)
_KNOWN = types.Tuple((_READ, int32[::1], ROW))

_PLACE = types.UniTuple(int64, 2)

totals = numba.njit(
    [types.void(rows, GIVEN, _READ, _PLACE, GIVEN, _KNOWN, ROW) for rows in _ROWS], **OPTIONS
)(_totals)
approach = numba.njit(
    [types.void(rows, GIVEN, _READ, _PLACE, GIVEN, int64, _KNOWN, float64, ROW) for rows in _ROWS],
    **OPTIONS,
)(_approach)
