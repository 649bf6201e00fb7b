"""Files -> pictures: several at once, of which one that is damaged spoils no other; groups of tiles; sizes that are refused."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import codec
from bitstream.container import LEVELS, Coding, Head, read, written
from bitstream.errors import DamagedError, ModelError, NewerVersionError, TooLargeError
from bitstream.form import Form
from codec import decompression, models, threads
from codec.decompression import decompress_files
from codec.methods.method import ModelName
from codec.methods.mixing import DeepMixing, Mixing
from codec.methods.network import Fields
from codec.methods.stored import Stored
from codec.network import layers
from codec.network.coding import encode_groups
from codec.network.engines import engine_of
from codec.network.layers import Layer, encode_layer, sampled
from codec.options import Options
from codec.progress import ignore
from codec.representations import digest_of
from codec.tiling.context import EAST, NORTH, SOUTH, WEST
from codec.tiling.planes import RGB, pixels_to_planes
from codec.tiling.tiles import Grid, Shape, alone, sides, strips_from_planes
from tests import plain_decoder
from tests.conftest import CPU, TINY, TINY_YCC, coded_by, decoded_jpeg, file_of, photo_cd, picture, remade, smooth, with_network, with_past

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
def test_a_group_is_coded_by_itself(size, shape, tiny):
    """Its payload is the same whatever else is in the picture, and it is decoded without the others."""
    width, height = size
    pixels, shape = picture(height, width, 3), Shape(*shape)
    layer = Layer(RGB, pixels_to_planes(pixels))
    grid, payloads = layer.grid, encode_layer(tiny, layer, shape, ignore)
    noise = np.random.default_rng(0).integers(0, 256, layer.planes.shape).astype(np.uint8)
    for of, payload in zip(grid.groups(shape), payloads, strict=True):
        planes = noise.copy()
        own = slice(None), slice(32 * of.row, 32 * (of.row + of.rows)), slice(32 * of.column, 32 * (of.column + of.columns))
        planes[own] = layer.planes[own]
        assert encode_groups(engine_of(tiny, grid.tiles), [Layer(RGB, planes).turns(of)], ignore) == [payload]
    fields = Fields(shape, [ModelName(tiny.digest, "tiny")]).to_bytes()
    data = written(Head(width, height, Form(2, 8), digest_of(pixels)), {}, [Coding(3, 0, fields)], payloads)
    assert (codec.decode(data, model=TINY, device="cpu") == pixels).all()


def test_groups_side_by_side_are_as_if_alone(tiny, monkeypatch):
    """In lockstep, too, with groups that go on to columns and rows that they have not: their last row ends before the tiles do."""
    monkeypatch.setattr(layers, "LEARNING_TILES", 1)
    monkeypatch.setattr(threads, "_all", lambda: 1)
    batches, right = [], layers.Decoding
    monkeypatch.setattr(layers, "Decoding", lambda engine, payloads: batches.append(len(payloads)) or right(engine, payloads))
    for size, shape in (((148, 100), Shape(2, 2)), ((148, 80), Shape(4, 3)), ((20, 100), Shape(1, 4))):
        layer = Layer(RGB, pixels_to_planes(picture(size[1], size[0], 3)))
        payloads = encode_layer(tiny, layer, shape, ignore)
        requests = [layers.Request(tiny, RGB, size, layers.NO_SURROUNDINGS, shape, payloads)]
        wide = Layer(RGB, pixels_to_planes(picture(128, 128, 3)))
        requests.append(layers.Request(tiny, RGB, (128, 128), layers.NO_SURROUNDINGS, shape, encode_layer(tiny, wide, shape, ignore)))
        found = layers.decode_layers(requests, ignore)
        assert (found[0] == layer.planes).all()
        assert (found[1] == wide.planes).all()
    assert max(batches) > 2


def test_turns_of_a_small_grid():
    """Three by two tiles in groups of two by two: that at the right is narrower."""
    turns = [[part.places for part in of.turns] for of in Grid(70, 40).groups(Shape(2, 2))]
    assert turns == [[[(0, 0), (1, 1)], [(0, 1), (1, 0)]], [[(0, 2)], [(1, 2)]]]
    assert [[part.places for part in of.turns] for of in Grid(40, 20).groups(Shape(1, 1))] == [[[(0, 0)]], [[(0, 1)]]]


@pytest.mark.parametrize("most", [1, 4, 5, 256])
@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 500), (500, 33), (300, 200)])
def test_groups_cover_every_tile_once(size, most):
    """In raster order, and in two turns; of tiles of the second one all sides in the group are known, of the others none."""
    grid = Grid(*size)
    shape = grid.shape(most)
    assert shape.tiles <= most
    seen, groups = np.zeros((grid.rows, grid.columns), int), [*grid.groups(shape)]
    for of in groups:
        assert (0, 0) < (of.rows, of.columns) <= (shape.rows, shape.columns)
        assert of.tiles == len(of.places) == sum(part.tiles for part in of.turns)
        assert grid.extents(of).prod(1).sum() == grid.samples_in(of)
        assert [part.turn for part in of.turns] == [0, 1][: of.tiles]
        for part in of.turns:
            assert part.tiles == len(part.places) > 0
            assert part.places == sorted(part.places)
            for (y, x), known in zip(part.places, sides(part), strict=True):
                seen[y, x] += 1
                assert (y - of.row + x - of.column) % 2 == part.turn
                beside = {NORTH: (y - 1, x), WEST: (y, x - 1), EAST: (y, x + 1), SOUTH: (y + 1, x)}
                assert known == (sum(side for side, place in beside.items() if place in of.places) if part.turn else 0)
    assert (seen == 1).all()
    assert groups == sorted(groups)
    assert len(groups) == grid.count(shape)


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 12), st.integers(1, 12))
def test_the_number_of_groups(width, height, columns, rows):
    grid, shape = Grid(width, height), Shape(columns, rows)
    assert grid.count(shape) == len([*grid.groups(shape)])


def test_strips_are_what_lies_beside_a_tile():
    """Beyond the right and the lower edge they repeat the last column and row."""
    planes = np.arange(35 * 70).reshape(1, 35, 70).astype(np.uint8)
    (strips,) = strips_from_planes(planes, [(0, 32)])
    _, west, east, south = np.split(strips[0], 4)
    assert (west.reshape(32, 3) == planes[0, :32, 29:32]).all()
    assert (east.reshape(32, 3) == planes[0, :32, 64:67]).all()
    assert (south.reshape(3, 32) == planes[0, 32:35, 32:64]).all()
    (strips,) = strips_from_planes(planes, [(0, 64)])
    *_, south = np.split(strips[0], 4)
    assert (south.reshape(3, 32)[:, :6] == planes[0, 32:35, 64:]).all()
    assert (south.reshape(3, 32)[:, 6:] == planes[0, 32:35, 69:]).all()
    (strips,) = strips_from_planes(planes[:, :33, :65], [(0, 32)])
    *_, east, south = np.split(strips[0], 4)
    assert (east.reshape(32, 3) == planes[0, :32, 64:65]).all()
    assert (south.reshape(3, 32) == planes[0, 32, 32:64]).all()


@pytest.mark.parametrize("size", [(33, 33), (35, 70), (31, 64), (65, 65), (34, 1), (2, 95)])
def test_partial_tiles_and_their_strips(size):
    """Through every method with a network."""
    for channels in (1, 3):
        pixels = picture(*size, channels)
        back = codec.decode(with_network(pixels), model=TINY, device="cpu")
        assert (back.reshape(pixels.shape) == pixels).all()
    past = photo_cd(*size) if min(size) > 8 else None
    if past is not None:
        assert (codec.decode(with_past(past), model=TINY_YCC, device="cpu") == past).all()


def test_what_lies_at_the_sides_saves_bytes(photograph):
    """The tiles of the second turn of a photograph, as they are and each by itself."""
    layer = Layer(RGB, pixels_to_planes(photograph[60:156, 100:196]))
    engine = engine_of(models.load(None, "rgb", CPU), layer.grid.tiles)
    _, (turn, samples) = layer.turns(layer.grid.whole)
    by_themselves = dataclasses.replace(turn, around=alone(len(samples), RGB.channels))
    known, unknown = (len(encode_groups(engine, [[(some, samples)]], ignore)[0]) for some in (turn, by_themselves))
    assert known < 0.99 * unknown


def test_groups_are_few_alike_and_square():
    assert Grid(32 * 16, 32 * 16).shape(256) == (16, 16)
    assert Grid(32 * 300, 32).shape(256) == (150, 1)
    assert Grid(32, 32 * 300).shape(256) == (1, 150)
    assert Grid(32 * 24, 32 * 16).shape(256) == (12, 16)
    for width, height in ((4000, 3000), (2048, 2048), (6000, 300), (300, 6000)):
        grid = Grid(width, height)
        assert grid.count(grid.shape(256)) <= -(-grid.tiles // 256) * 1.5 + 1


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
    fields = [Coding(3, 0, Fields(Shape(16, 16), [ModelName(tiny.digest, "tiny")]).to_bytes())]
    data = remade(with_network(picture(20, 20, 3)), codings=fields, width=512, height=1024)
    least = max(4, plain_decoder.least_bytes(3 * 512 * 512))
    for chunks, match in (
        ([b""] * 2, "chunk 1 of 2 has 0 bytes"),
        ([bytes(least - 1)] * 2, "chunk 1 of 2 .* too few for its pixels"),
        ([bytes(least), bytes(least - 1)], "chunk 2 of 2 .* too few for its pixels"),
        ([bytes(40)], "has 1 chunks, which are too few"),
        ([bytes(40)] * 3, "has 3 chunks, 2 are wanted"),
        ([bytes(40)] * 9, "has 9 chunks, 2 are wanted"),
    ):
        with pytest.raises(DamagedError, match=match):
            codec.decode(remade(data, chunks=chunks), model=TINY, device="cpu")
    with pytest.raises(DamagedError, match="has 7 chunks, which are too few"):
        codec.decode(remade(data, height=4096, chunks=[bytes(40)] * 7), model=TINY, device="cpu")


@pytest.mark.parametrize("tiles", [33, 40, 256, 1000, 24_576])
def test_tiles_that_tell_the_size_are_spread(tiles):
    """Over rows and columns: those of a group of 16x16, of which every second one is in a turn, begin with 8 columns."""
    chosen = sampled(tiles)
    assert chosen == sorted({*chosen})
    assert chosen[0] >= 0
    assert chosen[-1] < tiles
    assert len(chosen) >= 28
    assert tiles != 256 or len({number % 8 for number in chosen}) == 8
    assert np.diff(chosen).max() < tiles / 8
