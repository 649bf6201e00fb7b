"""The exact operations of the palette layout's network: in torch for any device, or compiled for the CPU. Both give the same integers.

Whole numbers of 64 bits; products, sums and shifts stay below the stated bounds. float64 appears where it is exact: below 2^53, and in
divisions and roots that are rounded down.
"""

from decimal import Decimal
from functools import cache
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from codec.decimals import exactly
from codec.network.arithmetic import exp2_table, floor_divide, integer_sqrt

INNER_BITS = 12  # of queries, keys, values and of what the activation takes and gives
MANTISSA_BITS = 14  # of what enters a product, without the sign
MANTISSA_LIMIT = 127 << 7
UNIT_BITS = 18  # x / sqrt(sum of squares) has this many fraction bits
ROW_BITS = 15  # a row is scaled to so many bits before its squares are summed
SHIFT_LIMITS = (1, 62)
SCORE_STEPS = 256  # attention scores are multiples of 1/256 of an octave
WEIGHT_TOP = 1 << 16
MOST_UP = 10
QUERIES_AT_ONCE = 256
FEWEST_ROWS = 16  # between products, for which a thread is worth being woken
ACTIVATION_END = 8 << INNER_BITS  # from here on quick-GELU is 0 or x


class Sizes(Protocol):
    """What attention must know of a configuration."""

    n_layer: int
    n_head: int
    n_embd: int
    n_positions: int

    @property
    def head_dim(self) -> int: ...


@cache
def powers(device: torch.device) -> Tensor:
    return 2 ** torch.arange(62, dtype=torch.int64, device=device)


@cache
def float_powers(device: torch.device) -> Tensor:
    return powers(device).double()


def bit_length(x: Tensor) -> Tensor:
    """Of whole numbers 0 <= x < 2^61; int64."""
    return torch.bucketize(x, powers(x.device), right=True)


@cache
def activation_table(device: torch.device) -> Tensor:
    """round(z * sigmoid(-1.702 z)) for z = 0, 1, ... ACTIVATION_END - 1, both in 1/2^INNER_BITS; int32."""
    one = 1 << INNER_BITS
    values = []
    with exactly(50):
        factor, power = (Decimal("-1.702") / one).exp(), Decimal(1)
        for z in range(ACTIVATION_END):
            values.append(int((z * power / (1 + power) + Decimal("0.5")).to_integral_value("ROUND_FLOOR")))
            power *= factor
    return torch.tensor(values, dtype=torch.int32, device=device)


def activated(x: Tensor) -> Tensor:
    """quick-GELU, x * sigmoid(1.702 x), of int64."""
    table = activation_table(x.device)
    return x.clamp(min=0) - table[x.abs().clamp(max=ACTIVATION_END - 1)]


def rounded_shift(x: Tensor, shift: Tensor | int) -> Tensor:
    """x / 2^shift, half up; int64, in the place of x."""
    return x.add_(1 << shift >> 1 if isinstance(shift, int) else (torch.ones_like(shift) << shift) >> 1).bitwise_right_shift_(shift)


class Limbs(NamedTuple):
    """(rows, inputs) numbers, (128 * high + low) * 2^exponent; high, low: int8; exponent: (rows, 1) int64."""

    high: Tensor
    low: Tensor
    exponent: Tensor


def limbs(x: Tensor) -> Limbs:
    """Rows of whole numbers below 2^61, int64 (overwritten), cut to MANTISSA_BITS bits and a common exponent."""
    exponent = (bit_length(x.abs().amax(-1, keepdim=True)) - MANTISSA_BITS).clamp_(min=0)
    mantissa = rounded_shift(x, exponent).clamp_(-MANTISSA_LIMIT, MANTISSA_LIMIT)
    high = (mantissa + 64) >> 7
    return Limbs(high.to(torch.int8), (mantissa - (high << 7)).to(torch.int8), exponent)


def normalize(x: Tensor, gain: Tensor, epsilon: int) -> Tensor:
    """x / sqrt(sum of squares + epsilon) in Q18, times the gain: (rows, width) int64 -> int64.

    A row is first scaled to ROW_BITS bits, down or, by at most 2^MOST_UP, up. For width <= 8192 the sum of squares stays below 2^43,
    epsilon's part below 2^46, and the result below 2^(18 + 14 + 1).
    """
    down = (bit_length(x.abs().amax(-1, keepdim=True)) - ROW_BITS).clamp_(min=-MOST_UP)
    up = (-down).clamp_(min=0)
    scaled = rounded_shift(x << up, down.clamp(min=0))
    part = (torch.full_like(down, epsilon) << 2 * up) >> 2 * down.clamp(min=0)
    root = integer_sqrt(scaled.double().square().sum(-1, keepdim=True) + part.double()).clamp_(min=1)
    inverse = floor_divide(torch.full_like(root, 1 << 34), root).long()
    return ((scaled * inverse) >> (34 - UNIT_BITS)) * gain


class Heads(NamedTuple):
    """(..., heads, positions, dim) numbers, mantissa * 2^exponent; mantissa: int8; exponent: (..., positions, 1) int8."""

    mantissa: Tensor
    exponent: Tensor


