"""Groups of tiles <-> payloads: context, network, frequencies and words, encode and decode side by side.

A group has a payload, with the tokens of its turns one after the other. Those of a turn are ordered by position, then channel, then tile;
positions that do not exist in a tile are left out. So the decoder can take one position of all tiles of a turn at a time, and the encoder,
which knows everything, computes the hidden states of whole tiles first.

Words are made and read on the CPU here, or, where the network runs on a GPU that can, by `gpu`.
"""

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from types import ModuleType

import numpy as np
import numpy.typing as npt

from bitstream.constants import ALPHABET
from codec.network import words
from codec.network.engine import Engine, Impossible, Reading, Rows, Steps, Tables, Tokens
from codec.network.groups import Exist, Turn, positions_needed, present, some, together
from codec.network.learning import POWERS, Learning, Learnt, nothing
from codec.progress import Progress
from codec.tiling.context import CENTRE, POSITIONS, SIDE
from codec.tiling.planes import Sample
from codec.tiling.tiles import TileSamples

ENCODED_TILES = {"cpu": 12, "cuda": 256}  # in one parallel pass
ENCODED_ROWS = {"cpu": 1 << 12, "cuda": 1 << 16}  # frequency tables at once, per channel
ENCODED_TOGETHER = {"cpu": 1, "cuda": 1 << 14}  # tiles whose words are made together, or one group's
DECODED_TILES = {"cpu": 256, "cuda": 1 << 14}  # in lockstep

Turns = Sequence[tuple[Turn, TileSamples]]  # of a group, in order, with their samples (tiles, channels, POSITIONS)
Accept = Callable[[int, int, Steps, Impossible | None, Exist], None]


def gpu_coder(engine: Engine) -> ModuleType | None:
    """`codec.network.gpu`, where the engine is on a GPU, and words can be made there too: what is learnt is learnt on a CPU."""
    if engine.device != "cuda" or engine.config.learns:
        return None
    from codec.network import gpu

    return None if gpu.why_not() else gpu


def learns(engine: Engine, turn: Turn) -> bool:
    """Whether a group's frequencies are corrected by what was coded of it: not where cells say which tokens are possible."""
    return engine.config.learns and turn.cells is None


def encode_groups(engine: Engine, groups: Sequence[Turns], progress: Progress) -> list[bytes]:
    """The payload of each group, of its turns, at least one, with their samples."""
    if gpu := gpu_coder(engine):
        found: list[bytes] = gpu.encode_groups(engine, groups, ENCODED_ROWS[engine.device], progress)
        return found
    payloads = []
    for turns in groups:
        coder = words.encoder(sum(int(turn.extents.prod(1).sum()) * turn.kind.channels for turn, _ in turns))
        for tokens, tables, exist in tokens_and_frequencies(engine, turns, progress):
            coder.encode(tokens, tables, exist)
        payloads.append(coder.payload())
    return payloads


def tokens_and_frequencies(engine: Engine, turns: Turns, progress: Progress) -> Iterator[tuple[Tokens, Tables, Exist]]:
    """A group's tokens in coding order, (n, channels, tiles), with the frequencies they are coded with, (n, channels, tiles, 256), and
    where they exist, (n, tiles), in parts, each of one turn."""
    first, _ = turns[0]
    learning = Learning(first.kind.channels) if learns(engine, first) else None
    for turn, samples in turns:
        if learning:
            learning.begin(turn)
        yield from _of_turn(engine, turn, samples, learning, progress)


