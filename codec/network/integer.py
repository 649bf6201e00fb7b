"""The integer ImageGPT: one definition of the layers, and two ways to drive them.

The encoder runs parallel attention over whole tiles, the decoder cached attention one position of many tiles at a time. Both are handed to
the same `IntegerImageGPT.layer_outputs`.
"""

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional as F

from bitstream.constants import MODEL_DIGEST_BYTES, MODEL_NUMERICS
from bitstream.errors import ModelError
from codec.context import FEATURES, HEAD_FEATURES, HEADS
from codec.frequencies import frequencies
from codec.network.arithmetic import (
    ACCUMULATOR_LIMIT,
    GAIN_LIMIT,
    LOGIT_LIMIT,
    MULTIPLIER_LIMIT,
    RESIDUAL_LIMIT,
    SHIFT_LIMITS,
    Product,
    exact_product,
    normalize,
    requantize,
)
from codec.network.attention import Attention, CachedAttention, ParallelAttention
from codec.network.config import ModelConfig, name_of
from codec.planes import Kind
from codec.stepping import Steps

WEIGHTS_FILE = "integer.safetensors"
DIGEST_FIELDS = ("attention_window", "head_inner", "layout", "n_embd", "n_head", "n_inner", "n_layer", "n_positions")
TABLE_SIZE = 1024  # entries of an activation table, for indices -512 to 511

Tensors = dict[str, Tensor]


class Scale(NamedTuple):
    """How a product's accumulators are requantised, per output, int32; see `arithmetic.requantize`."""

    multiplier: Tensor
    offset: Tensor
    shift: Tensor


class Cache(Protocol):
    """Tiles whose positions are seen one after the other."""

    def hidden(self, features: Tensor, position: int) -> Tensor:
        """(tiles, FEATURES) int8 -> (tiles, n_embd) int8; positions from 0 on."""


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
    digest = hashlib.sha256(f"igpt numerics {MODEL_NUMERICS}\n".encode())
    for name in DIGEST_FIELDS:
        digest.update(f"{name} {getattr(config, name)}\n".encode())
    for name in sorted(tensors):
        array = tensors[name].cpu().numpy()
        little = array.astype(array.dtype.newbyteorder("<"))
        digest.update(f"{name} {array.dtype.name} {list(array.shape)}\n".encode() + little.tobytes())
    return digest.digest()[:MODEL_DIGEST_BYTES]


