"""Sums of products, sixteen at a time, in LLVM's own terms: what numba does not find in loops by itself.

Products of 16-bit pairs every processor can do that numba compiles for; many take one instruction for a vector of products and their sums.
Where there is one for groups of four bytes, unsigned times signed, matrices are multiplied by it, and queries, keys, values and weights.
"""

import functools

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


def _has(*names: str) -> bool:
    """Whether the processor that numba compiles for has some features."""
    chosen = numba.config.CPU_NAME or numba.config.CPU_FEATURES or not numba.config.ENABLE_AVX
    features = {} if chosen else llvmlite.binding.get_host_cpu_features()
    return all(features.get(name, False) for name in names)


BYTES = _has("avx512f", "avx512vnni")  # whether sums are made of products of bytes; else of pairs
TABLES = BYTES and _has("avx512bw", "avx512vbmi")  # whether bytes are looked up many at a time
GROUP = 4 if BYTES else 2  # inputs in a lane
INPUT = np.uint8 if BYTES else np.int16
ZERO = 128 if BYTES else 0  # what stands for an input of zero

_SUM = ir.IntType(32)
_SUMS = ir.VectorType(_SUM, LANES)
_PAIRS = ir.VectorType(ir.IntType(16), 2 * LANES)
_BYTES = ir.VectorType(ir.IntType(8), 2 * LANES)
_WIDE = ir.VectorType(_SUM, 2 * LANES)
_LANE_BYTES = ir.VectorType(ir.IntType(8), LANES)
_NO_SUMS = ir.Constant(_SUMS, None)

LAST_STEP = 30 * 32  # below the best score, in 1/32 octaves: no attention weight is left there


def _address(context, builder, array_type, array, at, kind):
    start = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(start, [at]), kind.as_pointer())


def _vector(context, builder, array_type, array, at):
    """64 bytes from `at` on, as sums."""
    return builder.load(_address(context, builder, array_type, array, at, _SUMS), align=1)


def _call(builder, name, result, *arguments):
    function = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), arguments)


def _in_all(builder, value):
    """A number in all lanes."""
    none = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(none, value, ir.Constant(_SUM, 0)), none, _NO_SUMS)


def _filled(value):
    return ir.Constant(_SUMS, [value] * LANES)


def _plus(builder, value, factor, times=1):
    """value + factor * times, of numbers some of which may be Python's."""
    factor, times = (n if isinstance(n, ir.Value) else ir.Constant(value.type, n) for n in (factor, times))
    return builder.add(value, builder.mul(factor, times))


def _steps(builder, end, step):
    """A loop over 0, step, 2 * step and so on, below end."""
    return cgutils.for_range_slice(builder, *(n if isinstance(n, ir.Value) else ir.Constant(end.type, n) for n in (0, end, step)))


def _everywhere(context, builder, array_type, array, at):
    """The 32 bits at `at` in all lanes."""
    return _in_all(builder, builder.load(_address(context, builder, array_type, array, at, _SUM), align=1))


def _fetch(context, builder, array_type, array, places, ahead):
    """Brings bytes `ahead` of some places close, without waiting for them; nothing where that is 0."""
    pointer = ir.IntType(8).as_pointer()
    function = ir.FunctionType(ir.VoidType(), [pointer] + [_SUM] * 3)
    with builder.if_then(builder.icmp_signed("!=", ahead, ir.Constant(ahead.type, 0))):
        for at in places:
            place = _address(context, builder, array_type, array, builder.add(at, ahead), ir.IntType(8))
            how = (ir.Constant(_SUM, n) for n in (0, 3, 1))  # to read, often, data
            builder.call(builder.module.declare_intrinsic("llvm.prefetch", (pointer,), function), [place, *how])


def _pair(context, builder, array_type, array, at):
    """A pair of int8, or of int16, in all lanes."""
    if array_type.dtype.bitwidth > 8:
        return builder.bitcast(_everywhere(context, builder, array_type, array, at), _PAIRS)
    pair = ir.VectorType(ir.IntType(8), 2)
    wide = builder.sext(builder.load(_address(context, builder, array_type, array, at, pair), align=1), ir.VectorType(ir.IntType(16), 2))
    return builder.bitcast(_in_all(builder, builder.bitcast(wide, _SUM)), _PAIRS)


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
    builder.store(_call(builder, "llvm.x86.avx512.vpdpbusd.512", _SUMS, builder.load(total), group, column), total)


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
                columns = [_vector(context, builder, weights_type, weights, plus(at, lane * v)) for v in range(VECTORS)]
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


