"""The same file whatever the host has set in torch, in NumPy, in Python, or in the environment, by every engine."""

import contextlib
import decimal
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import codec
from bitstream.errors import IgptError, ModelError
from codec import devices
from codec.network import engines, plain
from codec.network.engines import engine_of
from codec.network.model import IntegerImageGPT
from codec.network.settings import settings
from codec.palette import engines as palette_engines
from codec.palette.coding import decode_tokens, encode_tokens
from codec.palette.colours import Palette
from codec.palette.conversion import converted
from codec.palette.engines import prepare
from codec.palette.fast import FastOperations
from codec.palette.network import PaletteImageGPT
from codec.palette.operations import PaletteOperations
from codec.tiling.tiles import Shape
from tests.conftest import CPU, TINY, TINY_PALETTE, picture, smooth, with_network

ENGINES = {"compiled": "compiled kernels", "plain": "plain torch on the CPU"}


@contextlib.contextmanager
def changed(change, back):
    change()
    try:
        yield
    finally:
        back()


def attribute(owner, name, value):
    before = getattr(owner, name)
    return changed(lambda: setattr(owner, name, value), lambda: setattr(owner, name, before))


@contextlib.contextmanager
def decimals(name, value):
    """Of this thread and of those to come."""
    with attribute(decimal.DefaultContext, name, value), attribute(decimal.getcontext(), name, value):
        yield


def precision(value):
    return changed(lambda: torch.set_float32_matmul_precision(value), lambda: torch.set_float32_matmul_precision("highest"))


def default_type(dtype):
    return changed(lambda: torch.set_default_dtype(dtype), lambda: torch.set_default_dtype(torch.float32))


def switched(switch):
    return changed(lambda: switch(True), lambda: switch(False))


def threads(count):
    before = torch.get_num_threads()
    return changed(lambda: torch.set_num_threads(count), lambda: torch.set_num_threads(before))


SETTINGS = {
    "nothing": contextlib.nullcontext,
    "matmul precision high": lambda: precision("high"),
    "matmul precision medium": lambda: precision("medium"),
    "TF32 on CUDA": lambda: attribute(torch.backends.cuda.matmul, "allow_tf32", True),
    "fp32_precision bf16": lambda: attribute(torch.backends, "fp32_precision", "bf16"),
    "fp32_precision tf32": lambda: attribute(torch.backends, "fp32_precision", "tf32"),
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "default dtype float64": lambda: default_type(torch.float64),
    "default dtype float16": lambda: default_type(torch.float16),
    "default device meta": lambda: changed(lambda: torch.set_default_device("meta"), lambda: torch.set_default_device(None)),
    "deterministic algorithms": lambda: switched(torch.use_deterministic_algorithms),
    "denormals flushed": lambda: switched(torch.set_flush_denormal),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "oneDNN off": lambda: changed(lambda: torch.backends.mkldnn.set_flags(False), lambda: torch.backends.mkldnn.set_flags(True)),
    "one thread": lambda: threads(1),
    "three threads": lambda: threads(3),
    "NumPy raises": lambda: np.errstate(all="raise"),
    "decimals rounded up": lambda: decimals("rounding", decimal.ROUND_UP),
    "small exponents of decimals": lambda: decimals("Emax", 2),
}

