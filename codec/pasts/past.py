"""A picture's past: what it was before it became RGB, recognised, undone exactly, and done again by the decoder.

Photographs that were a JPEG or a PhotoCD consist of luma bytes and of chroma, mostly at half the resolution, and a fixed formula made RGB
of them. The past's planes hold fewer bits than the pixels. Pixels that the formula does not give are outliers, kept beside the planes.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from bitstream.constants import MAX_OUTLIER_SHARE
from codec.box import Box, whole
from codec.pasts.chroma import FILTERS, FULL, STB_FILTERS, Bytes, Sampling, strips
from codec.pasts.colour import FORMULAS, Formula, clipped
from codec.pasts.recovery import estimate, filled, recovered, settled
from codec.progress import Progress, ignore
from codec.threads import threads

SAMPLED_PIXELS = 1 << 13
PATCH = 64
PATCHES = 2  # on which samplings are tried, of CANDIDATES
CANDIDATES = 24
CERTAIN_SHARE = 0.99  # of the sampled pixels without clipping that the formula must give
ALIKE_SHARE = 0.9  # that libjpeg's formula gives where stb_image's gives all
CLIPPED_PIXELS = 64  # of the sample, with a clipped channel, that are looked at
IMPOSSIBLE_SHARE = 1 / 32  # of the sampled pixels, clipped in a way in which the formula cannot clip: a drawing's pure colours
WRONG_SHARE = 0.3  # of chroma samples that the right sampling may miss before its recovery is refined; others miss more
SETTLED_WRONG_SHARE = 0.03  # and afterwards
SPOT, SPOTS = 128, 4  # side and number of spots of a large picture that are tried before the whole
CERTAIN_PIXELS, CERTAIN_PART = 1 << 17, 100  # of a past that needs no trial: the least pixels, and of these at most one in so many wrong
SAMPLINGS = {"JPEG": FILTERS[:7], "PhotoCD": (FULL, FILTERS[7]), "stb_image": STB_FILTERS}  # which filters go with which formula


@dataclass(frozen=True)
class Past:
    """formula and sampling: how the decoder gets from the planes to the pixels.

    luma: (height, width); chroma: (2, rows, columns), at the sampling's resolution. positions: of the outliers in raster
    order, ascending; corrections: what to add to the three channels there, modulo 256, (n, 3).
    """

    formula: Formula
    sampling: Sampling
    luma: Bytes
    chroma: Bytes
    positions: npt.NDArray[np.int64]
    corrections: Bytes

    @property
    def certain(self) -> bool:
        """Whether the picture is large and its planes have so many fewer samples that the pixels are not worth a trial."""
        return (
            self.luma.size >= CERTAIN_PIXELS and self.sampling.filter is not FULL and len(self.positions) <= self.luma.size // CERTAIN_PART
        )

    def pixels(self, wanted: Box | None = None) -> Bytes:
        """(height, width, 3), as the picture was; or those of a box, around which the planes are known."""
        height, width = self.luma.shape
        box = wanted or whole(width, height)
        chroma = self.sampling.upsampled(self.chroma, height, width, box.rows)
        pixels = developed(self.formula, self.luma[box.rows, box.columns], chroma[:, box.rows, box.columns])
        y, x = np.divmod(self.positions, width) - np.array([[box.top], [box.left]])
        there = (y >= 0) & (y < box.height) & (x >= 0) & (x < box.width)
        pixels[y[there], x[there]] += self.corrections[there]
        return pixels


def translated(past: Past, pixels: Bytes) -> Past | None:
    """The planes of a past of stb_image's with libjpeg's formula and filter, which are near to these; what does not fit becomes an outlier.
    None where that is too much."""
    sampling = replace(past.sampling, filter=FILTERS[past.sampling.filter.code])
    made = developed(FORMULAS[0], past.luma, sampling.upsampled(past.chroma, *past.luma.shape))
    wrong = (made != pixels).any(-1)
    positions = np.flatnonzero(wrong)
    if len(positions) > wrong.size // MAX_OUTLIER_SHARE:
        return None
    return Past(FORMULAS[0], sampling, past.luma, past.chroma, positions, (pixels - made)[wrong])


def developed(formula: Formula, luma: Bytes, chroma: Bytes) -> Bytes:
    """(height, width) luma and (2, height, width) chroma -> (height, width, 3), a strip at a time."""
    pixels = np.empty((*luma.shape, 3), np.uint8)
    for rows in strips(*luma.shape):
        pixels[rows] = formula.pixels(luma[rows], chroma[:, rows])
    return pixels


def recognised(pixels: Bytes, progress: Progress = ignore) -> Past | None:
    """The past of (height, width, 3) pixels, if it is a known one. progress: called with 0, now and then."""
    formula = formula_of(pixels)
    if formula is None:
        return None
    sampling, full = sampling_of(pixels, formula), Sampling(FULL)
    if not plausible(pixels, formula, sampling, progress):
        if sampling == full or not plausible(pixels, formula, full, progress):
            return None
        sampling = full
    past = with_sampling(pixels, formula, sampling, progress)
    if sampling == full:
        return past
    if past and not uncropped(past):  # a crop: what lay beyond its edges shows
        ringed = with_sampling(pixels, formula, Sampling(sampling.filter, sampling.top, sampling.left, 1), progress)
        past = ringed if ringed and len(ringed.positions) < len(past.positions) else past
    return past or with_sampling(pixels, formula, full, progress)


def uncropped(past: Past) -> bool:
    """Whether the outliers do not gather along the picture's edges."""
    height, width = past.luma.shape
    y, x = np.divmod(past.positions, width)
    edge = (y < 2) | (y >= height - 2) | (x < 2) | (x >= width - 2)
    return bool(edge.sum() <= 0.1 * (height + width))


