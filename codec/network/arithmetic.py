"""The exact operations of the integer network.

Each gives the same integers on every device, for every batch size, thread count and order of summation: products and sums stay below the
stated bounds, where int32 does not overflow and float32 (2^24) or float64 (2^53) hold every partial sum exactly. Nothing here rounds as a
machine pleases. `FORMAT.md` defines the same operations in prose.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from bitstream.errors import ModelError
from codec.network.limits import EXPONENT_STEPS, NORM_BITS, powers_of_two

Product = Callable[[Tensor, Tensor], Tensor]


@cache
def exp2_table(steps: int, top: int, device: torch.device) -> Tensor:
    """`limits.powers_of_two` on a device."""
    return torch.from_numpy(powers_of_two(steps, top)).to(device)


def floor_divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """floor(numerator / denominator) for whole numbers, denominator > 0, |numerator| < 2^52; float64.

    A quotient that is no whole number is at least 1 / denominator away from one, which is more than float64's rounding.
    """
    return torch.floor(numerator.double() / denominator.double())


def integer_sqrt(x: Tensor) -> Tensor:
    """floor(sqrt(x)) for whole 0 <= x < 2^52; float64. IEEE 754 rounds sqrt correctly."""
    return torch.floor(torch.sqrt(x.double()))


def requantize(accumulator: Tensor, multiplier: Tensor, offset: Tensor, shift: Tensor, limit: int) -> Tensor:
    """(accumulator * multiplier + offset) >> shift, clamped to +-limit; int32, in the place of `accumulator`.

    offset is bias * multiplier + 2^(shift - 1), so this scales the product plus bias and rounds half up. |accumulator + bias| < 2^23,
    multiplier <= 255 and shift <= 24 keep it below 2^31.
    """
    return torch.addcmul(offset, accumulator, multiplier, out=accumulator).bitwise_right_shift_(shift).clamp_(-limit, limit)


def normalize(x: Tensor, gain: Tensor, shift: int) -> Tensor:
    """ImageGPT's norm: x / sqrt(sum(x^2)) in Q15, times the gain, >> shift with rounding; (..., width) int32 -> int8.

    |x| < 2^19 and width <= 8192: the sum of squares stays below 2^51 and 64 times it, for widths up to 128, below 2^51 too; wider ones are
    divided by a root with fewer fraction bits. |x| * inverse <= 2^30 * 9/8, as |x| is at most the root.
    """
    root_bits = 3 if x.shape[-1] <= 128 else 0
    squares = x.double().square().sum(-1, keepdim=True)
    root = integer_sqrt(squares * (1 << 2 * root_bits))
    inverse = floor_divide(torch.full_like(root, 1 << (30 + root_bits)), root.clamp(min=1 << root_bits)).to(torch.int32)
    unit = (x * inverse).bitwise_right_shift_(30 - NORM_BITS)
    return unit.mul_(gain).add_(1 << shift >> 1).bitwise_right_shift_(shift).clamp_(-127, 127).to(torch.int8)


def attend(query: Tensor, key: Tensor, value: Tensor, multiplier: int, shift: int, top: int, forbidden: Tensor | None = None) -> Tensor:
    """Softmax attention in integers: (..., queries, dim), (..., keys, dim) twice, int8 -> (..., queries, dim) int8.

    A weight is exp2_table[(largest score - score) * multiplier >> shift]; the result is the weighted mean of the values, half up.
    forbidden: (..., queries, keys) bool, of which the keys count for nothing: their weight is the table's last entry, zero.
    Scores: 127 * 127 * dim < 2^21 for dim <= 128. Sums: top * 127 * keys < 2^24.
    """
    scores = query.float() @ key.float().transpose(-1, -2)
    if forbidden is not None:
        scores.masked_fill_(forbidden, -float(1 << 22))
    below = (scores.amax(-1, keepdim=True) - scores).to(torch.int32)
    table = exp2_table(EXPONENT_STEPS, top, scores.device)
    steps = below.mul_(multiplier).bitwise_right_shift_(shift).clamp_(max=len(table) - 1)
    if forbidden is not None:
        steps.masked_fill_(forbidden, len(table) - 1)
    weights = torch.nn.functional.embedding(steps, table.float()[:, None]).squeeze(-1)
    total = weights.sum(-1, keepdim=True).double()
    return floor_divide(2 * (weights @ value.float()).double() + total, 2 * total).to(torch.int8)


def _int_mm(a: Tensor, b: Tensor) -> Tensor:
    rows = a.shape[0]
    if a.is_cuda and rows <= 16:
        a = torch.nn.functional.pad(a, (0, 0, 0, 17 - rows))
    result: Tensor = torch._int_mm(a, b)
    return result[:rows]


def _float32_mm(a: Tensor, b: Tensor) -> Tensor:
    """|partial sums| <= 1024 * 127 * 64 < 2^24."""
    total = torch.zeros(a.shape[0], b.shape[1], dtype=torch.int32, device=a.device)
    for k in range(0, a.shape[1], 1024):
        total += (a[:, k : k + 1024].float() @ b[k : k + 1024].float()).to(torch.int32)
    return total


def _float64_mm(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() @ b.double()).to(torch.int32)


PRODUCTS: dict[str, Product] = {"int8": _int_mm, "float32": _float32_mm, "float64": _float64_mm}


def is_exact(product: Product, device: torch.device) -> bool:
    """Whether a product of int8 activations and 7-bit weights is right at the extremes, on this machine."""
    for depth in (112, 512, 2048):
        a = torch.full((64, depth), 127, dtype=torch.int8)
        a[1::2], a[2::4, ::2] = -127, -127
        b = torch.full((64, depth), 63, dtype=torch.int8)
        b[1::2], b[2::4, ::2] = -64, -64
        b[3::4] = (torch.arange(depth) * 37 % 128 - 64).to(torch.int8)
        expected = a.long() @ b.long().t()
        try:
            found = product(a.to(device), b.to(device).t()).cpu()
        except RuntimeError:
            return False
        if not torch.equal(found.long(), expected):
            return False
    return True


@cache
def exact_product(device: torch.device) -> Product:
    """(rows, depth) int8 times (depth, columns) int8 in -64 to 63 -> int32: the first way that proves exact on this machine.

    Raises ModelError where none does.
    """
    for product in PRODUCTS.values():
        if is_exact(product, device):
            return product
    msg = f"no way of multiplying matrices is exact on this machine's {device}"
    raise ModelError(msg)
