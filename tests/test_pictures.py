"""Readers account for every byte of a picture file: what is kept is exact, what is not is named, and the rest is refused by its name."""

import io
import struct
import threading
import time
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from bitstream.errors import TooLargeError, UnsupportedImageError
from bitstream.form import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Form
from codec.pictures import png as png_reader
from codec.pictures import pnm
from codec.pictures.decoding import opened_by_pillow
from codec.pictures.outputs import png_of, written_as
from codec.pictures.png_chunks import SIGNATURE, chunk, chunks_of
from codec.pictures.png_writing import written
from codec.pictures.reading import MAX_PIXELS, largest_picture_file, open_picture, pixels_in
from tests.conftest import picture, smooth


def opened(data, max_pixels=MAX_PIXELS):
    return open_picture(io.BytesIO(data), max_pixels)


def refused(data, reason, error=UnsupportedImageError):
    with pytest.raises(error, match=reason) as caught:
        opened(data)
    assert "\n" not in str(caught.value)


def saved(image, form="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


# The framework


@pytest.fixture
def small_limit(monkeypatch):
    """The host's own, which is nobody else's business; and whoever reads or sets it meanwhile is found out."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)


@pytest.mark.parametrize("form", ["PNG", "PPM", "BMP", "GIF"])
def test_the_limit_of_the_host_is_left_alone(form, small_limit):
    data = saved(Image.fromarray(picture(30, 30, 1)[..., 0]), form)
    seen, found, done = {Image.MAX_IMAGE_PIXELS}, [], threading.Event()

    def read():
        try:
            found.extend(opened(data).pixels.shape for _ in range(20))
        finally:
            done.set()

    thread = threading.Thread(target=read)
    thread.start()
    while not done.is_set():
        seen.add(Image.MAX_IMAGE_PIXELS)
    thread.join()
    assert seen == {10}
    assert found == [(30, 30, 1)] * 20
    for suffix in (".bmp", ".png", ".tif"):
        assert written_as(opened(data), suffix)


def test_a_limit_that_pillow_heeds_all_the_same_is_a_sentence(small_limit):
    with pytest.raises(TooLargeError, match="MAX_IMAGE_PIXELS"):
        opened_by_pillow("WEBP", io.BytesIO(saved(Image.new("RGB", (30, 30)), "WEBP")))
    for lossless in (False, True):
        refused(saved(Image.new("RGB", (30, 30)), "WEBP", lossless=lossless), "MAX_IMAGE_PIXELS", TooLargeError)


def test_no_warning_of_anybody_is_caught_or_given():
    data = saved(Image.fromarray(smooth(20, 20)))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        before = warnings.filters[:]
        opened(data)
        assert warnings.filters == before
    assert not warned


def test_nothing_is_invented_where_pillow_is_set_to(monkeypatch):
    """What igpt checks itself is read all the same."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = saved(Image.fromarray(smooth(20, 20)))
    assert (opened(data).pixels == smooth(20, 20)).all()
    lines = np.zeros((9, 10), np.uint8)
    lines[5, 0] = 7
    refused(png(Form(GREY, 8), (9, 9), lines.tobytes()), "unknown filter")


FOREIGN = {
    "JPEG XL": b"\xff\x0a" + bytes(20),
    "JPEG XL file": b"\0\0\0\x0cJXL \r\n\x87\n",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "AVIF": b"\0\0\0\x20ftypavif",
    "HEIF": b"\0\0\0\x20ftypheic",
    "film": b"\0\0\0\x20ftypisom",
    "raw": b"\0\0\0\x20ftypcrx ",
    "Photoshop": b"8BPS\0\1",
    "icon": b"\0\0\1\0\1\0",
    "OS/2": b"BA" + bytes(12) + b"BM",
    "OpenEXR": b"\x76\x2f\x31\x01",
    "PAM": b"P7\nWIDTH 3",
    "PFM": b"PF\n3 3\n-1\n",
    "QOI": b"qoif",
    "FITS": b"SIMPLE  =    T",
    "DICOM": bytes(128) + b"DICM",
    "igpt": b"\x89IGPT\r\n\x1a\n",
    "PNG whose first bytes": b"\x89PNG\n\x1a\n" + bytes(20),
    "SVG": b'<?xml version="1.0"?>\n<svg xmlns="x">',
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_pictures_are_refused_by_their_name(name):
    refused(FOREIGN[name], rf"this is .*{name}.*; igpt reads PNG, .* convert it to PNG")
    with pytest.raises(UnsupportedImageError, match=name):
        largest_picture_file(FOREIGN[name], 100)


def test_a_bound_is_there_before_a_pipe_is_read():
    assert largest_picture_file(saved(Image.new("L", (3, 3)))[:100], 1000) < 1 << 27


@pytest.mark.parametrize("form", ["PNG", "PPM", "BMP", "TIFF", "WEBP", "JPEG", "GIF"])
def test_pixels_in_a_file_are_known_from_its_beginning(form, tmp_path):
    path = tmp_path / "x"
    options = [{}, {"lossless": True}, {"exif": b"Exif\0\0" + bytes(20)}] if form == "WEBP" else [{}]
    for some in options:
        data = saved(Image.fromarray(smooth(70, 90)), form, **some)
        path.write_bytes(data)
        assert pixels_in(path) == 6300
        for length in (0, 2, 10, 20, 30, 50):
            path.write_bytes(data[:length])
            assert pixels_in(path) in (0, 6300)
        for seed in range(100):
            rng = np.random.default_rng(seed)
            broken = bytearray(data[:200])
            for at in rng.integers(0, len(broken), 5):
                broken[at] = rng.integers(256)
            path.write_bytes(broken)
            assert pixels_in(path) >= 0
    assert pixels_in(tmp_path) == 0
    assert pixels_in(tmp_path / "none") == 0


@pytest.mark.parametrize(
    "data",
    [
        b"P4 16777217 1\n" + bytes(2097153),
        b"P4 1 16777217\n" + bytes(16777217),
        written(np.zeros((1, (1 << 24) + 1, 1), np.uint8), Form(GREY, 1), ()),
    ],
)
def test_a_side_that_no_file_can_have_is_refused_at_once(data):
    start = time.perf_counter()
    refused(data, "no side", TooLargeError)
    assert time.perf_counter() - start < 1


# PNG


def png(form, size, lines, before=(), behind=(), header=None, stream=None, interlaced=0):
    """lines: the filtered rows; size: (width, height)."""
    header = struct.pack(">IIBBBBB", *size, form.depth, form.colour, 0, 0, interlaced) if header is None else header
    parts = [chunk(b"IDAT", part) for part in (stream or [zlib.compress(lines)])]
    return b"".join([SIGNATURE, chunk(b"IHDR", header), *before, *parts, *behind, chunk(b"IEND", b"")])


FORMS = [Form(c, d) for c, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items() for d in depths]
SIZES = [(1, 1), (9, 7), (3, 1), (1, 5), (33, 17)]


def row_bytes(form, size, interlaced):
    """Of each row of each pass, without its filter."""
    width, height = size
    passes = (
        [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)] if interlaced else [(0, 0, 1, 1)]
    )
    for y, x, down, across in passes:
        columns = len(range(x, width, across))
        for _ in range(y, height, down) if columns else ():
            yield -(-columns * form.channels * form.depth // 8)


def any_png(form, size, interlaced, rng, **more):
    rows = [bytes([rng.integers(5)]) + rng.bytes(n) for n in row_bytes(form, size, interlaced)]
    before = [chunk(b"PLTE", rng.bytes(3 << form.depth))] if form.colour == PALETTE else []
    return b"".join(rows), lambda lines, **more: png(form, size, lines, before, interlaced=interlaced, **more)


def test_bits_at_the_ends_of_rows_mean_nothing():
    """The standard of PNG leaves them unspecified."""
    found = opened(png(Form(GREY, 4), (3, 1), b"\0\x12\x3f"))
    assert (found.left_out, found.pixels.ravel().tolist()) == ((), [1, 2, 3])


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize("form", FORMS)
def test_every_stream_is_measured(form, interlaced):
    """Whole: as Pillow, by itself, reads it. One byte short: refused. Longer: named."""
    rng = np.random.default_rng(form.depth)
    for size in SIZES:
        lines, made = any_png(form, size, interlaced, rng)
        found = opened(made(lines))
        assert (found.form, found.left_out) == (form, ())
        if form.depth == 16:
            assert (opened(png_of(found)).pixels == found.pixels).all()
        else:
            image = Image.open(io.BytesIO(made(lines)))
            stretch = 255 // ((1 << form.depth) - 1) if form.colour == GREY and form.depth in (2, 4) else 1
            assert (np.asarray(image).reshape(found.pixels.shape) == found.pixels * stretch).all()
        refused(made(lines[:-1]), "truncated")
        assert opened(made(lines + b"x")).left_out == ("what its stream has behind its pixels",)
        assert (opened(made(lines + b"x")).pixels == found.pixels).all()
        whole = zlib.compress(lines)
        for stream in ([whole + b"abc"], [whole, b"abc"], [whole, b"", b"a", b"bc"]):
            assert opened(made(lines, stream=stream)).left_out == ("3 bytes behind its pixels",)
        for stream in ([whole[:-4]], [whole[:-1]], [whole[:-4], b""]):
            again = opened(made(lines, stream=stream))
            assert again.left_out == ("that the end of its stream is missing",)
            assert (again.pixels == found.pixels).all()
        refused(made(lines, stream=[whole[:-1] + bytes([whole[-1] ^ 1])]), "do not inflate")
        assert opened(made(lines, stream=[whole[k : k + 1] for k in range(len(whole))])).left_out == ()


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize("form", [Form(GREY, 1), Form(RGB, 8), Form(RGB, 16)])
def test_every_row_has_a_known_filter(form, interlaced, monkeypatch):
    monkeypatch.setattr(png_reader, "INFLATED_BYTES", 7)
    monkeypatch.setattr(png_reader, "PIECE_BYTES", 3)
    rng = np.random.default_rng(0)
    lines, made = any_png(form, (9, 7), interlaced, rng)
    assert opened(made(lines)).left_out == ()
    at = 0
    for count in row_bytes(form, (9, 7), interlaced):
        refused(made(lines[:at] + b"\5" + lines[at + 1 :]), "unknown filter")
        at += 1 + count
    assert at == len(lines)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (struct.pack(">IIBBBBB", 9, 9, 8, 1, 0, 0, 0), "colour type 1"),
        (struct.pack(">IIBBBBB", 9, 9, 3, 0, 0, 0, 0), "3 bits"),
        (struct.pack(">IIBBBBB", 9, 9, 16, 3, 0, 0, 0), "16 bits"),
        (struct.pack(">IIBBBBB", 9, 9, 8, 0, 1, 0, 0), "methods"),
        (struct.pack(">IIBBBBB", 9, 9, 8, 0, 0, 64, 0), "methods"),
        (struct.pack(">IIBBBBB", 9, 9, 8, 0, 0, 0, 2), "methods"),
        (struct.pack(">IIBBBBB", 0, 9, 8, 0, 0, 0, 0), "0x9"),
        (struct.pack(">IIBBBBB", 1 << 31, 9, 8, 0, 0, 0, 0), "2147483648x9"),
        (bytes(12), "header"),
        (bytes(14), "header"),
    ],
)
def test_headers_of_a_png_that_cannot_be(header, reason):
    refused(png(Form(GREY, 8), (9, 9), bytes(90), header=header), reason)


