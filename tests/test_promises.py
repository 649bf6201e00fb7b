"""Files of some hundred bytes whose heads promise millions of pixels end at once, whatever the method."""

import io
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import codec
from bitstream import palette
from bitstream.container import PALETTE, Coding, read
from bitstream.errors import DamagedError, TooLargeError
from bitstream.form import GREY, RGB, RGB_ALPHA, Form
from bitstream.form import PALETTE as PALETTE_COLOUR
from codec import models
from codec.compression import compress_picture
from codec.decompression import decompress_file
from codec.inside.antecedent import Layout
from codec.jpeg import coefficients
from codec.methods import METHODS, method_of
from codec.methods.inside import Fields as InsideFields
from codec.methods.method import ModelName, Part
from codec.methods.network import Fields as NetworkFields
from codec.methods.palette import Fields as PaletteFields
from codec.methods.past import Fields as PastFields
from codec.options import Options
from codec.pasts.chroma import FILTERS, Sampling
from codec.pasts.colour import FORMULAS
from codec.pictures.picture import Picture
from codec.pictures.reading import MAX_PIXELS
from codec.tiling.tiles import Shape
from tests.conftest import TINY, TINY_DCT, TINY_PALETTE, TINY_YCC
from tests.forged import claiming
from tests.mutations import joined

MOST_CHUNKS = 1000  # that a test looks at
SECONDS = 3.0  # of computing, when everything is compiled
CPU = Options(device="cpu")
PLAIN, DEEP = Form(RGB, 8), Form(RGB, 16)


def named(folder) -> ModelName:
    return ModelName(models.digest_of(folder))


def past_fields(code: int, outliers: bool = False, formula: int = 0) -> bytes:
    return PastFields(FORMULAS[formula], Sampling(FILTERS[code]), outliers, Shape(16, 16), [named(TINY_YCC)]).to_bytes()


CODINGS = {  # by name: the form, the coding, and the largest size that a file of 1000 bytes can claim, at most
    "stored": (Form(GREY, 1), lambda: Coding(0)),
    "mixing": (PLAIN, lambda: Coding(1)),
    "mixing of alpha": (Form(RGB_ALPHA, 8), lambda: Coding(1)),
    "mixing of bits": (Form(GREY, 1), lambda: Coding(1)),
    "mixing of indices": (Form(PALETTE_COLOUR, 8), lambda: Coding(1)),
    "blended": (DEEP, lambda: Coding(2)),
    "exact": (Form(RGB_ALPHA, 16), lambda: Coding(2, 1)),
    "network": (PLAIN, lambda: Coding(3, 0, NetworkFields(Shape(16, 16), [named(TINY)]).to_bytes())),
    "network of grey": (Form(GREY, 8), lambda: Coding(3, 0, NetworkFields(Shape(256, 1), [named(TINY)]).to_bytes())),
    "network of a tile": (PLAIN, lambda: Coding(3, 0, NetworkFields(Shape(1, 1), [named(TINY)]).to_bytes())),
    "past": (PLAIN, lambda: Coding(4, 0, past_fields(1))),
    "past in full": (PLAIN, lambda: Coding(4, 0, past_fields(0, outliers=True))),
    "PhotoCD": (PLAIN, lambda: Coding(4, 0, past_fields(7, formula=1))),
    "tokens": (PLAIN, lambda: Coding(5, 0, PaletteFields(Shape(8, 8), named(TINY_PALETTE), None).to_bytes())),
    "refined tokens": (PLAIN, lambda: Coding(5, 0, PaletteFields(Shape(8, 8), named(TINY_PALETTE), named(TINY)).to_bytes())),
}
SIZES = {"wide": (1 << 20, 150), "square": (12_000, 12_000), "high": (10, 1 << 24), "of one group": (512, 512)}


def test_every_method_is_here():
    """But those of JPEGs, which say more than their sizes."""
    assert {coding().method for _, coding in CODINGS.values()} == {method.number for method in METHODS} - {6, 7}
    assert all(width * height <= MAX_PIXELS for width, height in SIZES.values())


