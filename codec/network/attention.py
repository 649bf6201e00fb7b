"""How queries meet the keys and values before them: over whole tiles, or a position at a time with a cache."""

from typing import Protocol

import torch
from torch import Tensor

from codec.context import SIDE
from codec.network.arithmetic import attend
from codec.network.config import ModelConfig
from codec.network.limits import attention_top


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
