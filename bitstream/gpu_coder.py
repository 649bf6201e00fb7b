"""Tokens <-> words on a GPU, many payloads at a time: the arithmetic of FORMAT-range-coder.md as kernels of numba.cuda, bit for bit what
`range_coder` makes of the same frequencies.

`decode` is launched with a block for each payload, of any number of threads, the others with a thread for each. A token depends on all
before it in its payload, so all threads of a block do the same; but each of them compares some of the possible values, where one by itself
would wait for memory eight times a token. Of `point` and `lower`, a decoder keeps the difference.

numba's simulator (NUMBA_ENABLE_CUDASIM=1) runs the same source without a GPU.
"""

import numpy as np
from numba import cuda

from bitstream.constants import FREQUENCY_BITS, FREQUENCY_TOTAL

RANGE = 2**64 - 1  # at the beginning
OFFSET, SIZE = range(2)  # of a decoder: point - lower, and range
FIRST, BEHIND, PLACE, LAST, LEFT, CALLS, FAILURE = range(7)  # numbers of a decoder, see `decode`
NO_TOKEN, TOO_COSTLY, NOT_ENDED = range(1, 4)  # failures, in the order of range_coder.FAILURES
MORE_WORDS = 2  # than tokens, at most
THREADS = 256  # of a decoder's block

BITS = np.uint64(FREQUENCY_BITS)
TOTAL = np.int64(FREQUENCY_TOTAL)
WORD = np.uint64(32)
WORD_MASK = np.uint64(2**32 - 1)
SHORTEST = np.uint64(2**32)
END = np.uint64(2**33 - 1)


@cuda.jit
def decode(ends, exist, words, states, numbers, tokens):
    """One token of each tile of each payload, of those tiles that exist.

    ends: (tiles, alphabet) int32, running sums of frequencies; exist: (tiles) bool; words: uint32, of all payloads one after the other.
    states: (payloads, 2) uint64, OFFSET and SIZE. numbers: (payloads, 7) int64: FIRST of its tiles and the one BEHIND them; PLACE of the
    next word and behind the LAST; bits / 2^24 LEFT, that its tokens may still cost; CALLS so far; and its FAILURE, 0 where there is none.
    tokens: (tiles) int32, of which those that exist are set.
    """
    payload, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    own = numbers[payload]
    if own[FAILURE] != 0:
        return
    offset, size = states[payload, OFFSET], states[payload, SIZE]
    place, last, left = own[PLACE], own[LAST], own[LEFT]
    alphabet, failure = ends.shape[1], 0
    for tile in range(own[FIRST], own[BEHIND]):
        if exist[tile]:
            scale = size >> BITS
            token = 0  # values whose frequencies all lie below
            first = 0
            while first < alphabet:
                value = first + thread
                passed = 0
                if value < alphabet and np.uint64(ends[tile, value]) * scale <= offset:
                    passed = 1
                token += cuda.syncthreads_count(passed)
                first += threads
            if token == alphabet:
                failure = NO_TOKEN
                break
            before = np.int64(0)
            if token > 0:
                before = np.int64(ends[tile, token - 1])
            frequency = np.int64(ends[tile, token]) - before
            offset -= scale * np.uint64(before)
            size = scale * np.uint64(frequency)
            if size < SHORTEST:
                word = np.uint64(0)
                if place < last:
                    word = np.uint64(words[place])
                place += 1
                offset = (offset << WORD) | word
                size = size << WORD
            doublings = cuda.clz(np.int32(frequency - 1)) - 8  # until it is above 2^23
            left -= (np.int64(doublings) << FREQUENCY_BITS) + ((TOTAL - (frequency << doublings)) * 23 >> 4)
            if thread == 0:
                tokens[tile] = token
    cuda.syncthreads()  # before any number changes, all threads have read it
    if failure == 0 and left < 0:
        failure = TOO_COSTLY
    if thread == 0:
        states[payload, OFFSET], states[payload, SIZE] = offset, size
        own[PLACE], own[LEFT], own[FAILURE] = place, left, failure
        own[CALLS] += 1


@cuda.jit
def finish(states, numbers):
    """After the last token of every payload, a thread for each: whether it ends so. Arrays as above."""
    payload = cuda.grid(1)
    if payload < len(numbers):
        own = numbers[payload]
        if own[FAILURE] == 0 and (own[PLACE] < own[LAST] or states[payload, OFFSET] >= END):
            own[FAILURE] = NOT_ENDED
            own[CALLS] += 1


@cuda.jit
def encode(befores, frequencies, bounds, words, counts):
    """All tokens of each payload.

    befores: (tokens) int32, sums of the frequencies of lower values; frequencies: (tokens) int32; bounds: (payloads + 1) int64, the tokens
    of a payload. words: uint32, of which a payload has as many as tokens and MORE_WORDS more; counts: (payloads) int64, how many it took.
    """
    payload = cuda.grid(1)
    if payload >= len(counts):
        return
    start = bounds[payload] + payload * MORE_WORDS
    place = start
    lower, size = np.uint64(0), np.uint64(RANGE)
    for k in range(bounds[payload], bounds[payload + 1]):
        scale = size >> BITS
        added = scale * np.uint64(befores[k])
        lower += added
        if lower < added:
            _carry(words, place)
        size = scale * np.uint64(frequencies[k])
        if size < SHORTEST:
            words[place] = np.uint32(lower >> WORD)
            place += 1
            lower = lower << WORD
            size = size << WORD
    if bounds[payload] < bounds[payload + 1]:
        point = lower + WORD_MASK
        if point < lower:
            _carry(words, place)
        words[place] = np.uint32(point >> WORD)
        place += 1
        behind = lower + size  # both may be above 2^64
        if point >> WORD == behind >> WORD and (point < lower) == (behind < lower):
            words[place] = np.uint32(0)
            place += 1
    counts[payload] = place - start


@cuda.jit(device=True)
def _carry(words, place):
    """Adds one to the words before a place, as to a number."""
    place -= 1
    while words[place] == np.uint32(WORD_MASK):
        words[place] = np.uint32(0)
        place -= 1
    words[place] += np.uint32(1)