ENVIRONMENTS = [
    {"ONEDNN_DEFAULT_FPMATH_MODE": "ANY", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"},
    {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"},
    {"PYTHONOPTIMIZE": "2", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONHASHSEED": "1"},
]


def forget():
    """Tables and known-answer tests that a process keeps, but for that of the kernels, which takes long."""
    for name, module in [*sys.modules.items()]:
        if name.startswith(("codec.network.", "codec.palette.")):
            for value in vars(module).values():
                if hasattr(value, "cache_clear") and getattr(value, "__module__", None) == name and value is not engines.why_not_fast:
                    value.cache_clear()


@contextlib.contextmanager
def only(engine):
    """Kernels are taken wherever they can be, or nowhere; nothing is known from before."""
    if engine == "compiled":
        pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "worth_compiling", lambda tiles: engine == "compiled")
        if engine == "plain":
            patch.setattr(palette_engines, "fast_module", lambda: "not now")
        forget()
        yield
        forget()


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A random checkpoint in the published layout."""
    folder = tmp_path_factory.mktemp("published")
    values = {"model_type": "imagegpt", "n_embd": 16, "n_head": 2, "n_layer": 1, "n_positions": 1024, "vocab_size": 17}
    (folder / "config.json").write_text(json.dumps(values))
    rng = np.random.default_rng(0)
    (folder / "preprocessor_config.json").write_text(json.dumps({"clusters": rng.uniform(-1, 1, (16, 3)).tolist()}))
    shapes = {"wte.weight": (17, 16), "wpe.weight": (1024, 16), "ln_f.weight": (16,), "h.0.ln_1.weight": (16,), "h.0.ln_2.weight": (16,)}
    for name, inputs, outputs in (("attn.c_attn", 16, 48), ("attn.c_proj", 16, 16), ("mlp.c_fc", 16, 64), ("mlp.c_proj", 64, 16)):
        shapes |= {f"h.0.{name}.weight": (inputs, outputs), f"h.0.{name}.bias": (outputs,)}
    shapes["lm_head.weight"] = (16, 16)
    weights = {name: torch.from_numpy(rng.normal(0, 0.5, shape).astype(np.float32)) for name, shape in shapes.items()}
    save_file(weights, folder / "model.safetensors")
    assert load_file(folder / "model.safetensors").keys() == weights.keys()
    return folder


def made(model=TINY, pixels=None):
    """Digests of a picture's file and of the payloads of a palette's tokens, and the engines that made them; both are decoded."""
    pixels = picture(5, 40, 3) if pixels is None else pixels
    data = with_network(pixels, model)
    assert (codec.decode(data, model=model, device=CPU) == pixels).all()
    network, whole = PaletteImageGPT.load(TINY_PALETTE, CPU), IntegerImageGPT.load(TINY, CPU)
    tokens = network.palette.tokens(smooth(3, 40))
    payloads = encode_tokens(network, tokens, Shape(2, 2), lambda _: None)
    assert (decode_tokens(network, (40, 3), Shape(2, 2), payloads, lambda _: None) == tokens).all()
    return [hashlib.sha256(part).hexdigest() for part in (data, b"".join(payloads))], [engine_of(whole, 1).name, network.engine_name]


@pytest.fixture(scope="session")
def expected():
    return made()[0]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_file_whatever_is_set(expected, name, engine):
    with only(engine), SETTINGS[name]():
        assert made() == (expected, 2 * [ENGINES[engine]])


@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_model_of_a_checkpoint_whatever_is_set(published, monkeypatch, name):
    palette = PaletteImageGPT.load(TINY_PALETTE, CPU).palette
    monkeypatch.setattr(Palette, "measured", lambda *_: palette)  # whole numbers in NumPy, which take long
    expected = converted(published, "model", CPU).digest
    with SETTINGS[name]():
        assert converted(published, "model", CPU).digest == expected


@pytest.mark.parametrize("before", ["inference mode", "default device meta"])
def test_what_was_first_used_under_a_setting_works_without(expected, before):
    """The tables and the network that a process keeps."""
    network = IntegerImageGPT.load(TINY, CPU)
    with only("plain"):
        with SETTINGS[before]():
            engine_of(network, 1)
            made()
        assert made()[0] == expected
        engine_of(network, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_file_of_the_default_model_whatever_is_set(name, photograph):
    pixels = np.ascontiguousarray(photograph[100:180, 200:280])
    with only("compiled"):
        expected = made(None, pixels)[0]
    with only("plain"), SETTINGS[name]():
        assert made(None, pixels)[0] == expected


@pytest.mark.slow
@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda e: next(iter(e)))
@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_file_in_any_environment(expected, engine, environment):
    command = [sys.executable, "-m", "tests.test_exactness", engine]
    result = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    assert result.stdout.split() == expected


@pytest.fixture
def wrong_at_medium(monkeypatch):
    """Plain torch is wrong where float32 products are made of bfloat16."""

    def wrong(function):
        def called(*arguments):
            return function(*arguments) + int(torch.get_float32_matmul_precision() == "medium")

        return called

    monkeypatch.setattr(plain, "normalize", wrong(plain.normalize))
    monkeypatch.setattr(PaletteOperations, "activated", staticmethod(wrong(PaletteOperations.activated)))


def test_plain_torch_that_is_not_exact_is_not_used(wrong_at_medium, expected):
    """A test holds for the state in which it was made."""
    sentence = "plain torch on the CPU does not compute exactly here .float32 matmul precision is medium.: nothing can be coded with it"
    network = PaletteImageGPT.load(TINY_PALETTE, CPU)
    with only("plain"):
        assert made()[0] == expected
        with precision("medium"):
            with pytest.raises(ModelError, match=sentence):
                codec.compress(picture(5, 40, 3), model=TINY, device=CPU)
            with pytest.raises(ModelError, match=sentence):
                encode_tokens(network, np.zeros((3, 3), np.uint16), Shape(2, 2), lambda _: None)
        assert made()[0] == expected


def test_wrong_kernels_of_the_palette_are_not_used(monkeypatch, caplog):
    pytest.importorskip("numba")
    network = PaletteImageGPT.load(TINY_PALETTE, CPU)
    right = FastOperations.activated
    monkeypatch.setattr(FastOperations, "activated", staticmethod(lambda x: right(x) + 1))
    with only("compiled"):
        prepare(network)
    assert network.engine_name == "plain torch on the CPU"
    assert "plain torch takes the place of the palette's compiled kernels" in caplog.text


def test_settings_are_told_in_words():
    assert settings(CPU) == ()
    with precision("medium"), torch.autocast("cpu", torch.bfloat16), default_type(torch.float64):
        assert settings(CPU) == ("float32 matmul precision is medium", "autocast is torch.bfloat16", "default dtype is torch.float64")


def with_a_gpu(monkeypatch, error):
    """Whose known-answer test ends with an error."""

    def require(device):
        assert device == "cuda"
        raise error

    monkeypatch.setattr(devices, "_has_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(engines, "require_exact", require)
    devices._tell.cache_clear()


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: out of memory\nmore"), ModelError("it is not exact")], ids=["driver", "answer"]
)
def test_a_gpu_that_does_not_work_is_not_used(monkeypatch, caplog, error):
    with_a_gpu(monkeypatch, error)
    assert [devices.device_named("auto") for _ in range(2)] == [CPU, CPU]
    first = str(error).splitlines()[0]
    assert [record.message for record in caplog.records] == [f"the CPU is used: the GPU cannot be used, {first}"]
    with pytest.raises(IgptError, match=f"{first}: use --device cpu"):
        devices.device_named("cuda")


def test_a_mistake_on_the_gpu_is_not_hidden(monkeypatch):
    with_a_gpu(monkeypatch, TypeError("a mistake"))
    with pytest.raises(TypeError, match="a mistake"):
        devices.device_named("auto")


if __name__ == "__main__":
    with only(sys.argv[1]):
        print(*made()[0])
