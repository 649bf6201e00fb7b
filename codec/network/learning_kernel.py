"""What `learning` counts, and the factors that it makes: compiled by numba, or by operations of arrays where that is missing."""

import numpy as np

from bitstream.constants import ALPHABET, FREQUENCY_BITS, FREQUENCY_TOTAL
from codec.jit import compiled, interpreted, part
from codec.network.limits import LOGIT_STEPS
from codec.tiling.context import CENTRE, MAX_CHANNELS, SIDE

i32 = np.int32

NONE = 0  # a row of zeros
LINES = 6  # rows of every channel, most of which hold for all of its tokens
TABLES = 2  # of 256 rows each, of which one is chosen for a token
PAIRS = (0, 0, 1, 3)  # tables that the channels before one have
FIRST_PAIR = 1 + LINES * MAX_CHANNELS  # the first row of tables
# Where a row has its factors' logarithms, in 2^-15 octaves, what was expected, sums of frequencies / 2^8, and what was found, numbers of
# tokens. Each is there for 256 values, and once more: so all tokens have theirs one behind the other, wherever the first one's is.
FACTOR, EXPECTED, FOUND, ROW = 0, 2 * ALPHABET, 4 * ALPHABET, 6 * ALPHABET
FRACTION = 8  # bits of a factor's logarithm below 1/128 of an octave
SUM_BITS = 8  # of a frequency, that are not summed
ONE = FREQUENCY_TOTAL >> SUM_BITS  # a token found
LIMIT = 8 * LOGIT_STEPS  # of a factor's logarithm, in 1/128 octaves
LOWEST = -float(LIMIT << FRACTION)
LARGEST_FACTOR = 1 << 20  # 2^8, with twelve bits behind the point
LINE_RATE, PAIR_RATE = 23637.0, 47274.0  # 2^15 / ln(2), half of it for lines
LINE_TRUST, PAIR_TRUST = 50.0 * ONE, 1.0 * ONE  # what counts as expected at the beginning
HALVES = 32, 64  # of the tokens that are corrected, if the others share OUTSIDE or less; else all of them
OUTSIDE = FREQUENCY_TOTAL >> 10
WEIGHT_BITS = 16
FIRST_WEIGHT, LARGEST_WEIGHT = 19661, 1 << 17  # of what the tables say, 0.3 and 2
SLOPE_BITS = 15  # of the frequencies of which the weight learns
LARGEST_SLOPE = 1108  # of one token
WEIGHT_RATE, WEIGHT_TRUST, MOST_TRUST = 710, 2000, 12000


@part
def choose(known, places, position, channel, prediction, first_token, cells):
    """Where in the state the rows for a token have what belongs to the first token: LINES of rows that hold for all, and TABLES of rows of
    tables, or NONE.

    known: (channels, SLOTS) samples of a tile; places: the slots of the neighbours to the left and above.
    """
    own, start = known[channel], np.int64(prediction) - CENTRE
    cells[:] = NONE
    cells[0], cells[1] = start, 0
    cells[2], cells[3] = start - own[places[0]], start - own[places[1]]
    for k in range(channel):
        cells[4 + k] = start - known[k, position]
    for k in range(LINES - MAX_CHANNELS + 1 + channel):
        cells[k] = ROW * (1 + LINES * channel + k) + (cells[k] + first_token & 255)
    if channel:
        first, table = np.int64(known[0, position]), FIRST_PAIR + ALPHABET * PAIRS[channel]
        cells[LINES] = ROW * (table + first) + (start + first_token & 255)
        if channel > 1:
            row = table + ALPHABET + (known[1, position] - first & 255)
            cells[LINES + 1] = ROW * row + (start - first + first_token & 255)


@part
def reach(frequencies):
    """How far from the middle token those lie that are corrected: so far that nearly all of the frequencies are among them."""
    for half in HALVES:
        total = i32(0)
        for t in range(CENTRE - half, CENTRE + half):
            total = i32(total + frequencies[t])
        if total >= FREQUENCY_TOTAL - OUTSIDE:
            return half
    return CENTRE


@part
def within(logarithm):
    raised = logarithm if logarithm > i32(-LIMIT) else i32(-LIMIT)
    return raised if raised < i32(LIMIT) else i32(LIMIT)


@part
def put(state, a, b, c, out):
    for t in range(len(out)):
        out[t] = state[np.uintp(a + t)] + state[np.uintp(b + t)] + state[np.uintp(c + t)]


@part
def add(state, a, b, c, out):
    for t in range(len(out)):
        out[t] += state[np.uintp(a + t)] + state[np.uintp(b + t)] + state[np.uintp(c + t)]


