"""Files put together by hand, in every form: both decoders take them, or both refuse them."""

import hashlib
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import codec
from bitstream.deflate import deflated, packed
from bitstream.reader import varint
from codec.methods.method import ModelName
from codec.methods.network import Fields
from codec.network.layers import Layer, encode_layer
from codec.network.model import IntegerImageGPT
from codec.tiling.planes import kind_of, pixels_to_planes
from codec.tiling.tiles import Shape
from tests import plain_decoder
from tests.conftest import TINY, smooth
from tests.plain_decoder import BITS, CHANNELS, COLOURS, INDEX, LEVELS, METADATA, PALETTE

FORMS = [(colour, bits) for colour, some in BITS.items() for bits in some]
GAMMA = b"gAMA\4\0\0\xb1\x8f"


def stored(samples, bits):
    """The payload of method 0."""
    rows = samples.reshape(len(samples), -1)
    if bits == 16:
        return rows.astype(">u2").tobytes()
    return np.packbits(np.unpackbits(rows.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :].reshape(len(rows), -1), axis=1).tobytes()


def file_of(samples, colour, bits, boxes=(), payloads=None, apart=0, codings=None, index=None):
    """payloads: of what is coded; without them the samples, stored. codings: bodies; without them of method 0."""
    payloads = payloads or [stored(samples, bits)]
    height, width = samples.shape[:2]
    if len(payloads) > 1:
        boxes = [*boxes, (INDEX, b"".join(varint(len(payload)) for payload in payloads[:-1]))]
    front = b"\x89IGP\1" + varint(width) + varint(height) + bytes((colour | (bits.bit_length() - 1) << 3 | apart << 6,))
    front += hashlib.sha256(samples.tobytes()).digest()[:8]
    for kind, body in (*boxes, *((5, body) for body in codings or [b"\0"] * (1 + apart))):
        front += bytes((kind,)) + varint(len(body)) + body
    return b"".join(part + zlib.crc32(part).to_bytes(4, "little") for part in (front, *payloads))


def assert_decoded(data, samples, chunks=()):
    found = plain_decoder.decode(data)
    assert (found.samples == samples).all()
    assert found.samples.dtype == samples.dtype
    assert tuple(found.chunks) == tuple(chunks)
    assert (codec.decode(data).reshape(samples.shape) == samples).all()


def assert_refused(data):
    with pytest.raises((AssertionError, KeyError, IndexError, zlib.error)):
        plain_decoder.decode(data)
    with pytest.raises(codec.IgptError):
        codec.decode(data)


def noise(colour, bits, height=3, width=5):
    kind = np.uint16 if bits == 16 else np.uint8
    return np.random.default_rng(bits).integers(0, 1 << bits, (height, width, CHANNELS[colour])).astype(kind)


def entries_of(count):
    return np.random.default_rng(count).integers(0, 256, (count, 3), np.uint8)


def palette_box(entries):
    """As they are, which every body may be."""
    return PALETTE, bytes((len(entries) - 1,)) + entries.tobytes()


@pytest.mark.parametrize(("colour", "bits"), FORMS)
@given(height=st.integers(1, 9), width=st.integers(1, 9))
def test_samples(colour, bits, height, width):
    samples = noise(colour, bits, height, width)
    boxes, chunks = [], []
    if colour == 3:
        entries = entries_of(1 << bits)
        boxes, chunks = [palette_box(entries)], [(b"PLTE", entries.tobytes())]
    assert_decoded(file_of(samples, colour, bits, boxes), samples, chunks)
    assert_decoded(file_of(samples, colour, bits, [*boxes, (0x80, b"unknown")]), samples, chunks)
    if colour in (4, 6):
        payloads = [stored(samples[..., :-1], bits), stored(samples[..., -1:], bits)]
        assert_decoded(file_of(samples, colour, bits, payloads=payloads, apart=1), samples)


def tables_of(samples, channels):
    """The box of levels and the ranks, for these channels of 8 bits."""
    ranks, tables = samples.copy(), b""
    for c in channels:
        values = np.unique(samples[..., c])
        tables += np.packbits(np.isin(np.arange(256), values), bitorder="little").tobytes()
        ranks[..., c] = np.searchsorted(values, samples[..., c])
    return bytes((sum(1 << c for c in channels),)), tables, ranks


