"""Layers: the planes of a picture that are coded one after the other, each with its own tiles.

A picture without a past has one layer, its pixels. With a past, the chroma comes first; the luma is coded with all of it in view.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from bitstream.header import PastFields
from bitstream.outliers import pack
from codec.network.coding import DECODED_TILES, Cells, Group, Progress, decode_groups, encode_group
from codec.network.model import IntegerImageGPT
from codec.palette.colours import Palette, Tokens
from codec.pasts.past import Past
from codec.threads import checkpoint, side_by_side
from codec.tiling.context import POSITIONS
from codec.tiling.planes import FILM_CHROMA, FILM_LUMA, JPEG_CHROMA, JPEG_LUMA, Kind, Pixels, Planes, kind_of, pixels_to_planes
from codec.tiling.tiles import Grid, Samples, tiles_from_planes, tiles_into_planes, windows_from_planes

PAST_KINDS = {"JPEG": (JPEG_CHROMA, JPEG_LUMA), "PhotoCD": (FILM_CHROMA, FILM_LUMA)}  # by formula: of chroma and luma
SAMPLED_TILES = 32  # from which the size of a layer is estimated


class Known(NamedTuple):
    """What is known of a layer before it is coded. chroma: (2, height, width), for a surrounded kind; tokens: (height, width), which say in
    which cells of the palette the pixels are."""

    chroma: Planes | None = None
    tokens: Tokens | None = None
    palette: Palette | None = None

    def group(self, kind: Kind, grid: Grid, first: int, last: int) -> Group:
        """The tiles first to last - 1."""
        windows = None if self.chroma is None else windows_from_planes(self.chroma, grid, first, last)
        cells = None
        if self.tokens is not None and self.palette is not None:
            cells = Cells(self.palette, tiles_from_planes(self.tokens[None], grid, first, last)[:, 0])
        return Group(kind, grid.extents(first, last), windows, cells)


NOTHING = Known()


@dataclass(frozen=True)
class Layer:
    """planes: (channels, height, width) of a kind; known: what has been coded of the picture before; tried: what a network made of all of
    it, while its size was estimated."""

    kind: Kind
    planes: Planes
    known: Known = NOTHING
    tried: dict[bytes, bytes] = field(default_factory=dict, compare=False)  # by the network's digest

    @property
    def grid(self) -> Grid:
        height, width = self.planes.shape[1:]
        return Grid(width, height)

    def part(self, first: int, last: int) -> tuple[Group, Samples]:
        """The tiles first to last - 1."""
        return self.known.group(self.kind, self.grid, first, last), tiles_from_planes(self.planes, self.grid, first, last)


class Coded(NamedTuple):
    """What goes into a file, and by which network."""

    network: IntegerImageGPT
    past: Past | None
    layers: list[Layer]

    def estimated_bytes(self) -> float:
        """About how many it takes, beside the headers."""
        exceptions = len(pack(self.past.positions, self.past.corrections)) if self.past else 0
        return exceptions + sum(estimated_bytes(self.network, layer) for layer in self.layers)


def layers_of(pixels: Pixels, past: Past | None) -> list[Layer]:
    """What is coded of (height, width, 1 or 3) pixels, or of their past."""
    if past is None:
        return [Layer(kind_of(pixels.shape[2]), pixels_to_planes(pixels))]
    chroma_kind, luma_kind = PAST_KINDS[past.formula.name]
    return [
        Layer(chroma_kind, past.chroma),
        Layer(luma_kind, past.luma[None], Known(past.sampling.upsampled(past.chroma, *past.luma.shape))),
    ]


def fields_of(past: Past) -> PastFields:
    """What the header says of it."""
    rows, columns = past.chroma.shape[1:]
    sampling = past.sampling
    return PastFields(past.formula.code, sampling.filter.code, sampling.top, sampling.left, sampling.ring, columns, rows)


def encode_layer(network: IntegerImageGPT, layer: Layer, tiles_per_group: int, progress: Progress) -> list[bytes]:
    """A payload for each group of tiles."""
    if network.digest in layer.tried and tiles_per_group >= layer.grid.tiles:
        progress(layer.planes[0].size)
        return [layer.tried[network.digest]]
    firsts = range(0, layer.grid.tiles, tiles_per_group)
    engine, told = network.engine(layer.grid.tiles), _one_at_a_time(progress)

    def encoded(first: int) -> bytes:
        return encode_group(engine, *layer.part(first, min(first + tiles_per_group, layer.grid.tiles)), told)

    return list(side_by_side(encoded, firsts, min(engine.at_once, len(firsts))))


class Wanted(NamedTuple):
    """A layer of size (width, height) to be decoded."""

    network: IntegerImageGPT
    kind: Kind
    size: tuple[int, int]
    known: Known
    tiles_per_group: int
    payloads: Sequence[bytes]

    @property
    def grid(self) -> Grid:
        return Grid(*self.size)


Batch = list[tuple[int, int, int, bytes]]  # groups: of which layer, their first tile, the one behind their last one, their payload


def decode_layer(wanted: Wanted, progress: Progress) -> Planes:
    """Its (channels, height, width) planes. Raises DamagedError."""
    return decode_layers([wanted], progress)[0]


def decode_layers(wanted: Sequence[Wanted], progress: Progress) -> list[Planes]:
    """The planes of layers of one network and one kind, of several pictures too, decoded together. Raises DamagedError."""
    planes = [np.empty((layer.kind.channels, layer.size[1], layer.size[0]), np.uint8) for layer in wanted]
    for which, first, samples in decoded_tiles(wanted, progress):
        tiles_into_planes(samples, planes[which], wanted[which].grid, first)
    return planes


def decoded_tiles(wanted: Sequence[Wanted], progress: Progress, positions: int = POSITIONS) -> Iterator[tuple[int, int, Samples]]:
    """The tiles of such layers, group by group: which layer, the first tile's number, and the samples; of each tile `positions` at most
    are decoded."""
    network, kind, *_ = wanted[0]
    engine, told = network.engine(sum(layer.grid.tiles for layer in wanted)), _one_at_a_time(progress)
    at_once = DECODED_TILES[network.device]
    batches = list(_batches(wanted, at_once))
    largest = max(sum(end - begin for _, begin, end, _ in batch) for batch in batches)
    beside = max(1, engine.at_once * at_once // max(at_once, largest))  # large groups take more memory, so fewer go side by side

    def decoded(batch: Batch) -> list[Samples]:
        groups = [wanted[which].known.group(kind, wanted[which].grid, first, last) for which, first, last, _ in batch]
        return decode_groups(engine, groups, [payload for *_, payload in batch], told, positions)

    for batch, samples in zip(batches, side_by_side(decoded, batches, min(beside, len(batches))), strict=True):
        for (which, first, *_), of_group in zip(batch, samples, strict=True):
            yield which, first, of_group


def _batches(wanted: Sequence[Wanted], most: int) -> Iterator[Batch]:
    """All groups, as many together as have no more than so many tiles, or one."""
    batch: Batch = []
    for which, layer in enumerate(wanted):
        count = layer.grid.tiles
        for first, payload in zip(range(0, count, layer.tiles_per_group), layer.payloads, strict=True):
            last = min(first + layer.tiles_per_group, count)
            if batch and sum(end - begin for _, begin, end, _ in batch) + last - first > most:
                yield batch
                batch = []
            batch.append((which, first, last, payload))
    yield batch


def _one_at_a_time(progress: Progress) -> Progress:
    """For threads side by side, whose work may have become useless, too."""
    lock = threading.Lock()

    def told(pixels: int) -> None:
        checkpoint()
        with lock:
            progress(pixels)

    return told


def estimated_bytes(network: IntegerImageGPT, layer: Layer) -> float:
    """What a layer takes, from real code of evenly spread tiles; exact where there are no more than SAMPLED_TILES."""
    grid = layer.grid
    engine = network.engine(min(grid.tiles, SAMPLED_TILES))
    if grid.tiles <= SAMPLED_TILES:
        layer.tried[network.digest] = encode_group(engine, *layer.part(0, grid.tiles), _ignore)
        return float(len(layer.tried[network.digest]))
    groups = [layer.part(tile, tile + 1) for tile in np.linspace(0, grid.tiles - 1, SAMPLED_TILES).astype(int).tolist()]
    windows = [group.windows for group, _ in groups if group.windows is not None]
    extents = np.concatenate([group.extents for group, _ in groups])
    group = Group(layer.kind, extents, np.concatenate(windows) if windows else None)
    code = len(encode_group(engine, group, np.concatenate([samples for _, samples in groups]), _ignore))
    return code * grid.width * grid.height / int(extents.prod(1).sum())


def _ignore(pixels: int) -> None:
    pass
