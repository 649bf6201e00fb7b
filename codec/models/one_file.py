"""A model as one file, which travels: its weights as safetensors, with its configuration, its cards, name and digest in the header."""

import contextlib
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
FORMAT = "igpt model"  # the header's entry of this name is "1"
TEXTS = ("config.json", *models.CARDS)


def export(folder: Path, out: BinaryIO) -> None:
    """Writes the model in a folder as one file. Raises ModelError, OSError."""
    model = models.read(folder, "cpu")
    texts = {name: (folder / name).read_text("utf-8") for name in TEXTS if (folder / name).exists()}
    header = {FORMAT: "1", "name": model.name, "digest": model.digest.hex(), **texts}
    out.write(save(load_file(folder / WEIGHTS_FILE), header))


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The folder of the model in a file, as long as it is needed. Raises OSError, or ModelError where it holds none, or another than it
    says."""
    try:
        with safe_open(path, "np") as file:
            header = file.metadata() or {}
    except (SafetensorError, ValueError):
        header = {}
    if header.get(FORMAT) != "1" or "config.json" not in header:
        msg = "this is neither a model that `igpt models export` wrote, nor the folder of one"
        raise ModelError(msg)
    with tempfile.TemporaryDirectory(prefix="igpt-") as place:
        folder = Path(place) / name_of(Path(header.get("name", "")))
        folder.mkdir()
        for name in TEXTS:
            if name in header:
                (folder / name).write_text(header[name], "utf-8")
        (folder / WEIGHTS_FILE).write_bytes(path.read_bytes())
        model = models.read(folder, "cpu")
        if model.digest.hex() != header.get("digest"):
            msg = f"it is damaged: its model is {model.digest.hex()}, not {header.get('digest')!r}"
            raise ModelError(msg)
        yield folder
