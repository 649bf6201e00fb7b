"""Mutations of bytes, and of the pieces that a file is made of, with checksums that are right again."""

import hashlib
import random
import struct
import zlib

from bitstream.constants import CRC_BYTES, MAGIC
from bitstream.container import chunk_crc, read_file
from bitstream.envelope import is_envelope, packed_levels, read_envelope
from bitstream.errors import IgptError
from bitstream.header import read_header
from bitstream.reader import Reader, varint

EXTREMES = (
    *(0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 33, 64, 127, 128, 255, 256, 4095, 4096, 4097, 65535, 65536),
    *(1 << 20, (1 << 22) + 1, 1 << 24, (1 << 24) + 1, (1 << 26) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, (1 << 35) - 1),
)

Pieces = list[bytes]


def pieces_of(data: bytes) -> Pieces:
    """What a file is made of, without what `joined` computes: the first piece says of what kind it is. Of foreign formats the whole."""
    if is_envelope(data):
        envelope = read_envelope(data)
        raw = b"".join(name + varint(len(body)) + body for name, body in envelope.chunks)
        levels = packed_levels(envelope.levels)
        count = Reader(levels, "")
        steps = count.varint(), zlib.decompress(count.take(count.varint())) if envelope.levels else b""
        head = bytes((envelope.colour, envelope.depth, len(envelope.parts)))
        return [b"envelope", head, varint(steps[0]), steps[1], raw, *(part for part in envelope.parts)]
    if data.startswith(MAGIC):
        reader = Reader(data, "")
        read_header(reader, enclosed=True)
        _, payloads = read_file(data, enclosed=True)
        return [b"file", data[: reader.position - CRC_BYTES], *payloads]
    if data.startswith(b"\x89PNG"):
        chunks, at, pixels = [], 8, b""
        while at + 12 <= len(data):
            length = int.from_bytes(data[at : at + 4], "big")
            name = data[at + 4 : at + 8]
            if name == b"IDAT":
                pixels += data[at + 8 : at + 8 + length]
                if chunks[-1] != b"IDAT":
                    chunks.append(b"IDAT")
            else:
                chunks.append(data[at + 4 : at + 8 + length])
            at += 12 + length
        return [b"png", zlib.decompress(pixels), *chunks]
    return [b"other", data]


def joined(pieces: Pieces) -> bytes:
    """A file of these pieces, its checksums right."""
    kind, *rest = pieces
    if kind == b"envelope":
        head, count, steps, raw, *parts = [*rest, *[b""] * max(0, 5 - len(rest))]
        deep = head[1:2] == b"\x10"
        packed = zlib.compress(steps, 1) if steps else b""
        levels = count + varint(len(packed)) + packed if deep else b""
        chunks = zlib.compress(raw, 1) if raw else b""
        bodies = (part[len(MAGIC) :] for part in map(repaired, parts))
        data = MAGIC + b"\5" + head + b"".join(varint(len(body)) + body for body in bodies)
        data += levels + varint(len(raw)) + varint(len(chunks)) + chunks
        return data + hashlib.sha256(data).digest()[:8]
    if kind == b"file":
        head, *payloads = rest or [b""]
        head += zlib.crc32(head).to_bytes(CRC_BYTES, "little")
        return head + b"".join(varint(len(p)) + p + chunk_crc(p, k, head) for k, p in enumerate(payloads))
    if kind == b"png":
        pixels, *chunks = rest or [b""]
        parts = [name if name != b"IDAT" else b"IDAT" + zlib.compress(pixels, 1) for name in chunks]
        return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", max(0, len(p) - 4)) + p + struct.pack(">I", zlib.crc32(p)) for p in parts)
    return b"".join(rest)


def repaired(part: bytes) -> bytes:
    """A part of an envelope whose bytes were changed: with the checksums that it should have, as far as it can still be told."""
    reader = Reader(part, "")
    try:
        head = part[: header_bytes(part)]
        reader.take(len(head) + CRC_BYTES)
        payloads = []
        while reader.remaining > CRC_BYTES:
            payloads.append(reader.take(min(reader.varint(), max(0, reader.remaining - CRC_BYTES))))
            reader.take(CRC_BYTES)
    except (IgptError, IndexError):
        return part
    return joined([b"file", head, *payloads])


def header_bytes(part: bytes) -> int:
    """The length of a header without its checksum, which is not looked at."""
    reader = Reader(part, "")
    reader.take(len(MAGIC))
    version, _ = reader.byte(), reader.byte()
    reader.varint(), reader.varint(), reader.take(3)
    if version != 3:
        reader.byte(), reader.varint(), reader.take(8), reader.take(reader.byte())
    reader.take(16)
    if version == 2:
        reader.take(3), reader.varint(), reader.varint()
    elif version == 3:
        reader.varint()
    elif version == 4 and reader.byte():
        reader.take(8), reader.take(reader.byte())
    return reader.position


def mutated(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """With one change of a kind drawn by chance; other: of the same sort."""
    if not data:
        return other[: rng.randrange(len(other) + 1)]
    at = rng.randrange(len(data))
    length = min(len(data) - at, 1 << rng.randrange(7))
    value = rng.choice(EXTREMES)
    match rng.randrange(10):
        case 0:
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        case 1:
            return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        case 2:
            return data[:at] + data[at + length :]
        case 3:
            return data[:at] + rng.randbytes(length) + data[at:]
        case 4:
            return data[:at] + data[at : at + length] * rng.randrange(2, 9) + data[at + length :]
        case 5:
            return data[:at]
        case 6:
            return data[:at] + other[rng.randrange(len(other) + 1) :]
        case 7:
            size = rng.choice((1, 2, 4))
            number = (value & (1 << 8 * size) - 1).to_bytes(size, rng.choice(("little", "big")))
            return data[:at] + number + data[at + size :]
        case 8:
            end = at
            while end < len(data) - 1 and data[end] & 128 and end - at < 4:
                end += 1
            return data[:at] + varint(value) + data[end + 1 :]
        case _:
            return data[:at] + bytes([rng.choice((0, 255, 1, 127, 128))]) * length + data[at + length :]


def rearranged(pieces: Pieces, rng: random.Random, other: Pieces) -> Pieces:
    """With a piece changed, or left out, doubled, exchanged, or that of another file."""
    kind, *rest = pieces
    if not rest:
        return [kind, *other[1:]]
    k = rng.randrange(len(rest))
    match rng.randrange(12):
        case 0:
            del rest[k]
        case 1:
            rest.insert(k, rest[k])
        case 2:
            j = rng.randrange(len(rest))
            rest[j], rest[k] = rest[k], rest[j]
        case 3 if len(other) > 1:
            rest[k] = rng.choice(other[1:])
        case _:
            rest[k] = mutated(rest[k], rng, rng.choice(other[1:]) if len(other) > 1 else b"")
    return [kind, *rest]


def flat(pieces: Pieces) -> bytes:
    """As one input: the kind's initial, then each piece behind its length."""
    return pieces[0][:1] + b"".join(struct.pack("<H", len(piece)) + piece for piece in pieces[1:])


def unflat(data: bytes) -> Pieces:
    """The inverse, of anything."""
    kind = {b"e": b"envelope", b"f": b"file"}.get(data[:1], b"other")
    pieces, at = [kind], 1
    while at + 2 <= len(data):
        length = int.from_bytes(data[at : at + 2], "little")
        pieces.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    return pieces
