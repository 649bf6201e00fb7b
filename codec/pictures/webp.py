"""WebP files (RFC 9649) taken apart: the chunks of a RIFF."""

import io
import struct
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy.typing as npt

from bitstream.form import RGB, RGB_ALPHA, Form
from codec.pictures import metadata
from codec.pictures.decoding import DAMAGES, opened_by_pillow, samples_of
from codec.pictures.parsed import BYTES_BEHIND, Decoded, Parsed
from codec.pictures.refusals import TRUNCATED, limited, listed, refuse_damaged, refuse_unkept

LOSSLESS, LOSSY, ALPHA, EXTENDED = b"VP8L", b"VP8 ", b"ALPH", b"VP8X"
ANIMATION = (b"ANIM", b"ANMF")
KEPT = {b"ICCP": metadata.colour_profile, b"EXIF": metadata.exif, b"XMP ": metadata.xmp}
HAS_ALPHA, ANIMATED, RESERVED = 0x10, 0x02, 0xC1  # flags
MOST_PADDING = 7  # bytes behind the code of the pixels that cannot be distinguished from it
LOSSY_LEFT_OUT = "the lossy WebP itself: these are its decoded pixels"


def parsed(data: bytes) -> Parsed:
    """Raises UnsupportedImageError for animations, and for what is damaged."""
    if data[:4] != b"RIFF" or data[8:12] not in (b"WEBP", b""):
        refuse_damaged("it is no WebP")
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data) or len(data) < 20:
        refuse_damaged(TRUNCATED)
    found: dict[bytes, bytes] = {}  # of what is needed
    chunks: list[metadata.Chunk] = []
    left_out: list[str] = []
    seen: set[bytes] = set()
    for name, body, behind in limited(_chunks(data, end)):
        known = name not in seen and (name in KEPT or name in (LOSSLESS, LOSSY, ALPHA, EXTENDED))
        if name in ANIMATION or (name == EXTENDED and body[:1] and body[0] & ANIMATED):
            refuse_unkept("an animation")
        if not known or (name == ALPHA and LOSSY in seen) or (name in (LOSSY, LOSSLESS) and seen & {LOSSY, LOSSLESS}):
            left_out.append(f"the WebP chunk {name.decode('latin-1')!r}" if name else f"{len(body):,} bytes behind its chunks")
        elif name in KEPT:
            chunks.append(KEPT[name](body))
            seen.add(name)
        else:
            found[name] = body
            seen.add(name)
        if behind.strip(b"\0"):
            left_out.append("padding that is not zero")
    decoded = None
    if LOSSLESS in found:
        size, form = _lossless(found[LOSSLESS])
        plain, decoded = b"", partial(_decoded, found[LOSSLESS], form)
        if ALPHA in found:
            left_out.append("the WebP chunk 'ALPH'")
    elif LOSSY in found:
        size, plain = _lossy(found[LOSSY], found.get(ALPHA))
        left_out.append(LOSSY_LEFT_OUT)
    else:
        refuse_damaged("it has no picture")
    if EXTENDED in found:
        left_out += _extended_left_out(found[EXTENDED], size)
    if end < len(data):
        left_out.append(BYTES_BEHIND.format(len(data) - end))
    return Parsed(plain, size, tuple(chunks), listed(left_out), decoded)


def _chunks(data: bytes, end: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Names, bodies and padding; what is too short for a chunk has no name."""
    at = 12
    while at + 8 <= end:
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > end:
            refuse_damaged(TRUNCATED)
        at += 8 + length + (length & 1)
        yield name, data[at - length - (length & 1) : at - (length & 1)], data[at - (length & 1) : min(at, end)]
    if at < end:
        yield b"", data[at:end], b""


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)


def _riff(*chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + sum(map(len, chunks))) + b"WEBP" + b"".join(chunks)


def _lossless(body: bytes) -> tuple[tuple[int, int], Form]:
    """Size and form of a picture in VP8L."""
    if len(body) < 5 or body[0] != 0x2F:
        refuse_damaged("its pixels have no header")
    bits = int.from_bytes(body[1:5], "little")
    if bits >> 29:
        refuse_unkept(f"a lossless WebP of version {bits >> 29}")
    return (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)), Form(RGB_ALPHA if bits >> 28 else RGB, 8)


def _decoded(body: bytes, form: Form) -> Decoded:
    """A VP8L chunk. Raises UnsupportedImageError where its code ends early or late, or TooLargeError."""
    try:
        samples = _by_pillow(body, form)
    except DAMAGES as error:
        refuse_damaged(str(error).rstrip(".") or "its pixels are truncated")
    shorter = body[: (len(body) - MOST_PADDING) // 2 * 2]  # even, for libwebp takes padding for code
    try:
        _by_pillow(shorter, form)
    except DAMAGES:
        return Decoded(samples, form)
    refuse_damaged("it has bytes behind its pixels")


def _by_pillow(body: bytes, form: Form) -> npt.NDArray[Any]:
    """Raises DAMAGES, or TooLargeError."""
    return samples_of(opened_by_pillow("WEBP", io.BytesIO(_riff(_chunk(LOSSLESS, body)))), form)


def _lossy(body: bytes, alpha: bytes | None) -> tuple[tuple[int, int], bytes]:
    """The size of a picture in VP8, with alpha in a chunk of its own or without, and a file of it."""
    if len(body) < 10 or body[3:6] != b"\x9d\x01\x2a" or body[0] & 1:
        refuse_damaged("its pixels have no header")
    width, height = (side & 0x3FFF for side in struct.unpack("<HH", body[6:10]))
    if not (width and height):
        refuse_unkept("a picture without pixels")
    if alpha is None:
        return (width, height), _riff(_chunk(LOSSY, body))
    canvas = struct.pack("<II", HAS_ALPHA, width - 1)[:7] + struct.pack("<I", height - 1)[:3]
    return (width, height), _riff(_chunk(EXTENDED, canvas), _chunk(ALPHA, alpha), _chunk(LOSSY, body))


def _extended_left_out(body: bytes, size: tuple[int, int]) -> list[str]:
    """Raises UnsupportedImageError where the canvas is another than the picture."""
    if len(body) < 10:
        refuse_damaged("its header is too short")
    canvas = 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if canvas != size:
        refuse_damaged(f"its picture has {size[0]}x{size[1]} pixels, its canvas {canvas[0]}x{canvas[1]}")
    return ["reserved bits of the WebP's header"] if body[0] & RESERVED or any(body[1:4]) or len(body) > 10 else []
