"""A model as one file, which travels: its weights as safetensors, and in the header its name, digest, configuration and cards, as JSON."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from bitstream.errors import ModelError
from codec import models
from codec.network.config import name_of
from codec.network.model import WEIGHTS_FILE

SUFFIX = ".safetensors"
ENTRY = "igpt model"  # of the header; the order of several would be left to chance
TEXTS = ("config.json", *models.CARDS)


def export(folder: Path, out: BinaryIO) -> None:
    """Writes the model in a folder as one file. Raises ModelError, OSError."""
    model = models.read(folder, "cpu")
    texts = {name: (folder / name).read_text("utf-8") for name in TEXTS if (folder / name).exists()}
    about = {"name": model.name, "digest": model.digest.hex(), **texts}
    out.write(save(load_file(folder / WEIGHTS_FILE), {ENTRY: json.dumps(about)}))


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The folder of the model in a file, as long as it is needed. Raises OSError, or ModelError where it holds none, or another than it
    says."""
    try:
        with safe_open(path, "np") as file:
            about = json.loads((file.metadata() or {})[ENTRY])
    except (SafetensorError, ValueError, KeyError, RecursionError):
        about = {}
    if not isinstance(about, dict) or not {"name", "digest", "config.json"} <= about.keys() or not all(map(_is_text, about.values())):
        msg = "this is neither a model that `igpt models export` wrote, nor the folder of one"
        raise ModelError(msg)
    with tempfile.TemporaryDirectory(prefix="igpt-") as place:
        folder = Path(place) / name_of(Path(about["name"]))
        folder.mkdir()
        for name in TEXTS:
            if name in about:
                (folder / name).write_text(about[name], "utf-8")
        (folder / WEIGHTS_FILE).write_bytes(path.read_bytes())
        model = models.read(folder, "cpu")
        if model.digest.hex() != about["digest"]:
            msg = f"it is damaged: its model is {model.digest.hex()}, not {about['digest']!r}"
            raise ModelError(msg)
        yield folder


def _is_text(value: object) -> bool:
    """Whether it is a string that UTF-8 can hold."""
    return isinstance(value, str) and value.encode("utf-8", "replace").decode() == value
