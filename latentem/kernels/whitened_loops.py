"""The compiled kernels of `latentem.kernels.whitened`, whose formulas they follow.

Rows go through in tiles that stay in a core's second cache, in four by four products at a time: a
number loaded is used four times. So the processor multiplies about as fast as it can.
"""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import float64, int64, types

from latentem.kernels.loops import OPTIONS, ROW, TABLE, TILE, add_products

GIVEN, MATRICES = types.Array(types.float64, 2, "C", readonly=True), float64[:, :, ::1]


@numba.njit(**OPTIONS)
def _add_squares(w: Any, ends: Any, shift: Any, tile: Any, white: Any, squares: Any) -> None:
    """Add |W z - b|^2 of a tile of rows, four rows of W at a time."""
    width = len(squares)
    v0, v1, v2, v3 = white[0, :width], white[1, :width], white[2, :width], white[3, :width]
    for k in range(0, w.shape[0], 4):
        for t in range(width):
            v0[t], v1[t], v2[t], v3[t] = -shift[k], -shift[k + 1], -shift[k + 2], -shift[k + 3]
        for j in range(0, ends[k // 4], 4):
            row0, row1 = tile[j, :width], tile[j + 1, :width]
            row2, row3 = tile[j + 2, :width], tile[j + 3, :width]
            a0, a1, a2, a3 = w[k, j], w[k, j + 1], w[k, j + 2], w[k, j + 3]
            b0, b1, b2, b3 = w[k + 1, j], w[k + 1, j + 1], w[k + 1, j + 2], w[k + 1, j + 3]
            d0, d1, d2, d3 = w[k + 2, j], w[k + 2, j + 1], w[k + 2, j + 2], w[k + 2, j + 3]
            e0, e1, e2, e3 = w[k + 3, j], w[k + 3, j + 1], w[k + 3, j + 2], w[k + 3, j + 3]
            for t in range(width):
                x0, x1, x2, x3 = row0[t], row1[t], row2[t], row3[t]
                # Not "+=": from left to right, each product is one instruction with its sum.
                v0[t] = v0[t] + a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                v1[t] = v1[t] + b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
                v2[t] = v2[t] + d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3
                v3[t] = v3[t] + e0 * x0 + e1 * x1 + e2 * x2 + e3 * x3
        for t in range(width):
            squares[t] += v0[t] * v0[t] + v1[t] * v1[t] + v2[t] * v2[t] + v3[t] * v3[t]


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
    tile, white = np.zeros((whitening.shape[1], TILE)), np.empty((4, TILE))
    for start in range(0, n, TILE):
        end = min(start + TILE, n)
        _copy(z, start, end, tile)
        for k in range(len(whitening)):
            _add_squares(whitening[k], ends, shift[k], tile, white, out[k, start:end])


@numba.njit(types.void(GIVEN, GIVEN, ROW, MATRICES), **OPTIONS)
def second_moments(z: Any, weights: Any, least: Any, out: Any) -> None:
    """Add the second moments S of rows of more than the least weights to ``out``, filled up too."""
    n = z.shape[1]
    tile, roots, rows = np.zeros((out.shape[1], TILE)), np.empty(TILE), np.empty(n, np.int64)
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
            add_products(tile, tile, len(these), True, out[k])
        for i in range(out.shape[1]):
            for j in range(i):
                out[k, i, j] = out[k, j, i]
