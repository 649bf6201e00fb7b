"""Metadata that picture files of several formats have, and as chunks of a PNG."""

import struct
import zlib
from fractions import Fraction
from typing import Any

Chunk = tuple[bytes, bytes]
Metadata = dict[str, Any]  # by these names, for people: bytes; the resolution is (x, y, unit) as in a pHYs chunk

EXIF, PROFILE, RESOLUTION, XMP = "EXIF", "colour profile", "resolution", "XMP"
XMP_KEYWORD = b"XML:com.adobe.xmp\0"
METRES_PER_INCH = Fraction(254, 10000)
LARGEST = (1 << 31) - 1  # number in a PNG


def colour_profile(profile: bytes) -> Chunk:
    return b"iCCP", b"ICC profile\0\0" + zlib.compress(profile, 9)


def exif(block: bytes) -> Chunk:
    """block: a TIFF without a picture."""
    return b"eXIf", block.removeprefix(b"Exif\0\0")


def xmp(packet: bytes) -> Chunk:
    return b"iTXt", XMP_KEYWORD + bytes(4) + packet


def resolution(x: Fraction, y: Fraction, unit: Fraction | None) -> Chunk | None:
    """Pixels per unit. unit: in metres, None where only the ratio counts. None where a PNG has no numbers for it."""
    if x <= 0 or y <= 0:
        return None
    if unit:
        across, down = round(x / unit), round(y / unit)
    elif x.denominator == y.denominator == 1:
        across, down = int(x), int(y)
    else:
        across, down = (x / y).as_integer_ratio()
    if not (0 < across <= LARGEST and 0 < down <= LARGEST):
        return None
    return b"pHYs", struct.pack(">IIB", across, down, int(unit is not None))
