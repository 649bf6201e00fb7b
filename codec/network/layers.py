"""Layers: the planes of a picture that are coded one after the other, each with its own groups of tiles."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from bitstream.constants import FREQUENCY_BITS, LEAST_COST, MAX_GROUP_TILES, WORD_BYTES
from codec.network.coding import DECODED_TILES, ENCODED_TOGETHER, decode_groups, encode_groups
from codec.network.engines import engine_of
from codec.network.groups import CellBounds, Cells, CellTokens, Group, present
from codec.network.model import IntegerImageGPT
from codec.progress import Progress, ignore, one_at_a_time
from codec.threads import side_by_side
from codec.tiling.context import POSITIONS
from codec.tiling.planes import Kind, Planes
from codec.tiling.tiles import Grid, Rectangle, Shape, TileSamples, tiles_from_planes, tiles_into_planes, windows_from_planes

Item = TypeVar("Item")

SAMPLED_TILES = 32  # from which the size of a layer is estimated


class Surroundings(NamedTuple):
    """What is known of a layer before it is coded. chroma: (2, height, width), for a surrounded kind; tokens: (height, width), which say in
    which cells of colour the pixels are, and bounds: of these cells."""

    chroma: Planes | None = None
    tokens: CellTokens | None = None
    bounds: CellBounds | None = None

    def group(self, kind: Kind, grid: Grid, of: Rectangle) -> Group:
        windows = None if self.chroma is None else windows_from_planes(self.chroma, of)
        cells = None
        if self.tokens is not None and self.bounds is not None:
            cells = Cells(self.bounds, tiles_from_planes(self.tokens[None], of)[:, 0])
        return Group(kind, grid.extents(of), windows, cells)


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
        return self.around.group(self.kind, self.grid, of), tiles_from_planes(self.planes, of)


def group_shape(grid: Grid) -> Shape:
    """Of the groups that an encoder makes, of the last of a picture's layers."""
    return grid.shape(MAX_GROUP_TILES)


