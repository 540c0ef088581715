"""The compiled kernels: loops over tiles of rows that stay in a core's first cache.

Imported by `latentem.kernels.compiled` alone, since numba is an extra. Each has a twin in NumPy
beside the formula, in the module that calls it, and gives the same numbers to rounding.

Tables are k-major, ``(states, rows)``: a tile of one state is contiguous, and its loop becomes
vector instructions.
"""

# mypy: disable-error-code="untyped-decorator,call-arg,var-annotated"
from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import float64, int64, types
from numba.extending import intrinsic

from latentem.kernels.blocks import ROWS, STRIP, VECTORS, add_block, write_block, write_columns
from latentem.kernels.vectors import (
    LANES,
    fetch,
    load,
    power_of_two,
    spread,
    store,
    tile_of,
    total,
    where_less,
)

#: Rows of a tile: a few arrays of them, for each state, fit into 32 KiB.
TILE = 256

#: Columns below which rows are gathered number by number, and not by vectors.
GATHERED_SINGLY = 8
#: Bytes that rows are fetched ahead of their use.
AHEAD = 8192

TABLE, ROW = float64[:, ::1], float64[::1]
#: A table that is only read.
GIVEN = types.Array(float64, 2, "C", readonly=True)
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


def _rest_of_exp() -> tuple[float, ...]:
    """Return the coefficients, the highest first, of (exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2.

    Of the polynomial that equals it at ten Chebyshev points: it is nowhere 1e-16 from it.
    """
    series = np.polynomial.Polynomial([1 / math.factorial(n + 2) for n in range(20)])
    few = np.polynomial.Chebyshev.interpolate(series, 9, [-LOG_2 / 2, LOG_2 / 2])
    return tuple(few.convert(kind=np.polynomial.Polynomial).coef[::-1].tolist())


HIGHEST_REST, *_OTHERS = _rest_of_exp()
RESTS = tuple(_OTHERS)


# Sums in another order would undo its rounding.
@numba.njit(**{**OPTIONS, "fastmath": {"contract"}})
def _exp(x: Any) -> Any:
    r"""Return exp(x) for x <= 0, to 2 units in the last place; 0 below SMALLEST_EXPONENT.

    Of a number or of a vector.

    With x = n log 2 + r, |r| <= log(2) / 2, it is 2^n (1 + r + r^2 p(r)), p as above.
    """
    shifted = x * LOG2_E + ROUND
    n = shifted - ROUND
    r = x - n * LOG_2 - n * LOG_2_REST
    rest = RESTS[0] + r * HIGHEST_REST
    for coefficient in RESTS[1:]:
        rest = coefficient + r * rest
    power = power_of_two(shifted)
    return where_less(x, SMALLEST_EXPONENT, 0.0, (1.0 + r * (1.0 + r * rest)) * power)


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


#: Rows of the numbers of a tile's rows: m and s of `latentem.kernels.softmax`, weights, and room.
HIGHEST, SUM, WEIGHT, SPARE = range(4)


@numba.njit(**OPTIONS)
def sum_of_logs(numbers: Any, width: int, n_states: int) -> float:
    """Return the sum of m + log s, of whole vectors of m and s; s is 0, or from 1 to K.

    One logarithm for as many numbers s as have a product that surely is a number too.
    """
    m, log, many = spread(0.0), 0.0, LANES * int(1000.0 / math.log2(n_states + 1.0))
    for start in range(0, width, many):
        product = spread(1.0)
        for t in range(start, min(start + many, width), LANES):
            m = m + load(numbers, HIGHEST, t)
            product = product * load(numbers, SUM, t)
        store(numbers, SPARE, 0, product)
        if LANES * width <= many:  # then the product of all is a number as well
            for t in range(1, LANES):
                numbers[SPARE, 0] *= numbers[SPARE, t]
            return total(m) + _log(numbers[SPARE, 0])
        for t in range(LANES):
            log += _log(numbers[SPARE, t])
    return total(m) + log


