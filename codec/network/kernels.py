"""The operations between the matrix products, fused, compiled by numba, spread over the cores: the same integers as `arithmetic`, faster.

Importing this takes a moment, and the first use on a machine compiles for some seconds and keeps the result; so it is imported only where
there is enough to do, and where numba is missing plain torch does the same. Sums that numba would widen to 64 bits are cut back to 32,
which the bounds in `arithmetic` allow, and of which processors add many at a time.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from codec.jit import compiled, numba, part
from codec.network.limits import IMPOSSIBLE, Array
from codec.network.limits import RESIDUAL_LIMIT as LIMIT
from codec.tiling.context import AHEAD as ALL_AHEAD
from codec.tiling.context import (
    AHEAD_FEATURES,
    CENTRE,
    CHANNEL_FEATURES,
    KIND_FEATURE,
    MARGIN,
    MAX_CHANNELS,
    NEIGHBOURS,
    RESIDUAL_NEIGHBOURS,
    SIDE,
    SIDE_FEATURES,
    SURROUNDINGS,
    edges,
)
from codec.tiling.context import SIDES as ALL_SIDES

if numba is None:
    msg = "numba is missing"
    raise ImportError(msg)

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

inlined = numba.njit(inline="always")
i32 = np.int32
RESIDUAL_LIMIT = i32(LIMIT)
POSITION, CACHE, SLOT, FIRST, COUNT = range(5)  # columns of `where`
COLUMNS = VECTORS * LANES  # of a packed matrix, side by side
BLOCK = 32  # rows side by side: their values stay close to the processor

AWAY, AHEAD, SIDES, EDGES = np.array(SURROUNDINGS), np.array(ALL_AHEAD), np.array(ALL_SIDES), edges()


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


class Room(NamedTuple):
    """Where `hidden` puts what it makes of a block: one for each thread. Rows of INPUT are padded, and so are those of sums.

    x: the residual stream; seen, narrow, wide: what enters products; qkv, means: of attention; of which scores, bests and totals are by
    head, weights and head_sums of one head.
    """

    x: Array
    seen: Array
    narrow: Array
    wide: Array
    qkv: Array
    means: Array
    sums: Array
    three_sums: Array
    wide_sums: Array
    inverses: Array
    scores: Array
    bests: Array
    totals: Array
    weights: Array
    head_sums: Array


class HeadRoom(NamedTuple):
    """The same for `frequencies`."""

    given: Array
    inner: Array
    wide_sums: Array
    sums: Array


def _padded(columns: int) -> Array:
    return np.full((BLOCK, columns), ZERO, INPUT)


def _sums(weights: Array) -> Array:
    """For the products with packed weights."""
    return np.empty((BLOCK, weights.shape[-5] * COLUMNS), np.int32)


def room_of(layers: Layers, sizes: tuple[int, int, int, int]) -> Room:
    """sizes: (layers, heads, dim, slots) of the cache."""
    _, heads, dim, slots = sizes
    width = layers.wpe.shape[1]
    return Room(
        np.empty((BLOCK, width), np.int32),
        _padded(layers.embedding.shape[1] * GROUP),
        _padded(width),
        _padded(layers.narrowed.shape[2] * GROUP),
        np.empty((BLOCK, 3 * heads * dim), np.int8),
        _padded(heads * dim),
        _sums(layers.embedding),
        _sums(layers.attention),
        _sums(layers.widened),
        np.empty(BLOCK, np.float64),
        np.empty(heads * (slots + LANES), np.int32),
        np.empty(heads, np.int32),
        np.empty(heads, np.int32),
        np.empty(slots // 2 + 4, np.int32),
        np.empty(dim, np.int32),
    )


def head_room_of(heads: Heads) -> HeadRoom:
    """For the heads of a model."""
    columns = heads.widened.shape[2], heads.narrowed.shape[2]
    return HeadRoom(*(_padded(n * GROUP) for n in columns), _sums(heads.widened), _sums(heads.narrowed))


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


@inlined
def _within(value, limit):
    """-limit to limit. `min` and `max` would be one more function to compile for each type."""
    return limit if value > limit else (-limit if value < -limit else value)


@inlined
def _at_most(value, most):
    return most if value > most else value


@inlined
def _at_least(value, least):
    return least if value < least else value


@inlined
def _scaled(accumulator, multiplier, offset, shift, limit):
    return _within(shifted(i32(i32(accumulator * multiplier) + offset), shift), limit)


@part
def _product(x, weight, scale, out):
    """(rows, inputs) INPUT and packed weights -> (rows, outputs) int32; rows are a multiple of ROWS, inputs and outputs padded."""
    rows, depth, width = x.shape[0], x.shape[1], out.shape[1]
    for n in range(len(weight)):
        for row in range(0, rows, ROWS):
            at = n * COLUMNS
            block_product(x, row * depth, depth, weight, at * depth, scale, 3 * width + at, out, row * width + at, width)


@part
def _requantized(sums, scale, limit, out):
    for row in range(len(out)):
        for k in range(out.shape[1]):
            out[row, k] = _scaled(sums[row, k], scale[0, k], scale[1, k], scale[2, k], limit)


@part
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


@part
def _added(sums, scale, limit, x):
    """In place of x: clamp(x + clamp(requantized))."""
    for row in range(len(x)):
        for k in range(x.shape[1]):
            value = _scaled(sums[row, k], scale[0, k], scale[1, k], scale[2, k], limit) + x[row, k]
            x[row, k] = _within(i32(value), limit)


@part
def _normalized(x, gain, shift, inverses, out):
    """(rows, width) int32 -> as many rows or more of INPUT, on top of ZERO; see `arithmetic.normalize`. inverses: (rows or more)
    float64, overwritten."""
    half = i32((1 << shift) >> 1)
    root_bits = 3 if x.shape[1] <= 128 else 0
    for row in range(len(x)):
        squares = np.int64(0)
        for k in range(x.shape[1]):
            squares += np.int64(x[row, k]) * np.int64(x[row, k])
        inverses[row] = np.float64(squares * (1 << (2 * root_bits)))
    for row in range(len(x)):  # many at a time
        inverses[row] = (1 << (30 + root_bits)) / _at_least(math.floor(math.sqrt(inverses[row])), 1 << root_bits)
    for row in range(len(x)):
        inverse = i32(math.floor(inverses[row]))
        for k in range(x.shape[1]):
            unit = shifted(i32(x[row, k] * inverse), i32(15))
            out[row, k] = _within(shifted(i32(i32(unit * gain[k]) + half), shift), i32(127)) + ZERO


@part
def _attend(kept, query, places, ahead, dim, chosen, scale, table, all_scores, weights, sums, out):
    """A head's query against the keys and values of the slots chosen: the first one, and how many.

    kept, from keys_at on: (slots / 16, dim / 2, 16, 2), from values_at on: (slots / 2, dim, 2), int8.
    """
    keys_at, values_at, query_at, row, out_at = places
    first, count = chosen
    multiplier, shift = scale[0], scale[1]
    lead = first % LANES
    for k in range(0, lead + count, LANES):
        sum_of_rows(kept, keys_at + (first - lead + k) * dim, ahead, 2 * LANES, query, query_at, dim // 2, all_scores, k)
    scores = all_scores[lead:]
    best = scores[0]
    for k in range(1, count):
        best = _at_least(scores[k], best)
    odd, last, total = first % 2, i32(len(table) - 1), i32(0)
    for k in range(count):
        scores[k] = _at_most(shifted(i32(i32(best - scores[k]) * multiplier), shift), last)
    used, whole = (odd + count + 3) // 4 * 2, (odd + count) // 2  # pairs; written whole, as they are read whole
    if odd:
        total = i32(table[scores[0]])
        weights[0] = total << 16
    for pair in range(odd, whole):
        low, high = i32(table[scores[2 * pair - odd]]), i32(table[scores[2 * pair - odd + 1]])
        weights[pair] = high << 16 | low
        total = i32(total + low + high)
    for pair in range(whole, used):
        weights[pair] = 0
    if (odd + count) % 2:
        weights[whole] = i32(table[scores[count - 1]])
        total = i32(total + weights[whole])
    for k in range(0, dim, LANES):
        sum_of_rows(kept, values_at + (first - odd) * dim + 2 * k, ahead, 2 * dim, weights, 0, used, sums, k)
    share = 1 / (2.0 * total)  # half a unit keeps the product away from whole numbers, from which its rounding errors are far
    for k in range(dim):
        out[row, out_at + k] = math.floor((2.0 * sums[k] + total + 0.5) * share) + ZERO


@part
def _attended(where, layer, sizes, scale, exponentials, cache, qkv, means, scores, bests, totals, weights, head_sums, rows):
    """Keys and values of so many rows are kept, then the heads attend.

    sizes: (layers, heads, dim, slots) of the cache, which is flat. qkv: (rows, 3 * heads * dim) int8; means: (rows, heads * dim) INPUT. The
    others are for what is made on the way, see `Room`.
    """
    layers, heads, dim, slots = sizes
    in_head = dim * slots
    in_layer, apart = 2 * heads * in_head, len(scores) // heads
    for row in range(rows):
        slot, first, count = where[row, SLOT], where[row, FIRST], where[row, COUNT]
        at = (where[row, CACHE] * layers + layer) * in_layer
        ahead = (where[_at_most(row + 1, rows - 1), CACHE] * layers + layer) * in_layer - at
        query, out = row * 3 * heads * dim, row * heads * dim
        for h in range(heads):
            key_at = at + h * in_head + slot // LANES * LANES * dim + slot % LANES * GROUP
            value_at = at + (heads + h) * in_head + slot // GROUP * GROUP * dim
            keep(cache, key_at, value_at, slot % GROUP, qkv, query + (heads + h) * dim, query + (2 * heads + h) * dim, dim)
        if BYTES:  # all heads step by step, as each step waits for the one before
            lead = first % LANES
            keys = at + (first - lead) * dim
            values = keys + heads * in_head
            for h in range(heads):
                bests[h] = best_score(cache, keys + h * in_head, ahead, dim, qkv, query + h * dim, lead, count, scores, h * apart)
            for h in range(heads):
                totals[h] = total_weight(scores, h * apart, lead, count, bests[h], scale, exponentials)
            for h in range(heads):
                places = values + h * in_head, h * apart, out + h * dim
                weighted_means(cache, places[0], ahead, dim, scores, places[1], lead, count, totals[h], means, places[2])
        else:
            for h in range(heads):
                places = at + h * in_head, at + (heads + h) * in_head, query + h * dim, row, h * dim
                _attend(cache, qkv, places, ahead, dim, (first, count), scale, exponentials, scores, weights, head_sums, means)


@compiled
def hidden(
    first, last, features, where, cache, slots, together, block, out,
    embedding, embedding_scale, wpe, gains, norm_shifts, attention, attention_scale, score_scales, exponentials,
    attended, attended_scale, widened, widened_scale, tables, narrowed, narrowed_scale,
    all_x, all_seen, all_narrow, all_wide, all_qkv, all_means, sums, three_sums, wide_sums, inverses,
    scores, bests, totals, weights, head_sums,
):  # fmt: skip
    """Rows through all layers, their keys and values kept: a part are `together` of them, one block after the other, side by side.

    features: (rows, inputs) int8; where: (rows, 5), each row's position, in which cache and slot its keys and values go, and which slots it
    attends to, the first one and how many; cache: int8, flat, as many as (layers, 2, heads, dim, slots) for each tile, dim padded; out:
    (rows, n_embd) int8. Then the arrays of `Layers` and those of a `Room`, one by one, as tuples of them take microseconds at each call.
    """
    width, norms, heads = out.shape[1], len(gains), len(bests)
    sizes = len(score_scales), heads, all_means.shape[1] // heads, slots
    for task in range(first, last):
        end = _at_most((task + 1) * together, len(out))
        for start in range(task * together, end, block):
            rows = _at_most(block, end - start)
            padded = (rows + ROWS - 1) // ROWS * ROWS
            own, x, qkv = where[start:end], all_x[:rows], all_qkv[:rows]
            seen, narrow, wide, means = all_seen[:padded], all_narrow[:padded], all_wide[:padded], all_means[:padded]
            for row in range(rows):
                position = own[row, POSITION]
                for k in range(width):
                    x[row, k] = wpe[position, k]
                for k in range(features.shape[1]):
                    seen[row, k] = features[start + row, k] + ZERO
            given, weight, scale = seen, embedding, embedding_scale
            for n in range(norms):  # before attention and feed-forward of each layer, and at the end
                _product(given, weight, scale, sums)
                _added(sums, scale, RESIDUAL_LIMIT, x)
                _normalized(x, gains[n], norm_shifts[n], inverses, narrow)
                k = n // 2
                if n == norms - 1:
                    break
                if n % 2:
                    _product(narrow, widened[k], widened_scale[k], wide_sums)
                    _looked_up(wide_sums[:padded], widened_scale[k], tables[k], wide)
                    given, weight, scale = wide, narrowed[k], narrowed_scale[k]
                else:
                    scale = attention_scale[k]
                    _product(narrow, attention[k], scale, three_sums)
                    for row in range(rows):
                        for m in range(qkv.shape[1]):
                            qkv[row, m] = _scaled(three_sums[row, m], scale[0, m], scale[1, m], scale[2, m], i32(127))
                    _attended(
                        own, k, sizes, score_scales[k], exponentials, cache, qkv, means, scores, bests, totals, weights, head_sums, rows
                    )
                    given, weight, scale = means, attended[k], attended_scale[k]
            for row in range(rows):
                for k in range(width):
                    out[start + row, k] = i32(narrow[row, k]) - ZERO


@compiled
def frequencies(
    first, last, hidden, features, head, limit, impossible, table, shared, bits, channel, out,
    widened, widened_scale, tables, narrowed, narrowed_scale, all_given, all_inner, wide_sums, sums,
):  # fmt: skip
    """hidden (rows, n_embd), features (rows, m) int8, rows being (n, tiles) -> out (n, channels, tiles, 256) int32, the channel's.

    impossible: (n, tiles, 256), or none of it; table: of the weights, see `codec.network.frequencies`. Then the arrays of `Heads` and those
    of a `HeadRoom`. A part are BLOCK rows.
    """
    tiles, width, tokens, end_of_table = out.shape[2], hidden.shape[1], out.shape[3], i32(len(table) - 1)
    for which in range(first, last):
        start = which * BLOCK
        rows = _at_most(BLOCK, len(hidden) - start)
        padded = (rows + ROWS - 1) // ROWS * ROWS
        given, inner = all_given[:padded], all_inner[:padded]
        for row in range(rows):
            for k in range(width):
                given[row, k] = hidden[start + row, k] + ZERO
            for k in range(features.shape[1]):
                given[row, width + k] = features[start + row, k] + ZERO
        _product(given, widened[head], widened_scale[head], wide_sums)
        _looked_up(wide_sums[:padded], widened_scale[head], tables[head], inner)
        scale = narrowed_scale[head]
        _product(inner, narrowed[head], scale, sums)
        for row in range(rows):
            n, tile = (start + row) // tiles, (start + row) % tiles
            logits, found = sums[row], out[n, channel, tile]
            for k in range(tokens):
                logits[k] = _scaled(logits[k], scale[0, k], scale[1, k], scale[2, k], limit)
            if len(impossible):
                for k in range(tokens):
                    if impossible[n, tile, k]:
                        logits[k] = IMPOSSIBLE
            best = logits[0]
            for k in range(1, tokens):
                best = _at_least(logits[k], best)
            total = 0
            for k in range(tokens):
                weight = table[_at_most(i32(best - logits[k]), end_of_table)]
                found[k] = weight
                total += weight
            share, rest = (shared << bits) // total, shared
            for k in range(tokens):
                frequency = i32((np.int64(found[k]) * share) >> bits)
                rest -= frequency
                found[k] = frequency + i32(1)
            found[CENTRE] += i32(rest)


@inlined
def _median(west, north, north_west):
    low, high = (west, north) if west < north else (north, west)
    return _at_most(_at_least(west + north - north_west, low), high)


@inlined
def _byte(value):
    return np.int8(_within(value, 127))


@part
def _features(samples, residuals, slots, known_sides, window, position, kind, features, bases):
    """`features.input_features` and `base_predictions` at a position of a tile (channels, SLOTS). window: (2 or 0, WINDOW, WINDOW)."""
    for k in range(len(features)):
        features[k] = 0
    for k in range(len(SIDES)):
        if known_sides & SIDES[k] and EDGES[position, k]:
            features[SIDE_FEATURES + k] = KIND_FEATURE
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
        at = AHEAD_FEATURES + c * 2 * len(AHEAD)
        for k in range(len(AHEAD)):
            slot = slots[len(NEIGHBOURS) + k]
            if slot < len(known):
                difference = known[slot] - base
                features[at + k] = _byte(4 * difference)
                features[at + len(AHEAD) + k] = _byte(difference >> 1)
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


@part
def _head(samples, residuals, slots, position, channel, related, base, features):
    """`features.head_features` at a position of a tile; returns `channel_prediction`."""
    prediction = base
    if related and channel:
        first, own = samples[0], samples[channel]
        west, north = own[slots[0]] - first[slots[0]], own[slots[1]] - first[slots[1]]
        prediction = _at_most(_at_least(first[position] + _median(west, north, own[slots[2]] - first[slots[2]]), 0), 255)
    for k in range(len(features)):
        features[k] = 0
    if channel:
        for k in range(channel + 1):
            value = residuals[k, position] if k < channel else prediction - base
            features[2 * k] = _byte(4 * value)
            features[2 * k + 1] = _byte(value >> 1)
    return prediction


@compiled
def context(first, last, known, residuals, slots, sides, windows, start, begin, end, kind, related, bases, features, of_heads, predictions):
    """What is known around positions of tiles, as the network sees it. A part is a tile.

    known: (tiles, channels, SLOTS) int32 samples, and residuals, which follow; slots: of `neighbour_slots`; sides: (tiles) uint8; start:
    the first position; begin, end: the channels, end excluded, of which the heads' features and the predictions are made; with the first
    channel, the layers' features and the bases are, too; bases: (tiles, channels) int32; features: (tiles, n, FEATURES) int8; of_heads:
    (channels, tiles, n, HEAD_FEATURES) int8; predictions: (channels, tiles, n) int32.
    """
    for tile in range(first, last):
        samples, wrong, own_slots = known[tile], residuals[tile], slots[sides[tile]]
        for n in range(features.shape[1]):
            p = start + n
            if not begin:
                _features(samples, wrong, own_slots[p], sides[tile], windows[tile], p, kind, features[tile, n], bases[tile])
            for c in range(begin, end):
                prediction = _head(samples, wrong, own_slots[p], p, c, related, bases[tile, c], of_heads[c, tile, n])
                predictions[c, tile, n] = prediction
                wrong[c, p] = samples[c, p] - prediction


@compiled
def accept(samples, residuals, slots, sides, position, channel, tokens, predictions, exist):
    """Of a channel at one position of all tiles: tokens become samples; where they do not exist, the sample to their left."""
    for tile in range(len(samples)):
        sample = (
            (tokens[tile] + predictions[tile] - CENTRE) & 255 if exist[tile] else samples[tile, channel, slots[sides[tile], position, 0]]
        )
        samples[tile, channel, position] = sample
        residuals[tile, channel, position] = sample - predictions[tile]
