"""The file as a whole: a header, with a past a chunk of exceptions, then one chunk per group of tiles or band of rows."""

import zlib
from collections.abc import Sequence

from bitstream.constants import CRC_BYTES, FREQUENCY_BITS, MAX_VARINT_BYTES, WORD_BYTES
from bitstream.errors import DamagedError
from bitstream.header import Header, read_header
from bitstream.outliers import largest_packed
from bitstream.reader import Reader, varint


def chunk_crc(payload: bytes, index: int, header: bytes) -> bytes:
    """CRC-32 of header, chunk index and payload in a row, so that a chunk belongs to its place in its file; 4 bytes, little endian.

    Without the header's own CRC: over data and its CRC, CRC-32 is the same for all data.
    """
    return _chunk_crc(payload, index, zlib.crc32(header[:-CRC_BYTES]))


def _chunk_crc(payload: bytes, index: int, header_crc: int) -> bytes:
    return zlib.crc32(payload, zlib.crc32(index.to_bytes(4, "little"), header_crc)).to_bytes(CRC_BYTES, "little")


def largest_file(header: Header) -> int:
    """A bound on the size in bytes of a file with this header: no token takes more than 24 bits, no group more than a few words besides.

    The bands of a drawing are hardly larger than its samples.
    """
    samples = sum(width * height for width, height in header.layers) * header.channels
    exceptions = MAX_VARINT_BYTES + CRC_BYTES + largest_packed(header.most_exceptions) if header.past else 0
    groups = header.groups * (MAX_VARINT_BYTES + CRC_BYTES + 4 * WORD_BYTES)
    return len(header.to_bytes()) + exceptions + samples * FREQUENCY_BITS // 8 + groups


def write_file(header: Header, payloads: Sequence[bytes]) -> bytes:
    """The bytes of an igpt file; `payloads` has one entry per group or band, behind the exceptions' where there is a past."""
    head = header.to_bytes()
    chunks = [varint(len(payload)) + payload + chunk_crc(payload, k, head) for k, payload in enumerate(payloads)]
    return head + b"".join(chunks)


def read_file(data: bytes, enclosed: bool = False) -> tuple[Header, list[bytes]]:
    """The header and the payloads, every checksum checked. Raises as `read_header`, and DamagedError naming the chunk."""
    reader = Reader(data, "the header")
    header = read_header(reader, enclosed)
    head = zlib.crc32(reader.data[: reader.position - CRC_BYTES])
    chunks = header.chunks
    if chunks > reader.remaining:
        reader.part = "the chunks"
        reader.take(chunks)
    payloads = []
    for k, least in enumerate(header.least_bytes()):
        reader.part = f"chunk {k + 1} of {chunks}"
        payload_bytes = reader.varint()
        if payload_bytes % WORD_BYTES and header.in_words(k):
            msg = f"{reader.part} is damaged: its length is no whole number of words"
            raise DamagedError(msg)
        if payload_bytes < least:
            msg = f"{reader.part} is damaged: {payload_bytes} bytes are too few for its pixels"
            raise DamagedError(msg)
        payload = reader.take(payload_bytes)
        if reader.take(CRC_BYTES) != _chunk_crc(payload, k, head):
            msg = f"{reader.part} is damaged: its checksum does not match"
            raise DamagedError(msg)
        payloads.append(payload)
    if reader.remaining:
        msg = f"the file is damaged: {reader.remaining} bytes follow its end"
        raise DamagedError(msg)
    return header, payloads
