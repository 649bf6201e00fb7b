"""Shared fixtures: a tiny model whose arithmetic is that of the real one, and pictures."""

import hashlib
import io
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec
from bitstream.container import Head, read, written
from bitstream.form import GREY, GREY_ALPHA, RGB, RGB_ALPHA, Form
from codec import models
from codec.methods import stored
from codec.methods.method import Coded, Method, Source
from codec.methods.mixing import Mixing
from codec.methods.network import Network
from codec.methods.past import PastMethod
from codec.mixing import bands as mixing
from codec.network.groups import Turn
from codec.network.layers import Layer
from codec.network.model import IntegerImageGPT
from codec.options import Level, Options
from codec.pasts.chroma import FILTERS, Sampling
from codec.pasts.colour import FORMULAS
from codec.pasts.past import developed
from codec.progress import ignore
from codec.representations import digest_of
from codec.tiling.context import POSITIONS, STRIPS, WINDOW
from codec.tiling.planes import Kind, pixels_to_planes
from codec.tiling.tiles import Known, TileSamples, tiles_from_planes

GOLDEN = Path(__file__).parent / "golden"
TINY = GOLDEN / "tiny"
TINY_YCC = GOLDEN / "tiny-ycc"  # the same for luma and chroma
TINY_DCT = GOLDEN / "tiny-dct"  # random, for coefficients
TINY_OTHER = GOLDEN / "tiny-other"  # as TINY, of other sizes
TINY_YCC_OTHER = GOLDEN / "tiny-ycc-other"
TINY_MODELS = {  # in the place of `codec.models.OF_LEVELS`
    Level.FAST: {"rgb": (TINY.name,), "ycc": (TINY_YCC.name,)},
    Level.DEFAULT: {"rgb": (TINY.name,), "ycc": (TINY_YCC.name,), "dct": (TINY_DCT.name,)},
    Level.BEST: {"rgb": (TINY.name, TINY_OTHER.name), "ycc": (TINY_YCC.name, TINY_YCC_OTHER.name)},
}
DATA = Path(os.environ.get("IGPT_DATA", Path(__file__).parents[2] / "shared" / "data"))
TINY_PALETTE = GOLDEN / "tiny-palette"  # a published checkpoint's integer form
CPU = "cpu"


@pytest.fixture(autouse=True)
def _store(monkeypatch, tmp_path_factory) -> None:
    """Models that a test adds are not the user's."""
    monkeypatch.setenv("IGPT_MODEL_PATH", str(tmp_path_factory.getbasetemp() / "models"))


@pytest.fixture(scope="session")
def tiny() -> IntegerImageGPT:
    """Two layers of width 16, window 40: in arithmetic and layout a full model."""
    return IntegerImageGPT.load(TINY, CPU)


@pytest.fixture(scope="session")
def uncorrected(tiny: IntegerImageGPT) -> IntegerImageGPT:
    """The same, that learns nothing of what it codes."""
    return IntegerImageGPT(replace(tiny.config, learns=False), tiny.arrays, "uncorrected", CPU)


@pytest.fixture(scope="session")
def kodak() -> list[Path]:
    paths = sorted((DATA / "kodak").glob("*.png"))
    if not paths:
        pytest.skip(f"no Kodak pictures in {DATA / 'kodak'}; set IGPT_DATA")
    return paths


@pytest.fixture(scope="session")
def photograph() -> np.ndarray:
    """A real picture that every installation has: (300, 451, 3) uint8."""
    from skimage import data

    return data.chelsea()


