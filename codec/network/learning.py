"""What is learnt of a group while it is coded: which values occur, beside which others, more or less often than the network thinks.
Factors, found anew after every row of the tiles, correct its frequencies.

A picture that was made of luma and chroma, whose contrast was stretched or whose colours are few has samples that never occur, or never
together; the network sees too little of it to know. Everything is whole numbers, or single operations of doubles, in a written order.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bitstream.constants import ALPHABET
from codec.network.engine import Tables, Tokens
from codec.network.groups import Exist, Turn
from codec.network.learning_kernel import (
    FIRST_PAIR,
    FIRST_WEIGHT,
    LARGEST_FACTOR,
    LIMIT,
    PAIRS,
    ROW,
    concluded,
    corrected,
    followed,
    learnt,
)
from codec.network.limits import LOGIT_STEPS, powers_of_two
from codec.tiling.context import FIRST_SAMPLE, POSITIONS, SLOTS, neighbour_slots

POWERS = powers_of_two(LOGIT_STEPS, LARGEST_FACTOR)[: 2 * LIMIT + 1]


class Learnt(NamedTuple):
    """Of groups, see `learning_kernel`: factors (groups, rows * ROW), weights (groups, channels, 2), seen (groups, rows, 256) and touched
    (groups, rows)."""

    factors: npt.NDArray[np.int32]
    weights: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int64]
    touched: npt.NDArray[np.bool_]


def nothing(channels: int, groups: int) -> Learnt:
    """Is learnt yet."""
    rows = FIRST_PAIR + ALPHABET * PAIRS[channels] if channels else 0
    weights = np.array([[[FIRST_WEIGHT, 0]] * channels] * groups, np.int64).reshape(groups, channels, 2)
    factors, seen = np.zeros((groups, rows * ROW), np.int32), np.zeros((groups, rows, ALPHABET), np.int64)
    return Learnt(factors, weights, seen, np.zeros((groups, rows), np.bool_))


class Learning:
    """What is learnt of a group, kept in `Learnt` at its place there. For each of its turns: `begin`; then for each token in coding order:
    `corrected`, then `learnt`."""

    def __init__(self, channels: int, of: Learnt | None = None, group: int = 0) -> None:
        factors, weights, seen, touched = (array[group] for array in of or nothing(channels, 1))
        self._factors, self._counts = (factors, weights), (seen, touched)

    def begin(self, turn: Turn) -> None:
        """With its tiles, none of whose tokens was seen. What was learnt in the last row of a turn before counts, even where that row ended
        before its tiles' last column."""
        for channel in range(turn.kind.channels):
            concluded(channel, self._factors[0], *self._counts)
        channels, tiles = turn.kind.channels, len(turn.extents)
        self.known = np.full((tiles, channels, SLOTS), FIRST_SAMPLE, np.int32)  # samples
        self.known[..., POSITIONS + 1 :] = turn.around.strips
        self._what = self.known, neighbour_slots(), turn.around.sides, *self._factors
        self._last = np.zeros(tiles, np.int64), np.zeros((tiles, ALPHABET), np.int32)

    def corrected(self, position: int, channel: int, tables: Tables, predictions: Tokens) -> None:
        """Corrects the frequencies (tiles, 256) of a channel's tokens at a position, where they are. predictions (tiles): what the tokens
        are residuals to."""
        corrected(position, channel, tables, predictions, *self._what, POWERS, *self._last)

    def learnt(self, position: int, channel: int, tables: Tables, predictions: Tokens, tokens: Tokens, exist: Exist) -> None:
        """Tells the tokens (tiles), of which those count that exist. tables: as they were corrected."""
        learnt(position, channel, tables, predictions, *self._what, *self._counts, *self._last, tokens, exist)

    def followed(self, start: int, tables: Tables, predictions: Tokens, tokens: Tokens, exist: Exist) -> None:
        """Both, of all tokens at positions from `start` on: tables (n, channels, tiles, 256), predictions and tokens (n, channels, tiles),
        exist (n, tiles)."""
        followed(start, tables, predictions, *self._what, *self._counts, POWERS, *self._last, tokens, exist)
