"""Where the bits of a picture go, token by token, without writing a file."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from bitstream.constants import FREQUENCY_BITS
from codec.coding import positions_needed, present, tokens_and_frequencies
from codec.context import POSITIONS
from codec.network.integer import IntegerImageGPT
from codec.planes import Pixels, kind_of, pixels_to_planes, planes_to_pixels
from codec.tiles import Grid, balanced_group, tiles_from_planes, tiles_into_planes

HOTTEST_BITS = 8.0  # of a sample in a heat map; more is drawn as this
RAMP = ((0, 0, 0), (60, 10, 110), (190, 40, 80), (250, 150, 20), (255, 255, 200))


@dataclass(frozen=True)
class Costs:
    """bits: -log2(frequency / 2^24) of every sample, (height, width, channels) float32, as the pixels lie; ranks: how many tokens the model
    thought likelier, same shape, uint8."""

    bits: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.uint8]


def costs_of(pixels: Pixels, network: IntegerImageGPT) -> Costs:
    """What each sample of (height, width, channels) uint8 pixels costs with this model."""
    height, width, channels = pixels.shape
    kind, grid = kind_of(channels), Grid(width, height)
    planes = pixels_to_planes(pixels, kind)
    bits, ranks = np.zeros(planes.shape, np.float32), np.zeros(planes.shape, np.uint8)
    group = balanced_group(grid.tiles)
    for first in range(0, grid.tiles, group):
        last = min(first + group, grid.tiles)
        extents = grid.extents(first, last)
        needed = positions_needed(extents)
        parts: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]] = []
        samples = tiles_from_planes(planes, grid, first, last)
        for tokens, tables in tokens_and_frequencies(network, samples, extents, kind, lambda _: None):
            own = tables[np.arange(len(tokens)), tokens]
            parts.append(((FREQUENCY_BITS - np.log2(own)).astype(np.float32), (tables > own[:, None]).sum(1).astype(np.uint8)))
        exist = np.stack([present(extents, p) for p in range(needed)])[:, None].repeat(channels, 1)  # (positions, channels, tiles)
        for target, values in ((bits, [p[0] for p in parts]), (ranks, [p[1] for p in parts])):
            whole = np.zeros((POSITIONS, *exist.shape[1:]), target.dtype)
            whole[:needed][exist] = np.concatenate(values)
            tiles_into_planes(whole.transpose(2, 1, 0), target, grid, first)
    return Costs(planes_to_pixels(bits, kind), planes_to_pixels(ranks, kind))


def heat_map(pixels: Pixels, costs: Costs) -> Image.Image:
    """The picture, and beside it the bits of each channel from black (none) to pale yellow (HOTTEST_BITS or more)."""
    stops = np.linspace(0, HOTTEST_BITS, len(RAMP))
    rgb = pixels.repeat(4 - pixels.shape[-1], -1)[..., :3]
    panels = [rgb]
    for c in range(pixels.shape[-1]):
        heat = costs.bits[..., c]
        panels.append(np.stack([np.interp(heat, stops, [colour[k] for colour in RAMP]) for k in range(3)], -1).round().astype(np.uint8))
    return Image.fromarray(np.concatenate(panels, 1))
