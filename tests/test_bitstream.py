"""Range coder, variable-length integers, outliers and errors."""

import random
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitstream import constants, errors, outliers
from bitstream.deflate import inflated, packed
from bitstream.range_coder import TokenDecoder, TokenEncoder, least_costs
from bitstream.reader import Reader, varint
from tests import plain_decoder
from tests.mutations import mutated
from tests.plain_decoder import RangeDecoder


def tables(rng, rows, concentration):
    """Random frequencies as the coder gets them: (rows, 256), each row summing to 2^24, none zero."""
    shares = np.floor(rng.dirichlet(np.full(256, concentration), rows) * (2**24 - 256)).astype(np.int64)
    shares[:, 128] += 2**24 - 256 - shares.sum(1)
    return (shares + 1).astype(np.int32)


@pytest.mark.parametrize("concentration", [1e-3, 0.05, 100.0])
def test_rate_and_exact_frequencies(concentration):
    """Real bytes against theory; and a range decoder in Python integers, handed the same frequencies, finds the same tokens."""
    rng = np.random.default_rng(0)
    frequencies = tables(rng, 20_000, concentration)
    cumulative = frequencies.cumsum(1)
    tokens = (cumulative > rng.integers(0, 2**24, (len(frequencies), 1))).argmax(1).astype(np.int32)
    tokens[:256] = np.arange(256)  # the rarest tokens, too
    encoder = TokenEncoder()
    encoder.encode(tokens[:7], frequencies[:7])
    encoder.encode(tokens[7:], frequencies[7:])
    payload = encoder.payload()
    theory = -np.log2(frequencies[np.arange(len(tokens)), tokens] / 2**24).sum()
    assert theory <= 8 * len(payload) <= theory * 1.001 + 64 * 8
    decoder = TokenDecoder(payload)
    assert (decoder.decode(frequencies[:100]) == tokens[:100]).all()
    assert (decoder.decode(frequencies[100:]) == tokens[100:]).all()
    decoder.finish()
    plain = RangeDecoder(payload)
    assert [plain.token(row) for row in frequencies[:2000]] == tokens[:2000].tolist()


def test_least_costs_of_all_frequencies():
    """Never more than 24 - log2(frequency) bits, which floating point tells well: the tangent is 0.35 % below from the first step on."""
    below = np.arange(2**23, dtype=np.int32)
    costs = least_costs(2**24 - below)
    true = np.log1p(below * -(2.0**-24)) * (-(2**24) / np.log(2))
    assert (costs <= true).all()
    assert (true - costs).max() < 0.29 * 2**24
    some = np.concatenate([np.arange(1, 300), np.random.default_rng(0).integers(1, 2**23, 10_000), [2**23 - 1, 2**23]]).astype(np.int32)
    assert (least_costs(some) == least_costs(2 * some) + 2**24).all()  # all others are doubled until they are above 2^23
    assert least_costs(np.array([1, 2, 3, 2**23, 2**24], np.int32)).tolist() == [24 << 24, 23 << 24, (22 << 24) + (23 << 18), 1 << 24, 0]
    assert least_costs(np.array([2**24 - constants.ALPHABET + 1], np.int32)) == [constants.LEAST_COST]


def peaked(rows, alphabet, likely):
    """Frequencies (rows, alphabet), all 1 but those of the tokens `likely` (rows)."""
    frequencies = np.ones((rows, alphabet), np.int32)
    frequencies[np.arange(rows), likely] = 2**24 - alphabet + 1
    return frequencies


