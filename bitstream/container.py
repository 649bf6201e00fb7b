"""The file as a whole: a head, boxes, and the chunks of what is coded; every byte is under one checksum.

    magic, container version, width, height, form, digest | box, box, ..., CODING | check | chunk, check | chunk, check ...

What the bodies of boxes and the fields of methods mean is known elsewhere.
"""

import io
import itertools
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, NamedTuple, overload

from bitstream.constants import CONTAINER_VERSION, CRC_BYTES, MAGIC, MAX_FRONT_BYTES, MAX_KEPT_BYTES, MAX_SIDE, SAMPLE_DIGEST_BYTES
from bitstream.errors import DamagedError, NewerVersionError, NotIgptError, TooLargeError, TruncatedError
from bitstream.form import ALPHA, KEPT, Form
from bitstream.reader import FileReader, Reader, varint

PALETTE, LEVELS, COLOURS, INDEX, CODING, SIZE = 1, 2, 3, 4, 5, 6  # types of boxes
SKIPPABLE = 0x80  # in a type: who does not know the box may skip it
METADATA, PREVIEW = SKIPPABLE | 1, SKIPPABLE | 2
KNOWN = {METADATA, PREVIEW, PALETTE, LEVELS, COLOURS, INDEX, CODING, SIZE}
ORDER = (METADATA, PREVIEW, PALETTE, LEVELS, COLOURS, SIZE)  # of those that are written before INDEX and CODING

ALPHA_APART, RESERVED = 0x40, 0x80  # in the byte of the form
MOST_METHODS = 32
FIRST_BYTES = 1 << 12  # of a file, in which most fronts end
LARGEST_SAMPLE = 8  # bytes that a sample can take in a file, those of 8 or 16 bits
_GOING_ON = bytes(range(0x80, 0x100))  # bytes of a varint, but the last


class Head(NamedTuple):
    """width, height: in pixels, of a kept file 0 where they are not known; digest: of the samples; alpha_apart: whether alpha has a coding
    of its own."""

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
    """All of a file but its chunks. boxes: bodies by type, without INDEX and CODING; index_box: the body of INDEX, empty where there is
    one chunk; size: in bytes."""

    head: Head
    boxes: Mapping[int, bytes]
    codings: tuple[Coding, ...]
    index_box: bytes
    size: int

    @property
    def chunks(self) -> int:
        """How many there are, as far as the index says: every number ends with its only byte below 128."""
        return 1 + len(self.index_box.translate(None, _GOING_ON))

    def lengths(self) -> Iterator[int]:
        """Of the payloads of all chunks but the last, in bytes. Raises DamagedError."""
        reader = Reader(self.index_box, "the lengths in its index")
        while reader.remaining:
            yield reader.varint()

    @property
    def unknown(self) -> list[str]:
        """Names of boxes that this version leaves alone."""
        return [f"box {kind:#04x}" for kind in sorted(self.boxes) if kind not in KNOWN]


class Chunks(Sequence[bytes]):
    """Payloads in a file that can be sought, each read when it is asked for.

    sizes, starts: of each, in bytes; number: of the first one, of so many in the file. Raises DamagedError where a checksum is wrong.
    """

    def __init__(self, stream: IO[bytes], sizes: "array[int]", starts: "array[int]", number: int, of: int) -> None:
        self.sizes = sizes
        self._stream, self._starts, self._number, self._of = stream, starts, number, of

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, which: int) -> bytes: ...

    @overload
    def __getitem__(self, which: slice) -> "Chunks": ...

    def __getitem__(self, which: int | slice) -> "bytes | Chunks":
        if isinstance(which, slice):
            number = self._number + which.indices(len(self))[0]
            return Chunks(self._stream, self.sizes[which], self._starts[which], number, self._of)
        size, number = self.sizes[which], self._number + which
        self._stream.seek(self._starts[which])
        found = self._stream.read(size + CRC_BYTES)
        payload, crc = found[:size], found[size:]
        if crc != _crc(payload):
            what = "is damaged, or the file is truncated or goes on behind it" if number == self._of else "is damaged"
            msg = f"chunk {number} of {self._of} {what}: its checksum does not match"
            raise DamagedError(msg)
        return payload


class File(NamedTuple):
    """front; chunks: of all codings, one after the other."""

    front: Front
    chunks: Chunks

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
    """All checksums are compared. Raises NotIgptError, NewerVersionError, TooLargeError, TruncatedError, or DamagedError where one is
    wrong, or a value."""
    file = file_in(io.BytesIO(data))
    for _ in file.chunks:
        pass
    return file


