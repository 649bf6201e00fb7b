"""The operations between the matrix products, fused, compiled by numba, spread over the cores: the same integers as `arithmetic`, faster.

Importing this takes a moment, and the first use on a machine compiles for some seconds and keeps the result; so it is imported only where
there is enough to do, and where numba is missing plain torch does the same. Sums that numba would widen to 64 bits are cut back to 32,
which the bounds in `arithmetic` allow, and of which processors add many at a time.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from codec.jit import compiled, numba
from codec.network.limits import IMPOSSIBLE, Array
from codec.network.limits import RESIDUAL_LIMIT as LIMIT
from codec.tiling.context import (
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

if numba is None:
    msg = "numba is missing"
    raise ImportError(msg)

from numba import njit

from codec.network.vectors import (
    BYTES,
    GROUP,
    INPUT,
    LANES,
    ROWS,
    TABLES,
    VECTORS,
    ZERO,
    best_score,
    block_product,
    keep,
    shifted,
    sum_of_rows,
    table_entries,
    total_weight,
    weighted_means,
)

i32 = np.int32
RESIDUAL_LIMIT = i32(LIMIT)
POSITION, CACHE, SLOT, FIRST, COUNT = range(5)  # columns of `where`
COLUMNS = VECTORS * LANES  # of a packed matrix, side by side
BLOCK = 32  # rows side by side: their values stay close to the processor

AWAY = np.array(SURROUNDINGS)


class Layers(NamedTuple):
    """An integer model's layers, as arrays over the layers.

    Of each projection: its weights, which `packed` makes, and its scale, (..., 4, outputs) int32, see `scales`. wpe:
    (positions, n_embd); gains, norm_shifts: of both norms of each layer and of the last one; scores: (layers, 2), multiplier and shift of
    the attention's scores; exponentials: its weights, see there; tables: of the activation.
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


class Heads(NamedTuple):
    """The heads of an integer model, as arrays over the heads, in the same way."""

    widened: Array
    widened_scale: Array
    tables: Array
    narrowed: Array
    narrowed_scale: Array


def zeros(*shape: int) -> Array:
    """int8, placed so that whole vectors do not lie across two lines of the processor's cache."""
    room = np.zeros(math.prod(shape) + 64, np.int8)
    start = -room.ctypes.data % 64
    return room[start : start + math.prod(shape)].reshape(shape)


def _by_part(array: Array, parts: int, axis: int) -> Array:
    """Each of so many parts of an axis padded to whole vectors; one alone stays as it is."""
    if parts == 1:
        return array
    moved = np.moveaxis(array, axis, -1).reshape(*np.delete(array.shape, axis), parts, -1)
    padded = np.pad(moved, (*((0, 0) for _ in moved.shape[:-1]), (0, -moved.shape[-1] % LANES)))
    return np.moveaxis(padded.reshape(*moved.shape[:-2], -1), -1, axis)


