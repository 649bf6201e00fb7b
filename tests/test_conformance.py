"""The command that checks decoders, the two decoders here, and the values on the way."""

import functools
import json
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from unittest import mock

import pytest

from bitstream.container import read
from codec.decompression import decompress_file
from codec.jit import interpreted
from codec.jpeg import coefficients, mixture, prediction, values
from codec.jpeg import kernel as of_coefficients
from codec.mixing import bands, deep, kernel, least_squares
from codec.network import coding, words
from codec.network.plain import PlainEngine
from codec.options import Options
from codec.palette import coding as tokens
from codec.palette.network import PaletteImageGPT
from tests import conformance
from tests.conftest import GOLDEN
from tests.intermediate import FILES, INTERMEDIATE, Decisions, Enough, Steps, by_network, digest, intermediate

PYTHON = f"{sys.executable} -m"
PLAIN, IGPT = f"{PYTHON} tests.plain_decoder", f"{PYTHON} tests.igpt_decoder"
KNOWN = json.loads(INTERMEDIATE.read_text())
OPTIONS = Options(device="cpu")


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "tests.conformance", *arguments], capture_output=True, text=True, check=False)


def test_quick_files():
    """Of every sort one, by both decoders."""
    names = ("stored-1x8", "mixing-1x1", "file-pixel.fast", "hand-*", "refused/half.*", "refused/variant-1.*")
    for command in (PLAIN, IGPT):
        found = run(command, *names)
        assert found.returncode == 0, found.stdout
        assert found.stdout.splitlines()[-1].startswith("8 of ")
        assert found.stdout.splitlines()[-1].endswith(": 8 ok")


@pytest.mark.slow
@pytest.mark.parametrize("command", [PLAIN, IGPT])
def test_all_files(command):
    found = run(command, "--seconds", "3600")
    assert found.returncode == 0, found.stdout


WRONG = {  # what a decoder does with OUT and how it ends, and what is said of it
    "pass": ("stored-1x8", "differs", "it wrote nothing"),
    "out.write_bytes(b'0 8 7 9\\n')": ("stored-1x8", "differs", "samples, chunks"),
    "out.write_bytes(b'0 8 9 7\\n')": ("stored-1x8", "differs", "instead of '0 8 7 9'"),
    "out.write_bytes(b'x')": ("file-pixel.fast", "differs", "the file, of 1 bytes"),
    "sys.exit(3)": ("stored-1x8", "refused", ""),
    "sys.exit('for a reason')": ("stored-1x8", "crashed", "exit status 1: for a reason"),
    "out.write_bytes(b'')": ("refused/empty.NotIgptError", "not refused", "not igpt"),
    "raise OSError": ("refused/empty.NotIgptError", "crashed", "OSError"),
    "time.sleep(60)": ("stored-1x8", "too slow", ""),
}


@pytest.mark.parametrize("does", WRONG)
def test_wrong_decoders(does, tmp_path, capsys):
    script = tmp_path / "decoder.py"
    script.write_text(f"import pathlib, sys, time\nout = pathlib.Path(sys.argv[2])\n{does}\n")
    name, verdict, more = WRONG[does]
    seconds = "1" if verdict == "too slow" else "60"
    assert conformance.main([f"{sys.executable} {script}", name, "--seconds", seconds]) == 1
    line, summary = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{verdict} ")
    assert name in line
    assert more in line
    assert summary.endswith(f": 1 {verdict}")


def test_names_of_no_file():
    found = run(PLAIN, "no-such-*")
    assert found.returncode == 2
    assert "no file has such a name" in found.stderr


@pytest.mark.parametrize("name", FILES)
def test_the_plain_decoder_comes_by_the_values(name):
    assert intermediate(name) == KNOWN[name]


@functools.cache
def plain(engine):
    """In plain torch."""
    return PlainEngine(engine)


