"""Outliers <-> bytes: the pixels that a past does not give, as gaps and corrections in byte planes, deflated."""

import zlib

import numpy as np
import numpy.typing as npt

from bitstream.constants import MAX_VARINT_BYTES
from bitstream.errors import DamagedError
from bitstream.reader import Reader, varint

Positions = npt.NDArray[np.int64]  # ascending
Corrections = npt.NDArray[np.uint8]  # (n, 3)

OUTLIER_BYTES = 4 + 3  # a gap and three corrections


def _largest_raw(count: int) -> int:
    return MAX_VARINT_BYTES + count * OUTLIER_BYTES


def pack(positions: Positions, corrections: Corrections) -> bytes:
    """The payload of a file's outliers; empty where there are none."""
    if not len(positions):
        return b""
    gaps = (np.diff(positions, prepend=-1) - 1).astype("<u4")
    raw = varint(len(positions)) + gaps.view(np.uint8).reshape(-1, 4).T.tobytes() + corrections.T.tobytes()
    return zlib.compress(raw, 9)


def unpack(payload: bytes, pixels: int, most: int) -> tuple[Positions, Corrections]:
    """The inverse, for a picture of so many pixels and at most so many outliers, of which there are some. Raises DamagedError."""
    deflated = zlib.decompressobj()
    try:
        raw = deflated.decompress(payload, _largest_raw(most) + 1)
    except zlib.error as error:
        msg = "the outliers are damaged: they do not inflate"
        raise DamagedError(msg) from error
    reader = Reader(raw, "the outliers")
    count = reader.varint()
    if not 1 <= count <= most or not deflated.eof or deflated.unused_data:
        msg = "the outliers are damaged: their number or length is wrong"
        raise DamagedError(msg)
    gaps = np.frombuffer(reader.take(4 * count), np.uint8).reshape(4, count).T.copy().view("<u4")[:, 0]
    positions = np.cumsum(gaps.astype(np.int64) + 1) - 1
    corrections = np.frombuffer(reader.take(3 * count), np.uint8).reshape(3, count).T
    if reader.remaining or positions[-1] >= pixels:
        msg = "the outliers are damaged: they reach beyond the picture"
        raise DamagedError(msg)
    return positions, corrections