LINES = bytes(90)
SOUND = png(Form(GREY, 8), (9, 9), LINES)
IDAT = chunk(b"IDAT", zlib.compress(LINES))
HEAD, END = SOUND[:33], SOUND[-12:]
PALETTED = SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 3, 0, 0, 0))
PLTE = chunk(b"PLTE", bytes(9))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (SIGNATURE + IDAT + END, "header is missing"),
        (HEAD + HEAD[8:] + IDAT + END, "IHDR"),
        (HEAD + END, "no pixels"),
        (HEAD + IDAT, "truncated"),
        (SOUND[:-1], "truncated"),
        (HEAD + IDAT + chunk(b"teSt", b"") + IDAT + END, "several places"),
        (HEAD + chunk(b"CRIT", b"x") + IDAT + END, "chunk CRIT"),
        (HEAD + chunk(b"te1t", b"x") + IDAT + END, "te1t"),
        (HEAD + chunk(b"teSt", b"x")[:-1] + b"\0" + IDAT + END, "teSt.* is damaged"),
        (HEAD + IDAT[:-1] + b"\0" + END, "IDAT.* is damaged"),
        (SIGNATURE + chunk(b"CgBI", bytes(4)) + HEAD[8:] + IDAT + END, "iPhone"),
        (HEAD + chunk(b"acTL", bytes(8)) + IDAT + END, "animation"),
        (PALETTED + IDAT + END, "palette is missing"),
        (PALETTED + IDAT + PLTE + END, "palette is missing"),
        (PALETTED + PLTE + PLTE + IDAT + END, "palette has a wrong size"),
        (PALETTED + chunk(b"PLTE", bytes(10)) + IDAT + END, "palette has a wrong size"),
        (PALETTED + chunk(b"PLTE", b"") + IDAT + END, "palette has a wrong size"),
        (PALETTED + chunk(b"PLTE", bytes(771)) + IDAT + END, "palette has a wrong size"),
        (HEAD + chunk(b"teSt", b"") * 70_000 + IDAT + END, "chunks"),
    ],
)
def test_chunks_that_no_reader_can_make_sense_of(data, reason):
    refused(data, reason)