@pytest.mark.parametrize("colour", [0, 2, 4, 6])
@pytest.mark.parametrize("mask", range(1, 16))
def test_levels_of_8_bits(colour, mask):
    samples = noise(colour, 8) & 0xC3
    channels = [c for c in range(CHANNELS[colour]) if mask >> c & 1]
    first, tables, ranks = tables_of(samples, channels)
    if mask >= 1 << CHANNELS[colour]:
        assert_refused(file_of(samples, colour, 8, [(LEVELS, bytes((mask,)) + tables)], [stored(ranks, 8)]))
        return
    assert_decoded(file_of(samples, colour, 8, [(LEVELS, first + tables)], [stored(ranks, 8)]), samples)
    short = packed(tables)
    assert len(short) < len(tables)
    assert_decoded(file_of(samples, colour, 8, [(LEVELS, first + short)], [stored(ranks, 8)]), samples)
    for body in (tables + b"\0", short + b"\0", short[:-1]):
        assert_refused(file_of(samples, colour, 8, [(LEVELS, first + body)], [stored(ranks, 8)]))
    ranks[0, 0, channels[0]] = 255
    assert_refused(file_of(samples, colour, 8, [(LEVELS, first + tables)], [stored(ranks, 8)]))


@pytest.mark.parametrize("size", [(3, 5), (20, 30)])  # with fewer and with more levels than 256
def test_levels_of_16_bits(size):
    samples = noise(2, 16, *size)
    levels = np.unique(samples)
    ranks, steps = np.searchsorted(levels, samples), np.diff(levels, prepend=np.uint16(0))
    bits = 8 if len(levels) <= 256 else 16
    raw = (steps & 255).astype(np.uint8).tobytes() + (steps >> 8).astype(np.uint8).tobytes()
    box, payload = varint(len(levels)) + packed(raw), stored(ranks, bits)
    assert_decoded(file_of(samples, 2, 16, [(LEVELS, box)], [payload]), samples)
    assert_refused(file_of(samples, 2, 16, [(LEVELS, box + b"\0")], [payload]))
    assert_refused(file_of(samples, 2, 16, [(LEVELS, varint(len(levels)) + packed(raw + b"\0"))], [payload]))
    assert_refused(file_of(samples, 2, 16, [(LEVELS, varint(len(levels)) + packed(raw[:1] + bytes(len(raw) - 1)))], [payload]))


@pytest.mark.parametrize("bits", BITS[3])
def test_colours(bits):
    entries, samples = entries_of(1 << bits), noise(3, bits)
    boxes, chunks = [palette_box(entries), (COLOURS, b"\3")], [(b"PLTE", entries.tobytes())]
    assert_decoded(file_of(samples, 3, bits, boxes, [stored(entries[samples[..., 0]], 8)]), samples, chunks)
    entries[1] = entries[0]
    twice = file_of(np.ones_like(samples), 3, bits, [palette_box(entries), (COLOURS, b"\3")], [stored(entries[0 * samples[..., 0]], 8)])
    assert_refused(twice)  # the lowest index is meant
    assert_refused(file_of(samples, 3, bits, boxes, [stored(np.zeros((3, 5, 3)), 8)]))


def test_greys_of_a_palette():
    entries, samples = np.repeat(np.array([[7], [9], [7], [200]], np.uint8), 3, 1), np.array([[[0], [1], [3]]], np.uint8)
    entries[3, 2] += 1
    boxes, chunks = [palette_box(entries), (COLOURS, b"\1")], [(b"PLTE", entries.tobytes())]
    samples[samples == 3] = 1
    assert_decoded(file_of(samples, 3, 8, boxes, [bytes((7, 9, 9))]), samples, chunks)
    assert_refused(file_of(samples, 3, 8, boxes, [bytes((7, 9, 200))]))  # an entry that is no grey
    assert_refused(file_of(np.full((1, 1, 1), 3, np.uint8), 3, 1, [palette_box(entries), (COLOURS, b"\3")], [entries[3].tobytes()]))


