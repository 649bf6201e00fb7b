"""Mutated inputs are accepted or refused, and nothing else; `tests/fuzz.py` has more of them."""

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import codec
from bitstream.container import write_file
from bitstream.envelope import Envelope, write_envelope
from bitstream.errors import DamagedError
from bitstream.form import GREY, Form
from bitstream.header import Header
from codec.pictures.picture import Picture
from tests import fuzz
from tests.mutations import flat, joined, unflat

CASES = {
    "container": 400,
    "header": 300,
    "envelope": 300,
    "drawing": 100,
    "network": 8,
    "picture": 300,
    "plugin": 60,
    "promise": 150,
    "command": 12,
}
ROOT = Path(__file__).parents[1]


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_mutated_inputs(target):
    found = fuzz.here(target, 1, range(CASES[target]))
    assert not found.defects
    assert found.accepted + found.refused == CASES[target]


@pytest.mark.parametrize("target", ["container", "envelope", "picture"])
def test_files_are_made_of_their_pieces(target):
    """With nothing mutated, what was taken apart is accepted when it is put together again."""
    for data, pieces in fuzz.seeds_of(target):
        if pieces[0] == b"other":
            continue
        assert fuzz.TARGETS[target].work(joined(pieces))
        if target == "container":
            assert joined(pieces) == data
            assert unflat(flat(pieces)) == pieces


def test_cases_are_the_same_for_the_same_seed():
    first, again, other = ([fuzz.case("envelope", seed, k) for k in range(50)] for seed in (0, 0, 1))
    assert first == again != other


def test_a_defect_is_found(monkeypatch):
    def fails(data):
        raise KeyError(3)

    monkeypatch.setitem(fuzz.TARGETS, "header", fuzz.TARGETS["header"]._replace(work=fails))
    found = fuzz.here("header", 0, range(3))
    assert len(found.defects) == 3
    assert "KeyError" in found.defects[0]
    monkeypatch.setattr(fuzz, "BYTES", -1)
    assert "MB" in fuzz.here("container", 0, range(1)).defects[0]
    monkeypatch.setattr(fuzz, "BYTES", 1 << 40)
    monkeypatch.setattr(fuzz, "SECONDS", 0)
    assert " s" in fuzz.here("container", 0, range(1)).defects[0]


@pytest.mark.parametrize(("depth", "width"), [(8, 1 << 22), (16, 1 << 20)])
def test_a_payload_that_is_used_up_ends_a_row(depth, width):
    """A hundred bytes that promise millions of pixels, all in one row."""
    head = Header(width, 1, 4, depth, 3, bytes(16), rows=1, numerics_version=2)
    data = write_envelope(Envelope(6, depth, (), (write_file(head, [b"\x5a" * (10 if depth == 8 else 60)]),)))
    start = time.perf_counter()
    with pytest.raises(DamagedError, match="not what an encoder writes"):
        codec.decompress_picture(data)
    assert time.perf_counter() - start < 5


def test_no_row_of_16_bits_takes_gigabytes():
    width = (1 << 20) + 1
    head = Header(width, 1, 1, 16, 3, bytes(16), rows=1, numerics_version=2)
    with pytest.raises(DamagedError, match="a width of 1048577 with 16 bits"):
        codec.decompress_picture(write_envelope(Envelope(0, 16, (), (write_file(head, [bytes(60)]),))))
    samples = (np.arange(width) % 1000).astype(np.uint16)[None, :, None]
    with pytest.raises(codec.TooLargeError, match="at most 1,048,576 pixels wide"):
        codec.compress_picture(Picture(samples, Form(GREY, 16)))


@pytest.mark.slow
def test_a_million_mutated_inputs():
    run = subprocess.run([sys.executable, "-m", "tests.fuzz", "--cases", "1000000"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


@pytest.mark.slow
def test_inputs_guided_by_coverage():
    if not importlib.util.find_spec("atheris"):
        pytest.skip("atheris is not installed: `pip install atheris`, on a Python that it has wheels for")
    command = [sys.executable, "-m", "tests.fuzz", "--coverage", "180"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
