"""The compiled kernel of `latentem.kernels.expected`, whose formulas it follows.

A tile of rows goes through all of them before the next, so that its statistics and its table of
states stay in a core's caches and are never stored. Its products go by the blocks of
`latentem.kernels.blocks`.
"""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,var-annotated,no-any-return"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import boolean, float64, int64, types

from latentem.kernels.blocks import STRIP
from latentem.kernels.loops import (
    HIGHEST,
    OPTIONS,
    ROW,
    SPARE,
    SUM,
    TABLE,
    WEIGHT,
    add_products,
    log_sums,
    multiply,
    soften,
    sum_of_logs,
)
from latentem.kernels.vectors import LANES, load, load_columns, store, tile_of, where_less

#: Rows of a tile where there are few states; of more states, as many as leave their table in a
#: core's first cache.
LONGEST, CELLS = 512, 4096


@numba.njit(**OPTIONS)
def write_statistics(factors: Any, pairs: Any, width: int, tile: Any, first: int) -> None:
    """Write T of a tile of whole vectors, from a first statistic on."""
    for j in range(first, len(pairs)):
        a, b = pairs[j, 0], pairs[j, 1]
        if b == 0:  # ones
            for t in range(0, width, LANES):
                store(tile, j, t, load(factors, a, t))
        elif b > 0:
            for t in range(0, width, LANES):
                store(tile, j, t, load(factors, a, t) * load(factors, b, t))
        else:
            level = float(-b)
            for t in range(0, width, LANES):
                x = load(factors, a, t)
                is_level = where_less(x, level, 0.0, where_less(level, x, 0.0, 1.0))
                store(tile, j, t, is_level)


@numba.njit(**OPTIONS)
def _begin_with_factors(pairs: Any, n_factors: int) -> bool:
    """Return whether the first statistics are the factors, in order."""
    for j in range(n_factors):
        if j >= len(pairs) or pairs[j, 0] != j or pairs[j, 1] != 0:
            return False
    return True


