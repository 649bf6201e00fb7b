"""The integer ImageGPT in torch: one definition of the layers, driven by parallel attention over whole tiles or by cached attention, one
position of many tiles at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from codec.context import FIRST_SAMPLE, POSITIONS, RESIDUAL_NEIGHBOURS, SLOTS
from codec.frequencies import frequencies
from codec.network.arithmetic import Product, exact_product, normalize, requantize
from codec.network.attention import Attention, CachedAttention, ParallelAttention
from codec.network.features import (
    TileContext,
    base_predictions,
    channel_prediction,
    head_features,
    input_features,
    samples_of,
    slots_on,
    surroundings,
)
from codec.network.integer import Impossible, IntegerImageGPT, Rows, Seen, Tables, Tokens
from codec.network.limits import IMPOSSIBLE, LOGIT_LIMIT, RESIDUAL_LIMIT, TABLE_SIZE
from codec.planes import Kind
from codec.tiles import Samples, Windows


class Scale(NamedTuple):
    """How a product's accumulators are requantised, per output, int32; see `arithmetic.requantize`."""

    multiplier: Tensor
    offset: Tensor
    shift: Tensor


class PlainEngine:
    """See `integer.Engine`."""

    def __init__(self, network: IntegerImageGPT, product: Product | None = None) -> None:
        self.config, self.device, self.torch_device = network.config, network.device, torch.device(network.device)
        self.product = product or exact_product(self.torch_device)
        self.tensors = {key: torch.from_numpy(array).to(self.torch_device) for key, array in network.arrays.items()}
        self.scales = {}
        for key, bias in self.tensors.items():
            if key.endswith(".bias"):
                multiplier, shift = (self.tensors[key.replace("bias", part)] for part in ("multiplier", "shift"))
                self.scales[key.removesuffix(".bias")] = Scale(multiplier, bias * multiplier + (1 << shift - 1), shift)
        self.scalars = {key: int(array) for key, array in network.arrays.items() if array.ndim == 0}

    def see(self, kind: Kind, samples: Samples, windows: Windows | None, count: int) -> Seen:
        context = TileContext(self.tensor(samples), kind, None if windows is None else self.tensor(windows))
        hidden = self.hidden_of_tiles(context.features[:, :count])
        channels = ([x[:, :count].cpu().numpy() for x in of] for of in (context.head_features, context.tokens))
        return Seen(hidden.cpu().numpy(), *channels)

    def frequencies(self, kind: Kind, hidden: Rows, features: list[Rows], impossible: list[Impossible] | None) -> Tables:
        rows, tables = self.tensor(hidden).flatten(0, 1), []
        for c, head in enumerate(kind.heads):
            logits = self.logits(rows, self.tensor(features[c]).flatten(0, 1), head)
            if impossible:
                logits.masked_fill_(self.tensor(impossible[c]).flatten(0, 1), IMPOSSIBLE)
            tables.append(frequencies(logits).view(*hidden.shape[:2], -1))
        found: Tables = torch.stack(tables, 1).cpu().numpy()
        return found

    def steps(self, kind: Kind, tiles: int, windows: Windows | None) -> "PlainSteps":
        return PlainSteps(self, kind, tiles, windows)

    def tensor(self, array: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.torch_device)

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
        attention = ParallelAttention(self.config, tiles, self.torch_device)
        *_, last = self.layer_outputs(features.flatten(0, 1), torch.arange(positions, device=self.torch_device).repeat(tiles), attention)
        return last.view(tiles, positions, -1)

    def logits(self, hidden: Tensor, head_features: Tensor, head: int) -> Tensor:
        """(rows, n_embd) and (rows, HEAD_FEATURES) int8 -> (rows, 256) int32 in 1/128 octaves."""
        inner = self.inner(f"heads.{head}", torch.cat([hidden, head_features], -1))
        return self.projected(f"heads.{head}.c_proj", inner, LOGIT_LIMIT)

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


class PlainSteps:
    """See `integer.Steps`."""

    def __init__(self, engine: PlainEngine, kind: Kind, tiles: int, windows: Windows | None) -> None:
        self.engine, self.kind, device = engine, kind, engine.torch_device
        self.attention = CachedAttention(engine.config, tiles, device)
        self.slots = slots_on(device)
        self.surroundings = None if windows is None else surroundings(engine.tensor(windows))
        self.known = torch.full((tiles, kind.channels, SLOTS), FIRST_SAMPLE, dtype=torch.int32, device=device)
        self.residuals = torch.zeros_like(self.known)

    def go_to(self, position: int) -> None:
        self.position = self.attention.position = position
        *_, self.hidden = self.engine.layer_outputs(self.features(), torch.tensor(position, device=self.known.device), self.attention)

    def features(self) -> Tensor:
        """(tiles, FEATURES) int8."""
        self.values = self.known[:, :, self.slots[self.position]]  # (tiles, channels, neighbours)
        self.base = base_predictions(self.values)
        around = self.residuals[:, :, self.slots[self.position, :RESIDUAL_NEIGHBOURS]]
        seen = None if self.surroundings is None else self.surroundings[:, self.position]
        return input_features(self.values, around, self.kind, seen)

    def begin(self, channel: int) -> None:
        self.channel = channel
        self.prediction = channel_prediction(self.values, self.known[:, 0, self.position], channel, self.kind)
        before = list(self.residuals[:, :channel, self.position].unbind(1))
        self.head_features = head_features(before, self.prediction, self.base[:, channel])
        self.found = self.engine.logits(self.hidden, self.head_features, self.kind.heads[channel])

    @property
    def predictions(self) -> npt.NDArray[np.int32]:
        predictions: npt.NDArray[np.int32] = self.prediction.cpu().numpy()
        return predictions

    @property
    def logits(self) -> Tables:
        logits: Tables = self.found.cpu().numpy()
        return logits

    def frequencies(self, impossible: Impossible | None) -> Tables:
        logits = self.found if impossible is None else self.found.masked_fill(self.engine.tensor(impossible), IMPOSSIBLE)
        found: Tables = frequencies(logits).cpu().numpy()
        return found

    def accept(self, tokens: Tokens, exist: npt.NDArray[np.bool_]) -> None:
        sample = samples_of(self.engine.tensor(tokens), self.prediction)
        if not exist.all():
            sample = torch.where(self.engine.tensor(exist), sample, self.values[:, self.channel, 0])
        self.known[:, self.channel, self.position] = sample
        self.residuals[:, self.channel, self.position] = sample - self.prediction

    def samples(self) -> Samples:
        samples: Samples = self.known[:, :, :POSITIONS].to(torch.uint8).cpu().numpy()
        return samples
