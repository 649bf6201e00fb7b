"""What a caller may hand over as a picture: Pillow's image, an array, a picture file's bytes, or its path.

Of Pillow's image only what Pillow tells is kept or named; of a file everything is.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bitstream.errors import UnsupportedImageError
from bitstream.form import GREY, GREY_ALPHA, RGB, RGB_ALPHA, Form
from codec.pictures.picture import Picture, told
from codec.pictures.pillow import picture_kept
from codec.pictures.reading import check_size, picture_in

Source = Image.Image | npt.NDArray[Any] | bytes | str | Path

_COLOURS = {1: GREY, 2: GREY_ALPHA, 3: RGB, 4: RGB_ALPHA}  # colour types by the number of channels
_RIGHT = "an array (height, width) or (height, width, 1 to 4) of uint8 or uint16"


def picture_from(source: Source, max_pixels: int | None = None, pixels: bool = False) -> Picture:
    """The picture that a caller means; of a JPEG file the file itself, but for `pixels`. What is not stored of it is logged by the logger
    "igpt".

    max_pixels: refuse larger pictures; None: files of more than MAX_PIXELS, and no image or array, which are there already, nor JPEG file,
    of which no pixels are made. Raises TypeError for what is none of those, UnsupportedImageError for what cannot be kept exactly,
    TooLargeError, and OSError for a file that cannot be read.
    """
    match source:
        case Image.Image():
            picture = picture_kept(source)
        case np.ndarray():
            picture = picture_of_array(source)
        case bytes():
            picture = told(picture_in(source, max_pixels, pixels))
        case str() | Path():
            picture = told(picture_in(Path(source).read_bytes(), max_pixels, pixels))
        case _:
            msg = f"a picture is a Pillow image, {_RIGHT}, a picture file's bytes or its path, not {type(source).__name__}"
            raise TypeError(msg)
    check_size(*picture.size, max_pixels)
    return picture


def picture_of_array(array: npt.NDArray[Any]) -> Picture:
    """A picture of samples, in any order of bytes: grey, grey and alpha, RGB, or RGB and alpha, of 8 or 16 bits, without metadata.

    array: (height, width) or (height, width, 1 to 4), uint8 or uint16. It is not copied where it lies in memory as a picture does. Raises
    TypeError for other samples, and UnsupportedImageError for other shapes and those without pixels.
    """
    if isinstance(array, np.ma.MaskedArray):
        msg = "a picture has no mask: fill the masked array first"
        raise TypeError(msg)
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        hint = "; of truth values array.astype(numpy.uint8) makes samples" if array.dtype == np.bool_ else ""
        msg = f"a picture is {_RIGHT}, not of {array.dtype}{hint}"
        raise TypeError(msg)
    shape = array.shape if array.ndim == 3 else (*array.shape, 1)
    if len(shape) != 3 or shape[2] not in _COLOURS or 0 in shape:
        what = "an array without pixels" if 0 in shape else f"an array of shape {array.shape}"
        msg = f"{what} is no picture: {_RIGHT} is"
        raise UnsupportedImageError(msg)
    samples = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(shape)
    return Picture(samples, Form(_COLOURS[shape[2]], 8 * samples.itemsize))
