"""Tiles <-> payloads: context, network, frequencies and words, encode and decode side by side.

The tokens of a group are ordered by position, then channel, then tile; positions that do not exist in a tile are left out. So the decoder
can take one position of all tiles at a time, and the encoder, which knows everything, computes the hidden states of whole tiles first.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bitstream.constants import ALPHABET
from bitstream.range_coder import TokenDecoder, TokenEncoder
from codec.network.engine import Engine, Impossible, Rows, Steps, Tables
from codec.progress import Progress
from codec.tiling.context import CENTRE, POSITIONS, SIDE
from codec.tiling.planes import Kind, Sample
from codec.tiling.tiles import TileSamples, Windows

ENCODED_TILES = {"cpu": 12, "cuda": 256}  # in one parallel pass
ENCODED_ROWS = {"cpu": 1 << 12, "cuda": 1 << 16}  # frequency tables at once, per channel
DECODED_TILES = {"cpu": 256, "cuda": 1 << 14}  # in lockstep

Extents = npt.NDArray[np.int64]  # (tiles, 2): rows and columns that exist
CellTokens = npt.NDArray[np.uint16]
Integers = npt.NDArray[np.int64]
TokensAt = Callable[[int, int, Steps, Impossible | None], npt.NDArray[np.int32]]


def present(extents: Extents, positions: int | npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Which tiles have a position: (tiles,); or which have which: (positions, tiles)."""
    y, x = np.divmod(positions, SIDE)
    found: npt.NDArray[np.bool_] = (extents[:, 0] > y[..., None]) & (extents[:, 1] > x[..., None])
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


@dataclass(frozen=True)
class Group:
    """Tiles that are coded together. extents: as above; windows: for a surrounded kind, the chroma around each tile; cells: where their
    pixels are known to be."""

    kind: Kind
    extents: Extents
    windows: Windows | None = None
    cells: Cells | None = None


def encode_group(engine: Engine, group: Group, samples: TileSamples, progress: Progress) -> bytes:
    """The payload of a group's (tiles, channels, POSITIONS) samples."""
    encoder = TokenEncoder()
    for tokens, tables in tokens_and_frequencies(engine, group, samples, progress):
        encoder.encode(tokens, tables)
    return encoder.payload()


