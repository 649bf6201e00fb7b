"""The operations between the matrix products, fused, compiled by numba, spread over the cores: the same integers as `arithmetic`, faster.

Importing this takes a moment, and the first use on a machine compiles for some seconds and keeps the result; so it is imported only where
there is enough to do, and where numba is missing plain torch does the same. Sums that numba would widen to 64 bits are cut back to 32,
which the bounds in `arithmetic` allow, and of which processors add many at a time.
"""

import math
import threading

import numpy as np
import torch

from codec.compiled import compiled, numba

if numba is None:
    msg = "numba is missing"
    raise ImportError(msg)

from numba import njit, prange

i32 = np.int32

_threads = torch.get_num_threads()
numba.set_num_threads(min(_threads, numba.config.NUMBA_NUM_THREADS))  # launches them, which changes torch's number, too
torch.set_num_threads(_threads)

_ONE_AT_A_TIME = threading.Lock()  # not every threading layer of numba can be entered by two threads


def run(name: str, *arguments: object) -> None:
    """Calls a kernel, on as many threads as torch uses."""
    with _ONE_AT_A_TIME:
        numba.set_num_threads(max(1, min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)))
        globals()[name](*arguments)


@njit(inline="always")
def _scaled(accumulator, multiplier, offset, shift, limit):
    value = i32(i32(accumulator * multiplier) + offset) >> shift
    return i32(min(max(value, -limit), limit))


@compiled(parallel=True)
def requantize(accumulator, multiplier, offset, shift, limit):
    """In place: (rows, outputs) int32."""
    for row in prange(len(accumulator)):
        for k in range(accumulator.shape[1]):
            accumulator[row, k] = _scaled(accumulator[row, k], multiplier[k], offset[k], shift[k], limit)


@compiled(parallel=True)
def requantize_to_bytes(accumulator, multiplier, offset, shift, out):
    for row in prange(len(accumulator)):
        for k in range(accumulator.shape[1]):
            out[row, k] = np.int8(_scaled(accumulator[row, k], multiplier[k], offset[k], shift[k], i32(127)))


