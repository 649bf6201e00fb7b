"""GIF files (GIF89a) taken apart: one picture, its colours, and everything around it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bitstream.form import GREY, PALETTE, Form
from codec.pictures import metadata
from codec.pictures.parsed import BYTES_BEHIND, Decoded, Parsed
from codec.pictures.refusals import TRUNCATED, limited, listed, refuse_damaged, refuse_unkept

EXTENSION, PICTURE, TRAILER = 0x21, 0x2C, 0x3B
PLAIN_TEXT, CONTROL, COMMENT, APPLICATION = 0x01, 0xF9, 0xFE, 0xFF
PROFILE, XMP = b"ICCRGBG1012", b"XMP DataXMP"
XMP_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\0"  # leads who takes XMP for sub-blocks out of it
UNUSED_CONTROL = "a graphic control of no picture"
DELAY, BACKGROUND, APPLICATION_EXTENSION = "the GIF's delay", "the GIF's background colour {}", "the GIF application extension {!r}"
PASSES = ((0, 8), (4, 8), (2, 4), (1, 2))  # first row and step


def parsed(data: bytes) -> Parsed:
    """Raises UnsupportedImageError for animations, and for what is damaged."""
    if data[:6] not in (b"GIF87a", b"GIF89a"):
        refuse_damaged("it is no GIF")
    if len(data) < 13:
        refuse_damaged(TRUNCATED)
    screen = _sides(data, 6)
    table, at = _table(data, data[10], 13)
    left_out = _screen_left_out(data, bool(table))
    chunks: list[metadata.Chunk] = []
    start, transparent = _only_picture(data, at, chunks, left_out)
    size, flags = _sides(data, start + 5), data[start + 9]
    if _sides(data, start + 1) != (0, 0) or size != screen:
        refuse_unkept(f"a GIF whose picture of {size[0]}x{size[1]} pixels is not all of its screen of {screen[0]}x{screen[1]}")
    if 0 in size:
        refuse_unkept("a picture without pixels")
    if flags & 0x80 and table:
        left_out.append("the GIF's global palette, which its picture does not use")
    own, at = _table(data, flags, start + 10)
    table = own or table
    if not table:
        refuse_unkept("a GIF without a palette")
    if flags & 0x20 or (flags & 0x18 and data[:6] == b"GIF89a"):
        left_out.append("flags of the GIF's picture")
    grey = all(table[k] == k // 3 for k in range(len(table)))  # then an index is a brightness
    if not grey and transparent >= len(table) // 3:
        left_out.append("a transparent colour that the GIF's palette has not")
    chunks = [*chunks, *_colours(table, transparent, grey)]

    def decoded() -> Decoded:
        return Decoded(_samples(data, at, size, bool(flags & 0x40), len(table) // 3), Form(GREY if grey else PALETTE, 8))

    return Parsed(b"", size, tuple(chunks), listed(left_out), decoded)


def _only_picture(data: bytes, at: int, chunks: list[metadata.Chunk], left_out: list[str]) -> tuple[int, int]:
    """Where the picture begins among the blocks from `at` on, and its transparent index or -1. Adds what stands around it to the lists."""
    pictures: list[tuple[int, int]] = []
    control = b""  # for what comes next
    for kind, start, end, body in limited(_blocks(data, at)):
        at = end
        if kind == CONTROL and not control and len(body) == 4 and end - start == 8:
            control = body
        elif kind == PICTURE:
            pictures.append((start, control[3] if control and control[0] & 1 else -1))
            if len(pictures) == 1:
                left_out += _control_left_out(control)
            control = b""
        elif chunk := _chunk_of(data, kind, start, end, body, {name for name, _ in chunks}):
            chunks.append(chunk)
        elif kind in (PLAIN_TEXT, CONTROL, COMMENT):
            left_out.append({PLAIN_TEXT: "the GIF's plain text", CONTROL: UNUSED_CONTROL, COMMENT: "the GIF's comment"}[kind])
            control = b"" if kind == PLAIN_TEXT else control  # which was the text's
        elif kind == APPLICATION:
            left_out.append(APPLICATION_EXTENSION.format(body.decode("latin-1")))
        elif kind != TRAILER:
            left_out.append(f"a GIF extension of kind {kind}")
    if len(pictures) > 1:
        refuse_unkept(f"an animation or a file of {len(pictures)} pages")
    if not pictures:
        refuse_damaged("it has no picture")
    if control:
        left_out.append(UNUSED_CONTROL)
    if at < len(data):
        left_out.append(BYTES_BEHIND.format(len(data) - at))
    return pictures[0]


def _chunk_of(data: bytes, kind: int, start: int, end: int, body: bytes, there: set[bytes]) -> metadata.Chunk | None:
    """An extension from `start` to `end`, with this first sub-block, as a chunk; None where a PNG has none for it, or it is there."""
    if kind == COMMENT and (text := _joined(data, start + 2)[0]) and text.isascii() and b"\0" not in text:
        return b"tEXt", b"Comment\0" + text
    if kind == APPLICATION and body == PROFILE and b"iCCP" not in there:
        return metadata.colour_profile(_joined(data, start + 14)[0])
    if kind == APPLICATION and body == XMP and b"iTXt" not in there:
        return metadata.xmp(data[start + 14 : end - len(XMP_TRAILER)])
    return None


def _sides(data: bytes, at: int) -> tuple[int, int]:
    return int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 2 : at + 4], "little")


def _table(data: bytes, flags: int, at: int) -> tuple[bytes, int]:
    """The palette that the flags promise, and where it ends."""
    end = at + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    if end > len(data):
        refuse_damaged(TRUNCATED)
    return data[at:end], end


def _screen_left_out(data: bytes, coloured: bool) -> list[str]:
    left_out = []
    if coloured and data[11]:
        left_out.append(BACKGROUND.format(data[11]))
    if data[12]:
        left_out.append(f"the GIF's pixel aspect ratio {data[12]}")
    if coloured and data[10] & 0x08:
        left_out.append("that the GIF's palette is sorted")
    return left_out


def _control_left_out(control: bytes) -> list[str]:
    if not control:
        return []
    names = {DELAY: control[1] | control[2] << 8, "the GIF's disposal": control[0] & 0x1C, "the GIF's wait for the user": control[0] & 2}
    return [name for name, value in names.items() if value] + (["flags of the GIF's control"] if control[0] & 0xE0 else [])


def _blocks(data: bytes, at: int) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, beginning, end and first sub-block of everything behind the palette, the trailer at last."""
    while at < len(data):
        kind, start, first = data[at], at, b""
        if kind == EXTENSION and at + 2 < len(data):
            kind = data[at + 1]
            first = data[at + 3 : at + 3 + data[at + 2]]
            at = _end_of_xmp(data, at + 14) if first == XMP and kind == APPLICATION else _skipped(data, at + 2)
        elif kind == PICTURE and at + 10 < len(data):
            at = _skipped(data, _table(data, data[at + 9], at + 10)[1] + 1)
        elif kind == TRAILER:
            yield kind, at, at + 1, first
            return
        elif at + 10 < len(data):
            refuse_damaged(f"it has a block of the unknown kind {kind}")
        else:
            break
        yield kind, start, at, first
    refuse_damaged(TRUNCATED)


