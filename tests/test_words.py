"""Words by compiled kernels: bit for bit those of constriction, and refused as those are."""

import sys

import numpy as np
import pytest

from bitstream import errors, range_coder
from bitstream.range_coder import TokenDecoder, TokenEncoder
from codec import jit
from codec.network import words
from tests.test_bitstream import peaked, tables

pytestmark = pytest.mark.skipif(jit.interpreted(), reason="without numba the words are constriction's")


def of_constriction(tokens, frequencies):
    encoder = TokenEncoder()
    encoder.encode(tokens, frequencies)
    return encoder.payload()


def encoded(tokens, frequencies):
    """All tokens, as of one channel of one tile."""
    encoder = words.Encoder(len(tokens))
    encoder.encode(tokens[:, None, None], frequencies[:, None, None], np.ones((len(tokens), 1), np.bool_))
    return encoder.payload()


def decoded(payload, frequencies, cuts=()):
    """The tokens, some at a time, or the message."""
    tokens = np.zeros(len(frequencies), np.int32)
    try:
        decoder = words.Decoders([payload])
        for first, last in zip((0, *cuts), (*cuts, len(tokens)), strict=True):
            decoder.decode(0, frequencies[first:last], np.ones(last - first, np.bool_), tokens[first:last])
        decoder.finish()
    except errors.DamagedError as error:
        return str(error)
    return tokens.tolist()


def decoded_by_constriction(payload, frequencies, cuts=()):
    try:
        decoder = TokenDecoder(payload)
        found = [decoder.decode(frequencies[a:b]) for a, b in zip((0, *cuts), (*cuts, len(frequencies)), strict=True) if a < b]
        decoder.finish()
    except errors.DamagedError as error:
        return str(error)
    return np.concatenate(found).tolist()


@pytest.mark.parametrize("concentration", [1e-3, 0.05, 100.0])
def test_words_are_constrictions(concentration):
    rng = np.random.default_rng(7)
    frequencies = tables(rng, 5000, concentration)
    tokens = (frequencies.cumsum(1) > rng.integers(0, 2**24, (5000, 1))).argmax(1).astype(np.int32)
    tokens[:256] = np.arange(256)
    payload = encoded(tokens, frequencies)
    assert payload == of_constriction(tokens, frequencies)
    assert decoded(payload, frequencies, (0, 3, 3, 900)) == tokens.tolist()


def test_what_does_not_exist_is_left_out():
    rng = np.random.default_rng(2)
    frequencies = tables(rng, 2 * 3 * 5, 0.1).reshape(2, 3, 5, 256)
    tokens, exist = rng.integers(0, 256, (2, 3, 5)).astype(np.int32), rng.random((2, 5)) < 0.6
    encoder = words.Encoder(30)
    encoder.encode(tokens, frequencies, exist)
    there = exist[:, None].repeat(3, 1)
    payload = encoder.payload()
    assert payload == of_constriction(tokens[there], frequencies[there])
    decoder, found = words.Decoders([payload]), np.full((2, 3, 5), -1, np.int32)
    for n in range(2):
        for channel in range(3):
            decoder.decode(0, frequencies[n, channel], exist[n], found[n, channel])
    decoder.finish()
    assert (found[there] == tokens[there]).all()
    assert (found[~there] == -1).all()


def test_carries_and_ends_and_damage():
    """Thousands of short payloads of rare and likely tokens: sums that run over into words already written, and all ways to end; as they
    are, changed at their ends, or drawn by chance."""
    rng = np.random.default_rng(5)
    outcomes = set()
    for _ in range(3000):
        rows, likely = int(rng.integers(1, 30)), None
        if rng.random() < 0.7:
            likely = rng.integers(0, 256, rows) if rng.random() < 0.5 else np.full(rows, 255)
            frequencies = peaked(rows, 256, likely)
        else:
            frequencies = np.full((rows, 256), 2**16, np.int32)
        tokens = likely if likely is not None and rng.random() < 0.5 else rng.integers(0, 256, rows)
        tokens = tokens.astype(np.int32)
        payload = encoded(tokens, frequencies)
        assert payload == of_constriction(tokens, frequencies)
        held = np.frombuffer(payload, "<u4").tolist()
        chance = rng.integers(0, 2**32, 4).tolist()
        ways = [held, held[:-1], [*held, chance[0]], [*held, 0], [*held[:-1], chance[0]], [2**32 - 1] * len(held), chance[:3], chance[:1]]
        changed = np.array(ways[int(rng.integers(len(ways)))], "<u4").tobytes()
        cuts = sorted(rng.integers(0, rows, 2).tolist())
        found = decoded(changed, frequencies, cuts)
        assert found == decoded_by_constriction(changed, frequencies, cuts)
        outcomes.add(found if isinstance(found, str) else "right" if found == tokens.tolist() else "other")
    assert len(outcomes) >= 4


@pytest.mark.parametrize("extra", [1, 2, 3])
def test_a_payload_is_made_of_words(extra):
    with pytest.raises(errors.DamagedError, match="whole word"):
        words.Decoders([bytes(4), bytes(4 + extra)])


def test_without_constriction_compiled_kernels_code(monkeypatch):
    """It is not made for Linux on ARM, say."""
    rng = np.random.default_rng(8)
    frequencies = tables(rng, 100, 1.0)
    tokens = rng.integers(0, 256, 100).astype(np.int32)
    expected = of_constriction(tokens, frequencies)
    monkeypatch.setitem(sys.modules, "constriction", None)
    range_coder._constriction.cache_clear()
    try:
        assert encoded(tokens, frequencies) == expected
        assert decoded(expected, frequencies) == tokens.tolist()
        with pytest.raises(errors.ModelError, match="need constriction"):
            of_constriction(tokens, frequencies)
    finally:
        range_coder._constriction.cache_clear()
