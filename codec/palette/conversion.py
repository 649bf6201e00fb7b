"""A published ImageGPT checkpoint -> the integer network of the palette layout.

Deterministic: elementwise IEEE double arithmetic, maxima and whole numbers, so that a checkpoint has the same digest on every machine. No
step is fitted to pictures: the integer network scales its activations itself.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from bitstream.errors import ModelError
from codec.network.config import json_object, require_model
from codec.network.limits import LOGIT_STEPS
from codec.palette.colours import CUBES, LARGEST, UNIT, Palette
from codec.palette.network import (
    BIAS_LIMIT,
    GAIN_LIMIT,
    MULTIPLIER_LIMIT,
    RESIDUAL_BITS,
    SCORE_MULTIPLIER_LIMIT,
    SCORE_SHIFT_LIMITS,
    WEIGHT_SUM_LIMIT,
    PaletteConfig,
    PaletteImageGPT,
    Tensors,
)
from codec.palette.operations import INNER_BITS, SCORE_STEPS, SHIFT_LIMITS, UNIT_BITS
from codec.palette.published import CLUSTERS_FILE, FILES
from codec.progress import Progress, ignore, scaled

LN_2 = 0.6931471805599453
LAYER = 20  # takes about as long as so many cubes of colours
WEIGHT_LIMIT = 63  # 7 bits: products of int8 pairs must not saturate on machines without VNNI


def converted(folder: Path, name: str, device: str, progress: Progress = ignore) -> PaletteImageGPT:
    """The integer form of the checkpoint in `folder`: config.json, weights, and the image processor's clusters. progress: called with so
    many per cent as were just done. Raises ModelError."""
    values = json_object(folder / "config.json")
    if values.get("model_type") != "imagegpt":
        msg = f"{folder}: config.json describes no ImageGPT, but {values.get('model_type')!r}"
        raise ModelError(msg)
    if values.get("activation_function", "quick_gelu") != "quick_gelu" or values.get("add_cross_attention"):
        msg = f"{folder}: only ImageGPT with quick_gelu and without cross attention can be converted"
        raise ModelError(msg)
    width, epsilon = values.get("n_embd", 512), values.get("layer_norm_epsilon", 1e-5)
    require_model(type(width) is int, f"n_embd is {width!r}, not a whole number")
    require_model(type(epsilon) in (int, float) and 0 <= epsilon <= 1, f"layer_norm_epsilon is {epsilon!r}, not a number from 0 to 1")
    config = PaletteConfig(
        n_embd=width,
        n_head=values.get("n_head", 8),
        n_inner=values.get("n_inner") or 4 * width,
        n_layer=values.get("n_layer", 24),
        n_positions=values.get("n_positions", 1024),
        vocab_size=values.get("vocab_size", 513),
    )
    weights = _Weights(folder, _tensors(folder))
    update = scaled(progress, 100, CUBES + config.n_layer * LAYER)
    return _integer_model(config, values, epsilon, weights, _centres(folder, config.tokens), name, device, update)


def _tensors(folder: Path) -> Tensors:
    try:
        if (folder / FILES[0]).exists():
            return load_file(folder / FILES[0])
        loaded = torch.load(folder / FILES[1], map_location="cpu", weights_only=True)
    except Exception as error:  # whatever unpickling meets
        msg = f"{folder}: no usable weights ({error})"
        raise ModelError(msg) from error
    require_model(isinstance(loaded, dict), f"{folder / FILES[1]} holds no tensors by name")
    return dict(loaded)


def _centres(folder: Path, tokens: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    """The clusters, -1 to 1 per channel, as the palette's centres."""
    clusters = json_object(folder / CLUSTERS_FILE).get("clusters")
    try:
        array = np.asarray(clusters, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0)
    if array.shape != (tokens, 3) or not np.isfinite(array).all():
        msg = f"{folder}: {CLUSTERS_FILE} has no {tokens} colour clusters"
        raise ModelError(msg)
    return np.clip(np.rint((array + 1) * (127.5 * UNIT)), 0, LARGEST).astype(np.int32)


class _Weights:
    """Tensors by name, as float64; with or without the prefix that causal models have."""

    def __init__(self, folder: Path, tensors: Tensors) -> None:
        self.folder, self.tensors = folder, tensors

    def get(self, name: str, *shape: int) -> Tensor:
        tensor = self.tensors.get(f"transformer.{name}", self.tensors.get(name))
        if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape or not bool(tensor.isfinite().all()):
            msg = f"{self.folder}: the weights {name} are missing or unusable"
            raise ModelError(msg)
        return tensor.double()


def _fixed(values: Tensor, bits: int) -> Tensor:
    return torch.round(values * 2.0**bits).clamp(-BIAS_LIMIT, BIAS_LIMIT).to(torch.int32)


