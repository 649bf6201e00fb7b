"""JPEG files (ITU-T T.81, T.871) taken apart: the segments of the first picture, and what stands beside it."""

import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from codec.pictures import metadata
from codec.pictures.parsed import BYTES_BEHIND, Parsed
from codec.pictures.refusals import TRUNCATED, limited, listed, refuse_damaged, refuse_unkept

SOI, EOI, SOS, COM, APP0, APP1, APP2, APP13, APP14 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE0, 0xE1, 0xE2, 0xED, 0xEE
RESTARTS, LONELY = range(0xD0, 0xD8), (0x01, *range(0xD0, 0xD9))  # markers without a segment
FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # baseline, extended and progressive; Huffman and arithmetic codes
OTHER_FRAMES = {
    0xF7: "a JPEG-LS file",
    0xC3: "a lossless JPEG",
    0xCB: "a lossless JPEG",
    0xDE: "a hierarchical JPEG",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "a hierarchical JPEG"),
}
LEFT_OUT = "the JPEG itself: these are its decoded pixels"
MOST_SCANS = 256  # each may touch every pixel
JFIF, EXIF, XMP, PROFILE, ADOBE = b"JFIF\0", b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0", b"Adobe"
OWNERS = {b"http://ns.adobe.com/xmp/extension/": "extended XMP", b"JFXX": "a thumbnail", b"MPF": "a list of pictures behind it"}
UNITS = {0: None, 1: metadata.METRES_PER_INCH, 2: Fraction(1, 100)}

_MARKER = re.compile(rb"\xff([^\xff\x00])", re.DOTALL)
_CODED = re.compile(rb"\xff[^\xff\x00\xd0-\xd7]", re.DOTALL)  # where a scan's code ends


class Segment(NamedTuple):
    """marker: its second byte; body: without length; rest: of a scan, its code; skipped: bytes in front of it that belong to nothing."""

    marker: int
    body: bytes
    rest: bytes
    skipped: int
    end: int


def segments(data: bytes) -> Iterator[Segment]:
    """From the first behind SOI to EOI, which is there. Raises UnsupportedImageError."""
    at = 2
    while found := _MARKER.search(data, at):
        marker, start = found[1][0], found.end()
        skipped = len(data[at : found.start()].rstrip(b"\xff"))  # those may stand in front of any marker
        if marker == EOI or marker in LONELY:
            yield Segment(marker, b"", b"", skipped, start)
            if marker == EOI:
                return
            at = start
            continue
        length = int.from_bytes(data[start : start + 2], "big")
        if length < 2:
            refuse_damaged("a segment of it is too short")
        behind = at = start + length
        if marker == SOS and (coded := _CODED.search(data, at)):
            at = coded.start()
        elif marker == SOS or at > len(data):
            break
        yield Segment(marker, data[start + 2 : behind], data[behind:at], skipped, at)
    refuse_damaged(TRUNCATED)


