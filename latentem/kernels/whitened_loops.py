"""The compiled kernels of `latentem.kernels.whitened`, whose formulas they follow.

Rows go through in tiles that stay in a core's second cache, by the blocks of products of
`latentem.kernels.blocks`.
"""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,var-annotated"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import float64, int64, types

from latentem.kernels.blocks import ROWS, STRIP, write_block
from latentem.kernels.loops import OPTIONS, ROW, TABLE, TILE, add_products
from latentem.kernels.vectors import LANES, load, store, tile_of

GIVEN, MATRICES = types.Array(types.float64, 2, "C", readonly=True), float64[:, :, ::1]


@numba.njit(**OPTIONS)
def _add_squares(
    w: Any, ends: Any, shift: Any, tile: Any, width: int, white: Any, squares: Any
) -> None:
    """Add |W z - b|^2 of a tile of rows to numbers of them, four rows of W at a time."""
    for k in range(0, w.shape[0], ROWS):
        for t in range(0, width, STRIP):
            write_block(w, k, ends[k // ROWS], tile, t, white, 0)
        for t in range(0, width, LANES):
            square = load(squares, 0, t)
            for i in range(ROWS):
                v = load(white, i, t) - shift[k + i]
                square = square + v * v
            store(squares, 0, t, square)


@numba.njit(**OPTIONS)
def _copy(z: Any, start: int, end: int, tile: Any) -> None:
    """Write a tile of rows."""
    for j in range(z.shape[0]):
        source, row = z[j, start:end], tile[j, : end - start]
        for t in range(end - start):
            row[t] = source[t]


@numba.njit(**OPTIONS)
def _scale(z: Any, rows: Any, roots: Any, tile: Any) -> None:
    """Write a tile of these rows, each times the root of its weight."""
    width = len(rows)
    consecutive = rows[-1] - rows[0] == width - 1
    start = rows[0]
    for j in range(z.shape[0]):
        row = tile[j, :width]
        if consecutive:
            source = z[j, start : start + width]
            for t in range(width):
                row[t] = roots[t] * source[t]
        else:
            source = z[j, :]
            for t in range(width):
                row[t] = roots[t] * source[rows[t]]


@numba.njit(types.void(GIVEN, MATRICES, TABLE, int64[::1], TABLE), **OPTIONS)
def squares(z: Any, whitening: Any, shift: Any, ends: Any, out: Any) -> None:
    """Add the squares q to ``out``.

    W and b are filled up with zeros to a multiple of four; of ``ends``, multiples of four, there is
    one for each four rows of W.
    """
    n = z.shape[1]
    tile, white, own = tile_of(whitening.shape[1], TILE), tile_of(ROWS, TILE), tile_of(1, TILE)
    for start in range(0, n, TILE):
        end = min(start + TILE, n)
        wide = -(-(end - start) // STRIP) * STRIP
        _copy(z, start, end, tile)
        for k in range(len(whitening)):
            own[:] = 0.0
            _add_squares(whitening[k], ends, shift[k], tile, wide, white, own)
            squares = out[k, start:end]
            for t in range(end - start):
                squares[t] += own[0, t]


@numba.njit(types.void(GIVEN, GIVEN, ROW, MATRICES), **OPTIONS)
def second_moments(z: Any, weights: Any, least: Any, out: Any) -> None:
    """Add the second moments S of rows of more than the least weights to ``out``, filled up too."""
    n = z.shape[1]
    tile, roots, rows = tile_of(out.shape[1], TILE), np.empty(TILE), np.empty(n, np.int64)
    for k in range(len(weights)):
        weight, low, count = weights[k], least[k], 0
        for i in range(n):
            rows[count] = i
            count += weight[i] > low
        for start in range(0, count, TILE):
            these = rows[start : min(start + TILE, count)]
            for t in range(len(these)):
                roots[t] = np.sqrt(weight[these[t]])
            _scale(z, these, roots, tile)
            wide = -(-len(these) // LANES) * LANES
            tile[:, len(these) : wide] = 0.0
            add_products(tile, tile, wide, True, out[k])
        for i in range(out.shape[1]):
            for j in range(i):
                out[k, i, j] = out[k, j, i]
