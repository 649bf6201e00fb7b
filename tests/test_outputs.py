"""Pictures written in other formats: the same samples, metadata or their names, and refusals."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image
from typer.testing import CliRunner

import cli
from bitstream.errors import UnsupportedImageError
from bitstream.form import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Form
from codec.compression import compress_picture
from codec.options import Options
from codec.pictures.outputs import OUTPUTS, png_of, written_as
from codec.pictures.picture import Picture
from codec.pictures.reading import MAX_PIXELS, open_picture
from tests.conftest import smooth
from tests.picture_files import deep

FORMS = [*(Form(GREY, depth) for depth in (1, 2, 4, 8, 16)), *(Form(PALETTE, depth) for depth in (1, 2, 4, 8))]
FORMS += [Form(colour, depth) for colour in (RGB, GREY_ALPHA, RGB_ALPHA) for depth in (8, 16)]
HELD = {
    ".ppm": [form for form in FORMS if form.colour in (GREY, RGB)],
    ".pgm": [form for form in FORMS if form.colour == GREY],
    ".pbm": [Form(GREY, 1)],
    ".bmp": [form for form in FORMS if form.colour == PALETTE or form in (Form(GREY, 1), Form(GREY, 8), Form(RGB, 8))],
    ".tif": FORMS,
    ".webp": [Form(RGB, 8), Form(RGB_ALPHA, 8)],
}
COLOURS = np.random.default_rng(7).integers(0, 256, 768).astype(np.uint8).tobytes()


def picture_in(form, size=(9, 13), chunks=()):
    samples = np.random.default_rng(3).integers(0, 1 << form.depth, (*size, form.channels))
    palette = ((b"PLTE", COLOURS[: 3 << form.depth]),) if form.colour == PALETTE else ()
    return Picture(samples.astype(np.uint16 if form.depth == 16 else np.uint8), form, (*palette, *chunks))


def assert_seen_by_pillow(data, picture):
    """What Pillow makes of a file is what it makes of the PNG."""
    found, expected = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(png_of(picture)))
    if found.mode == "I":
        found = Image.fromarray(np.asarray(found).astype(np.uint16))
    if picture.form.depth == 16 and picture.form.colour != GREY:  # of which it sees the high bytes
        found, expected = found.convert("RGBA"), expected.convert("RGBA")
        assert (abs(np.asarray(found).astype(int) - np.asarray(expected)) <= 1).all()
        return
    assert found.convert("RGBA").tobytes() == expected.convert("RGBA").tobytes()
    assert (found.mode, found.size) == (expected.mode, expected.size)


@pytest.mark.parametrize("suffix", HELD)
@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("size", [(1, 1), (9, 13)])
def test_samples_are_kept_or_refused(suffix, form, size):
    picture = picture_in(form, size)
    if form not in HELD[suffix]:
        with pytest.raises(UnsupportedImageError, match=r"choose \.png"):
            written_as(picture, suffix)
        return
    data, left_out = written_as(picture, suffix)
    few = suffix == ".bmp" and form.colour == PALETTE and form.depth < 8
    assert left_out == ((f"{form.depth} bits of an index, it has 8",) if few else ())
    if not (suffix == ".tif" and form == Form(GREY_ALPHA, 16)):  # which Pillow does not open
        assert_seen_by_pillow(data, picture)
    try:
        again = open_picture(io.BytesIO(data), MAX_PIXELS)
    except UnsupportedImageError:  # what is written can be more than what is read
        assert suffix in (".ppm", ".pgm", ".tif")
        assert form.depth not in (1, 8)
    else:
        assert again.form == form or form.colour == PALETTE
        assert (again.pixels == picture.pixels).all()


@pytest.mark.parametrize("exif", [b"II*\0\x08\0\0\0\0\0\0\0\0\0", b"MM\0*\0\0\0\x08\0\0\0\0\0\0"])
def test_deep_samples_of_a_tiff_are_in_the_order_of_its_exif(exif):
    for channels, colour in ((1, GREY), (2, GREY_ALPHA), (3, RGB), (4, RGB_ALPHA)):
        samples = deep(300, 200, channels)
        data, left_out = written_as(Picture(samples, Form(colour, 16), ((b"eXIf", exif),)), ".tif")
        order = {b"II": "<", b"MM": ">"}[data[:2]]
        assert (order, left_out) == ({b"II": "<", b"MM": ">"}[exif[:2]], ())
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        fields = {}
        for k in range(count):
            tag, type_, number = struct.unpack_from(f"{order}HHI", data, at + 2 + 12 * k)
            letter, place = {3: "H", 4: "I"}[type_], at + 10 + 12 * k
            if struct.calcsize(letter) * number > 4:
                (place,) = struct.unpack_from(f"{order}I", data, place)
            fields[tag] = struct.unpack_from(f"{order}{number}{letter}", data, place)
        assert [*fields] == sorted(fields)
        assert fields[258] == (16,) * channels
        strips = [zlib.decompress(data[place : place + size]) for place, size in zip(fields[273], fields[279], strict=True)]
        assert len(strips) == -(-300 // fields[278][0])
        assert b"".join(strips) == samples.astype(f"{order}u2").tobytes()


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_transparent_colours_are_in_no_other_format(form):
    """Nor is anything said of them in a note: it would be another picture."""
    body = {GREY: bytes(2), RGB: bytes(6), PALETTE: b"\xff\0"}.get(form.colour)
    if body is None:
        return
    picture = picture_in(form, chunks=((b"tRNS", body),))
    assert written_as(picture, ".png") == (png_of(picture), ())
    for suffix in OUTPUTS:
        with pytest.raises(UnsupportedImageError, match=r"transparent.*choose \.png"):
            written_as(picture, suffix)


def test_opaque_entries_are_not_transparent():
    assert written_as(picture_in(Form(PALETTE, 4), chunks=((b"tRNS", b"\xff\xff"),)), ".tif")[1] == ("tRNS",)


def exif_with(order="<"):
    exif = Image.Exif()
    exif.endian = order
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.ImageDescription] = "what it shows, at length"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"somebody's comment"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSAltitude] = 1234.5
    return exif.tobytes(8).removeprefix(b"Exif\0\0")


PROFILE = np.random.default_rng(0).bytes(3000)
RESOLUTION = (b"pHYs", struct.pack(">IIB", 11811, 5905, 1))
METADATA = (
    (b"gAMA", struct.pack(">I", 45455)),
    (b"iCCP", b"name\0\0" + zlib.compress(PROFILE)),
    RESOLUTION,
    (b"eXIf", exif_with()),
    (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta/>"),
    (b"tEXt", b"Title\0what it shows"),
    (b"zTXt", b"Title\0\0" + zlib.compress(b"what it shows")),
    (b"prVt", b"somebody's own"),
)
UNKNOWN = {"gAMA", "text", "prVt"}
TALL = Picture(smooth(30, 20), Form(RGB, 8), METADATA)


@pytest.mark.parametrize(
    ("suffix", "left_out"),
    [
        (".png", set()),
        (".tiff", UNKNOWN),
        (".webp", UNKNOWN | {"resolution"}),
        (".bmp", UNKNOWN | {"colour profile", "EXIF", "XMP"}),
        (".ppm", UNKNOWN | {"colour profile", "EXIF", "XMP", "resolution"}),
    ],
)
def test_metadata_are_written_or_named(suffix, left_out):
    data, named = written_as(TALL, suffix)
    assert set(named) == left_out
    assert len(named) == len(left_out)
    found = Image.open(io.BytesIO(data))
    info, exif = found.info, found.getexif()
    assert info.get("icc_profile") == (None if "colour profile" in left_out else PROFILE)
    assert info.get("xmp") == (None if "XMP" in left_out else b"<x:xmpmeta/>")
    if "resolution" not in left_out:
        assert info["dpi"] == pytest.approx((300, 150), abs=0.1)
    if "EXIF" not in left_out:
        assert exif[ExifTags.Base.Orientation] == 6
        assert exif[ExifTags.Base.ImageDescription] == "what it shows, at length"
        assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] == b"somebody's comment"
        assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSAltitude] == 1234.5
    assert found.copy().size == ((30, 20) if suffix == ".tiff" else (20, 30))  # Pillow turns a TIFF as it says


def test_an_exif_stays_where_its_offsets_say():
    """Those inside of a maker note, too, which nobody can follow."""
    for order in "<>":
        exif = exif_with(order)
        data, left_out = written_as(Picture(smooth(9, 9), Form(RGB, 8), ((b"eXIf", exif),)), ".tif")
        assert data[:4] == exif[:4]
        assert data[8 : len(exif)] == exif[8:]
        assert left_out == ()
        prefixed = Picture(smooth(9, 9), Form(RGB, 8), ((b"eXIf", b"Exif\0\0" + exif),))
        assert written_as(prefixed, ".tif") == (data, ())


def entry(tag, type_, count, value):
    return struct.pack("<HHII", tag, type_, count, value)


def block(*entries, behind=0):
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", behind)


@pytest.mark.parametrize(
    ("exif", "left_out"),
    [
        (b"", ("EXIF",)),
        (b"II*\0", ("EXIF",)),
        (b"no EXIF at all", ("EXIF",)),
        (b"II*\0\xff\xff\xff\xff", ("EXIF",)),
        (block() + b"", ()),
        (block(entry(270, 2, 99, 1 << 30)), ("EXIF",)),
        (block(entry(270, 99, 1, 0)), ("EXIF",)),
        (block(entry(270, 2, 0, 0)), ("EXIF",)),
        (block(entry(270, 12, 0xFFFFFFFF, 0)), ("EXIF",)),
        (block()[:-1] + b"\0", ()),
        (block(entry(270, 2, 4, 5))[:-9], ("EXIF",)),
        (block(entry(256, 4, 1, 1), entry(322, 4, 1, 1)), ("EXIF ImageWidth", "EXIF TileWidth")),
        (block(entry(282, 5, 1, 8), entry(296, 3, 1, 2)), ("EXIF XResolution", "EXIF ResolutionUnit")),
        (block(behind=8), ("EXIF thumbnail",)),
    ],
)
def test_an_exif_that_is_none_is_named(exif, left_out):
    picture = Picture(smooth(9, 9), Form(RGB, 8), ((b"eXIf", exif), RESOLUTION))
    data, named = written_as(picture, ".tif")
    assert named == left_out
    found = open_picture(io.BytesIO(data), MAX_PIXELS)
    assert (found.pixels == picture.pixels).all()
    assert found.form == picture.form


@pytest.mark.parametrize(
    ("body", "tiff", "bmp"),
    [
        (struct.pack(">IIB", 2, 1, 0), (), ("resolution",)),
        (struct.pack(">IIB", 2, 1, 7), ("resolution",), ("resolution",)),
        (struct.pack(">IIB", 0, 1, 1), ("resolution",), ()),
        (struct.pack(">IIB", 1 << 31, 1, 1), (), ("resolution",)),
        (b"short", ("resolution",), ("resolution",)),
    ],
)
def test_resolutions_of_all_kinds(body, tiff, bmp):
    picture = Picture(smooth(9, 9), Form(RGB, 8), ((b"pHYs", body),))
    data, named = written_as(picture, ".tif")
    assert named == tiff
    if body[-1:] == b"\0":
        tags = Image.open(io.BytesIO(data)).tag_v2
        assert (tags[282], tags[283], tags[296]) == (2, 1, 1)
    assert written_as(picture, ".bmp")[1] == bmp


def test_no_resolution_is_invented():
    data, _ = written_as(Picture(smooth(9, 9), Form(RGB, 8)), ".bmp")
    assert data[38:46] == bytes(8)
    assert 282 not in Image.open(io.BytesIO(written_as(Picture(smooth(9, 9), Form(RGB, 8)), ".tif")[0])).tag_v2


def test_several_of_a_kind_are_named():
    picture = Picture(smooth(9, 9), Form(RGB, 8), (RESOLUTION, RESOLUTION, (b"tRNS", b"")))
    with pytest.raises(UnsupportedImageError):
        written_as(picture, ".tif")
    assert written_as(Picture(smooth(9, 9), Form(RGB, 8), (RESOLUTION, RESOLUTION)), ".tif")[1] == ("resolution",)


def test_a_picture_too_wide_for_webp_is_refused():
    with pytest.raises(UnsupportedImageError, match="WEBP"):
        written_as(Picture(np.zeros((1, 20_000, 3), np.uint8), Form(RGB, 8)), ".webp")


def test_the_command_names_what_is_not_written(tmp_path):
    (tmp_path / "x.igpt").write_bytes(compress_picture(TALL, Options(device="cpu")))
    runner = CliRunner()
    found = runner.invoke(cli.app, ["decompress", str(tmp_path / "x.igpt"), str(tmp_path / "x.webp")])
    assert (found.exit_code, found.output.count("note: not written: resolution, gAMA, text, prVt")) == (0, 1)
    found = runner.invoke(cli.app, ["decompress", "--json", str(tmp_path / "x.igpt"), str(tmp_path / "x.png")])
    assert json.loads(found.stdout)["left_out"] == []