def test_palettes_may_be_shorter_and_longer_than_the_indices():
    for size, depth in ((1, 8), (3, 4), (256, 1)):
        palette = chunk(b"PLTE", bytes(3 * size))
        form = Form(PALETTE, depth)
        lines = b"".join(b"\0" + b"\xff" * (9 * depth // 8 + (depth < 8)) for _ in range(9))
        found = opened(png(form, (9, 9), lines, [palette]))
        assert (found.pixels == (1 << depth) - 1).all()
        assert chunks_of(png_of(found)) == chunks_of(png(form, (9, 9), lines, [palette]))


ODD = {  # chunks that Pillow or libpng stumble over, and that are no pixels
    "profile without an end of its name": (b"iCCP", b"no end"),
    "profile that does not inflate": (b"iCCP", b"x\0\0what"),
    "large profile": (b"iCCP", b"x\0\0" + zlib.compress(bytes(3_000_000))),
    "large text": (b"zTXt", b"x\0\0" + zlib.compress(bytes(3_000_000))),
    "large international text": (b"iTXt", b"x\0\1\0\0\0" + zlib.compress(bytes(3_000_000))),
    "short resolution": (b"pHYs", b"\0"),
    "short gamma": (b"gAMA", b""),
    "short chromaticities": (b"cHRM", bytes(5)),
    "short intent": (b"sRGB", b""),
    "short transparency": (b"tRNS", b""),
    "long transparency": (b"tRNS", bytes(300)),
    "background": (b"bKGD", b""),
    "no text": (b"tEXt", b""),
    "text without an end": (b"zTXt", b"x"),
    "Exif of nobody": (b"eXIf", b"??"),
    "time": (b"tIME", b""),
    "somebody's own": (b"prVt", bytes(range(256))),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_chunks_are_kept_as_they_are(name):
    for form in (Form(GREY, 8), Form(GREY_ALPHA, 8), Form(GREY, 16)):
        lines = b"\0" + bytes(form.step * 9)
        for place in ({"before": [chunk(*ODD[name])]}, {"behind": [chunk(*ODD[name])]}):
            data = png(form, (9, 1), lines, **place)
            found = opened(data)
            assert found.left_out == ()
            assert ODD[name] in found.chunks
            assert chunks_of(png_of(found)) == chunks_of(data)


def test_what_is_behind_a_png_is_named():
    assert opened(SOUND).left_out == ()
    assert opened(SOUND + b"PK\3\4").left_out == ("4 bytes behind its end",)
    assert opened(SOUND + SOUND).left_out == (f"{len(SOUND)} bytes behind its end",)
    assert opened(SOUND[:-12] + chunk(b"IEND", b"x") + b"\0").left_out == ("what is in its last chunk", "1 bytes behind its end")


def test_hostile_pngs_cost_little():
    """A bomb behind one pixel; sizes that were promised only; pieces of nothing."""
    bomb = zlib.compress(bytes(50_000_000), 9)
    large = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0)
    for data, reason in (
        (png(Form(GREY, 8), (1, 1), b"", stream=[bomb]), ""),
        (png(Form(GREY, 8), (1, 1), b"", stream=[bomb[:40_000]]), ""),
        (png(Form(GREY, 8), (1, 1), b"", header=large), "truncated"),
        (png(Form(GREY, 8), (1, 1), b"", header=large[:8] + b"\x10\6" + large[10:]), "truncated"),
        (png(Form(GREY, 8), (1, 1), b"", header=large[:12] + b"\1"), "truncated"),
    ):
        tracemalloc.start()
        start = time.perf_counter()
        if reason:
            refused(data, reason)
        else:
            assert opened(data).left_out == ("what its stream has behind its pixels",)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert time.perf_counter() - start < 2
        assert peak < 40_000_000
    start = time.perf_counter()
    refused(HEAD + chunk(b"IDAT", b"") * 40_000 + END, "truncated")
    assert time.perf_counter() - start < 2


# PPM, PGM, PBM

LEVELS = {1: Form(GREY, 1), 3: Form(GREY, 2), 15: Form(GREY, 4), 255: Form(GREY, 8), 65535: Form(GREY, 16)}


def raster(samples, largest):
    return samples.astype(">u2" if largest > 255 else np.uint8).tobytes()


def in_words(samples):
    return b"\n".join(b" ".join(b"%d" % value for value in row) for row in samples.reshape(len(samples), -1))


@pytest.mark.parametrize("largest", LEVELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_anymaps(largest, channels, monkeypatch):
    monkeypatch.setattr(pnm, "BLOCK_BYTES", 50)
    samples = np.random.default_rng(largest).integers(0, largest + 1, (7, 9, channels))
    head = f" 9 7\n{largest}\n".encode()
    plain, binary = (b"P2", b"P5") if channels == 1 else (b"P3", b"P6")
    for data in (binary + head + raster(samples, largest), plain + head + in_words(samples), plain + head + in_words(samples) + b" \r\n"):
        if channels == 3 and largest < 255:
            refused(data, f"PPM with a largest value of {largest}")
            continue
        found = opened(data)
        assert found.form == (LEVELS[largest] if channels == 1 else Form(RGB, LEVELS[largest].depth))
        assert found.pixels.dtype == (np.uint16 if largest > 255 else np.uint8)
        assert found.pixels.flags.writeable
        assert (found.pixels == samples).all()
        assert found.left_out == ()
        refused(data.rstrip()[:-6] if data[1:2] < b"4" else data[:-1], "truncated")


@pytest.mark.parametrize("width", [1, 7, 8, 9, 30])
def test_bitmaps(width, monkeypatch):
    monkeypatch.setattr(pnm, "BLOCK_BYTES", 10)
    bits = np.random.default_rng(width).integers(0, 2, (5, width)).astype(np.uint8)
    head = f"{width} 5\n".encode()
    packed = b"P4 " + head + np.packbits(bits, axis=1).tobytes()
    digits = b"\n".join(bytes(48 + row) for row in bits)
    for data in (packed, b"P1 " + head + digits, b"P1\n" + head + b" " * 40 + b" ".join(digits[k : k + 1] for k in range(len(digits)))):
        found = opened(data)
        assert found.form == Form(GREY, 1)
        assert (found.pixels[..., 0] == 1 - bits).all()
        assert found.left_out == ()
        refused(data[:-1], "truncated")
    assert (np.asarray(Image.open(io.BytesIO(packed))) == 1 - bits).all()
    if width % 8:
        assert opened(packed[:-1] + bytes([packed[-1] | 1])).left_out == ("bits at the ends of its rows",)


@pytest.mark.parametrize(
    ("data", "left_out"),
    [
        (b"P5 1 1 255\nxP5 1 1 255\nx", "a second picture and what follows: 12 bytes"),
        (b"P5 1 1 255\nx\nP5 1 1 255\nx", "a second picture and what follows: 13 bytes"),
        (b"P2 1 1 255\n9\nP5 1 1 255\nx", "a second picture and what follows: 12 bytes"),
        (b"P1 1 1\n1\nP1 1 1\n1", "a second picture and what follows: 8 bytes"),
        (b"P4 1 1\n\x80P4 1 1\n\x80", "a second picture and what follows: 8 bytes"),
        (b"P5 1 1 255\nxy", "1 bytes behind its end"),
        (b"P2 1 1 255\n9 8\n", "2 bytes behind its end"),
        (b"P5#what\n#more\r1 1 255\nx", "comments in its header"),
        (b"P5 1#what\n 1 255#last\nx", "comments in its header"),
    ],
)
def test_what_an_anymap_has_beside_its_samples(data, left_out):
    assert opened(data).left_out == (left_out,)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"P5 1 1 100\nx", "PGM with a largest value of 100"),
        (b"P6 1 1 1023\n" + bytes(6), "PPM with a largest value of 1023"),
        (b"P5 1 1 0\nx", "largest value of 0"),
        (b"P5 1 1 65536\nxx", "largest value of 65536"),
        (b"P5 0 1 255\nx", "0x1 pixels"),
        (b"P5 1", "header is incomplete"),
        (b"P5 1 1 255", "header is incomplete"),
        (b"P5 1 1 255x", "header is incomplete"),
        (b"P5 1 -1 255\nx", "header is incomplete"),
        (b"P5 11111111111 1 255\nx", "header is incomplete"),
        (b"P5 1 1 255#no end", "header is incomplete"),
        (b"P5 1 1 15\n\x10", "samples above 15"),
        (b"P2 1 1 15\n16", "samples above 15"),
        (b"P2 1 1 15\n65552", "samples above 65535"),
        (b"P2 1 1 15\n-1", "no numbers"),
        (b"P2 1 1 15\n1x", "no numbers"),
        (b"P2 1 1 255\n" + b"1" * 5000, "no numbers"),
        (b"P2 1 1 255\n" + b"1" * 3_000_000, "no numbers"),
        (b"P2 1 1 255\n" + b" " * 3_000_000, "truncated"),
        (b"P2 1000 1000 255\n1 2 3", "truncated"),
        (b"P1 1000 1000\n1 0 1", "truncated"),
        (b"P1 2 1\n1 ", "truncated"),
        (b"P1 2 1\n121", "no digits"),
        (b"P5 13377 13377 255\n", "truncated"),
    ],
)
def test_anymaps_that_are_refused(data, reason):
    refused(data, reason)