@part
def weigh(lines, pair, weight):
    for t in range(len(pair)):
        by_pair = within(i32(pair[t] >> i32(FRACTION)))
        both = i32(lines[t] + i32(i32(weight * by_pair) >> i32(WEIGHT_BITS - FRACTION)))
        pair[t] = by_pair
        lines[t] = i32(LIMIT) - within(i32(both >> i32(FRACTION)))


@part
def multiply(frequencies, places, powers, products):
    before, total = i32(0), np.int64(0)
    for t in range(len(frequencies)):
        product = np.int64(frequencies[t]) * powers[np.uint32(places[t])]
        products[t] = product
        total += product
        before = i32(before + frequencies[t])
    return before, total


@part
def share_out(products, share, frequencies):
    shared = i32(0)
    for t in range(len(frequencies)):
        frequency = i32(i32(products[t] * share) + i32(1))
        shared = i32(shared + frequency)
        frequencies[t] = frequency
    return shared


@part
def correct(frequencies, state, weight, powers, cells, all_lines, pair, products):
    """Multiplies frequencies, of tokens around the middle one, by the factors of their rows, and shares out what they have together. `pair`
    becomes what the rows of tables say."""
    n = len(frequencies)
    lines = all_lines[:n]
    put(state, cells[0], cells[1], cells[2], lines)
    add(state, cells[3], cells[4], cells[5], lines)
    put(state, cells[6], cells[7], NONE, pair)
    weigh(lines, pair, weight)
    before, total = multiply(frequencies, lines, powers, products)
    shared = share_out(products, np.float64(before - n) / np.float64(total), frequencies)
    frequencies[n // 2] += before - shared


@part
def slope_of(frequencies, pair):
    slope = i32(0)
    for t in range(len(frequencies)):
        slope = i32(slope + i32(i32(frequencies[t] >> i32(FREQUENCY_BITS - SLOPE_BITS)) * pair[t]))
    return slope >> i32(SLOPE_BITS)


@part
def expect(state, cell, frequencies):
    for t in range(len(frequencies)):
        state[np.uintp(cell + t)] += frequencies[t] >> i32(SUM_BITS)


@part
def learn(token, frequencies, state, touched, cells, pair):
    """Counts a token, of those around the middle one or not, and what was expected. Returns the slope of the weight of what tables say."""
    own = 0
    inside = 0 <= token < len(frequencies)
    if inside:
        own = pair[token]
    for k in range(LINES + TABLES):
        cell = cells[k]
        if cell != NONE:
            expect(state, cell + EXPECTED, frequencies)
            if inside:
                state[cell + FOUND + token] += 1
            touched[cell // ROW] = True
    return min(max(own - slope_of(frequencies, pair), -LARGEST_SLOPE), LARGEST_SLOPE)


@part
def conclude(state, row, seen, rate, trust):
    """The factors of a row, after a row of the tiles. seen: (rows, 256) int64, what was expected in all before."""
    own, before = state[ROW * row : ROW * (row + 1)], seen[row]
    for t in range(ALPHABET):
        expected = np.int64(own[EXPECTED + t]) + own[EXPECTED + ALPHABET + t]
        found = np.int64(own[FOUND + t]) + own[FOUND + ALPHABET + t]
        before[t] += expected
        step = np.floor(rate * np.float64(found * ONE - expected) / (np.float64(before[t]) + trust))
        factor = np.float64(own[FACTOR + t]) + step
        factor = factor if factor > LOWEST else LOWEST
        factor = factor if factor < -LOWEST else -LOWEST
        own[FACTOR + t] = own[FACTOR + ALPHABET + t] = i32(factor)
    own[EXPECTED:] = 0


@compiled
def corrected(position, channel, tables, predictions, known, slots, sides, state, weights, powers, halves, pairs):
    """Corrects the frequencies of a channel's tokens at a position of all tiles, (tiles, 256) int32, where they are.

    predictions: (tiles); known: (tiles, channels, SLOTS) int32; slots: of `context.neighbour_slots`; sides: (tiles); weights: (channels,
    2), each channel's, and how many tokens it has learnt of; pairs: (tiles, 256) int32, the tables' factors.
    """
    cells = np.empty(LINES + TABLES, np.int64)
    lines, products, weight = np.empty(ALPHABET, np.int32), np.empty(ALPHABET, np.float64), i32(weights[channel, 0])
    for tile in range(len(tables)):
        half = reach(tables[tile])
        first, end = CENTRE - half, CENTRE + half
        halves[tile] = half
        choose(known[tile], slots[sides[tile], position], position, channel, predictions[tile], first, cells)
        correct(tables[tile, first:end], state, weight, powers, cells, lines, pairs[tile, first:end], products)


@compiled
def learnt(position, channel, tables, predictions, known, slots, sides, state, weights, seen, touched, halves, pairs, tokens, exist):
    """Learns of the tokens (tiles) that exist (tiles), after `corrected`; their samples become known."""
    cells = np.empty(LINES + TABLES, np.int64)
    slope, count = np.int64(0), 0
    for tile in range(len(tables)):
        places = slots[sides[tile], position]
        if exist[tile]:
            first, end = CENTRE - halves[tile], CENTRE + halves[tile]
            choose(known[tile], places, position, channel, predictions[tile], first, cells)
            slope += learn(tokens[tile] - first, tables[tile, first:end], state, touched, cells, pairs[tile, first:end])
            count += 1
            known[tile, channel, position] = (tokens[tile] + predictions[tile] - CENTRE) & 255
        else:
            known[tile, channel, position] = known[tile, channel, places[0]]
    weights[channel, 1] = min(weights[channel, 1] + count, MOST_TRUST - WEIGHT_TRUST)
    changed = weights[channel, 0] + WEIGHT_RATE * slope // (weights[channel, 1] + WEIGHT_TRUST)
    weights[channel, 0] = min(max(changed, 0), LARGEST_WEIGHT)
    if position % SIDE == SIDE - 1:
        concluded(channel, state, seen, touched)


@compiled
def concluded(channel, state, seen, touched):
    """Changes the factors of a channel's rows that tokens used since they last changed."""
    for row in range(1 + LINES * channel, 1 + LINES * (channel + 1)):
        if touched[row]:
            conclude(state, row, seen, LINE_RATE, LINE_TRUST)
            touched[row] = False
    for row in range(FIRST_PAIR + ALPHABET * PAIRS[channel], FIRST_PAIR + ALPHABET * PAIRS[channel + 1]):
        if touched[row]:
            conclude(state, row, seen, PAIR_RATE, PAIR_TRUST)
            touched[row] = False


@compiled
def followed(start, tables, predictions, known, slots, sides, state, weights, seen, touched, powers, halves, pairs, tokens, exist):
    """Both for some positions, from `start` on: tables (n, channels, tiles, 256), predictions and tokens (n, channels, tiles), exist (n,
    tiles)."""
    for n in range(len(tables)):
        for c in range(tables.shape[1]):
            given, what = (start + n, c, tables[n, c], predictions[n, c]), (known, slots, sides, state, weights)
            corrected(*given, *what, powers, halves, pairs)
            learnt(*given, *what, seen, touched, halves, pairs, tokens[n, c], exist[n])


if interpreted():  # operations of arrays take the place of the loops, of which there are thousands for every pixel

    def reach(frequencies):
        totals = [(half, frequencies[CENTRE - half : CENTRE + half].sum()) for half in HALVES]
        return next((half for half, total in totals if total >= FREQUENCY_TOTAL - OUTSIDE), CENTRE)

    def put(state, a, b, c, out):
        n = len(out)
        out[:] = state[a : a + n] + state[b : b + n] + state[c : c + n]

    def add(state, a, b, c, out):
        n = len(out)
        out += state[a : a + n] + state[b : b + n] + state[c : c + n]

    def weigh(lines, pair, weight):
        pair[:] = (pair >> FRACTION).clip(-LIMIT, LIMIT)
        lines[:] = LIMIT - (lines + (weight * pair >> WEIGHT_BITS - FRACTION) >> FRACTION).clip(-LIMIT, LIMIT)

    def multiply(frequencies, places, powers, products):
        found = frequencies.astype(np.int64) * powers[places]
        products[: len(found)] = found
        return frequencies.sum(), found.sum()

    def share_out(products, share, frequencies):
        frequencies[:] = (products[: len(frequencies)] * share).astype(np.int32) + 1
        return frequencies.sum()

    def slope_of(frequencies, pair):
        return ((frequencies >> FREQUENCY_BITS - SLOPE_BITS) * pair).sum() >> SLOPE_BITS

    def expect(state, cell, frequencies):
        state[cell : cell + len(frequencies)] += frequencies >> SUM_BITS

    def conclude(state, row, seen, rate, trust):
        factors, expected, found = state[ROW * row : ROW * (row + 1)].reshape(3, 2, ALPHABET)
        counts, total = found.sum(0), expected.sum(0)
        seen[row] += total
        step = np.floor(rate * (counts * ONE - total).astype(np.float64) / (seen[row].astype(np.float64) + trust))
        factors[:] = (factors[0] + step).clip(LOWEST, -LOWEST).astype(np.int32)
        expected[:] = found[:] = 0
