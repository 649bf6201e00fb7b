"""What a training leaves behind: the integer model beside the float checkpoint, and a card that says where it comes from."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from codec.coding import encode_group
from codec.network.integer import IntegerImageGPT
from codec.network.quantize import integer_model
from codec.network.reference import ImageGPT
from codec.planes import RGB
from codec.tiles import LARGEST_GROUP
from codec.training.data import TrainingData
from codec.training.loop import VALIDATION_TILES, bits_per_subpixel


def finish(out: Path, folders: Sequence[Path], validation: Path, sources: str, device: torch.device) -> None:
    """Writes the integer form of the checkpoint in `out`, measures both on the same tiles, and writes `MODEL_CARD.md`."""
    model = ImageGPT.load(out).to(device)
    integer = integer_model(model.cpu(), out.resolve().name, device)
    integer.save(out)
    held_out = TrainingData([validation]).batch(VALIDATION_TILES, np.random.default_rng(0))[RGB][:LARGEST_GROUP]
    float_bpsp = bits_per_subpixel(model.to(device), held_out.to(device), RGB)
    extents = np.full((len(held_out), 2), 32)
    integer_bpsp = 8 * len(encode_group(integer, held_out.numpy(), extents, RGB, lambda _: None)) / held_out.numel()
    (out / "MODEL_CARD.md").write_text(card(model, integer, out, folders, float_bpsp, integer_bpsp, sources))


def card(
    model: ImageGPT, integer: IntegerImageGPT, out: Path, folders: Sequence[Path], float_bpsp: float, integer_bpsp: float, sources: str
) -> str:
    """The text of the model card, in Markdown."""
    config = model.config
    last = json.loads((out / "training.json").read_text())[-1]
    parameters = sum(p.numel() for p in model.parameters())
    names = ", ".join(f"`{folder.name}`" for folder in folders)
    return (
        f"""# {integer.name}

An ImageGPT in the "rgb" layout for lossless coding of photographs.

| | |
|---|---|
| digest | `{integer.digest.hex()}` |
| parameters | {parameters:,} |
| width, layers, heads, attention window | {config.n_embd}, {config.n_layer}, {config.n_head}, {config.attention_window} |
| training | {last["step"]:,} steps, {last["positions"] / 1e6:.0f} million positions, {names} |
| validation, float model | {float_bpsp:.4f} bits per subpixel |
| validation, integer model, real bytes | {integer_bpsp:.4f} bits per subpixel ({100 * (integer_bpsp / float_bpsp - 1):+.2f} %) |

Validation is on random 32x32 tiles, each coded by itself, of pictures that training does not see.

{sources.strip()}
""".rstrip()
        + "\n"
    )
