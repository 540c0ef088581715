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
    log_product,
    log_sums,
    multiply,
)

#: States and statistics of which tiles twice as wide still stay in a core's second cache.
FEW = 128


@numba.njit(**OPTIONS)
def _tile_width(c: Any) -> int:
    """Return the rows of a tile: more where they are short, since each tile has its own cost."""
    return 2 * TILE if c.shape[-2] + c.shape[-1] <= FEW else TILE


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
def _begin_with_factors(pairs: Any, n_factors: int) -> bool:
    """Return whether the first statistics are the factors, in order."""
    for j in range(n_factors):
        if j >= len(pairs) or pairs[j, 0] != j or pairs[j, 1] != 0:
            return False
    return True


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
        factor, c, per = factors[1 + j, : end - start], centre[j], 1.0 / scale[j]
        for t in range(end - start):
            factor[t] = (rows[start + t, j] - c) * per


@numba.njit(**OPTIONS)
def _standardise_known(
    rows: Any, centre: Any, scale: Any, place: tuple[int, int], factors: Any
) -> None:
    """Do so where NaN stands for 0; before these factors write which are known."""
    start, end = place
    m = len(centre)
    for j in range(m):
        known, factor = factors[1 + j, : end - start], factors[1 + m + j, : end - start]
        c, per = centre[j], 1.0 / scale[j]
        for t in range(end - start):
            x = rows[start + t, j]
            known[t] = 1.0 if x == x else 0.0
            factor[t] = (x - c) * per if x == x else 0.0


@numba.njit(**OPTIONS)
def _posterior(
    table: Any, place: tuple[int, int, int], weights: Any, evidence: Any, scratch: Any
) -> float:
    """Make R of L in a table; return the sum of w log p(x), and write log p(x), if wanted.

    In its first k rows; its columns are the rows from a start to an end, ``(k, start, end)``.
    """
    n_states, start, end = place
    width = end - start
    highest, total, scale = scratch[0, :width], scratch[1, :width], scratch[2, :width]
    exponentials(table, (n_states, 0, width), highest, total)
    for t in range(width):
        scale[t] = 1.0 / total[t] if total[t] > 0.0 else 1.0
    if len(weights):
        for t in range(width):
            scale[t] *= weights[start + t]
    multiply(table, (n_states, 0, width), scale)
    likelihood: float = 0.0
    if not len(weights) and not len(evidence):
        for t in range(width):
            likelihood += highest[t]
        likelihood += log_product(total, scratch[2])
        return likelihood
    log_sums(highest, total, scale)
    if len(evidence):
        evidence[start:end] = scale
    for t in range(width):
        likelihood += scale[t] * (weights[start + t] if len(weights) else 1.0)
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
    width, n, likelihood = _tile_width(c), factors.shape[1], 0.0
    tile, table = np.zeros((c.shape[1], width)), np.empty((c.shape[0], width))
    scratch = np.empty((3, width))
    for start in range(0, n, width):
        end = min(start + width, n)
        _statistics(factors, pairs, start, end, tile)
        _product(c, tile, end - start, table)
        likelihood += _posterior(table, (n_states, start, end), weights, evidence, scratch)
        add_products(table, tile, end - start, False, sums)
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
    width, n, likelihood = _tile_width(c), len(rows), 0.0
    tile, table = np.zeros((c.shape[1], width)), np.empty((c.shape[0], width))
    scratch = np.empty((3, width))
    n_factors = 1 + len(centre) * (2 if gapped else 1)
    # Factors that are the first statistics are written in their place.
    first = n_factors if _begin_with_factors(pairs, n_factors) else 0
    factors = tile if first else np.empty((n_factors, width))
    factors[0] = 1.0
    for start in range(0, n, width):
        end = min(start + width, n)
        if gapped:
            _standardise_known(rows, centre, scale, (start, end), factors)
        else:
            _standardise(rows, centre, scale, (start, end), factors)
        _statistics(factors, pairs[first:], 0, end - start, tile[first:])
        _product(c, tile, end - start, table)
        likelihood += _posterior(table, (n_states, start, end), weights, evidence, scratch)
        add_products(table, tile, end - start, False, sums)
    return likelihood


@numba.njit(
    [
        float64(
            float64[:, :, ::1], int64[::1], rows, WEIGHTS, WEIGHTS, PAIRS, WEIGHTS, int64, ROW,
            float64[:, :, ::1],
        )
        for rows in (VALUES, SINGLE_VALUES)
    ],
    **OPTIONS,
)  # fmt: skip
def expected_sums_of_patterns(
    c: Any, starts: Any, rows: Any, centre: Any, scale: Any, pairs: Any, weights: Any,
    n_states: int, evidence: Any, sums: Any,
) -> float:  # fmt: skip
    """Do the same for runs of rows with coefficients and sums of their own; NaN counts as 0."""
    width, n_factors, likelihood = _tile_width(c), 1 + len(centre), 0.0
    tile, table = np.zeros((c.shape[2], width)), np.empty((c.shape[1], width))
    scratch = np.empty((3, width))
    first = n_factors if _begin_with_factors(pairs, n_factors) else 0
    factors = tile if first else np.empty((n_factors, width))
    factors[0] = 1.0
    for q in range(len(c)):
        for start in range(starts[q], starts[q + 1], width):
            end = min(start + width, starts[q + 1])
            _standardise(rows, centre, scale, (start, end), factors)
            for j in range(1, n_factors):
                factor = factors[j, : end - start]
                for t in range(end - start):
                    factor[t] = factor[t] if factor[t] == factor[t] else 0.0
            _statistics(factors, pairs[first:], 0, end - start, tile[first:])
            _product(c[q], tile, end - start, table)
            likelihood += _posterior(table, (n_states, start, end), weights, evidence, scratch)
            add_products(table, tile, end - start, False, sums[q])
    return likelihood
