"""The compiled kernels: loops over tiles of rows that stay in a core's first cache.

Imported by `latentem.kernels.compiled` alone, since numba is an extra. Each has a twin in NumPy
beside the formula, in the module that calls it, and gives the same numbers to rounding.

Tables are k-major, ``(states, rows)``: a tile of one state is contiguous, and its loop becomes
vector instructions.
"""

# mypy: disable-error-code="untyped-decorator,call-arg,var-annotated"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import float64, int64, types
from numba.extending import intrinsic

#: Rows of a tile: a few arrays of them, for each state, fit into 32 KiB.
TILE = 256

TABLE, ROW = float64[:, ::1], float64[::1]
# Sums may be taken in any order and products fused; NaN and infinities keep their meaning.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz"},
}


@intrinsic
def _as_float(context: Any, bits: Any) -> Any:  # the number with these bits
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float64))

    return float64(int64), generate


@intrinsic
def _as_int(context: Any, number: Any) -> Any:  # the bits of a number
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.int64))

    return int64(float64), generate


LOG2_E = 1.4426950408889634
# log 2 in two parts, the first short enough that its multiples are exact (as in fdlibm).
LOG_2, LOG_2_REST = 6.93147180369123816490e-01, 1.90821492927058770002e-10
# Added to a number below 2^51 it leaves the nearest integer in the last bits.
ROUND = 6755399441055744.0
#: As in `latentem.kernels.softmax`.
SMALLEST_EXPONENT = -700.0


# Sums in another order would undo its rounding.
@numba.njit(**{**OPTIONS, "fastmath": {"contract"}})
def _exp(x: float) -> float:
    r"""Return exp(x) for x <= 0, to 2 units in the last place; 0 below SMALLEST_EXPONENT.

    With x = n log 2 + r, |r| <= log(2) / 2, it is 2^n times the series of exp(r) up to r^13.
    """
    bounded = SMALLEST_EXPONENT if x < SMALLEST_EXPONENT else x
    shifted = bounded * LOG2_E + ROUND
    n = shifted - ROUND
    r = bounded - n * LOG_2 - n * LOG_2_REST
    r2 = r * r
    r4 = r2 * r2
    series = (
        ((1.0 + r) + r2 * (1 / 2 + r * (1 / 6)))
        + r4 * ((1 / 24 + r * (1 / 120)) + r2 * (1 / 720 + r * (1 / 5040)))
        + (r4 * r4)
        * (
            (1 / 40320 + r * (1 / 362880))
            + r2 * (1 / 3628800 + r * (1 / 39916800))
            + r4 * (1 / 479001600 + r * (1 / 6227020800))
        )
    )
    power = _as_float((_as_int(shifted) + 1023) << 52)
    return 0.0 if x < SMALLEST_EXPONENT else series * power


LOG_SERIES = (0.6666666666666735130, 0.3999999999940941908, 0.2857142874366239149,
              0.2222219843214978396, 0.1818357216161805012, 0.1531383769920937332,
              0.1479819860511658591)  # fmt: skip
SQRT_2 = 1.4142135623730951
FRACTION = (1 << 52) - 1


# Sums in another order would undo its rounding.
@numba.njit(**{**OPTIONS, "fastmath": {"contract"}})
def _log(x: float) -> float:
    r"""Return log(x) for x = 0 or x >= 1, to a unit in the last place.

    With x = 2^n (1 + f), 1 + f within a root of 2 of 1, and s = f / (2 + f), it is n log 2 +
    log((1 + s) / (1 - s)), a series in s whose coefficients are those of fdlibm.
    """
    bits = _as_int(x)
    fraction = _as_float((bits & FRACTION) | (1023 << 52))
    large = fraction > SQRT_2
    n = float((bits >> 52) - 1023 + (1 if large else 0))
    f = (0.5 * fraction if large else fraction) - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    odd = z * (LOG_SERIES[0] + w * (LOG_SERIES[2] + w * (LOG_SERIES[4] + w * LOG_SERIES[6])))
    even = w * (LOG_SERIES[1] + w * (LOG_SERIES[3] + w * LOG_SERIES[5]))
    half = 0.5 * f * f
    log = n * LOG_2 - ((half - (s * (half + odd + even) + n * LOG_2_REST)) - f)
    return log if x > 0.0 else (-np.inf if x == 0.0 else x)


@numba.njit(**OPTIONS)
def log_sums(highest: Any, sums: Any, out: Any) -> None:
    """Write m + log s."""
    for t in range(len(out)):
        out[t] = highest[t] + _log(sums[t])


