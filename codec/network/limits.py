"""The bounds and the tables of the integer network: what every engine computes within, and what the weights are checked against."""

from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.decimals import exactly

Array = npt.NDArray[Any]

ACCUMULATOR_LIMIT = (1 << 23) - 1  # of |products + bias| before they are requantised
MULTIPLIER_LIMIT = 255
SHIFT_LIMITS = (1, 24)
FLOAT32_EXACT = 1 << 24

RESIDUAL_BITS = 10  # fraction bits of the residual stream
RESIDUAL_LIMIT = (1 << 19) - 1

NORM_BITS = 15  # x / sqrt(sum of squares) has this many fraction bits
GAIN_LIMIT = (1 << 14) - 1

TABLE_SIZE = 1024  # entries of an activation table, for indices -512 to 511
EXPONENT_STEPS = 32  # attention scores are multiples of 1/32 of an octave
LOGIT_STEPS = 128  # logits are multiples of 1/128 of an octave
LOGIT_LIMIT = (1 << 15) - 1
IMPOSSIBLE = -(1 << 20)  # a logit that leaves nothing but the least frequency
WEIGHT_BITS = 18  # of a token's weight, of which frequencies are made


@cache
def powers_of_two(steps: int, top: int) -> Array:
    """round(top * 2^(-i / steps)), half up, for i = 0, 1, ... up to the first zero; int32."""
    values: list[int] = []
    with exactly(50):
        octave = [top * Decimal(2) ** (Decimal(-i) / steps) for i in range(steps)]
        while not values or values[-1]:
            halvings, i = divmod(len(values), steps)
            values.append(int((octave[i] / (1 << halvings)).to_integral_value(ROUND_HALF_UP)))
    return np.array(values, np.int32)


def attention_top(window: int) -> int:
    """The largest attention weight: the largest power of two whose weighted sums of `window` values stay exact in float32."""
    return 1 << ((FLOAT32_EXACT - 1) // (127 * window)).bit_length() - 1
