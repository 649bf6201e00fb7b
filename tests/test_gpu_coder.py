"""The GPU's range coder: in numba's simulator, and, where there is a GPU, on that."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import gpu as gpu_benchmark
from bitstream import gpu_coder
from bitstream.errors import DamagedError
from codec.network import coding, gpu, gpu_kernels
from codec.network.engines import plain_engine
from codec.network.groups import Turn
from codec.network.model import IntegerImageGPT
from codec.network.plain import PlainEngine
from codec.progress import ignore
from codec.tiling.planes import RGB
from tests.conftest import random_around, smooth

ROOT = Path(__file__).parents[1]


def test_in_the_simulator():
    """In a process of its own, as numba reads once whether it simulates."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / "tests" / "simulated_gpu.py")]
    result = subprocess.run(command, cwd=ROOT, env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout


def fails():
    msg = "libNVVM cannot be found"
    raise ImportError(msg)


@pytest.mark.parametrize(
    ("codes", "attends", "reason"),
    [(fails, None, "libNVVM"), (False, True, "not compute exactly"), (True, False, "not compute exactly"), (True, True, "")],
)
def test_the_host_codes_where_the_gpu_cannot(monkeypatch, uncorrected, caplog, codes, attends, reason):
    """The reason is told once."""
    gpu.why_not.cache_clear()
    monkeypatch.setattr(gpu, "codes_exactly", lambda device: codes() if callable(codes) else codes)
    monkeypatch.setattr(gpu, "attends_exactly", lambda device: attends)
    engine = PlainEngine(uncorrected)
    assert coding.gpu_coder(engine) is None
    assert not caplog.records
    engine.device = "cuda"
    assert [coding.gpu_coder(engine) for _ in range(2)] == [None if reason else gpu] * 2
    assert [reason in record.message for record in caplog.records] == [True] * bool(reason)
    gpu.why_not.cache_clear()


def test_the_host_codes_what_is_learnt_from(monkeypatch, tiny):
    monkeypatch.setattr(gpu, "why_not", lambda: "")
    engine = PlainEngine(tiny)
    engine.device = "cuda"
    assert coding.gpu_coder(engine) is None


def test_kernels_compile_for_a_gpu(monkeypatch):
    """To PTX, where numba finds libNVVM; no GPU is needed for it. The simulator takes what no compiler does."""
    from numba import cuda, types
    from numba.cuda import dispatcher
    from numba.cuda.cudadrv.nvvm import NVVM

    gpu_benchmark.name_compiler()
    try:
        NVVM()
    except ImportError as error:
        pytest.skip(str(error))

    def array(kind, dimensions=1):
        return types.Array(kind, dimensions, "C")

    int8, int32, int64, uint32, uint64 = types.int8, types.int32, types.int64, types.uint32, types.uint64
    states, numbers, rings = array(uint64, 2), array(int64, 2), array(int8, 4)
    signatures = {
        gpu_coder.decode: (array(int32, 2), array(types.boolean), array(uint32), states, numbers, array(int32)),
        gpu_coder.finish: (states, numbers),
        gpu_coder.encode: (array(int32), array(int32), array(int64), array(uint32), array(int64)),
        gpu_kernels.attend: (array(int8, 2), rings, rings, array(int64), array(int32), int64, int64, array(int8, 2)),
    }
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: SimpleNamespace(compute_capability=(9, 0)))
    for kernel, signature in signatures.items():
        code, _ = cuda.compile_ptx(kernel.py_func, signature, cc=(9, 0))
        assert not re.search(r"\.f(32|64)", code), "numba made numbers of uint64 and int64 floats"


def all_of(decoding, turns):
    found = decoding.turn(turns, ignore)
    decoding.finish()
    return found


@pytest.mark.gpu
def test_on_the_gpu(uncorrected):
    """Payloads and samples of groups, large and small, as plain torch on the CPU makes them; and damage."""
    assert not gpu.why_not()
    assert gpu.codes_exactly("cuda")
    assert gpu.attends_exactly("cuda")
    there = plain_engine(IntegerImageGPT(uncorrected.config, uncorrected.arrays, "there", "cuda"))
    assert coding.gpu_coder(there) is gpu
    picture = smooth(32, 32 * 70).transpose(2, 0, 1).reshape(3, 32, 70, 32)
    tiles = np.ascontiguousarray(picture.transpose(2, 0, 1, 3).reshape(70, 3, 1024))
    parts = [slice(0, 1), slice(1, 6), slice(6, 70)]
    samples = [tiles[part] for part in parts]
    turns = [Turn(RGB, np.full((len(own), 2), 32), random_around(np.arange(len(own)) % 16, RGB)) for own in samples]
    groups = [[(turn, own)] for turn, own in zip(turns, samples, strict=True)]
    payloads = coding.encode_groups(there, groups, ignore)
    assert payloads == coding.encode_groups(plain_engine(uncorrected), groups, ignore)
    turns = dict(enumerate(turns))
    assert all(np.array_equal(*both) for both in zip(all_of(coding.Decoding(there, payloads), turns), samples, strict=True))
    for damaged, message in ((payloads[1][:8], "more than it holds"), (payloads[1] + bytes(8), "last token")):
        with pytest.raises(DamagedError, match=message):
            all_of(coding.Decoding(there, [payloads[0], damaged, payloads[2]]), turns)
