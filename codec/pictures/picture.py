"""A picture file <-> pixels. What cannot be kept exactly is refused here, before anything else happens."""

import importlib
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy.typing as npt
from PIL import Image, ImageFile

from bitstream.constants import MAX_SIDE
from bitstream.envelope import Chunks
from bitstream.errors import TooLargeError, UnsupportedImageError
from bitstream.form import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Form
from codec.pictures.formats import format_of, size_in
from codec.pictures.parsed import Decoded, Parsed
from codec.pictures.wording import refuse_damaged, refuse_unkept
from codec.tiling.planes import Pixels

MAX_PIXELS = 178_956_970  # where Pillow, too, stops by default
PARSERS = {"PNG": "png", "PPM": "pnm", "BMP": "bmp", "TIFF": "tiff", "WEBP": "webp", "JPEG": "jpeg", "GIF": "gif"}  # in codec.pictures
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
LARGEST_PIXEL = 16  # bytes in a file, for a picture that is stored plainly

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
    format_of(start)
    return max_pixels * LARGEST_PIXEL + (1 << 26)


def open_picture(stream: BinaryIO, max_pixels: int) -> Picture:
    """Reads a picture file. Raises UnsupportedImageError or TooLargeError.

    A format's parser accounts for all of the file; the pixels come after the size is found to be allowed.
    """
    data = stream.read()
    name = format_of(data)
    parser: Callable[[bytes], Parsed] = importlib.import_module(f"codec.pictures.{PARSERS[name]}").parsed
    parsed = parser(data)
    check_size(*parsed.size, max_pixels)
    samples, form, more = parsed.decoded() if parsed.decoded else _decoded(name, parsed)
    return Picture(samples, form, parsed.chunks, (*parsed.left_out, *more))


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


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raises TooLargeError."""
    if width * height > max_pixels:
        msg = f"the picture has {width}x{height} pixels, more than the limit of {max_pixels:,} (--max-pixels)"
        raise TooLargeError(msg)
    if max(width, height) > MAX_SIDE:
        msg = f"the picture has {width}x{height} pixels, and no side can have more than {MAX_SIDE:,}"
        raise TooLargeError(msg)


def opened_by_pillow(name: str, stream: BinaryIO) -> Image.Image:
    """Pillow's image, decoded, of a file of the format of that name. Raises DAMAGES, or TooLargeError.

    By the format's own class, and into memory that is there: else Pillow heeds a limit that belongs to the program around, while ours was
    heeded before.
    """
    Image.preinit()
    if name not in Image.OPEN:
        Image.init()
    try:
        image = Image.OPEN[name][0](stream, "")
        if name == "TIFF":
            image.im = Image.new(image.mode, getattr(image, "_tile_size", image.size)).im
        image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # WebP heeds it still
        msg = "the picture is larger than Image.MAX_IMAGE_PIXELS allows in this program"
        raise TooLargeError(msg) from error
    return image


def _decoded(name: str, parsed: Parsed) -> Decoded:
    """As Pillow decodes the plain file. Raises UnsupportedImageError."""
    from codec.pictures.pillow import _MODES, samples_of

    if ImageFile.LOAD_TRUNCATED_IMAGES:
        msg = "Pillow was told to invent what a truncated picture lacks (LOAD_TRUNCATED_IMAGES), so this one would not be exact"
        raise UnsupportedImageError(msg)
    try:
        image = opened_by_pillow(name, io.BytesIO(parsed.plain))
    except DAMAGES as error:
        refuse_damaged(str(error).rstrip(".") or type(error).__name__)
    if image.size != parsed.size:
        refuse_damaged("its pixels have another size than its header says")
    if image.mode not in _MODES:
        refuse_unkept(f"a picture of mode {image.mode}")
    form = _MODES[image.mode]
    return Decoded(samples_of(image, form), form)
