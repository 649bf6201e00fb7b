"""The models that ship with the package, and finding the one that a file names."""

from functools import cache
from pathlib import Path

import torch

from bitstream.errors import ModelError
from codec.network.integer import IntegerImageGPT

FOLDER = Path(__file__).parent
DEFAULTS = {"rgb": "photo-2", "ycc": "past-1"}  # by layout


def shipped() -> list[Path]:
    """The folders of all models in the package."""
    return sorted(path.parent for path in FOLDER.glob("*/config.json"))


def load(folder: Path | None, layout: str, device: torch.device) -> IntegerImageGPT:
    """The model in `folder` if it has this layout, else the default one of the layout. Raises ModelError."""
    model = IntegerImageGPT.load(folder, device) if folder else None
    return model if model and model.config.layout == layout else _shipped_model(FOLDER / DEFAULTS[layout], device)


def of_layout(folder: Path | None, layout: str, device: torch.device) -> IntegerImageGPT:
    """The model in `folder`, or the default one of the layout. Raises ModelError where the folder's has another layout."""
    model = load(folder, layout, device)
    if folder and IntegerImageGPT.load(folder, device).digest != model.digest:
        msg = f"{folder}: this model is not for {layout}"
        raise ModelError(msg)
    return model


@cache
def _shipped_model(folder: Path, device: torch.device) -> IntegerImageGPT:
    """Loaded and checked once in a process; what ships with the package does not change under it."""
    return IntegerImageGPT.load(folder, device)


def find(digest: bytes, name: str, folder: Path | None, device: torch.device) -> IntegerImageGPT:
    """The model with this digest: the one in `folder`, if given, or a shipped one. Raises ModelError naming the digests."""
    candidates = [IntegerImageGPT.load(folder, device)] if folder else []
    if candidates and candidates[0].digest == digest:
        return candidates[0]
    for path in sorted(shipped(), key=lambda path: path.name != name):
        candidates.append(_shipped_model(path, device))
        if candidates[-1].digest == digest:
            return candidates[-1]
    have = ", ".join(f"{model.name} ({model.digest.hex()})" for model in candidates)
    advice = "give its folder with --model" if folder is None else "give the folder of the model that it names"
    msg = f"the file needs the model {name} ({digest.hex()}), here is {have}: {advice}"
    raise ModelError(msg)