@numba.njit(**OPTIONS)
def log_product(numbers: Any, scratch: Any) -> float:
    """Return the logarithm of the product of numbers that are 0 or from 1 to 1e18.

    One logarithm for each 16 of them, so that no product leaves the range of numbers. ``scratch``
    has room for these.
    """
    parts = scratch[: -(-len(numbers) // 16)]
    parts[:] = 1.0
    for start in range(0, len(numbers), len(parts)):
        some = numbers[start : start + len(parts)]
        for t in range(len(some)):
            parts[t] *= some[t]
    total = 0.0
    for t in range(len(parts)):
        total += _log(parts[t])
    return total


@numba.njit(**OPTIONS)
def exponentials(table: Any, place: tuple[int, int, int], highest: Any, sums: Any) -> None:
    """Do what `latentem.kernels.softmax` says to a part of a table, but for the division.

    The part is its first k rows, from a start to an end, ``(k, start, end)``; ``highest`` and
    ``sums``, ``(end - start,)``, get m and s. (Rows of arrays are cut one by one: else their stride
    would not be known to be 1.)
    """
    n_states, start, end = place
    width = end - start
    highest[:] = table[0, start:end]
    for k in range(1, n_states):
        row = table[k, start:end]
        for t in range(width):
            highest[t] = row[t] if row[t] > highest[t] else highest[t]
    for t in range(width):
        highest[t] = highest[t] if abs(highest[t]) < np.inf else 0.0
        sums[t] = 0.0
    for k in range(n_states):
        row = table[k, start:end]
        for t in range(width):
            row[t] = _exp(row[t] - highest[t])
            sums[t] += row[t]


@numba.njit(**OPTIONS)
def multiply(table: Any, place: tuple[int, int, int], by: Any) -> None:
    """Multiply a part of a table, said likewise, by numbers of the columns."""
    n_states, start, end = place
    for k in range(n_states):
        row = table[k, start:end]
        for t in range(end - start):
            row[t] *= by[t]


@numba.njit(**OPTIONS)
def add_products(left: Any, right: Any, width: int, is_symmetric: bool, sums: Any) -> None:
    """Add A B' of tiles ``(K, width)`` and ``(p, width)`` to S ``(K, p)``, both multiples of four.

    Of a symmetric one, to the blocks on and above the diagonal.
    """
    for k in range(0, sums.shape[0], 4):
        r0, r1 = left[k, :width], left[k + 1, :width]
        r2, r3 = left[k + 2, :width], left[k + 3, :width]
        for j in range(k if is_symmetric else 0, sums.shape[1], 4):
            row0, row1 = right[j, :width], right[j + 1, :width]
            row2, row3 = right[j + 2, :width], right[j + 3, :width]
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = 0.0
            d0 = d1 = d2 = d3 = e0 = e1 = e2 = e3 = 0.0
            for t in range(width):
                x0, x1, x2, x3 = row0[t], row1[t], row2[t], row3[t]
                w = r0[t]
                a0, a1, a2, a3 = a0 + w * x0, a1 + w * x1, a2 + w * x2, a3 + w * x3
                w = r1[t]
                b0, b1, b2, b3 = b0 + w * x0, b1 + w * x1, b2 + w * x2, b3 + w * x3
                w = r2[t]
                d0, d1, d2, d3 = d0 + w * x0, d1 + w * x1, d2 + w * x2, d3 + w * x3
                w = r3[t]
                e0, e1, e2, e3 = e0 + w * x0, e1 + w * x1, e2 + w * x2, e3 + w * x3
            for i, row in enumerate(
                ((a0, a1, a2, a3), (b0, b1, b2, b3), (d0, d1, d2, d3), (e0, e1, e2, e3))
            ):
                for m in range(4):
                    sums[k + i, j + m] += row[m]


@numba.njit(types.void(TABLE, ROW), **OPTIONS)
def normalise(table: Any, log_sum: Any) -> None:
    """Do what `latentem.kernels.softmax` says."""
    n_states, n = table.shape
    highest, sums, inverse = np.empty(TILE), np.empty(TILE), np.empty(TILE)
    for start in range(0, n, TILE):
        end = min(start + TILE, n)
        width = end - start
        exponentials(table, (n_states, start, end), highest[:width], sums[:width])
        for t in range(width):
            inverse[t] = 1.0 / sums[t] if sums[t] > 0.0 else 1.0
        multiply(table, (n_states, start, end), inverse)
        log_sums(highest, sums, log_sum[start:end])


@numba.njit(types.void(TABLE, TABLE, TABLE), **OPTIONS)
def squared_distances(z: Any, points: Any, distances: Any) -> None:
    """Add to distances what `latentem.kernels.distances` says."""
    n_columns, n = z.shape
    for start in range(0, n, TILE):
        end = min(start + TILE, n)
        for j in range(points.shape[1]):
            own = distances[j, start:end]
            for a in range(n_columns):
                row, point = z[a, start:end], points[a, j]
                for t in range(end - start):
                    own[t] += (row[t] - point) * (row[t] - point)
