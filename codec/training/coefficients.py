"""Training of the network that predicts quantised coefficients: pictures and JPEG files -> a float checkpoint -> the integer network.

The float network is that of `codec.jpeg.kernel` without rounding. Its weights become whole numbers of 15 bits afterwards, which costs
nothing that could be measured, so that training need not simulate it.
"""

import itertools
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save as saved
from torch import Tensor, nn
from torch.nn import functional as F

from bitstream.errors import IgptError
from codec.jpeg.coefficients import THRESHOLDS
from codec.jpeg.network import LAYERS, OFFSET_LIMIT, Arrays, CoefficientConfig, CoefficientNetwork
from codec.jpeg.prediction import ACTIVE, FEATURES, NETWORK_THRESHOLDS, OUTPUTS, PLACES
from codec.messages import Bar, say
from codec.mixing.kernel import LIMIT as LOGIT_LIMIT
from codec.training.card import NO_LICENCE, write_values
from codec.training.records import gathered
from codec.training.state import FILE as STATE_FILE
from codec.training.state import State
from codec.training.stopping import asked_to_stop

UNIT = 64  # of a feature or an activation, in integers
LIMIT = 8.0  # of an activation
BATCH = 4096
RATE = 3e-3
WARM_UP = 300  # steps
RECORDS, HELD_OUT = 9_000_000, 100_000
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


def nats(logits: Tensor, records: Tensor) -> Tensor:
    """The mean code length of (records, FEATURES + 3) int16 records by their (records, OUTPUTS) logits."""
    value, last = records[:, FEATURES + 1].long(), records[:, FEATURES + 2] > 0
    magnitude, other, thresholds = value.abs(), value < 0, torch.tensor(THRESHOLDS)

    def cost(logit: Tensor, bit: Tensor, counts: Tensor) -> Tensor:
        return (F.binary_cross_entropy_with_logits(logit, bit.float(), reduction="none") * counts).sum() / len(records)

    zero = cost(logits[:, 0], magnitude > 0, ~last)
    sign = cost(logits[:, 1], other, magnitude > 0)
    sides = torch.where(other[:, None], logits[:, 2 + NETWORK_THRESHOLDS :], logits[:, 2 : 2 + NETWORK_THRESHOLDS])
    above = magnitude[:, None] > thresholds[1 : NETWORK_THRESHOLDS + 1]
    return zero + sign + cost(sides, above, magnitude[:, None] > thresholds[:NETWORK_THRESHOLDS])


def predicted(model: FloatNetwork, records: Tensor) -> Tensor:
    logits: Tensor = model(records[:, :FEATURES].float() / UNIT, records[:, FEATURES].long())
    return logits


def bits_per_record(model: FloatNetwork, records: npt.NDArray[np.int16]) -> float:
    with torch.no_grad():
        found = torch.from_numpy(records)
        return float(nats(predicted(model, found), found)) / math.log(2)


def integer_bits(network: CoefficientNetwork, records: npt.NDArray[np.int16]) -> float:
    """The same of the integer network: in float64, where its sums are exact."""
    place = records[:, FEATURES]
    x = ((records[:, :FEATURES].astype(np.int64) * network.arrays["gains"][place] + 32) >> 6).clip(-ACTIVE, ACTIVE)
    for layer in LAYERS:
        weight, multiplier, offset = (network.arrays[f"{layer}.{name}"] for name in ("weight", "multiplier", "offset"))
        sums = (x.astype(np.float64) @ weight.T.astype(np.float64)).astype(np.int64)
        x = ((sums >> 8) * multiplier[place] + offset[place]) >> 14
        x = x.clip(-LOGIT_LIMIT, LOGIT_LIMIT) if layer == LAYERS[-1] else x.clip(0, ACTIVE)
    return float(nats(torch.from_numpy(x / 256).float(), torch.from_numpy(records))) / math.log(2)


def train(records: npt.NDArray[np.int16], config: CoefficientConfig, steps: int, out: Path, quiet: bool) -> FloatNetwork:
    """A network trained on shuffled records, but for the first HELD_OUT. An unfinished training in the folder `out` goes on."""
    torch.manual_seed(0)
    model, rest = FloatNetwork(config), torch.from_numpy(records[HELD_OUT:])
    shared = [layer.weight for layer in (model.first, model.second, model.third)]
    own = [p for p in model.parameters() if all(p is not q for q in shared)]
    optimizer = torch.optim.Adam([{"params": shared, "rate": RATE}, {"params": own, "rate": 2 * RATE}], betas=(0.9, 0.99))
    state = State(out, model, [optimizer], "cpu")
    with Bar("training", steps, state.step, quiet or not sys.stderr.isatty()) as bar, asked_to_stop() as asked:
        for step in range(state.step, steps):
            share = min((step + 1) / WARM_UP, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * share
            first = step * BATCH % max(len(rest) - BATCH, 1)
            batch = rest[first : first + BATCH]
            optimizer.zero_grad()
            nats(predicted(model, batch), batch).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            state.step = step + 1
            bar.update(1)
            if asked.number or state.due:
                state.write()
            if asked.number:
                if not quiet:
                    say(f"stopped after step {state.step} of {steps}; the same command goes on")
                break
    return model


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


def run(folders: Sequence[Path], out: Path, steps: int, sources: str, licence: str, quiet: bool) -> None:
    """Trains a network on JPEG files and pictures in folders; writes its float checkpoint, its integer form and its card into `out`."""
    with Bar("reading pictures", RECORDS, hidden=quiet or not sys.stderr.isatty()) as bar:
        found = gathered(folders, RECORDS, np.random.default_rng(0), bar.update)
    if len(found) < 2 * HELD_OUT:
        msg = f"the folders give {len(found):,} coefficients, {2 * HELD_OUT:,} are needed"
        raise IgptError(msg)
    if not quiet:
        say(f"{len(found):,} coefficients")
    finish(train(found, CoefficientConfig(), steps, out, quiet), found[:HELD_OUT], out, steps, sources, licence)
    (out / STATE_FILE).unlink(missing_ok=True)


def finish(model: FloatNetwork, held_out: npt.NDArray[np.int16], out: Path, steps: int, sources: str, licence: str) -> None:
    """Writes a checkpoint, its integer form and its card. held_out: records that training did not see."""
    network = integer_network(model, out.resolve().name)
    save(model, out)
    network.save(out)
    rates = [bits_per_record(model, held_out), integer_bits(network, held_out)]
    digest, parameters = network.digest.hex(), sum(p.numel() for p in model.parameters())
    write_values(out, digest, licence, {"coefficients": round(rates[1], 4)})
    (out / "MODEL_CARD.md").write_text(
        f"""# {network.name}

A small network in the "{network.config.layout}" layout that predicts quantised coefficients of JPEG from what is known around them.

| | |
|---|---|
| digest | `{digest}` |
| licence | {licence or NO_LICENCE} |
| parameters | {parameters:,} |
| features, hidden layers, logits | {FEATURES}, {network.config.hidden[0]} and {network.config.hidden[1]}, {OUTPUTS} |
| training | {steps:,} steps of {BATCH:,} coefficients |

Bits per coefficient that is coded, of coefficients that training did not see, without the mixture that learns while a picture is coded.

| | float model | integer model |
|---|---:|---:|
| coefficients | {rates[0]:.4f} | {rates[1]:.4f} ({100 * (rates[1] / rates[0] - 1):+.2f} %) |

{sources.strip()}
""".rstrip()
        + "\n"
    )
