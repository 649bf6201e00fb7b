"""Chroma at half resolution: how decoders brought it to full resolution, to the bit, and the way back.

A full-resolution sample lies in a cell of `down` x `across` samples; each place in the cell has its own taps: small samples near the
cell's own, with weights. The sample is (the weighted sum + bias) >> shift. Small samples beyond the edge repeat the last one.
"""

from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from codec.box import Box
from codec.pasts.colour import Integers

Bytes = npt.NDArray[np.uint8]
STRIP = 512  # rows of a picture treated at once, at most; a multiple of every cell
STRIP_PIXELS = 1 << 19
Number = TypeVar("Number", np.int32, np.float32)


def strips(height: int, width: int) -> list[slice]:
    """The rows of a picture in parts that begin with a whole cell and are not large."""
    rows = max(2, min(STRIP, STRIP_PIXELS // width // 2 * 2))
    return [slice(start, min(start + rows, height)) for start in range(0, height, rows)]


@dataclass(frozen=True)
class Place:
    """rows, columns: (0, -1 or 1) away from the cell's own small sample -> weight; the products of both sum to 2^shift."""

    rows: dict[int, int]
    columns: dict[int, int]
    bias: int
    shift: int

    @property
    def taps(self) -> list[tuple[int, int, int]]:
        """Rows and columns away, weight."""
        return [(dy, dx, v * h) for dy, v in self.rows.items() for dx, h in self.columns.items()]


@dataclass(frozen=True)
class Filter:
    """code: its number in the file. down, across: full-resolution samples per cell. places: by (row, column) in the cell."""

    name: str
    code: int
    down: int
    across: int
    places: dict[tuple[int, int], Place]

    @property
    def transposed(self) -> "Filter":
        places = {(x, y): Place(place.columns, place.rows, place.bias, place.shift) for (y, x), place in self.places.items()}
        return Filter(self.name, self.code, self.across, self.down, places)


@dataclass(frozen=True)
class Span:
    """Along one axis: the full-resolution positions of one place in every cell, and the first and the number of these cells."""

    positions: slice
    first: int
    count: int

    def tap(self, away: int) -> slice:
        """The small samples `away` from those cells, in planes with one more sample on every side."""
        return slice(self.first + away + 1, self.first + away + 1 + self.count)


@dataclass(frozen=True)
class Sampling:
    """A filter, where its cells lie, and whether small samples beyond the picture's edge are known.

    top, left: rows and columns of the first cell that are missing. ring: 1 where the small planes have one more sample on every side.
    """

    filter: Filter
    top: int = 0
    left: int = 0
    ring: int = 0

    @property
    def transposed(self) -> "Sampling":
        return Sampling(self.filter.transposed, self.left, self.top, self.ring)

    def small_shape(self, height: int, width: int) -> tuple[int, int]:
        down, across, ring = self.filter.down, self.filter.across, 2 * self.ring
        return -(-(height + self.top) // down) + ring, -(-(width + self.left) // across) + ring

    def places(self, height: int, width: int) -> list[tuple[Place, Span, Span]]:
        """Each place in a cell with the rows and the columns of the picture that it covers."""
        return [
            (place, self._span(y, self.top, self.filter.down, height), self._span(x, self.left, self.filter.across, width))
            for (y, x), place in self.filter.places.items()
        ]

    def _span(self, place: int, missing: int, factor: int, size: int) -> Span:
        first = (place - missing) % factor
        return Span(slice(first, size, factor), (first + missing) // factor + self.ring, len(range(first, size, factor)))

    def sums(self, small: npt.NDArray[Number], height: int, width: int) -> npt.NDArray[Number]:
        """(..., rows, columns) small samples -> (..., height, width): the weighted sums, without bias and shift."""
        padded = np.pad(small, ((0, 0),) * (small.ndim - 2) + ((1, 1), (1, 1)), "edge")
        out = np.empty((*small.shape[:-2], height, width), small.dtype)
        for place, rows, columns in self.places(height, width):
            total = np.zeros((*small.shape[:-2], rows.count, columns.count), small.dtype)
            for dy, dx, weight in place.taps:
                total += padded[..., rows.tap(dy), columns.tap(dx)] * small.dtype.type(weight)
            out[..., rows.positions, columns.positions] = total
        return out

    def spread(self, full: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The transpose of `sums` with weights that are shares: (..., height, width) -> (..., rows, columns)."""
        height, width = full.shape[-2:]
        rows_and_columns = self.small_shape(height, width)
        out = np.zeros((*full.shape[:-2], *(n + 2 for n in rows_and_columns)), np.float32)
        for place, rows, columns in self.places(height, width):
            part = full[..., rows.positions, columns.positions]
            for dy, dx, weight in place.taps:
                out[..., rows.tap(dy), columns.tap(dx)] += part * np.float32(weight / (1 << place.shift))
        out[..., 1, :] += out[..., 0, :]
        out[..., -2, :] += out[..., -1, :]
        out[..., 1] += out[..., 0]
        out[..., -2] += out[..., -1]
        return out[..., 1:-1, 1:-1]

    def means(self, small: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
        """(..., rows, columns) reals -> (..., height, width): the weighted means."""
        out = self.sums(small, height, width)
        for place, rows, columns in self.places(height, width):
            out[..., rows.positions, columns.positions] /= 1 << place.shift
        return out

    def rounded(self, sums: Integers) -> Integers:
        """What becomes of the weighted sums (..., height, width)."""
        out = np.empty_like(sums)
        for place, rows, columns in self.places(*sums.shape[-2:]):
            part = (..., rows.positions, columns.positions)
            out[part] = (sums[part] + place.bias) >> place.shift
        return out

    def upsampled(self, small: Bytes, height: int, width: int, wanted: slice | None = None) -> Bytes:
        """(..., rows, columns) -> (..., height, width), as the decoder did it; a strip at a time, so that memory stays bounded. wanted: of
        the rows, if not all are; others are undefined."""
        wanted = wanted or slice(0, height)
        out = np.empty((*small.shape[:-2], height, width), np.uint8)
        for rows in strips(height, width):
            if rows.start < wanted.stop and wanted.start < rows.stop:
                out[..., rows, :] = self.upsampled_strip(small, rows, width)
        return out

    def cells(self, box: Box, height: int, width: int) -> Box:
        """The small samples that give those of a box of a picture (height, width)."""
        rows, columns = self.small_shape(height, width)
        y = self._cells(box.top, box.bottom, self.top, self.filter.down, rows)
        x = self._cells(box.left, box.right, self.left, self.filter.across, columns)
        return Box(int(x[0]), int(y[0]), int(x[-1]) + 1, int(y[-1]) + 1)

    def upsampled_strip(self, small: Bytes, strip: slice, width: int) -> Bytes:
        """One of the `strips`: (..., rows, columns) -> (..., strip.stop - strip.start, width)."""
        inner = Sampling(self.filter, self.top, self.left, ring=1)
        rows = self._cells(strip.start, strip.stop, self.top, self.filter.down, small.shape[-2])
        columns = self._cells(0, width, self.left, self.filter.across, small.shape[-1])
        part = small[..., rows[:, None], columns].astype(np.int32)
        return inner.rounded(inner.sums(part, strip.stop - strip.start, width)).astype(np.uint8)

    def _cells(self, start: int, stop: int, missing: int, factor: int, count: int) -> npt.NDArray[np.int64]:
        """Along one axis: the small samples of the positions start to stop - 1, with a neighbour on each side."""
        first, last = (start + missing) // factor + self.ring, (stop - 1 + missing) // factor + self.ring
        return np.arange(first - 1, last + 2).clip(0, count - 1)


def _triangle(down: int, across: int, code: int, name: str, alternating: bool = True) -> Filter:
    """libjpeg's "fancy" upsampling (jdsample.c): three parts of the nearer sample, one of the farther, alternating rounding."""
    shift = 4 if down == across else 2
    half = 1 << (shift - 1)
    biases = (half, half) if not alternating else (8, 7) if down == across else (1, 2)
    near_and_far = {k: {0: 3, 2 * k - 1: 1} for k in range(2)}
    places = {}
    for y, x in product(range(down), range(across)):
        rows, columns = (near_and_far[k] if factor == 2 else {0: 1} for k, factor in ((y, down), (x, across)))
        places[y, x] = Place(rows, columns, biases[x if across == 2 else y], shift)
    return Filter(name, code, down, across, places)


def _replicated(down: int, across: int, code: int, name: str) -> Filter:
    return Filter(name, code, down, across, {place: Place({0: 1}, {0: 1}, 0, 0) for place in product(range(down), range(across))})


def _averages(code: int, name: str) -> Filter:
    """PhotoCD's: every second sample is a mean of its two or four neighbours, halves rounded up."""
    places = {}
    for y, x in product(range(2), range(2)):
        places[y, x] = Place(dict.fromkeys(range(y + 1), 1), dict.fromkeys(range(x + 1), 1), (0, 1, 2)[y + x], y + x)
    return Filter(name, code, 2, 2, places)


FULL = _replicated(1, 1, 0, "4:4:4")
FILTERS = (
    FULL,
    _triangle(2, 2, 1, "4:2:0"),
    _triangle(1, 2, 2, "4:2:2"),
    _triangle(2, 1, 3, "4:4:0"),
    _replicated(2, 2, 4, "4:2:0, repeated"),
    _replicated(1, 2, 5, "4:2:2, repeated"),
    _replicated(2, 1, 6, "4:4:0, repeated"),
    _averages(7, "4:2:0, averaged"),
)
# stb_image's, which rounds halves up everywhere
STB_FILTERS = (
    FULL,
    _triangle(2, 2, 1, "4:2:0", alternating=False),
    _triangle(1, 2, 2, "4:2:2", alternating=False),
    _triangle(2, 1, 3, "4:4:0", alternating=False),
    *FILTERS[4:7],
)
