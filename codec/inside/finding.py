"""The search for the JPEG that a picture was: where its blocks lie, with which steps, and then their coefficients.

Steps and coefficients of chroma come from the past's small planes, which are near to the JPEG's but not always the same; where a pixel has
no luma that gives it with them, chroma is repaired. Luma follows from pixels and chroma: exactly, but where pixels are clipped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from bitstream.constants import MAX_OUTLIER_SHARE
from codec.inside import blocks, colours, kernel
from codec.inside.antecedent import DECODERS, Antecedent, Coefficients, Decoder, Layout, all_samples
from codec.inside.steps import SEEN_BLOCKS, TABLES, Reals, Seen, Steps, corners, steps_of, transforms
from codec.jit import run
from codec.pasts.chroma import Bytes
from codec.pasts.colour import Mask, clipped
from codec.pasts.past import Past
from codec.progress import Progress, ignore

QUIET = 0.75  # magnitude of most coefficients that are 0
FEWEST_BLOCKS = 8  # lively ones, that convince
TESTED_BLOCKS, SOLVED_SHARE = 200, 0.75  # of luma that are tried before all, and how many of these must come out exactly
ALIKE_SHARE, SURE_SHARE = 0.25, 0.9  # of them, that the wrong decoder makes right: between these, others are tried
CHROMA_NOISE = 0.30  # mean distance of chroma's coefficients from multiples of their steps: the past's chroma is not the JPEG's
LEAST_VARIANCE = 0.003  # of a coefficient, in steps
USUAL_WORSE = 0.05  # share of blocks that need not come back with libjpeg's table of chroma that goes with that of luma
CLIPPED_DOUBT, RING_DOUBT = 255, 3  # how far chroma may be from where a past has it, at clipped pixels and beyond edges
SEEN_SIDE, TRIED_BLOCKS = 384, 400  # of the middle of a picture, where is looked for the place of blocks; of each place
HINT_SIDE, HINT_BLOCKS, HINT = 256, 120, 0.02  # the same for grey pictures at first; how much less is live at one place than at any other
REPAIRS = 2
FIRST_TRIED = 32  # blocks of which the likeliest is looked for, twice as many each time
STILL_WRONG = 0.75  # share of the wrong samples with which it is in vain
MOST_WRONG, FOUND_SHARE = 4, 0.1  # the same: of a block, where fewer blocks are found
MIXED = 16


@dataclass(frozen=True)
class Plane:
    """What is known of a component: what its samples are, or should come near to; the lowest and highest that serve; missing rows and
    columns of its first blocks."""

    samples: Bytes
    low: Bytes
    high: Bytes
    top: int
    left: int


def about(samples: Bytes, doubt: Bytes, top: int, left: int) -> Plane:
    """Samples that may each be wrong by so much."""
    low, high = samples - np.minimum(samples, doubt), samples + np.minimum(255 - samples, doubt)
    return Plane(samples, low, high, top, left)


def inside(pixels: Bytes, past: Past | None, progress: Progress = ignore) -> Antecedent | None:
    """The antecedent of (height, width, channels) pixels, grey or RGB with a past; None where there is none to be found.

    progress: called with 0, now and then.
    """
    height, width = pixels.shape[:2]
    if past is None:
        if pixels.shape[2] != 1:
            return None
        grey = np.ascontiguousarray(pixels[..., 0])
        known = (grey > 0) & (grey < 255)
        found = luma_of(grey, known, DECODERS) if _hinted(grey, known) else None
        if found is None:
            return None
        top, left, seen, decoder = found
        layout = Layout(height, width, None, top, left, decoder)
        coefficients, _ = solved(Plane(grey, grey, grey, top, left), seen.steps, layout.blocks[0], decoder, progress)
        return with_exceptions(pixels, Antecedent(layout, [seen.steps], [coefficients], *_no_exceptions(1)))
    decoders = [decoder for decoder in DECODERS if decoder.formula is past.formula]
    found = luma_of(past.luma, ~clipped(pixels), decoders) if decoders else None
    if found is None:
        return None
    top, left, seen, decoder = found
    progress(0)
    chroma = chroma_of(pixels, past, top, left, seen.quality, decoder)
    if chroma is None:
        return None
    return with_chroma(pixels, past, *chroma, seen.steps, progress)


def _no_exceptions(channels: int) -> tuple[npt.NDArray[np.int64], Bytes]:
    return np.zeros(0, np.int64), np.zeros((0, channels), np.uint8)


def luma_of(luma: Bytes, known: Mask, decoders: Sequence[Decoder]) -> tuple[int, int, Seen, Decoder] | None:
    """Rows and columns that are missing of the first blocks, the steps, and which of the decoders."""
    if (found := _convincing(luma, known, 0, 0, decoders)) is not None:
        return 0, 0, *found
    shares = _shares(luma, known, SEEN_SIDE, TRIED_BLOCKS)
    top, left = max(shares, key=lambda place: shares[place])
    if (top, left) == (0, 0) or (found := _convincing(luma, known, top, left, decoders)) is None:
        return None
    return top, left, *found


def _hinted(grey: Bytes, known: Mask) -> bool:
    """Whether blocks seem to begin at one place rather than at any other, at little cost; where nothing can be seen, too."""
    *_, second, best = sorted(_shares(grey, known, HINT_SIDE, HINT_BLOCKS).values())
    return best == 0 or best - second > HINT * (1 - second)


def _shares(luma: Bytes, known: Mask, side: int, tried: int) -> dict[tuple[int, int], float]:
    """`quiet_share` of each place where blocks can begin, of so many of them in the middle of the picture."""
    y, x = (max(n - side, 0) // 16 * 8 for n in luma.shape)
    part = slice(y, y + side), slice(x, x + side)
    middle, known_there = np.ascontiguousarray(luma[part]), known[part]
    return {(top, left): quiet_share([middle], known_there, top, left, tried) for top, left in product(range(8), range(8))}


def _convincing(luma: Bytes, known: Mask, top: int, left: int, decoders: Sequence[Decoder]) -> tuple[Seen, Decoder] | None:
    """The steps, if they are more than 1 and a part of the blocks comes back with them, and the decoder with which most do."""
    clear, others = _seen([luma], known, top, left)
    seen = steps_of(clear, others, 0)
    places = corners(known, top, left, TESTED_BLOCKS)
    if len(clear) < FEWEST_BLOCKS or seen.steps.max() == 1:
        return None

    def share(decoder: Decoder) -> float:
        return float(1 - _unsolved(luma, places, seen.steps, decoder).mean())

    shares = [share(decoders[0])]
    if ALIKE_SHARE <= shares[0] < SURE_SHARE:
        shares += map(share, decoders[1:])
    return (seen, decoders[int(np.argmax(shares))]) if max(shares) >= SOLVED_SHARE else None


def _seen(planes: Sequence[Bytes], known: Mask, top: int, left: int) -> tuple[Reals, Reals]:
    """The transforms of blocks in which all samples are known, and of others."""
    clear, others = (corners(known, top, left, SEEN_BLOCKS, clear) for clear in (True, False))
    return np.concatenate([transforms(p, clear) for p in planes]), np.concatenate([transforms(p, others) for p in planes])


def _unsolved(plane: Bytes, places: npt.NDArray[np.int64], steps: Steps, decoder: Decoder) -> Mask:
    """Which of the first of the blocks there do not come back with these steps."""
    rows = np.concatenate([plane[y : y + 8, x : x + 8] for y, x in places[:TESTED_BLOCKS]])  # as a plane of one column
    return solved(Plane(rows, rows, rows, 0, 0), steps, (len(rows) // 8, 1), decoder)[1] > 0


def quiet_share(planes: Sequence[Bytes], known: Mask, top: int, left: int, tried: int = TRIED_BLOCKS) -> float:
    """Of coefficients that seem to be 0, where blocks begin like this."""
    places = corners(known, top, left, tried)
    return float(np.mean([(np.abs(transforms(plane, places, lively=0)) < QUIET).mean() for plane in planes])) if len(places) else 0.0


def chroma_of(pixels: Bytes, past: Past, top: int, left: int, quality: int, decoder: Decoder) -> tuple[Layout, Bytes, Steps] | None:
    """The layout, how wrong the samples of the small planes may be, and their steps; of what is known of luma."""
    sampling, (height, width) = past.sampling, past.luma.shape
    down, across = sampling.filter.down, sampling.filter.across
    places = [
        (y, x)
        for y, x in product(range(top, 8 * down, 8), range(left, 8 * across, 8))
        if y % down == sampling.top and x % across == sampling.left
    ]
    if not places:
        return None
    core = Layout(height, width, sampling, sampling.top, sampling.left).sizes[1]
    around = ((sampling.top, core[0] * down - height - sampling.top), (sampling.left, core[1] * across - width - sampling.left))
    seen = np.pad(~clipped(pixels), around).reshape(core[0], down, core[1], across).any((1, 3))
    inside = np.pad(np.ones((height, width), np.bool_), around).reshape(core[0], down, core[1], across).all((1, 3))
    doubt = np.pad(np.where(inside, 0, 1), sampling.ring, constant_values=RING_DOUBT)
    doubt = np.maximum(doubt, np.pad(np.where(seen, 0, CLIPPED_DOUBT), sampling.ring, "edge")).astype(np.uint8)
    known = doubt == 0
    layouts = [Layout(height, width, sampling, *place, decoder) for place in places]
    offsets = [(layout.offsets[1][0] - sampling.ring, layout.offsets[1][1] - sampling.ring) for layout in layouts]
    shares = [quiet_share(list(past.chroma), known, *offset) for offset in offsets]
    best = int(np.argmax(shares))
    where = corners(known, *offsets[best], TESTED_BLOCKS)
    if not len(where):
        return layouts[best], doubt, TABLES[1][max(quality, 1) - 1]
    own = steps_of(*_seen(list(past.chroma), known, *offsets[best]), 1, CHROMA_NOISE, quality)
    steps = own.steps
    if quality and not own.quality:
        usual = TABLES[1][quality - 1]
        unsolved = [np.mean([_unsolved(plane, where, table, decoder).mean() for plane in past.chroma]) for table in (usual, steps)]
        steps = usual if unsolved[0] <= unsolved[1] + USUAL_WORSE else steps
    return layouts[best], doubt, steps


def with_chroma(
    pixels: Bytes, past: Past, layout: Layout, doubt: Bytes, chroma_steps: Steps, luma_steps: Steps, progress: Progress
) -> Antecedent | None:
    """The antecedent with this layout and these steps."""
    ring, (top, left), shape = past.sampling.ring, layout.offsets[1], layout.blocks[1]
    found = []
    for plane in past.chroma:
        found.append(solved(about(plane, doubt, top - ring, left - ring), chroma_steps, shape, layout.decoder, progress)[0])
    chroma = np.stack(found)
    low, high = repaired(pixels, past, layout, chroma, chroma_steps, progress)
    luma = np.where(low <= high, past.luma.clip(low, np.maximum(low, high)), past.luma)
    coefficients, _ = solved(Plane(luma, low, high, *layout.offsets[0]), luma_steps, layout.blocks[0], layout.decoder, progress)
    steps = [luma_steps, chroma_steps, chroma_steps]
    return with_exceptions(pixels, Antecedent(layout, steps, [coefficients, *chroma], *_no_exceptions(3)))


def repaired(pixels: Bytes, past: Past, layout: Layout, chroma: Coefficients, steps: Steps, progress: Progress) -> tuple[Bytes, Bytes]:
    """Moves chroma's coefficients (2, rows, columns, 64) where pixels have no luma, and gives the lowest and highest luma of each pixel."""
    ring, (top, left), (rows, columns) = past.sampling.ring, layout.offsets[1], layout.blocks[1]
    small = [all_samples(coefficients, steps, layout.decoder) for coefficients in chroma]
    upsampling = colours.upsampling(layout, small[0].shape)
    tables = past.formula.first, past.formula.second
    low, high = (np.empty(past.luma.shape, np.uint8) for _ in range(2))
    run(colours.intervals, len(low), pixels, *small, upsampling, *tables, low, high, fewest=64)
    y = np.arange(-top + ring, 8 * rows - top + ring).clip(0, past.chroma.shape[1] - 1)
    x = np.arange(-left + ring, 8 * columns - left + ring).clip(0, past.chroma.shape[2] - 1)
    aims = np.ascontiguousarray(past.chroma[:, y[:, None], x])
    empty = np.zeros(rows * columns, np.int64)
    for _ in range(REPAIRS):
        where = _reaching(low > high, layout)
        if not where.any():
            break
        for one, two in product(range(2), range(2)):
            part = np.zeros_like(where)
            part[one::2, two::2] = where[one::2, two::2]
            some, both = _mixed(np.flatnonzero(part)), np.stack([steps, steps])
            what = some, pixels, aims, *small, chroma, both, upsampling, *tables, kernel.BASIS, kernel.ZIGZAG, layout.decoder.code, empty
            run(colours.repaired, len(some), *what, fewest=4)
            progress(0)
        run(colours.intervals, len(low), pixels, *small, upsampling, *tables, low, high, fewest=64)
    return low, high


