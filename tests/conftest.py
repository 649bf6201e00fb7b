"""Shared fixtures: a tiny model whose arithmetic is that of the real one, and pictures."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec
from codec import models
from codec.mixing import bands as mixing
from codec.models import DEFAULTS
from codec.network.layers import Coded, layers_of
from codec.network.model import IntegerImageGPT
from codec.pasts.chroma import FILTERS, Sampling
from codec.pasts.colour import FORMULAS
from codec.pasts.past import developed, recognised

GOLDEN = Path(__file__).parent / "golden"
TINY = GOLDEN / "tiny"
TINY_YCC = GOLDEN / "tiny-ycc"  # the same for luma and chroma
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


def decoded_jpeg(pixels: np.ndarray, quality: int = 90, subsampling: str = "4:2:0") -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(stream))


def photo_cd(height: int, width: int, seed: int = 0) -> np.ndarray:
    """What a PhotoCD with smooth chroma decodes to, (height, width, 3) uint8."""
    small = smooth(-(-height // 2), -(-width // 2), seed).transpose(2, 0, 1)[:2] // 8 + 130
    luma = smooth(height, width, seed + 1)[..., 0] // 2 + 40
    return developed(FORMULAS[1], luma, Sampling(FILTERS[7]).upsampled(small, height, width))


def with_past(pixels: np.ndarray, folder: Path = TINY_YCC) -> bytes:
    """A file that holds the pixels' past, whether or not that is smaller."""
    network, past = IntegerImageGPT.load(folder, CPU), recognised(pixels)
    assert past is not None
    return codec.packed(pixels, Coded(network, past, layers_of(pixels, past)), lambda _: None)


@pytest.fixture
def only_tiny_models(monkeypatch):
    """Makes the tiny models the default ones, for small pictures too."""
    monkeypatch.setattr(mixing, "SMALL", 0)
    monkeypatch.setattr(models, "FOLDER", GOLDEN)
    monkeypatch.setattr(models, "DEFAULTS", {"rgb": TINY.name, "ycc": TINY_YCC.name})


@pytest.fixture(scope="session")
def shipped_checkpoint() -> Path:
    """The float checkpoint that the default model was made from."""
    return Path(__file__).parents[1] / "checkpoints" / DEFAULTS["rgb"]


def assert_roundtrip(pixels: np.ndarray, model: Path | None = TINY) -> bytes:
    """Compresses and decompresses (height, width, channels) uint8 pixels, checks what must hold for every file, and returns the file."""
    data = codec.compress_pixels(pixels, model=model, device="cpu")
    assert data == codec.compress_pixels(pixels, model=model, device="cpu")
    back = codec.decompress_pixels(data, model=model, device="cpu")
    assert back.dtype == np.uint8
    assert back.shape == pixels.shape
    assert (back == pixels).all()
    image = codec.decompress(data, model=model, device="cpu")
    assert image.mode == ("L" if pixels.shape[-1] == 1 else "RGB")
    assert image.tobytes() == pixels.tobytes()
    header = codec.info(data)
    assert (header["height"], header["width"], header["channels"]) == pixels.shape
    return data
