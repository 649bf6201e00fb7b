"""What tells Linux desktops of the format."""

import ast
import configparser
import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

import codec
from bitstream.constants import MAGIC

SHARE = Path(__file__).parents[1] / "share"
MIME = SHARE / "mime" / "packages" / "igpt.xml"


def test_the_type():
    codec.register_igpt_opener()
    space = "{http://www.freedesktop.org/standards/shared-mime-info}"
    (kind,) = ElementTree.parse(MIME).getroot()
    assert kind.get("type") == Image.MIME["IGPT"]
    match, glob = kind.find(f"{space}magic/{space}match"), kind.find(f"{space}glob")
    assert (match.get("type"), match.get("offset")) == ("string", "0")
    assert ast.literal_eval(f'b"{match.get("value")}"') == MAGIC
    assert glob.get("pattern") == "*.igpt"


def test_the_data_base_takes_it(tmp_path):
    if not shutil.which("update-mime-database"):
        pytest.skip("update-mime-database is not installed")
    shutil.copytree(SHARE / "mime", tmp_path / "mime")
    command, place = ["update-mime-database", tmp_path / "mime"], {**os.environ, "XDG_DATA_DIRS": str(tmp_path)}
    result = subprocess.run(command, env=place, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert MAGIC in (tmp_path / "mime" / "magic").read_bytes()
    assert "image/x-igpt:*.igpt" in (tmp_path / "mime" / "globs").read_text()


def test_the_thumbnailer():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(SHARE / "thumbnailers" / "igpt.thumbnailer")
    assert dict(parser["Thumbnailer Entry"]) == {
        "tryexec": "igpt",
        "exec": "igpt thumbnail --force --size %s %i %o",
        "mimetype": "image/x-igpt;",
    }
