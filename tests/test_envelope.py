"""Pictures that are more than RGB or grey samples: modes, metadata, PNGs written by hand, and envelopes that are damaged."""

import hashlib
import io
import random
import struct
import time
import zlib

import numpy as np
import pytest
from bitstream.envelope import Envelope, deflated, read_envelope, write_envelope
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageCms, PngImagePlugin

import codec
from bitstream import header
from bitstream.constants import EXACT_NUMERICS
from bitstream.container import read_file, write_file
from bitstream.errors import DamagedError, IgptError, UnsupportedImageError
from bitstream.form import GREY, PALETTE, RGB, RGB_ALPHA, Form
from bitstream.reader import varint
from codec.mixing import bands as mixing
from codec.pictures.outputs import png_of, written_as
from codec.pictures.picture import Picture
from codec.pictures.pillow import picture_of
from codec.pictures.png_chunks import chunk, chunks_of
from codec.pictures.png_writing import written
from codec.pictures.reading import MAX_PIXELS, open_picture
from tests.conftest import DATA, TINY, picture, smooth
from tests.make_golden import sums
from tests.mutations import mutated
from tests.plain_decoder import decode_envelope


def saved(image, form="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def there_and_back(data):
    """A picture file through igpt and out as a PNG: the file and the PNG."""
    packed = codec.compress_picture(open_picture(io.BytesIO(data), MAX_PIXELS), device="cpu")
    return packed, png_of(codec.decompress_picture(packed, device="cpu"))


def images(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def assert_same_image(found, expected):
    assert (found.mode, found.size) == (expected.mode, expected.size)
    assert found.tobytes() == expected.tobytes()
    assert found.getpalette() == expected.getpalette()
    assert {k: v for k, v in found.info.items() if k != "interlace"} == {k: v for k, v in expected.info.items() if k != "interlace"}


def with_mode(mode, size=(37, 23)):
    colour = Image.fromarray(smooth(size[1], size[0]))
    alpha = Image.fromarray(picture(size[1], size[0], 1)[..., 0])
    match mode:
        case "RGBA":
            colour.putalpha(alpha)
            return colour
        case "LA":
            return Image.merge("LA", (colour.convert("L"), alpha))
        case "P":
            return colour.quantize(40)
        case "1":
            return colour.convert("L").point(lambda v: 255 * (v > 110), "1")
    return colour.convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (37, 23), (5, 70)])
def test_every_mode_comes_back(mode, size):
    image = with_mode(mode, size)
    packed, png = there_and_back(saved(image))
    assert_same_image(images(png), image)
    assert_same_image(codec.decompress(codec.compress(image, device="cpu"), device="cpu"), image)
    fields = codec.info(packed)
    assert (fields["mode"], fields["width"], fields["height"]) == (mode, *size)


def test_the_colour_under_alpha_0_is_kept():
    pixels = np.dstack([smooth(30, 30), np.zeros((30, 30), np.uint8)])
    assert (np.asarray(images(there_and_back(saved(Image.fromarray(pixels)))[1])) == pixels).all()


@pytest.mark.parametrize("colour", [GREY, PALETTE])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("width", [1, 7, 8, 33])
def test_few_bits_stay_few_bits(colour, depth, width):
    samples = np.random.default_rng(0).integers(0, 1 << depth, (9, width, 1)).astype(np.uint8)
    chunks = ((b"PLTE", bytes(range(3 << depth)) if depth < 8 else bytes(768)),) if colour == PALETTE else ()
    png = written(samples, Form(colour, depth), chunks)
    assert chunks_of(png)[0] == Form(colour, depth)
    found = np.asarray(images(png))
    stretch = 255 // ((1 << depth) - 1) if colour == GREY and 1 < depth < 8 else 1
    assert (found == samples[..., 0] * stretch).all()
    back = there_and_back(png)[1]
    assert back[:33] == png[:33]
    assert_same_image(images(back), images(png))


