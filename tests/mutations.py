"""Mutations of bytes, and of the pieces that a file is made of, with checksums that are right again."""

import random
import struct
import zlib

from bitstream import metadata
from bitstream.constants import CRC_BYTES, MAGIC, SAMPLE_DIGEST_BYTES
from bitstream.container import CODING, INDEX, LEVELS, METADATA, read
from bitstream.deflate import packed, unpacked
from bitstream.form import Form
from bitstream.reader import Reader, varint

EXTREMES = (
    *(0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 33, 64, 127, 128, 255, 256, 4095, 4096, 4097, 65535, 65536),
    *(1 << 20, (1 << 22) + 1, 1 << 24, (1 << 24) + 1, (1 << 26) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, (1 << 35) - 1),
)

BOXES = (0, 1, 2, 3, 4, 5, 6, 7, 0x80, 0x81, 0x82, 0xFF)

Pieces = list[bytes]


def pieces_of(data: bytes) -> Pieces:
    """What a file is made of, without what `joined` computes: the first piece says of what kind it is. Of foreign formats the whole.

    Of an igpt file: its head, each box as its type and its body, inflated, but no index, and each payload.
    """
    if data.startswith(MAGIC):
        front, chunks = read(data)
        boxes = [bytes((kind,)) + _inflated(kind, body, front.head.form) for kind, body in front.boxes.items()]
        codings = [bytes((CODING,)) + coding.to_bytes() for coding in front.codings]
        return [b"igpt", front.head.to_bytes(), *boxes, *codings, *chunks]
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


def _inflated(kind: int, body: bytes, form: Form) -> bytes:
    if kind == METADATA:
        return b"".join(name + varint(len(chunk)) + chunk for name, chunk in metadata.unpack(body, form.colour))
    if kind == LEVELS and form.depth == 16:
        reader = Reader(body, "")
        count = reader.varint()
        return varint(count) + unpacked(reader.take(reader.remaining), 2 * count)
    return body


def _body(kind: int, raw: bytes, deep: bool) -> bytes:
    """The inverse, though not as small as an encoder makes it."""
    if kind == METADATA:
        return varint(len(raw)) + raw
    if kind == LEVELS and deep:
        end = next((k for k, byte in enumerate(raw) if byte < 128), -1) + 1
        return raw[:end] + packed(raw[end:])
    return raw


def joined(pieces: Pieces) -> bytes:
    """A file of these pieces, its checksums right."""
    kind, *rest = pieces
    if kind == b"igpt":
        head, *parts = rest or [b""]
        form = head[-SAMPLE_DIGEST_BYTES - 1] if len(head) > SAMPLE_DIGEST_BYTES else 0
        ends = [k + 1 for k, part in enumerate(parts) if part[:1] == bytes((CODING,))]
        count = ends[: 1 + (form >> 6 & 1)][-1] if ends else 0
        boxes, chunks = parts[:count], parts[count:]
        if not any(box[:1] == bytes((INDEX,)) for box in boxes) and len(chunks) > 1:
            boxes.insert(max(0, count - 1 - (form >> 6 & 1)), bytes((INDEX,)) + b"".join(varint(len(chunk)) for chunk in chunks[:-1]))
        front = head
        for box in boxes:
            body = _body(box[0], box[1:], form >> 3 & 7 == 4) if box else b""
            front += box[:1] + varint(len(body)) + body
        return b"".join(part + zlib.crc32(part).to_bytes(CRC_BYTES, "little") for part in (front, *chunks))
    if kind == b"png":
        pixels, *chunks = rest or [b""]
        parts = [name if name != b"IDAT" else b"IDAT" + zlib.compress(pixels, 1) for name in chunks]
        return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", max(0, len(p) - 4)) + p + struct.pack(">I", zlib.crc32(p)) for p in parts)
    return b"".join(rest)


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
    match rng.randrange(13):
        case 0:
            del rest[k]
        case 1:
            rest.insert(k, rest[k])
        case 2:
            j = rng.randrange(len(rest))
            rest[j], rest[k] = rest[k], rest[j]
        case 3:
            box = bytes((rng.choice(BOXES),)) + varint(rng.choice(EXTREMES)) * rng.randrange(3)
            rest.insert(k, mutated(box, rng, rest[k]))
        case 4 if len(other) > 1:
            rest[k] = rng.choice(other[1:])
        case _:
            rest[k] = mutated(rest[k], rng, rng.choice(other[1:]) if len(other) > 1 else b"")
    return [kind, *rest]


def flat(pieces: Pieces) -> bytes:
    """As one input: the kind's initial, then each piece behind its length."""
    return pieces[0][:1] + b"".join(struct.pack("<H", len(piece)) + piece for piece in pieces[1:])


def unflat(data: bytes) -> Pieces:
    """The inverse, of anything."""
    kind = {b"i": b"igpt"}.get(data[:1], b"other")
    pieces, at = [kind], 1
    while at + 2 <= len(data):
        length = int.from_bytes(data[at : at + 2], "little")
        pieces.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    return pieces
