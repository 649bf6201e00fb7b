"""The codes of facsimiles that TIFF has (ITU-T T.4 and T.6; TIFF 6.0, sections 10 and 11): rows of runs, white first.

Apart, for compiled code takes a moment to import.
"""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.jit import compiled

ALIGNED, T4, T4_IN_TWO, T6 = range(4)  # rows of whole bytes without ends of line; T.4 in one dimension, and in two
ENDED, RAN_OUT, UNKNOWN_CODE, TOO_MUCH = range(4)
LONGEST, LONGEST_MODE = 13, 7  # bits
PASS, HORIZONTAL, VERTICAL = 100, 101, 3  # modes; VERTICAL + k: k to the right of what is above

_WHITE = """
00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101 101010 101011 0100111 0001100 0001000
0010111 0000011 0000100 0101000 0101011 0010011 0100100 0011000 00000010 00000011 00011010 00011011 00010010 00010011 00010100 00010101
00010110 00010111 00101000 00101001 00101010 00101011 00101100 00101101 00000100 00000101 00001010 00001011 01010010 01010011 01010100
01010101 00100100 00100101 01011000 01011001 01011010 01011011 01001010 01001011 00110010 00110011 00110100
11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000 01100111 011001100 011001101 011010010 011010011 011010100
011010101 011010110 011010111 011011000 011011001 011011010 011011011 010011000 010011001 010011010 011000 010011011
"""
_BLACK = """
0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111 000011000 0000010111 0000011000
0000001000 00001100111 00001101000 00001101100 00000110111 00000101000 00000010111 00000011000 000011001010 000011001011 000011001100
000011001101 000001101000 000001101001 000001101010 000001101011 000011010010 000011010011 000011010100 000011010101 000011010110
000011010111 000001101100 000001101101 000011011010 000011011011 000001010100 000001010101 000001010110 000001010111 000001100100
000001100101 000001010010 000001010011 000000100100 000000110111 000000111000 000000100111 000000101000 000001011000 000001011001
000000101011 000000101100 000001011010 000001100110 000001100111
0000001111 000011001000 000011001001 000001011011 000000110011 000000110100 000000110101 0000001101100 0000001101101 0000001001010
0000001001011 0000001001100 0000001001101 0000001110010 0000001110011 0000001110100 0000001110101 0000001110110 0000001110111
0000001010010 0000001010011 0000001010100 0000001010101 0000001011010 0000001011011 0000001100100 0000001100101
"""
_LONG = """
00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101 000000010110 000000010111 000000011100
000000011101 000000011110 000000011111
"""
_MODES = {"0001": PASS, "001": HORIZONTAL, "1": 3, "011": 4, "000011": 5, "0000011": 6, "010": 2, "000010": 1, "0000010": 0}


@cache
def tables() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """By the bits to come, what they mean times 16 and how many they are: (colours, 2^LONGEST) lengths of runs, (2^LONGEST_MODE) modes."""
    lengths = [*range(64), *range(64, 2561, 64)]
    runs = [dict(zip((codes + _LONG).split(), lengths, strict=True)) for codes in (_WHITE, _BLACK)]
    return np.stack([_table(codes, LONGEST) for codes in runs]), _table(_MODES, LONGEST_MODE)


def _table(codes: dict[str, int], bits: int) -> npt.NDArray[np.int64]:
    table = np.full(1 << bits, -1, np.int64)
    for code, meaning in codes.items():
        first = int(code, 2) << (bits - len(code))
        table[first : first + (1 << (bits - len(code)))] = meaning * 16 + len(code)
    return table


@compiled
def peeked(data: Any, at: Any, bits: Any) -> Any:
    """At most 16 bits from this one on; zeros behind the end."""
    k, value = at >> 3, 0
    for ahead in range(3):
        value = (value << 8) | (int(data[k + ahead]) if k + ahead < len(data) else 0)
    return (value >> (24 - (at & 7) - bits)) & ((1 << bits) - 1)


