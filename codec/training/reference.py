"""The float ImageGPT: what is trained, and what the integer network is compared with.

Layout and names follow `transformers.ImageGPTModel` (norm without mean subtraction, quick-GELU, learned positions, causal attention,
weights of projections stored as (inputs, outputs)). The "rgb" layout replaces the token embedding by a linear map of the context
features and the token head by one small head per channel.

Quantisation-aware training: each `Quantizer` sits where the integer network rounds to few bits, and `quantized` switches all of them and
the rounding of the weights on.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from bitstream.errors import ModelError
from codec.network.config import ModelConfig
from codec.tiling.context import FEATURES, HEAD_FEATURES, HEADS, SIDE

FEATURE_STEP = 1 / 32  # the value of one unit of an input feature
HEAD_FEATURE_STEP = 1 / 16
WEIGHT_LIMIT = 63  # weights are 7-bit: products of int8 pairs must not saturate on machines without VNNI
ACTIVATION_LIMIT = 127
INDEX_LIMIT = 511  # the input of an activation table
LOWEST_ACTIVATION = 0.1636  # the largest of -x * sigmoid(1.702 x)


class Quantizer(nn.Module):
    """Rounds to multiples of `step` from -limit to limit steps, passing gradients straight through."""

    step: Tensor

    def __init__(self, limit: int = ACTIVATION_LIMIT) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("step", torch.zeros(()))
        self.enabled = False
        self.observed: list[Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.observed is not None:
            flat = x.detach().float().flatten()
            self.observed.append(flat[torch.randint(len(flat), (4096,), device=flat.device)])
            self.observed.append(flat.abs().max()[None])
        if not self.enabled:
            return x
        low, high = self.range(self.step)
        scaled = (x / self.step).clamp(low, high)
        return (scaled + (scaled.round() - scaled).detach()) * self.step

    def range(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """The lowest and the highest number of steps."""
        limit = torch.full_like(step, self.limit)
        return -limit, limit

    def choose_step(self) -> None:
        """Sets the step with the least squared error on what was observed."""
        if not self.observed:
            return
        values = torch.cat(self.observed)
        largest = values.abs().max().clamp(min=1e-3)
        steps = [largest * share / self.range(largest)[1] for share in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1)]
        errors = [((values / s).round().clamp(*self.range(s)) * s - values).square().mean() for s in steps]
        self.step.copy_(steps[int(torch.stack(errors).argmin())])
        self.observed = None


class ActivationQuantizer(Quantizer):
    """For what quick-GELU gives, which is never below -0.17: all 8 bits from there upwards."""

    def range(self, step: Tensor) -> tuple[Tensor, Tensor]:
        low = -torch.ceil(LOWEST_ACTIVATION / step)
        return low, low + 2 * ACTIVATION_LIMIT


def quantized_weight(weight: Tensor, in_step: Tensor) -> Tensor:
    """(inputs, outputs), rounded to 7 bits with one scale per output; gradients pass straight through.

    in_step: the value of one unit of each input, up to a common factor. An integer product has no other scale per input.
    """
    scaled = weight.detach() * in_step[:, None]
    scale = scaled.abs().amax(0).clamp(min=1e-12) / WEIGHT_LIMIT
    return weight + ((scaled / scale).round() * scale / in_step[:, None] - weight).detach()


class Projection(nn.Module):
    """A linear map with its weight stored as (inputs, outputs), as in `transformers`' Conv1D."""

    in_step: Tensor

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) * gain / math.sqrt(inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("in_step", torch.ones(inputs), persistent=False)
        self.quantized = False

    def forward(self, x: Tensor) -> Tensor:
        weight = quantized_weight(self.weight, self.in_step) if self.quantized else self.weight
        return F.linear(x, weight.t(), self.bias)


class Norm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight: ImageGPT's norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.n_embd))
        self.epsilon = config.layer_norm_epsilon
        self.out = Quantizer()

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        out: Tensor = self.out(x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon) * self.weight)
        return out


