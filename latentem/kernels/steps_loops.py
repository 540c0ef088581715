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
from latentem.kernels.moments_loops import LOG_2PI, columns_of, natural_of_state, room_for
from latentem.kernels.steps import (
    ALLOWED,
    BEFORE,
    CONSTANT,
    DIAGONAL,
    DIFFERENT,
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
def _diagonal(mean: Any, p: Any, eta: Any) -> tuple[float, float]:
    """Write natural parameters; return A and the largest precision, infinity if there is none."""
    d = p // 2
    log_normaliser, largest = 0.5 * d * LOG_2PI, 0.0
    for j in range(d):
        m = mean[j]
        variance = mean[d + j] - m * m
        if not variance > 0.0:
            return np.inf, np.inf
        precision = 1.0 / variance
        eta[j], eta[d + j] = precision * m, -0.5 * precision
        log_normaliser += 0.5 * (precision * m * m + np.log(variance))
        largest = max(largest, precision)
    return log_normaliser, largest


@numba.njit(inline="always")
def _logarithms(mean: Any, p: Any, total: Any, eta: Any) -> None:
    """Write the logarithms of mean statistics, divided by a total."""
    for j in range(p):
        eta[j] = np.log(mean[j] / total)


@numba.njit(inline="always")
def _maximum(kind: Any, mean: Any, p: Any, room: Any, eta: Any) -> tuple[float, float]:
    """Write natural parameters of the mean statistics of a state; return A and what may be large.

    That is the largest precision, or 0.
    """
    if kind == FULL:
        return natural_of_state(mean, columns_of(p), room, eta)
    if kind == DIAGONAL:
        return _diagonal(mean, p, eta)
    if kind == LEVELS:
        _logarithms(mean, p, mean[:p].sum(), eta)
        return 0.0, 0.0
    _logarithms(mean, p, 1.0, eta)  # COUNTS
    return mean[0], 0.0


@numba.njit(inline="always")
def _coefficients(
    sums: Any, n_states: int, kinds: Any, numbers: Any, ends: Any, mean: Any, room: Any, c: Any
) -> bool:
    """Write C, the maximum of Q; return whether there is no more to it."""
    total = 0.0
    for k in range(n_states):
        if not sums[k, 0] > 0.0:
            return False
        total += sums[k, 0]
    for k in range(n_states):
        c[k, 0] = np.log(sums[k, 0] / total)
        for f in range(len(kinds)):
            start, p = ends[f], ends[f + 1] - ends[f]
            for j in range(p):
                mean[j] = sums[k, start + j] / sums[k, 0]
            eta = c[k, start : start + p]
            log_normaliser, largest = _maximum(kinds[f], mean, p, room, eta)
            if not largest <= numbers[f, 1] or largest == np.inf:
                return False
            c[k, 0] -= log_normaliser + numbers[f, 0]
            for j in range(p):
                if not eta[j] > LOG_ZERO:
                    return False
        if not c[k, 0] > LOG_ZERO:
            return False
    return True


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


@numba.njit(inline="always")
def _expect(c: Any, n_states: Any, tiles: Any, given: Any, sums: Any) -> Any:
    """Write S, and return the sum of w log p(x)."""
    factors, pairs, weights, no_evidence = given
    n = factors.shape[1]
    sums[:] = 0.0
    if n <= tiles[0]:  # one tile, whose statistics stand there
        return add_known_tile(c, tiles, (n_states, 0, n), weights, no_evidence, sums)
    return expected_sums(c, factors, pairs, weights, n_states, no_evidence, sums)


@numba.njit(inline="always")
def _have_other_means(sums: Any, n_states: int, p: int) -> bool:
    """Return whether some state has other means of the statistics than the first."""
    largest = difference = 0.0
    for k in range(n_states):
        if not sums[k, 0] > 0.0:
            return False
        for j in range(1, p):
            mean = sums[k, j] / sums[k, 0]
            largest = max(largest, abs(mean))
            difference = max(difference, abs(mean - sums[0, j] / sums[0, 0]))
    return bool(difference > DIFFERENT * largest)


for _function in (ratio, least_squares, slowest_of_two, leap, judge, has_ended):
    register_jitable(_function)


@numba.njit(
    int64(
        float64[:, :, ::1], boolean, int64, int64, int64[::1], TABLE, int64[::1], TABLE, PAIRS,
        WEIGHTS, float64, boolean, numba.from_dtype(MEMORY), TABLE, ROW, TABLE,
    ),
    nogil=True, cache=True, error_model="numpy",
)  # fmt: skip
def em_steps(
    tables: Any, is_first: bool, n_states: int, p: int, kinds: Any, numbers: Any, ends: Any,
    factors: Any, pairs: Any, weights: Any, root: float, leaping: bool, memory: Any, path: Any,
    run: Any, values: Any,
) -> int:  # fmt: skip
    """Go on from S, the second table; write C . S and so on of each step, and count them.

    The tables are the S before and after a step, filled up with zeros to multiples of four states
    and statistics. At first the one before is C instead, the E-step at which is the first step.
    """
    before, own = tables[0], tables[1]
    m, n = factors.shape
    given = factors, pairs, weights, np.empty(0)
    tiles = tile_room(own.shape, pairs, m, n)
    if n <= tiles[0]:
        for j in range(m):
            tiles[1][j, :n] = factors[j]
        write_statistics(tiles[1], pairs, -(-n // STRIP) * STRIP, tiles[2], tiles[5])
    mean, room = np.empty(p), room_for(columns_of(p))
    c, new, ahead = np.zeros_like(own), np.zeros_like(own), np.zeros_like(own)
    vector, proposal = np.empty(n_states * p), np.empty(n_states * p)
    made = 0
    if is_first:
        likelihood, made = _expect(before, n_states, tiles, given, own), 1
        if not (LOG_ZERO / 10 < likelihood < np.inf and _have_other_means(own, n_states, p)):
            return 0
        q = _product(before, own)
        values[Q_BEFORE, 0], values[Q_AFTER, 0], values[LIKELIHOOD, 0] = np.nan, q, likelihood
        run[Q], run[OBJECTIVE] = q + run[CONSTANT], likelihood + run[CONSTANT]
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
        if _coefficients(at, n_states, kinds, numbers, ends, mean, room, c):
            likelihood = _expect(c, n_states, tiles, given, new)
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
        if has_ended(*gains, run[RATE], run[ALLOWED], run[LEFT]):
            break
    return made
