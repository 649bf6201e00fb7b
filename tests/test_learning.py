"""What is learnt of a group while it is coded."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest

from bitstream.constants import FREQUENCY_TOTAL
from bitstream.errors import DamagedError
from codec import jit, threads
from codec.network import coding, layers
from codec.network.engines import engine_of
from codec.network.layers import Layer
from codec.network.learning import Learning
from codec.network.learning_kernel import EXPECTED, FOUND, LARGEST_FACTOR, LIMIT, ROW, conclude, correct
from codec.network.limits import LOGIT_STEPS, powers_of_two
from codec.network.model import IntegerImageGPT
from codec.progress import ignore
from codec.tiling.context import CENTRE, SIDE, neighbour_slots
from codec.tiling.planes import GREY, RGB, pixels_to_planes
from tests.conftest import CPU, photo_cd, smooth, whole
from tests.plain_decoder import Learnt

KINDS = {1: GREY, 3: RGB}


def tables_of(rng: np.random.Generator, tiles: int) -> np.ndarray:
    """Frequencies around a likeliest token, of all widths."""
    away = np.abs(np.arange(256) - rng.integers(120, 136, (tiles, 1)))
    shares = 2.0 ** (-away * rng.choice([0.02, 0.2, 1.0, 8.0], (tiles, 1)))
    tables = (shares / shares.sum(1, keepdims=True) * (FREQUENCY_TOTAL - 256)).astype(np.int32) + 1
    tables[:, CENTRE] += FREQUENCY_TOTAL - tables.sum(1).astype(np.int32)
    return tables


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_what_the_document_says(channels):
    """As the plain decoder learns, which was written from the document; some tiles end early."""
    rng, tiles = np.random.default_rng(channels), 5
    layer = Layer(KINDS[channels], pixels_to_planes(smooth(32, 32 * tiles, channels)))
    turn, _ = whole(layer)
    learning, plain = Learning(channels), Learnt(channels)
    learning.begin(turn)
    for position in range(5 * SIDE):
        exist = (np.arange(tiles) != 2) | (position % SIDE < 7)
        for c in range(channels):
            tables, tokens = tables_of(rng, tiles), rng.integers(118, 138, tiles).astype(np.int32) & ~rng.integers(0, 2)
            tokens[0] = 255 if position % 16 == 3 else tokens[0]
            predictions = rng.integers(100, 104, tiles).astype(np.int32)
            corrected = tables.copy()
            learning.corrected(position, c, corrected, predictions)
            later = []
            for t in range(tiles):
                west, north = learning.known[t, c, neighbour_slots()[0, position, :2]]
                lines, more = plain.used(c, predictions[t], west, north, learning.known[t, :c, position])
                frequency, *seen = plain.corrected(c, tables[t].astype(np.int64), lines, more)
                assert np.array_equal(frequency, corrected[t])
                later.append((int(tokens[t]), frequency, *seen, lines + more))
            assert (corrected.sum(1) == FREQUENCY_TOTAL).all()
            assert corrected.min() > 0
            for t in np.flatnonzero(exist):
                plain.learn(*later[t])
            plain.position_ends(c, position % SIDE == SIDE - 1)
            learning.learnt(position, c, corrected, predictions, tokens, exist)


def test_nothing_is_compiled():
    """In a process of its own, where operations of arrays take the place of the loops."""
    test = f"{__file__}::test_it_is_what_the_document_says"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    result = subprocess.run(command, cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 passed" in result.stdout


def payload_of(network: IntegerImageGPT, pixels: np.ndarray) -> bytes:
    layer = Layer(RGB, pixels_to_planes(pixels))
    turn, samples = whole(layer)
    engine = engine_of(network, layer.grid.tiles)
    (payload,) = coding.encode_groups(engine, [[(turn, samples)]], ignore)
    decoding = coding.Decoding(engine, [payload])
    (back,) = decoding.turn({0: turn}, ignore)
    decoding.finish()
    assert np.array_equal(back, samples)
    return payload


def test_the_second_turn_goes_on(tiny, monkeypatch):
    """What was learnt in the first one saves bytes."""
    layer = Layer(RGB, pixels_to_planes(photo_cd(128, 128)))
    engine, turns = engine_of(tiny, layer.grid.tiles), layer.turns(layer.grid.whole)
    (payload,) = coding.encode_groups(engine, [turns], ignore)
    apart = coding.encode_groups(engine, [[turn] for turn in turns], ignore)
    assert len(payload) < 0.99 * sum(map(len, apart))


@pytest.mark.skipif(jit.interpreted(), reason="without numba there is no such kernel")
def test_one_kernel_reads_what_its_parts_read(tiny, uncorrected, monkeypatch):
    """Of several groups, of which the first has no more tiles in the second turn; and they fail alike."""
    from codec.network.fast import FastSteps

    layers_ = [Layer(RGB, pixels_to_planes(smooth(32, 20, 3))), Layer(RGB, pixels_to_planes(photo_cd(64, 96)))]
    for network in (tiny, uncorrected):
        engine, turns = engine_of(network, 7), [layer.turns(layer.grid.whole) for layer in layers_]
        payloads = coding.encode_groups(engine, turns, ignore)

        def decoded(payloads, engine=engine, turns=turns):
            decoding = coding.Decoding(engine, payloads)
            found = []
            for number in range(2):
                now = {k: of[number][0] for k, of in enumerate(turns) if len(of) > number}
                found += decoding.turn(now, ignore)
            decoding.finish()
            return found

        damaged = [payloads[0], payloads[1][:40] + bytes(4) + payloads[1][44:]]
        outcomes = []
        for read in (FastSteps.read, None):
            monkeypatch.setattr(FastSteps, "read", read)
            found = decoded(payloads)
            assert all(
                np.array_equal(a, b) for a, b in zip(found, [of[n][1] for n in range(2) for of in turns if len(of) > n], strict=True)
            )
            try:
                outcomes.append([samples.tolist() for samples in decoded(damaged)])
            except DamagedError as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]


def test_colours_that_do_not_occur_are_learnt(tiny, uncorrected):
    """Those of a picture that was made of luma and chroma, or whose contrast was stretched; and where all occur, little is lost."""
    pixels = photo_cd(128, 128)
    assert len(payload_of(tiny, pixels)) < 0.95 * len(payload_of(uncorrected, pixels))
    stretched = np.clip(1.5 * (smooth(128, 128, 3).astype(float) - 40), 0, 255).astype(np.uint8)
    assert len(payload_of(tiny, stretched)) < 0.95 * len(payload_of(uncorrected, stretched))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert len(payload_of(tiny, noise)) < 1.01 * len(payload_of(uncorrected, noise))


def test_a_model_that_learns_is_another(tiny, uncorrected):
    assert tiny.digest != uncorrected.digest
    assert IntegerImageGPT(replace(uncorrected.config, learns=True), tiny.arrays, "again", CPU).digest == tiny.digest


def test_small_pictures_decoded_together_take_little_memory(monkeypatch, tiny, uncorrected):
    """What is learnt of a group takes some megabytes, whatever its size: so not too many are decoded at once."""
    found, decoding = [], layers.Decoding
    monkeypatch.setattr(layers, "Decoding", lambda engine, payloads: found.append(len(payloads)) or decoding(engine, payloads))
    monkeypatch.setattr(threads, "_all", lambda: 1)
    layer = Layer(RGB, pixels_to_planes(smooth(4, 3, 3)))
    for network, most in ((tiny, 256 // layers.LEARNING_TILES), (uncorrected, 256)):
        shape = layers.group_shape(layer.grid)
        payloads = layers.encode_layer(network, layer, shape, ignore)
        requests = [layers.Request(network, RGB, (3, 4), layers.NO_SURROUNDINGS, shape, payloads)] * 300
        found.clear()
        assert all(np.array_equal(planes, layer.planes) for planes in layers.decode_layers(requests, ignore))
        assert max(found) == most
        assert sum(found) == 300


@numba.njit
def correct_now(frequencies, state, weight, powers, cells, lines, pair, products):
    correct(frequencies, state, weight, powers, cells, lines, pair, products)


@numba.njit
def conclude_now(state, row, seen, rate, trust):
    conclude(state, row, seen, rate, trust)


def test_the_extremes():
    """One token has all, or every token the same; factors at their limits. Nothing sinks below 1, and the sum stays."""
    powers = powers_of_two(LOGIT_STEPS, LARGEST_FACTOR)[: 2 * LIMIT + 1]
    cells = np.arange(8) * (ROW + 7)
    for width, factor in ((64, -LIMIT), (128, LIMIT), (256, LIMIT), (256, -LIMIT)):
        state = np.zeros((8, ROW), np.int32)
        state[1:, : EXPECTED - 1 : 2], state[1:, 1:EXPECTED:2] = factor << 8, -factor << 8
        for share in (1, FREQUENCY_TOTAL - width + 1, FREQUENCY_TOTAL // width):
            frequencies = np.full(width, share if share < FREQUENCY_TOTAL // 2 else 1, np.int32)
            frequencies[width // 2 + 3] = share
            before = int(frequencies.sum())
            scratch = np.zeros(256, np.int32), np.zeros(width, np.int32), np.zeros(256)
            correct_now(frequencies, state.reshape(-1), np.int32(1 << 17), powers, cells, *scratch)
            assert frequencies.sum() == before
            assert frequencies.min() >= 1
    state, seen = np.zeros((2, ROW), np.int32), np.zeros((2, 256), np.int64)
    state[1, EXPECTED : EXPECTED + 256], state[1, FOUND + 7] = (1 << 31) - 1, 1 << 12
    conclude_now(state.reshape(-1), 1, seen, 47274.0, 65536.0)
    factors = state[1, :EXPECTED]
    assert 0 < np.abs(factors).max() <= LIMIT << 8
    assert np.array_equal(factors[:256], factors[256:])
    assert not state[1, EXPECTED:].any()
    assert not state[0].any()
