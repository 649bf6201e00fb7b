"""The envelope: files of versions 1 to 4, which hold the samples, and around them what makes a picture of these."""

import hashlib
import io
import itertools
import zlib
from collections.abc import Sequence
from typing import IO, NamedTuple

from bitstream.constants import ENVELOPE_DIGEST_BYTES, ENVELOPE_VERSION, MAGIC, MAX_CHUNK_BYTES, MAX_VARINT_BYTES
from bitstream.container import largest_file
from bitstream.errors import DamagedError, UnsupportedImageError
from bitstream.form import CHANNELS, DEPTHS
from bitstream.header import Header, read_header
from bitstream.reader import Reader, varint

Chunks = tuple[tuple[bytes, bytes], ...]  # names and bodies
NAME_BYTES = 4
MOST_CHUNKS = 1 << 16
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE)
TRIED_BYTES = 1 << 20  # of what is larger, only the first


class Envelope(NamedTuple):
    """colour, depth: a PNG's colour type and bits per sample; chunks: a PNG's, in their order; parts: files with their beginning.

    levels: for samples of 16 bits, what the parts' samples stand for, in ascending order; empty: themselves.
    """

    colour: int
    depth: int
    chunks: Chunks
    parts: tuple[bytes, ...]
    levels: tuple[int, ...] = ()


def mode_of(colour: int, depth: int) -> str:
    """Pillow's mode of such samples; of those of 16 bits it has none but "I;16"."""
    return {(0, 1): "1", (0, 16): "I;16"}.get((colour, depth)) or {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}[colour]


def is_envelope(data: bytes) -> bool:
    return data[: len(MAGIC)] == MAGIC and data[len(MAGIC) : len(MAGIC) + 1] == bytes([ENVELOPE_VERSION])


def write_envelope(envelope: Envelope) -> bytes:
    """Raises UnsupportedImageError where the chunks are too many."""
    raw = b"".join(name + varint(len(body)) + body for name, body in envelope.chunks)
    if len(raw) > MAX_CHUNK_BYTES:
        msg = f"its metadata have {len(raw):,} bytes, more than the limit of {MAX_CHUNK_BYTES:,}: leave them out with --strip"
        raise UnsupportedImageError(msg)
    try:
        _chunks(raw, envelope.colour)
    except DamagedError as error:
        msg = f"its chunks cannot be kept: {str(error).partition(': ')[2]}; --strip leaves most of them out"
        raise UnsupportedImageError(msg) from error
    packed = deflated(raw) if raw else b""
    parts = [varint(len(part) - len(MAGIC)) + part[len(MAGIC) :] for part in envelope.parts]
    head = MAGIC + bytes((ENVELOPE_VERSION, envelope.colour, envelope.depth, len(parts)))
    levels = packed_levels(envelope.levels) if envelope.depth == 16 else b""
    data = b"".join([head, *parts, levels, varint(len(raw)), varint(len(packed)), packed])
    return data + hashlib.sha256(data).digest()[:ENVELOPE_DIGEST_BYTES]


def read_envelope(data: bytes) -> Envelope:
    """Raises DamagedError."""
    reader = Reader(data, "the envelope")
    reader.take(len(MAGIC) + 1)
    colour, depth, count = (reader.byte() for _ in range(3))
    parts = tuple(MAGIC + reader.take(reader.varint()) for _ in range(min(count, 3)))
    levels = (reader.varint(), reader.take(reader.varint())) if depth == 16 else (0, b"")
    raw_bytes, packed_bytes = reader.varint(), reader.varint()
    packed = reader.take(packed_bytes)
    end = reader.position
    if reader.take(ENVELOPE_DIGEST_BYTES) != hashlib.sha256(data[:end]).digest()[:ENVELOPE_DIGEST_BYTES]:
        msg = "the file is damaged: its digest does not match"
        raise DamagedError(msg)
    _require(not reader.remaining, f"{reader.remaining} bytes follow its end")
    _require(depth in DEPTHS.get(colour, ()), f"colour type {colour} with {depth} bits is unknown")
    _require(count == 1 or (count == 2 and colour in (4, 6)), f"colour type {colour} does not go with {count} parts")
    return Envelope(colour, depth, _chunks(_inflated(packed, raw_bytes), colour), parts, _levels(*levels))


def first_header(data: bytes) -> Header:
    """Of the first part of an envelope, of which `data` is the beginning. Raises as `read_header`."""
    reader = Reader(data, "the envelope")
    reader.take(len(MAGIC) + 4)
    reader.varint()
    return read_header(Reader(MAGIC + bytes(reader.data[reader.position :]), "the header"), enclosed=True)


