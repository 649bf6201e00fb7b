"""Heat maps and sampling say what the coder does."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cli
import codec
from codec.analysis import HOTTEST_BITS, bits_per_pixel, heat_map
from codec.compression import offers
from codec.methods import method_of
from codec.methods.method import Source
from codec.methods.mixing import Mixing
from codec.methods.network import Network
from codec.methods.palette import PublishedPalette
from codec.methods.past import PastMethod
from codec.methods.stored import Stored
from codec.network.costs import layer_costs
from codec.network.layers import Layer
from codec.options import Options
from codec.progress import ignore
from codec.sampling import draw, grid_of
from codec.tiling.planes import kind_of, pixels_to_planes
from tests.conftest import TINY, TINY_PALETTE, TINY_YCC, coded_by, decoded_jpeg, picture, smooth, with_network
from tests.test_mixing import drawing


@pytest.mark.parametrize("channels", [1, 3])
def test_costs_add_up_to_the_payload(tiny, channels):
    pixels = picture(45, 70, channels)
    coded = coded_by(Network(), pixels, model=TINY)
    costs = layer_costs(tiny, Layer(kind_of(channels), pixels_to_planes(pixels)))
    assert costs.bits.shape == costs.ranks.shape == (channels, 45, 70)
    assert (costs.bits > 0).all()
    assert costs.total <= 8 * sum(map(len, coded.chunks)) <= costs.total * 1.001 + 64 * 8
    bits = Network().costs(coded, pixels)
    assert list(bits) == {1: ["L"], 3: ["R", "G", "B"]}[channels]
    order = {1: [0], 3: [1, 0, 2]}[channels]  # of coding
    assert all((costs.bits[k] == [*bits.values()][c]).all() for k, c in enumerate(order))


def test_costs_of_a_past_add_up_to_the_payload():
    pixels = decoded_jpeg(smooth(45, 70))
    coded = coded_by(PastMethod(), pixels, model=TINY_YCC)
    made_of = coded.made_of
    theory = sum(layer_costs(made_of.network, layer).total for layer in made_of.layers)
    of_outliers = len(made_of.past.positions) > 0
    assert theory <= 8 * sum(map(len, coded.chunks[of_outliers:])) <= theory * 1.001 + 64 * 8
    channels = PastMethod().costs(coded, pixels)
    assert list(channels) == ["Y", "C1", "C2"]
    assert {bits.shape for bits in channels.values()} == {(45, 70)}
    assert sum(float(bits.sum()) for bits in channels.values()) == pytest.approx(theory, rel=0.05)  # cells at the edge are cut


@pytest.mark.parametrize("channels", [1, 3])
def test_costs_of_a_palette_add_up_to_the_payload(channels):
    pixels = smooth(45, 70)[..., :channels]
    coded = coded_by(PublishedPalette(), pixels, model=TINY_PALETTE)
    bits = PublishedPalette().costs(coded, pixels)
    assert list(bits) == {1: ["tokens", "L"], 3: ["tokens", "R", "G", "B"]}[channels]
    assert {of.shape for of in bits.values()} == {(45, 70)}
    assert len(coded.chunks) == 2
    for chunks, some in ((coded.chunks[:1], list(bits)[:1]), (coded.chunks[1:], list(bits)[1:])):
        theory = sum(float(bits[name].sum(dtype=np.float64)) for name in some)
        assert theory <= 8 * sum(map(len, chunks)) <= theory * 1.001 + 64 * 8
    palette = coded.made_of.network.palette
    own = palette.quantized(pixels)
    assert list(PublishedPalette().costs(coded_by(PublishedPalette(), own, model=TINY_PALETTE), own)) == ["tokens"]


@pytest.mark.parametrize(
    ("pixels", "options", "method", "names"),
    [
        (picture(20, 30, 3), {"model": TINY, "past": False}, Network, ["R", "G", "B"]),
        (drawing(60, 80), {}, Mixing, ["all"]),
        (np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8), {"past": False}, Stored, ["all"]),
    ],
    ids=["network", "mixing", "stored"],
)
def test_bits_are_those_of_the_smallest_method(pixels, options, method, names, monkeypatch):
    """And add up to its payload."""
    options = Options(device="cpu", **options)
    if method is Network:  # the tiny model is worse than storing
        monkeypatch.setattr(Stored, "offer", lambda *_: [])
        monkeypatch.setattr(Mixing, "offer", lambda *_: [])
        monkeypatch.setattr("codec.compression.Offers.size", 0)
        monkeypatch.setattr("codec.compression.Offers.best", property(lambda found: found.candidates[0]))
    coded = offers(Source(pixels, 8, options), ignore).coded(ignore)
    assert isinstance(method_of(coded.coding), method)
    bits = bits_per_pixel(pixels, options)
    assert list(bits) == names
    assert {of.shape for of in bits.values()} == {pixels.shape[:2]}
    payload = 8 * sum(map(len, coded.chunks))
    assert sum(float(of.sum()) for of in bits.values()) == pytest.approx(payload, rel=0.005, abs=64)


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (smooth(45, 70), {"model": TINY, "past": False}),
        (smooth(45, 70), {"model": TINY_PALETTE}),
        (decoded_jpeg(smooth(60, 70)), {"model": TINY_YCC}),
        (decoded_jpeg(smooth(64, 80)), {}),
        (drawing(60, 80), {}),
    ],
    ids=["network", "palette", "past", "decoded JPEG", "mixing"],
)
def test_analysing_tells_of_every_pixel_once(pixels, options, only_tiny_models, nothing_stored):
    done = []
    bits_per_pixel(pixels, Options(device="cpu", **options), done.append)
    assert sum(done) == pixels.shape[0] * pixels.shape[1]


def bits_of(pixels, network):
    """(height, width, 3)."""
    costs = layer_costs(network, Layer(kind_of(3), pixels_to_planes(pixels)))
    return np.moveaxis(costs.bits[[1, 0, 2]], 0, 2)


def test_a_surprise_costs_where_it_is(tiny):
    pixels = np.full((32, 64, 3), 90, np.uint8)
    pixels[20, 40, 0] = 255
    bits = bits_of(pixels, tiny)
    calm = bits_of(np.full((32, 64, 3), 90, np.uint8), tiny)
    assert (bits[:20] == calm[:20]).all()
    assert (bits[:, :32] == calm[:, :32]).all()
    assert bits[20, 40, 0] != calm[20, 40, 0]
    assert bits[20, 40, 1] == calm[20, 40, 1]  # green is coded before red


def places(image, part):
    """(top, left) where an array (height, width, 3) lies in an image."""
    whole, (height, width, _) = np.asarray(image), part.shape
    first = (whole[: len(whole) - height + 1, : whole.shape[1] - width + 1] == part[0, 0]).all(-1)
    tops, lefts = np.nonzero(first & (whole[height - 1 :, width - 1 :] == part[-1, -1]).all(-1))
    return [(y, x) for y, x in zip(tops, lefts, strict=True) if (whole[y : y + height, x : x + width] == part).all()]


def test_heat_map_shows_picture_and_channels(tiny):
    """The picture and three panels, two beside each other, none for what has no bits."""
    pixels = picture(200, 300, 3)
    bits = np.zeros((4, 200, 300), np.float32)
    bits[0], bits[1, :100], bits[2, 0, 0] = 1, 2 * HOTTEST_BITS, 3
    image = heat_map(pixels, dict(zip(("R", "G", "B", "A"), bits, strict=True)))
    black, hottest = np.zeros((100, 300, 3), np.uint8), np.full((100, 300, 3), (255, 255, 200), np.uint8)
    (first,) = places(image, pixels)
    (second,) = places(image, np.full((200, 300, 3), np.asarray(image)[first[0], first[1] + 330], np.uint8))
    (third,) = places(image, np.concatenate([hottest, black]))
    assert first[0] == second[0] < third[0]
    assert first[1] == third[1] < second[1]
    assert len(places(image, np.zeros((199, 300, 3), np.uint8))) == 1  # the fourth, below its surprise
    assert image.width < 2.5 * 300


def test_small_pictures_are_enlarged_in_heat_maps():
    pixels = picture(20, 30, 1)
    image = heat_map(pixels, {"L": np.ones((20, 30), np.float32)})
    assert len(places(image, pixels.repeat(8, 0).repeat(8, 1).repeat(3, 2))) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (700, 800)])
@pytest.mark.parametrize("channels", [{"all"}, {"L"}, {"tokens", "R", "G", "B"}])
def test_heat_maps_of_any_size(size, channels):
    heat_map(np.zeros((*size, 3), np.uint8), dict.fromkeys(channels, np.ones(size, np.float32)))


def test_samples_are_drawn_by_the_decoders_steps(uncorrected):
    """With the likeliest token only, nothing that is drawn is a surprise to the encoder (two tokens may be equally likely)."""
    (likeliest,) = draw(uncorrected, 1, 0, 1.0, 1, None, lambda n: None)
    assert layer_costs(uncorrected, Layer(kind_of(3), pixels_to_planes(likeliest))).ranks.max() <= 1
    wild = draw(uncorrected, 2, 0, 1.0, 0, None, lambda n: None)
    assert (wild[0] != wild[1]).any()
    assert (draw(uncorrected, 2, 0, 1.0, 0, None, lambda n: None)[1] == wild[1]).all()
    assert (draw(uncorrected, 2, 1, 1.0, 0, None, lambda n: None)[1] != wild[1]).any()


def test_completion_keeps_the_upper_half(tiny):
    given = picture(32, 32, 3)
    for drawn in draw(tiny, 2, 0, 1.0, 0, given, lambda n: None):
        assert (drawn[:16] == given[:16]).all()
        assert (drawn[16:] != given[16:]).any()


def test_grid():
    assert grid_of([picture(32, 32, 3)] * 5, 1).size == (3 * 34 - 2, 2 * 34 - 2)
    large = grid_of([picture(32, 32, 3, seed) for seed in range(2)], 4)
    assert large.size == (4 * 66, 4 * 32)
    assert (np.asarray(large)[:, -128:] == picture(32, 32, 3, 1).repeat(4, 0).repeat(4, 1)).all()


def test_commands(tmp_path):
    source = tmp_path / "p.png"
    Image.fromarray(picture(20, 30, 3)).save(source)
    runner = CliRunner()
    assert runner.invoke(cli.app, ["heatmap", str(source), "--model", "photo-3"]).exit_code == 0
    (tmp_path / "p.igpt").write_bytes(with_network(picture(20, 30, 3)))
    arguments = ["heatmap", str(tmp_path / "p.igpt"), str(tmp_path / "packed.png"), "--model", str(TINY), "--no-past"]
    assert "note" not in runner.invoke(cli.app, arguments).stderr
    assert runner.invoke(cli.app, [*arguments, "-f", "--max-pixels", "100"]).exit_code == 1
    for name in ("p.heat.png", "packed.png"):
        assert len(places(Image.open(tmp_path / name), picture(20, 30, 3).repeat(8, 0).repeat(8, 1))) == 1
    grid = tmp_path / "grid.png"
    arguments = ["sample", str(grid), "-n", "3", "--complete", str(source), "--model", str(TINY), "-q"]
    assert runner.invoke(cli.app, arguments).exit_code == 0
    assert np.asarray(Image.open(grid)).shape == (8 * 66, 8 * 66, 3)
    assert runner.invoke(cli.app, arguments).exit_code == 1  # it exists now


def test_of_jpeg_files_the_pixels_are_shown(tmp_path):
    image = Image.fromarray(smooth(40, 60))
    image.save(tmp_path / "p.jpg", quality=90)
    (tmp_path / "kept.igpt").write_bytes(codec.compress(tmp_path / "p.jpg", device="cpu"))
    drawn = []
    for name in ("p.jpg", "kept.igpt"):
        result = CliRunner().invoke(cli.app, ["heatmap", str(tmp_path / name), str(tmp_path / "out.png"), "-f", "--device", "cpu"])
        assert result.exit_code == 0
        assert "decodes to" in result.stderr
        drawn.append((tmp_path / "out.png").read_bytes())
    assert drawn[0] == drawn[1]
