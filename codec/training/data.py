"""Training data: folders of lossless pictures, kept in memory, and random tiles of them, as they are and with simulated pasts."""

import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from bitstream.errors import IgptError
from codec.pasts.past import developed
from codec.tiling.context import MARGIN, POSITIONS, REACH, SIDE, SIDES, WINDOW
from codec.tiling.planes import FILM_CHROMA, FILM_LUMA, GREY, JPEG_CHROMA, JPEG_LUMA, RGB, Kind, pixels_to_planes
from codec.tiling.tiles import Around, Known, strips_from_planes
from codec.training import histories

SUFFIXES = {".png", ".webp", ".ppm", ".bmp", ".tif", ".tiff"}
SHARES = {RGB: 0.875, GREY: 0.125, JPEG_LUMA: 0.26, JPEG_CHROMA: 0.16, FILM_LUMA: 0.36, FILM_CHROMA: 0.22}  # of a batch, in each layout
SPAN = SIDE + 2 * REACH
MOST_PIXELS = 1 << 29  # that are kept in memory, 1.6 GB
REGION = 112  # side of what a past is simulated on
ALIGNED_SHARE = 0.8  # of the regions whose blocks lie as in a whole picture
HISTORIES = {RGB: ((histories.film, 0.12), (histories.jpeg, 0.08)), GREY: ((histories.jpeg, 0.2),)}  # of the tiles with traces of a past

Simulate = Callable[[npt.NDArray[np.uint8], np.random.Generator], histories.History]
Shares = Sequence[tuple[Simulate, float]]
Report = Callable[[int, int], None]
RANKS_SHARE, LARGEST_ERROR = 0.12, 4  # of the tiles of pixels, which are as --max-error has them, 1 to so much
SECOND_SHARE = 0.5  # of the tiles, which see what was coded around them
SIDE_SHARE = 0.94  # of the sides of these, which are not the picture's edges
Batch = dict[Kind, tuple[Tensor, Around[Tensor]]]  # samples (tiles, channels, POSITIONS) uint8, and what is around
Cut = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]  # a tile with all around it, (channels, SPAN, SPAN), and its window


def untold(done: int, more: int) -> None:
    """For those who do not want to know how far the reading is."""


class Pictures:
    """The RGB pictures of one folder: (height, width, 3) uint8 arrays, drawn in proportion to their pixels.

    most: pixels that are kept; where there are more, of every picture a random part. report: called with how many pixels more are read, and
    how many more there are than was known.
    """

    def __init__(self, folder: Path, most: int = MOST_PIXELS, report: Report = untold) -> None:
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        shapes = {path: _size(path) for path in paths}
        usable = [path for path, shape in shapes.items() if min(shape) >= SPAN]
        self.share = min(1.0, math.sqrt(most / max(1, sum(math.prod(shapes[path]) for path in usable))))
        report(0, sum(math.prod(shapes[path]) for path in usable))
        self.pictures = []
        for path in usable:
            self.pictures.append(_part(path, self.share))
            report(math.prod(shapes[path]), 0)
        self.sizes = np.array([p.shape[0] * p.shape[1] for p in self.pictures], dtype=np.float64)

    def crop(self, rng: np.random.Generator, side: int = SPAN) -> npt.NDArray[np.uint8]:
        """A random square, (side, side, 3), mirrored and transposed at random; a smaller picture is mirrored until it is as large."""
        picture = self.pictures[rng.choice(len(self.pictures), p=self.sizes / self.sizes.sum())]
        if min(picture.shape[:2]) < side:
            picture = np.pad(picture, [(0, max(0, side - n)) for n in picture.shape[:2]] + [(0, 0)], "symmetric")
        y, x = (int(rng.integers(n - side + 1)) for n in picture.shape[:2])
        tile = picture[y : y + side, x : x + side]
        if rng.random() < 0.5:
            tile = tile[::-1]
        if rng.random() < 0.5:
            tile = tile[:, ::-1]
        return tile.transpose(1, 0, 2) if rng.random() < 0.5 else tile


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def _part(path: Path, share: float) -> npt.NDArray[np.uint8]:
    """A picture, or a part of it with so much of each side, always the same."""
    rng = np.random.default_rng(zlib.crc32(path.name.encode()))
    with Image.open(path) as image:
        sides = [max(SPAN, math.ceil(share * side)) for side in image.size]
        left, top = (int(rng.integers(whole - side + 1)) for whole, side in zip(image.size, sides, strict=True))
        return np.array(image.crop((left, top, left + sides[0], top + sides[1])).convert("RGB"))


