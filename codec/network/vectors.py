"""Sums of products, sixteen at a time, in LLVM's own terms: what numba does not find in loops by itself.

Products of 16-bit pairs every processor can do that numba compiles for; many take one instruction for a vector of products and their sums.
Where there is one for groups of four bytes, unsigned times signed, matrices are multiplied by it.
"""

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16  # sums in a vector
ROWS = 8  # of a block
VECTORS = 2  # of outputs in a block


def _has_bytes() -> bool:
    chosen = numba.config.CPU_NAME or numba.config.CPU_FEATURES or not numba.config.ENABLE_AVX
    features = {} if chosen else llvmlite.binding.get_host_cpu_features()
    return all(features.get(name, False) for name in ("avx512f", "avx512vnni"))


BYTES = _has_bytes()  # whether matrices are multiplied as bytes; else as pairs
GROUP = 4 if BYTES else 2  # inputs in a lane
INPUT = np.uint8 if BYTES else np.int16
ZERO = 128 if BYTES else 0  # what stands for an input of zero

_SUM = ir.IntType(32)
_SUMS = ir.VectorType(_SUM, LANES)
_PAIRS = ir.VectorType(ir.IntType(16), 2 * LANES)
_BYTES = ir.VectorType(ir.IntType(8), 2 * LANES)
_WIDE = ir.VectorType(_SUM, 2 * LANES)
_NO_SUMS = ir.Constant(_SUMS, None)


def _address(context, builder, array_type, array, at, kind):
    start = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(start, [at]), kind.as_pointer())


def _everywhere(context, builder, array_type, array, at):
    """The 32 bits at `at` in all lanes."""
    group = builder.load(_address(context, builder, array_type, array, at, _SUM), align=1)
    first = builder.insert_element(ir.Constant(_SUMS, ir.Undefined), group, ir.Constant(_SUM, 0))
    return builder.shuffle_vector(first, ir.Constant(_SUMS, ir.Undefined), ir.Constant(_SUMS, [0] * LANES))


def _pair(context, builder, array_type, array, at):
    return builder.bitcast(_everywhere(context, builder, array_type, array, at), _PAIRS)


def _pairs(context, builder, array_type, array, at):
    """Sixteen pairs of bytes from `at` on."""
    return builder.sext(builder.load(_address(context, builder, array_type, array, at, _BYTES), align=1), _PAIRS)


def _products(builder, one, other):
    """Of each pair of one with the pair of the other in its lane, the sum of the two products."""
    product, none = builder.mul(builder.sext(one, _WIDE), builder.sext(other, _WIDE)), ir.Constant(_WIDE, ir.Undefined)
    halves = [builder.shuffle_vector(product, none, ir.Constant(_SUMS, [2 * k + half for k in range(LANES)])) for half in (0, 1)]
    return builder.add(*halves)


def _grow(builder, total, one, other):
    builder.store(builder.add(builder.load(total), _products(builder, one, other)), total)


def _grow_by_bytes(builder, total, column, group):
    """By the products of four unsigned bytes of the group with four signed ones of the column, per lane."""
    name = "llvm.x86.avx512.vpdpbusd.512"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_SUMS, [_SUMS] * 3), name)
    builder.store(builder.call(function, [builder.load(total), group, column]), total)