@contextmanager
def observed_networks(seen):
    """The first tile of every turn, in the kernels' decoder, and its logits by plain torch, as the kernels keep none."""
    decoders, of_words, palette, of_tokens = coding.Decoders, words.Decoders, PaletteImageGPT, tokens.TokenDecoder
    start, begin, accept, take, logits, norm, decode = (
        decoders.__init__,
        decoders.begin,
        decoders.accept,
        of_words.decode,
        palette.logits,
        palette.norm,
        of_tokens.decode,
    )

    def layer_begins(self, payloads):
        seen.layer_begins()
        start(self, payloads)

    def turn_begins(self, parts, learning):
        seen.turn_begins((32, 32))
        begin(self, parts, learning)

    def accepted(self, position, channel, steps, impossible, exist):
        now, members = seen.position(position if exist[0] else -1), getattr(steps, "members", [steps])
        now.setdefault("features", digest(members[0].features[0, 0], "<i1"))
        now.setdefault("hidden", [digest(member.hidden[0], "<i1") for member in members])
        head, given = members[0].kind.heads[channel], members[0].head_features[:1]
        of = [(plain(member.engine), member.hidden[:1]) for member in members]
        found = [digest(engine.logits(engine.tensor(hidden), engine.tensor(given), head)[0], "<i4") for engine, hidden in of]
        now.setdefault("channels", []).append({"head": head, "head features": digest(given[0], "<i1"), "logits": found})
        seen.channel("frequencies", digest(steps.frequencies(impossible)[0], "<i4"))
        accept(self, position, channel, steps, impossible, exist)
        if steps.read and exist[0]:
            decoded(steps.table[0, 0, 0], steps.tokens[0])

    def taken(self, payload, tables, exist, found):
        take(self, payload, tables, exist, found)
        if exist[0]:
            decoded(tables[0], found[0])

    def decoded(frequencies, token):
        seen.channel("corrected", digest(frequencies, "<i4"))
        seen.channel("token", int(token))

    def of_palette(self, before, place, attention):
        if place == 0:
            seen.layer_begins()
            seen.turn_begins((32, 32))
        seen.position(int(place))
        found = logits(self, before, place, attention)
        seen.channel("logits", [digest(found[0], "<i4")])
        return found

    def of_norm(self, name, x):
        found = norm(self, name, x)
        if name == "ln_f":
            seen.now["hidden"] = [digest(found[0], "<i8")]
        return found

    def of_decode(self, tables):
        found = decode(self, tables)
        decoded(tables[0], found[0])
        return found

    with (
        mock.patch.multiple(decoders, __init__=layer_begins, begin=turn_begins, accept=accepted),
        mock.patch.object(of_words, "decode", taken),
        mock.patch.multiple(palette, logits=of_palette, norm=of_norm),
        mock.patch.object(of_tokens, "decode", of_decode),
    ):
        yield


@contextmanager
def observed_decisions(seen):
    """The kernels as they stand, without a compiler."""
    modules = bands, kernel, deep, least_squares, coefficients, of_coefficients, values, mixture, prediction
    with ExitStack() as stack:
        for module in modules:
            as_they_stand = {name: of.py_func for name, of in vars(module).items() if hasattr(of, "py_func")}
            stack.enter_context(mock.patch.multiple(module, **as_they_stand))
        coded, predict, coefficient = kernel.coded, of_coefficients.predict, of_coefficients.coefficient

        def of_coded(bit, probability, *arguments):
            found = coded(bit, probability, *arguments)
            seen.decided(probability, found)
            return found

        def of_predict(place, network, work):
            predict(place, network, work)
            seen.ran(place, work.features, work.logits)

        def of_coefficient(value, place, *arguments):
            found = coefficient(value, place, *arguments)
            seen.decoded(place & 63, found)
            return found

        stack.enter_context(mock.patch.object(kernel, "coded", of_coded))
        stack.enter_context(mock.patch.object(mixture, "coded", of_coded))
        stack.enter_context(mock.patch.object(prediction, "sums_of_pairs", prediction.plain_sums_of_pairs))
        stack.enter_context(mock.patch.multiple(of_coefficients, predict=of_predict, coefficient=of_coefficient))
        yield


@pytest.mark.skipif(interpreted(), reason="without numba there are no kernels")
@pytest.mark.parametrize("name", FILES)
def test_the_kernels_come_by_the_values(name, monkeypatch):
    monkeypatch.setenv("IGPT_MODEL_PATH", str(GOLDEN))
    data = (GOLDEN / f"{name}.igpt").read_bytes()
    decompress_file(read(data), OPTIONS)  # compiles, and tests, what it needs
    seen = Steps() if by_network(name) else Decisions()
    with (observed_networks if by_network(name) else observed_decisions)(seen), suppress(Enough):
        decompress_file(read(data), OPTIONS)
    assert seen.found() == KNOWN[name]
