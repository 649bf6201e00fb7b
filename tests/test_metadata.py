"""The box that holds a PNG's chunks: all come back, common ones are small, and no bytes do harm."""

import hashlib
import random
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitstream import metadata
from bitstream.constants import MAX_METADATA_BYTES
from bitstream.deflate import deflated, inflated
from bitstream.errors import DamagedError, UnsupportedImageError
from bitstream.form import GREY, PALETTE, RGB
from bitstream.reader import varint

NAMES = st.text("abcdXYZ", min_size=4, max_size=4).map(str.encode)
CHUNKS = st.lists(st.tuples(NAMES, st.binary(max_size=300)), min_size=1, max_size=12).map(tuple)
RESOLUTION = (b"pHYs", struct.pack(">IIB", 2835, 2835, 1))
XMP = (
    b'XML:com.adobe.xmp\0\0\0\0\0<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?> <x:xmpmeta xmlns:x="adobe:ns:meta/"'
    b' x:xmptk="Adobe XMP Core 5.3-c011 66.145661, 2012/02/06-14:56:27        "> '
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"> '
    b'<rdf:Description rdf:about="" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"'
    b' xmlns:stRef="http://ns.adobe.com/xap/1.0/sType/ResourceRef#" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    b' xmp:CreatorTool="Adobe Photoshop CS6 (Windows)"/> </rdf:RDF> </x:xmpmeta> <?xpacket end="r"?>'
)


def joined(chunks):
    return b"".join(name + varint(len(body)) + body for name, body in chunks)


def assert_roundtrip(chunks, colour=RGB):
    body = metadata.pack(chunks, colour)
    assert metadata.unpack(body, colour) == chunks
    raw = joined(chunks)
    assert len(body) <= len(varint(len(raw))) + len(raw)
    return body


@settings(deadline=None)
@given(CHUNKS)
def test_any_chunks_come_back(chunks):
    assert_roundtrip(chunks)


def test_the_dictionary_is_a_constant_of_the_format():
    """Files are unreadable with another one."""
    assert len(metadata.DICTIONARY) == 3697
    assert hashlib.sha256(metadata.DICTIONARY).hexdigest() == "1183cf934ede40647bfb06142dadb7f7204a2604cec0293ac5be1d2d4cb27b6c"


