"""Small chroma planes found from a picture at full resolution: from an estimate in reals to integers that prove themselves.

What is found is proved by running the decoder's filter forward. Where pixels are clipped, many chroma samples are possible; those that
continue their surroundings are taken.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from codec.pasts import kernel
from codec.pasts.chroma import STRIP, Bytes, Sampling
from codec.pasts.colour import Formula, Integers, Mask
from codec.progress import Progress, ignore
from codec.threads import threads

Reals = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

MOST_THREADS = 4  # each has a block in memory
OVERLAP = 32  # rows and columns that a block shares with the next
ITERATIONS = 10  # of the estimate
STEP = 1.6  # over-relaxation, of at most 2
REACH = 2  # how far a sample may move in one pass over its row
WRONG = 64  # cost of a wrong sample, against 1 for a move by 1
ROUNDS, PATIENCE = 16, 3  # passes over rows and columns in all, and such as bring nothing
CROPPED_SHARE = 0.1  # wrong samples along the edges, per length of these and wrong sample: no round mends them
LARGEST_MOVE, TRIALS = 24, 300  # of clipped pixels' chroma; trials per pixel of the picture, at most
RADII = (1, 1, 1, 3, 1, 1, 6, 1, 1)  # of the moves of single samples

Moves = list[tuple[int, int]]


def by_distance(radius: int) -> Moves:
    """The nearest first."""
    moves = [(one, two) for one in range(-radius, radius + 1) for two in range(-radius, radius + 1)]
    return sorted(moves, key=lambda move: (move[0] ** 2 + move[1] ** 2, move))[1:]


def filled(values: Reals, known: Mask) -> Reals:
    """(n, rows, columns): unknown places get means of what is known around them, from coarser and coarser grids.

    Something must be known.
    """
    if known.all():
        return values
    rows, columns = values.shape[-2:]
    more = ((0, rows % 2), (0, columns % 2))
    weight = np.pad(known.astype(np.float32), more).reshape((rows + 1) // 2, 2, -1, 2)
    total = np.pad(np.where(known, values, 0), ((0, 0), *more)).reshape(len(values), (rows + 1) // 2, 2, -1, 2).sum((2, 4))
    count = weight.sum((1, 3))
    coarse = filled(total / np.maximum(count, 1), count > 0)
    return np.where(known, values, _doubled(_doubled(coarse, rows, 1), columns, 2))


def _doubled(coarse: Reals, size: int, axis: int) -> Reals:
    """Linear interpolation to a grid twice as dense."""
    fine = np.arange(size)
    near, far = fine // 2, (fine // 2 + fine % 2 * 2 - 1).clip(0, coarse.shape[axis] - 1)
    out: Reals = np.float32(0.75) * coarse.take(near, axis) + np.float32(0.25) * coarse.take(far, axis)
    return out


def estimate(chroma: Integers, known: Mask, sampling: Sampling) -> Reals:
    """Small planes (2, rows, columns) whose upsampling comes near to (2, height, width) `chroma` where that is known."""
    height, width = known.shape
    mask = known.astype(np.float32)
    shares, target = np.empty((height, width), np.float32), chroma * mask
    for place, rows, columns in sampling.places(height, width):
        part = (..., rows.positions, columns.positions)
        shares[part] = 1 / (1 << place.shift)
        target[part] -= mask[part] * (place.bias - ((1 << place.shift) - 1) / 2) / (1 << place.shift)  # what rounding adds on average
    weight = sampling.spread(mask)
    some = weight > 0.2
    gain = np.where(some, STEP / np.maximum(weight, 0.2), 0).astype(np.float32)
    small = filled((sampling.spread(target) / np.maximum(weight, 0.2)).astype(np.float32), some)
    for _ in range(ITERATIONS):
        small += gain * sampling.spread(target - sampling.sums(small, height, width) * shares * mask)
    return filled(small, some)


def feasible(chroma: Reals, known: Mask, pixels: Bytes, formula: Formula) -> tuple[Integers, Mask]:
    """(2, height, width) chroma, rounded, and moved to the nearest that gives the pixel where it is not known; and where it gives it."""
    near = np.rint(chroma).clip(0, 255).astype(np.int32)
    good = given(pixels, near, formula)
    y, x = np.nonzero(~good & ~known)
    start = np.concatenate([pixels[y, x].T, near[:, y, x]]).astype(np.int64)  # R, G, B, C1, C2
    _, first, which = np.unique(start.T @ 256 ** np.arange(5), return_index=True, return_inverse=True)  # drawings have few
    colours, found = start[:3, first].T.astype(np.uint8), start[3:, first].copy()
    hits, moves = np.zeros(len(colours), np.bool_), np.array(by_distance(LARGEST_MOVE))
    trials = max(TRIALS, TRIALS * known.size // max(len(colours), 1))
    kernel.nearest(colours, found, moves, trials, formula.scale, formula.first, formula.second, hits)
    near[:, y, x] = found[:, which]
    good[y, x] = hits[which]
    return near, good


def given(pixels: Bytes, chroma: Integers, formula: Formula) -> Mask:
    """Which of (height, width, 3) pixels any luma gives with the (2, height, width) chroma."""
    out = np.empty(pixels.shape[:2], np.bool_)
    kernel.which_given(pixels, chroma, formula.scale, formula.first, formula.second, out)
    return out


def recovered(pixels: Bytes, formula: Formula, sampling: Sampling, progress: Progress = ignore) -> Bytes:
    """The small planes (2, rows, columns) that give the (height, width, 3) pixels, or nearly all of them; a block at a time, after each of
    which progress is called with 0."""
    height, width = pixels.shape[:2]
    ring = sampling.ring
    out = np.empty((2, *sampling.small_shape(height, width)), np.uint8)
    rows = _blocks(height, STRIP, sampling.filter.down, ring, out.shape[1])
    columns = _blocks(width, STRIP, sampling.filter.across, ring, out.shape[2])

    def recover(block: tuple[tuple[slice, slice, slice], tuple[slice, slice, slice]]) -> None:
        (y, own_rows, in_rows), (x, own_columns, in_columns) = block
        seen = np.zeros((y.stop - y.start, x.stop - x.start), np.bool_)  # but for what depends on samples beyond the block
        inside = [slice(2 * (part.start > 0), part.stop - part.start - 2 * (part.stop < size)) for part, size in ((y, height), (x, width))]
        seen[*inside] = True
        out[:, own_rows, own_columns] = _recovered(pixels[y, x], seen, formula, sampling)[:, in_rows, in_columns]

    with ThreadPoolExecutor(min(MOST_THREADS, threads())) as pool:
        for _ in pool.map(recover, product(rows, columns)):
            progress(0)
    return out


def _blocks(size: int, block: int, factor: int, ring: int, count: int) -> list[tuple[slice, slice, slice]]:
    """Along one axis: the positions of each block with its overlaps, the small samples that it gives, and where it has them."""
    found = []
    for start in range(0, size, block):
        stop = min(start + block, size)
        first, last = max(start - OVERLAP, 0), min(stop + OVERLAP, size)
        own = slice(start // factor + ring if start else 0, stop // factor + ring if stop < size else count)
        found.append((slice(first, last), own, slice(own.start - first // factor, own.stop - first // factor)))
    return found


def _recovered(pixels: Bytes, seen: Mask, formula: Formula, sampling: Sampling) -> Bytes:
    height, width = pixels.shape[:2]
    c1, c2, known = formula.chroma(pixels)
    chroma = np.stack([c1, c2])
    neutral = np.array(formula.neutral, np.float32)[:, None, None]
    if sampling.filter.down * sampling.filter.across == 1:
        full = filled(chroma.astype(np.float32), known) if known.any() else neutral.repeat(height, 1).repeat(width, 2)
        return feasible(full, known, pixels, formula)[0].astype(np.uint8)
    if known.all():
        near = estimate(chroma, known, sampling)
    else:
        full = sampling.means(estimate(chroma, known, sampling), height, width) if known.any() else neutral
        possible, good = feasible(np.where(known, chroma, full).astype(np.float32), known, pixels, formula)
        near = estimate(possible, good if good.any() else ~good, sampling)
    return _repaired(settled(near, chroma, known & seen, sampling).astype(np.int32), pixels, seen, formula, sampling)


def settled(near: Reals, chroma: Integers, known: Mask, sampling: Sampling) -> Bytes:
    """Small planes (2, rows, columns) near to an estimate, whose upsampling gives (2, height, width) `chroma` wherever that is known."""
    small = np.rint(near).clip(0, 255).astype(np.int32)
    return np.stack([_settled(small[plane], chroma[plane], known, sampling) for plane in range(2)]).astype(np.uint8)


def _settled(small: Integers, chroma: Integers, known: Mask, sampling: Sampling) -> Integers:
    """One small plane, changed so that its upsampling gives `chroma` wherever that is known, or nearly so."""
    random = np.random.default_rng(0)
    best, fewest, found_in = small, float("inf"), 0
    for k in range(ROUNDS):
        wrong = (sampling.rounded(sampling.sums(small, *known.shape)) != chroma) & known
        count = int(wrong.sum())
        if count < fewest:
            best, fewest, found_in = small, count, k
        along_edges = count - int(wrong[2:-2, 2:-2].sum())
        a_crop = not sampling.ring and along_edges > CROPPED_SHARE * (sum(known.shape) + count)
        if count == 0 or k - found_in > PATIENCE or (k and a_crop):
            break
        small = small.copy()
        if sampling.filter.across > 1:
            _pass(small, chroma, known, sampling, random if k else None)
        if sampling.filter.down > 1:
            across = np.ascontiguousarray(small.T)
            _pass(across, np.ascontiguousarray(chroma.T), np.ascontiguousarray(known.T), sampling.transposed, random if k else None)
            small = across.T.copy()
    return best


@dataclass(frozen=True)
class _Axis:
    """One axis of a sampling: factor samples per cell, `missing` of the first cell, `count` small samples for `size` positions."""

    factor: int
    missing: int
    ring: int
    count: int
    size: int

    def reached(self, cells: Indices, away: int, place: int, taps: dict[int, int]) -> tuple[Indices, Indices]:
        """The positions at `place` in the cell `away` before each of the cells, and the cells' weights there; 0 where there is none."""
        own = cells - away
        position = (own - self.ring) * self.factor + place - self.missing
        weight = np.zeros_like(cells)
        for tap, share in taps.items():
            weight += share * ((own + tap).clip(0, self.count - 1) == cells)
        exists = (own >= 0) & (own < self.count) & (position >= 0) & (position < self.size)
        return np.where(exists, position, 0), np.where(exists, weight, 0)


