"""The integer network made from a float checkpoint. Deterministic: IEEE double arithmetic on the checkpoint's float32 weights."""

import math
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor

from bitstream.errors import ModelError
from codec.network.limits import (
    EXPONENT_STEPS,
    GAIN_LIMIT,
    LOGIT_STEPS,
    MULTIPLIER_LIMIT,
    NORM_BITS,
    RESIDUAL_BITS,
    RESIDUAL_LIMIT,
    SHIFT_LIMITS,
    TABLE_SIZE,
)
from codec.network.model import IntegerImageGPT
from codec.training.reference import (
    ACTIVATION_LIMIT,
    FEATURE_STEP,
    HEAD_FEATURE_STEP,
    WEIGHT_LIMIT,
    Block,
    FeedForward,
    ImageGPT,
    Norm,
    Projection,
    Quantizer,
)

Tensors = dict[str, Tensor]

RESIDUAL_STEP = 2.0**-RESIDUAL_BITS
LOGIT_STEP = math.log(2) / LOGIT_STEPS
LARGEST_BIAS = 1 << 22


def fixed_point(scale: Tensor) -> tuple[Tensor, Tensor]:
    """Multipliers and shifts with multiplier * 2^-shift nearest to `scale` (float64, any shape), of 8 bits where the shift allows."""
    low, high = SHIFT_LIMITS
    shift = (8 - torch.ceil(torch.log2(scale.clamp(min=2.0**-32)))).clamp(low, high)
    over = (torch.round(scale * 2**shift) > MULTIPLIER_LIMIT) & (shift > low)
    shift = torch.where(over, shift - 1, shift)
    multiplier = torch.round(scale * 2**shift).clamp(min=1)
    if bool((multiplier > MULTIPLIER_LIMIT).any()):
        msg = f"unusable checkpoint: a scale of {float(scale.max()):.3g} is beyond the integer network's range"
        raise ModelError(msg)
    return multiplier.to(torch.int32), shift.to(torch.int32)


def integer_projection(projection: Projection, in_step: Tensor, out_step: Tensor, in_zero: int = 0) -> Tensors:
    """in_step: value of one unit per input, out_step: per output, float64. in_zero: the number of units that stands for zero in the input.

    Weights are stored as (outputs, inputs).
    """
    weight = projection.weight.detach().double() * in_step[:, None]
    grid = weight.abs().amax(0).clamp(min=1e-12) / WEIGHT_LIMIT  # the very one of the training
    rounded = torch.round(weight / grid)
    multiplier, shift = fixed_point(grid / out_step)
    unit = multiplier.double() * 2.0 ** -shift.double() * out_step  # the value of one unit of the accumulator
    bias = torch.round(projection.bias.detach().double() / unit) - in_zero * rounded.sum(0)
    return {
        "weight": rounded.to(torch.int8).t().contiguous(),
        "bias": bias.clamp(-LARGEST_BIAS, LARGEST_BIAS).to(torch.int32),
        "multiplier": multiplier,
        "shift": shift,
    }


def integer_norm(norm: Norm) -> Tensors:
    gain = norm.weight.detach().double() * math.sqrt(len(norm.weight)) / norm.out.step.double() * 2.0**-NORM_BITS
    shift = min(SHIFT_LIMITS[1], math.floor(math.log2(GAIN_LIMIT / float(gain.abs().max()))))
    return {"gain": torch.round(gain * 2.0**shift).to(torch.int32), "shift": torch.tensor(shift, dtype=torch.int32)}


def steps(quantizer: Quantizer, count: int) -> Tensor:
    return quantizer.step.double().expand(count)


def integer_feed_forward(block: FeedForward, in_step: Tensor, out_step: float) -> Tensors:
    inner, outputs = block.c_proj.weight.shape
    index_step, act_step = float(block.index.step), float(block.act.step)
    u = (torch.arange(TABLE_SIZE, dtype=torch.float64) - TABLE_SIZE // 2) * index_step
    low, high = (int(end) for end in block.act.range(block.act.step))
    zero = -ACTIVATION_LIMIT - low  # the table's lowest entry is -127
    table = (torch.round(u * torch.sigmoid(1.702 * u) / act_step).clamp(low, high) + zero).to(torch.int8)
    c_fc = integer_projection(block.c_fc, in_step, steps(block.index, inner))
    c_proj = integer_projection(block.c_proj, steps(block.act, inner), torch.full((outputs,), out_step, dtype=torch.float64), zero)
    return {"table": table, **under("c_fc", c_fc), **under("c_proj", c_proj)}


def under(name: str, tensors: Tensors) -> Tensors:
    return {f"{name}.{key}": tensor for key, tensor in tensors.items()}


@torch.no_grad()
def integer_model(model: ImageGPT, name: str, device: str) -> IntegerImageGPT:
    """Raises ModelError where the checkpoint has no quantiser steps or is out of the integer network's range."""
    if not model.has_steps:
        msg = "unusable checkpoint: it has no quantiser steps; finish its training first"
        raise ModelError(msg)
    config, width = model.config, model.config.n_embd
    transformer = model.transformer
    residual = torch.full((width,), RESIDUAL_STEP, dtype=torch.float64)
    features = torch.full((transformer.wce.weight.shape[0],), FEATURE_STEP, dtype=torch.float64)
    tensors = under("wce", integer_projection(transformer.wce, features, residual))
    position = torch.round(transformer.wpe.weight.detach().double() / RESIDUAL_STEP)
    tensors["wpe"] = position.clamp(-RESIDUAL_LIMIT, RESIDUAL_LIMIT).to(torch.int32)
    for k, block in enumerate(cast("Iterable[Block]", transformer.h)):
        attention = block.attn
        out_step = torch.cat([steps(q, width) for q in (attention.query, attention.key, attention.value)])
        score = attention.query.step.double() * attention.key.step.double() / math.sqrt(config.head_dim) / math.log(2)
        multiplier, shift = fixed_point(score * EXPONENT_STEPS)
        tensors |= under(
            f"h.{k}",
            {
                **under("ln_1", integer_norm(block.ln_1)),
                **under("attn.c_attn", integer_projection(attention.c_attn, steps(block.ln_1.out, width), out_step)),
                "attn.multiplier": multiplier,
                "attn.shift": shift,
                **under("attn.c_proj", integer_projection(attention.c_proj, steps(attention.value, width), residual)),
                **under("ln_2", integer_norm(block.ln_2)),
                **under("mlp", integer_feed_forward(block.mlp, steps(block.ln_2.out, width), RESIDUAL_STEP)),
            },
        )
    tensors |= under("ln_f", integer_norm(transformer.ln_f))
    for c, head in enumerate(cast("Iterable[FeedForward]", model.heads)):
        head_features = torch.full((head.c_fc.weight.shape[0] - width,), HEAD_FEATURE_STEP, dtype=torch.float64)
        in_step = torch.cat([steps(transformer.ln_f.out, width), head_features])
        tensors |= under(f"heads.{c}", integer_feed_forward(head, in_step, LOGIT_STEP))
    return IntegerImageGPT(config, {key: tensor.cpu().numpy() for key, tensor in tensors.items()}, name, device)
