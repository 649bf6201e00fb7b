"""Context mixing: the same samples come back, by numba and without, in bands and whole; drawings become small files."""

import io
import math
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

import codec
from bitstream.container import Coding, read
from bitstream.form import RGB, Form
from codec.methods.method import Source
from codec.methods.mixing import DeepMixing, Mixing
from codec.mixing import bands as mixing
from codec.mixing import deep
from codec.mixing.bands import BLENDED, EXACT, SHALLOW
from codec.tiling.planes import pixels_to_planes, planes_to_pixels
from tests import plain_decoder
from tests.conftest import TINY, coded_by, file_of, picture, remade, smooth
from tests.forged import claiming
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


def scan(height: int = 60, width: int = 50, channels: int = 3) -> np.ndarray:
    """Waves and noise, (height, width, channels) uint16."""
    fine = picture(height, width, channels).astype(np.uint16)
    return fine * 197 + picture(height, width, channels, seed=3)


SIZES = [(1, 1, 1), (2049, 2048, 1025), (3, 1 << 23, 1), (1 << 24, 1, 1 << 22), (5, 1 << 21, 2)]  # height, width, rows of a band


def roundtrip(planes, coder=SHALLOW):
    payloads = mixing.encode(planes, coder, ignore)
    back = mixing.decode(payloads, (planes.shape[2], planes.shape[1]), planes.shape[0], coder, ignore)
    assert back.dtype == planes.dtype
    assert (back == planes).all()
    return payloads


def of_rows(monkeypatch, rows, width=160):
    """Bands have at most so many rows."""
    monkeypatch.setattr(mixing, "MAX_BAND_PIXELS", width * rows)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("most", "rows"), [(1, [1] * 120), (7, [7] * 17 + [1]), (50, [40] * 3), (120, [120])])
def test_roundtrip_in_bands(monkeypatch, channels, most, rows):
    of_rows(monkeypatch, most)
    planes = pixels_to_planes(drawing(channels=channels))
    assert [band.stop - band.start for band in mixing.bands(120, 160)] == rows
    payloads = roundtrip(planes)
    assert len(payloads) == len(rows)
    last = np.ascontiguousarray(planes[:, -rows[-1] :])
    assert roundtrip(last) == payloads[-1:]  # every band by itself


