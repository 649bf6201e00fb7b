"""Where the bits of a layer go, token by token."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitstream.constants import FREQUENCY_BITS, MAX_GROUP_TILES
from codec.network.coding import tokens_and_frequencies
from codec.network.engines import engine_of
from codec.network.ensemble import Networks
from codec.network.groups import positions_needed, present
from codec.network.layers import Layer
from codec.progress import Progress, ignore
from codec.tiling.context import POSITIONS
from codec.tiling.tiles import tiles_into_planes


@dataclass(frozen=True)
class Costs:
    """bits: -log2(frequency / 2^24) of every sample, float32; ranks: how many tokens the model thought likelier, uint8. Both lie as the
    layer's planes, (channels, height, width)."""

    bits: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.uint8]

    @property
    def total(self) -> float:
        return float(self.bits.sum(dtype=np.float64))


def layer_costs(network: Networks, layer: Layer, progress: Progress = ignore) -> Costs:
    """What each sample of a layer costs with this network. progress: called with the number of samples of each plane just done."""
    grid, planes = layer.grid, layer.planes.shape
    engine, shape = engine_of(network, grid.tiles), grid.shape(MAX_GROUP_TILES)
    bits, ranks = np.zeros(planes, np.float32), np.zeros(planes, np.uint8)
    for rectangle in grid.groups(shape):
        turns = layer.turns(rectangle)
        coded = tokens_and_frequencies(engine, turns, progress)
        for part, (turn, _) in zip(rectangle.turns, turns, strict=True):
            needed, done = positions_needed(turn.extents), 0
            found: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]] = []
            while done < needed:
                tokens, tables, exist = next(coded)
                done += len(tokens)
                there = exist[:, None].repeat(planes[0], 1)
                tokens, tables = tokens[there], tables[there]
                own = tables[np.arange(len(tokens)), tokens]
                found.append(((FREQUENCY_BITS - np.log2(own)).astype(np.float32), (tables > own[:, None]).sum(1).astype(np.uint8)))
            exist = present(turn.extents, np.arange(needed))[:, None].repeat(planes[0], 1)  # (positions, channels, tiles)
            for target, values in ((bits, [f[0] for f in found]), (ranks, [f[1] for f in found])):
                whole = np.zeros((POSITIONS, *exist.shape[1:]), target.dtype)
                whole[:needed][exist] = np.concatenate(values)
                tiles_into_planes(whole.transpose(2, 1, 0), target, part)
    return Costs(bits, ranks)
