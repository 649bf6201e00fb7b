"""Layers: the planes of a picture that are coded one after the other, each with its own groups of tiles."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from bitstream.constants import FREQUENCY_BITS, LEAST_COST, MAX_GROUP_TILES, WORD_BYTES
from codec.network.coding import DECODED_TILES, ENCODED_TOGETHER, decode_groups, encode_groups
from codec.network.engines import engine_of
from codec.network.ensemble import Networks
from codec.network.groups import CellBounds, Cells, CellTokens, Group, present, together
from codec.progress import Progress, ignore, one_at_a_time
from codec.threads import side_by_side
from codec.tiling.context import POSITIONS
from codec.tiling.planes import Kind, Planes
from codec.tiling.tiles import (
    TURNS,
    Grid,
    Known,
    Rectangle,
    Shape,
    TileSamples,
    alone,
    strips_from_planes,
    tiles_from_planes,
    tiles_into_planes,
    windows_from_planes,
)

Item = TypeVar("Item")

LEARNING_TILES = 8  # so many tiles' memory takes what is learnt of a group
SAMPLED_TILES = 32  # from which the size of a layer is estimated


class Surroundings(NamedTuple):
    """What is known of a layer before it is coded. chroma: (2, height, width), for a surrounded kind; tokens: (height, width), which say in
    which cells of colour the pixels are, and bounds: of these cells."""

    chroma: Planes | None = None
    tokens: CellTokens | None = None
    bounds: CellBounds | None = None

    def group(self, kind: Kind, grid: Grid, of: Rectangle, planes: Planes) -> Group:
        """Some tiles of a layer, of whose planes (channels, height, width) the tiles are known that come before them."""
        windows = None if self.chroma is None else windows_from_planes(self.chroma, of)
        cells = None
        if self.tokens is not None and self.bounds is not None:
            cells = Cells(self.bounds, tiles_from_planes(self.tokens[None], of)[:, 0])
        strips = strips_from_planes(planes, of.corners) if of.turn else alone(of.tiles, kind.channels).strips
        return Group(kind, grid.extents(of), Known(grid.sides(of), strips, windows), cells)


NO_SURROUNDINGS = Surroundings()


@dataclass(frozen=True)
class Layer:
    """planes: (channels, height, width) of a kind; around: what has been coded of the picture before."""

    kind: Kind
    planes: Planes
    around: Surroundings = NO_SURROUNDINGS

    @property
    def grid(self) -> Grid:
        height, width = self.planes.shape[1:]
        return Grid(width, height)

    def part(self, of: Rectangle) -> tuple[Group, TileSamples]:
        """Some tiles of it."""
        return self.around.group(self.kind, self.grid, of, self.planes), tiles_from_planes(self.planes, of)


def group_shape(grid: Grid) -> Shape:
    """Of the groups that an encoder makes, of the last of a picture's layers."""
    return grid.shape(MAX_GROUP_TILES)


