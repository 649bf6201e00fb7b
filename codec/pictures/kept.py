"""A JPEG file that is kept as it is: the picture that it shows."""

import io
from dataclasses import replace

from PIL import Image, JpegImagePlugin

from codec.box import Box
from codec.pictures.decoding import DAMAGES, opened_by_pillow
from codec.pictures.picture import Picture
from codec.pictures.reading import MAX_PIXELS, check_size, open_picture
from codec.pictures.refusals import refuse_damaged

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")


def image_in(kept: Picture, max_pixels: int | None) -> Image.Image:
    """Pillow's image, decoded. max_pixels: None: the default limit. Raises TooLargeError, and UnsupportedImageError where Pillow cannot."""
    check_size(*kept.size, MAX_PIXELS if max_pixels is None else max_pixels)
    try:
        return opened_by_pillow("JPEG", io.BytesIO(kept.file))
    except DAMAGES as error:
        refuse_damaged(str(error).rstrip(".") or type(error).__name__)


def picture_shown(kept: Picture, max_pixels: int | None) -> Picture:
    """Its pixels as Pillow decodes them, and what a picture file has place for. Raises as `open_picture`."""
    return open_picture(io.BytesIO(kept.file), MAX_PIXELS if max_pixels is None else max_pixels)


def part_shown(kept: Picture, box: Box, max_pixels: int | None) -> Picture:
    """As `picture_shown`, of a part of it. Raises IgptError where the box does not lie in it."""
    found = picture_shown(kept, max_pixels)
    box.require_in(*found.size)
    return replace(found, pixels=found.pixels[box.rows, box.columns])


def opened_header(data: bytes) -> Image.Image:
    """Pillow's image of a JPEG, or of one without the code of its scans, not decoded. Raises UnsupportedImageError."""
    try:
        return JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    except DAMAGES as error:
        refuse_damaged(str(error).rstrip(".") or type(error).__name__)
