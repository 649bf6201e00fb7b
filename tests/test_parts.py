"""A part of a picture without the rest: its pixels, what is read and decoded for them; previews and thumbnails."""

import io
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import codec
from bitstream import container
from bitstream.container import PREVIEW, read, written
from bitstream.errors import DamagedError, IgptError, TooLargeError, TruncatedError, UnsupportedImageError
from bitstream.form import GREY, Form
from bitstream.outliers import pack
from codec.box import Box
from codec.jpeg import coefficients
from codec.methods.inside import DecodedJpeg
from codec.methods.method import Coded
from codec.methods.mixing import DeepMixing, Mixing
from codec.methods.network import Fields, ModelName, Network
from codec.methods.past import Fields as PastFields
from codec.methods.past import PastMethod, layers_of
from codec.methods.stored import Stored
from codec.mixing import bands
from codec.network import layers
from codec.network.layers import Layer, encode_layer
from codec.network.model import IntegerImageGPT
from codec.pasts.chroma import FILTERS, FULL, Sampling
from codec.pasts.colour import FORMULAS
from codec.pasts.past import Past
from codec.progress import ignore
from codec.tiling.planes import kind_of, pixels_to_planes
from codec.tiling.tiles import Grid, Shape
from tests.conftest import CPU, TINY, TINY_YCC, coded_by, decoded_jpeg, file_of, picture, smooth, with_network
from tests.test_cli import igpt

SIZE = 100, 140  # height, width
SHAPE = Shape(2, 2)


def networked(pixels, tiny):
    """In several groups."""
    layer = Layer(kind_of(pixels.shape[2]), pixels_to_planes(pixels))
    fields = Fields(SHAPE, [ModelName(tiny.digest, "tiny")]).to_bytes()
    return Coded(container.Coding(Network.number, 0, fields), encode_layer(tiny, layer, SHAPE, ignore))


def pasts():
    """With every filter, cut, ringed, and with outliers."""
    rng = np.random.default_rng(0)
    height, width = SIZE
    for filter_ in FILTERS:
        ring = int(filter_ is not FULL)
        sampling = Sampling(filter_, filter_.down - 1, filter_.across - 1, ring)
        small = rng.integers(60, 190, (2, *sampling.small_shape(height, width))).astype(np.uint8)
        positions = np.sort(rng.choice(height * width, 200, replace=False))
        corrections = rng.integers(1, 9, (200, 3)).astype(np.uint8)
        yield Past(FORMULAS[filter_.code == 7], sampling, smooth(height, width, 1)[..., 0], small, positions, corrections)


def with_past(past, tiny_ycc):
    made_of = layers_of(past)
    fields = PastFields(past.formula, past.sampling, True, SHAPE, [ModelName(tiny_ycc.digest, "tiny-ycc")]).to_bytes()
    payloads = [payload for layer in made_of for payload in encode_layer(tiny_ycc, layer, SHAPE, ignore)]
    chunks = [pack(past.positions, past.corrections), *payloads]
    return file_of(past.pixels(), Coded(container.Coding(PastMethod.number, 0, fields), chunks))


BOXES = [(0, 0, 1, 1), (139, 99, 140, 100), (63, 63, 65, 65), (64, 64, 128, 100), (10, 70, 139, 71)]


def assert_parts(data, pixels, model=None, some=BOXES):
    for box in some:
        left, top, right, bottom = box
        found = codec.decode(data, box=box, model=model, device=CPU)
        expected = pixels[top:bottom, left:right]
        assert (found == (expected[..., 0] if pixels.shape[2] == 1 else expected)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_parts_by_a_network(channels, tiny):
    pixels = picture(*SIZE, channels)
    assert_parts(file_of(pixels, networked(pixels, tiny)), pixels, TINY)


@pytest.mark.parametrize("past", list(pasts()), ids=lambda past: past.sampling.filter.name)
def test_parts_of_pasts(past):
    pixels, tiny_ycc = past.pixels(), IntegerImageGPT.load(TINY_YCC, CPU)
    assert_parts(with_past(past, tiny_ycc), pixels, TINY_YCC)


@settings(deadline=None, max_examples=200)
@given(st.data(), st.sampled_from(FILTERS), st.integers(1, 90), st.integers(1, 90), st.integers(0, 1))
def test_upsampling_needs_the_cells_of_a_part_only(data, filter_, height, width, ring):
    sampling = Sampling(filter_, data.draw(st.integers(0, filter_.down - 1)), data.draw(st.integers(0, filter_.across - 1)), ring)
    small = np.random.default_rng(0).integers(0, 256, (2, *sampling.small_shape(height, width))).astype(np.uint8)
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = Box(left, top, data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height)))
    cells = sampling.cells(box, height, width)
    others = 255 - small
    others[:, cells.rows, cells.columns] = small[:, cells.rows, cells.columns]
    found, right = (sampling.upsampled(some, height, width)[:, box.rows, box.columns] for some in (others, small))
    assert (found == right).all()
    assert (sampling.upsampled(others, height, width, box.rows)[:, box.rows, box.columns] == right).all()


