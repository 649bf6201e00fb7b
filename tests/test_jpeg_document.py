"""The decoder that was written from FORMAT-jpeg.md finds the same files as the product, and refuses what that refuses."""

import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import codec
from bitstream.container import METADATA, SIZE, Coding, read
from bitstream.deflate import deflated
from bitstream.form import GREY, KEPT, Form
from bitstream.reader import varint
from codec.decompression import decompress_file
from codec.jpeg import rest
from codec.jpeg.picture import Patch, put_back, taken_apart
from codec.methods.jpeg import Fields, JpegFiles
from codec.methods.method import Part, Source
from codec.options import Options
from codec.progress import ignore
from tests import plain_decoder
from tests.conftest import TINY_DCT, smooth
from tests.forged import claiming
from tests.mutations import mutated
from tests.picture_files import saved

COLOUR = Image.fromarray(smooth(20, 24))
GREYS = COLOUR.convert("L")


CPU = Options(device="cpu", model=TINY_DCT)


def jpeg(image=COLOUR, **options):
    return saved(image, "JPEG", **({"quality": 80} | options))


def segment(marker, body):
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def with_thumbnail():
    """In a segment APP1, as cameras have it."""
    data = jpeg()
    small = jpeg(COLOUR.resize((16, 12)), quality=95)
    return data[:2] + segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08" + small) + data[2:]


def with_zeros():
    """Padded with zeros, which libjpeg never does."""
    taken = taken_apart(jpeg(restart_marker_blocks=1), 0)
    return put_back(taken.rest, taken.walk, [Patch(ones=False)], taken.coefficients, 1 << 12)


def coded(data):
    return JpegFiles().offer(source_of(data), ignore)[0].coded(ignore)


def source_of(data):
    return Source(np.frombuffer(data, np.uint8).reshape(1, -1, 1), options=CPU, kept=True)


def part_of(data):
    return Part(len(data), 1, 1, 8, coded(data).coding)


def igpt(data):
    """A file whose method is that for JPEGs, whether or not that is smaller."""
    made = coded(data)
    return claimed(made.coding, made.chunks, data)


def claimed(coding, chunks, data, **boxes):
    return claiming(40, 30, Form(KEPT, 8), coding, chunks, {SIZE: varint(len(data))}, source_of(data).samples)


def product(data):
    return decompress_file(read(data), CPU).file


def plain(data):
    return plain_decoder.decode(data, [TINY_DCT])


