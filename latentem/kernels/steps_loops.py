"""The compiled kernel of `latentem.kernels.steps`, whose formulas it follows."""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import boolean, float64, int64
from numba.extending import register_jitable

from latentem.kernels.blocks import STRIP
from latentem.kernels.expected_loops import (
    PAIRS,
    WEIGHTS,
    add_known_tile,
    expected_sums,
    tile_room,
    write_statistics,
)
from latentem.kernels.leaps import (
    MEMORY,
    has_ended,
    judge,
    leap,
    least_squares,
    ratio,
    slowest_of_two,
)
from latentem.kernels.loops import ROW, TABLE
from latentem.kernels.moments_loops import LOG_2PI, natural_of_moments
from latentem.kernels.steps import (
    ALLOWED,
    BEFORE,
    CONSTANT,
    COUNTS,
    DIAGONAL,
    EARLIER,
    FULL,
    LEFT,
    LEVELS,
    LIKELIHOOD,
    OBJECTIVE,
    Q_AFTER,
    Q_BEFORE,
    RATE,
    ROUNDING,
    Q,
)

#: As `latentem.distributions.arrays.LOG_ZERO`: below it, a logarithm stands for that of 0.
LOG_ZERO = -1e300


@numba.njit(inline="always")
def _diagonal(mean: Any, eta: Any, log_normaliser: Any) -> float:
    """Write natural parameters and A; return the largest precision, infinity if there is none."""
    n_states, p = mean.shape
    d = p // 2
    largest = 0.0
    for k in range(n_states):
        log_normaliser[k] = 0.5 * d * LOG_2PI
        for j in range(d):
            m = mean[k, j]
            variance = mean[k, d + j] - m * m
            if not variance > 0.0:
                return np.inf
            precision = 1.0 / variance
            eta[k, j], eta[k, d + j] = precision * m, -0.5 * precision
            log_normaliser[k] += 0.5 * (precision * m * m + np.log(variance))
            largest = max(largest, precision)
    return largest


@numba.njit(inline="always")
def _logarithms(mean: Any, total: Any, eta: Any) -> None:
    """Write the logarithms of mean statistics, divided by the total of each state."""
    for k in range(len(mean)):
        for j in range(mean.shape[1]):
            eta[k, j] = np.log(mean[k, j] / total[k])


@numba.njit(inline="always")
def _maximum(kind: int, mean: Any, eta: Any, log_normaliser: Any) -> float:
    """Write natural parameters and A of mean statistics; return the largest precision, or 0."""
    if kind == FULL:
        return natural_of_moments(mean, eta, log_normaliser)
    if kind == DIAGONAL:
        return _diagonal(mean, eta, log_normaliser)
    if kind == LEVELS:
        log_normaliser[:] = 0.0
        _logarithms(mean, mean.sum(axis=1), eta)
    if kind == COUNTS:
        log_normaliser[:] = mean[:, 0]
        _logarithms(mean, np.ones(len(mean)), eta)
    return 0.0


@numba.njit(inline="always")
def _coefficients(sums: Any, n_states: int, kinds: Any, numbers: Any, ends: Any, c: Any) -> bool:
    """Write C, the maximum of Q; return whether there is no more to it."""
    total = 0.0
    for k in range(n_states):
        if not sums[k, 0] > 0.0:
            return False
        total += sums[k, 0]
    for k in range(n_states):
        c[k, 0] = np.log(sums[k, 0] / total)
    log_normaliser = np.empty(n_states)
    for f in range(len(kinds)):
        start, end = ends[f], ends[f + 1]
        mean, eta = np.empty((n_states, end - start)), np.empty((n_states, end - start))
        for k in range(n_states):
            for j in range(end - start):
                mean[k, j] = sums[k, start + j] / sums[k, 0]
        largest = _maximum(kinds[f], mean, eta, log_normaliser)
        if not largest <= numbers[f, 1] or largest == np.inf:
            return False
        for k in range(n_states):
            c[k, 0] -= log_normaliser[k] + numbers[f, 0]
            for j in range(end - start):
                if not eta[k, j] > LOG_ZERO:
                    return False
                c[k, start + j] = eta[k, j]
    return bool(np.all(c[:n_states, 0] > LOG_ZERO))


