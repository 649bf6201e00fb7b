"""Where the bits of a picture go, token by token, without writing a file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from bitstream.constants import FREQUENCY_BITS
from codec.mixing import bands as mixing
from codec.network.coding import positions_needed, present, tokens_and_frequencies
from codec.network.engine import Engine
from codec.network.engines import engine_of
from codec.network.layers import Coded, Layer
from codec.tiling.context import POSITIONS
from codec.tiling.planes import Pixels, pixels_to_planes, planes_to_pixels
from codec.tiling.tiles import balanced_group, tiles_into_planes

HOTTEST_BITS = 8.0  # of a sample in a heat map; more is drawn as this
RAMP = ((0, 0, 0), (60, 10, 110), (190, 40, 80), (250, 150, 20), (255, 255, 200))


@dataclass(frozen=True)
class Costs:
    """bits: -log2(frequency / 2^24) of every sample, float32; ranks: how many tokens the model thought likelier, uint8. Both lie as the
    layer's planes, (channels, height, width)."""

    bits: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.uint8]

    @property
    def total(self) -> float:
        return float(self.bits.sum(dtype=np.float64))


def layer_costs(engine: Engine, layer: Layer) -> Costs:
    """What each sample of a layer costs with this engine's network."""
    grid, shape = layer.grid, layer.planes.shape
    bits, ranks = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    at_once = balanced_group(grid.tiles)
    for first in range(0, grid.tiles, at_once):
        group, samples = layer.part(first, min(first + at_once, grid.tiles))
        needed = positions_needed(group.extents)
        parts: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]] = []
        for tokens, tables in tokens_and_frequencies(engine, group, samples, lambda _: None):
            own = tables[np.arange(len(tokens)), tokens]
            parts.append(((FREQUENCY_BITS - np.log2(own)).astype(np.float32), (tables > own[:, None]).sum(1).astype(np.uint8)))
        exist = present(group.extents, np.arange(needed))[:, None].repeat(shape[0], 1)  # (positions, channels, tiles)
        for target, values in ((bits, [p[0] for p in parts]), (ranks, [p[1] for p in parts])):
            whole = np.zeros((POSITIONS, *exist.shape[1:]), target.dtype)
            whole[:needed][exist] = np.concatenate(values)
            tiles_into_planes(whole.transpose(2, 1, 0), target, grid, first)
    return Costs(bits, ranks)


def costs_of(coded: Coded) -> list[Costs]:
    """Of each layer that is coded, in their order."""
    return [layer_costs(engine_of(coded.network, layer.grid.tiles), layer) for layer in coded.layers]


def bits_of_drawing(pixels: Pixels) -> dict[str, npt.NDArray[np.float32]]:
    """The bits of each pixel, of all channels together, where no network codes."""
    planes = pixels_to_planes(pixels)
    return {"all": mixing.costs(planes, mixing.rows_per_band(*planes.shape[1:]))}


def bits_per_pixel(costs: Sequence[Costs], coded: Coded) -> dict[str, npt.NDArray[np.float32]]:
    """The bits of each channel at each pixel, (height, width), by the channel's name; a chroma sample's go to the pixels of its cell."""
    past = coded.past
    if past is None:
        planes = planes_to_pixels(costs[0].bits)
        return dict(zip("RGB" if planes.shape[2] == 3 else "L", np.moveaxis(planes, 2, 0), strict=True))
    sampling, (height, width) = past.sampling, past.luma.shape
    down, across, ring = sampling.filter.down, sampling.filter.across, sampling.ring
    rows = (np.arange(height) + sampling.top) // down + ring
    columns = (np.arange(width) + sampling.left) // across + ring
    chroma = costs[0].bits[:, rows[:, None], columns] / (down * across)
    return {"Y": costs[1].bits[0], "C1": chroma[0], "C2": chroma[1]}


def heat_map(pixels: Pixels, channels: Iterable[npt.NDArray[np.float32]]) -> Image.Image:
    """The picture, and beside it the (height, width) bits of each channel, from black (none) to pale yellow (HOTTEST_BITS or more)."""
    stops = np.linspace(0, HOTTEST_BITS, len(RAMP))
    panels = [pixels.repeat(4 - pixels.shape[-1], -1)[..., :3]]
    for heat in channels:
        panels.append(np.stack([np.interp(heat, stops, [colour[k] for colour in RAMP]) for k in range(3)], -1).round().astype(np.uint8))
    return Image.fromarray(np.concatenate(panels, 1))
