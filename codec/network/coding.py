"""Tiles <-> payloads: context, network, frequencies and words, encode and decode side by side.

The tokens of a group are ordered by position, then channel, then tile; positions that do not exist in a tile are left out. So the decoder
can take one position of all tiles at a time, and the encoder, which knows everything, computes the hidden states of whole tiles first.

Words are made and read on the CPU here, or, where the network runs on a GPU that can, by `gpu`.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

import numpy as np
import numpy.typing as npt

from codec.network.engine import Engine, Impossible, Rows, Steps, Tables, Tokens
from codec.network.groups import Exist, Group, positions_needed, present, some, together
from codec.network.learning import Learning
from codec.network.words import decoder, encoder
from codec.progress import Progress
from codec.tiling.context import CENTRE, POSITIONS, SIDE
from codec.tiling.planes import Sample
from codec.tiling.tiles import TileSamples

ENCODED_TILES = {"cpu": 12, "cuda": 256}  # in one parallel pass
ENCODED_ROWS = {"cpu": 1 << 12, "cuda": 1 << 16}  # frequency tables at once, per channel
ENCODED_TOGETHER = {"cpu": 1, "cuda": 1 << 14}  # tiles whose words are made together, or one group's
DECODED_TILES = {"cpu": 256, "cuda": 1 << 14}  # in lockstep

Accept = Callable[[int, int, Steps, Impossible | None, Exist], None]


def gpu_coder(engine: Engine) -> ModuleType | None:
    """`codec.network.gpu`, where the engine is on a GPU, and words can be made there too: what is learnt is learnt on a CPU."""
    if engine.device != "cuda" or engine.config.learns:
        return None
    from codec.network import gpu

    return None if gpu.why_not() else gpu


def learns(engine: Engine, group: Group) -> bool:
    """Whether a group's frequencies are corrected by what was coded of it: not where cells say which tokens are possible."""
    return engine.config.learns and group.cells is None


def encode_groups(engine: Engine, groups: Sequence[Group], samples: Sequence[TileSamples], progress: Progress) -> list[bytes]:
    """The payloads of groups, of each one's (tiles, channels, POSITIONS) samples."""
    if gpu := gpu_coder(engine):
        found: list[bytes] = gpu.encode_groups(engine, groups, samples, ENCODED_ROWS[engine.device], progress)
        return found
    payloads = []
    for group, own in zip(groups, samples, strict=True):
        coder = encoder(int(group.extents.prod(1).sum()) * group.kind.channels)
        for tokens, tables, exist in tokens_and_frequencies(engine, group, own, progress):
            coder.encode(tokens, tables, exist)
        payloads.append(coder.payload())
    return payloads


def tokens_and_frequencies(
    engine: Engine, group: Group, samples: TileSamples, progress: Progress
) -> Iterator[tuple[Tokens, Tables, Exist]]:
    """A group's tokens in coding order, (n, channels, tiles), with the frequencies they are coded with, (n, channels, tiles, 256), and
    where they exist, (n, tiles), in parts."""
    kind, extents = group.kind, group.extents
    tiles, needed = len(samples), positions_needed(extents)
    hidden, features, tokens = hidden_states(engine, group, samples, progress)
    learning = Learning(group) if learns(engine, group) else None
    predictions = (samples[:, :, : len(tokens)].transpose(2, 1, 0) - tokens + CENTRE) & 255
    at_once = max(1, ENCODED_ROWS[engine.device] // tiles)
    for start in range(0, needed, at_once):
        span = slice(start, min(start + at_once, needed))
        impossible = group.cells.impossible_in(span, samples, tokens) if group.cells else None
        tables = engine.frequencies(kind, hidden[span], [f[span] for f in features], impossible)
        there = present(extents, np.arange(span.start, span.stop))
        if learning:
            learning.followed(start, tables, predictions[span], tokens[span], there)
        yield tokens[span], tables, there


def hidden_states(engine: Engine, group: Group, samples: TileSamples, progress: Progress) -> tuple[Rows, list[Rows], npt.NDArray[np.int32]]:
    """The parallel pass over every tile, down to the last row that any has; here goes most of the encoder's time.

    Returns the hidden states (positions, tiles, n_embd), per channel the head features (positions, tiles, HEAD_FEATURES), and the tokens
    (positions, channels, tiles).
    """
    count, at_once = int(group.extents[:, 0].max()) * SIDE, ENCODED_TILES[engine.device]
    parts = []
    for first in range(0, len(samples), at_once):
        part = slice(first, first + at_once)
        parts.append(engine.see(group.kind, samples[part], some(group.around, part), count))
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
    bounds = np.cumsum([0, *(len(group.extents) for group in groups)])
    all_of_them, gpu = together(groups), gpu_coder(engine)
    decoders = gpu.Decoders(payloads, bounds) if gpu else Decoders(payloads, bounds, [Learning(of) for of in groups if learns(engine, of)])
    samples = step_through(engine, all_of_them, decoders.accept, progress, positions)
    decoders.finish(complete=positions >= positions_needed(all_of_them.extents))
    return [samples[first:last] for first, last in itertools.pairwise(bounds)]


class Decoders:
    """Of payloads; bounds (payloads + 1): the tiles of each are those from one to before the next; learning: of each, or nothing. Raises
    DamagedError."""

    def __init__(self, payloads: Sequence[bytes], bounds: npt.NDArray[np.int64], learning: Sequence[Learning]) -> None:
        self.learning = learning
        self.decoders = [decoder(payload) for payload in payloads]
        self.parts = [slice(first, last) for first, last in itertools.pairwise(bounds)]

    def accept(self, position: int, channel: int, steps: Steps, impossible: Impossible | None, exist: Exist) -> None:
        """Hands the steps their tokens. Raises DamagedError."""
        tables, predictions = steps.frequencies(impossible), steps.predictions
        tokens = np.zeros(len(exist), np.int32)
        for k, (own, part) in enumerate(zip(self.decoders, self.parts, strict=True)):
            if self.learning:
                self.learning[k].corrected(position, channel, tables[part], predictions[part])
            own.decode(tables[part], exist[part], tokens[part])
            if self.learning:
                self.learning[k].learnt(position, channel, tables[part], predictions[part], tokens[part], exist[part])
        steps.accept(tokens, exist)

    def finish(self, complete: bool) -> None:
        """After the last token, of all or, where that is not complete, of those that were wanted. Raises DamagedError."""
        for own in self.decoders if complete else ():
            own.finish()


def step_through(engine: Engine, group: Group, accept: Accept, progress: Progress, positions: int = POSITIONS) -> TileSamples:
    """Builds tiles position by position, each token from the logits that all before it lead to: the decoder, and the sampler.

    accept: called with position, channel, the steps, which are there, what is impossible, and which tiles exist there; it has the steps
    accept the tokens (tiles). positions: so many at most; what follows is undefined.
    """
    kind, cells = group.kind, group.cells
    steps = engine.steps(kind, group.around)
    for position in range(min(positions, positions_needed(group.extents))):
        exist = present(group.extents, position)
        steps.go_to(position)
        known: list[npt.NDArray[np.int64]] = []
        for channel in range(kind.channels):
            steps.begin(channel)
            impossible = cells.impossible(cells.tokens[:, position], known, steps.predictions, kind.channels) if cells else None
            accept(position, channel, steps, impossible, exist)
            if cells:
                known.append(steps.accepted.astype(np.int64))
        progress(int(exist.sum()))
    return steps.samples()