def packed(weight: Array, parts: tuple[int, int]) -> tuple[Array, Array]:
    """(..., outputs, inputs) int8, as `vectors.block_product` reads it, and with what it starts; both are padded to whole vectors.

    parts: of the outputs and of the inputs, each padded.
    """
    for axis, n in zip((-2, -1), parts, strict=True):
        weight = _by_part(weight, n, axis)
    *some, outputs, inputs = weight.shape
    missing = (*((0, 0) for _ in some), (0, -outputs % COLUMNS), (0, -inputs % GROUP))
    padded = np.pad(weight, missing)
    blocks = padded.reshape(*some, -1, VECTORS, LANES, padded.shape[-1] // GROUP, GROUP)
    out = zeros(*np.moveaxis(blocks, -2, -4).shape)
    out[...] = np.moveaxis(blocks, -2, -4)
    return out, -ZERO * padded.sum(-1, dtype=np.int32)


def scales(rows: Sequence[Array], start: Array, parts: int) -> Array:
    """Of a projection: multipliers, offsets and shifts, (outputs) each, padded to as many as start has, and that, (4, ...)."""
    scale = np.zeros((4, len(start)), np.int32)
    for values, padded in zip((*(_by_part(row, parts, -1) for row in rows), start), scale, strict=True):
        padded[: len(values)] = values
    return scale


def exponentials(table: Array) -> Array:
    """Attention weights as the kernels read them, of a table that `arithmetic.exp2_table` made for 32 steps and a power of two, top.

    By bytes, floor(2 * top * 2^(-i / 32)) for i < 32: of such a number m, ((m >> o) + 1) >> 1 is the table's entry o octaves below, as it
    makes no difference whether a floor is taken once, at the end, or after each division.
    """
    if not BYTES:
        return table.astype(np.int16)
    octave = [(2 * int(table[0])) ** 32 >> i for i in range(32)]
    for _ in range(5):
        octave = [math.isqrt(n) for n in octave]
    return np.array(octave, np.int32)


@njit(inline="always")
def _scaled(accumulator, multiplier, offset, shift, limit):
    value = shifted(i32(i32(accumulator * multiplier) + offset), shift)
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
    whole = 0
    if TABLES:
        whole = out.shape[1] // 64 * 64
        table_entries(sums, scale, table, out, whole)
    half = i32(len(table) // 2)
    for row in range(len(sums)):
        for k in range(whole, out.shape[1]):  # many at a time, apart from what is one at a time
            sums[row, k] = _scaled(sums[row, k], scale[0, k], scale[1, k], scale[2, k], half - i32(1)) + half
        for k in range(whole, out.shape[1]):
            out[row, k] = table[sums[row, k]] + ZERO


@njit
def _added(sums, scale, limit, x):
    """In place of x: clamp(x + clamp(requantized))."""
    for row in range(len(x)):
        for k in range(x.shape[1]):
            value = _scaled(sums[row, k], scale[0, k], scale[1, k], scale[2, k], limit) + x[row, k]
            x[row, k] = min(max(i32(value), -limit), limit)


@njit
def _normalized(x, gain, shift, zero, out):
    """(rows, width) int32 -> as many rows or more of bytes, on top of zero; see `arithmetic.normalize`."""
    half = i32((1 << shift) >> 1)
    root_bits = 3 if x.shape[1] <= 128 else 0
    inverses = np.empty(len(x), np.float64)
    for row in range(len(x)):
        squares = np.int64(0)
        for k in range(x.shape[1]):
            squares += np.int64(x[row, k]) * np.int64(x[row, k])
        inverses[row] = np.float64(squares * (1 << (2 * root_bits)))
    for row in range(len(x)):  # many at a time
        inverses[row] = (1 << (30 + root_bits)) / max(math.floor(math.sqrt(inverses[row])), 1 << root_bits)
    for row in range(len(x)):
        inverse = i32(math.floor(inverses[row]))
        for k in range(x.shape[1]):
            unit = shifted(i32(x[row, k] * inverse), i32(15))
            out[row, k] = min(max(shifted(i32(i32(unit * gain[k]) + half), shift), i32(-127)), i32(127)) + zero


@njit
def _attend(kept, query, places, ahead, dim, chosen, scale, table, all_scores, weights, sums, out):
    """A head's query against the keys and values of the slots chosen: the first one, and how many.

    kept, from keys_at on: (slots / 16, dim / 2, 16, 2), from values_at on: (slots / 2, dim, 2), int8.
    """
    keys_at, values_at, query_at, out_at = places
    first, count = chosen
    multiplier, shift = scale[0], scale[1]
    lead = first % LANES
    for k in range(0, lead + count, LANES):
        sum_of_rows(kept, keys_at + (first - lead + k) * dim, ahead, 2 * LANES, query, query_at, dim // 2, all_scores, k)
    scores = all_scores[lead:]
    best = scores[0]
    for k in range(1, count):
        best = max(best, scores[k])
    odd, last, total = first % 2, i32(len(table) - 1), i32(0)
    for k in range(count):
        scores[k] = min(shifted(i32(i32(best - scores[k]) * multiplier), shift), last)
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
        sum_of_rows(kept, values_at + (first - odd) * dim + 2 * k, ahead, 2 * dim, weights, 0, used, sums, k)
    share = 1 / (2.0 * total)  # half a unit keeps the product away from whole numbers, from which its rounding errors are far
    for k in range(dim):
        out[out_at + k] = math.floor((2.0 * sums[k] + total + 0.5) * share) + ZERO


@njit
def _attended(qkv, where, layer, scale, exponentials, cache, means):
    """Keys and values are kept, then the heads attend. qkv: (rows, 3, heads, dim) int8, means: (rows, heads, dim) INPUT, both flat."""
    _, layers, _, heads, dim, slots = cache.shape
    kept, rows, in_head = cache.reshape(-1), len(where), dim * slots
    in_layer = 2 * heads * in_head
    room = slots + LANES
    scores, bests, totals = np.empty(heads * room, np.int32), np.empty(heads, np.int32), np.empty(heads, np.int32)
    weights, sums = np.empty(slots // 2 + 4, np.int32), np.empty(dim, np.int32)
    for row in range(rows):
        slot, first, count = where[row, SLOT], where[row, FIRST], where[row, COUNT]
        at = (where[row, CACHE] * layers + layer) * in_layer
        ahead = (where[min(row + 1, rows - 1), CACHE] * layers + layer) * in_layer - at
        query, out = row * 3 * heads * dim, row * heads * dim
        for h in range(heads):
            key_at = at + h * in_head + slot // LANES * LANES * dim + slot % LANES * GROUP
            value_at = at + (heads + h) * in_head + slot // GROUP * GROUP * dim
            keep(kept, key_at, value_at, slot % GROUP, qkv, query + (heads + h) * dim, query + (2 * heads + h) * dim, dim)
        if BYTES:  # all heads step by step, as each step waits for the one before
            lead = first % LANES
            keys = at + (first - lead) * dim
            values = keys + heads * in_head
            for h in range(heads):
                bests[h] = best_score(kept, keys + h * in_head, ahead, dim, qkv, query + h * dim, lead, count, scores, h * room)
            for h in range(heads):
                totals[h] = total_weight(scores, h * room, lead, count, bests[h], scale, exponentials)
            for h in range(heads):
                places = values + h * in_head, h * room, out + h * dim
                weighted_means(kept, places[0], ahead, dim, scores, places[1], lead, count, totals[h], means, places[2])
        else:
            for h in range(heads):
                places = at + h * in_head, at + (heads + h) * in_head, query + h * dim, out + h * dim
                _attend(kept, qkv, places, ahead, dim, (first, count), scale, exponentials, scores, weights, sums, means)


@njit
def _hidden(features, where, layers, cache, out):
    """Rows through all layers, side by side, their keys and values kept.

    features: (rows, inputs) int8, out: (rows, n_embd) int8. where: (rows, 5): each row's position, in which cache and slot its keys and
    values go, and which slots it attends to, the first one and how many. cache: (caches, layers, 2, heads, dim, slots) int8.
    """
    rows, width = out.shape
    padded = -(-rows // ROWS) * ROWS
    x = np.empty((rows, width), np.int32)
    for row in range(rows):
        position = where[row, POSITION]
        for k in range(width):
            x[row, k] = layers.wpe[position, k]
    seen = np.full((padded, layers.embedding.shape[1] * GROUP), ZERO, INPUT)
    for row in range(rows):
        for k in range(features.shape[1]):
            seen[row, k] = features[row, k] + ZERO
    heads, dim = cache.shape[3], cache.shape[4]  # of which dim is padded
    narrow, wide = np.full((padded, width), ZERO, INPUT), np.full((padded, layers.narrowed.shape[2] * GROUP), ZERO, INPUT)
    qkv, means = np.empty((rows, 3 * heads * dim), np.int8), np.full((padded, heads * dim), ZERO, INPUT)
    sums = np.empty((padded, len(layers.embedding) * COLUMNS), np.int32)
    three_sums = np.empty((padded, layers.attention.shape[1] * COLUMNS), np.int32)
    wide_sums = np.empty((padded, layers.widened.shape[1] * COLUMNS), np.int32)
    _product(seen, layers.embedding, layers.embedding_scale, sums)
    _added(sums, layers.embedding_scale, RESIDUAL_LIMIT, x)
    for k in range(len(layers.scores)):
        _normalized(x, layers.gains[2 * k], layers.norm_shifts[2 * k], i32(ZERO), narrow)
        _product(narrow, layers.attention[k], layers.attention_scale[k], three_sums)
        _requantized(three_sums, layers.attention_scale[k], i32(127), qkv)
        _attended(qkv.reshape(-1), where, k, layers.scores[k], layers.exponentials, cache, means.reshape(-1))
        _product(means, layers.attended[k], layers.attended_scale[k], sums)
        _added(sums, layers.attended_scale[k], RESIDUAL_LIMIT, x)
        _normalized(x, layers.gains[2 * k + 1], layers.norm_shifts[2 * k + 1], i32(ZERO), narrow)
        _product(narrow, layers.widened[k], layers.widened_scale[k], wide_sums)
        _looked_up(wide_sums, layers.widened_scale[k], layers.tables[k], wide)
        _product(wide, layers.narrowed[k], layers.narrowed_scale[k], sums)
        _added(sums, layers.narrowed_scale[k], RESIDUAL_LIMIT, x)
    _normalized(x, layers.gains[-1], layers.norm_shifts[-1], i32(0), out)


@compiled
def hidden(first, last, features, where, layers, cache, together, block, out):
    """Rows through all layers, as `_hidden`: a part are `together` of them, one block after the other."""
    rows = len(out)
    for task in range(first, last):
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


@compiled
def logits(first, last, hidden, features, head, heads, limit, out):
    """hidden (rows, n_embd), features (rows, n) int8 -> out (rows, 256) int32. A part are BLOCK rows."""
    rows = len(out)
    for k in range(first, last):
        start, end = k * BLOCK, min((k + 1) * BLOCK, rows)
        _logits(hidden[start:end], features[start:end], head, heads, limit, out[start:end])


@njit
def _frequencies(logits, table, shared, bits, out):
    """See `codec.network.frequencies`."""
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


@compiled
def frequencies(first, last, hidden, features, head, heads, limit, impossible, table, shared, bits, channel, out):
    """hidden (n, tiles, n_embd), features (n, tiles, m) int8 -> out (n, channels, tiles, 256) int32, the channel's. impossible: (n, tiles,
    256), or none of it. A part are BLOCK rows."""
    rows, tiles = out.shape[0] * out.shape[2], out.shape[2]
    hidden, features = hidden.reshape(rows, -1), features.reshape(rows, -1)
    for k in range(first, last):
        start, end = k * BLOCK, min((k + 1) * BLOCK, rows)
        found = np.empty((end - start, out.shape[3]), np.int32)
        _logits(hidden[start:end], features[start:end], head, heads, limit, found)
        for row in range(start, end):
            n, tile = row // tiles, row % tiles
            if len(impossible):
                for token in range(out.shape[3]):
                    if impossible[n, tile, token]:
                        found[row - start, token] = IMPOSSIBLE
            _frequencies(found[row - start], table, shared, bits, out[n, channel, tile])


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


@compiled
def whole_tiles(first, last, samples, slots, windows, kind, related, features, of_heads, tokens):
    """What is seen of tiles (tiles, channels, POSITIONS), and coded: features (tiles, n, FEATURES), of_heads (channels, tiles, n,
    HEAD_FEATURES), tokens (channels, tiles, n). A part is a tile."""
    channels = samples.shape[1]
    for tile in range(first, last):
        known, residuals = np.full((channels, SLOTS), FIRST_SAMPLE, np.int32), np.zeros((channels, SLOTS), np.int32)
        bases = np.empty(channels, np.int32)
        known[:, :POSITIONS] = samples[tile]
        for p in range(tokens.shape[2]):
            _features(known, residuals, slots[p], windows[tile], p, kind, features[tile, p], bases)
            for c in range(channels):
                prediction = _head(known, residuals, slots[p], p, c, related, bases[c], of_heads[c, tile, p])
                residuals[c, p] = known[c, p] - prediction
                tokens[c, tile, p] = (residuals[c, p] + CENTRE) & 255


@compiled
def step_features(samples, residuals, slots, windows, position, kind, features, bases):
    """At one position of all tiles."""
    for tile in range(len(samples)):
        _features(samples[tile], residuals[tile], slots, windows[tile], position, kind, features[tile], bases[tile])


@compiled
def step_head(samples, residuals, slots, position, channel, related, bases, predictions, features):
    for tile in range(len(samples)):
        base = bases[tile, channel]
        predictions[tile] = _head(samples[tile], residuals[tile], slots, position, channel, related, base, features[tile])


@compiled
def step_accept(samples, residuals, slots, position, channel, tokens, predictions, exist):
    for tile in range(len(samples)):
        sample = (tokens[tile] + predictions[tile] - CENTRE) & 255 if exist[tile] else samples[tile, channel, slots[0]]
        samples[tile, channel, position] = sample
        residuals[tile, channel, position] = sample - predictions[tile]
