"""JPEG files come back byte for byte, whatever is in them, and never much larger."""

import io
import json
import random
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps
from typer.testing import CliRunner

import cli
import codec
from bitstream.constants import MAX_KEPT_BYTES
from bitstream.container import SIZE, read, written
from bitstream.errors import DamagedError, TooLargeError, UnsupportedImageError
from bitstream.form import KEPT, Form
from bitstream.reader import varint
from codec.jpeg import rest
from codec.jpeg.file import pictures_in
from codec.jpeg.picture import Patch, taken_apart
from codec.pictures import reading
from tests.conftest import DATA, remade, smooth
from tests.picture_files import saved, with_mode

SPARE = 64  # bytes that a file may become larger


def photo(height=40, width=52, seed=0):
    return Image.fromarray(smooth(height, width, seed))


def assert_comes_back(data, **options):
    packed = codec.compress(data, device="cpu", **options)
    assert codec.jpeg_file(packed, device="cpu") == data
    assert len(packed) <= len(data) + SPARE
    return packed


def with_thumbnail(image, **options):
    """A JPEG with EXIF, in which a smaller one is."""
    small = saved(image.resize((32, 24)), "JPEG", quality=80)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x0112, 3, 1, 6, 26) + small
    return saved(image, "JPEG", exif=exif, **options)


VARIANTS = {
    "4:2:0": {"subsampling": "4:2:0"},
    "4:2:2": {"subsampling": "4:2:2"},
    "4:4:4": {"subsampling": "4:4:4", "quality": 95},
    "progressive": {"progressive": True},
    "optimised": {"optimize": True},
    "restarts": {"restart_marker_blocks": 3},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 1},
    "best": {"quality": 100, "subsampling": "4:4:4"},
    "worst": {"quality": 1},
}


@pytest.mark.parametrize("size", [(40, 52), (1, 1), (17, 8), (64, 9)])
@pytest.mark.parametrize("name", VARIANTS)
def test_ordinary_files(name, size):
    data = saved(photo(*size), "JPEG", **VARIANTS[name])
    packed = assert_comes_back(data)
    assert codec.compress(data, device="cpu") == packed
    assert len(packed) < len(data)
    taken = taken_apart(data, 0)
    assert not taken or all(patch == Patch() for patch in taken.patches)
    assert taken or name == "worst" or min(size) < 9


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_channels(mode):
    assert_comes_back(saved(photo().convert(mode), "JPEG"))


def test_a_path_gives_the_same_as_bytes(tmp_path):
    data = saved(photo(), "JPEG")
    (tmp_path / "x.jpg").write_bytes(data)
    assert codec.compress(tmp_path / "x.jpg", device="cpu") == assert_comes_back(data)
    assert codec.compress_many([data, tmp_path / "x.jpg"], device="cpu") == [assert_comes_back(data)] * 2


def test_thumbnails_and_pictures_behind_are_taken_apart_too():
    image = photo(80, 96)
    single, doubled = with_thumbnail(image), saved(image, "MPO", save_all=True, append_images=[photo(48, 64, 1)])
    for data, count in ((single, 2), (doubled, 2), (single + single, 4), (single + b"\xff\xd8" + bytes(99) + single, 4)):
        assert len(pictures_in(data)[0]) == count
        assert len(assert_comes_back(data)) < 0.95 * len(data)


@pytest.mark.parametrize("name", ["4:2:0", "progressive", "restarts"])
def test_cut_off_anywhere(name):
    data = saved(photo(), "JPEG", **VARIANTS[name])
    for size in (*range(3, 40, 7), *range(600, len(data), 97), len(data) - 1, len(data) - 2):
        assert_comes_back(data[:size])


