"""Sums of products of 16-bit pairs, sixteen at a time, in LLVM's own terms: what numba does not find in loops by itself.

Every processor that numba compiles for can do it; those of today take one instruction for a vector of products and their sums.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16  # sums in a vector
ROWS = 8  # of a block
VECTORS = 2  # of outputs in a block

_SUM = ir.IntType(32)
_SUMS = ir.VectorType(_SUM, LANES)
_PAIRS = ir.VectorType(ir.IntType(16), 2 * LANES)
_BYTES = ir.VectorType(ir.IntType(8), 2 * LANES)
_WIDE = ir.VectorType(_SUM, 2 * LANES)
_NO_SUMS = ir.Constant(_SUMS, None)


def _address(context, builder, array_type, array, at, kind):
    start = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(start, [at]), kind.as_pointer())


def _pair(context, builder, array_type, array, at):
    """The pair at `at` in all lanes."""
    pair = builder.load(_address(context, builder, array_type, array, at, _SUM), align=2)
    first = builder.insert_element(ir.Constant(_SUMS, ir.Undefined), pair, ir.Constant(_SUM, 0))
    everywhere = ir.Constant(ir.VectorType(_SUM, LANES), [0] * LANES)
    return builder.bitcast(builder.shuffle_vector(first, ir.Constant(_SUMS, ir.Undefined), everywhere), _PAIRS)


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


@intrinsic
def block_product(typing_context, x, x_at, depth, weights, weights_at, out, out_at, width):
    """ROWS rows of x, int16, depth long, times VECTORS * LANES columns of int8 weights, into as many rows of `out`, int32, width long.

    Places are counted in elements. weights: by pair of inputs, (depth / 2, VECTORS, LANES, 2).
    """
    signature = types.void(x, types.intp, types.intp, weights, types.intp, out, types.intp, types.intp)

    def generated(context, builder, signature, arguments):
        x_type, _, _, weights_type, _, out_type, _, _ = signature.args
        x, x_at, depth, weights, weights_at, out, out_at, width = arguments
        number = depth.type
        totals = [[cgutils.alloca_once_value(builder, _NO_SUMS) for _ in range(VECTORS)] for _ in range(ROWS)]
        rows = [builder.add(x_at, builder.mul(depth, ir.Constant(number, row))) for row in range(ROWS)]
        with cgutils.for_range(builder, builder.lshr(depth, ir.Constant(number, 1))) as loop:
            at = builder.add(weights_at, builder.mul(loop.index, ir.Constant(number, VECTORS * 2 * LANES)))
            columns = [
                _pairs(context, builder, weights_type, weights, builder.add(at, ir.Constant(number, 2 * LANES * v))) for v in range(VECTORS)
            ]
            place = builder.shl(loop.index, ir.Constant(number, 1))
            for row, row_totals in zip(rows, totals, strict=True):
                pair = _pair(context, builder, x_type, x, builder.add(row, place))
                for column, total in zip(columns, row_totals, strict=True):
                    _grow(builder, total, column, pair)
        for row, row_totals in enumerate(totals):
            for v, total in enumerate(row_totals):
                at = builder.add(out_at, builder.add(builder.mul(width, ir.Constant(number, row)), ir.Constant(number, LANES * v)))
                builder.store(builder.load(total), _address(context, builder, out_type, out, at, _SUMS), align=4)
        return context.get_dummy_value()

    return signature, generated


@intrinsic
def sum_of_rows(typing_context, rows, at, step, pairs, pairs_at, count, out, out_at):
    """LANES sums, into `out`, int32: of the products of sixteen pairs of int8, at `at`, at + step and so on, with the pairs of int16 from
    pairs_at on; an even count of them. Places are counted in elements.
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
                place = builder.add(pairs_at, builder.shl(k, ir.Constant(number, 1)))
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
