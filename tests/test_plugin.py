"""igpt as a format of Pillow."""

import io
import logging
import pickle
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, PngImagePlugin, UnidentifiedImageError

import codec
from bitstream.constants import MAGIC
from bitstream.container import FIRST_BYTES, Coding, read, read_front
from bitstream.form import GREY, PALETTE, RGB, Form
from codec import models, plugin
from codec.compression import compress_picture
from codec.decompression import decompress_file
from codec.methods.method import ModelName
from codec.methods.network import Fields, Network
from codec.options import Options
from codec.pictures.outputs import png_of
from codec.pictures.picture import Picture
from codec.pictures.pillow import known_of, opened
from codec.pictures.png_writing import written
from codec.pictures.reading import MAX_PIXELS, open_picture
from codec.plugin import IgptImageFile
from codec.tiling.tiles import Shape
from tests.conftest import DATA, TINY, smooth, with_network
from tests.forged import claiming
from tests.picture_files import assert_same_image, deep, deep_png, everything, with_mode


@pytest.fixture(autouse=True)
def registered():
    codec.register_igpt_opener()


def test_options_of_saving_are_heeded(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(plugin, "compress_picture", lambda picture, options: given.append(options) or b"")
    values = {"model": "m", "revision": "r", "palette_only": True, "level": "fast", "device": "cpu", "past": False, "verify": True}
    Image.fromarray(smooth(9, 9)).save(tmp_path / "x.igpt", **values)
    assert given == [Options(**values)]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_save_and_open(mode, tmp_path):
    image = Image.fromarray(deep(20, 30, 1)[..., 0]) if mode == "I;16" else with_mode(mode)
    image.save(tmp_path / "x.igpt", device="cpu")
    with Image.open(tmp_path / "x.igpt") as found:
        assert (found.format, found.mode, found.size) == ("IGPT", mode, image.size)
        found.load()
        assert_same_image(found, image)
        assert found.convert("RGBA").size == image.size


def packed(picture):
    return compress_picture(picture, Options(device="cpu"))


def unpacked(data):
    return decompress_file(read(data), Options(device="cpu"))


def test_metadata_come_before_the_pixels(monkeypatch):
    """As those of the PNG, and loading changes none of them."""
    data = everything()
    monkeypatch.setattr(plugin, "decompress_file", None)
    found, png = Image.open(io.BytesIO(packed(open_picture(io.BytesIO(data), MAX_PIXELS)))), Image.open(io.BytesIO(data))
    assert found.info == png.info
    assert {"icc_profile", "exif", "dpi", "transparency", "Title", "Author", "Comment"} <= found.info.keys()
    assert found.getexif() == png.getexif() != {}
    assert found._im is None
    monkeypatch.undo()
    before = dict(found.info)
    assert_same_image(found.copy(), png.copy())
    assert found.info == before
    assert found.text == png.text


def test_orientation_is_heeded_before_loading(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth(20, 30)).save(tmp_path / "x.igpt", exif=exif, device="cpu")
    assert ImageOps.exif_transpose(Image.open(tmp_path / "x.igpt")).size == (20, 30)


def test_palettes_are_there_before_loading(tmp_path):
    image = with_mode("P")
    image.info["transparency"] = 3
    image.save(tmp_path / "x.igpt")
    image.save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.igpt") as found, Image.open(tmp_path / "x.png") as png:
        assert found.palette.palette == png.palette.palette
        assert found.info == png.info == {"transparency": 3}


GREY_AREA = np.zeros((3, 3, 1), np.uint8)
PROFILE = np.random.default_rng(0).bytes(1_500_000)


@pytest.mark.parametrize(
    ("name", "body", "info"),
    [
        (b"zTXt", b"Large\0\0" + zlib.compress(bytes(1_600_000)), {}),
        (b"iTXt", b"Large\0\1\0\0\0" + zlib.compress(bytes(1_600_000)), {}),
        (b"iCCP", b"no separator", {}),
        (b"iCCP", b"name\0\0" + zlib.compress(PROFILE), {"icc_profile": PROFILE}),
        (b"iCCP", b"name\0\1x", {}),
        (b"pHYs", bytes(5), {}),
        (b"cHRM", bytes(9), {}),
        (b"gAMA", b"", {}),
        (b"sRGB", b"", {}),
        (b"tRNS", b"", {}),
        (b"tEXt", b"", {}),
        (b"eXIf", b"", {"exif": b"Exif\0\0"}),
        (b"acTL", bytes(8), {}),
        (b"fcTL", bytes(26), {}),
        (b"teSt", b"x", {}),
    ],
)
def test_what_pillow_cannot_read_of_the_metadata_does_not_matter(name, body, info):
    data = packed(Picture(GREY_AREA, Form(GREY, 8), ((name, body), (b"tEXt", b"a\0b"))))
    image = Image.open(io.BytesIO(data))
    assert image.info == {**info, "a": "b"}
    image.load()
    assert codec.decompress(data).info == image.info


def test_bombs_in_the_metadata_take_no_time():
    text = b"a\0\0" + zlib.compress(bytes(1_000_000))
    profile = b"a\0\0" + zlib.compress(bytes(60_000_000))
    for chunk, count in (((b"zTXt", text[:-1]), 5000), ((b"iCCP", profile), 200)):
        data = packed(Picture(GREY_AREA, Form(GREY, 8), (chunk,) * count))
        start = time.process_time()
        Image.open(io.BytesIO(data))
        assert time.process_time() - start < 1.5


class Watched(io.BytesIO):
    taken = 0

    def read(self, *count):
        data = super().read(*count)
        self.taken += len(data)
        return data


def test_opening_reads_no_pixels():
    noise = np.random.default_rng(0).integers(0, 1 << 16, (100, 100, 1)).astype(np.uint16)
    for picture in (
        Picture(noise, Form(GREY, 16), ((b"tEXt", b"a\0b"),)),
        Picture((noise & 255).astype(np.uint8), Form(PALETTE, 8), ((b"PLTE", bytes(6)), (b"tEXt", b"a\0b"))),
        Picture(np.dstack([smooth(64, 64), noise[:64, :64].astype(np.uint8)]), Form(6, 8), ((b"tEXt", b"a\0b"),)),
    ):
        stream = Watched(packed(picture))
        assert IgptImageFile(stream).info == {"a": "b"}
        assert stream.taken < min(len(stream.getvalue()), FIRST_BYTES + 100)


def png_with(**options):
    stream = io.BytesIO()
    image = Image.fromarray(smooth(20, 20))
    image.info = {"icc_profile": b"old profile", "dpi": (72, 72), "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", "xmp": b"<old/>"}
    image.save(stream, "IGPT", device="cpu", **options)
    return Image.open(stream)


def test_options_of_save_take_the_place_of_the_images_own():
    exif = Image.Exif()
    exif[0x010E] = "new"
    found = png_with(exif=exif, icc_profile=b"new profile", dpi=(300, 300), xmp=b"<new/>")
    assert found.getexif()[0x010E] == "new"
    assert (found.info["icc_profile"], found.info["xmp"]) == (b"new profile", b"<new/>")
    assert found.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert png_with(exif=exif.tobytes()).getexif() == found.getexif()
    assert png_with(xmp="<text/>").info["xmp"] == b"<text/>"
    kept = png_with().info
    assert (kept["icc_profile"], kept["xmp"], kept["exif"][:8]) == (b"old profile", b"<old/>", b"Exif\0\0II")
    assert png_with(exif=b"", icc_profile=None, dpi=None, xmp=b"").info == {}
    assert "exif" not in png_with(exif=Image.Exif()).info
    assert png_with(transparency=(1, 2, 3)).info["transparency"] == (1, 2, 3)


def test_a_pnginfo_is_kept(caplog):
    extra = PngImagePlugin.PngInfo()
    extra.add_text("Title", "what it shows")
    extra.add(b"gAMA", (45455).to_bytes(4, "big"))
    extra.add(b"bKGD", bytes(6))
    extra.add(b"prVt", b"before")
    extra.add(b"prVt", b"behind", after_idat=True)
    extra.add(b"eXIf", b"II")
    image, stream = Image.fromarray(smooth(20, 20)), io.BytesIO()
    image.info["gamma"] = 1.0
    image.save(stream, "IGPT", pnginfo=extra, device="cpu")
    found = Image.open(stream)
    assert (found.text, found.info["gamma"]) == ({"Title": "what it shows"}, 0.45455)
    names = [name for name, _ in unpacked(stream.getvalue()).chunks]
    assert names == [b"tEXt", b"gAMA", b"prVt", b"bKGD", b"IDAT", b"prVt"]
    assert caplog.messages == ["not stored: eXIf of pnginfo"]


def test_what_is_not_stored_of_an_image_is_logged(caplog):
    image = Image.fromarray(smooth(20, 20))
    with caplog.at_level(logging.WARNING, "igpt"):
        codec.compress(image, device="cpu")
        assert not caplog.messages
        image.info |= {"comment": b"x", "photoshop": {}, "evil\x1b[2J": "x"}
        codec.compress(image, device="cpu")
    assert caplog.messages == ["not stored: 'evil\\x1b[2J', comment, photoshop"]


def test_a_picture_needs_its_model_when_it_is_loaded():
    found = Image.open(io.BytesIO(with_network(smooth(20, 20), TINY)))
    assert found.size == (20, 20)
    with pytest.raises(OSError, match="needs the model tiny"):
        found.load()


def test_save_hands_options_on():
    image = Image.fromarray(smooth(70, 70))
    image.info["dpi"] = (100, 100)
    for options, name in (({}, "photo-3"), ({"model": "photo-fast-1"}, "photo-fast-1")):
        stream = io.BytesIO()
        image.save(stream, "IGPT", device="cpu", **options)
        assert [model.name for model in codec.info(stream.getvalue()).models] == [name]
        found = Image.open(stream)
        found.load()
        assert found.info["dpi"] == pytest.approx((100, 100), abs=0.1)
        assert found.getpixel((3, 3)) == image.getpixel((3, 3))
    with pytest.raises(OSError, match="no such folder"):
        image.save(io.BytesIO(), "IGPT", model="no-such-model")


def test_bombs_are_seen_before_anything_is_decoded(monkeypatch):
    data = codec.compress(Image.fromarray(smooth(40, 40)), model=TINY, device="cpu")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))


