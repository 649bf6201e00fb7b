"""A picture file <-> pixels. What cannot be kept exactly is refused here, before anything else happens."""

import contextlib
import io
import struct
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from bitstream.envelope import Chunks
from bitstream.errors import TooLargeError, UnsupportedImageError
from codec.planes import Pixels
from codec.png import ANIMATION, GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Form, chunks_of, deep_samples

MAX_PIXELS = 178_956_970  # where Pillow, too, stops by default
FORMATS = ("PNG", "PPM", "BMP", "TIFF", "WEBP", "JPEG", "GIF")
SUFFIXES = (".png", ".ppm", ".pgm", ".pbm", ".pnm", ".bmp", ".tif", ".tiff", ".webp", ".jpg", ".jpeg", ".gif")
DAMAGES = (  # what Pillow raises
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    AttributeError,
    ArithmeticError,
    struct.error,
)
FOREIGN = f"this is not a picture that igpt reads ({', '.join(FORMATS)}); convert it to PNG first"
LARGEST_PIXEL = 16  # bytes in a file, for a picture that is stored plainly

_limit = threading.Lock()  # of Image.MAX_IMAGE_PIXELS, which is everybody's
_STRIPPED = (b"PLTE", b"tRNS", b"IDAT")  # what is left: what the pixels look like without them is another picture


@dataclass(frozen=True)
class Picture:
    """pixels: (height, width, channels) samples of a form, uint8 or uint16; chunks: of a PNG, its metadata. left_out: names of what the
    file had and igpt does not store."""

    pixels: npt.NDArray[Any]
    form: Form
    chunks: Chunks = ()
    left_out: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether the samples are all there is: 8-bit RGB or greyscale."""
        return self.form in (Form(RGB, 8), Form(GREY, 8)) and all(name == b"IDAT" for name, _ in self.chunks)

    @property
    def plain_pixels(self) -> Pixels:
        """8-bit RGB or greyscale samples. Raises UnsupportedImageError for others."""
        if self.form not in (Form(RGB, 8), Form(GREY, 8)):
            msg = f"this works on 8-bit RGB and greyscale pictures only, not on one of {self.described}"
            raise UnsupportedImageError(msg)
        return self.pixels

    @property
    def described(self) -> str:
        """For people."""
        height, width, _ = self.pixels.shape
        names = {GREY: "grey", RGB: "RGB", PALETTE: "palette", GREY_ALPHA: "grey with alpha", RGB_ALPHA: "RGB with alpha"}
        return f"{width}x{height} pixels, {names[self.form.colour]}, {self.form.depth} bits"

    def stripped(self) -> "Picture":
        """Without metadata."""
        return replace(self, chunks=tuple(chunk for chunk in self.chunks if chunk[0] in _STRIPPED))


def largest_picture_file(start: bytes, max_pixels: int) -> int:
    """A bound in bytes on a picture file that begins with `start` and is to be kept. Raises UnsupportedImageError for foreign files."""
    Image.init()
    accepts = [Image.OPEN[form][1] for form in FORMATS]
    if not any(accept is None or accept(start[:16]) for accept in accepts):
        raise UnsupportedImageError(FOREIGN)
    return max_pixels * LARGEST_PIXEL + (1 << 26)


def open_picture(stream: BinaryIO, max_pixels: int) -> Picture:
    """Reads a picture file. Raises UnsupportedImageError or TooLargeError."""
    from codec.pillow import picture_of

    data = stream.read()
    try:
        with no_limit(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            check_size(*image.size, max_pixels)
            image.verify()
        with no_limit() as warned, Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.format == "PNG":
                return _png_picture(image, data)
            picture = picture_of(image)
            jpeg = ("the JPEG itself: these are its decoded pixels",) if image.format == "JPEG" else ()
            damaged = ("what is damaged in its metadata",) if warned else ()
            return replace(picture, left_out=(*picture.left_out, *jpeg, *damaged))
    except UnidentifiedImageError as error:
        raise UnsupportedImageError(FOREIGN) from error
    except (*DAMAGES, MemoryError) as error:
        msg = f"the picture is damaged: {str(error).rstrip('.') or type(error).__name__}"
        raise UnsupportedImageError(msg) from error


def pixels_in(path: Path) -> int:
    """How many a picture file has, as it says at its beginning; 0 where that is no use."""
    try:
        with no_limit(), Image.open(path, formats=FORMATS) as image:
            return image.width * image.height
    except DAMAGES:
        return 0


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raises TooLargeError."""
    if width * height > max_pixels:
        msg = f"the picture has {width}x{height} pixels, more than the limit of {max_pixels:,} (--max-pixels)"
        raise TooLargeError(msg)


def _png_picture(image: Image.Image, data: bytes) -> Picture:
    """A PNG that Pillow opened from `data`, with every chunk as it is."""
    from codec.pillow import require_supported, samples_of

    form, chunks = chunks_of(data)
    if any(name in ANIMATION for name, _ in chunks):
        msg = "an animation cannot be kept by this version; still pictures can"
        raise UnsupportedImageError(msg)
    require_supported(image, form)
    samples: npt.NDArray[Any] = deep_samples(data, image.size) if form.depth == 16 else samples_of(image, form)
    return Picture(samples, form, chunks)


@contextlib.contextmanager
def no_limit() -> Iterator[list[warnings.WarningMessage]]:
    """Pillow's own limit on pixels is off: ours was heeded before. Gives what it warns of, which nobody else hears."""
    with _limit, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield warned
        finally:
            Image.MAX_IMAGE_PIXELS = before
