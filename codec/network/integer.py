"""The integer ImageGPT: one definition of the layers, and two ways to drive them.

The encoder runs `ParallelAttention` over whole tiles, the decoder `CachedAttention` one position of many tiles at a time. Both are handed
to the same `IntegerImageGPT.layer_outputs`.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional as F

from bitstream.constants import MODEL_DIGEST_BYTES, NUMERICS_VERSION
from bitstream.errors import ModelError
from codec.context import FEATURES, HEAD_FEATURES, HEADS, SIDE
from codec.network.arithmetic import (
    ACCUMULATOR_LIMIT,
    GAIN_LIMIT,
    LOGIT_LIMIT,
    MULTIPLIER_LIMIT,
    RESIDUAL_LIMIT,
    SHIFT_LIMITS,
    Product,
    attend,
    attention_top,
    exact_product,
    normalize,
    requantize,
)
from codec.network.config import ModelConfig

WEIGHTS_FILE = "integer.safetensors"
DIGEST_FIELDS = ("attention_window", "head_inner", "layout", "n_embd", "n_head", "n_inner", "n_layer", "n_positions")
TABLE_SIZE = 1024  # entries of an activation table, for indices -512 to 511

Tensors = dict[str, Tensor]


def expected_tensors(config: ModelConfig) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Name -> type and shape of every tensor of an integer model."""
    expected: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}

    def projection(name: str, inputs: int, outputs: int) -> None:
        expected[f"{name}.weight"] = (torch.int8, (outputs, inputs))
        expected[f"{name}.bias"] = expected[f"{name}.multiplier"] = expected[f"{name}.shift"] = (torch.int32, (outputs,))

    def norm(name: str) -> None:
        expected[f"{name}.gain"] = (torch.int32, (config.n_embd,))
        expected[f"{name}.shift"] = (torch.int32, ())

    def feed_forward(name: str, inputs: int, inner: int, outputs: int) -> None:
        projection(f"{name}.c_fc", inputs, inner)
        expected[f"{name}.table"] = (torch.int8, (TABLE_SIZE,))
        projection(f"{name}.c_proj", inner, outputs)

    width = config.n_embd
    projection("wce", FEATURES, width)
    expected["wpe"] = (torch.int32, (config.n_positions, width))
    for k in range(config.n_layer):
        norm(f"h.{k}.ln_1")
        projection(f"h.{k}.attn.c_attn", width, 3 * width)
        expected[f"h.{k}.attn.multiplier"] = expected[f"h.{k}.attn.shift"] = (torch.int32, ())
        projection(f"h.{k}.attn.c_proj", width, width)
        norm(f"h.{k}.ln_2")
        feed_forward(f"h.{k}.mlp", width, config.n_inner, width)
    norm("ln_f")
    for c in range(HEADS):
        feed_forward(f"heads.{c}", width + HEAD_FEATURES, config.head_inner, 256)
    return expected


def validate(config: ModelConfig, tensors: Tensors) -> None:
    """Raises ModelError unless the tensors are complete and every value is within the bounds that exact arithmetic needs."""

    def require(holds: bool, what: str) -> None:
        if not holds:
            msg = f"unusable integer model: {what}"
            raise ModelError(msg)

    expected = expected_tensors(config)
    require(expected.keys() == tensors.keys(), "its tensors are not those of its configuration")
    for name, (dtype, shape) in expected.items():
        tensor = tensors[name]
        require(tensor.dtype == dtype and tuple(tensor.shape) == shape, f"{name} has the wrong type or shape")
        low, high = int(tensor.min()), int(tensor.max())
        match name.rsplit(".", 1)[-1]:
            case "weight":
                require(low >= -64 and high <= 63, f"{name} has more than 7 bits")
                largest = tensor.long().abs().sum(1) * 127 + tensors[name.replace("weight", "bias")].long().abs()
                require(int(largest.max()) <= ACCUMULATOR_LIMIT, f"{name} can overflow its accumulator")
            case "multiplier":
                require(0 <= low and high <= MULTIPLIER_LIMIT, f"{name} is out of range")
            case "shift":
                require(SHIFT_LIMITS[0] <= low and high <= SHIFT_LIMITS[1], f"{name} is out of range")
            case "gain":
                require(max(-low, high) <= GAIN_LIMIT, f"{name} is out of range")
            case "wpe":
                require(max(-low, high) <= RESIDUAL_LIMIT, f"{name} is out of range")
            case "table":
                require(low >= -127, f"{name} is out of range")