def least_bytes(grid: Grid, shape: Shape, channels: int) -> Iterator[int]:
    """Of each payload, as every token costs something."""
    for of in grid.turns(shape):
        yield max(WORD_BYTES, -(-grid.samples_in(of) * channels * LEAST_COST // (8 << FREQUENCY_BITS)))


def encode_layer(network: Networks, layer: Layer, shape: Shape, progress: Progress) -> list[bytes]:
    """A payload for each group of tiles, of those that come first, then of the others."""
    engine, update = engine_of(network, layer.grid.tiles), one_at_a_time(progress)

    def encoded(batch: list[Rectangle]) -> list[bytes]:
        groups, samples = zip(*(layer.part(of) for of in batch), strict=True)
        return encode_groups(engine, groups, samples, update)

    batches = list(_batches(layer.grid.turns(shape), lambda of: of.tiles, ENCODED_TOGETHER[network.device]))
    found = side_by_side(encoded, batches, min(engine.at_once, len(batches)))
    return [payload for some in found for payload in some]


class Request(NamedTuple):
    """A layer of size (width, height) to be decoded: the payloads of its groups."""

    network: Networks
    kind: Kind
    size: tuple[int, int]
    around: Surroundings
    shape: Shape
    payloads: Sequence[bytes]

    @property
    def grid(self) -> Grid:
        return Grid(*self.size)


class GroupPayload(NamedTuple):
    """A group to be decoded: of which request, its tiles, its payload."""

    request: int
    rectangle: Rectangle
    payload: bytes


def decode_layers(requests: Sequence[Request], progress: Progress) -> list[Planes]:
    """The (channels, height, width) planes of layers of one network and one kind, of several pictures too, decoded together.

    Raises DamagedError.
    """
    planes = [np.zeros((request.kind.channels, request.size[1], request.size[0]), np.uint8) for request in requests]
    for turn in TURNS:
        for group, samples in decoded_groups(requests, planes, turn, progress):
            tiles_into_planes(samples, planes[group.request], group.rectangle)
    return planes


def decoded_groups(
    requests: Sequence[Request], planes: Sequence[Planes], turn: int, progress: Progress, positions: int = POSITIONS
) -> Iterator[tuple[GroupPayload, TileSamples]]:
    """The samples of such layers' tiles of a turn, group by group; of each tile `positions` at most are decoded. planes: of each layer,
    of which the tiles of the turn before are known. Raises DamagedError."""
    network, kind, *_ = requests[0]
    engine, update = engine_of(network, sum(request.grid.tiles for request in requests)), one_at_a_time(progress)
    groups = [
        GroupPayload(k, of, payload)
        for k, request in enumerate(requests)
        for of, payload in zip(request.grid.turns(request.shape), request.payloads, strict=True)
        if of.turn == turn
    ]
    tiles = sum(group.rectangle.tiles for group in groups)
    at_once = min(DECODED_TILES[network.device], -(-tiles // engine.at_once))  # all threads have something to do
    least = LEARNING_TILES if network.config.learns else 1
    batches = list(_batches(groups, lambda group: max(group.rectangle.tiles, least), at_once))
    if not batches:
        return
    largest = max(sum(group.rectangle.tiles for group in batch) for batch in batches)
    most = DECODED_TILES[network.device]
    beside = max(1, engine.at_once * most // max(most, largest))  # large groups take more memory, so fewer go side by side

    def decoded(batch: list[GroupPayload]) -> list[TileSamples]:
        groups = [requests[k].around.group(kind, requests[k].grid, of, planes[k]) for k, of, _ in batch]
        return decode_groups(engine, groups, [group.payload for group in batch], update, positions)

    for batch, samples in zip(batches, side_by_side(decoded, batches, min(beside, len(batches))), strict=True):
        yield from zip(batch, samples, strict=True)


def _batches(groups: Iterable[Item], tiles_of: Callable[[Item], int], most: int) -> Iterator[list[Item]]:
    """All groups, if there are any, as many together as have no more than so many tiles, or one."""
    batch: list[Item] = []
    tiles = 0
    for group in groups:
        if batch and tiles + tiles_of(group) > most:
            yield batch
            batch, tiles = [], 0
        batch.append(group)
        tiles += tiles_of(group)
    if batch:
        yield batch


def estimated_bytes(network: Networks, layer: Layer) -> float:
    """What a large layer takes, from real code of evenly spread tiles."""
    grid = layer.grid
    places = np.linspace(0, grid.tiles - 1, SAMPLED_TILES).astype(int).tolist()
    corners = [divmod(tile, grid.columns) for tile in places]
    groups, samples = zip(*(layer.part(Rectangle(y, x, 1, 1, (y + x) & 1)) for y, x in corners), strict=True)
    group = together(groups)
    code = len(encode_groups(engine_of(network, SAMPLED_TILES), [group], [np.concatenate(samples)], ignore)[0])
    return code * grid.width * grid.height / int(group.extents.prod(1).sum())


def beginnings_differ(network: Networks, layer: Layer, shape: Shape, payloads: Sequence[bytes], positions: int, progress: Progress) -> str:
    """What is wrong with the payloads of a layer, of whose tiles so many positions are decoded; nothing where they are right.

    Raises DamagedError.
    """
    grid, some = layer.grid, slice(positions)
    request = Request(network, layer.kind, (grid.width, grid.height), layer.around, shape, payloads)
    parts = (decoded_groups([request], [layer.planes], turn, progress, positions) for turn in TURNS)
    for number, (group, found) in enumerate(itertools.chain(*parts)):
        expected = tiles_from_planes(layer.planes, group.rectangle)
        exist = present(grid.extents(group.rectangle), np.arange(positions)).T  # (tiles, positions)
        if ((found[..., some] != expected[..., some]) & exist[:, None]).any():
            return f"the tiles of group {number + 1} differ"
    return ""
