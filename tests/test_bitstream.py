"""Words, header and container, without any network."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitstream import constants, errors
from bitstream.container import read_file, write_file
from bitstream.header import Header, read_header
from bitstream.reader import Reader, varint
from bitstream.words import TokenDecoder, TokenEncoder
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


FILE = write_file(header(), [b"abcd", b"", b"efghijkl"])


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
    assert decoder.exhausted
    plain = RangeDecoder(payload)
    assert [plain.token(row) for row in frequencies[:2000]] == tokens[:2000].tolist()


def test_unread_words_are_noticed():
    frequencies = tables(np.random.default_rng(1), 100, 1.0)
    encoder = TokenEncoder()
    encoder.encode(np.zeros(100, np.int32), frequencies)
    decoder = TokenDecoder(encoder.payload() + bytes(8))
    decoder.decode(frequencies)
    assert not decoder.exhausted


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
    assert read_file(FILE) == (header(), [b"abcd", b"", b"efghijkl"])


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
    other = write_file(header(pixel_digest=bytes(16)), [b"ABCD", b"", b"efghijkl"])
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
