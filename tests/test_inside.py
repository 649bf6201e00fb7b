"""The JPEG inside a picture: found, and decoded as libjpeg does it."""

import io
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from PIL import Image

from codec.inside import blocks, finding, kernel
from codec.inside.antecedent import DECODERS, LIBJPEG, STB, ZUNE, Antecedent, Layout, decoded
from codec.inside.costs import estimated_bytes
from codec.inside.finding import inside
from codec.inside.steps import TABLES
from codec.jit import run
from codec.pasts.chroma import FILTERS, FULL, Sampling
from codec.pasts.past import recognised
from codec.progress import ignore
from tests.conftest import GOLDEN, smooth
from tests.plain_decoder import COARSE, FINE, inverse

SUBSAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}  # Pillow's numbers


def jpeg(pixels, quality, subsampling="4:2:0"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=SUBSAMPLINGS[subsampling])
    return file.getvalue()


def through(pixels, quality, subsampling="4:2:0"):
    """Saved as a JPEG and decoded, (height, width, channels)."""
    out = np.asarray(Image.open(io.BytesIO(jpeg(pixels, quality, subsampling))))
    return out.reshape(*out.shape[:2], -1)


def found(pixels):
    return inside(pixels, recognised(pixels) if pixels.shape[2] == 3 else None)


def assert_found(pixels, most):
    """It comes back to the bit, with at most so many exceptions."""
    antecedent = found(pixels)
    assert antecedent is not None
    assert np.array_equal(antecedent.pixels(), pixels)
    assert len(antecedent.positions) <= most
    return antecedent


# The decoder's way


def plain_block(coefficients, steps, decoder):
    """FORMAT-inside.md, with Python's integers: 64 coefficients -> 8 rows of 8 samples."""
    constants, shifts = (COARSE, (10, 17)) if decoder.code else (FINE, (11, 18))
    more = 512 if decoder is ZUNE else 0
    places = sorted(product(range(8), range(8)), key=lambda p: (sum(p), p[0] if sum(p) % 2 else p[1]))
    block = [[0] * 8 for _ in range(8)]
    for (y, x), coefficient, step in zip(places, coefficients.tolist(), steps.tolist(), strict=True):
        block[y][x] = coefficient * step
    columns = [inverse([row[x] for row in block], constants, shifts[0], 0) for x in range(8)]
    rows = [inverse([column[y] for column in columns], constants, shifts[1], more) for y in range(8)]
    return [[min(max(v + 128, 0), 255) for v in row] for row in rows]


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.code)
@pytest.mark.parametrize(("largest", "step"), [(3, 20), (200, 255), (32767, 65535)])
def test_the_transform_is_that_of_the_document(largest, step, decoder):
    rng = np.random.default_rng(largest)
    steps = rng.integers(1, step + 1, 64)
    coefficients = rng.integers(-largest - 1, largest + 1, (2, 3, 64)).astype(np.int16)
    coefficients[0, 0], coefficients[0, 1] = -largest - 1, np.where(np.arange(64) % 2, largest, -largest - 1)
    samples = decoded(coefficients, steps, decoder, (0, 0), (16, 24))
    for row, column in product(range(2), range(3)):
        part = samples[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        assert part.tolist() == plain_block(coefficients[row, column], steps, decoder)


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.code)
def test_extremes_do_not_overflow(decoder):
    """The largest sums of all: every product and every sign that adds up."""
    rng = np.random.default_rng(0)
    signs = np.concatenate([np.sign(kernel.BASES.T).round(), rng.choice([-1, 1], (64, 64))]).astype(np.int64)
    coefficients = np.where(signs > 0, 32767, -32768).astype(np.int16)[None]
    steps = np.full(64, 65535)
    samples = decoded(coefficients, steps, decoder, (0, 0), (8, 8 * len(signs)))
    for column in range(len(signs)):
        assert samples[:, 8 * column : 8 * column + 8].tolist() == plain_block(coefficients[0, column], steps, decoder)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", [(48, 64), (37, 51), (18, 33), (9, 17), (1, 1)])
