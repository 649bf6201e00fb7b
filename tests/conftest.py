"""Shared fixtures: a tiny model whose arithmetic is that of the real one, and pictures."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import codec
from codec.models import DEFAULT
from codec.network.integer import IntegerImageGPT

GOLDEN = Path(__file__).parent / "golden"
TINY = GOLDEN / "tiny"
DATA = Path(os.environ.get("IGPT_DATA", Path(__file__).parents[2] / "shared" / "data"))
CPU = torch.device("cpu")


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


@pytest.fixture(scope="session")
def shipped_checkpoint() -> Path:
    """The float checkpoint that the default model was made from."""
    return Path(__file__).parents[1] / "checkpoints" / DEFAULT


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
