"""The integer network's steps between matrix products: in torch for any device, or compiled for the CPU. Both give the same integers."""

import importlib.util
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bitstream.constants import ALPHABET, FREQUENCY_TOTAL
from codec.context import CENTRE
from codec.frequencies import WEIGHT_BITS, frequencies
from codec.network.arithmetic import LOGIT_STEPS, attention_top, exp2_table, normalize, requantize
from codec.network.attention import CachedAttention, CompiledCachedAttention, CompiledParallelAttention, ParallelAttention
from codec.network.config import ModelConfig
from codec.stepping import CompiledSteps, Steps


class Scale(NamedTuple):
    """How a product's accumulators are requantised, per output, int32; see `arithmetic.requantize`."""

    multiplier: Tensor
    offset: Tensor
    shift: Tensor


class Operations:
    """In torch. Accumulators (rows, outputs) int32 are overwritten."""

    parallel_attention: type = ParallelAttention
    cached_attention: type = CachedAttention
    steps: type = Steps

    def to_integers(self, accumulator: Tensor, scale: Scale, limit: int) -> Tensor:
        return requantize(accumulator, *scale, limit)

    def to_bytes(self, accumulator: Tensor, scale: Scale) -> Tensor:
        return requantize(accumulator, *scale, 127).to(torch.int8)

    def looked_up(self, accumulator: Tensor, scale: Scale, table: Tensor) -> Tensor:
        """table: int8, for indices -len / 2 to len / 2 - 1."""
        half = len(table) // 2
        return F.embedding(requantize(accumulator, *scale, half - 1) + half, table[:, None]).squeeze(-1)

    def added(self, x: Tensor, accumulator: Tensor, scale: Scale, limit: int) -> Tensor:
        """x (rows, outputs) or (outputs) int32, plus the requantised accumulator; both and the sum within +-limit."""
        return requantize(accumulator, *scale, limit).add_(x).clamp_(-limit, limit)

    def normalized(self, x: Tensor, gain: Tensor, shift: int) -> Tensor:
        return normalize(x, gain, shift)

    def frequencies(self, logits: Tensor) -> Tensor:
        return frequencies(logits)


class CompiledOperations(Operations):
    """By the compiled kernels."""

    parallel_attention = CompiledParallelAttention
    cached_attention = CompiledCachedAttention
    steps = CompiledSteps

    def __init__(self) -> None:
        from codec.network import kernels

        kernels.use_threads()
        self.kernels = kernels
        self.weights = exp2_table(LOGIT_STEPS, 1 << WEIGHT_BITS, torch.device("cpu")).numpy()

    @staticmethod
    def can_run(config: ModelConfig) -> bool:
        """Whether numba is there, and attention weights fit into int16."""
        return attention_top(config.attention_window) < 1 << 15 and importlib.util.find_spec("numba") is not None

    def to_integers(self, accumulator: Tensor, scale: Scale, limit: int) -> Tensor:
        self.kernels.requantize(accumulator.numpy(), *_arrays(scale), limit)
        return accumulator

    def to_bytes(self, accumulator: Tensor, scale: Scale) -> Tensor:
        out = torch.empty(accumulator.shape, dtype=torch.int8)
        self.kernels.requantize_to_bytes(accumulator.numpy(), *_arrays(scale), out.numpy())
        return out

    def looked_up(self, accumulator: Tensor, scale: Scale, table: Tensor) -> Tensor:
        out = torch.empty(accumulator.shape, dtype=torch.int8)
        self.kernels.requantize_and_look_up(accumulator.numpy(), *_arrays(scale), table.numpy(), out.numpy())
        return out

    def added(self, x: Tensor, accumulator: Tensor, scale: Scale, limit: int) -> Tensor:
        rows = x.expand_as(accumulator).contiguous()
        self.kernels.requantize_and_add(accumulator.numpy(), *_arrays(scale), limit, rows.numpy())
        return accumulator

    def normalized(self, x: Tensor, gain: Tensor, shift: int) -> Tensor:
        out = torch.empty(x.shape, dtype=torch.int8)
        root_bits = 3 if x.shape[-1] <= 128 else 0
        self.kernels.normalize(x.numpy(), gain.numpy(), shift, root_bits, out.numpy())
        return out

    def frequencies(self, logits: Tensor) -> Tensor:
        self.kernels.frequencies(logits.numpy(), self.weights, FREQUENCY_TOTAL - ALPHABET, WEIGHT_BITS, CENTRE)
        return logits


def _arrays(scale: Scale) -> tuple[object, object, object]:
    return scale.multiplier.numpy(), scale.offset.numpy(), scale.shift.numpy()
