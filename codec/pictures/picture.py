"""A picture: its samples, what they mean, and its metadata."""

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bitstream.errors import UnsupportedImageError
from bitstream.form import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Form
from bitstream.metadata import Chunks

_NAMES = {GREY: "grey", RGB: "RGB", PALETTE: "palette", GREY_ALPHA: "grey with alpha", RGB_ALPHA: "RGB with alpha"}
_STAY = (b"PLTE", b"tRNS", b"IDAT")  # chunks that say what the samples are

logger = logging.getLogger("igpt")


@dataclass(frozen=True)
class Picture:
    """What a picture file is made of.

    pixels: (height, width, channels) samples of the form, uint8, or uint16 where it has 16 bits; indices where it has a palette. chunks:
    the metadata, as a PNG file has them, with the PLTE; an empty IDAT stands where the pixels are. left_out: names of what the file had and
    igpt does not store, for people.
    """

    pixels: npt.NDArray[Any]
    form: Form
    chunks: Chunks = ()
    left_out: tuple[str, ...] = ()

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
        height, width, _ = self.pixels.shape
        return f"{width}x{height} pixels, {_NAMES[self.form.colour]}, {self.form.depth} bits"

    def stripped(self) -> "Picture":
        """Without metadata: all but the palette and transparency, so also without profile, gamma and orientation."""
        return replace(self, chunks=tuple(chunk for chunk in self.chunks if chunk[0] in _STAY))


def told(picture: Picture) -> Picture:
    """The picture, once what is not stored of it is logged."""
    if picture.left_out:
        logger.warning("not stored: %s", ", ".join(picture.left_out))
    return picture
