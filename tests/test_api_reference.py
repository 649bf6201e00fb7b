"""The examples in the docstrings of the library do what they say, and a reference can be built of these."""

import doctest
import inspect
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import igpt
from tests.conftest import smooth

FUNCTIONS = [name for name in igpt.__all__ if inspect.isfunction(getattr(igpt, name))]


@pytest.fixture
def _photo(tmp_path, monkeypatch):
    """photo.png and photo.jpg are in the present folder."""
    for name in ("photo.png", "photo.jpg"):
        Image.fromarray(smooth(80, 120)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_photo")
@pytest.mark.parametrize("name", ["igpt", "IgptError", *FUNCTIONS])
def test_examples(name):
    known = {"igpt": igpt, "Image": Image, "Path": Path, "np": np}
    (found,) = doctest.DocTestFinder(recurse=False).find(getattr(igpt, name, igpt), name, igpt, known)
    result = doctest.DocTestRunner().run(found)
    assert result.attempted > 0
    assert result.failed == 0