@pytest.mark.parametrize("kind", [b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"])
def test_a_large_anymap_is_said_to_be_large(kind):
    refused(kind + b" 99999 99999 " + (b"255 " if kind not in (b"P1", b"P4") else b""), "99999x99999", TooLargeError)


# BMP


def bmp(body=b"", *, size=40, width=5, height=3, planes=1, bits=24, compression=0, image_bytes=0, resolution=(0, 0), colours=0, important=0,
        rest=b"", palette=b"", gap=b"", behind=b"", reserved=bytes(4), offset=None):  # fmt: skip
    if size == 12:
        header = struct.pack("<IHHHH", 12, width, height, planes, bits)
    else:
        header = struct.pack("<IiiHHIIiiII", size, width, height, planes, bits, compression, image_bytes, *resolution, colours, important)
        header = header[:size] + rest.ljust(max(0, size - 40), b"\0")
    start = 14 + len(header) + len(palette) + len(gap) if offset is None else offset
    data = header + palette + gap + body + behind
    return b"BM" + struct.pack("<I", 14 + len(data)) + reserved + struct.pack("<I", start) + data


def rows_of(samples, bits, stray=0, upwards=True):
    """(height, width) indices, or (height, width, 3) colours -> the bytes of rows, with their padding."""
    rows = []
    for row in samples[::-1] if upwards else samples:
        if bits in (1, 4):
            line = np.packbits(np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :].reshape(-1)).tobytes()
        else:
            line = row[..., ::-1].tobytes() if row.ndim > 1 else row.tobytes()
        rows.append(line + bytes([stray]) * (-len(line) % 4))
    return b"".join(rows)


def colour_samples(width=5, height=3):
    return picture(height, width, 3)


V4, V5 = 108, 124
SRGB, WINDOWS, EMBEDDED, LINKED = b"BGRs", b" niW", b"DEBM", b"KNIL"
FULL_MASKS = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)


