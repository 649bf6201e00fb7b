"""The integer network gives the same integers however it is driven, and where."""

import functools
import os
import re
import subprocess
import sys

import numba
import numpy as np
import pytest
import torch

import codec
from codec import models
from codec.network import engines, fast, kernels, known_answer, vectors
from codec.network.arithmetic import PRODUCTS, is_exact
from codec.network.attention import CachedAttention, ParallelAttention
from codec.network.config import ModelConfig
from codec.network.engines import engine_of, plain_engine
from codec.network.features import TileContext
from codec.network.frequencies import frequencies
from codec.network.limits import EXPONENT_STEPS, powers_of_two
from codec.network.model import IntegerImageGPT
from codec.network.plain import PlainEngine
from codec.tiling.context import HEAD_FEATURES, STRIPS
from codec.tiling.planes import GREY, RGB
from codec.tiling.tiles import Around
from tests.conftest import CPU, TINY, TINY_PALETTE, picture, tile_samples

TILES = 64
ROWS = 3
STEPS = ROWS * 32


def tiny_model():
    return IntegerImageGPT.load(TINY, CPU)


def samples(kind=RGB, tiles=TILES):
    pictures = [picture(32, 32, kind.channels, seed) for seed in range(tiles - 2)]
    rng = np.random.default_rng(0)
    extremes = [np.full((32, 32, kind.channels), 255, np.uint8), rng.choice([0, 255], (32, 32, kind.channels)).astype(np.uint8)]
    return torch.from_numpy(tile_samples([*pictures, *extremes]))


