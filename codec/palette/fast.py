"""The operations of the palette layout's network by the compiled kernels, on tensors of the CPU: the integers of `operations`, faster."""

from functools import cache

import torch
from torch import Tensor

from codec import jit
from codec.network.arithmetic import exp2_table
from codec.palette import kernels
from codec.palette.operations import (
    FEWEST_ROWS,
    MANTISSA_BITS,
    MANTISSA_LIMIT,
    SCORE_STEPS,
    SHIFT_LIMITS,
    WEIGHT_TOP,
    Attention,
    CachedAttention,
    Limbs,
    PaletteOperations,
    Sizes,
    activation_table,
)


@cache
def score_table() -> Tensor:
    """The weights of `attend`, int64."""
    return exp2_table(SCORE_STEPS, WEIGHT_TOP, torch.device("cpu")).long()


class FastAttention(Attention):
    """By the compiled kernels."""

    def __call__(self, layer: int, qkv: Tensor, multiplier: int, shift: int) -> Tensor:
        split = qkv.view(self.tiles, -1, 3, self.config.n_head, self.config.head_dim).numpy()
        out = torch.empty((split.shape[0], split.shape[1], *split.shape[3:]), dtype=torch.int64, device="cpu")
        jit.run(kernels.attend, split.shape[0] * split.shape[3], split, multiplier, shift, score_table().numpy(), out.numpy())
        return out.view(-1, self.config.n_embd)


class FastCachedAttention(CachedAttention):
    """By the compiled kernels; keys and values lie with the positions last."""

    def __init__(self, config: Sizes, tiles: int, device: torch.device) -> None:
        self.config, self.tiles = config, tiles
        shape = (config.n_layer, 2, tiles, config.n_head)
        self.mantissas = torch.zeros((*shape, config.head_dim, config.n_positions), dtype=torch.int8, device="cpu")
        self.exponents = torch.zeros((*shape, config.n_positions), dtype=torch.int8, device="cpu")
        self.position = 0

    def __call__(self, layer: int, qkv: Tensor, multiplier: int, shift: int) -> Tensor:
        split = qkv.view(self.tiles, 3, self.config.n_head, self.config.head_dim).numpy()
        out = torch.empty((self.tiles, *split.shape[2:]), dtype=torch.int64, device="cpu")
        cache = self.mantissas[layer].numpy(), self.exponents[layer].numpy()
        jit.run(kernels.attend_cached, len(split), split, *cache, self.position, multiplier, shift, score_table().numpy(), out.numpy())
        return out.view(self.tiles, -1)


class FastOperations(PaletteOperations):
    """By the compiled kernels."""

    attention = FastAttention
    cached_attention = FastCachedAttention

    @staticmethod
    def limbs(x: Tensor) -> Limbs:
        high, low = (torch.empty(x.shape, dtype=torch.int8, device="cpu") for _ in range(2))
        exponent = torch.empty((len(x), 1), dtype=torch.int64, device="cpu")
        out = high.numpy(), low.numpy(), exponent.numpy()
        jit.run(kernels.limbs, len(x), x.numpy(), MANTISSA_BITS, MANTISSA_LIMIT, *out, fewest=FEWEST_ROWS)
        return Limbs(high, low, exponent)

    @staticmethod
    def scaled(high: Tensor, low: Tensor, exponent: Tensor, multiplier: Tensor, shift: int, bias: Tensor, limit: int) -> Tensor:
        out = torch.empty(high.shape, dtype=torch.int64, device="cpu")
        arrays = (tensor.numpy() for tensor in (high, low, exponent, multiplier, bias))
        jit.run(kernels.scaled, len(out), *arrays, shift, *SHIFT_LIMITS, limit, out.numpy(), fewest=FEWEST_ROWS)
        return out

    @staticmethod
    def activated(x: Tensor) -> Tensor:
        jit.run(kernels.activated, len(x), x.numpy(), activation_table(x.device).numpy(), fewest=FEWEST_ROWS)
        return x