class IntegerImageGPT:
    """An integer model on a device. `digest` names its content; `name` is for people."""

    def __init__(self, config: ModelConfig, tensors: Tensors, name: str, device: torch.device, product: Product | None = None) -> None:
        validate(config, tensors)
        self.config, self.name, self.device = config, name, device
        self.digest = model_digest(config, tensors)
        self.product = product or exact_product(device)
        self.tensors = {key: tensor.to(device) for key, tensor in tensors.items()}
        self.scales = {}
        for key, bias in self.tensors.items():
            if key.endswith(".bias"):
                multiplier, shift = (self.tensors[key.replace("bias", part)] for part in ("multiplier", "shift"))
                self.scales[key.removesuffix(".bias")] = Scale(multiplier, bias * multiplier + (1 << shift - 1), shift)
        self.scalars = {key: int(tensor) for key, tensor in tensors.items() if tensor.ndim == 0}

    def prepared(self, tiles: int) -> "IntegerImageGPT":
        """This network in its fastest form for a picture of so many tiles: compiled on the CPU, where that is possible and worth it."""
        if self.device.type != "cpu":
            return self
        try:
            from codec.network.compiled import worth_it

            return self._compiled if worth_it(tiles) else self
        except Exception:  # without a working numba
            return self

    @functools.cached_property
    def _compiled(self) -> "IntegerImageGPT":
        from codec.network.compiled import compiled

        return compiled(self) or self

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> "IntegerImageGPT":
        """Raises ModelError where the folder holds no usable integer model."""
        config = ModelConfig.load(folder)
        try:
            tensors = load_file(folder / WEIGHTS_FILE)
        except (OSError, SafetensorError) as error:
            msg = f"{folder}: no usable {WEIGHTS_FILE} ({error})"
            raise ModelError(msg) from error
        return cls(config, tensors, name_of(folder), device)

    def save(self, folder: Path) -> None:
        """Writes `config.json` and the weights."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save(folder)
        (folder / WEIGHTS_FILE).write_bytes(save({name: tensor.cpu().contiguous() for name, tensor in self.tensors.items()}))

    def layer_outputs(self, features: Tensor, positions: Tensor, attention: Attention) -> Iterator[Tensor]:
        """The residual stream after the embedding and after every layer, (rows, n_embd) int32, then the hidden states, int8.

        features: (rows, FEATURES) int8; positions: (rows) or () int64.
        """
        x = self.added(self.tensors["wpe"][positions], "wce", features)
        yield x
        for k in range(self.config.n_layer):
            scale = self.scalars[f"h.{k}.attn.multiplier"], self.scalars[f"h.{k}.attn.shift"]
            qkv = self.projected(f"h.{k}.attn.c_attn", self.norm(f"h.{k}.ln_1", x), 127).to(torch.int8)
            x = self.added(x, f"h.{k}.attn.c_proj", attention(k, qkv, *scale))
            x = self.added(x, f"h.{k}.mlp.c_proj", self.inner(f"h.{k}.mlp", self.norm(f"h.{k}.ln_2", x)))
            yield x
        yield self.norm("ln_f", x)

    def hidden_of_tiles(self, features: Tensor) -> Tensor:
        """The parallel pass: (tiles, positions, FEATURES) int8 -> (tiles, positions, n_embd) int8; whole rows of tiles."""
        tiles, positions, _ = features.shape
        attention = ParallelAttention(self.config, tiles, self.device)
        *_, last = self.layer_outputs(features.flatten(0, 1), torch.arange(positions, device=self.device).repeat(tiles), attention)
        return last.view(tiles, positions, -1)

    def cached(self, tiles: int) -> Cache:
        """For the cached steps of so many tiles."""
        return CachedSteps(self, tiles)

    def logits(self, hidden: Tensor, head_features: Tensor, head: int) -> Tensor:
        """(rows, n_embd) and (rows, HEAD_FEATURES) int8 -> (rows, 256) int32 in 1/128 octaves."""
        inner = self.inner(f"heads.{head}", torch.cat([hidden, head_features], -1))
        return self.projected(f"heads.{head}.c_proj", inner, LOGIT_LIMIT)

    def frequencies(self, logits: Tensor) -> Tensor:
        """(rows, 256) int32 logits, overwritten or not -> frequencies."""
        return frequencies(logits)

    def steps(self, kind: Kind, tiles: int, windows: Tensor | None) -> Steps:
        """What the decoder knows of so many tiles."""
        return Steps(kind, tiles, windows, self.device)

    def projected(self, name: str, x: Tensor, limit: int) -> Tensor:
        """(rows, inputs) int8 -> (rows, outputs) int32 within +-limit."""
        return requantize(self.product(x, self.tensors[f"{name}.weight"].t()), *self.scales[name], limit)

    def added(self, x: Tensor, name: str, y: Tensor) -> Tensor:
        """x plus a projection of y."""
        return self.projected(name, y, RESIDUAL_LIMIT).add_(x).clamp_(-RESIDUAL_LIMIT, RESIDUAL_LIMIT)

    def inner(self, name: str, x: Tensor) -> Tensor:
        """c_fc and the activation by table: (rows, inputs) int8 -> (rows, inner) int8."""
        half = TABLE_SIZE // 2
        places = self.projected(f"{name}.c_fc", x, half - 1) + half
        return F.embedding(places, self.tensors[f"{name}.table"][:, None]).squeeze(-1)

    def norm(self, name: str, x: Tensor) -> Tensor:
        return normalize(x, self.tensors[f"{name}.gain"], self.scalars[f"{name}.shift"])


class CachedSteps:
    """A `Cache` in torch."""

    def __init__(self, network: IntegerImageGPT, tiles: int) -> None:
        self.network, self.attention = network, CachedAttention(network.config, tiles, network.device)

    def hidden(self, features: Tensor, position: int) -> Tensor:
        self.attention.position = position
        *_, last = self.network.layer_outputs(features, torch.tensor(position, device=self.network.device), self.attention)
        return last