def test_pixels_are_those_of_the_installed_decoder(size, subsampling):
    """Of flat tiles in random colours, whose coefficients are known: all but DC are 0, in blocks beyond the edge, too."""
    height, width = size
    quality, tiles = 75, (-(-height // 16), -(-width // 16))
    tables = [TABLES[0][quality - 1], TABLES[1][quality - 1]]
    samples = np.random.default_rng(1).integers(-60, 60, (*tiles, 3))
    dc = np.stack([np.rint(8 * samples[..., k] / tables[min(k, 1)][0]) for k in range(3)], -1).astype(int)
    samples = np.stack([128 + np.rint(dc[..., k] * tables[min(k, 1)][0] / 8) for k in range(3)], -1)  # so that nothing is rounded twice
    flat = samples.repeat(16, 0).repeat(16, 1)[:height, :width].astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(flat, "YCbCr").save(file, "JPEG", quality=quality, subsampling=SUBSAMPLINGS[subsampling])
    filter_ = next(one for one in FILTERS if one.name == subsampling)
    layout, coefficients = Layout(height, width, Sampling(filter_), 0, 0), []
    for k, (rows, columns) in enumerate(layout.blocks):
        down, across = (2, 2) if k == 0 else (2 // filter_.down, 2 // filter_.across)  # blocks of a tile
        of_component = np.zeros((rows, columns, 64), np.int16)
        of_component[..., 0] = dc[..., k].repeat(down, 0).repeat(across, 1)[:rows, :columns]
        coefficients.append(of_component)
    made = Antecedent(layout, [tables[0], tables[1], tables[1]], coefficients, np.zeros(0, np.int64), np.zeros((0, 3), np.uint8))
    assert np.array_equal(made.pixels(), np.asarray(Image.open(file)))


# The search


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [60, 75, 90])
def test_decoded_jpegs_are_found(photograph, quality, subsampling):
    antecedent = assert_found(through(photograph[40:232, 100:292], quality, subsampling), 8)
    assert antecedent.layout.sampling.filter.name == subsampling
    assert np.array_equal(antecedent.steps[0], TABLES[0][quality - 1])


def test_coefficients_are_the_jpegs(photograph):
    """Saved again with the same tables, nothing is lost: the file made of what was found is as small as the first."""
    pixels = through(photograph[:192, :192], 75)
    antecedent = assert_found(pixels, 0)
    size = len(jpeg(photograph[:192, :192], 75))
    assert 0.6 * size < estimated_bytes(antecedent) < 0.95 * size


@pytest.mark.parametrize("size", [(97, 129), (100, 127), (111, 124)])
def test_edges_of_any_size(photograph, size):
    assert_found(through(photograph[: size[0], : size[1]], 75), 60)
    assert_found(through(photograph[: size[0], : size[1]], 75, "4:4:4"), 60)


@pytest.mark.parametrize(("top", "left"), [(3, 6), (8, 0), (5, 8)])
def test_crops(photograph, top, left):
    """The blocks begin elsewhere."""
    pixels = through(photograph, 75)[top : top + 160, left : left + 192]
    antecedent = assert_found(np.ascontiguousarray(pixels), 1200)
    assert (antecedent.layout.top, antecedent.layout.left) == (top, left)
    full = np.ascontiguousarray(through(photograph, 75, "4:4:4")[top : top + 160, left : left + 192])
    assert_found(full, 100)


@pytest.mark.parametrize("quality", [50, 75, 90, 95])
def test_grey(photograph, quality):
    assert_found(through(photograph[:128, :160, 1], quality), 20)
    assert_found(np.ascontiguousarray(through(photograph[..., 1], quality)[3:131, 6:166]), 80)


def test_clipped_blocks():
    """Strokes in white and black on a picture, beyond whose limits their blocks reach."""
    pixels = smooth(128, 128)[..., 0]
    pixels[20:60, 30:34], pixels[40:44, 10:80], pixels[70:90:3, 20:60] = 0, 255, 255
    decoded_ = through(pixels, 75)
    assert ((decoded_ == 0) | (decoded_ == 255)).sum() > 300
    assert_found(decoded_, 30)


def test_of_hopeless_blocks_few_are_tried(monkeypatch):
    """Noise at the limits that was no JPEG."""
    tried = []
    monkeypatch.setattr(
        finding, "run", lambda kernel, parts, *rest, **more: (tried.append((kernel, parts)), run(kernel, parts, *rest, **more))
    )
    noise = np.random.default_rng(0).choice(np.array([0, 3, 128, 255], np.uint8), (256, 256))
    _, wrong = finding.solved(finding.Plane(noise, noise, noise, 0, 0), TABLES[0][94], (32, 32), LIBJPEG)
    assert (wrong > 0).sum() > 500
    assert sum(parts for kernel, parts in tried if kernel is blocks.likeliest) <= 64


@pytest.mark.parametrize("filter_", FILTERS[3:7], ids=lambda filter_: filter_.name)
def test_samplings_that_pillow_does_not_write(filter_, photograph):
    """Made of another JPEG's coefficients."""
    first = assert_found(through(photograph[:96, :96], 75, "4:4:4"), 20)
    layout = Layout(96, 96, Sampling(filter_), 0, 0)
    chroma = [coefficients[: layout.blocks[1][0], : layout.blocks[1][1]].copy() for coefficients in first.coefficients[1:]]
    made = Antecedent(layout, first.steps, [first.coefficients[0], *chroma], np.zeros(0, np.int64), np.zeros((0, 3), np.uint8))
    pixels = made.pixels()
    antecedent = found(pixels)
    if antecedent is None:
        pytest.skip("its past is not recognised")
    assert np.array_equal(antecedent.pixels(), pixels)


def by(decoder, pixels):
    """A decoded JPEG as another decoder makes it."""
    antecedent = assert_found(pixels, 20)
    layout = antecedent.layout
    sampling = layout.sampling and replace(layout.sampling, filter=decoder.filters[layout.sampling.filter.code])
    return replace(antecedent, layout=replace(layout, sampling=sampling, decoder=decoder)).pixels()


@pytest.mark.parametrize("decoder", [STB, ZUNE], ids=lambda decoder: decoder.code)
@pytest.mark.parametrize("quality", [50, 75, 90, 95])
def test_greys_of_other_decoders(photograph, quality, decoder):
    pixels = by(decoder, through(photograph[:128, :160, 1], quality))
    assert assert_found(pixels, 20).layout.decoder is decoder
    assert assert_found(np.ascontiguousarray(pixels[3:, 6:]), 150).layout.decoder is decoder


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [75, 90])
def test_colours_of_other_decoders(photograph, quality, subsampling):
    pixels = through(photograph[40:232, 100:292], quality, subsampling)
    antecedent = assert_found(by(STB, pixels), 60)
    assert (antecedent.layout.decoder, antecedent.layout.sampling.filter.name) == (STB, subsampling)
    if subsampling == "4:4:4":
        assert assert_found(by(ZUNE, pixels), 20).layout.decoder is ZUNE


@pytest.mark.parametrize(("name", "decoder"), [("stb-420-80x96", STB), ("stb-grey-72x64", STB), ("zune-444-64x48", ZUNE)])
def test_decoders_are_the_real_ones(name, decoder):
    """What they made is made again to the last pixel; see `make_golden` for their versions."""
    pixels = np.asarray(Image.open(GOLDEN / f"inside-{name}.png"))
    assert assert_found(pixels.reshape(*pixels.shape[:2], -1), 0).layout.decoder is decoder


def test_others_have_none(photograph):
    """Noise, what was never a JPEG, quality 100, and what was scaled, brightened or turned by a little afterwards."""
    rng = np.random.default_rng(0)
    assert found(rng.integers(0, 256, (96, 96, 3)).astype(np.uint8)) is None
    assert found(rng.integers(0, 256, (96, 96, 1)).astype(np.uint8)) is None
    assert found(photograph[:96, :96, :1]) is None
    assert found(smooth(96, 96)) is None
    decoded_ = Image.fromarray(through(photograph, 75))
    for other in (decoded_.resize((300, 200)), decoded_.point(lambda v: v * 7 // 8), decoded_.rotate(3)):
        assert found(np.asarray(other)) is None
        assert found(np.asarray(other.convert("L"))[..., None]) is None
    assert found(through(photograph[:128, :128], 100)) is None


def test_drawings_and_small_pictures_have_none():
    assert found(np.full((64, 64, 1), 77, np.uint8)) is None
    assert found(np.arange(256, dtype=np.uint8).reshape(16, 16, 1)) is None
    for size in ((1, 1), (7, 9), (8, 8)):
        assert found(np.full((*size, 1), 3, np.uint8)) is None
        found(np.full((*size, 3), 200, np.uint8))


def test_threads_do_not_change_what_is_found(photograph, monkeypatch):
    pixels = through(photograph[:131, :139], 90)
    past, results = recognised(pixels), []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        results.append(inside(pixels, past, ignore))
    one, other = results
    assert all(np.array_equal(a, b) for a, b in zip(one.coefficients, other.coefficients, strict=True))
    assert np.array_equal(one.positions, other.positions)


def test_layouts():
    """Blocks cover the picture and no more."""
    layout = Layout(30, 33, Sampling(FILTERS[1], 1, 0, 1), 5, 14)
    assert layout.offsets == [(5, 6), (2, 7), (2, 7)]
    assert layout.sizes == [(30, 33), (16, 17), (16, 17)]
    assert layout.blocks == [(5, 5), (3, 3), (3, 3)]
    assert Layout(16, 17, Sampling(FULL), 0, 0).blocks == [(2, 3)] * 3
    assert Layout(9, 8, None, 7, 0).blocks == [(2, 1)]
