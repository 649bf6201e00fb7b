"""A picture file <-> pixels. What cannot be kept exactly is refused here, before anything else happens."""

import io
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from bitstream.errors import TooLargeError, UnsupportedImageError
from codec.planes import Pixels

MAX_PIXELS = 178_956_970  # where Pillow, too, stops by default
MODES = {"L": 1, "RGB": 3}
FORMATS = ("PNG", "PPM", "BMP", "TIFF", "WEBP", "JPEG")
FOREIGN = f"this is not a picture that igpt reads ({', '.join(FORMATS)}); convert it to PNG first"
LARGEST_PIXEL = 16  # bytes in a file, for a picture that is stored plainly

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
}


@dataclass(frozen=True)
class Picture:
    """pixels: (height, width, channels) uint8. left_out: names of metadata that the picture had and igpt does not store."""

    pixels: Pixels
    left_out: tuple[str, ...] = ()


def largest_picture_file(start: bytes, max_pixels: int) -> int:
    """A bound in bytes on a picture file that begins with `start` and is to be kept. Raises UnsupportedImageError for foreign files."""
    Image.init()
    accepts = [Image.OPEN[form][1] for form in FORMATS]
    if not any(accept is None or accept(start[:16]) for accept in accepts):
        raise UnsupportedImageError(FOREIGN)
    return max_pixels * LARGEST_PIXEL + (1 << 26)


def open_picture(stream: BinaryIO, max_pixels: int) -> Picture:
    """Reads a picture file. Raises UnsupportedImageError or TooLargeError."""
    data = stream.read()
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # the limit here is max_pixels, checked before any pixel is read
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            check_size(*image.size, max_pixels)
            image.verify()
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return picture_of(image)
    except UnidentifiedImageError as error:
        raise UnsupportedImageError(FOREIGN) from error
    except (OSError, SyntaxError, ValueError, TypeError, IndexError, EOFError, MemoryError) as error:
        msg = f"the picture is damaged: {str(error).rstrip('.') or type(error).__name__}"
        raise UnsupportedImageError(msg) from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raises TooLargeError."""
    if width * height > max_pixels:
        msg = f"the picture has {width}x{height} pixels, more than the limit of {max_pixels:,} (--max-pixels)"
        raise TooLargeError(msg)


def picture_of(image: Image.Image) -> Picture:
    """The pixels of an opened image. Raises UnsupportedImageError where they are not all of it."""
    what = unsupported(image)
    if what:
        msg = f"{what} cannot be kept exactly by this version; 8-bit RGB and greyscale can"
        raise UnsupportedImageError(msg)
    left_out = tuple(sorted({str(key) for key in image.info} - _LAYOUT))
    pixels = np.array(image, dtype=np.uint8)
    return Picture(pixels.reshape(image.height, image.width, MODES[image.mode]), left_out)


def unsupported(image: Image.Image) -> str:
    """What about an image cannot be kept, as the subject of a sentence; empty where all can.

    Pillow opens deeper and shallower samples as 8-bit without a word; the raw mode of what it is about to decode tells.
    """
    if image.width == 0 or image.height == 0:
        return "a picture without pixels"
    if getattr(image, "n_frames", 1) > 1:
        return f"an animation or a file of {getattr(image, 'n_frames', 1)} pages"
    if image.mode not in MODES:
        return f"a picture of mode {image.mode}"
    if "transparency" in image.info:
        return "a transparent colour"
    tiles = getattr(image, "tile", [])
    decoder = tiles[0].codec_name if tiles else ""
    arguments: Any = tiles[0].args if tiles else ()
    raw = arguments if isinstance(arguments, str) else next(iter(arguments or ()), "")
    if image.format == "PNG" and raw and raw != image.mode:
        return f"a PNG with samples of {raw.partition(';')[2].rstrip('B')} bits"
    if image.format == "PPM" and decoder.startswith("ppm") and arguments[1] != 255:
        return f"a PPM with a largest value of {arguments[1]}"
    if image.format == "TIFF" and set(getattr(image, "tag_v2", {}).get(258, (8,))) != {8}:
        return "a TIFF with samples of other than 8 bits"
    return ""


def image_of(pixels: Pixels) -> Image.Image:
    """(height, width, channels) uint8 -> an image of mode L or RGB."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
