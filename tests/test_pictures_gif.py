"""GIF files: every pixel as the file has it, every block kept, named or refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from bitstream.errors import UnsupportedImageError
from bitstream.form import GREY, PALETTE, Form
from codec.pictures.gif import XMP_TRAILER, parsed
from tests.conftest import picture
from tests.picture_files import assert_only_refused, assert_refused, chunk, pillows, saved

PALETTE_OF_4 = bytes((255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9))


def coded(indices, root_bits=2):
    """LZW that begins anew before each pixel, so that its codes stay short."""
    bits, total = 0, 0
    for code in [x for index in indices for x in (1 << root_bits, index)] + [(1 << root_bits) + 1]:
        bits |= code << total
        total += root_bits + 1
    data = bits.to_bytes(-(-total // 8), "little")
    return (
        bytes([root_bits]) + b"".join(bytes([len(part)]) + part for part in (data[k : k + 255] for k in range(0, len(data), 255))) + b"\0"
    )


def gif(before=b"", behind=b"", *, screen=(2, 2), place=(0, 0), flags=0x81, colours=PALETTE_OF_4, extra=(0, 0), own=b"", mark=0,
        code=None, end=b";"):  # fmt: skip
    """By hand; extra: background and aspect ratio, own: the picture's own palette, mark: its flags."""
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, flags, *extra) + colours
    picture = b"," + struct.pack("<HHHHB", *place, 2, 2, mark) + own
    return head + before + picture + (coded(range(4)) if code is None else code) + behind + end


def control(flags=0, delay=0, transparent=0):
    return b"!\xf9\x04" + struct.pack("<BHB", flags, delay, transparent) + b"\0"


@pytest.mark.parametrize("colours", [2, 3, 16, 200, 256])
@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (200, 150)])
def test_indices_are_kept(colours, interlace, size):
    indices = picture(size[1], size[0], 1)[..., 0] % np.uint16(colours)
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(np.random.default_rng(0).integers(0, 256, 3 * colours).astype(np.uint8).tobytes())
    data = saved(image, "GIF", interlace=interlace, optimize=False)
    found = parsed(data)
    assert found.decoded().form == Form(PALETTE, 8)
    assert found.size == size
    assert found.left_out == ()
    assert (found.decoded().samples[..., 0] == indices).all()
    assert (found.decoded().samples == pillows(data, GifImageFile)).all()
    assert bytes(image.getpalette()) == chunk(found, b"PLTE")[: 3 * colours]


def test_a_ramp_of_greys_is_brightness():
    grey = picture(30, 40, 1)[..., 0]
    found = parsed(saved(Image.fromarray(grey), "GIF", optimize=False))
    assert (found.decoded().form, found.chunks) == (Form(GREY, 8), ())
    assert (found.decoded().samples[..., 0] == grey).all()
    clear = parsed(saved(Image.fromarray(grey), "GIF", optimize=False, transparency=7))
    assert clear.chunks == ((b"tRNS", b"\0\7"),)


def test_its_own_palette_counts():
    found = parsed(gif(flags=1, colours=b"", own=PALETTE_OF_4, mark=0x81))
    assert (chunk(found, b"PLTE"), found.left_out) == (PALETTE_OF_4, ())
    assert found.decoded().samples[..., 0].tolist() == [[0, 1], [2, 3]]
    both = parsed(gif(own=PALETTE_OF_4[::-1], mark=0x81))
    assert chunk(both, b"PLTE") == PALETTE_OF_4[::-1]
    assert both.left_out == ("the GIF's global palette, which its picture does not use",)


def test_metadata_are_kept():
    profile, packet = b"profile" * 100, b"<x:xmpmeta/>"
    blocks = b"!\xff\x0bICCRGBG1012" + b"\xff" + profile[:255] + b"\xff" + profile[255:510] + b"\xbe" + profile[510:] + b"\0"
    blocks += b"!\xff\x0bXMP DataXMP" + packet + XMP_TRAILER + b"!\xfe\x05hello\0" + control(1, 0, 2)
    found = parsed(gif(blocks))
    assert found.left_out == ()
    assert zlib.decompress(chunk(found, b"iCCP").removeprefix(b"ICC profile\0\0")) == profile
    assert chunk(found, b"iTXt") == b"XML:com.adobe.xmp\0\0\0\0\0" + packet
    assert chunk(found, b"tEXt") == b"Comment\0hello"
    assert chunk(found, b"tRNS") == b"\xff\xff\0"


