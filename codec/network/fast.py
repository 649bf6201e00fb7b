"""The integer ImageGPT by the compiled kernels, for the CPU: the same integers, faster, and without torch."""

import math
import threading

import numpy as np
import numpy.typing as npt

from bitstream.constants import ALPHABET, FREQUENCY_TOTAL
from codec import jit
from codec.network import kernels
from codec.network.engine import KERNELS, Impossible, Reading, Rows, Seen, Tables, Tokens
from codec.network.limits import (
    EXPONENT_STEPS,
    LOGIT_LIMIT,
    LOGIT_STEPS,
    WEIGHT_BITS,
    Array,
    attention_top,
    powers_of_two,
)
from codec.network.model import IntegerImageGPT
from codec.network.reading_kernel import accepted, read
from codec.network.vectors import LANES, ROWS
from codec.threads import threads
from codec.tiling.context import CENTRE, FEATURES, FIRST_SAMPLE, HEAD_FEATURES, HEADS, POSITIONS, SLOTS, WINDOW, neighbour_slots
from codec.tiling.planes import Kind
from codec.tiling.tiles import Known, TileSamples, Windows

if jit.interpreted():
    msg = "numba's compiler is switched off (NUMBA_DISABLE_JIT)"
    raise ImportError(msg)

FEWEST_BLOCKS = 4  # of heads, for which a thread is worth being woken
SHARED = FREQUENCY_TOTAL - ALPHABET  # of the frequencies, by weight
NONE_IMPOSSIBLE = np.empty((0, 0, 0), np.bool_)
Sizes = tuple[int, int, int, int]  # of a cache: layers, heads, dim, slots


