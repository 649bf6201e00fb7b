"""Near-lossless: pictures whose samples are others than they were, by a bound at most, and fewer; they are then coded as any other."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bitstream.errors import IgptError, VerificationError
from bitstream.form import ALPHA
from bitstream.metadata import Chunks
from codec.options import LARGEST_ERROR
from codec.pictures.marks import LOSSY, MAX_ERROR, marked, marks
from codec.pictures.picture import Picture

Samples = npt.NDArray[Any]
Levels = npt.NDArray[np.int64]

LARGEST_ERRORS = {8: 16, 16: LARGEST_ERROR}  # by bits per sample
SAMPLES_AT_ONCE = 1 << 20  # that are looked at together
LATTICES = 64  # that are tried, at most
LOOKED_AT, BANDS = 1 << 18, 16  # pixels by which they are compared, about, and bands of rows where these lie, at least
MOST = (1 << 16) - 1  # that two samples can differ by


def near(picture: Picture, bound: int) -> Picture:
    """The picture with samples of fewer levels, none of them further than `bound` from what it was. Its metadata say so, unless they
    say that it was lossy before, without a bound.

    Alpha stays as it is; so do pictures whose samples are no brightnesses (palettes, few bits, files) or have a colour that is transparent:
    they are returned. Raises IgptError for a bound above LARGEST_ERRORS.
    """
    form = picture.form
    if not (bound and changeable(picture)):
        return picture
    if bound > LARGEST_ERRORS[form.depth]:
        msg = f"of samples of {form.depth} bits a largest error is at most {LARGEST_ERRORS[form.depth]:,}, not {bound:,}"
        raise IgptError(msg)
    pixels = picture.pixels.copy()
    for channel, table in enumerate(_tables(pixels[..., : form.channels - (form.colour in ALPHA)], form.depth, bound)):
        pixels[..., channel] = table[pixels[..., channel]]
    if np.array_equal(pixels, picture.pixels):
        return picture
    error = min(MOST, max_error(picture.chunks) + bound)
    chunks = picture.chunks if marks(picture.chunks, LOSSY) else marked(picture.chunks, MAX_ERROR, str(error))
    return replace(picture, pixels=pixels, chunks=chunks)


def require_within(found: Picture, picture: Picture, bound: int) -> None:
    """Raises VerificationError where a sample of what was found differs by more from the picture's."""
    if found is not picture:
        for rows in _some_rows(picture.pixels):
            if np.abs(found.pixels[rows].astype(np.int32) - picture.pixels[rows]).max() > bound:
                msg = f"a sample would differ by more than {bound}: nothing was written; please report this"
                raise VerificationError(msg)


def changeable(picture: Picture) -> bool:
    """Whether samples are brightnesses, of 8 bits or more, of which none stands for transparency."""
    return picture.form.meaningful and all(name != b"tRNS" for name, _ in picture.chunks)


def max_error(chunks: Chunks) -> int:
    """What the metadata say of how far samples may be from what they once were; 0 where they say nothing."""
    return min(MOST, sum(int(error) for error in marks(chunks, MAX_ERROR) if error.isascii() and error.isdigit()))


def _tables(pixels: Samples, depth: int, bound: int) -> list[Samples]:
    """What becomes of each value of each channel, of (height, width, channels) colours or greys: of several ways to join neighbours to one
    level, that which leaves the least entropy of what a simple prediction leaves, beside the first channel decided, green's."""
    counts = [_counts(pixels[..., channel], depth) for channel in range(pixels.shape[2])]
    ways = [_ways(of, 2 * bound + 1) for of in counts]
    bands = [band.astype(np.int64) for band in _spread(pixels)]
    chosen: dict[int, Levels] = {}
    for channel in sorted(range(pixels.shape[2]), key=lambda channel: channel != 1):

        def cost(levels: Levels, channel: int = channel) -> tuple[float, int]:
            own = [levels[band[..., channel]] for band in bands]
            costs = [_cost(own)]
            for first, found in [*chosen.items()][:1]:
                costs.append(_cost([some - found[band[..., first]] for some, band in zip(own, bands, strict=True)]))
            return min(costs), int(levels.max())

        chosen[channel] = min(ways[channel], key=cost)
    return [_middles(chosen[channel], of).astype(pixels.dtype) for channel, of in enumerate(counts)]


def _ways(counts: npt.NDArray[np.int64], width: int) -> list[Levels]:
    """The level of each value, if so many neighbours are joined: counted from 0 on, without those that do not occur."""
    starts = np.unique(np.linspace(0, width - 1, min(width, LATTICES)).astype(np.int64))
    cells = [*((np.arange(len(counts)) + start) // width for start in starts), _fewest(counts, width)]
    found = []
    for cell in cells:
        occur = np.bincount(cell, counts) > 0
        found.append((np.cumsum(occur) - 1).clip(0)[cell])
    return found


def _middles(levels: Levels, counts: npt.NDArray[np.int64]) -> Levels:
    """For each value what stands for its level: what lies in the middle of those that occur there."""
    values = np.flatnonzero(counts)
    least, most = (np.full(int(levels.max()) + 1, fill) for fill in (len(counts), -1))
    np.minimum.at(least, levels[values], values)
    np.maximum.at(most, levels[values], values)
    middles: Levels = ((least + most) // 2)[levels]
    return middles


def _fewest(counts: npt.NDArray[np.int64], width: int) -> Levels:
    """The cell of each value, if every cell begins with the first value that occurs above the last one."""
    starts, end = np.zeros(len(counts), np.int64), -1
    for value in np.flatnonzero(counts).tolist():
        if value >= end:
            starts[value], end = 1, value + width
    cells: Levels = np.cumsum(starts)
    return cells


def _some_rows(samples: Samples) -> Iterator[slice]:
    """All rows, some at a time, so that what is made of them takes little memory."""
    step = max(1, SAMPLES_AT_ONCE // samples[0].size)
    return (slice(first, first + step) for first in range(0, len(samples), step))


def _counts(samples: Samples, depth: int) -> npt.NDArray[np.int64]:
    """Of each value."""
    counts = np.zeros(1 << depth, np.int64)
    for rows in _some_rows(samples):
        counts += np.bincount(samples[rows].ravel(), minlength=len(counts))
    return counts


def _spread(pixels: Samples) -> list[Samples]:
    """Bands of some rows, all over the picture, of about LOOKED_AT pixels."""
    pixels = pixels[:, : LOOKED_AT // 2]
    height, width = pixels.shape[:2]
    band = min(max(LOOKED_AT // (BANDS * width), 2), 32)
    step = max(band, -(-height * width * band // LOOKED_AT))
    return [pixels[first : first + band] for first in range(0, height, step)]


def _cost(bands: list[Levels]) -> float:
    """The entropy of what the median of west, north and their gradient leaves of levels, in bits."""
    left = []
    for levels in bands:
        west, north, north_west = levels[1:, :-1], levels[:-1, 1:], levels[:-1, :-1]
        predicted = (west + north - north_west).clip(np.minimum(west, north), np.maximum(west, north))
        left.append((levels[1:, 1:] - predicted).ravel())
    residuals = np.concatenate([*left, np.zeros(1, np.int64)])
    counts = np.bincount(residuals - residuals.min())
    some = counts[counts > 0]
    bits = some.sum() * np.log2(some.sum()) - (some * np.log2(some)).sum()
    return float(np.rint(bits))  # the same on all machines, and in whatever order they are summed
