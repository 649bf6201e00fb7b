"""Several models that code together."""

from dataclasses import replace

import numpy as np
import pytest

import codec
from bitstream.constants import FREQUENCY_TOTAL, MAX_MODELS
from bitstream.container import Coding, read
from codec import models
from codec.decompression import decompress_files
from codec.methods.method import ModelName
from codec.methods.network import Fields, Network, names_in_file
from codec.methods.past import PastMethod
from codec.network.coding import Decoding, encode_groups
from codec.network.engines import engine_of, fast_engine, plain_engine
from codec.network.ensemble import Ensemble, EnsembleEngine, mean
from codec.network.layers import Layer
from codec.network.model import IntegerImageGPT
from codec.options import Level, Options
from codec.progress import ignore
from codec.tiling.planes import RGB, pixels_to_planes
from codec.tiling.tiles import Shape
from tests.conftest import (
    CPU,
    GOLDEN,
    TINY,
    TINY_MODELS,
    TINY_OTHER,
    coded_by,
    decoded_jpeg,
    file_of,
    picture,
    remade,
    smooth,
    with_network,
)

pytestmark = pytest.mark.usefixtures("only_tiny_models")


@pytest.fixture(scope="session")
def other() -> IntegerImageGPT:
    return IntegerImageGPT.load(TINY_OTHER, CPU)


def together(pixels: np.ndarray) -> bytes:
    return file_of(pixels, coded_by(Network(), pixels, level=Level.BEST))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_mean_of_frequencies_are_frequencies(count):
    rng = np.random.default_rng(count)
    tables = [rng.integers(1, 60000, (3, 5, 256)).astype(np.int32) for _ in range(count)]
    for table in tables:
        table[1, 1] = 1
        table[..., 128] = 1
        table[..., 200] += FREQUENCY_TOTAL - table.sum(-1, dtype=np.int32)
    found = mean(tables)
    assert (found.sum(-1) == FREQUENCY_TOTAL).all()
    assert found.min() == 1
    assert np.abs(found - np.mean(tables, 0)).max() < 256
    assert found.dtype == np.int32
    assert count > 1 or np.array_equal(found, tables[0])


@pytest.mark.parametrize("engine", [plain_engine, fast_engine])
def test_all_engines_agree_in_both_directions(tiny, other, engine):
    expected = engine_of(Ensemble((tiny, other)), 1000)
    layer = Layer(RGB, pixels_to_planes(smooth(40, 70)))
    turns = layer.turns(layer.grid.whole)
    (payload,) = encode_groups(expected, [turns], ignore)
    mine = EnsembleEngine([engine(member) for member in (tiny, other)])
    assert encode_groups(mine, [turns], ignore) == [payload]
    decoding = Decoding(mine, [payload])
    for turn, samples in turns:
        (found,) = decoding.turn({0: turn}, ignore)
        exist = np.arange(32) < turn.extents[:, :1], np.arange(32) < turn.extents[:, 1:]
        there = (exist[0][:, :, None] & exist[1][:, None]).reshape(len(samples), 1, -1)
        assert ((found == samples) | ~there).all()
    decoding.finish()


def test_a_file_names_all_of_them(other):
    pixels = smooth(33, 50)
    data = together(pixels)
    info = codec.info(data)
    assert [model.name for model in info.models] == ["tiny", "tiny-other"]
    assert (codec.decode(data, device=CPU) == pixels).all()
    coded = coded_by(Network(), pixels, level=Level.BEST)
    assert sum(bits.sum() for bits in Network().costs(coded, pixels).values()) == pytest.approx(8 * sum(map(len, coded.chunks)), rel=0.02)
    fields = read(data).front.codings[0].fields
    with pytest.raises(codec.ModelError, match="the model tiny-other \\(0000"):
        codec.decode(remade(data, codings=[Coding(3, 0, fields.replace(other.digest, bytes(16)))]), device=CPU)


def test_pasts_have_levels_too():
    pixels = decoded_jpeg(smooth(40, 50))
    data = file_of(pixels, coded_by(PastMethod(), pixels, level=Level.BEST))
    assert [model.name for model in codec.info(data).models] == ["tiny-ycc", "tiny-ycc-other"]
    assert (codec.decode(data, device=CPU) == pixels).all()


@pytest.mark.parametrize("worse", [0, 1])
def test_level_best_takes_the_smallest(monkeypatch, worse):
    """The default model alone, where that is better; its real size counts."""
    pixels = picture(70, 100, 3, 1)  # more than what is coded whole to tell the size
    levels = {**TINY_MODELS, Level.DEFAULT: {"rgb": ((TINY, TINY_OTHER)[worse].name,)}}
    monkeypatch.setattr(models, "OF_LEVELS", levels)
    sizes = [len(file_of(pixels, coded_by(Network(), pixels, which, level=Level.BEST))) for which in range(2)]
    data = codec.compress(pixels, level="best", past=False, device=CPU)
    assert len(data) == min(sizes)
    assert len(data) <= len(codec.compress(pixels, past=False, device=CPU))


def test_several_files_are_decoded_together(monkeypatch):
    some = [smooth(32, 40 + k) for k in range(3)]
    files = [read(data) for data in (*map(together, some), with_network(some[0], TINY))]
    for found, pixels in zip(decompress_files(files, Options(device=CPU)), (*some, some[0]), strict=True):
        assert (found.pixels == pixels).all()


@pytest.mark.parametrize("count", [2, MAX_MODELS + 1])
def test_damaged_names(tiny, count):
    """One model twice, and too many."""
    names = [ModelName(tiny.digest)] * 2 if count == 2 else [ModelName(bytes([k] * 16)) for k in range(count)]
    data = together(smooth(20, 20))
    with pytest.raises(codec.DamagedError, match="too many, or one is named twice"):
        codec.info(remade(data, codings=[Coding(3, 0, Fields(Shape(1, 1), names).to_bytes())]))


def test_one_that_does_not_learn_is_refused(tiny, tmp_path, monkeypatch):
    stubborn = IntegerImageGPT(replace(tiny.config, learns=False), tiny.arrays, "stubborn", CPU)
    stubborn.save(tmp_path / "stubborn")
    shipped = models.shipped()
    monkeypatch.setattr(models, "shipped", lambda: [*shipped, tmp_path / "stubborn"])
    fields = Fields(Shape(1, 1), [*names_in_file(tiny), *names_in_file(stubborn)])
    with pytest.raises(codec.DamagedError, match="does not learn"):
        codec.decode(remade(together(smooth(20, 20)), codings=[Coding(3, 0, fields.to_bytes())]), device=CPU)


def test_tiny_models_differ():
    """In layers, width, heads and window, so that files of both tell them apart."""
    configs = [IntegerImageGPT.load(GOLDEN / name, CPU).config for name in TINY_MODELS[Level.BEST]["rgb"]]
    for field in ("n_layer", "n_embd", "n_head", "attention_window"):
        assert len({getattr(config, field) for config in configs}) == 2
