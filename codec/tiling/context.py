"""Tiles, and which pixels the network sees around each of their positions.

A tile's samples lie flat in raster order, with one more slot behind the last position: it stands for the neighbours of the very first
pixel, which has none.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

SIDE = 32
POSITIONS = SIDE * SIDE
SLOTS = POSITIONS + 1
FIRST_SAMPLE = 128  # what stands for every neighbour of a tile's first pixel
CENTRE = 128  # the token of a residual of zero

# Causal neighbours as (rows, columns) away from the pixel. The first three are those of the median edge detector.
NEIGHBOURS = (
    (0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, -2),
    (-1, 2), (-2, -1), (-2, 1), (0, -3), (-2, -2), (-2, 2), (-3, 0),
)  # fmt: skip
RESIDUAL_NEIGHBOURS = 6  # the first six also show how wrong the base prediction was there

MAX_CHANNELS = HEADS = 3
CHANNEL_FEATURES = 2 * len(NEIGHBOURS) + RESIDUAL_NEIGHBOURS + 1
FEATURES = 112  # 3 channels x 35 features, the kind (6), and a zero, so that it is a multiple of 16
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
    """The slot of each neighbour of each position, (POSITIONS, neighbours).

    Coordinates are clamped into the tile. Where that does not give an earlier position, the pixel to the left stands in, in the first
    column the pixel above, and for the first pixel the last slot.
    """
    table = np.empty((POSITIONS, len(NEIGHBOURS)), np.int64)
    for position in range(POSITIONS):
        y, x = divmod(position, SIDE)
        stand_in = position - 1 if x else position - SIDE if y else POSITIONS
        for k, (dy, dx) in enumerate(NEIGHBOURS):
            slot = max(y + dy, 0) * SIDE + min(max(x + dx, 0), SIDE - 1)
            table[position, k] = slot if slot < position else stand_in
    return table
