"""Words, header and container, without any network."""

import random
import time
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitstream import constants, errors
from bitstream import outliers as exceptions
from bitstream.container import read_file, write_file
from bitstream.header import Header, PastFields, read_header
from bitstream.range_coder import TokenDecoder, TokenEncoder, least_costs
from bitstream.reader import Reader, varint
from tests import plain_decoder
from tests.mutations import mutated
from tests.plain_decoder import RangeDecoder


def header(**changes):
    fields = {
        "width": 70,
        "height": 40,
        "channels": 3,
        "bit_depth": 8,
        "kind": 0,
        "tile_side": 32,
        "tiles_per_group": 2,
        "model_digest": bytes(range(8)),
        "model_name": "photo-1",
        "pixel_digest": bytes(range(16)),
    }
    return Header(**(fields | changes))


FILE = write_file(header(), [b"abcd", b"wxyz", b"efghijkl"])


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


@given(st.integers(0, 2**35 - 1))
def test_varint(value):
    reader = Reader(varint(value), "test")
    assert reader.varint() == value
    assert reader.remaining == 0


@pytest.mark.parametrize("data", [b"\x80\x00", b"\xff\xff\xff\xff\xff\x01"])
def test_malformed_varint(data):
    with pytest.raises(errors.DamagedError, match="malformed"):
        Reader(data, "test").varint()


@given(
    st.integers(1, constants.MAX_SIDE),
    st.integers(1, constants.MAX_SIDE),
    st.integers(1, constants.MAX_TILES_PER_GROUP),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=64),
)
def test_header_roundtrip(width, height, group, name):
    written = header(width=width, height=height, tiles_per_group=group, model_name=name)
    reader = Reader(written.to_bytes(), "header")
    assert read_header(reader) == written
    assert reader.remaining == 0


def test_file_roundtrip():
    assert read_file(FILE) == (header(), [b"abcd", b"wxyz", b"efghijkl"])


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 0},
        {"height": (1 << 24) + 1},
        {"channels": 1},
        {"kind": 2},
        {"bit_depth": 16},
        {"tile_side": 64},
        {"tiles_per_group": 0},
        {"tiles_per_group": 5000},
        {"model_name": "x" * 65},
        {"model_name": "\n"},
        {"kind": 3, "rows": 40, "numerics_version": 3},
    ],
)
def test_bad_fields_are_refused_although_the_checksum_is_right(changes):
    with pytest.raises(errors.DamagedError):
        read_header(Reader(header(**changes).to_bytes(), "header"))


@pytest.mark.parametrize("data", [FILE[:9] + b"\6" + FILE[10:], write_file(header(numerics_version=6), [])])
def test_newer_versions_are_named(data):
    with pytest.raises(errors.NewerVersionError, match="version 6"):
        read_file(data)


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        (b"", errors.NotIgptError, "empty"),
        (b"hello, world", errors.NotIgptError, "not an igpt file"),
        (b"\x89PNG\r\n\x1a\n", errors.NotIgptError, "not an igpt file"),
        (FILE.replace(b"\r\n", b"\n", 1), errors.NotIgptError, "text mode"),
        (bytes([FILE[0] & 0x7F]) + FILE[1:], errors.NotIgptError, "text mode"),
        (FILE[:5], errors.TruncatedError, "header"),
        (FILE[:30], errors.TruncatedError, "header"),
        (FILE[:-1], errors.TruncatedError, "chunk 3 of 3"),
        (FILE + b"x", errors.DamagedError, "follow"),
    ],
)
def test_what_is_wrong_is_said(data, error, match):
    with pytest.raises(error, match=match):
        read_file(data)


def test_damage_names_the_chunk():
    place = FILE.index(b"efgh")
    with pytest.raises(errors.DamagedError, match="chunk 3 of 3"):
        read_file(FILE[:place] + b"?" + FILE[place + 1 :])


def test_a_chunk_of_another_file_is_refused():
    other = write_file(header(pixel_digest=bytes(16)), [b"ABCD", b"wxyz", b"efghijkl"])
    start = len(header().to_bytes())
    with pytest.raises(errors.DamagedError, match="chunk 1"):
        read_file(FILE[:start] + other[start : start + 9] + FILE[start + 9 :])


def test_chunks_that_changed_places_are_refused():
    file = write_file(header(width=40, height=20, tiles_per_group=1), [b"abcd", b"efgh"])
    start = len(file) - 18
    with pytest.raises(errors.DamagedError, match="chunk 1"):
        read_file(file[:start] + file[start + 9 :] + file[start : start + 9])


def test_every_truncation():
    for length in range(len(FILE)):
        with pytest.raises(errors.IgptError):
            read_file(FILE[:length])


@given(st.data())
def test_any_flipped_bits(data):
    broken = bytearray(FILE)
    for bit in data.draw(st.sets(st.integers(0, 8 * len(FILE) - 1), min_size=1, max_size=4)):
        broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(errors.IgptError):
        read_file(bytes(broken))