class TrainingData:
    """Batches of random tiles from several folders, each folder drawn in proportion to the square root of its pixels. report: as of
    `Pictures`."""

    def __init__(self, folders: Sequence[Path], report: Report = untold) -> None:
        self.folders = [Pictures(folder, MOST_PIXELS // len(folders), report) for folder in folders]
        self.shares = np.array([math.sqrt(folder.sizes.sum()) for folder in self.folders])
        if not self.shares.all():
            msg = f"a training folder holds no picture of at least {SPAN}x{SPAN}: {[str(f) for f in folders]}"
            raise IgptError(msg)

    @property
    def megapixels(self) -> float:
        return float(sum(folder.sizes.sum() for folder in self.folders)) / 1e6

    def batch(self, tiles: int, rng: np.random.Generator, kinds: Sequence[Kind]) -> Batch:
        """`tiles` random tiles of the kinds of a layout."""
        counts = rng.multinomial(tiles, [SHARES[kind] for kind in kinds])
        return {
            kind: self.tiles(kind, int(count), rng, HISTORIES.get(kind, ())) for kind, count in zip(kinds, counts, strict=True) if count
        }

    def tiles(self, kind: Kind, count: int, rng: np.random.Generator, pasts: Shares = ()) -> tuple[Tensor, Around[Tensor]]:
        """`count` random tiles of a kind; pasts: what share of pixels shows the traces of which past; where any does, some are as
        `--max-error` has them, too."""
        chosen = [self.folders[k] for k in rng.choice(len(self.folders), size=count, p=self.shares / self.shares.sum())]
        spans: Sequence[npt.NDArray[np.uint8]]
        windows = None
        if kind in (RGB, GREY):
            crops = [cropped(folder, pasts, rng) for folder in chosen]
            crops = [as_ranks(crop, rng) if pasts and rng.random() < RANKS_SHARE else crop for crop in crops]
            spans = [pixels_to_planes(crop if kind == RGB else as_grey(crop, rng)) for crop in crops]
        else:
            simulate = histories.jpeg if kind in (JPEG_LUMA, JPEG_CHROMA) else histories.film
            spans, found = zip(*(with_past(folder.crop(rng, REGION), kind, simulate, rng) for folder in chosen), strict=True)
            windows = np.stack(found) if kind.surrounded else None
        inside = slice(REACH, REACH + SIDE)
        samples = np.stack([span[:, inside, inside] for span in spans]).reshape(count, kind.channels, POSITIONS)
        second = rng.random(count) < SECOND_SHARE
        sides = ((rng.random((count, len(SIDES))) < SIDE_SHARE) @ np.array(SIDES) * second).astype(np.uint8)
        strips = np.concatenate([strips_from_planes(span, [(REACH, REACH)]) for span in spans])
        return torch.from_numpy(samples), as_tensors(Known(sides, strips, windows))


def as_ranks(tile: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(side, side, 3) -> what is coded of it where samples may be wrong by a bound: ranks among values that far apart."""
    apart = 2 * int(rng.integers(1, LARGEST_ERROR + 1)) + 1
    return ((tile + rng.integers(apart, size=3)) // apart).astype(np.uint8)


def as_tensors(around: Known) -> Around[Tensor]:
    return around.each(torch.from_numpy)


def cropped(folder: Pictures, pasts: Shares, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A random tile and what is around it, (SPAN, SPAN, 3), some with a past."""
    choice = rng.random() if pasts else 0.0
    for simulate, share in pasts:
        if choice < share:
            formula, luma, small, sampling = simulate(folder.crop(rng, REGION), rng)
            pixels = developed(formula, luma, sampling.upsampled(small, *luma.shape))
            y, x = (SIDE if rng.random() < ALIGNED_SHARE else int(rng.integers(REACH, n - SIDE - REACH + 1)) for n in luma.shape)
            return pixels[y - REACH : y - REACH + SPAN, x - REACH : x - REACH + SPAN]
        choice -= share
    return folder.crop(rng)


def with_past(region: npt.NDArray[np.uint8], kind: Kind, simulate: Simulate, rng: np.random.Generator) -> Cut:
    """A tile of a region's luma or chroma, and its window (2, WINDOW, WINDOW) of full-resolution chroma."""
    _, luma, small, sampling = simulate(region, rng)
    aligned = rng.random() < ALIGNED_SHARE
    if not kind.surrounded:
        y, x = (8 if aligned else int(rng.integers(REACH, n - SIDE - REACH + 1)) for n in small.shape[1:])
        return small[:, y - REACH : y - REACH + SPAN, x - REACH : x - REACH + SPAN], np.empty(0, np.uint8)
    chroma = sampling.upsampled(small, *luma.shape)
    y, x = (32 if aligned else int(rng.integers(MARGIN, n - SIDE - MARGIN)) for n in luma.shape)
    window = chroma[:, y - MARGIN : y - MARGIN + WINDOW, x - MARGIN : x - MARGIN + WINDOW]
    return luma[None, y - REACH : y - REACH + SPAN, x - REACH : x - REACH + SPAN], window


def as_grey(tile: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(side, side, 3) -> (side, side, 1): the luma or the green channel."""
    if rng.random() < 0.5:
        return tile[..., 1:2]
    return np.asarray(Image.fromarray(np.ascontiguousarray(tile)).convert("L"))[..., None]
