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
EXACT_RESOLUTION = "the exact resolution"


def colour_profile(profile: bytes) -> Chunk:
    return b"iCCP", b"ICC profile\0\0" + zlib.compress(profile, 9)


def exif(block: bytes) -> Chunk:
    """block: a TIFF without a picture."""
    return b"eXIf", block.removeprefix(b"Exif\0\0")


def xmp(packet: bytes) -> Chunk:
    return b"iTXt", XMP_KEYWORD + bytes(4) + packet


def resolution(x: Fraction, y: Fraction, unit: Fraction | None) -> tuple[Chunk, list[str]] | None:
    """Pixels per unit, and names of what is lost of it. unit: in metres, None where only the ratio counts. None where a PNG has no numbers
    for it."""
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
    lost = unit and not (_comes_back(x, across * unit) and _comes_back(y, down * unit))
    return (b"pHYs", struct.pack(">IIB", across, down, int(unit is not None))), [EXACT_RESOLUTION] if lost else []


def _comes_back(given: Fraction, kept: Fraction) -> bool:
    """Whether what was rounded to whole pixels per metre is the same for people: a number with at most 2 decimals, less than a thousandth
    off, that has the same when it is rounded to as many decimals. Beyond that a millionth, which writers with floats are off by."""
    ordinary = any(round(given, decimals) == given == round(kept, decimals) for decimals in (0, 1, 2))
    return abs(kept - given) * (1000 if ordinary else 1_000_000) < given