def described(masks=bytes(16), space=WINDOWS, endpoints=bytes(48), intent=0, profile=(0, 0), reserved=0):
    """What follows the first 40 bytes of a header of version 5."""
    return masks + space + endpoints + struct.pack("<IIII", intent, *profile, reserved)


@pytest.mark.parametrize("upwards", [True, False])
@pytest.mark.parametrize("size", [12, 16, 40, 52, 56, 64, V4, V5])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 9])
def test_bmps_of_24_bits(size, width, upwards):
    samples = colour_samples(width)
    if not upwards and size == 12:
        return
    rest = described() if size >= V4 else b""
    data = bmp(
        rows_of(samples, 24, upwards=upwards), size=size, width=width, height=3 if upwards else -3, rest=rest[: size - 40] if rest else b""
    )
    found = opened(data)
    assert (found.form, found.chunks, found.left_out) == (Form(RGB, 8), (), ())
    assert (found.pixels == samples).all()
    assert found.pixels.flags.writeable
    refused(data[: -1 - (-3 * width % 4)], "truncated")
    assert (opened(data[: len(data) - (-3 * width % 4)]).pixels == samples).all()  # the last row's padding is no loss
    if width % 4:
        data = bmp(rows_of(samples, 24, stray=1, upwards=upwards), width=width, height=3 if upwards else -3)
        assert opened(data).left_out == ("bytes at the ends of its rows",)


