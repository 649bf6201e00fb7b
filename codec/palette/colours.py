"""A palette: colours <-> tokens, and the exact colours that a token stands for.

A published ImageGPT knows a few hundred colours, the centres of clusters. A pixel's token is the nearest one; the pixels of a token fill
the centre's Voronoi cell. Cells are convex, so that with the token known, and then one channel after the other, what the next channel
may be lies between two bounds.
"""

import numpy as np
import numpy.typing as npt

from codec.progress import Progress, heartbeat, ignore
from codec.threads import lasting
from codec.tiling.planes import ORDERS, Pixels

UNIT = 1 << 16  # centres are kept in this fraction of a level
LARGEST = 255 * UNIT
AT_ONCE = 1 << 14  # colours
PIXELS_AT_ONCE = 1 << 20
SETTLING = 8  # steps
SIDE = 16  # of the cubes of colours that are measured at once
CUBES = (256 // SIDE) ** 3
NOTHING = (255, 0)  # bounds with nothing between them

Tokens = npt.NDArray[np.uint16]
Integers = npt.NDArray[np.int64]
Bounds = tuple[Integers, Integers]  # lowest and highest sample; where the first is larger, there is none


class Palette:
    """centres: (tokens, 3), R G B in units of 1/UNIT, int32, 0 to LARGEST. green: (tokens, 2) uint8, the bounds of G in each cell; red:
    (tokens, 256, 2) uint8, those of R for each G.

    Everything is exact: distances are compared as whole numbers below 2^53, and the first of equally near centres is taken.
    """

    def __init__(self, centres: npt.NDArray[np.int32], green: npt.NDArray[np.uint8], red: npt.NDArray[np.uint8]) -> None:
        self.centres = centres.astype(np.int64)
        self.squares = (self.centres**2).sum(1)
        self.green, self.red = green.astype(np.int64), red.astype(np.int64)

    @classmethod
    def measured(cls, centres: npt.NDArray[np.int32], progress: Progress = ignore) -> "Palette":
        """With the bounds as they are found by going through all 2^24 colours, a cube after the other; progress is told of each."""
        green = np.tile(np.array(NOTHING, np.uint8), (len(centres), 1))
        red = np.tile(np.array(NOTHING, np.uint8), (len(centres) * 256, 1))
        palette = cls(centres, green, red)
        cube = np.stack([*np.mgrid[:SIDE, :SIDE, :SIDE]], -1).reshape(-1, 3)
        for corner in np.ndindex(256 // SIDE, 256 // SIDE, 256 // SIDE):
            low = np.array(corner) * SIDE
            colours = cube + low
            r, g, _ = colours.astype(np.uint8).T
            tokens = palette.nearest(colours, palette._near(low, low + SIDE - 1))
            places = tokens.astype(np.int64) * 256 + g
            for bounds, at, found in ((green, tokens, g), (red, places, r)):
                np.minimum.at(bounds[:, 0], at, found)
                np.maximum.at(bounds[:, 1], at, found)
            progress(1)
        return cls(centres, green, red.reshape(-1, 256, 2))

    def _near(self, low: Integers, high: Integers) -> Integers:
        """Tokens that a colour from low to high, (3), can have: their centres are not farther from all of these than another one is."""
        low, high = low * UNIT, high * UNIT
        least = ((self.centres - self.centres.clip(low, high)) ** 2).sum(1)
        most = (np.maximum(abs(self.centres - low), abs(self.centres - high)) ** 2).sum(1)
        return np.flatnonzero(least <= most.min())

    def __len__(self) -> int:
        return len(self.centres)

    def tokens(self, pixels: Pixels, progress: Progress = ignore) -> Tokens:
        """(height, width, 1 or 3) -> (height, width): the nearest centre of each pixel. progress: called with the number of those just
        done."""
        height, width, channels = pixels.shape
        tokens = np.empty((height, width), np.uint16)
        rows = max(1, PIXELS_AT_ONCE // width)
        for first in range(0, height, rows):
            codes = pixels[first : first + rows].astype(np.int64) @ 256 ** np.arange(channels)
            unique, places = np.unique(codes, return_inverse=True)
            colours = unique[:, None] >> 8 * np.arange(channels) & 255
            tokens[first : first + rows] = self.nearest(np.broadcast_to(colours, (len(colours), 3)))[places].reshape(codes.shape)
            progress(codes.size)
        return tokens

    def nearest(self, colours: Integers, among: Integers | None = None) -> Tokens:
        """(n, 3) -> (n). among: the tokens that these can have, in order; all of them by default."""
        tokens = (np.arange(len(self)) if among is None else among).astype(np.uint16)
        factors, squares = self.centres[tokens].T.astype(np.float64), self.squares[tokens].astype(np.float64)
        found = np.empty(len(colours), np.uint16)
        for first in range(0, len(colours), AT_ONCE):
            part = colours[first : first + AT_ONCE].astype(np.float64) * (2 * UNIT)
            found[first : first + AT_ONCE] = tokens[(part @ factors - squares).argmax(1)]
        return found

    @lasting
    def colours(self) -> npt.NDArray[np.uint8]:
        """The centres as pixels: (tokens, 3)."""
        return ((self.centres + UNIT // 2) // UNIT).astype(np.uint8)

    def bounds(self, tokens: Tokens, known: list[npt.NDArray[np.int64]], channels: int) -> Bounds:
        """What the next sample of pixels may be, whose tokens (n) and first samples in coding order, each (n), are known."""
        if channels == 3 and len(known) < 2:
            found = self.red[tokens, known[0]] if known else self.green[tokens]
            return found[:, 0], found[:, 1]
        order = ORDERS[channels]
        now = order[len(known)]
        low, high = np.zeros(len(tokens), np.int64), np.full(len(tokens), 255, np.int64)
        for first in range(0, len(tokens), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            token = tokens[part].astype(np.int64)
            nearer = self.centres[None] - self.centres[token][:, None]  # (n, tokens, 3)
            slope = 2 * UNIT * (nearer.sum(-1) if channels == 1 else nearer[..., now])
            room = self.squares[None] - self.squares[token][:, None] - (np.arange(len(self)) < token[:, None])
            for channel, samples in zip(order, known, strict=False):
                room -= 2 * UNIT * nearer[..., channel] * samples[part, None]
            # sample * slope <= room
            quotient = np.floor_divide(room, np.where(slope, np.abs(slope), 1))
            highest = np.where(slope > 0, quotient, np.where((slope == 0) & (room < 0), -1, 255))
            lowest = np.where(slope < 0, -quotient, 0)
            low[part] = lowest.max(1).clip(0, 256)
            high[part] = highest.min(1).clip(-1, 255)
        return low, high

    def painted(self, tokens: Tokens, channels: int) -> Pixels:
        """(height, width) tokens -> (height, width, channels) pixels in the palette's colours."""
        pixels: Pixels = self.colours[tokens][..., :channels]
        return pixels

    def quantized(self, pixels: Pixels, progress: Progress = ignore) -> Pixels:
        """The (height, width, 1 or 3) pixels in the palette's colours, (height, width, 3). This is lossy. progress: as of `tokens`."""
        now = self.painted(self.tokens(pixels, progress), 3)
        for _ in range(SETTLING):  # centres are not quite colours: where two are close, one's colour may be nearer to the other
            again = self.painted(self.tokens(now, heartbeat(progress)), 3)
            if (again == now).all():
                break
            now = again
        return now
