"""The metadata of a picture: the chunks that a PNG file of it has between IHDR and IEND."""

from bitstream.reader import Reader

Chunks = tuple[tuple[bytes, bytes], ...]  # names and bodies
NAME_BYTES = 4
MOST_CHUNKS = 1 << 16


def raw_bytes(body: bytes) -> int:
    """How many bytes the metadata in the body of a box have, unpacked."""
    return Reader(body, "the metadata").varint()