def _norm(gain: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """A norm's integer gains, (width) int32, and what one unit of each of its outputs is worth.

    columns: by how much more each output is to be resolved. The outputs, not the weights behind them, take up what differs from channel to
    channel.
    """
    scaled = gain * columns
    unit = scaled.abs().amax().clamp(min=1e-30) / GAIN_LIMIT
    whole = torch.round(scaled / unit)
    return whole.to(torch.int32), unit / columns * (math.sqrt(len(gain)) * 2.0**-UNIT_BITS)


def _projection(weight: Tensor, bias: Tensor, in_unit: Tensor, steps: float) -> Tensors:
    """weight: (inputs, outputs); in_unit: what one unit of each input is worth; steps: units of an output that are worth 1."""
    scaled = (weight * in_unit[:, None]).t()
    grid = scaled.abs().amax(1).clamp(min=1e-30) / WEIGHT_LIMIT
    whole = torch.round(scaled / grid[:, None])
    while bool((over := whole.abs().sum(1) > WEIGHT_SUM_LIMIT).any()):
        grid = torch.where(over, grid * 1.0625, grid)
        whole = torch.round(scaled / grid[:, None])
    scale = grid * steps
    _, power = math.frexp(float(scale.amax()))
    shift = min(max(24 - power, SHIFT_LIMITS[0]), SHIFT_LIMITS[1])
    multiplier = torch.round(scale * 2.0**shift)
    if not bool(multiplier.max() <= MULTIPLIER_LIMIT):  # nor a number at all, perhaps
        msg = f"unusable checkpoint: a scale of {float(scale.amax()):.3g} is beyond the integer network's range"
        raise ModelError(msg)
    return {
        "weight": whole.to(torch.int8).contiguous(),
        "bias": torch.round(bias * steps).clamp(-BIAS_LIMIT, BIAS_LIMIT).to(torch.int32),
        "multiplier": multiplier.to(torch.int32),
        "shift": torch.tensor(shift, dtype=torch.int32, device="cpu"),
    }


def _integer_model(
    config: PaletteConfig,
    values: dict[str, Any],
    epsilon: float,
    weights: _Weights,
    centres: np.ndarray[Any, np.dtype[np.int32]],
    name: str,
    device: str,
    progress: Progress,
) -> PaletteImageGPT:
    width, inner, tokens = config.n_embd, config.n_inner, config.tokens
    palette = Palette.measured(centres, progress)
    tensors = {key: torch.from_numpy(getattr(palette, key).astype(np.uint8)) for key in ("green", "red")}
    tensors["centres"] = torch.from_numpy(centres)
    tensors["wte"] = _fixed(weights.get("wte.weight", tokens + 1, width), RESIDUAL_BITS)
    tensors["wpe"] = _fixed(weights.get("wpe.weight", config.n_positions, width), RESIDUAL_BITS)
    tensors["epsilon"] = torch.tensor(round(epsilon * width * 4.0**RESIDUAL_BITS), dtype=torch.int64, device="cpu")

    def under(key: str, part: Tensors) -> None:
        tensors.update({f"{key}.{k}": tensor for k, tensor in part.items()})

    def normed(norm: str, key: str, weight: Tensor, bias: Tensor, steps: float) -> None:
        """A norm and the projection behind it."""
        columns = weight.abs().amax(1)
        columns = columns.clamp(min=float(columns.amax().clamp(min=1e-30)) * 2.0**-8)
        gain, unit = _norm(weights.get(f"{norm}.weight", width), columns)
        tensors[f"{norm}.gain"] = gain
        under(key, _projection(weight, bias, unit, steps))

    inner_unit = torch.full((max(width, inner),), 2.0**-INNER_BITS, dtype=torch.float64, device="cpu")
    for k in range(config.n_layer):
        h = f"h.{k}"
        weight, bias = weights.get(f"{h}.attn.c_attn.weight", width, 3 * width), weights.get(f"{h}.attn.c_attn.bias", 3 * width)
        normed(f"{h}.ln_1", f"{h}.attn.c_attn", weight, bias, 2.0**INNER_BITS)
        scale = SCORE_STEPS / LN_2 * 4.0**-INNER_BITS
        scale /= math.sqrt(config.head_dim) if values.get("scale_attn_weights", True) else 1
        scale /= k + 1 if values.get("scale_attn_by_inverse_layer_idx", False) else 1
        _, power = math.frexp(scale)
        shift = min(max(15 - power, SCORE_SHIFT_LIMITS[0]), SCORE_SHIFT_LIMITS[1])
        multiplier = min(round(scale * 2.0**shift), SCORE_MULTIPLIER_LIMIT)
        scale_of_scores = {"multiplier": multiplier, "shift": shift}
        under(f"{h}.attn", {part: torch.tensor(value, dtype=torch.int32, device="cpu") for part, value in scale_of_scores.items()})
        weight, bias = weights.get(f"{h}.attn.c_proj.weight", width, width), weights.get(f"{h}.attn.c_proj.bias", width)
        under(f"{h}.attn.c_proj", _projection(weight, bias, inner_unit[:width], 2.0**RESIDUAL_BITS))
        weight, bias = weights.get(f"{h}.mlp.c_fc.weight", width, inner), weights.get(f"{h}.mlp.c_fc.bias", inner)
        normed(f"{h}.ln_2", f"{h}.mlp.c_fc", weight, bias, 2.0**INNER_BITS)
        weight, bias = weights.get(f"{h}.mlp.c_proj.weight", inner, width), weights.get(f"{h}.mlp.c_proj.bias", width)
        under(f"{h}.mlp.c_proj", _projection(weight, bias, inner_unit[:inner], 2.0**RESIDUAL_BITS))
        progress(LAYER)
    weight = weights.get("lm_head.weight", tokens, width).t()
    normed("ln_f", "lm_head", weight, torch.zeros(tokens, dtype=torch.float64, device="cpu"), LOGIT_STEPS / LN_2)
    return PaletteImageGPT(config, tensors, name, device)
