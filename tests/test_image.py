"""Picture files: what is kept is exact, what cannot be kept is refused."""

import io
import struct
import zlib

import pytest
from PIL import Image

from bitstream.errors import TooLargeError, UnsupportedImageError
from codec.pictures.pillow import picture_of
from codec.pictures.reading import MAX_PIXELS, open_picture
from tests.conftest import picture


def opened(data, max_pixels=MAX_PIXELS):
    return open_picture(io.BytesIO(data), max_pixels)


def saved(image, form="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def png(width, height, depth, colour, rows):
    """A PNG made by hand, as Pillow writes no 16-bit RGB."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def flipped(data, place):
    """One bit of one byte changed; -14 is in the checksum of a PNG's last IDAT chunk."""
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("form", ["PNG", "PPM", "BMP", "TIFF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_kept(form, channels):
    pixels = picture(21, 13, channels)
    assert (opened(saved(Image.fromarray(pixels.squeeze()), form)).pixels == pixels).all()


def test_webp_pixels_are_kept():
    pixels = picture(21, 13, 3)
    assert (opened(saved(Image.fromarray(pixels), "WEBP", lossless=True)).pixels == pixels).all()


UNSUPPORTED = {
    "deep PPM": (b"P6 1 1 4095\n" + bytes(6), "PPM with a largest value of 4095"),
    "shallow PGM": (b"P5 1 1 100\n" + bytes(1), "100"),
    "CMYK": (saved(Image.new("CMYK", (3, 3)), "TIFF"), "CMYK"),
    "float": (saved(Image.new("F", (3, 3)), "TIFF"), "mode F"),
    "pages": (saved(Image.new("L", (3, 3)), "TIFF", save_all=True, append_images=[Image.new("L", (3, 3), 9)]), "2 pages"),
    "animation": (saved(Image.new("L", (3, 3)), "PNG", save_all=True, append_images=[Image.new("L", (3, 3), 9)]), "animation"),
    "PDF": (saved(Image.new("L", (3, 3)), "PDF"), "convert it to PNG"),
    "moving GIF": (saved(Image.new("L", (3, 3)), "GIF", save_all=True, append_images=[Image.new("L", (3, 3), 9)]), "animation"),
    "text": (b"hello", "convert it to PNG"),
    "empty": (b"", "convert it to PNG"),
    "truncated": (saved(Image.fromarray(picture(50, 50, 3)))[:-60], "damaged"),
    "wrong checksum": (flipped(saved(Image.new("RGB", (3, 3))), -14), "damaged"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_refused_in_one_sentence(name):
    data, reason = UNSUPPORTED[name]
    with pytest.raises(UnsupportedImageError, match=reason) as caught:
        opened(data)
    assert "\n" not in str(caught.value)


def test_an_image_in_memory_is_checked_too():
    with pytest.raises(UnsupportedImageError, match="16 bits"):
        picture_of(Image.open(io.BytesIO(png(1, 1, 16, 2, b"\0" + bytes(6)))))
    with pytest.raises(UnsupportedImageError, match="without pixels"):
        picture_of(Image.new("RGB", (0, 5)))


def test_too_large_is_said_before_any_pixel_is_read():
    with pytest.raises(TooLargeError, match="100000x100000"):
        opened(png(100_000, 100_000, 8, 2, b""))
    with pytest.raises(TooLargeError):
        opened(saved(Image.new("L", (10, 10))), 99)
    assert opened(saved(Image.new("L", (10, 10))), 100).pixels.shape == (10, 10, 1)
    assert Image.MAX_IMAGE_PIXELS


def test_metadata_that_are_not_stored_are_named():
    assert opened(saved(Image.new("RGB", (3, 3)), "BMP")).left_out == ()
    assert opened(saved(Image.new("RGB", (3, 3)), "JPEG", comment="hello")).left_out[1] == "the JPEG's comment"
