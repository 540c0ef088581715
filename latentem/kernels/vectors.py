"""Vectors of numbers, as a processor computes with them, in compiled kernels.

A vector is `LANES` numbers, which the processor adds or multiplies by one instruction. In a kernel
``x = load(table, k, t)`` takes it from a row of a table, ``x + y * z`` means what it means of
numbers, and ``store(table, k, t, x)`` puts it back. The compiler finds many vectors by itself, but
not those that are to stay in registers from one row to the next.

Imported by `latentem.kernels.loops` and its like alone, since numba is an extra.
"""

# mypy: disable-error-code="untyped-decorator,no-untyped-call,call-arg"
from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import float64, int64, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, overload, register_model

#: Numbers of a vector: as many as the widest registers hold, 64 bytes with AVX-512, else 32. (What
#: is compiled for is this processor, unless numba has been told another.)
LANES = 8 if "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2] else 4

NUMBERS = ir.VectorType(ir.DoubleType(), LANES)
BITS = ir.VectorType(ir.IntType(64), LANES)
# A product and its sum are one instruction.
FUSED = ("contract",)


class Vector(types.Type):
    """The type of a vector, to the compiler."""


vector = Vector(name=f"Vector({LANES})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, NUMBERS)


def numbers_of(kind: Any) -> Any:
    """Return what a register holds of a kind of number: of single precision it is twice as many."""
    return NUMBERS if kind == ir.DoubleType() else ir.VectorType(kind, 2 * LANES)


def spread_number(builder: Any, number: Any) -> Any:
    """Return a vector of one number."""
    kind = numbers_of(number.type)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    return shuffled(builder, first, undefined, [0] * kind.count)


def _all(builder: Any, number: Any, kind: Any) -> Any:
    """Return a vector, or one of a number."""
    return number if kind == vector else spread_number(builder, number)


def shuffled(builder: Any, x: Any, y: Any, places: list[int]) -> Any:
    """Return the vector of these places of x and, from its length on, of y."""
    kind = ir.VectorType(ir.IntType(32), len(places))
    return builder.shuffle_vector(x, y, ir.Constant(kind, places))


def address(
    context: Any, builder: Any, kind: Any, table: Any, place: tuple[Any, Any], of: Any
) -> Any:
    """Return where a place of a contiguous table is, as that of a vector or number."""
    array = context.make_array(kind)(context, builder, table)
    _, columns = cgutils.unpack_tuple(builder, array.shape)
    row, column = place
    start = builder.add(builder.mul(row, columns), column)
    return builder.bitcast(builder.gep(array.data, [start]), of.as_pointer())


def _loaded(
    context: Any, builder: Any, kind: Any, table: Any, place: tuple[Any, Any], count: int
) -> Any:
    """Return so many numbers of a table, from a place on, in double precision."""
    given = ir.VectorType(context.get_data_type(kind.dtype), count)
    at = address(context, builder, kind, table, place, given)
    numbers = builder.load(at, align=kind.dtype.bitwidth // 8)
    if kind.dtype != float64:
        numbers = builder.fpext(numbers, ir.VectorType(ir.DoubleType(), count))
    return numbers


# Places of tables are said by two numbers, not by a row and a number: each row taken out of a table
# is counted as a reference to it, which takes longer than to read some vectors.
@intrinsic
def load(context: Any, table: Any, row: Any, column: Any) -> Any:
    """Return the vector that starts at a place of a contiguous table."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, *place = arguments
        return _loaded(context, builder, signature.args[0], array, place, LANES)

    return vector(table, int64, int64), generate


@intrinsic
def store(context: Any, table: Any, row: Any, column: Any, x: Any) -> Any:
    """Write a vector, or one number all over it, at a place of a contiguous table."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, *place, x = arguments
        at = address(context, builder, signature.args[0], array, place, NUMBERS)
        builder.store(_all(builder, x, signature.args[-1]), at, align=8)
        return context.get_dummy_value()

    return types.void(table, int64, int64, x), generate


@intrinsic
def fetch(context: Any, table: Any, row: Any) -> Any:
    """Let the processor read the start of a row ahead of its use; past the end it does nothing."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row = arguments
        kind, byte, flag = signature.args[0], ir.IntType(8).as_pointer(), ir.IntType(32)
        place = row, ir.Constant(ir.IntType(64), 0)
        at = address(context, builder, kind, array, place, ir.IntType(8))
        of = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        fetch = cgutils.get_or_insert_function(builder.module, of, "llvm.prefetch.p0i8")
        builder.call(fetch, [at, *(ir.Constant(flag, number) for number in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(table, int64), generate


def turned(builder: Any, rows: list[Any]) -> list[Any]:
    """Return rows of four numbers, as many as a vector has, as four vectors: transposed."""
    lanes = len(rows)
    # Rows i, i + 4, ... side by side: fours are transposed by themselves.
    rows = [_joined(builder, rows[i::4]) for i in range(4)]
    fours = range(0, lanes, 4)
    low, high, left, right = (
        [g + i + (lanes if of else 0) for g in fours for of, i in places]
        for places in (
            ((0, 0), (1, 0), (0, 2), (1, 2)),
            ((0, 1), (1, 1), (0, 3), (1, 3)),
            ((0, 0), (0, 1), (1, 0), (1, 1)),
            ((0, 2), (0, 3), (1, 2), (1, 3)),
        )
    )
    even, odd = (
        [shuffled(builder, rows[i], rows[i + 1], places) for i in (0, 2)] for places in (low, high)
    )
    return [shuffled(builder, *two, places) for places in (left, right) for two in (even, odd)]


def _joined(builder: Any, vectors: list[Any]) -> Any:
    """Return vectors, a power of two of them, as one."""
    while len(vectors) > 1:
        both = list(range(2 * vectors[0].type.count))
        vectors = [
            shuffled(builder, x, y, both) for x, y in zip(vectors[::2], vectors[1::2], strict=True)
        ]
    return vectors[0]


@intrinsic
def load_columns(context: Any, table: Any, row: Any, column: Any) -> Any:
    """Return four vectors, of `LANES` rows in four columns: a block of a table, transposed."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row, column = arguments
        places = [(builder.add(row, ir.Constant(ir.IntType(64), i)), column) for i in range(LANES)]
        rows = [_loaded(context, builder, signature.args[0], array, p, 4) for p in places]
        return context.make_tuple(builder, signature.return_type, turned(builder, rows))

    return types.UniTuple(vector, 4)(table, int64, int64), generate


@intrinsic
def spread(context: Any, number: Any) -> Any:
    """Return a vector of one number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _all(builder, *arguments, float64)

    return vector(float64), generate


@intrinsic
def total(context: Any, x: Any) -> Any:
    """Return the sum of a vector's numbers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.DoubleType(), [ir.DoubleType(), NUMBERS])
        name = f"llvm.vector.reduce.fadd.v{LANES}f64"
        add = cgutils.get_or_insert_function(builder.module, kind, name)
        zero = ir.Constant(ir.DoubleType(), 0.0)
        return builder.call(add, [zero, *arguments], fastmath=("reassoc",))

    return float64(vector), generate


@intrinsic
def where_less(context: Any, x: Any, y: Any, yes: Any, no: Any) -> Any:
    """Return one value where x < y, and another where it is not or either is NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if vector in signature.args:
            arguments = map(_all, [builder] * 4, arguments, signature.args)
        x, y, yes, no = arguments
        return builder.select(builder.fcmp_ordered("<", x, y), yes, no)

    kinds = x, y, yes, no
    return (vector if vector in kinds else float64)(*kinds), generate


@intrinsic
def power_of_two(context: Any, shifted: Any) -> Any:
    """Return 2^n of n + 1.5 2^52, in whose last bits n stands."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        is_vector = signature.args[0] == vector
        numbers, bits = (NUMBERS, BITS) if is_vector else (ir.DoubleType(), ir.IntType(64))
        bias, shift = (
            ir.Constant(bits, [number] * LANES if is_vector else number) for number in (1023, 52)
        )
        exponent = builder.add(builder.bitcast(arguments[0], bits), bias)
        return builder.bitcast(builder.shl(exponent, shift), numbers)

    return shifted(shifted), generate


def _operator(symbol: Callable[[Any, Any], Any], instruction: str) -> None:
    """Let an operator take vectors, or a vector and a number."""

    @intrinsic
    def combine(context: Any, x: Any, y: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            both = map(_all, [builder] * 2, arguments, signature.args)
            return getattr(builder, instruction)(*both, flags=FUSED)

        return vector(x, y), generate

    @overload(symbol, strict=False)
    def implement(x: Any, y: Any) -> Any:
        if vector in (x, y):
            return lambda x, y: combine(x, y)
        return None


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


@numba.njit
def tile_of(rows: int, columns: int) -> Any:
    """Return a table of zeros, each row of which starts where a vector best does.

    It has some more columns, so that these are an odd number of vectors: numbers of one column,
    were they a power of two apart, would share a few places of the cache.
    """
    wide = (-(-columns // LANES) | 1) * LANES
    room = np.zeros(rows * wide + LANES)
    start = -(room.ctypes.data // 8) % LANES
    return room[start : start + rows * wide].reshape(rows, wide)
