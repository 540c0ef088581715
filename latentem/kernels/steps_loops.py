"""The compiled kernel of `latentem.kernels.steps`, whose formulas it follows."""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import float64, int64

from latentem.kernels.expected_loops import PAIRS, WEIGHTS, expected_sums
from latentem.kernels.loops import TABLE
from latentem.kernels.moments_loops import LOG_2PI, natural_of_moments
from latentem.kernels.steps import COUNTS, DIAGONAL, FULL, LEVELS

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


@numba.njit(
    int64(
        TABLE, int64, int64[::1], TABLE, int64[::1], TABLE, PAIRS, WEIGHTS,
        float64[:, :, ::1], float64[:, :, ::1], TABLE,
    ),
    nogil=True, cache=True, error_model="numpy",
)  # fmt: skip
def em_steps(
    before: Any, n_states: int, kinds: Any, numbers: Any, ends: Any, factors: Any, pairs: Any,
    weights: Any, coefficients: Any, sums: Any, values: Any,
) -> int:  # fmt: skip
    """Write C and S of each step, C . S before and after it and the likelihood; count them.

    C and S are filled up with zeros to multiples of four states and statistics.
    """
    no_evidence = np.empty(0)
    for t in range(len(sums)):
        c, own = coefficients[t], before if t == 0 else sums[t - 1]
        if not _coefficients(own, n_states, kinds, numbers, ends, c):
            return t
        likelihood = expected_sums(c, factors, pairs, weights, n_states, no_evidence, sums[t])
        if not LOG_ZERO / 10 < likelihood < np.inf:  # some row is impossible
            return t
        values[0, t], values[1, t], values[2, t] = (
            _product(c, own),
            _product(c, sums[t]),
            likelihood,
        )
    return len(sums)
