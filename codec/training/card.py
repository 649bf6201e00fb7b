"""What a training leaves behind: the integer model beside the float checkpoint, and a card that says where it comes from."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from codec.messages import Bar
from codec.models import CARD_FILE
from codec.network.coding import encode_groups
from codec.network.engines import engine_of
from codec.network.groups import Turn
from codec.network.model import IntegerImageGPT
from codec.tiling.context import SIDE
from codec.training.loop import bits_per_sample, on, validation_tiles
from codec.training.quantize import integer_model
from codec.training.reference import ImageGPT
from codec.training.state import FILE as STATE_FILE

NO_LICENCE = "none was given"


def finish(out: Path, folders: Sequence[Path], validation: Path, sources: str, licence: str, device: str, quiet: bool) -> None:
    """Writes the integer form of the checkpoint in `out`, measures both on the same tiles, and writes `MODEL_CARD.md` and card.json; then
    the state of the training goes.

    sources: of the pictures, in Markdown; licence: of the model, empty where none is given.
    """
    model = ImageGPT.load(out)
    integer = integer_model(model, out.resolve().name, device)
    integer.save(out)
    held_out = validation_tiles(validation, model.config)
    means = bits_per_sample(model.to(device), on(torch.device(device), held_out))
    # Tiles of many pictures teach each other nothing.
    alone = IntegerImageGPT(replace(integer.config, learns=False), integer.arrays, integer.name, device)
    rows, rates = [], {}
    for kind, (samples, around) in held_out.items():
        turn = Turn(kind, np.full((len(samples), 2), SIDE), around.each(torch.Tensor.numpy))
        with Bar(f"measuring, {kind.name}", samples[:, 0].numel(), hidden=quiet or not sys.stderr.isatty()) as bar:
            (payload,) = encode_groups(engine_of(alone, len(samples)), [[(turn, samples.numpy())]], bar.update)
        real = 8 * len(payload) / samples.numel()
        rates[kind.name] = round(real, 4)
        rows.append(f"| {kind.name} | {means[kind]:.4f} | {real:.4f} ({100 * (real / means[kind] - 1):+.2f} %) |")
    write_values(out, integer.digest.hex(), licence, rates)
    (out / "MODEL_CARD.md").write_text(card(model, integer, out, folders, rows, sources, licence))
    (out / STATE_FILE).unlink(missing_ok=True)


def write_values(out: Path, digest: str, licence: str, rates: dict[str, float]) -> None:
    """The card for programs. licence: empty where none is given."""
    values = {"digest": digest, **({"licence": licence} if licence else {}), "bpsp": rates}
    (out / CARD_FILE).write_text(json.dumps(values, indent=2) + "\n")


def card(
    model: ImageGPT, integer: IntegerImageGPT, out: Path, folders: Sequence[Path], validation: Sequence[str], sources: str, licence: str
) -> str:
    """The text of the model card, in Markdown."""
    config = model.config
    last = json.loads((out / "training.json").read_text())[-1]
    parameters = sum(p.numel() for p in model.parameters())
    lines = "\n".join(validation)
    names = ", ".join(f"`{folder.name}`" for folder in folders)
    return (
        f"""# {integer.name}

An ImageGPT in the "{config.layout}" layout for lossless coding of photographs: {", ".join(kind.name for kind in config.kinds)}.

| | |
|---|---|
| digest | `{integer.digest.hex()}` |
| licence | {licence or NO_LICENCE} |
| parameters | {parameters:,} |
| width, layers, heads, attention window | {config.n_embd}, {config.n_layer}, {config.n_head}, {config.attention_window} |
| training | {last["step"]:,} steps, {last["positions"] / 1e6:.0f} million positions, {names} |

Bits per sample on random 32x32 tiles of pictures that training does not see; half of them know what lies at their sides. Real: bytes of the
integer model, without what is learnt while coding.

| | float model | integer model, real |
|---|---:|---:|
{lines}

{sources.strip()}
""".rstrip()
        + "\n"
    )
