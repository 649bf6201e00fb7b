"""Pictures of all kinds come back as they were: samples, bits, palettes and metadata."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageCms

import codec
from bitstream.container import read
from bitstream.errors import UnsupportedImageError
from bitstream.form import GREY, PALETTE, RGB, RGB_ALPHA, Form
from codec.compression import compress_picture
from codec.decompression import decompress_file
from codec.methods.mixing import DeepMixing
from codec.mixing import bands
from codec.options import Options
from codec.pictures.outputs import png_of, written_as
from codec.pictures.picture import Picture
from codec.pictures.pillow import picture_of
from codec.pictures.png_chunks import chunk, chunks_of
from codec.pictures.png_writing import written
from codec.pictures.reading import MAX_PIXELS, open_picture
from codec.progress import ignore
from tests.conftest import DATA, coded_by, file_of, picture, smooth
from tests.picture_files import assert_same_image, deep, deep_png, everything, images, saved, sums, with_mode

CPU = Options(device="cpu")


def there_and_back(data):
    """A picture file through igpt and out as a PNG: the file and the PNG."""
    packed = compress_picture(open_picture(io.BytesIO(data), MAX_PIXELS), CPU)
    return packed, png_of(decompress_file(read(packed), CPU))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (37, 23), (5, 70)])
def test_every_mode_comes_back(mode, size):
    image = with_mode(mode, size)
    packed, png = there_and_back(saved(image, "PNG"))
    assert_same_image(images(png), image)
    assert_same_image(codec.decompress(codec.compress(image, device="cpu"), device="cpu"), image)
    fields = codec.info(packed)
    assert (fields.mode, fields.width, fields.height) == (mode, *size)


def test_the_colour_under_alpha_0_is_kept():
    pixels = np.dstack([smooth(30, 30), np.zeros((30, 30), np.uint8)])
    assert (np.asarray(images(there_and_back(saved(Image.fromarray(pixels), "PNG"))[1])) == pixels).all()


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
    assert len(written(smooth(200, 200), Form(RGB, 8), ())) < 1.05 * len(saved(Image.fromarray(smooth(200, 200)), "PNG"))


def test_all_metadata_come_back():
    data = everything()
    packed, png = there_and_back(data)
    assert chunks_of(png) == chunks_of(data)
    assert_same_image(images(png), images(data))
    assert "iCCP" in codec.info(packed).metadata


def test_strip_leaves_what_the_pixels_need():
    chunks = open_picture(io.BytesIO(everything()), MAX_PIXELS).stripped().chunks
    assert [name for name, _ in chunks] == [b"tRNS", b"IDAT"]


def test_a_picture_without_metadata_needs_no_boxes():
    picture_ = open_picture(io.BytesIO(saved(Image.fromarray(smooth(20, 20)), "PNG")), MAX_PIXELS)
    assert picture_.form == Form(RGB, 8)
    assert read(compress_picture(picture_, CPU)).front.boxes == {}


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
    monkeypatch.setattr("bitstream.metadata.MAX_METADATA_BYTES", 100)
    some = Picture(smooth(5, 5), Form(RGB, 8), ((b"tEXt", bytes(100)),))
    with pytest.raises(UnsupportedImageError, match="--strip"):
        compress_picture(some, CPU)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (40, 33)])
def test_deep_samples_come_back(channels, size):
    data = deep_png(deep(*size, channels), ((b"sBIT", bytes([12] * channels)),))
    packed, png = there_and_back(data)
    assert png == data
    assert codec.info(packed).bit_depth == 16


@given(arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)), elements=st.integers(0, 65535)))
@settings(max_examples=60, deadline=None)
def test_any_deep_samples_come_back(samples):
    data = deep_png(samples)
    assert there_and_back(data)[1] == data


def test_samples_that_are_not_as_deep_as_they_say_cost_no_more():
    eight = smooth(64, 64)
    packed, png = there_and_back(deep_png(eight.astype(np.uint16) * 257))
    assert (open_picture(io.BytesIO(png), MAX_PIXELS).pixels == eight.astype(np.uint16) * 257).all()
    assert codec.info(packed).coding == "network"
    assert len(packed) < len(codec.compress(eight, device="cpu")) + 150
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
        data = compress_picture(open_picture(io.BytesIO(deep_png(deep(9, 9, channels))), MAX_PIXELS), CPU)
        assert (codec.decode(data).reshape(9, 9, channels) == deep(9, 9, channels)).all()
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
    (coding,) = read(packed).front.codings
    assert (coding.method, DeepMixing.coders[coding.variant]) == (DeepMixing.number, bands.EXACT)
    assert len(packed) < 0.8 * len(file_of(samples, coded_by(DeepMixing(), samples, DeepMixing.coders.index(bands.BLENDED))))


@pytest.mark.parametrize("coder", DeepMixing.coders)
def test_deep_bands_and_threads_do_not_matter(coder, monkeypatch):
    monkeypatch.setattr(bands, "MAX_BAND_PIXELS", 13 * 30)
    planes = np.ascontiguousarray(deep(40, 30, 3).transpose(2, 0, 1))
    payloads = bands.encode(planes, coder, ignore)
    assert len(payloads) == 4
    assert (bands.decode(payloads, (30, 40), 3, coder, ignore) == planes).all()
    monkeypatch.setattr(bands, "MOST_THREADS", 1)
    assert bands.encode(planes, coder, ignore) == payloads


def test_alpha_is_coded_as_is_best():
    flat = np.dstack([np.full((64, 64, 3), 9, np.uint8), np.where(np.mgrid[:64, :64].sum(0) > 60, 255, 0).astype(np.uint8)])
    photograph = np.dstack([smooth(64, 64), np.full((64, 64), 255, np.uint8)])
    assert codec.info(codec.compress(Image.fromarray(flat))).coding == "mixing"
    assert codec.info(codec.compress(Image.fromarray(photograph), device="cpu")).coding == "network; alpha: mixing"


def test_animations_are_refused():
    data = saved(Image.new("L", (3, 3)), "PNG", save_all=True, append_images=[Image.new("L", (3, 3), 9)])
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
        compress_picture(Picture(smooth(5, 5)[..., : form.channels], form, chunks), CPU)


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
    one = saved(Image.fromarray(smooth(5, 5)), "PNG")
    at = one.index(b"IDAT") - 4
    many = one[:at] + chunk(b"teSt", b"") * 20_000 + one[at:-12] + chunk(b"IDAT", b"") * 20_000 + one[-12:]
    start = time.perf_counter()
    assert len(chunks_of(many)[1]) == 20_001
    assert time.perf_counter() - start < 2


def test_metadata_of_a_tiff_that_are_damaged_are_named():
    text = "what it shows"
    data = tiff(smooth(5, 5), t270=text)
    entry = struct.pack("<HHI", 270, 2, len(text) + 1)
    assert data.count(entry) == 1
    found = open_picture(io.BytesIO(data.replace(entry, struct.pack("<HHI", 270, 2, 1 << 20))), MAX_PIXELS)
    assert (found.pixels == smooth(5, 5)).all()
    assert found.left_out == ("the TIFF tag ImageDescription, which is damaged", "14 bytes of the TIFF that belong to nothing")
