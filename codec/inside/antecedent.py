"""The JPEG that a picture was: tables and coefficients from which a decoder's arithmetic makes the pixels again.

Luma and small chroma come of the coefficients; from there on the way is a past's (`codec.pasts`). Grey pictures are their luma.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codec.box import Box, whole
from codec.inside import kernel
from codec.jit import run
from codec.pasts.chroma import FILTERS, STB_FILTERS, Bytes, Filter, Sampling
from codec.pasts.colour import FORMULAS, Formula
from codec.pasts.past import Past

Steps = npt.NDArray[np.int64]  # (64,), 1 to 65535, in zigzag order
Coefficients = npt.NDArray[np.int16]  # (rows, columns, 64), in zigzag order


class Decoder(NamedTuple):
    """Whose arithmetic makes pixels of coefficients. code: its number in the file, and that of its transform. filters: by their codes."""

    code: int
    formula: Formula
    filters: tuple[Filter, ...]


# Verified with Pillow; raylib 6.2.0.0 and SDL2_image 2.8.12; zune-jpeg 0.5.15 of kornia-rs 0.2.0
LIBJPEG = Decoder(kernel.LIBJPEG, FORMULAS[0], FILTERS[:7])
STB = Decoder(kernel.STB, FORMULAS[2], STB_FILTERS)
ZUNE = Decoder(kernel.ZUNE, FORMULAS[0], FILTERS[:7])  # its formula hardly differs from libjpeg's
DECODERS = (LIBJPEG, STB, ZUNE)


@dataclass(frozen=True)
class Layout:
    """Where a picture of (height, width) lies in its blocks, and what decoded these.

    sampling: the filter of chroma, and 1 as `ring` if samples beyond the picture's edges are those of the blocks, as far as these reach;
    None for grey. top, left: pixels of the first row and column of units (of 8 chroma samples, or luma samples in grey) that are missing.
    """

    height: int
    width: int
    sampling: Sampling | None
    top: int
    left: int
    decoder: Decoder = LIBJPEG

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """For each component, the samples that are missing of its first blocks."""
        luma = self.top % 8, self.left % 8
        if self.sampling is None:
            return [luma]
        chroma = self.top // self.sampling.filter.down, self.left // self.sampling.filter.across
        return [luma, chroma, chroma]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """For each component, the rows and columns of samples that belong to the picture."""
        luma = self.height, self.width
        if self.sampling is None:
            return [luma]
        small = Sampling(self.sampling.filter, self.sampling.top, self.sampling.left).small_shape(*luma)
        return [luma, small, small]

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """For each component, the rows and columns of its blocks: as many as it takes to cover its samples."""
        return [
            (-(-(rows + top) // 8), -(-(columns + left) // 8))
            for (rows, columns), (top, left) in zip(self.sizes, self.offsets, strict=True)
        ]

    def small(self, plane: Bytes) -> Bytes:
        """(8 * rows, 8 * columns) samples of all blocks of a chroma component -> those of the small plane; beyond the blocks the last."""
        assert self.sampling is not None
        (top, left), (rows, columns), ring = self.offsets[1], self.sizes[1], self.sampling.ring
        y = np.arange(top - ring, top + rows + ring).clip(0, plane.shape[0] - 1)
        x = np.arange(left - ring, left + columns + ring).clip(0, plane.shape[1] - 1)
        found: Bytes = plane[y[:, None], x]
        return found


@dataclass(frozen=True)
class Antecedent:
    """layout: where the picture lies in its blocks; steps, coefficients: of each component, Y or Y, Cb, Cr. positions: of the pixels that
    come out otherwise, in raster order, ascending; corrections: what to add to the channels there, modulo 256, (n, channels)."""

    layout: Layout
    steps: list[Steps]
    coefficients: list[Coefficients]
    positions: npt.NDArray[np.int64]
    corrections: Bytes

    def pixels(self, wanted: Box | None = None) -> Bytes:
        """(height, width, channels), as the picture was; or those of a box, around which the coefficients are known."""
        layout = self.layout
        luma = decoded(self.coefficients[0], self.steps[0], layout.decoder, layout.offsets[0], layout.sizes[0])
        if layout.sampling is None:
            grey = luma.reshape(-1, 1)
            grey[self.positions] += self.corrections
            box = wanted or whole(layout.width, layout.height)
            return grey.reshape(layout.height, layout.width, 1)[box.rows, box.columns]
        return Past(layout.decoder.formula, layout.sampling, luma, self.chroma(), self.positions, self.corrections).pixels(wanted)

    def chroma(self) -> Bytes:
        """The small planes (2, rows, columns) of the layout's sampling."""
        layout = self.layout
        return np.stack([layout.small(all_samples(self.coefficients[k], self.steps[k], layout.decoder)) for k in (1, 2)])


def decoded(coefficients: Coefficients, steps: Steps, decoder: Decoder, offset: tuple[int, int], size: tuple[int, int]) -> Bytes:
    """The samples of a component, (rows, columns) as `size` says, without those that are missing."""
    plane = np.empty(size, np.uint8)
    run(kernel.decode, len(coefficients), coefficients, steps, kernel.ZIGZAG, decoder.code, *offset, plane, fewest=8)
    return plane


def all_samples(coefficients: Coefficients, steps: Steps, decoder: Decoder) -> Bytes:
    """The samples of all blocks."""
    return decoded(coefficients, steps, decoder, (0, 0), (8 * coefficients.shape[0], 8 * coefficients.shape[1]))