class FastEngine:
    """An `engine.Engine` of a network, with the weights as the kernels read them."""

    name = KERNELS
    device = "cpu"

    @property
    def at_once(self) -> int:
        return threads()

    def __init__(self, network: IntegerImageGPT) -> None:
        self.config, self.arrays = network.config, network.arrays
        self.exponentials = powers_of_two(LOGIT_STEPS, 1 << WEIGHT_BITS)
        table = powers_of_two(EXPONENT_STEPS, attention_top(self.config.attention_window))
        names = [f"h.{k}" for k in range(self.config.n_layer)]
        norms = [f"{name}.ln_{n}" for name in names for n in (1, 2)]
        self.layers = kernels.Layers._make(
            (
                *(part[0] for part in self._projections(["wce"])),
                self._stacked(["wpe"])[0],
                self._stacked([f"{name}.gain" for name in (*norms, "ln_f")]),
                self._stacked([f"{name}.shift" for name in (*norms, "ln_f")]),
                *self._projections([f"{name}.attn.c_attn" for name in names], (3 * self.config.n_head, 1)),
                np.stack([self._stacked([f"{name}.attn.{part}" for name in names]) for part in ("multiplier", "shift")], 1),
                kernels.exponentials(table),
                *self._projections([f"{name}.attn.c_proj" for name in names], (1, self.config.n_head)),
                *self._projections([f"{name}.mlp.c_fc" for name in names]),
                self._stacked([f"{name}.mlp.table" for name in names]),
                *self._projections([f"{name}.mlp.c_proj" for name in names]),
            )
        )
        names = [f"heads.{c}" for c in range(HEADS)]
        self.heads = kernels.Heads(
            *self._projections([f"{name}.c_fc" for name in names]),
            self._stacked([f"{name}.table" for name in names]),
            *self._projections([f"{name}.c_proj" for name in names]),
        )

        self.rooms = threading.local()

    def room(self, sizes: Sizes) -> kernels.Room:
        """The present thread's, for a cache of these sizes."""
        rooms: dict[Sizes, kernels.Room] = self.rooms.__dict__.setdefault("hidden", {})
        if sizes not in rooms:
            rooms[sizes] = kernels.room_of(self.layers, sizes)
        return rooms[sizes]

    def head_room(self) -> kernels.HeadRoom:
        """The present thread's."""
        rooms = self.rooms.__dict__
        if "heads" not in rooms:
            rooms["heads"] = kernels.head_room_of(self.heads)
        room: kernels.HeadRoom = rooms["heads"]
        return room

    def _stacked(self, names: list[str]) -> Array:
        return np.stack([self.arrays[name] for name in names])

    def _projections(self, names: list[str], parts: tuple[int, int] = (1, 1)) -> tuple[Array, Array]:
        """Weights and scales, stacked. parts: of the outputs and of the inputs, each padded to whole vectors."""
        weights, starts = kernels.packed(self._stacked([f"{name}.weight" for name in names]), parts)
        return weights, np.stack([self._scale(name, start, parts[0]) for name, start in zip(names, starts, strict=True)])

    def _scale(self, name: str, start: Array, parts: int) -> Array:
        bias, multiplier, shift = (self.arrays[f"{name}.{part}"] for part in ("bias", "multiplier", "shift"))
        return kernels.scales([multiplier, bias * multiplier + (np.int32(1) << shift - 1), shift], start, parts)

    def see(self, kind: Kind, samples: TileSamples, around: Known, count: int) -> Seen:
        tiles, channels, _ = samples.shape
        known, residuals = _known(around)
        known[:, :, :POSITIONS] = samples
        features, predictions = np.empty((tiles, count, FEATURES), np.int8), np.empty((channels, tiles, count), np.int32)
        of_heads, bases = np.empty((channels, tiles, count, HEAD_FEATURES), np.int8), np.empty((tiles, channels), np.int32)
        what = known, residuals, neighbour_slots(), around.sides, _windows(around), 0, 0, channels, kind.code, kind.related
        jit.run(kernels.context, tiles, *what, bases, features, of_heads, predictions)
        tokens = (known[:, :, :count].swapaxes(0, 1) - predictions + CENTRE) & 255
        return Seen(self.hidden_of_tiles(features), list(of_heads), list(tokens))

    def hidden_of_tiles(self, features: Rows) -> Rows:
        """(tiles, positions, FEATURES) -> (tiles, positions, n_embd); whole rows of tiles."""
        tiles, positions, _ = features.shape
        out = np.empty((tiles, positions, self.config.n_embd), np.int8)
        sizes = self.cache_sizes(positions + LANES)
        position, tile = np.arange(positions), np.arange(tiles)
        first = np.maximum(position + 1 - self.config.attention_window, 0)
        where = np.empty((tiles, positions, 5), np.int64)
        for column, values in enumerate((position, tile[:, None], position, first, position + 1 - first)):
            where[..., column] = values
        rows = features.reshape(tiles * positions, -1), where.reshape(-1, 5)
        self.hide(tiles, *rows, self.cache(tiles, sizes), sizes, positions, kernels.BLOCK, out.reshape(tiles * positions, -1))
        return out

    def hide(self, parts: int, features: Rows, where: Array, cache: Array, sizes: Sizes, together: int, block: int, out: Rows) -> None:
        """See `kernels.hidden`."""
        arguments = features, where, cache, sizes[-1], together, block, out, *self.layers
        jit.run(lambda first, last: kernels.hidden(first, last, *arguments, *self.room(sizes)), parts)

    def cache_sizes(self, positions: int) -> Sizes:
        """Of keys and values: layers, heads, the values of a head and positions, both in whole vectors."""
        config = self.config
        return config.n_layer, config.n_head, -(-config.head_dim // LANES) * LANES, -(-positions // LANES) * LANES

    def cache(self, tiles: int, sizes: Sizes) -> Array:
        """For the keys and values of so many tiles, flat."""
        return kernels.zeros(2 * tiles * math.prod(sizes))

    def frequencies(self, kind: Kind, hidden: Rows, features: list[Rows], impossible: list[Impossible] | None) -> Tables:
        count, tiles, _ = hidden.shape
        out = np.empty((count, kind.channels, tiles, ALPHABET), np.int32)
        for channel, head in enumerate(kind.heads):
            masked = impossible[channel] if impossible else None
            self.frequencies_into(out, channel, hidden, features[channel], head, masked)
        return out

    def frequencies_into(
        self,
        out: Tables,
        channel: int,
        hidden: Rows,
        features: Rows,
        head: int,
        impossible: Impossible | None,
    ) -> None:
        """A channel's part of (n, channels, tiles, 256)."""
        count = out.shape[0] * out.shape[2]
        rows = np.ascontiguousarray(hidden).reshape(count, -1), np.ascontiguousarray(features).reshape(count, -1)
        arguments = *rows, *self.how(head, impossible), channel, out, *self.heads
        parts = -(-count // kernels.BLOCK)
        jit.run(lambda first, last: kernels.frequencies(first, last, *arguments, *self.head_room()), parts, fewest=FEWEST_BLOCKS)

    def how(self, head: int, impossible: Impossible | None) -> tuple[int, np.int32, Impossible, Array, int, int]:
        """See `kernels.frequencies`."""
        masked = NONE_IMPOSSIBLE if impossible is None else impossible
        return head, np.int32(LOGIT_LIMIT), masked, self.exponentials, SHARED, WEIGHT_BITS

    def steps(self, kind: Kind, around: Known) -> "FastSteps":
        return FastSteps(self, kind, around)


class FastSteps:
    """The `engine.Steps` of a FastEngine."""

    def __init__(self, engine: FastEngine, kind: Kind, around: Known) -> None:
        self.engine, self.kind, self.window = engine, kind, engine.config.attention_window
        self.known, self.residuals = _known(around)
        tiles = len(self.known)
        self.tokens, self.table = np.zeros(tiles, np.int32), np.empty((1, 1, tiles, ALPHABET), np.int32)
        self.bases = np.empty((tiles, kind.channels), np.int32)
        self.features = np.empty((tiles, 1, FEATURES), np.int8)
        self.of_heads = np.empty((kind.channels, tiles, 1, HEAD_FEATURES), np.int8)
        self.predicted = np.empty((kind.channels, tiles, 1), np.int32)
        self.hidden = np.empty((tiles, engine.config.n_embd), np.int8)
        self.sizes = engine.cache_sizes(self.window)
        self.cache = engine.cache(tiles, self.sizes)
        self.where = np.zeros((tiles, 5), np.int64)
        self.where[:, kernels.CACHE] = np.arange(tiles)
        share = -(-tiles // max(1, threads()))
        self.block = min(kernels.BLOCK, -(-share // ROWS) * ROWS)
        samples = self.known, self.residuals, neighbour_slots(), around.sides, _windows(around)
        made = self.bases, self.features, self.of_heads, self.predicted
        self.around = *samples, kind.code, kind.related, *made  # of `accepted`, which makes what the next position and channel begin with
        kernels.context(0, tiles, *samples, 0, 0, 1, kind.code, kind.related, *made)

    def go_to(self, position: int) -> None:
        self.position, where = position, self.where
        where[:, kernels.POSITION], where[:, kernels.SLOT] = position, position % self.window
        where[:, kernels.COUNT] = min(position + 1, self.window)
        parts = -(-len(where) // self.block)
        self.engine.hide(parts, self.features[:, 0], where, self.cache, self.sizes, self.block, self.block, self.hidden)

    def begin(self, channel: int) -> None:
        self.channel = channel

    @property
    def head_features(self) -> Rows:
        """(tiles, HEAD_FEATURES), of the channel begun."""
        return self.of_heads[self.channel, :, 0]

    @property
    def predictions(self) -> npt.NDArray[np.int32]:
        return self.predicted[self.channel, :, 0]

    def frequencies(self, impossible: Impossible | None) -> Tables:
        masked, head = None if impossible is None else impossible[None], self.kind.heads[self.channel]
        self.engine.frequencies_into(self.table, 0, self.hidden[None], self.head_features[None], head, masked)
        tables: Tables = self.table[0, 0]
        return tables

    def read(self, reading: Reading, impossible: Impossible | None, exist: npt.NDArray[np.bool_]) -> int:
        masked, head = None if impossible is None else impossible[None], self.kind.heads[self.channel]
        tokens = self.position, self.channel, self.tokens, exist, *self.around
        how = self.hidden, *self.engine.how(head, masked), self.table, *self.engine.heads, *self.engine.head_room()
        failed: int = read(*tokens, *how, *reading)
        return failed

    def accept(self, tokens: Tokens, exist: npt.NDArray[np.bool_]) -> None:
        accepted(self.position, self.channel, tokens, exist, *self.around)

    @property
    def accepted(self) -> npt.NDArray[np.int32]:
        accepted: npt.NDArray[np.int32] = self.known[:, self.channel, self.position]
        return accepted

    def samples(self) -> TileSamples:
        return self.known[:, :, :POSITIONS].astype(np.uint8)


def _known(around: Known) -> tuple[Array, Array]:
    """Samples and residuals of tiles before their first position, (tiles, channels, SLOTS) int32."""
    known = np.full((*around.strips.shape[:2], SLOTS), FIRST_SAMPLE, np.int32)
    known[..., POSITIONS + 1 :] = around.strips
    return known, np.zeros_like(known)


def _windows(around: Known) -> Windows:
    return np.empty((len(around.sides), 0, WINDOW, WINDOW), np.uint8) if around.windows is None else around.windows
