"""The library: pictures as images, arrays and paths, there and back; what it says of files, refuses, and promises."""

import dataclasses
import inspect
import io
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import codec
import igpt
from bitstream.container import Coding, Head, read, written
from bitstream.form import RGB as COLOUR
from bitstream.form import Form
from codec import models
from codec.description import Model
from codec.methods.method import ModelName
from codec.methods.network import Fields
from codec.network import coding, layers
from codec.network.engines import engine_of
from codec.network.model import IntegerImageGPT
from codec.progress import ignore
from codec.tiling.planes import GREY, RGB, pixels_to_planes, planes_to_pixels
from codec.tiling.tiles import Grid, Shape, tiles_from_planes, tiles_into_planes
from tests.conftest import CPU, TINY, TINY_PALETTE, TINY_YCC, assert_roundtrip, picture, remade, smooth, with_network
from tests.picture_files import saved, with_mode

SIZES = [(1, 1), (1, 70), (65, 1), (31, 33), (32, 32), (33, 31), (64, 97)]

# What is promised

DATA = "bytes | str | Path | IO"
READING = "*, model: str | Path | None = None, device: str = 'auto', max_pixels: int | None = None, progress: Progress | None = None"
SIGNATURES = {
    "compress": "(picture: Image | array | bytes | str | Path, *, model: str | Path | None = None, revision: str | None = None, "
    "palette_only: bool = False, level: str = 'default', device: str = 'auto', past: bool = True, pixels: bool = False, "
    "verify: bool = False, preview: bool = False, max_error: int = 0, lossy: str = '', "
    "max_pixels: int | None = None, progress: Progress | None = None) -> bytes",
    "compress_many": "(pictures: Sequence[Image | array | bytes | str | Path], *, model: str | Path | None = None, "
    "revision: str | None = None, "
    "palette_only: bool = False, level: str = 'default', device: str = 'auto', past: bool = True, pixels: bool = False, "
    "verify: bool = False, preview: bool = False, max_error: int = 0, lossy: str = '', "
    "max_pixels: int | None = None, progress: Progress | None = None) -> list[bytes]",
    "decompress": f"(data: {DATA}, *, box: tuple[int, int, int, int] | None = None, {READING.removeprefix('*, ')}) -> Image",
    "decompress_many": f"(files: Sequence[{DATA}], {READING}) -> list[Image]",
    "decode": f"(data: {DATA}, *, box: tuple[int, int, int, int] | None = None, {READING.removeprefix('*, ')}) -> array",
    "info": f"(data: {DATA}) -> Info",
    "jpeg_file": f"(data: {DATA}, {READING}) -> bytes",
    "register_igpt_opener": "() -> None",
    "thumbnail": f"(data: {DATA}, size: int = 256, {READING}) -> Image",
    "Info": "(width: int, height: int, mode: str, channels: int, bit_depth: int, coding: str, representation: str, chunks: int, "
    "models: tuple[Model, ...], metadata: tuple[str, ...], left_alone: tuple[str, ...], level: str, max_error: int, "
    "lossy: str, preview_bytes: int, "
    "digest: str, container_version: int, front_bytes: int) -> None",
}
SHORT = {
    "PIL.Image.Image": "Image",
    "numpy.ndarray[tuple[Any, ...], numpy.dtype[Any]]": "array",
    "pathlib.Path": "Path",
    "pathlib._local.Path": "Path",
    "collections.abc.Sequence": "Sequence",
    "collections.abc.Callable[[int], None]": "Progress",
    "IO[bytes]": "IO",
    "typing.": "",
    "Union[bytes, str, Path, IO]": "bytes | str | Path | IO",
    "codec.description.": "",
}


def signature_of(name):
    text = str(inspect.signature(getattr(codec, name)))
    for long, short in SHORT.items():
        text = text.replace(long, short)
    return text.replace("numpy.ndarray[tuple[Any, ...], numpy.dtype[Any]]", "array")


