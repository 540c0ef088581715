"""The compiled kernel of `latentem.kernels.seeding`, whose formulas it follows.

Rows that may be nearer to a point than to their seed are gathered into tiles, k-major.
"""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,no-any-return,var-annotated"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import float32, float64, int32, int64, types

from latentem.kernels import seeding
from latentem.kernels.blocks import ROWS, STRIP, write_distances
from latentem.kernels.loops import GIVEN, OPTIONS, ROW, TABLE, gather
from latentem.kernels.vectors import LANES, load, spread, store, tile_of, where_less
from latentem.kernels.vectors import total as sum_of

#: Numbers of a tile, which stay in a core's second cache, and its most rows.
CELLS, LONGEST = 16_384, 256
# Constants of another module are compiled in.
PART, TIE = seeding.PART, seeding.TIE
#: Rows of the numbers of a tile's rows: their weights, n, and 1 where another seed is the nearest.
WEIGHT, SQUARE, CHANGES = range(3)


@numba.njit(**OPTIONS)
def _possible(known: Any, place: tuple[int, int], index: Any) -> int:
    """Write the rows for which a point may be nearer than their seed; return how many.

    Without a branch for each row, which would often be guessed wrong.
    """
    safe, labels, squares = known
    n = 0
    for i in range(*place):
        index[n] = i
        n += int(squares[i] > safe[labels[i]])
    return n


@numba.njit(**OPTIONS)
def _sum_of_others(weights: Any, known: Any, place: tuple[int, int]) -> float:
    """Return the sum of w n over the other rows."""
    safe, labels, squares = known
    others = 0.0
    for i in range(*place):
        others += 0.0 if squares[i] > safe[labels[i]] else weights[i] * squares[i]
    return others


@numba.njit(**OPTIONS)
def _room(points: Any) -> Any:
    """Return the rows of a tile, whole strips; and room for all that is computed of a part."""
    m, d = points.shape
    width = max(STRIP, min(LONGEST, CELLS // d // STRIP * STRIP))
    index, picked = np.empty(PART, np.int32), np.zeros((LANES, d))
    return width, tile_of(d, width), tile_of(m, width), tile_of(3, width), index, picked


@numba.njit(**OPTIONS)
def _measure(rows: Any, frame: Any, part: Any, points: Any, room: Any) -> int:
    """Write the squared distances of some rows to the points; return their number in strips."""
    tile, distances, picked = room[1], room[2], room[5]
    gather(rows, part, frame, picked, tile)
    wide = -(-len(part) // STRIP) * STRIP
    for t in range(0, wide, STRIP):
        for k in range(0, len(points), ROWS):
            write_distances(points, k, rows.shape[1], tile, t, distances, k)
    return wide


@numba.njit(**OPTIONS)
def _read(weights: Any, squares: Any, part: Any, numbers: Any) -> None:
    """Write w and n of the rows; of what fills a tile up, w is 0."""
    numbers[WEIGHT] = 0.0
    for t in range(len(part)):
        numbers[WEIGHT, t], numbers[SQUARE, t] = weights[part[t]], squares[part[t]]


@numba.njit(**OPTIONS)
def _settle(known: Any, part: Any, state: int, distances: Any, numbers: Any) -> None:
    """Make the first point the seed of a state: bring n and a of the rows up to date."""
    labels, squares = known[1:]
    for t in range(0, len(part), LANES):
        far, near = load(distances, 0, t), load(numbers, SQUARE, t)
        store(numbers, SQUARE, t, where_less(far, near, far, near))
        store(numbers, CHANGES, t, where_less(far, near * (1.0 - TIE), 1.0, 0.0))
    for t in range(len(part)):
        i = part[t]
        squares[i] = numbers[SQUARE, t]
        labels[i] += (state - labels[i]) * int(numbers[CHANGES, t])  # without a branch


@numba.njit(**OPTIONS)
def _look_at_part(
    data: Any, place: tuple[int, int], chosen: Any, known: Any, room: Any, total: Any
) -> None:
    """Do what `latentem.kernels.seeding.look` says with the rows of one part."""
    rows, frame, weights = data
    points, state = chosen
    width, _, distances, numbers, index, _ = room
    n = _possible(known, place, index)
    total[:] = _sum_of_others(weights, known, place)
    for first in range(0, n, width):
        part = index[first : min(first + width, n)]
        wide = _measure(rows, frame, part, points, room)
        _read(weights, known[2], part, numbers)
        if state >= 0:
            _settle(known, part, state, distances, numbers)
        for j in range(len(total)):
            with_it = spread(0.0)
            for t in range(0, wide, LANES):
                far, near = load(distances, j, t), load(numbers, SQUARE, t)
                with_it = with_it + load(numbers, WEIGHT, t) * where_less(far, near, far, near)
            total[j] += sum_of(with_it)


@numba.njit(**OPTIONS)
def _rows_of(part: int, n: int) -> tuple[int, int]:
    return part * PART, min((part + 1) * PART, n)


def _look(
    rows: Any, frame: Any, weights: Any, first: int, points: Any, state: int, known: Any,
    totals: Any,
) -> None:  # fmt: skip
    data, chosen, room = (rows, frame, weights), (points, state), _room(points)
    for p in range(len(totals)):
        _look_at_part(data, _rows_of(first + p, len(rows)), chosen, known, room, totals[p])


def _draw(
    rows: Any, frame: Any, weights: Any, left: Any, point: Any, state: int, known: Any,
    targets: Any, places: Any,
) -> None:  # fmt: skip
    data, chosen, room = (rows, frame, weights), (point, state), _room(point)
    squares, none = known[2], np.empty(0)
    last = 0
    for p in range(len(left)):
        if left[p] > 0.0:
            last = p
    for j in range(len(targets)):
        rest, p = targets[j], 0
        while p < last and not rest < left[p]:
            rest -= left[p]
            p += 1
        start, end = _rows_of(p, len(rows))
        _look_at_part(data, (start, end), chosen, known, room, none)
        for i in range(start, end):
            chance = weights[i] * squares[i]
            if chance > 0.0:
                places[j] = i  # the last of them if, rounded otherwise, they sum to less
                if rest < chance:
                    break
                rest -= chance


_ROWS = [types.Array(real, 2, "C", readonly=True) for real in (float64, float32)]
_READ = types.Array(float64, 1, "C", readonly=True)
_KNOWN = types.Tuple((_READ, int32[::1], ROW))

_GIVEN = [(rows, GIVEN, _READ) for rows in _ROWS]

look = numba.njit(
    [types.void(*given, int64, GIVEN, int64, _KNOWN, TABLE) for given in _GIVEN], **OPTIONS
)(_look)
draw = numba.njit(
    [types.void(*given, _READ, GIVEN, int64, _KNOWN, _READ, int64[::1]) for given in _GIVEN],
    **OPTIONS,
)(_draw)
