"""What is coded of a picture: its samples, ranks among their values, or a palette's colours; and the way back."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import codec
from bitstream import metadata, palette
from bitstream.container import COLOURS, LEVELS, METADATA, PALETTE, Coding, Head, read_front, written
from bitstream.deflate import deflated
from bitstream.errors import DamagedError, IgptError, TooLargeError
from bitstream.form import DEPTHS, GREY, RGB, Form
from bitstream.form import PALETTE as INDEXED
from bitstream.reader import varint
from codec import compression
from codec.compression import compress_picture
from codec.methods import network
from codec.methods.method import Source
from codec.methods.mixing import Mixing
from codec.methods.stored import Stored
from codec.options import Options
from codec.pictures.picture import Picture
from codec.progress import ignore
from codec.representations import digest_of, meant, picture_boxes, representations
from tests.conftest import coded_by, file_of, form_of, picture, remade, smooth

CPU = Options(device="cpu")


def front_of(some, boxes):
    """Of a file of a picture, with these boxes beside those of its metadata."""
    height, width, _ = some.pixels.shape
    head = Head(width, height, some.form, digest_of(some.pixels))
    return read_front(written(head, {**picture_boxes(some), **boxes}, [Coding(0)], [b""]))


def assert_all_lead_back(some):
    """Every representation; their boxes, by the number of channels and bits."""
    found = {}
    for representation in representations(some):
        front = front_of(some, representation.boxes)
        is_meant = meant(front)
        assert representation.samples.dtype == (np.uint16 if representation.depth == 16 else np.uint8)
        assert (is_meant.channels, is_meant.depth) == (representation.samples.shape[2], representation.depth)
        assert representation.samples.max() < 1 << representation.depth
        back = is_meant.samples(representation.samples, front)
        assert back.dtype == some.pixels.dtype
        assert (back == some.pixels).all()
        assert representation.original == (not representation.boxes)
        found[representation.samples.shape[2], representation.depth, bool(representation.boxes)] = representation
    return found


def drawn_from(*values, size=(9, 13)):
    """Samples, whose channels have just these values: (height, width, channels) uint8."""
    rng = np.random.default_rng(sum(map(len, values)))
    channels = [rng.permutation(np.resize(np.array(sorted(some), np.uint8), size[0] * size[1])) for some in values]
    return np.stack(channels, 1).reshape(*size, -1)


VALUES = st.one_of(st.sets(st.integers(0, 255), min_size=1, max_size=100), st.just(set(range(256))), st.just(set(range(30, 90))))


@given(st.lists(VALUES, min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_ranks_by_channel_lead_back(values):
    pixels = drawn_from(*values, size=(16, 17))
    some = Picture(pixels, form_of(pixels))
    found = assert_all_lead_back(some)
    sparse = [channel for channel, present in enumerate(values) if len(present) <= 0.9 * (1 + max(present) - min(present))]
    assert ((len(values), 8, True) in found) == bool(sparse)
    if sparse:
        ranked = found[len(values), 8, True]
        assert ranked.boxes[LEVELS][0] == sum(1 << channel for channel in sparse)
        for channel, present in enumerate(values):
            expected = len(present) - 1 if channel in sparse else max(present)
            assert ranked.samples[..., channel].max() == expected


def test_a_table_of_levels_is_a_bitmap():
    pixels = np.array([[[3, 10, 0], [255, 11, 0], [3, 12, 1]]], np.uint8)
    some = Picture(pixels, Form(RGB, 8))
    _, ranked = representations(some)
    assert ranked.samples.tolist() == [[[0, 10, 0], [1, 11, 0], [0, 12, 1]]]
    bitmap = bytes([8, *bytes(30), 128])
    assert meant(front_of(some, {LEVELS: b"\1" + bitmap})).samples(ranked.samples, front_of(some, {})).tolist() == pixels.tolist()
    assert meant(front_of(some, {LEVELS: b"\1" + deflated(bitmap)})).levels[0].tolist() == [3, 255]
    assert ranked.boxes[LEVELS] in (b"\1" + bitmap, b"\1" + deflated(bitmap))


@given(arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)), elements=st.integers(0, 65535)))
@settings(max_examples=100, deadline=None)
def test_levels_of_16_bits_lead_back(samples):
    (*rest, last) = assert_all_lead_back(Picture(samples, form_of(samples)))
    assert last == (samples.shape[2], 8, True)  # there are at most 256 of them
    assert rest == [(samples.shape[2], 16, False)] * len(rest)
    if samples.size > 520:
        assert not rest


@pytest.mark.parametrize("levels", [1, 256, 257, 5000, 65536])
def test_many_levels_of_16_bits(levels):
    samples = np.resize(np.linspace(0, 65535, levels).astype(np.uint16), (256, 256, 1))
    found = assert_all_lead_back(Picture(samples, Form(GREY, 16)))
    assert list(found) == ([(1, 8, True)] if levels <= 256 else [(1, 16, False), (1, 16, True)])
    if levels > 256:
        assert found[1, 16, True].samples.max() == levels - 1


def test_16_bits_have_a_width():
    wide = np.arange((1 << 20) + 1, dtype=np.uint32).astype(np.uint16)[None, :, None]
    with pytest.raises(TooLargeError, match="1,048,576"):
        list(representations(Picture(wide, Form(GREY, 16))))


@pytest.mark.parametrize("depth", DEPTHS[GREY][:3])
def test_few_bits_are_coded_as_they_are(depth):
    samples = np.random.default_rng(0).integers(0, 1 << depth, (9, 11, 1)).astype(np.uint8)
    found = assert_all_lead_back(Picture(samples, Form(GREY, depth)))
    assert list(found) == [(1, depth, False)]
    assert found[1, depth, False].indices


def indexed(indices, entries, depth=8):
    table = np.array(entries, np.uint8).tobytes()
    return Picture(np.array(indices, np.uint8)[..., None], Form(INDEXED, depth), ((b"PLTE", table),))


GREYS = [[7, 7, 7], [200, 200, 200], [0, 0, 0], [9, 9, 9]]
MIXED = [[7, 7, 7], [200, 0, 200], [7, 7, 7], [9, 9, 9]]


@pytest.mark.parametrize(
    ("some", "channels"),
    [
        (indexed([[0, 1], [2, 3]], GREYS), 1),
        (indexed([[0, 1], [2, 3]], GREYS, 2), 1),
        (indexed([[0, 1], [1, 3]], MIXED), 3),
        (indexed([[0, 0], [3, 3]], MIXED), 1),
        (indexed([[0, 2], [3, 3]], MIXED), None),  # entry 2 is entry 0 again
        (indexed([[0, 1], [1, 4]], MIXED), None),  # there is no entry 4
        (indexed([[1, 1], [1, 1]], MIXED), None),  # a plain ground
    ],
)
def test_colours_of_a_palette_lead_back(some, channels):
    found = assert_all_lead_back(some)
    assert list(found) == [(1, some.form.depth, False), *([(channels, 8, True)] if channels else [])]
    if channels:
        assert found[channels, 8, True].boxes == {COLOURS: bytes([channels])}


@given(st.integers(1, 256).flatmap(lambda n: st.tuples(arrays(np.uint8, (n, 3)), arrays(np.uint8, (7, 5), elements=st.integers(0, n - 1)))))
@settings(max_examples=30, deadline=None)
def test_any_palette_comes_back(drawn):
    entries, indices = drawn
    assert_all_lead_back(indexed(indices, entries))


def test_the_digest_can_be_recomputed():
    eight, sixteen = picture(5, 6, 3), picture(5, 6, 2).astype(np.uint16) * 259
    assert digest_of(eight) == hashlib.sha256(eight.tobytes()).digest()[:8]
    assert digest_of(sixteen) == hashlib.sha256(sixteen.astype("<u2").tobytes()).digest()[:8]
    assert digest_of(sixteen.astype(">u2")) == digest_of(sixteen)
    assert digest_of(np.asfortranarray(eight)) == digest_of(eight)
    for some in (eight, sixteen, eight[..., 0]):
        data = codec.compress(some, device="cpu")
        assert hashlib.sha256(codec.decode(data, device="cpu")).hexdigest()[:16] == codec.info(data).digest


# What is chosen


def without_others(some, monkeypatch):
    """The size of a picture's file, if only its own samples may be coded."""
    with monkeypatch.context() as patch:
        patch.setattr(compression, "representations", lambda picture: [next(representations(picture))])
        return len(compress_picture(some, CPU))


