"""Quantisation steps, and where blocks begin, seen in the transforms of a plane's blocks: these lie near to multiples of the steps.

Nearness is measured against the noise of rounded samples: a remainder has a mean magnitude of 0.23 where the step is right, and of a
quarter of the step where it is not.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codec.inside import kernel
from codec.inside.kernel import STRAYS, TAIL
from codec.jit import run
from codec.jpeg.standard import CHROMA_STEPS, LUMA_STEPS, scaled_steps
from codec.pasts.colour import Mask

Reals = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]

SEEN_BLOCKS, SEEN_LIVE = 50000, 4000  # for steps, at most, and live coefficients of each position
LIVE = 1.2  # magnitude of a coefficient that is hardly noise of one that is 0
LIVELY = 4  # such coefficients in a block that tells something: in flat ones samples are not rounded at random
LARGEST_STEP = 255
AGREEING_SHARE = 0.9  # of the steps that are well known, with a table of libjpeg's
WELL_KNOWN = 12  # live coefficients
NOISE = 0.262  # mean distance from a multiple
WRONG_NOISE, UNSURE_NOISE = 0.45, 0.7  # mean distance in a block whose samples are not those of a JPEG
NEAR = 0.9  # distance that is more than noise's, mostly
BY_CHANCE = 0.03  # probability of strays at a half or third of a step
SURELY_OFF = 1.2
CLOSE_VOTES = 0.9  # share of the most votes among which errors decide
NOISY_SHARE = 0.05  # of blocks in which a coefficient is live that is not all noise
SMALL_SHARE = 0.5  # of the steps before it, below which a step is not believed

# for luma and chroma (200, 64): libjpeg's tables of quality 1 to 100, and those that cameras make of them by leaving out the rounding
TABLES = [
    np.array([scaled_steps(table, quality, half) for half in (50, 0) for quality in range(1, 101)]) for table in (LUMA_STEPS, CHROMA_STEPS)
]


def corners(known: Mask, top: int, left: int, most: int, clear: bool = True) -> npt.NDArray[np.int64]:
    """(n, 2) of at most so many blocks in which all samples are known, or of the others, all over the plane; blocks begin `top` rows and
    `left` columns before the plane."""
    y, x = -top % 8, -left % 8
    rows, columns = (known.shape[0] - y) // 8, (known.shape[1] - x) // 8
    if rows < 1 or columns < 1:
        return np.empty((0, 2), np.int64)
    whole = known[y : y + 8 * rows, x : x + 8 * columns].reshape(rows, 8, columns, 8).all((1, 3))
    places = np.argwhere(whole == clear)
    if len(places) > most:
        places = places[np.random.default_rng(0).permutation(len(places))[:most]]
    return (places * 8 + [y, x]).astype(np.int64)


def transforms(plane: npt.NDArray[np.uint8], places: npt.NDArray[np.int64], lively: int = LIVELY) -> Reals:
    """(n, 64) coefficients, in zigzag order, of the blocks there with so many live ones, without DC, or more."""
    out = np.empty((len(places), 64))
    run(kernel.transform, len(places), plane, places, kernel.BASIS, kernel.ZIGZAG, out, fewest=256)
    enough: Mask = (np.abs(out[:, 1:]) > LIVE).sum(1) >= lively
    return out[enough]


@dataclass(frozen=True)
class Seen:
    """steps: (64); counts: (64) of the coefficients by which they are known; quality: of libjpeg's table that fits, or 0."""

    steps: Steps
    counts: npt.NDArray[np.int64]
    quality: int


def steps_of(coefficients: Reals, others: Reals, component: int, noise: float = NOISE, hint: int = 0) -> Seen:
    """Of (n, 64) coefficients of a component's blocks, and of others, where not all samples are certain: these tell of steps that are rare.
    hint: the quality of another component's table, if it was one of libjpeg's."""
    seen = _steps_of(coefficients, component, noise, hint)
    telling = (seen.steps > 2) & (seen.counts >= WELL_KNOWN)
    if seen.quality or not telling.any():
        return seen
    together = np.concatenate([coefficients, others])
    some, steps = together[:, telling], seen.steps[telling]
    fine = np.abs(some - np.rint(some / steps) * steps).mean(1) <= np.repeat([WRONG_NOISE, UNSURE_NOISE], [len(coefficients), len(others)])
    if not fine[: len(coefficients)].all():
        seen = _steps_of(coefficients[fine[: len(coefficients)]], component, noise, hint)
    clear, together = coefficients[fine[: len(coefficients)]], together[fine]
    steps, counts = seen.steps.copy(), seen.counts.copy()
    for c in np.flatnonzero(seen.counts < WELL_KNOWN):
        values, certain = (np.abs(some[np.abs(some[:, c]) > TAIL, c])[:SEEN_LIVE] for some in (together, clear))
        if len(values):
            steps[c], counts[c] = _voted(values, certain), len(values)
        else:
            steps[c] = 0
    return Seen(_completed(steps, counts), counts, 0)