def parsed(data: bytes) -> Parsed:
    """Raises UnsupportedImageError for other kinds of JPEG than Pillow decodes, and where the end is missing."""
    if data[:2] != b"\xff\xd8":
        refuse_damaged("it is no JPEG")
    plain, chunks, left_out = [b"\xff\xd8"], list[metadata.Chunk](), [LEFT_OUT]
    profile: list[bytes] = []
    resolved = False
    frame, scans, skipped, end = b"", 0, 0, 0
    for marker, body, rest, before, end in limited(segments(data)):  # noqa: B007
        skipped += before
        if marker in OTHER_FRAMES:
            refuse_unkept(OTHER_FRAMES[marker])
        if marker in FRAMES:
            _require_kept(body, bool(frame))
            frame = body
        elif marker == SOS:
            scans += 1
            if scans > MOST_SCANS:
                refuse_unkept(f"a JPEG of more than {MOST_SCANS} scans")
        if marker == APP0 and body.startswith(JFIF) and len(body) >= 14 and not resolved:
            resolved = True
            left_out += _resolution(body, chunks)
            plain.append(_segment(APP0, JFIF + b"\1\1\0\0\1\0\1\0\0"))
        elif marker == APP14 and body.startswith(ADOBE) and len(body) >= 12:
            plain.append(_segment(APP14, body[:12]))
            left_out += ["bytes in the JPEG's segment APP14 (Adobe)"] if len(body) > 12 else []
        elif marker == APP1 and body.startswith(EXIF) and not any(name == b"eXIf" for name, _ in chunks):
            chunks.append(metadata.exif(body))
        elif marker == APP1 and body.startswith(XMP) and not any(name == b"iTXt" for name, _ in chunks):
            chunks.append(metadata.xmp(body.removeprefix(XMP)))
        elif marker == APP2 and body.startswith(PROFILE) and len(body) >= 14:
            profile.append(body)
        elif marker == COM:
            left_out.append("the JPEG's comment")
        elif APP0 <= marker <= 0xEF:
            left_out.append(f"the JPEG's segment APP{marker - APP0}{_owner(body)}")
        elif marker in LONELY and marker not in RESTARTS:
            refuse_damaged("it has a picture inside the picture")
        else:
            plain.append(bytes([0xFF, marker]) if marker in (EOI, *LONELY) else _segment(marker, body) + rest)
    if not (frame and scans):
        refuse_damaged("it has no picture")
    if profile:
        joined = _profile(profile)
        chunks += [metadata.colour_profile(joined)] if joined else []
        left_out += [] if joined else ["its colour profile, of which parts are missing"]
    if skipped:
        left_out.append(f"{skipped:,} bytes between its segments")
    if end < len(data):
        picture = ", among them another picture" if b"\xff\xd8\xff" in data[end:] else ""
        left_out.append(BYTES_BEHIND.format(len(data) - end) + picture)
    height, width = struct.unpack(">HH", frame[1:5])
    return Parsed(b"".join(plain), (width, height), tuple(chunks), listed(left_out))


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def _require_kept(frame: bytes, again: bool) -> None:
    """Raises UnsupportedImageError. again: whether it is the second frame."""
    if len(frame) < 6 or again:
        refuse_damaged("its header is damaged" if not again else "it has two headers")
    bits, height, width, channels = struct.unpack(">BHHB", frame[:6])
    if bits != 8:
        refuse_unkept(f"a JPEG of {bits} bits")
    if channels not in (1, 3):
        refuse_unkept("a picture of mode CMYK" if channels == 4 else f"a JPEG of {channels} channels")
    if not height:
        refuse_unkept("a JPEG that says its height at the end")
    if not width:
        refuse_unkept("a picture without pixels")


def _resolution(jfif: bytes, chunks: list[metadata.Chunk]) -> list[str]:
    """Adds a chunk, or names what no chunk can hold."""
    unit, x, y, across, down = struct.unpack(">BHHBB", jfif[7:14])
    left_out = ["a thumbnail"] if across * down else ["bytes in the JPEG's segment APP0 (JFIF)"] * (len(jfif) > 14)
    if (unit, x, y) == (0, 1, 1) or (x, y) == (0, 0):
        return left_out
    found = metadata.resolution(Fraction(x), Fraction(y), UNITS[unit]) if unit in UNITS else None
    if not found:
        return [*left_out, "the JPEG's resolution"]
    chunks.append(found[0])
    return left_out + found[1]


def _owner(body: bytes) -> str:
    """Who the name at the beginning says that it is, in brackets."""
    name = body.partition(b"\0")[0]
    if name in OWNERS:
        return f" ({OWNERS[name]})"
    text = name[:40].decode("ascii", "replace")
    return f" ({text})" if 2 < len(text) < 40 and text.isprintable() and text.isascii() else ""


def _profile(parts: list[bytes]) -> bytes:
    """Parts, each with its number and their count, joined; empty where they do not go together."""
    numbered = {part[12]: part[14:] for part in parts}
    count = parts[0][13]
    if len(parts) != count or sorted(numbered) != list(range(1, count + 1)) or any(part[13] != count for part in parts):
        return b""
    return b"".join(numbered[number] for number in sorted(numbered))
