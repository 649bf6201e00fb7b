"""What the segments of a JPEG say of its scans: the frame, its components, Huffman codes (ITU-T T.81, annex B)."""

import struct
from dataclasses import dataclass, field
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


@dataclass
class Codes:
    """Huffman codes as they stand at a scan, as `Scan` has them. A table that was not given has none."""

    symbols: list[npt.NDArray[np.int32]] = field(default_factory=lambda: [np.full(1 << LOOKED_AT, -1, np.int32)] * (2 * TABLES))
    codes: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((2 * TABLES, 256), np.int64))
    lengths: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((2 * TABLES, 256), np.int64))

    def define(self, body: bytes) -> None:
        """As a segment DHT says. Raises Unfit."""
        at = 0
        while at < len(body):
            require_fit(len(body) >= at + 17 and body[at] >> 4 <= 1 and body[at] & 15 < TABLES)
            which, counts = (body[at] >> 4) * TABLES | body[at] & 15, body[at + 1 : at + 17]
            values = body[at + 17 : at + 17 + sum(counts)]
            require_fit(len(values) == sum(counts) and len(set(values)) == len(values))
            symbols = np.full(1 << LOOKED_AT, -1, np.int32)
            self.codes, self.lengths = self.codes.copy(), self.lengths.copy()
            self.codes[which], self.lengths[which] = 0, 0
            code, k = 0, 0
            for length, count in enumerate(counts, 1):
                for value in values[k : k + count]:
                    require_fit(code < 1 << length)
                    symbols[code << (LOOKED_AT - length) : (code + 1) << (LOOKED_AT - length)] = length << 8 | value
                    self.codes[which, value], self.lengths[which, value] = code, length
                    code += 1
                k += count
                code <<= 1
            self.symbols = [*self.symbols[:which], symbols, *self.symbols[which + 1 :]]
            at += 17 + len(values)


class Header(NamedTuple):
    """Of a scan: what its segment and those before say. blocks: that it goes through."""

    layout: tuple[tuple[int, int, int, int], ...]
    size: tuple[int, int]
    first: int
    last: int
    high: int
    low: int
    progressive: bool
    interval: int
    tables: tuple[tuple[int, int], ...]
    symbols: list[npt.NDArray[np.int32]]
    codes: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    @property
    def blocks(self) -> int:
        return self.size[0] * self.size[1] * sum(wide * high for _, _, wide, high in self.layout)

    def scan(self) -> Scan:
        """For the kernels."""
        return Scan(
            np.array(self.layout, np.int64),
            self.size,
            self.first,
            self.last,
            self.high,
            self.low,
            self.progressive,
            self.interval,
            np.stack(self.symbols),
            self.codes,
            self.lengths,
            np.array(self.tables, np.int64),
        )


def header_of(body: bytes, frame: Frame, codes: Codes, interval: int) -> Header:
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
    return Header(layout, size, first, last, high, low, frame.progressive, interval, tables, codes.symbols, codes.codes, codes.lengths)