def tokens_and_frequencies(
    engine: Engine, group: Group, samples: TileSamples, progress: Progress
) -> Iterator[tuple[npt.NDArray[np.int32], Tables]]:
    """A group's tokens in coding order with the frequencies they are coded with, in parts: (n,) and (n, 256)."""
    kind, extents = group.kind, group.extents
    tiles, needed = len(samples), positions_needed(extents)
    hidden, features, tokens = hidden_states(engine, group, samples, progress)
    at_once = max(1, ENCODED_ROWS[engine.device] // tiles)
    for start in range(0, needed, at_once):
        span = slice(start, min(start + at_once, needed))
        impossible = _impossible(group.cells, span, samples, tokens) if group.cells else None
        tables = engine.frequencies(kind, hidden[span], [f[span] for f in features], impossible)
        exist = present(extents, np.arange(span.start, span.stop))[:, None].repeat(kind.channels, 1)
        if exist.all():
            yield tokens[span].reshape(-1), tables.reshape(-1, ALPHABET)
        else:
            yield tokens[span][exist], tables[exist]


def _impossible(cells: Cells, span: slice, samples: TileSamples, tokens: npt.NDArray[np.int32]) -> list[Impossible]:
    """Of each channel, (positions, tiles, 256), for a span of the positions."""
    some = tokens[span]  # (positions, channels, tiles)
    now = [*samples[:, :, span].transpose(1, 2, 0).astype(np.int64).reshape(some.shape[1], -1)]
    seen = cells.tokens[:, span].T.reshape(-1)
    found = []
    for c in range(some.shape[1]):
        predictions = now[c] - some[:, c].reshape(-1) + CENTRE
        found.append(cells.impossible(seen, now[:c], predictions, some.shape[1]).reshape(len(some), -1, ALPHABET))
    return found


def hidden_states(engine: Engine, group: Group, samples: TileSamples, progress: Progress) -> tuple[Rows, list[Rows], npt.NDArray[np.int32]]:
    """The parallel pass over every tile, down to the last row that any has; here goes most of the encoder's time.

    Returns the hidden states (positions, tiles, n_embd), per channel the head features (positions, tiles, HEAD_FEATURES), and the tokens
    (positions, channels, tiles).
    """
    count, at_once = int(group.extents[:, 0].max()) * SIDE, ENCODED_TILES[engine.device]
    parts = []
    for first in range(0, len(samples), at_once):
        part = slice(first, first + at_once)
        parts.append(engine.see(group.kind, samples[part], None if group.windows is None else group.windows[part], count))
        progress(int(group.extents[part].prod(1).sum()))

    def joined(arrays: Sequence[npt.NDArray[Sample]]) -> npt.NDArray[Sample]:
        return np.ascontiguousarray(np.concatenate(arrays).swapaxes(0, 1))

    features, tokens = ([joined(of) for of in zip(*(part[k] for part in parts), strict=True)] for k in (1, 2))
    return joined([part.hidden for part in parts]), features, np.stack(tokens, 1)


def decode_groups(
    engine: Engine, groups: Sequence[Group], payloads: Sequence[bytes], progress: Progress, positions: int = POSITIONS
) -> list[TileSamples]:
    """The samples of several groups of a kind, decoded in lockstep; positions: as in `step_through`.

    Raises DamagedError where a payload is not what an encoder writes.
    """
    decoders = [TokenDecoder(payload) for payload in payloads]
    bounds = np.cumsum([0, *(len(group.extents) for group in groups)])
    parts = [slice(first, last) for first, last in itertools.pairwise(bounds)]
    extents = np.concatenate([group.extents for group in groups])
    windows = [group.windows for group in groups if group.windows is not None]
    cells = [group.cells for group in groups if group.cells]
    seen = Cells(cells[0].bounds, np.concatenate([c.tokens for c in cells])) if cells else None
    together = Group(groups[0].kind, extents, np.concatenate(windows) if windows else None, seen)

    def read_tokens(position: int, channel: int, steps: Steps, impossible: Impossible | None) -> npt.NDArray[np.int32]:
        tables = steps.frequencies(impossible)
        exist = present(extents, position)
        tokens = np.zeros(len(extents), np.int32)
        for decoder, part in zip(decoders, parts, strict=True):
            found = exist[part]
            if found.any():
                tokens[part][found] = decoder.decode(tables[part] if found.all() else tables[part][found])
        return tokens

    samples = step_through(engine, together, read_tokens, progress, positions)
    if positions >= positions_needed(extents):
        for decoder in decoders:
            decoder.finish()
    return [samples[part] for part in parts]


def step_through(engine: Engine, group: Group, tokens_at: TokensAt, progress: Progress, positions: int = POSITIONS) -> TileSamples:
    """Builds tiles position by position, each token from the logits that all before it lead to: the decoder, and the sampler.

    tokens_at: called with position, channel, the steps, which are there, and what is impossible; gives the tokens (tiles) int32.
    positions: so many at most; what follows is undefined.
    """
    kind, cells = group.kind, group.cells
    steps = engine.steps(kind, len(group.extents), group.windows)
    for position in range(min(positions, positions_needed(group.extents))):
        exist = present(group.extents, position)
        steps.go_to(position)
        known: list[npt.NDArray[np.int64]] = []
        for channel in range(kind.channels):
            steps.begin(channel)
            impossible = cells.impossible(cells.tokens[:, position], known, steps.predictions, kind.channels) if cells else None
            tokens = tokens_at(position, channel, steps, impossible)
            if cells:
                known.append((tokens.astype(np.int64) + steps.predictions - CENTRE) & 255)
            steps.accept(tokens, exist)
        progress(int(exist.sum()))
    return steps.samples()
