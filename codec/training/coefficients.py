"""Training of the network that predicts quantised coefficients: pictures and JPEG files -> a float checkpoint -> the integer network.

The float network is that of `codec.jpeg.kernel` without rounding. Its weights become whole numbers of 15 bits afterwards, which costs
nothing that could be measured, so that training need not simulate it.
"""

import math
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.jpeg.kernel import ACTIVE, FEATURES, NETWORK_THRESHOLDS, OUTPUTS, PLACES, WIDTH
from codec.jpeg.coefficients import THRESHOLDS
from codec.jpeg.network import LAYERS, OFFSET_LIMIT, SUM_LIMIT, Arrays, CoefficientConfig, CoefficientNetwork

UNIT = 64  # of a feature or an activation, in integers
LIMIT = 8.0  # of an activation
BATCH = 4096
RATE = 3e-3
HELD_OUT = 100_000  # records


class FloatNetwork(nn.Module):
    """(records, FEATURES) -> (records, OUTPUTS) logits; per place gains of the features, and of each layer's outputs scales and offsets."""

    def __init__(self, config: CoefficientConfig) -> None:
        super().__init__()
        widths = (FEATURES, *config.hidden, OUTPUTS)
        self.config = config
        self.gains = nn.Embedding.from_pretrained(torch.ones(PLACES, FEATURES), freeze=False)
        self.layers = nn.ModuleList(nn.Linear(*pair, bias=False) for pair in zip(widths, widths[1:], strict=False))
        self.scales = nn.ModuleList(nn.Embedding.from_pretrained(torch.ones(PLACES, n), freeze=False) for n in widths[1:])
        self.offsets = nn.ModuleList(nn.Embedding.from_pretrained(torch.zeros(PLACES, n), freeze=False) for n in widths[1:])

    def forward(self, features: Tensor, places: Tensor) -> Tensor:
        x = (features * self.gains(places)).clamp(-LIMIT, LIMIT)
        for k, (layer, scale, offset) in enumerate(zip(self.layers, self.scales, self.offsets, strict=True)):
            x = layer(x) * scale(places) + offset(places)
            if k + 1 < len(self.layers):
                x = x.clamp(0, LIMIT)
        return x


def nats(model: FloatNetwork, records: Tensor) -> Tensor:
    """The mean code length of (records, FEATURES + 3) int16 records: features, place, value, and whether it cannot be 0."""
    features, place = records[:, :FEATURES].float() / UNIT, records[:, FEATURES].long()
    value, last = records[:, FEATURES + 1].long(), records[:, FEATURES + 2] > 0
    logits, magnitude, other = model(features, place), value.abs(), value < 0

    def cost(logit: Tensor, bit: Tensor, counts: Tensor) -> Tensor:
        return (F.binary_cross_entropy_with_logits(logit, bit.float(), reduction="none") * counts).sum() / len(records)

    thresholds = torch.tensor(THRESHOLDS)
    zero = cost(logits[:, 0], magnitude > 0, ~last)
    sign = cost(logits[:, 1], other, magnitude > 0)
    sides = torch.where(other[:, None], logits[:, 2 + NETWORK_THRESHOLDS :], logits[:, 2 : 2 + NETWORK_THRESHOLDS])
    above = magnitude[:, None] > thresholds[1 : NETWORK_THRESHOLDS + 1]
    return zero + sign + cost(sides, above, magnitude[:, None] > thresholds[:NETWORK_THRESHOLDS])


def train(records: npt.NDArray[np.int16], config: CoefficientConfig, steps: int) -> tuple[FloatNetwork, float]:
    """A network trained on shuffled records, and its bits per record on the first HELD_OUT, which it does not see."""
    torch.manual_seed(0)
    model, data = FloatNetwork(config), torch.from_numpy(records)
    held_out, rest = data[:HELD_OUT], data[HELD_OUT:]
    shared = list(model.layers.parameters())
    own = [p for p in model.parameters() if all(p is not q for q in shared)]
    optimizer = torch.optim.Adam([{"params": shared, "rate": RATE}, {"params": own, "rate": 2 * RATE}], betas=(0.9, 0.99))
    for step in range(steps):
        share = min((step + 1) / 300, 1) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * share
        first = step * BATCH % max(len(rest) - BATCH, 1)
        optimizer.zero_grad()
        nats(model, rest[first : first + BATCH]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        return model, float(nats(model, held_out)) / math.log(2)


def integer_network(model: FloatNetwork, name: str) -> CoefficientNetwork:
    """Its weights as whole numbers, each row scaled so that its sums stay within their bound."""
    arrays: Arrays = {"gains": _whole(model.gains.weight * UNIT, np.int16)}
    for k, (layer, scale, offset) in enumerate(zip(model.layers, model.scales, model.offsets, strict=True)):
        weight, units = layer.weight.double(), 256 / UNIT if k + 1 == len(model.layers) else 1  # a logit is in 1/256
        factor = 32000 / weight.abs().sum(1).clamp(min=1e-6)  # of a row: 32000 * ACTIVE < SUM_LIMIT
        multiplier = torch.round(scale.weight.double() / factor * units * (1 << 22)).clamp(-32767, 32767)
        added = offset.weight.double() * units * UNIT * (1 << 14) + multiplier / 2 + (1 << 13)
        arrays[f"{LAYERS[k]}.weight"] = _whole(weight * factor[:, None], np.int16)
        arrays[f"{LAYERS[k]}.multiplier"] = _whole(multiplier, np.int16)
        arrays[f"{LAYERS[k]}.offset"] = _whole(added.clamp(-OFFSET_LIMIT, OFFSET_LIMIT), np.int32)
    return CoefficientNetwork(model.config, arrays, name)


def _whole(values: Tensor, dtype: type[np.generic]) -> npt.NDArray[np.generic]:
    return torch.round(values.detach()).numpy().astype(dtype)
