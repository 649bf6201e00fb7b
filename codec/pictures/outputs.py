"""Pictures -> picture files, in the format that a name's extension says."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import TiffTags

from bitstream.errors import UnsupportedImageError
from bitstream.form import ALPHA, GREY, PALETTE, RGB, RGB_ALPHA, Form
from codec.pictures.picture import DAMAGES, Picture, open_picture
from codec.pictures.pillow import bare, known_of
from codec.pictures.png_file import rows_of, written

OUTPUTS = (".ppm", ".pgm", ".pbm", ".pnm", ".bmp", ".tif", ".tiff", ".webp")  # beside .png

EXIF, PROFILE, RESOLUTION, XMP = "EXIF", "colour profile", "resolution", "XMP"  # metadata that other formats, too, have
_CHUNKS = {b"eXIf": EXIF, b"iCCP": PROFILE, b"pHYs": RESOLUTION, b"tEXt": "text", b"zTXt": "text", b"iTXt": "text"}
_INFO = {EXIF: "exif", PROFILE: "icc_profile", XMP: "xmp"}  # as Pillow names them
_PREFIX = b"Exif\0\0"  # Pillow's, and that of files that have it although a PNG's needs none

Metadata = dict[str, Any]  # bytes; the resolution is (x, y, unit) as in a pHYs chunk
Written = tuple[bytes, tuple[str, ...]]  # a file, and names of what is not in it


def png_of(picture: Picture) -> bytes:
    """A PNG file of the picture."""
    return written(picture.pixels, picture.form, picture.chunks)


def written_as(picture: Picture, suffix: str) -> Written:
    """A picture file, of the format that the extension says, and names of what the picture has and the file has not.

    No extension, as of a pipe, means PNG, which has everything. Raises UnsupportedImageError where the format cannot hold the samples as
    they are and look.
    """
    suffix = suffix.lower()
    if suffix in ("", ".png"):
        return png_of(picture), ()
    if suffix not in OUTPUTS:
        msg = f"{suffix} is no format that igpt writes: choose .png, {', '.join(OUTPUTS)}"
        raise UnsupportedImageError(msg)
    write = {".bmp": _bmp, ".tif": _tiff, ".tiff": _tiff, ".webp": _webp}.get(suffix, _ppm)
    if _transparent(picture):
        raise _without_loss(picture, f"{suffix}, some of them transparent,")
    metadata, left_out = _metadata_of(picture)
    data, more = write(picture, metadata)
    return data, tuple(dict.fromkeys((*more, *left_out)))


def _without_loss(picture: Picture, suffix: str) -> UnsupportedImageError:
    return UnsupportedImageError(f"{picture.described}, cannot be written as {suffix} without loss: choose .png")


def _transparent(picture: Picture) -> bool:
    """Whether a colour of it is, which but PNGs no file can say."""
    bodies = [body for name, body in picture.chunks if name == b"tRNS"]
    return picture.form.colour not in ALPHA and any(picture.form.colour != PALETTE or min(body, default=255) < 255 for body in bodies)


def _metadata_of(picture: Picture) -> tuple[Metadata, list[str]]:
    """What other formats may have a place for, and names of the rest."""
    info, metadata, rest = known_of(picture.form, picture.chunks).info, Metadata(), []
    for name, body in picture.chunks:
        kind = XMP if name == b"iTXt" and body.startswith(b"XML:com.adobe.xmp\0") else _CHUNKS.get(name, name.decode())
        value: Any = struct.unpack(">IIB", body) if kind == RESOLUTION and len(body) == 9 else info.get(_INFO.get(kind, ""))
        if name == b"IDAT" or (name == b"PLTE" and picture.form.colour == PALETTE):
            continue
        if kind in metadata or not value:
            rest.append(kind)
        else:
            metadata[kind] = value.removeprefix(_PREFIX).removeprefix(_PREFIX) if kind == EXIF else value
    return metadata, rest


def _ppm(picture: Picture, metadata: Metadata) -> Written:
    """PBM, PGM or PPM (netpbm's), whichever holds the samples."""
    (height, width, _), form = picture.pixels.shape, picture.form
    if form.colour not in (GREY, RGB):
        raise _without_loss(picture, "PPM")
    if form.depth == 1:
        return b"P4\n%d %d\n" % (width, height) + rows_of(1 - picture.pixels, 1).tobytes(), tuple(metadata)
    head = b"P%d\n%d %d\n%d\n" % (5 if form.colour == GREY else 6, width, height, (1 << form.depth) - 1)
    return head + picture.pixels.astype(">u2" if form.depth == 16 else np.uint8).tobytes(), tuple(metadata)


def _bmp(picture: Picture, metadata: Metadata) -> Written:
    if picture.form not in (Form(GREY, 1), Form(GREY, 8), Form(RGB, 8)) and picture.form.colour != PALETTE:
        raise _without_loss(picture, "BMP")
    data = bytearray(_saved_by_pillow(picture, "BMP"))
    x, y, unit = metadata.get(RESOLUTION, (0, 0, 1))
    if unit == 1 and max(x, y) < 1 << 31:
        metadata.pop(RESOLUTION, None)
        data[38:46] = struct.pack("<II", x, y)
    else:
        data[38:46] = bytes(8)
    few = (f"{picture.form.depth} bits of an index, it has 8",) if picture.form.colour == PALETTE and picture.form.depth < 8 else ()
    return bytes(data), (*few, *metadata)


def _webp(picture: Picture, metadata: Metadata) -> Written:
    """Lossless."""
    if picture.form not in (Form(RGB, 8), Form(RGB_ALPHA, 8)):
        raise _without_loss(picture, "WebP")
    held = {name: metadata.pop(kind) for kind, name in _INFO.items() if kind in metadata}
    return _saved_by_pillow(picture, "WEBP", lossless=True, exact=True, method=4, **held), tuple(metadata)


def _saved_by_pillow(picture: Picture, format_: str, **options: Any) -> bytes:
    """A file that was read again and has the same samples and colours."""
    image, stream = bare(picture), io.BytesIO()
    image.palette = known_of(picture.form, picture.chunks).palette
    height, width, _ = picture.pixels.shape
    try:
        image.save(stream, format_, **options)
        again = open_picture(io.BytesIO(stream.getvalue()), height * width)
    except DAMAGES as error:
        raise _without_loss(picture, format_) from error
    except UnsupportedImageError as error:
        raise _without_loss(picture, format_) from error
    kept = again.form == picture.form or (again.form.colour == picture.form.colour == PALETTE)
    if not (kept and np.array_equal(again.pixels, picture.pixels) and np.array_equal(_colours(again), _colours(picture))):
        raise _without_loss(picture, format_)
    return stream.getvalue()


def _colours(picture: Picture) -> npt.NDArray[np.uint8]:
    """Of a palette, those that are used; else none."""
    table = np.zeros((256, 3), np.uint8)
    for name, body in picture.chunks if picture.form.colour == PALETTE else ():
        if name == b"PLTE":
            table[: len(body) // 3] = np.frombuffer(body, np.uint8).reshape(-1, 3)
    used: npt.NDArray[np.uint8] = table[np.unique(picture.pixels)]
    return used


STRIP_BYTES = 1 << 18
BYTE, SHORT, LONG, RATIONAL, UNDEFINED = 1, 3, 4, 5, 7  # types of TIFF, and of all of them the bytes
_TYPE_BYTES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4)
_STRUCTURE = {*range(254, 260), 262, 266, 273, *range(277, 280), 284, 317, *range(320, 326), 330, 338, 339, 347, *range(512, 522)}
_PHOTOMETRIC = {GREY: 1, RGB: 2, PALETTE: 3}


class _Exif(NamedTuple):
    """An EXIF block, which is a TIFF without a picture. order: "<" or ">"; entries: of its first directory, 12 bytes by tag."""

    block: bytes
    order: str
    entries: dict[int, bytes]
    has_thumbnail: bool


def _tiff(picture: Picture, metadata: Metadata) -> Written:
    """TIFF 6.0 with deflated strips. The file begins as the EXIF does, so that whatever is in that stays where its offsets say; behind it
    stand the picture and a directory with the tags of both.
    """
    (height, width, channels), form = picture.pixels.shape, picture.form
    left_out: list[str] = []
    exif = _Exif(b"II*\0\0\0\0\0", "<", {}, has_thumbnail=False)
    if EXIF in metadata:
        found = _exif_of(metadata.pop(EXIF))
        exif = found or exif
        left_out += [] if found else [EXIF]
    data, entries = bytearray(exif.block), dict(exif.entries)
    lengths = {BYTE: "B", SHORT: "H", LONG: "I", RATIONAL: "I", UNDEFINED: "B"}

    def behind(body: bytes) -> int:
        """Its place."""
        data.extend(bytes(len(data) % 2))
        data.extend(body)
        return len(data) - len(body)

    def put(tag: int, type_: int, values: Sequence[int]) -> None:
        body = struct.pack(f"{exif.order}{len(values)}{lengths[type_]}", *values)
        field = body.ljust(4, b"\0") if len(body) <= 4 else struct.pack(f"{exif.order}I", behind(body))
        entries[tag] = struct.pack(f"{exif.order}HHI", tag, type_, len(body) // _TYPE_BYTES[type_]) + field

    x, y, unit = metadata.get(RESOLUTION, (0, 0, 0))
    replaced = _STRUCTURE | ({282, 283, 296} if x and y and unit in (0, 1) else set())
    replaced |= ({700} if XMP in metadata else set()) | ({34675} if PROFILE in metadata else set())
    for tag in sorted(entries.keys() & replaced):
        del entries[tag]
        left_out.append(f"{EXIF} {TiffTags.lookup(tag).name}")
    if exif.has_thumbnail:
        left_out.append(f"{EXIF} thumbnail")

    rows = min(height, max(1, STRIP_BYTES // max(1, width * channels * form.depth // 8)))
    strips = [zlib.compress(_strip(picture.pixels[at : at + rows], form.depth, exif.order)) for at in range(0, height, rows)]
    put(256, LONG, [width])
    put(257, LONG, [height])
    put(258, SHORT, [form.depth] * channels)
    put(259, SHORT, [8])  # deflated
    put(262, SHORT, [_PHOTOMETRIC.get(form.colour) or (1 if channels == 2 else 2)])
    put(273, LONG, [behind(strip) for strip in strips])
    put(277, SHORT, [channels])
    put(278, LONG, [rows])
    put(279, LONG, [*map(len, strips)])
    put(284, SHORT, [1])
    if form.colour == PALETTE:
        table = np.zeros((1 << form.depth, 3), np.uint16)
        palette = next(body for name, body in picture.chunks if name == b"PLTE")[: table.size]
        table[: len(palette) // 3] = np.frombuffer(palette, np.uint8).reshape(-1, 3)
        put(320, SHORT, (table.T.ravel() * 257).tolist())
    if form.colour in ALPHA:
        put(338, SHORT, [2])  # not premultiplied
    if 282 in replaced:
        del metadata[RESOLUTION]
        put(282, RATIONAL, [x, 100 if unit else 1])
        put(283, RATIONAL, [y, 100 if unit else 1])
        put(296, SHORT, [3 if unit else 1])  # per centimetre, or only their ratio
    if XMP in metadata:
        put(700, BYTE, metadata.pop(XMP))
    if PROFILE in metadata:
        put(34675, UNDEFINED, metadata.pop(PROFILE))
    directory = struct.pack(f"{exif.order}H", len(entries)) + b"".join(entry for _, entry in sorted(entries.items())) + bytes(4)
    data[4:8] = struct.pack(f"{exif.order}I", behind(directory))
    return bytes(data), (*left_out, *metadata)


def _strip(samples: npt.NDArray[Any], depth: int, order: str) -> bytes:
    rows: npt.NDArray[Any] = rows_of(samples, depth)
    return (rows.view(">u2").astype(f"{order}u2") if depth == 16 else rows).tobytes()


def _exif_of(block: bytes) -> _Exif | None:
    """None where it is not such that a TIFF could begin so."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return None
    (at,) = struct.unpack_from(f"{order}I", block, 4)
    if at + 2 > len(block):
        return None
    (count,) = struct.unpack_from(f"{order}H", block, at)
    end = at + 2 + 12 * count
    if end > len(block):
        return None
    entries = {}
    for place in range(at + 2, end, 12):
        tag, type_, number, value = struct.unpack_from(f"{order}HHII", block, place)
        size = number * _TYPE_BYTES[type_] if type_ < len(_TYPE_BYTES) else 0
        if not size or (size > 4 and value + size > len(block)):
            return None
        entries[tag] = block[place : place + 12]
    return _Exif(block, order, entries, has_thumbnail=any(block[end : end + 4]))