METADATA_BODIES = [
    (bytes((len(GAMMA),)) + GAMMA, [(b"gAMA", GAMMA[5:])]),
    (b"\5IDAT\0", [(b"IDAT", b"")]),
    (bytes((len(GAMMA) + 5,)) + b"IDAT\0" + GAMMA, [(b"IDAT", b""), (b"gAMA", GAMMA[5:])]),
    (b"\x08PLTE\3abc", [(b"PLTE", b"abc")]),
    (b"", None),
    (b"\0", None),
    (b"\x0aIDAT\0IDAT\0", None),
    (b"\x06IDAT\1x", None),
    (b"\x07PLTE\2ab", None),
    (b"\x10PLTE\3abcPLTE\3abc", None),
    (b"\5IEND\0", None),
    (b"\5IHDR\0", None),
    (b"\5ab1d\0", None),
    (b"\5abcd\1", None),
    (b"\4abcd", None),
    (b"\x81\x80\x80\x20" + GAMMA, None),
]


@pytest.mark.parametrize(("body", "chunks"), METADATA_BODIES)
def test_metadata(body, chunks):
    samples = noise(0, 8)
    data = file_of(samples, 0, 8, [(METADATA, body)])
    if chunks is None:
        assert_refused(data)
        return
    assert_decoded(data, samples, chunks)
    short = body[:1] + deflated(body[1:], plain_decoder.preset_dictionary())
    if len(short) < len(body) and chunks:
        assert_decoded(file_of(samples, 0, 8, [(METADATA, short)]), samples, chunks)
        assert_refused(file_of(samples, 0, 8, [(METADATA, short + b"\0")]))


@pytest.mark.parametrize(
    ("raw", "places"),
    [
        (b"PLTE\0" + GAMMA, ["PLTE", "gAMA"]),
        (GAMMA, ["PLTE", "gAMA"]),
        (GAMMA + b"PLTE\0", ["gAMA", "PLTE"]),
        (b"IDAT\0PLTE\0", None),
        (b"PLTE\0PLTE\0", None),
        (b"PLTE\3abc", None),
    ],
)
def test_the_place_of_a_palette(raw, places):
    samples, entries = noise(3, 4), entries_of(16)
    data = file_of(samples, 3, 4, [(METADATA, varint(len(raw)) + raw), palette_box(entries)])
    if places is None:
        assert_refused(data)
    else:
        bodies = {"PLTE": entries.tobytes(), "gAMA": GAMMA[5:]}
        assert_decoded(data, samples, [(place.encode(), bodies[place]) for place in places])


