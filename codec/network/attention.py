"""How queries meet the keys and values before them: over whole tiles, or a position at a time with a cache; in torch, or compiled."""

from typing import Protocol

import torch
from torch import Tensor

from codec.context import SIDE
from codec.network.arithmetic import EXPONENT_STEPS, attend, attention_top, exp2_table
from codec.network.config import ModelConfig


class Attention(Protocol):
    """How a layer's queries meet the keys and values of the positions before them."""

    def __call__(self, layer: int, qkv: Tensor, multiplier: int, shift: int) -> Tensor:
        """qkv (rows, 3 * n_embd) int8 -> (rows, n_embd) int8."""


class ParallelAttention:
    """Whole tiles at once; rows are (tiles, positions), positions a multiple of a tile's row."""

    def __init__(self, config: ModelConfig, tiles: int, device: torch.device) -> None:
        self.config, self.tiles = config, tiles
        self.top = attention_top(config.attention_window)
        self.back = -(-(config.attention_window - 1) // SIDE)  # rows of keys before the query's own
        query = torch.arange(SIDE, device=device)[:, None] + self.back * SIDE
        distance = query - torch.arange((self.back + 1) * SIDE, device=device)
        self.forbidden = (distance < 0) | (distance >= config.attention_window)  # (queries, keys)

    def __call__(self, layer: int, qkv: Tensor, multiplier: int, shift: int) -> Tensor:
        heads, dim = self.config.n_head, self.config.head_dim
        query, key, value = qkv.view(self.tiles, -1, SIDE, 3, heads, dim).permute(3, 1, 0, 4, 2, 5)
        out = torch.empty_like(query)  # (rows, tiles, heads, positions, dim)
        for row in range(len(query)):
            first = max(row - self.back, 0)
            keys, values = (x[first : row + 1].permute(1, 2, 0, 3, 4).flatten(2, 3) for x in (key, value))
            forbidden = self.forbidden[:, -keys.shape[2] :]
            out[row] = attend(query[row], keys, values, multiplier, shift, self.top, forbidden)
        return out.permute(1, 0, 3, 2, 4).reshape(-1, self.config.n_embd)


class CachedAttention:
    """One position of every tile at a time; rows are tiles. The cache is a ring over the window, allocated once."""

    def __init__(self, config: ModelConfig, tiles: int, device: torch.device) -> None:
        self.config, self.tiles = config, tiles
        self.top = attention_top(config.attention_window)
        shape = (config.n_layer, 2, tiles, config.n_head, config.attention_window, config.head_dim)
        self.cache = torch.zeros(shape, dtype=torch.int8, device=device)
        self.position = 0

    def __call__(self, layer: int, qkv: Tensor, multiplier: int, shift: int) -> Tensor:
        window = self.config.attention_window
        query, key, value = qkv.view(self.tiles, 3, self.config.n_head, 1, self.config.head_dim).unbind(1)
        keys, values = self.cache[layer]
        keys[:, :, self.position % window], values[:, :, self.position % window] = key[:, :, 0], value[:, :, 0]
        known = min(self.position + 1, window)
        return attend(query, keys[:, :, :known], values[:, :, :known], multiplier, shift, self.top).view(self.tiles, -1)


def attention_weights(config: ModelConfig) -> Tensor:
    """The table of `attend`, int16: attention_top is below 2^15 for the windows that the compiled kernels take."""
    return exp2_table(EXPONENT_STEPS, attention_top(config.attention_window), torch.device("cpu")).to(torch.int16)


class CompiledParallelAttention:
    """`ParallelAttention` by the compiled kernels."""

    def __init__(self, config: ModelConfig, tiles: int, device: torch.device) -> None:
        self.config, self.tiles = config, tiles
        self.table = attention_weights(config).numpy()

    def __call__(self, layer: int, qkv: Tensor, multiplier: int, shift: int) -> Tensor:
        from codec.network import kernels

        heads, dim = self.config.n_head, self.config.head_dim
        split = qkv.view(self.tiles, -1, 3, heads, dim)
        out = torch.empty((*split.shape[:2], heads, dim), dtype=torch.int8)
        kernels.run("attend_parallel", split.numpy(), self.config.attention_window, multiplier, shift, self.table, out.numpy())
        return out.view(-1, self.config.n_embd)


class CompiledCachedAttention:
    """`CachedAttention` by the compiled kernels; keys and values lie with the window last."""

    def __init__(self, config: ModelConfig, tiles: int, device: torch.device) -> None:
        self.config, self.tiles = config, tiles
        self.table = attention_weights(config).numpy()
        shape = (config.n_layer, 2, tiles, config.n_head, config.head_dim, config.attention_window)
        self.cache = torch.zeros(shape, dtype=torch.int8).numpy()
        self.position = 0

    def __call__(self, layer: int, qkv: Tensor, multiplier: int, shift: int) -> Tensor:
        from codec.network import kernels

        window = self.config.attention_window
        split = qkv.view(self.tiles, 3, self.config.n_head, self.config.head_dim)
        out = torch.empty((self.tiles, self.config.n_head, self.config.head_dim), dtype=torch.int8)
        known = min(self.position + 1, window)
        keys, values = self.cache[layer]
        kernels.run("attend_cached", split.numpy(), keys, values, self.position % window, known, multiplier, shift, self.table, out.numpy())
        return out.view(self.tiles, -1)
