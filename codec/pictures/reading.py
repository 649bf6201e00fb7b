"""Picture files -> pictures. What cannot be kept exactly is refused here, before anything else happens."""

import importlib
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bitstream.constants import MAX_KEPT_BYTES, MAX_SIDE
from bitstream.errors import TooLargeError, UnsupportedImageError
from bitstream.form import KEPT, Form
from codec.pictures.decoding import decoded_by_pillow
from codec.pictures.formats import format_of, size_in, size_of_jpeg
from codec.pictures.parsed import Parsed
from codec.pictures.picture import Picture

MAX_PIXELS = 178_956_970  # where Pillow, too, stops by default
PARSERS = {"PNG": "png", "PPM": "pnm", "BMP": "bmp", "TIFF": "tiff", "WEBP": "webp", "JPEG": "jpeg", "GIF": "gif"}  # modules beside this
SUFFIXES = (".png", ".ppm", ".pgm", ".pbm", ".pnm", ".bmp", ".tif", ".tiff", ".webp", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".gif")
LARGEST_PIXEL = 16  # bytes in a file, for a picture that is stored plainly


def open_picture(stream: BinaryIO, max_pixels: int) -> Picture:
    """Reads a picture file to its end.

    A format's parser accounts for all of the file; the pixels come after the size is found to be allowed. Raises UnsupportedImageError for
    what cannot be kept exactly and for damaged files, TooLargeError for more pixels than `max_pixels`, and OSError.
    """
    data = stream.read()
    name = format_of(data)
    parser: Callable[[bytes], Parsed] = importlib.import_module(f"codec.pictures.{PARSERS[name]}").parsed
    parsed = parser(data)
    check_size(*parsed.size, max_pixels)
    samples, form, more = parsed.decoded() if parsed.decoded else decoded_by_pillow(name, parsed)
    return Picture(samples, form, parsed.chunks, (*parsed.left_out, *more))


def picture_in(data: bytes, max_pixels: int | None = None, pixels: bool = False) -> Picture:
    """Of a picture file; of a JPEG the file itself, byte for byte, whatever is in it, but for `pixels`.

    max_pixels: None: the default limit, and none for JPEG files, of which no pixels are made. Raises what `open_picture` raises.
    """
    if pixels or format_of(data) != "JPEG":
        return open_picture(io.BytesIO(data), MAX_PIXELS if max_pixels is None else max_pixels)
    if len(data) > MAX_KEPT_BYTES:
        msg = f"the file has {len(data):,} bytes, more than the limit of {MAX_KEPT_BYTES:,} for a JPEG"
        raise TooLargeError(msg)
    size = size_of_jpeg(data)
    check_size(*size, max_pixels)
    return Picture(np.frombuffer(data, np.uint8).reshape(1, -1, 1), Form(KEPT, 8), shown=size)


def largest_picture_file(start: bytes, max_pixels: int) -> int:
    """A bound in bytes on a picture file that begins with `start` and is to be kept. Raises UnsupportedImageError for foreign files."""
    format_of(start)
    return max_pixels * LARGEST_PIXEL + (1 << 26)


def pixels_in(path: Path) -> int:
    """How many a picture file has, as it says at its beginning; 0 where that is no use."""
    try:
        if not path.is_file():  # what a pipe gives can be read only once
            return 0
        with path.open("rb") as stream:
            width, height = size_in(stream)
            return width * height
    except (UnsupportedImageError, OSError, ValueError, LookupError, struct.error):
        return 0


def check_size(width: int, height: int, max_pixels: int | None) -> None:
    """Raises TooLargeError for a picture of more pixels than `max_pixels`, where that is given, or with a side that no file can have."""
    if max_pixels is not None and width * height > max_pixels:
        msg = f"the picture has {width}x{height} pixels, more than the limit of {max_pixels:,} (--max-pixels)"
        raise TooLargeError(msg)
    if max(width, height) > MAX_SIDE:
        msg = f"the picture has {width}x{height} pixels, and no side can have more than {MAX_SIDE:,}"
        raise TooLargeError(msg)
