"""What `igpt doctor` says."""

import json

import pytest
from typer.testing import CliRunner

from cli import app
from codec import doctor, models
from codec.network.layers import decode_layers
from tests.conftest import GOLDEN, TINY_MODELS


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Tiny models, and a small picture."""
    monkeypatch.setattr(doctor, "MEASURED", (64, 64))
    monkeypatch.setattr(models, "FOLDER", GOLDEN)
    monkeypatch.setattr(models, "OF_LEVELS", TINY_MODELS)


def test_it_says_what_is_here(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert found["threads"] == 1
    assert found["settings"]["OMP_NUM_THREADS"] == "1"
    assert "numpy" in found["packages"]
    assert "exact" in found["engines"].values()
    assert "tiny" in found["models"]
    assert [*found["megapixels per second"]] == [*doctor.MEASURED_LEVELS]
    assert all(speed > 0 for of in found["megapixels per second"].values() for speed in of.values())
    lines = CliRunner().invoke(app, ["doctor"]).stdout
    assert all(name in lines for name in (*found, *found["packages"]))


def test_it_tells_how_far_it_is():
    done = []
    doctor.findings(done.append)
    assert sum(done) == doctor.pixels() == 4 * 64 * 64


def test_what_is_not_exact_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "why_not_fast", lambda: "they do not compute exactly on this machine")
    found = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert found["engines"]["compiled kernels"] == "they do not compute exactly on this machine"


def test_without_an_engine_the_exit_code_tells(monkeypatch):
    for name in ("why_not_fast", "_plain", "why_no_gpu"):
        monkeypatch.setattr(doctor, name, lambda: "there is none")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "there is none" in result.stdout


def test_what_does_not_come_back_is_an_error(monkeypatch):
    monkeypatch.setattr(doctor, "decode_layers", lambda *given: [~planes for planes in decode_layers(*given)])
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "does not come back" in result.stderr


def test_folders_that_cannot_be_written(tmp_path):
    assert doctor._writable(tmp_path) == "can be written"
    assert doctor._writable(tmp_path / "a" / "b") == "can be made"
