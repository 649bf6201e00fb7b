"""What the README says is so."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import cli
from benchmarks.readme import DOCUMENT, README, in_short, results, with_results
from tests.conftest import picture

TEXT = README.read_text()
DOCUMENTS = [README, *DOCUMENT.parent.glob("*.md")]


def test_the_numbers_are_those_of_the_committed_tables():
    for path, made in ((README, in_short()), (DOCUMENT, results())):
        text = path.read_text()
        assert with_results(text, made) == text
        assert text.count("Kodak") == 1


def test_every_command_is_in_the_table():
    named = set(re.findall(r"^\| `igpt (\w+)", TEXT, re.MULTILINE))
    commands = {command.name or command.callback.__name__ for command in cli.app.registered_commands if not command.hidden}
    commands |= {group.name for group in cli.app.registered_groups}
    assert named == commands


def test_every_link_and_file_exists():
    assert len(DOCUMENTS) == 5
    for path in DOCUMENTS:
        text = path.read_text()
        for link in re.findall(r"\]\(([^)]+)\)", text):
            assert (path.parent / link).exists(), link
        for name in re.findall(r"^\| `(codec/\S+?|bitstream/|benchmarks/|cli\.py)`", text, re.MULTILINE):
            assert (README.parent / name.rstrip("`,")).exists(), name


def test_the_python_examples(tmp_path):
    Image.fromarray(picture(20, 30, 3)).save(tmp_path / "photo.png")
    Image.fromarray(picture(20, 30, 3)).save(tmp_path / "photo.jpg")
    examples = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(examples) == 2
    code = "".join(examples) + "image.load(); assert image.tobytes() == Image.open('photo.png').tobytes()"
    subprocess.run([sys.executable, "-W", "error::DeprecationWarning", "-c", code], cwd=tmp_path, check=True)


def test_the_first_example(tmp_path):
    Image.fromarray(picture(20, 30, 3)).save(tmp_path / "photo.jpg")
    before = (tmp_path / "photo.jpg").read_bytes()
    first, second = re.findall(r"^\$ (igpt .*)$", TEXT, re.MULTILINE)[:2]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(first, shell=True, cwd=tmp_path, env=environment, check=True)
    subprocess.run(second, shell=True, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "photo.jpg").read_bytes() == before


@pytest.mark.slow
def test_the_demo(tmp_path):
    result = subprocess.run([sys.executable, "-m", "benchmarks.demo"], cwd=README.parent, capture_output=True, text=True, check=True)
    assert "every pixel identical" in result.stdout