def test_signatures():
    """What users have written calls for. A change here is one of the interface: of the changelog, and of the README."""
    names = [name for name in codec.__all__ if not (inspect.isclass(getattr(codec, name)) and issubclass(getattr(codec, name), Exception))]
    assert {name: signature_of(name) for name in names} == SIGNATURES


def test_public_names():
    assert sorted(codec.__all__) == codec.__all__
    assert set(codec.__all__) <= set(dir(codec))
    for name in codec.__all__:
        assert getattr(igpt, name) is getattr(codec, name)
        text = inspect.getdoc(getattr(codec, name))
        assert text, name
        assert text.endswith(".")
    assert not hasattr(codec, "compress_pixels")
    errors = {name for name in codec.__all__ if name.endswith("Error")}
    assert all(issubclass(getattr(codec, name), codec.IgptError) for name in errors)
    assert issubclass(codec.IgptError, Exception)
    assert len(errors) == 9


def test_info_is_a_frozen_dataclass():
    found = codec.info(with_network(picture(40, 70, 3)))
    assert dataclasses.is_dataclass(found)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.width = 3
    digest = IntegerImageGPT.load(TINY, CPU).digest.hex()
    assert found == codec.Info(
        width=70,
        height=40,
        mode="RGB",
        channels=3,
        bit_depth=8,
        coding="network",
        representation="samples",
        chunks=1,
        models=(Model("tiny", digest),),
        metadata=(),
        left_alone=(),
        level="",
        max_error=0,
        lossy="",
        preview_bytes=0,
        digest=found.digest,
        container_version=1,
        front_bytes=read(with_network(picture(40, 70, 3))).front.size,
    )
    for name in (field.name for field in dataclasses.fields(codec.Info)):
        assert f"{name}" in (codec.Info.__doc__ or "")


# Pictures of all sorts


def as_sources(folder):
    """The same pixels as an image, arrays and files."""
    pixels = smooth(20, 30)
    path = folder / "picture.png"
    Image.fromarray(pixels).save(path)
    return pixels, [Image.fromarray(pixels), pixels, np.asfortranarray(pixels), path, str(path)]


def test_images_arrays_and_paths_are_pictures(tmp_path):
    pixels, sources = as_sources(tmp_path)
    files = [codec.compress(source, device="cpu") for source in sources]
    assert len(set(files)) == 1
    (tmp_path / "picture.igpt").write_bytes(files[0])
    for data in (files[0], tmp_path / "picture.igpt", str(tmp_path / "picture.igpt")):
        assert (codec.decode(data, device="cpu") == pixels).all()
        assert codec.decompress(data, device="cpu").tobytes() == pixels.tobytes()
        assert codec.info(data).width == 30
    assert codec.compress_many(sources, device="cpu") == files
    assert [image.tobytes() for image in codec.decompress_many([files[0], tmp_path / "picture.igpt"])] == [pixels.tobytes()] * 2
    assert codec.compress_many([]) == codec.decompress_many([]) == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2"])
@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 1), (7, 9, 2), (7, 9, 3), (7, 9, 4)])
def test_arrays_of_all_shapes(shape, dtype):
    samples = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    data = codec.compress(samples, device="cpu")
    back = codec.decode(data)
    assert back.dtype == np.dtype(dtype).newbyteorder("=")
    assert back.shape == (shape[:2] if shape[2:] == (1,) else shape)
    assert (back.reshape(shape) == samples).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_arrays_of_images(mode):
    """What `decode` gives of an image: its samples; of a palette the indices, of one bit 0 and 1."""
    image = Image.fromarray(picture(9, 8, 1).astype(np.uint16)[..., 0] * 257) if mode == "I;16" else with_mode(mode)
    samples = codec.decode(codec.compress(image, device="cpu"))
    assert samples.dtype == (np.uint16 if mode == "I;16" else np.uint8)
    assert (samples == np.asarray(image)).all()


