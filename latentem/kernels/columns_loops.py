"""The compiled kernel of `latentem.kernels.columns`, whose formulas it follows."""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from latentem.kernels.loops import OPTIONS, TABLE

#: Numbers side by side for which sums are kept, so that a loop over them becomes vectors.
SIDE_BY_SIDE = 512


@numba.njit(
    [
        types.void(types.Array(real, 2, "C", readonly=readonly), TABLE)
        for real in (types.float64, types.float32)
        for readonly in (False, True)
    ],
    **OPTIONS,
)
def moments(values: Any, out: Any) -> None:
    """Write the moments: rows are taken several at a time, side by side."""
    n, d = values.shape
    m = max(1, SIDE_BY_SIDE // d)
    n_long, wide = n // m, m * d
    whole = n_long * m
    long = values[:whole].reshape(n_long, wide)
    sums, squares, mean = np.zeros(wide), np.zeros(wide), np.empty(wide)
    high, low = np.full(wide, -np.inf), np.full(wide, np.inf)
    for i in range(n_long):
        for j in range(wide):
            x = long[i, j]
            sums[j] += x
            high[j] = x if x > high[j] else high[j]
            low[j] = x if x < low[j] else low[j]
    for i in range(whole, n):
        for j in range(d):
            x = values[i, j]
            sums[j] += x
            high[j] = x if x > high[j] else high[j]
            low[j] = x if x < low[j] else low[j]
    for j in range(d):
        mean[j] = sums[j::d].sum() / n
    for j in range(d, wide):
        mean[j] = mean[j - d]
    # What the rounding of the sums lost of the mean, the mean of the deviations has.
    sums[:] = 0.0
    for i in range(n_long):
        for j in range(wide):
            deviation = long[i, j] - mean[j]
            sums[j] += deviation
            squares[j] += deviation * deviation
    for i in range(whole, n):
        for j in range(d):
            deviation = values[i, j] - mean[j]
            sums[j] += deviation
            squares[j] += deviation * deviation
    for j in range(d):
        rest = sums[j::d].sum() / n
        out[0, j], out[1, j] = mean[j] + rest, max(squares[j::d].sum() / n - rest * rest, 0.0)
        out[2, j], out[3, j] = high[j::d].max(), low[j::d].min()
