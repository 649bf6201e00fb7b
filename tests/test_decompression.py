"""Files -> pictures: several at once, of which one that is damaged spoils no other; groups of tiles; sizes that are refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import codec
from bitstream import container
from bitstream.container import LEVELS, METADATA, Coding, Head, read, written
from bitstream.errors import DamagedError, ModelError, NewerVersionError, TooLargeError
from bitstream.form import Form
from codec import decompression
from codec.decompression import decompress_files
from codec.many import tasks
from codec.many.planning import in_batches
from codec.many.tasks import Compression, Decompression, Job
from codec.methods.method import ModelName
from codec.methods.mixing import DeepMixing, Mixing
from codec.methods.network import Fields
from codec.methods.stored import Stored
from codec.network.layers import NO_SURROUNDINGS, Layer, Request, decode_layers, encode_layer
from codec.network.model import IntegerImageGPT
from codec.options import Options
from codec.progress import ignore
from codec.representations import digest_of
from codec.tiling.planes import RGB, pixels_to_planes, planes_to_pixels
from codec.tiling.tiles import Grid, Shape
from tests import plain_decoder
from tests.conftest import TINY, coded_by, decoded_jpeg, file_of, picture, remade, smooth, with_network, with_past

CPU_ONLY = Options(device="cpu")


def together(files, **options):
    return decompress_files([*map(read, files)], CPU_ONLY, **options)


def some_files():
    """Pictures of all methods, and their files."""
    pixels = {
        "rgb": picture(32, 32, 3),
        "larger": picture(40, 70, 3, 1),
        "grey": smooth(33, 31)[..., :1],
        "past": decoded_jpeg(smooth(64, 90)),
        "small": picture(5, 3, 3),
        "alpha": picture(20, 50, 4),
        "mixing": np.full((9, 8, 3), 7, np.uint8),
        "deep": picture(9, 20, 2).astype(np.uint16) * 257,
        "stored": picture(7, 9, 3),
    }
    made = {
        "past": with_past,
        "mixing": lambda p: file_of(p, coded_by(Mixing(), p)),
        "deep": lambda p: file_of(p, coded_by(DeepMixing(), p)),
        "stored": lambda p: file_of(p, coded_by(Stored(), p)),
    }
    return pixels, {name: made.get(name, with_network)(p) for name, p in pixels.items()}


PIXELS, FILES = some_files()


def test_files_of_all_methods_together(only_tiny_models):
    done = []
    found = together(FILES.values(), progress=done.append)
    for expected, back in zip(PIXELS.values(), found, strict=True):
        assert back.pixels.dtype == expected.dtype
        assert (back.pixels == expected).all()
    assert sum(done) == sum(p.shape[0] * p.shape[1] for p in PIXELS.values())
    assert together([]) == []


def test_alike_layers_go_through_the_network_together(only_tiny_models, monkeypatch):
    """Of the same kind, whatever file they are in."""
    asked, right = [], decompression.decode_layers
    monkeypatch.setattr(decompression, "decode_layers", lambda some, told: asked.append([r.kind.name for r in some]) or right(some, told))
    together(FILES.values())
    assert asked == [["rgb"] * 4, ["grey"] * 2, ["jpeg chroma"], ["jpeg luma"]]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_among_others(name, only_tiny_models):
    """Its payload is noise of the same length, with checksums that are right."""
    chunks = [np.random.default_rng(0).bytes(len(chunk)) for chunk in read(FILES[name]).chunks]
    found = together([remade(data, chunks=chunks) if each == name else data for each, data in FILES.items()])
    for each, back in zip(FILES, found, strict=True):
        if each == name:
            assert isinstance(back, DamagedError)
        else:
            assert (back.pixels == PIXELS[each]).all()


def test_a_file_that_cannot_be_begun_among_others(only_tiny_models):
    """As it is too large, its boxes are wrong, its chunks too few, or its model and method are unknown."""
    good, network = FILES["rgb"], FILES["larger"]
    bad = {
        "too large": remade(good, width=1 << 15, height=1 << 15),
        "levels": remade(good, boxes={LEVELS: b"\0"}),
        "chunks": remade(network, height=10_000),
        "needs the model": remade(network, codings=[Coding(3, 0, b"\3\2" + bytes(16) + b"\4none")]),
        "method 9": remade(good, codings=[Coding(9)]),
    }
    found = together([good, *bad.values(), network])
    assert [type(error) for error in found[1:-1]] == [TooLargeError, DamagedError, DamagedError, ModelError, NewerVersionError]
    assert (found[0].pixels == PIXELS["rgb"]).all()
    assert (found[-1].pixels == PIXELS["larger"]).all()


def test_a_network_that_cannot_run_stops_no_other_file(only_tiny_models, monkeypatch):
    right = decompression.decode_layers

    def wrong(requests, progress):
        if requests[0].kind is RGB:
            raise ModelError
        return right(requests, progress)

    monkeypatch.setattr(decompression, "decode_layers", wrong)
    found = dict(zip(FILES, together(FILES.values()), strict=True))
    assert {name for name, back in found.items() if isinstance(back, ModelError)} == {"rgb", "larger", "small", "alpha"}
    assert (found["past"].pixels == PIXELS["past"]).all()


# Groups of tiles


@pytest.mark.parametrize(
    ("size", "shape"),
    [((130, 100), (2, 3)), ((130, 100), (5, 1)), ((33, 161), (1, 4)), ((161, 33), (4, 9)), ((64, 64), (256, 1)), ((70, 65), (1, 1))],
)
def test_groups_are_rectangles_that_are_decoded_apart(size, shape, tiny):
    """Each from its own chunk, which holds what it holds in a picture that has nothing but its pixels."""
    width, height = size
    pixels, grid, shape = picture(height, width, 3), Grid(width, height), Shape(*shape)
    payloads = encode_layer(tiny, Layer(RGB, pixels_to_planes(pixels)), shape, ignore)
    columns, rows = -(-width // 32), -(-height // 32)
    across = -(-columns // shape.columns)
    assert len(payloads) == grid.groups(shape) == across * -(-rows // shape.rows)
    for k, payload in enumerate(payloads):
        y, x = 32 * shape.rows * (k // across), 32 * shape.columns * (k % across)
        part = pixels[y : y + 32 * shape.rows, x : x + 32 * shape.columns]
        request = Request(tiny, RGB, (part.shape[1], part.shape[0]), NO_SURROUNDINGS, shape, [payload])
        (planes,) = decode_layers([request], ignore)
        assert (planes_to_pixels(planes) == part).all()
    fields = Fields(shape, ModelName(tiny.digest, "tiny")).to_bytes()
    data = written(Head(width, height, Form(2, 8), digest_of(pixels)), {}, [Coding(3, 0, fields)], payloads)
    assert (codec.decode(data, model=TINY, device="cpu") == pixels).all()


@pytest.mark.parametrize("most", [1, 4, 5, 256])
@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 500), (500, 33), (300, 200)])
def test_groups_cover_every_tile_once(size, most):
    grid = Grid(*size)
    shape = grid.shape(most)
    assert shape.tiles <= most
    seen = np.zeros((grid.rows, grid.columns), int)
    for number in range(grid.groups(shape)):
        of = grid.group(number, shape)
        seen[of.row : of.row + of.rows, of.column : of.column + of.columns] += 1
        assert (0, 0) < (of.rows, of.columns) <= (shape.rows, shape.columns)
        room = grid.extents(of)
        assert room.prod(1).sum() == grid.samples_in(of)
    assert (seen == 1).all()


def test_groups_are_few_alike_and_square():
    assert Grid(32 * 16, 32 * 16).shape(256) == (16, 16)
    assert Grid(32 * 300, 32).shape(256) == (150, 1)
    assert Grid(32, 32 * 300).shape(256) == (1, 150)
    assert Grid(32 * 24, 32 * 16).shape(256) == (12, 16)
    for width, height in ((4000, 3000), (2048, 2048), (6000, 300), (300, 6000)):
        grid = Grid(width, height)
        assert grid.groups(grid.shape(256)) <= -(-grid.tiles // 256) * 1.5 + 1


@pytest.mark.parametrize("fields", [b"\0\1", b"\1\0", b"\x81\2\2", b"\2\x81\2", b"\xff\xff\xff\xff\x0f\1"])
def test_groups_that_cannot_be_are_refused(fields, tiny):
    data = with_network(picture(20, 20, 3))
    codings = [Coding(3, 0, fields + tiny.digest + b"\4tiny")]
    with pytest.raises(DamagedError, match=r"out of range"):
        codec.decode(remade(data, codings=codings), model=TINY, device="cpu")
    with pytest.raises(DamagedError, match=r"out of range"):
        codec.info(remade(data, codings=codings))


def test_the_sizes_of_payloads(tiny, monkeypatch):
    """Too few or too many chunks, and those that are too short for their pixels, are refused before anything is decoded."""
    monkeypatch.setattr(decompression, "decode_layers", None)
    fields = [Coding(3, 0, Fields(Shape(16, 16), ModelName(tiny.digest, "tiny")).to_bytes())]
    data = remade(with_network(picture(20, 20, 3)), codings=fields, width=512, height=512)
    assert plain_decoder.least_bytes(3 * 512 * 512) > 1
    for chunks, match in (
        ([b""], "chunk 1 of 1 has 0 bytes"),
        ([bytes(plain_decoder.least_bytes(3 * 512 * 512) - 1)], "too few for its pixels"),
        ([bytes(40)] * 2, "has 2 chunks, 1 are wanted"),
        ([bytes(40)] * 9, "has 9 chunks, 1 are wanted"),
    ):
        with pytest.raises(DamagedError, match=match):
            codec.decode(remade(data, chunks=chunks), model=TINY, device="cpu")
    with pytest.raises(DamagedError, match="has 3 chunks, which are too few"):
        codec.decode(remade(data, height=2048, chunks=[bytes(40)] * 3), model=TINY, device="cpu")


# Many files at once


def test_batches_are_of_small_pictures(tmp_path):
    many = [Job(tmp_path / str(k), tmp_path / f"{k}.png", pixels) for k, pixels in enumerate([1024] * 300 + [10**6, 0, 0, 5, 5])]
    batches = in_batches(many)
    assert [len(batch) for batch in batches] == [256, 44, 1, 1, 1, 2]
    assert [job for batch in batches for job in batch] == many


def test_a_batch_is_done_as_its_files_alone(tmp_path):
    some = [picture(32, 32, 3, seed) for seed in range(3)]
    for k, pixels in enumerate(some):
        (tmp_path / f"{k}.igpt").write_bytes(with_network(pixels))
    (tmp_path / "1.igpt").write_bytes(b"damaged")
    reports = []
    batch = [Job(tmp_path / f"{k}.igpt", tmp_path / f"{k}.png", 1024) for k in (0, 1, 2, 9)]
    task = Decompression(options=Options(model=TINY, device="cpu"))
    results = {result.job.source.stem: result for result in task.run_batch(batch, lambda pixels, more: reports.append((pixels, more)))}
    assert {name for name, result in results.items() if result.error} == {"1", "9"}
    for k in (0, 2):
        assert (np.asarray(Image.open(tmp_path / f"{k}.png")) == some[k]).all()
    assert sum(pixels for pixels, _ in reports) == 2 * 1024
    assert sum(pixels for pixels, _ in reports) == 4 * 1024 + sum(more for _, more in reports)


def test_what_is_unexpected_stops_no_other_file(tmp_path, monkeypatch):
    right, some = decompression.decompress_files, [picture(32, 32, 3, seed) for seed in range(3)]
    packed = [with_network(pixels) for pixels in some]
    for k, data in enumerate(packed):
        (tmp_path / f"{k}.igpt").write_bytes(data)

    def short_of_memory(files, *rest):
        if read(packed[1]) in files:
            raise MemoryError
        return right(files, *rest)

    monkeypatch.setattr(decompression, "decompress_files", short_of_memory)
    batch = [Job(tmp_path / f"{k}.igpt", tmp_path / f"{k}.png", 1024) for k in range(3)]
    results = list(Decompression(options=Options(model=TINY, device="cpu")).run_batch(batch, lambda _, __: None))
    assert [(result.job.source.stem, bool(result.error)) for result in results] == [("0", False), ("1", True), ("2", False)]


def test_a_box_that_is_empty_stops_no_other_file(tmp_path):
    right = with_network(picture(5, 6, 3))
    for k, data in enumerate([right, remade(right, boxes={METADATA: b""}), right]):
        (tmp_path / f"{k}.igpt").write_bytes(data)
    batch = [Job(tmp_path / f"{k}.igpt", tmp_path / f"{k}.png", 30) for k in range(3)]
    results = Decompression(options=Options(model=TINY, device="cpu")).run_batch(batch, lambda _, __: None)
    assert {result.job.source.stem for result in results if result.error} == {"1"}


def test_a_named_model_is_read_once_and_its_files_are_decoded_together(tmp_path, monkeypatch):
    loads, asked, load, decode = [], [], IntegerImageGPT.load, decompression.decode_layers
    folder = shutil.copytree(TINY, tmp_path / "mine")
    for k in range(5):
        (tmp_path / f"{k}.igpt").write_bytes(with_network(picture(32, 32, 3, k)))
    monkeypatch.setattr(IntegerImageGPT, "load", lambda *arguments: loads.append(arguments) or load(*arguments))
    monkeypatch.setattr(decompression, "decode_layers", lambda some, told: asked.append(len(some)) or decode(some, told))
    batch = [Job(tmp_path / f"{k}.igpt", tmp_path / f"{k}.png", 1024) for k in range(5)]
    results = list(Decompression(options=Options(model=folder, device="cpu")).run_batch(batch, lambda _, __: None))
    assert not any(result.error for result in results)
    assert asked == [5]
    assert [Path(where) for where, _ in loads] == [folder]
    (folder / "config.json").write_text((folder / "config.json").read_text().replace('window": 40', 'window": 32'))  # another model
    again = list(Decompression(options=Options(model=folder, device="cpu"), force=True).run_batch(batch[:2], lambda _, __: None))
    assert all("needs the model" in result.error for result in again)


def test_a_file_is_read_once(tmp_path, monkeypatch):
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * (tasks.BATCH_METADATA + 1))
    for k in range(3):
        image = Image.fromarray(np.full((5, 6, 4), k, np.uint8))
        image.save(tmp_path / f"{k}.png", pnginfo=text if k == 2 else None)
        compressed = Compression(options=Options(device="cpu")).run(Job(tmp_path / f"{k}.png", tmp_path / f"{k}.igpt"), lambda _, __: None)
        assert not compressed.error
    reads = []
    monkeypatch.setattr(container, "read", lambda data: reads.append(data) or read(data))
    done, task = [], Decompression(options=Options(device="cpu"), force=True)
    for batch in ([0], [0, 1, 2]):
        some = [Job(tmp_path / f"{k}.igpt", tmp_path / f"back-{k}.png", 30) for k in batch]
        results = list(task.run_batch(some, lambda pixels, more: done.append((pixels, more))))
        assert [result.error for result in results] == [""] * len(batch)
        assert len(reads) == len(batch)
        assert sum(pixels for pixels, _ in done) == 30 * len(batch)
        assert sum(more for _, more in done) == 0
        reads.clear()
        done.clear()


def test_batches_leave_work_for_every_process():
    assert Decompression().batch_files(100, 4) == 25
    assert Compression().batch_files(100, 4) == 1