def file_in(stream: IO[bytes]) -> File:
    """One that can be sought, whose chunks are read when they are asked for. Raises as `read`."""
    front = front_in(stream)
    size, most = stream.seek(0, io.SEEK_END), _largest(front.head)
    if size > most:
        msg = f"the file has more than {most:,} bytes, which no picture of its size needs"
        raise TooLargeError(msg)
    room = size - front.size - CRC_BYTES * front.chunks
    if room < 0:
        raise _ends_in_chunks()
    sizes = array("q", front.lengths())
    sizes.append(room - sum(sizes))
    if sizes[-1] < 0:
        raise _ends_in_chunks()
    starts = array("q", itertools.accumulate(sizes, lambda start, size: start + size + CRC_BYTES, initial=front.size))
    return File(front, Chunks(stream, sizes, starts, 1, front.chunks))


def _ends_in_chunks() -> TruncatedError:
    return FileReader(b"", "its chunks").too_short()


def read_front(start: bytes) -> Front:
    """Of a file that begins with `start`. Raises as `read`; TruncatedError where the front does not end in `start`."""
    reader = FileReader(start, "its beginning")
    head, form = _head(reader)
    found: list[tuple[int, bytes]] = []
    codings = 0
    while codings < 1 + head.alpha_apart:
        kind, size = reader.byte(), reader.varint()
        require(reader.position + size + CRC_BYTES <= MAX_FRONT_BYTES, f"its beginning has more than {MAX_FRONT_BYTES:,} bytes")
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
    for kind, _ in found:
        require(kind != 0, "there is no box of type 0")
        if kind not in KNOWN and not kind & SKIPPABLE:
            msg = f"the file has a part of type {kind} that this igpt does not know: update igpt"
            raise NewerVersionError(msg)
    if not head.form.known or form & RESERVED:
        msg = f"the file has samples of a form ({form:#04x}) that this igpt does not know: update igpt"
        raise NewerVersionError(msg)
    _validate(head)
    bodies = dict(found)
    coded = [Coding(body[0] % MOST_METHODS, body[0] // MOST_METHODS, body[1:]) for kind, body in found if kind == CODING and body]
    require(len(coded) == codings, "a coding has no method")
    index = bodies.pop(INDEX, None)
    require(index != b"", "its index is empty")
    del bodies[CODING]
    return Front(head, bodies, tuple(coded), index or b"", reader.position)


def _head(reader: Reader) -> tuple[Head, int]:
    """Not validated yet; and the byte of its form."""
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
    digest = reader.take(SAMPLE_DIGEST_BYTES)
    return Head(width, height, Form(form & 7, 1 << (form >> 3 & 7)), digest, bool(form & ALPHA_APART)), form


def _validate(head: Head) -> None:
    width, height, form, _, apart = head
    least = 0 if form.colour == KEPT else 1
    require(least <= width <= MAX_SIDE and least <= height <= MAX_SIDE, f"the size {width}x{height} is out of range")
    require(form.colour in ALPHA or not apart, f"colour type {form.colour} has no alpha")


def front_in(stream: IO[bytes]) -> Front:
    """Of a file that can be sought, from its start; little else is read. Raises as `read_front`."""
    stream.seek(0)
    start = b""
    while True:
        more = stream.read(max(FIRST_BYTES, 3 * len(start)))
        start += more
        try:
            return read_front(start)
        except TruncatedError:
            if not more:
                raise


def largest_file(start: bytes) -> int:
    """A bound on the bytes of a file that begins with `start`, by its size in pixels. Raises as `read`."""
    return _largest(head_of(start))


def head_of(start: bytes) -> Head:
    """Of a file that begins with `start`. Raises as `read`."""
    return _head(FileReader(start, "its beginning"))[0]


def _largest(head: Head) -> int:
    if head.form.colour == KEPT:
        return MAX_FRONT_BYTES + MAX_KEPT_BYTES * LARGEST_SAMPLE
    samples = head.pixels * head.form.channels if head.form.known else 0
    return MAX_FRONT_BYTES + samples * LARGEST_SAMPLE


def require(holds: bool, what: str) -> None:
    """Raises DamagedError."""
    if not holds:
        msg = f"the file is damaged: {what}"
        raise DamagedError(msg)
