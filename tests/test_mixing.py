"""Context mixing: the same pixels come back, by numba and without, in bands and whole; drawings become small files."""

import io
import os
import random
import subprocess
import sys
import time
import zlib
from dataclasses import replace

import numpy as np
import pytest
from bitstream.header import Header
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

import codec
from bitstream import header
from bitstream.constants import DRAWING_NUMERICS
from bitstream.container import read_file, write_file
from codec.mixing import bands as mixing
from codec.tiling.planes import pixels_to_planes
from tests import plain_decoder
from tests.conftest import TINY, picture, smooth
from tests.mutations import mutated


def ignore(_):
    pass


def drawing(height: int = 120, width: int = 160, channels: int = 3) -> np.ndarray:
    """Text and shapes, (height, width, channels) uint8."""
    image = Image.new("RGB", (width, height), (250, 250, 240))
    draw = ImageDraw.Draw(image)
    for k in range(height // 12):
        draw.text((4, 12 * k), "The quick brown fox jumps over the lazy dog", fill=(20, 20 + 3 * k, 60))
    draw.ellipse((width // 2, height // 3, width - 9, height - 9), fill=(200, 40, 40), outline=(0, 0, 0))
    pixels = np.array(image if channels == 3 else image.convert("L"))
    return pixels.reshape(height, width, channels)


def roundtrip(planes, rows=None):
    rows = rows or planes.shape[1]
    payloads = mixing.encode(planes, rows, ignore)
    back = mixing.decode(payloads, (planes.shape[2], planes.shape[1]), planes.shape[0], rows, ignore)
    assert (back == planes).all()
    return payloads


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("rows", [1, 7, 120])
def test_roundtrip_in_bands(channels, rows):
    planes = pixels_to_planes(drawing(channels=channels))
    payloads = roundtrip(planes, rows)
    assert len(payloads) == -(-120 // rows)
    one = np.ascontiguousarray(planes[:, -(120 % rows or rows) :])
    assert roundtrip(one) == payloads[-1:]  # every band by itself


@given(st.data(), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_roundtrip_of_anything(data, channels, height, width):
    planes = data.draw(arrays(np.uint8, (channels, height, width), elements=st.integers(0, 255)))
    payloads = mixing.encode(planes, height, ignore)
    if payloads:  # else it would have been larger
        assert (mixing.decode(payloads, (width, height), channels, height, ignore) == planes).all()


def test_photographs_come_back_too():
    roundtrip(pixels_to_planes(picture(50, 60, 3)))
    roundtrip(pixels_to_planes(smooth(64, 64)))


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_takes_little_more_than_its_bytes(channels):
    planes = np.random.default_rng(0).integers(0, 256, (channels, 200, 200)).astype(np.uint8)
    assert sum(map(len, roundtrip(planes))) < 1.03 * planes.nbytes
    pixels = np.ascontiguousarray(np.moveaxis(planes, 0, 2))
    data = codec.compress_pixels(pixels, device="cpu")
    assert len(data) < 1.03 * planes.nbytes + 64
    assert (codec.decompress_pixels(data) == pixels).all()


def test_the_same_bytes_without_numba():
    """The kernel as plain Python, in another process."""
    pixels = drawing(20, 30)
    code = (
        "import sys, numpy as np; from codec.mixing import bands as mixing; planes = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(3, 20, 30);"
        "sys.stdout.buffer.write(mixing.encode(planes, 20, lambda _: None)[0])"
    )
    planes = pixels_to_planes(pixels)
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    result = subprocess.run([sys.executable, "-c", code], input=planes.tobytes(), capture_output=True, check=True, env=environment)
    assert [result.stdout] == mixing.encode(planes, 20, ignore)


def test_the_number_of_threads_does_not_matter(monkeypatch):
    planes = pixels_to_planes(drawing())
    payloads = mixing.encode(planes, 10, ignore)
    monkeypatch.setattr(mixing, "MOST_THREADS", 1)
    assert mixing.encode(planes, 10, ignore) == payloads


def test_costs_are_those_of_the_code():
    planes = pixels_to_planes(drawing())
    bits = mixing.costs(planes, 50)
    assert bits.shape == (120, 160)
    assert 8 * sum(map(len, mixing.encode(planes, 50, ignore))) == pytest.approx(bits.sum(), abs=3 * 16, rel=0.005)


def test_the_document_is_enough(monkeypatch):
    monkeypatch.setattr(mixing, "MAX_BAND_PIXELS", 1500)
    monkeypatch.setattr(header, "MAX_BAND_PIXELS", 1500)
    for pixels in (drawing(50, 60), drawing(45, 50, 1), np.zeros((3, 4, 3), np.uint8)):
        data = codec.drawn(pixels, ignore)
        assert (plain_decoder.decode(data, None) == pixels).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_drawings_are_smaller_than_png_and_webp(channels):
    pixels = drawing(300, 400, channels)
    data = codec.compress_pixels(pixels)
    assert codec.info(data)["kind"] == "drawing"
    assert (codec.decompress_pixels(data) == pixels).all()
    image = Image.fromarray(pixels.squeeze())
    for form, options in (("PNG", {"optimize": True}), ("WEBP", {"lossless": True, "method": 6, "quality": 100})):
        stream = io.BytesIO()
        image.save(stream, form, **options)
        assert len(data) < stream.tell()


def test_no_drawing_where_a_model_is_named_or_nothing_repeats():
    assert codec.info(codec.compress_pixels(drawing(), model=TINY, device="cpu"))["kind"] == "rgb"
    assert codec.drawn(picture(90, 90, 3), ignore) == b""


def test_an_unknown_device_is_refused_for_drawings_too():
    data = codec.compress_pixels(drawing())
    for work in (lambda: codec.compress_pixels(drawing(), device="tpu"), lambda: codec.decompress(data, device="tpu")):
        with pytest.raises(codec.IgptError, match="tpu"):
            work()


def test_nothing_is_kept_where_there_is_no_place(tmp_path):
    """numba refuses to keep what it compiled where neither the package nor a home folder can be written."""
    code = (
        "import numba; from numba.core.caching import CacheImpl; CacheImpl._locator_classes = [];"
        "import numpy as np; from codec.mixing import bands as mixing; print(mixing.encode(np.zeros((1, 4, 4), np.uint8), 4, lambda _: None))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("[b'")


def test_neither_torch_nor_a_model_is_needed(tmp_path):
    (tmp_path / "x.igpt").write_bytes(codec.compress_pixels(drawing()))
    code = "import sys, codec; codec.decompress(open(sys.argv[1], 'rb').read()); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, tmp_path / "x.igpt"], check=True)


@pytest.fixture
def small_bands(monkeypatch):
    monkeypatch.setattr(header, "MAX_BAND_PIXELS", 160 * 40)


def drawn_file(rows: int = 40) -> tuple[Header, list[bytes]]:
    """Of three bands, which only `small_bands` allows."""
    pixels = drawing()
    head = Header(160, 120, 3, bit_depth=8, kind=header.DRAWING_KIND, pixel_digest=codec.pixel_digest(pixels), rows=rows)
    head = replace(head, numerics_version=DRAWING_NUMERICS)
    return head, mixing.encode(pixels_to_planes(pixels), rows, ignore)


def test_several_bands_in_a_file(small_bands):
    head, payloads = drawn_file()
    data = write_file(head, payloads)
    assert codec.info(data)["bands"] == 3
    assert (codec.decompress_pixels(data) == drawing()).all()
    assert read_file(data) == (head, payloads)


@pytest.mark.parametrize(
    "change",
    [
        lambda payloads: [payloads[0][:-1], *payloads[1:]],
        lambda payloads: [payloads[0] + b"\0", *payloads[1:]],
        lambda payloads: [b"", *payloads[1:]],
        lambda payloads: [payloads[1], payloads[0], payloads[2]],
        lambda payloads: [payloads[0], np.random.default_rng(0).bytes(5000), payloads[2]],
    ],
    ids=["shorter", "longer", "empty", "swapped", "garbage"],
)
def test_other_payloads_are_refused(change, small_bands):
    head, payloads = drawn_file()
    with pytest.raises(codec.DamagedError):
        codec.decompress(write_file(head, change(payloads)))


@pytest.mark.parametrize("change", [{"rows": 121}, {"rows": 1 << 23, "height": 1 << 24}, {"channels": 2}, {"rows": 10}])
def test_impossible_headers_are_refused(change):
    head, _ = drawn_file(120)
    with pytest.raises(codec.DamagedError, match="header is damaged"):
        codec.info(write_file(replace(head, **change), []))


@pytest.mark.parametrize("kind", [0, 2, 4])
def test_other_kinds_do_not_go_with_the_version(kind):
    fields = bytearray(drawn_file(120)[0].to_bytes()[:-4])
    place = fields.index(b"\x03\x08\x03", 11)  # channels, bit depth, kind
    fields[place + 2], fields[10] = kind, 1  # numerics version
    with pytest.raises(codec.DamagedError, match="kind"):
        codec.info(bytes(fields) + zlib.crc32(fields).to_bytes(4, "little"))


def test_what_repeats():
    flat = np.full((5000, 30, 3), 7, np.uint8)
    assert mixing.repeated(flat) == 1
    flat[::2] = picture(2500, 30, 3)
    assert 0.4 < mixing.repeated(flat) < 0.6
    assert mixing.repeated(flat[:1]) == mixing.repeated(flat[:, :1]) == 1
    y, x = np.mgrid[:100, :120]
    assert mixing.repeated((2 * x - y + 100)[..., None].astype(np.uint8)) == 1
    assert mixing.repeated(picture(100, 120, 3)) < 0.1


def test_a_pattern_is_a_drawing_although_no_neighbours_are_alike():
    pixels = np.tile(np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8), (10, 12, 1))
    assert mixing.repeated(pixels) < 0.01
    assert len(codec.compress_pixels(pixels)) < 1300


@pytest.mark.parametrize("channels", [1, 3])
def test_slopes_are_guessed(channels):
    y, x = np.mgrid[:64, :80]
    slope = np.stack([x + y, 2 * x, 200 - 2 * y], -1)[..., :channels].astype(np.uint8)
    assert len(mixing.encode(pixels_to_planes(slope), 64, ignore)[0]) < 160


def test_a_signal_ends_it_soon():
    """An exception from the progress callback, as a signal's handler raises it, is not held up by the other bands."""

    def leave(_):
        raise SystemExit

    planes = np.random.default_rng(0).integers(0, 256, (3, 4000, 100)).astype(np.uint8)
    planes[:, :10] = 0
    start = time.perf_counter()
    with pytest.raises(SystemExit):
        mixing.encode(planes, 10, leave)
    assert time.perf_counter() - start < 2


def test_progress_counts_every_pixel_once():
    for pixels in (drawing(), np.random.default_rng(0).integers(0, 256, (1, 300, 3)).astype(np.uint8)):
        done = []
        codec.compress_pixels(pixels, progress=done.append)
        assert sum(done) == pixels.shape[0] * pixels.shape[1]


@pytest.mark.parametrize(("depth", "channels"), [(8, 3), (8, 1), (16, 2), (16, 1)])
def test_the_text_and_the_code_agree_on_payloads(depth, channels):
    """Of a small band, mutated."""
    rng = random.Random(depth + channels)
    y, x = np.mgrid[:3, :5]
    planes = np.stack([(x * 3 + y + c) % 5 for c in range(channels)]).astype(np.uint8 if depth == 8 else np.uint16)
    (payload,) = mixing.encode(planes, 3, ignore)
    accepted = refused = 0
    for k in range(100):
        changed = mutated(payload, rng, payload) if k % 2 else payload[:-1] + rng.randbytes(k % 3)
        try:
            found = mixing.decode([changed], (5, 3), channels, 3, ignore, depth=depth)
        except codec.DamagedError:
            found = None
        try:
            if depth == 8:
                expected = plain_decoder.Band(changed, 5, 3, channels, 5).decode()
            else:
                expected = plain_decoder.DeepBand(changed, 5, 3, channels, False).decode()
        except AssertionError:
            expected = None
        assert (found is None) == (expected is None)
        if found is not None:
            assert (np.moveaxis(found, 0, 2) == expected).all()
        accepted, refused = accepted + (found is not None), refused + (found is None)
    assert min(accepted, refused) > 10
