"""Colour formulas: how a decoder of JPEG, PhotoCD or video made R, G, B of luma and chroma, to the bit, and the way back.

Channel k of a pixel is (scale * Y + first[k][C1] + second[k][C2]) >> 16, clipped to 0 to 255, for Y, C1, C2 from 0 to 255.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codec.threads import lasting

Integers = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

FRACTION = 16
ONE = 1 << FRACTION


@dataclass(frozen=True)
class Formula:
    """code: its number in the file. scale: of luma, in 2^-16. first, second: (3, 256) each, what the chroma samples add, in 2^-16. neutral:
    the chroma of grey."""

    name: str
    code: int
    neutral: tuple[int, int]
    scale: int
    first: Integers
    second: Integers

    def pixels(self, luma: npt.NDArray[np.uint8], chroma: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """(...) luma and (2, ...) chroma -> (..., 3) pixels: the forward map."""
        scaled = luma.astype(np.int32) * self.scale
        out = np.empty((*luma.shape, 3), np.uint8)
        for k in range(3):
            out[..., k] = np.clip((scaled + self.first[k][chroma[0]] + self.second[k][chroma[1]]) >> FRACTION, 0, 255)
        return out

    def luma_range(self, pixels: npt.NDArray[np.uint8], c1: Integers, c2: Integers) -> tuple[Integers, Integers]:
        """The lowest and the highest luma that, with this chroma, gives these (..., 3) pixels; none does where lowest > highest."""
        low, high = np.zeros(c1.shape, np.int32), np.full(c1.shape, 255, np.int32)
        for k in range(3):
            value = pixels[..., k].astype(np.int32)
            rest = (value << FRACTION) - self.first[k][c1] - self.second[k][c2]
            np.maximum(low, np.where(value > 0, -(-rest // self.scale), 0), out=low)
            np.minimum(high, np.where(value < 255, (rest + (ONE - 1)) // self.scale, 255), out=high)
        return low, high

    def gives(self, pixels: npt.NDArray[np.uint8]) -> Mask:
        """Which of (n, 3) pixels any luma and chroma lead to, clipped ones too: (n,)."""
        c1, c2 = (axis.astype(np.int32) for axis in np.mgrid[:256, :256])
        colours, inverse = np.unique(pixels, axis=0, return_inverse=True)
        ranges = (self.luma_range(colour, c1, c2) for colour in colours)
        return np.array([bool((low <= high).any()) for low, high in ranges])[inverse]

    @lasting
    def _back(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """A matrix and a vector that bring pixels near (Y, C1, C2)."""
        samples = np.arange(256)
        lines = [[np.polyfit(samples, table[k], 1) for table in (self.first, self.second)] for k in range(3)]
        forward = np.array([[self.scale, first[0], second[0]] for first, second in lines])
        offset = np.array([first[1] + second[1] for first, second in lines])
        matrix = np.linalg.inv(forward)
        return matrix * ONE, matrix @ (ONE / 2 - offset)

    def real_planes(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """(height, width, 3) pixels -> (3, height, width): the Y, C1, C2 that come nearest, not rounded."""
        matrix, offset = self._back
        return np.moveaxis(pixels @ matrix.T + offset, -1, 0)

    def chroma(self, pixels: npt.NDArray[np.uint8]) -> tuple[Integers, Integers, Mask]:
        """(..., 3) pixels -> C1, C2, and where they are certain: at pixels without a clipped channel that have a triple."""
        matrix, offset = self._back
        near = pixels.astype(np.float32) @ matrix[1:].T.astype(np.float32) + offset[1:].astype(np.float32)
        floor = np.floor(near).astype(np.int32)
        c1, c2 = np.zeros(pixels.shape[:-1], np.int32), np.zeros(pixels.shape[:-1], np.int32)
        found = np.zeros(pixels.shape[:-1], np.bool_)
        for one in (0, 1):
            for two in (0, 1):
                a, b = floor[..., 0] + one, floor[..., 1] + two
                inside = (a >= 0) & (a <= 255) & (b >= 0) & (b <= 255)
                a, b = a.clip(0, 255), b.clip(0, 255)
                low, high = self.luma_range(pixels, a, b)
                hit = (low <= high) & inside
                c1, c2 = np.where(hit, a, c1), np.where(hit, b, c2)
                found |= hit
        return c1, c2, found & ~clipped(pixels)


def clipped(pixels: npt.NDArray[np.uint8]) -> Mask:
    """Where any channel is 0 or 255, so that more than one triple may give the pixel."""
    found: Mask = ((pixels == 0) | (pixels == 255)).any(-1)
    return found


def _tables(*rows: npt.NDArray[np.int64]) -> Integers:
    return np.stack(rows).astype(np.int32)


def _jfif() -> Formula:
    """JPEG's YCbCr as libjpeg converts it (jdcolor.c)."""
    c, none = np.arange(256) - 128, np.zeros(256, np.int64)
    half = none + (ONE >> 1)
    first = _tables(none, half - 22554 * c, ((116130 * c + half) >> FRACTION) << FRACTION)
    second = _tables(((91881 * c + half) >> FRACTION) << FRACTION, -46802 * c, none)
    return Formula("JPEG", 0, (128, 128), ONE, first, second)


def _photo_cd() -> Formula:
    """PhotoCD's YCC with the constants of Kodak's documentation in 16-bit fixed point, as found in the Kodak test pictures."""
    blue = 145352 * (np.arange(256) - 156)
    red = 119374 * (np.arange(256) - 137)
    none = np.zeros(256, np.int64)
    first = _tables(none, -12714 * (blue >> FRACTION), blue)
    second = _tables(red, -33358 * (red >> FRACTION), none)
    return Formula("PhotoCD", 1, (156, 137), 89024, first, second)


def _stb() -> Formula:
    """JPEG's YCbCr as stb_image converts it, with less precise constants than libjpeg's."""
    c, none = np.arange(256) - 128, np.zeros(256, np.int64)
    half = none + (ONE >> 1)
    first = _tables(none, half + ((-1410 * c >> 8) << 12), half + (7258 * c << 4))
    second = _tables(half + (5743 * c << 4), -2925 * c << 4, none)
    return Formula("stb_image", 2, (128, 128), ONE, first, second)


FORMULAS = (_jfif(), _photo_cd(), _stb())
