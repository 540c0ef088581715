"""The compiled kernel of `latentem.kernels.nearest`, whose formulas it follows.

Rows to be looked at are gathered into tiles, k-major, that stay in a core's first cache with their
scores; four points and four columns are taken together, so that a number loaded is used four times.
"""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import float32, float64, int32, int64, types, uint8

from latentem.kernels.loops import OPTIONS, ROW, TABLE, TILE
from latentem.kernels.nearest import ROUND_DOWN as DOWN

ROUND_DOWN = DOWN  # a constant of this module, compiled in


@numba.njit(**OPTIONS)
def _two_best(tile: Any, width: int, at: Any, half: Any, work: Any) -> None:
    """Write the highest score of each row, the next, and the point of the highest.

    Into the first three rows of ``work`` ``(7, TILE)``; the first of equal points is taken.
    """
    best, second, label = work[0, :width], work[1, :width], work[2, :width]
    s0, s1, s2, s3 = work[3, :width], work[4, :width], work[5, :width], work[6, :width]
    best[:] = -np.inf
    second[:] = -np.inf
    label[:] = 0.0
    for k in range(0, at.shape[0], 4):
        a, b, c, d = at[k], at[k + 1], at[k + 2], at[k + 3]
        h0, h1, h2, h3 = half[k], half[k + 1], half[k + 2], half[k + 3]
        for t in range(width):
            s0[t], s1[t], s2[t], s3[t] = -h0, -h1, -h2, -h3
        for j in range(0, at.shape[1], 4):
            z0, z1, z2, z3 = (
                tile[j, :width],
                tile[j + 1, :width],
                tile[j + 2, :width],
                tile[j + 3, :width],
            )
            a0, a1, a2, a3 = a[j], a[j + 1], a[j + 2], a[j + 3]
            b0, b1, b2, b3 = b[j], b[j + 1], b[j + 2], b[j + 3]
            c0, c1, c2, c3 = c[j], c[j + 1], c[j + 2], c[j + 3]
            d0, d1, d2, d3 = d[j], d[j + 1], d[j + 2], d[j + 3]
            for t in range(width):
                s0[t] += a0 * z0[t] + a1 * z1[t] + a2 * z2[t] + a3 * z3[t]
                s1[t] += b0 * z0[t] + b1 * z1[t] + b2 * z2[t] + b3 * z3[t]
                s2[t] += c0 * z0[t] + c1 * z1[t] + c2 * z2[t] + c3 * z3[t]
                s3[t] += d0 * z0[t] + d1 * z1[t] + d2 * z2[t] + d3 * z3[t]
        for t in range(width):
            high, low, point = best[t], second[t], label[t]
            low = max(low, min(s0[t], high))
            point = float(k) if s0[t] > high else point
            high = max(high, s0[t])
            low = max(low, min(s1[t], high))
            point = float(k + 1) if s1[t] > high else point
            high = max(high, s1[t])
            low = max(low, min(s2[t], high))
            point = float(k + 2) if s2[t] > high else point
            high = max(high, s2[t])
            low = max(low, min(s3[t], high))
            point = float(k + 3) if s3[t] > high else point
            high = max(high, s3[t])
            best[t], second[t], label[t] = high, low, point


@numba.njit(**OPTIONS)
def _add(sums: Any, weight: float, z: Any, square: float) -> None:
    """Add a row to the sums of one point, ``(d + 3,)``; take it away if the weight is negative."""
    sums[0] += 1.0 if weight > 0.0 else -1.0 if weight < 0.0 else 0.0
    sums[1] += weight
    for j in range(len(sums) - 3):
        sums[j + 2] += weight * z[j]
    sums[-1] += weight * square


def _reassign(rows: Any, weights: Any, points: Any, known: Any, sums: Any) -> int:
    at, half, frame, rounding = points
    drift, labels, limits = known
    n, d = rows.shape
    tile, square, index = np.zeros((at.shape[1], TILE)), np.empty(TILE), np.empty(TILE, np.int64)
    work = np.empty((7, TILE))
    best, second, label = work[0], work[1], work[2]
    largest = 0.0
    for k in range(len(drift)):
        largest = max(largest, 2.0 * half[k])
    width, n_changed = 0, 0
    for i in range(n + 1):
        if i < n:
            if labels[i] >= 0 and limits[i] > drift[labels[i]]:
                continue
            index[width] = i
            for j in range(d):
                tile[j, width] = (rows[i, j] - frame[0, j]) * frame[1, j]
            width += 1
            if width < TILE:
                continue
        square[:width] = 0.0
        for j in range(d):
            column = tile[j, :width]
            for t in range(width):
                square[t] += column[t] * column[t]
        _two_best(tile, width, at, half, work)
        for t in range(width):
            error = rounding * (square[t] + largest)
            near = np.sqrt(max(square[t] - 2.0 * best[t], 0.0) + error)
            far = np.sqrt(max(square[t] - 2.0 * second[t], 0.0) + error)
            second[t] = (2.0 * (best[t] - second[t]) - 2.0 * error) / (near + far)
        for t in range(width):
            i, new = index[t], int(label[t])
            gap = second[t] if len(drift) > 1 else np.inf
            limits[i] = (gap + drift[new]) * ROUND_DOWN if gap > 0.0 else -np.inf
            old = labels[i]
            if new != old:
                n_changed += 1
                labels[i] = new
                weight = 1.0 if len(weights) == 0 else weights[i]
                _add(sums[new], weight, tile[:, t], square[t])
                if old >= 0:
                    _add(sums[old], -weight, tile[:, t], square[t])
        width = 0
    return n_changed


_POINTS = types.Tuple((TABLE, ROW, TABLE, float64))
_KNOWN = types.Tuple((ROW, int32[::1], float32[::1]))


def _read_only(kind: Any, ndim: int) -> Any:
    return types.Array(kind, ndim, "A", readonly=True)


reassign = numba.njit(
    [
        int64(_read_only(kind, 2), _read_only(float64, 1), _POINTS, _KNOWN, TABLE)
        for kind in (float64, float32, uint8)
    ],
    **OPTIONS,
)(_reassign)