@pytest.mark.parametrize("model", [TINY_DCT, None])
@pytest.mark.parametrize("size", [(12_000, 12_000), (65_535, 2_000), (65_535, 1), (9, 65_535), (65_536, 1), (1 << 20, 100)])
def test_blocks_are_paid_for(size, model):
    layout, steps = Layout(1, 1, Sampling(FILTERS[0]), 0, 0), [np.ones(64, np.int64)] * 3
    coding = Coding(7, int(model is None), InsideFields(layout, steps, False, model and named(model)).to_bytes())
    bands = coefficients.bands([(-(-size[1] // 8), -(-size[0] // 8))] * 3, model is None)
    tracemalloc.start()
    start = time.process_time()
    for payloads in ([b""] * bands, [b"\0"] * (bands - 1), [b"\0"] * (bands - 1) + [b""]):
        with pytest.raises(DamagedError):
            codec.decode(claiming(*size, PLAIN, coding, payloads or [b""]), device="cpu")
    assert time.process_time() - start < SECONDS
    assert tracemalloc.get_traced_memory()[1] < 1 << 26
    tracemalloc.stop()


def least(name: str, width: int, height: int) -> tuple[Form, Coding, list[int]]:
    """The form, the coding, and the fewest bytes of each chunk."""
    form, coding = CODINGS[name]
    part = Part(width, height, form.channels, form.depth, coding())
    return form, part.coding, [*method_of(part.coding).least_bytes(part)]


def promise(name: str, size: tuple[int, int], chunks) -> bytes:
    form, coding = CODINGS[name]
    boxes = {PALETTE: palette.pack(bytes(range(30)))} if form.colour == PALETTE_COLOUR else {}
    return claiming(*size, form, coding(), chunks, boxes)


@pytest.fixture
def no_decoder(monkeypatch):
    """Nothing is decoded."""
    for method in METHODS:
        monkeypatch.setattr(method, "decoding", None)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CODINGS)
def test_a_chunk_that_is_too_small_for_its_pixels_is_refused_first(name, size, only_tiny_models, no_decoder):
    """By a byte, or by all that it has; before anything is allocated."""
    width, height = SIZES[size]
    sizes = least(name, width, height)[2][:MOST_CHUNKS]
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    tracemalloc.start()
    start = time.process_time()
    try:
        for wrong in {0, *([sizes[largest] - 1] if sum(sizes) < 1 << 20 else [])}:
            chunks = [bytes(wrong if k == largest else min(count, 1 << 16)) for k, count in enumerate(sizes)]
            with pytest.raises(DamagedError, match="too few for its pixels"):
                decompress_file(read(promise(name, (width, height), chunks)), CPU)
        if len(sizes) > 1:
            with pytest.raises(DamagedError, match="1 chunks, which are too few"):
                decompress_file(read(promise(name, (width, height), [bytes(sizes[0])])), CPU)
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < SECONDS


def test_what_must_be_there_grows_with_the_pixels():
    """Of millions of pixels at least some bytes, of each method; of those that are stored, all."""
    for name, (form, _) in CODINGS.items():
        few, many = (sum(least(name, side, side)[2]) for side in (512, 8192))
        assert many >= 16 * few > 0 or name.startswith("mixing")
        decisions = 8192 * 8192 * (1 if form.depth < 16 else form.channels)
        bands = 16 * 3 if name.startswith(("mixing", "blended", "exact")) else 0
        assert many >= decisions * 366 / 2**27 - bands or name == "tokens"
    assert least("stored", 13, 9)[2] == [2 * 9]
    assert least("exact", 1 << 20, 4)[2] == [-(-(1 << 22) * 4 * 366 // 2**27) - 3]


CONTENTS = {  # what begins as a flat picture would is decoded as far as it goes
    "zeros": lambda k, count: bytes(count),
    "ones": lambda k, count: b"\xff" * count,
    "noise": lambda k, count: np.random.default_rng(k).bytes(count),
    "half": lambda k, count: np.random.default_rng(k).bytes(count // 2) + bytes(count - count // 2),
}


FLAT = ("zeros", "ones")


def flat_is_refused(name: str) -> bool:
    return name in ("past", "PhotoCD", "network", "network of grey", "tokens", "refined tokens")


def short_promise(name: str, content: str, most: int = 900) -> bytes | None:
    """A file of at most so many bytes behind its front, that claims as many pixels as its method lets it; None where these are few."""
    form, coding = CODINGS[name]
    for size in ((12_000, 12_000), (8000, 8000), (4000, 4000), (2000, 2000), (1000, 1000)):
        if form.depth == 16 and size[0] > 8000:
            continue
        _, _, sizes = least(name, *size)
        if coding().method >= 3:
            sizes = [-(-count // 4) * 4 for count in sizes]  # whole words
        if sum(sizes) + 6 * len(sizes) <= most:
            return promise(name, size, [CONTENTS[content](k, count) for k, count in enumerate(sizes)])
    return None


@pytest.mark.parametrize(
    ("name", "content"), [(name, content) for name in CODINGS for content in ("noise", "half", *(FLAT if flat_is_refused(name) else ()))]
)
def test_a_few_bytes_that_are_enough_end_soon(name, content, only_tiny_models):
    """The largest promise that some hundred bytes can make is refused as soon as they are used up, or is what they say."""
    data = short_promise(name, content)
    if data is None:
        assert name in ("stored", "network of a tile")
        return
    pixels = read(data).head.pixels
    assert len(data) < 1000
    assert pixels >= 1_000_000
    warm = promise(name, (64, 64), [bytes(400)] * len(least(name, 64, 64)[2]))
    with pytest.raises(DamagedError):
        decompress_file(read(warm), CPU)
    start = time.process_time()
    with pytest.raises(DamagedError):
        decompress_file(read(data), CPU)
    assert time.process_time() - start < SECONDS


def test_more_pixels_than_the_limit_are_refused_before_boxes_and_fields_are_read(no_decoder):
    data = claiming(1 << 24, 1 << 24, PLAIN, Coding(3, 7, b"nonsense"), [b""], {0x81: b"nonsense"})
    with pytest.raises(TooLargeError, match="--max-pixels"):
        decompress_file(read(data), CPU)


@pytest.mark.parametrize("name", CODINGS)
def test_info_of_a_promise_takes_no_time(name, only_tiny_models):
    """It counts chunks, no further than there are any."""
    single = {size: len(least(name, *size)[2]) == 1 for size in SIZES.values()}
    start = time.process_time()
    for size in SIZES.values():
        if single[size]:
            assert codec.info(promise(name, size, [b""])).width == size[0]
        else:
            with pytest.raises(DamagedError, match="1 chunks, which are too few"):
                codec.info(promise(name, size, [b""]))
    assert time.process_time() - start < 0.5


def test_indices_say_no_more_than_a_file_holds():
    """Chunks that claim gigabytes, and thousands of them."""
    head = read(claiming(4000, 4000, PLAIN, Coding(1), [b""])).head.to_bytes()
    data = joined([b"igpt", head, b"\4" + b"\xff\xff\xff\xff\x0f" * 3, b"\5\1", b""])
    with pytest.raises(codec.TruncatedError):
        read(data)
    data = claiming(4000, 4000, PLAIN, Coding(1), [b""] * 3000)
    with pytest.raises(DamagedError, match=r"has 3000 chunks|too few"):
        decompress_file(read(data), CPU)


def test_no_row_of_16_bits_takes_gigabytes():
    width = (1 << 20) + 1
    with pytest.raises(DamagedError, match="a width of 1048577 with 16 bits"):
        codec.decode(claiming(width, 1, Form(GREY, 16), Coding(2), [bytes(60)]))
    samples = (np.arange(width) % 1000).astype(np.uint16)[None, :, None]
    with pytest.raises(TooLargeError, match="at most 1,048,576 pixels wide"):
        compress_picture(Picture(samples, Form(GREY, 16)), CPU)
    data = compress_picture(Picture(samples % 200, Form(GREY, 16)), CPU)  # few values have other ways
    assert (codec.decode(data) == samples[..., 0] % 200).all()


def test_the_plugin_shows_a_promise_to_pillow_first(monkeypatch):
    data = promise("mixing", (12_000, 12_000), [bytes(100)] * 35)
    codec.register_igpt_opener()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1 << 20)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))
