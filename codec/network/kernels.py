"""The operations between the matrix products, fused, compiled by numba, spread over the cores: the same integers as `arithmetic`, faster.

Importing this takes a moment, and the first use on a machine compiles for some seconds and keeps the result; so it is imported only where
there is enough to do, and where numba is missing plain torch does the same. Sums that numba would widen to 64 bits are cut back to 32,
which the bounds in `arithmetic` allow, and of which processors add many at a time.
"""

import math
import sys
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from codec.compiled import compiled, numba
from codec.context import (
    CENTRE,
    CHANNEL_FEATURES,
    FIRST_SAMPLE,
    KIND_FEATURE,
    MARGIN,
    MAX_CHANNELS,
    NEIGHBOURS,
    POSITIONS,
    RESIDUAL_NEIGHBOURS,
    SIDE,
    SLOTS,
    SURROUNDINGS,
)
from codec.network.limits import IMPOSSIBLE, Array
from codec.network.limits import RESIDUAL_LIMIT as LIMIT
from codec.threads import threads

if numba is None:
    msg = "numba is missing"
    raise ImportError(msg)

from numba import njit, prange

from codec.network.vectors import GROUP, INPUT, LANES, ROWS, VECTORS, ZERO, block_product, fetch_ahead, sum_of_rows

i32 = np.int32
RESIDUAL_LIMIT = i32(LIMIT)
POSITION, CACHE, SLOT, FIRST, COUNT = range(5)  # columns of `where`
COLUMNS = VECTORS * LANES  # of a packed matrix, side by side
BLOCK = 32  # rows side by side: their values stay close to the processor

AWAY = np.array(SURROUNDINGS)

_threads = threads()
numba.set_num_threads(min(_threads, numba.config.NUMBA_NUM_THREADS))  # launches them, which changes torch's number, too
if _torch := sys.modules.get("torch"):
    _torch.set_num_threads(_threads)

_ONE_AT_A_TIME = threading.Lock()  # not every threading layer of numba can be entered by two threads


def run(name: str, parts: int, *arguments: object) -> None:
    """Calls a kernel, on as many threads as torch uses or would use, or as it has parts."""
    with _ONE_AT_A_TIME:
        numba.set_num_threads(max(1, min(threads(), numba.config.NUMBA_NUM_THREADS, parts)))
        globals()[name](*arguments)


class Layers(NamedTuple):
    """An integer model's layers, as arrays over the layers.

    Of each projection: its weights, which `packed` makes, and its scale, (..., 4, outputs) int32, see `scales`. wpe:
    (positions, n_embd); gains, norm_shifts: of both norms of each layer and of the last one; scores: (layers, 2), multiplier and shift of
    the attention's scores; exponentials: its weights; tables: of the activation; sizes: heads, attention window.
    """

    embedding: Array
    embedding_scale: Array
    wpe: Array
    gains: Array
    norm_shifts: Array
    attention: Array
    attention_scale: Array
    scores: Array
    exponentials: Array
    attended: Array
    attended_scale: Array
    widened: Array
    widened_scale: Array
    tables: Array
    narrowed: Array
    narrowed_scale: Array
    sizes: Array


class Heads(NamedTuple):
    """The heads of an integer model, as arrays over the heads, in the same way."""

    widened: Array
    widened_scale: Array
    tables: Array
    narrowed: Array
    narrowed_scale: Array