def test_parts_by_bands(monkeypatch):
    monkeypatch.setattr(bands, "MAX_BAND_PIXELS", 1 << 11)
    pixels = picture(*SIZE, 4) // 60 * 60
    assert_parts(file_of(pixels, coded_by(Mixing(), pixels)), pixels)
    deep = pixels[:40].astype(np.uint16) * 251
    assert_parts(file_of(deep, coded_by(DeepMixing(), deep)), deep, some=[(0, 0, 140, 40), (3, 21, 90, 24)])
    assert_parts(file_of(pixels, coded_by(Stored(), pixels)), pixels)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0", "grey"])
def test_parts_of_decoded_jpegs(subsampling, monkeypatch):
    monkeypatch.setattr(coefficients, "ALONE_BAND_BLOCKS", 40)
    pixels = smooth(*SIZE)
    pixels = decoded_grey(pixels) if subsampling == "grey" else decoded_jpeg(pixels, subsampling=subsampling)
    data = file_of(pixels, coded_by(DecodedJpeg(), pixels, level="fast"))
    assert len(read(data).chunks) > 3
    assert_parts(data, pixels)


def decoded_grey(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(stream, "JPEG", quality=85)
    return np.asarray(Image.open(stream))[..., None]


def test_parts_of_other_representations(tiny):
    """Ranks, a palette's colours, alpha apart, few bits; through the image, too."""
    pixels = picture(*SIZE, 4)
    colour, alpha = (np.ascontiguousarray(part) for part in np.split(pixels, [-1], 2))
    data = file_of(pixels, networked(colour, tiny), networked(alpha, tiny))
    assert_parts(data, pixels, TINY)
    assert codec.decompress(data, box=(5, 9, 77, 99), model=TINY, device=CPU).tobytes() == pixels[9:99, 5:77].tobytes()
    few = pixels[..., :3] // 40 * 40
    assert_parts(codec.compress(few, device=CPU), few)
    image = Image.fromarray(few).quantize(8)
    data = codec.compress(image, device=CPU)
    assert_parts(data, np.asarray(image)[..., None])
    part = codec.decompress(data, box=(5, 9, 77, 99), device=CPU)
    assert part.convert("RGB").tobytes() == image.convert("RGB").crop((5, 9, 77, 99)).tobytes()


@pytest.mark.parametrize("box", [(0, 0, 0, 1), (5, 5, 5, 9), (-1, 0, 5, 5), (0, 0, 141, 5), (0, 99, 5, 101), (9, 9, 3, 3)])
def test_parts_that_are_not_there(box, tiny):
    pixels = picture(*SIZE, 3)
    for data in (file_of(pixels, networked(pixels, tiny)), codec.compress(jpeg_file(pixels), device=CPU)):
        with pytest.raises(IgptError, match="there are no"):
            codec.decode(data, box=box, model=TINY, device=CPU)


def jpeg_file(pixels, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


def test_a_part_of_a_jpeg_file():
    file = jpeg_file(smooth(*SIZE))
    data, image = codec.compress(file, device=CPU), Image.open(io.BytesIO(file))
    assert codec.decompress(data, box=(5, 9, 77, 99), device=CPU).tobytes() == image.crop((5, 9, 77, 99)).tobytes()
    assert (codec.decode(data, box=(5, 9, 77, 99), device=CPU) == np.asarray(image)[9:99, 5:77]).all()


class Watched(io.BytesIO):
    """A file object that counts the bytes that are read of it."""

    count = 0

    def read(self, size=-1, /):
        found = super().read(size)
        self.count += len(found)
        return found


def test_only_what_a_part_needs_is_read(tiny, monkeypatch):
    """And decoded; also where another chunk is damaged."""
    pixels = picture(*SIZE, 3)
    data = file_of(pixels, networked(pixels, tiny))
    groups, right = [], layers.Decoding
    monkeypatch.setattr(layers, "Decoding", lambda engine, payloads: groups.append(len(payloads)) or right(engine, payloads))
    stream = Watched(data)
    assert (codec.decode(stream, box=(64, 64, 128, 100), model=TINY, device=CPU) == pixels[64:100, 64:128]).all()
    assert groups == [1]
    chunks = read(data).chunks
    assert stream.count <= container.FIRST_BYTES + chunks.sizes[4] + 4
    done = []
    codec.decode(data, box=(60, 0, 70, 9), model=TINY, device=CPU, progress=done.append)
    assert sum(done) == 10 * 9
    wrong = bytearray(data)
    wrong[-1] ^= 1
    assert (codec.decode(bytes(wrong), box=(0, 0, 9, 9), model=TINY, device=CPU) == pixels[:9, :9]).all()
    with pytest.raises(DamagedError, match="chunk 6 of 6"):
        codec.decode(bytes(wrong), box=(130, 90, 140, 100), model=TINY, device=CPU)
    with pytest.raises(TruncatedError):
        codec.decode(data[: len(data) // 2 - sum(chunks.sizes) // 2], box=(0, 0, 9, 9), model=TINY, device=CPU)


def test_the_command_reads_only_what_a_part_needs(tiny, tmp_path, monkeypatch):
    """Of several files, too; standard input is read to its end."""
    pixels = picture(*SIZE, 3)
    data = file_of(pixels, networked(pixels, tiny))
    paths, opened, right = [tmp_path / f"{k}.igpt" for k in range(3)], [], Path.open
    for path in paths:
        path.write_bytes(data)

    def watched(self, *args, **kwargs):
        if self not in paths:
            return right(self, *args, **kwargs)
        opened.append(Watched(data))
        return opened[-1]

    monkeypatch.setattr(Path, "open", watched)
    monkeypatch.setattr(container, "FIRST_BYTES", 200)  # of a file of that size
    crop = ("decompress", "--crop", "64,64,64,36", "--model", TINY)
    assert igpt(*crop, *paths, "--out-dir", tmp_path).exit_code == 0
    needed = read(data).chunks.sizes[4] + 4
    assert sum(stream.count for stream in opened) <= 3 * (needed + 4 * 200) < len(data)
    expected = pixels[64:100, 64:128].tobytes()
    assert all(Image.open(path.with_suffix(".png")).tobytes() == expected for path in paths)
    assert igpt(*crop, "-", "-", data=data).stdout_bytes == paths[0].with_suffix(".png").read_bytes()


def test_no_file_is_larger_than_a_picture_of_its_size_can_be(tmp_path):
    """Which shows before much of it is read."""
    path = tmp_path / "x.igpt"
    for data in (codec.compress(np.zeros((9, 9), np.uint8), device=CPU), codec.compress(jpeg_file(smooth(9, 9)), device=CPU)):
        path.write_bytes(data)
        os.truncate(path, 1 << 40)
        for box in (None, (0, 0, 3, 3)):
            with pytest.raises(TooLargeError, match="which no picture of its size needs"):
                codec.decode(path, box=box, device=CPU)
    assert "which no picture of its size needs" in igpt("decompress", "--crop", "0,0,3,3", path).stderr
    for command in ("decompress", "verify", "info"):
        assert "which no picture within the limit on pixels needs" in igpt(command, path).stderr
    head = container.head_of(data)._replace(width=1 << 24, height=1 << 24, form=Form(GREY, 8))
    path.write_bytes(head.to_bytes())
    os.truncate(path, 1 << 40)
    for command in (["decompress"], ["verify"], ["decompress", "--crop", "0,0,3,3"]):
        assert "more than the limit of 178,956,970" in igpt(*command, path).stderr


def test_file_objects_and_paths(tiny, tmp_path):
    pixels = picture(40, 50, 3)
    data, path = with_network(pixels), tmp_path / "x.igpt"
    path.write_bytes(data)
    stream = io.BytesIO(data)
    stream.seek(7)
    for source in (data, path, str(path), stream, stream):
        assert codec.info(source).width == 50
        assert (codec.decode(source, model=TINY, device=CPU) == pixels).all()
        assert (codec.decode(source, box=(1, 2, 3, 4), model=TINY, device=CPU) == pixels[2:4, 1:3]).all()
    for wrong in (7, None, [data]):
        with pytest.raises(TypeError, match="a file object"):
            codec.decode(wrong)


@pytest.mark.parametrize(("width", "height"), [(200, 170), (33, 500), (31, 31)])
def test_groups_that_cover_a_box(width, height):
    grid = Grid(width, height)
    rng = np.random.default_rng(0)
    for _ in range(50):
        left, top = int(rng.integers(width)), int(rng.integers(height))
        box = Box(left, top, int(rng.integers(left + 1, width + 1)), int(rng.integers(top + 1, height + 1)))
        met = [of.box for of in grid.groups(SHAPE) if of.box.meets(box)]
        covering = grid.covering(box, SHAPE)
        ends = min(width, max(of.right for of in met)), min(height, max(of.bottom for of in met))
        assert covering == (min(of.left for of in met), min(of.top for of in met), *ends)


# Previews and thumbnails


@contextmanager
def nothing_decoded(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("codec.thumbnails.decompress_file", None)
        yield


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "1", "deep", "JPEG"])
def test_thumbnails(mode, monkeypatch):
    pixels = smooth(90, 120)
    if mode == "deep":
        source = pixels.astype(np.uint16) * 257
    else:
        image = Image.fromarray(pixels).convert("RGB" if mode == "JPEG" else mode)
        if mode in ("LA", "RGBA"):
            image.putalpha(Image.fromarray(pixels[..., 1]))
        source = jpeg_file(np.asarray(image)) if mode == "JPEG" else image
    data = codec.compress(source, preview=True, device=CPU)
    assert 0 < codec.info(data).preview_bytes == len(read(data).front.boxes[PREVIEW])
    with nothing_decoded(monkeypatch):
        small = codec.thumbnail(data, device=CPU)
    assert small.size == (15, 12)
    assert small.mode == ("RGBA" if mode in ("LA", "RGBA") else "RGB")
    without = codec.compress(source, device=CPU)
    assert len(without) < len(data)
    assert codec.info(without).preview_bytes == 0
    large = codec.thumbnail(without, 60, device=CPU)
    assert (large.size, large.mode) == ((60, 45), small.mode)
    near = np.asarray(large.convert("RGB").resize(small.size), np.int64) - np.asarray(small.convert("RGB"))
    assert mode == "1" or np.abs(near).mean() < 12
    assert (codec.decode(data, device=CPU) == codec.decode(without, device=CPU)).all()


def test_a_jpeg_that_cannot_be_shown_gets_no_preview(caplog):
    """It is kept all the same."""
    file = jpeg_file(smooth(40, 50))[:400]
    data = codec.compress(file, preview=True, device=CPU)
    assert codec.jpeg_file(data, device=CPU) == file
    assert codec.info(data).preview_bytes == 0
    assert "no preview is made" in caplog.text


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("orientation", [1, 6, 3, 99])
def test_thumbnails_are_turned(orientation, kept):
    pixels, exif = smooth(80, 160), Image.Exif()
    exif[0x0112] = orientation
    if kept:
        source = jpeg_file(pixels, exif=exif)
    else:
        source = Image.fromarray(pixels)
        source.info["exif"] = exif.tobytes()
    for preview in (True, False):
        small = codec.thumbnail(codec.compress(source, preview=preview, device=CPU), 20, device=CPU)
        assert small.size == ((10, 20) if orientation == 6 else (20, 10))
        assert not small.getexif()


@pytest.mark.parametrize("body", [b"", b"no WebP", None])
def test_wrong_previews_hurt_nobody(body):
    """But who wants to see them. None: one that is too large."""
    pixels = smooth(40, 50)
    if body is None:
        stream = io.BytesIO()
        Image.fromarray(pixels[:6, :7]).save(stream, "WEBP")
        body = stream.getvalue()
    front, chunks = read(codec.compress(pixels, device=CPU))
    data = written(front.head, {**front.boxes, PREVIEW: body}, front.codings, chunks)
    assert (codec.decode(data, device=CPU) == pixels).all()
    with pytest.raises((DamagedError, UnsupportedImageError), match="preview"):
        codec.thumbnail(data, device=CPU)