def _reaching(wrong: Mask, layout: Layout) -> Mask:
    """The blocks (rows, columns) of chroma that reach one of the pixels."""
    assert layout.sampling is not None
    filter_, (rows, columns) = layout.sampling.filter, layout.blocks[1]
    out = np.zeros((rows, columns), np.bool_)
    y, x = np.nonzero(wrong)
    for dy, dx in product((-1, 0, 1) if filter_.down > 1 else (0,), (-1, 0, 1) if filter_.across > 1 else (0,)):
        row, column = (y + layout.top + dy) // (8 * filter_.down), (x + layout.left + dx) // (8 * filter_.across)
        out[row.clip(0, rows - 1), column.clip(0, columns - 1)] = True
    return out


def solved(
    plane: Plane, steps: Steps, shape: tuple[int, int], decoder: Decoder, progress: Progress = ignore
) -> tuple[Coefficients, npt.NDArray[np.int64]]:
    """Coefficients (rows, columns, 64) of blocks in this shape, and how many samples (blocks) are wrong with them."""
    coefficients, wrong = np.zeros((*shape, 64), np.int16), np.zeros(shape[0] * shape[1], np.int64)
    known = plane.samples, plane.low, plane.high, plane.top, plane.left, steps
    basis, bases, zigzag, code = kernel.BASIS, kernel.BASES, kernel.ZIGZAG, decoder.code
    run(blocks.rounded, len(wrong), np.arange(len(wrong)), *known, basis, zigzag, code, coefficients, wrong, fewest=256)
    progress(0)
    right = coefficients.reshape(-1, 64)[wrong == 0]
    variances = np.square(right, dtype=np.float64).mean(0) + LEAST_VARIANCE if len(right) else np.ones(64)
    left, uncertain, many = np.flatnonzero(wrong), np.zeros(len(wrong), np.bool_), FIRST_TRIED
    run(blocks.searched, len(left), _mixed(left), *known, basis, bases, zigzag, code, coefficients, wrong, uncertain, fewest=16)
    progress(0)
    left = _mixed(np.flatnonzero(uncertain & (wrong > 0)))
    while len(left):
        some, left = left[:many], left[many:]
        before = wrong[some].sum()
        run(blocks.likeliest, len(some), some, *known, bases, zigzag, code, variances, coefficients, wrong, fewest=4)
        progress(0)
        after = wrong[some].sum()
        found = (wrong[some] == 0).mean()
        if after > before * STILL_WRONG or (after > len(some) * MOST_WRONG and found < FOUND_SHARE):
            break
        many *= 2
    return coefficients, wrong


def _mixed(where: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The same blocks in an order by which each thread gets some of every part of the picture."""
    return np.concatenate([where[n::MIXED] for n in range(MIXED)])


def with_exceptions(pixels: Bytes, antecedent: Antecedent) -> Antecedent | None:
    """The same with the pixels that come out otherwise; None where these are too many."""
    made = antecedent.pixels()
    wrong = (made != pixels).any(-1)
    positions = np.flatnonzero(wrong)
    if len(positions) > wrong.size // MAX_OUTLIER_SHARE:
        return None
    return replace(antecedent, positions=positions, corrections=(pixels - made)[wrong])
