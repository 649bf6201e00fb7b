"""PNG files as sequences of chunks (ISO/IEC 15948): what is read of them beside the pixels, and how they are written, at every bit depth.

Pillow decodes the pixels; it neither keeps all chunks nor writes all depths.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bitstream.envelope import CHANNELS, DEPTHS, Chunks

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # colour types
ALPHA = (GREY_ALPHA, RGB_ALPHA)
ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]  # row, column, steps of Adam7
FILTERED_BYTES = 1 << 22  # at once
LARGEST_IDAT = 1 << 20

Samples = npt.NDArray[np.uint8]


class Form(NamedTuple):
    """What the header says: colour type and bits per sample."""

    colour: int
    depth: int

    @property
    def channels(self) -> int:
        return CHANNELS[self.colour]

    @property
    def step(self) -> int:
        """Bytes from a sample to the same of the next pixel, at least 1."""
        return max(1, self.channels * self.depth // 8)

    @property
    def kept(self) -> bool:
        return self.depth in DEPTHS.get(self.colour, ())


MEANINGFUL = [
    Form(colour, depth) for colour in (GREY, RGB, GREY_ALPHA, RGB_ALPHA) for depth in (8, 16)
]  # samples that are brightnesses, not indices


def chunks_of(data: bytes) -> tuple[Form, Chunks]:
    """The form of a PNG, and its chunks between IHDR and IEND, where one empty IDAT stands for the pixels. Raises ValueError."""
    if len(data) < 33 or data[:8] != SIGNATURE or data[12:16] != b"IHDR":
        msg = "it is no PNG"
        raise ValueError(msg)
    found: list[tuple[bytes, bytes]] = []
    seen = False
    for name, body in _chunks(data):
        if name == b"IDAT":
            if not seen:
                found.append((name, b""))
            seen = True
        elif name not in (b"IHDR", b"IEND"):
            found.append((name, body))
    return Form(data[25], data[24]), tuple(found)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        name, body, crc = data[at + 4 : at + 8], data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        if len(body) < length or int.from_bytes(crc, "big") != zlib.crc32(name + body):
            msg = f"its chunk {name!r} is damaged"
            raise ValueError(msg)
        yield name, body
        if name == b"IEND":
            return
        at += 12 + length
    msg = "it is truncated"
    raise ValueError(msg)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def written(samples: Samples, form: Form, chunks: Chunks) -> bytes:
    """A PNG of (height, width, channels) samples, not interlaced."""
    height, width, _ = samples.shape
    parts = [SIGNATURE, chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, form.depth, form.colour, 0, 0, 0))]
    for name, body in chunks if (b"IDAT", b"") in chunks else (*chunks, (b"IDAT", b"")):
        parts += _pixels(samples, form) if name == b"IDAT" else [chunk(name, body)]
    return b"".join([*parts, chunk(b"IEND", b"")])


def _pixels(samples: Samples, form: Form) -> list[bytes]:
    """The IDAT chunks."""
    height, width, channels = samples.shape
    whole = form.depth >= 8 and form.colour != PALETTE
    row_bytes = -(-width * channels * form.depth // 8)
    before = np.zeros(row_bytes, np.uint8)
    strategy = zlib.Z_FILTERED if whole else zlib.Z_DEFAULT_STRATEGY
    compressor, packed = zlib.compressobj(6, memLevel=9, strategy=strategy), b""
    parts = []
    rows = max(1, FILTERED_BYTES // row_bytes)
    for first in range(0, height, rows):
        now = rows_of(samples[first : first + rows], form.depth)
        packed += compressor.compress(_filtered(now, before, form.step) if whole else np.pad(now, ((0, 0), (1, 0))).tobytes())
        before = now[-1]
        while len(packed) > LARGEST_IDAT:
            parts.append(chunk(b"IDAT", packed[:LARGEST_IDAT]))
            packed = packed[LARGEST_IDAT:]
    return [*parts, chunk(b"IDAT", packed + compressor.flush())]


def rows_of(samples: Samples, depth: int) -> Samples:
    """Samples as the bytes of rows, several in a byte where they are small."""
    height, width, channels = samples.shape
    flat = samples.reshape(height, width * channels)
    if depth == 16:
        return flat.astype(">u2").view(np.uint8)
    if depth == 8:
        return flat
    bits = np.unpackbits(flat[..., None], axis=-1)[..., 8 - depth :]
    return np.packbits(bits.reshape(height, -1), axis=-1)


def _filtered(rows: Samples, before: Samples, step: int) -> bytes:
    """Rows of bytes, each behind the number of the filter with the least sum of absolute differences; before: the row above them."""
    now = rows.astype(np.int16)
    up = np.concatenate([before[None], rows[:-1]]).astype(np.int16)
    left, corner = (np.pad(x, ((0, 0), (step, 0)))[:, :-step] for x in (now, up))
    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    nearest_up = np.where(to_up <= to_corner, up, corner)
    paeth = np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest_up)
    predictions = (np.zeros_like(now), left, up, (left + up) >> 1, paeth)
    ways = np.stack([(now - prediction).astype(np.uint8) for prediction in predictions])
    costs = np.minimum(ways, -ways).sum(-1, dtype=np.int64)  # (filters, rows)
    best = costs.argmin(0)
    chosen = ways[best, np.arange(len(rows))]
    return np.concatenate([best.astype(np.uint8)[:, None], chosen], 1).tobytes()


def deep_samples(data: bytes, size: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """The samples of a PNG of 16 bits and this (width, height), (height, width, channels). Raises ValueError."""
    from codec.unfilter import unfilter

    form, interlaced = Form(data[25], data[24]), data[28]
    width, height = size
    passes = PASSES if interlaced else [(0, 0, 1, 1)]
    sizes = [(-(-(height - y) // down), -(-(width - x) // across)) for y, x, down, across in passes]
    expected = sum(rows * (1 + columns * form.step) for rows, columns in sizes if rows > 0 and columns > 0)
    inflated = zlib.decompressobj()
    try:
        raw = inflated.decompress(b"".join(body for name, body in _chunks(data) if name == b"IDAT"), expected)
    except zlib.error as error:
        msg = "its pixels do not inflate"
        raise ValueError(msg) from error
    if len(raw) < expected:
        msg = "its pixels are truncated"
        raise ValueError(msg)
    samples = np.empty((height, width, form.channels), np.uint16)
    at = 0
    for (y, x, down, across), (rows, columns) in zip(passes, sizes, strict=True):
        if rows > 0 and columns > 0:
            row_bytes = columns * form.step
            lines = np.frombuffer(raw, np.uint8, rows * (1 + row_bytes), at).reshape(rows, 1 + row_bytes)
            at += lines.size
            if lines[:, 0].max() > 4:
                msg = "a row has an unknown filter"
                raise ValueError(msg)
            plain = np.zeros((rows, row_bytes), np.uint8)
            unfilter(lines, form.step, plain)
            samples[y::down, x::across] = plain.view(">u2").reshape(rows, columns, form.channels)
    return samples
