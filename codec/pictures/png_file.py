"""PNG files as sequences of chunks (ISO/IEC 15948): what is read of them beside the pixels, and how they are written, at every bit depth.

Pillow neither keeps all chunks nor writes all depths.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bitstream.envelope import Chunks
from bitstream.form import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Form

SIGNATURE = b"\x89PNG\r\n\x1a\n"
ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
FILTERED_BYTES = 1 << 22  # at once
LARGEST_IDAT = 1 << 20

Samples = npt.NDArray[np.uint8]


MEANINGFUL = [
    Form(colour, depth) for colour in (GREY, RGB, GREY_ALPHA, RGB_ALPHA) for depth in (8, 16)
]  # samples that are brightnesses, not indices


def chunks_of(data: bytes) -> tuple[Form, Chunks]:
    """The form of a PNG, and its chunks between IHDR and IEND, where one empty IDAT stands for the pixels. Raises ValueError."""
    found: list[tuple[bytes, bytes]] = []
    for name, body, _ in chunks_in(data):
        if name != b"IDAT":
            found.append((name, bytes(body)))
        elif (name, b"") not in found[-1:]:
            found.append((name, b""))
    return Form(data[25], data[24]), tuple(found[1:-1])


def chunks_in(data: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """(name, body, where it ends) of each chunk from IHDR to IEND. Raises ValueError."""
    view, at = memoryview(data), len(SIGNATURE)
    if data[:at] != SIGNATURE:
        msg = "it is no PNG"
        raise ValueError(msg)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        if end > len(data):
            break
        if int.from_bytes(data[end - 4 : end], "big") != zlib.crc32(view[at + 4 : end - 4]) or not name.isalpha():
            msg = f"its chunk {name!r} is damaged"
            raise ValueError(msg)
        yield name, view[at + 8 : end - 4], end
        if name == b"IEND":
            return
        at = end
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
