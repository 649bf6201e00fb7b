"""PNG files written (ISO/IEC 15948), at every bit depth and with every chunk, which Pillow does not."""

import struct
import zlib

import numpy as np
import numpy.typing as npt

from bitstream.form import PALETTE, Form
from bitstream.metadata import Chunks
from codec.pictures.png_chunks import SIGNATURE, chunk

FILTERED_BYTES = 1 << 22  # at once
LARGEST_IDAT = 1 << 20

Samples = npt.NDArray[np.uint8]


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
