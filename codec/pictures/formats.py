"""Formats of picture files, known from how they begin, and the size that a file says it has there."""

import os
import re
import struct
from typing import BinaryIO

from bitstream.constants import MAGIC
from bitstream.errors import UnsupportedImageError

FORMATS = ("PNG", "PPM", "BMP", "TIFF", "WEBP", "JPEG", "GIF")
FIRST_BYTES = 1 << 12
MOST_SEGMENTS = 1000  # of a JPEG, before its size

_READ = {  # how they begin
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "PPM": rb"P[1-6][ \t-\r#]",
    "BMP": rb"BM",
    "TIFF": rb"II[*+]\x00|MM\x00[*+]|II\x00\*|MM\*\x00",
    "WEBP": rb"RIFF....WEBP",
    "JPEG": rb"\xff\xd8\xff",
    "GIF": rb"GIF8[79]a",
}
_OTHERS = {  # what igpt does not read
    "an igpt file already": re.escape(MAGIC[:6]),
    "a PNG whose first bytes are damaged": rb".PNG|PNG\r?\n",
    "a JPEG XL file": rb"\xff\x0a|\x00\x00\x00\x0cJXL ",
    "a JPEG 2000 file": rb"\x00\x00\x00\x0cjP|\xff\x4f\xff\x51",
    "a JPEG XR file": rb"II\xbc",
    "an AVIF file": rb"....ftypavi[fs]",
    "a HEIF file": rb"....ftyp(he[iv][cmsx]|mi[ap]f|msf1)",
    "a camera's raw file": rb"....ftypcrx|FUJIFILM|IIRO|IIRS|IIU\x00|FOVb",
    "a film": rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI |\x8aMNG",
    "a Photoshop file": rb"8BPS",
    "a GIMP file": rb"gimp xcf",
    "an icon": rb"\x00\x00\x01\x00[^\x00]|icns|(IC|CI).{12}[\x0c\x10\x28\x40]\x00\x00\x00",
    "a cursor": rb"\x00\x00\x02\x00[^\x00]|(CP|PT).{12}[\x0c\x10\x28\x40]\x00\x00\x00",
    "an array of OS/2 bitmaps": rb"BA.{12}(BM|IC|PT|CI|CP)",
    "an OpenEXR file": rb"\x76\x2f\x31\x01",
    "a Radiance file": rb"#\?(RADIANCE|RGBE)",
    "a PAM file": rb"P7\n",
    "a PFM file": rb"P[Ff]4?\s",
    "a QOI file": rb"qoif",
    "a FLIF file": rb"FLIF",
    "a BPG file": rb"BPG\xfb",
    "a farbfeld file": rb"farbfeld",
    "a FITS file": rb"SIMPLE  =",
    "a DICOM file": rb".{128}DICM",
    "a DDS file": rb"DDS ",
    "a JNG file": rb"\x8bJNG",
    "an SGI file": rb"\x01\xda[\x00\x01][\x01\x02]",
    "a PCX file": rb"\x0a[\x00-\x05][\x00\x01][\x01\x02\x04\x08]",
    "an XPM file": rb"/\* XPM \*/",
    "a drawing in SVG": rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg",
    "a DjVu file": rb"AT&TFORM",
    "a PDF file": rb"%PDF",
    "a PostScript file": rb"%!PS|\xc5\xd0\xd3\xc6",
}
READ, OTHERS = ({name: re.compile(start, re.DOTALL) for name, start in table.items()} for table in (_READ, _OTHERS))

_MARKER = re.compile(rb"\xff([^\xff\x00])", re.DOTALL)  # of a JPEG
SPACES = b" \t\n\v\f\r"
NUMBER = re.compile(rb"(?:[" + SPACES + rb"]++|#[^\r\n]*+)*+([0-9]{1,10})(?![0-9])")  # of a PPM's header, behind spaces and comments


def format_of(start: bytes) -> str:
    """One of FORMATS. Raises UnsupportedImageError, which names the format where it is another's."""
    for name, begins in READ.items():
        if begins.match(start):
            return name
    those = ", ".join(FORMATS)
    for name, begins in OTHERS.items():
        if begins.match(start[:FIRST_BYTES]):
            msg = f"this is {name}; igpt reads {those}; convert it to PNG first"
            raise UnsupportedImageError(msg)
    msg = f"this is not a picture that igpt reads ({those}); convert it to PNG first"
    raise UnsupportedImageError(msg)


def size_in(stream: BinaryIO) -> tuple[int, int]:
    """(width, height), as a file says at its beginning. Raises UnsupportedImageError, struct.error, LookupError or OSError."""
    start = stream.read(FIRST_BYTES)
    match format_of(start):
        case "PNG":
            width, height = struct.unpack_from(">II", start, 16)
        case "PPM":
            across = NUMBER.match(start, 2)
            down = NUMBER.match(start, across.end()) if across else None
            width, height = (int(found[1]) if found else 0 for found in (across, down))
        case "BMP":
            width, height = struct.unpack_from("<HH" if start[14] == 12 else "<ii", start, 18)
        case "TIFF":
            width, height = _tiff_size(stream, start)
        case "WEBP":
            width, height = _webp_size(start)
        case "JPEG":
            width, height = _jpeg_size(stream)
        case _:
            width, height = struct.unpack_from("<HH", start, 6)
    return max(0, width), abs(height)


def _tiff_size(stream: BinaryIO, start: bytes) -> tuple[int, int]:
    order, big = "<" if start[:2] == b"II" else ">", 43 in start[2:4]
    (place,) = struct.unpack_from(order + "Q", start, 8) if big else struct.unpack_from(order + "I", start, 4)
    stream.seek(place)
    (count,) = struct.unpack(order + "Q", stream.read(8)) if big else struct.unpack(order + "H", stream.read(2))
    entries = stream.read(min(count, 1 << 16) * (20 if big else 12))
    found = {256: 0, 257: 0}
    for at in range(0, len(entries), 20 if big else 12):
        tag, kind = struct.unpack_from(order + "HH", entries, at)
        if tag in found:
            (found[tag],) = struct.unpack_from(order + {3: "H", 16: "Q"}.get(kind, "I"), entries, at + (12 if big else 8))
    return found[256], found[257]


def _webp_size(start: bytes) -> tuple[int, int]:
    match start[12:16]:
        case _ if len(start) < 30:
            return 0, 0
        case b"VP8X":
            return int.from_bytes(start[24:27], "little") + 1, int.from_bytes(start[27:30], "little") + 1
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", start, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case _:
            width, height = struct.unpack_from("<HH", start, 26)
            return width & 0x3FFF, height & 0x3FFF


def size_of_jpeg(data: bytes) -> tuple[int, int]:
    """(width, height), as all of a file says; (0, 0) where that is no use."""
    at = 2
    for _ in range(MOST_SEGMENTS):
        found = _MARKER.search(data, at)
        if not found or len(data) < found.end() + 7:
            break
        marker, at = found[1][0], found.end()
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 3)
            return (width, height) if width and height else (0, 0)
        if marker != 1 and not 0xD0 <= marker <= 0xD8:
            at += int.from_bytes(data[at : at + 2], "big")
    return 0, 0


def _jpeg_size(stream: BinaryIO) -> tuple[int, int]:
    stream.seek(2)
    for _ in range(MOST_SEGMENTS):
        marker, length = struct.unpack(">HH", stream.read(4))
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            _, height, width = struct.unpack(">BHH", stream.read(5))
            return width, height
        stream.seek(length - 2, os.SEEK_CUR)
    return 0, 0
