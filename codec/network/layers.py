"""Layers: the planes of a picture that are coded one after the other, each with its own groups of tiles."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from bitstream.constants import FREQUENCY_BITS, LEAST_COST, MAX_GROUP_TILES, WORD_BYTES
from codec.box import Box
from codec.network.coding import DECODED_TILES, ENCODED_TOGETHER, Decoding, encode_groups
from codec.network.engine import Engine
from codec.network.engines import engine_of
from codec.network.ensemble import Networks
from codec.network.groups import CellBounds, Cells, CellTokens, Turn, chosen_of, present, together
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
    sides,
    strips_from_planes,
    tiles_from_planes,
    tiles_into_planes,
    windows_from_planes,
)

Item = TypeVar("Item")

LEARNING_TILES = 8  # so many tiles' memory takes what is learnt of a group
SAMPLED_TILES = 32  # from which the size of a layer is estimated
GOLDEN_SECTION = (5**0.5 - 1) / 2


class Surroundings(NamedTuple):
    """What is known of a layer before it is coded. chroma: (2, height, width), for a surrounded kind; tokens: (height, width), which say in
    which cells of colour the pixels are, and bounds: of these cells."""

    chroma: Planes | None = None
    tokens: CellTokens | None = None
    bounds: CellBounds | None = None

    def turn(self, kind: Kind, grid: Grid, of: Rectangle, planes: Planes) -> Turn:
        """The tiles of a group's turn, of whose planes (channels, height, width) the tiles of the group are known that come before them."""
        windows = None if self.chroma is None else windows_from_planes(self.chroma, of)
        cells = None
        if self.tokens is not None and self.bounds is not None:
            cells = Cells(self.bounds, tiles_from_planes(self.tokens[None], of)[:, 0])
        strips = strips_from_planes(planes, of.corners) if of.turn else alone(of.tiles, kind.channels).strips
        return Turn(kind, grid.extents(of), Known(sides(of), strips, windows), cells)


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

    def turns(self, of: Rectangle) -> list[tuple[Turn, TileSamples]]:
        """Those of a group of its tiles."""
        return [(self.around.turn(self.kind, self.grid, part, self.planes), tiles_from_planes(self.planes, part)) for part in of.turns]


def group_shape(grid: Grid) -> Shape:
    """Of the groups that an encoder makes, of the last of a picture's layers."""
    return grid.shape(MAX_GROUP_TILES)


