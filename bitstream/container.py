"""The file as a whole: a head, boxes, and the chunks of what is coded; every byte is under one checksum.

    magic, container version, width, height, form, digest | box, box, ..., CODING | check | chunk, check | chunk, check ...

What the bodies of boxes and the fields of methods mean is known elsewhere.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, NamedTuple

from bitstream.constants import CONTAINER_VERSION, CRC_BYTES, MAGIC, MAX_DEEP_WIDTH, MAX_METADATA_BYTES, MAX_SIDE, SAMPLE_DIGEST_BYTES
from bitstream.errors import DamagedError, NewerVersionError, NotIgptError, TruncatedError
from bitstream.form import ALPHA, Form
from bitstream.reader import Reader, varint

PALETTE, LEVELS, COLOURS, INDEX, CODING = 1, 2, 3, 4, 5  # types of boxes
SKIPPABLE = 0x80  # in a type: who does not know the box may skip it
METADATA = SKIPPABLE | 1
KNOWN = {METADATA: "metadata", PALETTE: "palette", LEVELS: "levels", COLOURS: "colours", INDEX: "index", CODING: "coding"}
ORDER = (METADATA, PALETTE, LEVELS, COLOURS)  # of those that are written before INDEX and CODING

ALPHA_APART = 0x40  # in the byte of the form
MOST_METHODS = 32
FIRST_BYTES = 1 << 12  # of a file, in which most fronts end
LARGEST_SAMPLE = 8  # bytes that a sample can take in a file, those of 8 or 16 bits


class Head(NamedTuple):
    """width, height: in pixels; digest: of the samples; alpha_apart: whether alpha has a coding of its own."""

    width: int
    height: int
    form: Form
    digest: bytes
    alpha_apart: bool = False

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def to_bytes(self) -> bytes:
        form = self.form.colour | (self.form.depth.bit_length() - 1) << 3 | (ALPHA_APART if self.alpha_apart else 0)
        return MAGIC + bytes((CONTAINER_VERSION,)) + varint(self.width) + varint(self.height) + bytes((form,)) + self.digest


class Coding(NamedTuple):
    """method: 0 to 31; variant: 0 to 7, of the method; fields: the method's own."""

    method: int
    variant: int = 0
    fields: bytes = b""

    def to_bytes(self) -> bytes:
        return bytes((self.method | self.variant << 5,)) + self.fields


class Front(NamedTuple):
    """All of a file but its chunks. boxes: bodies by type, without INDEX and CODING; lengths: of the payloads of all chunks but the last;
    size: in bytes."""

    head: Head
    boxes: Mapping[int, bytes]
    codings: tuple[Coding, ...]
    lengths: tuple[int, ...]
    size: int

    @property
    def unknown(self) -> list[str]:
        """Names of boxes that this version leaves alone."""
        return [f"box {kind:#04x}" for kind in sorted(self.boxes) if kind not in KNOWN]


class File(NamedTuple):
    """front; chunks: payloads, of all codings one after the other."""

    front: Front
    chunks: tuple[bytes, ...]

    @property
    def head(self) -> Head:
        return self.front.head


def written(head: Head, boxes: Mapping[int, bytes], codings: Sequence[Coding], chunks: Sequence[bytes]) -> bytes:
    """The bytes of a file. boxes: bodies by type; chunks: payloads, at least one."""
    index = b"".join(varint(len(payload)) for payload in chunks[:-1])
    bodies = [(kind, boxes[kind]) for kind in ORDER if kind in boxes]
    bodies += [(INDEX, index)] if index else []
    bodies += [(CODING, coding.to_bytes()) for coding in codings]
    front = head.to_bytes() + b"".join(bytes((kind,)) + varint(len(body)) + body for kind, body in bodies)
    return front + _crc(front) + b"".join(payload + _crc(payload) for payload in chunks)


def _crc(data: bytes | memoryview) -> bytes:
    return zlib.crc32(data).to_bytes(CRC_BYTES, "little")


def read(data: bytes) -> File:
    """Raises NotIgptError, NewerVersionError, TruncatedError, or DamagedError where a checksum or a value is wrong."""
    front = read_front(data)
    return File(front, tuple(_chunks(data, front)))


def _chunks(data: bytes, front: Front) -> Iterator[bytes]:
    reader, count = Reader(data, "the chunks"), len(front.lengths) + 1
    reader.position = front.size
    last = reader.remaining - sum(front.lengths) - count * CRC_BYTES
    if last < 0:
        msg = "the file is truncated: it ends in its chunks"
        raise TruncatedError(msg)
    for k, length in enumerate((*front.lengths, last)):
        payload = reader.take(length)
        if reader.take(CRC_BYTES) != _crc(payload):
            what = "is damaged, or the file is truncated or goes on behind it" if k + 1 == count else "is damaged"
            msg = f"chunk {k + 1} of {count} {what}: its checksum does not match"
            raise DamagedError(msg)
        yield payload