@numba.njit(inline="always")
def _product(a: Any, b: Any) -> float:
    """Return the sum of the products of the entries of two tables."""
    total = 0.0
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            total += a[i, j] * b[i, j]
    return total


@numba.njit(inline="always")
def _magnitude(c: Any, before: Any, sums: Any) -> float:
    """Return that of the terms of C . S."""
    total = 0.0
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            total += abs(c[i, j]) * max(abs(before[i, j]), abs(sums[i, j]))
    return total


for _function in (ratio, least_squares, slowest_of_two, leap, judge, has_ended):
    register_jitable(_function)


@numba.njit(
    int64(
        float64[:, :, ::1], int64, int64, int64[::1], TABLE, int64[::1], TABLE, PAIRS, WEIGHTS,
        float64, boolean, numba.from_dtype(MEMORY), TABLE, ROW, TABLE,
    ),
    nogil=True, cache=True, error_model="numpy",
)  # fmt: skip
def em_steps(
    tables: Any, n_states: int, p: int, kinds: Any, numbers: Any, ends: Any, factors: Any,
    pairs: Any, weights: Any, root: float, leaping: bool, memory: Any, path: Any, run: Any,
    values: Any,
) -> int:  # fmt: skip
    """Go on from S, the second table; write C . S and so on of each step, and count them.

    The tables are the S before and after a step, filled up with zeros to multiples of four states
    and statistics.
    """
    no_evidence = np.empty(0)
    before, own = tables
    m, n = factors.shape
    room = tile_room(own.shape, pairs, m, n)
    is_known = n <= room[0]  # one tile, whose statistics stay
    if is_known:
        for j in range(m):
            room[1][j, :n] = factors[j]
        write_statistics(room[1], pairs, -(-n // STRIP) * STRIP, room[2], room[5])
    c, new, ahead = np.zeros_like(own), np.zeros_like(own), np.zeros_like(own)
    vector, proposal = np.empty(n_states * p), np.empty(n_states * p)
    made = 0
    while made < values.shape[1]:
        is_leap = False
        if leaping:
            for k in range(n_states):
                vector[k * p : (k + 1) * p] = own[k, :p]
                vector[k * p] *= root
            is_leap = leap(memory, path, vector, proposal)
        at = own
        if is_leap:
            for k in range(n_states):
                ahead[k, :p] = proposal[k * p : (k + 1) * p]
                ahead[k, 0] /= root
            at = ahead
        likelihood = np.nan
        if _coefficients(at, n_states, kinds, numbers, ends, c):
            new[:] = 0.0
            if is_known:
                place = n_states, 0, n
                likelihood = add_known_tile(c, room, place, weights, no_evidence, new)
            else:
                likelihood = expected_sums(c, factors, pairs, weights, n_states, no_evidence, new)
        # Else there is more to the step, or some row is impossible.
        is_step = LOG_ZERO / 10 < likelihood < np.inf
        objective, q_before, q = likelihood + run[CONSTANT], _product(c, at), _product(c, new)
        if is_leap:
            good = is_step and objective >= run[OBJECTIVE]
            judge(memory, good)
            if not good:
                continue
            run[RATE], q_before = memory["rate"], np.nan
        elif is_step:
            after_m = q_before + run[CONSTANT] + run[OBJECTIVE] - run[Q]
            if not run[OBJECTIVE] <= after_m <= objective:
                size = _magnitude(c, at, new) + abs(run[CONSTANT]) + abs(objective)
                least, most = run[OBJECTIVE] - ROUNDING * size, objective + ROUNDING * size
                is_step = least <= after_m <= most
        if not is_step:
            if leaping:
                memory["is_due"] = True
            break
        values[Q_BEFORE, made], values[Q_AFTER, made] = q_before, q
        values[LIKELIHOOD, made] = likelihood
        before[:], own[:] = at, new
        run[EARLIER], run[BEFORE], run[OBJECTIVE] = run[BEFORE], run[OBJECTIVE], objective
        run[Q] = q + run[CONSTANT]
        made += 1
        gains = run[EARLIER], run[BEFORE], run[OBJECTIVE]
        if run[ALLOWED] >= 0.0 and has_ended(*gains, run[RATE], run[ALLOWED], run[LEFT]):
            break
    return made
