"""Steps see what the encoder sees, in every engine; and what is compiled behaves."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from codec.network import fast, known_answer, plain
from codec.network.config import ModelConfig
from codec.network.engines import plain_engine
from codec.network.features import TileContext
from codec.tiling.context import POSITIONS
from codec.tiling.planes import LAYOUTS, RGB
from codec.training.data import as_tensors
from tests.conftest import random_around

KINDS = [kind for kinds in LAYOUTS.values() for kind in kinds]
TILES = 16  # of which every one knows other sides
SMALL = ModelConfig(n_embd=16, n_head=1, n_inner=16, head_inner=16, attention_window=32, n_layer=1)


def engine_of(form):
    network = known_answer.random_network(SMALL)
    if form == "plain":
        return plain_engine(network)
    pytest.importorskip("numba")
    return fast.FastEngine(network)


def tiles_of(kind):
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 256, (TILES, kind.channels, 1024)).astype(np.uint8)
    samples[0], samples[1, :, ::3] = 255, 0
    return samples, random_around(range(TILES), kind)


@pytest.mark.parametrize("form", ["plain", "compiled"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_steps_see_what_the_encoder_sees(kind, form):
    engine = engine_of(form)
    samples, around = tiles_of(kind)
    count = POSITIONS if kind is RGB else 100
    seen = engine.see(kind, samples, around, -(-count // 32) * 32)
    steps = engine.steps(kind, around)
    for position in range(count):
        steps.go_to(position)
        assert np.array_equal(steps.hidden, seen.hidden[:, position])
        for c in range(kind.channels):
            steps.begin(c)
            head_features = steps.head_features if form == "compiled" else steps.begun[c].head_features
            assert np.array_equal(head_features, seen.features[c][:, position])
            assert np.array_equal((samples[:, c, position] - steps.predictions + 128) & 255, seen.tokens[c][:, position])
            steps.accept(np.ascontiguousarray(seen.tokens[c][:, position]), np.ones(TILES, np.bool_))
    assert (steps.samples()[:, :, :count] == samples[:, :, :count]).all()


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_compiled_features_are_those_of_torch(kind):
    engine = engine_of("compiled")
    engine.hidden_of_tiles = lambda features: features
    samples, around = tiles_of(kind)
    seen = engine.see(kind, samples, around, POSITIONS)
    expected = TileContext(torch.from_numpy(samples), kind, as_tensors(around))
    assert np.array_equal(seen.hidden, expected.features)
    for found, right in zip((*seen.features, *seen.tokens), (*expected.head_features, *expected.tokens), strict=True):
        assert np.array_equal(found, right)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_compiled_steps_of_partial_tiles(kind):
    _, around = tiles_of(kind)
    plain, by_kernels = (engine_of(form).steps(kind, around) for form in ("plain", "compiled"))
    rng = np.random.default_rng(1)
    for position in range(70):
        exist = np.arange(TILES) * 2 + 3 > position % 32
        impossible = rng.random((TILES, 256)) < 0.3 if position % 2 else None
        tokens = rng.integers(0, 256, (kind.channels, TILES)).astype(np.int32)
        for steps in (plain, by_kernels):
            steps.go_to(position)
        for c in range(kind.channels):
            for steps in (plain, by_kernels):
                steps.begin(c)
            assert np.array_equal(plain.predictions, by_kernels.predictions)
            assert np.array_equal(plain.frequencies(impossible), by_kernels.frequencies(impossible))
            for steps in (plain, by_kernels):
                steps.accept(tokens[c], exist)
    assert (plain.samples()[..., :70] == by_kernels.samples()[..., :70]).all()


def test_replayed_steps(monkeypatch):
    """What a GPU does from the third position on, played on the CPU: functions are called again, but whatever they made lies where it lay
    when they were recorded."""

    def recorded(function, pool):
        steps = function.__self__
        before = state(steps)
        function()
        made = {place: tensor for place, tensor in state(steps).items() if tensor is not before.get(place)}
        for place in made:
            made[place].fill_(99)  # a record runs nothing

        def replay():
            kept = state(steps)
            channel, steps.channel = getattr(steps, "channel", 0), recorded_channel
            function()
            for place, tensor in made.items():
                tensor.copy_(state(steps)[place])
            restore(steps, kept)
            steps.channel = channel

        recorded_channel = getattr(steps, "channel", 0)
        return replay

    def state(steps):
        found = {("values",): steps.values, ("base",): steps.base, ("hidden",): steps.hidden}
        found |= {("tables", c): table for c, table in steps.tables.items()}
        return found | {("begun", c, k): x for c, begun in steps.begun.items() for k, x in enumerate(begun)}

    def restore(steps, kept):
        steps.values, steps.base, steps.hidden = (kept[name,] for name in ("values", "base", "hidden"))
        steps.tables = {place[1]: x for place, x in kept.items() if place[0] == "tables"}
        channels = sorted({place[1] for place in kept if place[0] == "begun"})
        steps.begun = {c: plain.Begun(*(kept["begun", c, k] for k in range(3))) for c in channels}

    engine = plain_engine(known_answer.random_network())
    expected = known_answer.answer_of(engine)
    made, calls = plain.PlainSteps.__init__, []

    def replaying(self, *arguments):
        made(self, *arguments)
        self.replays = True

    monkeypatch.setattr(plain.PlainSteps, "__init__", replaying)
    monkeypatch.setattr(plain, "recorded", lambda function, pool: calls.append(function) or recorded(function, pool))
    assert known_answer.answer_of(engine) == expected
    assert len(calls) == sum(1 + 3 * kind.channels for kind in known_answer.KINDS)


def test_what_cannot_be_recorded_is_done(monkeypatch, caplog):
    made = plain.PlainSteps.__init__

    def replaying(self, *arguments):
        made(self, *arguments)
        self.replays = True

    def refused(function, pool):
        function()
        msg = "CUDA error: operation not permitted when stream is capturing\nmore"
        raise RuntimeError(msg)

    engine = plain_engine(known_answer.random_network(SMALL))
    expected = known_answer.answer_of(engine)
    monkeypatch.setattr(plain.PlainSteps, "__init__", replaying)
    monkeypatch.setattr(plain, "recorded", refused)
    assert known_answer.answer_of(engine) == expected
    assert len(caplog.records) == len(known_answer.KINDS)
    assert all(record.message.endswith("stream is capturing") for record in caplog.records)


def test_numba_leaves_torch_its_number_of_threads():
    code = (
        "import sys, numba, torch; torch.set_num_threads(1); from codec.jit import run; from codec.palette import kernels;"
        "import numpy as np; run(kernels.activated, 2, np.ones((2, 256), np.int64), np.ones(9, np.int32));"
        "numba.njit(lambda x: x)(1); sys.exit(torch.get_num_threads() - 1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_compiled_code_of_other_sources_is_not_used(tmp_path):
    """numba itself would not notice: it looks at a function's own file only."""
    code = (
        "import logging, sys; logging.basicConfig(level=logging.DEBUG, format='%(name)s: %(message)s');"
        "logging.getLogger('numba').setLevel('WARNING'); from codec import jit as compiled;"
        "compiled.SOURCES += sys.argv[1]; from codec.pasts import kernel; import numpy as np;"
        "kernel.cheapest(np.zeros((1, 2, 3), np.int32), np.zeros((1, 2, 3, 3), np.int32), np.zeros((1, 2), np.int32));"
        "print(sum(kernel.cheapest.stats.cache_hits.values()))"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    hits = [
        subprocess.run([sys.executable, "-c", code, version], check=True, env=environment, capture_output=True, text=True).stdout.strip()
        for version in ("", "", "other")
    ]
    assert hits == ["0", "1", "0"]
    for path in tmp_path.rglob("*.nbi"):
        path.write_bytes(b"damaged")
    results = [
        subprocess.run([sys.executable, "-c", code, ""], check=True, env=environment, capture_output=True, text=True) for _ in range(2)
    ]
    assert [result.stdout.strip() for result in results] == ["0", "1"]  # what was damaged is made anew
    assert results[0].stderr.startswith("igpt: compiled code cannot be read")
    assert not results[1].stderr
