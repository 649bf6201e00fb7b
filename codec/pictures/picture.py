"""A picture: its samples, what they mean, and its metadata."""

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bitstream.errors import UnsupportedImageError
from bitstream.form import GREY, GREY_ALPHA, KEPT, PALETTE, RGB, RGB_ALPHA, Form
from bitstream.metadata import Chunks

_NAMES = {GREY: "grey", RGB: "RGB", PALETTE: "palette", GREY_ALPHA: "grey with alpha", RGB_ALPHA: "RGB with alpha"}
COMPARED = 1 << 22  # samples at once
_STAY = (b"PLTE", b"tRNS", b"IDAT")  # chunks that say what the samples are

logger = logging.getLogger("igpt")


@dataclass(frozen=True)
class Picture:
    """What a picture file is made of.

    pixels: (height, width, channels) samples of the form, uint8, or uint16 where it has 16 bits; indices where it has a palette. chunks:
    the metadata, as a PNG file has them, with the PLTE; an empty IDAT stands where the pixels are. left_out: names of what the file had and
    igpt does not store, for people. Of a file that is kept as it is, pixels are its bytes, (1, bytes, 1), and `shown` is the width and
    height of what it shows, (0, 0) where they are not known.
    """

    pixels: npt.NDArray[Any]
    form: Form
    chunks: Chunks = ()
    left_out: tuple[str, ...] = ()
    shown: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.shown or (self.pixels.shape[1], self.pixels.shape[0])

    @property
    def area(self) -> int:
        """How much there is to do: pixels, or bytes of a file."""
        return int(self.pixels.shape[0] * self.pixels.shape[1])

    @property
    def is_file(self) -> bool:
        """Whether it is one that is kept as it is."""
        return self.form.colour == KEPT

    @property
    def file(self) -> bytes:
        """That is kept as it is."""
        assert self.is_file
        return self.pixels.tobytes()

    @property
    def plain_pixels(self) -> npt.NDArray[np.uint8]:
        """8-bit RGB or greyscale samples, (height, width, 3 or 1). Raises UnsupportedImageError for others."""
        if self.form not in (Form(RGB, 8), Form(GREY, 8)):
            msg = f"this works on 8-bit RGB and greyscale pictures only, not on one of {self.described}"
            raise UnsupportedImageError(msg)
        return self.pixels

    @property
    def described(self) -> str:
        """Its size and form, for people."""
        if self.is_file:
            return f"a JPEG file of {self.area:,} bytes"
        width, height = self.size
        return f"{width}x{height} pixels, {_NAMES[self.form.colour]}, {self.form.depth} bits"

    def stripped(self) -> "Picture":
        """Without metadata: all but the palette and transparency, so also without profile, gamma and orientation."""
        return replace(self, chunks=tuple(chunk for chunk in self.chunks if chunk[0] in _STAY))


def same(some: npt.NDArray[Any], others: npt.NDArray[Any]) -> bool:
    """Whether arrays are alike in shape and numbers: compared some rows at a time, so that it takes little memory."""
    if some.shape != others.shape:
        return False
    step = max(1, COMPARED // max(1, some[:1].size))
    return all(np.array_equal(some[row : row + step], others[row : row + step]) for row in range(0, len(some), step))


def told(picture: Picture) -> Picture:
    """The picture, once what is not stored of it is logged."""
    if picture.left_out:
        logger.warning("not stored: %s", ", ".join(picture.left_out))
    return picture
