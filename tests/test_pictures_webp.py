"""WebP files: every chunk is kept, named or refused, and Pillow gets what the pixels need."""

import struct
import zlib

import pytest
from PIL import Image
from PIL.WebPImagePlugin import WebPImageFile

from bitstream.errors import UnsupportedImageError
from bitstream.form import RGB, RGB_ALPHA, Form
from codec.pictures.webp import LOSSY_LEFT_OUT, parsed
from tests.conftest import picture
from tests.picture_files import assert_only_refused, assert_refused, chunk, pillows, saved

METADATA = {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", "xmp": b"<x:xmpmeta/>", "icc_profile": b"profile"}
LOSSLESS = saved(Image.fromarray(picture(13, 21, 3)), "WEBP", lossless=True)
EXTENDED = saved(Image.fromarray(picture(13, 21, 4)), "WEBP", lossless=True, exact=True, **METADATA)
LOSSY = saved(Image.fromarray(picture(13, 21, 3)), "WEBP")
LOSSY_ALPHA = saved(Image.fromarray(picture(13, 21, 4)), "WEBP")


def riff(*chunks, behind=b""):
    body = b"".join(name + struct.pack("<I", len(data)) + data + pad for name, data, pad in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body + behind


def chunks_of(data):
    at = 12
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], data[at + 8 : at + 8 + length], b"\0" * (length & 1)
        at += 8 + length + (length & 1)


def changed(data, name, change):
    """With another body of a chunk."""
    return riff(*((each, change(body), pad) if each == name else (each, body, pad) for each, body, pad in chunks_of(data)))


@pytest.mark.parametrize("channels", [3, 4])
def test_pixels_are_kept(channels):
    pixels = picture(13, 21, channels)
    pixels[..., 3:] //= 128  # much of it transparent, in colours that nobody sees
    data = saved(Image.fromarray(pixels), "WEBP", lossless=True, exact=True)
    found = parsed(data)
    assert (found.size, found.chunks, found.left_out) == ((21, 13), (), ())
    assert found.decoded().form == Form(RGB if channels == 3 else RGB_ALPHA, 8)
    assert (found.decoded().samples == pixels).all()


@pytest.mark.parametrize("data", [LOSSY, LOSSY_ALPHA])
def test_a_lossy_one_is_not_stored(data):
    found = parsed(data)
    assert found.left_out == (LOSSY_LEFT_OUT,)
    assert (pillows(found.plain, WebPImageFile) == pillows(data, WebPImageFile)).all()


def test_metadata_are_kept():
    found = parsed(EXTENDED)
    assert found.left_out == ()
    assert chunk(found, b"eXIf") == METADATA["exif"][6:]
    assert chunk(found, b"iTXt") == b"XML:com.adobe.xmp\0\0\0\0\0" + METADATA["xmp"]
    assert zlib.decompress(chunk(found, b"iCCP").removeprefix(b"ICC profile\0\0")) == METADATA["icc_profile"]
    assert (found.decoded().samples == pillows(EXTENDED, WebPImageFile)).all()


UNKNOWN = (b"C2PA", b"signature", b"\0")
LEFT_OUT = {
    "behind": (LOSSLESS + b"PK", ["2 bytes behind its end"]),
    "unknown": (riff(*chunks_of(LOSSLESS), UNKNOWN, (b"JUNK", b"xx", b"")), ["the WebP chunk 'C2PA'", "the WebP chunk 'JUNK'"]),
    "padding": (riff(*chunks_of(LOSSLESS), (b"EXIF", b"II*", b"x")), ["padding that is not zero"]),
    "twice": (riff(*chunks_of(LOSSLESS), *[(b"EXIF", b"II*\0", b"")] * 2), ["the WebP chunk 'EXIF'"]),
    "second picture": (riff(*chunks_of(LOSSLESS), *chunks_of(LOSSY)), ["the WebP chunk 'VP8 '"]),
    "alpha twice": (riff(*chunks_of(LOSSLESS), (b"ALPH", b"ab", b"")), ["the WebP chunk 'ALPH'"]),
    "reserved": (changed(EXTENDED, b"VP8X", lambda body: body[:1] + b"\1" + body[2:]), ["reserved bits of the WebP's header"]),
    "half a chunk": (b"RIFF" + struct.pack("<I", len(LOSSLESS) - 4) + LOSSLESS[8:] + b"abcd", ["4 bytes behind its chunks"]),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_not_stored_is_named(name):
    data, said = LEFT_OUT[name]
    assert list(parsed(data).left_out) == said
    whole = EXTENDED if name == "reserved" else LOSSLESS
    assert (parsed(data).decoded().samples == pillows(whole, WebPImageFile)).all()


def test_what_stands_in_the_chunk_behind_the_pixels_is_refused():
    """It would be lost in silence."""
    hidden = changed(LOSSLESS, b"VP8L", lambda body: body + b"a secret, and another")
    assert_refused(parsed, hidden, "bytes behind its pixels")
    for padding in (b"\0\0", b"\0\0\0\0"):
        assert parsed(changed(LOSSLESS, b"VP8L", lambda body, padding=padding: body + padding)).decoded().samples.shape == (13, 21, 3)


FRAMES = [Image.fromarray(picture(5, 5, 3, seed)) for seed in range(2)]
REFUSED = {
    "animation": (saved(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]), "animation"),
    "truncated": (LOSSLESS[:-2], "truncated"),
    "header only": (LOSSLESS[:13], "truncated"),
    "chunk too long": (changed(LOSSLESS, b"VP8L", lambda body: body)[:16] + b"\xff\xff\xff\x7f" + LOSSLESS[20:], "truncated"),
    "no picture": (riff(UNKNOWN), "no picture"),
    "no header": (changed(LOSSLESS, b"VP8L", lambda body: b"\0" + body[1:]), "no header"),
    "version": (changed(LOSSLESS, b"VP8L", lambda body: body[:4] + bytes([body[4] | 0xE0]) + body[5:]), "version 7"),
    "canvas": (changed(EXTENDED, b"VP8X", lambda body: body[:4] + b"\1" + body[5:]), "its canvas 2x13"),
    "short header": (changed(EXTENDED, b"VP8X", lambda body: body[:8]), "too short"),
    "no pixels": (changed(LOSSY, b"VP8 ", lambda body: body[:6] + bytes(4) + body[10:]), "without pixels"),
    "no WebP": (b"RIFF" + bytes(30), "no WebP"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    assert_refused(parsed, *REFUSED[name])


def test_no_row_is_invented():
    """Neither a shorter file nor a shorter code is taken."""
    for end in range(len(LOSSLESS)):
        with pytest.raises(UnsupportedImageError):
            parsed(LOSSLESS[:end])
    length = len(next(chunks_of(LOSSLESS))[1])
    for cut in range(1, length - 5, 7):
        assert_refused(parsed, changed(LOSSLESS, b"VP8L", lambda body, cut=cut: body[: (length - cut) // 2 * 2]), "damaged")


def test_mutated_files_are_refused_or_read():
    assert_only_refused(parsed, [LOSSLESS, EXTENDED, LOSSY, LOSSY_ALPHA, *(data for data, _ in LEFT_OUT.values())], 4000)


def test_many_chunks_are_refused_soon():
    assert_refused(parsed, riff(*chunks_of(LOSSLESS), *[(b"JUNK", b"", b"")] * 70_000), "more than 65,536 parts")
