"""Whole pictures, there and back."""

import time

import numpy as np
import pytest
from bitstream.header import Header
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import codec
from bitstream.container import read_file, write_file
from codec import models
from codec.network import coding, layers
from codec.network.engines import engine_of
from codec.network.frequencies import frequencies
from codec.network.model import IntegerImageGPT
from codec.tiling.planes import GREY, RGB, pixels_to_planes, planes_to_pixels
from codec.tiling.tiles import Grid, balanced_group, tiles_from_planes, tiles_into_planes
from tests.conftest import CPU, TINY, TINY_YCC, assert_roundtrip, picture

SIZES = [(1, 1), (1, 70), (65, 1), (31, 33), (32, 32), (33, 31), (64, 97)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sizes(size, channels):
    assert_roundtrip(picture(*size, channels))


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1), st.sampled_from([2, 20, 256]))
def test_any_content(height, width, channels, seed, values):
    rng = np.random.default_rng(seed)
    assert_roundtrip((rng.integers(0, values, (height, width, channels)) * (255 // (values - 1))).astype(np.uint8))


def test_the_default_model(photograph):
    data = assert_roundtrip(photograph[50:150, 60:190], None)
    assert len(data) < 0.6 * 100 * 130 * 3


def test_overhead_of_a_small_picture():
    """Header, chunk framing and the coder's last words, beyond the theory of the tokens."""
    for pixels in (picture(1, 1, 3), picture(32, 32, 3), picture(32, 32, 1)):
        data = codec.compress_pixels(pixels, device="cpu")
        _, (payload,) = read_file(data)
        assert len(data) - len(payload) <= 64


def test_payload_is_theory(tiny):
    """At most 0.1 % and 64 bytes above the sum of -log2(frequency / 2^24)."""
    pixels = picture(90, 130, 3)
    grid = Grid(130, 90)
    samples = tiles_from_planes(pixels_to_planes(pixels), grid, 0, grid.tiles)
    theory, group = 0.0, coding.Group(RGB, grid.extents(0, grid.tiles))
    for tokens, tables in coding.tokens_and_frequencies(engine_of(tiny, grid.tiles), group, samples, lambda _: None):
        theory -= np.log2(tables[np.arange(len(tokens)), tokens] / 2**24).sum()
    (payload,) = read_file(codec.compress_pixels(pixels, model=TINY, device="cpu"))[1]
    assert theory <= 8 * len(payload) <= theory * 1.001 + 64 * 8


def test_bytes_do_not_depend_on_batches_or_threads(monkeypatch):
    pixels = picture(70, 100, 3)
    expected = codec.compress_pixels(pixels, model=TINY, device="cpu")
    for tiles, rows, count in ((1, 1, 1), (5, 100, 2), (64, 10_000, 1)):
        monkeypatch.setitem(coding.ENCODED_TILES, "cpu", tiles)
        monkeypatch.setitem(coding.ENCODED_ROWS, "cpu", rows)
        monkeypatch.setenv("OMP_NUM_THREADS", str(count))
        assert codec.compress_pixels(pixels, model=TINY, device="cpu") == expected
        assert (codec.decompress_pixels(expected, model=TINY, device="cpu") == pixels).all()


def test_groups_are_chunks_and_decode_together_or_apart(monkeypatch):
    monkeypatch.setattr("codec.tiling.tiles.LARGEST_GROUP", 5)
    pixels = picture(100, 130, 3)
    data = assert_roundtrip(pixels)
    assert codec.info(data)["groups"] == 4
    monkeypatch.setitem(coding.DECODED_TILES, "cpu", 1)
    assert (codec.decompress_pixels(data, model=TINY, device="cpu") == pixels).all()
    header, payloads = read_file(data)
    assert len(payloads) == header.groups == 4


def test_a_payload_of_wrong_words_is_damage_never_wrong_pixels():
    """Words with a right checksum that no encoder wrote: caught by the coder, by words left over, or by the pixel digest."""
    header, (payload,) = read_file(codec.compress_pixels(picture(20, 20, 3), model=TINY, device="cpu"))
    rng = np.random.default_rng(0)
    for wrong in (b"", payload[:-4], payload + bytes(8), b"\xff" * len(payload), rng.bytes(len(payload))):
        with pytest.raises(codec.DamagedError):
            codec.decompress(write_file(header, [wrong]), model=TINY, device="cpu")


@pytest.mark.parametrize("payload", [bytes(40), b"\xff" * 40, np.random.default_rng(0).bytes(40)], ids=["zeros", "ones", "noise"])
def test_a_group_that_is_too_large_for_its_payload_ends_soon(payload, tiny):
    """Four million pixels in one group, and forty bytes: minutes of decoding, if nobody counted."""
    head = Header(2048, 2048, 3, 8, 0, bytes(16), 32, 4096, tiny.digest, "tiny")
    start = time.process_time()
    with pytest.raises(codec.DamagedError, match=r"more than it holds|no token"):
        codec.decompress(write_file(head, [payload]), model=TINY, device="cpu")
    assert time.process_time() - start < 2


def test_large_groups_do_not_go_side_by_side(tiny, monkeypatch):
    """Each takes as much memory as many small ones."""
    asked = []

    def side_by_side(work, items, count):
        asked.append(count)
        return map(work, items)

    monkeypatch.setattr(layers, "side_by_side", side_by_side)
    monkeypatch.setattr(type(engine_of(tiny, 1)), "at_once", 8, raising=False)
    for group, tiles in ((256, 8), (1024, 2), (4096, 1)):
        head = Header(2048, 8192, 3, 8, 0, bytes(16), 32, group, tiny.digest, "tiny")
        with pytest.raises(codec.DamagedError):
            codec.decompress(write_file(head, [bytes(40)] * head.groups), model=TINY, device="cpu")
        assert asked.pop() == tiles


@pytest.mark.parametrize("size", [(1, 1), (40, 33)])
def test_planes_and_tiles_are_reversible(size):
    for kind in (RGB, GREY):
        pixels = picture(*size, kind.channels)
        planes = pixels_to_planes(pixels)
        assert (planes_to_pixels(planes) == pixels).all()
        grid = Grid(size[1], size[0])
        back = np.zeros_like(planes)
        tiles_into_planes(tiles_from_planes(planes, grid, 0, grid.tiles), back, grid, 0)
        assert (back == planes).all()


def test_rgb_planes_begin_with_green():
    assert pixels_to_planes(np.array([[[1, 2, 3]]], np.uint8)).ravel().tolist() == [2, 1, 3]


@pytest.mark.parametrize(("tiles", "group"), [(1, 1), (256, 256), (257, 129), (384, 192), (98_000, 256)])
def test_groups_are_balanced(tiles, group):
    assert balanced_group(tiles) == group


def test_the_wrong_model_is_a_sentence(tmp_path):
    tiny = codec.compress_pixels(picture(5, 5, 3), model=TINY, device="cpu")
    for data, model in ((tiny, None), (tiny, TINY_YCC)):
        with pytest.raises(codec.ModelError) as caught:
            codec.decompress(data, model=model, device="cpu")
        assert codec.info(data)["model_digest"] in str(caught.value)
        assert models.load(None, "rgb", CPU).digest.hex() in str(caught.value)
        assert "--model" in str(caught.value) or "folder" in str(caught.value)
    with pytest.raises(codec.ModelError, match="neither an integer model"):
        codec.decompress(tiny, model=tmp_path, device="cpu")


def test_an_unusable_model_is_refused(tiny, tmp_path):
    def changed(name, value):
        arrays = {key: array.copy() for key, array in tiny.arrays.items()}
        arrays[name].reshape(-1)[0] = value
        return arrays

    for name, value, reason in [
        ("wce.weight", 64, "7 bits"),
        ("wce.bias", 2**23, "overflow"),
        ("wce.bias", -(2**31), "overflow"),
        ("wce.shift", 0, "range"),
        ("wce.shift", 25, "range"),
        ("wce.multiplier", 256, "range"),
        ("ln_f.gain", 2**14, "range"),
        ("wpe", 2**19, "range"),
        ("heads.0.table", -128, "range"),
    ]:
        with pytest.raises(codec.ModelError, match=reason):
            IntegerImageGPT(tiny.config, changed(name, value), "x", CPU)
    with pytest.raises(codec.ModelError, match="tensors"):
        IntegerImageGPT(tiny.config, {}, "x", CPU)
    (tmp_path / "config.json").write_text((TINY / "config.json").read_text())
    (tmp_path / "integer.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(codec.ModelError, match=r"integer\.safetensors"):
        models.load(tmp_path, "rgb", CPU)
    for text in ("[]", "{", '{"n_embd": "x"}', '{"n_embd": 17}', '{"layout": "y"}', '{"n_head": 0}', '{"attention_window": 2000}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(codec.ModelError):
            models.load(tmp_path, "rgb", CPU)


def test_another_weight_is_another_digest(tiny):
    arrays = {key: array.copy() for key, array in tiny.arrays.items()}
    arrays["wpe"][5, 5] += 1
    assert IntegerImageGPT(tiny.config, arrays, "tiny", CPU).digest != tiny.digest
    assert IntegerImageGPT(tiny.config, tiny.arrays, "another name", CPU).digest == tiny.digest


SMALL = codec.compress_pixels(picture(20, 25, 3), model=TINY, device="cpu")


def test_every_truncation_of_a_file():
    for length in range(len(SMALL)):
        with pytest.raises(codec.IgptError):
            codec.decompress(SMALL[:length], model=TINY, device="cpu")


@settings(max_examples=300, deadline=None)
@given(st.sets(st.integers(0, 8 * len(SMALL) - 1), min_size=1, max_size=5))
def test_flipped_bits_of_a_file(bits):
    broken = bytearray(SMALL)
    for bit in bits:
        broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(codec.IgptError):
        codec.decompress(bytes(broken), model=TINY, device="cpu")


def test_too_large_is_refused_before_anything_is_decoded():
    data = codec.compress_pixels(picture(20, 20, 3), model=TINY, device="cpu")
    with pytest.raises(codec.TooLargeError, match="20x20"):
        codec.decompress(data, model=TINY, device="cpu", max_pixels=399)


def test_unknown_device():
    with pytest.raises(codec.IgptError, match="tpu"):
        codec.compress(Image.new("L", (2, 2)), device="tpu")


def test_progress_counts_every_pixel_once():
    for work in (codec.compress_pixels, None):
        done = []
        if work:
            data = work(picture(45, 33, 3), model=TINY, device="cpu", progress=done.append)
        else:
            codec.decompress(data, model=TINY, device="cpu", progress=done.append)
        assert sum(done) == 45 * 33


def test_public_names():
    assert all(hasattr(codec, name) for name in codec.__all__)
    assert frequencies.__doc__


@pytest.mark.gpu
def test_files_cross_devices(photograph):
    for pixels in (photograph[:100, :130], picture(33, 45, 1)):
        data = codec.compress_pixels(pixels, device="cuda")
        assert data == codec.compress_pixels(pixels, device="cpu")
        assert (codec.decompress_pixels(data, device="cuda") == pixels).all()


@pytest.mark.slow
def test_kodak_pictures(kodak):
    for path in kodak[4::9]:
        assert_roundtrip(np.asarray(Image.open(path)), None)
