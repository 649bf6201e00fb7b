"""Models: those that ship with the package, those that were added on this machine, and finding the one that a file or a user names."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitstream.errors import ModelError
from codec.network.config import name_of
from codec.network.integer import WEIGHTS_FILE, IntegerImageGPT

if TYPE_CHECKING:
    from codec.network.palette import PaletteImageGPT

    AnyModel = IntegerImageGPT | PaletteImageGPT

FOLDER = Path(__file__).parent
DEFAULTS = {"rgb": "photo-2", "ycc": "past-1"}  # by layout
SOURCE_FILE = "source.json"  # what an added model was made from
CARD_FILE = "card.json"  # what the model card says, for programs: licence; bpsp, by kind
BLOCK = 1 << 20


def shipped() -> list[Path]:
    """The folders of all models in the package."""
    return sorted(path.parent for path in FOLDER.glob("*/config.json"))


def stores() -> list[Path]:
    """Folders of added models: those of IGPT_MODEL_PATH, or one of the user's. The first one takes new models."""
    if named := os.environ.get("IGPT_MODEL_PATH"):
        return [Path(part) for part in named.split(os.pathsep) if part]
    import platformdirs

    return [platformdirs.user_data_path("igpt") / "models"]


def added() -> Iterator[Path]:
    """The folders of the models that were added."""
    for store in stores():
        yield from sorted(path.parent for path in store.glob("*/config.json") if not path.parent.name.startswith("."))


def layout_of(folder: Path) -> str:
    """Raises ModelError."""
    try:
        layout = json.loads((folder / "config.json").read_text()).get("layout", "rgb")
    except (OSError, ValueError, AttributeError) as error:
        msg = f"{folder}: no usable config.json ({error})"
        raise ModelError(msg) from error
    return str(layout)


def read(folder: Path, device: str) -> "AnyModel":
    """The integer model in a folder, of whichever layout. Raises ModelError."""
    if layout_of(folder) != "palette":
        return IntegerImageGPT.load(folder, device)
    from codec.network.palette import PaletteImageGPT

    return PaletteImageGPT.load(folder, device)


def described(folder: Path) -> dict[str, Any]:
    """What a list of models says of one, as plain values; licence and bpsp are those of its card, where it has one. Raises ModelError."""
    model = read(folder, "cpu")
    card = _values(folder / CARD_FILE)
    return {
        "name": model.name,
        "digest": model.digest.hex(),
        "layout": model.config.layout,
        "bytes": model.nbytes,
        "licence": card.get("licence"),
        "bpsp": card.get("bpsp", {}),
        "folder": str(folder),
    }


def load(folder: Path | None, layout: str, device: str) -> IntegerImageGPT:
    """The model in `folder` if it has this layout, else the default one of the layout. Raises ModelError."""
    model = IntegerImageGPT.load(folder, device) if folder else None
    if model and model.config.layout == layout:
        return model
    default = _shipped_model(FOLDER / DEFAULTS[layout], device)
    assert isinstance(default, IntegerImageGPT)
    return default


def of_layout(folder: Path | None, layout: str, device: str) -> IntegerImageGPT:
    """The model in `folder`, or the default one of the layout. Raises ModelError where the folder's has another layout."""
    model = load(folder, layout, device)
    if folder and IntegerImageGPT.load(folder, device).digest != model.digest:
        msg = f"{folder}: this model is not for {layout}"
        raise ModelError(msg)
    return model


@cache
def _shipped_model(folder: Path, device: str) -> "AnyModel":
    """Loaded and checked once in a process; what ships with the package does not change under it."""
    return read(folder, device)


def find(digest: bytes, name: str, folder: Path | None, device: str) -> "AnyModel":
    """The model with this digest: the one in `folder`, if given, a shipped or an added one. Raises ModelError naming the digests."""
    candidates = [read(folder, device)] if folder else []
    if candidates and candidates[0].digest == digest:
        return candidates[0]
    for path in sorted(shipped(), key=lambda path: path.name != name):
        candidates.append(_shipped_model(path, device))
        if candidates[-1].digest == digest:
            return candidates[-1]
    for path in added():
        if path.name.endswith(f"-{digest.hex()}"):
            model = read(path, device)
            if model.digest == digest:
                return model
    have = ", ".join(f"{model.name} ({model.digest.hex()})" for model in candidates)
    advice = "give its folder with --model" if folder is None else "give the folder of the model that it names"
    msg = f"the file needs the model {name} ({digest.hex()}), here is {have}: {advice}, or bring it with `igpt models add`"
    raise ModelError(msg)