@pytest.mark.parametrize("alphabet", [2, 256, 512, 4096])
def test_tokens_cost_no_more_than_their_payload_holds(alphabet):
    """Those that are as likely as can be, those that are as rare as can be, and all mixtures."""
    rng = np.random.default_rng(alphabet)
    for rows in (1, 2, 3, 40, 600):
        for share in (0.0, 1.0, 0.5, 0.05, 0.95):
            likely = rng.integers(0, alphabet, rows)
            frequencies = peaked(rows, alphabet, likely)
            if share == 0.05:
                frequencies = rng.permuted(frequencies + rng.integers(0, 2**24 // alphabet, frequencies.shape), axis=1).astype(np.int32)
                frequencies[:, :1] = 1
                frequencies = np.maximum(frequencies // (1 + frequencies.sum(1, keepdims=True) // 2**24), 1).astype(np.int32)
                frequencies[:, 0] += 2**24 - frequencies.sum(1)
            tokens = np.where(rng.random(rows) < share, likely, (likely + 1) % alphabet).astype(np.int32)
            encoder = TokenEncoder()
            encoder.encode(tokens, frequencies)
            payload = encoder.payload()
            decoder = TokenDecoder(payload)
            assert (decoder.decode(frequencies) == tokens).all()
            decoder.finish()
            true = 24 * rows - np.log2(frequencies[np.arange(rows), tokens]).sum()
            assert true - 1e-6 <= 8 * len(payload)
            if rows < 50:
                assert plain_decoder.encode_tokens(tokens.tolist(), frequencies.tolist()) == payload


@pytest.mark.parametrize("kept", [0, 4, 40, 3996])
def test_missing_words_end_it_at_once(kept):
    encoder = TokenEncoder()
    frequencies = np.full((4000, 256), 2**16, np.int32)  # 8 bits each
    encoder.encode(np.random.default_rng(0).integers(0, 256, 4000).astype(np.int32), frequencies)
    decoder = TokenDecoder(encoder.payload()[:kept])
    decoder.decode(frequencies[:kept])
    with pytest.raises(errors.DamagedError, match="more than it holds"):
        decoder.decode(frequencies[:1])


def test_a_payload_ends_where_the_document_says():
    """Thousands of payloads, changed at their ends, drawn by chance, or whole, by constriction and by the document's decoder."""
    rng = np.random.default_rng(3)
    accepted = refused = 0
    for _ in range(1000):
        alphabet, rows = int(rng.choice([2, 3, 5, 16])), int(rng.integers(1, 40))
        frequencies = peaked(rows, alphabet, rng.integers(0, alphabet, rows))
        if rng.random() < 0.5:
            frequencies[:] = 2**24 // alphabet
            frequencies[:, -1] += 2**24 - frequencies.sum(1)
        tokens = rng.integers(0, alphabet, rows) if rng.random() < 0.5 else frequencies.argmax(1)
        encoder = TokenEncoder()
        encoder.encode(tokens.astype(np.int32), frequencies)
        words = np.frombuffer(encoder.payload(), "<u4").tolist()
        chance = rng.integers(0, 2**32, 4).tolist()
        changed = [
            words,
            words[:-1],
            [*words, chance[0]],
            [*words, 0],
            [*words[:-1], chance[0]],
            [*words[:-1], (words[-1] + int(rng.integers(-3, 4))) % 2**32],
            words[:-2] + chance[: int(rng.integers(5))],
            [2**32 - 1] * len(words),
            chance[: int(rng.integers(5))],
        ][int(rng.integers(9))]
        payload = np.array(changed, "<u4").tobytes()
        decoder, plain = TokenDecoder(payload), RangeDecoder(payload)
        try:
            found = decoder.decode(frequencies).tolist()
            decoder.finish()
        except errors.DamagedError:
            found = None
        try:
            expected = [plain.token(row) for row in frequencies]
            plain.finish()
        except AssertionError:
            expected = None
        assert found == expected
        accepted, refused = accepted + (found is not None), refused + (found is None)
    assert min(accepted, refused) > 200


def test_words_that_are_left_over_are_noticed():
    frequencies = tables(np.random.default_rng(1), 100, 1.0)
    encoder = TokenEncoder()
    encoder.encode(np.zeros(100, np.int32), frequencies)
    decoder = TokenDecoder(encoder.payload() + bytes(8))
    decoder.decode(frequencies)
    with pytest.raises(errors.DamagedError, match="end with its last token"):
        decoder.finish()


@pytest.mark.parametrize("extra", [1, 2, 3])
def test_a_payload_is_made_of_words(extra):
    with pytest.raises(errors.DamagedError, match="whole word"):
        TokenDecoder(bytes(4 + extra))


@given(st.integers(0, 2**35 - 1))
def test_varint(value):
    reader = Reader(varint(value), "test")
    assert reader.varint() == value
    assert reader.remaining == 0


@pytest.mark.parametrize("data", [b"\x80\x00", b"\xff\xff\xff\xff\xff\x01"])
def test_malformed_varint(data):
    with pytest.raises(errors.DamagedError, match="malformed"):
        Reader(data, "test").varint()


def test_every_error_is_an_igpt_error():
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(kinds) == 9
    assert all(issubclass(kind, errors.IgptError) for kind in kinds)
    for kind in kinds:
        assert kind.__name__ in (errors.__doc__ or "")


def test_the_text_and_the_code_agree_on_outliers():
    """Streams of outliers, mutated: as they are, and before they are deflated."""
    rng = random.Random(0)
    accepted = refused = 0
    for _ in range(1500):
        pixels, count = rng.choice([40, 70, 4000]), rng.randrange(1, 6)
        positions = np.array(sorted(rng.sample(range(pixels), count)), np.int64)
        corrections = np.frombuffer(rng.randbytes(3 * count), np.uint8).reshape(-1, 3)
        payload = outliers.pack(positions, corrections)
        if payload and rng.random() < 0.5:
            raw = payload[1:] if len(payload) == 1 + 7 * count else inflated(payload[1:], 7 * count)
            payload = payload[:1] + packed(mutated(raw, rng, rng.randbytes(9)))
        if rng.random() < 0.5:
            payload = mutated(payload, rng, payload[::-1] or b"x")
        try:
            places, additions = outliers.unpack(payload, pixels, pixels // 8)
            found = [(int(place), addition.tobytes()) for place, addition in zip(places, additions, strict=True)]
        except errors.IgptError:
            found = None
        try:
            expected = plain_decoder.outliers_of(payload, pixels)
        except (AssertionError, IndexError, zlib.error):
            expected = None
        assert found == expected
        accepted, refused = accepted + (found is not None), refused + (found is None)
    assert min(accepted, refused) > 200
