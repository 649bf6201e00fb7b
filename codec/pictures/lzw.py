"""LZW as GIF and TIFF have it (GIF89a, appendix F; TIFF 6.0, section 13), and TIFF's PackBits (section 9): bytes from codes.

Apart, for compiled code takes a moment to import.
"""

from typing import Any

import numpy as np

from codec.jit import compiled

ENDED, RAN_OUT, UNKNOWN_CODE, TOO_MUCH = range(4)  # how the codes ended
LARGEST_CODE = 4095


@compiled
def unpacked_lzw(data: Any, root_bits: Any, tiff: Any, out: Any) -> Any:
    """Writes to out. root_bits: of the smallest alphabet, 1 to 8; tiff: whether codes begin with their highest bit, and grow one early.

    Returns how many bytes there are, how it ended, how many bytes of data it took, and the largest byte that is coded by itself.
    """
    clear = 1 << root_bits
    prefix, suffix, length = np.zeros(4096, np.int64), np.zeros(4096, np.int64), np.ones(4096, np.int64)
    suffix[:clear] = np.arange(clear)
    head = suffix.copy()
    bits, after, before = root_bits + 1, clear + 2, -1  # of a code; the next new one; the one just read
    waiting, count, at, written, largest = 0, 0, 0, 0, 0
    while True:
        while count < bits:
            if at == len(data):
                return written, RAN_OUT, at, largest
            waiting = (waiting << 8) | int(data[at]) if tiff else waiting | (int(data[at]) << count)
            count += 8
            at += 1
        count -= bits
        if tiff:
            code = waiting >> count
            waiting &= (1 << count) - 1
        else:
            code = waiting & ((1 << bits) - 1)
            waiting >>= bits
        if code == clear:
            bits, after, before = root_bits + 1, clear + 2, -1
            continue
        if code == clear + 1:
            return written, ENDED, at, largest
        if code > after or (code == after and (before < 0 or after > LARGEST_CODE)) or (before < 0 and code > clear):
            return written, UNKNOWN_CODE, at, largest
        if code < clear:
            largest = max(largest, code)
        if before >= 0 and after <= LARGEST_CODE:
            prefix[after], head[after], length[after] = before, head[before], length[before] + 1
            suffix[after] = head[code]
            after += 1
            if after + tiff == 1 << bits and bits < 12:
                bits += 1
        end = written + length[code]
        if end > len(out):
            return written, TOO_MUCH, at, largest
        byte, k = code, end
        while k > written:
            k -= 1
            out[k] = suffix[byte]
            byte = prefix[byte]
        before, written = code, end


@compiled
def unpacked_bits(data: Any, out: Any) -> Any:
    """PackBits; writes to out. Returns how many bytes there are, how it ended, and how many bytes of data it took."""
    at, written = 0, 0
    while at < len(data) and written < len(out):
        head = int(data[at])
        at += 1
        if head == 128:
            continue
        many, step = (head + 1, 1) if head < 128 else (257 - head, 0)
        if at + (many if step else 1) > len(data):
            return written, RAN_OUT, at
        if written + many > len(out):
            return written, TOO_MUCH, at
        for k in range(many):
            out[written + k] = data[at + k * step]
        at += many if step else 1
        written += many
    return written, ENDED, at
