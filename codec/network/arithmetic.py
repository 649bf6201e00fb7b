"""The exact operations of the integer network.

Each gives the same integers on every device, for every batch size, thread count and order of summation: products and sums stay below the
stated bounds, where int32 does not overflow and float64 (2^53) holds every partial sum exactly. Nothing here rounds as a machine or a host
pleases: products of float32 may be made of bfloat16 or TF32, those of float64 and int8 never are. Every tensor that is made anew names its
type and its device, for which a host may have set others. `FORMAT.md` defines the same operations in prose.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from bitstream.errors import ModelError
from codec.network.limits import EXPONENT_STEPS, NORM_BITS, powers_of_two
from codec.network.settings import as_set, settings

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
    In float64: scores 127 * 127 * dim < 2^21 for dim <= 128, sums top * 127 * keys < 2^24.
    """
    scores = (query.double() @ key.double().transpose(-1, -2)).to(torch.int32)
    if forbidden is not None:
        scores.masked_fill_(forbidden, -(1 << 22))
    below = scores.amax(-1, keepdim=True) - scores
    table = exp2_table(EXPONENT_STEPS, top, scores.device)
    steps = below.mul_(multiplier).bitwise_right_shift_(shift).clamp_(max=len(table) - 1)
    if forbidden is not None:
        steps.masked_fill_(forbidden, len(table) - 1)
    weights = torch.nn.functional.embedding(steps, table.double()[:, None]).squeeze(-1)
    total = weights.sum(-1, keepdim=True)
    return floor_divide((weights @ value.double()).mul_(2).add_(total), 2 * total).to(torch.int8)


def _int_mm(a: Tensor, b: Tensor) -> Tensor:
    rows = a.shape[0]
    if a.is_cuda and rows <= 16:
        a = torch.nn.functional.pad(a, (0, 0, 0, 17 - rows))
    result: Tensor = torch._int_mm(a, b)
    return result[:rows]


def _float64_mm(a: Tensor, b: Tensor) -> Tensor:
    """|partial sums| <= 8208 * 127 * 64 < 2^27."""
    return (a.double() @ b.double()).to(torch.int32)


PRODUCTS: dict[str, Product] = {"int8": _int_mm, "float64": _float64_mm}


def is_exact(product: Product, device: torch.device) -> bool:
    """Whether a product of int8 activations and 7-bit weights is right at the extremes, on this machine."""
    for depth in (160, 512, 2048):
        a = np.full((64, depth), 127, np.int8)
        a[1::2], a[2::4, ::2] = -127, -127
        b = np.full((64, depth), 63, np.int8)
        b[1::2], b[2::4, ::2] = -64, -64
        b[3::4] = np.arange(depth) * 37 % 128 - 64
        try:
            found = product(torch.from_numpy(a).to(device), torch.from_numpy(b).to(device).t())
        except RuntimeError:  # private API, which need not be there
            return False
        if not np.array_equal(found.cpu().numpy(), a.astype(np.int64) @ b.astype(np.int64).T):
            return False
    return True


def exact_product(device: torch.device) -> Product:
    """(rows, depth) int8 times (depth, columns) int8 in -64 to 63 -> int32: the first way that proves exact on this machine as torch is set
    now. Raises ModelError where none does.
    """
    return _exact_product(device, settings(device.type))


@cache
def _exact_product(device: torch.device, state: tuple[str, ...]) -> Product:
    for product in PRODUCTS.values():
        if is_exact(product, device):
            return product
    msg = f"no way of multiplying matrices is exact on this machine's {device}{as_set(state)}"
    raise ModelError(msg)
