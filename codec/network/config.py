"""Sizes and layout of a network, read from a checkpoint's `config.json`."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bitstream.constants import MAX_MODEL_NAME_BYTES
from bitstream.errors import ModelError
from codec.tiling.planes import LAYOUTS, Kind

# What the digest of a model has of its configuration, in this order.
DIGEST_FIELDS = ("attention_window", "head_inner", "layout", "learns", "n_embd", "n_head", "n_inner", "n_layer", "n_positions")


def name_of(folder: Path) -> str:
    """A model's name, for messages and headers: its folder's, in printable ASCII."""
    return (
        "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in folder.resolve().name)[:MAX_MODEL_NAME_BYTES] or "model"
    )


def json_object(path: Path) -> dict[str, Any]:
    """What the object in a JSON file of a model's folder holds. Raises ModelError where there is none."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path.parent}: no usable {path.name} ({error})"
        raise ModelError(msg) from error
    if not isinstance(values, dict):
        msg = f"{path.parent}: {path.name} is not an object"
        raise ModelError(msg)
    return values


def require_model(holds: bool, what: str) -> None:
    """Of its configuration and its weights. Raises ModelError."""
    if not holds:
        msg = f"unusable model: {what}"
        raise ModelError(msg)


@dataclass(frozen=True)
class ModelConfig:
    """An ImageGPT's sizes, under the names of `transformers.ImageGPTConfig`, and what the "rgb" layout adds.

    attention_window: a position attends to itself and the `attention_window - 1` positions before it.
    head_inner: width of the hidden layer of each channel's head. learns: whether its frequencies are corrected by what was coded before
    (`codec.network.learning`). layout: "rgb" for colour and grey pictures, "ycc" for luma and chroma.
    """

    n_embd: int = 128
    n_layer: int = 4
    n_head: int = 4
    n_inner: int = 512
    n_positions: int = 1024
    attention_window: int = 96
    head_inner: int = 128
    learns: bool = True
    layer_norm_epsilon: float = 1e-5
    activation_function: str = "quick_gelu"
    layout: str = "rgb"
    model_type: str = "imagegpt"

    def __post_init__(self) -> None:
        for name in ("n_embd", "n_layer", "n_head", "n_inner", "n_positions", "attention_window", "head_inner"):
            value = getattr(self, name)
            require_model(type(value) is int and 1 <= value <= 8192, f"{name} is {value!r}, not a whole number from 1 to 8192")
        require_model(type(self.learns) is bool, f"learns is {self.learns!r}, neither true nor false")
        require_model(isinstance(self.layout, str) and self.layout in LAYOUTS, f"layout {self.layout!r} is not known")
        require_model(self.activation_function == "quick_gelu", f"activation {self.activation_function!r} is not known")
        require_model(self.n_positions == 1024, f"n_positions is {self.n_positions}, tiles have 1024")
        require_model(self.n_embd % self.n_head == 0, "n_embd is not a multiple of n_head")
        require_model(self.n_embd // self.n_head <= 128, "a head is wider than 128")
        require_model(self.attention_window <= self.n_positions, "attention_window is larger than n_positions")
        for name in ("n_embd", "n_inner", "head_inner"):
            require_model(getattr(self, name) % 16 == 0, f"{name} is not a multiple of 16")

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What the network codes."""
        return LAYOUTS[self.layout]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """Keys that are not fields are ignored, as published configurations carry many."""
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})

    @classmethod
    def load(cls, folder: Path) -> "ModelConfig":
        """Raises ModelError where `config.json` is missing or unusable."""
        values = json_object(folder / "config.json")
        missing = [name for name in DIGEST_FIELDS if name not in values]
        require_model(not missing, f"{folder}: config.json lacks {', '.join(missing)}")
        return cls.from_dict(values)

    def save(self, folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps(self.to_dict(), indent=2) + "\n")