def packed(weight: Array) -> tuple[Array, Array]:
    """(..., outputs, inputs) int8, as `vectors.block_product` reads it, and with what it starts; both are padded to whole vectors."""
    *some, outputs, inputs = weight.shape
    missing = (*((0, 0) for _ in some), (0, -outputs % COLUMNS), (0, -inputs % GROUP))
    padded = np.pad(weight, missing)
    blocks = padded.reshape(*some, -1, VECTORS, LANES, padded.shape[-1] // GROUP, GROUP)
    return np.ascontiguousarray(np.moveaxis(blocks, -2, -4)), -ZERO * padded.sum(-1, dtype=np.int32)


def scales(rows: Sequence[Array], start: Array) -> Array:
    """Of a projection: multipliers, offsets and shifts, (outputs) each, padded to as many as start has, and that, (4, ...)."""
    scale = np.zeros((4, len(start)), np.int32)
    for values, padded in zip((*rows, start), scale, strict=True):
        padded[: len(values)] = values
    return scale


@njit(inline="always")
def _scaled(accumulator, multiplier, offset, shift, limit):
    value = i32(i32(accumulator * multiplier) + offset) >> shift
    return i32(min(max(value, -limit), limit))


@njit
def _product(x, weight, scale, out):
    """(rows, inputs) INPUT and packed weights -> (rows, outputs) int32; rows are a multiple of ROWS, inputs and outputs padded."""
    rows, depth, width = x.shape[0], x.shape[1], out.shape[1]
    for n in range(len(weight)):
        for row in range(0, rows, ROWS):
            at = n * COLUMNS
            block_product(x, row * depth, depth, weight, at * depth, scale, 3 * width + at, out, row * width + at, width)


@njit
def _requantized(sums, scale, limit, out):
    for row in range(len(out)):
        for k in range(out.shape[1]):
            out[row, k] = _scaled(sums[row, k], scale[0, k], scale[1, k], scale[2, k], limit)


@njit
def _looked_up(sums, scale, table, out):
    """table: for indices -len / 2 to len / 2 - 1. Overwrites the sums."""
    half = i32(len(table) // 2)
    for row in range(len(sums)):
        for k in range(out.shape[1]):  # many at a time, apart from what is one at a time
            sums[row, k] = _scaled(sums[row, k], scale[0, k], scale[1, k], scale[2, k], half - i32(1)) + half
        for k in range(out.shape[1]):
            out[row, k] = table[sums[row, k]] + ZERO


@njit
def _added(sums, scale, limit, x):
    """In place of x: clamp(x + clamp(requantized))."""
    for row in range(len(x)):
        for k in range(x.shape[1]):
            value = _scaled(sums[row, k], scale[0, k], scale[1, k], scale[2, k], limit) + x[row, k]
            x[row, k] = min(max(value, -limit), limit)


@njit
def _normalized(x, gain, shift, zero, out):
    """(rows, width) int32 -> as many rows or more of bytes, on top of zero; see `arithmetic.normalize`."""
    half = i32((1 << shift) >> 1)
    root_bits = 3 if x.shape[1] <= 128 else 0
    for row in range(len(x)):
        squares = np.int64(0)
        for k in range(x.shape[1]):
            squares += np.int64(x[row, k]) * np.int64(x[row, k])
        root = math.floor(math.sqrt(np.float64(squares * (1 << (2 * root_bits)))))
        inverse = i32(math.floor((1 << (30 + root_bits)) / max(root, 1 << root_bits)))
        for k in range(x.shape[1]):
            unit = i32(x[row, k] * inverse) >> 15
            out[row, k] = min(max(i32(i32(unit * gain[k]) + half) >> shift, i32(-127)), i32(127)) + zero


@njit
def _attend(query, kept, keys_at, values_at, chosen, layer, layers, all_scores, weights, sums, out):
    """A head's query against the keys and values of the slots chosen: the first one, and how many.

    kept, from keys_at on: (slots / 16, dim / 2, 16, 2), from values_at on: (slots / 2, dim, 2), int8.
    """
    first, count = chosen
    dim = len(query)
    multiplier, shift, table = layers.scores[layer, 0], layers.scores[layer, 1], layers.exponentials
    lead = first % LANES
    for k in range(0, lead + count, LANES):
        sum_of_rows(kept, keys_at + (first - lead + k) * dim, 2 * LANES, query, 0, dim // 2, all_scores, k)
    scores = all_scores[lead:]
    best = scores[0]
    for k in range(1, count):
        best = max(best, scores[k])
    odd, last, total = first % 2, i32(len(table) - 1), i32(0)
    for k in range(count):
        scores[k] = min(i32(i32(best - scores[k]) * multiplier) >> shift, last)
    used, whole = (odd + count + 3) // 4 * 2, (odd + count) // 2  # pairs; written whole, as they are read whole
    if odd:
        total = i32(table[scores[0]])
        weights[0] = total << 16
    for pair in range(odd, whole):
        low, high = i32(table[scores[2 * pair - odd]]), i32(table[scores[2 * pair - odd + 1]])
        weights[pair] = high << 16 | low
        total = i32(total + low + high)
    weights[whole:used] = 0
    if (odd + count) % 2:
        weights[whole] = i32(table[scores[count - 1]])
        total = i32(total + weights[whole])
    for k in range(0, dim, LANES):
        sum_of_rows(kept, values_at + (first - odd) * dim + 2 * k, 2 * dim, weights, 0, used, sums, k)
    share = 1 / (2.0 * total)  # half a unit keeps the product away from whole numbers, from which its rounding errors are far
    for k in range(len(out)):
        out[k] = math.floor((2.0 * sums[k] + total + 0.5) * share) + ZERO


@njit
def _hidden(features, where, layers, cache, out):
    """Rows through all layers, side by side, their keys and values kept.

    features: (rows, inputs) int8, out: (rows, n_embd) int8. where: (rows, 5): each row's position, in which cache and slot its keys and
    values go, and which slots it attends to, the first one and how many. cache: (caches, layers, 2, heads, dim, slots) int8.
    """
    rows, width = out.shape
    padded = -(-rows // ROWS) * ROWS
    heads, dim, slots = layers.sizes[0], cache.shape[4], cache.shape[5]
    x = np.empty((rows, width), np.int32)
    for row in range(rows):
        for k in range(width):
            x[row, k] = layers.wpe[where[row, POSITION], k]
    seen = np.full((padded, layers.embedding.shape[1] * GROUP), ZERO, INPUT)
    for row in range(rows):
        for k in range(features.shape[1]):
            seen[row, k] = features[row, k] + ZERO
    narrow, wide = np.full((padded, width), ZERO, INPUT), np.full((padded, layers.narrowed.shape[2] * GROUP), ZERO, INPUT)
    sums = np.empty((padded, len(layers.embedding) * COLUMNS), np.int32)
    three_sums = np.empty((padded, layers.attention.shape[1] * COLUMNS), np.int32)
    wide_sums = np.empty((padded, layers.widened.shape[1] * COLUMNS), np.int32)
    own = width // heads  # of the dim, which is padded
    qkv, query = np.empty((rows, 3 * width), np.int16), np.zeros(dim, np.int16)
    scores, weights, of_head = np.empty(slots + 2 * LANES, np.int32), np.empty(slots // 2 + 4, np.int32), np.empty(dim, np.int32)
    kept = cache.reshape(-1)
    in_head = dim * slots
    _product(seen, layers.embedding, layers.embedding_scale, sums)
    _added(sums, layers.embedding_scale, RESIDUAL_LIMIT, x)
    for k in range(len(layers.scores)):
        _normalized(x, layers.gains[2 * k], layers.norm_shifts[2 * k], i32(ZERO), narrow)
        _product(narrow, layers.attention[k], layers.attention_scale[k], three_sums)
        _requantized(three_sums, layers.attention_scale[k], i32(127), qkv)
        for row in range(rows):
            slot, of_row = where[row, SLOT], where[row, CACHE] * len(layers.scores) + k
            lane = slot // LANES * LANES * dim + slot % LANES * 2
            for h in range(heads):
                at = (of_row * 2 * heads + h) * in_head
                for d in range(own):
                    kept[at + lane + d // 2 * 2 * LANES + d % 2] = qkv[row, width + h * own + d]
                at += heads * in_head + slot // 2 * 2 * dim + slot % 2
                for d in range(own):
                    kept[at + 2 * d] = qkv[row, 2 * width + h * own + d]
        for row in range(rows):
            of_row = where[row, CACHE] * len(layers.scores) + k
            of_next = where[min(row + 1, rows - 1), CACHE] * len(layers.scores) + k
            for h in range(heads):
                at = (of_row * 2 * heads + h) * in_head
                for d in range(own):
                    query[d] = qkv[row, h * own + d]
                out_of_head = narrow[row, h * own : (h + 1) * own]
                values_at, chosen = at + heads * in_head, (where[row, FIRST], where[row, COUNT])
                if of_next != of_row:
                    ahead = at + in_head if h < heads - 1 else of_next * 2 * heads * in_head
                    fetch_ahead(kept, ahead, in_head)
                    fetch_ahead(kept, ahead + heads * in_head, in_head)
                _attend(query, kept, at, values_at, chosen, k, layers, scores, weights, of_head, out_of_head)
        _product(narrow, layers.attended[k], layers.attended_scale[k], sums)
        _added(sums, layers.attended_scale[k], RESIDUAL_LIMIT, x)
        _normalized(x, layers.gains[2 * k + 1], layers.norm_shifts[2 * k + 1], i32(ZERO), narrow)
        _product(narrow, layers.widened[k], layers.widened_scale[k], wide_sums)
        _looked_up(wide_sums, layers.widened_scale[k], layers.tables[k], wide)
        _product(wide, layers.narrowed[k], layers.narrowed_scale[k], sums)
        _added(sums, layers.narrowed_scale[k], RESIDUAL_LIMIT, x)
    _normalized(x, layers.gains[-1], layers.norm_shifts[-1], i32(0), out)


@compiled(parallel=True)
def hidden(features, where, layers, cache, together, block, out):
    """Rows through all layers, as `_hidden`: `together` of them one block after the other, apart from the rest, which is done meanwhile."""
    rows = len(out)
    for task in prange(-(-rows // together)):
        for start in range(task * together, min((task + 1) * together, rows), block):
            end = min(start + block, (task + 1) * together, rows)
            _hidden(features[start:end], where[start:end], layers, cache, out[start:end])


@njit
def _logits(hidden, features, head, heads, limit, out):
    rows, width = hidden.shape
    depth = width + features.shape[1]
    padded = -(-rows // ROWS) * ROWS
    x = np.full((padded, heads.widened.shape[2] * GROUP), ZERO, INPUT)
    for row in range(rows):
        for k in range(width):
            x[row, k] = hidden[row, k] + ZERO
        for k in range(width, depth):
            x[row, k] = features[row, k - width] + ZERO
    sums = np.empty((padded, heads.widened.shape[1] * COLUMNS), np.int32)
    _product(x, heads.widened[head], heads.widened_scale[head], sums)
    inner = np.full((padded, heads.narrowed.shape[2] * GROUP), ZERO, INPUT)
    _looked_up(sums, heads.widened_scale[head], heads.tables[head], inner)
    sums = np.empty((padded, heads.narrowed.shape[1] * COLUMNS), np.int32)
    _product(inner, heads.narrowed[head], heads.narrowed_scale[head], sums)
    _requantized(sums, heads.narrowed_scale[head], limit, out)


@compiled(parallel=True)
def logits(hidden, features, head, heads, limit, out):
    """hidden (rows, n_embd), features (rows, n) int8 -> out (rows, 256) int32."""
    rows = len(out)
    for k in prange(-(-rows // BLOCK)):
        first, last = k * BLOCK, min((k + 1) * BLOCK, rows)
        _logits(hidden[first:last], features[first:last], head, heads, limit, out[first:last])


@njit
def _frequencies(logits, table, shared, bits, out):
    """See `codec.frequencies`."""
    last = i32(len(table) - 1)
    best = logits[0]
    for k in range(1, len(logits)):
        best = max(best, logits[k])
    total = 0
    for k in range(len(logits)):
        weight = table[min(i32(best - logits[k]), last)]
        out[k] = weight
        total += weight
    share, rest = (shared << bits) // total, shared
    for k in range(len(logits)):
        frequency = i32((np.int64(out[k]) * share) >> bits)
        rest -= frequency
        out[k] = frequency + i32(1)
    out[CENTRE] += i32(rest)


@compiled(parallel=True)
def frequencies(hidden, features, head, heads, limit, impossible, table, shared, bits, channel, out):
    """hidden (n, tiles, n_embd), features (n, tiles, m) int8 -> out (n, channels, tiles, 256) int32, the channel's. impossible: (n, tiles,
    256), or none of it."""
    rows, tiles = out.shape[0] * out.shape[2], out.shape[2]
    hidden, features = hidden.reshape(rows, -1), features.reshape(rows, -1)
    for k in prange(-(-rows // BLOCK)):
        first, last = k * BLOCK, min((k + 1) * BLOCK, rows)
        found = np.empty((last - first, out.shape[3]), np.int32)
        _logits(hidden[first:last], features[first:last], head, heads, limit, found)
        for row in range(first, last):
            n, tile = row // tiles, row % tiles
            if len(impossible):
                for token in range(out.shape[3]):
                    if impossible[n, tile, token]:
                        found[row - first, token] = IMPOSSIBLE
            _frequencies(found[row - first], table, shared, bits, out[n, channel, tile])


@njit(inline="always")
def _median(west, north, north_west):
    return min(max(west + north - north_west, min(west, north)), max(west, north))


@njit(inline="always")
def _byte(value):
    return np.int8(min(max(value, -127), 127))


@njit
def _features(samples, residuals, slots, window, position, kind, features, bases):
    """`features.input_features` and `base_predictions` at a position of a tile (channels, SLOTS). window: (2 or 0, WINDOW, WINDOW)."""
    features[:] = 0
    for c in range(len(samples)):
        known, at = samples[c], c * CHANNEL_FEATURES
        base = _median(known[slots[0]], known[slots[1]], known[slots[2]])
        bases[c] = base
        for k in range(len(NEIGHBOURS)):
            difference = known[slots[k]] - base
            features[at + k] = _byte(4 * difference)
            features[at + len(NEIGHBOURS) + k] = _byte(difference >> 1)
        at += 2 * len(NEIGHBOURS)
        for k in range(RESIDUAL_NEIGHBOURS):
            features[at + k] = _byte(4 * residuals[c, slots[k]])
        features[at + RESIDUAL_NEIGHBOURS] = _byte(base - 128)
    for plane in range(len(window)):
        known, at = window[plane], (1 + plane) * CHANNEL_FEATURES
        y, x = MARGIN + position // SIDE, MARGIN + position % SIDE
        here = np.int64(known[y, x])
        for k in range(len(AWAY)):
            difference = np.int64(known[y + AWAY[k, 0], x + AWAY[k, 1]]) - here
            features[at + k] = _byte(4 * difference)
            features[at + len(AWAY) + k] = _byte(difference >> 1)
        features[at + 2 * len(AWAY)] = _byte(here - 128)
    features[MAX_CHANNELS * CHANNEL_FEATURES + kind] = KIND_FEATURE


@njit
def _head(samples, residuals, slots, position, channel, related, base, features):
    """`features.head_features` at a position of a tile; returns `channel_prediction`."""
    prediction = base
    if related and channel:
        first, own = samples[0], samples[channel]
        west, north = own[slots[0]] - first[slots[0]], own[slots[1]] - first[slots[1]]
        prediction = min(max(first[position] + _median(west, north, own[slots[2]] - first[slots[2]]), 0), 255)
    features[:] = 0
    if channel:
        for k in range(channel + 1):
            value = residuals[k, position] if k < channel else prediction - base
            features[2 * k] = _byte(4 * value)
            features[2 * k + 1] = _byte(value >> 1)
    return prediction


@compiled(parallel=True)
def whole_tiles(samples, slots, windows, kind, related, features, of_heads, tokens):
    """What is seen of tiles (tiles, channels, POSITIONS), and coded: features (tiles, n, FEATURES), of_heads (channels, tiles, n,
    HEAD_FEATURES), tokens (channels, tiles, n)."""
    tiles, channels, _ = samples.shape
    for tile in prange(tiles):
        known, residuals = np.full((channels, SLOTS), FIRST_SAMPLE, np.int32), np.zeros((channels, SLOTS), np.int32)
        bases = np.empty(channels, np.int32)
        known[:, :POSITIONS] = samples[tile]
        for p in range(tokens.shape[2]):
            _features(known, residuals, slots[p], windows[tile], p, kind, features[tile, p], bases)
            for c in range(channels):
                prediction = _head(known, residuals, slots[p], p, c, related, bases[c], of_heads[c, tile, p])
                residuals[c, p] = known[c, p] - prediction
                tokens[c, tile, p] = (residuals[c, p] + CENTRE) & 255


@compiled()
def step_features(samples, residuals, slots, windows, position, kind, features, bases):
    """At one position of all tiles."""
    for tile in range(len(samples)):
        _features(samples[tile], residuals[tile], slots, windows[tile], position, kind, features[tile], bases[tile])


@compiled()
def step_head(samples, residuals, slots, position, channel, related, bases, predictions, features):
    for tile in range(len(samples)):
        base = bases[tile, channel]
        predictions[tile] = _head(samples[tile], residuals[tile], slots, position, channel, related, base, features[tile])


@compiled()
def step_accept(samples, residuals, slots, position, channel, tokens, predictions, exist):
    for tile in range(len(samples)):
        sample = (tokens[tile] + predictions[tile] - CENTRE) & 255 if exist[tile] else samples[tile, channel, slots[0]]
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