def test_damage_is_what_pillow_says():
    data = codec.compress(with_mode("LA"), device="cpu")
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(data[:20]))
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(b"hello"))
    with pytest.raises(UnidentifiedImageError, match="truncated"):
        Image.open(io.BytesIO(data[: read_front(data).size - 1]))
    wrong = bytearray(data)
    wrong[14] ^= 1
    with pytest.raises(UnidentifiedImageError, match="damaged"):
        Image.open(io.BytesIO(bytes(wrong)))
    half = Image.open(io.BytesIO(codec.compress(Image.fromarray(smooth(20, 20)), device="cpu")[:-20]))
    with pytest.raises(OSError, match=r"truncated|damaged"):
        half.load()
    wrong = Image.open(io.BytesIO(data[:-20] + bytes(20)))
    with pytest.raises(OSError, match="damaged"):
        np.asarray(wrong)


def test_what_pillow_has_no_mode_for_is_no_image():
    picture = open_picture(io.BytesIO(deep_png(deep(9, 9, 3))), 100)
    with pytest.raises(UnidentifiedImageError, match="no mode"):
        Image.open(io.BytesIO(packed(picture)))


def test_what_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(OSError, match="CMYK"):
        Image.new("CMYK", (3, 3)).save(tmp_path / "x.igpt")
    assert not (tmp_path / "x.igpt").exists()