def model_digest(config: ModelConfig, tensors: Tensors) -> bytes:
    """SHA-256, cut to 8 bytes, of the numerics version, the sizes in the configuration and every tensor by name, in sorted order."""
    digest = hashlib.sha256(f"igpt numerics {NUMERICS_VERSION}\n".encode())
    for name in DIGEST_FIELDS:
        digest.update(f"{name} {getattr(config, name)}\n".encode())
    for name in sorted(tensors):
        array = tensors[name].cpu().numpy()
        little = array.astype(array.dtype.newbyteorder("<"))
        digest.update(f"{name} {array.dtype.name} {list(array.shape)}\n".encode() + little.tobytes())
    return digest.digest()[:MODEL_DIGEST_BYTES]


class Attention(Protocol):
    """How a layer's queries meet the keys and values of the positions before them."""

    def __call__(self, layer: int, qkv: Tensor, multiplier: int, shift: int) -> Tensor:
        """qkv (rows, 3 * n_embd) int8 -> (rows, n_embd) int8."""


class ParallelAttention:
    """Whole tiles at once; rows are (tiles, positions), positions a multiple of a tile's row."""

    def __init__(self, config: ModelConfig, tiles: int, device: torch.device) -> None:
        self.config, self.tiles = config, tiles
        self.top = attention_top(config.attention_window)
        self.back = -(-(config.attention_window - 1) // SIDE)  # rows of keys before the query's own
        query = torch.arange(SIDE, device=device)[:, None] + self.back * SIDE
        distance = query - torch.arange((self.back + 1) * SIDE, device=device)
        self.forbidden = (distance < 0) | (distance >= config.attention_window)  # (queries, keys)

    def __call__(self, layer: int, qkv: Tensor, multiplier: int, shift: int) -> Tensor:
        heads, dim = self.config.n_head, self.config.head_dim
        query, key, value = qkv.view(self.tiles, -1, SIDE, 3, heads, dim).permute(3, 1, 0, 4, 2, 5)
        out = torch.empty_like(query)  # (rows, tiles, heads, positions, dim)
        for row in range(len(query)):
            first = max(row - self.back, 0)
            keys, values = (x[first : row + 1].permute(1, 2, 0, 3, 4).flatten(2, 3) for x in (key, value))
            forbidden = self.forbidden[:, -keys.shape[2] :]
            out[row] = attend(query[row], keys, values, multiplier, shift, self.top, forbidden)
        return out.permute(1, 0, 3, 2, 4).reshape(-1, self.config.n_embd)


class CachedAttention:
    """One position of every tile at a time; rows are tiles. The cache is a ring over the window, allocated once."""

    def __init__(self, config: ModelConfig, tiles: int, device: torch.device) -> None:
        self.config, self.tiles = config, tiles
        self.top = attention_top(config.attention_window)
        shape = (config.n_layer, 2, tiles, config.n_head, config.attention_window, config.head_dim)
        self.cache = torch.zeros(shape, dtype=torch.int8, device=device)
        self.position = 0

    def __call__(self, layer: int, qkv: Tensor, multiplier: int, shift: int) -> Tensor:
        window = self.config.attention_window
        query, key, value = qkv.view(self.tiles, 3, self.config.n_head, 1, self.config.head_dim).unbind(1)
        keys, values = self.cache[layer]
        keys[:, :, self.position % window], values[:, :, self.position % window] = key[:, :, 0], value[:, :, 0]
        known = min(self.position + 1, window)
        return attend(query, keys[:, :, :known], values[:, :, :known], multiplier, shift, self.top).view(self.tiles, -1)


class IntegerImageGPT:
    """An integer model on a device. `digest` names its content; `name` is for people."""

    def __init__(self, config: ModelConfig, tensors: Tensors, name: str, device: torch.device, product: Product | None = None) -> None:
        validate(config, tensors)
        self.config, self.name, self.device = config, name, device
        self.digest = model_digest(config, tensors)
        self.product = product or exact_product(device)
        self.tensors = {key: tensor.to(device) for key, tensor in tensors.items()}
        self.offsets = {
            (name := key.removesuffix(".bias")): bias * self.tensors[f"{name}.multiplier"] + (1 << self.tensors[f"{name}.shift"] - 1)
            for key, bias in self.tensors.items()
            if key.endswith(".bias")
        }
        self.scalars = {key: int(tensor) for key, tensor in tensors.items() if tensor.ndim == 0}

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> "IntegerImageGPT":
        """Raises ModelError where the folder holds no usable integer model."""
        config = ModelConfig.load(folder)
        try:
            tensors = load_file(folder / WEIGHTS_FILE)
        except (OSError, SafetensorError) as error:
            msg = f"{folder}: no usable {WEIGHTS_FILE} ({error})"
            raise ModelError(msg) from error
        return cls(config, tensors, folder.resolve().name, device)

    def save(self, folder: Path) -> None:
        """Writes `config.json` and the weights."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save(folder)
        (folder / WEIGHTS_FILE).write_bytes(save({name: tensor.cpu().contiguous() for name, tensor in self.tensors.items()}))

    def layer_outputs(self, features: Tensor, positions: Tensor, attention: Attention) -> Iterator[Tensor]:
        """The residual stream after the embedding and after every layer, (rows, n_embd) int32, then the hidden states, int8.

        features: (rows, FEATURES) int8; positions: (rows) or () int64.
        """
        x = (self.residual("wce", features) + self.tensors["wpe"][positions]).clamp(-RESIDUAL_LIMIT, RESIDUAL_LIMIT)
        yield x
        for k in range(self.config.n_layer):
            scale = self.scalars[f"h.{k}.attn.multiplier"], self.scalars[f"h.{k}.attn.shift"]
            qkv = self.activation(f"h.{k}.attn.c_attn", self.norm(f"h.{k}.ln_1", x))
            x = self.add(x, self.residual(f"h.{k}.attn.c_proj", attention(k, qkv, *scale)))
            x = self.add(x, self.residual(f"h.{k}.mlp.c_proj", self.inner(f"h.{k}.mlp", self.norm(f"h.{k}.ln_2", x))))
            yield x
        yield self.norm("ln_f", x)

    def hidden(self, features: Tensor, positions: Tensor, attention: Attention) -> Tensor:
        """(rows, FEATURES) int8 -> (rows, n_embd) int8."""
        *_, last = self.layer_outputs(features, positions, attention)
        return last

    def logits(self, hidden: Tensor, head_features: Tensor, head: int) -> Tensor:
        """(rows, n_embd) and (rows, HEAD_FEATURES) int8 -> (rows, 256) int32 in 1/128 octaves."""
        inner = self.inner(f"heads.{head}", torch.cat([hidden, head_features], -1))
        return self.project(f"heads.{head}.c_proj", inner, LOGIT_LIMIT)

    def project(self, name: str, x: Tensor, limit: int) -> Tensor:
        """(rows, inputs) int8 -> (rows, outputs) int32 within +-limit."""
        accumulator = self.product(x, self.tensors[f"{name}.weight"].t())
        return requantize(accumulator, self.tensors[f"{name}.multiplier"], self.offsets[name], self.tensors[f"{name}.shift"], limit)

    def residual(self, name: str, x: Tensor) -> Tensor:
        return self.project(name, x, RESIDUAL_LIMIT)

    def activation(self, name: str, x: Tensor) -> Tensor:
        return self.project(name, x, 127).to(torch.int8)

    def inner(self, name: str, x: Tensor) -> Tensor:
        """c_fc and the activation by table: (rows, inputs) int8 -> (rows, inner) int8."""
        index = self.project(f"{name}.c_fc", x, TABLE_SIZE // 2 - 1) + TABLE_SIZE // 2
        return F.embedding(index, self.tensors[f"{name}.table"][:, None]).squeeze(-1)

    def norm(self, name: str, x: Tensor) -> Tensor:
        return normalize(x, self.tensors[f"{name}.gain"], self.scalars[f"{name}.shift"])

    @staticmethod
    def add(x: Tensor, y: Tensor) -> Tensor:
        return y.add_(x).clamp_(-RESIDUAL_LIMIT, RESIDUAL_LIMIT)
