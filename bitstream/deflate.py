"""Bytes, packed: as they are, or where that is shorter as a raw deflate stream (RFC 1951)."""

import zlib

from bitstream.container import require
from bitstream.errors import DamagedError

STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)
TRIED_BYTES = 1 << 20  # of what is larger, only the first
RAW = -15  # zlib's window bits


def packed(raw: bytes, dictionary: bytes = b"") -> bytes:
    """Which of both it is, their sizes tell."""
    found = deflated(raw, dictionary)
    return found if len(found) < len(raw) else raw


def unpacked(body: bytes, size: int, dictionary: bytes = b"") -> bytes:
    """The inverse, of so many bytes. Raises DamagedError where they are others."""
    require(len(body) <= size, "a part of it is longer than it should be")
    return body if len(body) == size else inflated(body, size, dictionary)


def deflated(raw: bytes, dictionary: bytes = b"") -> bytes:
    """The shortest of several streams."""

    def by(strategy: int) -> bytes:
        compressor = zlib.compressobj(9, zlib.DEFLATED, RAW, 9, strategy, dictionary)
        return compressor.compress(raw) + compressor.flush()

    return min(map(by, STRATEGIES if len(raw) <= TRIED_BYTES else STRATEGIES[:1]), key=len)


def inflated(body: bytes, size: int, dictionary: bytes = b"") -> bytes:
    """The `size` bytes that were deflated. Raises DamagedError where there are others, or where anything follows the stream."""
    decompressor = zlib.decompressobj(RAW, dictionary)
    try:
        raw = decompressor.decompress(body, size + 1)
    except zlib.error as error:
        msg = "the file is damaged: a part of it does not inflate"
        raise DamagedError(msg) from error
    ended = decompressor.eof and not decompressor.unused_data
    require(len(raw) == size and ended, "a part of it does not inflate to what it should")
    return raw
