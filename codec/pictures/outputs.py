"""Pictures -> picture files, in the format that a name's extension says."""

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from bitstream.errors import UnsupportedImageError
from bitstream.form import ALPHA, GREY, KEPT, PALETTE, RGB, RGB_ALPHA, Form
from codec.pictures import kept
from codec.pictures.decoding import DAMAGES
from codec.pictures.metadata import EXIF, PROFILE, RESOLUTION, XMP, XMP_KEYWORD, Metadata
from codec.pictures.picture import Picture
from codec.pictures.pillow import bare, known_of
from codec.pictures.png_writing import rows_of, written
from codec.pictures.reading import open_picture
from codec.pictures.tiff_writing import tiff_of

OUTPUTS = (".ppm", ".pgm", ".pbm", ".pnm", ".bmp", ".tif", ".tiff", ".webp")  # beside .png

_CHUNKS = {b"eXIf": EXIF, b"iCCP": PROFILE, b"pHYs": RESOLUTION, b"tEXt": "text", b"zTXt": "text", b"iTXt": "text"}
_INFO = {EXIF: "exif", PROFILE: "icc_profile", XMP: "xmp"}  # as Pillow names them
_PREFIX = b"Exif\0\0"  # Pillow's, and that of files that have it although a PNG's needs none

Written = tuple[bytes, tuple[str, ...]]  # a file, and names of what is not in it


def png_of(picture: Picture) -> bytes:
    """A PNG file of the picture."""
    return written(picture.pixels, picture.form, picture.chunks)


def require_output(form: Form, suffix: str, whole: bool = True) -> None:
    """Raises UnsupportedImageError where that is a JPEG's extension, but the picture of this form was none, or not all of it is wanted."""
    if suffix.lower() in kept.SUFFIXES and not whole:
        msg = f"a part of a picture cannot become {suffix.lower()} without loss: choose .png"
        raise UnsupportedImageError(msg)
    if suffix.lower() in kept.SUFFIXES and form.colour != KEPT:
        msg = f"it holds pixels, not a JPEG file, so it cannot become {suffix.lower()} without loss: choose .png"
        raise UnsupportedImageError(msg)


def written_as(picture: Picture, suffix: str, max_pixels: int | None = None) -> Written:
    """A picture file, of the format that the extension says, and names of what the picture has and the file has not.

    No extension, as of a pipe, means PNG, which has everything; or the JPEG file itself, where one was kept, which other extensions get
    decoded, if it has no more than `max_pixels`. Raises UnsupportedImageError where the format cannot hold the samples as
    they are and look.
    """
    suffix = suffix.lower()
    if picture.is_file:
        if suffix in ("", *kept.SUFFIXES):
            return picture.file, ()
        try:
            picture = kept.picture_shown(picture, max_pixels)
        except UnsupportedImageError as error:
            msg = f"its pixels cannot be written as {suffix} ({error}); the JPEG file itself can be, as .jpg"
            raise UnsupportedImageError(msg) from error
        data, others = written_as(picture, suffix)
        return data, tuple(dict.fromkeys((*picture.left_out, *others)))
    require_output(picture.form, suffix)
    if suffix in ("", ".png"):
        return png_of(picture), ()
    if suffix not in OUTPUTS:
        msg = f"{suffix} is no format that igpt writes: choose .png, {', '.join(OUTPUTS)}"
        raise UnsupportedImageError(msg)
    write = {".bmp": _bmp, ".tif": tiff_of, ".tiff": tiff_of, ".webp": _webp}.get(suffix, _ppm)
    if _transparent(picture):
        raise _without_loss(picture, f"{suffix}, some of them transparent,")
    if (suffix == ".pgm" and picture.form.colour != GREY) or (suffix == ".pbm" and picture.form != Form(GREY, 1)):
        raise _without_loss(picture, suffix)
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
        kind = XMP if name == b"iTXt" and body.startswith(XMP_KEYWORD) else _CHUNKS.get(name, name.decode())
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
