"""What the tests of pictures share: files, their pixels, and mutated ones."""

import io
import random
import struct
import time

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from bitstream.errors import UnsupportedImageError
from bitstream.form import GREY, GREY_ALPHA, RGB, RGB_ALPHA, Form
from codec.pictures.png_chunks import chunk as png_chunk
from codec.pictures.png_writing import written
from tests.conftest import picture, smooth
from tests.mutations import mutated

MOST_PIXELS = 1 << 18


def saved(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def deep(height, width, channels, seed=0):
    """16-bit samples: slow waves and noise of some bits."""
    fine = np.random.default_rng(seed).integers(0, 300, (height, width, channels))
    return (smooth(height, width, seed).astype(np.int64)[..., [0, 1, 2, 0]][..., :channels] * 250 + fine).astype(np.uint16)


def calm(height, width, seed=0):
    """Such that even the tiny network makes it smaller, (height, width, 3) uint8, if it has a thousand pixels or more."""
    return smooth(height, width, seed) // 8 + 100


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
    """An image of one of Pillow's modes."""
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


def everything():
    """A PNG with all kinds of chunks, before and behind its pixels."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "what it shows")
    text.add_text("Author", "someone", zip=True)
    text.add_itxt("Comment", "ein Bild \u2014 \u753b", "de", "Kommentar")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "description"
    options = {"pnginfo": text, "icc_profile": profile, "exif": exif, "dpi": (300, 200), "transparency": (1, 2, 3)}
    png = saved(Image.fromarray(smooth(20, 30)), "PNG", **options)
    at = png.index(b"IDAT") - 4
    before = png_chunk(b"sBIT", b"\5\6\5") + png_chunk(b"bKGD", struct.pack(">3H", 1, 2, 3)) + png_chunk(b"prVt", b"somebody's own")
    behind = png_chunk(b"tIME", struct.pack(">H5B", 2026, 11, 20, 1, 2, 3)) + png_chunk(b"zzZz", bytes(1000))
    return png[:at] + before + png[at:-12] + behind + png[-12:]


def deep_png(samples, chunks=()):
    return written(samples, Form({1: GREY, 2: GREY_ALPHA, 3: RGB, 4: RGB_ALPHA}[samples.shape[2]], 16), chunks)


def sums(pixels):
    """Weighted sums of colours, as luma is: (height, width, 1) uint16, whose residuals recur."""
    return (pixels @ np.array([55, 183, 19]))[..., None].astype(np.uint16)


def pillows(data, plugin):
    """(height, width, channels) of what Pillow's class for a format makes of a file."""
    with plugin(io.BytesIO(data)) as image:
        image.load()
        pixels = np.array(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def samples(parsed, plugin):
    return parsed.decoded().samples if parsed.decoded else pillows(parsed.plain, plugin)


def chunk(parsed, name):
    """The body of the only chunk of this name, or None."""
    found = [body for each, body in parsed.chunks if each == name]
    assert len(found) < 2
    return found[0] if found else None


def assert_refused(parse, data, reason):
    """By parsing it or by decoding it, in a sentence that says so."""
    with pytest.raises(UnsupportedImageError, match=reason) as caught:
        parse(data).decoded()
    assert "\n" not in str(caught.value)


def assert_only_refused(parse, seeds, cases):
    """Mutated files are accepted or refused, soon."""
    rng, accepted = random.Random(7), 0
    for _ in range(cases):
        data = rng.choice(seeds)
        for _ in range(rng.randint(1, 3)):
            data = mutated(data, rng, rng.choice(seeds))
        before = time.process_time()
        try:
            parsed = parse(data)
            width, height = parsed.size
            if parsed.decoded and width * height <= MOST_PIXELS:
                assert parsed.decoded().samples.shape[:2] == (height, width)
            accepted += 1
        except UnsupportedImageError as error:
            assert "\n" not in str(error)  # noqa: PT017
        assert time.process_time() - before < 1
    assert 0 < accepted < cases
