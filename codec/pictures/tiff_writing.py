"""TIFF files written (6.0), with deflated strips and the tags of an EXIF block."""

import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import TiffTags

from bitstream.form import ALPHA, GREY, PALETTE, RGB
from codec.pictures.directory import BYTE, ENTRY, INLINE, LONG, RATIONAL, SHORT, SIZES, UNDEFINED
from codec.pictures.metadata import EXIF, PROFILE, RESOLUTION, XMP, Metadata
from codec.pictures.picture import Picture
from codec.pictures.png_writing import rows_of

STRIP_BYTES = 1 << 18
DEFLATE = 8
CODES = {BYTE: "B", SHORT: "H", LONG: "I", RATIONAL: "I", UNDEFINED: "B"}  # of struct, by type
STRUCTURE = {*range(254, 260), 262, 266, 273, *range(277, 280), 284, 317, *range(320, 326), 330, 338, 339, 347, *range(512, 522)}
RESOLUTION_TAGS, XMP_TAG, PROFILE_TAG = {282, 283, 296}, 700, 34675
PHOTOMETRIC = {GREY: 1, RGB: 2, PALETTE: 3}


class Exif(NamedTuple):
    """An EXIF block, which is a TIFF without a picture. order: "<" or ">"; entries: of its first directory, 12 bytes by tag."""

    block: bytes
    order: str
    entries: dict[int, bytes]
    has_thumbnail: bool


NO_EXIF = Exif(b"II*\0\0\0\0\0", "<", {}, has_thumbnail=False)


class Tags:
    """A directory that grows, and the file whose places its values have. order: of bytes, as struct names it."""

    def __init__(self, exif: Exif) -> None:
        self.order, self.data, self.entries = exif.order, bytearray(exif.block), dict(exif.entries)

    def append(self, body: bytes) -> int:
        """Adds bytes to the file, at an even place, which it returns."""
        self.data.extend(bytes(len(self.data) % 2))
        self.data.extend(body)
        return len(self.data) - len(body)

    def put(self, tag: int, kind: int, values: Sequence[int]) -> None:
        """Sets a tag; of a RATIONAL the values are numerators and denominators in turn."""
        body = struct.pack(f"{self.order}{len(values)}{CODES[kind]}", *values)
        place = body.ljust(INLINE, b"\0") if len(body) <= INLINE else struct.pack(f"{self.order}I", self.append(body))
        self.entries[tag] = struct.pack(f"{self.order}HHI", tag, kind, len(body) // SIZES[kind]) + place

    def file(self) -> bytes:
        """All of it, with the directory at the end."""
        entries = b"".join(entry for _, entry in sorted(self.entries.items()))
        at = self.append(struct.pack(f"{self.order}H", len(self.entries)) + entries + bytes(4))
        self.data[4:8] = struct.pack(f"{self.order}I", at)
        return bytes(self.data)


def tiff_of(picture: Picture, metadata: Metadata) -> tuple[bytes, tuple[str, ...]]:
    """A TIFF file of a picture, and names of the metadata that are not in it.

    metadata: what is written is taken out of it. The file begins as the EXIF does, so that whatever is in that stays where its offsets say;
    behind it stand the picture and a directory with the tags of both.
    """
    left_out: list[str] = []
    exif = NO_EXIF
    if EXIF in metadata:
        found = _exif_of(metadata.pop(EXIF))
        exif = found or exif
        left_out += [] if found else [EXIF]
    tags = Tags(exif)
    x, y, unit = metadata.get(RESOLUTION, (0, 0, 0))
    resolved = bool(x and y and unit in (0, 1))
    replaced = STRUCTURE | (RESOLUTION_TAGS if resolved else set())
    replaced |= ({XMP_TAG} if XMP in metadata else set()) | ({PROFILE_TAG} if PROFILE in metadata else set())
    for tag in sorted(tags.entries.keys() & replaced):
        del tags.entries[tag]
        left_out.append(f"{EXIF} {TiffTags.lookup(tag).name}")
    if exif.has_thumbnail:
        left_out.append(f"{EXIF} thumbnail")

    _put_samples(tags, picture)
    if resolved:
        del metadata[RESOLUTION]
        tags.put(282, RATIONAL, [x, 100 if unit else 1])
        tags.put(283, RATIONAL, [y, 100 if unit else 1])
        tags.put(296, SHORT, [3 if unit else 1])  # per centimetre, or only their ratio
    if XMP in metadata:
        tags.put(XMP_TAG, BYTE, metadata.pop(XMP))
    if PROFILE in metadata:
        tags.put(PROFILE_TAG, UNDEFINED, metadata.pop(PROFILE))
    return tags.file(), (*left_out, *metadata)


def _put_samples(tags: Tags, picture: Picture) -> None:
    """The pixels in strips, the tags that say how they stand there, and the palette."""
    (height, width, channels), form = picture.pixels.shape, picture.form
    rows = min(height, max(1, STRIP_BYTES // max(1, width * channels * form.depth // 8)))
    strips = [zlib.compress(_strip(picture.pixels[at : at + rows], form.depth, tags.order)) for at in range(0, height, rows)]
    tags.put(256, LONG, [width])
    tags.put(257, LONG, [height])
    tags.put(258, SHORT, [form.depth] * channels)
    tags.put(259, SHORT, [DEFLATE])
    tags.put(262, SHORT, [PHOTOMETRIC.get(form.colour) or (1 if channels == 2 else 2)])
    tags.put(273, LONG, [tags.append(strip) for strip in strips])
    tags.put(277, SHORT, [channels])
    tags.put(278, LONG, [rows])
    tags.put(279, LONG, [*map(len, strips)])
    tags.put(284, SHORT, [1])
    if form.colour == PALETTE:
        table = np.zeros((1 << form.depth, 3), np.uint16)
        palette = next(body for name, body in picture.chunks if name == b"PLTE")[: table.size]
        table[: len(palette) // 3] = np.frombuffer(palette, np.uint8).reshape(-1, 3)
        tags.put(320, SHORT, (table.T.ravel() * 257).tolist())
    if form.colour in ALPHA:
        tags.put(338, SHORT, [2])  # not premultiplied


def _strip(samples: npt.NDArray[Any], depth: int, order: str) -> bytes:
    rows: npt.NDArray[Any] = rows_of(samples, depth)
    return (rows.view(">u2").astype(f"{order}u2") if depth == 16 else rows).tobytes()


def _exif_of(block: bytes) -> Exif | None:
    """None where it is not such that a TIFF could begin so."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return None
    (at,) = struct.unpack_from(f"{order}I", block, 4)
    if at + 2 > len(block):
        return None
    (count,) = struct.unpack_from(f"{order}H", block, at)
    end = at + 2 + ENTRY * count
    if end > len(block):
        return None
    entries = {}
    for place in range(at + 2, end, ENTRY):
        tag, kind, number, value = struct.unpack_from(f"{order}HHII", block, place)
        size = number * SIZES.get(kind, 0)
        if not size or (size > INLINE and value + size > len(block)):
            return None
        entries[tag] = block[place : place + ENTRY]
    return Exif(block, order, entries, has_thumbnail=any(block[end : end + 4]))
