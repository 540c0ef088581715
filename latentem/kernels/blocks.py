"""Blocks of matrix products whose sums stay in registers, in compiled kernels.

A number loaded from a matrix is used for several sums before the next is loaded, so that the
processor multiplies as fast as it can. Of two matrices of long rows there are two products, C T and
A B', and a block of each is written here, instruction by instruction, as is one of distances;
`latentem.kernels.loops` goes from block to block. (For another see
`latentem.kernels.nearest_blocks`.)

Imported by them alone, since numba is an extra.
"""

# mypy: disable-error-code="untyped-decorator,no-untyped-call"
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import int64, types
from numba.core import cgutils
from numba.extending import intrinsic

from latentem.kernels.vectors import (
    FUSED,
    LANES,
    NUMBERS,
    address,
    numbers_of,
    shuffled,
    spread_number,
    turned,
)

#: Rows of a block. Matrices are filled up with zeros to multiples of it.
ROWS = 4
#: Vectors side by side in a block: with 64 bytes there are twice as many registers.
VECTORS = 4 if LANES == 8 else 2
#: Columns of a block of C T.
STRIP = VECTORS * LANES


class Sums:
    """The sums of a block, ``(ROWS, VECTORS)`` vectors, which the compiler puts into registers.

    Those of a row are 0 at first, or another vector.
    """

    def __init__(self, builder: Any, starts: list[Any] | None = None) -> None:
        self.builder = builder
        if starts is None:
            starts = [ir.Constant(NUMBERS, [0.0] * LANES)] * ROWS
        self.places = [
            [cgutils.alloca_once_value(builder, start) for _ in range(VECTORS)] for start in starts
        ]

    def add(self, column: list[Any], row: list[Any]) -> None:
        """Add the products of ROWS vectors and VECTORS vectors."""
        for x, places in zip(column, self.places, strict=True):
            for y, place in zip(row, places, strict=True):
                self._add_product(x, y, place)

    def add_squares(self, column: list[Any], row: list[Any]) -> None:
        """Add the squares of their differences."""
        for x, places in zip(column, self.places, strict=True):
            for y, place in zip(row, places, strict=True):
                difference = self.builder.fsub(x, y)
                self._add_product(difference, difference, place)

    def _add_product(self, x: Any, y: Any, place: Any) -> None:
        product = self.builder.fmul(x, y, flags=FUSED)
        together = self.builder.fadd(self.builder.load(place), product, flags=FUSED)
        self.builder.store(together, place)

    def rows(self) -> list[list[Any]]:
        return [[self.builder.load(place) for place in places] for places in self.places]


class Table:
    """A contiguous table of double or single precision, to read and write by row and column."""

    def __init__(self, context: Any, builder: Any, kind: Any, table: Any) -> None:
        self.given = context, builder, kind, table
        self.builder = builder
        self.of = context.get_data_type(kind.dtype)
        self.align = kind.dtype.bitwidth // 8

    def address(self, row: Any, down: int, column: Any, right: int, kind: Any) -> Any:
        """Return where the vector or number is that is some rows down and columns to the right."""
        row = self.builder.add(row, integer(down))
        column = self.builder.add(column, integer(right))
        return address(*self.given, (row, column), kind)

    def vector(self, row: Any, down: int, column: Any, right: int = 0) -> Any:
        place = self.address(row, down, column, right, numbers_of(self.of))
        return self.builder.load(place, align=self.align)

    def write(self, x: Any, row: Any, down: int, column: Any, right: int = 0) -> None:
        place = self.address(row, down, column, right, x.type)
        self.builder.store(x, place, align=self.align)

    def number(self, row: Any, down: int, column: Any) -> Any:
        return self.builder.load(self.address(row, down, column, 0, self.of))


def integer(number: int) -> Any:
    """Return a number of rows or columns."""
    return ir.Constant(ir.IntType(64), number)


@intrinsic
def write_block(
    context: Any, c: Any, k: Any, terms: Any, tile: Any, t: Any, table: Any, first: Any
) -> Any:
    r"""Write a block of L = C T, rows from k and `STRIP` columns from t on, into a table.

    .. math:: l_{k + i, t + u} = \sum_{j < terms} c_{k + i, j} \, t_{j, t + u}

    The rows of the table are those from ``first`` on.
    """
    return types.void(c, int64, int64, tile, int64, table, int64), _writing(Sums.add)