GREY = noise(0, 8)
ONE_BIT = np.zeros((2, 3, 1), np.uint8)
REFUSED = {
    "nothing": b"",
    "other magic": b"\x89PNG" + file_of(GREY, 0, 8)[4:],
    "version 0": b"\x89IGP\0" + file_of(GREY, 0, 8)[5:],
    "version 2": b"\x89IGP\2" + file_of(GREY, 0, 8)[5:],
    "reserved bit of the form": file_of(GREY, 0x80, 8),
    "colour type 1": file_of(GREY, 1, 8),
    "RGB of 4 bits": file_of(noise(2, 8) & 15, 2, 4),
    "32 bits": file_of(GREY, 0, 32, payloads=[GREY.tobytes()]),
    "grey with alpha apart": file_of(GREY, 0, 8, apart=1, payloads=[GREY.tobytes()] * 2),
    "no width": file_of(np.zeros((1, 0, 1), np.uint8), 0, 8, payloads=[b"x"]),
    "wide with 16 bits, mixed": file_of(np.zeros((1, (1 << 20) + 1, 1), np.uint16), 0, 16, payloads=[bytes(99)], codings=[b"\2"]),
    "other digest": file_of(GREY, 0, 8, payloads=[bytes(15)]),
    "one sample more": file_of(GREY, 0, 8, payloads=[GREY.tobytes() + b"\0"]),
    "one sample less": file_of(GREY, 0, 8, payloads=[GREY.tobytes()[:-1]]),
    "bits behind a row": file_of(ONE_BIT, 0, 1, payloads=[b"\0\1"]),
    "a chunk too many": file_of(GREY, 0, 8, payloads=[GREY.tobytes()] * 2),
    "an empty index": file_of(GREY, 0, 8, [(INDEX, b"")]),
    "a box twice": file_of(GREY, 0, 8, [(0x80, b""), (0x80, b"")]),
    "a box of type 0": file_of(GREY, 0, 8, [(0, b"")]),
    "a box of type 6": file_of(GREY, 0, 8, [(6, b"")]),
    "a palette with grey": file_of(GREY, 0, 8, [palette_box(entries_of(2))]),
    "a palette missing": file_of(GREY, 3, 8),
    "an empty palette": file_of(GREY, 3, 8, [(PALETTE, b"")]),
    "levels of indices": file_of(GREY, 3, 8, [palette_box(entries_of(256)), (LEVELS, b"\1" + b"\xff" * 32)]),
    "levels of 4 bits": file_of(GREY & 15, 0, 4, [(LEVELS, b"\1" + b"\xff" * 32)]),
    "levels of no channel": file_of(GREY, 0, 8, [(LEVELS, b"\0")]),
    "an empty table": file_of(GREY, 0, 8, [(LEVELS, b"\1" + bytes(32))]),
    "colours of grey": file_of(GREY, 0, 8, [(COLOURS, b"\1")]),
    "two colours": file_of(GREY, 3, 8, [palette_box(entries_of(256)), (COLOURS, b"\2")]),
    "no method": file_of(GREY, 0, 8, codings=[b""]),
    "method 6": file_of(GREY, 0, 8, codings=[b"\6"]),
    "a variant of stored": file_of(GREY, 0, 8, codings=[b"\x20"]),
    "fields of stored": file_of(GREY, 0, 8, codings=[b"\0\0"]),
    "deep mixing of 8 bits": file_of(GREY, 0, 8, codings=[b"\2"]),
    "mixing of 16 bits": file_of(noise(0, 16), 0, 16, codings=[b"\1"]),
    "network of two channels": file_of(noise(4, 8), 4, 8, codings=[b"\3\1\1" + bytes(17)], payloads=[bytes(4)]),
    "a group of no tiles": file_of(GREY, 0, 8, codings=[b"\3\1\0" + bytes(17)], payloads=[bytes(4)]),
    "a group of 257 tiles": file_of(GREY, 0, 8, codings=[b"\3\x81\2\1" + bytes(17)], payloads=[bytes(4)]),
    "a long name": file_of(GREY, 0, 8, codings=[b"\3\1\1" + bytes(16) + b"\x41" + b"x" * 65], payloads=[bytes(4)]),
    "a name with a line end": file_of(GREY, 0, 8, codings=[b"\3\1\1" + bytes(16) + b"\1\n"], payloads=[bytes(4)]),
    "a long number": b"\x89IGP\1\x85\0" + file_of(GREY, 0, 8)[6:],
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    assert_refused(REFUSED[name])


def test_the_files_of_these_tests_are_right():
    """So that what is refused is refused for what it changes."""
    assert_decoded(file_of(GREY, 0, 8), GREY)
    assert_decoded(file_of(ONE_BIT, 0, 1, payloads=[b"\0\0"]), ONE_BIT)


@pytest.mark.parametrize(
    ("size", "shape", "groups"),
    [
        ((40, 70), (2, 1), 4),  # a picture of 3x2 tiles: groups at the right are narrower
        ((33, 33), (1, 1), 4),
        ((65, 65), (3, 3), 1),  # with a tile that has no partial one at its sides
        ((3, 96), (2, 9), 2),
        ((66, 2), (256, 1), 3),
    ],
)
def test_groups_are_rectangles_of_tiles(size, shape, groups):
    network = IntegerImageGPT.load(TINY, "cpu")
    pixels, shape = smooth(*size)[..., :1], Shape(*shape)
    layer = Layer(kind_of(1), pixels_to_planes(pixels))
    payloads = encode_layer(network, layer, shape, lambda _: None)
    assert len(payloads) == groups
    fields = Fields(shape, [ModelName(network.digest, "tiny")]).to_bytes()
    data = file_of(pixels, 0, 8, payloads=payloads, codings=[b"\3" + fields])
    assert (plain_decoder.decode(data, [TINY]).samples == pixels).all()
    assert (codec.decode(data, model=TINY).reshape(pixels.shape) == pixels).all()
