"""Outliers <-> bytes: the pixels that a past does not give, as gaps and corrections in byte planes, packed."""

import numpy as np
import numpy.typing as npt

from bitstream.container import require
from bitstream.deflate import packed, unpacked
from bitstream.reader import Reader, varint

Positions = npt.NDArray[np.int64]  # ascending
Corrections = npt.NDArray[np.uint8]  # (n, 3)

OUTLIER_BYTES = 4 + 3  # a gap and three corrections


def pack(positions: Positions, corrections: Corrections) -> bytes:
    """The payload of a file's outliers; empty where there are none."""
    if not len(positions):
        return b""
    gaps = (np.diff(positions, prepend=-1) - 1).astype("<u4")
    return varint(len(positions)) + packed(gaps.view(np.uint8).reshape(-1, 4).T.tobytes() + corrections.T.tobytes())


def unpack(payload: bytes, pixels: int, most: int) -> tuple[Positions, Corrections]:
    """The inverse, for a picture of so many pixels and at most so many outliers, of which there are some. Raises DamagedError."""
    reader = Reader(payload, "the outliers")
    count = reader.varint()
    require(1 <= count <= most, f"it cannot have {count} outliers")
    raw = np.frombuffer(unpacked(reader.take(reader.remaining), OUTLIER_BYTES * count), np.uint8)
    gaps = raw[: 4 * count].reshape(4, count).T.copy().view("<u4")[:, 0]
    positions = np.cumsum(gaps.astype(np.int64) + 1) - 1
    require(int(positions[-1]) < pixels, "its outliers reach beyond the picture")
    return positions, raw[4 * count :].reshape(3, count).T
