"""JPEG files: every segment is kept, named or refused, and Pillow decodes the same pixels from what is left."""

import io
import struct
import zlib

import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from bitstream.errors import UnsupportedImageError
from codec.pictures.jpeg import LEFT_OUT as JPEG
from codec.pictures.jpeg import MOST_SCANS, parsed
from tests.conftest import DATA, picture
from tests.picture_files import assert_only_refused, assert_refused, chunk, pillows, saved

RGB = Image.fromarray(picture(21, 34, 3))
PLAIN = saved(RGB, "JPEG")
PROFILE = bytes(range(256)) * 600  # of three segments
EXIF = b"II*\0\x08\0\0\0\0\0\0\0\0\0"


def with_segments(*segments, data=PLAIN):
    """(marker, body) behind SOI."""
    return data[:2] + b"".join(struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body for marker, body in segments) + data[2:]


def with_jfif(unit, x, y, *thumbnail):
    at = PLAIN.index(b"JFIF\0") + 7
    return PLAIN[:at] + struct.pack(">BHHBB", unit, x, y, *(thumbnail or (0, 0))) + PLAIN[at + 7 :]


def with_frame(marker=0xC0, bits=8, height=21, width=34, channels=3):
    at = PLAIN.index(b"\xff\xc0")
    return (
        PLAIN[: at + 1] + bytes([marker]) + PLAIN[at + 2 : at + 4] + struct.pack(">BHHB", bits, height, width, channels) + PLAIN[at + 10 :]
    )


MADE = {
    "grey": saved(RGB.convert("L"), "JPEG"),
    "4:4:4": saved(RGB, "JPEG", subsampling=0, quality=95),
    "progressive": saved(RGB, "JPEG", progressive=True),
    "restarts": saved(RGB, "JPEG", restart_marker_blocks=1),
    "RGB": saved(RGB, "JPEG", keep_rgb=True),
    "all metadata": saved(RGB, "JPEG", exif=b"Exif\0\0" + EXIF, icc_profile=PROFILE, xmp=b"<x/>", dpi=(72, 72)),
}


@pytest.mark.parametrize("name", MADE)
def test_pillow_decodes_the_same(name):
    found = parsed(MADE[name])
    assert found.size == (34, 21)
    assert found.left_out == (JPEG,)
    assert (pillows(found.plain, JpegImageFile) == pillows(MADE[name], JpegImageFile)).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_odd_ones_decode_the_same():
    """Public files; what Pillow decodes of the whole file it decodes of what is left, without a warning."""
    paths = sorted((DATA / "jpeg_odd").glob("*.jpg"))
    if not paths:
        pytest.skip("set IGPT_DATA")
    for path in paths:
        data = path.read_bytes()
        if len(data) > 200_000:
            continue
        try:
            whole = pillows(data, JpegImageFile)
        except (OSError, SyntaxError):
            with pytest.raises(UnsupportedImageError):
                parsed(data)
            continue
        if whole.shape[2] == 4:
            assert_refused(parsed, data, "mode CMYK")
            continue
        assert (pillows(parsed(data).plain, JpegImageFile) == whole).all(), path.name


def test_metadata_are_kept():
    found = parsed(MADE["all metadata"])
    assert chunk(found, b"eXIf") == EXIF
    assert chunk(found, b"iTXt") == b"XML:com.adobe.xmp\0\0\0\0\0<x/>"
    assert zlib.decompress(chunk(found, b"iCCP").removeprefix(b"ICC profile\0\0")) == PROFILE
    assert chunk(found, b"pHYs") == struct.pack(">IIB", 2835, 2835, 1)
    with Image.open(io.BytesIO(found.plain)) as left:
        assert not {"exif", "icc_profile", "xmp"} & set(left.info)


def test_a_profile_whose_parts_are_out_of_order_is_joined():
    parts = [(0xE2, b"ICC_PROFILE\0" + bytes([k + 1, 3]) + PROFILE[k * 60000 : k * 60000 + 60000]) for k in (2, 0, 1)]
    assert zlib.decompress(chunk(parsed(with_segments(*parts)), b"iCCP").removeprefix(b"ICC profile\0\0")) == PROFILE
    for damaged in (parts[1:], [*parts, parts[0]], [*parts[:2], (0xE2, b"ICC_PROFILE\0\2\4abc")]):
        found = parsed(with_segments(*damaged))
        assert (found.chunks, found.left_out[1:]) == ((), ("its colour profile, of which parts are missing",))


RESOLUTIONS = [
    ((1, 300, 150), struct.pack(">IIB", 11811, 5906, 1)),
    ((2, 100, 50), struct.pack(">IIB", 10000, 5000, 1)),
    ((0, 2, 1), struct.pack(">IIB", 2, 1, 0)),
    ((0, 1, 1), None),
    ((1, 0, 0), None),
]


@pytest.mark.parametrize(("jfif", "expected"), RESOLUTIONS)
def test_resolution(jfif, expected):
    found = parsed(with_jfif(*jfif))
    assert (chunk(found, b"pHYs"), found.left_out) == (expected, (JPEG,))