def heads_of(x: Tensor) -> Heads:
    """int64 (overwritten), cut to 7 bits beside the sign, with an exponent per position and head."""
    exponent = (bit_length(x.abs().amax(-1, keepdim=True)) - 7).clamp_(min=0)
    return Heads(rounded_shift(x, exponent).clamp_(-127, 127).to(torch.int8), exponent.to(torch.int8))


def attend(query: Heads, key: Heads, value: Heads, multiplier: int, shift: int, forbidden: Tensor | None = None) -> Tensor:
    """Softmax attention in integers: (..., queries, dim), (..., keys, dim) twice -> (..., queries, dim) int64.

    A score is query . key * multiplier >> (shift - both exponents), in 1/SCORE_STEPS octaves; a weight exp2_table[largest score - score].
    forbidden: (queries, keys) bool, of which the keys count for nothing. In float64, where all is exact: products below 2^21 * 2^15, scores
    below 2^36, weighted sums below 2^16 * 2^12 * 2^7 * 2^10.
    """
    by_exponent = float_powers(query.mantissa.device)
    products = query.mantissa.double() @ key.mantissa.double().transpose(-1, -2)
    factors = by_exponent[query.exponent.long()] * (multiplier * 2.0**-shift)
    scores = products.mul_(factors).mul_(by_exponent[key.exponent.long()].transpose(-1, -2)).floor_()
    if forbidden is not None:
        scores.masked_fill_(forbidden, -(2.0**50))
    table = exp2_table(SCORE_STEPS, WEIGHT_TOP, scores.device)
    below = (scores.amax(-1, keepdim=True) - scores).clamp_(max=len(table) - 1).to(torch.int32)
    weights = torch.nn.functional.embedding(below, table.double()[:, None]).squeeze(-1)
    total = weights.sum(-1, keepdim=True)
    values = value.mantissa.double() * by_exponent[value.exponent.long()]
    return floor_divide(2 * (weights @ values) + total, 2 * total).long()


class Attention:
    """How a layer's queries meet the keys and values of the positions before them: over whole tiles, rows are (tiles, positions)."""

    def __init__(self, config: Sizes, tiles: int, device: torch.device) -> None:
        self.config, self.tiles = config, tiles

    def __call__(self, layer: int, qkv: Tensor, multiplier: int, shift: int) -> Tensor:
        """qkv (rows, 3 * n_embd) int64 -> (rows, n_embd) int64."""
        split = qkv.view(self.tiles, -1, 3, self.config.n_head, self.config.head_dim).permute(2, 0, 3, 1, 4)
        query, key, value = (heads_of(x.contiguous()) for x in split)
        steps = torch.arange(split.shape[3], device=qkv.device)
        out = torch.empty_like(split[0])
        for first in range(0, len(steps), QUERIES_AT_ONCE):
            part = slice(first, first + QUERIES_AT_ONCE)
            known = slice(0, first + QUERIES_AT_ONCE)
            queries, keys, values = (
                Heads(x.mantissa[:, :, some], x.exponent[:, :, some]) for x, some in ((query, part), (key, known), (value, known))
            )
            out[:, :, part] = attend(queries, keys, values, multiplier, shift, steps[known] > steps[part, None])
        return out.permute(0, 2, 1, 3).reshape(-1, self.config.n_embd)


class CachedAttention:
    """The same, one position of every tile at a time; rows are tiles. The cache is allocated once."""

    def __init__(self, config: Sizes, tiles: int, device: torch.device) -> None:
        self.config, self.tiles = config, tiles
        shape = (config.n_layer, 2, tiles, config.n_head, config.n_positions)
        self.mantissas = torch.zeros((*shape, config.head_dim), dtype=torch.int8, device=device)
        self.exponents = torch.zeros((*shape, 1), dtype=torch.int8, device=device)
        self.position = 0

    def __call__(self, layer: int, qkv: Tensor, multiplier: int, shift: int) -> Tensor:
        split = qkv.view(self.tiles, 3, self.config.n_head, 1, self.config.head_dim)
        query, *new = (heads_of(split[:, k].contiguous()) for k in range(3))
        known = slice(0, self.position + 1)
        for k, heads in enumerate(new):
            self.mantissas[layer, k, :, :, self.position] = heads.mantissa[:, :, 0]
            self.exponents[layer, k, :, :, self.position] = heads.exponent[:, :, 0]
        keys, values = (Heads(self.mantissas[layer, k, :, :, known], self.exponents[layer, k, :, :, known]) for k in range(2))
        return attend(query, keys, values, multiplier, shift).view(self.tiles, -1)


def scaled(high: Tensor, low: Tensor, exponent: Tensor, multiplier: Tensor, shift: int, bias: Tensor, limit: int) -> Tensor:
    """Sums of both limbs' products, (rows, outputs) int32, 128 * high + low below 2^31, times the multiplier, half up; int64."""
    sums = high.mul_(128).add_(low).long().mul_(multiplier)
    return rounded_shift(sums, (shift - exponent).clamp(*SHIFT_LIMITS)).add_(bias).clamp_(-limit, limit)


class PaletteOperations:
    """In torch."""

    def __init__(self, name: str) -> None:
        self.name = name

    attention: type = Attention
    cached_attention: type = CachedAttention
    limbs = staticmethod(limbs)
    scaled = staticmethod(scaled)
    activated = staticmethod(activated)
    normalized = staticmethod(normalize)
