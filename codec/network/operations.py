"""The integer network's steps between matrix products: in torch for any device, or compiled for the CPU. Both give the same integers."""

import functools
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
    """By the compiled kernels, one call at a time; see `compiled_operations`."""

    parallel_attention = CompiledParallelAttention
    cached_attention = CompiledCachedAttention
    steps = CompiledSteps

    def __init__(self) -> None:
        from codec.network import kernels

        self.kernels = kernels
        self.weights = exp2_table(LOGIT_STEPS, 1 << WEIGHT_BITS, torch.device("cpu")).numpy()

    def to_integers(self, accumulator: Tensor, scale: Scale, limit: int) -> Tensor:
        self.kernels.run("requantize", accumulator.numpy(), *_arrays(scale), limit)
        return accumulator

    def to_bytes(self, accumulator: Tensor, scale: Scale) -> Tensor:
        out = torch.empty(accumulator.shape, dtype=torch.int8)
        self.kernels.run("requantize_to_bytes", accumulator.numpy(), *_arrays(scale), out.numpy())
        return out

    def looked_up(self, accumulator: Tensor, scale: Scale, table: Tensor) -> Tensor:
        out = torch.empty(accumulator.shape, dtype=torch.int8)
        self.kernels.run("requantize_and_look_up", accumulator.numpy(), *_arrays(scale), table.numpy(), out.numpy())
        return out

    def added(self, x: Tensor, accumulator: Tensor, scale: Scale, limit: int) -> Tensor:
        rows = x.expand_as(accumulator).contiguous()
        self.kernels.run("requantize_and_add", accumulator.numpy(), *_arrays(scale), limit, rows.numpy())
        return accumulator

    def normalized(self, x: Tensor, gain: Tensor, shift: int) -> Tensor:
        out = torch.empty(x.shape, dtype=torch.int8)
        root_bits = 3 if x.shape[-1] <= 128 else 0
        self.kernels.run("normalize", x.numpy(), gain.numpy(), shift, root_bits, out.numpy())
        return out

    def frequencies(self, logits: Tensor) -> Tensor:
        self.kernels.run("frequencies", logits.numpy(), self.weights, FREQUENCY_TOTAL - ALPHABET, WEIGHT_BITS, CENTRE)
        return logits


def _arrays(scale: Scale) -> tuple[object, object, object]:
    return scale.multiplier.numpy(), scale.offset.numpy(), scale.shift.numpy()


def compiled_operations(config: ModelConfig) -> Operations | None:
    """The compiled operations, if this process can have them, they prove to be exact here, and attention weights fit into int16."""
    return _proven_operations() if attention_top(config.attention_window) < 1 << 15 else None


@functools.cache
def _proven_operations() -> Operations | None:
    """None without a working numba."""
    try:
        operations = CompiledOperations()
        return operations if is_exact(operations) else None
    except Exception:
        return None


def is_exact(operations: Operations) -> bool:
    """Whether the operations give the integers of the plain ones, at the extremes too."""
    random = torch.Generator().manual_seed(0)

    def choice(values: list[int], *shape: int) -> Tensor:
        return torch.tensor(values, dtype=torch.int32)[torch.randint(len(values), shape, generator=random)]

    def between(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=random, dtype=torch.int32)

    width = 64
    accumulator = choice([-(2**23) + 1, 2**23 - 1, 0, 1, -1, 12345], 40, width)
    multiplier, shift = between(0, 256, width), between(1, 25, width)
    scale = Scale(multiplier, 1 << shift - 1, shift)
    x = choice([-(2**19) + 1, 2**19 - 1, 5], 40, width)
    x[0] = 0
    cases: list[tuple[str, tuple[object, ...]]] = [
        ("to_integers", (accumulator, scale, 2**19 - 1)),
        ("to_bytes", (accumulator, scale)),
        ("looked_up", (accumulator, scale, between(-127, 128, 1024).to(torch.int8))),
        ("added", (x, accumulator, scale, 2**19 - 1)),
        ("added", (x[1], accumulator, scale, 2**19 - 1)),
        ("normalized", (x, between(-(2**14) + 1, 2**14, width), 9)),
        ("frequencies", (choice([-(2**15) + 1, 2**15 - 1, 0, 700], 40, ALPHABET),)),
    ]
    plain = Operations()
    for name, arguments in cases:
        copies = [[a.clone() if isinstance(a, Tensor) else a for a in arguments] for _ in range(2)]
        if not torch.equal(getattr(operations, name)(*copies[0]), getattr(plain, name)(*copies[1])):
            return False
    config = ModelConfig(n_embd=64, n_head=2, attention_window=40, n_layer=1)
    qkv = choice([-127, 127, 0, 3], 3 * 64, 3 * 64).to(torch.int8)
    device = torch.device("cpu")
    found, expected = (o.parallel_attention(config, 3, device)(0, qkv, 200, 14) for o in (operations, plain))
    if not torch.equal(found, expected):
        return False
    cached = [o.cached_attention(config, 3, device) for o in (operations, plain)]
    for position in range(64):
        for attention in cached:
            attention.position = position
        part = qkv.view(3, 64, -1)[:, position].contiguous()
        found, expected = (attention(0, part, 200, 14) for attention in cached)
        if not torch.equal(found, expected):
            return False
    return True