@pytest.mark.parametrize("upwards", [True, False])
@pytest.mark.parametrize("size", [12, 40, 64, V5])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bmps_with_a_palette(bits, size, upwards):
    rng = np.random.default_rng(bits)
    for width in (1, 5, 8, 13):
        count = 1 << bits
        entries = rng.integers(0, 256, (count, 3)).astype(np.uint8)
        samples = rng.integers(0, count, (3, width)).astype(np.uint8)
        fourth = [] if size == 12 else [np.zeros((count, 1), np.uint8)]
        palette = np.concatenate([entries[:, ::-1], *fourth], 1).tobytes()
        if not upwards and size == 12:
            continue
        some = {"size": size, "width": width, "height": 3 if upwards else -3, "bits": bits}
        body = rows_of(samples, bits, upwards=upwards)
        data = bmp(body, palette=palette, **some)
        found = opened(data)
        assert (found.form, found.left_out) == (Form(PALETTE, bits), ())
        assert dict(found.chunks)[b"PLTE"] == entries.tobytes()
        assert (found.pixels[..., 0] == samples).all()
        image = Image.open(io.BytesIO(data)).convert("RGB")
        assert (np.asarray(image) == entries[samples]).all()
        if size != 12:
            dotted = bytearray(palette)
            dotted[3] = 9
            assert opened(bmp(body, palette=bytes(dotted), **some)).left_out == ("the fourth bytes of its palette",)
            assert opened(bmp(body, palette=palette, offset=14 + size, **some)).chunks == found.chunks  # as some write it
        refused(data[:20], "header is truncated")
        refused(bmp(b"", palette=palette[:4], offset=14 + size + 4, colours=2, **some) if size != 12 else data[:-20], "truncated")


