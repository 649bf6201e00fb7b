"""Planes <-> tiles: 32x32 squares in raster order, in groups that are coded by themselves.

A tile at the right or lower edge may be partial. Its missing columns repeat the last real one, its missing rows the last real row; they
are never coded.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codec.tiling.context import MARGIN, POSITIONS, SIDE, WINDOW
from codec.tiling.planes import Planes, Sample

LARGEST_GROUP = 256  # tiles

Samples = npt.NDArray[np.uint8]  # (tiles, channels, POSITIONS)
Windows = npt.NDArray[np.uint8]  # (tiles, 2, WINDOW, WINDOW): the chroma around tiles of luma


def balanced_group(tiles: int) -> int:
    """Tiles per group when `tiles` are spread evenly over as few groups as possible."""
    return math.ceil(tiles / math.ceil(tiles / LARGEST_GROUP))


@dataclass(frozen=True)
class Grid:
    """The tiles of an image of width x height pixels."""

    width: int
    height: int

    @property
    def columns(self) -> int:
        return -(-self.width // SIDE)

    @property
    def tiles(self) -> int:
        return self.columns * -(-self.height // SIDE)

    def extents(self, first: int, last: int) -> npt.NDArray[np.int64]:
        """Rows and columns that exist in the tiles first to last - 1: (tiles, 2)."""
        y, x = np.divmod(np.arange(first, last), self.columns)
        extents: npt.NDArray[np.int64] = np.minimum(np.stack([self.height - y * SIDE, self.width - x * SIDE], 1), SIDE)
        return extents


def tiles_from_planes(planes: npt.NDArray[Sample], grid: Grid, first: int, last: int) -> npt.NDArray[Sample]:
    """The tiles first to last - 1 of (channels, height, width) planes."""
    samples = np.empty((last - first, planes.shape[0], SIDE, SIDE), planes.dtype)
    for k, (rows, columns) in enumerate(grid.extents(first, last)):
        y, x = (SIDE * n for n in divmod(first + k, grid.columns))
        tile = planes[:, y : y + rows, x : x + columns]
        samples[k] = np.pad(tile, ((0, 0), (0, SIDE - rows), (0, SIDE - columns)), "edge")
    return samples.reshape(last - first, -1, POSITIONS)


def windows_from_planes(planes: Planes, grid: Grid, first: int, last: int) -> Windows:
    """The surroundings of the tiles first to last - 1 in (2, height, width) planes, which end in repetitions of their edges."""
    height, width = planes.shape[1:]
    reach = np.arange(-MARGIN, SIDE + MARGIN)
    windows = np.empty((last - first, 2, WINDOW, WINDOW), np.uint8)
    for k in range(first, last):
        y, x = (SIDE * n for n in divmod(k, grid.columns))
        windows[k - first] = planes[:, (y + reach).clip(0, height - 1)[:, None], (x + reach).clip(0, width - 1)]
    return windows


def tiles_into_planes(samples: npt.NDArray[Sample], planes: npt.NDArray[Sample], grid: Grid, first: int) -> None:
    """Puts tiles first, first + 1, ... back where `tiles_from_planes` took them."""
    squares = samples.reshape(len(samples), -1, SIDE, SIDE)
    for k, (rows, columns) in enumerate(grid.extents(first, first + len(samples))):
        y, x = (SIDE * n for n in divmod(first + k, grid.columns))
        planes[:, y : y + rows, x : x + columns] = squares[k, :, :rows, :columns]