def chunks_in(stream: IO[bytes]) -> Chunks:
    """Of an envelope, of which nothing else is read but the lengths in front of them. Raises DamagedError or TruncatedError.

    The envelope's digest is left to `read_envelope`; chunks have a checksum of their own.
    """
    stream.seek(0, io.SEEK_END)
    end, at = stream.tell(), len(MAGIC) + 1

    def taken(most: int) -> Reader:
        """What follows, so many bytes at most."""
        stream.seek(min(at, end))
        return Reader(stream.read(most), "the envelope")

    def number() -> int:
        nonlocal at
        reader = taken(MAX_VARINT_BYTES)
        value = reader.varint()
        at += reader.position
        return value

    colour, depth, count = taken(3).take(3)
    at += 3
    for k in range(min(count, 3) + (depth == 16)):
        if k == count:
            number()  # of levels
        size = number()
        at += size
    raw_bytes, packed_bytes = number(), number()
    _require(max(raw_bytes, packed_bytes - (packed_bytes >> 8)) <= MAX_CHUNK_BYTES, "its metadata are too large")
    return _chunks(_inflated(taken(packed_bytes).take(packed_bytes), raw_bytes), colour)


def largest_envelope(header: Header) -> int:
    """A bound on the size in bytes of an envelope whose first part has this header."""
    return 2 * largest_file(header) + MAX_CHUNK_BYTES + (MAX_CHUNK_BYTES >> 8)


def headers_of(envelope: Envelope) -> list[Header]:
    """Of the parts. Raises DamagedError where they do not go together."""
    headers = [read_header(Reader(part, "the header"), enclosed=True) for part in envelope.parts]
    channels = [header.channels for header in headers]
    wanted = CHANNELS[envelope.colour]
    _require(channels in ([wanted], [wanted - 1, 1]), "its parts have other channels than the picture")
    _require(len({(header.width, header.height) for header in headers}) == 1, "its parts have different sizes")
    bits = 16 if envelope.depth == 16 and not 1 <= len(envelope.levels) <= 256 else 8
    _require(all(header.bit_depth == bits for header in headers), f"its parts have other than {bits} bits")
    return headers


def packed_levels(levels: Sequence[int]) -> bytes:
    """Their number, and the steps between them as bytes, the low ones first, deflated."""
    steps = [level - before for level, before in zip(levels, (0, *levels), strict=False)]
    packed = deflated(bytes(step & 255 for step in steps) + bytes(step >> 8 for step in steps)) if steps else b""
    return varint(len(steps)) + varint(len(packed)) + packed


def deflated(raw: bytes) -> bytes:
    """The shortest of several zlib streams."""

    def by(strategy: int) -> bytes:
        compressor = zlib.compressobj(9, strategy=strategy)
        return compressor.compress(raw) + compressor.flush()

    return min(map(by, STRATEGIES if len(raw) <= TRIED_BYTES else STRATEGIES[:1]), key=len)


def _levels(count: int, packed: bytes) -> tuple[int, ...]:
    _require(count <= 1 << 16, "it has too many levels")
    raw = _inflated(packed, 2 * count)
    levels = tuple(itertools.accumulate(low + (high << 8) for low, high in zip(raw[:count], raw[count:], strict=True)))
    _require(all(a < b for a, b in itertools.pairwise(levels)) and max(levels, default=0) < 1 << 16, "its levels do not ascend")
    return levels


def _inflated(packed: bytes, size: int) -> bytes:
    _require(size <= MAX_CHUNK_BYTES, "its metadata are too large")
    if not size:
        _require(not packed, "its metadata do not inflate")
        return b""
    inflated = zlib.decompressobj()
    try:
        raw = inflated.decompress(packed, size + 1)
    except zlib.error as error:
        msg = "the file is damaged: its metadata do not inflate"
        raise DamagedError(msg) from error
    _require(len(raw) == size and inflated.eof and not inflated.unused_data, "its metadata do not inflate")
    return raw


def _chunks(raw: bytes, colour: int) -> Chunks:
    reader, chunks = Reader(raw, "the metadata"), []
    while reader.remaining:
        name = reader.take(NAME_BYTES)
        _require(name.isalpha() and name not in (b"IHDR", b"IEND"), f"a chunk {name!r} has no place here")
        chunks.append((name, reader.take(reader.varint())))
        _require(len(chunks) <= MOST_CHUNKS, "its metadata are too many")
    names = [name for name, _ in chunks]
    pixels = [body for name, body in chunks if name == b"IDAT"]
    _require(pixels in ([], [b""]), "its pixels are in the wrong place")
    palettes = [len(body) for name, body in chunks if name == b"PLTE"]
    _require(len(palettes) == 1 if colour == 3 else len(palettes) <= 1, "its palette is missing")
    _require(all(0 < size <= 768 and size % 3 == 0 for size in palettes), "its palette has a wrong size")
    _require(names.index(b"PLTE") < names.index(b"IDAT") if colour == 3 and pixels else True, "its palette is in the wrong place")
    return tuple(chunks)


def _require(holds: bool, what: str) -> None:
    if not holds:
        msg = f"the file is damaged: {what}"
        raise DamagedError(msg)