def _whole(builder, lead, count):
    """Slots of whole vectors."""
    return builder.and_(_plus(builder, builder.add(lead, count), LANES - 1), ir.Constant(count.type, -LANES))


def _counting(builder, slot, lead, count):
    """Which of a vector's slots count."""
    slot, count = (_in_all(builder, builder.trunc(n, _SUM)) for n in (builder.sub(slot, lead), count))
    return builder.icmp_unsigned("<", builder.add(slot, ir.Constant(_SUMS, list(range(LANES)))), count)


@intrinsic
def best_score(typing_context, kept, keys_at, ahead, dim, query, query_at, lead, count, scores, scores_at):
    """Of a query with `count` keys, after `lead` slots that count for nothing; all scores, on top of one number, go to `scores`, int32.

    kept, from keys_at on: (vectors, dim / GROUP, LANES, GROUP) unsigned bytes, ZERO too large; query, from query_at on: dim signed ones.
    ahead: how far away what is read next stands, or 0.
    """
    intp = types.intp
    signature = types.int32(kept, intp, intp, intp, query, intp, intp, intp, scores, intp)

    def generated(context, builder, signature, arguments):
        kept, keys_at, ahead, dim, query, query_at, lead, count, scores, scores_at = arguments
        kept_type, query_type, scores_type = (signature.args[k] for k in (0, 4, 8))
        best = cgutils.alloca_once_value(builder, _filled(-(1 << 31)))
        with _steps(builder, _whole(builder, lead, count), LANES) as (slot, _):
            total = cgutils.alloca_once_value(builder, _NO_SUMS)
            with _steps(builder, dim, LANES) as (k, _):
                places = [_plus(builder, k, n) for n in range(0, LANES, GROUP)]
                keys = [_plus(builder, _plus(builder, keys_at, slot, dim), place, LANES) for place in places]
                _fetch(context, builder, kept_type, kept, keys, ahead)
                for place, key in zip(places, keys, strict=True):
                    group = _everywhere(context, builder, query_type, query, builder.add(query_at, place))
                    _grow_by_bytes(builder, total, group, _vector(context, builder, kept_type, kept, key))
            score, largest = builder.load(total), builder.load(best)
            builder.store(score, _address(context, builder, scores_type, scores, builder.add(scores_at, slot), _SUMS), align=4)
            better = builder.and_(_counting(builder, slot, lead, count), builder.icmp_signed(">", score, largest))
            builder.store(builder.select(better, score, largest), best)
        return _call(builder, "llvm.vector.reduce.smax.v16i32", _SUM, builder.load(best))

    return signature, generated


