"""Mutated inputs are accepted or refused, and nothing else; `tests/fuzz.py` has more of them."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bitstream.container import read
from bitstream.errors import NewerVersionError
from codec.decompression import decompress_file
from codec.methods import METHODS
from codec.options import Options
from tests import fuzz, seeds
from tests.mutations import flat, joined, unflat

CASES = {
    "container": 300,
    "front": 300,
    "metadata": 200,
    "palette": 200,
    "levels": 200,
    "fields": 200,
    "outliers": 200,
    "mixing": 100,
    "network": 8,
    "picture": 300,
    "jpeg": 60,
    "scans": 300,
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


def test_files_are_made_of_their_pieces():
    """With nothing mutated, what was taken apart is the same picture when it is put together again."""
    exact = 0
    for data, pieces in fuzz.seeds_of("front"):
        again = joined(pieces)
        assert [*read(again).chunks] == [*read(data).chunks]
        assert unflat(flat(pieces)) == pieces
        exact += again == data
        with seeds.tiny_models():
            one, other = (decompress_file(read(file), Options(device="cpu")) for file in (data, again))
        assert (one.form, one.chunks) == (other.form, other.chunks)
        assert np.array_equal(one.pixels, other.pixels)
    assert exact > 20
    for _, pieces in fuzz.seeds_of("picture"):
        assert pieces[0] == b"other" or fuzz.TARGETS["picture"].work(joined(pieces))


def test_seeds_are_of_every_sort():
    """Methods and their variants, boxes, forms, and both numbers of codings."""
    fronts = [read(data).front for data in seeds.files()]
    codings = [coding for front in fronts for coding in front.codings]
    found = {(coding.method, coding.variant) for coding in codings}
    assert found == {(method.number, variant) for method in METHODS for variant in range(method.variants)}
    assert {kind for front in fronts for kind in front.boxes} == {1, 2, 3, 6, 0x81}
    assert {(front.head.form.colour, front.head.form.depth) for front in fronts} >= {
        *((0, depth) for depth in (1, 2, 4, 8, 16)),
        *((2, 8), (2, 16), (3, 4), (3, 8), (4, 8), (6, 8), (6, 16)),
    }
    assert {front.head.alpha_apart for front in fronts} == {False, True}


def test_a_box_that_must_be_known_is_a_mutation():
    """Mutated files reach what comes behind the checksums."""
    found = set()
    for k in range(1, 1200, 2):
        try:
            found.add(read(fuzz.case("container", 0, k)).front.unknown != [])
        except NewerVersionError as error:
            found.add(str(error).split(":")[0][:30])
        except fuzz.IgptError:
            pass
    assert found >= {True, False}
    assert any(isinstance(one, str) and one.startswith("the file has a part of type") for one in found)


def test_cases_are_the_same_for_the_same_seed():
    first, again, other = ([fuzz.case("front", seed, k) for k in range(50)] for seed in (0, 0, 1))
    assert first == again != other


def test_a_defect_is_found(monkeypatch):
    def fails(data):
        raise KeyError(3)

    monkeypatch.setitem(fuzz.TARGETS, "front", fuzz.TARGETS["front"]._replace(work=fails))
    found = fuzz.here("front", 0, range(3))
    assert len(found.defects) == 3
    assert "KeyError" in found.defects[0]
    monkeypatch.setattr(fuzz, "BYTES", -1)
    assert "MB" in fuzz.here("container", 0, range(1)).defects[0]
    monkeypatch.setattr(fuzz, "BYTES", 1 << 40)
    monkeypatch.setattr(fuzz, "SECONDS", 0)
    assert " s" in fuzz.here("container", 0, range(1)).defects[0]


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