def least_bytes(grid: Grid, shape: Shape, channels: int) -> Iterator[int]:
    """Of the payload of each group in turn, as every token costs something. channels: 0 where tokens may cost next to nothing."""
    for number in range(grid.groups(shape)):
        tokens = grid.samples_in(grid.group(number, shape)) * channels
        yield max(WORD_BYTES, -(-tokens * LEAST_COST // (8 << FREQUENCY_BITS)))


def encode_layer(network: IntegerImageGPT, layer: Layer, shape: Shape, progress: Progress) -> list[bytes]:
    """A payload for each group of tiles."""
    engine, update = engine_of(network, layer.grid.tiles), one_at_a_time(progress)

    def encoded(batch: list[Rectangle]) -> list[bytes]:
        groups, samples = zip(*(layer.part(of) for of in batch), strict=True)
        return encode_groups(engine, groups, samples, update)

    rectangles = (layer.grid.group(number, shape) for number in range(layer.grid.groups(shape)))
    batches = list(_batches(rectangles, lambda of: of.tiles, ENCODED_TOGETHER[network.device]))
    found = side_by_side(encoded, batches, min(engine.at_once, len(batches)))
    return [payload for some in found for payload in some]


class Request(NamedTuple):
    """A layer of size (width, height) to be decoded: the payloads of its groups."""

    network: IntegerImageGPT
    kind: Kind
    size: tuple[int, int]
    around: Surroundings
    shape: Shape
    payloads: Sequence[bytes]

    @property
    def grid(self) -> Grid:
        return Grid(*self.size)

    @property
    def rectangles(self) -> list[Rectangle]:
        return [self.grid.group(number, self.shape) for number in range(len(self.payloads))]


class GroupPayload(NamedTuple):
    """A group to be decoded: of which request, its tiles, its payload."""

    request: int
    rectangle: Rectangle
    payload: bytes


def decode_layers(requests: Sequence[Request], progress: Progress) -> list[Planes]:
    """The (channels, height, width) planes of layers of one network and one kind, of several pictures too, decoded together.

    Raises DamagedError.
    """
    planes = [np.empty((request.kind.channels, request.size[1], request.size[0]), np.uint8) for request in requests]
    for group, samples in decoded_groups(requests, progress):
        tiles_into_planes(samples, planes[group.request], group.rectangle)
    return planes


def decoded_groups(
    requests: Sequence[Request], progress: Progress, positions: int = POSITIONS
) -> Iterator[tuple[GroupPayload, TileSamples]]:
    """The samples of such layers, group by group; of each tile `positions` at most are decoded. Raises DamagedError."""
    network, kind, *_ = requests[0]
    engine, update = engine_of(network, sum(request.grid.tiles for request in requests)), one_at_a_time(progress)
    at_once = DECODED_TILES[network.device]
    groups = (
        GroupPayload(k, of, payload)
        for k, request in enumerate(requests)
        for of, payload in zip(request.rectangles, request.payloads, strict=True)
    )
    batches = list(_batches(groups, lambda group: group.rectangle.tiles, at_once))
    largest = max(sum(group.rectangle.tiles for group in batch) for batch in batches)
    beside = max(1, engine.at_once * at_once // max(at_once, largest))  # large groups take more memory, so fewer go side by side

    def decoded(batch: list[GroupPayload]) -> list[TileSamples]:
        groups = [requests[k].around.group(kind, requests[k].grid, of) for k, of, _ in batch]
        return decode_groups(engine, groups, [group.payload for group in batch], update, positions)

    for batch, samples in zip(batches, side_by_side(decoded, batches, min(beside, len(batches))), strict=True):
        yield from zip(batch, samples, strict=True)


def _batches(groups: Iterable[Item], tiles_of: Callable[[Item], int], most: int) -> Iterator[list[Item]]:
    """All groups, as many together as have no more than so many tiles, or one."""
    batch: list[Item] = []
    tiles = 0
    for group in groups:
        if batch and tiles + tiles_of(group) > most:
            yield batch
            batch, tiles = [], 0
        batch.append(group)
        tiles += tiles_of(group)
    yield batch


def estimated_bytes(network: IntegerImageGPT, layer: Layer) -> float:
    """What a large layer takes, from real code of evenly spread tiles."""
    grid = layer.grid
    places = np.linspace(0, grid.tiles - 1, SAMPLED_TILES).astype(int).tolist()
    groups = [layer.part(Rectangle(tile // grid.columns, tile % grid.columns, 1, 1)) for tile in places]
    windows = [group.windows for group, _ in groups if group.windows is not None]
    extents = np.concatenate([group.extents for group, _ in groups])
    group = Group(layer.kind, extents, np.concatenate(windows) if windows else None)
    together = np.concatenate([samples for _, samples in groups])
    code = len(encode_groups(engine_of(network, SAMPLED_TILES), [group], [together], ignore)[0])
    return code * grid.width * grid.height / int(extents.prod(1).sum())


def beginnings_differ(
    network: IntegerImageGPT, layer: Layer, shape: Shape, payloads: Sequence[bytes], positions: int, progress: Progress
) -> str:
    """What is wrong with the payloads of a layer, of whose tiles so many positions are decoded; nothing where they are right.

    Raises DamagedError.
    """
    grid, some = layer.grid, slice(positions)
    request = Request(network, layer.kind, (grid.width, grid.height), layer.around, shape, payloads)
    for number, (group, found) in enumerate(decoded_groups([request], progress, positions)):
        expected = tiles_from_planes(layer.planes, group.rectangle)
        exist = present(grid.extents(group.rectangle), np.arange(positions)).T  # (tiles, positions)
        if ((found[..., some] != expected[..., some]) & exist[:, None]).any():
            return f"the tiles of group {number + 1} differ"
    return ""
