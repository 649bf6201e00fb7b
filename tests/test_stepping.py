"""The compiled steps are the plain ones, and both see what the encoder sees."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from codec.context import TileContext
from codec.planes import LAYOUTS
from codec.stepping import CompiledSteps, Steps
from tests.conftest import CPU

KINDS = [kind for kinds in LAYOUTS.values() for kind in kinds]
TILES = 5


def tiles_of(kind):
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 256, (TILES, kind.channels, 1024)).astype(np.uint8)
    samples[0], samples[1, :, ::3] = 255, 0
    windows = torch.from_numpy(rng.integers(0, 256, (TILES, 2, 40, 40)).astype(np.uint8)) if kind.surrounded else None
    return torch.from_numpy(samples), windows


@pytest.mark.parametrize("form", [Steps, CompiledSteps])
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_steps_see_what_the_encoder_sees(kind, form):
    if form is CompiledSteps:
        pytest.importorskip("numba")
    samples, windows = tiles_of(kind)
    whole = TileContext(samples, kind, windows)
    steps = form(kind, TILES, windows, CPU)
    for position in range(100):
        assert torch.equal(steps.features(position), whole.features[:, position])
        for c in range(kind.channels):
            _, features = steps.head(c)
            assert torch.equal(features, whole.head_features[c][:, position])
            steps.accept(c, whole.tokens[c][:, position], np.ones(TILES, np.bool_))
    assert (steps.tiles()[:, :, :100] == samples.numpy()[:, :, :100]).all()


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_compiled_steps_of_partial_tiles(kind):
    pytest.importorskip("numba")
    _, windows = tiles_of(kind)
    plain, compiled = (form(kind, TILES, windows, CPU) for form in (Steps, CompiledSteps))
    rng = np.random.default_rng(1)
    for position in range(70):
        assert torch.equal(plain.features(position), compiled.features(position))
        exist = np.arange(TILES) * 8 + 3 > position % 32
        for c in range(kind.channels):
            for found, expected in zip(plain.head(c), compiled.head(c), strict=True):
                assert torch.equal(found, expected)
            tokens = torch.from_numpy(rng.integers(0, 256, TILES).astype(np.int32))
            plain.accept(c, tokens, exist)
            compiled.accept(c, tokens, exist)
    assert (plain.tiles() == compiled.tiles()).all()


def test_numba_leaves_torch_its_number_of_threads():
    """In another process, with the kernels' code in numba's cache and without."""
    code = (
        "import sys, numba, torch; torch.set_num_threads(1); from codec import mixing; from codec.network import kernels;"
        "import numpy as np; kernels.run('frequencies', 2, np.ones((2, 256), np.int32), np.ones(9, np.int32), 1 << 20, 18, 128);"
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
