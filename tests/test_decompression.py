"""Files -> pictures: several at once, of which one that is damaged spoils no other; groups of tiles; sizes that are refused."""

import numpy as np
import pytest

import codec
from bitstream.container import LEVELS, Coding, Head, read, written
from bitstream.errors import DamagedError, ModelError, NewerVersionError, TooLargeError
from bitstream.form import Form
from codec import decompression
from codec.decompression import decompress_files
from codec.methods.method import ModelName
from codec.methods.mixing import DeepMixing, Mixing
from codec.methods.network import Fields
from codec.methods.stored import Stored
from codec.network.layers import NO_SURROUNDINGS, Layer, Request, decode_layers, encode_layer
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
    done = []
    found = together([remade(data, chunks=chunks) if each == name else data for each, data in FILES.items()], progress=done.append)
    assert sum(done) <= sum(p.shape[0] * p.shape[1] for p in PIXELS.values())
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
