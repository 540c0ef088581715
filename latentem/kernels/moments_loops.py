"""The compiled kernel of `latentem.kernels.moments`, whose formulas it follows."""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import float64

from latentem.kernels.loops import ROW, TABLE

LOG_2PI = float(np.log(2 * np.pi))


@numba.njit(inline="always")
def _invert_root(a: Any, w: Any) -> float:
    """Make L of a positive matrix in its lower triangle, W = L^-1; return log |L|, or infinity."""
    d = len(a)
    log_root = 0.0
    for j in range(d):
        for i in range(j, d):
            total = a[i, j]
            for m in range(j):
                total -= a[i, m] * a[j, m]
            if i == j:
                if not total > 0.0:
                    return np.inf
                a[j, j] = np.sqrt(total)
                log_root += np.log(a[j, j])
            else:
                a[i, j] = total / a[j, j]
    for j in range(d):
        w[j, j] = 1.0 / a[j, j]
        for i in range(j + 1, d):
            total = 0.0
            for m in range(j, i):
                total -= a[i, m] * w[m, j]
            w[i, j] = total / a[i, i]
    return log_root


@numba.njit(float64(TABLE, TABLE, ROW), nogil=True, cache=True)
def natural_of_moments(moments: Any, eta: Any, log_normaliser: Any) -> float:
    """Write natural parameters and A; return the largest precision, infinity if there is none."""
    n_states, p = moments.shape
    d = 0
    while d + d * (d + 1) // 2 < p:
        d += 1
    a, w, white = np.empty((d, d)), np.zeros((d, d)), np.empty(d)
    largest = 0.0
    for k in range(n_states):
        mean = moments[k, :d]
        place = d
        for i in range(d):
            for j in range(i, d):
                a[j, i] = moments[k, place] - mean[i] * mean[j]
                place += 1
        log_root = _invert_root(a, w)
        if not log_root < np.inf:
            return np.inf
        square = 0.0
        for i in range(d):
            white[i] = 0.0
            for j in range(i + 1):
                white[i] += w[i, j] * mean[j]
            square += white[i] * white[i]
        log_normaliser[k] = 0.5 * square + log_root + 0.5 * d * LOG_2PI
        place = d
        for i in range(d):
            eta[k, i] = 0.0
            for m in range(i, d):
                eta[k, i] += w[m, i] * white[m]
            for j in range(i, d):
                precision = 0.0
                for m in range(j, d):
                    precision += w[m, i] * w[m, j]
                eta[k, place] = -0.5 * precision if i == j else -precision
                if i == j:
                    largest = max(largest, precision)
                place += 1
    return largest
