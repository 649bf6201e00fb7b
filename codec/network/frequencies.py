"""Logits -> integer frequencies: the one place that knows both."""

import torch
from torch import Tensor

from bitstream.constants import FREQUENCY_TOTAL
from codec.network.arithmetic import exp2_table, floor_divide
from codec.network.limits import LOGIT_STEPS, WEIGHT_BITS
from codec.tiling.context import CENTRE


def frequencies(logits: Tensor, rest: int = CENTRE) -> Tensor:
    """(rows, n) int32 in 1/128 octaves -> (rows, n) int32, each row summing to 2^24, none zero; n at most 4096.

    Every token has one; the other 2^24 - n are shared in proportion to weights 2^18 * 2^(logit - largest), rounded down, and what is left
    goes to the token `rest`. Weights sum to at most 2^30, products stay below 2^42.
    """
    table = exp2_table(LOGIT_STEPS, 1 << WEIGHT_BITS, logits.device)
    below = logits.amax(-1, keepdim=True) - logits
    weights = table[below.clamp(max=len(table) - 1)].double()
    shared = FREQUENCY_TOTAL - logits.shape[-1]
    share = floor_divide(torch.full_like(weights[:, :1], shared << WEIGHT_BITS), weights.sum(-1, keepdim=True))
    result = torch.floor(weights * share * 2.0**-WEIGHT_BITS).to(torch.int32)
    result[:, rest] += shared - result.sum(-1, dtype=torch.int32)
    return result + 1
