"""Tiles, and which pixels the network sees around each of their positions.

A tile's samples lie flat in raster order. Behind them is a slot that stands for the neighbours of a pixel that has none, and behind that
the strips: what is known of the tiles on its sides, where those were coded before.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

SIDE = 32
POSITIONS = SIDE * SIDE
FIRST_SAMPLE = 128  # what stands for every neighbour of a pixel that has none
REACH = 3  # rows or columns of a strip
STRIP = REACH * SIDE
SIDES = NORTH, WEST, EAST, SOUTH = 1, 2, 4, 8  # of a tile; a number holds those whose samples are known
STRIPS = len(SIDES) * STRIP  # samples of a channel, in the order of SIDES, each in raster order
SLOTS = POSITIONS + 1 + STRIPS
UNKNOWN = SLOTS  # the slot of what is not known
CENTRE = 128  # the token of a residual of zero

Integers = npt.NDArray[np.int64]

# Causal neighbours as (rows, columns) away from the pixel. The first three are those of the median edge detector.
NEIGHBOURS = (
    (0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, -2),
    (-1, 2), (-2, -1), (-2, 1), (0, -3), (-2, -2), (-2, 2), (-3, 0),
)  # fmt: skip
AHEAD = ((0, 1), (0, 2), (1, 0), (2, 0), (1, 1), (1, -1))  # seen where they lie in a strip
RESIDUAL_NEIGHBOURS = 6  # the first six also show how wrong the base prediction was there

MAX_CHANNELS = HEADS = 3
CHANNEL_FEATURES = 2 * len(NEIGHBOURS) + RESIDUAL_NEIGHBOURS + 1
AHEAD_FEATURES = 112  # the first of those about what lies ahead, 12 of each channel; before them 3 x 35 features, the kind (6), a zero
SIDE_FEATURES = AHEAD_FEATURES + 2 * len(AHEAD) * MAX_CHANNELS  # the first of those about the sides, 4
FEATURES = 160  # with zeros, so that it is a multiple of 32
HEAD_FEATURES = 16  # what a head learns of the channels coded just before; zeros where there are none
KIND_FEATURE = 64

# Where a tile of luma sees its chroma, which is known on all sides: (rows, columns) away from the pixel.
SURROUNDINGS = (
    (0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1), (0, -2),
    (0, 2), (-2, 0), (2, 0), (2, 2), (2, -2), (0, 4), (4, 0), (4, 4),
)  # fmt: skip
MARGIN = 4  # of the windows around tiles that hold their chroma
WINDOW = SIDE + 2 * MARGIN


@cache
def neighbour_slots() -> npt.NDArray[np.int64]:
    """The slot of each neighbour of each position, then of what is ahead, by the sides that are known: (16, POSITIONS, neighbours).

    A neighbour beyond the tile is seen where it lies in a strip; else its coordinates are clamped, into the strips and the tile. Where that
    does not give what is known, the pixel to the left stands in, where there is none the pixel above, and where that is missing, too, the
    slot behind the last position.
    """
    table = np.empty((1 << len(SIDES), POSITIONS, len(NEIGHBOURS) + len(AHEAD)), np.int64)
    y, x = np.divmod(np.arange(POSITIONS), SIDE)
    for known, of_sides in enumerate(table):
        stand_in = np.full(POSITIONS, POSITIONS)
        for slot in (_slots(y - 1, x, known), _slots(y, x - 1, known)):
            stand_in = np.where(slot == UNKNOWN, stand_in, slot)
        for k, (dy, dx) in enumerate(NEIGHBOURS):
            slot = _slots(*_clamped(y + dy, x + dx, known), known)
            of_sides[:, k] = np.where(slot == UNKNOWN, stand_in, slot)
        for k, (dy, dx) in enumerate(AHEAD):
            of_sides[:, len(NEIGHBOURS) + k] = _slots(y + dy, x + dx, known)
    return table


def _clamped(y: Integers, x: Integers, known: int) -> tuple[Integers, Integers]:
    """The nearest coordinates in the tile or one of the strips that are known; above the tile, in its columns."""
    y = np.maximum(y, -REACH if known & NORTH else 0)
    first, last = -REACH if known & WEST else 0, SIDE - 1 + (REACH if known & EAST else 0)
    return y, np.where(y < 0, x.clip(0, SIDE - 1), x.clip(first, last))


def _slots(y: Integers, x: Integers, known: int) -> Integers:
    """Of coordinates around each position: before it in the tile, or in a strip that is known; else UNKNOWN."""
    inside = (y >= 0) & (y < SIDE) & (x >= 0) & (x < SIDE) & (y * SIDE + x < np.arange(POSITIONS))
    slots, strip = np.where(inside, y * SIDE + x, UNKNOWN), POSITIONS + 1
    for side, row, column, rows, columns in (
        (NORTH, y + REACH, x, REACH, SIDE),
        (WEST, y, x + REACH, SIDE, REACH),
        (EAST, y, x - SIDE, SIDE, REACH),
        (SOUTH, y - SIDE, x, REACH, SIDE),
    ):
        if known & side:
            found = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
            slots = np.where(found, strip + row * columns + column, slots)
        strip += STRIP
    return slots


@cache
def edges() -> npt.NDArray[np.bool_]:
    """Which positions lie at each of a tile's sides, (POSITIONS, sides)."""
    y, x = np.divmod(np.arange(POSITIONS), SIDE)
    return np.stack([y == 0, x == 0, x == SIDE - 1, y == SIDE - 1], 1)
