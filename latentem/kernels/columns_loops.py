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


@numba.njit(**OPTIONS)
def _add_known(numbers: Any, sums: Any, counts: Any) -> None:
    """Add numbers side by side to sums, and count them; NaN is none."""
    for j in range(len(sums)):
        x = numbers[j]
        sums[j] += x if x == x else 0.0
        counts[j] += 1.0 if x == x else 0.0


@numba.njit(**OPTIONS)
def _add_deviations(numbers: Any, mean: Any, sums: Any, squares: Any) -> None:
    """Add numbers side by side, less the mean, and their squares; those of NaN are 0."""
    for j in range(len(mean)):
        deviation = numbers[j] - mean[j]
        deviation = deviation if deviation == deviation else 0.0
        sums[j] += deviation
        squares[j] += deviation * deviation


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
            high[j] = x if x > high[j] else high[j]  # not if it is NaN
            low[j] = x if x < low[j] else low[j]
    for i in range(whole, n):
        for j in range(d):
            x = values[i, j]
            sums[j] += x
            high[j] = x if x > high[j] else high[j]
            low[j] = x if x < low[j] else low[j]
    total = sums.sum()
    counts = np.full(wide, float(n_long))
    counts[:d] += n - whole
    if total != total:  # there are gaps
        sums[:], counts[:] = 0.0, 0.0
        for i in range(n_long):
            _add_known(long[i], sums, counts)
        for i in range(whole, n):
            _add_known(values[i], sums[:d], counts[:d])
    for j in range(d):
        out[4, j] = counts[j::d].sum()
        mean[j] = sums[j::d].sum() / max(out[4, j], 1.0)
    for j in range(d, wide):
        mean[j] = mean[j - d]
    # What the rounding of the sums lost of the mean, the mean of the deviations has.
    sums[:] = 0.0
    for i in range(n_long):
        _add_deviations(long[i], mean, sums, squares)
    for i in range(whole, n):
        _add_deviations(values[i], mean[:d], sums[:d], squares[:d])
    for j in range(d):
        share = 1.0 / max(out[4, j], 1.0)
        rest = share * sums[j::d].sum()
        out[0, j] = mean[j] + rest
        out[1, j] = max(share * squares[j::d].sum() - rest * rest, 0.0)
        out[2, j], out[3, j] = high[j::d].max(), low[j::d].min()
