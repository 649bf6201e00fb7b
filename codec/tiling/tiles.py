"""Planes <-> tiles: 32x32 squares, in rectangular groups that are coded by themselves, in two turns.

A tile at the right or lower edge may be partial. Its missing columns repeat the last real one, its missing rows the last real row; they
are never coded.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from codec.box import Box
from codec.tiling.context import EAST, MARGIN, NORTH, POSITIONS, REACH, SIDE, SIDES, SOUTH, STRIP, STRIPS, WEST, WINDOW
from codec.tiling.planes import Planes, Sample

SHORTEST_SIDE, LONGEST_SIDE = 8, 32  # of a group in tiles, where the picture is large enough
TURNS = 0, 1

TileSamples = npt.NDArray[np.uint8]  # (tiles, channels, POSITIONS)
Windows = npt.NDArray[np.uint8]  # (tiles, 2, WINDOW, WINDOW): the chroma around tiles of luma
Array = TypeVar("Array")
Other = TypeVar("Other")


class Around(NamedTuple, Generic[Array]):
    """What is known around tiles before they are coded, as arrays or tensors.

    sides: (tiles) uint8, which of `context.SIDES` are known; strips: (tiles, channels, STRIPS) uint8, of those; windows: of a surrounded
    kind.
    """

    sides: Array
    strips: Array
    windows: Array | None = None

    def each(self, do: Callable[[Array], Other]) -> "Around[Other]":
        """What is made of every array."""
        return Around(do(self.sides), do(self.strips), None if self.windows is None else do(self.windows))


Known = Around[npt.NDArray[np.uint8]]


def alone(tiles: int, channels: int) -> Known:
    """Around tiles of which nothing is known."""
    return Known(np.zeros(tiles, np.uint8), np.zeros((tiles, channels, STRIPS), np.uint8))


class Shape(NamedTuple):
    """Of a group: columns and rows of tiles."""

    columns: int
    rows: int

    @property
    def tiles(self) -> int:
        return self.columns * self.rows


class Rectangle(NamedTuple):
    """Some tiles of a grid, in raster order: its first row and column, how many there are, and, where only every second one is meant, as on
    a board of black and white, whether those that come first (0) or then (1)."""

    row: int
    column: int
    rows: int
    columns: int
    turn: int | None = None

    @property
    def turns(self) -> "list[Rectangle]":
        """The tiles that come first, then the others, if there are any."""
        parts = [self._replace(turn=turn) for turn in TURNS]
        return [part for part in parts if part.tiles]

    @property
    def tiles(self) -> int:
        if self.turn is None:
            return self.rows * self.columns
        return (self.rows * self.columns + (1 - self.turn)) // 2

    @property
    def places(self) -> list[tuple[int, int]]:
        """Row and column of each tile in the grid."""
        places = [(y, x) for y in range(self.rows) for x in range(self.columns) if self.turn is None or (y + x) & 1 == self.turn]
        return [(self.row + y, self.column + x) for y, x in places]

    @property
    def box(self) -> Box:
        """Of the pixels of all its tiles, whole ones."""
        return Box(SIDE * self.column, SIDE * self.row, SIDE * (self.column + self.columns), SIDE * (self.row + self.rows))

    @property
    def corners(self) -> list[tuple[int, int]]:
        """Row and column of the first pixel of each tile."""
        return [(SIDE * y, SIDE * x) for y, x in self.places]


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

    def count(self, shape: Shape) -> int:
        """How many groups there are."""
        return -(-self.columns // shape.columns) * -(-self.rows // shape.rows)

    def groups(self, shape: Shape) -> Iterator[Rectangle]:
        """In raster order."""
        for row in range(0, self.rows, shape.rows):
            for column in range(0, self.columns, shape.columns):
                yield Rectangle(row, column, min(shape.rows, self.rows - row), min(shape.columns, self.columns - column))

    def covering(self, box: Box, shape: Shape) -> Box:
        """The samples of all groups that have some of a box."""
        width, height = SIDE * shape.columns, SIDE * shape.rows
        right, bottom = -(-box.right // width) * width, -(-box.bottom // height) * height
        return Box(box.left // width * width, box.top // height * height, min(right, self.width), min(bottom, self.height))

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
        """Of one plane, in all tiles of a rectangle; quickly, as a damaged file may speak of millions of groups."""
        bottom, right = min(SIDE * (of.row + of.rows), self.height), min(SIDE * (of.column + of.columns), self.width)
        return (bottom - SIDE * of.row) * (right - SIDE * of.column)


def sides(of: Rectangle) -> npt.NDArray[np.uint8]:
    """Which sides of a rectangle's tiles are known when they are coded, (tiles): of those that come first none, of the others those where
    another tile of the rectangle lies."""
    if of.turn != 1:
        return np.zeros(of.tiles, np.uint8)
    y, x = np.array(of.places).T - np.array([[of.row], [of.column]])
    there = (NORTH, y > 0), (WEST, x > 0), (EAST, x < of.columns - 1), (SOUTH, y < of.rows - 1)
    found: npt.NDArray[np.uint8] = sum(np.uint8(side) * known for side, known in there)
    return found


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


def strips_from_planes(planes: Planes, corners: Sequence[tuple[int, int]]) -> npt.NDArray[np.uint8]:
    """What lies at the sides of tiles with these corners in (channels, height, width) planes, which end in repetitions of their edges:
    (tiles, channels, STRIPS)."""
    height, width = planes.shape[1:]
    along, before, behind = np.arange(SIDE), np.arange(-REACH, 0), np.arange(SIDE, SIDE + REACH)
    strips = np.empty((len(corners), len(planes), len(SIDES), STRIP), np.uint8)
    for k, (y, x) in enumerate(corners):
        for side, (rows, columns) in enumerate(((before, along), (along, before), (along, behind), (behind, along))):
            rows, columns = (y + rows).clip(0, height - 1), (x + columns).clip(0, width - 1)
            strips[k, :, side] = planes[:, rows[:, None], columns].reshape(len(planes), STRIP)
    return strips.reshape(len(corners), len(planes), STRIPS)


def tiles_into_planes(samples: npt.NDArray[Sample], planes: npt.NDArray[Sample], of: Rectangle) -> None:
    """Puts (tiles, channels, POSITIONS) back where `tiles_from_planes` took them."""
    squares = samples.reshape(of.tiles, -1, SIDE, SIDE)
    for k, (y, x) in enumerate(of.corners):
        tile = planes[:, y : y + SIDE, x : x + SIDE]
        tile[:] = squares[k, :, : tile.shape[1], : tile.shape[2]]