def _axes(sampling: Sampling, height: int, width: int) -> tuple[_Axis, _Axis]:
    rows, columns = sampling.small_shape(height, width)
    return (
        _Axis(sampling.filter.down, sampling.top, sampling.ring, rows, height),
        _Axis(sampling.filter.across, sampling.left, sampling.ring, columns, width),
    )


def _pass(small: Integers, chroma: Integers, known: Mask, sampling: Sampling, random: np.random.Generator | None) -> None:
    """Replaces each row of the small plane that reaches a wrong sample by the best within REACH of it, its neighbour rows being kept.

    A sample depends on at most two neighbours in a row, so dynamic programming finds the row with the fewest wrong samples; among equals
    the one that changes least, or near the wrong ones a random one.
    """
    height, width = known.shape
    axis, _ = _axes(sampling, height, width)
    count = small.shape[1]
    moves = np.arange(-REACH, REACH + 1, dtype=np.int32)
    for parity in range(2):
        sums = sampling.sums(small, height, width)
        touched = _touched((sampling.rounded(sums) != chroma) & known, sampling)
        rows = np.nonzero(touched.any(1))[0]
        rows = rows[rows % 2 == parity]
        if not len(rows):
            continue
        alone = np.broadcast_to(np.abs(moves), (len(rows), count, len(moves))).copy()  # cost of a sample's moves
        pairs = np.zeros((len(rows), count, len(moves), len(moves)), np.int32)  # of its and its right neighbour's
        if random is not None:
            alone[touched[rows]] = random.integers(0, WRONG // 2, (np.count_nonzero(touched[rows]), len(moves)))
        for (py, _), (place, _, columns) in zip(sampling.filter.places, sampling.places(height, width), strict=True):
            far = next((dx for dx in place.columns if dx), 0)
            left, right = (place.columns[k] for k in sorted((0, far))) if far else (0, 0)
            shares = sum(place.columns.values()), left, right
            x = np.arange(width)[columns.positions]
            for away in place.rows:
                y, weight = axis.reached(rows, away, py, place.rows)
                many = place.bias, place.shift, far, columns.first, WRONG
                kernel.charge(alone, pairs, sums, chroma, known, y, x, weight.astype(np.int32), shares, many, moves)
        chosen = np.zeros((len(rows), count), np.int32)
        kernel.cheapest(alone, pairs, chosen)
        small[rows] = (small[rows] + moves[chosen]).clip(0, 255)


def _touched(wrong: Mask, sampling: Sampling) -> Mask:
    """The small samples that reach one of the pixels."""
    return sampling.spread(wrong.astype(np.float32)) > 0


def _repaired(small: Integers, pixels: Bytes, seen: Mask, formula: Formula, sampling: Sampling) -> Bytes:
    """Small planes (2, rows, columns) changed here and there so that fewer pixels are without a luma that gives them."""
    height, width = pixels.shape[:2]
    sums = sampling.sums(small, height, width).reshape(2, -1)
    flat = pixels.reshape(-1, 3)
    for radius in RADII:
        chroma = sampling.rounded(sums.reshape(2, height, width))
        wrong = ~given(pixels, chroma.clip(0, 255), formula) & seen
        if not wrong.any():
            break
        touched = _touched(wrong, sampling)
        for y, x in product(range(2), range(2)):
            rows, columns = np.nonzero(touched[y::2, x::2])
            if len(rows):
                _move(small, sums, flat, formula, sampling, (2 * rows + y, 2 * columns + x), (height, width), by_distance(radius))
    return small.astype(np.uint8)


def _move(
    small: Integers,
    sums: Integers,
    pixels: Bytes,
    formula: Formula,
    sampling: Sampling,
    cells: tuple[Indices, Indices],
    size: tuple[int, int],
    candidates: Moves,
) -> None:
    """Moves each of the cells, no two of which reach the same pixel, to the nearest place where fewest of its pixels are wrong."""
    down, across = _axes(sampling, *size)
    where, weights, biases, shifts = [], [], [], []
    for (py, px), place in sampling.filter.places.items():
        for a, b in product(place.rows, place.columns):
            y, row_weights = down.reached(cells[0], a, py, place.rows)
            x, column_weights = across.reached(cells[1], b, px, place.columns)
            where.append(y * size[1] + x)
            weights.append(row_weights * column_weights)
            biases.append(place.bias)
            shifts.append(place.shift)
    index, weight = np.stack(where, 1), np.stack(weights, 1).astype(np.int32)
    bias, shift = np.array(biases, np.int32), np.array(shifts, np.int32)
    moves = np.array(candidates)
    kernel.improve(small, sums, pixels, np.stack(cells, 1), index, weight, bias, shift, moves, formula.scale, formula.first, formula.second)