def test_a_levels_edit_is_coded_as_ranks(photograph, monkeypatch):
    pixels = (photograph[100:196, 100:196].astype(int) * 5 // 4).clip(0, 255).astype(np.uint8)
    some = Picture(pixels, Form(RGB, 8))
    data = compress_picture(some, CPU)
    assert codec.info(data).representation == "ranks"
    assert (codec.decode(data, device="cpu") == pixels).all()
    assert len(data) < 0.95 * without_others(some, monkeypatch)


def test_tables_that_do_not_pay_are_left_out(photograph):
    data = codec.compress(photograph[100:108, 100:108], device="cpu")  # 64 pixels have few values
    assert len(list(representations(Picture(photograph[100:108, 100:108], Form(RGB, 8))))) == 2
    assert codec.info(data).representation == "samples"


def test_a_ramp_of_greys_is_coded_as_grey(photograph, monkeypatch):
    grey = photograph[100:196, 100:196, 1]
    order = np.random.default_rng(0).permutation(256)
    shuffled = indexed(np.argsort(order)[grey], order[:, None].repeat(3, 1))
    data = compress_picture(shuffled, CPU)
    assert codec.info(data).representation == "colours"
    assert (codec.decode(data, device="cpu") == shuffled.pixels[..., 0]).all()
    assert len(data) < 0.9 * without_others(shuffled, monkeypatch)


def test_a_ramp_of_false_colours_is_coded_as_brightnesses(photograph, monkeypatch):
    """The network codes the indices; those of a drawing it is not asked about."""
    bright, value = photograph[100:196, 100:196, 1], np.arange(256)
    some = indexed(bright, np.stack([value, 255 - value, np.abs(2 * value - 255)], 1))
    data = compress_picture(some, CPU)
    assert codec.info(data).coding == "network"
    assert codec.info(data).representation == "samples"
    assert (codec.decode(data, device="cpu") == bright).all()
    with monkeypatch.context() as patch:
        patch.setattr(network, "DRAWN", 0.0)
        assert len(data) < 0.9 * len(compress_picture(some, CPU))
    for indices, depth in ((bright >> 4, 4), (bright.repeat(8, 0).repeat(8, 1)[:96, :96], 8), (bright[:30, :30], 8)):
        assert not network.Network().offer(Source(indices[..., None], depth, CPU, indices=True), ignore)


def test_a_sprite_is_coded_as_indices():
    y, x = np.mgrid[:32, :32]
    some = indexed((x // 5 + y // 7) % 4, [*MIXED[:2], [1, 2, 3], [9, 9, 9]])
    data = compress_picture(some, CPU)
    assert codec.info(data).representation == "samples"
    assert (codec.decode(data, device="cpu") == some.pixels[..., 0]).all()


# What does not fit


def stored(pixels, form=None, boxes=None, chunks=None):
    """A file of such samples, as they are, that says of itself what may not be so; its checksums and its digest are right."""
    data = file_of(pixels, coded_by(Stored(), pixels))
    return remade(data, form=form or form_of(pixels), boxes=boxes, chunks=chunks)


ONE, TWO, THREE = (np.full((4, 5, channels), 3, np.uint8) for channels in (1, 2, 3))
DEEP = np.full((4, 5, 1), 300, np.uint16)
ENTRIES = palette.pack(bytes(range(12)))
BITMAP = bytes([8, *bytes(31)])  # of the value 3


def steps(*values):
    return varint(len(values)) + deflated(np.array(values, "<u2").view(np.uint8).reshape(-1, 2).T.tobytes())


@pytest.mark.parametrize(
    ("pixels", "form", "boxes"),
    [
        (ONE, Form(INDEXED, 8), {}),
        (THREE, None, {PALETTE: ENTRIES}),
        (ONE, None, {PALETTE: ENTRIES}),
        (ONE, Form(INDEXED, 8), {PALETTE: ENTRIES, LEVELS: b"\1" + BITMAP}),
        (THREE, None, {COLOURS: b"\3"}),
        (ONE, None, {COLOURS: b"\1"}),
        (ONE, Form(INDEXED, 8), {PALETTE: ENTRIES, COLOURS: b"\2"}),
        (ONE, Form(INDEXED, 8), {PALETTE: ENTRIES, COLOURS: b""}),
        (ONE, Form(INDEXED, 8), {PALETTE: ENTRIES, COLOURS: b"\1\1"}),
        (ONE, None, {LEVELS: b""}),
        (ONE, None, {LEVELS: b"\0"}),
        (ONE, None, {LEVELS: b"\2" + BITMAP}),
        (TWO, None, {LEVELS: b"\4" + BITMAP}),
        (THREE, None, {LEVELS: b"\xff" + BITMAP * 8}),
        (ONE, None, {LEVELS: b"\1" + BITMAP[:-1]}),
        (ONE, None, {LEVELS: b"\1" + BITMAP + b"\0"}),
        (ONE, None, {LEVELS: b"\1" + bytes(32)}),
        (TWO, None, {LEVELS: b"\3" + BITMAP}),
        (ONE, None, {LEVELS: b"\1" + deflated(BITMAP * 2)}),
        (ONE, None, {LEVELS: b"\1" + deflated(BITMAP) + b"x"}),
        (ONE, None, {LEVELS: b"\1" + deflated(BITMAP)[:-1]}),
        (ONE, Form(GREY, 4), {LEVELS: b"\1" + BITMAP}),
        (ONE, Form(GREY, 2), {LEVELS: b"\1" + BITMAP}),
        (DEEP, None, {LEVELS: b""}),
        (DEEP, None, {LEVELS: varint(0)}),
        (DEEP, None, {LEVELS: varint(0) + deflated(b"")}),
        (DEEP, None, {LEVELS: varint(65537) + deflated(bytes(2 * 65537))}),
        (DEEP, None, {LEVELS: steps(*[1] * 300)[:-1]}),
        (DEEP, None, {LEVELS: steps(*[1] * 300) + b"x"}),
        (DEEP, None, {LEVELS: varint(299) + steps(*[1] * 300)[2:]}),
        (DEEP, None, {LEVELS: varint(301) + steps(*[1] * 300)[2:]}),
        (DEEP, None, {LEVELS: steps(*[1] * 200, 0, *[1] * 100)}),
        (DEEP, None, {LEVELS: steps(*[400] * 300)}),
    ],
)
def test_boxes_that_do_not_fit_the_form_are_refused(pixels, form, boxes):
    data = stored(pixels, form, boxes)
    for work in (codec.decode, codec.decompress, codec.info):
        with pytest.raises(DamagedError):
            work(data)


@pytest.mark.parametrize(
    ("pixels", "form", "boxes", "match"),
    [
        (ONE, None, {LEVELS: b"\1" + BITMAP}, "above 0"),
        (TWO, None, {LEVELS: b"\2" + BITMAP}, "above 0"),
        (DEEP, None, {LEVELS: steps(*[1] * 300)}, "above 299"),
        (ONE, Form(INDEXED, 8), {PALETTE: ENTRIES, COLOURS: b"\1"}, "not in its palette"),
        (THREE, Form(INDEXED, 8), {PALETTE: ENTRIES, COLOURS: b"\3"}, "not in its palette"),
        (THREE, Form(INDEXED, 1), {PALETTE: palette.pack(bytes(9) + b"\3\3\3"), COLOURS: b"\3"}, "above 1"),
    ],
)
def test_samples_that_do_not_fit_their_boxes_are_refused(pixels, form, boxes, match):
    data = stored(pixels, form, boxes)
    codec.info(data)
    with pytest.raises(DamagedError, match=match):
        codec.decode(data)


@pytest.mark.parametrize(("colour", "boxes"), [(GREY, {}), (INDEXED, {PALETTE: ENTRIES})])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_samples_of_too_many_bits_are_refused(depth, colour, boxes):
    """Mixing knows nothing of fewer bits than 8."""
    for value in ((1 << depth) - 1, 1 << depth):
        pixels = np.full((4, 5, 1), value, np.uint8)
        data = remade(file_of(pixels, coded_by(Mixing(), pixels)), form=Form(colour, depth), boxes=boxes)
        if value < 1 << depth:
            assert (codec.decode(data) == value).all()
        else:
            with pytest.raises(DamagedError, match=f"above {value - 1}"):
                codec.decode(data)


def test_pixels_of_another_picture_are_refused():
    one, other = smooth(8, 9), smooth(8, 9, 1)
    data = file_of(one, coded_by(Stored(), other))
    with pytest.raises(DamagedError, match="digest"):
        codec.decode(data)
    assert (codec.decode(remade(data, digest=digest_of(other))) == other).all()


@pytest.mark.parametrize(
    "raw", [b"IHDR\1x", b"IDAT\1x", b"IDAT\0IDAT\0", b"\0\0\0\0\0", b"PLTE\4xxxx", b"teSt", b"teSt\5x", b"aaaa\0" * 70_000, b""]
)
@pytest.mark.parametrize("packed", [False, True])
def test_metadata_that_cannot_be_are_refused(raw, packed):
    body = varint(len(raw)) + (deflated(raw, metadata.DICTIONARY) if packed else raw)
    with pytest.raises(IgptError):
        codec.decode(stored(THREE, boxes={METADATA: body}))


def test_metadata_do_not_grow_without_bound():
    """A bomb: 100 MB of zeros in 100 kB."""
    packed = deflated(bytes(100_000_000))
    for size in (100, 1 << 26, 100_000_000, (1 << 35) - 1):
        with pytest.raises(DamagedError):
            codec.info(stored(THREE, boxes={METADATA: varint(size) + packed}))