def read_front(start: bytes) -> Front:
    """Of a file that begins with `start`. Raises as `read`; TruncatedError where the front does not end in `start`."""
    reader = Reader(start, "its beginning")
    head, apart = _head(reader)
    found: list[tuple[int, bytes]] = []
    codings = 0
    while codings < 1 + apart:
        kind, size = reader.byte(), reader.varint()
        if kind == CODING:
            codings += 1
        elif codings or kind in (other for other, _ in found):
            msg = "the file is damaged: its boxes are in disorder"
            raise DamagedError(msg)
        found.append((kind, reader.take(size)))
    end = reader.position
    if reader.take(CRC_BYTES) != _crc(reader.data[:end]):
        msg = "the beginning of the file is damaged: its checksum does not match"
        raise DamagedError(msg)
    _validate(head, apart)
    for kind, _ in found:
        require(kind != 0, "there is no box of type 0")
        if kind not in KNOWN and not kind & SKIPPABLE:
            msg = f"the file has a part of type {kind} that this igpt does not know: update igpt"
            raise NewerVersionError(msg)
    bodies = dict(found)
    coded = [Coding(body[0] % MOST_METHODS, body[0] // MOST_METHODS, body[1:]) for kind, body in found if kind == CODING and body]
    require(len(coded) == codings, "a coding has no method")
    lengths = tuple(_lengths(bodies.pop(INDEX, None)))
    del bodies[CODING]
    return Front(head, bodies, tuple(coded), lengths, reader.position)


def _head(reader: Reader) -> tuple[Head, bool]:
    """Not validated yet; and whether it has two codings."""
    start = bytes(reader.data[: len(MAGIC)])
    if not start or start != MAGIC[: len(start)]:
        msg = "this is not an igpt file" if start else "this is not an igpt file: it is empty"
        if start[1:] == MAGIC[1:]:
            msg = "the beginning of the file is damaged, as by a transfer in text mode"
        raise NotIgptError(msg)
    reader.take(len(MAGIC))
    version = reader.byte()
    if version > CONTAINER_VERSION:
        msg = f"the file has container version {version}, this igpt reads version {CONTAINER_VERSION}: update igpt"
        raise NewerVersionError(msg)
    require(version == CONTAINER_VERSION, "there is no container version 0")
    width, height, form = reader.varint(), reader.varint(), reader.byte()
    apart = bool(form & ALPHA_APART)
    require(not form & 0x80, "a reserved bit is set")
    return Head(width, height, Form(form & 7, 1 << (form >> 3 & 7)), reader.take(SAMPLE_DIGEST_BYTES), apart), apart


def _validate(head: Head, apart: bool) -> None:
    width, height, form = head[:3]
    require(1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE, f"the size {width}x{height} is out of range")
    require(form.kept, f"colour type {form.colour} with {form.depth} bits is unknown")
    require(form.depth < 16 or width <= MAX_DEEP_WIDTH, f"a width of {width} with 16 bits is out of range")
    require(form.colour in ALPHA or not apart, f"colour type {form.colour} has no alpha")


def _lengths(index: bytes | None) -> Iterator[int]:
    if index is None:
        return
    require(bool(index), "its index is empty")
    reader = Reader(index, "the index")
    while reader.remaining:
        yield reader.varint()


def front_in(stream: IO[bytes]) -> Front:
    """Of a file that can be sought, from its start; nothing else is read, or little. Raises as `read_front`."""
    size = FIRST_BYTES
    while True:
        stream.seek(0)
        start = stream.read(size)
        try:
            return read_front(start)
        except TruncatedError:
            if len(start) < size:
                raise
        size *= 16


def largest_file(start: bytes) -> int:
    """A bound on the bytes of a file that begins with `start`, by its size in pixels. Raises as `read`."""
    head, _ = _head(Reader(start, "its beginning"))
    samples = head.pixels * head.form.channels if head.form.kept else 0
    return MAX_METADATA_BYTES + (MAX_METADATA_BYTES >> 4) + samples * LARGEST_SAMPLE


def require(holds: bool, what: str) -> None:
    """Raises DamagedError."""
    if not holds:
        msg = f"the file is damaged: {what}"
        raise DamagedError(msg)
