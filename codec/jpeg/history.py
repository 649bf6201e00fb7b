"""Bytes, each predicted bit by bit by what followed the bytes before it: compiled by numba, or run as it stands where that is missing."""

import numpy as np

from codec.jit import compiled, part
from codec.mixing.kernel import ended, hashed, mixed, started

CONTEXTS = 6  # none to four bytes before, and the word so far


@part
def _word(word, byte):
    """A hash of the letters so far."""
    letter = byte | 32
    return hashed(word, letter) if 97 <= letter <= 122 else 0


@compiled
def code(data, known, stream, decoding, mixer, tables):
    """Codes data[known:] into `stream`, or fills it; returns how many bytes that took, -1 for others than an encoder writes. The mixer has
    learnt from data[:known] before."""
    size, spent, coder = mixer.counters.shape[1] - 1, np.zeros(0), started(stream, decoding)
    bases = np.zeros(CONTEXTS, np.int64)
    last, word = 0, 0
    for at in range(len(data)):
        if at < known:
            last = np.int64(data[at])
            word = _word(word, last)
            continue
        if coder[3] > len(stream) + 3:
            break
        bases[0] = 0
        for k in range(1, CONTEXTS - 1):
            bases[k] = hashed(bases[k - 1] + k, data[at - k]) if at >= k else k
        bases[CONTEXTS - 1] = hashed(word, CONTEXTS)
        byte, node = np.int64(data[at]), 1
        for k in range(7, -1, -1):
            for i in range(CONTEXTS):
                mixer.chosen[i] = hashed(bases[i], node) & size
            bit = (byte >> k) & 1
            bit = mixed(bit, mixer, 0, node, 256 + last, 512 + k * CONTEXTS, node, tables, coder, stream, decoding, spent)
            node = node << 1 | bit
        last = node & 255
        data[at] = last
        word = _word(word, last)
    if decoding and coder[2] != coder[1] >> 24 << 24:
        return -1
    return ended(coder, stream, decoding)
