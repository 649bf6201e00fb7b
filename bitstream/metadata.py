"""stub"""

import zlib

from bitstream.errors import DamagedError
from bitstream.reader import Reader, varint

Chunks = tuple[tuple[bytes, bytes], ...]
NAME_BYTES = 4
MOST_CHUNKS = 1 << 16


def deflated(raw: bytes, dictionary: bytes = b"") -> bytes:
    c = zlib.compressobj(9, wbits=-15)
    return c.compress(raw) + c.flush()


def inflated(body: bytes, size: int, dictionary: bytes = b"") -> bytes:
    try:
        return zlib.decompress(body, -15)
    except zlib.error as e:
        raise DamagedError("x") from e


def pack(chunks: Chunks, colour: int) -> bytes:
    raw = b"".join(n + varint(len(b)) + b for n, b in chunks)
    return varint(len(raw)) + deflated(raw)


def unpack(body: bytes, colour: int) -> Chunks:
    r = Reader(body, "metadata")
    n = r.varint()
    raw = Reader(inflated(r.take(r.remaining), n), "m")
    out = []
    while raw.remaining:
        out.append((raw.take(4), raw.take(raw.varint())))
    return tuple(out)