def test_the_png_writer_agrees_with_pillow():
    for pixels in (smooth(50, 60), picture(3, 1000, 3), np.zeros((4, 5, 4), np.uint8), picture(40, 40, 1)):
        png = written(pixels, Form({1: GREY, 3: RGB, 4: RGB_ALPHA}[pixels.shape[2]], 8), ())
        assert (np.asarray(images(png)).reshape(pixels.shape) == pixels).all()
        assert images(png).format == "PNG"
    assert len(written(smooth(200, 200), Form(RGB, 8), ())) < 1.05 * len(saved(Image.fromarray(smooth(200, 200))))


def everything():
    """A PNG with all kinds of chunks, before and behind its pixels."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "what it shows")
    text.add_text("Author", "someone", zip=True)
    text.add_itxt("Comment", "ein Bild \u2014 \u753b", "de", "Kommentar")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "description"
    png = saved(Image.fromarray(smooth(20, 30)), pnginfo=text, icc_profile=profile, exif=exif, dpi=(300, 200), transparency=(1, 2, 3))
    at = png.index(b"IDAT") - 4
    before = chunk(b"sBIT", b"\5\6\5") + chunk(b"bKGD", struct.pack(">3H", 1, 2, 3)) + chunk(b"prVt", b"somebody's own")
    behind = chunk(b"tIME", struct.pack(">H5B", 2026, 11, 20, 1, 2, 3)) + chunk(b"zzZz", bytes(1000))
    return png[:at] + before + png[at:-12] + behind + png[-12:]


def test_all_metadata_come_back():
    data = everything()
    packed, png = there_and_back(data)
    assert chunks_of(png) == chunks_of(data)
    assert_same_image(images(png), images(data))
    assert "iCCP" in codec.info(packed)["metadata"]


def test_strip_leaves_what_the_pixels_need():
    chunks = open_picture(io.BytesIO(everything()), MAX_PIXELS).stripped().chunks
    assert [name for name, _ in chunks] == [b"tRNS", b"IDAT"]


def test_a_picture_without_metadata_needs_no_envelope():
    picture_ = open_picture(io.BytesIO(saved(Image.fromarray(smooth(20, 20)))), MAX_PIXELS)
    assert picture_.form == Form(RGB, 8)
    assert codec.info(codec.compress_picture(picture_, device="cpu"))["version"] < 5


@pytest.mark.parametrize("form", ["TIFF", "WEBP", "BMP", "GIF"])
def test_other_files_keep_what_a_png_can_keep(form):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = with_mode("P" if form == "GIF" else "RGB")
    options = {"icc_profile": profile} if form in ("TIFF", "WEBP") else {}
    options |= {"lossless": True, "exact": True} if form == "WEBP" else {}
    data = saved(image, form, **options)
    found = images(there_and_back(data)[1])
    assert found.convert("RGB").tobytes() == image.convert("RGB").tobytes()
    assert found.info.get("icc_profile") == options.get("icc_profile")


def test_a_jpeg_is_remarked_upon():
    found = open_picture(io.BytesIO(saved(Image.fromarray(smooth(40, 40)), "JPEG")), MAX_PIXELS)
    assert any("JPEG" in what for what in found.left_out)


def test_images_in_memory_keep_what_pillow_knows():
    image = with_mode("P")
    image.info["transparency"] = 3
    image.info["dpi"] = (100, 100)
    back = codec.decompress(codec.compress(image, device="cpu"), device="cpu")
    assert back.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()
    assert back.info["dpi"] == pytest.approx((100, 100), abs=0.1)


def test_too_many_metadata_are_refused(monkeypatch):
    monkeypatch.setattr("bitstream.envelope.MAX_CHUNK_BYTES", 100)
    some = Picture(smooth(5, 5), Form(RGB, 8), ((b"tEXt", bytes(100)),))
    with pytest.raises(UnsupportedImageError, match="--strip"):
        codec.compress_picture(some, device="cpu")


def deep(height, width, channels, seed=0):
    """16-bit samples: slow waves and noise of some bits."""
    fine = np.random.default_rng(seed).integers(0, 300, (height, width, channels))
    return (smooth(height, width, seed).astype(np.int64)[..., [0, 1, 2, 0]][..., :channels] * 250 + fine).astype(np.uint16)


def deep_png(samples, chunks=()):
    return written(samples, Form({1: 0, 2: 4, 3: 2, 4: 6}[samples.shape[2]], 16), chunks)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (40, 33)])
def test_deep_samples_come_back(channels, size):
    data = deep_png(deep(*size, channels), ((b"sBIT", bytes([12] * channels)),))
    packed, png = there_and_back(data)
    assert png == data
    assert codec.info(packed)["bit_depth"] == 16


@given(arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)), elements=st.integers(0, 65535)))
@settings(max_examples=60, deadline=None)
def test_any_deep_samples_come_back(samples):
    data = deep_png(samples)
    assert there_and_back(data)[1] == data


def test_samples_that_are_not_as_deep_as_they_say_cost_no_more():
    eight = smooth(64, 64)
    packed, png = there_and_back(deep_png(eight.astype(np.uint16) * 257))
    assert (open_picture(io.BytesIO(png), MAX_PIXELS).pixels == eight.astype(np.uint16) * 257).all()
    assert codec.info(packed)["kind"] == "rgb"
    assert len(packed) < len(codec.compress_pixels(eight, device="cpu")) + 150
    twelve = deep(64, 64, 1) >> 4 << 4
    assert len(there_and_back(deep_png(twelve))[0]) < 0.85 * len(there_and_back(deep_png(deep(64, 64, 1)))[0])


def test_deep_samples_are_smaller_than_in_a_png():
    data = deep_png(deep(100, 100, 3))
    assert len(there_and_back(data)[0]) < 0.9 * len(data)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_deep_pngs_are_read_as_pillow_and_others_do(channels):
    """All filters, interlaced and not; Pillow, which sees the high bytes, is the witness."""

    def read(data):
        return open_picture(io.BytesIO(data), MAX_PIXELS).pixels

    samples = deep(19, 23, channels)
    data = deep_png(samples)
    assert (read(data) == samples).all()
    if channels in (1, 3):
        found = np.asarray(Image.open(io.BytesIO(data)))
        assert (found.reshape(samples.shape) == (samples if channels == 1 else samples >> 8)).all()
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (19, 1 + 23 * 2 * channels)).astype(np.uint8)
    rows[:, 0] = rng.integers(0, 5, 19)
    head = data[:33]
    filtered = head + chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b"")
    if channels in (1, 3):
        found = np.asarray(Image.open(io.BytesIO(filtered)))
        mine = read(filtered)
        assert (found.reshape(mine.shape) == (mine if channels == 1 else mine >> 8)).all()
    with pytest.raises(UnsupportedImageError, match="truncated"):
        read(head + chunk(b"IDAT", zlib.compress(rows[:-1].tobytes())) + chunk(b"IEND", b""))
    wrong = head + chunk(b"IDAT", b"what no one deflated") + chunk(b"IEND", b"")
    with pytest.raises(UnsupportedImageError, match="do not inflate"):
        read(wrong)
    rows[3, 0] = 5
    with pytest.raises(UnsupportedImageError, match="filter"):
        read(head + chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b""))


def test_pillow_gets_no_deep_picture_that_it_would_cut():
    for channels, mode in ((1, "I;16"), (3, None)):
        data = codec.compress_picture(open_picture(io.BytesIO(deep_png(deep(9, 9, channels))), MAX_PIXELS))
        if mode:
            image = codec.decompress(data)
            assert image.mode == mode
            assert (np.asarray(image) == deep(9, 9, 1)[..., 0]).all()
            assert codec.decompress(codec.compress(image)).tobytes() == image.tobytes()
        else:
            with pytest.raises(UnsupportedImageError, match="16 bits"):
                codec.decompress(data)


def test_residuals_that_recur_are_learnt():
    """As of a luma that was computed from bytes: few differences, far apart."""
    samples = sums(smooth(60, 60) // 8)
    packed, png = there_and_back(deep_png(samples))
    assert (open_picture(io.BytesIO(png), MAX_PIXELS).pixels == samples).all()
    assert codec.info(packed)["numerics_version"] == EXACT_NUMERICS
    assert len(packed) < 0.8 * len(codec.drawn(samples, lambda _: None))


def test_deep_bands_and_threads_do_not_matter(monkeypatch):
    planes = np.ascontiguousarray(deep(40, 30, 3).transpose(2, 0, 1))
    payloads = mixing.encode(planes, 13, lambda _: None)
    assert len(payloads) == 4
    back = mixing.decode(payloads, (30, 40), 3, 13, lambda _: None, depth=16)
    assert (back == planes).all()
    monkeypatch.setattr(mixing, "MOST_THREADS", 1)
    assert mixing.encode(planes, 13, lambda _: None) == payloads


def test_deep_garbage_is_refused():
    data = codec.compress_picture(open_picture(io.BytesIO(deep_png(deep(30, 30, 4))), MAX_PIXELS))
    envelope = read_envelope(data)
    head, _ = read_file(envelope.parts[0], enclosed=True)
    for seed in range(20):
        wrong = write_file(head, [np.random.default_rng(seed).bytes(3000)])
        with pytest.raises(DamagedError):
            codec.decompress_picture(write_envelope(envelope._replace(parts=(wrong,))))


def test_the_document_is_enough_for_deep_samples(monkeypatch):
    monkeypatch.setattr(mixing, "MAX_BAND_PIXELS", 150)
    monkeypatch.setattr(header, "MAX_BAND_PIXELS", 150)
    flat = np.repeat(np.arange(900).reshape(30, 30, 1) // 3 * 200, 2, 2).astype(np.uint16)
    stripes = np.where(np.arange(400).reshape(20, 20, 1) % 3 == 0, 777, np.arange(400).reshape(20, 20, 1) * 99).astype(np.uint16)
    twelve = deep(20, 20, 3) >> 4 << 4
    for samples in (deep(20, 21, 1), deep(15, 12, 4), flat, stripes, twelve):
        png = deep_png(samples)
        data = codec.compress_picture(open_picture(io.BytesIO(png), MAX_PIXELS), model=TINY)
        assert codec.info(data)["kind"] == "drawing"
        _, bits, found, _ = decode_envelope(data, None)
        assert bits == 16
        assert (found == samples).all()


@pytest.mark.parametrize("levels", [(1, 2), (5, 5), (5, 4), tuple(range(300)), (70_000,)])
def test_levels_that_cannot_be_are_refused(levels):
    data = codec.compress_picture(open_picture(io.BytesIO(deep_png(deep(30, 30, 1))), MAX_PIXELS))
    with pytest.raises((DamagedError, ValueError)):
        codec.decompress_picture(write_envelope(read_envelope(data)._replace(levels=levels)))


def test_the_document_is_enough():
    for mode in ("LA", "P", "1"):
        image = with_mode(mode, (12, 9))
        data = codec.compress(image)
        assert codec.info(data)["kind"] == "drawing"
        colour, bits, samples, chunks = decode_envelope(data, None)
        again = Picture(samples, Form(colour, bits), tuple(chunks))
        assert_same_image(images(png_of(again)), image)


def test_alpha_is_coded_as_is_best():
    flat = np.dstack([np.full((64, 64, 3), 9, np.uint8), np.where(np.mgrid[:64, :64].sum(0) > 60, 255, 0).astype(np.uint8)])
    photograph = np.dstack([smooth(64, 64), np.full((64, 64), 255, np.uint8)])
    assert "alpha" not in codec.info(codec.compress(Image.fromarray(flat)))
    fields = codec.info(codec.compress(Image.fromarray(photograph), device="cpu"))
    assert (fields["kind"], fields["alpha"]) == ("rgb", "drawing")


SMALL = codec.compress(with_mode("LA", (9, 7)), device="cpu")


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damage_is_found(data):
    at = data.draw(st.integers(0, len(SMALL) - 1))
    broken = SMALL[:at] + bytes([SMALL[at] ^ data.draw(st.integers(1, 255))]) + SMALL[at + 1 :]
    for work in (codec.decompress, codec.info):
        with pytest.raises(IgptError):
            work(broken)
    with pytest.raises(IgptError):
        codec.decompress(SMALL[:at])


def enclosed(**changes):
    """An envelope that says of itself what is not so."""
    return write_envelope(read_envelope(SMALL)._replace(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": 0},
        {"colour": 2},
        {"colour": 7},
        {"colour": 3},
        {"depth": 4},
        {"depth": 16},
        {"parts": ()},
        {"parts": (SMALL,)},
        {"parts": read_envelope(SMALL).parts * 2},
        {"parts": read_envelope(SMALL).parts * 3},
    ],
)
def test_envelopes_that_cannot_be_are_refused(changes):
    with pytest.raises((DamagedError, UnsupportedImageError)):
        codec.decompress(enclosed(**changes))


@pytest.mark.parametrize(
    "chunks", [b"IHDR\1x", b"IDAT\1x", b"IDAT\0IDAT\0", b"\0\0\0\0\0", b"PLTE\4xxxx", b"teSt", b"teSt\5x", b"aaaa\0" * 70_000]
)
def test_chunks_that_cannot_be_are_refused(chunks):
    """As nobody writes them."""
    packed = zlib.compress(chunks)
    data = SMALL[:-10] + varint(len(chunks)) + varint(len(packed)) + packed
    with pytest.raises(DamagedError):
        codec.decompress(data + hashlib.sha256(data).digest()[:8])


def test_a_part_of_another_picture_is_refused():
    other = read_envelope(codec.compress(with_mode("LA", (9, 8)), device="cpu"))
    own = read_envelope(SMALL)
    two = tuple(codec.compress_pixels(np.full((7, n, 1), 5, np.uint8)) for n in (9, 10))
    for parts in (two, (two[0], other.parts[0])):
        with pytest.raises(DamagedError):
            codec.decompress(write_envelope(Envelope(own.colour, own.depth, (), parts)))


def test_samples_of_too_many_bits_are_refused():
    part = codec.drawn(np.full((4, 4, 1), 2, np.uint8), lambda _: None, always=True)
    with pytest.raises(DamagedError, match="above 1"):
        codec.decompress(write_envelope(Envelope(GREY, 1, (), (part,))))


def test_a_drawing_with_alpha_needs_its_envelope():
    part = codec.drawn(np.zeros((4, 4, 2), np.uint8), lambda _: None)
    assert part
    with pytest.raises(DamagedError, match="envelope"):
        codec.decompress(part)


def test_metadata_do_not_grow_without_bound():
    """A bomb: 100 MB of zeros in 100 kB."""
    packed = zlib.compress(bytes(100_000_000), 9)
    data = SMALL[:-8]
    at = data.rindex(b"\0\0")
    assert data[at:] == b"\0\0"  # no chunks
    for size in (100, 1 << 26, 100_000_000):
        bomb = data[:at] + varint(size) + varint(len(packed)) + packed
        with pytest.raises(DamagedError):
            codec.decompress(bomb + hashlib.sha256(bomb).digest()[:8])


def test_animations_are_refused():
    data = saved(Image.new("L", (3, 3)), save_all=True, append_images=[Image.new("L", (3, 3), 9)])
    with pytest.raises(UnsupportedImageError, match="animation"):
        there_and_back(data)
    one = everything()
    at = one.index(b"IDAT") - 4
    with pytest.raises(UnsupportedImageError, match="animation"):
        there_and_back(one[:at] + chunk(b"acTL", struct.pack(">2I", 1, 0)) + one[at:])


def test_a_picture_of_another_kind_is_described():
    picture_ = picture_of(with_mode("LA"))
    assert "grey with alpha" in picture_.described
    with pytest.raises(UnsupportedImageError, match="8-bit RGB"):
        _ = picture_.plain_pixels


def test_pngsuite():
    """Every valid file of up to 8 bits comes back with the same pixels, mode, depth and chunks; every damaged one is refused."""
    paths = sorted((DATA / "pngsuite").glob("*.png"))
    if not paths:
        pytest.skip(f"no PngSuite in {DATA / 'pngsuite'}; set IGPT_DATA")
    kept = 0
    for path in paths:
        data = path.read_bytes()
        if path.name.startswith("x"):
            with pytest.raises(UnsupportedImageError):
                open_picture(io.BytesIO(data), MAX_PIXELS)
            continue
        png = there_and_back(data)[1]
        assert chunks_of(png) == chunks_of(data)
        assert_same_image(images(png), images(data))
        kept += 1
    assert kept == 162


def test_deep_noise_comes_back_although_nothing_is_gained():
    samples = np.random.default_rng(0).integers(0, 1 << 16, (64, 64, 1)).astype(np.uint16)
    data = deep_png(samples)
    packed, png = there_and_back(data)
    assert png == data
    assert len(packed) < 1.1 * samples.nbytes


@pytest.mark.parametrize(
    ("form", "chunks"),
    [
        (Form(RGB, 8), ((b"teS1", b""),)),
        (Form(RGB, 8), ((b"PLTE", bytes(10)),)),
        (Form(RGB, 8), ((b"PLTE", bytes(9)),) * 2),
        (Form(PALETTE, 8), ()),
        (Form(PALETTE, 8), ((b"PLTE", b""),)),
        (Form(PALETTE, 8), ((b"IDAT", b""), (b"PLTE", bytes(9)))),
        (Form(RGB, 8), ((b"teSt", b""),) * ((1 << 16) + 1)),
    ],
)
def test_what_could_not_be_read_again_is_refused_at_once(form, chunks):
    with pytest.raises(UnsupportedImageError, match="chunks cannot be kept"):
        codec.compress_picture(Picture(smooth(5, 5)[..., : form.channels], form, chunks), device="cpu")


def test_an_empty_palette():
    image = codec.decompress(codec.compress(Image.new("P", (4, 4))))
    assert (image.mode, image.tobytes()) == ("P", bytes(16))


def test_large_colour_profiles_come_back():
    image = Image.fromarray(smooth(9, 9))
    image.info["icc_profile"] = np.random.default_rng(0).bytes(2_000_000)
    assert codec.decompress(codec.compress(image, device="cpu"), device="cpu").info["icc_profile"] == image.info["icc_profile"]


def tiff(pixels, **tags):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "TIFF", tiffinfo={int(name[1:]): value for name, value in tags.items()})
    return stream.getvalue()


def test_tiffs_whose_samples_mean_something_else_are_refused():
    data = tiff(np.dstack([smooth(5, 5), smooth(5, 5)[..., :1]]))
    unassociated = struct.pack("<HHIH", 338, 3, 1, 2)
    assert data.count(unassociated) == 1
    assert open_picture(io.BytesIO(data), MAX_PIXELS).form == Form(RGB_ALPHA, 8)
    for kind, what in ((0, "more channels"), (1, "alpha multiplied into its colours")):
        with pytest.raises(UnsupportedImageError, match=what):
            open_picture(io.BytesIO(data.replace(unassociated, struct.pack("<HHIH", 338, 3, 1, kind))), MAX_PIXELS)
    with pytest.raises(UnsupportedImageError):
        open_picture(io.BytesIO(tiff(smooth(5, 5), t339=(2, 2, 2))), MAX_PIXELS)


def test_tags_of_a_tiff_that_are_not_stored_are_named():
    found = open_picture(io.BytesIO(tiff(smooth(5, 5), t270="what it shows", t285="its page", t32932="what is written on it")), MAX_PIXELS)
    assert b"what it shows" in dict(found.chunks)[b"eXIf"]
    assert len(found.left_out) == 1
    assert "32932" in found.left_out[0] or "Annotation" in found.left_out[0]


@pytest.mark.parametrize("info", [{"dpi": (0, float("nan"))}, {"dpi": (1e20, 1)}, {"xmp": 5}, {"icc_profile": 7}, {"exif": None}])
def test_metadata_without_sense_are_left_out(info):
    image = Image.fromarray(smooth(5, 5))
    image.info |= info
    assert picture_of(image).left_out == tuple(info)


def test_transparency_is_part_of_the_picture():
    for image in (with_mode("P"), with_mode("RGB")):
        image.info["transparency"] = image.getpixel((3, 3))
        some = picture_of(image)
        for suffix in (".bmp", ".ppm"):
            with pytest.raises(UnsupportedImageError, match="without loss"):
                written_as(some, suffix)


def test_many_pieces_of_pixels_take_no_time():
    one = saved(Image.fromarray(smooth(5, 5)))
    at = one.index(b"IDAT") - 4
    many = one[:at] + chunk(b"teSt", b"") * 20_000 + one[at:-12] + chunk(b"IDAT", b"") * 20_000 + one[-12:]
    start = time.perf_counter()
    assert len(chunks_of(many)[1]) == 20_001
    assert time.perf_counter() - start < 2


def test_the_shortest_stream_is_kept():
    ramp = np.random.default_rng(0).integers(0, 9, 5000).astype(np.uint8).tobytes()
    for raw in (b"x", bytes(3000), ramp, b"some words, some words" * 20):
        assert zlib.decompress(deflated(raw)) == raw
        assert len(deflated(raw)) <= len(zlib.compress(raw, 9))
    assert len(deflated(ramp)) < 0.98 * len(zlib.compress(ramp, 9))


def test_metadata_of_a_tiff_that_are_damaged_are_named():
    text = "what it shows"
    data = tiff(smooth(5, 5), t270=text)
    entry = struct.pack("<HHI", 270, 2, len(text) + 1)
    assert data.count(entry) == 1
    found = open_picture(io.BytesIO(data.replace(entry, struct.pack("<HHI", 270, 2, 1 << 20))), MAX_PIXELS)
    assert (found.pixels == smooth(5, 5)).all()
    assert found.left_out == ("the TIFF tag ImageDescription, which is damaged", "14 bytes of the TIFF that belong to nothing")


def as_in_png(chunks):
    names = [name for name, _ in chunks]
    pixels = [body for name, body in chunks if name == b"IDAT"]
    return all(name.isalpha() and name not in (b"IHDR", b"IEND", b"PLTE") for name in names) and pixels in ([], [b""])


def test_the_text_and_the_code_agree_on_streams():
    """Of chunks and of levels, mutated: as they are, and before they are deflated."""
    rng = random.Random(0)
    part = read_envelope(codec.compress(Image.new("LA", (2, 1), (0, 0)), device="cpu")).parts[0]
    raw = b"".join(name + varint(len(body)) + body for name, body in ((b"tEXt", b"a\0b"), (b"IDAT", b""), (b"tEXt", b"c\0d")))
    steps = bytes([5, 3, 200, 0, 0, 20])
    accepted = refused = 0
    for _ in range(400):
        streams = []
        for body in (steps, raw):
            size, packed = len(body), zlib.compress(body)
            if rng.random() < 0.3:
                changed = mutated(body, rng, raw)
                size, packed = rng.choice((size, len(changed))), zlib.compress(changed)
            if rng.random() < 0.3:
                packed = rng.choice((mutated(packed, rng, raw), packed + b"x", b"", zlib.compress(b"")))
            if rng.random() < 0.1:
                size = 0
            streams.append(varint(size // 2 if body is steps else size) + varint(len(packed)) + packed)
        data = part[:9] + bytes([5, 4, 16, 1]) + varint(len(part) - 9) + part[9:] + b"".join(streams)
        data += hashlib.sha256(data).digest()[:8]
        try:
            found = read_envelope(data)
        except IgptError:
            found = None
        try:
            *_, chunks = decode_envelope(data, None)
        except (AssertionError, IndexError, zlib.error):
            chunks = None
        if chunks is not None and not as_in_png(chunks):  # which the document's decoder does not look at
            chunks = None
        assert (None if found is None else [*found.chunks]) == chunks
        accepted, refused = accepted + (found is not None), refused + (found is None)
    assert min(accepted, refused) > 50


@pytest.mark.parametrize("which", [0, 1])
def test_a_stream_of_nothing_is_refused(which):
    """Empty is written as no bytes at all."""
    nothing = varint(0) + varint(8) + zlib.compress(b"")
    envelope = read_envelope(codec.compress(Image.new("LA", (2, 1), (1, 1)), device="cpu"))
    part = envelope.parts[0]
    streams = [varint(0) + varint(0)] * 2
    streams[which] = nothing
    data = part[:9] + bytes([5, 4, 16, 1]) + varint(len(part) - 9) + part[9:] + b"".join(streams)
    with pytest.raises(DamagedError, match="inflate"):
        read_envelope(data + hashlib.sha256(data).digest()[:8])
