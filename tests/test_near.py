"""Near-lossless: the bound holds for every sample, everything else stays as it is, and the file says what was done."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, PngImagePlugin

import codec
from bitstream.errors import IgptError, VerificationError
from bitstream.form import GREY, PALETTE, RGB, Form
from codec.pictures import near
from codec.pictures.marks import MAX_ERROR
from codec.pictures.picture import Picture
from codec.pictures.sources import picture_of_array
from tests.test_cli import igpt

WAVES = (np.add.outer(np.arange(40) * 3, np.arange(50) * 2)[..., None] + np.array([0, 9, 40])).astype(np.uint8)


def farthest(found, picture):
    return int(np.abs(found.astype(int) - picture).max())


@given(arrays.arrays(np.uint8, (7, 9, 3)), st.integers(1, 16))
@settings(deadline=None)
def test_every_sample_is_within_the_bound(samples, bound):
    found = near.near(picture_of_array(samples), bound)
    near.require_within(found, picture_of_array(samples), bound)
    assert farthest(found.pixels, samples) <= bound
    assert near.max_error(found.chunks) in (0, bound)


@given(arrays.arrays(np.uint16, (7, 9)), st.integers(1, 4096))
@settings(deadline=None)
def test_of_16_bits_too(samples, bound):
    assert farthest(near.near(picture_of_array(samples), bound).pixels[..., 0], samples) <= bound


@pytest.mark.parametrize("bound", [1, 2, 4, 16])
def test_of_all_values_no_more_than_one_in_an_interval_is_left(bound):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = near.near(picture_of_array(ramp), bound).pixels
    assert len(np.unique(found)) == -(-256 // (2 * bound + 1))


def test_few_values_far_apart_stay_as_they_are():
    samples = np.array([[0, 50, 51, 90]], np.uint8)
    assert near.near(picture_of_array(samples), 1).pixels.tolist() == [[[0], [50], [50], [90]]]
    apart = picture_of_array(np.array([[0, 50, 90]], np.uint8))
    assert near.near(apart, 1) is apart


def test_alpha_is_not_touched():
    rgba = np.random.default_rng(0).integers(0, 256, (30, 20, 4)).astype(np.uint8)
    found = near.near(picture_of_array(rgba), 2).pixels
    assert np.array_equal(found[..., 3], rgba[..., 3])
    assert 0 < farthest(found, rgba) <= 2


@pytest.mark.parametrize(
    "picture",
    [
        Picture(WAVES[..., :1] % 4, Form(PALETTE, 8), ((b"PLTE", bytes(12)),)),
        Picture(WAVES[..., :1] % 4, Form(GREY, 2)),
        Picture(WAVES, Form(RGB, 8), ((b"tRNS", bytes(6)),)),
    ],
)
def test_what_is_no_brightness_is_not_touched(picture):
    assert near.near(picture, 3) is picture


@pytest.mark.parametrize("shape", [(4, 3), (9000, 3000), (40, 3000), (32, 300_000), (3000, 40)])
def test_what_is_looked_at_lies_all_over_and_is_not_too_much(shape):
    rows = np.broadcast_to(np.arange(shape[0])[:, None], shape)
    bands = near._spread(rows)
    assert sum(band.size for band in bands) <= 2 * near.LOOKED_AT + 32 * min(shape[1], near.LOOKED_AT)
    assert min(len(band) for band in bands[:-1] or bands) >= 2
    seen = np.unique(np.concatenate([band[:, 0] for band in bands]) * 8 // shape[0])
    assert len(seen) == min(8, shape[0]) or shape[1] > 100_000


def test_a_second_time_adds_up():
    once = near.near(picture_of_array(WAVES), 1)
    twice = near.near(once, 2)
    assert near.max_error(once.chunks) == 1
    assert near.max_error(twice.chunks) == 3
    assert len(twice.chunks) == 1


def test_what_others_wrote_there_is_bounded():
    hostile = Picture(WAVES, Form(RGB, 8), ((b"tEXt", MAX_ERROR + b"\x0099999"),) * 3)
    assert near.max_error(hostile.chunks) == near.max_error(near.near(hostile, 1).chunks) == 65535


def test_the_mark_stands_before_the_pixels():
    found = near.near(Picture(WAVES, Form(RGB, 8), ((b"IDAT", b""), (b"tEXt", b"a\0b"))), 1)
    assert [name for name, _ in found.chunks] == [b"tEXt", b"IDAT", b"tEXt"]


@pytest.mark.parametrize("bound", [-1, 4097])
def test_a_bound_that_is_none(bound):
    with pytest.raises(IgptError, match="a number from 0 to 4,096"):
        codec.compress(WAVES, max_error=bound)


def test_of_8_bits_the_bound_is_smaller():
    with pytest.raises(IgptError, match="of 8 bits a largest error is at most 16, not 17"):
        codec.compress(WAVES, max_error=17)


def test_a_broken_bound_is_never_written(monkeypatch):
    monkeypatch.setattr("codec.pictures.near._middles", lambda levels, counts: np.arange(256) // 16 * 16 + 8)
    with pytest.raises(VerificationError, match="differ by more than 1"):
        codec.compress(WAVES + np.random.default_rng(0).integers(0, 9, WAVES.shape).astype(np.uint8), max_error=1)


def noisy(shape=(64, 64, 3)):
    rng = np.random.default_rng(1)
    return (100 + rng.normal(0, 9, shape).cumsum(0) / 4).clip(0, 255).astype(np.uint8)


def test_files_say_so_and_are_smaller():
    picture = noisy()
    lossless, lossy = codec.compress(picture), codec.compress(picture, max_error=1, verify=True)
    assert len(lossy) < 0.8 * len(lossless)
    assert (codec.info(lossless).max_error, codec.info(lossy).max_error) == (0, 1)
    assert farthest(codec.decode(lossy), picture) == 1
    assert codec.decompress(lossy).info["igpt max error"] == "1"
    assert codec.compress(picture, max_error=1) == lossy


def test_16_bits_are_smaller():
    deep = noisy((64, 64)).astype(np.uint16) * 200 + np.random.default_rng(2).integers(0, 200, (64, 64)).astype(np.uint16)
    lossy = codec.compress(deep, max_error=64)
    assert farthest(codec.decode(lossy), deep) <= 64
    assert len(lossy) < 0.6 * len(codec.compress(deep))


def test_what_is_smaller_without_loss_is_kept_without():
    flat = np.zeros((64, 64, 3), np.uint8)
    flat[::2] = 200, 201, 202
    assert codec.info(codec.compress(flat, max_error=2)).max_error == 0


def test_jpeg_files_are_kept():
    stream = io.BytesIO()
    Image.fromarray(noisy()).save(stream, "JPEG")
    assert codec.jpeg_file(codec.compress(stream.getvalue(), max_error=2)) == stream.getvalue()


def test_the_command_says_so(tmp_path):
    photo = tmp_path / "a.png"
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "waves")
    Image.fromarray(noisy()).save(photo, pnginfo=text)
    done = igpt("compress", photo, "--max-error", "1")
    assert done.exit_code == 0
    assert "lossy: no sample differs by more than 1" in done.stdout + done.stderr
    told = json.loads(igpt("info", "--json", tmp_path / "a.igpt").stdout)
    assert told["max_error"] == 1
    assert igpt("decompress", tmp_path / "a.igpt", tmp_path / "b.png").exit_code == 0
    with Image.open(tmp_path / "b.png") as back:
        assert back.text == {"Title": "waves", "igpt max error": "1"}
        assert farthest(np.asarray(back), noisy()) == 1


def test_a_picture_that_is_to_be_deleted_is_not_changed(tmp_path):
    photo = tmp_path / "a.png"
    Image.fromarray(noisy()).save(photo)
    done = igpt("compress", photo, "--max-error", "1", "--delete-input")
    assert done.exit_code == 2
    assert photo.exists()
    assert not (tmp_path / "a.igpt").exists()