@pytest.mark.parametrize(
    "source", [None, 5, [[1, 2], [3, 4]], np.zeros((4, 4)), np.zeros((4, 4), np.int8), np.zeros((4, 4), np.uint32)], ids=repr
)
def test_what_is_no_picture_is_a_type_error(source):
    for work in (codec.compress, lambda source: codec.compress_many([source])):
        with pytest.raises(TypeError, match=r"a picture is .*array \(height, width\)"):
            work(source)


@pytest.mark.parametrize("data", [None, 5, bytearray(b"x"), memoryview(b"x"), np.zeros(4, np.uint8), Image.new("L", (1, 1))], ids=type)
def test_what_is_no_file_is_a_type_error(data):
    for work in (codec.decompress, codec.decode, codec.info, lambda data: codec.decompress_many([data])):
        with pytest.raises(TypeError, match=r"bytes, a path .* or a file object"):
            work(data)


def test_options_are_given_by_name():
    for work in (codec.compress, codec.decompress, codec.decode, codec.compress_many, codec.decompress_many):
        with pytest.raises(TypeError):
            work([], "cpu")
        with pytest.raises(TypeError, match="quality"):
            work([], quality=3)


def test_files_that_are_not_there_are_errors_of_the_system(tmp_path):
    for work in (codec.compress, codec.decompress, codec.decode, codec.info):
        with pytest.raises(FileNotFoundError):
            work(tmp_path / "nothing")
    (tmp_path / "text").write_text("what is no picture")
    with pytest.raises(codec.UnsupportedImageError):
        codec.compress(tmp_path / "text")
    for work in (codec.decompress, codec.decode, codec.info):
        with pytest.raises(codec.NotIgptError):
            work(tmp_path / "text")