def picture(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    """Smooth waves and some noise, (height, width, channels) uint8; made with integers, so the same everywhere."""
    y, x, c = np.mgrid[:height, :width, :channels].astype(np.int64)
    waves = (x * (3 + seed) + y * 2 + c * 20) % 256 + (x * y // (5 + seed)) % 64
    noise = (x * 2654435761 + y * 40503 + c * 97 + seed * 7919) % 1048573 % 9
    return ((waves + noise) % 256).astype(np.uint8)


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """As a photograph is, more or less: slow waves, an edge and a little noise, (height, width, 3) uint8, never clipped."""
    rng = np.random.default_rng(seed)
    y, x, c = np.mgrid[:height, :width, :3]
    waves = 40 * np.sin(x / (9 + c) + seed) + 30 * np.cos(y / (13 - 2 * c)) + 25 * (x + y > 60)
    return (115 + waves + rng.normal(0, 3, (height, width, 3))).clip(1, 254).astype(np.uint8)


def tile_samples(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of a tile's size, (tiles, channels, POSITIONS) uint8."""
    planes = np.stack([pixels_to_planes(pixels) for pixels in pictures])
    return planes.reshape(*planes.shape[:2], POSITIONS)


def random_around(sides: Sequence[int], kind: Kind, seed: int = 0) -> Known:
    """What is known around so many tiles: which sides, see `codec.tiling.context.SIDES`; the rest is noise."""
    rng = np.random.default_rng(seed)
    strips = rng.integers(0, 256, (len(sides), kind.channels, STRIPS)).astype(np.uint8)
    windows = rng.integers(0, 256, (len(sides), 2, WINDOW, WINDOW)).astype(np.uint8) if kind.surrounded else None
    return Known(np.array(sides, np.uint8), strips, windows)


def decoded_jpeg(pixels: np.ndarray, quality: int = 90, subsampling: str = "4:2:0") -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(stream))


def photo_cd(height: int, width: int, seed: int = 0) -> np.ndarray:
    """What a PhotoCD with smooth chroma decodes to, (height, width, 3) uint8."""
    small = smooth(-(-height // 2), -(-width // 2), seed).transpose(2, 0, 1)[:2] // 8 + 130
    luma = smooth(height, width, seed + 1)[..., 0] // 2 + 40
    return developed(FORMULAS[1], luma, Sampling(FILTERS[7]).upsampled(small, height, width))


def form_of(pixels: np.ndarray) -> Form:
    """Of (height, width, 1 to 4) samples of 8 or 16 bits."""
    return Form({1: GREY, 2: GREY_ALPHA, 3: RGB, 4: RGB_ALPHA}[pixels.shape[2]], 8 * pixels.itemsize)


def coded_by(method: Method, pixels: np.ndarray, which: int = 0, **options: object) -> Coded:
    """(height, width, channels) samples as a method codes them, whether or not another one makes them smaller. which: of its candidates;
    options: of `Options`."""
    source = Source(pixels, 8 * pixels.itemsize, Options(**{"device": CPU} | options))
    return method.offer(source, ignore)[which].coded(ignore)


def whole(layer: Layer) -> tuple[Turn, TileSamples]:
    """All tiles of a layer in one turn, and their samples."""
    of = layer.grid.whole
    return layer.around.turn(layer.kind, layer.grid, of, layer.planes), tiles_from_planes(layer.planes, of)


def file_of(pixels: np.ndarray, *parts: Coded) -> bytes:
    """An igpt file of (height, width, channels) samples, which are coded so; two parts: colour, and alpha apart."""
    height, width, _ = pixels.shape
    head = Head(width, height, form_of(pixels), digest_of(pixels), len(parts) > 1)
    return written(head, {}, [part.coding for part in parts], [chunk for part in parts for chunk in part.chunks])


def with_network(pixels: np.ndarray, folder: Path = TINY) -> bytes:
    """A file of (height, width, 1 or 3) pixels, or 2 or 4 with alpha apart, that a network codes, whether or not that is smaller."""
    layers = np.split(pixels, [-1], 2) if pixels.shape[2] in (2, 4) else [pixels]
    return file_of(pixels, *(coded_by(Network(), np.ascontiguousarray(layer), model=folder) for layer in layers))


def with_past(pixels: np.ndarray, folder: Path = TINY_YCC) -> bytes:
    """A file that holds the pixels' past, whether or not that is smaller."""
    return file_of(pixels, coded_by(PastMethod(), pixels, model=folder))


def remade(data: bytes, *, boxes: dict | None = None, codings: list | None = None, chunks: list | None = None, **head: object) -> bytes:
    """A file with other parts, its checksums right. boxes: some by their types, None for those that are to go; head: fields of its head."""
    front, old = read(data)
    kept = {kind: body for kind, body in {**front.boxes, **(boxes or {})}.items() if body is not None}
    return written(front.head._replace(**head), kept, front.codings if codings is None else codings, old if chunks is None else chunks)


@pytest.fixture
def only_tiny_models(monkeypatch):
    """Makes the tiny models the default ones, for small pictures too."""
    monkeypatch.setattr(mixing, "SMALL", 0)
    monkeypatch.setattr(models, "FOLDER", GOLDEN)
    monkeypatch.setattr(models, "OF_LEVELS", TINY_MODELS)


@pytest.fixture
def nothing_stored(monkeypatch):
    """Samples are never stored, so that the tiny models, which learnt nothing, code what they are given."""
    monkeypatch.setattr(stored.StoredCandidate, "estimate", lambda _: math.inf)


@pytest.fixture
def nothing_mixed(monkeypatch):
    """Samples of 8 bits are never mixed, however few or alike they are."""
    monkeypatch.setattr(Mixing, "offer", lambda *_: [])


@pytest.fixture(scope="session")
def shipped_checkpoint() -> Path:
    """The float checkpoint that the default model was made from."""
    return Path(__file__).parents[1] / "checkpoints" / models.default("rgb").name


def assert_roundtrip(pixels: np.ndarray, model: Path | None = TINY, **options: object) -> bytes:
    """Compresses and decompresses (height, width, channels) samples, checks what must hold for every file, and returns the file."""
    options |= {"model": model, "device": CPU}
    data = codec.compress(pixels, **options)
    assert data == codec.compress(pixels, **options)
    back = codec.decode(data, model=model, device=CPU)
    assert back.dtype == pixels.dtype
    assert back.shape == (pixels.shape if pixels.shape[2] > 1 else pixels.shape[:2])
    assert (back.reshape(pixels.shape) == pixels).all()
    if pixels.dtype == np.uint8:
        image = codec.decompress(data, model=model, device=CPU)
        assert image.mode == {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[2]]
        assert image.tobytes() == pixels.tobytes()
    info = codec.info(data)
    assert (info.height, info.width, info.channels, info.bit_depth) == (*pixels.shape, 8 * pixels.itemsize)
    assert info.digest == hashlib.sha256(back.astype(back.dtype.newbyteorder("<")).tobytes()).hexdigest()[:16]
    return data
