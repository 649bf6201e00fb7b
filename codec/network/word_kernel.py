"""Tokens <-> words with frequencies as they come: the arithmetic of FORMAT-range-coder.md, compiled by numba, bit for bit what
`bitstream.range_coder` makes of the same frequencies by constriction, in a fraction of its time.

A decoder keeps `point` - `lower` only.
"""

import numpy as np

from bitstream.constants import FREQUENCY_BITS, FREQUENCY_TOTAL
from codec.jit import compiled, part

FIRST, SIZE = range(2)  # of a coder's state: `lower`, or `point` - `lower`; and `range`
# Of its numbers: the place of the next word; bits / 2^24 that tokens may still cost; what is wrong, or 0; and where a decoder's words end.
PLACE, LEFT, FAILURE, LAST = range(4)
NO_TOKEN, TOO_COSTLY = 1, 2  # failures, in the order of range_coder.FAILURES
RANGE = 2**64 - 1  # at the beginning
END = 2**33 - 1
STRIDE = 16  # frequencies that are summed at once

u64, i32 = np.uint64, np.int32


@part
def carry(words, place):
    """Adds one to the words before a place, as to a number."""
    place -= 1
    while words[place] == u64(0xFFFFFFFF):
        words[place] = 0
        place -= 1
    words[place] += np.uint32(1)


@part
def put_token(token, frequencies, state, numbers, words):
    before = i32(0)
    for t in range(token):
        before = i32(before + frequencies[t])
    scale = state[SIZE] >> u64(FREQUENCY_BITS)
    lower = state[FIRST] + scale * u64(before)
    if lower < state[FIRST]:
        carry(words, numbers[PLACE])
    size = scale * u64(frequencies[token])
    if size < u64(1 << 32):
        words[numbers[PLACE]] = np.uint32(lower >> u64(32))
        numbers[PLACE] += 1
        lower <<= u64(32)
        size <<= u64(32)
    state[FIRST], state[SIZE] = lower, size


@part
def cost(frequency):
    """At least so much does a token of this frequency cost, see `range_coder.least_costs`."""
    doublings = 0
    doubled = np.int64(frequency)
    while doubled <= FREQUENCY_TOTAL >> 1:
        doubled <<= 1
        doublings += 1
    return (doublings << FREQUENCY_BITS) + ((FREQUENCY_TOTAL - doubled) * 23 >> 4)


@part
def take_token(frequencies, state, numbers, words):
    """The next token; whatever it is after a failure."""
    scale = state[SIZE] >> u64(FREQUENCY_BITS)
    quantile = state[FIRST] // scale
    if quantile >= u64(FREQUENCY_TOTAL) or numbers[FAILURE] != 0:
        if numbers[FAILURE] == 0:
            numbers[FAILURE] = NO_TOKEN
        return 0
    left, token, before = i32(quantile), 0, i32(0)
    while True:
        total = i32(0)
        for t in range(token, token + STRIDE):
            total = i32(total + frequencies[t])
        if left < total:
            break
        left = i32(left - total)
        before = i32(before + total)
        token += STRIDE
    while left >= frequencies[token]:
        left = i32(left - frequencies[token])
        before = i32(before + frequencies[token])
        token += 1
    frequency = frequencies[token]
    numbers[LEFT] -= cost(frequency)
    offset, size = state[FIRST] - scale * u64(before), scale * u64(frequency)
    if size < u64(1 << 32):
        word = u64(0)
        if numbers[PLACE] < numbers[LAST]:
            word = u64(words[numbers[PLACE]])
        numbers[PLACE] += 1
        offset = offset << u64(32) | word
        size <<= u64(32)
    state[FIRST], state[SIZE] = offset, size
    return token


@part
def settle(numbers):
    """After some tokens: whether they cost too much."""
    if numbers[LEFT] < 0 and numbers[FAILURE] == 0:
        numbers[FAILURE] = TOO_COSTLY


@compiled
def encode(tokens, tables, exist, state, numbers, words):
    """The tokens (n, channels, tiles) that exist, (n, tiles), with their frequencies (n, channels, tiles, 256) int32.

    state: (2,) uint64, FIRST and SIZE; numbers: (4,) int64; words: uint32, as many as tokens, and 2 more.
    """
    for n in range(tokens.shape[0]):
        for channel in range(tokens.shape[1]):
            for tile in range(tokens.shape[2]):
                if exist[n, tile]:
                    put_token(tokens[n, channel, tile], tables[n, channel, tile], state, numbers, words)


@compiled
def end(state, numbers, words):
    """After the last token: the last words."""
    lower = state[FIRST]
    point = lower + u64(0xFFFFFFFF)
    if point < lower:
        carry(words, numbers[PLACE])
    words[numbers[PLACE]] = np.uint32(point >> u64(32))
    numbers[PLACE] += 1
    behind = lower + state[SIZE]  # both may be above 2^64
    if point >> u64(32) == behind >> u64(32) and (point < lower) == (behind < lower):
        words[numbers[PLACE]] = 0
        numbers[PLACE] += 1


@compiled
def decode(tables, exist, state, numbers, words, tokens):
    """A token for each of the tiles that exist, of their frequencies (tiles, 256) int32. state, numbers: as of `encode`, of a decoder."""
    for tile in range(len(tables)):
        if exist[tile]:
            tokens[tile] = take_token(tables[tile], state, numbers, words)
    settle(numbers)
