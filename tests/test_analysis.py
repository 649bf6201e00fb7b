"""Heat maps and sampling say what the coder does."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cli
import codec
from bitstream.container import read_file
from codec.analysis import HOTTEST_BITS, bits_per_pixel, costs_of, heat_map
from codec.network.layers import Coded, layers_of
from codec.network.model import IntegerImageGPT
from codec.pasts.past import recognised
from codec.sampling import draw, grid_of
from tests.conftest import CPU, TINY, TINY_YCC, decoded_jpeg, picture, smooth, with_past


@pytest.mark.parametrize("channels", [1, 3])
def test_costs_add_up_to_the_payload(tiny, channels):
    pixels = picture(45, 70, channels)
    [costs] = costs_of(Coded(tiny, None, layers_of(pixels, None)))
    payloads = read_file(codec.compress_pixels(pixels, model=TINY, device="cpu"))[1]
    assert costs.bits.shape == costs.ranks.shape == (channels, 45, 70)
    assert (costs.bits > 0).all()
    assert costs.total <= 8 * sum(map(len, payloads)) <= costs.total * 1.001 + 64 * 8


def test_costs_of_a_past_add_up_to_the_payload():
    pixels = decoded_jpeg(smooth(45, 70))
    past = recognised(pixels)
    coded = Coded(IntegerImageGPT.load(TINY_YCC, CPU), past, layers_of(pixels, past))
    costs = costs_of(coded)
    theory = sum(c.total for c in costs)
    _, payloads = read_file(with_past(pixels))
    assert theory <= 8 * sum(map(len, payloads[1:])) <= theory * 1.001 + 64 * 8
    channels = bits_per_pixel(costs, coded)
    assert list(channels) == ["Y", "C1", "C2"]
    assert {bits.shape for bits in channels.values()} == {(45, 70)}
    assert sum(float(bits.sum()) for bits in channels.values()) == pytest.approx(theory, rel=0.05)  # cells at the edge are cut


def bits_of(pixels, network):
    """(height, width, 3)."""
    coded = Coded(network, None, layers_of(pixels, None))
    return np.stack(list(bits_per_pixel(costs_of(coded), coded).values()), -1)


def test_a_surprise_costs_where_it_is(tiny):
    pixels = np.full((32, 64, 3), 90, np.uint8)
    pixels[20, 40, 0] = 255
    bits = bits_of(pixels, tiny)
    calm = bits_of(np.full((32, 64, 3), 90, np.uint8), tiny)
    assert (bits[:20] == calm[:20]).all()
    assert (bits[:, :32] == calm[:, :32]).all()
    assert bits[20, 40, 0] != calm[20, 40, 0]
    assert bits[20, 40, 1] == calm[20, 40, 1]  # green is coded before red


def test_heat_map_shows_picture_and_channels(tiny):
    pixels = picture(20, 30, 3)
    bits = bits_of(pixels, tiny)
    bits[0, 0, 0], bits[0, 0, 1] = 0, 2 * HOTTEST_BITS
    image = heat_map(pixels, np.moveaxis(bits, 2, 0))
    assert image.size == (120, 20)
    assert (np.asarray(image)[:, :30] == pixels).all()
    assert image.getpixel((30, 0)) == (0, 0, 0)
    assert image.getpixel((60, 0)) == (255, 255, 200)


def test_samples_are_drawn_by_the_decoders_steps(tiny):
    """With the likeliest token only, nothing that is drawn is a surprise to the encoder (two tokens may be equally likely)."""
    (likeliest,) = draw(tiny, 1, 0, 1.0, 1, None, lambda n: None)
    assert costs_of(Coded(tiny, None, layers_of(likeliest, None)))[0].ranks.max() <= 1
    wild = draw(tiny, 2, 0, 1.0, 0, None, lambda n: None)
    assert (wild[0] != wild[1]).any()
    assert (draw(tiny, 2, 0, 1.0, 0, None, lambda n: None)[1] == wild[1]).all()
    assert (draw(tiny, 2, 1, 1.0, 0, None, lambda n: None)[1] != wild[1]).any()


def test_completion_keeps_the_upper_half(tiny):
    given = picture(32, 32, 3)
    for drawn in draw(tiny, 2, 0, 1.0, 0, given, lambda n: None):
        assert (drawn[:16] == given[:16]).all()
        assert (drawn[16:] != given[16:]).any()


def test_grid():
    assert grid_of([picture(32, 32, 3)] * 5).size == (3 * 34 - 2, 2 * 34 - 2)


def test_commands(tmp_path):
    source = tmp_path / "p.png"
    Image.fromarray(picture(20, 30, 3)).save(source)
    runner = CliRunner()
    assert runner.invoke(cli.app, ["heatmap", str(source), "--model", str(TINY)]).exit_code == 0
    assert np.asarray(Image.open(tmp_path / "p.heat.png")).shape == (20, 120, 3)
    grid = tmp_path / "grid.png"
    arguments = ["sample", str(grid), "-n", "3", "--complete", str(source), "--model", str(TINY), "-q"]
    assert runner.invoke(cli.app, arguments).exit_code == 0
    assert np.asarray(Image.open(grid)).shape == (66, 66, 3)
    assert runner.invoke(cli.app, arguments).exit_code == 1  # it exists now