LEFT_OUT = {
    "behind": (gif() + b"PK", "2 bytes behind its end"),
    "text": (gif(b"!\x01\x0c" + bytes(12) + b"\x05HELLO\0"), "the GIF's plain text"),
    "loop": (gif(b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"), "the GIF application extension 'NETSCAPE2.0'"),
    "extension": (gif(b"!\x77\x01a\0"), "a GIF extension of kind 119"),
    "comment": (gif(b"!\xfe\x01\xff\0"), "the GIF's comment"),
    "delay": (gif(control(0, 5)), "the GIF's delay"),
    "disposal": (gif(control(8)), "the GIF's disposal"),
    "input": (gif(control(2)), "the GIF's wait for the user"),
    "reserved": (gif(control(0x40)), "flags of the GIF's control"),
    "control alone": (gif(b"", control(1)), "a graphic control of no picture"),
    "longer control": (gif(b"!\xf9\x04\0\0\0\0\x02hi\0"), "a graphic control of no picture"),
    "background": (gif(extra=(3, 0)), "the GIF's background colour 3"),
    "aspect": (gif(extra=(0, 49)), "the GIF's pixel aspect ratio 49"),
    "sorted": (gif(flags=0x89), "that the GIF's palette is sorted"),
    "no such colour": (gif(control(1, 0, 4)), "a transparent colour that the GIF's palette has not"),
    "two profiles": (gif(b"!\xff\x0bICCRGBG1012\x01a\0" * 2), "the GIF application extension 'ICCRGBG1012'"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_not_stored_is_named(name):
    data, said = LEFT_OUT[name]
    assert parsed(data).left_out == (said,)
    assert parsed(data).decoded().samples[..., 0].tolist() == [[0, 1], [2, 3]]


REFUSED = {
    "animation": (saved(Image.new("L", (3, 3)), "GIF", save_all=True, append_images=[Image.new("L", (3, 3), 9)]), "animation.*2 pages"),
    "part of the screen": (gif(screen=(4, 4)), "2x2 pixels is not all of its screen of 4x4"),
    "place": (gif(screen=(2, 2), place=(1, 0)), "not all of its screen"),
    "no trailer": (gif(end=b""), "truncated"),
    "no picture": (gif()[:25] + b";", "no picture"),
    "no palette": (gif(flags=0, colours=b""), "without a palette"),
    "a pixel less": (gif(code=coded(range(3))), "truncated"),
    "a pixel more": (gif(code=coded((0, 1, 2, 3, 0))), "more pixels than its size says"),
    "bytes behind the code": (gif(code=coded(range(4))[:-1] + b"\x05hello\0"), "5 bytes behind its pixels"),
    "a code that means nothing": (gif(code=b"\x02\x01\x7c\0"), "truncated"),
    "a colour that is not there": (gif(code=coded((0, 1, 2, 7), 3)), "colour 7, and 4 colours"),
    "odd size of codes": (gif(code=b"\x0c\x01\x44\0"), "12 bits"),
    "unknown block": (gif(b"\x99" + bytes(20)), "unknown kind 153"),
    "XMP without end": (gif(b"!\xff\x0bXMP DataXMP\x02hi\0"), "XMP has no end"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    assert_refused(parsed, *REFUSED[name])


def test_no_row_is_invented():
    """Pillow fills in what is missing."""
    data = saved(Image.fromarray(picture(40, 30, 1)[..., 0]), "GIF")
    for end in range(len(data)):
        with pytest.raises(UnsupportedImageError):
            parsed(data[:end])
    start = data.index(b",") + 10
    for kept in range(2, data[start + 1], 9):  # of the first part of the code
        assert_refused(parsed, data[: start + 1] + bytes([kept]) + data[start + 2 : start + 2 + kept] + b"\0;", "truncated")


def test_mutated_files_are_refused_or_read():
    seeds = [
        saved(Image.fromarray(picture(9, 7, 1)[..., 0]), "GIF", comment=b"hi", transparency=3),
        *(data for data, _ in LEFT_OUT.values()),
    ]
    assert_only_refused(parsed, seeds, 4000)


def test_many_blocks_are_refused_soon():
    assert_refused(parsed, gif(b"!\xfe\0" * 100_000), "more than 65,536 parts")
    names = parsed(gif(b"".join(b"!\xff\x0b%011d\0" % k for k in range(1000)))).left_out
    assert (len(names), names[-1]) == (41, "960 more of such")
