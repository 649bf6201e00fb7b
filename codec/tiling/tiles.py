"""Planes <-> tiles: 32x32 squares, in rectangular groups that are coded by themselves.

A tile at the right or lower edge may be partial. Its missing columns repeat the last real one, its missing rows the last real row; they
are never coded.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codec.tiling.context import MARGIN, POSITIONS, SIDE, WINDOW
from codec.tiling.planes import Planes, Sample

SHORTEST_SIDE, LONGEST_SIDE = 8, 32  # of a group in tiles, where the picture is large enough

TileSamples = npt.NDArray[np.uint8]  # (tiles, channels, POSITIONS)
Windows = npt.NDArray[np.uint8]  # (tiles, 2, WINDOW, WINDOW): the chroma around tiles of luma


class Shape(NamedTuple):
    """Of a group: columns and rows of tiles."""

    columns: int
    rows: int

    @property
    def tiles(self) -> int:
        return self.columns * self.rows


class Rectangle(NamedTuple):
    """Some tiles of a grid, in raster order: its first row and column, and how many there are."""

    row: int
    column: int
    rows: int
    columns: int

    @property
    def tiles(self) -> int:
        return self.rows * self.columns

    @property
    def corners(self) -> list[tuple[int, int]]:
        """Row and column of the first pixel of each tile."""
        return [(SIDE * (self.row + y), SIDE * (self.column + x)) for y in range(self.rows) for x in range(self.columns)]


@dataclass(frozen=True)
class Grid:
    """The tiles of planes of width x height samples."""

    width: int
    height: int

    @property
    def columns(self) -> int:
        return -(-self.width // SIDE)

    @property
    def rows(self) -> int:
        return -(-self.height // SIDE)

    @property
    def tiles(self) -> int:
        return self.columns * self.rows

    @property
    def whole(self) -> Rectangle:
        return Rectangle(0, 0, self.rows, self.columns)

    def groups(self, shape: Shape) -> int:
        """How many there are."""
        return -(-self.columns // shape.columns) * -(-self.rows // shape.rows)

    def group(self, number: int, shape: Shape) -> Rectangle:
        """One of them, counted from 0 in raster order."""
        y, x = divmod(number, -(-self.columns // shape.columns))
        row, column = y * shape.rows, x * shape.columns
        return Rectangle(row, column, min(shape.rows, self.rows - row), min(shape.columns, self.columns - column))

    def shape(self, most: int) -> Shape:
        """Of groups of at most so many tiles, such that there are few, and as alike and as square as can be."""
        best = (0, 0), Shape(0, 0)
        for columns in range(1, min(self.columns, most) + 1):
            rows = min(self.rows, most // columns)
            across, down = -(-self.columns // columns), -(-self.rows // rows)
            shape = Shape(-(-self.columns // across), -(-self.rows // down))
            cost = (across * down << 2 * self._is_thin(shape), max(shape))
            if columns == 1 or cost < best[0]:
                best = cost, shape
        return best[1]

    def _is_thin(self, shape: Shape) -> bool:
        """Whether it is long although the picture is not."""
        return max(shape) > LONGEST_SIDE and min(self.columns, self.rows) >= SHORTEST_SIDE

    def extents(self, of: Rectangle) -> npt.NDArray[np.int64]:
        """Rows and columns of samples that exist in its tiles: (tiles, 2)."""
        room = np.array([self.height, self.width]) - np.array(of.corners)
        extents: npt.NDArray[np.int64] = np.minimum(room, SIDE)
        return extents

    def samples_in(self, of: Rectangle) -> int:
        """Of one plane."""
        rows = min(SIDE * (of.row + of.rows), self.height) - SIDE * of.row
        columns = min(SIDE * (of.column + of.columns), self.width) - SIDE * of.column
        return rows * columns


def tiles_from_planes(planes: npt.NDArray[Sample], of: Rectangle) -> npt.NDArray[Sample]:
    """(channels, height, width) planes -> (tiles, channels, POSITIONS)."""
    samples = np.empty((of.tiles, planes.shape[0], SIDE, SIDE), planes.dtype)
    for k, (y, x) in enumerate(of.corners):
        tile = planes[:, y : y + SIDE, x : x + SIDE]
        samples[k] = np.pad(tile, ((0, 0), (0, SIDE - tile.shape[1]), (0, SIDE - tile.shape[2])), "edge")
    return samples.reshape(of.tiles, -1, POSITIONS)


def windows_from_planes(planes: Planes, of: Rectangle) -> Windows:
    """What surrounds the tiles in (2, height, width) planes, which end in repetitions of their edges."""
    height, width = planes.shape[1:]
    reach = np.arange(-MARGIN, SIDE + MARGIN)
    windows = np.empty((of.tiles, 2, WINDOW, WINDOW), np.uint8)
    for k, (y, x) in enumerate(of.corners):
        windows[k] = planes[:, (y + reach).clip(0, height - 1)[:, None], (x + reach).clip(0, width - 1)]
    return windows


def tiles_into_planes(samples: npt.NDArray[Sample], planes: npt.NDArray[Sample], of: Rectangle) -> None:
    """Puts (tiles, channels, POSITIONS) back where `tiles_from_planes` took them."""
    squares = samples.reshape(of.tiles, -1, SIDE, SIDE)
    for k, (y, x) in enumerate(of.corners):
        tile = planes[:, y : y + SIDE, x : x + SIDE]
        tile[:] = squares[k, :, : tile.shape[1], : tile.shape[2]]
