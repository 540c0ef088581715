"""The compiled kernel of `latentem.kernels.gapped`, whose formulas it follows."""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,var-annotated,no-any-return"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import boolean, float64, int64

from latentem.kernels.blocks import ROWS, STRIP, VECTORS
from latentem.kernels.expected_loops import (
    SINGLE_VALUES,
    VALUES,
    WEIGHTS,
    posterior,
    standardise,
    tile_room,
    write_statistics,
)
from latentem.kernels.loops import OPTIONS, ROW, TABLE, add_products, multiply

TABLES = float64[:, :, ::1]


@numba.njit(**OPTIONS)
def _sweep(matrix: Any, missing: Any, row: Any) -> float:
    """Sweep a matrix on its missing columns, in place; return log |A_uu|."""
    d, log_det = len(row), 0.0
    for j in range(d):
        if not missing[j]:
            continue
        pivot = matrix[j, j]
        log_det += np.log(pivot)
        for i in range(d):
            row[i] = matrix[j, i] / pivot
        for i in range(d):
            if i != j:
                column = matrix[i, j]
                for m in range(d):
                    matrix[i, m] -= column * row[m]
        for i in range(d):
            matrix[i, j] = matrix[j, i] = row[i]
        matrix[j, j] = -1.0 / pivot
    return log_det


@numba.njit(**OPTIONS)
def _write_pairs(seen: Any, pairs: Any) -> int:
    """Write the pairs of the statistics of the columns seen; return how many they are."""
    pairs[0, 0] = pairs[0, 1] = 0
    p = 1
    for a in range(len(seen)):
        pairs[p, 0], pairs[p, 1] = 1 + seen[a], 0
        p += 1
    for a in range(len(seen)):
        for b in range(a, len(seen)):
            pairs[p, 0], pairs[p, 1] = 1 + seen[a], 1 + seen[b]
            p += 1
    return p


@numba.njit(**OPTIONS)
def _write_coefficients(matrix: Any, mean: Any, seen: Any, constant: float, c: Any) -> None:
    """Write the coefficients of the same statistics, given P."""
    square, place = 0.0, 1 + len(seen)
    for a in range(len(seen)):
        linear = 0.0
        for b in range(len(seen)):
            linear += matrix[seen[a], seen[b]] * mean[seen[b]]
        c[1 + a] = linear
        square += linear * mean[seen[a]]
        for b in range(a, len(seen)):
            c[place] = (-0.5 if b == a else -1.0) * matrix[seen[a], seen[b]]
            place += 1
    c[0] = constant - 0.5 * square


@numba.njit(**OPTIONS)
def _complete(
    matrix: Any, mean: Any, seen: Any, hidden: Any, sums: Any, room: Any, products: Any
) -> None:
    """Add to the products of a state those of completed rows, given the sums of its statistics."""
    whole, image, across = room
    m, place = 1 + len(seen), 1 + len(seen)
    whole[0, 0] = sums[0]
    for a in range(1, m):
        whole[0, a] = whole[a, 0] = sums[a]
        for b in range(a, m):
            whole[a, b] = whole[b, a] = sums[place]
            place += 1
    for a in range(m):
        i = 0 if a == 0 else 1 + seen[a - 1]
        for b in range(m):
            products[i, 0 if b == 0 else 1 + seen[b - 1]] += whole[a, b]
    for u in range(len(hidden)):
        h = hidden[u]
        image[u, 0] = mean[h]
        for b in range(1, m):
            gain = -matrix[h, seen[b - 1]]
            image[u, b] = gain
            image[u, 0] -= gain * mean[seen[b - 1]]
        for b in range(m):
            total = 0.0
            for a in range(m):
                total += image[u, a] * whole[a, b]
            across[b] = total
            i = 0 if b == 0 else 1 + seen[b - 1]
            products[1 + h, i] += total
            products[i, 1 + h] += total
        for v in range(u + 1):
            total = -sums[0] * matrix[h, hidden[v]]
            for b in range(m):
                total += across[b] * image[v, b]
            products[1 + h, 1 + hidden[v]] += total
            if v < u:
                products[1 + hidden[v], 1 + h] += total


@numba.njit(
    [
        float64(
            ROW, TABLE, TABLES, ROW, boolean[:, ::1], int64[::1], rows, WEIGHTS, WEIGHTS, WEIGHTS,
            ROW, ROW, TABLES,
        )
        for rows in (VALUES, SINGLE_VALUES)
    ],
    **OPTIONS,
)  # fmt: skip
def expected_products(
    constant: Any, mean: Any, precision: Any, units: Any, observed: Any, starts: Any, rows: Any,
    centre: Any, scale: Any, weights: Any, evidence: Any, counts: Any, products: Any,
) -> float:  # fmt: skip
    """Add to the counts and products, write log p of each row; return the entropy."""
    n_states, d = mean.shape
    filled, most = -(-n_states // ROWS) * ROWS, -(-(1 + d + d * (d + 1) // 2) // VECTORS) * VECTORS
    pairs = np.zeros((most, 2), np.int64)
    width, factors, tile, table, numbers, _ = tile_room((filled, most), pairs[:0], 1 + d, len(rows))
    c_room, sums_room = np.zeros(filled * most), np.zeros(filled * most)
    matrices, log_det = np.empty((n_states, d, d)), np.empty(n_states)
    row = np.empty(d)
    room = np.empty((1 + d, 1 + d)), np.empty((d, 1 + d)), np.empty(1 + d)
    entropy = 0.0
    for q in range(len(observed)):
        seen, hidden = np.flatnonzero(observed[q]), np.flatnonzero(~observed[q])
        p = _write_pairs(seen, pairs)
        wide = -(-p // VECTORS) * VECTORS
        # Of the statistics that fill them up the coefficients are 0, and the sums are not read.
        c = c_room[: filled * wide].reshape(filled, wide)
        sums = sums_room[: filled * wide].reshape(filled, wide)
        c[:], sums[:] = 0.0, 0.0
        unit = units[seen].sum()
        for k in range(n_states):
            matrices[k] = precision[k]
            log_det[k] = _sweep(matrices[k], ~observed[q], row)
            given = constant[k] - 0.5 * log_det[k] - unit
            _write_coefficients(matrices[k], mean[k], seen, given, c[k])
        for start in range(starts[q], starts[q + 1], width):
            end = min(start + width, starts[q + 1])
            strips = -(-(end - start) // STRIP) * STRIP
            standardise(rows, centre, scale, (start, end), factors)
            for j in seen:  # where rows of other patterns may have left what is no number
                factors[1 + j, end - start : strips] = 0.0
            write_statistics(factors, pairs[:p], strips, tile, 0)
            multiply(c, tile, strips, table)
            posterior(table, (n_states, start, end), weights, evidence, numbers)
            add_products(table, tile, strips, False, sums)
        for k in range(n_states):
            counts[k] += sums[k, 0]
            if len(seen):
                own = units[hidden].sum() + 0.5 * len(hidden) - 0.5 * log_det[k]
                entropy += sums[k, 0] * own
                _complete(matrices[k], mean[k], seen, hidden, sums[k], room, products[k])
    return entropy
