"""The GPU's range coder, in numba's simulator, against constriction: run by test_gpu_coder, in a process whose numba simulates CUDA."""

import itertools
import sys
import threading

import numpy as np
import pytest
import torch
from numba.cuda.simulator.kernelapi import FakeCUDAShared

from bitstream import gpu_coder
from bitstream.errors import DamagedError
from bitstream.range_coder import TokenDecoder, TokenEncoder
from codec.network import coding, gpu, gpu_kernels, known_answer
from codec.network.arithmetic import exp2_table
from codec.network.config import ModelConfig
from codec.network.groups import Cells, Turn
from codec.network.plain import PlainEngine
from codec.progress import ignore
from codec.tiling.planes import GREY, RGB
from tests.conftest import random_around

pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # NumPy's, of sums modulo 2^64
SMALL = ModelConfig(n_embd=16, n_head=1, n_inner=16, head_inner=16, attention_window=32, n_layer=1, learns=False)
UNIFORM, PEAKED, RARE = "uniform", "peaked", "rare"


def _one_at_a_time(array):
    """A block's shared array, of which the simulator would sometimes make two, where two threads ask at once; of one in a kernel."""
    lock = threading.Lock()

    def locked(*arguments):
        with lock:
            return array(*arguments)

    return locked


@pytest.fixture(autouse=True)
def _threads(monkeypatch):
    """The simulator's are Python's: few, and the one that looks whether they wait does not keep them waiting."""
    monkeypatch.setattr(gpu_coder, "THREADS", 8)
    monkeypatch.setattr(gpu_kernels, "THREADS", 4)
    monkeypatch.setattr(FakeCUDAShared, "array", _one_at_a_time(FakeCUDAShared.array))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def tables(rng, rows, alphabet, how):
    """(rows, alphabet) int32, each row summing to 2^24: alike, or as uneven as can be, or of any kind."""
    if how == UNIFORM:
        shares = np.full((rows, alphabet), 2**24 // alphabet - 1)
    elif how in (PEAKED, RARE):
        shares = np.zeros((rows, alphabet), np.int64)
    else:
        shares = np.floor(rng.dirichlet(np.full(alphabet, how), rows) * (2**24 - alphabet)).astype(np.int64)
    shares[np.arange(rows), rng.integers(0, alphabet, rows)] += 2**24 - alphabet - shares.sum(1)
    return (shares + 1).astype(np.int32)


def tokens_for(rng, rows, how):
    """Tokens that tables make likely, or, of uneven ones, the rare ones."""
    likely = rows.argmax(1)
    if how == PEAKED:
        return likely.astype(np.int32)
    return ((likely + 1) % rows.shape[1] if how == RARE else rng.integers(0, rows.shape[1], len(rows))).astype(np.int32)


def by_constriction(tokens, rows):
    encoder = TokenEncoder()
    encoder.encode(tokens, rows)
    return encoder.payload()


def encoded(tokens, rows, bounds):
    return gpu.encoded(gpu.spans_of(torch.from_numpy(tokens), torch.from_numpy(rows)), bounds)


def decoded(payloads, rows, bounds, cuts=()):
    """Tokens, some tiles at a call; or the message."""
    tokens = torch.zeros(len(rows), dtype=torch.int32)
    try:
        decoders, places = gpu.Decoders(payloads, "cpu"), np.arange(len(rows))
        decoders.begin(dict(enumerate(itertools.pairwise(bounds))), {})
        for first, last in zip((0, *cuts), (*cuts, len(rows)), strict=True):
            decoders.decode(torch.from_numpy(rows), torch.from_numpy((places >= first) & (places < last)), tokens)
        decoders.finish()
    except DamagedError as error:
        return str(error)
    return tokens.tolist()


def decoded_by_constriction(payload, rows, cuts=()):
    try:
        decoder = TokenDecoder(payload)
        found = [decoder.decode(rows[first:last]) for first, last in zip((0, *cuts), (*cuts, len(rows)), strict=True) if first < last]
        decoder.finish()
    except DamagedError as error:
        return str(error)
    return np.concatenate(found).tolist()


@pytest.mark.parametrize("alphabet", [2, 11, 33])
def test_words_and_tokens_are_constrictions(alphabet):
    rng = np.random.default_rng(alphabet)
    ways = [UNIFORM, PEAKED, RARE, 1e-3, 0.05, 100.0]
    counts = [int(rng.integers(1, 24)) for _ in ways]
    rows = [tables(rng, count, alphabet, how) for count, how in zip(counts, ways, strict=True)]
    tokens = [tokens_for(rng, own, how) for own, how in zip(rows, ways, strict=True)]
    bounds, together, of_all = np.cumsum([0, *counts]), np.concatenate(rows), np.concatenate(tokens)
    payloads = encoded(of_all, together, bounds)
    assert payloads == [by_constriction(*of) for of in zip(tokens, rows, strict=True)]
    assert decoded(payloads, together, bounds, sorted(rng.integers(0, len(of_all), 2).tolist())) == of_all.tolist()


def test_carries_and_ends():
    """Hundreds of short payloads of rare and likely tokens: sums that run over into words already written, and all ways to end."""
    rng = np.random.default_rng(5)
    counts = rng.integers(0, 30, 250)
    rows, bounds = tables(rng, int(counts.sum()), 3, 0.02), np.cumsum([0, *counts])
    tokens = np.where(rng.random(len(rows)) < 0.5, rows.argmax(1), 2).astype(np.int32)
    own = [slice(*edges) for edges in itertools.pairwise(bounds)]
    assert encoded(tokens, rows, bounds) == [by_constriction(tokens[part], rows[part]) for part in own]


def test_damaged_payloads_are_refused_with_the_same_words():
    rng, refused = np.random.default_rng(3), []
    for _ in range(50):
        alphabet, count = int(rng.choice([2, 3, 5])), int(rng.integers(1, 24))
        rows = tables(rng, count, alphabet, [UNIFORM, PEAKED, 0.3][int(rng.integers(3))])
        words = np.frombuffer(by_constriction(tokens_for(rng, rows, RARE if rng.random() < 0.5 else PEAKED), rows), "<u4").tolist()
        chance = rng.integers(0, 2**32, 4).tolist()
        changed = [
            words,
            words[:-1],
            [],
            [*words, chance[0]],
            [*words[:-1], (words[-1] + int(rng.integers(-3, 4))) % 2**32],
            words[:-2] + chance[: int(rng.integers(5))],
            [2**32 - 1] * len(words),
        ][int(rng.integers(7))]
        payload, cuts = np.array(changed, "<u4").tobytes(), sorted(rng.integers(0, count, 2).tolist())
        expected = decoded_by_constriction(payload, rows, cuts)
        assert decoded([payload], rows, np.array([0, count]), cuts) == expected
        refused.append(expected if isinstance(expected, str) else "")
    assert len(set(refused)) >= 3


def test_the_payload_that_fails_first_is_told_of():
    rng = np.random.default_rng(0)
    rows, bounds = tables(rng, 9, 4, UNIFORM), np.array([0, 3, 6, 9])
    good, empty, wild = by_constriction(np.array([3, 1, 2], np.int32), rows[:3]), b"", b"\xff" * 8
    assert "more than it holds" in decoded([good, empty, wild], rows, bounds, [3, 6])
    assert "no token" in decoded([good, wild, empty], rows, bounds, [3, 6])
    assert "no token" in decoded([good, wild, wild], rows, bounds)
    assert "last token" in decoded([good, good, good + bytes(8)], rows, bounds)
    assert "whole word" in decoded([good, good, good[:-1]], rows, bounds)


class Halves:
    """Cells of colour: even tokens lie below 128, odd ones above."""

    def bounds(self, tokens, known, channels):
        low = tokens.astype(np.int64) % 2 * 128
        return low, low + 127


def edged(tile, rows, columns):
    """A tile's (channels, 1024) samples, of which those that do not exist repeat the last that do."""
    there = tile.reshape(-1, 32, 32)[:, :rows, :columns]
    return np.pad(there, ((0, 0), (0, 32 - rows), (0, 32 - columns)), "edge").reshape(len(tile), -1)


def turns_of(kind, cells):
    extents = [np.array([[1 + cells, 2], [1, 1]]), np.array([[1, 1]])]
    rng = np.random.default_rng(1)
    samples = [rng.integers(0, 256, (len(of), kind.channels, 1024)).astype(np.uint8) for of in extents]
    tokens = [rng.integers(0, 9, (len(of), 1, 1024)).astype(np.uint16) for of in extents]
    if cells:
        samples = [own % 128 + 128 * (seen % 2).astype(np.uint8) for own, seen in zip(samples, tokens, strict=True)]
    samples = [np.stack([edged(tile, *e) for tile, e in zip(own, of, strict=True)]) for own, of in zip(samples, extents, strict=True)]
    turns = [
        Turn(kind, of, random_around([15, 6][: len(of)], kind), Cells(Halves(), seen[:, 0]) if cells else None)
        for of, seen in zip(extents, tokens, strict=True)
    ]
    return turns, samples


@pytest.mark.parametrize(("kind", "cells"), [(RGB, False), (GREY, True)], ids=["colours", "in cells"])
def test_groups_of_tiles(monkeypatch, kind, cells):
    """The same bytes, samples and errors as on the host, by the very functions that code on a GPU."""
    monkeypatch.setattr(gpu_coder, "THREADS", 32)
    engine = PlainEngine(known_answer.random_network(SMALL))
    turns, samples = turns_of(kind, cells)  # the second one's only tile in two turns
    groups = [[(turn, own)] * (1 + k) for k, (turn, own) in enumerate(zip(turns, samples, strict=True))]
    expected = coding.encode_groups(engine, groups, ignore)
    there = gpu.Decoders
    monkeypatch.setattr(gpu, "Decoders", lambda *arguments: there(*arguments, "cpu"))
    monkeypatch.setattr(coding, "gpu_coder", lambda engine: gpu)
    engine.cached_attention = gpu.KernelAttention
    assert coding.encode_groups(engine, groups, ignore) == expected
    decoding = coding.Decoding(engine, expected)
    for now in ({0: turns[0], 1: turns[1]}, {1: turns[1]}):
        for place, back in zip(now, decoding.turn(now, ignore), strict=True):
            for (rows, columns), tile, again in zip(turns[place].extents, samples[place], back, strict=True):
                shape = kind.channels, 32, 32
                assert (again.reshape(shape)[:, :rows, :columns] == tile.reshape(shape)[:, :rows, :columns]).all()
    decoding.finish()
    with pytest.raises(DamagedError, match="more than it holds"):
        decode_whole(coding.Decoding(engine, [b"", expected[1]]), dict(enumerate(turns)))


def decode_whole(decoding, turns):
    decoding.turn(turns, ignore)
    decoding.finish()


@pytest.mark.parametrize("constant", ["WORD_MASK", "END"])
def test_it_proves_itself(monkeypatch, constant):
    if constant == "END":
        assert gpu.codes_exactly("cpu")
    monkeypatch.setattr(gpu_coder, constant, np.uint64(0))
    assert not gpu.codes_exactly("cpu")


def test_attention_proves_itself(monkeypatch):
    assert gpu.attends_exactly("cpu")
    monkeypatch.setattr(gpu, "exp2_table", lambda *arguments: exp2_table(*arguments).clamp(max=9))
    assert not gpu.attends_exactly("cpu")


def test_a_simulator_is_not_used():
    assert "simulates" in gpu.why_not()