def test_palettes_of_bmps_that_are_grey_or_have_another_length():
    samples = np.arange(15).reshape(3, 5).astype(np.uint8)
    ramp = np.repeat(np.arange(256)[:, None], 4, 1).astype(np.uint8)
    ramp[:, 3] = 0
    grey = opened(bmp(rows_of(samples, 8), bits=8, palette=ramp.tobytes()))
    assert (grey.form, grey.chunks) == (Form(GREY, 8), ())
    few = bmp(rows_of(samples, 8), bits=8, palette=ramp[:20].tobytes(), colours=20)
    assert (opened(few).form, len(opened(few).chunks[0][1])) == (Form(PALETTE, 8), 60)
    beyond = bmp(rows_of(samples, 8), bits=8, palette=ramp[:3].tobytes(), colours=3)
    assert (opened(beyond).pixels[..., 0] == samples).all()
    many = bmp(rows_of(samples // 8, 1), bits=1, palette=ramp[:30].tobytes(), colours=30)
    assert opened(many).left_out == ("colours of its palette that no pixel has",)
    assert opened(many).chunks == ((b"PLTE", bytes([0, 0, 0, 1, 1, 1])),)
    ends = bmp(rows_of(samples // 8, 1), bits=1, palette=ramp[[0, 255]].tobytes())
    assert (opened(ends).form, opened(ends).chunks) == (Form(GREY, 1), ())
    stray = bytearray(ends)
    stray[-4] |= 1
    assert opened(bytes(stray)).left_out == ("bytes at the ends of its rows",)
    short = bmp(rows_of(samples, 8), size=12, bits=8, palette=bytes(range(60)))
    assert len(opened(short).chunks[0][1]) == 60


def words(samples, shifts, bits=32, beside=0):
    """(height, width, channels) -> the bytes of rows whose pixels have the channels at these bits."""
    found = np.full(samples.shape[:2], beside, np.int64)
    for channel, shift in zip(np.moveaxis(samples, 2, 0), shifts, strict=True):
        found |= channel.astype(np.int64) << shift
    return found[::-1].astype(f"<u{bits // 8}").tobytes()


@pytest.mark.parametrize("shifts", [(16, 8, 0), (0, 8, 16), (24, 16, 8), (24, 4, 16), (1, 9, 17)])
@pytest.mark.parametrize("size", [40, 52, 56, V4, V5])
def test_bit_fields_of_8_bits(shifts, size):
    samples = colour_samples()
    masks = struct.pack("<3I", *(255 << shift for shift in shifts))
    place = {"rest": masks} if size > 40 else {"gap": masks}
    found = opened(bmp(words(samples, shifts), size=size, bits=32, compression=3, **place))
    assert (found.form, found.left_out) == (Form(RGB, 8), ())
    assert (found.pixels == samples).all()
    beside = (1 << 32) - 1 & ~sum(255 << shift for shift in shifts)
    found = opened(bmp(words(samples, shifts, beside=beside), size=size, bits=32, compression=3, **place))
    assert (found.pixels == samples).all()
    assert found.left_out == ("bits of its pixels beside their colours",)


@pytest.mark.parametrize("shifts", [(16, 8, 0, 24), (24, 16, 8, 0), (0, 8, 16, 24)])
@pytest.mark.parametrize("alpha", [None, 0])
def test_alpha_of_a_bmp(shifts, alpha):
    samples = np.dstack([colour_samples(), colour_samples()[..., :1] if alpha is None else np.zeros((3, 5, 1), np.uint8)])
    masks = struct.pack("<4I", *(255 << shift for shift in shifts))
    for some in ({"size": 56, "rest": masks}, {"size": V5, "rest": described(masks)}, {"compression": 6, "gap": masks}):
        found = opened(bmp(words(samples, shifts), bits=32, **{"compression": 3, **some}))
        assert (found.form, found.left_out) == (Form(RGB_ALPHA, 8), ())
        assert (found.pixels == samples).all()


def test_a_fourth_byte_that_nothing_declares_is_named():
    samples = colour_samples()
    assert opened(bmp(words(samples, (16, 8, 0)), bits=32)).left_out == ()
    for beside in (0xFF000000, 1 << 24):
        found = opened(bmp(words(samples, (16, 8, 0), beside=beside), bits=32))
        assert (found.pixels == samples).all()
        assert found.left_out == ("bits of its pixels beside their colours",)


PROFILE = bytes(range(200))
BODY = rows_of(colour_samples(), 24)
STANDARD = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0)


@pytest.mark.parametrize(
    ("some", "chunks", "left_out"),
    [
        ({}, (), ()),
        ({"resolution": (2835, 2834)}, ((b"pHYs", struct.pack(">IIB", 2835, 2834, 1)),), ()),
        ({"resolution": (2835, 0)}, (), ("its resolution",)),
        ({"resolution": (-1, -1)}, (), ("its resolution",)),
        ({"reserved": b"\1\0\0\0"}, (), ("what its reserved fields say",)),
        ({"planes": 3}, (), ("its number of planes",)),
        ({"image_bytes": len(BODY)}, (), ()),
        ({"image_bytes": len(BODY) + 2, "behind": bytes(2)}, (), ()),  # as Photoshop writes it
        ({"image_bytes": len(BODY) - 1}, (), ("the size of its pixels as its header says it",)),
        ({"important": 3}, (), ("how many of its colours are important",)),
        ({"gap": b"\0\0ab\0"}, (), ("5 bytes between its parts",)),
        ({"gap": bytes(9)}, (), ()),
        ({"behind": b"x"}, (), ("1 bytes behind its end",)),
        ({"behind": bytes(3)}, (), ()),
        ({"behind": bytes(4)}, (), ("4 bytes behind its end",)),
        ({"size": 64, "rest": bytes(20) + b"\1"}, (), ("its fields of OS/2",)),
        ({"size": V5, "rest": described(space=SRGB)}, ((b"sRGB", b"\0"),), ()),
        ({"size": V5, "rest": described(space=SRGB, intent=2)}, ((b"sRGB", b"\1"),), ()),
        ({"size": V5, "rest": described(space=SRGB, intent=3)}, ((b"sRGB", b"\0"),), ("its rendering intent",)),
        ({"size": V4, "rest": described(space=SRGB)[:68]}, ((b"sRGB", b"\0"),), ()),
        ({"size": V5, "rest": described(intent=4)}, (), ("its rendering intent",)),
        ({"size": V5, "rest": described(space=bytes(4))}, (), ()),
        ({"size": V5, "rest": described(space=b"what")}, (), ("its colour space",)),
        ({"size": V5, "rest": described(space=bytes(4), endpoints=b"\1" * 48)}, (), ("the endpoints and gamma of its colours",)),
        ({"size": V5, "rest": described(endpoints=bytes(47) + b"\1")}, (), ("the endpoints and gamma of its colours",)),
        ({"size": V5, "rest": described(reserved=1)}, (), ("what its reserved fields say",)),
        ({"size": V5, "rest": described(STANDARD)}, (), ()),
        ({"size": V5, "rest": described(FULL_MASKS)}, (), ("masks that its pixels do not need",)),
        ({"size": V5, "rest": described(space=EMBEDDED, profile=(124 + 48, 200)), "behind": PROFILE}, ("profile",), ()),
        ({"size": V5, "rest": described(space=EMBEDDED, profile=(124, 200)), "gap": PROFILE}, ("profile",), ()),
        (
            {"size": V5, "rest": described(space=EMBEDDED, profile=(124 + 48, 200)), "behind": PROFILE + b"more"},
            ("profile",),
            ("4 bytes behind its end",),
        ),
        (
            {"size": V5, "rest": described(space=EMBEDDED, profile=(124 + 48, 201)), "behind": PROFILE},
            (),
            ("its colour profile, which is damaged", "200 bytes behind its end"),
        ),
        (
            {"size": V5, "rest": described(space=WINDOWS, profile=(124 + 48, 200)), "behind": PROFILE},
            (),
            ("200 bytes behind its end",),
        ),
        (
            {"size": V5, "rest": described(space=LINKED, profile=(124 + 48, 6)), "behind": b"C:\\abc"},
            (),
            ("the name of its colour profile, which is elsewhere",),
        ),
    ],
)  # fmt: skip
def test_what_a_bmp_has_beside_its_pixels(some, chunks, left_out):
    found = opened(bmp(BODY, **some))
    assert (found.pixels == colour_samples()).all()
    assert found.left_out == left_out
    if chunks == ("profile",):
        assert [name for name, _ in found.chunks] == [b"iCCP"]
        assert Image.open(io.BytesIO(png_of(found))).info["icc_profile"] == PROFILE
    else:
        assert found.chunks == chunks


@pytest.mark.parametrize(
    ("some", "reason"),
    [
        ({"size": 20}, "header of 20 bytes"),
        ({"bits": 0, "compression": 4}, "holds a JPEG"),
        ({"bits": 0, "compression": 5}, "holds a PNG"),
        ({"compression": 11}, "CMYK"),
        ({"compression": 9}, "compression 9"),
        ({"size": 64, "bits": 1, "compression": 3}, "Huffman"),
        ({"size": 64, "compression": 4}, "run lengths"),
        ({"bits": 2}, "2 bits per pixel"),
        ({"bits": 64}, "64 bits per pixel"),
        ({"bits": 16}, "5, 5, 5 bits"),
        ({"bits": 16, "compression": 3, "gap": struct.pack("<3I", 0xF800, 0x7E0, 0x1F)}, "5, 6, 5 bits"),
        ({"bits": 32, "compression": 3, "gap": struct.pack("<3I", 0x3FF00000, 0xFFC00, 0x3FF)}, "10, 10, 10 bits"),
        ({"bits": 32, "compression": 3, "gap": struct.pack("<3I", 0xFF, 0xFF, 0xFF)}, "overlap"),
        ({"bits": 32, "compression": 3, "gap": struct.pack("<3I", 0xFF, 0, 0xFF00)}, "overlap"),
        ({"bits": 32, "compression": 3, "gap": struct.pack("<3I", 0xFF, 0x5500, 0xFF0000)}, "holes"),
        ({"bits": 16, "compression": 3, "gap": struct.pack("<3I", 0xFF, 0xFF00, 0xFF0000)}, "larger than its pixels"),
        ({"bits": 8, "compression": 3}, "compression 3 with 8 bits"),
        ({"bits": 4, "compression": 1}, "compression 1 with 4 bits"),
        ({"bits": 8, "compression": 1, "height": -3}, "compression 1"),
        ({"width": 0}, "0x3 pixels"),
        ({"height": 0}, "5x0 pixels"),
        ({"width": -5}, "-5x3 pixels"),
        ({"width": 1 << 30, "height": 1 << 30}, "truncated"),
        ({"offset": 20}, "overlap"),
        ({"offset": 4_000_000_000}, "truncated"),
        ({"bits": 8, "colours": 1 << 31}, "palette is truncated"),
    ],
)
def test_bmps_that_are_refused(some, reason):
    refused(bmp(BODY, **some), reason)


def test_a_size_of_another_file_is_named():
    data = bmp(BODY, behind=bytes(2))
    for size in (0, len(data), len(data) - 2, len(data) - 3, len(data) + 1):
        found = opened(data[:2] + struct.pack("<I", size) + data[6:])
        assert found.left_out == (() if size in (0, len(data), len(data) - 2) else ("its size as its header says it",))


def test_a_bmp_that_is_not_whole_is_refused():
    for data in (bmp(BODY), bmp(BODY, size=V5, rest=described())):
        for length in range(2, len(data) - 1):
            refused(data[:length], "truncated|header of")


def packed(samples, four, rng):
    """Run lengths of any kind."""
    parts = []
    for row in samples[::-1]:
        at = 0
        while at < len(row):
            run = 1
            while at + run < len(row) and run < 255 and row[at + run] == row[at]:
                run += 1
            if run > 2 or len(row) - at < 3 or rng.integers(2):
                parts.append(bytes([run, row[at] * 17 if four else row[at]]))
            else:
                run = min(int(rng.integers(3, 9)), len(row) - at)
                some = row[at : at + run].tobytes()
                some = bytes(a * 16 + b for a, b in zip(some[::2], some[1::2] + b"\0", strict=False)) if four else some
                parts.append(bytes([0, run]) + some + bytes(len(some) % 2))
            at += run
        parts.append(b"\0\0")
    return b"".join(parts)


@pytest.mark.parametrize("four", [False, True])
def test_run_lengths(four):
    rng = np.random.default_rng(four)
    palette = bytes(range(64)) if four else bytes(1024)[:1020] + b"\1\2\3\0"
    some = {"bits": 4 if four else 8, "compression": 2 if four else 1}
    palette = bytes(3 if k % 4 != 3 else 0 for k in range(len(palette)))
    for width in (1, 5, 40, 300):
        samples = np.repeat(rng.integers(0, 16, (9, width)), rng.integers(1, 4), 1)[:, :width].astype(np.uint8)
        body = packed(samples, four, rng)
        for stream in (body + b"\0\1", body, body[:-2] + b"\0\1"):
            data = bmp(stream, width=width, height=9, palette=palette, **some)
            found = opened(data)
            assert (found.pixels[..., 0] == samples).all()
            assert (found.form.depth, found.left_out) == (some["bits"], ())
        assert (np.asarray(Image.open(io.BytesIO(bmp(body + b"\0\1", width=width, height=9, palette=palette, **some)))) == samples).all()
        found = opened(bmp(body + b"\0\1", width=width, height=9, palette=palette, image_bytes=len(body) + 2, behind=b"what", **some))
        assert found.left_out == ("4 bytes behind its end",)
        assert opened(bmp(body + b"\0\1abcd", width=width, height=9, palette=palette, **some)).left_out == ("4 bytes behind its pixels",)
        refused(bmp(body[:-4], width=width, height=9, palette=palette, **some), "truncated")


def test_the_unused_half_of_a_byte_in_run_lengths_is_named():
    for spare in (0, 1):
        found = opened(bmp(b"\0\5\0\0" + bytes([spare, 0]) + b"\0\0\5\0\0\0\5\0\0\1", bits=4, compression=2, palette=bytes(64)))
        assert found.left_out == ("bytes at the ends of its rows",) * spare


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"\0\1" + bytes(6), "leave pixels out"),
        (b"\5\1\0\0\5\1\0\1", "leave pixels out"),
        (b"\5\1\0\0\0\0\5\1\0\0", "leave pixels out"),
        (b"\4\1\0\0" * 3, "leave pixels out"),
        (b"\5\1\0\0\0\2\0\1\5\1\0\0", "leave pixels out"),
        (b"\6\1\0\0" * 3, "longer"),
        (b"\5\1\5\1\0\0" * 3, "longer"),
        (b"\5\1\0\0" * 4, "longer"),
        (b"\5\1\0\0\5\1\0\0\0\5ab", "truncated"),
        (b"", "truncated"),
    ],
)
def test_run_lengths_that_are_refused(stream, reason):
    refused(bmp(stream, bits=8, compression=1, palette=bytes(1024)), reason)
