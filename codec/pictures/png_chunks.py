"""PNG files as sequences of chunks (ISO/IEC 15948)."""

import struct
import zlib
from collections.abc import Iterator

from bitstream.form import Form
from bitstream.metadata import Chunks

SIGNATURE = b"\x89PNG\r\n\x1a\n"
ANIMATION = {b"acTL", b"fcTL", b"fdAT"}


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