@pytest.mark.parametrize(
    ("chunks", "size"),
    [
        (((b"IDAT", b""),), 5),
        ((RESOLUTION,), 5),
        (((b"gAMA", struct.pack(">I", 45455)),), 5),
        (((b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45455)), RESOLUTION), 7),
        (((b"tEXt", b"Software\0Adobe ImageReady"),), 5),
        (((b"sBIT", b"\x08\x08\x08\x08"), (b"tEXt", b"Software\0www.inkscape.org")), 7),
        (((b"pHYs", struct.pack(">IIB", 3780, 3780, 1)), (b"tIME", b"\x07\xe8\5\x11\1\2\3"), (b"tEXt", b"Comment\0Created with GIMP")), 18),
        (((b"tEXt", b"date:create\x002020-07-01T09:30:04+00:00"), (b"tEXt", b"date:modify\x002020-07-01T09:30:04+00:00")), 23),
        (((b"eXIf", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\1\0\0\0\0\0\0"),), 14),
        (((b"iTXt", XMP),), 78),
    ],
)
def test_common_chunks_are_small(chunks, size):
    assert len(assert_roundtrip(chunks)) <= size


def test_chunks_that_deflate_does_not_shorten_stay_as_they_are():
    chunks = ((b"zzZz", random.Random(1).randbytes(200)),)
    body = assert_roundtrip(chunks)
    assert body == varint(len(joined(chunks))) + joined(chunks)


def test_a_palette_is_elsewhere_with_indices():
    assert_roundtrip(((b"tEXt", b"a\0b"), (b"PLTE", b""), (b"IDAT", b"")), PALETTE)
    assert_roundtrip(((b"PLTE", bytes(6)), (b"IDAT", b"")))
    for chunks, colour in [
        (((b"PLTE", bytes(3)),), PALETTE),
        (((b"PLTE", b""), (b"PLTE", b"")), PALETTE),
        (((b"IDAT", b""), (b"PLTE", b"")), PALETTE),
        (((b"PLTE", b""),), RGB),
        (((b"PLTE", bytes(4)),), RGB),
        (((b"PLTE", bytes(771)),), RGB),
        (((b"PLTE", bytes(3)), (b"PLTE", bytes(3))), RGB),
    ]:
        assert_refused(chunks, colour)


def assert_refused(chunks, colour=RGB):
    """By the writer and by the reader."""
    with pytest.raises(UnsupportedImageError, match=r"its chunks cannot be kept: .*; --strip"):
        metadata.pack(chunks, colour)
    raw = joined(chunks)
    with pytest.raises(DamagedError):
        metadata.unpack(varint(len(raw)) + raw, colour)


@pytest.mark.parametrize(
    "chunks",
    [
        ((b"IHDR", b""),),
        ((b"IEND", b""),),
        ((b"a1bc", b""),),
        ((b"IDAT", b"x"),),
        ((b"IDAT", b""), (b"IDAT", b"")),
        ((b"abCd", b""),) * 65537,
    ],
)
def test_chunks_out_of_place(chunks):
    assert_refused(chunks)


def test_too_large():
    with pytest.raises(UnsupportedImageError, match="more than the limit"):
        metadata.pack(((b"abCd", bytes(MAX_METADATA_BYTES)),), RGB)
    with pytest.raises(DamagedError, match="cannot have"):
        metadata.unpack(varint(MAX_METADATA_BYTES + 1) + b"\3\0", RGB)


def test_what_inflates_to_more_takes_no_memory():
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = bomb.compress(bytes(1 << 26)) + bomb.flush()
    tracemalloc.start()
    try:
        with pytest.raises(DamagedError):
            metadata.unpack(varint(1000) + body, RGB)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_what_is_not_written_is_not_read():
    chunks = ((b"tEXt", b"Comment\0" + b"now and then " * 40),)
    body = metadata.pack(chunks, GREY)
    for wrong in (
        b"",
        body + b"\0",
        body[:-1],
        body[:1],
        varint(len(joined(chunks)) + 1) + body[2:],
        varint(len(joined(chunks)) - 1) + body[2:],
    ):
        with pytest.raises(DamagedError):
            metadata.unpack(wrong, GREY)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=80), st.sampled_from([GREY, RGB, PALETTE]))
def test_no_bytes_do_harm(data, colour):
    for body in (data, varint(len(data)) + data, varint(len(data)) + deflated(data, metadata.DICTIONARY)):
        try:
            chunks = metadata.unpack(body, colour)
        except DamagedError:
            continue
        assert metadata.unpack(metadata.pack(chunks, colour), colour) == chunks


@given(st.binary(max_size=400), st.binary(max_size=100))
def test_deflated_bytes_come_back(raw, dictionary):
    body = deflated(raw, dictionary)
    assert inflated(body, len(raw), dictionary) == raw
    for wrong, size in ((body + b"\0", len(raw)), (body[:-1], len(raw)), (body, len(raw) + 1), *([(body, len(raw) - 1)] if raw else [])):
        with pytest.raises(DamagedError):
            inflated(wrong, size, dictionary)


def test_the_shortest_of_several_ways():
    ramp = bytes(k * k >> 6 & 255 for k in range(4000))
    plain = zlib.compressobj(9, zlib.DEFLATED, -15)
    usual = plain.compress(ramp) + plain.flush()
    assert len(deflated(ramp)) <= len(usual)
    assert len(deflated(b"")) == 2
    assert inflated(deflated(ramp), len(ramp)) == ramp