@pytest.mark.parametrize(
    ("height", "width", "rows"), [(1, 1, 1), (2049, 2048, 1025), (3, 1 << 23, 1), (1 << 24, 1, 1 << 22), (5, 1 << 21, 2)]
)
def test_bands_are_as_many_as_must_be(height, width, rows):
    """Of at most 2^22 pixels, or one row, and alike but for the last."""
    found = list(mixing.bands(height, width))
    assert found[0] == slice(0, rows)
    assert {band.stop - band.start for band in found[:-1]} <= {rows}
    assert found[-1].stop == height
    assert len(found) == max(1, -(-height // max(1, (1 << 22) // width)))


@given(st.data(), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_roundtrip_of_anything(data, channels, height, width):
    planes = data.draw(arrays(np.uint8, (channels, height, width), elements=st.integers(0, 255)))
    if mixing.encode(planes, SHALLOW, ignore):  # else it would have been larger
        roundtrip(planes)


@given(st.data(), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.sampled_from((BLENDED, EXACT)))
@settings(max_examples=60, deadline=None)
def test_roundtrip_of_anything_of_16_bits(data, channels, height, width, coder):
    roundtrip(data.draw(arrays(np.uint16, (channels, height, width), elements=st.integers(0, 65535))), coder)


def test_photographs_come_back_too():
    roundtrip(pixels_to_planes(picture(50, 60, 3)))
    roundtrip(pixels_to_planes(smooth(64, 64)))
    for coder in (BLENDED, EXACT):
        roundtrip(pixels_to_planes(scan()), coder)


def test_both_coders_of_16_bits_are_worth_having():
    """Residuals that recur are learnt by the exact one, waves that do not by the blend."""
    steps = np.random.default_rng(0).integers(0, 40, (1, 60, 80)).cumsum(2).astype(np.uint16) * 321
    y, x = np.mgrid[:60, :80]
    waves = (30000 + 9000 * np.sin(x / 9.0) + 8000 * np.cos(y / 7.0 + x / 30))[None].astype(np.uint16)
    for planes, better in ((steps, EXACT), (waves, BLENDED)):
        sizes = {coder: len(roundtrip(planes, coder)[0]) for coder in (BLENDED, EXACT)}
        assert min(sizes, key=sizes.get) == better
        file = read(codec.compress(planes_to_pixels(planes), device="cpu"))
        assert file.front.codings == (Coding(DeepMixing.number, (BLENDED, EXACT).index(better)),)


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_takes_little_more_than_its_bytes(channels):
    planes = np.random.default_rng(0).integers(0, 256, (channels, 200, 200)).astype(np.uint8)
    assert sum(map(len, roundtrip(planes))) < 1.03 * planes.nbytes
    pixels = np.ascontiguousarray(np.moveaxis(planes, 0, 2))
    data = codec.compress(pixels, device="cpu")
    assert len(data) < planes.nbytes + 64
    assert (codec.decode(data).reshape(pixels.shape) == pixels).all()


def test_what_would_become_larger_is_not_offered(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    monkeypatch.setattr(mixing, "_run", lambda part, stream, *_: len(stream) + 1)
    assert mixing.encode(pixels_to_planes(noise), SHALLOW, ignore) is None
    assert len(Mixing().offer(Source(noise), ignore)) == 0
    data = codec.compress(noise, device="cpu")
    assert len(data) <= noise.nbytes + 28


@pytest.mark.parametrize("coder", [SHALLOW, BLENDED, EXACT])
def test_the_same_bytes_without_numba(coder):
    """The kernels as plain Python, in another process."""
    planes = pixels_to_planes(scan(8, 12) if coder.deep else drawing(20, 30))
    code = (
        "import sys, numpy as np; from codec.mixing.bands import *\n"
        f"planes = np.frombuffer(sys.stdin.buffer.read(), np.{planes.dtype}).reshape{planes.shape}\n"
        f"sys.stdout.buffer.write(encode(planes, {coder!r}, lambda _: None)[0])"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    result = subprocess.run([sys.executable, "-c", code], input=planes.tobytes(), capture_output=True, check=True, env=environment)
    assert [result.stdout] == mixing.encode(planes, coder, ignore)


def test_the_number_of_threads_does_not_matter(monkeypatch):
    of_rows(monkeypatch, 10)
    planes = pixels_to_planes(drawing())
    payloads = mixing.encode(planes, SHALLOW, ignore)
    assert len(payloads) == 12
    monkeypatch.setattr(mixing, "MOST_THREADS", 1)
    assert mixing.encode(planes, SHALLOW, ignore) == payloads


@pytest.mark.parametrize("coder", [SHALLOW, BLENDED])
def test_costs_are_those_of_the_code(monkeypatch, coder):
    of_rows(monkeypatch, 50)
    planes = pixels_to_planes(scan(120, 160) if coder.deep else drawing())
    bits = mixing.costs(planes, coder)
    assert bits.shape == (120, 160)
    assert (bits > 0).all()
    assert 8 * sum(map(len, mixing.encode(planes, coder, ignore))) == pytest.approx(bits.sum(), abs=3 * 16, rel=0.005)


def test_the_document_is_enough(monkeypatch):
    of_rows(monkeypatch, 25, 60)
    for pixels in (drawing(50, 60), drawing(45, 60, 1), np.zeros((3, 4, 3), np.uint8), np.dstack([drawing(20, 60)] * 2)[..., :4]):
        height, width, channels = pixels.shape
        for band, payload in zip(mixing.bands(height, width), roundtrip(pixels_to_planes(pixels)), strict=True):
            found = plain_decoder.Band(payload, width, band.stop - band.start, channels).decode()
            assert (planes_to_pixels(np.moveaxis(found, 2, 0)) == pixels[band]).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_drawings_are_smaller_than_png_and_webp(channels):
    pixels = drawing(300, 400, channels)
    data = codec.compress(pixels)
    assert codec.info(data).coding == "mixing"
    assert (codec.decode(data).reshape(pixels.shape) == pixels).all()
    image = Image.fromarray(pixels.squeeze())
    for form, options in (("PNG", {"optimize": True}), ("WEBP", {"lossless": True, "method": 6, "quality": 100})):
        stream = io.BytesIO()
        image.save(stream, form, **options)
        assert len(data) < stream.tell()


def test_no_mixing_where_nothing_repeats():
    with pytest.raises(IndexError):
        coded_by(Mixing(), picture(90, 90, 3))


def test_mixing_where_a_model_is_named():
    assert codec.info(codec.compress(drawing(), model=TINY, device="cpu")).coding == "mixing"
    assert codec.info(codec.compress(np.dstack([drawing(), drawing(channels=1)]), model=TINY, device="cpu")).coding.endswith("mixing")


def test_an_unknown_device_is_refused_for_drawings_too():
    data = codec.compress(drawing())
    for work in (lambda: codec.compress(drawing(), device="tpu"), lambda: codec.decompress(data, device="tpu")):
        with pytest.raises(codec.IgptError, match="tpu"):
            work()


def test_nothing_is_kept_where_there_is_no_place():
    """numba refuses to keep what it compiled where neither the package nor a home folder can be written."""
    code = (
        "import numba; from numba.core.caching import CacheImpl; CacheImpl._locator_classes = [];"
        "import numpy as np; from codec.mixing.bands import *; print(encode(np.zeros((1, 4, 4), np.uint8), SHALLOW, lambda _: None))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("[b'")


def test_neither_torch_nor_a_model_is_needed(tmp_path):
    (tmp_path / "x.igpt").write_bytes(codec.compress(drawing()))
    code = "import sys, codec; codec.decompress(open(sys.argv[1], 'rb').read()); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, tmp_path / "x.igpt"], check=True)


@pytest.fixture
def banded(monkeypatch):
    """A file of three bands, which are allowed until the end of a test."""
    of_rows(monkeypatch, 40)
    return file_of(drawing(), coded_by(Mixing(), drawing()))


def test_several_bands_in_a_file(banded):
    assert codec.info(banded).chunks == 3
    assert (codec.decode(banded) == drawing()).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda payloads: [payloads[0][:-1], *payloads[1:]],
        lambda payloads: [payloads[0] + b"\0", *payloads[1:]],
        lambda payloads: [b"", *payloads[1:]],
        lambda payloads: [payloads[1], payloads[0], payloads[2]],
        lambda payloads: [payloads[0], np.random.default_rng(0).bytes(5000), payloads[2]],
        lambda payloads: payloads[:2],
        lambda payloads: [*payloads, payloads[2]],
    ],
    ids=["shorter", "longer", "empty", "swapped", "garbage", "fewer", "more"],
)
def test_other_payloads_are_refused(change, banded):
    with pytest.raises(codec.DamagedError):
        codec.decompress(remade(banded, chunks=change(list(read(banded).chunks))))


@pytest.mark.parametrize(
    ("samples", "coding"),
    [
        (drawing(), Coding(1, 1)),
        (drawing(), Coding(1, 0, b"\0")),
        (drawing(), Coding(2)),
        (scan(), Coding(1)),
        (scan(), Coding(2, 2)),
        (scan(), Coding(2, 1, b"\0")),
    ],
)
def test_impossible_codings_are_refused(samples, coding):
    coded = coded_by(DeepMixing() if samples.itemsize == 2 else Mixing(), samples)
    known = coding.variant < 1 + (coding.method == 2)
    what = "does not know" if not known else "other fields" if coding.fields else "not coded so"
    with pytest.raises(codec.DamagedError if known else codec.NewerVersionError, match=what):
        codec.decode(file_of(samples, coded._replace(coding=coding)))


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
    assert len(codec.compress(pixels)) < 1300


@pytest.mark.parametrize("channels", [1, 3])
def test_slopes_are_guessed(channels):
    y, x = np.mgrid[:64, :80]
    slope = np.stack([x + y, 2 * x, 200 - 2 * y], -1)[..., :channels].astype(np.uint8)
    assert len(mixing.encode(pixels_to_planes(slope), SHALLOW, ignore)[0]) < 160


def test_a_signal_ends_it_soon(monkeypatch):
    """An exception from the progress callback, as a signal's handler raises it, is not held up by the other bands."""

    def leave(_):
        raise SystemExit

    of_rows(monkeypatch, 10, 100)
    planes = np.random.default_rng(0).integers(0, 256, (3, 4000, 100)).astype(np.uint8)
    planes[:, :10] = 0
    start = time.perf_counter()
    with pytest.raises(SystemExit):
        mixing.encode(planes, SHALLOW, leave)
    assert time.perf_counter() - start < 2


def test_progress_counts_every_pixel_once():
    noise = np.random.default_rng(0).integers(0, 256, (1, 300, 3)).astype(np.uint8)
    for pixels in (drawing(), noise, scan(), np.dstack([drawing(), noise[0, 0, 0] + drawing(channels=1)])):
        done = []
        data = codec.compress(pixels, progress=done.append)
        assert sum(done) == pixels.shape[0] * pixels.shape[1]
        done.clear()
        codec.decode(data, progress=done.append)
        assert sum(done) == pixels.shape[0] * pixels.shape[1]


@pytest.mark.parametrize(("coder", "channels"), [(SHALLOW, 3), (SHALLOW, 1), (BLENDED, 2), (BLENDED, 1), (EXACT, 3)])
def test_the_text_and_the_code_agree_on_payloads(coder, channels):
    """Of a small band, mutated."""
    rng = random.Random(channels)
    y, x = np.mgrid[:3, :5]
    planes = np.stack([(x * 3 + y + c) % 5 for c in range(channels)]).astype(np.uint16 if coder.deep else np.uint8)
    (payload,) = mixing.encode(planes, coder, ignore)
    accepted = refused = 0
    for k in range(100):
        changed = mutated(payload, rng, payload) if k % 2 else payload[:-1] + rng.randbytes(k % 3)
        try:
            found = mixing.decode([changed], (5, 3), channels, coder, ignore)
        except codec.DamagedError:
            found = None
        try:
            size = changed, 5, 3, channels
            expected = (plain_decoder.DeepBand(*size, coder.exact) if coder.deep else plain_decoder.Band(*size)).decode()
        except AssertionError:
            expected = None
        assert (found is None) == (expected is None)
        if found is not None:
            assert (np.moveaxis(found, 0, 2) == expected).all()
        accepted, refused = accepted + (found is not None), refused + (found is None)
    assert min(accepted, refused) > 5


@pytest.mark.parametrize(("coding", "depth", "width"), [(Coding(1), 8, 1 << 22), (Coding(2), 16, 1 << 20), (Coding(2, 1), 16, 1 << 20)])
def test_a_payload_that_is_used_up_ends_a_row(coding, depth, width):
    """A hundred bytes that promise millions of pixels, all in one row."""
    data = claiming(width, 1, Form(RGB, depth), coding, [b"\x5a" * (10 if depth == 8 else 60)])
    start = time.process_time()
    with pytest.raises(codec.DamagedError, match="not what an encoder writes"):
        codec.decode(data)
    assert time.process_time() - start < 5


def test_the_first_band_that_is_damaged_ends_the_others(monkeypatch):
    """Memory of bands that are not decoded is never touched."""
    monkeypatch.setattr(mixing, "MOST_THREADS", 1)
    of_rows(monkeypatch, 1)
    done = []
    with pytest.raises(codec.DamagedError, match="not what an encoder writes"):
        mixing.decode([b"\x5a" * 900] * 120, (160, 120), 3, SHALLOW, done.append)
    assert len(done) < 3


def test_deep_samples_that_only_become_larger_are_expected_to(monkeypatch):
    monkeypatch.setattr(mixing, "encode", lambda *_: None)
    offered = DeepMixing().offer(Source(np.zeros((4, 5, 1), np.uint16), 16), ignore)
    assert [candidate.size for candidate in offered] == [math.inf, math.inf]


def test_wide_deep_bands_take_fewer_threads():
    fixed, wide = (sum(part.nbytes for part in deep.state(2, width)) for width in (0, 1000))
    assert wide - fixed == deep.COLUMN_BYTES * 2 * 1000
    found = [mixing.most_threads(BLENDED, channels, width) for channels, width in ((1, 64), (4, 1 << 18), (4, 1 << 20))]
    assert found == [4, 2, 1]
    assert mixing.most_threads(SHALLOW, 4, 1 << 22) == 4


def test_least_squares_are_those_of_linear_algebra():
    rng = np.random.default_rng(5)
    inputs = rng.normal(0, 1000, (200, 13))
    moments = inputs.T @ inputs
    assert np.allclose(plain_decoder.solved(moments), np.linalg.solve(moments[:-1, :-1] + 10 * np.eye(12), moments[-1, :-1]))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_text_and_the_code_agree_where_least_squares_learn(channels):
    """The second picture has the largest differences that there are."""
    rng = np.random.default_rng(channels)
    rows, columns = np.mgrid[:14, :11] * 900
    sloping = [rows * (c + 1) + columns + rng.integers(0, 50, rows.shape) for c in range(channels)]
    for planes in (np.stack(sloping).astype(np.uint16), 65535 * rng.integers(0, 2, (channels, 14, 11)).astype(np.uint16)):
        (payload,) = mixing.encode(planes, BLENDED, ignore)
        assert np.array_equal(plain_decoder.DeepBand(payload, 11, 14, channels, False).decode(), planes.transpose(1, 2, 0))


def test_least_squares_find_what_a_picture_was_made_by():
    """A blurred one, which no other predictor knows."""
    noise = np.random.default_rng(9).normal(0, 1, (130, 130))
    for axis in (0, 1):
        noise = sum(np.roll(noise, by, axis) for by in range(4))
    planes = np.rint(30000 + 1500 * noise[None, :128, :128]).astype(np.uint16)
    (payload,) = mixing.encode(planes, BLENDED, ignore)
    step = 1500 * math.sqrt(2 * math.pi * math.e)  # what white noise of that size takes
    assert len(payload) < 1.1 * planes.size * math.log2(step) / 8


def test_a_texture_laid_side_by_side_is_coded_once():
    """Its pixels are as no neighbour of theirs is."""
    patch = picture(48, 60, 3)
    whole = np.tile(patch, (4, 4, 1))[5:-9, 3:-7]
    assert mixing.repeated(whole) < 0.1 < mixing.recurring(whole)
    data = codec.compress(whole, level="fast")
    assert codec.info(data).coding == "mixing"
    assert len(data) < 1.3 * len(codec.compress(patch, level="fast")) + 3000
    assert np.array_equal(codec.decode(data), whole)


def test_noise_does_not_recur():
    assert mixing.recurring(np.random.default_rng(1).integers(0, 256, (90, 80, 3), np.uint8)) == 0
    assert mixing.recurring(np.zeros((90, 80, 3), np.uint8)) == 0
    assert mixing.recurring(np.zeros((1, 1, 1), np.uint8)) == mixing.recurring(np.zeros((3, 2, 1), np.uint8)) == 0