def test_a_header_that_promises_too_many_chunks_is_refused_at_once():
    huge = header(width=1 << 24, height=1 << 24, tiles_per_group=1)
    with pytest.raises(errors.TruncatedError):
        read_file(write_file(huge, [b"abcd"]))


def test_every_error_is_an_igpt_error():
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(kinds) == 9
    assert all(issubclass(kind, errors.IgptError) for kind in kinds)
    for kind in kinds:
        assert kind.__name__ in (errors.__doc__ or "")


PAST = PastFields(0, 1, 0, 0, 0, 35, 20)
ONE_BAND = {"kind": 3, "tile_side": 0, "tiles_per_group": 0, "model_digest": b"", "model_name": ""}


def test_how_much_the_chunks_hold_at_least():
    assert list(header().least_bytes()) == [4, 4, 4]
    large = {"width": 2000, "height": 2100}
    columns, rows = ([32] * 62 + [16], [32] * 65 + [20])
    pixels = [a * b for a in rows for b in columns]
    found = list(header(**large, tiles_per_group=4000).least_bytes())
    assert found == [max(4, plain_decoder.least_bytes(3 * sum(some))) for some in (pixels[:4000], pixels[4000:])]
    grey = header(**large, channels=1, kind=1, tiles_per_group=700)
    assert list(grey.least_bytes()) == [max(4, plain_decoder.least_bytes(sum(pixels[k : k + 700]))) for k in range(0, len(pixels), 700)]
    past = header(**large, kind=2, tiles_per_group=4096, past=PastFields(0, 1, 0, 0, 0, 1000, 1050))
    luma = [sum(pixels[:4096]), sum(pixels[4096:])]
    least = [plain_decoder.least_bytes(n) for n in (2 * 1000 * 1050, *luma)]
    assert list(past.least_bytes()) == [0, *(max(4, n) for n in least)]
    assert list(header(kind=2, past=PAST).least_bytes()) == [0, 4, 4, 4, 4]
    palette = header(**large, kind=4, tiles_per_group=4096, refinement_digest=bytes(8))
    assert list(palette.least_bytes()) == [4, 4, plain_decoder.least_bytes(3 * luma[0]), max(4, plain_decoder.least_bytes(3 * luma[1]))]
    assert list(header(kind=4).least_bytes()) == [4, 4, 4]
    drawing = header(**large, **ONE_BAND, rows=1999)
    assert list(drawing.least_bytes()) == [plain_decoder.least_bytes(1999 * 2000) - 3, 1]
    deep = header(**large, **ONE_BAND, rows=1999, bit_depth=16, numerics_version=2)
    assert list(deep.least_bytes()) == [plain_decoder.least_bytes(3 * 1999 * 2000) - 3, 1]
    for some in (header(), grey, past, palette, drawing, deep):
        assert len(list(some.least_bytes())) == some.chunks


def test_a_payload_that_is_too_short_for_its_pixels_is_refused_at_once():
    for fields, payloads, chunk in (
        ({"width": 512, "height": 512, "tiles_per_group": 256}, [b""], "chunk 1 of 1"),
        ({"width": 2048, "height": 2048, "tiles_per_group": 4096}, [bytes(32)], "chunk 1 of 1"),
        ({"width": 13377, "height": 13377, "tiles_per_group": 4096}, [b""] * 43, "chunk 1 of 43"),
        ({"width": 2048, "height": 4096, **ONE_BAND, "rows": 2048}, [bytes(12), bytes(8)], "chunk 2 of 2"),
    ):
        start = time.perf_counter()
        with pytest.raises(errors.DamagedError, match=f"{chunk} is damaged: .* too few for its pixels"):
            read_file(write_file(header(**fields), payloads))
        assert time.perf_counter() - start < 0.5


def test_the_text_and_the_code_agree_on_exceptions():
    """Streams of exceptions, mutated: as they are, and before they are deflated."""
    rng = random.Random(0)
    accepted = refused = 0
    for _ in range(1500):
        pixels, count = rng.choice([40, 70, 4000]), rng.randrange(6)
        positions = np.array(sorted(rng.sample(range(pixels), count)), np.int64)
        corrections = np.frombuffer(rng.randbytes(3 * count), np.uint8).reshape(-1, 3)
        payload = exceptions.pack(positions, corrections)
        if payload and rng.random() < 0.5:
            payload = zlib.compress(mutated(zlib.decompress(payload), rng, rng.randbytes(9)))
        if rng.random() < 0.5:
            payload = mutated(payload, rng, payload[::-1] or b"x")
        try:
            places, additions = exceptions.unpack(payload, pixels, pixels // 8)
            found = [(int(place), addition.tobytes()) for place, addition in zip(places, additions, strict=True)]
        except errors.IgptError:
            found = None
        try:
            expected = plain_decoder.exceptions_of(payload, pixels)
        except (AssertionError, IndexError, zlib.error):
            expected = None
        assert found == expected
        accepted, refused = accepted + (found is not None), refused + (found is None)
    assert min(accepted, refused) > 200
