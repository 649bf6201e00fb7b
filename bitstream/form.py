"""What samples are: colour type and bits, as in PNG (ISO/IEC 15948)."""

from typing import NamedTuple

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # colour types
KEPT = 7  # not one of PNG's: the samples are the bytes of a file, which is kept as it is
ALPHA = (GREY_ALPHA, RGB_ALPHA)
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4, KEPT: 1}
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGB_ALPHA: (8, 16), KEPT: (8,)}
MODES = {GREY: "L", RGB: "RGB", PALETTE: "P", GREY_ALPHA: "LA", RGB_ALPHA: "RGBA"}


class Form(NamedTuple):
    """colour: a PNG's colour type; depth: bits per sample."""

    colour: int
    depth: int

    @property
    def channels(self) -> int:
        return CHANNELS[self.colour]

    @property
    def step(self) -> int:
        """Bytes from a sample to the same of the next pixel, at least 1."""
        return max(1, self.channels * self.depth // 8)

    @property
    def known(self) -> bool:
        """Whether there are such samples."""
        return self.depth in DEPTHS.get(self.colour, ())

    @property
    def meaningful(self) -> bool:
        """Whether samples are brightnesses of 8 or 16 bits, not indices or few bits."""
        return self.colour not in (PALETTE, KEPT) and self.depth >= 8

    @property
    def mode(self) -> str:
        """Pillow's mode of such samples; of those of 16 bits it has none but "I;16", of a kept file's bytes none."""
        return {(GREY, 1): "1", (GREY, 16): "I;16"}.get(self) or MODES.get(self.colour, "")
