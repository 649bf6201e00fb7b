"""PNG files (ISO/IEC 15948): every chunk but the pixels' is kept as it is, whatever it holds.

Pillow undoes the filters of up to 8 bits, and sees the header and the pixels only: inflated and counted here, for it invents what a short
stream lacks.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bitstream.form import DEPTHS, PALETTE, Form
from bitstream.metadata import MOST_CHUNKS
from codec.pictures.decoding import opened_by_pillow, samples_of
from codec.pictures.parsed import BYTES_BEHIND, Decoded, Parsed
from codec.pictures.png_chunks import ANIMATION, SIGNATURE, chunk, chunks_in
from codec.pictures.refusals import refuse_damaged, refuse_unkept

PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]  # row, column, steps of Adam7
PIECE_BYTES = 1 << 15  # of a stream, at once
INFLATED_BYTES = (1 << 16) - 1  # at once: what a stored block can have
FILTERS = 5

Take = Callable[[bytes], object]


class Header(NamedTuple):
    form: Form
    width: int
    height: int
    interlaced: bool

    @property
    def passes(self) -> list[tuple[slice, slice, int, int]]:
        """Of each that has pixels: its rows and columns of the picture, their number, and the bytes of a row with its filter."""
        found = []
        for y, x, down, across in PASSES if self.interlaced else [(0, 0, 1, 1)]:
            rows, columns = -(-(self.height - y) // down), -(-(self.width - x) // across)
            if rows > 0 and columns > 0:
                row_bytes = 1 + -(-columns * self.form.channels * self.form.depth // 8)
                found.append((slice(y, None, down), slice(x, None, across), rows, row_bytes))
        return found


def parsed(data: bytes) -> Parsed:
    """Raises UnsupportedImageError."""
    header: Header | None = None
    left_out: list[str] = []
    chunks: list[tuple[bytes, bytes]] = []
    stream: list[memoryview] = []
    before = b""
    try:
        for name, body, end in chunks_in(data):
            if not header:
                header = _header(name, bytes(body))
            elif name == b"IDAT":
                if stream and before != b"IDAT":
                    refuse_damaged("its pixels are in several places")
                if not stream:
                    chunks.append((b"IDAT", b""))
                stream.append(body)
            elif name == b"IEND":
                left_out += ["what is in its last chunk"] * bool(body)
                left_out += [BYTES_BEHIND.format(len(data) - end)] * (end < len(data))
            elif name[:1].isupper() and name != b"PLTE":
                refuse_unkept(f"a PNG with a chunk {name.decode()}, without which it cannot be understood,")
            elif name in ANIMATION:
                refuse_unkept("an animation")
            else:
                chunks.append((name, bytes(body)))
                if len(chunks) > MOST_CHUNKS:
                    refuse_unkept(f"a PNG of more than {MOST_CHUNKS:,} chunks")
            before = name
    except ValueError as error:
        refuse_damaged(str(error))
    if not header or not stream:
        refuse_damaged("it has no pixels")
    _require_palette(header.form, [name for name, _ in chunks], [len(body) for name, body in chunks if name == b"PLTE"])
    found = header

    def decoded() -> Decoded:
        samples, more = (_deep if found.form.depth == 16 else _shallow)(found, stream, data)
        return Decoded(samples, found.form, more)

    return Parsed(b"", (header.width, header.height), tuple(chunks), tuple(left_out), decoded)


def _header(name: bytes, body: bytes) -> Header:
    """Raises UnsupportedImageError."""
    if name == b"CgBI":
        refuse_unkept("a PNG for an iPhone's own use")
    if name != b"IHDR" or len(body) != 13:
        refuse_damaged("its header is missing")
    width, height, form = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big"), Form(body[9], body[8])
    if not 0 < width < 1 << 31 or not 0 < height < 1 << 31:
        refuse_damaged(f"its header says {width}x{height} pixels")
    if form.depth not in DEPTHS.get(form.colour, ()):
        refuse_damaged(f"its header says colour type {form.colour} with {form.depth} bits")
    if body[10] or body[11] or body[12] > 1:
        refuse_damaged("its header says methods that are unknown")
    return Header(form, width, height, bool(body[12]))


def _require_palette(form: Form, names: Sequence[bytes], sizes: Sequence[int]) -> None:
    if len(sizes) > 1 or any(size % 3 or not 0 < size <= 768 for size in sizes):
        refuse_damaged("its palette has a wrong size")
    if form.colour == PALETTE and (not sizes or names.index(b"PLTE") > names.index(b"IDAT")):
        refuse_damaged("its palette is missing")


def _shallow(header: Header, stream: list[memoryview], data: bytes) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Samples of up to 8 bits, and what the stream has beside them."""
    plain = io.BytesIO()
    plain.write(data[: len(SIGNATURE) + 25])
    plain.write(chunk(b"IDAT", b"\x78\x01"))
    check = 1

    def take(rows: bytes) -> None:
        """Adds a block that is stored as it is: nothing is packed only to be unpacked."""
        nonlocal check
        check = zlib.adler32(rows, check)
        start = b"IDAT" + struct.pack("<BHH", 0, len(rows), len(rows) ^ 0xFFFF)
        for part in (struct.pack(">I", len(rows) + 5), start, rows, struct.pack(">I", zlib.crc32(rows, zlib.crc32(start)))):
            plain.write(part)

    left_out = _inflate(stream, header, take)
    plain.write(chunk(b"IDAT", struct.pack("<BHH", 1, 0, 0xFFFF) + struct.pack(">I", check)))
    plain.write(chunk(b"IEND", b""))
    plain.seek(0)
    image = opened_by_pillow("PNG", plain)
    plain.close()
    return samples_of(image, header.form), left_out


