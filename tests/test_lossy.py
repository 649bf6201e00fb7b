"""Lossy pictures: near to what they were, in few bytes, read by any decoder; everything else stays, and the file says what was done."""

import io
import json

import numpy as np
import pytest
from PIL import Image

import codec
from bitstream.errors import IgptError
from bitstream.form import GREY, PALETTE, Form
from codec.inside.choosing import chosen, steps_of
from codec.lossy import forms
from codec.options import Lossy, Options
from codec.pictures.marks import lossy
from codec.pictures.near import max_error, near
from codec.pictures.picture import Picture
from codec.pictures.sources import picture_of_array
from codec.threads import use_threads
from tests.conftest import smooth
from tests.test_cli import igpt

MOST_WRONG = {Lossy.LOW: 10, Lossy.MEDIUM: 8, Lossy.HIGH: 6.5}  # root of the mean square


def photo(height=96, width=120, seed=0):
    noise = np.random.default_rng(seed).normal(0, 4, (height, width, 3))
    return (smooth(height, width, seed) + noise).clip(0, 255).astype(np.uint8)


def wrong(found, pixels):
    return float(np.sqrt(np.square(found.astype(float) - pixels).mean()))


@pytest.mark.parametrize("how", Lossy)
def test_what_comes_back_is_near(how):
    pixels = photo()
    data = codec.compress(pixels, lossy=how, verify=True)
    assert 0 < wrong(codec.decode(data), pixels) < MOST_WRONG[how]
    assert len(data) < 0.5 * len(codec.compress(pixels))
    assert codec.info(data).lossy == how
    assert codec.info(data).coding.startswith("decoded JPEG")
    assert codec.compress(pixels, lossy=how) == data


def test_the_nearer_the_larger():
    pixels = photo()
    sizes = [len(codec.compress(pixels, lossy=how, level="fast")) for how in Lossy]
    errors = [wrong(codec.decode(codec.compress(pixels, lossy=how, level="fast")), pixels) for how in Lossy]
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 9, 3), (8, 8, 1), (17, 33, 1), (40, 8, 3)])
def test_of_any_size(shape):
    pixels = np.random.default_rng(0).integers(60, 200, shape).astype(np.uint8)
    data = codec.compress(pixels, lossy="high")
    assert wrong(codec.decode(data).reshape(shape), pixels) < 8


def test_grey_stays_grey():
    grey = photo()[..., :1]
    together = np.repeat(grey, 3, 2)
    found = codec.decode(codec.compress(together, lossy="medium"))
    assert (found == found[..., :1]).all()


def test_alpha_stays_as_it_is():
    for channels in (4, 2):
        pixels = np.concatenate([photo()[..., : channels - 1], photo(seed=1)[..., :1]], 2)
        data = codec.compress(pixels, lossy="medium")
        found = codec.decode(data)
        assert np.array_equal(found[..., -1], pixels[..., -1])
        assert wrong(found[..., :-1], pixels[..., :-1]) < MOST_WRONG[Lossy.MEDIUM]
        assert codec.info(data).lossy == "medium"


@pytest.mark.parametrize(
    "picture",
    [
        Picture(photo()[..., :1] % 4, Form(PALETTE, 8), ((b"PLTE", bytes(12)),)),
        Picture(photo()[..., :1] % 4, Form(GREY, 2)),
        picture_of_array(photo()[..., 0].astype(np.uint16) * 257),
    ],
)
def test_what_stays_as_it_is(picture):
    (only,) = forms(picture, Options(lossy="low"))
    assert only.picture is picture


def test_what_is_smaller_without_loss_is_kept_without():
    flat = np.zeros((64, 64, 3), np.uint8)
    data = codec.compress(flat, lossy="low")
    assert np.array_equal(codec.decode(data), flat)
    assert codec.info(data).lossy == ""