def test_of_many_pictures_one_is_opened_when_its_turn_comes(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for path in paths[:2]:
        Image.fromarray(picture(5, 5, 3)).save(path)
    done = []
    with pytest.raises(FileNotFoundError):
        codec.compress_many(paths, progress=done.append)
    assert sum(done) == 50


def test_many_at_once_are_what_each_is_alone():
    some = [picture(20, 30, 3, seed) for seed in range(3)] + [smooth(9, 9)[..., :1], np.full((5, 5, 4), 9, np.uint8)]
    done = []
    files = codec.compress_many(some, device="cpu", progress=done.append)
    assert files == [codec.compress(pixels, device="cpu") for pixels in some]
    pixels = sum(each.shape[0] * each.shape[1] for each in some)
    assert sum(done) == pixels
    done.clear()
    images = codec.decompress_many(files, device="cpu", progress=done.append)
    assert sum(done) == pixels
    for image, expected in zip(images, some, strict=True):
        assert image.tobytes() == expected.tobytes()


def test_what_is_raised_for_one_of_many_is_raised():
    good = codec.compress(picture(5, 6, 3), device="cpu")
    with pytest.raises(codec.DamagedError, match="chunk 1"):
        codec.decompress_many([good, good[:-1] + b"?", good])
    with pytest.raises(codec.TooLargeError):
        codec.decompress_many([good], max_pixels=29)
    with pytest.raises(codec.UnsupportedImageError):
        codec.compress_many([picture(5, 6, 3), np.zeros((0, 5), np.uint8)])
    with pytest.raises(codec.TooLargeError):
        codec.compress_many([picture(5, 6, 3)], max_pixels=29)


def test_max_pixels(tmp_path):
    pixels = picture(20, 20, 3)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    data = with_network(pixels)
    for source in (pixels, tmp_path / "p.png"):
        codec.compress(source, device="cpu", max_pixels=400)
        with pytest.raises(codec.TooLargeError, match="20x20"):
            codec.compress(source, device="cpu", max_pixels=399)
    for work in (codec.decode, codec.decompress):
        work(data, model=TINY, device="cpu", max_pixels=400)
        with pytest.raises(codec.TooLargeError, match="20x20"):
            work(data, model=TINY, device="cpu", max_pixels=399)
    with pytest.raises(codec.TooLargeError):  # as Pillow does, without being told
        codec.decode(remade(data, width=1 << 14, height=1 << 14))


def test_verify_and_past_are_options(only_tiny_models, nothing_stored):
    from tests.conftest import decoded_jpeg

    pixels = decoded_jpeg(smooth(64, 64))
    assert codec.info(codec.compress(pixels, device="cpu", verify=True)).coding == "decoded JPEG, quality about 90, 4:2:0"
    without = codec.compress(pixels, device="cpu", past=False)
    assert codec.info(without).coding == "network"
    assert codec.compress_many([pixels], device="cpu", past=False, verify=True) == [without]


def test_a_pillow_image_keeps_its_metadata(tmp_path):
    image = Image.fromarray(smooth(9, 9))
    path = tmp_path / "p.png"
    path.write_bytes(saved(image, "PNG", dpi=(72, 72), icc_profile=bytes(300)))
    for source in (path, Image.open(path)):
        data = codec.compress(source, device="cpu")
        assert set(codec.info(data).metadata) == {"pHYs", "iCCP"}
        assert codec.decompress(data).info["icc_profile"] == bytes(300)


# There and back by the tiny network


@pytest.mark.usefixtures("nothing_stored", "nothing_mixed")
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sizes(size, channels):
    data = assert_roundtrip(picture(*size, channels), past=False)
    if channels < 4:
        assert codec.info(data).coding == "network"


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1), st.sampled_from([2, 20, 256]))
def test_any_content(height, width, channels, seed, values):
    rng = np.random.default_rng(seed)
    pixels = (rng.integers(0, values, (height, width, channels)) * (255 // (values - 1))).astype(np.uint8)
    assert_roundtrip(pixels)
    assert (codec.decode(with_network(pixels), model=TINY, device="cpu").reshape(pixels.shape) == pixels).all()


def test_the_default_model(photograph):
    data = assert_roundtrip(photograph[50:150, 60:190], None, past=False)
    assert codec.info(data).coding == "network"
    assert len(data) < 0.6 * 100 * 130 * 3


def test_payload_is_theory(tiny):
    """At most 0.1 % and 64 bytes above the sum of -log2(frequency / 2^24)."""
    pixels = picture(90, 130, 3)
    layer = layers.Layer(RGB, pixels_to_planes(pixels))
    (payload,) = read(with_network(pixels)).chunks
    theory = 0.0
    for tokens, tables, exist in coding.tokens_and_frequencies(engine_of(tiny, layer.grid.tiles), layer.turns(layer.grid.whole), ignore):
        own = np.take_along_axis(tables, tokens[..., None], -1)[..., 0]
        theory -= np.log2(own[exist[:, None].repeat(3, 1)] / 2**24).sum()
    assert theory <= 8 * len(payload) <= theory * 1.001 + 64 * 8


def test_bytes_do_not_depend_on_batches_or_threads(monkeypatch):
    pixels = picture(70, 100, 3)
    expected = with_network(pixels)
    for tiles, rows, count in ((1, 1, 1), (5, 100, 2), (64, 10_000, 1)):
        monkeypatch.setitem(coding.ENCODED_TILES, "cpu", tiles)
        monkeypatch.setitem(coding.ENCODED_ROWS, "cpu", rows)
        monkeypatch.setenv("OMP_NUM_THREADS", str(count))
        assert with_network(pixels) == expected
        assert (codec.decode(expected, model=TINY, device="cpu") == pixels).all()


def test_groups_are_chunks_and_decode_together_or_apart(monkeypatch):
    monkeypatch.setattr(layers, "MAX_GROUP_TILES", 5)
    pixels = picture(100, 130, 3)
    data = with_network(pixels)
    assert codec.info(data).chunks == len(read(data).chunks) == 4
    for tiles in (1, 5, 256):
        monkeypatch.setitem(coding.DECODED_TILES, "cpu", tiles)
        assert (codec.decode(data, model=TINY, device="cpu") == pixels).all()


def test_a_payload_of_wrong_words_is_damage_never_wrong_pixels():
    """Words with a right checksum that no encoder wrote: caught by the coder, by words left over, or by the digest."""
    data = with_network(picture(20, 20, 3))
    (payload,) = read(data).chunks
    rng = np.random.default_rng(0)
    for wrong in (b"", payload[:-4], payload + bytes(8), b"\xff" * len(payload), rng.bytes(len(payload))):
        with pytest.raises(codec.DamagedError):
            codec.decompress(remade(data, chunks=[wrong]), model=TINY, device="cpu")


def hollow(width, height, shape, payloads, network):
    """A file that claims to be large."""
    fields = Fields(shape, [ModelName(network.digest, "tiny")]).to_bytes()
    return written(Head(width, height, Form(COLOUR, 8), bytes(8)), {}, [Coding(3, 0, fields)], payloads)


@pytest.mark.parametrize("payload", [bytes(40), b"\xff" * 40, np.random.default_rng(0).bytes(40)], ids=["zeros", "ones", "noise"])
def test_a_group_that_is_too_large_for_its_payload_ends_soon(payload, tiny):
    """Half a million pixels in two groups, and eighty bytes: half a minute of decoding, if nobody counted."""
    data = hollow(512, 1024, Shape(16, 16), [payload] * 2, tiny)
    start = time.process_time()
    with pytest.raises(codec.DamagedError, match=r"more than it holds|no token"):
        codec.decompress(data, model=TINY, device="cpu")
    assert time.process_time() - start < 2


def test_large_groups_do_not_go_side_by_side(tiny, monkeypatch):
    """Each takes as much memory as many small ones."""
    asked = []

    def side_by_side(work, items, count):
        asked.append(count)
        return map(work, items)

    monkeypatch.setattr(layers, "side_by_side", side_by_side)
    monkeypatch.setattr(type(engine_of(tiny, 1)), "at_once", 8, raising=False)
    for most, beside in ((256, 8), (64, 4), (16, 1)):
        monkeypatch.setitem(coding.DECODED_TILES, "cpu", most)
        with pytest.raises(codec.DamagedError):
            codec.decompress(hollow(512, 512 * 32, Shape(16, 16), [bytes(40)] * 32, tiny), model=TINY, device="cpu")
        assert asked.pop() == beside


@pytest.mark.parametrize("size", [(1, 1), (40, 33)])
def test_planes_and_tiles_are_reversible(size):
    for kind in (RGB, GREY):
        pixels = picture(*size, kind.channels)
        planes = pixels_to_planes(pixels)
        assert (planes_to_pixels(planes) == pixels).all()
        grid = Grid(size[1], size[0])
        back = np.zeros_like(planes)
        tiles_into_planes(tiles_from_planes(planes, grid.whole), back, grid.whole)
        assert (back == planes).all()


def test_rgb_planes_begin_with_green():
    assert pixels_to_planes(np.array([[[1, 2, 3]]], np.uint8)).ravel().tolist() == [2, 1, 3]


# Models


def test_the_wrong_model_is_a_sentence(tmp_path):
    tiny = with_network(picture(5, 5, 3))
    for data, model in ((tiny, None), (tiny, TINY_YCC)):
        with pytest.raises(codec.ModelError) as caught:
            codec.decompress(data, model=model, device="cpu")
        assert codec.info(data).models[0].digest in str(caught.value)
        assert models.load(None, "rgb", CPU).digest.hex() in str(caught.value)
        assert "--model" in str(caught.value) or "folder" in str(caught.value)
    with pytest.raises(codec.ModelError, match="neither an integer model"):
        codec.decompress(tiny, model=tmp_path, device="cpu")


def test_models_that_ship_have_no_name_in_a_file():
    """Their cards have their digests, so that they are known without being read."""
    for folder in models.shipped():
        assert models.shipped_name(models.digest_of(folder)) == folder.name
    default = models.default("rgb")
    digest, data = models.digest_of(default), with_network(picture(9, 9, 3), default)
    assert read(data).front.codings[0].fields == b"\1\1" + digest + b"\0"
    assert codec.info(data).models == (Model(default.name, digest.hex()),)


@pytest.mark.parametrize("name", [b"\n", b"x" * 65, b"\xff", b"\x7f"])
def test_names_of_models_that_cannot_be_are_refused(name, tiny):
    fields = b"\1\1" + tiny.digest + bytes([len(name)]) + name
    with pytest.raises(codec.DamagedError, match="name is malformed"):
        codec.info(remade(with_network(picture(9, 9, 3)), codings=[Coding(3, 0, fields)]))


def test_a_model_that_does_not_code_such_pictures_is_refused(only_tiny_models):
    """A network of luma and chroma, or of a palette, whose digest a file names for RGB."""
    for folder in (TINY_YCC, TINY_PALETTE):
        digest = models.digest_of(folder)
        fields = b"\1\1" + digest + b"\0"
        with pytest.raises(codec.DamagedError, match="does not code rgb"):
            codec.decode(remade(with_network(picture(9, 9, 3)), codings=[Coding(3, 0, fields)]), device="cpu")


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
    for text in (
        "[]",
        "{",
        '{"n_embd": "x"}',
        '{"n_embd": 17}',
        '{"layout": "y"}',
        '{"layout": ["rgb"]}',
        100_000 * "[",
        '{"n_head": 0}',
        '{"attention_window": 2000}',
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(codec.ModelError):
            models.load(tmp_path, "rgb", CPU)


def test_another_weight_is_another_digest(tiny):
    arrays = {key: array.copy() for key, array in tiny.arrays.items()}
    arrays["wpe"][5, 5] += 1
    assert IntegerImageGPT(tiny.config, arrays, "tiny", CPU).digest != tiny.digest
    assert IntegerImageGPT(tiny.config, tiny.arrays, "another name", CPU).digest == tiny.digest


# Damage


SMALL = with_network(picture(20, 25, 3))


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


def test_unknown_device():
    for work in (lambda: codec.compress(picture(2, 2, 1), device="tpu"), lambda: codec.decode(SMALL, device="tpu")):
        with pytest.raises(codec.IgptError, match="tpu"):
            work()


def test_progress_counts_every_pixel_once(nothing_stored):
    for channels in (3, 4):
        done = []
        data = codec.compress(picture(45, 33, channels), model=TINY, device="cpu", progress=done.append)
        assert sum(done) == 45 * 33
        done.clear()
        codec.decompress(data, model=TINY, device="cpu", progress=done.append)
        assert sum(done) == 45 * 33


@pytest.mark.parametrize(("pixels", "level"), [(False, "fast"), (False, "default"), (False, "best"), (True, "default")])
def test_progress_of_jpeg_files(pixels, level, monkeypatch):
    """Of the file its bytes are counted, of what it decodes to the pixels, band by band."""
    monkeypatch.setattr("codec.jpeg.coefficients.SPLIT_BLOCKS", 1000)
    stream, done = io.BytesIO(), []
    Image.fromarray(smooth(320, 640)).save(stream, "JPEG", quality=90)
    data = codec.compress(stream.getvalue(), pixels=pixels, level=level, device="cpu", progress=done.append)
    assert sum(done) == (320 * 640 if pixels else len(stream.getvalue()))
    assert len([count for count in done if count]) > (level != "best")
    done.clear()
    codec.decompress(data, device="cpu", progress=done.append)
    assert sum(done) == 320 * 640


@pytest.mark.gpu
def test_files_cross_devices():
    for pixels in (smooth(100, 130), smooth(33, 45)[..., :1]):
        data = codec.compress(pixels, device="cuda")
        assert data == codec.compress(pixels, device="cpu")
        assert (codec.decode(data, device="cuda").reshape(pixels.shape) == pixels).all()


@pytest.mark.slow
def test_kodak_pictures(kodak):
    for path in kodak[4::9]:
        assert_roundtrip(np.asarray(Image.open(path)), None)
