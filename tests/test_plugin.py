"""igpt as a format of Pillow."""

import io
import time

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import codec
from tests.conftest import TINY, smooth
from tests.test_envelope import assert_same_image, deep, deep_png, with_mode


@pytest.fixture(autouse=True)
def registered():
    codec.register_igpt_opener()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_save_and_open(mode, tmp_path):
    image = Image.fromarray(deep(20, 30, 1)[..., 0]) if mode == "I;16" else with_mode(mode)
    image.save(tmp_path / "x.igpt", device="cpu")
    with Image.open(tmp_path / "x.igpt") as found:
        assert (found.format, found.mode, found.size) == ("IGPT", mode, image.size)
        found.load()
        assert_same_image(found, image)
        assert found.convert("RGBA").size == image.size


def test_metadata_come_with_the_pixels(tmp_path):
    image = Image.fromarray(smooth(20, 20))
    image.info["dpi"] = (100, 100)
    stream = io.BytesIO()
    image.save(stream, "IGPT", model=TINY, device="cpu")
    codec.info(stream.getvalue())
    stream.seek(0)
    with pytest.raises(OSError, match="needs the model"):
        Image.open(stream).load()
    stream = io.BytesIO()
    image.save(stream, "IGPT")
    found = Image.open(stream)
    found.load()
    assert found.info["dpi"] == pytest.approx((100, 100), abs=0.1)
    assert found.getpixel((3, 3)) == image.getpixel((3, 3))


def test_bombs_are_seen_before_anything_is_decoded(monkeypatch):
    data = codec.compress(Image.fromarray(smooth(40, 40)), model=TINY, device="cpu")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))


def test_damage_is_what_pillow_says():
    data = codec.compress(with_mode("LA"), device="cpu")
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(data[:20]))
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(b"hello"))
    half = Image.open(io.BytesIO(data[:-20]))
    with pytest.raises(OSError, match=r"truncated|damaged"):
        half.load()
    wrong = Image.open(io.BytesIO(data[:-20] + bytes(20)))
    with pytest.raises(OSError, match="damaged"):
        np.asarray(wrong)


def test_what_pillow_has_no_mode_for_is_no_image():
    import codec.image

    picture = codec.image.open_picture(io.BytesIO(deep_png(deep(9, 9, 3))), 100)
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(codec.compress_picture(picture)))


def test_what_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(OSError, match="CMYK"):
        Image.new("CMYK", (3, 3)).save(tmp_path / "x.igpt")
    assert not (tmp_path / "x.igpt").exists()


@pytest.mark.parametrize("payload", [b"", bytes(120), b"\xff" * 120])
def test_large_promises_end_soon(payload):
    """A quarter of a million pixels in a group, and hardly any code."""
    from bitstream.container import write_file
    from bitstream.header import Header
    from codec import models

    network = models.load(None, "rgb", "cpu")
    head = Header(512, 512, 3, 8, 0, bytes(16), 32, 256, network.digest, network.name)
    image = Image.open(io.BytesIO(write_file(head, [payload])))
    start = time.process_time()
    with pytest.raises(OSError, match="damaged"):
        image.load()
    assert time.process_time() - start < 2
