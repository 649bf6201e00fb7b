"""The distribution: a wheel, installed and used beside files of the user's that have the names of our modules."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec
import igpt
from codec import models

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = {".git", ".venv", "build", "tests", "benchmarks", "checkpoints"}
    for path in ROOT.iterdir():  # a build leaves things in its source
        if path.name not in ignored and not path.name.endswith(".egg-info"):
            (source / path.name).parent.mkdir(exist_ok=True)
            subprocess.run(["cp", "-r", path, source / path.name], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, source]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = folder.glob("igpt-*.whl")
    return found


def test_a_wheel_holds_all_that_is_needed(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for model in (folder.name for folder in models.shipped()):
        for name in ("config.json", "integer.safetensors", "card.json", "MODEL_CARD.md"):
            assert f"codec/models/{model}/{name}" in names
    documents = {f"bitstream/{path.name}" for path in (ROOT / "bitstream").glob("FORMAT*.md")}
    assert len(documents) > 7
    assert documents < set(names)
    assert {"igpt/py.typed", "codec/py.typed", "bitstream/py.typed"} < set(names)
    for name in ("man/man1/igpt.1", "mime/packages/igpt.xml", "thumbnailers/igpt.thumbnailer"):
        assert any(found.endswith(f"share/{name}") for found in names)
    assert sum("/licenses/" in name for name in names) == 1 + len(models.shipped())
    assert not any(name.startswith(("tests", "benchmarks")) for name in names)


def test_a_wheel_works_beside_files_of_the_same_names(wheel, tmp_path):
    site, place = tmp_path / "site", tmp_path / "place"
    place.mkdir()
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(command, check=True, capture_output=True)
    for name in ("codec.py", "cli.py", "bitstream.py"):
        (place / name).write_text("raise SystemExit('this is the user\\'s')\n")
    Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3) // 2).save(place / "a.png")
    environment = {**os.environ, "PYTHONPATH": str(site)}
    for way in ([site / "bin" / "igpt"], [sys.executable, "-m", "igpt"]):
        for arguments in (["compress", "-f", "a.png"], ["decompress", "-f", "a.igpt", "b.png"], ["info", "a.igpt"]):
            result = subprocess.run([*way, *arguments], cwd=place, env=environment, capture_output=True, text=True, check=False)
            assert result.returncode == 0, result.stderr
        assert Image.open(place / "b.png").tobytes() == Image.open(place / "a.png").tobytes()


def test_the_names_are_those_of_the_codec():
    assert {*igpt.__all__} == {*codec.__all__, "__version__"}
    assert all(getattr(igpt, name) is getattr(codec, name) for name in igpt.__all__)
    assert set(igpt.__all__) <= set(dir(igpt))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        igpt.nothing  # noqa: B018