ADOBE = b"Adobe\0\x64\0\0\0\0\1"
LEFT_OUT = {
    "behind": (PLAIN + b"PK", "2 bytes behind its end"),
    "second picture": (PLAIN + PLAIN, f"{len(PLAIN):,} bytes behind its end, among them another picture"),
    "comment": (with_segments((0xFE, b"hello")), "the JPEG's comment"),
    "Photoshop": (with_segments((0xED, b"Photoshop 3.0\x008BIM\4\4")), "the JPEG's segment APP13 (Photoshop 3.0)"),
    "extended XMP": (with_segments((0xE1, b"http://ns.adobe.com/xmp/extension/\0abc")), "the JPEG's segment APP1 (extended XMP)"),
    "pictures": (with_segments((0xE2, b"MPF\0MM\0*")), "the JPEG's segment APP2 (a list of pictures behind it)"),
    "thumbnail": (with_segments((0xE0, b"JFXX\0\x10"), data=PLAIN), "the JPEG's segment APP0 (a thumbnail)"),
    "second EXIF": (with_segments(*[(0xE1, b"Exif\0\0" + EXIF)] * 2), "the JPEG's segment APP1 (Exif)"),
    "nameless": (with_segments((0xE5, b"\1\2\3")), "the JPEG's segment APP5"),
    "short JFIF": (with_segments((0xE0, b"JFIF\0\1")), "the JPEG's segment APP0 (JFIF)"),
    "second JFIF": (with_segments((0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")), "the JPEG's segment APP0 (JFIF)"),
    "short Adobe": (with_segments((0xEE, ADOBE[:6])), "the JPEG's segment APP14 (Adobe)"),
    "long Adobe": (with_segments((0xEE, ADOBE + b"abc")), "bytes in the JPEG's segment APP14 (Adobe)"),
    "junk": (PLAIN[:2] + b"abc" + PLAIN[2:], "3 bytes between its segments"),
    "no marker": (PLAIN[:2] + b"\xff\0" + PLAIN[2:], "2 bytes between its segments"),
    "unit": (with_jfif(7, 1, 1), "the JPEG's resolution"),
    "small picture": (with_jfif(0, 1, 1, 1, 1), "a thumbnail"),
    "long JFIF": (
        with_segments((0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0abc"), data=PLAIN[:2] + PLAIN[20:]),
        "bytes in the JPEG's segment APP0 (JFIF)",
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_not_stored_is_named(name):
    data, said = LEFT_OUT[name]
    found = parsed(data)
    assert found.left_out == (JPEG, said)
    assert (pillows(found.plain, JpegImageFile) == pillows(PLAIN, JpegImageFile)).all()


def test_fill_bytes_are_nothing():
    assert parsed(PLAIN[:2] + b"\xff\xff" + PLAIN[2:-2] + b"\xff" + PLAIN[-2:]).left_out == (JPEG,)


SCAN = slice(PLAIN.index(b"\xff\xda"), -2)
REFUSED = {
    "12 bits": (with_frame(bits=12), "a JPEG of 12 bits"),
    "JPEG-LS": (with_frame(0xF7), "a JPEG-LS file"),
    "lossless": (with_frame(0xC3), "a lossless JPEG"),
    "hierarchical": (with_frame(0xC5), "a hierarchical JPEG"),
    "CMYK": (saved(RGB.convert("CMYK"), "JPEG"), "mode CMYK"),
    "two channels": (with_frame(channels=2), "a JPEG of 2 channels"),
    "height at the end": (with_frame(height=0), "its height at the end"),
    "no pixels": (with_frame(width=0), "without pixels"),
    "two frames": (with_segments((0xC0, b"\x08\0\1\0\1\1\1\x11\0")), "two headers"),
    "no picture": (b"\xff\xd8\xff\xd9", "no picture"),
    "inner picture": (PLAIN[:2] + PLAIN, "picture inside the picture"),
    "short segment": (PLAIN[:2] + b"\xff\xe4\0\1" + PLAIN[2:], "too short"),
    "long segment": (PLAIN[:2] + b"\xff\xe4\xff\xff", "truncated"),
    "many scans": (PLAIN[:-2] + PLAIN[SCAN] * MOST_SCANS + PLAIN[-2:], "more than 256 scans"),
    "many segments": (with_segments(*[(0xE4, b"")] * 70_000), "more than 65,536 parts"),
    "no JPEG": (b"hello", "no JPEG"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    assert_refused(parsed, *REFUSED[name])


@pytest.mark.parametrize("data", [PLAIN, MADE["progressive"]])
def test_an_end_that_is_missing_is_refused(data):
    for end in range(len(data)):
        with pytest.raises(UnsupportedImageError):
            parsed(data[:end])


def test_mutated_files_are_refused_or_read():
    assert_only_refused(parsed, [*list(MADE.values())[:-1], *(data for data, _ in LEFT_OUT.values())], 4000)


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\0", b"\0"])
def test_long_fillings_take_no_time(filling):
    long = filling * 300_000
    assert parsed(PLAIN[:2] + long + b"\0" + PLAIN[2:]).size == (34, 21)
    assert parsed(PLAIN[:-2] + long + b"\0" + PLAIN[-2:]).size == (34, 21)
    assert_refused(parsed, PLAIN[:2] + long, "truncated")