def checkpoint_folder(source: str, revision: str | None, download: bool) -> Path:
    """The folder of a published checkpoint, given that or a hub id such as openai/imagegpt-small. Raises ModelError.

    download: whether what is not in the hub's cache may be fetched.
    """
    if Path(source).is_dir():
        return Path(source)
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        msg = f"{source}: there is no such folder"
        raise ModelError(msg)
    try:
        import huggingface_hub as hub
    except ImportError as error:
        msg = f"{source}: there is no such folder; for a model on the hub, `pip install igpt[hub]` first"
        raise ModelError(msg) from error
    from codec.network.published import CLUSTERS_FILE, FILES

    files = ["config.json", CLUSTERS_FILE, *FILES]
    try:
        return Path(hub.snapshot_download(source, revision=revision, allow_patterns=files, local_files_only=not download))
    except (OSError, ValueError) as error:
        advice = "" if download else f": bring it with `igpt models add {source}`"
        reason = str(error).splitlines()[0] if download else "it is not on this machine"
        msg = f"{source}: {reason}{advice}"
        raise ModelError(msg) from error


def chosen(source: str | Path | None, revision: str | None = None) -> Path | None:
    """The folder of the integer model that a user means: a folder of one, or a published checkpoint, which is added if it is not yet.

    Raises ModelError.
    """
    if source is None or (Path(source) / WEIGHTS_FILE).exists():
        return Path(source) if source else None
    return add(str(source), revision, download=False)


def with_palette(source: str, revision: str | None, device: str) -> "PaletteImageGPT":
    """The published ImageGPT that a user means, in integers. Raises ModelError."""
    from codec.network.palette import PaletteImageGPT

    folder = chosen(source, revision)
    if folder is None or layout_of(folder) != "palette":
        msg = f"{source}: this model has no palette"
        raise ModelError(msg)
    return PaletteImageGPT.load(folder, device)


def add(source: str, revision: str | None = None, download: bool = True) -> Path:
    """Converts a published checkpoint, once, and keeps the integer model among the added ones. Returns its folder. Raises ModelError."""
    from codec.network.published import converted, is_published

    folder = checkpoint_folder(source, revision, download)
    if not is_published(folder):
        msg = f"{source}: this is neither an integer model nor a published ImageGPT checkpoint with its image processor"
        raise ModelError(msg)
    made_from = fingerprint(folder)
    for path in added():
        if made_from == _values(path / SOURCE_FILE).get("fingerprint"):
            return path
    name = name_of(Path(source))[:40]
    model = converted(folder, name, "cpu")
    target = stores()[0] / f"{name}-{model.digest.hex()}"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".igpt-", dir=target.parent))
    try:
        model.save(temporary)
        (temporary / SOURCE_FILE).write_text(json.dumps({"fingerprint": made_from, "source": source, "revision": revision}) + "\n")
        temporary.chmod(0o755)
        with contextlib.suppress(OSError):  # made before, from a file that differs in what does not count, or at the same time
            temporary.replace(target)
        if read(target, "cpu").digest != model.digest:
            msg = f"{target} holds another model: remove it"
            raise ModelError(msg)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def fingerprint(folder: Path) -> str:
    """SHA-256 of the files of a checkpoint that its integer form depends on."""
    from codec.network.published import CLUSTERS_FILE, FILES

    digest = hashlib.sha256()
    weights = next(name for name in FILES if (folder / name).exists())
    for name in ("config.json", CLUSTERS_FILE, weights):
        try:
            with (folder / name).open("rb") as stream:
                while block := stream.read(BLOCK):
                    digest.update(block)
        except OSError as error:
            msg = f"{folder}: no usable {name} ({error})"
            raise ModelError(msg) from error
        digest.update(f"\n{name}\n".encode())
    return digest.hexdigest()


def _values(path: Path) -> dict[str, Any]:
    """Of a JSON object; none where there is none."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
