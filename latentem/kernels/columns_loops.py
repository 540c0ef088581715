"""The compiled kernel of `latentem.kernels.columns`, whose formulas it follows."""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,var-annotated"
from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import types

from latentem.kernels.loops import OPTIONS, TABLE
from latentem.kernels.vectors import LANES, load, spread, store, where_less

#: Numbers side by side whose sums stay in registers, and about how many are taken as a long row.
GROUP, SIDE_BY_SIDE = 4 * LANES, 512


@numba.njit(**OPTIONS)
def _add_group(long: Any, j: int, out: Any) -> None:
    """Write sums of a group of columns, from j on, and the largest and the least number of each."""
    s0 = s1 = s2 = s3 = spread(0.0)
    h0 = h1 = h2 = h3 = spread(-np.inf)
    l0 = l1 = l2 = l3 = spread(np.inf)
    for i in range(len(long)):
        x0, x1 = load(long, i, j), load(long, i, j + LANES)
        x2, x3 = load(long, i, j + 2 * LANES), load(long, i, j + 3 * LANES)
        s0, s1, s2, s3 = s0 + x0, s1 + x1, s2 + x2, s3 + x3
        # Not if it is NaN.
        h0, h1 = where_less(h0, x0, x0, h0), where_less(h1, x1, x1, h1)
        h2, h3 = where_less(h2, x2, x2, h2), where_less(h3, x3, x3, h3)
        l0, l1 = where_less(x0, l0, x0, l0), where_less(x1, l1, x1, l1)
        l2, l3 = where_less(x2, l2, x2, l2), where_less(x3, l3, x3, l3)
    for v, (s, h, low) in enumerate(((s0, h0, l0), (s1, h1, l1), (s2, h2, l2), (s3, h3, l3))):
        store(out, 0, j + v * LANES, s)
        store(out, 1, j + v * LANES, h)
        store(out, 2, j + v * LANES, low)


@numba.njit(**OPTIONS)
def _known(x: Any) -> Any:
    """Return a vector with 0 for NaN."""
    return where_less(x, np.inf, x, where_less(-np.inf, x, x, 0.0))


@numba.njit(**OPTIONS)
def _add_deviations_of_group(long: Any, j: int, mean: Any, out: Any) -> None:
    """Write sums of the deviations of a group of columns, from j on, and of their squares."""
    m0, m1 = load(mean, 0, j), load(mean, 0, j + LANES)
    m2, m3 = load(mean, 0, j + 2 * LANES), load(mean, 0, j + 3 * LANES)
    s0 = s1 = s2 = s3 = q0 = q1 = q2 = q3 = spread(0.0)
    for i in range(len(long)):
        y0 = _known(load(long, i, j) - m0)
        y1 = _known(load(long, i, j + LANES) - m1)
        y2 = _known(load(long, i, j + 2 * LANES) - m2)
        y3 = _known(load(long, i, j + 3 * LANES) - m3)
        s0, s1, s2, s3 = s0 + y0, s1 + y1, s2 + y2, s3 + y3
        q0, q1, q2, q3 = q0 + y0 * y0, q1 + y1 * y1, q2 + y2 * y2, q3 + y3 * y3
    for v, (s, q) in enumerate(((s0, q0), (s1, q1), (s2, q2), (s3, q3))):
        store(out, 0, j + v * LANES, s)
        store(out, 1, j + v * LANES, q)


@numba.njit(**OPTIONS)
def _add(numbers: Any, out: Any) -> None:
    """Add to the sums of columns, and bring the largest and the least numbers up to date."""
    sums, high, low = out
    for i in range(numbers.shape[0]):
        for j in range(numbers.shape[1]):
            x = numbers[i, j]
            sums[j] += x
            high[j] = x if x > high[j] else high[j]  # not if it is NaN
            low[j] = x if x < low[j] else low[j]


@numba.njit(**OPTIONS)
def _add_known(numbers: Any, sums: Any, counts: Any) -> None:
    """Add numbers to the sums of columns, and count them; NaN is none."""
    for i in range(numbers.shape[0]):
        for j in range(numbers.shape[1]):
            x = numbers[i, j]
            sums[j] += x if x == x else 0.0
            counts[j] += 1.0 if x == x else 0.0


@numba.njit(**OPTIONS)
def _add_deviations(numbers: Any, mean: Any, out: Any) -> None:
    """Add the deviations of numbers, and their squares, to those of columns; of NaN they are 0."""
    sums, squares = out
    for i in range(numbers.shape[0]):
        for j in range(numbers.shape[1]):
            deviation = numbers[i, j] - mean[j]
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
    m = max(1, min(GROUP // math.gcd(d, GROUP), SIDE_BY_SIDE // d))
    n_long, wide = n // m, m * d
    long, rest = values[: n_long * m].reshape(n_long, wide), values[n_long * m :]
    grouped = wide // GROUP * GROUP
    sums, high, low = first = np.zeros((3, wide))
    high[:], low[:] = -np.inf, np.inf
    for j in range(0, grouped, GROUP):
        _add_group(long, j, first)
    _add(long[:, grouped:], first[:, grouped:])
    _add(rest, first[:, :d])
    total = sums.sum()
    counts = np.full(wide, float(n_long))
    counts[:d] += len(rest)
    if total != total:  # there are gaps
        sums[:], counts[:] = 0.0, 0.0
        _add_known(long, sums, counts)
        _add_known(rest, sums[:d], counts[:d])
    mean = np.empty((1, wide))
    for j in range(d):
        out[4, j] = counts[j::d].sum()
        mean[0, j::d] = sums[j::d].sum() / max(out[4, j], 1.0)
    # What the rounding of the sums lost of the mean, the mean of the deviations has.
    deviations, squares = second = np.zeros((2, wide))
    for j in range(0, grouped, GROUP):
        _add_deviations_of_group(long, j, mean, second)
    _add_deviations(long[:, grouped:], mean[0, grouped:], second[:, grouped:])
    _add_deviations(rest, mean[0, :d], second[:, :d])
    for j in range(d):
        share = 1.0 / max(out[4, j], 1.0)
        lost = share * deviations[j::d].sum()
        out[0, j] = mean[0, j] + lost
        out[1, j] = max(share * squares[j::d].sum() - lost * lost, 0.0)
        out[2, j], out[3, j] = high[j::d].max(), low[j::d].min()
