"""The compiled kernel of `latentem.kernels.expected`, whose formulas it follows.

A tile of rows goes through all of them before the next, so that its statistics and its table of
states stay in a core's caches and are never stored. In the products four states and four statistics
are taken together: a number loaded is used four times.
"""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import boolean, float64, int64, types

from latentem.kernels.loops import (
    OPTIONS,
    ROW,
    TABLE,
    TILE,
    add_products,
    exponentials,
    log_sums,
    multiply,
)


@numba.njit(**OPTIONS)
def _statistics(factors: Any, pairs: Any, start: int, end: int, tile: Any) -> None:
    """Write T."""
    width = end - start
    for j in range(len(pairs)):
        a, b = pairs[j]
        row, one, other = tile[j, :width], factors[a, start:end], factors[b, start:end]
        if b == 0:  # ones
            row[:] = one
        elif b > 0:
            for t in range(width):
                row[t] = one[t] * other[t]
        else:
            level = float(-b)
            for t in range(width):
                row[t] = 1.0 if one[t] == level else 0.0


@numba.njit(**OPTIONS)
def _product(c: Any, tile: Any, width: int, table: Any) -> None:
    """Write L = C T."""
    for k in range(0, c.shape[0], 4):
        l0, l1 = table[k, :width], table[k + 1, :width]
        l2, l3 = table[k + 2, :width], table[k + 3, :width]
        for t in range(width):
            l0[t], l1[t], l2[t], l3[t] = 0.0, 0.0, 0.0, 0.0
        for j in range(0, c.shape[1], 4):
            row0, row1 = tile[j, :width], tile[j + 1, :width]
            row2, row3 = tile[j + 2, :width], tile[j + 3, :width]
            a0, a1, a2, a3 = c[k, j], c[k, j + 1], c[k, j + 2], c[k, j + 3]
            b0, b1, b2, b3 = c[k + 1, j], c[k + 1, j + 1], c[k + 1, j + 2], c[k + 1, j + 3]
            d0, d1, d2, d3 = c[k + 2, j], c[k + 2, j + 1], c[k + 2, j + 2], c[k + 2, j + 3]
            e0, e1, e2, e3 = c[k + 3, j], c[k + 3, j + 1], c[k + 3, j + 2], c[k + 3, j + 3]
            for t in range(width):
                x0, x1, x2, x3 = row0[t], row1[t], row2[t], row3[t]
                # Not "+=": from left to right, each product is one instruction with its sum.
                l0[t] = l0[t] + a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                l1[t] = l1[t] + b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
                l2[t] = l2[t] + d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3
                l3[t] = l3[t] + e0 * x0 + e1 * x1 + e2 * x2 + e3 * x3


@numba.njit(**OPTIONS)
def _standardise(rows: Any, centre: Any, scale: Any, place: tuple[int, int], factors: Any) -> None:
    """Write the factors of rows from a start to an end; the first of them, 1, stands already."""
    start, end = place
    for j in range(len(centre)):
        factor, c, s = factors[1 + j, : end - start], centre[j], scale[j]
        for t in range(end - start):
            factor[t] = (rows[start + t, j] - c) / s


@numba.njit(**OPTIONS)
def _standardise_known(
    rows: Any, centre: Any, scale: Any, place: tuple[int, int], factors: Any
) -> None:
    """Do so where NaN stands for 0; before these factors write which are known."""
    start, end = place
    m = len(centre)
    for j in range(m):
        known, factor = factors[1 + j, : end - start], factors[1 + m + j, : end - start]
        c, s = centre[j], scale[j]
        for t in range(end - start):
            x = rows[start + t, j]
            known[t] = 1.0 if x == x else 0.0
            factor[t] = (x - c) / s if x == x else 0.0