def around(samples):
    """What is known around tiles: some sides or none, which their first row says."""
    first = samples[:, :, :32]
    return Around((first.int().sum((1, 2)) % 16).to(torch.uint8), first.flip(-1).repeat(1, 1, STRIPS // 32))


def test_tiles_know_different_sides():
    assert len(around(samples()).sides.unique()) > 8


def parallel(engine, samples, kind=RGB, rows=ROWS):
    """Every layer's output, and the frequencies of every channel, of a plain engine: a list of (tiles, positions, ...)."""
    tiles, steps, device = len(samples), rows * 32, engine.torch_device
    context = TileContext(samples.to(device), kind, around(samples.to(device)))
    attention = ParallelAttention(engine.config, tiles, device)
    outputs = list(
        engine.layer_outputs(context.features[:, :steps].flatten(0, 1), torch.arange(steps, device=device).repeat(tiles), attention)
    )
    outputs += tables(engine, outputs[-1], [f[:, :steps].flatten(0, 1) for f in context.head_features])
    return [x.view(tiles, steps, -1).cpu() for x in outputs]


def stepwise(engine, samples, kind=RGB, rows=ROWS):
    """The same by cached steps."""
    tiles, steps, device = len(samples), rows * 32, engine.torch_device
    context = TileContext(samples.to(device), kind, around(samples.to(device)))
    attention = CachedAttention(engine.config, tiles, device)
    by_step = []
    for p in range(steps):
        attention.position.fill_(p)
        outputs = list(engine.layer_outputs(context.features[:, p].contiguous(), attention.position, attention))
        by_step.append(outputs + tables(engine, outputs[-1], [f[:, p] for f in context.head_features]))
    return [torch.stack(x, 1).cpu() for x in zip(*by_step, strict=True)]


def tables(engine, hidden, head_features):
    return [frequencies(engine.logits(hidden, features, c)) for c, features in enumerate(head_features)]


def seen(engine, samples, kind=RGB, rows=ROWS):
    """Hidden states and frequencies, as the encoder gets them from any engine."""
    found = engine.see(kind, samples.numpy(), around(samples).each(torch.Tensor.numpy), rows * 32)
    across = [np.ascontiguousarray(x.swapaxes(0, 1)) for x in (found.hidden, *found.features)]
    channels = engine.frequencies(kind, across[0], across[1:], None).transpose(1, 2, 0, 3)
    return [torch.from_numpy(np.ascontiguousarray(x)) for x in (found.hidden, *channels)]


def stepped(engine, samples, kind=RGB, rows=ROWS):
    """The frequencies, as the decoder gets them from any engine."""
    tokens = engine.see(kind, samples.numpy(), around(samples).each(torch.Tensor.numpy), rows * 32).tokens
    steps, by_step = engine.steps(kind, around(samples).each(torch.Tensor.numpy)), []
    for p in range(rows * 32):
        steps.go_to(p)
        of_channels = []
        for c in range(kind.channels):
            steps.begin(c)
            of_channels.append(torch.from_numpy(steps.frequencies(None).copy()))
            steps.accept(np.ascontiguousarray(tokens[c][:, p]), np.ones(len(samples), np.bool_))
        by_step.append(of_channels)
    return [torch.stack(x, 1) for x in zip(*by_step, strict=True)]


def assert_same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


@pytest.fixture(scope="module")
def plain(tiny):
    return plain_engine(tiny)


@pytest.fixture(scope="module")
def expected(plain):
    return parallel(plain, samples())


def test_outputs_are_not_trivial(expected):
    for layer in expected:
        assert len(layer.unique()) > 50


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_stepwise_equals_parallel_in_any_batch(plain, expected, batch):
    assert_same(stepwise(plain, samples()[:batch]), [x[:batch] for x in expected])


@pytest.mark.parametrize("batch", [1, 7])
def test_parallel_in_any_batch(plain, expected, batch):
    assert_same(parallel(plain, samples()[:batch]), [x[:batch] for x in expected])


def test_grey(plain):
    assert_same(stepwise(plain, samples(GREY, 5), GREY), parallel(plain, samples(GREY, 5), GREY))


@pytest.mark.parametrize("threads", [1, 2])
def test_any_thread_count(plain, expected, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_same(parallel(plain, samples()), expected)
        assert_same(stepwise(plain, samples()[:7]), [x[:7] for x in expected])
    finally:
        torch.set_num_threads(before)


def test_tiles_in_another_order(plain, expected):
    order = torch.randperm(TILES, generator=torch.Generator().manual_seed(1))
    assert_same(parallel(plain, samples()[order]), [x[order] for x in expected])
    assert_same(stepwise(plain, samples()[order][:7]), [x[order][:7] for x in expected])


@pytest.mark.parametrize("name", PRODUCTS)
def test_every_product(tiny, expected, name):
    if not is_exact(PRODUCTS[name], CPU):
        pytest.skip(f"the {name} product is not exact on this machine, and so is never chosen")
    engine = PlainEngine(tiny, PRODUCTS[name])
    assert_same(parallel(engine, samples()), expected)
    assert_same(stepwise(engine, samples()[:7]), [x[:7] for x in expected])


def test_the_plain_engine_gives_what_its_layers_do(plain, expected):
    assert_same(seen(plain, samples()), expected[-4:])
    assert_same(stepped(plain, samples()[:7]), [x[:7] for x in expected[-3:]])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_compiled(monkeypatch, tiny, plain, expected, threads):
    pytest.importorskip("numba")
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    engine = engine_of(tiny, TILES)
    assert isinstance(engine, fast.FastEngine)
    for batch in (1, 7, 64):
        assert_same(seen(engine, samples()[:batch]), [x[:batch] for x in expected[-4:]])
        assert_same(stepped(engine, samples()[:batch]), [x[:batch] for x in expected[-3:]])
    assert_same(stepped(engine, samples()[-2:], rows=32), parallel(plain, samples()[-2:], rows=32)[-3:])
    assert_same(seen(engine, samples(GREY, 5), GREY), parallel(plain, samples(GREY, 5), GREY)[-2:])


def test_the_default_model_compiled():
    """Wider, and with a window that is no power of two."""
    pytest.importorskip("numba")
    network = models.load(None, "rgb", CPU)
    fast, plain = engine_of(network, TILES), plain_engine(network)
    assert_same(seen(fast, samples(tiles=5), rows=5), parallel(plain, samples(tiles=5), rows=5)[-4:])
    assert_same(stepped(fast, samples(tiles=3), rows=4), parallel(plain, samples(tiles=3), rows=4)[-3:])


SIZES = [
    {"n_embd": 16, "n_head": 1, "attention_window": 32},
    {"n_embd": 48, "n_head": 2, "attention_window": 41},
    {"n_embd": 160, "n_head": 4, "attention_window": 200, "n_inner": 80},
    {"n_embd": 48, "n_head": 16, "attention_window": 9, "n_inner": 144, "head_inner": 64},
]


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: str(sizes["n_embd"]))
def test_other_sizes_compiled_at_the_bounds(sizes):
    """Numbers from all over the bounds, widths that fill no whole vectors."""
    pytest.importorskip("numba")
    network = known_answer.random_network(ModelConfig(**{"n_inner": 64, "head_inner": 48, "n_layer": 2, **sizes}))
    assert known_answer.answer_of(fast.FastEngine(network)) == known_answer.answer_of(plain_engine(network))


@pytest.mark.skipif(not vectors.BYTES, reason="one at a time, weights are taken from the table itself")
def test_attention_weights_are_those_of_the_table():
    """Every step of every table and more, from several places in a vector on."""
    intrinsic = vectors.total_weight

    @numba.njit
    def total_weight(scores, lead, count, best, scale, octave):
        return intrinsic(scores, 0, lead, count, best, scale, octave)

    best, steps, scale = np.int32(12345), np.arange(2001, dtype=np.int32), np.array([1, 0], np.int32)
    for bits in range(1, 15):
        table = powers_of_two(EXPONENT_STEPS, 1 << bits)
        for lead in (0, 5, 15):
            scores, expected = np.full(2016, best + 1), np.zeros(2016, np.int32)
            scores[lead : lead + len(steps)] = best - steps
            expected[lead : lead + len(table)] = table
            assert total_weight(scores, lead, len(steps), best, scale, kernels.exponentials(table)) == table.sum()
            low, high = scores.view(np.uint8).reshape(-1, 4, 16)[:, :2].swapaxes(0, 1).reshape(2, -1).astype(np.int32)
            assert (low + 256 * high == expected).all()


@pytest.mark.parametrize("width", [64, 80, 1280])
def test_activations_are_those_of_the_table(width):
    random = np.random.default_rng(0)
    table = random.integers(-127, 128, 1024).astype(np.int8)
    sums = np.resize(np.arange(-640, 640, dtype=np.int32), (40, width))
    sums[20:] = random.integers(-(1 << 23), 1 << 23, (20, width))
    scale = np.zeros((4, width), np.int32)
    scale[0] = 1
    expected = table[sums.clip(-511, 511) + 512].astype(int) + vectors.ZERO
    out = np.empty(sums.shape, vectors.INPUT)

    @numba.njit
    def looked_up(sums, scale, table, out):
        kernels._looked_up(sums, scale, table, out)

    looked_up(sums, scale, table, out)
    assert (out == expected).all()


@pytest.mark.parametrize("environment", [{}, {"NUMBA_CPU_NAME": "generic"}], ids=["this", "generic"])
def test_compiled_for_any_processor(plain, environment):
    """By byte products where the processor has them, and for the least of its kind; in a process of its own."""
    pytest.importorskip("numba")
    code = "from tests.test_network import *; print(vectors.BYTES, known_answer.answer_of(fast.FastEngine(tiny_model())))"
    result = subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    by_bytes, found = result.stdout.split()
    assert found == known_answer.answer_of(plain)
    assert by_bytes == str(vectors.BYTES and not environment)


def test_the_known_answer_is_that_of_plain_torch_and_of_the_kernels():
    pytest.importorskip("numba")
    network = known_answer.random_network(known_answer.TESTED)
    assert known_answer.answer_of(plain_engine(network)) == known_answer.ANSWER
    assert not engines.why_not_fast()


def test_wrong_kernels_do_not_pass(monkeypatch, caplog):
    pytest.importorskip("numba")
    right = fast.FastEngine.frequencies_into

    def wrong(self, out, channel, *others):
        right(self, out, channel, *others)
        out[:1, channel, :1] ^= 1

    monkeypatch.setattr(fast.FastEngine, "frequencies_into", wrong)
    monkeypatch.setattr(engines, "why_not_fast", functools.cache(engines.why_not_fast.__wrapped__))
    network = tiny_model()
    assert isinstance(engine_of(network, TILES), PlainEngine)
    assert engine_of(network, TILES).name == "plain torch on the CPU"
    assert "takes the place of the compiled kernels" in caplog.text
    assert "they do not compute exactly on this machine" in caplog.text


def kernels_that_raise(monkeypatch, error):
    def broken(network):
        raise error

    monkeypatch.setattr(fast, "FastEngine", broken)
    monkeypatch.setattr(engines, "why_not_fast", functools.cache(engines.why_not_fast.__wrapped__))


def test_where_numba_does_not_work_plain_torch_does_it(monkeypatch, caplog):
    errors = pytest.importorskip("numba.core.errors")
    for error in (RuntimeError("Symbols not found"), errors.TypingError("no such type")):
        kernels_that_raise(monkeypatch, error)
        network = tiny_model()
        assert engine_of(network, TILES) is plain_engine(network)
        assert f"numba fails: {error}" in caplog.text


def test_a_mistake_in_the_kernels_is_not_hidden(monkeypatch):
    pytest.importorskip("numba")
    kernels_that_raise(monkeypatch, IndexError("a mistake"))
    with pytest.raises(IndexError, match="a mistake"):
        engine_of(tiny_model(), TILES)


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("sys.modules['numba'] = None", "numba is missing"),
        ("os.environ['NUMBA_DISABLE_JIT'] = '1'", "numba's compiler is switched off (NUMBA_DISABLE_JIT)"),
    ],
)
def test_without_numba_a_warning_says_so_once(before, reason):
    code = (
        f"import os, sys; {before}; import logging; logging.basicConfig(format='%(name)s %(message)s');"
        "from tests.conftest import *; from codec.palette.network import PaletteImageGPT;"
        "networks = IntegerImageGPT.load(TINY, CPU), PaletteImageGPT.load(TINY_PALETTE, CPU);"
        "from codec.network.engines import engine_of; from codec.palette.engines import prepare; prepare(networks[1]);"
        "print([engine_of(networks[0], 64).name, engine_of(networks[0], 64).name, networks[1].engine_name])"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout == f"{3 * ['plain torch on the CPU']}\n"
    said = f"igpt plain torch takes the place of the compiled kernels, which takes about ten times as long: {reason}\n"
    assert result.stderr == said


WITHOUT_TORCH = """
import hashlib, sys
{before}
import numpy as np
from PIL import Image
from skimage import data
import codec

drawing = np.full((60, 90, 3), 250, np.uint8)
drawing[10:40, 20:70], drawing[30:50, 40:80] = (200, 30, 40), (20, 60, 120)
for pixels in (data.chelsea()[100:170, 200:290], data.chelsea()[100:140, 200:260, 1], drawing):
    file = codec.compress(Image.fromarray(np.ascontiguousarray(pixels)))
    assert (np.asarray(codec.decompress(file)) == pixels).all()
    print(hashlib.sha256(file).hexdigest())
print("torch" in sys.modules and sys.modules["torch"] is not None, file=sys.stderr)
"""


def test_a_cpu_needs_no_torch():
    """Compressing and decompressing are the same where torch is not installed, and do not import it where it is."""
    pytest.importorskip("numba")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    codes = [WITHOUT_TORCH.format(before=before) for before in ("sys.modules['torch'] = None", "", "import torch")]
    runs = [subprocess.run([sys.executable, "-c", c], capture_output=True, text=True, check=True, env=environment) for c in codes]
    assert len({run.stdout for run in runs}) == 1
    assert len(set(runs[0].stdout.split())) == 3
    assert [run.stderr for run in runs[::2]] == ["False\n", "True\n"]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("from codec import models; models.with_palette('openai/imagegpt-small', None, 'cpu')", "a published ImageGPT needs torch"),
        ("from codec import models; models.read(TINY_PALETTE, 'cpu')", "tiny-palette: a published ImageGPT needs torch"),
        ("import codec; codec.compress(str(PICTURE), model=TINY_PALETTE)", "tiny-palette: a published ImageGPT needs torch"),
        ("import codec; codec.decode(FILE, model=TINY_PALETTE)", "a published ImageGPT needs torch"),
        ("import codec.training.loop", "training needs torch"),
        ("from codec.devices import device_named; device_named('cuda')", "torch is not installed, which a GPU needs"),
        (
            "from codec.network import engines; engines.why_not_fast = lambda: 'numba is missing'; engines.engine_of(tiny, 1)",
            r"a network, as the compiled kernels cannot be used \(numba is missing\), needs torch",
        ),
        ("from codec.network import engines; tiny.device = 'cuda'; engines.engine_of(tiny, 1)", "a GPU needs torch"),
    ],
)
def test_what_needs_torch_says_so(code, sentence):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from bitstream.errors import IgptError; from pathlib import Path; from codec.network.model import IntegerImageGPT\n"
        f"TINY, TINY_PALETTE = Path({str(TINY)!r}), Path({str(TINY_PALETTE)!r}); tiny = IntegerImageGPT.load(TINY, 'cpu')\n"
        "PICTURE, FILE = (TINY.parent / name for name in ('palette-33x7.png', 'palette-33x7.tiny-palette.igpt'))\n"
        f"try:\n    {code}\nexcept IgptError as error:\n    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert re.search(sentence, said)
    assert "`pip install igpt[torch]`" in said


