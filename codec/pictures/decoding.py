"""What Pillow decodes: a file of one format -> samples."""

import io
import struct
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from bitstream.errors import TooLargeError, UnsupportedImageError
from bitstream.form import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Form
from codec.pictures.parsed import Decoded, Parsed
from codec.pictures.refusals import refuse_damaged, refuse_unkept

FORMS = {  # by Pillow's modes
    "1": Form(GREY, 1),
    "I;16": Form(GREY, 16),
    "L": Form(GREY, 8),
    "LA": Form(GREY_ALPHA, 8),
    "P": Form(PALETTE, 8),
    "RGB": Form(RGB, 8),
    "RGBA": Form(RGB_ALPHA, 8),
}
SAMPLES_AT_ONCE = 1 << 20
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


def decoded_by_pillow(name: str, parsed: Parsed) -> Decoded:
    """The samples of the plain file that a parser made of one of this format's name. Raises UnsupportedImageError, or TooLargeError."""
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        msg = "Pillow was told to invent what a truncated picture lacks (LOAD_TRUNCATED_IMAGES), so this one would not be exact"
        raise UnsupportedImageError(msg)
    try:
        image = opened_by_pillow(name, io.BytesIO(parsed.plain))
    except DAMAGES as error:
        refuse_damaged(str(error).rstrip(".") or type(error).__name__)
    if image.size != parsed.size:
        refuse_damaged("its pixels have another size than its header says")
    if image.mode not in FORMS:
        refuse_unkept(f"a picture of mode {image.mode}")
    form = FORMS[image.mode]
    return Decoded(samples_of(image, form), form)


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


def samples_of(image: Image.Image, form: Form) -> npt.NDArray[Any]:
    """(height, width, channels) samples, uint8 or uint16, of an image that holds those of a form.

    Some rows at a time: of all together Pillow would make bytes twice.
    """
    samples = np.empty((image.height, image.width, form.channels), np.uint16 if form.depth == 16 else np.uint8)
    step = max(1, SAMPLES_AT_ONCE // samples[0].size)
    for top in range(0, image.height, step):
        rows = samples[top : top + step]
        rows[...] = np.asarray(image.crop((0, top, image.width, top + len(rows)))).reshape(rows.shape)
    if form.colour == GREY and 1 < form.depth < 8:  # Pillow has stretched them to 0 to 255
        samples //= 255 // ((1 << form.depth) - 1)
    return samples
