"""Training data: folders of lossless pictures, kept in memory, and random tiles of them."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from bitstream.errors import IgptError
from codec.context import POSITIONS, SIDE
from codec.planes import GREY, RGB, Kind, pixels_to_planes

SUFFIXES = {".png", ".webp", ".ppm", ".bmp", ".tif", ".tiff"}
GREY_SHARE = 1 / 8  # of the tiles of a batch


class Pictures:
    """The RGB pictures of one folder: (height, width, 3) uint8 arrays, drawn in proportion to their pixels."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        opened = [np.asarray(Image.open(p).convert("RGB")) for p in paths]
        self.pictures = [p for p in opened if min(p.shape[:2]) >= SIDE]
        self.sizes = np.array([p.shape[0] * p.shape[1] for p in self.pictures], dtype=np.float64)

    def crop(self, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """A random tile, (SIDE, SIDE, 3), mirrored and transposed at random."""
        picture = self.pictures[rng.choice(len(self.pictures), p=self.sizes / self.sizes.sum())]
        y, x = (int(rng.integers(n - SIDE + 1)) for n in picture.shape[:2])
        tile = picture[y : y + SIDE, x : x + SIDE]
        if rng.random() < 0.5:
            tile = tile[::-1]
        if rng.random() < 0.5:
            tile = tile[:, ::-1]
        return tile.transpose(1, 0, 2) if rng.random() < 0.5 else tile


class TrainingData:
    """Batches of random tiles from several folders, each folder drawn in proportion to the square root of its pixels."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = [Pictures(folder) for folder in folders]
        self.shares = np.array([math.sqrt(folder.sizes.sum()) for folder in self.folders])
        if not self.shares.all():
            msg = f"a training folder holds no picture of at least {SIDE}x{SIDE}: {[str(f) for f in folders]}"
            raise IgptError(msg)

    @property
    def megapixels(self) -> float:
        return float(sum(folder.sizes.sum() for folder in self.folders)) / 1e6

    def batch(self, tiles: int, rng: np.random.Generator) -> dict[Kind, Tensor]:
        """`tiles` random tiles, some of them grey: kind -> (tiles, channels, POSITIONS) uint8."""
        chosen = rng.choice(len(self.folders), size=tiles, p=self.shares / self.shares.sum())
        crops = [self.folders[k].crop(rng) for k in chosen]
        grey_tiles = int(rng.binomial(tiles, GREY_SHARE))
        batch = {GREY: [as_grey(c, rng) for c in crops[:grey_tiles]], RGB: crops[grey_tiles:]}
        return {kind: as_samples(tiles, kind) for kind, tiles in batch.items() if tiles}


def as_grey(tile: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(SIDE, SIDE, 3) -> (SIDE, SIDE, 1): the luma or the green channel."""
    if rng.random() < 0.5:
        return tile[..., 1:2]
    return np.asarray(Image.fromarray(np.ascontiguousarray(tile)).convert("L"))[..., None]


def as_samples(tiles: Sequence[npt.NDArray[np.uint8]], kind: Kind) -> Tensor:
    """Tiles of pixels -> (tiles, channels, POSITIONS) uint8 in coding order."""
    planes = np.stack([pixels_to_planes(tile, kind) for tile in tiles])
    return torch.from_numpy(planes.reshape(len(tiles), kind.channels, POSITIONS))
