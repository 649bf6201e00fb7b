"""Models: those that ship with the package, those that were added on this machine, and finding the one that a file or a user names."""

import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitstream.constants import MAX_MODEL_NAME_BYTES, MODEL_DIGEST_BYTES
from bitstream.errors import ModelError
from codec.extras import require_torch
from codec.jpeg.network import LAYOUT, CoefficientNetwork
from codec.network.config import json_object, name_of
from codec.network.ensemble import Ensemble, Networks
from codec.network.model import WEIGHTS_FILE, IntegerImageGPT
from codec.options import Level
from codec.progress import Progress, ignore

if TYPE_CHECKING:
    from codec.palette.network import PaletteImageGPT

    AnyModel = IntegerImageGPT | PaletteImageGPT | CoefficientNetwork

FOLDER = Path(__file__).parent
# By layout; several code together. Level fast has none for coefficients, level best has the default one.
OF_LEVELS: dict[Level, dict[str, tuple[str, ...]]] = {
    Level.FAST: {"rgb": ("photo-fast-1",), "ycc": ("past-fast-1",)},
    Level.DEFAULT: {"rgb": ("photo-3",), "ycc": ("past-3",), LAYOUT: ("dct-1",)},
    Level.BEST: {"rgb": ("photo-3", "photo-best-1", "photo-best-2"), "ycc": ("past-3", "past-best-1")},
}
SOURCE_FILE = "source.json"  # what an added model was made from
CARD_FILE = "card.json"  # what the model card says, for programs: digest; licence; bpsp, by kind
CARDS = (CARD_FILE, "MODEL_CARD.md")
KEPT_FILES = {"config.json", WEIGHTS_FILE, SOURCE_FILE, *CARDS}  # of an added model
MOST_LOADED, MOST_BYTES = 8, 1 << 32  # models that a process keeps
LONGEST_NAME = MAX_MODEL_NAME_BYTES - 2 * MODEL_DIGEST_BYTES - 1  # before the digest, in a folder's name
SHORTEST_DIGEST = 6  # hexadecimal digits that may stand for a digest
BLOCK = 1 << 20

logger = logging.getLogger("igpt")
_lock = threading.Lock()
_Stamp = tuple[tuple[int, ...], ...]
_loaded: "dict[tuple[Path, str], tuple[_Stamp, AnyModel]]" = {}  # by folder and device; the last used at the end
_digests: dict[Path, tuple[_Stamp, bytes]] = {}
_fingerprints: dict[Path, tuple[_Stamp, str]] = {}  # of published checkpoints


def shipped() -> list[Path]:
    """The folders of all models in the package."""
    return sorted(path.parent for path in FOLDER.glob("*/config.json"))


def shipped_name(digest: bytes) -> str:
    """Of the model in the package that has this digest, as its card says; empty where there is none. No model is read."""
    names = (folder.name for folder in shipped() if _values(folder / CARD_FILE).get("digest") == digest.hex())
    return next(names, "")


def stores() -> list[Path]:
    """Folders of added models: those of IGPT_MODEL_PATH, or one of the user's, who may have none. The first one takes new models."""
    if named := os.environ.get("IGPT_MODEL_PATH"):
        paths = [os.path.expanduser(part) for part in named.split(os.pathsep) if part]
    else:
        import platformdirs

        try:
            paths = [os.path.join(platformdirs.user_data_dir("igpt"), "models")]
        except RuntimeError:  # nobody is at home; others give the path as it is, with a ~
            paths = []
    return [Path(path) for path in paths if not path.startswith("~")]


def added() -> list[Path]:
    """The folders of the models that were added. The logger names those that cannot be read."""
    return [folder for store in stores() for folder in _in(store)]


def _in(store: Path) -> list[Path]:
    found = []
    try:
        paths = sorted(path for path in store.iterdir() if not path.name.startswith("."))
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            logger.warning("%s: no models can be looked for here: %s", store, error.strerror)
        return []
    for path in paths:
        try:
            (path / "config.json").stat()
        except (FileNotFoundError, NotADirectoryError):  # something else
            continue
        except OSError as error:
            logger.warning("%s: this model is left alone: %s", path, error.strerror)
        else:
            found.append(path)
    return found


def layout_of(folder: Path) -> str:
    """Raises ModelError."""
    return str(json_object(folder / "config.json").get("layout", "rgb"))


