"""Groups of tiles, which are coded in turns: which positions of a turn's tiles exist, and what is known of their pixels beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bitstream.constants import ALPHABET
from codec.network.engine import Impossible, Tokens
from codec.tiling.context import CENTRE, SIDE
from codec.tiling.planes import Kind
from codec.tiling.tiles import Known, TileSamples

Extents = npt.NDArray[np.int64]  # (tiles, 2): rows and columns that exist
Exist = npt.NDArray[np.bool_]  # (tiles): which have a position
CellTokens = npt.NDArray[np.uint16]
Integers = npt.NDArray[np.int64]


def present(extents: Extents, positions: int | npt.NDArray[np.integer]) -> Exist:
    """Which tiles have a position: (tiles,); or which have which: (positions, tiles)."""
    y, x = np.divmod(positions, SIDE)
    found: Exist = (extents[:, 0] > y[..., None]) & (extents[:, 1] > x[..., None])
    return found


def positions_needed(extents: Extents) -> int:
    """One more than the last position that any of the tiles has."""
    return int(((extents[:, 0] - 1) * SIDE + extents[:, 1]).max())


class CellBounds(Protocol):
    """What knows the cells of colour in which pixels lie, as a palette does."""

    def bounds(self, tokens: CellTokens, known: list[Integers], channels: int) -> tuple[Integers, Integers]:
        """The lowest and the highest next sample of pixels, whose cells' tokens (n) and first samples in coding order, each (n), are
        known."""


@dataclass(frozen=True)
class Cells:
    """The tokens of tiles, whose pixels are known to lie in cells of colour. tokens: (tiles, POSITIONS)."""

    bounds: CellBounds
    tokens: CellTokens

    def impossible(
        self, tokens: CellTokens, known: Sequence[npt.NDArray[np.int64]], predictions: npt.NDArray[np.integer], channels: int
    ) -> Impossible:
        """The tokens of samples outside of the cells, (rows, 256). tokens (rows): of the cells; known: the pixels' first samples, each
        (rows), in coding order; predictions (rows): that the next sample's residuals are to, modulo 256.
        """
        low, high = (bound[:, None] for bound in self.bounds.bounds(tokens, [*known], channels))
        samples = (np.arange(ALPHABET) + predictions.astype(np.int64)[:, None] - CENTRE) & 255
        found: Impossible = (samples < low) | (samples > high)
        return found

    def impossible_in(self, span: slice, samples: TileSamples, tokens: Tokens) -> list[Impossible]:
        """The same of each channel, (positions, tiles, 256), for a span of the positions. tokens: (positions, channels, tiles), of the
        samples (tiles, channels, POSITIONS)."""
        some = tokens[span]
        now = [*samples[:, :, span].transpose(1, 2, 0).astype(np.int64).reshape(some.shape[1], -1)]
        seen = self.tokens[:, span].T.reshape(-1)
        found = []
        for c in range(some.shape[1]):
            predictions = now[c] - some[:, c].reshape(-1) + CENTRE
            found.append(self.impossible(seen, now[:c], predictions, some.shape[1]).reshape(len(some), -1, ALPHABET))
        return found


@dataclass(frozen=True)
class Turn:
    """Tiles of a group, or of several, that are coded together. extents: as above; around: what is known of their surroundings; cells:
    where their pixels are known to be."""

    kind: Kind
    extents: Extents
    around: Known
    cells: Cells | None = None


def some(around: Known, part: slice) -> Known:
    """Of some of the tiles."""
    return around.each(lambda array: array[part])


def chosen_of(turn: Turn, tiles: Sequence[int]) -> Turn:
    """Some of the tiles, by their numbers."""
    cells = Cells(turn.cells.bounds, turn.cells.tokens[tiles]) if turn.cells else None
    return Turn(turn.kind, turn.extents[tiles], turn.around.each(lambda array: array[tiles]), cells)


def together(turns: Sequence[Turn]) -> Turn:
    """The tiles of several groups of a kind, with the same bounds of cells."""
    arounds, cells = [turn.around for turn in turns], [turn.cells for turn in turns if turn.cells]
    windows = [around.windows for around in arounds if around.windows is not None]
    around = Known(
        np.concatenate([around.sides for around in arounds]),
        np.concatenate([around.strips for around in arounds]),
        np.concatenate(windows) if windows else None,
    )
    extents = np.concatenate([turn.extents for turn in turns])
    seen = Cells(cells[0].bounds, np.concatenate([c.tokens for c in cells])) if cells else None
    return Turn(turns[0].kind, extents, around, seen)
