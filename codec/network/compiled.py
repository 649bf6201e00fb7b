"""The integer ImageGPT by the compiled kernels, for the CPU: the same integers, faster."""

import functools

import numpy as np
import torch
from torch import Tensor

from bitstream.constants import ALPHABET, FREQUENCY_TOTAL
from codec import compiled as keeping
from codec.context import CENTRE, FEATURES, HEAD_FEATURES, HEADS
from codec.frequencies import WEIGHT_BITS
from codec.network import kernels
from codec.network.arithmetic import EXPONENT_STEPS, GAIN_LIMIT, LOGIT_LIMIT, LOGIT_STEPS, attention_top, exp2_table
from codec.network.config import ModelConfig
from codec.network.integer import IntegerImageGPT, Tensors, expected_tensors
from codec.network.vectors import LANES, ROWS
from codec.planes import Kind
from codec.stepping import CompiledSteps, Steps

CPU = torch.device("cpu")
COMPILED_TILES = 64  # from here on the kernels are compiled even where they cannot be kept


class CompiledImageGPT(IntegerImageGPT):
    """An integer model, made of a plain one."""

    def __init__(self, plain: IntegerImageGPT) -> None:
        vars(self).update(vars(plain))
        self.exponentials = exp2_table(LOGIT_STEPS, 1 << WEIGHT_BITS, CPU).numpy()
        table = exp2_table(EXPONENT_STEPS, attention_top(self.config.attention_window), CPU)
        names = [f"h.{k}" for k in range(self.config.n_layer)]
        norms = [f"{name}.ln_{n}" for name in names for n in (1, 2)]
        self.layers = kernels.Layers._make(
            (
                *(part[0] for part in self._projections(["wce"])),
                self.tensors["wpe"].numpy(),
                self._stacked([f"{name}.gain" for name in (*norms, "ln_f")]),
                self._stacked([f"{name}.shift" for name in (*norms, "ln_f")]),
                *self._projections([f"{name}.attn.c_attn" for name in names], (3 * self.config.n_head, 1)),
                np.stack([self._stacked([f"{name}.attn.{part}" for name in names]) for part in ("multiplier", "shift")], 1),
                kernels.exponentials(table.numpy()),
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

    def _stacked(self, names: list[str]) -> kernels.Array:
        return np.stack([self.tensors[name].numpy() for name in names])

    def _projections(self, names: list[str], parts: tuple[int, int] = (1, 1)) -> tuple[kernels.Array, kernels.Array]:
        """Weights and scales, stacked. parts: of the outputs and of the inputs, each padded to whole vectors."""
        weights, starts = kernels.packed(self._stacked([f"{name}.weight" for name in names]), parts)
        rows = ([part.numpy() for part in self.scales[name]] for name in names)
        scales = [kernels.scales(row, start, parts[0]) for row, start in zip(rows, starts, strict=True)]
        return weights, np.stack(scales)

    def hidden_of_tiles(self, features: Tensor) -> Tensor:
        tiles, positions, _ = features.shape
        out = torch.empty(tiles, positions, self.config.n_embd, dtype=torch.int8)
        cache = kernels.zeros(tiles, *self.cache_shape(positions + LANES))
        position, tile = np.arange(positions), np.arange(tiles)
        first = np.maximum(position + 1 - self.config.attention_window, 0)
        where = np.empty((tiles, positions, 5), np.int64)
        for column, values in enumerate((position, tile[:, None], position, first, position + 1 - first)):
            where[..., column] = values
        rows = features.flatten(0, 1).contiguous().numpy(), where.reshape(-1, 5)
        kernels.run("hidden", tiles, *rows, self.layers, cache, positions, kernels.BLOCK, out.flatten(0, 1).numpy())
        return out

    def cache_shape(self, positions: int) -> tuple[int, ...]:
        """Of a tile's keys and values, with room for whole vectors."""
        config = self.config
        return config.n_layer, 2, config.n_head, -(-config.head_dim // LANES) * LANES, -(-positions // LANES) * LANES

    def cached(self, tiles: int) -> "CompiledCache":
        return CompiledCache(self, tiles)

    def logits(self, hidden: Tensor, head_features: Tensor, head: int) -> Tensor:
        out = torch.empty(len(hidden), ALPHABET, dtype=torch.int32)
        arrays = hidden.contiguous().numpy(), head_features.contiguous().numpy()
        kernels.run("logits", _blocks(len(out)), *arrays, head, self.heads, np.int32(LOGIT_LIMIT), out.numpy())
        return out

    def frequencies(self, logits: Tensor) -> Tensor:
        shared = FREQUENCY_TOTAL - ALPHABET
        kernels.run("frequencies", _blocks(len(logits)), logits.numpy(), self.exponentials, shared, WEIGHT_BITS, CENTRE)
        return logits

    def steps(self, kind: Kind, tiles: int, windows: Tensor | None) -> Steps:
        return CompiledSteps(kind, tiles, windows, self.device)


def _blocks(rows: int) -> int:
    return -(-rows // kernels.BLOCK)


class CompiledCache:
    """As `integer.CachedSteps`."""

    def __init__(self, network: CompiledImageGPT, tiles: int) -> None:
        self.network, self.window = network, network.config.attention_window
        self.cache = kernels.zeros(tiles, *network.cache_shape(self.window))
        self.where = np.zeros((tiles, 5), np.int64)
        self.where[:, kernels.CACHE] = np.arange(tiles)
        share = -(-tiles // max(1, torch.get_num_threads()))
        self.block = min(kernels.BLOCK, -(-share // ROWS) * ROWS)

    def hidden(self, features: Tensor, position: int) -> Tensor:
        out = torch.empty(len(features), self.network.config.n_embd, dtype=torch.int8)
        where = self.where
        where[:, kernels.POSITION], where[:, kernels.SLOT] = position, position % self.window
        where[:, kernels.COUNT] = min(position + 1, self.window)
        arrays = features.numpy(), where, self.network.layers, self.cache
        kernels.run("hidden", -(-len(out) // self.block), *arrays, self.block, self.block, out.numpy())
        return out


def worth_it(tiles: int) -> bool:
    """Whether the kernels save more than their start takes, for a picture of so many tiles."""
    return keeping.kept or tiles >= COMPILED_TILES or kernels_are_exact.cache_info().currsize > 0


def compiled(network: IntegerImageGPT) -> IntegerImageGPT | None:
    """The network by kernels, if this process can have them, they prove to be exact here, and attention weights fit into int16."""
    fits = attention_top(network.config.attention_window) < 1 << 15
    return CompiledImageGPT(network) if fits and kernels_are_exact() else None


@functools.cache
def kernels_are_exact() -> bool:
    """Whether a random network, with values at the extremes, gives the same integers with and without them."""
    network = random_network(ModelConfig(n_embd=32, n_head=2, n_inner=64, head_inner=32, attention_window=40, n_layer=2))
    return same(CompiledImageGPT(network), network)


def random_network(config: ModelConfig) -> IntegerImageGPT:
    """Of numbers that reach all bounds now and then."""
    random = torch.Generator().manual_seed(0)

    def between(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high + 1, shape, generator=random, dtype=torch.int32)

    tensors: Tensors = {}
    for name, (dtype, shape) in expected_tensors(config).items():
        match name.rsplit(".", 1)[-1]:
            case "weight":
                tensor = between(-64, 63, *shape)
                tensor[::5] = torch.tensor([-64, 63])[between(0, 1, *tensor[::5].shape).long()].int()
            case "table":
                tensor = between(-127, 127, *shape)
            case "multiplier":
                tensor = between(1, 255, *shape)
            case "shift":
                tensor = between(14, 19, *shape) if ".ln_" in name or "ln_f" in name or "attn.shift" in name else between(12, 16, *shape)
            case "gain":
                tensor = between(-GAIN_LIMIT, GAIN_LIMIT, *shape)
            case _:
                tensor = between(-(1 << 15), 1 << 15, *shape)
        tensors[name] = tensor.to(dtype)
    return IntegerImageGPT(config, tensors, "random", CPU)


def same(network: IntegerImageGPT, plain: IntegerImageGPT) -> bool:
    """Whether two networks give the same integers on tiles of two rows, whole and stepwise."""
    random = torch.Generator().manual_seed(1)
    features = torch.randint(-127, 128, (9, 64, FEATURES), generator=random).to(torch.int8)
    expected = plain.hidden_of_tiles(features)
    cache = network.cached(len(features))
    by_step = torch.stack([cache.hidden(features[:, p].contiguous(), p) for p in range(features.shape[1])], 1)
    if not torch.equal(network.hidden_of_tiles(features), expected) or not torch.equal(by_step, expected):
        return False
    rows = expected.flatten(0, 1)
    around = torch.randint(-127, 128, (len(rows), HEAD_FEATURES), generator=random).to(torch.int8)
    for head in range(HEADS):
        logits = plain.logits(rows, around, head)
        if not torch.equal(network.logits(rows, around, head), logits):
            return False
        if not torch.equal(network.frequencies(logits.clone()), plain.frequencies(logits)):
            return False
    return True
