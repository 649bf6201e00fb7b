"""A picture's past: what it was before it became RGB, recognised, undone exactly, and done again by the decoder.

Photographs that were a JPEG or a PhotoCD consist of luma bytes and of chroma, mostly at half the resolution, and a fixed formula made RGB
of them. The past's planes hold fewer bits than the pixels. Pixels that the formula does not give are exceptions, kept beside the planes.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from codec.pasts.chroma import FILTERS, FULL, STRIP, Bytes, Sampling
from codec.pasts.colour import FORMULAS, Formula, clipped
from codec.pasts.recovery import estimate, filled, recovered

SAMPLED_PIXELS = 1 << 13
PATCH = 64
PATCHES = 2  # on which samplings are tried, of CANDIDATES
CANDIDATES = 24
CERTAIN_SHARE = 0.99  # of the sampled pixels without clipping that the formula must give
WRONG_SHARE = 0.3  # of chroma samples that the right sampling may miss before its recovery is refined; others miss more
EXCEPTION_SHARE = 1 / 8  # of the pixels, at most; also a bound of the format
SAMPLINGS = {"JPEG": range(7), "PhotoCD": (0, 7)}  # which filters go with which formula


@dataclass(frozen=True)
class Past:
    """formula and sampling: how the decoder gets from the planes to the pixels.

    luma: (height, width); chroma: (2, rows, columns), at the sampling's resolution. exceptions: positions in raster order, ascending, and
    what to add to the three channels there, modulo 256, (n, 3).
    """

    formula: Formula
    sampling: Sampling
    luma: Bytes
    chroma: Bytes
    positions: npt.NDArray[np.int64]
    corrections: Bytes

    def pixels(self) -> Bytes:
        """(height, width, 3), as the picture was."""
        height, width = self.luma.shape
        pixels = developed(self.formula, self.luma, self.sampling.upsampled(self.chroma, height, width))
        flat = pixels.reshape(-1, 3)
        flat[self.positions] += self.corrections
        return pixels


def developed(formula: Formula, luma: Bytes, chroma: Bytes) -> Bytes:
    """(height, width) luma and (2, height, width) chroma -> (height, width, 3), a strip at a time."""
    pixels = np.empty((*luma.shape, 3), np.uint8)
    for start in range(0, len(luma), STRIP):
        rows = slice(start, start + STRIP)
        pixels[rows] = formula.pixels(luma[rows], chroma[:, rows])
    return pixels


def sampling_named(code: int, top: int, left: int, ring: int) -> Sampling:
    """The sampling that a file's header names."""
    return Sampling(FILTERS[code], top, left, ring)


def recognised(pixels: Bytes) -> Past | None:
    """The past of (height, width, 3) pixels, if it is a known one."""
    formula = formula_of(pixels)
    if formula is None:
        return None
    sampling = sampling_of(pixels, formula)
    past = with_sampling(pixels, formula, sampling)
    if sampling != Sampling(FULL):
        height, width = pixels.shape[:2]
        y, x = np.divmod(past.positions, width)
        border = (y < 2) | (y >= height - 2) | (x < 2) | (x >= width - 2)
        if border.sum() > 0.1 * (height + width):  # a crop: what lay beyond its edges shows
            ringed = with_sampling(pixels, formula, Sampling(sampling.filter, sampling.top, sampling.left, 1))
            past = min(past, ringed, key=lambda found: len(found.positions))
    if len(past.positions) > EXCEPTION_SHARE * past.luma.size:
        past = with_sampling(pixels, formula, Sampling(FULL))
    return past if len(past.positions) <= EXCEPTION_SHARE * past.luma.size else None


def formula_of(pixels: Bytes) -> Formula | None:
    """The formula that gives (nearly) all of a sample of the pixels without a clipped channel."""
    flat = pixels.reshape(-1, 3)
    sample = flat[:: max(1, len(flat) // SAMPLED_PIXELS)]
    sample = sample[~clipped(sample)]
    if not len(sample):
        return None
    for formula in FORMULAS:
        if formula.chroma(sample)[2].mean() >= CERTAIN_SHARE:
            return formula
    return None


def sampling_of(pixels: Bytes, formula: Formula) -> Sampling:
    """The sampling with the fewest small samples that explains a few lively patches."""
    height, width = pixels.shape[:2]
    side = 2 * int(CANDIDATES**0.5)
    starts = [np.unique(np.linspace(0, max(n - PATCH, 0), side).astype(int) // 2 * 2) for n in (height, width)]
    patches = []
    for y, x in product(*starts):
        part = pixels[y : y + PATCH, x : x + PATCH]
        c1, c2, known = formula.chroma(part)
        chroma = np.stack([c1, c2])
        patches.append((known.mean() * np.abs(np.diff(chroma)).clip(0, 8).sum(), int(y), int(x), chroma, known))
    patches = sorted(patches, key=lambda patch: patch[:3])[-PATCHES:]
    best, best_cost = Sampling(FULL), (WRONG_SHARE, 0)
    for code in SAMPLINGS[formula.name]:
        filter_ = FILTERS[code]
        for top, left in product(range(filter_.down), range(filter_.across)):
            if filter_ is FULL:
                continue
            sampling = Sampling(filter_, top, left, ring=1)
            wrong = total = 0
            for _, _, _, chroma, known in patches:
                small = np.rint(estimate(chroma, known, sampling)).clip(0, 255).astype(np.uint8)
                wrong += int(((sampling.upsampled(small, *known.shape) != chroma).any(0) & known).sum())
                total += int(known.sum())
            cost = (wrong / max(total, 1), -filter_.down * filter_.across)
            if cost < best_cost:
                best, best_cost = Sampling(filter_, top, left), cost
    return best


def with_sampling(pixels: Bytes, formula: Formula, sampling: Sampling) -> Past:
    """The past with this formula and sampling; what does not fit becomes an exception."""
    height, width = pixels.shape[:2]
    small = recovered(pixels, formula, sampling)
    chroma = sampling.upsampled(small, height, width)
    luma = np.empty((height, width), np.uint8)
    for start in range(0, height, STRIP):
        rows = slice(start, start + STRIP)
        luma[rows] = chosen_luma(pixels[rows], formula, chroma[:, rows])
    made = developed(formula, luma, chroma)
    positions = np.flatnonzero((made != pixels).any(-1))
    return Past(formula, sampling, luma, small, positions, (pixels - made).reshape(-1, 3)[positions])


def chosen_luma(pixels: Bytes, formula: Formula, chroma: Bytes) -> Bytes:
    """The luma that, with this chroma, gives the pixels; where several do, one near to the surrounding luma."""
    low, high = formula.luma_range(pixels, chroma[0].astype(np.int32), chroma[1].astype(np.int32))
    middle = (low + high) // 2
    near = filled(middle[None].astype(np.float32), (low == high)[None][0])[0]
    return np.where(low <= high, np.clip(np.rint(near), low, high), middle).clip(0, 255).astype(np.uint8)
