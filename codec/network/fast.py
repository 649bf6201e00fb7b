"""The integer ImageGPT by the compiled kernels, for the CPU: the same integers, faster, and without torch."""

import numpy as np
import numpy.typing as npt

from bitstream.constants import ALPHABET, FREQUENCY_TOTAL
from codec import jit
from codec.network import kernels
from codec.network.engine import KERNELS, Impossible, Rows, Seen, Tables, Tokens
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
from codec.network.vectors import LANES, ROWS
from codec.threads import threads
from codec.tiling.context import FEATURES, FIRST_SAMPLE, HEAD_FEATURES, HEADS, POSITIONS, SLOTS, WINDOW, neighbour_slots
from codec.tiling.planes import Kind
from codec.tiling.tiles import Samples, Windows

if jit.numba.config.DISABLE_JIT:
    msg = "numba's compiler is switched off (NUMBA_DISABLE_JIT)"
    raise ImportError(msg)

FEWEST_BLOCKS = 4  # of heads, for which a thread is worth being woken
SHARED = FREQUENCY_TOTAL - ALPHABET  # of the frequencies, by weight


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

    def _stacked(self, names: list[str]) -> Array:
        return np.stack([self.arrays[name] for name in names])

    def _projections(self, names: list[str], parts: tuple[int, int] = (1, 1)) -> tuple[Array, Array]:
        """Weights and scales, stacked. parts: of the outputs and of the inputs, each padded to whole vectors."""
        weights, starts = kernels.packed(self._stacked([f"{name}.weight" for name in names]), parts)
        return weights, np.stack([self._scale(name, start, parts[0]) for name, start in zip(names, starts, strict=True)])

    def _scale(self, name: str, start: Array, parts: int) -> Array:
        bias, multiplier, shift = (self.arrays[f"{name}.{part}"] for part in ("bias", "multiplier", "shift"))
        return kernels.scales([multiplier, bias * multiplier + (np.int32(1) << shift - 1), shift], start, parts)

    def see(self, kind: Kind, samples: Samples, windows: Windows | None, count: int) -> Seen:
        tiles, channels, _ = samples.shape
        features, tokens = np.empty((tiles, count, FEATURES), np.int8), np.empty((channels, tiles, count), np.int32)
        of_heads = np.empty((channels, tiles, count, HEAD_FEATURES), np.int8)
        around = _windows(tiles, windows)
        jit.run(kernels.whole_tiles, tiles, samples, neighbour_slots(), around, kind.code, kind.related, features, of_heads, tokens)
        return Seen(self.hidden_of_tiles(features), list(of_heads), list(tokens))

    def hidden_of_tiles(self, features: Rows) -> Rows:
        """(tiles, positions, FEATURES) -> (tiles, positions, n_embd); whole rows of tiles."""
        tiles, positions, _ = features.shape
        out = np.empty((tiles, positions, self.config.n_embd), np.int8)
        cache = kernels.zeros(tiles, *self.cache_shape(positions + LANES))
        position, tile = np.arange(positions), np.arange(tiles)
        first = np.maximum(position + 1 - self.config.attention_window, 0)
        where = np.empty((tiles, positions, 5), np.int64)
        for column, values in enumerate((position, tile[:, None], position, first, position + 1 - first)):
            where[..., column] = values
        rows = features.reshape(tiles * positions, -1), where.reshape(-1, 5)
        jit.run(kernels.hidden, tiles, *rows, self.layers, cache, positions, kernels.BLOCK, out.reshape(tiles * positions, -1))
        return out

    def cache_shape(self, positions: int) -> tuple[int, ...]:
        """Of a tile's keys and values, with room for whole vectors."""
        config = self.config
        return config.n_layer, 2, config.n_head, -(-config.head_dim // LANES) * LANES, -(-positions // LANES) * LANES

    def frequencies(self, kind: Kind, hidden: Rows, features: list[Rows], impossible: list[Impossible] | None) -> Tables:
        count, tiles, _ = hidden.shape
        out = np.empty((count, kind.channels, tiles, ALPHABET), np.int32)
        for channel, head in enumerate(kind.heads):
            masked = impossible[channel] if impossible else None
            self.frequencies_into(out, channel, hidden, features[channel], head, masked)
        return out

    def frequencies_into(self, out: Tables, channel: int, hidden: Rows, features: Rows, head: int, impossible: Impossible | None) -> None:
        """A channel's part of (n, channels, tiles, 256)."""
        rows = np.ascontiguousarray(hidden), np.ascontiguousarray(features)
        masked = np.empty((0, 0, 0), np.bool_) if impossible is None else impossible
        how = self.exponentials, SHARED, WEIGHT_BITS
        parts, heads = -(-out.shape[0] * out.shape[2] // kernels.BLOCK), (head, self.heads, np.int32(LOGIT_LIMIT))
        jit.run(kernels.frequencies, parts, *rows, *heads, masked, *how, channel, out, fewest=FEWEST_BLOCKS)

    def steps(self, kind: Kind, tiles: int, windows: Windows | None) -> "FastSteps":
        return FastSteps(self, kind, tiles, windows)


class FastSteps:
    """The `engine.Steps` of a FastEngine."""

    def __init__(self, engine: FastEngine, kind: Kind, tiles: int, windows: Windows | None) -> None:
        self.engine, self.kind, self.window = engine, kind, engine.config.attention_window
        self.windows, self.slots = _windows(tiles, windows), neighbour_slots()
        self.known = np.full((tiles, kind.channels, SLOTS), FIRST_SAMPLE, np.int32)
        self.residuals = np.zeros_like(self.known)
        self.bases = np.empty((tiles, kind.channels), np.int32)
        self.features, self.head_features = np.empty((tiles, FEATURES), np.int8), np.empty((tiles, HEAD_FEATURES), np.int8)
        self.predictions = np.empty(tiles, np.int32)
        self.hidden = np.empty((tiles, engine.config.n_embd), np.int8)
        self.cache = kernels.zeros(tiles, *engine.cache_shape(self.window))
        self.where = np.zeros((tiles, 5), np.int64)
        self.where[:, kernels.CACHE] = np.arange(tiles)
        share = -(-tiles // max(1, threads()))
        self.block = min(kernels.BLOCK, -(-share // ROWS) * ROWS)

    def go_to(self, position: int) -> None:
        self.position, where = position, self.where
        tiles = self.known, self.residuals, self.slots[position], self.windows
        kernels.step_features(*tiles, position, self.kind.code, self.features, self.bases)
        where[:, kernels.POSITION], where[:, kernels.SLOT] = position, position % self.window
        where[:, kernels.COUNT] = min(position + 1, self.window)
        parts, arrays = -(-len(where) // self.block), (self.features, where, self.engine.layers, self.cache)
        jit.run(kernels.hidden, parts, *arrays, self.block, self.block, self.hidden)

    def begin(self, channel: int) -> None:
        self.channel = channel
        tiles = self.known, self.residuals, self.slots[self.position]
        found = self.predictions, self.head_features
        kernels.step_head(*tiles, self.position, channel, self.kind.related, self.bases, *found)

    @property
    def logits(self) -> Tables:
        out = np.empty((len(self.hidden), ALPHABET), np.int32)
        head = self.kind.heads[self.channel], self.engine.heads, np.int32(LOGIT_LIMIT)
        jit.run(kernels.logits, -(-len(out) // kernels.BLOCK), self.hidden, self.head_features, *head, out)
        return out

    def frequencies(self, impossible: Impossible | None) -> Tables:
        out = np.empty((1, 1, len(self.hidden), ALPHABET), np.int32)
        masked = None if impossible is None else impossible[None]
        self.engine.frequencies_into(out, 0, self.hidden[None], self.head_features[None], self.kind.heads[self.channel], masked)
        tables: Tables = out[0, 0]
        return tables

    def accept(self, tokens: Tokens, exist: npt.NDArray[np.bool_]) -> None:
        tiles = self.known, self.residuals, self.slots[self.position]
        kernels.step_accept(*tiles, self.position, self.channel, tokens, self.predictions, exist)

    def samples(self) -> Samples:
        return self.known[:, :, :POSITIONS].astype(np.uint8)


def _windows(tiles: int, windows: Windows | None) -> Windows:
    return np.empty((tiles, 0, WINDOW, WINDOW), np.uint8) if windows is None else windows