def read(folder: Path, device: str) -> "AnyModel":
    """The integer model in a folder, of whichever layout; once in a process, unless its files change. Raises ModelError."""
    key, stamp = (Path(os.path.realpath(folder)), device), _stamp(folder)
    with _lock:
        if (found := _loaded.pop(key, None)) and found[0] == stamp:
            _loaded[key] = found
            return found[1]
        if layout_of(folder) == "palette":
            require_torch(f"{folder}: a published ImageGPT")
            from codec.palette.network import PaletteImageGPT

            model: AnyModel = PaletteImageGPT.load(folder, device)
        elif layout_of(folder) == LAYOUT:
            model = CoefficientNetwork.load(folder, name_of(folder))
        else:
            model = IntegerImageGPT.load(folder, device)
        model.name = model.name.removesuffix(f"-{model.digest.hex()}")
        if stamp:
            _loaded[key], _digests[key[0]] = (stamp, model), (stamp, model.digest)
        while len(_loaded) > MOST_LOADED or (len(_loaded) > 1 and sum(kept.nbytes for _, kept in _loaded.values()) > MOST_BYTES):
            del _loaded[next(iter(_loaded))]
    return model


def _stamp(folder: Path, *names: str) -> _Stamp:
    """Changes with files in a folder, those of an integer model if none are named; empty where that is not known."""
    try:
        states = [(folder / name).stat() for name in names or ("config.json", WEIGHTS_FILE)]
    except OSError:
        return ()
    return tuple((state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for state in states)


def digest_of(folder: Path, device: str = "cpu") -> bytes:
    """Of the model in a folder, which is read for it at most once, and to that device. Raises ModelError."""
    stamp, digest = _digests.get(Path(os.path.realpath(folder)), ((), b""))
    return digest if stamp and stamp == _stamp(folder) else read(folder, device).digest


def _usable(folders: Iterable[Path], device: str = "cpu") -> Iterator[tuple[Path, bytes]]:
    """With their digests; those that hold no usable model are named to the logger."""
    for folder in folders:
        try:
            digest = digest_of(folder, device)
        except (ModelError, OSError) as error:
            logger.warning("this model is left alone: %s", error)
        else:
            yield folder, digest


def described(folder: Path) -> dict[str, Any]:
    """What a list of models says of one, as plain values; licence and bpsp are those of its card, where it has one. Raises ModelError."""
    model = read(folder, "cpu")
    card = _values(folder / CARD_FILE)
    licence, bpsp = card.get("licence"), card.get("bpsp")
    measured = bpsp.items() if isinstance(bpsp, dict) else ()
    return {
        "name": model.name,
        "digest": model.digest.hex(),
        "layout": model.config.layout,
        "bytes": model.nbytes,
        "licence": licence if isinstance(licence, str) else None,
        "bpsp": {kind: value for kind, value in measured if isinstance(value, float)},
        "folder": str(folder),
    }


def default(layout: str) -> Path:
    """The folder of the default model of a layout."""
    (name,) = OF_LEVELS[Level.DEFAULT][layout]
    return FOLDER / name


def load(folder: Path | None, layout: str, device: str) -> IntegerImageGPT:
    """The model in `folder` if it has this layout, else the default one of the layout. Raises ModelError."""
    model = read(folder, device) if folder else None
    if isinstance(model, IntegerImageGPT) and model.config.layout == layout:
        return model
    return _network(default(layout), device)


def _network(folder: Path, device: str) -> IntegerImageGPT:
    model = read(folder, device)
    assert isinstance(model, IntegerImageGPT)
    return model


def tried(folder: Path | None, layout: str, device: str, level: str) -> list[Networks]:
    """What may code a layout at a level: the model in `folder` if it has this layout; else those of the level, and where these are several
    that code together, the default one too. Raises ModelError."""
    if folder and layout_of(folder) == layout:
        return [_network(folder, device)]
    members = tuple(_network(FOLDER / name, device) for name in OF_LEVELS[Level(level)][layout])
    return [*members] if len(members) == 1 else [Ensemble(members), load(None, layout, device)]


def level_of(digests: Iterable[bytes]) -> str:
    """At which files are made that name these models; empty where nobody can tell."""
    names = {shipped_name(digest) for digest in digests}
    return next((str(level) for level in reversed(Level) if any(names >= {*of} for of in OF_LEVELS[level].values())), "")


def of_layout(folder: Path | None, layout: str, device: str) -> IntegerImageGPT:
    """The model in `folder`, or the default one of the layout. Raises ModelError where the folder's has another layout."""
    model = load(folder, layout, device)
    if folder and digest_of(folder) != model.digest:
        msg = f"{folder}: this model is not for {layout}"
        raise ModelError(msg)
    return model


def for_coefficients(folder: Path | None = None) -> CoefficientNetwork:
    """The model in `folder` if it is for coefficients, else the default one. Raises ModelError."""
    model = read(folder, "cpu") if folder and layout_of(folder) == LAYOUT else read(default(LAYOUT), "cpu")
    assert isinstance(model, CoefficientNetwork)
    return model


def find(digest: bytes, name: str, folder: Path | None, device: str) -> "AnyModel":
    """The model with this digest: the one in `folder`, if given, a shipped or an added one. Raises ModelError naming the digests."""
    return read(place_of(digest, name, folder, device), device)


def place_of(digest: bytes, name: str, folder: Path | None, device: str) -> Path:
    """Its folder. Raises as `find`."""
    have = {digest_of(folder, device): name_of(folder)} if folder else {}
    if folder and digest in have:
        return folder
    for path, found in _usable(_likeliest_first(digest, name), device):
        if found == digest:
            return path
        have.setdefault(found, _short(path))
    listed = ", ".join(f"{name} ({digest.hex()})" for digest, name in have.items()) or "none"
    needed = f"{name} ({digest.hex()})" if name else digest.hex()
    how = f"where the file was made, `igpt models export {name or digest.hex()}` writes it, `igpt models add` keeps it here"
    msg = f"the file needs the model {needed}, here is {listed}: {how}; or give its folder with --model"
    raise ModelError(msg)


def _likeliest_first(digest: bytes, name: str) -> Iterator[Path]:
    """All shipped and added models: those that are called so, those whose folder is called after the digest, and the others."""
    ours, name = shipped(), shipped_name(digest) or name
    yield from (path for path in ours if path.name == name)
    theirs = added()
    yield from (path for path in theirs if path.name.endswith(f"-{digest.hex()}"))
    yield from (*ours, *theirs)


def _short(folder: Path) -> str:
    """The name of a model in this folder, without the digest that may follow it."""
    return re.sub(f"-[0-9a-f]{{{2 * MODEL_DIGEST_BYTES}}}$", "", name_of(folder))


def named(text: str, folders: Iterable[Path]) -> Path | None:
    """The one of these folders with a model of this name, or whose digest begins so; None where there is none. Raises ModelError where
    there are several."""
    folders = list(folders)
    found = {digest: path for path, digest in _usable(path for path in folders if text in (path.name, _short(path)))}
    if not found and re.fullmatch(f"[0-9a-f]{{{SHORTEST_DIGEST},{2 * MODEL_DIGEST_BYTES}}}", text):
        found = {digest: path for path, digest in _usable(folders) if digest.hex().startswith(text)}
    if len(found) > 1:
        msg = f"{text} may be any of {', '.join(f'{_short(path)} ({digest.hex()})' for digest, path in found.items())}: give the digest"
        raise ModelError(msg)
    return next(iter(found.values()), None)


def checkpoint_folder(source: str, revision: str | None, download: bool) -> Path:
    """The folder of a published checkpoint, given that or a hub id such as openai/imagegpt-small. Raises ModelError.

    download: whether what is not in the hub's cache may be fetched.
    """
    if Path(source).is_dir():
        return Path(source)
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        msg = f"{source}: there is no such folder or file, nor a model of this name"
        raise ModelError(msg)
    try:
        import huggingface_hub as hub
    except ImportError as error:
        msg = f"{source}: there is no such folder; for a model on the hub, `pip install igpt[hub]` first"
        raise ModelError(msg) from error
    from codec.palette.published import CLUSTERS_FILE, FILES

    files = ["config.json", CLUSTERS_FILE, *FILES]
    try:
        return Path(hub.snapshot_download(source, revision=revision, allow_patterns=files, local_files_only=not download))
    except (OSError, ValueError) as error:
        advice = "" if download else f": bring it with `igpt models add {source}`"
        reason = str(error).splitlines()[0] if download else "it is not on this machine"
        msg = f"{source}: {reason}{advice}"
        raise ModelError(msg) from error


def chosen(source: str | Path | None, revision: str | None = None) -> Path | None:
    """The folder of the integer model that a user means: a folder of one, the name or digest of one that is here, or a published
    checkpoint, which is added if it is not yet.

    Raises ModelError.
    """
    if source is None:
        here = None
    elif Path(source).is_dir():
        here = Path(source) if (Path(source) / WEIGHTS_FILE).exists() else None
    else:
        here = named(str(source), (*shipped(), *added()))
    if revision and (here or source is None or Path(source).is_dir()):
        msg = f"the revision {revision} is of no model on the hub: name one, or leave it out"
        raise ModelError(msg)
    return here if here or source is None else add(str(source), revision, download=False)


def with_palette(source: str, revision: str | None, device: str) -> "PaletteImageGPT":
    """The published ImageGPT that a user means, in integers. Raises ModelError."""
    require_torch("a published ImageGPT")
    from codec.palette.network import PaletteImageGPT

    folder = chosen(source, revision)
    model = read(folder, device) if folder else None
    if not isinstance(model, PaletteImageGPT):
        msg = f"{source}: this model has no palette"
        raise ModelError(msg)
    return model


def add(source: str, revision: str | None = None, download: bool = True, progress: Progress = ignore) -> Path:
    """Keeps an integer model, of a folder or a file, among the added ones, or what a published checkpoint becomes when it is converted,
    once. Returns its folder.

    progress: called with so many per cent of the conversion as were just done. Raises ModelError, OSError.
    """
    if (Path(source) / WEIGHTS_FILE).exists():
        return _added(Path(source), source)
    if Path(source).is_file():
        from codec.models.one_file import unpacked

        with unpacked(Path(source)) as folder:
            return _added(folder, source)
    from codec.palette.published import is_published

    folder = checkpoint_folder(source, revision, download)
    if not is_published(folder):
        msg = f"{source}: this is neither an integer model nor a published ImageGPT checkpoint with its image processor"
        raise ModelError(msg)
    made_from = fingerprint(folder)
    for path in added():
        if made_from == _values(path / SOURCE_FILE).get("fingerprint"):
            return path
    require_torch(f"{source}: converting a published ImageGPT")
    from codec.palette.conversion import converted

    model = converted(folder, name_of(Path(source)), "cpu", progress)
    return _kept(model, [], {"fingerprint": made_from, "source": source, "revision": revision})


def _added(folder: Path, source: str) -> Path:
    """Where the integer model of a folder is among the models that are here. source: where it came from. Raises ModelError."""
    model = read(folder, "cpu")
    here = next((path for path, digest in _usable((*shipped(), *added())) if digest == model.digest), None)
    return here or _kept(model, [folder / name for name in CARDS], {"source": source})


def _kept(model: "AnyModel", cards: list[Path], made_from: dict[str, Any]) -> Path:
    """The folder of a model that is now among the added ones. cards: files that go with it, where they exist. Raises ModelError."""
    if not stores():
        msg = "there is no place for models, as there is no home folder: set IGPT_MODEL_PATH to a folder"
        raise ModelError(msg)
    target = stores()[0] / f"{model.name[:LONGEST_NAME]}-{model.digest.hex()}"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".igpt-", dir=target.parent))
    try:
        model.save(temporary)
        for card in cards:
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(card, temporary / card.name)
        (temporary / SOURCE_FILE).write_text(json.dumps(made_from) + "\n")
        temporary.chmod(0o755)
        with contextlib.suppress(OSError):  # made before, from a file that differs in what does not count, or at the same time
            temporary.replace(target)
        if digest_of(target) != model.digest:
            msg = f"{target} holds another model: remove it"
            raise ModelError(msg)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def remove(text: str) -> Path:
    """Removes the added model of this name, digest or folder; returns its folder. Raises ModelError for others, and where its folder holds
    what is not of a model."""
    ours = (path for path in added() if text == path.name or os.path.realpath(path) == os.path.realpath(text))
    folder = next(ours, None) or named(text, added())
    if folder is None:
        what = "this model came with igpt, and stays" if named(text, shipped()) else "no added model is called so; `igpt models` lists them"
        msg = f"{text}: {what}"
        raise ModelError(msg)
    if folder.is_symlink():
        folder.unlink()
        return folder
    if others := sorted(path.name for path in folder.iterdir() if path.name not in KEPT_FILES):
        msg = f"{folder} holds other files, too, such as {others[0]}: remove it yourself"
        raise ModelError(msg)
    going = folder.with_name(f".igpt-{secrets.token_hex(8)}")  # at once out of sight
    folder.rename(going)
    shutil.rmtree(going)
    return folder


def fingerprint(folder: Path) -> str:
    """SHA-256 of the files of a checkpoint that its integer form depends on; read once in a process, unless they change."""
    from codec.palette.published import CLUSTERS_FILE, FILES

    names = ("config.json", CLUSTERS_FILE, next(name for name in FILES if (folder / name).exists()))
    key, stamp = Path(os.path.realpath(folder)), _stamp(folder, *names)
    known = _fingerprints.get(key)
    if not known or not stamp or known[0] != stamp:
        known = _fingerprints[key] = stamp, _fingerprint(folder, names)
    return known[1]


def _fingerprint(folder: Path, names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
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
        return json_object(path)
    except ModelError:
        return {}