DAMAGED = bytearray(jpeg(quality=95))
DAMAGED[-70:-60] = b"\xff\0" * 5  # no code is like this
LARGE = jpeg(Image.fromarray(smooth(25, 24)), progressive=True, quality=95)
FRONT_BYTES = 700  # instead of a megabyte, which the plain decoder would need minutes for
FILES = {
    "4:2:0": jpeg(),
    "4:2:2": jpeg(subsampling=1),
    "4:4:4": jpeg(subsampling=0),
    "grey": jpeg(GREYS),
    "four components": jpeg(COLOUR.convert("CMYK")),
    "progressive": jpeg(progressive=True),
    "progressive, fine": LARGE,
    "progressive, grey": jpeg(GREYS, progressive=True, quality=60),
    "progressive, flat": jpeg(Image.new("RGB", (160, 32), (9, 99, 200)), progressive=True),
    "progressive, restarts": jpeg(progressive=True, restart_marker_blocks=3),
    "restarts": jpeg(restart_marker_blocks=2),
    "restarts of rows": jpeg(subsampling=0, restart_marker_rows=1),
    "optimised": jpeg(optimize=True),
    "a thumbnail": with_thumbnail(),
    "something behind": jpeg() + b"something behind it" * 3,
    "another one behind": jpeg() + jpeg(quality=95),
    "much behind": jpeg() + bytes(200),
    "cut off": jpeg(quality=95)[:-60],
    "cut off, progressive": LARGE[: len(LARGE) // 2],
    "damaged": bytes(DAMAGED),
    "no code": jpeg()[: jpeg().index(b"\xff\xda") + 14] + b"\xff\xd9",
    "zeros": with_zeros(),
    "noise": b"\xff\xd8\xff" + random.Random(0).randbytes(300),
    "nothing but a beginning": b"\xff\xd8\xff",
}


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    """Pictures are taken apart however little code they have."""
    monkeypatch.setattr("codec.methods.jpeg.FRONT_BYTES", FRONT_BYTES)
    monkeypatch.setattr("codec.jpeg.picture.WORTH_BYTES", 1)
    monkeypatch.setattr("codec.jpeg.picture.WORTH_SHARE", 1 << 40)


@pytest.mark.parametrize("name", FILES)
def test_the_document_is_enough(name):
    data = FILES[name]
    packed = igpt(data)
    assert product(packed) == data
    found = plain(packed)
    assert found.samples.tobytes() == data
    assert (found.colour, found.samples.shape) == (plain_decoder.KEPT, (1, len(data), 1))


def test_these_files_are_of_all_sorts():
    """Pictures, patches, padding, and how the rest is packed."""
    fields = {name: JpegFiles().fields(part_of(data)) for name, data in FILES.items()}
    pictures = {name: len(found.places) for name, found in fields.items()}
    assert {name for name, count in pictures.items() if count == 2} == {"a thumbnail", "another one behind"}
    assert {name for name, count in pictures.items() if count == 0} == {"no code", "noise", "nothing but a beginning"}
    patches = {name: [patch for place in found.places for _, patch in place.patches] for name, found in fields.items()}
    assert any(patch.kept is not None for patch in patches["damaged"])
    assert any(patch.kept is not None for patch in patches["cut off"])
    assert any(not patch.ones for patch in patches["zeros"])
    assert fields["much behind"].behind
    assert {found.packed[0] for found in fields.values()} >= {rest.PLAIN, rest.MIXED}


def test_the_dictionary_is_that_of_the_document():
    assert plain_decoder.jpeg_dictionary() == rest.DICTIONARY


@pytest.mark.parametrize("how", [rest.PLAIN, rest.DEFLATED, rest.MIXED])
def test_packed_bytes(how):
    raw = jpeg()[:640]  # segments that the dictionary does not have as they are
    packed = {
        rest.PLAIN: bytes((rest.PLAIN,)) + raw,
        rest.DEFLATED: bytes((rest.DEFLATED,)) + deflated(raw),
        rest.MIXED: rest.pack(raw),
    }[how]
    assert packed[0] == how
    assert plain_decoder.unpacked(packed, len(raw)) == rest.unpack(packed, len(raw)) == raw
    for wrong, size in ((packed + b"\0", len(raw)), (b"\3" + raw, len(raw)), (b"", 0)):
        with pytest.raises((AssertionError, IndexError, zlib.error)):
            plain_decoder.unpacked(wrong, size)
        with pytest.raises(codec.IgptError):
            rest.unpack(wrong, size)


def refused_by(decode, data):
    try:
        return decode(data)
    except (codec.IgptError, AssertionError, IndexError, KeyError, ValueError, zlib.error):
        return None


def test_both_decoders_refuse_the_same():
    """Mutated fields, and headers in them."""
    data = with_thumbnail()
    fields = JpegFiles().fields(part_of(data))
    chunks, agreed = coded(data).chunks, 0
    for seed in range(10):
        rng = random.Random(seed)
        body = fields._replace(packed=bytes((rest.PLAIN,)) + fields.front).to_bytes()
        at = len(body) - len(fields.front)
        head = rng.random() < 0.5
        body = body[:at] + mutated(body[at:], rng, body[at:]) if head else mutated(body[:at], rng, body[:at]) + body[at:]
        packed = claimed(Coding(6, 0, body), chunks, data)
        one, other = refused_by(product, packed), refused_by(lambda d: plain(d).samples.tobytes(), packed)
        assert one == other
        agreed += one is None
    assert agreed > 2


def test_a_fast_file_has_two_bands_from_16385_blocks_on():
    """And no model: anybody reads it."""
    rng, counts = np.random.default_rng(0), []
    for width in (1024, 1032):
        pixels = np.full((1024, width), 90, np.uint8)
        pixels[::100, ::100] = rng.integers(0, 256, pixels[::100, ::100].shape)
        jpeg_file = saved(Image.fromarray(pixels), "JPEG", quality=60)
        data = codec.compress(jpeg_file, level="fast", device="cpu")
        counts.append(codec.info(data).chunks)
        assert (codec.info(data).level, codec.info(data).models) == ("fast", ())
        assert codec.jpeg_file(data) == jpeg_file
    assert plain_decoder.decode(data, []).samples.tobytes() == jpeg_file
    assert counts == [1, 2]


BYTES = b"any bytes"
STORED = Coding(0)
KEPT_FORM = Form(KEPT, 8)
SAMPLES = np.frombuffer(BYTES, np.uint8).reshape(1, -1, 1)
OTHERS = {
    "no size": claiming(1, 1, KEPT_FORM, STORED, [BYTES], {}, SAMPLES),
    "a size of nothing": claiming(1, 1, KEPT_FORM, STORED, [b""], {SIZE: b"\0"}, SAMPLES[:, :0]),
    "a size and more": claiming(1, 1, KEPT_FORM, STORED, [BYTES], {SIZE: varint(9) + b"\0"}, SAMPLES),
    "a larger size than allowed": claiming(1, 1, KEPT_FORM, STORED, [BYTES], {SIZE: varint((1 << 28) + 1)}, SAMPLES),
    "metadata": claiming(1, 1, KEPT_FORM, STORED, [BYTES], {SIZE: varint(9), METADATA: b"\5IDAT\0"}, SAMPLES),
    "mixed bytes": claiming(9, 1, KEPT_FORM, Coding(1), [BYTES], {SIZE: varint(9)}, SAMPLES),
    "a size of a picture": claiming(9, 1, Form(GREY, 8), STORED, [BYTES], {SIZE: varint(9)}, SAMPLES),
    "a picture as a JPEG": claiming(
        9, 1, Form(GREY, 8), Coding(6, 0, Fields([], None, 9, b"\0" + BYTES, False).to_bytes()), [b""], {}, SAMPLES
    ),
    "no bits": claiming(1, 1, Form(KEPT, 1), STORED, [BYTES], {SIZE: varint(9)}, SAMPLES),
    "16 bits": claiming(1, 1, Form(KEPT, 16), STORED, [BYTES * 2], {SIZE: varint(9)}, SAMPLES),
    "a wide one": claiming((1 << 24) + 1, 1, KEPT_FORM, STORED, [BYTES], {SIZE: varint(9)}, SAMPLES),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_refused(name):
    with pytest.raises((AssertionError, IndexError)):
        plain(OTHERS[name])
    with pytest.raises(codec.IgptError):
        product(OTHERS[name])


@pytest.mark.parametrize("size", [(0, 0), (1 << 24, 5)])
def test_kept_files_may_be_stored(size):
    """Whatever they are, and whatever size they claim to show."""
    data = claiming(*size, KEPT_FORM, STORED, [BYTES], {SIZE: varint(9)}, SAMPLES)
    assert product(data) == BYTES
    assert plain(data).samples.tobytes() == BYTES