@intrinsic
def total_weight(typing_context, scores, scores_at, lead, count, best, scale, octave):
    """Of scores, the best of which is given; in their place go the weights, for each LANES of them their low bytes, then their high ones.

    scale: multiplier and shift, int32; octave: see `kernels.exponentials`.
    """
    signature = types.int32(scores, types.intp, types.intp, types.intp, types.int32, scale, octave)

    def generated(context, builder, signature, arguments):
        scores, scores_at, lead, count, best, scale, octave = arguments
        scores_type, scale_type, octave_type = (signature.args[k] for k in (0, 5, 6))
        total = cgutils.alloca_once_value(builder, _NO_SUMS)
        zero, half = (ir.Constant(count.type, n) for n in (0, LANES))
        multiplier, shift = (_everywhere(context, builder, scale_type, scale, _plus(builder, zero, k)) for k in range(2))
        low, high = (_vector(context, builder, octave_type, octave, at) for at in (zero, half))
        best = _in_all(builder, best)
        with _steps(builder, _whole(builder, lead, count), LANES) as (slot, _):
            at = builder.add(scores_at, slot)
            below = builder.sub(best, _vector(context, builder, scores_type, scores, at))
            step = _call(builder, "llvm.umin.v16i32", _SUMS, builder.lshr(builder.mul(below, multiplier), shift), _filled(LAST_STEP))
            mantissa = _call(builder, "llvm.x86.avx512.vpermi2var.d.512", _SUMS, low, step, high)
            twice = builder.lshr(mantissa, builder.lshr(step, _filled(5)))
            weight = builder.lshr(builder.add(twice, _filled(1)), _filled(1))
            weight = builder.select(_counting(builder, slot, lead, count), weight, _NO_SUMS)
            builder.store(builder.add(builder.load(total), weight), total)
            for part, place in ((weight, at), (builder.lshr(weight, _filled(8)), _plus(builder, at, LANES // 4))):
                address = _address(context, builder, scores_type, scores, place, _LANE_BYTES)
                builder.store(builder.trunc(part, _LANE_BYTES), address, align=1)
        return _call(builder, "llvm.vector.reduce.add.v16i32", _SUM, builder.load(total))

    return signature, generated


@intrinsic
def weighted_means(typing_context, kept, values_at, ahead, dim, weights, weights_at, lead, count, total, out, out_at):
    """Of values, weighted by what `total_weight` left, rounded half up: dim bytes, on top of ZERO.

    kept, from values_at on: (vectors, LANES / GROUP, dim, GROUP) signed bytes.
    """
    intp = types.intp
    signature = types.void(kept, intp, intp, intp, weights, intp, intp, intp, types.int32, out, intp)

    def generated(context, builder, signature, arguments):
        kept, values_at, ahead, dim, weights, weights_at, lead, count, total, out, out_at = arguments
        kept_type, weights_type, out_type = (signature.args[k] for k in (0, 4, 9))
        doubles = ir.VectorType(ir.DoubleType(), LANES)
        a_half = ir.Constant(doubles, [0.5] * LANES)
        share = builder.fdiv(a_half, builder.sitofp(_in_all(builder, total), doubles))
        more = _in_all(builder, builder.mul(total, ir.Constant(_SUM, 1 + 2 * ZERO)))
        with _steps(builder, dim, LANES) as (k, _):
            totals = [cgutils.alloca_once_value(builder, _NO_SUMS) for _ in range(2 * LANES // GROUP)]
            with _steps(builder, _whole(builder, lead, count), LANES) as (slot, _):
                places = [_plus(builder, _plus(builder, values_at, _plus(builder, slot, n), dim), k, GROUP) for n in range(0, LANES, GROUP)]
                _fetch(context, builder, kept_type, kept, places, ahead)
                for n, place in enumerate(places):
                    row = _vector(context, builder, kept_type, kept, place)
                    for half in range(2):
                        at = _plus(builder, builder.add(weights_at, slot), n + LANES // 4 * half)
                        _grow_by_bytes(builder, totals[2 * n + half], row, _everywhere(context, builder, weights_type, weights, at))
            low, high = (functools.reduce(builder.add, map(builder.load, totals[half::2])) for half in range(2))
            twice = builder.add(builder.shl(low, _filled(1)), builder.shl(high, _filled(9)))
            # half a unit keeps the product away from whole numbers, from which its rounding errors are far
            mean = builder.fmul(builder.fadd(builder.sitofp(builder.add(twice, more), doubles), a_half), share)
            mean = builder.trunc(builder.fptosi(mean, _SUMS), _LANE_BYTES)
            builder.store(mean, _address(context, builder, out_type, out, builder.add(out_at, k), _LANE_BYTES), align=1)
        return context.get_dummy_value()

    return signature, generated


@intrinsic
def sum_of_rows(typing_context, rows, at, ahead, step, pairs, pairs_at, count, out, out_at):
    """LANES sums, into `out`, int32: of the products of sixteen pairs of int8, at `at`, at + step and so on, with the pairs of int16 from
    pairs_at on; an even count of them. Places are counted in elements, of which a pair may be one of 32 bits.
    """
    signature = types.void(rows, types.intp, types.intp, types.intp, pairs, types.intp, types.intp, out, types.intp)

    def generated(context, builder, signature, arguments):
        rows_type, _, _, _, pairs_type, _, _, out_type, _ = signature.args
        rows, at, ahead, step, pairs, pairs_at, count, out, out_at = arguments
        number = count.type
        totals = [cgutils.alloca_once_value(builder, _NO_SUMS) for _ in range(2)]
        with cgutils.for_range(builder, builder.lshr(count, ir.Constant(number, 1))) as loop:
            for half, total in enumerate(totals):
                k = builder.add(builder.shl(loop.index, ir.Constant(number, 1)), ir.Constant(number, half))
                row_at = builder.add(at, builder.mul(k, step))
                _fetch(context, builder, rows_type, rows, [row_at], ahead)
                row = _pairs(context, builder, rows_type, rows, row_at)
                place = builder.add(pairs_at, builder.mul(k, ir.Constant(number, 2 if pairs_type.dtype.bitwidth == 8 else 1)))
                _grow(builder, total, row, _pair(context, builder, pairs_type, pairs, place))
        total = builder.add(*map(builder.load, totals))
        builder.store(total, _address(context, builder, out_type, out, out_at, _SUMS), align=4)
        return context.get_dummy_value()

    return signature, generated


@intrinsic
def sums_of_pairs(typing_context, inputs, count, weights, at, out, out_at):
    """3 * LANES sums, into `out`, int32, from out_at on: of the products of pairs of int16 inputs, an even count of them, with the weights
    of each sum.

    weights, from `at` on: (count, 3 * LANES, 2) int16. Places are counted in elements.
    """
    signature = types.void(inputs, types.intp, weights, types.intp, out, types.intp)

    def generated(context, builder, signature, arguments):
        inputs_type, _, weights_type, _, out_type, _ = signature.args
        inputs, count, weights, at, out, out_at = arguments
        totals = [[cgutils.alloca_once_value(builder, _NO_SUMS) for _ in range(3)] for _ in range(2)]  # a sum waits for the one before
        with _steps(builder, count, 2) as (first, _):
            for half, of_half in enumerate(totals):
                number = _plus(builder, first, half)
                pair = _pair(context, builder, inputs_type, inputs, _plus(builder, number, number))
                for k, total in enumerate(of_half):
                    place = _plus(builder, _plus(builder, at, number, 6 * LANES), 2 * LANES * k)
                    row = builder.load(_address(context, builder, weights_type, weights, place, _PAIRS), align=2)
                    _grow(builder, total, row, pair)
        for k, both in enumerate(zip(*totals, strict=True)):
            address = _address(context, builder, out_type, out, _plus(builder, out_at, LANES * k), _SUMS)
            builder.store(builder.add(*map(builder.load, both)), address, align=4)
        return context.get_dummy_value()

    return signature, generated


@intrinsic
def keep(typing_context, kept, key_at, value_at, byte, qkv, key_from, value_from, dim):
    """A slot's key and value, dim int8 each, put where attention looks for them.

    From key_at on, the key's groups of GROUP bytes, on top of ZERO, LANES groups apart; from value_at on, the value's bytes, the one of
    that number in each of as many groups.
    """
    intp = types.intp
    signature = types.void(kept, intp, intp, intp, qkv, intp, intp, intp)

    def generated(context, builder, signature, arguments):
        kept_type, qkv_type = signature.args[0], signature.args[4]
        kept, key_at, value_at, byte, qkv, key_from, value_from, dim = arguments
        word = ir.IntType(8 * GROUP)
        words = ir.VectorType(word, LANES)

        zeros = ir.Constant(word, int.from_bytes([ZERO] * GROUP, "little"))
        bits = _in_all(builder, builder.trunc(builder.shl(byte, ir.Constant(byte.type, 3)), word))
        others = builder.not_(builder.shl(ir.Constant(words, [255] * LANES), bits))
        with _steps(builder, dim, LANES) as (k, _):
            for n in range(0, LANES, GROUP):
                place = _plus(builder, k, n)
                group = builder.load(_address(context, builder, qkv_type, qkv, builder.add(key_from, place), word), align=1)
                address = _address(context, builder, kept_type, kept, _plus(builder, key_at, place, LANES), word)
                builder.store(builder.xor(group, zeros), address, align=1)
            value = builder.load(_address(context, builder, qkv_type, qkv, builder.add(value_from, k), _LANE_BYTES), align=1)
            address = _address(context, builder, kept_type, kept, _plus(builder, value_at, k, GROUP), words)
            before = builder.and_(builder.load(address, align=1), others)
            builder.store(builder.or_(before, builder.shl(builder.zext(value, words), bits)), address, align=1)
        return context.get_dummy_value()

    return signature, generated


@intrinsic
def table_entries(typing_context, sums, scale, table, out, columns):
    """The first columns of sums, a multiple of 64, scaled, as places in a table of 1024 bytes: from its middle on, at most +-511. What
    stands there goes to `out`, on top of ZERO. scale: see `kernels.scales`.
    """
    signature = types.void(sums, scale, table, out, types.intp)

    def generated(context, builder, signature, arguments):
        sums, scale, table, out, columns = arguments
        kinds = signature.args
        eight, sixteen = ir.VectorType(ir.IntType(8), 64), ir.VectorType(ir.IntType(16), 32)
        arrays = (kinds[0], sums), (kinds[1], scale), (kinds[3], out)
        sums_shape, scale_shape, out_shape = (
            cgutils.unpack_tuple(builder, context.make_array(k)(context, builder, a).shape) for k, a in arrays
        )

        def const(value):
            return ir.Constant(columns.type, value)

        def filled(kind, value):
            return ir.Constant(kind, [value] * kind.count)

        def entries(k):
            values = builder.load(_address(context, builder, kinds[2], table, const(64 * k), eight), align=1)
            return builder.add(values, filled(eight, ZERO))

        def scaled(row, column):
            value = _vector(context, builder, kinds[0], sums, _plus(builder, column, row, sums_shape[1]))
            places = (_plus(builder, column, const(k), scale_shape[1]) for k in range(3))
            multiplier, offset, shift = (_vector(context, builder, kinds[1], scale, place) for place in places)
            return builder.ashr(builder.add(builder.mul(value, multiplier), offset), shift)

        table = [entries(k) for k in range(16)]
        # packing takes four from the one vector, four from the other, and so on: where the lower bytes, in order, are then
        order = [64 * (k // 32) + 16 * (k // 4 % 4) + 8 * (k // 16 % 2) + 2 * (k % 4) for k in range(64)]
        orders = [ir.Constant(ir.VectorType(_SUM, 64), [k + half for k in order]) for half in range(2)]
        with _steps(builder, out_shape[0], 1) as (row, _), _steps(builder, columns, 64) as (column, _):
            places = [scaled(row, _plus(builder, column, k)) for k in range(0, 64, LANES)]
            pairs = []
            for k in (0, 2):
                pair = _call(builder, "llvm.x86.avx512.packssdw.512", sixteen, *places[k : k + 2])
                for name, limit in (("smin", 511), ("smax", -511)):
                    pair = _call(builder, f"llvm.{name}.v32i16", sixteen, pair, filled(sixteen, limit))
                pairs.append(builder.bitcast(pair, eight))
            low, high = (builder.shuffle_vector(*pairs, order) for order in orders)
            found = [_call(builder, "llvm.x86.avx512.vpermi2var.qi.512", eight, table[k], low, table[k + 1]) for k in range(0, 16, 2)]
            for upper in (
                builder.icmp_signed("<", low, filled(eight, 0)),  # its bit of 128
                builder.icmp_unsigned("!=", builder.and_(high, filled(eight, 1)), filled(eight, 0)),  # of 256
                builder.icmp_signed(">=", high, filled(eight, 0)),
            ):
                found = [builder.select(upper, found[k + 1], found[k]) for k in range(0, len(found), 2)]
            builder.store(found[0], _address(context, builder, kinds[3], out, _plus(builder, column, row, out_shape[1]), eight), align=1)
        return context.get_dummy_value()

    return signature, generated


@intrinsic
def shifted(typing_context, value, by):
    """value >> by in 32 bits, which numba would widen."""
    return types.int32(types.int32, types.int32), lambda context, builder, signature, arguments: builder.ashr(*arguments)
