"""Whether Pillow's image has all samples that its file has: it opens deeper and shallower ones as 8-bit without a word."""

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageFile

from codec.pictures.decoding import DAMAGES, FORMS
from codec.pictures.refusals import refuse_unkept

# Formats without colours of more than 8 bits. Of a BMP Pillow still drops what its longer headers say, and a fourth byte that is no alpha.
_EIGHT_BITS = {"BMP", "DIB", "GIF", "JPEG", "MPO", "PCX", "QOI", "TGA", "WEBP", "XBM", "XPM"}
_EXACT = {"PNG": ("1", "P", "I;16"), "PPM": ("1", "I;16"), "IGPT": ("1", "P", "I;16", "LA", "RGB", "RGBA")}  # modes that hide nothing


def require_supported(image: Image.Image) -> None:
    """Raises UnsupportedImageError where something about an image cannot be kept."""
    if what := _unsupported(image):
        refuse_unkept(what)


def _unsupported(image: Image.Image) -> str:
    """What about an image cannot be kept, as the subject of a sentence; empty where all can."""
    if image.width == 0 or image.height == 0:
        return "a picture without pixels"
    try:
        pages = getattr(image, "n_frames", 1)
    except (*DAMAGES, AssertionError):
        return "a file that was closed before its pages were counted"
    if pages > 1:
        return f"an animation or a file of {pages} pages"
    return lacking(image) if image.mode in FORMS else f"a picture of mode {image.mode}"


def lacking(image: Image.Image) -> str:
    """A file of which Pillow's image has not all, or whose depth can no longer be found out, as the subject of a sentence; else empty."""
    if not isinstance(image, ImageFile.ImageFile):
        return ""
    if image.format == "TIFF":
        return _lacking_of_tiff(image)
    if image.format in _EIGHT_BITS or image.mode in _EXACT.get(image.format or "", ()):
        return ""
    if image.format not in ("PNG", "PPM", "IGPT"):
        return f"a file of the format {image.format}, whose depth Pillow does not tell"
    raw = raw_mode(image)
    if raw is None:
        return f"a {image.format} that can no longer be read to tell its depth"
    if ";16" in raw:
        return f"a {image.format} with samples of 16 bits"
    return f"a {image.format} with a largest value of {raw}" if raw.isdigit() else ""


def _lacking_of_tiff(image: ImageFile.ImageFile) -> str:
    tags: Mapping[int, Any] | None = getattr(image, "tag_v2", None)
    if tags is None:
        return "a TIFF that has lost its tags"
    bits = set(tags.get(258, (1,)))
    if bits != {{"1": 1, "I;16": 16}.get(image.mode, 8)} and not (image.mode == "P" and max(bits) < 8):
        return "a TIFF with samples of other than 8 bits"
    if set(tags.get(339, (1,))) != {1} or tuple(tags.get(338, ())) not in ((), (2,)):
        return "a TIFF with signed samples, or with more channels than a picture's"
    if image.mode == "I;16" and tags.get(262) != 1:
        return "a TIFF with 16-bit samples that are no brightnesses"
    colours = tags.get(320, ()) if image.mode == "P" else ()
    if any(v % 256 for v in colours) and any(v % 257 for v in colours):
        return "a TIFF whose palette has colours of 16 bits"
    return ""


def raw_mode(image: ImageFile.ImageFile) -> str | None:
    """What the samples in the file of a PNG, PPM or igpt image are, as Pillow names it; of a PPM its largest value where that is not 255.

    None where it cannot be found out any more: an image that is loaded has forgotten it, so the file is opened once more.
    """
    if image.format == "IGPT":
        return getattr(image, "raw_mode", None)
    if image.tile:
        return _raw_mode_of(image)
    name: Any = image.filename
    with contextlib.suppress(*DAMAGES):
        stream: Any = getattr(image, "_fp", None) or image.fp
        name = name or getattr(stream, "name", "")
        place = stream.tell()
        try:
            stream.seek(0)
            return _raw_mode_of(type(image)(stream))
        finally:
            stream.seek(place)
    with contextlib.suppress(*DAMAGES):
        if isinstance(name, str | bytes) and os.path.isfile(name):
            with open(name, "rb") as file:
                return _raw_mode_of(type(image)(file))
    return None


def _raw_mode_of(image: ImageFile.ImageFile) -> str:
    """As `raw_mode`, of an image that is not loaded."""
    decoder, _, _, arguments = image.tile[0]
    raw, *more = [arguments] if isinstance(arguments, str) else (arguments or ("",))
    if image.format == "PPM" and decoder.startswith("ppm") and more and more[0] != 255:
        return str(more[0])
    return str(raw)