class Attention(nn.Module):
    """Causal attention over the last `attention_window` positions."""

    mask: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.c_attn = Projection(config.n_embd, 3 * config.n_embd)
        self.c_proj = Projection(config.n_embd, config.n_embd, gain=1 / math.sqrt(2 * config.n_layer))
        self.query, self.key, self.value = Quantizer(), Quantizer(), Quantizer()
        self.back = -(-(config.attention_window - 1) // SIDE)  # rows of keys before the query's own
        query = torch.arange(SIDE)[:, None] + self.back * SIDE
        distance = query - torch.arange((self.back + 1) * SIDE)[None]
        allowed = (distance >= 0) & (distance < config.attention_window)
        row = torch.arange(config.n_positions // SIDE)[:, None, None]
        exists = torch.arange((self.back + 1) * SIDE)[None, None] >= (self.back - row) * SIDE
        mask = torch.zeros(config.n_positions // SIDE, SIDE, (self.back + 1) * SIDE).masked_fill(~(allowed & exists), -1e9)
        self.register_buffer("mask", mask, persistent=False)  # (rows, queries, keys)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        rows, heads, dim = length // SIDE, self.config.n_head, self.config.head_dim
        query, key, value = (
            q(t).view(batch, rows, SIDE, heads, dim).permute(0, 3, 1, 2, 4)
            for q, t in zip((self.query, self.key, self.value), self.c_attn(x).split(width, -1), strict=True)
        )  # (batch, heads, rows, positions, dim)
        scores = query @ self.rows_before(key).transpose(-1, -2) / math.sqrt(dim) + self.mask[:rows].to(query.dtype)
        weights = scores.softmax(-1).to(query.dtype)  # (batch, heads, rows, queries, keys)
        out = (weights @ self.rows_before(value)).permute(0, 2, 3, 1, 4).reshape(batch, length, width)
        if self.value.enabled:
            scaled = out / self.value.step
            out = (scaled + (scaled.round() - scaled).detach()) * self.value.step
        projected: Tensor = self.c_proj(out)
        return projected

    def rows_before(self, x: Tensor) -> Tensor:
        """(..., rows, positions, dim) -> (..., rows, (back + 1) * positions, dim): each row behind the rows before it."""
        rows = x.shape[-3]
        padded = F.pad(x, (0, 0, 0, 0, self.back, 0))
        return torch.cat([padded[..., k : k + rows, :, :] for k in range(self.back + 1)], -2)


class FeedForward(nn.Module):
    """c_fc, quick-GELU, c_proj."""

    def __init__(self, inputs: int, inner: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.c_fc = Projection(inputs, inner)
        self.c_proj = Projection(inner, outputs, gain)
        self.index, self.act = Quantizer(INDEX_LIMIT), ActivationQuantizer()

    def forward(self, x: Tensor) -> Tensor:
        u = self.index(self.c_fc(x))
        out: Tensor = self.c_proj(self.act(u * torch.sigmoid(1.702 * u)))
        return out


class Block(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.ln_1, self.attn = Norm(config), Attention(config)
        self.ln_2 = Norm(config)
        self.mlp = FeedForward(config.n_embd, config.n_inner, config.n_embd, gain=1 / math.sqrt(2 * config.n_layer))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        x = x + self.mlp(self.ln_2(x))
        return x


class Transformer(nn.Module):
    """From embeddings (batch, positions, n_embd) to normed hidden states of the same shape."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.wce = Projection(FEATURES, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        nn.init.normal_(self.wpe.weight, std=0.02)
        self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.ln_f = Norm(config)

    def forward(self, embeddings: Tensor) -> Tensor:
        x = embeddings + self.wpe.weight[: embeddings.shape[1]]
        for block in self.h:
            x = block(x)
        normed: Tensor = self.ln_f(x)
        return normed


class ImageGPT(nn.Module):
    """features (batch, positions, FEATURES) -> hidden states -> logits per head (batch, positions, 256)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        inputs = config.n_embd + HEAD_FEATURES
        self.heads = nn.ModuleList([FeedForward(inputs, config.head_inner, 256, gain=0.5) for _ in range(HEADS)])

    def hidden(self, features: Tensor) -> Tensor:
        """(batch, positions, FEATURES) int8 -> (batch, positions, n_embd)."""
        hidden: Tensor = self.transformer(self.transformer.wce(features.float() * FEATURE_STEP))
        return hidden

    def logits(self, hidden: Tensor, head_features: Tensor, head: int) -> Tensor:
        """hidden (..., n_embd) and head_features (..., HEAD_FEATURES) int8 -> natural-log logits (..., 256)."""
        logits: Tensor = self.heads[head](torch.cat([hidden, head_features.float() * HEAD_FEATURE_STEP], -1))
        return logits

    def set_quantized(self, on: bool) -> None:
        for module in self.modules():
            if isinstance(module, Projection):
                module.quantized = on
            if isinstance(module, Quantizer):
                module.enabled = on
        for head in cast("Iterable[FeedForward]", self.heads):  # the one place where inputs of two scales meet
            head.c_fc.in_step[: self.config.n_embd] = self.transformer.ln_f.out.step
            head.c_fc.in_step[self.config.n_embd :] = HEAD_FEATURE_STEP

    def observe(self) -> None:
        """From here on every Quantizer remembers what passes through it, until `choose_steps`."""
        for module in self.modules():
            if isinstance(module, Quantizer):
                module.observed = []

    def choose_steps(self) -> None:
        for module in self.modules():
            if isinstance(module, Quantizer):
                module.choose_step()

    @property
    def has_steps(self) -> bool:
        return all(float(m.step) > 0 for m in self.modules() if isinstance(m, Quantizer))

    def save(self, folder: Path) -> None:
        """Writes `config.json` and `model.safetensors`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save(folder)
        (folder / "model.safetensors").write_bytes(save({name: t.cpu().contiguous() for name, t in self.state_dict().items()}))

    @classmethod
    def load(cls, folder: Path, layout: str | None = None) -> "ImageGPT":
        """layout: what the weights are to be trained for next, where it is not the checkpoint's.

        Raises ModelError where the folder holds no usable checkpoint.
        """
        config = ModelConfig.load(folder)
        model = cls(replace(config, layout=layout or config.layout))
        try:
            tensors = load_file(folder / "model.safetensors")
            model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        except (OSError, RuntimeError, SafetensorError) as error:
            msg = f"{folder}: no usable model.safetensors ({error})"
            raise ModelError(msg) from error
        return model