def least_bytes(grid: Grid, shape: Shape, channels: int) -> Iterator[int]:
    """Of each payload, as every token costs something."""
    for of in grid.groups(shape):
        yield max(WORD_BYTES, -(-grid.samples_in(of) * channels * LEAST_COST // (8 << FREQUENCY_BITS)))


def encode_layer(network: Networks, layer: Layer, shape: Shape, progress: Progress) -> list[bytes]:
    """A payload for each group of tiles."""
    engine, update = engine_of(network, layer.grid.tiles), one_at_a_time(progress)

    def encoded(batch: list[Rectangle]) -> list[bytes]:
        return encode_groups(engine, [layer.turns(of) for of in batch], update)

    batches = list(_batches(layer.grid.groups(shape), lambda of: of.tiles, ENCODED_TOGETHER[network.device]))
    found = side_by_side(encoded, batches, min(engine.at_once, len(batches)))
    return [payload for some in found for payload in some]


class Request(NamedTuple):
    """A layer of size (width, height) to be decoded: the payloads of its groups. wanted: of its samples, if not all are: groups that have
    none of them are left out."""

    network: Networks
    kind: Kind
    size: tuple[int, int]
    around: Surroundings
    shape: Shape
    payloads: Sequence[bytes]
    wanted: Box | None = None

    @property
    def grid(self) -> Grid:
        return Grid(*self.size)

    @property
    def tiles(self) -> int:
        """That are decoded."""
        return sum(of.tiles for _, of in self.groups())

    def groups(self) -> Iterator[tuple[int, Rectangle]]:
        """That are decoded, with their numbers."""
        for number, of in enumerate(self.grid.groups(self.shape)):
            if self.wanted is None or of.box.meets(self.wanted):
                yield number, of


class GroupPayload(NamedTuple):
    """A group to be decoded: of which request, its tiles, its payload."""

    request: int
    rectangle: Rectangle
    payload: bytes


def decode_layers(requests: Sequence[Request], progress: Progress) -> list[Planes]:
    """The (channels, height, width) planes of layers of one network and one kind, of several pictures too, decoded together; 0 where no
    group was wanted.

    Raises DamagedError.
    """
    planes = [np.zeros((request.kind.channels, request.size[1], request.size[0]), np.uint8) for request in requests]
    engine, update = engine_of(requests[0].network, sum(request.tiles for request in requests)), one_at_a_time(progress)

    def decode(batch: list[GroupPayload]) -> None:
        decoding = Decoding(engine, [group.payload for group in batch])
        for turn in TURNS:
            parts = {k: group.rectangle.turns[turn] for k, group in enumerate(batch) if len(group.rectangle.turns) > turn}
            if parts:
                turns = {k: _turn_of(requests[batch[k].request], part, planes[batch[k].request]) for k, part in parts.items()}
                for (k, part), samples in zip(parts.items(), decoding.turn(turns, update), strict=True):
                    tiles_into_planes(samples, planes[batch[k].request], part)
        decoding.finish()

    for _ in _side_by_side(requests, engine, decode):
        pass
    return planes


def _turn_of(request: Request, part: Rectangle, planes: Planes) -> Turn:
    return request.around.turn(request.kind, request.grid, part, planes)


def _side_by_side(requests: Sequence[Request], engine: Engine, function: Callable[[list[GroupPayload]], Item]) -> Iterator[Item]:
    """The results for all groups in order, in batches of those that are decoded in lockstep."""
    groups = [GroupPayload(k, of, request.payloads[number]) for k, request in enumerate(requests) for number, of in request.groups()]
    most, least = DECODED_TILES[engine.device], LEARNING_TILES if engine.config.learns else 1

    def tiles_of(group: GroupPayload) -> int:
        """Of its first turn."""
        return group.rectangle.turns[0].tiles

    at_once = min(most, -(-sum(map(tiles_of, groups)) // engine.at_once))  # all threads have something to do
    batches = list(_batches(groups, lambda group: max(tiles_of(group), least), at_once))
    largest = max(sum(map(tiles_of, batch)) for batch in batches)
    beside = max(1, engine.at_once * most // max(most, largest))  # large groups take more memory, so fewer go side by side
    return side_by_side(function, batches, min(beside, len(batches)))


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


def sampled(tiles: int) -> list[int]:
    """Numbers of at most SAMPLED_TILES tiles: multiples of the golden section, which keep to no column of the picture."""
    return sorted({int(tiles * (k * GOLDEN_SECTION % 1)) for k in range(SAMPLED_TILES)})


def estimated_bytes(network: Networks, layer: Layer) -> float:
    """What a large layer takes, from real code of tiles that are spread over it."""
    grid, before = layer.grid, 0
    wanted = sampled(grid.tiles)
    some: list[tuple[Turn, TileSamples]] = []
    for of in grid.groups(group_shape(grid)):
        if not any(before <= number < before + of.tiles for number in wanted):
            before += of.tiles
            continue
        for turn, samples in layer.turns(of):
            chosen = [number - before for number in wanted if before <= number < before + len(samples)]
            some.append((chosen_of(turn, chosen), samples[chosen]))
            before += len(samples)
    turn = together([turn for turn, _ in some])
    code = len(encode_groups(engine_of(network, SAMPLED_TILES), [[(turn, np.concatenate([own for _, own in some]))]], ignore)[0])
    return code * grid.width * grid.height / int(turn.extents.prod(1).sum())


def beginnings_differ(network: Networks, layer: Layer, shape: Shape, payloads: Sequence[bytes], positions: int, progress: Progress) -> str:
    """What is wrong with the payloads of a layer, of each of which the first positions are decoded; nothing where they are right.

    Raises DamagedError.
    """
    grid, some, update = layer.grid, slice(positions), one_at_a_time(progress)
    request = Request(network, layer.kind, (grid.width, grid.height), layer.around, shape, payloads)
    engine = engine_of(network, grid.tiles)

    def wrong(batch: list[GroupPayload]) -> list[bool]:
        firsts = [group.rectangle.turns[0] for group in batch]
        turns = {k: _turn_of(request, part, layer.planes) for k, part in enumerate(firsts)}
        found = Decoding(engine, [group.payload for group in batch]).turn(turns, update, positions)
        return [_differs(samples, layer, part, some) for part, samples in zip(firsts, found, strict=True)]

    differ = itertools.chain(*_side_by_side([request], engine, wrong))
    return next((f"the tiles of group {number} differ" for number, one in enumerate(differ, 1) if one), "")


def _differs(samples: TileSamples, layer: Layer, of: Rectangle, some: slice) -> bool:
    exist = present(layer.grid.extents(of), np.arange(POSITIONS)[some]).T  # (tiles, positions)
    return bool(((samples[..., some] != tiles_from_planes(layer.planes, of)[..., some]) & exist[:, None]).any())
