"""Blocks of scores whose best is found while they stay in registers, in compiled kernels.

As in `latentem.kernels.blocks`, of matrices in double or in single precision. Imported by
`latentem.kernels.nearest_loops` alone, since numba is an extra.
"""

# mypy: disable-error-code="untyped-decorator,no-untyped-call"
from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import int64, types
from numba.core import cgutils
from numba.extending import intrinsic

from latentem.kernels.blocks import ROWS, VECTORS, Sums, Table, integer
from latentem.kernels.vectors import numbers_of, spread_number


@intrinsic
def better_of_block(
    context: Any, at: Any, minus_half: Any, k: Any, tile: Any, t: Any, work: Any
) -> Any:
    r"""Bring the best scores of some rows up to date with those of `ROWS` points from k on.

    .. math:: s_{k + i, t + u} = \sum_j m_{k + i, j} \, z_{j, t + u} - \frac12 |m_{k + i}|^2

    The highest, the next, and the point of the highest are the first rows of ``work``, from t on;
    the first of equal points is taken. ``minus_half`` ``(1, K)`` are :math:`-|m|^2 / 2`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        at, minus_half, k, tile, t, work = arguments
        kinds = signature.args
        points = Table(context, builder, kinds[0], at)
        first = Table(context, builder, kinds[1], minus_half)
        rows = Table(context, builder, kinds[3], tile)
        best = Table(context, builder, kinds[5], work)
        zero, lanes = integer(0), numbers_of(points.of).count
        starts = [
            spread_number(builder, first.number(zero, 0, builder.add(k, integer(i))))
            for i in range(ROWS)
        ]
        sums = Sums(builder, starts)
        (_, terms) = cgutils.unpack_tuple(
            builder, context.make_array(kinds[0])(context, builder, at).shape
        )
        with cgutils.for_range(builder, terms, intp=ir.IntType(64)) as loop:
            sums.add(
                [spread_number(builder, points.number(k, i, loop.index)) for i in range(ROWS)],
                [rows.vector(loop.index, 0, t, v * lanes) for v in range(VECTORS)],
            )
        number = builder.sitofp(k, points.of)
        names = [
            spread_number(builder, builder.fadd(number, ir.Constant(points.of, float(i))))
            for i in range(ROWS)
        ]
        scores = sums.rows()
        for v in range(VECTORS):
            high, low, label = (best.vector(zero, i, t, v * lanes) for i in range(3))
            for row, name in zip(scores, names, strict=True):
                score = row[v]
                is_higher = builder.fcmp_ordered(">", score, high)
                less = builder.select(is_higher, high, score)
                low = builder.select(builder.fcmp_ordered(">", less, low), less, low)
                high = builder.select(is_higher, score, high)
                label = builder.select(is_higher, name, label)
            for i, x in enumerate((high, low, label)):
                best.write(x, zero, i, t, v * lanes)
        return context.get_dummy_value()

    return types.void(at, minus_half, int64, tile, int64, work), generate
