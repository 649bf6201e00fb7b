"""What may be handed over as a picture: images, arrays, paths."""

import numpy as np
import pytest
from PIL import Image

from bitstream.errors import TooLargeError, UnsupportedImageError
from bitstream.form import GREY, GREY_ALPHA, RGB, RGB_ALPHA, Form
from codec.pictures.sources import picture_from, picture_of_array
from tests.conftest import picture


@pytest.mark.parametrize("dtype", ["uint8", "<u2", ">u2"])
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1), (3, 5, 2), (3, 5, 3), (3, 5, 4)])
def test_arrays_are_samples(shape, dtype):
    colour = {1: GREY, 2: GREY_ALPHA, 3: RGB, 4: RGB_ALPHA}[shape[2] if len(shape) == 3 else 1]
    array = (np.arange(np.prod(shape)) * 513 % 65521).astype(dtype).reshape(shape)
    for samples in (array, array[::-1], np.asfortranarray(array)):
        found = picture_from(samples)
        assert found.form == Form(colour, 8 * array.itemsize)
        assert found.pixels.dtype == np.dtype(f"u{array.itemsize}")
        assert found.pixels.shape == (3, 5, found.form.channels)
        assert (found.pixels.reshape(shape) == samples).all()
        assert (found.chunks, found.left_out) == ((), ())


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "uint32", "uint64", "float32", "complex64", "object", "U1", "datetime64[s]"])
def test_other_samples_are_a_type_error(dtype):
    with pytest.raises(TypeError, match="uint8 or uint16") as caught:
        picture_of_array(np.zeros((3, 5), dtype))
    assert ("astype" in str(caught.value)) == (dtype == "bool")


MASKED = np.ma.masked_array([[1]], dtype="u1")


@pytest.mark.parametrize("source", [None, 7, [[0, 1], [2, 3]], np.uint8(3), memoryview(bytes(9)), MASKED])
def test_other_types_are_a_type_error(source):
    with pytest.raises(TypeError, match="picture"):
        picture_from(source)


@pytest.mark.parametrize("shape", [(), (5,), (3, 5, 5), (3, 5, 1, 1), (0, 5), (5, 0), (5, 5, 0), (0, 0, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(UnsupportedImageError, match=r"\(height, width\)"):
        picture_of_array(np.zeros(shape, np.uint8))


def test_images_and_paths(tmp_path, caplog):
    pixels = picture(21, 13, 3)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "x.png", dpi=(72, 72))
    for source in (image, tmp_path / "x.png", str(tmp_path / "x.png"), (tmp_path / "x.png").read_bytes()):
        assert (picture_from(source).pixels == pixels).all()
    assert picture_from(tmp_path / "x.png").chunks[0][0] == b"pHYs"
    assert caplog.records == []
    image.save(tmp_path / "x.jpg", comment="hello")
    kept = picture_from(tmp_path / "x.jpg")
    assert (kept.file, kept.left_out, kept.size) == ((tmp_path / "x.jpg").read_bytes(), (), (13, 21))
    assert caplog.records == []
    assert picture_from(str(tmp_path / "x.jpg"), pixels=True).left_out
    assert "the JPEG's comment" in caplog.text
    with pytest.raises(FileNotFoundError):
        picture_from(tmp_path / "none.png")


def test_what_pillow_tells_of_a_gif_is_named_as_its_reader_names_it(tmp_path, caplog):
    image = Image.fromarray(picture(9, 9, 1)[..., 0]).convert("P")
    image.putpalette(picture(1, 256, 3).tobytes())
    for k, (options, named) in enumerate([
        ({}, ()),
        ({"duration": 50}, ("the GIF's delay",)),
        ({"background": 3}, ("the GIF's background colour 3",)),
        ({"loop": 0}, ("the GIF application extension 'NETSCAPE2.0'",)),
    ]):  # fmt: skip
        image.save(tmp_path / f"{k}.gif", **options)
        with Image.open(tmp_path / f"{k}.gif") as opened:
            found = [picture_from(each).left_out for each in (opened, opened.copy(), tmp_path / f"{k}.gif")]
        assert found == [named] * 3
        assert bool(caplog.records) == bool(named)
    caplog.clear()
    image.convert("RGB").save(tmp_path / "x.webp", lossless=True)
    with Image.open(tmp_path / "x.webp") as opened:
        assert picture_from(opened).left_out == ()


def test_limits(tmp_path):
    pixels = picture(21, 13, 1)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "x.png")
    for source in (pixels, Image.fromarray(pixels[..., 0]), tmp_path / "x.png"):
        assert picture_from(source, 273).pixels.shape == pixels.shape
        with pytest.raises(TooLargeError, match="13x21"):
            picture_from(source, 272)
    with pytest.raises(TooLargeError, match="no side"):
        picture_from(np.zeros((1, (1 << 24) + 1), np.uint8))