@numba.njit(**OPTIONS)
def tile_room(shape: tuple[int, int], pairs: Any, n_factors: int, n: int) -> Any:
    """Return the rows of a tile, whole strips; and room for its F, T, L and numbers of rows.

    ``shape`` is that of C, and n the number of all rows. Factors that are the first statistics are
    written in their place; how many they are is returned too.
    """
    n_states, p = shape
    width = min(LONGEST, CELLS // n_states // STRIP * STRIP, -(-n // STRIP) * STRIP)
    width = max(STRIP, width)
    tile = tile_of(p, width)
    first = n_factors if _begin_with_factors(pairs, n_factors) else 0
    factors = tile if first else tile_of(n_factors, width)
    factors[0] = 1.0
    numbers = tile_of(4, width)
    numbers[WEIGHT] = 1.0
    return width, factors, tile, tile_of(n_states, width), numbers, first


@numba.njit(**OPTIONS)
def standardise(rows: Any, centre: Any, scale: Any, place: tuple[int, int], factors: Any) -> None:
    """Write the factors of rows from a start to an end; the first of them, 1, stands already."""
    start, end = place
    m = len(centre)
    # Four columns at a time, the last of which may be done twice; and what is left of a vector.
    whole = (end - start) // LANES * LANES if m > 3 else 0
    for column in range(0, m if whole else 0, 4):
        j = min(column, m - 4)
        for t in range(0, whole, LANES):
            x0, x1, x2, x3 = load_columns(rows, start + t, j)
            store(factors, 1 + j, t, (x0 - centre[j]) * (1.0 / scale[j]))
            store(factors, 2 + j, t, (x1 - centre[j + 1]) * (1.0 / scale[j + 1]))
            store(factors, 3 + j, t, (x2 - centre[j + 2]) * (1.0 / scale[j + 2]))
            store(factors, 4 + j, t, (x3 - centre[j + 3]) * (1.0 / scale[j + 3]))
    for j in range(m):
        factor, c, per = factors[1 + j], centre[j], 1.0 / scale[j]
        if m == 1:  # side by side
            numbers = rows.reshape(-1)[start:end]
            for t in range(end - start):
                factor[t] = (numbers[t] - c) * per
        else:
            for t in range(whole, end - start):
                factor[t] = (rows[start + t, j] - c) * per


@numba.njit(**OPTIONS)
def _standardise_known(
    rows: Any, centre: Any, scale: Any, place: tuple[int, int], factors: Any
) -> None:
    """Do so where NaN stands for 0; before these factors write which are known."""
    width, m = place[1] - place[0], len(centre)
    standardise(rows, centre, scale, place, factors)
    for j in range(m, 0, -1):  # from where they stand to where they belong
        for t in range(0, -(-width // LANES) * LANES, LANES):
            z = load(factors, j, t)
            store(factors, m + j, t, where_less(-np.inf, z, z, 0.0))
            store(factors, j, t, where_less(-np.inf, z, 1.0, 0.0))


@numba.njit(**OPTIONS)
def posterior(
    table: Any, place: tuple[int, int, int], weights: Any, evidence: Any, numbers: Any
) -> float:
    """Make R of L in a table; return the sum of w log p(x), and write log p(x), if wanted.

    In its first k rows; its columns are the rows from a start to an end, ``(k, start, end)``, and
    what fills them up to whole strips, of weight 0.
    """
    n_states, start, end = place
    width, wide = end - start, -(-(end - start) // STRIP) * STRIP
    weight = numbers[WEIGHT]
    if len(weights):
        weight[:width] = weights[start:end]
    elif weight[width - 1] == 0.0:  # after a tile of fewer rows
        weight[:width] = 1.0
    weight[width:] = 0.0
    soften(table, (n_states, 0, wide), numbers)
    if not len(weights) and not len(evidence):
        numbers[HIGHEST, width:], numbers[SUM, width:] = 0.0, 1.0
        return sum_of_logs(numbers, wide, n_states)
    log_p, likelihood = numbers[SPARE, :width], 0.0
    log_sums(numbers[HIGHEST], numbers[SUM], log_p)
    if len(evidence):
        evidence[start:end] = log_p
    for t in range(width):
        likelihood += weight[t] * log_p[t]
    return likelihood


@numba.njit(**OPTIONS)
def _add_tile(
    c: Any, room: Any, pairs: Any, place: tuple[int, int, int], weights: Any, evidence: Any,
    sums: Any,
) -> float:  # fmt: skip
    """Add S of a tile of factors; return the sum of w log p(x)."""
    _, factors, tile, _, _, first = room
    wide = -(-(place[2] - place[1]) // STRIP) * STRIP
    write_statistics(factors, pairs, wide, tile, first)
    return add_known_tile(c, room, place, weights, evidence, sums)


@numba.njit(**OPTIONS)
def add_known_tile(
    c: Any, room: Any, place: tuple[int, int, int], weights: Any, evidence: Any, sums: Any
) -> float:
    """Do so where the statistics of the tile are written already."""
    _, _, tile, table, numbers, _ = room
    wide = -(-(place[2] - place[1]) // STRIP) * STRIP
    multiply(c, tile, wide, table)
    likelihood = posterior(table, place, weights, evidence, numbers)
    add_products(table, tile, wide, False, sums)
    return likelihood


WEIGHTS = types.Array(types.float64, 1, "C", readonly=True)
VALUES, SINGLE_VALUES = (
    types.Array(real, 2, "C", readonly=True) for real in (types.float64, types.float32)
)
PAIRS = int64[:, ::1]


@numba.njit(float64(TABLE, TABLE, PAIRS, WEIGHTS, int64, ROW, TABLE), **OPTIONS)
def expected_sums(
    c: Any, factors: Any, pairs: Any, weights: Any, n_states: int, evidence: Any, sums: Any
) -> float:
    """Add to the sums S; return that of w log p(x), and write log p(x) of each row, if wanted.

    C and S are filled up with zeros to multiples of four states and statistics.
    """
    m, n = factors.shape
    room, likelihood = tile_room(c.shape, pairs, m, n), 0.0
    width, own = room[:2]
    for start in range(0, n, width):
        end = min(start + width, n)
        for j in range(m):
            own[j, : end - start] = factors[j, start:end]
        place = n_states, start, end
        likelihood += _add_tile(c, room, pairs, place, weights, evidence, sums)
    return likelihood


@numba.njit(
    [
        float64(TABLE, rows, WEIGHTS, WEIGHTS, boolean, PAIRS, WEIGHTS, int64, ROW, TABLE)
        for rows in (VALUES, SINGLE_VALUES)
    ],
    **OPTIONS,
)
def expected_sums_of_rows(
    c: Any, rows: Any, centre: Any, scale: Any, gapped: bool, pairs: Any, weights: Any,
    n_states: int, evidence: Any, sums: Any,
) -> float:  # fmt: skip
    """Do the same where the factors are the standardised columns of the rows, with gaps or not."""
    n, n_factors = len(rows), 1 + len(centre) * (2 if gapped else 1)
    room, likelihood = tile_room(c.shape, pairs, n_factors, n), 0.0
    width, factors = room[:2]
    for start in range(0, n, width):
        end = min(start + width, n)
        if gapped:
            _standardise_known(rows, centre, scale, (start, end), factors)
        else:
            standardise(rows, centre, scale, (start, end), factors)
        place = n_states, start, end
        likelihood += _add_tile(c, room, pairs, place, weights, evidence, sums)
    return likelihood