def test_two_threads_at_once():
    from concurrent.futures import ThreadPoolExecutor

    pixels = [picture(130, 150, 3, seed) for seed in range(2)]
    expected = [codec.compress(p, model=TINY, device="cpu") for p in pixels]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda p: codec.compress(p, model=TINY, device="cpu"), pixels)) == expected


def test_the_window_is_respected_over_the_whole_tile(plain):
    assert_same(stepwise(plain, samples()[-2:], rows=32), parallel(plain, samples()[-2:], rows=32))


def test_the_future_and_other_tiles_do_not_matter(plain, expected):
    changed = samples()
    changed[:, :, 40:] = changed[:, :, 40:].flip(0)
    for found, layer in zip(parallel(plain, changed), expected, strict=True):
        assert torch.equal(found[:, :40], layer[:, :40])


def test_frequencies_are_those_of_the_format(plain, expected):
    for table in expected[-3:]:
        assert int(table.min()) >= 1
        assert (table.long().sum(-1) == 1 << 24).all()


def test_frequencies_at_the_extremes():
    logits = torch.zeros(4, 256, dtype=torch.int32)
    logits[1, 3] = 2**15 - 1
    logits[2] = -(2**15) + 1
    logits[3, ::2], logits[3, 1::2] = 2**15 - 1, -(2**15) + 1
    found = frequencies(logits)
    assert (found.long().sum(-1) == 1 << 24).all()
    assert int(found.min()) >= 1
    assert int(found[1, 3]) == (1 << 24) - 255
    assert torch.equal(found[0], found[2])