def _voted(values: Reals, certain: Reals) -> int:
    """The step near whose multiples most of the (n) magnitudes lie, against what chance would bring there, and those that are certain."""
    steps = np.arange(2, LARGEST_STEP + 1)
    if len(certain):
        off = np.abs(certain[:, None] - np.maximum(np.rint(certain[:, None] / steps), 1) * steps)
        steps = steps[((off > SURELY_OFF).mean(0) <= STRAYS) | (steps == 2)]
    off = np.abs(values[:, None] - np.maximum(np.rint(values[:, None] / steps), 1) * steps)  # (n, steps)
    chance = np.minimum(2 * NEAR / steps, 0.9)
    votes = ((off < NEAR).mean(0) - chance) / np.sqrt(chance * (1 - chance))
    errors = np.where(off < NEAR, off, 0).sum(0) / np.maximum((off < NEAR).sum(0), 1)
    best = int(votes.argmax())
    near = np.flatnonzero((np.abs(steps - steps[best]) <= max(1, steps[best] // 10)) & (votes >= CLOSE_VOTES * votes[best]))
    step = int(steps[near[errors[near].argmin()]])
    for parts in (2, 3):
        rest = values[np.abs(values - np.maximum(np.rint(values / step), 1) * step) >= NEAR]
        part = step / parts
        fits = np.abs(rest - np.maximum(np.rint(rest / part), 1) * part) < NEAR
        if step % parts == 0 and fits.sum() >= 0.8 * len(rest) and min(2 * NEAR / part, 1) ** fits.sum() < BY_CHANCE:
            return step // parts
    return step


def _steps_of(coefficients: Reals, component: int, noise: float, hint: int) -> Seen:
    live = np.abs(coefficients) > LIVE
    counts, sure = live.sum(0), (np.abs(coefficients) > TAIL).sum(0)
    columns = np.zeros((64, SEEN_LIVE))
    many = counts.clip(0, SEEN_LIVE)
    for c in range(64):
        columns[c, : many[c]] = np.abs(coefficients[live[:, c], c][:SEEN_LIVE])
    distances = np.empty((64, LARGEST_STEP + 1))
    run(kernel.explained, 64, columns, many, noise, distances)
    distances[:, 0] = -1
    steps = np.zeros(64, np.int64)
    for c in np.flatnonzero((sure > 0) | (counts > NOISY_SHARE * len(coefficients))).tolist():
        if (distances[c] >= 0).any():
            largest = int(np.flatnonzero(distances[c] >= 0)[-1])
            near = np.arange(largest - largest // 10, largest + 1)
            near = near[distances[c, near] >= 0]
            steps[c] = near[distances[c, near].argmin()]
    counts = np.where(sure > 0, sure, counts) * (steps > 0)
    quality = _quality(distances, counts, steps, component, hint)
    if quality:
        table = TABLES[component][quality - 1]
        there = distances[np.arange(64), table]
        as_good = (there >= 0) & (there <= distances[np.arange(64), steps] + 0.1)
        steps = np.where((counts < WELL_KNOWN) | as_good, table, steps)
    return Seen(_completed(steps, counts), counts, quality)


def _completed(steps: Steps, counts: npt.NDArray[np.int64]) -> Steps:
    """Those that are not known, or seem much smaller than those around them and are not well known, become like these."""
    steps = steps.copy()
    known = counts >= WELL_KNOWN
    for c in range(64):
        before = steps[max(c - 5, 0) : c]
        if not known[c] and len(before) and steps[c] < SMALL_SHARE * np.median(before):
            steps[c] = np.median(before)
        steps[c] = max(steps[c], 1)
    return steps


def _quality(distances: Reals, counts: npt.NDArray[np.int64], steps: Steps, component: int, hint: int) -> int:
    """Of the table of libjpeg's that explains what is known; 0 if none does."""
    weight = np.minimum(counts, WELL_KNOWN)
    if not weight.sum():
        return hint
    tables = TABLES[component]
    there = distances[np.arange(64), tables]
    fits = (there >= 0) & ((counts < WELL_KNOWN) | (tables >= steps))  # 1 explains everything
    scores = (fits * weight).sum(1) / weight.sum()
    if hint and scores[hint - 1] >= max(AGREEING_SHARE, scores.max() - 0.02):
        return hint
    if scores.max() < AGREEING_SHARE:
        return 0
    errors = (np.where(fits, there, 2.0) * weight).sum(1)
    return int(errors.argmin()) + 1