def test_every_beginning_of_a_file_is_one_sentence():
    data = codec.compress(with_mode("LA"), device="cpu")
    for size in range(len(MAGIC), len(data)):
        with pytest.raises(OSError, match=r"truncated|damaged"):
            Image.open(io.BytesIO(data[:size])).load()


def test_it_behaves_as_other_formats_do(tmp_path):
    path = tmp_path / "x.igpt"
    image = with_mode("RGB")
    image.save(path, device="cpu")
    with Image.open(path) as found:
        assert (found.tell(), found.get_format_mimetype()) == (0, "image/x-igpt")
        found.seek(0)
        with pytest.raises(EOFError):
            found.seek(1)
        assert found.draft("L", (3, 3)) is None
        found.load()[0, 0] = (1, 2, 3)
        assert found.fp is None
    assert found.getpixel((0, 0)) == (1, 2, 3)
    copy = pickle.loads(pickle.dumps(found))
    assert (copy.mode, copy.tobytes()) == (found.mode, found.tobytes())
    with Image.open(path) as closed:
        pass
    for image in (closed, Image.open(path)):
        image.close()
        with pytest.raises(ValueError, match="closed"):
            image.load()


def test_verify_checks_all_checksums_and_decodes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "x.igpt"
    for mode in ("RGB", "LA"):
        with_mode(mode).save(path, device="cpu")
        data = path.read_bytes()
        monkeypatch.setattr(plugin, "decompress_file", None)
        image = Image.open(path)
        image.verify()
        assert image.fp is None
        wrong = bytearray(data)
        wrong[len(data) // 2 + 10] ^= 1
        with pytest.raises(OSError, match="damaged"):
            Image.open(io.BytesIO(bytes(wrong))).verify()
        monkeypatch.undo()


def test_nothing_of_pillows_is_touched(tmp_path, monkeypatch):
    """What the host has set, it finds again at any moment."""

    class Frozen(type(Image)):
        def __setattr__(self, name, value):
            assert name == "__class__"
            super().__setattr__(name, value)

    for module in (Image, ImageFile, PngImagePlugin):
        monkeypatch.setattr(module, "__class__", Frozen)
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    with_mode("LA").save(stream, "IGPT", exif=exif)
    Image.open(stream).load()
    codec.decompress(stream.getvalue())
    from codec.pictures.outputs import written_as

    some = unpacked(stream.getvalue())
    for suffix in (".png", ".tif"):
        assert written_as(some, suffix)


def test_images_are_as_those_of_a_png():
    """All of the valid files of PngSuite that Pillow has a mode for: pixels, palette, info, text and EXIF, without and with them loaded."""
    paths = sorted((DATA / "pngsuite").glob("[!x]*.png"))
    if not paths:
        pytest.skip(f"no PngSuite in {DATA / 'pngsuite'}; set IGPT_DATA")
    same = 0
    for path in paths:
        picture = open_picture(io.BytesIO(path.read_bytes()), MAX_PIXELS)
        if picture.form.depth == 16 and picture.form.colour != GREY:
            continue
        expected = Image.open(path)
        expected.load()
        found, known = opened(picture), known_of(picture.form, picture.chunks)
        assert_same_image(found, expected)
        assert found.getexif() == expected.getexif()
        assert known.text == expected.text
        same += 1
    assert same == 142


HIDDEN = {  # files of which Pillow's image has less
    "RGB of 16 bits": deep_png(deep(5, 6, 3)),
    "RGBA of 16 bits": deep_png(deep(5, 6, 4)),
    "LA of 16 bits": deep_png(deep(5, 6, 2)),
    "PPM of 16 bits": b"P6 3 2 65535\n" + bytes(36),
    "PPM to 1000": b"P6 3 2 1000\n" + bytes(36),
    "PGM to 100": b"P5 3 2 100\n" + bytes(6),
    "plain PPM of 10 bits": b"P3 1 1 1023 5 6 7\n",
}


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("where", ["memory", "path", "file"])
def test_what_pillow_cuts_is_refused_loaded_or_not(name, loaded, where, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(HIDDEN[name])
    with path.open("rb") as stream:
        image = Image.open({"memory": io.BytesIO(HIDDEN[name]), "path": path, "file": stream}[where])
        if loaded:
            image.load()
        with pytest.raises(codec.UnsupportedImageError, match=r"image\.copy\(\)"):
            codec.compress(image)
        with pytest.raises(OSError, match=r"compress the file itself"):
            image.save(tmp_path / "x.igpt")
        assert not (tmp_path / "x.igpt").exists()
        assert codec.decompress(codec.compress(image.copy(), device="cpu"), device="cpu").tobytes() == image.tobytes()


def test_a_file_that_is_gone_cannot_vouch_for_an_image(tmp_path):
    plain = Image.fromarray(smooth(9, 9))
    plain.save(tmp_path / "x.png")
    plain.save(tmp_path / "x.ppm")
    for name in ("x.png", "x.ppm"):
        path = tmp_path / name
        kept, gone = Image.open(path), Image.open(path)
        with path.open("rb") as stream, io.BytesIO(path.read_bytes()) as memory:
            by_name, nameless = Image.open(stream), Image.open(memory)
            by_name.load()
            nameless.load()
        kept.load()
        gone.load()
        for image in (kept, *([by_name] if name == "x.png" else [])):
            assert codec.decompress(codec.compress(image, device="cpu"), device="cpu").tobytes() == plain.tobytes()
        path.unlink()
        for image in (gone, nameless):
            with pytest.raises(codec.UnsupportedImageError, match="no longer"):
                codec.compress(image)
        assert codec.decompress(codec.compress(gone.copy(), device="cpu"), device="cpu").tobytes() == plain.tobytes()


class Unseekable(io.BytesIO):
    def seek(self, *_):
        raise io.UnsupportedOperation


def test_images_without_a_file_of_their_own(tmp_path):
    """Pickled ones, as processes hand them on, and those of a pipe."""
    image = with_mode("RGB")
    image.save(tmp_path / "x.png")
    image.save(tmp_path / "x.tif")
    image.save(tmp_path / "x.igpt", device="cpu")
    for name, why in (("x.png", ""), ("x.igpt", ""), ("x.tif", "lost its tags")):
        with Image.open(tmp_path / name) as found:
            found = pickle.loads(pickle.dumps(found))
        if why:
            with pytest.raises(codec.UnsupportedImageError, match=why):
                codec.compress(found)
        else:
            assert codec.decompress(codec.compress(found, device="cpu"), device="cpu").tobytes() == image.tobytes()
    found = Image.open(Unseekable((tmp_path / "x.png").read_bytes()))
    found.load()
    with pytest.raises(codec.UnsupportedImageError, match="no longer"):
        codec.compress(found)


def test_the_file_is_left_where_it_was():
    stream = io.BytesIO(png_of(Picture(smooth(9, 9), Form(RGB, 8))))
    image = Image.open(stream)
    image.load()
    stream.seek(5)
    codec.compress(image, device="cpu")
    assert stream.tell() == 5


@pytest.mark.parametrize("depth", [2, 4])
def test_few_grey_bits_stay_few_bits_in_pillow(depth):
    samples = np.random.default_rng(0).integers(0, 1 << depth, (9, 9, 1)).astype(np.uint8)
    data = written(samples, Form(GREY, depth), ((b"tRNS", bytes([0, 2])),))
    for work in (lambda image: image, lambda image: image.load() and image):
        for source in (data, packed(open_picture(io.BytesIO(data), MAX_PIXELS))):
            found = unpacked(codec.compress(work(Image.open(io.BytesIO(source)))))
            assert (found.form, found.chunks) == (Form(GREY, depth), ((b"tRNS", bytes([0, 2])),))
            assert (found.pixels == samples).all()
    image = Image.open(io.BytesIO(data))
    image.putpixel((0, 0), 3)
    assert unpacked(codec.compress(image)).form == Form(GREY, 8)


def test_formats_that_do_not_tell_their_depth_are_refused(tmp_path):
    image = Image.fromarray(smooth(32, 32))
    image.save(tmp_path / "x.ico")
    with Image.open(tmp_path / "x.ico") as found, pytest.raises(codec.UnsupportedImageError, match="ICO"):
        codec.compress(found)


@pytest.mark.parametrize("mode", ["1", "I;16", "P", "RGB"])
def test_tiffs_are_told_by_their_tags(mode, tmp_path):
    image = Image.fromarray(deep(20, 30, 1)[..., 0]) if mode == "I;16" else with_mode(mode)
    image.save(tmp_path / "x.tif")
    found = Image.open(tmp_path / "x.tif")
    found.load()
    assert codec.decompress(codec.compress(found, device="cpu"), device="cpu").tobytes() == image.tobytes()


def test_palettes_of_16_bits_are_refused(tmp_path):
    with_mode("P").save(tmp_path / "x.tif")
    for table, kept in ((np.arange(256) * 257, True), (np.arange(256) * 256, True), (np.arange(256) * 200, False), (np.arange(256), False)):
        data = (tmp_path / "x.tif").read_bytes()
        image = Image.open(io.BytesIO(data))
        image.tag_v2[320] = tuple(np.tile(table, 3).tolist())
        if kept:
            codec.compress(image)
        else:
            with pytest.raises(codec.UnsupportedImageError, match="palette"):
                codec.compress(image)


def test_pages_that_can_no_longer_be_counted_are_refused(tmp_path):
    frames = [Image.new("L", (3, 3), n) for n in range(3)]
    for name in ("x.tif", "x.gif", "x.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with Image.open(tmp_path / name) as image:
            image.seek(1)
            with pytest.raises(codec.UnsupportedImageError, match="3 pages"):
                codec.compress(image)
        with Image.open(tmp_path / name) as image:
            image.load()
        with pytest.raises(codec.UnsupportedImageError, match="pages"):
            codec.compress(image)


@pytest.mark.parametrize(
    ("info", "chunks"),
    [
        ({"aspect": (2, 1)}, ((b"pHYs", b"\0\0\0\2\0\0\0\1\0"),)),
        ({"resolution": (2.0, 1)}, ((b"pHYs", b"\0\0\0\2\0\0\0\1\0"),)),
        ({"jfif_unit": 0, "jfif_density": (2, 1)}, ((b"pHYs", b"\0\0\0\2\0\0\0\1\0"),)),
        ({"jfif_unit": 0, "jfif_density": (1, 1)}, ()),
        ({"dpi": (0, 0)}, ()),
        ({"srgb": 1}, ((b"sRGB", b"\1"),)),
        ({"chromaticity": (0.1,) * 8}, ((b"cHRM", (10000).to_bytes(4, "big") * 8),)),
        ({"xmp": b"<x/>", "XML:com.adobe.xmp": "<x/>"}, ((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"),)),
        ({"transparency": (1, 2, 3)}, ((b"tRNS", b"\0\1\0\2\0\3"),)),
    ],
)
def test_what_pillow_knows_is_stored(info, chunks, caplog):
    image = Image.fromarray(smooth(9, 9))
    image.info = info
    assert unpacked(codec.compress(image, device="cpu")).chunks == chunks
    assert not caplog.messages


@pytest.mark.parametrize(("mode", "value"), [("RGB", 5), ("RGB", (1, 2)), ("L", 1 << 20), ("L", b"x"), ("P", (1, 2, 3.5))])
def test_transparency_that_makes_no_sense_is_refused(mode, value):
    image = with_mode(mode)
    image.info["transparency"] = value
    with pytest.raises(codec.UnsupportedImageError, match="transparency"):
        codec.compress(image, device="cpu")


def test_the_transparent_bit_of_a_bitmap():
    image = with_mode("1")
    image.info["transparency"] = 255
    found = unpacked(codec.compress(image))
    assert found.chunks == ((b"tRNS", b"\0\1"),)
    assert opened(found).info == {"transparency": 255}


@pytest.mark.parametrize("payload", [b"\0" * 4, bytes(120), b"\xff" * 120])
def test_large_promises_end_soon(payload):
    """A quarter of a million pixels in a group, and hardly any code."""
    name = ModelName(models.load(None, "rgb", "cpu").digest)
    coding = Coding(Network.number, 0, Fields(Shape(16, 16), [name]).to_bytes())
    image = Image.open(io.BytesIO(claiming(512, 512, Form(RGB, 8), coding, [payload])))
    assert image.size == (512, 512)
    start = time.process_time()
    with pytest.raises(OSError, match="damaged"):
        image.load()
    assert time.process_time() - start < 2


def test_several_images_are_refused(tmp_path):
    image = Image.fromarray(smooth(9, 9))
    image.save(tmp_path / "x.igpt", save_all=True, device="cpu")
    for options in ({"save_all": True}, {}):
        with pytest.raises(OSError, match="one image"):
            image.save(tmp_path / "y.igpt", append_images=[image], **options)
    assert not (tmp_path / "y.igpt").exists()


@pytest.mark.parametrize("array", [*((deep(20, 30, n) >> 8).astype(np.uint8).squeeze() for n in (1, 2, 3, 4)), deep(20, 30, 1)[..., 0]])
def test_imageio_reads_and_writes(array, tmp_path):
    """By its plugin for Pillow, which asks for no more than `register_igpt_opener`."""
    iio = pytest.importorskip("imageio.v3", reason="imageio is not installed")
    iio.imwrite(tmp_path / "x.igpt", array)
    data = iio.imwrite("<bytes>", array, extension=".igpt", plugin="pillow")
    assert data == (tmp_path / "x.igpt").read_bytes()
    for source in (tmp_path / "x.igpt", data):
        found = iio.imread(source)
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)
    assert iio.improps(tmp_path / "x.igpt").shape == array.shape


@pytest.mark.parametrize("array", [deep(5, 6, 3), smooth(5, 6) / 255, smooth(5, 6).astype(np.int32)[..., 0], np.stack([smooth(5, 6)] * 3)])
def test_imageio_refuses_what_it_would_not_keep(array):
    iio = pytest.importorskip("imageio.v3", reason="imageio is not installed")
    with pytest.raises((OSError, TypeError)):
        iio.imwrite("<bytes>", array, extension=".igpt", plugin="pillow")


def test_imageio_does_not_read_what_pillow_has_no_mode_for():
    iio = pytest.importorskip("imageio.v3", reason="imageio is not installed")
    with pytest.raises(OSError, match="pillow"):
        iio.imread(codec.compress(deep(5, 6, 3)), plugin="pillow")