INSTRUCTION_SETS = [
    {},
    {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2_VNNI"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"},
]


@pytest.mark.parametrize("environment", INSTRUCTION_SETS, ids=lambda e: e.get("ONEDNN_MAX_CPU_ISA", "best"))
def test_every_instruction_set(expected, environment):
    """In a process of its own, as the setting is read once: the full outputs of both drivers, compared by digest."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.test_network"], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == [digest(expected), digest([x[:7] for x in expected])]


def digest(outputs):
    import hashlib

    return hashlib.sha256(b"".join(x.contiguous().numpy().tobytes() for x in outputs)).hexdigest()


@pytest.mark.gpu
@pytest.mark.parametrize("name", PRODUCTS)
def test_cuda_equals_cpu(tiny, expected, name):
    there = IntegerImageGPT(tiny.config, tiny.arrays, "tiny", "cuda")
    engine = PlainEngine(there, PRODUCTS[name])
    assert is_exact(PRODUCTS[name], engine.torch_device)
    assert_same(parallel(engine, samples()), expected)
    assert_same(seen(engine, samples()), expected[-4:])
    for batch in (1, 7, 64):
        assert_same(stepwise(engine, samples()[:batch]), [x[:batch] for x in expected])
        assert_same(stepped(engine, samples()[:batch]), [x[:batch] for x in expected[-3:]])
    assert known_answer.answer_of(engine_of(there, TILES)) == known_answer.answer_of(plain_engine(tiny))


def test_head_features_are_as_wide_as_the_heads_expect(tiny):
    assert tiny.arrays["heads.0.c_fc.weight"].shape[1] == tiny.config.n_embd + HEAD_FEATURES


if __name__ == "__main__":
    model = plain_engine(tiny_model())
    print(digest(parallel(model, samples())), digest(stepwise(model, samples()[:7])))
