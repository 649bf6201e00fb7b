"""TIFF files: samples of every layout exactly as the file has them, and every tag and byte kept, named or refused."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import IFDRational, TiffImageFile

from bitstream.errors import UnsupportedImageError
from bitstream.form import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Form
from codec.pictures.fax import tables
from codec.pictures.tiff import LEFT_OUT as JPEG
from codec.pictures.tiff import parsed
from tests.conftest import picture
from tests.picture_files import assert_only_refused, assert_refused, chunk, pillows, samples, saved

SHORT, LONG, RATIONAL = 3, 4, 5
FORMS = {
    "1": Form(GREY, 1),
    "L": Form(GREY, 8),
    "LA": Form(GREY_ALPHA, 8),
    "P": Form(PALETTE, 8),
    "RGB": Form(RGB, 8),
    "RGBA": Form(RGB_ALPHA, 8),
}
CHANNELS = {"1": 1, "L": 1, "LA": 2, "P": 1, "RGB": 3, "RGBA": 4}
LOSSLESS = [None, "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "lzma"]
FAX = ["group3", "group4", "tiff_ccitt"]


def image(mode, width=53, height=31):
    pixels = picture(height, width, CHANNELS[mode])
    made = Image.frombytes("L" if mode in "P1" else mode, (width, height), pixels.tobytes())
    if mode == "P":
        made.putpalette(picture(1, 256, 3, 5).tobytes())
    return made.point(lambda value: 255 * (value > 99)).convert("1") if mode == "1" else made


def pixels_of(image):
    pixels = np.asarray(image)
    return pixels.reshape(image.height, image.width, -1)


def tiff(tags, pixels=b"", order="<", behind=b"", following=0, leaks=b""):
    """By hand: tags with (type, values), where bytes are raw values, and places of strips or tiles are counted from the beginning of
    pixels; without them those are a strip. leaks: bytes that no tag leads to."""
    tags = dict(tags)
    if 273 not in tags and 324 not in tags:
        tags |= {273: (LONG, [0]), 279: (LONG, [len(pixels)])}
    at, start = 8 + 2 + 12 * len(tags) + 4, 0
    for _ in range(2):  # first to learn where the pixels begin
        entries, values = b"", b""
        for tag, (kind, value) in sorted(tags.items()):
            size, letter = {SHORT: (2, "H"), LONG: (4, "I"), RATIONAL: (8, "I")}.get(kind, (1, "B"))
            moved = [start + offset for offset in value] if tag in (273, 324) else value
            raw = value if isinstance(value, bytes) else struct.pack(f"{order}{len(value)}{letter}", *moved)
            many = len(raw) // size
            if len(raw) > 4:
                raw, values = struct.pack(order + "I", at + len(values)), values + raw + b"\0" * (len(raw) & 1)
            entries += struct.pack(order + "HHI", tag, kind, many) + raw.ljust(4, b"\0")
        start = at + len(values) + len(leaks)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(tags))
    return head + entries + struct.pack(order + "I", following) + values + leaks + pixels + behind


def grey(width=4, height=4, bits=8, photometric=1, **more):
    tags = {256: (SHORT, [width]), 257: (SHORT, [height]), 258: (SHORT, [bits]), 259: (SHORT, [1]), 262: (SHORT, [photometric])}
    return tags | {int(tag[1:]): value for tag, value in more.items()}


def tiles(width, height):
    return {"_322": (LONG, [width]), "_323": (LONG, [height]), "_324": (LONG, [0]), "_325": (LONG, [16])}


PIXELS = bytes(range(0, 160, 10))  # of a grey picture of 4x4


@pytest.mark.parametrize("size", [(1, 1), (53, 31)])
@pytest.mark.parametrize("compression", LOSSLESS)
@pytest.mark.parametrize("mode", FORMS)
def test_samples_are_kept(mode, compression, size):
    made = image(mode, *size)
    data = saved(made, "TIFF", compression=compression)
    found = parsed(data)
    assert (found.decoded().form, found.size, found.left_out) == (FORMS[mode], size, ())
    assert (found.decoded().samples == pixels_of(made)).all()
    assert chunk(found, b"PLTE") == (bytes(made.getpalette()) if mode == "P" else None)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
def test_pillow_unpacks_zstandard(mode):
    data = saved(image(mode), "TIFF", compression="zstd", tiffinfo={317: 2} if mode == "RGB" else {})
    found = parsed(data)
    assert found.decoded is None
    assert found.left_out == ("what its Zstandard code may hold behind its pixels",)  # that cannot be told
    assert (pillows(found.plain, TiffImageFile) == pixels_of(image(mode))).all()


@pytest.mark.parametrize("info", [{}, {266: 2}, {262: 0}, {292: 1}])
@pytest.mark.parametrize("compression", FAX)
def test_facsimiles_are_kept(compression, info):
    made = image("1", 501, 40)
    data = saved(made, "TIFF", compression=compression, tiffinfo=info)
    found = parsed(data)
    assert (found.decoded().form, found.left_out) == (Form(GREY, 1), ())
    assert (found.decoded().samples == pillows(data, TiffImageFile)).all()


@pytest.mark.parametrize("compression", FAX)
def test_facsimiles_have_runs_of_every_length(compression):
    """And so every code of T.4 is the one that libtiff writes."""
    width = 2700
    lengths = [*range(70), *range(64, width, 64), width - 1, width]
    dots = np.arange(width)[None] >= np.array(lengths)[:, None]
    for pixels in (dots, ~dots):
        found = parsed(saved(Image.fromarray(pixels), "TIFF", compression=compression))
        assert (found.decoded().samples[..., 0] == pixels).all()


def test_codes_of_runs_are_prefix_free_and_complete_enough():
    runs, modes = tables()
    for colour in range(2):
        assert len(set(runs[colour][runs[colour] >= 0])) == 64 + 40
    assert len(set(modes[modes >= 0])) == 9


TIFFFILE = [
    ((20, 33), {"photometric": "minisblack"}, GREY),
    ((20, 33), {"photometric": "miniswhite"}, GREY),
    ((20, 33, 2), {"photometric": "minisblack", "extrasamples": ["unassalpha"], "planarconfig": "contig"}, GREY_ALPHA),
    ((20, 33, 3), {"photometric": "rgb"}, RGB),
    ((3, 20, 33), {"photometric": "rgb", "planarconfig": "separate"}, RGB),
    ((20, 33, 4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, RGB_ALPHA),
]


@pytest.mark.parametrize("pieces", [{}, {"tile": (16, 32)}, {"rowsperstrip": 7}])
@pytest.mark.parametrize("packed", [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("depth", [8, 16])
def test_layouts(depth, order, packed, pieces):
    for shape, kind, colour in TIFFFILE:
        pixels = np.random.default_rng(depth).integers(0, 1 << depth, shape).astype(f"{order}u{depth // 8}")
        stream = io.BytesIO()
        tifffile.imwrite(stream, pixels, byteorder=order, metadata=None, software=None, **packed, **pieces, **kind)
        found = parsed(stream.getvalue())
        expected = pixels.transpose(1, 2, 0) if "separate" in kind.values() else pixels.reshape(20, 33, -1)
        if "miniswhite" in kind.values():
            expected = (1 << depth) - 1 - expected
        assert (found.decoded().form, found.left_out) == (Form(colour, depth), ())
        assert (found.decoded().samples == expected).all()


@pytest.mark.parametrize("fill_order", [1, 2])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("photometric", [0, 1, 3])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_few_bits(depth, photometric, order, fill_order):
    values = np.arange(5 * 7).reshape(5, 7) * 3 % (1 << depth)
    bits = (values[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    rows = np.packbits(bits.reshape(5, -1), axis=1, bitorder="little" if fill_order == 2 else "big").tobytes()
    palette = np.arange(3 << depth) * 257 % 65537 % 65536
    tags = grey(
        7, 5, depth, photometric, _266=(SHORT, [fill_order]), **({"_320": (SHORT, list(palette // 257 * 257))} if photometric == 3 else {})
    )
    data = tiff(tags, rows, order)
    found = parsed(data)
    assert (found.decoded().form, found.left_out) == (Form(PALETTE if photometric == 3 else GREY, depth), ())
    assert (found.decoded().samples[..., 0] == (values if photometric else (1 << depth) - 1 - values)).all()
    if photometric == 3:
        assert chunk(found, b"PLTE") == (palette // 257).astype(np.uint8).reshape(3, -1).T.tobytes()
    if fill_order == 1:  # Pillow knows not all of the others
        stretch = 255 // ((1 << depth) - 1) if photometric != 3 and depth > 1 else 1
        assert (found.decoded().samples * stretch == pillows(data, TiffImageFile)).all()


def test_bits_at_the_ends_of_rows_are_named():
    for depth, width in ((1, 9), (2, 3), (4, 3)):
        row = bytes(-(-width * depth // 8))
        assert parsed(tiff(grey(width, 2, depth), row * 2)).decoded().left_out == ()
        found = parsed(tiff(grey(width, 2, depth), row[1:] + b"\1" + row)).decoded()
        assert (found.left_out, found.samples.any()) == (("bits at the ends of its rows",), False)


def tiled(tile, width=3, height=2):
    """A grey picture of rows of 1, 2, 3 in a tile (16, 16) that has something beside it."""
    tile[:height, :width] = np.arange(1, width + 1)
    return tiff(grey(width, height, **tiles(16, 16) | {"_325": (LONG, [256])}), tile.tobytes())


def test_what_a_tile_has_beside_the_picture_is_named():
    ordinary = [np.full((16, 16), value, np.uint8) for value in (0, 255)]
    ordinary.append(np.pad(np.arange(1, 4, dtype=np.uint8)[None], ((0, 15), (0, 13)), "edge"))
    ordinary.append(np.where(np.arange(16)[:, None] < 2, ordinary[2], 0).astype(np.uint8))  # the last column again, then zeros
    for tile in ordinary:
        found = parsed(tiled(tile.copy())).decoded()
        assert (found.samples[..., 0].tolist(), found.left_out) == ([[1, 2, 3]] * 2, ())
        for place in ((0, 9), (9, 0), (9, 9), (15, 15)):
            changed = tile.copy()
            changed[place] ^= 64
            assert parsed(tiled(changed)).decoded().left_out == ("what its tiles have beside the picture",)


@pytest.mark.parametrize("step", [256, 257])
def test_palettes_of_bytes_are_kept(step):
    colours = picture(1, 256, 3)[0]
    found = parsed(tiff(grey(photometric=3, _320=(SHORT, [int(value) * step for value in colours.T.ravel()])), PIXELS))
    assert chunk(found, b"PLTE") == colours.tobytes()


EXIF = {
    270: "a picture",
    271: "maker",
    274: 6,
    305: "igpt",
    306: "2024:01:02 03:04:05",
    315: "somebody",
    33432: "nobody",
}


def test_exif_is_kept():
    exif = Image.Exif()
    for tag, value in (EXIF | {700: b"<x/>"}).items():
        exif[tag] = value
    exif.get_ifd(34665).update({36867: "2024:01:02 03:04:05", 33434: IFDRational(1, 250), 37510: b"ASCII\0\0\0hello"})
    exif.get_ifd(34853).update({1: "N", 2: (1.0, 2.0, 3.5)})
    exif[34665] = exif[34853] = 0  # else Pillow does not write them
    data = saved(image("RGB"), "TIFF", exif=exif, icc_profile=b"profile", dpi=(300, 300))
    found = parsed(data)
    assert found.left_out == ()
    assert (found.decoded().samples == pixels_of(image("RGB"))).all()  # not turned
    again = Image.Exif()
    again.load(b"Exif\0\0" + chunk(found, b"eXIf"))
    assert {tag: value for tag, value in again.items() if tag not in (34665, 34853)} == EXIF
    with Image.open(io.BytesIO(data)) as whole:
        for group in (34665, 34853):
            assert again.get_ifd(group) == whole.getexif().get_ifd(group) != {}
    assert chunk(found, b"iTXt") == b"XML:com.adobe.xmp\0\0\0\0\0<x/>"
    assert zlib.decompress(chunk(found, b"iCCP").removeprefix(b"ICC profile\0\0")) == b"profile"
    assert chunk(found, b"pHYs") == struct.pack(">IIB", 11811, 11811, 1)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", [0, 1, 2, 6, 9])
def test_orientation_is_kept(orientation, order):
    found = parsed(tiff(grey(_274=(SHORT, [orientation])), PIXELS, order))
    block = chunk(found, b"eXIf")
    assert found.decoded().samples.tobytes() == PIXELS
    if orientation == 1:
        assert block is None
    else:
        exif = Image.Exif()
        exif.load(b"Exif\0\0" + block)
        assert dict(exif) == {274: orientation}


RESOLUTIONS = [  # x, y and unit; what a PNG has, and what is named
    ((72, 1), (72, 1), 2, (2835, 2835, 1)),
    ((72, 1), (144, 1), None, (2835, 5669, 1)),
    ((100, 1), (50, 1), 3, (10000, 5000, 1)),
    ((1, 1), (2, 1), 1, (1, 2, 0)),
    ((3, 2), (1, 2), 1, (3, 1, 0)),
    ((0, 0), (1, 1), 2, None),
    ((1, 1000), (1, 1000), 2, None),
    ((4294967295, 1), (1, 4294967295), 1, None),
    ((1, 1), (1, 1), 9, None),
]


@pytest.mark.parametrize(("x", "y", "unit", "expected"), RESOLUTIONS)
def test_resolution(x, y, unit, expected):
    tags = grey(_282=(RATIONAL, list(x)), _283=(RATIONAL, list(y)), **({"_296": (SHORT, [unit])} if unit else {}))
    found = parsed(tiff(tags, PIXELS))
    assert chunk(found, b"pHYs") == (struct.pack(">IIB", *expected) if expected else None)
    assert found.left_out == (() if expected else ("the TIFF tag XResolution", "the TIFF tag YResolution"))


@pytest.mark.parametrize("unit", [2, 3])
@pytest.mark.parametrize(
    "value", [(1, 1), (1, 2), (5, 1), (7201, 100), (30001, 100), (7202, 100), (1000, 3), (300, 1), (72, 1), (10, 1), (7200, 100)]
)
def test_a_resolution_that_does_not_come_back_is_named(value, unit):
    found = parsed(tiff(grey(_282=(RATIONAL, list(value)), _283=(RATIONAL, [96, 1]), _296=(SHORT, [unit])), PIXELS))
    lost = [(1, 1), (1, 2), (30001, 100), (7202, 100), (1000, 3)] if unit == 2 else [(1000, 3)]
    assert found.left_out == (("the exact resolution",) if value in lost else ())


@pytest.mark.parametrize("value", [72.009, 299.9994, 0.0254])
def test_what_programs_make_of_whole_pixels_per_metre_is_exact(value):
    """Be it a fraction of a float of 32 or of 64 bits."""
    for given in (value, float(np.float32(value))):
        assert parsed(saved(image("L"), "TIFF", dpi=(given, given))).left_out == ()


def exif_with(*entries, following=0):
    """A grey picture whose EXIF stands behind its pixels."""
    plain = tiff(grey(_34665=(LONG, [0])), PIXELS)
    inner = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHI4s", *entry) for entry in entries) + struct.pack("<I", following)
    return plain.replace(struct.pack("<HHII", 34665, LONG, 1, 0), struct.pack("<HHII", 34665, LONG, 1, len(plain))) + inner


LEFT_OUT = {
    "behind": (tiff(grey(), PIXELS, behind=b"PK"), ["2 bytes behind its end"]),
    "longer strip": (tiff(grey(), PIXELS + b"PK"), ["2 bytes behind its end"]),
    "between": (tiff(grey(), PIXELS, leaks=b"secret"), ["6 bytes of the TIFF that belong to nothing"]),
    "many zeros": (tiff(grey(), PIXELS, leaks=bytes(40)), ["40 bytes of the TIFF that belong to nothing"]),
    "private": (tiff(grey(_65000=(2, b"hello\0")), PIXELS), ["the TIFF tag 65000"]),
    "known": (tiff(grey(_42113=(2, b"0\0"), _33723=(7, b"\x1c\2")), PIXELS), ["the TIFF tag IptcNaaInfo", "the TIFF tag GDAL_NODATA"]),
    "reduced": (tiff(grey(_254=(LONG, [1])), PIXELS), ["the TIFF tag NewSubfileType"]),
    "page": (tiff(grey(_297=(SHORT, [3, 9])), PIXELS), ["the TIFF tag PageNumber"]),
    "beyond the end": (
        tiff(grey(_270=(2, b"a" * 9)), PIXELS).replace(b"\x0e\1\2\0\x09\0", b"\x0e\1\2\0\xff\xff"),
        ["the TIFF tag ImageDescription, which is damaged", "10 bytes of the TIFF that belong to nothing"],
    ),
    "unknown type": (
        tiff(grey(_270=(2, b"abc")), PIXELS).replace(b"\x0e\1\2\0", b"\x0e\1\x63\0"),
        ["the TIFF tag ImageDescription, which is damaged"],
    ),
    "twice": (
        tiff(grey(_270=(2, b"abc"), _271=(2, b"abc")), PIXELS).replace(b"\x0f\1\2\0", b"\x0e\1\2\0"),
        ["the TIFF tag ImageDescription, which it has twice"],
    ),
    "thumbnails": (tiff(grey(_330=(LONG, [8])), PIXELS), ["the TIFF tag SubIFDs"]),
    "maker's note": (exif_with((37500, 7, 4, b"abcd"), (36864, 7, 4, b"0231")), ["the EXIF tag MakerNote"]),
    "behind EXIF": (exif_with((36864, 7, 4, b"0231"), following=8), ["a directory behind that of EXIF"]),
    "EXIF beyond the end": (exif_with()[:-3], ["the TIFF tag ExifIFD", "3 bytes behind its end"]),
    "EXIF of itself": (exif_with((40965, LONG, 1, b"\xff\xff\0\0")), ["the EXIF tag InteroperabilityIFD"]),
    "XMP as text": (tiff(grey(_700=(2, b"<x/>")), PIXELS), ["the TIFF tag XMP"]),
    "resolution in whole numbers": (
        tiff(grey(_282=(SHORT, [72]), _283=(SHORT, [72])), PIXELS),
        ["the TIFF tag XResolution", "the TIFF tag YResolution"],
    ),
    "unit of nothing": (tiff(grey(_296=(SHORT, [3])), PIXELS), ["the TIFF tag ResolutionUnit"]),
    "prediction of nothing": (tiff(grey(_317=(SHORT, [2])), PIXELS), ["the TIFF tag Predictor"]),
    "palette of a grey picture": (tiff(grey(_320=(SHORT, [0, 0])), PIXELS), ["the TIFF tag ColorMap"]),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_not_stored_is_named(name):
    data, said = LEFT_OUT[name]
    found = parsed(data)
    assert list(found.left_out) == said
    assert found.decoded().samples.tobytes() == PIXELS


SAYS_NOTHING = [
    grey(_254=(LONG, [0]), _255=(SHORT, [1]), _263=(SHORT, [1]), _297=(SHORT, [0, 1]), _280=(SHORT, [0]), _281=(SHORT, [255])),
    grey(_296=(SHORT, [2]), _317=(SHORT, [1])),
    grey(_284=(SHORT, [1]), _277=(SHORT, [1]), _278=(LONG, [4294967295]), _339=(SHORT, [1]), _266=(SHORT, [1])),
]


@pytest.mark.parametrize("tags", SAYS_NOTHING)
def test_what_says_nothing_is_not_named(tags):
    found = parsed(tiff(tags, PIXELS, leaks=b"\0\0"))
    assert (found.left_out, found.chunks) == ((), ())


RGB_TAGS = grey(2, 2, photometric=2) | {277: (SHORT, [3])}
REFUSED = {
    "pages": (saved(image("L"), "TIFF", save_all=True, append_images=[image("L")]), "2 pages"),
    "page loop": (tiff(grey(), PIXELS, following=8), "in a circle"),
    "page beyond the end": (tiff(grey(), PIXELS, following=99999), "truncated"),
    "BigTIFF": (b"II\x2b\0\x08\0\0\0" + bytes(20), "BigTIFF"),
    "no TIFF": (b"hello world", "no TIFF"),
    "header only": (b"II*\0", "truncated"),
    "palette of 0 to 255": (tiff(grey(photometric=3, _320=(SHORT, list(range(256)) * 3)), PIXELS), "palette ends at 255"),
    "palette of 16 bits": (tiff(grey(photometric=3, _320=(SHORT, [7777] * 768)), PIXELS), "colours of 16 bits"),
    "short palette": (tiff(grey(photometric=3, _320=(SHORT, [0] * 9)), PIXELS), "palette has 9 numbers"),
    "no palette": (tiff(grey(photometric=3), PIXELS), "palette has 0 numbers"),
    "mask": (tiff(grey(photometric=4), PIXELS), "a mask"),
    "CMYK": (saved(Image.new("CMYK", (3, 3)), "TIFF"), "CMYK"),
    "YCbCr": (saved(Image.new("YCbCr", (3, 3)), "TIFF"), "YCbCr"),
    "CIELab": (saved(Image.new("LAB", (3, 3)), "TIFF"), "CIELab"),
    "float": (saved(Image.new("F", (3, 3)), "TIFF"), "mode F"),
    "signed": (tiff(grey(_339=(SHORT, [2])), PIXELS), "signed"),
    "32 bits": (tiff(grey(bits=32), PIXELS * 4), "32 bits"),
    "12 bits": (tiff(grey(bits=12), PIXELS * 4), "12 bits"),
    "several depths": (tiff(RGB_TAGS | {258: (SHORT, [8, 8, 4])}, PIXELS), "several depths"),
    "associated alpha": (tiff(RGB_TAGS | {277: (SHORT, [4]), 338: (SHORT, [1])}, PIXELS), "alpha multiplied"),
    "unspecified channel": (tiff(RGB_TAGS | {277: (SHORT, [4]), 338: (SHORT, [0])}, PIXELS), "more channels"),
    "unsaid channel": (tiff(RGB_TAGS | {277: (SHORT, [4])}, PIXELS), "more channels"),
    "palette and alpha": (tiff(grey(photometric=3, _277=(SHORT, [2]), _338=(SHORT, [2])), PIXELS * 2), "palette and alpha"),
    "channels missing": (tiff(RGB_TAGS | {277: (SHORT, [1])}, PIXELS), "1 channels of 3"),
    "alpha that is not there": (tiff(grey(_338=(SHORT, [2])), PIXELS), "does not have"),
    "no photometric": (tiff({tag: value for tag, value in grey().items() if tag != 262}, PIXELS), "what its samples are"),
    "no width": (tiff({tag: value for tag, value in grey().items() if tag != 256}, PIXELS), "without pixels"),
    "wide": (tiff(grey() | {256: (LONG, [(1 << 24) + 1])}, PIXELS), "16777217x4"),
    "old JPEG": (tiff(grey() | {259: (SHORT, [6])}, PIXELS), "old kind of JPEG"),
    "unknown code": (tiff(grey() | {259: (SHORT, [777])}, PIXELS), "number 777"),
    "floating prediction": (tiff(grey(_317=(SHORT, [3])) | {259: (SHORT, [8])}, PIXELS), "unknown layout"),
    "facsimile in colours": (tiff(grey() | {259: (SHORT, [4])}, PIXELS), "facsimile in colours"),
    "facsimile not coded": (tiff(grey(bits=1, _293=(LONG, [2])) | {259: (SHORT, [4])}, PIXELS), "not all coded"),
    "width of letters": (tiff(grey() | {256: (2, b"4\0")}, PIXELS), "tag ImageWidth is unusable"),
    "two widths": (tiff(grey() | {256: (SHORT, [4, 4])}, PIXELS), "tag ImageWidth has 2 values"),
    "depth twice": (tiff(grey(_259=(SHORT, [1])), PIXELS).replace(b"\3\1\3\0\1\0", b"\2\1\3\0\1\0"), "BitsPerSample twice"),
    "a row less": (tiff(grey(), PIXELS[:-1]), "truncated"),
    "strip beyond the end": (tiff(grey(), PIXELS)[:-1], "truncated"),
    "a strip less": (tiff(grey(_278=(SHORT, [2])), PIXELS), "needs 2 strips"),
    "strips and tiles": (tiff(grey(**tiles(16, 16), _273=(LONG, [0])), PIXELS), "strips and tiles"),
    "palette of large numbers": (tiff(grey(photometric=3, _320=(LONG, [65536] * 768)), PIXELS), "above 65,535"),
    "alpha beside JPEG": (saved(image("LA"), "TIFF", compression="jpeg"), "with alpha and packed with JPEG"),
    "16 bits in Zstandard": (tiff(grey(bits=16) | {259: (SHORT, [50000])}, PIXELS), "16 bits and packed with Zstandard"),
    "no tile": (tiff(grey(**tiles(16, 0)), PIXELS), "impossible size"),
    "tiles of four gigapixels": (tiff(grey(**tiles(65536, 65536)), PIXELS), "impossible size"),
    "overlap": (tiff(grey(_278=(SHORT, [2]), _273=(LONG, [0, 0]), _279=(LONG, [600, 600])), PIXELS * 40), "strips overlap"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    assert_refused(parsed, *REFUSED[name])


def place(data, tag):
    """Where the value of a whole number stands."""
    return max(data.find(struct.pack("<HHI", tag, kind, 1)) for kind in (SHORT, LONG)) + 8


def shorter(data, cut):
    """With a strip that ends this many bytes earlier, and its length."""
    at = place(data, 279)
    length = int.from_bytes(data[at : at + 4], "little")
    return data[:at] + struct.pack("<I", length - cut) + data[at + 4 :], length


@pytest.mark.parametrize("compression", [*LOSSLESS, *FAX, "jpeg", "zstd"])
def test_no_row_is_invented(compression):
    """Neither where the file ends early nor where a strip does."""
    made = image("1" if compression in FAX else "L", 60, 20)
    data = saved(made, "TIFF", compression=compression)
    for end in range(0, len(data), 7):
        with pytest.raises(UnsupportedImageError):
            parsed(data[:end])
    _, length = shorter(data, 0)
    whole = samples(parsed(data), TiffImageFile)
    for cut in [*range(1, 20), *range(20, length, 23)]:
        try:
            found = samples(parsed(shorter(data, cut)[0]), TiffImageFile)
        except (UnsupportedImageError, OSError):
            continue
        assert (found == whole).all()
        assert cut < 9  # marks of an end, not pixels


@pytest.mark.parametrize("compression", [*LOSSLESS[1:], *FAX])
def test_a_strip_with_more_than_its_pixels_is_refused(compression):
    """They would be lost in silence."""
    made = image("1" if compression in FAX else "L", 60, 20)
    data = saved(made, "TIFF", compression=compression, strip_size=1 << 20)
    at = place(data, 257)
    assert_refused(parsed, data[:at] + struct.pack("<I", 17) + data[at + 4 :], "more pixels|bytes behind")


@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr"])
def test_a_jpeg_in_it_is_not_stored(mode):
    made = image("RGB").convert(mode)
    data = saved(made, "TIFF", compression="jpeg")
    found = parsed(data)
    assert found.left_out == (JPEG,)
    assert (pillows(found.plain, TiffImageFile) == pillows(data, TiffImageFile)).all()
    frame = data.index(b"\xff\xc0")
    assert_refused(parsed, data[: frame + 5] + b"\0\1" + data[frame + 7 :], "another size")


def test_pillow_gets_nothing_but_pixels():
    exif = Image.Exif()
    exif[274] = 6
    exif[270] = "a picture"
    found = parsed(saved(image("RGB"), "TIFF", compression="zstd", exif=exif, dpi=(72, 72), icc_profile=b"profile"))
    with TiffImageFile(io.BytesIO(found.plain)) as left:
        assert not {270, 274, 282, 34675} & set(left.tag_v2)
        assert left.size == found.size
        left.load()


def test_mutated_files_are_refused_or_read():
    exif = Image.Exif()
    exif.get_ifd(34665)[36867] = "2024"
    exif[34665] = 0
    made = [saved(image("RGB", 9, 7), "TIFF", exif=exif)]
    made += [saved(image("RGB", 9, 7), "TIFF", compression=each, dpi=(72, 72)) for each in [*LOSSLESS, "jpeg", "zstd"]]
    made += [saved(image("1", 40, 7), "TIFF", compression=each) for each in FAX]
    made += [saved(image("P", 9, 7), "TIFF"), *(data for data, _ in LEFT_OUT.values())]
    assert_only_refused(parsed, made, 5000)


def test_many_tags_take_no_time_and_memory():
    many = 30_000
    at = 8 + 2 + 12 * (7 + many) + 4
    head = tiff(grey(), PIXELS)[10 : 10 + 7 * 12].replace(struct.pack("<HHII", 273, LONG, 1, 98), struct.pack("<HHII", 273, LONG, 1, at))
    for count in (0xFFFFFFFF, 300_000):
        entries = [struct.pack("<HHII", tag, 7, count, 8) for tag in range(1000, 1000 + many)]
        found = parsed(b"II*\0\x08\0\0\0" + struct.pack("<H", 7 + many) + head + b"".join(entries) + bytes(4) + PIXELS)
        assert len(found.left_out) == 41
        assert found.decoded().samples.tobytes() == PIXELS


def test_too_many_strips_are_refused():
    strips = (1 << 18) + 1
    tags = grey(1, 1) | {257: (LONG, [strips]), 278: (SHORT, [1])}
    assert_refused(parsed, tiff(tags, PIXELS), "262,145 pieces")
