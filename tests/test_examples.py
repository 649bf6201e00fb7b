"""Every example runs, without a network, where its library is installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_runs(path, tmp_path):
    library = path.stem.split("_")[0]
    if not importlib.util.find_spec(library):
        pytest.skip(f"{library} is not installed")
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent), "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run([sys.executable, path], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "(64, 64)" in result.stdout