@numba.njit(**OPTIONS)
def _posterior(table: Any, n_states: int, weights: Any, evidence: Any, scratch: Any) -> None:
    """Make R of L in a table, and write log p(x)."""
    width = len(evidence)
    highest, total, scale = scratch[0, :width], scratch[1, :width], scratch[2, :width]
    exponentials(table, (n_states, 0, width), highest, total)
    for t in range(width):
        scale[t] = 1.0 / total[t] if total[t] > 0.0 else 1.0
        scale[t] *= weights[t] if len(weights) else 1.0
    multiply(table, (n_states, 0, width), scale)
    log_sums(highest, total, evidence)


WEIGHTS = types.Array(types.float64, 1, "C", readonly=True)
VALUES = types.Array(types.float64, 2, "C", readonly=True)
PAIRS = int64[:, ::1]


@numba.njit(types.void(TABLE, TABLE, PAIRS, WEIGHTS, int64, ROW, TABLE), **OPTIONS)
def expected_sums(
    c: Any, factors: Any, pairs: Any, weights: Any, n_states: int, evidence: Any, sums: Any
) -> None:
    """Add to the sums S, and write log p(x) of each row.

    C and S are filled up with zeros to multiples of four states and statistics.
    """
    tile, table = np.zeros((c.shape[1], TILE)), np.empty((c.shape[0], TILE))
    scratch = np.empty((3, TILE))
    for start in range(0, len(evidence), TILE):
        end = min(start + TILE, len(evidence))
        _statistics(factors, pairs, start, end, tile)
        _product(c, tile, end - start, table)
        _posterior(table, n_states, weights[start:end], evidence[start:end], scratch)
        add_products(table, tile, end - start, False, sums)


@numba.njit(
    types.void(TABLE, VALUES, WEIGHTS, WEIGHTS, boolean, PAIRS, WEIGHTS, int64, ROW, TABLE),
    **OPTIONS,
)
def expected_sums_of_rows(
    c: Any, rows: Any, centre: Any, scale: Any, gapped: bool, pairs: Any, weights: Any,
    n_states: int, evidence: Any, sums: Any,
) -> None:  # fmt: skip
    """Do the same where the factors are the standardised columns of the rows, with gaps or not."""
    tile, table = np.zeros((c.shape[1], TILE)), np.empty((c.shape[0], TILE))
    factors, scratch = np.ones((1 + 2 * len(centre), TILE)), np.empty((3, TILE))
    for start in range(0, len(evidence), TILE):
        end = min(start + TILE, len(evidence))
        if gapped:
            _standardise_known(rows, centre, scale, (start, end), factors)
        else:
            _standardise(rows, centre, scale, (start, end), factors)
        _statistics(factors, pairs, 0, end - start, tile)
        _product(c, tile, end - start, table)
        _posterior(table, n_states, weights[start:end], evidence[start:end], scratch)
        add_products(table, tile, end - start, False, sums)


@numba.njit(
    types.void(
        float64[:, :, ::1], int64[::1], VALUES, WEIGHTS, WEIGHTS, PAIRS, WEIGHTS, int64, ROW,
        float64[:, :, ::1],
    ),
    **OPTIONS,
)  # fmt: skip
def expected_sums_of_patterns(
    c: Any, starts: Any, rows: Any, centre: Any, scale: Any, pairs: Any, weights: Any,
    n_states: int, evidence: Any, sums: Any,
) -> None:  # fmt: skip
    """Do the same for runs of rows with coefficients and sums of their own; NaN counts as 0."""
    tile, table = np.zeros((c.shape[2], TILE)), np.empty((c.shape[1], TILE))
    factors, scratch = np.ones((1 + len(centre), TILE)), np.empty((3, TILE))
    for q in range(len(c)):
        for start in range(starts[q], starts[q + 1], TILE):
            end = min(start + TILE, starts[q + 1])
            _standardise(rows, centre, scale, (start, end), factors)
            for j in range(1, len(factors)):
                factor = factors[j, : end - start]
                for t in range(end - start):
                    factor[t] = factor[t] if factor[t] == factor[t] else 0.0
            _statistics(factors, pairs, 0, end - start, tile)
            _product(c[q], tile, end - start, table)
            _posterior(table, n_states, weights[start:end], evidence[start:end], scratch)
            add_products(table, tile, end - start, False, sums[q])
