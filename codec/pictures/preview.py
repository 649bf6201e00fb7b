"""A preview: a small lossy picture of a picture, for people, that needs no network to be shown."""

import io
import math

import numpy as np
from PIL import Image, ImageOps

from bitstream.container import require
from bitstream.errors import IgptError, UnsupportedImageError
from bitstream.form import Form
from codec.pictures.decoding import DAMAGES, opened_by_pillow
from codec.pictures.kept import image_in
from codec.pictures.picture import Picture, logger
from codec.pictures.pillow import opened

PART = 8  # of the sides at most, one in so many
MOST_SIDE = 16383  # of a WebP
QUALITY = 75


def preview_of(picture: Picture) -> bytes:
    """A WebP with an eighth of the picture's sides, or less, turned as EXIF says; nothing of a JPEG file that Pillow cannot decode, which
    is logged."""
    width, height = picture.size
    try:
        image = in_colour(image_in(picture, width * height) if picture.is_file else shown(picture))
    except IgptError as error:
        logger.warning("no preview is made: %s", error)
        return b""
    stream = io.BytesIO()
    turned(image.reduce(max(PART, math.ceil(max(image.size) / MOST_SIDE)))).save(stream, "WEBP", quality=QUALITY)
    return stream.getvalue()


def shown(picture: Picture) -> Image.Image:
    """Pillow's image of a picture, with 8 bits where it has no mode for more."""
    if picture.form.depth < 16:
        return opened(picture)
    exif = tuple(chunk for chunk in picture.chunks if chunk[0] == b"eXIf")
    return opened(Picture((picture.pixels >> 8).astype(np.uint8), Form(picture.form.colour, 8), exif))


def in_colour(image: Image.Image) -> Image.Image:
    """As RGB, or as RGBA where some of it may be transparent."""
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def turned(image: Image.Image) -> Image.Image:
    """As its EXIF says, if that makes sense."""
    try:
        return ImageOps.exif_transpose(image)
    except DAMAGES:
        return image


def opened_preview(data: bytes, size: tuple[int, int]) -> Image.Image:
    """Pillow's image of the preview of a picture of this size, decoded. Raises DamagedError, UnsupportedImageError."""
    most = sorted(-(-side // PART) for side in size)
    try:
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as header:
            found = sorted(header.size)
            require(found[0] <= most[0] and found[1] <= most[1], "its preview is too large")
        return opened_by_pillow("WEBP", io.BytesIO(data))
    except DAMAGES as error:
        msg = f"its preview cannot be shown ({str(error).rstrip('.') or type(error).__name__})"
        raise UnsupportedImageError(msg) from error