def test_a_jpeg_file_stays_one():
    stream = io.BytesIO()
    Image.fromarray(photo()).save(stream, "JPEG")
    assert codec.jpeg_file(codec.compress(stream.getvalue(), lossy="low")) == stream.getvalue()
    pixels = codec.compress(stream.getvalue(), lossy="low", pixels=True)
    assert codec.info(pixels).lossy == "low"


def test_threads_choose_the_same():
    pixels = photo(200, 64)
    found = []
    for threads in (1, 3):
        use_threads(threads)
        found.append(chosen(pixels, Lossy.MEDIUM).coefficients)
    use_threads(0)
    assert all(np.array_equal(*pair) for pair in zip(*found, strict=True))


def test_coefficients_are_near_to_those_of_the_picture():
    """Rounded, one less, or 0; and most of what the picture has."""
    pixels = photo()
    antecedent = chosen(pixels, Lossy.HIGH)
    assert [tuple(blocks.shape[:2]) for blocks in antecedent.coefficients] == [(12, 15)] * 3
    assert antecedent.layout.sampling.filter.name == "4:4:4"
    assert (antecedent.steps[0] <= antecedent.steps[1]).all()
    assert steps_of(Lossy.LOW, False)[[0, 1, 3, 6, 10, 63]].tolist() == [20, 24, 28, 32, 36, 40]
    luma = pixels @ [0.299, 0.587, 0.114]
    mean = luma[:8, :8].mean()
    assert abs(antecedent.coefficients[0][0, 0, 0] * antecedent.steps[0][0] / 8 + 128 - mean) <= antecedent.steps[0][0] / 16 + 0.1


def test_what_the_metadata_say_stays_true():
    """The coarsest way that a picture went, and no bound that does not hold."""
    low = forms(picture_of_array(photo()), Options(lossy="low"))[-1].picture
    high = forms(low, Options(lossy="high"))[-1].picture
    assert [lossy(of.chunks) for of in (low, high)] == [["low"], ["low"]]
    bounded = near(picture_of_array(photo()), 1)
    assert max_error(bounded.chunks) == 1
    then = forms(bounded, Options(lossy="high"))[-1].picture
    assert (max_error(then.chunks), lossy(then.chunks)) == (0, ["high"])
    assert max_error(near(low, 2).chunks) == 0


def test_what_does_not_change_is_not_called_lossy():
    (only,) = forms(picture_of_array(np.full((16, 24, 1), 128, np.uint8)), Options(lossy="low"))
    assert not only.picture.chunks


@pytest.mark.parametrize("options", [{"lossy": "none"}, {"lossy": "low", "max_error": 1}, {"lossy": "low", "past": False}])
def test_what_does_not_go(options):
    with pytest.raises(IgptError, match="lossy"):
        codec.compress(photo(), **options)


def test_the_command(tmp_path):
    source = tmp_path / "photo.png"
    Image.fromarray(photo()).save(source)
    done = igpt("compress", source, "--lossy", "medium")
    assert done.exit_code == 0
    assert "lossy: medium" in done.output
    told = json.loads(igpt("info", "--json", tmp_path / "photo.igpt").stdout)
    assert told["lossy"] == "medium"
    assert igpt("decompress", tmp_path / "photo.igpt", tmp_path / "back.png").exit_code == 0
    with Image.open(tmp_path / "back.png") as back:
        assert back.info["igpt lossy"] == "medium"
    assert igpt("compress", source, tmp_path / "flat.igpt", "--lossy", "none").exit_code == 2
    for more in (["--delete-input"], ["--max-error", "1"], ["--no-past"], ["--palette-only"]):
        done = igpt("compress", source, tmp_path / "other.igpt", "--lossy", "low", *more)
        assert done.exit_code == 2
        assert "--lossy" in done.stderr
    assert source.exists()
    assert not (tmp_path / "other.igpt").exists()


def test_of_pillow(tmp_path):
    codec.register_igpt_opener()
    Image.fromarray(photo()).save(tmp_path / "a.igpt", lossy="low")
    with Image.open(tmp_path / "a.igpt") as back:
        assert back.info["igpt lossy"] == "low"