def _deep(header: Header, stream: list[memoryview], _: bytes) -> tuple[npt.NDArray[np.uint16], tuple[str, ...]]:
    """Samples of 16 bits, and what the stream has beside them."""
    from codec.pictures.unfilter import unfilter

    raw = bytearray()
    left_out = _inflate(stream, header, raw.extend)
    form, at = header.form, 0
    samples = np.empty((header.height, header.width, form.channels), np.uint16)
    for down, across, rows, row_bytes in header.passes:
        lines = np.frombuffer(raw, np.uint8, rows * row_bytes, at).reshape(rows, row_bytes)
        at += lines.size
        plain = np.zeros((rows, row_bytes - 1), np.uint8)
        unfilter(lines, form.step, plain)
        samples[down, across] = plain.view(">u2").reshape(rows, -1, form.channels)
    return samples, left_out


def _inflate(stream: list[memoryview], header: Header, take: Take) -> tuple[str, ...]:
    """Gives `take` the filtered rows, whole or not, and returns the names of what else the stream has.

    Of a stream that is too long no more is inflated than is needed to see that. Raises UnsupportedImageError.
    """
    passes = [(count, row_bytes) for _, _, count, row_bytes in header.passes]
    wanted = sum(count * row_bytes for count, row_bytes in passes)
    inflating, given = zlib.decompressobj(), 0
    pieces = (body[at : at + PIECE_BYTES] for body in stream for at in range(0, len(body), PIECE_BYTES))
    for inflated in _inflated(inflating, pieces, wanted):
        rows = inflated[: wanted - given]
        if rows:
            if _has_unknown_filter(rows, given, passes):
                refuse_damaged("a row has an unknown filter")
            take(rows)
        given += len(rows)
        if len(rows) < len(inflated):
            return ("what its stream has behind its pixels",)
    if given < wanted:
        refuse_damaged("its pixels are truncated")
    if not inflating.eof:
        return ("that the end of its stream is missing",)
    behind = len(inflating.unused_data) + sum(map(len, pieces))
    return (f"{behind:,} bytes behind its pixels",) if behind else ()


def _inflated(inflating: Any, pieces: Iterator[memoryview], wanted: int) -> Iterator[bytes]:
    """What is inflated, at most one byte more than is wanted in all."""
    given = 0
    for piece in pieces:
        rest: bytes | memoryview = piece
        while not inflating.eof:
            most = min(INFLATED_BYTES, wanted + 1 - given)
            try:
                rows = inflating.decompress(rest, most)
            except zlib.error:
                refuse_damaged("its pixels do not inflate")
            rest = inflating.unconsumed_tail
            given += len(rows)
            yield rows
            if not rest and len(rows) < most:
                break
        if inflating.eof:
            return


def _has_unknown_filter(part: bytes, given: int, passes: list[tuple[int, int]]) -> bool:
    """part: of the filtered rows, what follows so many bytes."""
    start = 0  # of a pass
    for rows, row_bytes in passes:
        end = start + rows * row_bytes
        first = start + -(-max(0, given - start) // row_bytes) * row_bytes
        filters = part[first - given : max(0, end - given) : row_bytes]
        if filters and max(filters) >= FILTERS:
            return True
        start = end
    return False