@compiled(parallel=True)
def requantize_and_look_up(accumulator, multiplier, offset, shift, table, out):
    """table: for indices -len / 2 to len / 2 - 1."""
    half = i32(len(table) // 2)
    for row in prange(len(accumulator)):
        for k in range(accumulator.shape[1]):
            out[row, k] = table[_scaled(accumulator[row, k], multiplier[k], offset[k], shift[k], half - i32(1)) + half]


@compiled(parallel=True)
def requantize_and_add(accumulator, multiplier, offset, shift, limit, x):
    """In place of accumulator: clamp(x + clamp(requantized))."""
    for row in prange(len(accumulator)):
        for k in range(accumulator.shape[1]):
            value = _scaled(accumulator[row, k], multiplier[k], offset[k], shift[k], limit) + x[row, k]
            accumulator[row, k] = min(max(value, -limit), limit)


@compiled(parallel=True)
def normalize(x, gain, shift, root_bits, out):
    """(rows, width) int32 -> int8; see `arithmetic.normalize`."""
    half = i32((1 << shift) >> 1)
    for row in prange(len(x)):
        squares = 0.0
        for k in range(x.shape[1]):
            value = np.float64(x[row, k])
            squares += value * value
        root = math.floor(math.sqrt(squares * (1 << (2 * root_bits))))
        inverse = i32(math.floor((1 << (30 + root_bits)) / max(root, 1 << root_bits)))
        for k in range(x.shape[1]):
            unit = i32(x[row, k] * inverse) >> 15
            value = i32(i32(unit * gain[k]) + half) >> shift
            out[row, k] = np.int8(min(max(value, -127), 127))


@njit(inline="always")
def _attend(query, keys, values, first, count, multiplier, shift, table, scores, weights, out):
    """One query (dim) against keys and values (dim, ...), of which those from `first` on count."""
    dim = len(query)
    for k in range(count):
        scores[k] = 0
    for d in range(0, dim - dim % 4, 4):
        q0, q1, q2, q3 = i32(query[d]), i32(query[d + 1]), i32(query[d + 2]), i32(query[d + 3])
        k0, k1, k2, k3 = keys[d, first:], keys[d + 1, first:], keys[d + 2, first:], keys[d + 3, first:]
        for k in range(count):
            near = i32(i32(q0 * i32(k0[k])) + i32(q1 * i32(k1[k])))
            far = i32(i32(q2 * i32(k2[k])) + i32(q3 * i32(k3[k])))
            scores[k] = i32(scores[k] + i32(near + far))
    for d in range(dim - dim % 4, dim):
        q0, k0 = i32(query[d]), keys[d, first:]
        for k in range(count):
            scores[k] = i32(scores[k] + i32(q0 * i32(k0[k])))
    best = scores[0]
    for k in range(1, count):
        best = max(best, scores[k])
    last, total = i32(len(table) - 1), i32(0)
    for k in range(count):
        step = i32(i32(best - scores[k]) * multiplier) >> shift
        weight = table[min(step, last)]
        weights[k] = weight
        total = i32(total + weight)
    denominator = 2.0 * total
    for d in range(dim):
        row, value = values[d, first:], i32(0)
        for k in range(count):
            value = i32(value + i32(i32(weights[k]) * i32(row[k])))
        out[d] = np.int8(math.floor((2.0 * value + total) / denominator))


@compiled(parallel=True)
def attend_cached(qkv, keys, values, slot, known, multiplier, shift, table, out):
    """qkv (tiles, 3, heads, dim) int8; keys, values (tiles, heads, dim, window) int8, whose `slot` takes the new ones; table int16."""
    heads, dim = qkv.shape[2:]
    for tile in prange(len(qkv)):
        scores, weights = np.empty(keys.shape[3], np.int32), np.empty(keys.shape[3], np.int16)
        for h in range(heads):
            for d in range(dim):
                keys[tile, h, d, slot] = qkv[tile, 1, h, d]
                values[tile, h, d, slot] = qkv[tile, 2, h, d]
            _attend(qkv[tile, 0, h], keys[tile, h], values[tile, h], 0, known, multiplier, shift, table, scores, weights, out[tile, h])


@compiled(parallel=True)
def attend_parallel(qkv, window, multiplier, shift, table, out):
    """qkv (tiles, positions, 3, heads, dim) int8 -> out (tiles, positions, heads, dim) int8."""
    positions, _, heads, dim = qkv.shape[1:]
    for part in prange(len(qkv) * heads):
        tile, h = part // heads, part % heads
        keys, values = np.empty((dim, positions), np.int8), np.empty((dim, positions), np.int8)
        for p in range(positions):
            for d in range(dim):
                keys[d, p] = qkv[tile, p, 1, h, d]
                values[d, p] = qkv[tile, p, 2, h, d]
        scores, weights = np.empty(window, np.int32), np.empty(window, np.int16)
        for p in range(positions):
            first = max(0, p + 1 - window)
            _attend(qkv[tile, p, 0, h], keys, values, first, p + 1 - first, multiplier, shift, table, scores, weights, out[tile, p, h])


@compiled(parallel=True)
def frequencies(logits, table, shared, bits, centre):
    """In place: (rows, alphabet) int32 logits -> frequencies; see `codec.frequencies`."""
    last = i32(len(table) - 1)
    for row in prange(len(logits)):
        best = logits[row, 0]
        for k in range(1, logits.shape[1]):
            best = max(best, logits[row, k])
        total = 0
        for k in range(logits.shape[1]):
            weight = table[min(i32(best - logits[row, k]), last)]
            logits[row, k] = weight
            total += weight
        share, rest = (shared << bits) // total, shared
        for k in range(logits.shape[1]):
            frequency = i32((np.int64(logits[row, k]) * share) >> bits)
            rest -= frequency
            logits[row, k] = frequency + i32(1)
        logits[row, centre] += i32(rest)


@njit(inline="always")
def _median(west, north, north_west):
    return min(max(west + north - north_west, min(west, north)), max(west, north))


@njit(inline="always")
def _byte(value):
    return np.int8(min(max(value, -127), 127))


@compiled()
def step_features(samples, residuals, slots, seen, position, code, per_channel, features, bases):
    """`codec.context.input_features` and `base_predictions` at one position of all tiles."""
    channels, neighbours = samples.shape[1], len(slots)
    for tile in range(len(samples)):
        row = features[tile]
        row[:] = 0
        for c in range(channels):
            known, at = samples[tile, c], c * per_channel
            base = _median(known[slots[0]], known[slots[1]], known[slots[2]])
            bases[tile, c] = base
            for k in range(neighbours):
                difference = known[slots[k]] - base
                row[at + k] = _byte(4 * difference)
                row[at + neighbours + k] = _byte(difference >> 1)
            at += 2 * neighbours
            for k in range(per_channel - 2 * neighbours - 1):
                row[at + k] = _byte(4 * residuals[tile, c, slots[k]])
            row[c * per_channel + per_channel - 1] = _byte(base - 128)
        for k in range(seen.shape[2]):
            row[per_channel + k] = seen[tile, position, k]
        row[3 * per_channel + code] = 64


@compiled()
def step_head(samples, residuals, slots, position, channel, related, bases, predictions, features):
    """`codec.context.channel_prediction` and `head_features` at one position of all tiles."""
    for tile in range(len(samples)):
        base = bases[tile, channel]
        prediction = base
        if related:
            first, own = samples[tile, 0], samples[tile, channel]
            west, north = own[slots[0]] - first[slots[0]], own[slots[1]] - first[slots[1]]
            prediction = min(max(first[position] + _median(west, north, own[slots[2]] - first[slots[2]]), 0), 255)
        predictions[tile] = prediction
        row = features[tile]
        row[:] = 0
        if channel:
            for k in range(channel + 1):
                value = residuals[tile, k, position] if k < channel else prediction - base
                row[2 * k] = _byte(4 * value)
                row[2 * k + 1] = _byte(value >> 1)


@compiled()
def step_accept(samples, residuals, slots, position, channel, tokens, predictions, exist):
    for tile in range(len(samples)):
        sample = (tokens[tile] + predictions[tile] - 128) & 255 if exist[tile] else samples[tile, channel, slots[0]]
        samples[tile, channel, position] = sample
        residuals[tile, channel, position] = sample - predictions[tile]


@njit(inline="always")
def _bit_length(x):
    count = 0
    while x:
        x >>= 1
        count += 1
    return count


@njit(inline="always")
def _rounded(x, shift):
    return (x + ((1 << shift) >> 1)) >> shift


@njit(inline="always")
def _largest(row):
    largest = row[0] * 0
    for k in range(len(row)):
        largest = max(largest, abs(row[k]))
    return largest


@compiled(parallel=True)
def palette_limbs(x, bits, limit, high, low, exponent):
    """(rows, inputs) int64; see `palette_operations.limbs`."""
    for row in prange(len(x)):
        shift = max(_bit_length(_largest(x[row])) - bits, 0)
        exponent[row, 0] = shift
        for k in range(x.shape[1]):
            mantissa = min(max(_rounded(x[row, k], shift), -limit), limit)
            upper = (mantissa + 64) >> 7
            high[row, k] = upper
            low[row, k] = mantissa - (upper << 7)


@compiled(parallel=True)
def palette_scaled(high, low, exponent, multiplier, bias, shift, least, most, limit, out):
    """See `palette_operations.scaled`."""
    for row in prange(len(high)):
        by = min(max(shift - exponent[row, 0], least), most)
        half = (1 << by) >> 1
        for k in range(high.shape[1]):
            total = np.int64(high[row, k]) * 128 + low[row, k]
            out[row, k] = min(max(((total * multiplier[k] + half) >> by) + bias[k], -limit), limit)


@compiled(parallel=True)
def palette_activated(x, table):
    """In place; see `palette_operations.activated`."""
    end = len(table) - 1
    for row in prange(len(x)):
        for k in range(x.shape[1]):
            value = x[row, k]
            x[row, k] = max(value, 0) - table[min(abs(value), end)]


@njit(inline="always")
def _cut(x, out):
    """A head's values, to 7 bits beside the sign; returns the exponent."""
    shift = max(_bit_length(_largest(x)) - 7, 0)
    for k in range(len(x)):
        out[k] = min(max(_rounded(x[k], shift), -127), 127)
    return shift


@njit(inline="always")
def _palette_attend(query, exponent, keys, of_keys, values, of_values, count, multiplier, shift, table, scores, weights, out):
    """One query (dim) int8 against `count` keys and values (dim, positions) int8 with their exponents."""
    dim = len(query)
    for k in range(count):
        weights[k] = 0
    for d in range(dim):
        q, row = i32(query[d]), keys[d]
        for k in range(count):
            weights[k] = i32(weights[k] + i32(q * i32(row[k])))
    best = np.int64(-1) << 62
    for k in range(count):
        scores[k] = (np.int64(weights[k]) * multiplier) >> (shift - exponent - of_keys[k])
        best = max(best, scores[k])
    last, total = len(table) - 1, 0
    for k in range(count):
        weight = table[min(best - scores[k], last)]
        total += weight
        weights[k] = i32(weight << of_values[k])
    for d in range(dim):
        row, value = values[d], np.int64(0)
        for k in range(count):
            value += np.int64(weights[k]) * np.int64(row[k])
        out[d] = math.floor((2.0 * value + total) / (2.0 * total))


@compiled(parallel=True)
def palette_attend_cached(qkv, mantissas, exponents, position, multiplier, shift, table, out):
    """qkv (tiles, 3, heads, dim) int64; mantissas (2, tiles, heads, dim, positions) and exponents (2, tiles, heads, positions) int8."""
    tiles, _, heads, dim = qkv.shape
    for tile in prange(tiles):
        query, cut = np.empty(dim, np.int8), np.empty(dim, np.int8)
        scores, weights = np.empty(position + 1, np.int64), np.empty(position + 1, np.int32)
        for h in range(heads):
            for n in range(2):
                exponents[n, tile, h, position] = _cut(qkv[tile, n + 1, h], cut)
                mantissas[n, tile, h, :, position] = cut
            exponent = _cut(qkv[tile, 0, h], query)
            _palette_attend(
                query, exponent, mantissas[0, tile, h], exponents[0, tile, h], mantissas[1, tile, h], exponents[1, tile, h],
                position + 1, multiplier, shift, table, scores, weights, out[tile, h],
            )  # fmt: skip


@compiled(parallel=True)
def palette_attend(qkv, multiplier, shift, table, out):
    """qkv (tiles, positions, 3, heads, dim) int64."""
    tiles, positions, _, heads, dim = qkv.shape
    for task in prange(tiles * heads):
        tile, h = task // heads, task % heads
        mantissas, exponents = np.empty((2, dim, positions), np.int8), np.empty((2, positions), np.int8)
        query, cut = np.empty(dim, np.int8), np.empty(dim, np.int8)
        scores, weights = np.empty(positions, np.int64), np.empty(positions, np.int32)
        for p in range(positions):
            for n in range(2):
                exponents[n, p] = _cut(qkv[tile, p, n + 1, h], cut)
                mantissas[n, :, p] = cut
            exponent = _cut(qkv[tile, p, 0, h], query)
            _palette_attend(
                query, exponent, mantissas[0], exponents[0], mantissas[1], exponents[1],
                p + 1, multiplier, shift, table, scores, weights, out[tile, p, h],
            )  # fmt: skip
