"""Steps see what the encoder sees, in every engine; and what is compiled behaves."""

import os
import subprocess
import sys

import numpy as np
import pytest

from codec.network import compiled
from codec.network.config import ModelConfig
from codec.planes import LAYOUTS

KINDS = [kind for kinds in LAYOUTS.values() for kind in kinds]
TILES = 5
SMALL = ModelConfig(n_embd=16, n_head=1, n_inner=16, head_inner=16, attention_window=32, n_layer=1)


def engine_of(form):
    network = compiled.random_network(SMALL)
    if form == "plain":
        return network.plain
    pytest.importorskip("numba")
    return compiled.CompiledEngine(network)


def tiles_of(kind):
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 256, (TILES, kind.channels, 1024)).astype(np.uint8)
    samples[0], samples[1, :, ::3] = 255, 0
    windows = rng.integers(0, 256, (TILES, 2, 40, 40)).astype(np.uint8) if kind.surrounded else None
    return samples, windows


@pytest.mark.parametrize("form", ["plain", "compiled"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_steps_see_what_the_encoder_sees(kind, form):
    engine = engine_of(form)
    samples, windows = tiles_of(kind)
    seen = engine.see(kind, samples, windows, 128)
    steps = engine.steps(kind, TILES, windows)
    for position in range(100):
        steps.go_to(position)
        assert np.array_equal(steps.hidden, seen.hidden[:, position])
        for c in range(kind.channels):
            steps.begin(c)
            assert np.array_equal(steps.head_features, seen.features[c][:, position])
            assert np.array_equal((samples[:, c, position] - steps.predictions + 128) & 255, seen.tokens[c][:, position])
            steps.accept(np.ascontiguousarray(seen.tokens[c][:, position]), np.ones(TILES, np.bool_))
    assert (steps.samples()[:, :, :100] == samples[:, :, :100]).all()


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_compiled_steps_of_partial_tiles(kind):
    _, windows = tiles_of(kind)
    plain, by_kernels = (engine_of(form).steps(kind, TILES, windows) for form in ("plain", "compiled"))
    rng = np.random.default_rng(1)
    for position in range(70):
        exist = np.arange(TILES) * 8 + 3 > position % 32
        impossible = rng.random((TILES, 256)) < 0.3 if position % 2 else None
        tokens = rng.integers(0, 256, (kind.channels, TILES)).astype(np.int32)
        for steps in (plain, by_kernels):
            steps.go_to(position)
        for c in range(kind.channels):
            for steps in (plain, by_kernels):
                steps.begin(c)
            assert np.array_equal(plain.predictions, by_kernels.predictions)
            assert np.array_equal(plain.logits, by_kernels.logits)
            assert np.array_equal(plain.frequencies(impossible), by_kernels.frequencies(impossible))
            for steps in (plain, by_kernels):
                steps.accept(tokens[c], exist)
    assert (plain.samples() == by_kernels.samples()).all()


def test_numba_leaves_torch_its_number_of_threads():
    """In another process, with the kernels' code in numba's cache and without."""
    code = (
        "import sys, numba, torch; torch.set_num_threads(1); from codec import mixing; from codec.network import kernels;"
        "import numpy as np; kernels.run('palette_activated', 2, np.ones((2, 256), np.int64), np.ones(9, np.int32));"
        "numba.njit(lambda x: x)(1); sys.exit(torch.get_num_threads() - 1)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_NUM_THREADS"}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_compiled_code_of_other_sources_is_not_used(tmp_path):
    """numba itself would not notice: it looks at a function's own file only."""
    code = (
        "import sys; from codec import compiled; compiled.SOURCES += sys.argv[1]; from codec.pasts import kernel; import numpy as np;"
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
    subprocess.run([sys.executable, "-c", code, ""], check=True, env=environment)
