"""What the segments of a JPEG say of its scans: the frame, its components, Huffman codes (ITU-T T.81, annex B)."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codec.jpeg.entropy import Scan

PROGRESSIVE = 0xC2
FRAMES = (0xC0, 0xC1, PROGRESSIVE)  # baseline, extended sequential and progressive, with Huffman codes
MOST_COMPONENTS = 4
MOST_SAMPLING = 4
MCU_BLOCKS = 10  # at most
TABLES = 4  # of a kind
LOOKED_AT = 16  # bits, the longest code


class Component(NamedTuple):
    """identity: in the file; across, down: its sampling; wide, high: blocks that show something; stride, rows: blocks with those that fill
    up MCUs; first: of its blocks among all; steps: the number of its quantisation table."""

    identity: int
    across: int
    down: int
    wide: int
    high: int
    stride: int
    rows: int
    first: int
    steps: int


class Frame(NamedTuple):
    """width, height: in pixels; bits: of a sample, 8 or 12."""

    width: int
    height: int
    bits: int
    progressive: bool
    components: tuple[Component, ...]

    @property
    def blocks(self) -> int:
        return sum(c.stride * c.rows for c in self.components)

    @property
    def mcus(self) -> tuple[int, int]:
        """Across and down."""
        across, down = (max(c[k] for c in self.components) for k in (1, 2))
        return _parts(self.width, 8 * across), _parts(self.height, 8 * down)


class Unfit(Exception):
    """What stands there cannot be taken apart."""


def require_fit(holds: bool) -> None:
    """Raises Unfit."""
    if not holds:
        raise Unfit


def _parts(whole: int, size: int) -> int:
    """Of this size, the last of which may be smaller."""
    return -(-whole // size)


def frame_of(marker: int, body: bytes) -> Frame:
    """Of a segment with one of FRAMES. Raises Unfit."""
    require_fit(len(body) >= 6)
    bits, height, width, count = struct.unpack(">BHHB", body[:6])
    require_fit(bits in (8, 12) and height > 0 and width > 0 and 1 <= count <= MOST_COMPONENTS and len(body) == 6 + 3 * count)
    sampled = [(body[6 + 3 * k], body[7 + 3 * k] >> 4, body[7 + 3 * k] & 15, body[8 + 3 * k]) for k in range(count)]
    possible = range(1, MOST_SAMPLING + 1)
    require_fit(all(across in possible and down in possible and steps < TABLES for _, across, down, steps in sampled))
    require_fit(len({identity for identity, *_ in sampled}) == count)
    most_across, most_down = (max(s[k] for s in sampled) for k in (1, 2))
    columns, rows = _parts(width, 8 * most_across), _parts(height, 8 * most_down)
    components, first = [], 0
    for identity, across, down, steps in sampled:
        wide, high = _parts(_parts(width * across, most_across), 8), _parts(_parts(height * down, most_down), 8)
        components.append(Component(identity, across, down, wide, high, columns * across, rows * down, first, steps))
        first += columns * across * rows * down
    return Frame(width, height, bits, marker == PROGRESSIVE, tuple(components))


class Codes(NamedTuple):
    """Huffman codes. counts: (16,), how many there are of each length; values: symbols in the order of their codes."""

    counts: bytes
    values: bytes

    def fill(self, symbols: npt.NDArray[np.int32], codes: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> None:
        """What `Scan` has of one table."""
        code, values = 0, iter(self.values)
        for length, count in enumerate(self.counts, 1):
            for _ in range(count):
                value = next(values)
                symbols[code << (LOOKED_AT - length) : (code + 1) << (LOOKED_AT - length)] = length << 8 | value
                codes[value], lengths[value] = code, length
                code += 1
            code <<= 1


NO_CODES = (Codes(bytes(LOOKED_AT), b""),) * (2 * TABLES)  # tables for DC and then AC, before any is given


def defined(codes: Sequence[Codes], body: bytes) -> Sequence[Codes]:
    """Tables for DC and then AC, with those of a segment DHT. Raises Unfit."""
    found, at = [*codes], 0
    for _ in range(2 * TABLES):
        if at == len(body):
            break
        require_fit(len(body) > at + LOOKED_AT and body[at] >> 4 <= 1 and body[at] & 15 < TABLES)
        counts = body[at + 1 : at + 1 + LOOKED_AT]
        values = body[at + 1 + LOOKED_AT : at + 1 + LOOKED_AT + sum(counts)]
        require_fit(len(values) == sum(counts) and len(set(values)) == len(values))
        code = 0
        for length, count in enumerate(counts, 1):
            code = 2 * code + count  # the first one that is not taken
            require_fit(code <= 1 << length)
        found[(body[at] >> 4) * TABLES | body[at] & 15] = Codes(counts, values)
        at += 1 + LOOKED_AT + len(values)
    require_fit(at == len(body))
    return found


class Header(NamedTuple):
    """Of a scan: what its segment and those before say. tables: of each component, its tables for DC and AC, among `codes`."""

    layout: tuple[tuple[int, int, int, int], ...]
    size: tuple[int, int]
    first: int
    last: int
    high: int
    low: int
    progressive: bool
    interval: int
    tables: tuple[tuple[int, int], ...]
    codes: Sequence[Codes]

    @property
    def blocks(self) -> int:
        """That it goes through."""
        return self.size[0] * self.size[1] * sum(wide * high for _, _, wide, high in self.layout)

    def scan(self) -> Scan:
        """For the kernels."""
        symbols = np.full((2 * TABLES, 1 << LOOKED_AT), -1, np.int32)
        codes, lengths = np.zeros((2, 2 * TABLES, 256), np.int64)
        for table in {table for both in self.tables for table in both}:
            self.codes[table].fill(symbols[table], codes[table], lengths[table])
        return Scan(
            np.array(self.layout, np.int64),
            self.size,
            self.first,
            self.last,
            self.high,
            self.low,
            self.progressive,
            self.interval,
            symbols,
            codes,
            lengths,
            np.array(self.tables, np.int64),
        )


def header_of(body: bytes, frame: Frame, codes: Sequence[Codes], interval: int) -> Header:
    """Of a segment SOS. Raises Unfit."""
    count = body[0] if body else 0
    require_fit(1 <= count <= MOST_COMPONENTS and len(body) == 4 + 2 * count)
    by_identity = {c.identity: c for c in frame.components}
    chosen = [by_identity[body[1 + 2 * k]] for k in range(count) if body[1 + 2 * k] in by_identity]
    require_fit(len(set(chosen)) == count)
    first, last, high, low = body[-3], body[-2], body[-1] >> 4, body[-1] & 15
    if frame.progressive:
        require_fit(first <= last <= 63 and (first == 0) == (last == 0) and (first == 0 or count == 1) and low <= 13)
        require_fit(high in (0, low + 1))
    else:
        require_fit((first, last, high, low) == (0, 63, 0, 0))
    tables = tuple((body[2 + 2 * k] >> 4, TABLES + (body[2 + 2 * k] & 15)) for k in range(count))
    require_fit(all(dc < TABLES and ac < 2 * TABLES for dc, ac in tables))
    layout: tuple[tuple[int, int, int, int], ...]
    if count == 1:
        layout, size = ((chosen[0].first, chosen[0].stride, 1, 1),), (chosen[0].wide, chosen[0].high)
    else:
        require_fit(sum(c.across * c.down for c in chosen) <= MCU_BLOCKS)
        layout, size = tuple((c.first, c.stride, c.across, c.down) for c in chosen), frame.mcus
    return Header(layout, size, first, last, high, low, frame.progressive, interval, tables, codes)