@intrinsic
def block_product(typing_context, x, x_at, depth, weights, weights_at, start, start_at, out, out_at, width):
    """ROWS rows of x, INPUT, depth long, times VECTORS * LANES columns of int8 weights, into as many rows of `out`, int32, width long, on
    top of what `start` has for each column.

    Places are counted in elements. weights: by group of inputs, (depth / GROUP, VECTORS, LANES, GROUP).
    """
    signature = types.void(x, types.intp, types.intp, weights, types.intp, start, types.intp, out, types.intp, types.intp)

    def generated(context, builder, signature, arguments):
        x_type, _, _, weights_type, _, start_type, _, out_type, _, _ = signature.args
        x, x_at, depth, weights, weights_at, start, start_at, out, out_at, width = arguments
        number = depth.type

        def plus(value, more):
            return builder.add(value, ir.Constant(number, more))

        starts = [
            builder.load(_address(context, builder, start_type, start, plus(start_at, LANES * v), _SUMS), align=4) for v in range(VECTORS)
        ]
        totals = [[cgutils.alloca_once_value(builder, start) for start in starts] for _ in range(ROWS)]
        rows = [builder.add(x_at, builder.mul(depth, ir.Constant(number, row))) for row in range(ROWS)]
        lane = GROUP * LANES
        with cgutils.for_range(builder, builder.udiv(depth, ir.Constant(number, GROUP))) as loop:
            at = builder.add(weights_at, builder.mul(loop.index, ir.Constant(number, VECTORS * lane)))
            place = builder.mul(loop.index, ir.Constant(number, GROUP))
            if BYTES:
                columns = [
                    builder.load(_address(context, builder, weights_type, weights, plus(at, lane * v), _SUMS), align=1)
                    for v in range(VECTORS)
                ]
            else:
                columns = [_pairs(context, builder, weights_type, weights, plus(at, lane * v)) for v in range(VECTORS)]
            for row, row_totals in zip(rows, totals, strict=True):
                group = _everywhere(context, builder, x_type, x, builder.add(row, place))
                for column, total in zip(columns, row_totals, strict=True):
                    if BYTES:
                        _grow_by_bytes(builder, total, column, group)
                    else:
                        _grow(builder, total, column, builder.bitcast(group, _PAIRS))
        for row, row_totals in enumerate(totals):
            for v, total in enumerate(row_totals):
                at = plus(builder.add(out_at, builder.mul(width, ir.Constant(number, row))), LANES * v)
                builder.store(builder.load(total), _address(context, builder, out_type, out, at, _SUMS), align=4)
        return context.get_dummy_value()

    return signature, generated


@intrinsic
def sum_of_rows(typing_context, rows, at, step, pairs, pairs_at, count, out, out_at):
    """LANES sums, into `out`, int32: of the products of sixteen pairs of int8, at `at`, at + step and so on, with the pairs of int16 from
    pairs_at on; an even count of them. Places are counted in elements, of which a pair may be one of 32 bits.
    """
    signature = types.void(rows, types.intp, types.intp, pairs, types.intp, types.intp, out, types.intp)

    def generated(context, builder, signature, arguments):
        rows_type, _, _, pairs_type, _, _, out_type, _ = signature.args
        rows, at, step, pairs, pairs_at, count, out, out_at = arguments
        number = count.type
        totals = [cgutils.alloca_once_value(builder, _NO_SUMS) for _ in range(2)]
        with cgutils.for_range(builder, builder.lshr(count, ir.Constant(number, 1))) as loop:
            for half, total in enumerate(totals):
                k = builder.add(builder.shl(loop.index, ir.Constant(number, 1)), ir.Constant(number, half))
                row = _pairs(context, builder, rows_type, rows, builder.add(at, builder.mul(k, step)))
                place = builder.add(pairs_at, builder.mul(k, ir.Constant(number, 32 // pairs_type.dtype.bitwidth)))
                _grow(builder, total, row, _pair(context, builder, pairs_type, pairs, place))
        total = builder.add(*map(builder.load, totals))
        builder.store(total, _address(context, builder, out_type, out, out_at, _SUMS), align=4)
        return context.get_dummy_value()

    return signature, generated


@intrinsic
def fetch_ahead(typing_context, array, at, count):
    """Has `count` bytes of an int8 array brought close, from `at` on, without waiting for them."""
    signature = types.void(array, types.intp, types.intp)

    def generated(context, builder, signature, arguments):
        array_type, _, _ = signature.args
        array, at, count = arguments
        start = context.make_array(array_type)(context, builder, array).data
        pointer = ir.IntType(8).as_pointer()
        function = builder.module.declare_intrinsic("llvm.prefetch", (pointer,), ir.FunctionType(ir.VoidType(), [pointer] + [_SUM] * 3))
        with cgutils.for_range(builder, builder.lshr(count, ir.Constant(count.type, 6))) as loop:
            place = builder.gep(start, [builder.add(at, builder.shl(loop.index, ir.Constant(count.type, 6)))])
            builder.call(function, [builder.bitcast(place, pointer), *(ir.Constant(_SUM, n) for n in (0, 3, 1))])
        return context.get_dummy_value()

    return signature, generated