def _of_turn(
    engine: Engine, turn: Turn, samples: TileSamples, learning: Learning | None, progress: Progress
) -> Iterator[tuple[Tokens, Tables, Exist]]:
    kind, extents = turn.kind, turn.extents
    tiles, needed = len(samples), positions_needed(extents)
    hidden, features, tokens = hidden_states(engine, turn, samples, progress)
    predictions = (samples[:, :, : len(tokens)].transpose(2, 1, 0) - tokens + CENTRE) & 255
    at_once = max(1, ENCODED_ROWS[engine.device] // tiles)
    for start in range(0, needed, at_once):
        span = slice(start, min(start + at_once, needed))
        impossible = turn.cells.impossible_in(span, samples, tokens) if turn.cells else None
        tables = engine.frequencies(kind, hidden[span], [f[span] for f in features], impossible)
        there = present(extents, np.arange(span.start, span.stop))
        if learning:
            learning.followed(start, tables, predictions[span], tokens[span], there)
        yield tokens[span], tables, there


def hidden_states(engine: Engine, turn: Turn, samples: TileSamples, progress: Progress) -> tuple[Rows, list[Rows], npt.NDArray[np.int32]]:
    """The parallel pass over every tile, down to the last row that any has; here goes most of the encoder's time.

    Returns the hidden states (positions, tiles, n_embd), per channel the head features (positions, tiles, HEAD_FEATURES), and the tokens
    (positions, channels, tiles).
    """
    count, at_once = int(turn.extents[:, 0].max()) * SIDE, ENCODED_TILES[engine.device]
    parts = []
    for first in range(0, len(samples), at_once):
        part = slice(first, first + at_once)
        parts.append(engine.see(turn.kind, samples[part], some(turn.around, part), count))
        progress(int(turn.extents[part].prod(1).sum()))

    def joined(arrays: Sequence[npt.NDArray[Sample]]) -> npt.NDArray[Sample]:
        return np.ascontiguousarray(np.concatenate(arrays).swapaxes(0, 1))

    features, tokens = ([joined(of) for of in zip(*(part[k] for part in parts), strict=True)] for k in (1, 2))
    return joined([part.hidden for part in parts]), features, np.stack(tokens, 1)


class Decoding:
    """Groups of a kind, decoded in lockstep, turn by turn. Raises DamagedError where a payload is not what an encoder writes."""

    def __init__(self, engine: Engine, payloads: Sequence[bytes]) -> None:
        gpu, self.engine = gpu_coder(engine), engine
        self.decoders = gpu.Decoders(payloads) if gpu else Decoders(payloads)

    def turn(self, turns: dict[int, Turn], progress: Progress, positions: int = POSITIONS) -> list[TileSamples]:
        """The samples of each group that has this turn, by the place of its payload. positions: as in `step_through`."""
        bounds = np.cumsum([0, *(len(turn.extents) for turn in turns.values())])
        parts = dict(zip(turns, itertools.pairwise(bounds.tolist()), strict=True))
        self.decoders.begin(parts, {place: turn for place, turn in turns.items() if learns(self.engine, turn)})
        samples = step_through(self.engine, together([*turns.values()]), self.decoders.accept, progress, positions)
        return [samples[first:last] for first, last in parts.values()]

    def finish(self) -> None:
        """After the last token. Raises DamagedError."""
        self.decoders.finish()


class Decoders:
    """Of payloads. Raises DamagedError."""

    def __init__(self, payloads: Sequence[bytes]) -> None:
        self.words, self.payloads = words.decoders(payloads), len(payloads)
        self.learning: dict[int, Learning] = {}  # by the place of the payload
        self.known: Learnt = nothing(0, self.payloads)

    def begin(self, parts: dict[int, tuple[int, int]], learning: dict[int, Turn]) -> None:
        """Of the turns that are next, by the places of their payloads. parts: their tiles are those from one to before the other."""
        self.parts = {place: slice(*part) for place, part in parts.items()}
        for place, turn in learning.items():
            if not self.learning:
                self.known = nothing(turn.kind.channels, self.payloads)
            if place not in self.learning:
                self.learning[place] = Learning(turn.kind.channels, self.known, place)
            self.learning[place].begin(turn)
        self.reading = self._reading(parts, learning)

    def _reading(self, parts: dict[int, tuple[int, int]], learning: Collection[int]) -> Reading | None:
        """For engines that take all at once; None where nothing is compiled."""
        if isinstance(self.words, words.SlowDecoders):
            return None
        bounds, learns = np.zeros((self.payloads, 2), np.int64), np.zeros(self.payloads, np.bool_)
        bounds[[*parts]] = [*parts.values()]
        learns[[*learning]] = True
        tiles = int(bounds.max())
        work = POWERS, np.zeros(tiles, np.int64), np.zeros((tiles, ALPHABET), np.int32)
        return Reading(bounds, self.words.states, self.words.numbers, self.words.words, learns, *self.known, *work)

    def accept(self, position: int, channel: int, steps: Steps, impossible: Impossible | None, exist: Exist) -> None:
        """Hands the steps their tokens. Raises DamagedError."""
        if steps.read and self.reading:
            failed = steps.read(self.reading, impossible, exist)
            if failed >= 0:
                raise words.failure(self.reading.numbers[failed])
            return
        tables, predictions = steps.frequencies(impossible), steps.predictions
        tokens = np.zeros(len(exist), np.int32)
        for place, part in self.parts.items():
            learning = self.learning.get(place)
            if learning:
                learning.corrected(position, channel, tables[part], predictions[part])
            self.words.decode(place, tables[part], exist[part], tokens[part])
            if learning:
                learning.learnt(position, channel, tables[part], predictions[part], tokens[part], exist[part])
        steps.accept(tokens, exist)

    def finish(self) -> None:
        """After the last token. Raises DamagedError."""
        self.words.finish()


def step_through(engine: Engine, turn: Turn, accept: Accept, progress: Progress, positions: int = POSITIONS) -> TileSamples:
    """Builds tiles position by position, each token from the logits that all before it lead to: the decoder, and the sampler.

    accept: called with position, channel, the steps, which are there, what is impossible, and which tiles exist there; it has the steps
    accept the tokens (tiles). positions: so many at most; what follows is undefined.
    """
    kind, cells = turn.kind, turn.cells
    steps = engine.steps(kind, turn.around)
    for position in range(min(positions, positions_needed(turn.extents))):
        exist = present(turn.extents, position)
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