def test_a_long_file_that_is_cut_off_keeps_what_it_saves():
    data = saved(photo(200, 200), "JPEG", quality=95)
    whole, cut = (len(codec.compress(part, device="cpu")) / len(part) for part in (data, data[: len(data) * 3 // 4]))
    assert cut < whole + 0.03


@pytest.mark.parametrize("name", ["4:2:0", "progressive", "restarts"])
def test_damaged_anywhere(name):
    rng, data = random.Random(name), saved(photo(), "JPEG", **VARIANTS[name])
    for _ in range(40):
        wrong = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            wrong[rng.randrange(3, len(wrong))] = rng.choice((0, 255, rng.randrange(256)))
        assert_comes_back(bytes(wrong))


def test_padding_with_zeros_and_fill_bytes_and_junk():
    data = saved(photo(), "JPEG")
    filled = data[:-2] + b"\xff\xff\xff\xd9" + b"a gain map" * 9
    head = data.index(b"\xff\xdb")
    for odd in (filled, data[:head] + b"junk" + data[head:], data + b"\xff" * 50, data + bytes(5000)):
        assert_comes_back(odd)
    state = bytearray(data)
    if state[-3] & 1:  # the last byte's bits behind the code are ones
        state[-3] &= 0xFE
        assert_comes_back(bytes(state))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xda\0\x08\1\1\0\0\x3f\0",
        b"\xff\xd8\xff" + random.Random(0).randbytes(5000),
        b"\xff\xd8\xff" * 3000,
        b"\xff\xd8" + b"\xff\xc4\0\x02" * 9000,
        b"\xff\xd8" + b"\xff\xe1\xff\xff" + bytes(70000),
    ],
    ids=["nothing", "empty", "no frame", "noise", "beginnings", "tables", "zeros"],
)
def test_what_only_begins_as_a_jpeg(data):
    packed = assert_comes_back(data)
    assert codec.info(packed).coding in ("stored", "JPEG file; comes back byte for byte")
    with pytest.raises((UnsupportedImageError, TooLargeError)):
        codec.decompress(packed)


def test_sizes_that_lie_cost_nothing():
    data = bytearray(saved(photo(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    packed = assert_comes_back(bytes(data))
    assert (codec.info(packed).width, codec.info(packed).height) == (65535, 65535)
    with pytest.raises(TooLargeError):
        codec.decompress(packed)
    with pytest.raises(TooLargeError):
        codec.compress(bytes(data), max_pixels=1000)
    with pytest.raises(TooLargeError):
        codec.jpeg_file(packed, max_pixels=1000)


def test_a_progressive_bomb_is_kept_as_it_is():
    """Thousands of scans, each of which goes through all blocks."""
    data = saved(Image.new("L", (2000, 2000)), "JPEG", progressive=True)
    scan = data.rindex(b"\xff\xda")
    assert_comes_back(data[:scan] + data[scan:-2] * 3000 + data[-2:])


def test_large_files_are_refused(monkeypatch):
    monkeypatch.setattr(reading, "MAX_KEPT_BYTES", 100)
    with pytest.raises(TooLargeError, match="100 for a JPEG"):
        codec.compress(saved(photo(), "JPEG"))


# The rest


@pytest.mark.parametrize("raw", [b"", b"a", b"ab" * 3000, random.Random(1).randbytes(3000), bytes(1 << 21), rest.DICTIONARY])
def test_other_bytes_come_back(raw):
    packed = rest.pack(raw)
    assert rest.unpack(packed, len(raw)) == raw
    assert len(packed) <= len(raw) + 1
    for wrong in (packed + b"x", b"\3" + packed[1:], b""):
        with pytest.raises(DamagedError):
            rest.unpack(wrong, len(raw))


def test_an_ordinary_header_takes_few_bytes():
    data = saved(photo(), "JPEG", quality=83)
    assert len(rest.pack(taken_apart(data, 0).rest)) < 100


def test_much_beside_the_picture_has_a_chunk_of_its_own():
    data = saved(photo(), "JPEG")
    packed = assert_comes_back(data + random.Random(2).randbytes(2 << 20))
    assert codec.info(packed).chunks == 2
    assert codec.info(packed).front_bytes < 2 << 20


# What is shown of a file


def test_pixels_are_those_that_pillow_decodes():
    data = saved(photo(), "JPEG")
    packed = codec.compress(data, device="cpu")
    with Image.open(io.BytesIO(data)) as image:
        assert (np.asarray(codec.decompress(packed)) == np.asarray(image)).all()
        assert (codec.decode(packed) == np.asarray(image)).all()
    cmyk = codec.compress(saved(photo().convert("CMYK"), "JPEG"), device="cpu")
    assert codec.decompress(cmyk).mode == "CMYK"
    assert codec.decode(cmyk).shape == (40, 52, 4)


def test_pixels_on_request():
    data = saved(photo(), "JPEG", quality=70)
    packed = codec.compress(data, pixels=True, device="cpu")
    with pytest.raises(UnsupportedImageError, match="pixels"):
        codec.jpeg_file(packed)
    with Image.open(io.BytesIO(data)) as image:
        assert (np.asarray(codec.decompress(packed)) == np.asarray(image)).all()
        from_image = codec.compress(image, device="cpu")
    with pytest.raises(UnsupportedImageError, match="pixels"):
        codec.jpeg_file(from_image)


def test_info():
    for options, words in (
        ({"quality": 90, "subsampling": "4:2:0"}, "quality about 90, 4:2:0"),
        ({"quality": 35, "subsampling": "4:4:4", "progressive": True}, "quality about 35, 4:4:4, progressive"),
    ):
        for data in (saved(photo(), "JPEG", **options), with_thumbnail(photo(), **options)):
            found = codec.info(codec.compress(data, device="cpu"))
            assert found.coding == f"JPEG file, {words}; comes back byte for byte"
            assert (found.width, found.height, found.mode, found.channels) == (52, 40, "", 1)


def test_pillow_opens_them(tmp_path):
    codec.register_igpt_opener()
    for data in (
        with_thumbnail(photo(), icc_profile=b"a profile" * 20, dpi=(72, 72)),
        saved(photo().convert("CMYK"), "JPEG"),
        saved(photo().convert("L"), "JPEG", progressive=True),
        saved(photo(80, 96), "MPO", save_all=True, append_images=[photo(48, 64, 1)]),
    ):
        (tmp_path / "x.igpt").write_bytes(codec.compress(data, device="cpu"))
        with Image.open(tmp_path / "x.igpt") as ours:
            ours.verify()
        with Image.open(io.BytesIO(data)) as theirs, Image.open(tmp_path / "x.igpt") as ours:
            assert (ours.format, ours.mode, ours.size) == ("IGPT", theirs.mode, theirs.size)
            for name in ("exif", "icc_profile", "dpi", "jfif"):
                assert ours.info.get(name) == theirs.info.get(name)
            assert ours.getexif().get(0x0112) == theirs.getexif().get(0x0112)
            assert (np.asarray(ImageOps.exif_transpose(ours)) == np.asarray(ImageOps.exif_transpose(theirs))).all()


def test_pillow_refuses_what_it_cannot_show():
    codec.register_igpt_opener()
    with pytest.raises(Image.UnidentifiedImageError, match="damaged"):
        Image.open(io.BytesIO(codec.compress(b"\xff\xd8\xff" + bytes(99))))


# The command


def igpt(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_the_command_gives_the_file_back(tmp_path):
    data, source = with_thumbnail(photo()), tmp_path / "x.JPG"
    source.write_bytes(data)
    result = igpt("compress", source, "--delete-input")
    assert (result.exit_code, source.exists()) == (0, False)
    assert "of the input file, byte for byte" in result.stderr
    assert "byte for byte" in igpt("info", tmp_path / "x.igpt").stdout
    assert igpt("verify", tmp_path / "x.igpt").stderr == f"{tmp_path / 'x.igpt'}: ok, a JPEG file of {len(data):,} bytes\n"
    assert igpt("decompress", tmp_path / "x.igpt").exit_code == 0
    assert (tmp_path / "x.jpg").read_bytes() == data
    result = igpt("decompress", tmp_path / "x.igpt", tmp_path / "x.png")
    assert "not written: the JPEG itself: these are its decoded pixels" in result.stderr
    with Image.open(tmp_path / "x.png") as found, Image.open(io.BytesIO(data)) as image:
        assert (np.asarray(found) == np.asarray(image)).all()
        assert found.getexif()[0x0112] == 6


def test_pixels_only(tmp_path):
    (tmp_path / "x.jpg").write_bytes(saved(photo(), "JPEG"))
    for option in ("--pixels", "--strip"):
        result = igpt("compress", "-f", tmp_path / "x.jpg", option)
        assert "not stored: the JPEG itself" in result.stderr
        assert igpt("decompress", "-f", tmp_path / "x.igpt").exit_code == 0
        assert (tmp_path / "x.png").exists()
    result = igpt("compress", "-f", "--pixels", "--delete-input", tmp_path / "x.jpg")
    assert (result.exit_code, (tmp_path / "x.jpg").exists()) == (1, True)
    result = igpt("decompress", "-f", tmp_path / "x.igpt", tmp_path / "y.jpg")
    assert (result.exit_code, (tmp_path / "y.jpg").exists()) == (1, False)


def test_a_jpeg_that_cannot_be_decoded_comes_back_as_it_is(tmp_path):
    (tmp_path / "x.jpg").write_bytes(saved(photo().convert("CMYK"), "JPEG"))
    assert igpt("compress", tmp_path / "x.jpg").exit_code == 0
    result = igpt("decompress", tmp_path / "x.igpt", tmp_path / "x.png")
    assert (result.exit_code, (tmp_path / "x.png").exists()) == (1, False)
    assert "CMYK" in result.stderr
    assert result.stderr.endswith("as .jpg\n")
    assert igpt("decompress", tmp_path / "x.igpt", tmp_path / "y.jpg").exit_code == 0
    assert (tmp_path / "y.jpg").read_bytes() == (tmp_path / "x.jpg").read_bytes()


def test_a_library_of_everything(tmp_path):
    library, packed, back = tmp_path / "library", tmp_path / "packed", tmp_path / "back"
    (library / "more").mkdir(parents=True)
    files = {
        "a.jpg": saved(photo(), "JPEG"),
        "more/b.jpeg": with_thumbnail(photo(30, 30), progressive=True),
        "more/c.png": saved(with_mode("RGBA"), "PNG"),
        "d.jpg": b"\xff\xd8\xffcut off",
    }
    for name, data in files.items():
        (library / name).write_bytes(data)
    result = igpt("compress", "-r", library, "--out-dir", packed, "--json")
    assert result.exit_code == 0
    assert {line["bpsp"] is None for line in map(json.loads, result.stdout.splitlines())} == {True, False}
    assert "4 of 4 files" in result.stderr
    result = igpt("decompress", "-r", packed, "--out-dir", back)
    assert result.exit_code == 0
    names = {"a.jpg": "a.jpg", "more/b.jpeg": "more/b.jpg", "d.jpg": "d.jpg"}
    assert all((back / name).read_bytes() == files[source] for source, name in names.items())
    assert (back / "more" / "c.png").exists()


def test_a_pipe(tmp_path):
    data = saved(photo(), "JPEG")
    packed = CliRunner().invoke(cli.app, ["compress", "-", "-"], input=data).stdout_bytes
    assert CliRunner().invoke(cli.app, ["decompress", "-", "-"], input=packed).stdout_bytes == data


# What is wrong


def test_numbers_of_bytes_that_are_wrong():
    data = saved(photo(), "JPEG")
    packed = codec.compress(data, device="cpu")
    for body in (b"", b"\0", varint(len(data) - 1), varint(len(data) + 1), varint(MAX_KEPT_BYTES + 1), varint(len(data)) + b"\0"):
        with pytest.raises(DamagedError):
            codec.jpeg_file(remade(packed, boxes={SIZE: body}))
    front, chunks = read(packed)
    with pytest.raises(DamagedError, match="missing"):
        codec.jpeg_file(written(front.head, {}, front.codings, chunks))
    with pytest.raises(DamagedError, match="no place"):
        codec.decode(remade(codec.compress(smooth(9, 9)), boxes={SIZE: b"\5"}))


def test_pictures_are_not_coded_as_files_nor_files_as_pictures():
    kept, pixels = codec.compress(saved(photo(), "JPEG"), device="cpu"), codec.compress(smooth(9, 9), device="cpu")
    with pytest.raises(DamagedError, match="not coded so"):
        codec.info(remade(pixels, codings=[*read(kept).front.codings]))
    with pytest.raises(DamagedError, match="not coded so"):
        codec.info(remade(kept, codings=[*read(pixels).front.codings]))
    assert read(kept).head.form == Form(KEPT, 8)


# Real files

ODD = sorted((DATA / "jpeg_odd").glob("*.jpg"))
CAMERAS = sorted((DATA / "jpeg_t*").parent.glob("jpeg_t*/*.jpg"))


@pytest.mark.skipif(not ODD, reason="jpeg_odd is not there (IGPT_DATA)")
def test_odd_files():
    """Of public test suites."""
    for path in ODD:
        assert_comes_back(path.read_bytes())


@pytest.mark.slow
@pytest.mark.skipif(not CAMERAS, reason="jpeg_test and jpeg_train are not there (IGPT_DATA)")
def test_camera_files():
    for path in CAMERAS:
        data = path.read_bytes()
        assert len(assert_comes_back(data, verify=True)) < 0.9 * len(data)
