"""The compiled kernel of `latentem.kernels.moments`, whose formulas it follows."""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import float64, types

from latentem.kernels.loops import GIVEN, ROW, TABLE

LOG_2PI = float(np.log(2 * np.pi))

#: Arrays that are only read.
NUMBERS, MATRICES = (types.Array(types.float64, n, "C", readonly=True) for n in (1, 3))


@numba.njit
def room_for(d: Any) -> Any:
    """Return room for a covariance in so many columns at most, for W, and for W m."""
    return np.empty((d, d)), np.zeros((d, d)), np.empty(d)


@numba.njit
def columns_of(p: Any) -> Any:
    """Return d, where so many statistics are d columns and all their products."""
    d = 0
    while d + d * (d + 1) // 2 < p:
        d += 1
    return d


@numba.njit(inline="always")
def _invert_root(a: Any, w: Any, d: int) -> float:
    """Make L of a positive matrix in its lower triangle, W = L^-1; return log |L|, or infinity."""
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


@numba.njit(inline="always")
def _natural(mean: Any, d: int, room: Any, eta: Any) -> tuple[float, float]:
    """Write natural parameters of the covariance in a room; return A and the largest P_ii.

    The covariance, its lower triangle, is overwritten. Both numbers are infinite if it is not
    positive.
    """
    a, w, white = room
    log_root = _invert_root(a, w, d)
    if not log_root < np.inf:
        return np.inf, np.inf
    square, largest = 0.0, 0.0
    for i in range(d):
        white[i] = 0.0
        for j in range(i + 1):
            white[i] += w[i, j] * mean[j]
        square += white[i] * white[i]
    place = d
    for i in range(d):
        eta[i] = 0.0
        for m in range(i, d):
            eta[i] += w[m, i] * white[m]
        for j in range(i, d):
            precision = 0.0
            for m in range(j, d):
                precision += w[m, i] * w[m, j]
            eta[place] = -0.5 * precision if i == j else -precision
            if i == j:
                largest = max(largest, precision)
            place += 1
    return 0.5 * square + log_root + 0.5 * d * LOG_2PI, largest


@numba.njit(inline="always")
def natural_of_state(moments: Any, d: int, room: Any, eta: Any) -> tuple[float, float]:
    """Do so of the moments ``(p,)`` of one state."""
    a, place = room[0], d
    for i in range(d):
        for j in range(i, d):
            a[j, i] = moments[place] - moments[i] * moments[j]
            place += 1
    return _natural(moments, d, room, eta)


@numba.njit(float64(TABLE, TABLE, ROW), nogil=True, cache=True)
def natural_of_moments(moments: Any, eta: Any, log_normaliser: Any) -> float:
    """Write natural parameters and A; return the largest precision, infinity if there is none."""
    d, largest = columns_of(moments.shape[1]), 0.0
    room = room_for(d)
    for k in range(len(moments)):
        log_normaliser[k], precision = natural_of_state(moments[k], d, room, eta[k])
        largest = max(largest, precision)
    return largest


@numba.njit(float64(GIVEN, MATRICES, NUMBERS, TABLE, ROW), nogil=True, cache=True)
def natural_of_covariances(
    mean: Any, covariance: Any, scale: Any, eta: Any, log_normaliser: Any
) -> float:
    """Do so of means of z and the covariances of ``scale * z``."""
    n_states, d = mean.shape
    room, largest = room_for(d), 0.0
    for k in range(n_states):
        for i in range(d):
            for j in range(i + 1):
                room[0][i, j] = covariance[k, i, j] / scale[i] / scale[j]
        log_normaliser[k], precision = _natural(mean[k], d, room, eta[k])
        largest = max(largest, precision)
    return largest
