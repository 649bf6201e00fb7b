"""Bytes, each predicted bit by bit by what followed the bytes before it: compiled by numba, or run as it stands where that is missing."""

import numpy as np

from codec.jit import compiled
from codec.mixing.kernel import ended, hashed, mixed, started

CONTEXTS = 6  # none to four bytes before, and the word so far


@compiled
def code(data, known, stream, decoding, mixer, tables):
    """Codes data[known:] into `stream`, or fills it; returns how many bytes that took. data[:known] is learnt from before."""
    size = mixer.counters.shape[1] - 1
    nothing, spent = np.zeros(0, np.uint8), np.zeros(0)
    coder, learning = started(stream, decoding), started(nothing, False)
    bases = np.zeros(CONTEXTS, np.int64)
    last, word = 0, 0
    for at in range(len(data)):
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
            if at < known:
                bit = mixed(bit, mixer, 0, node, 256 + last, 512 + k * CONTEXTS, node, tables, learning, nothing, False, spent)
            else:
                bit = mixed(bit, mixer, 0, node, 256 + last, 512 + k * CONTEXTS, node, tables, coder, stream, decoding, spent)
            node = node << 1 | bit
        last = node & 255
        if at >= known:
            data[at] = last
        letter = last | 32
        word = hashed(word, letter) if 97 <= letter <= 122 else 0
    return ended(coder, stream, decoding)
