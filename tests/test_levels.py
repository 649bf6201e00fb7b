"""Levels: what each makes of a picture, which of them a file tells, and what they have to do with models."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import codec
from cli import app
from codec import models
from codec.options import Level, Options
from tests.conftest import TINY, TINY_DCT, with_network
from tests.picture_files import saved


@pytest.fixture(scope="module")
def photograph():
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[100:228, 180:308])


def test_a_higher_level_makes_a_smaller_file(photograph):
    files = {level: codec.compress(photograph, level=level, device="cpu") for level in Level}
    assert [codec.info(files[level]).level for level in Level] == [*Level]
    assert len(files["best"]) < len(files["default"]) < len(files["fast"])
    for data in files.values():
        assert (codec.decode(data, device="cpu") == photograph).all()
    assert codec.compress(photograph, device="cpu") == files["default"]


def test_a_jpeg_file_has_levels(photograph):
    jpeg = saved(Image.fromarray(photograph), "JPEG", quality=90)
    fast, default, best = (codec.compress(jpeg, level=level, device="cpu") for level in Level)
    assert len(default) < len(fast) < len(jpeg)
    assert (codec.info(fast).level, codec.info(default).level) == ("fast", "default")
    assert codec.jpeg_file(fast) == codec.jpeg_file(default) == jpeg
    assert best == default


@pytest.mark.parametrize("level", Level)
def test_a_named_model_is_used_at_every_level(photograph, level):
    small = photograph[:40, :40]
    assert codec.compress(small, model=TINY, level=level, device="cpu") == codec.compress(small, model=TINY, device="cpu")
    jpeg = saved(Image.fromarray(small), "JPEG")
    assert codec.compress(jpeg, model=TINY_DCT, level=level, device="cpu") == codec.compress(jpeg, model=TINY_DCT, device="cpu")


def test_what_has_no_level_tells_none():
    assert codec.info(codec.compress(np.zeros((9, 9), np.uint8))).level == ""
    assert codec.info(with_network(np.zeros((9, 9, 1), np.uint8))).level == ""  # of somebody's own model


def test_levels_have_models_that_ship():
    used = {name for level in models.OF_LEVELS.values() for names in level.values() for name in names}
    assert used <= {folder.name for folder in models.shipped()}  # of which files that are there may need others


def test_unknown_levels(tmp_path):
    with pytest.raises(codec.IgptError, match="level 'extreme' is none of fast, default, best"):
        Options(level="extreme")
    with pytest.raises(codec.IgptError, match="extreme"):
        codec.compress(np.zeros((9, 9), np.uint8), level="extreme")
    result = CliRunner().invoke(app, ["compress", str(tmp_path / "x.png"), "--level", "extreme"])
    assert result.exit_code == 2
    assert "fast" in result.output + result.stderr