@numba.njit(**OPTIONS)
def soften(table: Any, place: tuple[int, int, int], numbers: Any) -> None:
    """Do what `latentem.kernels.softmax` says to a part of a table; multiply r by weights.

    The part is its first k rows, from a start to an end, ``(k, start, end)``, a whole number of
    vectors. ``numbers`` has the weights, and gets m and s.
    """
    n_states, start, end = place
    for t in range(start, end, LANES):
        m = load(table, 0, t)
        for k in range(1, n_states):
            x = load(table, k, t)
            m = where_less(m, x, x, m)
        m = where_less(m, np.inf, where_less(-np.inf, m, m, 0.0), 0.0)  # 0 unless it is finite
        s = spread(0.0)
        for k in range(n_states):
            e = _exp(load(table, k, t) - m)
            store(table, k, t, e)
            s = s + e
        store(numbers, HIGHEST, t - start, m)
        store(numbers, SUM, t - start, s)
        scale = load(numbers, WEIGHT, t - start) / where_less(0.0, s, s, 1.0)
        for k in range(n_states):
            store(table, k, t, load(table, k, t) * scale)


@numba.njit(**OPTIONS)
def multiply(c: Any, tile: Any, width: int, table: Any) -> None:
    """Write C T into a table; C is ``(K, p)``, K a multiple of four, and T ``(p, width)``."""
    for t in range(0, width, STRIP):
        for k in range(0, c.shape[0], ROWS):
            write_block(c, k, c.shape[1], tile, t, table, k)


@numba.njit(**OPTIONS)
def add_products(left: Any, right: Any, width: int, is_symmetric: bool, sums: Any) -> None:
    """Add A B' of tiles ``(K, width)`` and ``(p, width)`` to S ``(K, p)``, both multiples of four.

    The width is a whole number of vectors. Of a symmetric S, to the blocks on and above the
    diagonal.
    """
    for j in range(0, sums.shape[1], VECTORS):
        for k in range(0, min(j + VECTORS, len(sums)) if is_symmetric else len(sums), ROWS):
            add_block(left, k, right, j, width, sums)


@numba.njit(**OPTIONS)
def gather(rows: Any, part: Any, frame: Any, picked: Any, tile: Any) -> None:
    """Write standardised rows into a tile, k-major; those of many columns by vectors at a time."""
    width, d, lanes = len(part), rows.shape[1], len(picked)
    if d < GATHERED_SINGLY:
        for j in range(d):
            column, centre, inverse = tile[j], frame[0, j], frame[1, j]
            for t in range(width):
                column[t] = (rows[part[t], j] - centre) * inverse
        return
    ahead = max(1, AHEAD // (d * rows.itemsize))
    for t in range(0, width, lanes):
        for i in range(min(lanes, width - t)):
            fetch(rows, part[t + i] + ahead)
            row, own = rows[part[t + i]], picked[i]
            for j in range(d):
                own[j] = (row[j] - frame[0, j]) * frame[1, j]
        for j in range(0, len(tile), 4):
            write_columns(picked, j, tile, t)


@numba.njit(types.void(TABLE, ROW), **OPTIONS)
def normalise(table: Any, log_sum: Any) -> None:
    """Do what `latentem.kernels.softmax` says."""
    n_states, n = table.shape
    whole = n - n % LANES
    numbers, rest = tile_of(4, TILE), tile_of(n_states, LANES)
    numbers[WEIGHT] = 1.0
    for start in range(0, whole, TILE):
        end = min(start + TILE, whole)
        soften(table, (n_states, start, end), numbers)
        log_sums(numbers[HIGHEST], numbers[SUM], log_sum[start:end])
    if whole < n:  # what is left of a vector
        rest[:, : n - whole] = table[:, whole:]
        soften(rest, (n_states, 0, LANES), numbers)
        table[:, whole:] = rest[:, : n - whole]
        log_sums(numbers[HIGHEST], numbers[SUM], log_sum[whole:])


@numba.njit(types.void(GIVEN, GIVEN, TABLE), **OPTIONS)
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