def plausible(pixels: Bytes, formula: Formula, sampling: Sampling, progress: Progress = ignore) -> bool:
    """Whether a few spots of a large picture come back, so that the whole is worth trying."""
    height, width = pixels.shape[:2]
    if height * width <= SPOTS * SPOT**2:
        return True
    inside = Sampling(sampling.filter, sampling.top, sampling.left, ring=1 if sampling.filter is not FULL else 0)
    places = np.random.default_rng(0).random((SPOTS, 2)) * [max(height - SPOT, 1), max(width - SPOT, 1)] // 2 * 2

    def spot(place: tuple[int, int]) -> Past | None:
        y, x = place
        return with_sampling(pixels[y : y + SPOT, x : x + SPOT], formula, inside)

    with ThreadPoolExecutor(threads()) as pool:
        right = 0
        for past in pool.map(spot, places.astype(int).tolist()):
            right += past is not None
            progress(0)
    return right >= SPOTS // 2


def formula_of(pixels: Bytes) -> Formula | None:
    """The formula that gives (nearly) all of a sample of the pixels without a clipped channel, and can give most of the others."""
    flat = pixels.reshape(-1, 3)
    drawn = flat[np.random.default_rng(0).integers(len(flat), size=SAMPLED_PIXELS)]
    at_limits = clipped(drawn)
    sample, others = drawn[~at_limits], drawn[at_limits][:CLIPPED_PIXELS]
    if not len(sample):
        return None

    def share(formula: Formula) -> float:
        return float(formula.chroma(sample)[2].mean())

    jpeg, photo_cd, stb = FORMULAS
    of_jpeg = share(jpeg)
    formula = jpeg if of_jpeg >= CERTAIN_SHARE else photo_cd if share(photo_cd) >= CERTAIN_SHARE else None
    if formula is not photo_cd and ALIKE_SHARE <= of_jpeg < 1 and share(stb) > max(of_jpeg, CERTAIN_SHARE):
        formula = stb
    if formula is None:
        return None
    impossible = at_limits.mean() * (1 - formula.gives(others).mean()) if len(others) else 0
    return formula if impossible <= IMPOSSIBLE_SHARE else None


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
        if not known.any():
            continue
        patches.append((known.mean() * np.abs(np.diff(chroma)).clip(0, 8).sum(), int(y), int(x), chroma, known))
    patches = sorted(patches, key=lambda patch: patch[:3])[-PATCHES:]
    best, best_cost = Sampling(FULL), (WRONG_SHARE, 0)
    if not patches:
        return best
    for filter_ in SAMPLINGS[formula.name]:
        for top, left in product(range(filter_.down), range(filter_.across)):
            if filter_ is FULL:
                continue
            sampling = Sampling(filter_, top, left, ring=1)
            wrong = total = 0
            for _, _, _, chroma, known in patches:
                small = np.rint(estimate(chroma, known, sampling)).clip(0, 255).astype(np.uint8)
                wrong += int(((sampling.upsampled(small, *known.shape) != chroma).any(0) & known).sum())
                total += int(known.sum())
            cost = (wrong / total, -filter_.down * filter_.across)
            if cost < best_cost:
                best, best_cost = Sampling(filter_, top, left), cost
    if best.filter is FULL:
        return best
    inside, wrong, total = Sampling(best.filter, best.top, best.left, ring=1), 0, 0
    for _, _, _, chroma, known in patches:
        small = settled(estimate(chroma, known, inside), chroma, known, inside)
        wrong += int(((inside.upsampled(small, *known.shape) != chroma).any(0) & known).sum())
        total += int(known.sum())
    return best if wrong <= SETTLED_WRONG_SHARE * total else Sampling(FULL)


def with_sampling(pixels: Bytes, formula: Formula, sampling: Sampling, progress: Progress = ignore) -> Past | None:
    """The past with this formula and sampling; what does not fit becomes an outlier. None where that is too much."""
    height, width = pixels.shape[:2]
    small = recovered(pixels, formula, sampling, progress)
    luma = np.empty((height, width), np.uint8)
    positions, corrections, count = [], [], 0
    for rows in strips(height, width):
        chroma, part = sampling.upsampled_strip(small, rows, width), pixels[rows]
        luma[rows] = chosen_luma(part, formula, chroma)
        made = formula.pixels(luma[rows], chroma)
        wrong = (made != part).any(-1)
        positions.append(np.flatnonzero(wrong) + rows.start * width)
        corrections.append((part - made)[wrong])
        count += len(positions[-1])
        progress(0)
        if count > height * width // MAX_OUTLIER_SHARE:
            return None
    return Past(formula, sampling, luma, small, np.concatenate(positions), np.concatenate(corrections))


def chosen_luma(pixels: Bytes, formula: Formula, chroma: Bytes) -> Bytes:
    """The luma that, with this chroma, gives the pixels; where several do, one near to the surrounding luma."""
    low, high = formula.luma_range(pixels, chroma[0].astype(np.int32), chroma[1].astype(np.int32))
    middle = (low + high) // 2
    certain = low == high
    near = filled(middle[None].astype(np.float32), certain)[0] if certain.any() else middle
    return np.where(low <= high, np.clip(np.rint(near), low, high), middle).clip(0, 255).astype(np.uint8)
