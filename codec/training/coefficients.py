"""Training of the network that predicts quantised coefficients: pictures and JPEG files -> a float checkpoint -> the integer network.

The float network is that of `codec.jpeg.kernel` without rounding. Its weights become whole numbers of 15 bits afterwards, which costs
nothing that could be measured, so that training need not simulate it.
"""

import itertools
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save as saved
from torch import Tensor, nn
from torch.nn import functional as F

from codec.jpeg.coefficients import THRESHOLDS
from codec.jpeg.network import LAYERS, OFFSET_LIMIT, Arrays, CoefficientConfig, CoefficientNetwork
from codec.jpeg.prediction import FEATURES, NETWORK_THRESHOLDS, OUTPUTS, PLACES

UNIT = 64  # of a feature or an activation, in integers
LIMIT = 8.0  # of an activation
BATCH = 4096
RATE = 3e-3
HELD_OUT = 100_000  # records
LARGEST_SUM = 32000  # of the magnitudes of a row of weights; times ACTIVE it is below SUM_LIMIT
CHECKPOINT_FILE = "model.safetensors"


class Layer(nn.Module):
    """A product with shared weights; then for every place scales and offsets of its own."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Linear(inputs, outputs, bias=False).weight
        self.scale = nn.Parameter(torch.ones(PLACES, outputs))
        self.offset = nn.Parameter(torch.zeros(PLACES, outputs))

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        return F.linear(x, self.weight) * F.embedding(places, self.scale) + F.embedding(places, self.offset)


class FloatNetwork(nn.Module):
    """(records, FEATURES) features and (records,) places -> (records, OUTPUTS) logits."""

    def __init__(self, config: CoefficientConfig) -> None:
        super().__init__()
        self.config, widths = config, (FEATURES, *config.hidden, OUTPUTS)
        self.gains = nn.Parameter(torch.ones(PLACES, FEATURES))
        self.first, self.second, self.third = (Layer(*pair) for pair in itertools.pairwise(widths))

    def forward(self, features: Tensor, places: Tensor) -> Tensor:
        x = (features * F.embedding(places, self.gains)).clamp(-LIMIT, LIMIT)
        for layer in (self.first, self.second):
            x = layer(x, places).clamp(0, LIMIT)
        logits: Tensor = self.third(x, places)
        return logits


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
    shared = [layer.weight for layer in (model.first, model.second, model.third)]
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
    arrays: Arrays = {"gains": _whole((model.gains * UNIT).clamp(-32767, 32767), np.int16)}
    for layer, float_layer in zip(LAYERS, (model.first, model.second, model.third), strict=True):
        weight, scale, offset = (p.detach().double() for p in (float_layer.weight, float_layer.scale, float_layer.offset))
        units = 256 / UNIT if layer == LAYERS[-1] else 1.0  # a logit is in 1/256
        factor = LARGEST_SUM / weight.abs().sum(1).clamp(min=1e-6)  # of a row
        multiplier = torch.round(scale / factor * units * (1 << 22)).clamp(-32767, 32767)
        added = offset * units * UNIT * (1 << 14) + multiplier / 2 + (1 << 13)
        arrays[f"{layer}.weight"] = _whole(weight * factor[:, None], np.int16)
        arrays[f"{layer}.multiplier"] = _whole(multiplier, np.int16)
        arrays[f"{layer}.offset"] = _whole(added.clamp(-OFFSET_LIMIT, OFFSET_LIMIT), np.int32)
    return CoefficientNetwork(model.config, arrays, name)


def _whole(values: Tensor, dtype: type[np.generic]) -> npt.NDArray[np.generic]:
    return torch.round(values.detach()).numpy().astype(dtype)


def save(model: FloatNetwork, folder: Path) -> None:
    """The float checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save(folder)
    (folder / CHECKPOINT_FILE).write_bytes(saved({name: p.detach().contiguous() for name, p in model.state_dict().items()}))