@intrinsic
def write_distances(
    context: Any, points: Any, k: Any, terms: Any, tile: Any, t: Any, table: Any, first: Any
) -> Any:
    r"""Write a block of squared distances of points and columns of a tile, likewise.

    .. math:: d_{k + i, t + u} = \sum_{j < terms} (c_{k + i, j} - z_{j, t + u})^2
    """
    return types.void(points, int64, int64, tile, int64, table, int64), _writing(Sums.add_squares)


def _writing(add: Callable[[Sums, list[Any], list[Any]], None]) -> Callable[..., Any]:
    """Return what generates the instructions of a block, the terms of whose sums are added so."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c, k, terms, tile, t, table, first = arguments
        kinds = signature.args
        left = Table(context, builder, kinds[0], c)
        right = Table(context, builder, kinds[3], tile)
        sums = Sums(builder)
        with cgutils.for_range(builder, terms, intp=ir.IntType(64)) as loop:
            add(
                sums,
                [spread_number(builder, left.number(k, i, loop.index)) for i in range(ROWS)],
                [right.vector(loop.index, 0, t, v * LANES) for v in range(VECTORS)],
            )
        out = Table(context, builder, kinds[5], table)
        for i, row in enumerate(sums.rows()):
            for v, numbers in enumerate(row):
                out.write(numbers, first, i, t, v * LANES)
        return context.get_dummy_value()

    return generate


@intrinsic
def add_block(context: Any, left: Any, k: Any, right: Any, j: Any, width: Any, sums: Any) -> Any:
    r"""Add a block of A B' to S, rows from k and `VECTORS` columns from j on.

    .. math:: s_{k + i, j + m} \leftarrow s_{k + i, j + m}
              + \sum_{t < width} a_{k + i, t} \, b_{j + m, t}

    The width is a whole number of vectors.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, k, right, j, width, sums = arguments
        kinds = signature.args
        a = Table(context, builder, kinds[0], left)
        b = Table(context, builder, kinds[2], right)
        block = Sums(builder)
        vectors = builder.udiv(width, integer(LANES))
        with cgutils.for_range(builder, vectors, intp=ir.IntType(64)) as loop:
            t = builder.mul(loop.index, integer(LANES))
            block.add(
                [a.vector(k, i, t) for i in range(ROWS)],
                [b.vector(j, m, t) for m in range(VECTORS)],
            )
        out = Table(context, builder, kinds[5], sums)
        few = ir.VectorType(ir.DoubleType(), VECTORS)
        for i, row in enumerate(block.rows()):
            place = out.address(k, i, j, 0, few)
            builder.store(
                builder.fadd(builder.load(place, align=8), _totals(builder, row)), place, align=8
            )
        return context.get_dummy_value()

    return types.void(left, int64, right, int64, int64, sums), generate


def _totals(builder: Any, vectors: list[Any]) -> Any:
    """Return the vector of the sums of each vector's numbers; there are a power of two of them."""
    step = 1
    while len(vectors) > 1:  # two become one, in which parts of their sums take turns
        vectors = [
            _folded(builder, x, y, step) for x, y in zip(vectors[::2], vectors[1::2], strict=True)
        ]
        step *= 2
    (parts,) = vectors
    ends = [
        shuffled(builder, parts, parts, list(range(start, start + step)))
        for start in range(0, LANES, step)
    ]
    sums = ends[0]
    for part in ends[1:]:
        sums = builder.fadd(sums, part)
    return sums


def _folded(builder: Any, x: Any, y: Any, step: int) -> Any:
    """Return x and y folded: of each two runs of ``step`` places the sum, x's and y's in turn."""
    starts = range(0, LANES, 2 * step)
    low = [place + i + of for place in starts for of in (0, LANES) for i in range(step)]
    high = [place + step for place in low]
    return builder.fadd(shuffled(builder, x, y, low), shuffled(builder, x, y, high))


@intrinsic
def write_columns(context: Any, rows: Any, j: Any, tile: Any, t: Any) -> Any:
    """Write four columns, from j on, of as many rows as a vector has into a tile, transposed.

    Into its rows from j on, columns from t on.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows, j, tile, t = arguments
        given = Table(context, builder, signature.args[0], rows)
        out = Table(context, builder, signature.args[2], tile)
        zero, four = integer(0), ir.VectorType(given.of, 4)
        numbers = [
            builder.load(given.address(zero, i, j, 0, four), align=given.align)
            for i in range(numbers_of(given.of).count)
        ]
        for i, column in enumerate(turned(builder, numbers)):
            out.write(column, j, i, t)
        return context.get_dummy_value()

    return types.void(rows, int64, tile, int64), generate