@compiled
def run_of(data: Any, at: Any, table: Any, most: Any) -> Any:
    """The length of a run and where its code ends; -1 where there is none, or it is longer than this."""
    total = 0
    while True:
        entry = table[peeked(data, at, LONGEST)]
        if entry < 0:
            return -1, at
        at += entry & 15
        total += entry >> 4
        if total > most:
            return -1, at
        if entry >> 4 < 64:
            return total, at


@compiled
def unpacked_fax(data: Any, kind: Any, runs: Any, modes: Any, out: Any) -> Any:
    """Writes to out: (rows, width), 1 where it is black. Returns how it ended, after as many rows as out has."""
    width, end = out.shape[1], 8 * len(data)
    above, now = np.full(width + 3, width, np.int64), np.full(width + 3, width, np.int64)  # where the colour changes; width behind the last
    at = 0
    for y in range(len(out)):
        in_two = kind == T6
        if kind == ALIGNED:
            at = (at + 7) & ~7
        elif kind != T6:
            ahead = at
            while ahead < end and peeked(data, ahead, 1) == 0:
                ahead += 1
            if ahead - at >= 11:  # an end of line, which stands in front of each
                at = ahead + 1
                if kind == T4_IN_TWO:
                    in_two = peeked(data, at, 1) == 0
                    at += 1
            elif kind == T4_IN_TWO:
                return UNKNOWN_CODE
        here, colour, many, b = -1, 0, 0, 0  # the pixel that is reached, its colour, changes so far, the place in `above`
        while here < width:
            first, second, mode = here, -1, HORIZONTAL  # where the colour changes next, and after that
            if in_two:
                entry = modes[peeked(data, at, LONGEST_MODE)]
                if entry < 0 or at >= end:
                    return RAN_OUT if at >= end else UNKNOWN_CODE
                at += entry & 15
                mode = entry >> 4
                if (b & 1) != colour:
                    b += 1 if b == 0 else -1
                while above[b] <= here and above[b] < width:
                    b += 2
                if mode == PASS:
                    here = above[b + 1] if above[b] < width else width
                    continue
                if mode != HORIZONTAL:
                    first = above[b] + mode - VERTICAL
                    if first <= here or first > width:
                        return UNKNOWN_CODE
            if mode == HORIZONTAL:
                start = max(here, 0)
                length, at = run_of(data, at, runs[colour], width - start)
                if length < 0:
                    return RAN_OUT if at >= end else UNKNOWN_CODE
                first = start + length
                if in_two or first < width:
                    length, at = run_of(data, at, runs[1 - colour], width - first)
                    if length < 0:
                        return RAN_OUT if at >= end else UNKNOWN_CODE
                    second = first + length
            if at > end:
                return RAN_OUT
            for place in (first, second):
                if place < 0:
                    continue
                if many and now[many - 1] == place:  # a run of no pixels
                    many -= 1
                else:
                    now[many] = place
                    many += 1
                colour = 1 - colour
                here = place
        while many and now[many - 1] >= width:
            many -= 1
        now[many:] = width
        for k in range(0, many, 2):
            out[y, now[k] : now[k + 1]] = 1
        above, now = now, above
    return end_of(data, at, kind)


@compiled
def end_of(data: Any, at: Any, kind: Any) -> Any:
    """Whether nothing follows but ends of line, at most 7, and less than 64 bits of zeros: ENDED or TOO_MUCH."""
    end = 8 * len(data)
    if kind == ALIGNED:
        at = (at + 7) & ~7
    for _ in range(7):
        ahead = at
        while ahead < end and peeked(data, ahead, 1) == 0:
            ahead += 1
        if ahead == end:
            return ENDED if end - at < 64 else TOO_MUCH
        if ahead - at < 11 or kind == ALIGNED:
            return TOO_MUCH
        at = ahead + 1 + (1 if kind == T4_IN_TWO else 0)
    return ENDED if at >= end else TOO_MUCH
