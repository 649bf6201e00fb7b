"""Pillow's images <-> pictures."""

import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffTags

from bitstream.constants import MAX_CHUNK_BYTES
from bitstream.errors import DamagedError, UnsupportedImageError
from codec.image import DAMAGES, Picture, opened_by_pillow
from codec.outputs import png_of
from codec.planes import Pixels
from codec.png import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Form

# Info keys that say how the file was laid out, not what the picture is.
_LAYOUT = {
    "compression",
    "loop",
    "background",
    "jfif",
    "jfif_version",
    "jfif_density",
    "jfif_unit",
    "progressive",
    "progression",
    "interlace",
    "timestamp",
    "duration",
    "version",
    "extension",
    "resolution",
}
_TIFF_LAYOUT = {*range(254, 260), 262, 266, 273, 274, *range(277, 280), 282, 283, 284, 296, 297, 317, 320, *range(322, 326), 338, 339, 347}
_TIFF_KEPT = {700, 34675}  # XMP, colour profile
_MODES = {
    "1": Form(GREY, 1),
    "I;16": Form(GREY, 16),
    "L": Form(GREY, 8),
    "LA": Form(GREY_ALPHA, 8),
    "P": Form(PALETTE, 8),
    "RGB": Form(RGB, 8),
    "RGBA": Form(RGB_ALPHA, 8),
}
XMP = b"XML:com.adobe.xmp\0\0\0\0\0"


def picture_of(image: Image.Image) -> Picture:
    """An opened image: its samples, and as chunks what Pillow knows of it. Raises UnsupportedImageError where that is not all of it."""
    require_supported(image)
    form, info = _MODES[image.mode], dict(image.info)
    chunks: list[tuple[bytes, bytes]] = []
    for name, packed in _PACKED.items():
        if name in info:
            with contextlib.suppress(struct.error, ValueError, TypeError, AttributeError, OverflowError, ZeroDivisionError):
                chunks.append(packed(info[name]))
                del info[name]
    transparency = info.pop("transparency", None)
    if form.colour == PALETTE:
        colours, mode = image.getpalette("RGBA") or [], image.palette.mode if image.palette else ""
        entries = np.array(colours or [0, 0, 0, 255], np.uint8).reshape(-1, 4)
        chunks.append((b"PLTE", entries[:, :3].tobytes()))
        if isinstance(transparency, int):
            transparency = b"\xff" * transparency + b"\0"
        if transparency or mode == "RGBA":
            chunks.append((b"tRNS", transparency or entries[:, 3].tobytes()))
    elif isinstance(transparency, int | tuple):
        values = transparency if isinstance(transparency, tuple) else (transparency,)
        chunks.append((b"tRNS", struct.pack(f">{len(values)}H", *values)))
    left_out = {str(key) for key in info} - _LAYOUT
    if image.format == "TIFF":
        left_out |= {TiffTags.lookup(tag).name for tag in set(getattr(image, "tag_v2", {})) - _TIFF_LAYOUT - _TIFF_KEPT}
    return Picture(samples_of(image, form), form, tuple(chunks), tuple(sorted(left_out)))


def _pixels_per_metre(dpi: tuple[float, float]) -> tuple[bytes, bytes]:
    return b"pHYs", struct.pack(">IIB", *(round(float(n) / 0.0254) for n in dpi), 1)


_PACKED: dict[str, Callable[[Any], tuple[bytes, bytes]]] = {  # what Pillow knows of a picture, as chunks of a PNG
    "icc_profile": lambda profile: (b"iCCP", b"ICC profile\0\0" + zlib.compress(profile, 9)),
    "gamma": lambda gamma: (b"gAMA", struct.pack(">I", round(gamma * 1e5))),
    "dpi": _pixels_per_metre,
    "exif": lambda exif: (b"eXIf", exif.removeprefix(b"Exif\0\0")),
    "xmp": lambda xmp: (b"iTXt", XMP + (xmp if isinstance(xmp, bytes) else xmp.encode())),
}


def samples_of(image: Image.Image, form: Form) -> npt.NDArray[Any]:
    dtype = np.uint16 if form.depth == 16 else np.uint8
    samples: npt.NDArray[Any] = np.array(image, dtype=dtype).reshape(image.height, image.width, form.channels)
    if form.colour == GREY and 1 < form.depth < 8:  # Pillow has stretched them to 0 to 255
        samples //= 255 // ((1 << form.depth) - 1)
    return samples


def require_supported(image: Image.Image, form: Form | None = None) -> None:
    if what := unsupported(image, form):
        msg = f"{what} cannot be kept exactly by this version; RGB and greyscale with and without alpha, palettes and bitmaps can"
        raise UnsupportedImageError(msg)


def unsupported(image: Image.Image, form: Form | None = None) -> str:
    """What about an image cannot be kept, as the subject of a sentence; empty where all can.

    Pillow opens deeper and shallower samples as 8-bit without a word; the raw mode of what it is about to decode tells.
    """
    if image.width == 0 or image.height == 0:
        return "a picture without pixels"
    if getattr(image, "n_frames", 1) > 1:
        return f"an animation or a file of {getattr(image, 'n_frames', 1)} pages"
    if form and not form.kept:
        return f"a PNG with samples of {form.depth} bits"
    if form:
        return ""
    if image.mode not in _MODES:
        return f"a picture of mode {image.mode}"
    tiles = getattr(image, "tile", [])
    decoder = tiles[0].codec_name if tiles else ""
    arguments: Any = tiles[0].args if tiles else ()
    raw = arguments if isinstance(arguments, str) else next(iter(arguments or ()), "")
    if image.format == "PNG" and raw and ";16" in raw and image.mode != "I;16":
        return "a PNG with samples of 16 bits"
    if image.format == "PPM" and decoder.startswith("ppm") and isinstance(arguments, tuple) and arguments[1] != 255:
        return f"a PPM with a largest value of {arguments[1]}"
    if image.format == "TIFF" and set(getattr(image, "tag_v2", {}).get(258, (8,))) != {8}:
        return "a TIFF with samples of other than 8 bits"
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        if set(tags.get(339, (1,))) != {1} or tuple(tags.get(338, ())) not in ((), (2,)):
            return "a TIFF with signed samples, or with more channels than a picture's"
    return ""


def image_of(pixels: Pixels) -> Image.Image:
    """(height, width, channels) uint8 -> an image of mode L or RGB."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def opened(picture: Picture) -> Image.Image:
    """Pillow's image of a picture. Raises DamagedError where its metadata are none that a PNG can have.

    Pillow reads no colour profile of more than a megabyte; so that is handed over beside the PNG.
    """
    profiles = [body for name, body in picture.chunks if name == b"iCCP"]
    rest = tuple(chunk for chunk in picture.chunks if chunk[0] != b"iCCP")
    try:
        image = opened_by_pillow("PNG", io.BytesIO(png_of(replace(picture, chunks=rest))))
        for body in profiles:
            image.info["icc_profile"] = zlib.decompressobj().decompress(body.partition(b"\0")[2][1:], MAX_CHUNK_BYTES)
    except (*DAMAGES, zlib.error) as error:
        msg = f"the file is damaged: its metadata are unusable ({str(error).rstrip('.')})"
        raise DamagedError(msg) from error
    return image