def _skipped(data: bytes, at: int) -> int:
    """Where sub-blocks end that begin here."""
    while at < len(data):
        if data[at] == 0:
            return at + 1
        at += 1 + data[at]
    refuse_damaged(TRUNCATED)


def _joined(data: bytes, at: int) -> tuple[bytes, int]:
    """Sub-blocks that begin here as one, and where they end."""
    parts = []
    while data[at]:
        parts.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return b"".join(parts), at + 1


def _end_of_xmp(data: bytes, at: int) -> int:
    """XMP stands in a GIF as it is, not in sub-blocks, though it can be skipped as if it did."""
    end = _skipped(data, at)
    if data[end - len(XMP_TRAILER) : end] != XMP_TRAILER or end - len(XMP_TRAILER) < at:
        refuse_damaged("its XMP has no end")
    return end


def _colours(table: bytes, transparent: int, grey: bool) -> list[metadata.Chunk]:
    """PLTE and tRNS; transparent: an index, or -1."""
    if grey:
        return [(b"tRNS", bytes([0, transparent]))] if transparent >= 0 else []
    entries = len(table) // 3
    return [(b"PLTE", table), *([(b"tRNS", b"\xff" * transparent + b"\0")] if 0 <= transparent < entries else [])]


def _samples(data: bytes, at: int, size: tuple[int, int], interlaced: bool, entries: int) -> npt.NDArray[Any]:
    """at: of the LZW code's size. Raises UnsupportedImageError where the code does not give exactly the pixels."""
    from codec.pictures.lzw import ENDED, RAN_OUT, TOO_MUCH, unpacked_lzw

    width, height = size
    root_bits, code = data[at], np.frombuffer(_joined(data, at + 1)[0], np.uint8)
    if not 1 <= root_bits <= 8:
        refuse_damaged(f"its pixels have a code of {root_bits} bits")
    flat = np.empty(height * width, np.uint8)
    written, how, taken, largest = unpacked_lzw(code, root_bits, False, flat)
    if how == TOO_MUCH:
        refuse_damaged("it has more pixels than its size says")
    if written < flat.size or how not in (ENDED, RAN_OUT):
        refuse_damaged("its pixels are truncated")
    if taken < len(code):
        refuse_damaged(f"it has {len(code) - taken:,} bytes behind its pixels")
    if largest >= entries:
        refuse_damaged(f"it has pixels of colour {largest}, and {entries} colours")
    rows = flat.reshape(height, width, 1)
    if not interlaced:
        return rows
    samples = np.empty_like(rows)
    first = 0
    for start, step in PASSES:
        many = len(range(start, height, step))
        samples[start::step] = rows[first : first + many]
        first += many
    return samples
