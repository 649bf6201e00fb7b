"""How queries meet the keys and values before them: over whole tiles, or a position at a time with a cache."""

from typing import Protocol

import torch
from torch import Tensor

from codec.network.arithmetic import attend
from codec.network.config import ModelConfig
from codec.network.limits import attention_top
from codec.tiling.context import SIDE


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
    """One position of every tile at a time; rows are tiles. The cache is a ring over the window, allocated once.

    position: (1) int64 on the device, which whoever steps sets: all shapes stay the same at every position.
    """

    def __init__(self, config: ModelConfig, tiles: int, device: torch.device) -> None:
        self.config, self.tiles = config, tiles
        self.top = attention_top(config.attention_window)
        shape = (config.n_layer, 2, tiles, config.n_head, config.attention_window, config.head_dim)
        self.cache = torch.zeros(shape, dtype=torch.int8, device=device)
        self.places = torch.arange(config.attention_window, device=device)
        self.position = torch.zeros(1, dtype=torch.int64, device=device)

    def __call__(self, layer: int, qkv: Tensor, multiplier: int, shift: int) -> Tensor:
        _, key, value = qkv.view(self.tiles, 3, self.config.n_head, 1, self.config.head_dim).unbind(1)
        keys, values = self.cache[layer]
        place = self.position % self.config.attention_window
        keys.index_copy_(2, place, key)
        values.index_copy_(2, place, value)
        return self._attended(qkv, keys, values, multiplier, shift)

    def _attended(self, qkv: Tensor, keys: Tensor, values: Tensor, multiplier: int, shift: int) -> Tensor:
        """As `__call__`, with the layer's rings, (tiles, heads, window, dim), which hold the position too."""
        query = qkv.view(self.tiles, 3, self.config.n_head, 1, self.config.head_dim)[:, 0]
        return attend(query, keys, values, multiplier, shift, self.top, self.places > self.position).view(self.tiles, -1)
