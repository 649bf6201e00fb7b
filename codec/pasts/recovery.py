"""Small chroma planes found from a picture at full resolution: from an estimate in reals to integers that prove themselves.

What is found is proved by running the decoder's filter forward. Where pixels are clipped, many chroma samples are possible; those that
continue their surroundings are taken.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from codec.pasts.chroma import STRIP, Bytes, Sampling
from codec.pasts.colour import Formula, Integers, Mask

Reals = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

OVERLAP = 32  # rows and columns that a block shares with the next
ITERATIONS = 10  # of the estimate
STEP = 1.6  # over-relaxation, of at most 2
REACH = 2  # how far a sample may move in one pass over its row
WRONG = 64  # cost of a wrong sample, against 1 for a move by 1
ROUNDS, PATIENCE = 16, 3  # passes over rows and columns in all, and such as bring nothing
LARGEST_MOVE, TRIALS = 24, 30  # of clipped pixels' chroma; trials per pixel of the picture, at most
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
    low, high = formula.luma_range(pixels, near[0], near[1])
    good = low <= high
    y, x = np.nonzero(~good & ~known)
    start = np.concatenate([pixels[y, x].T, near[:, y, x]]).astype(np.int64)  # R, G, B, C1, C2
    _, first, which = np.unique(start.T @ 256 ** np.arange(5), return_index=True, return_inverse=True)  # drawings have few
    colours, chosen = start[:3, first].T.astype(np.uint8), start[3:, first].astype(np.int32)
    found, hits = _nearest(colours, chosen, formula, TRIALS * known.size)
    near[:, y, x] = found[:, which]
    good[y, x] = hits[which]
    return near, good


def _nearest(pixels: Bytes, chroma: Integers, formula: Formula, trials: int) -> tuple[Integers, Mask]:
    """For (n, 3) pixels the nearest to (2, n) chroma that gives them, and where there is one; after so many trials the rest is given up."""
    found, hits, left = chroma.copy(), np.zeros(len(pixels), np.bool_), np.arange(len(pixels))
    for one, two in by_distance(LARGEST_MOVE):
        trials -= len(left)
        if not len(left) or trials < 0:
            break
        c1, c2 = (chroma[0, left] + one).clip(0, 255), (chroma[1, left] + two).clip(0, 255)
        low, high = formula.luma_range(pixels[left], c1, c2)
        hit = low <= high
        if hit.any():
            found[0, left[hit]], found[1, left[hit]] = c1[hit], c2[hit]
            hits[left[hit]] = True
            left = left[~hit]
    return found, hits


def recovered(pixels: Bytes, formula: Formula, sampling: Sampling) -> Bytes:
    """The small planes (2, rows, columns) that give the (height, width, 3) pixels, or nearly all of them; a block at a time."""
    height, width = pixels.shape[:2]
    ring = sampling.ring
    out = np.empty((2, *sampling.small_shape(height, width)), np.uint8)
    for (y, own_rows, in_rows), (x, own_columns, in_columns) in product(
        _blocks(height, STRIP, sampling.filter.down, ring, out.shape[1]), _blocks(width, STRIP, sampling.filter.across, ring, out.shape[2])
    ):
        out[:, own_rows, own_columns] = _recovered(pixels[y, x], formula, sampling)[:, in_rows, in_columns]
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


def _recovered(pixels: Bytes, formula: Formula, sampling: Sampling) -> Bytes:
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
    return _repaired(settled(near, chroma, known, sampling).astype(np.int32), pixels, formula, sampling)


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
        if count == 0 or k - found_in > PATIENCE:
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
            own = np.arange(columns.first, columns.first + columns.count)
            far = next((dx for dx in place.columns if dx), 0)
            inside = (own + far >= 0) & (own + far < count) & (far != 0)
            for away in place.rows:
                positions, weight = axis.reached(rows, away, py, place.rows)
                part = (positions[:, None], np.arange(width)[columns.positions])
                sure = known[part] & (weight > 0)[:, None]
                now = _Samples(sums[part] + place.bias, chroma[part], sure, weight.astype(np.int32), place.shift)
                alone[:, own[~inside]] += now.at(~inside).costs(moves * sum(place.columns.values()))
                if far:
                    left, right = (place.columns[k] for k in sorted((0, far)))
                    pairs[:, own[inside] + min(far, 0)] += now.at(inside).costs(moves[:, None] * left + moves * right)
        small[rows] = (small[rows] + _cheapest(alone, pairs, moves)).clip(0, 255)


@dataclass(frozen=True)
class _Samples:
    """Full-resolution samples (rows, columns): their sums and bias, what they should become, whether that is sure; and per row the weight
    of the small row that may change."""

    sums: Integers
    aim: Integers
    sure: Mask
    weight: Integers
    shift: int

    def at(self, columns: Mask) -> "_Samples":
        return _Samples(self.sums[:, columns], self.aim[:, columns], self.sure[:, columns], self.weight, self.shift)

    def costs(self, steps: Integers) -> Integers:
        """WRONG for each step that makes a sample wrong: (rows, columns, ...) for steps of shape (...)."""
        more = (...,) + (None,) * steps.ndim
        change = self.weight[(slice(None), None, *more[1:])] * steps
        wrong = ((self.sums[more] + change) >> self.shift != self.aim[more]) & self.sure[more]
        costs: Integers = wrong.astype(np.int32) * WRONG
        return costs


def _cheapest(alone: Integers, pairs: Integers, moves: Integers) -> Integers:
    """The moves (rows, columns) with the least sum of costs: Viterbi's algorithm, all rows at once."""
    rows, count, _ = alone.shape
    total = alone[:, 0]
    origin = np.zeros((count, rows, len(moves)), np.int64)
    for k in range(1, count):
        ways = total[:, :, None] + pairs[:, k - 1]
        origin[k] = ways.argmin(1)
        total = ways.min(1) + alone[:, k]
    chosen = np.empty((rows, count), np.int64)
    chosen[:, -1] = total.argmin(1)
    for k in range(count - 1, 0, -1):
        chosen[:, k - 1] = origin[k, np.arange(rows), chosen[:, k]]
    return moves[chosen]


def _touched(wrong: Mask, sampling: Sampling) -> Mask:
    """The small samples that reach one of the pixels."""
    return sampling.spread(wrong.astype(np.float32)) > 0


def _repaired(small: Integers, pixels: Bytes, formula: Formula, sampling: Sampling) -> Bytes:
    """Small planes (2, rows, columns) changed here and there so that fewer pixels are without a luma that gives them."""
    height, width = pixels.shape[:2]
    sums = sampling.sums(small, height, width).reshape(2, -1)
    flat = pixels.reshape(-1, 3)
    for radius in RADII:
        chroma = sampling.rounded(sums.reshape(2, height, width))
        low, high = formula.luma_range(pixels, chroma[0], chroma[1])
        wrong = low > high
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
    base, colours = sums[:, index] + bias, pixels[index]

    def wrong(one: int, two: int) -> npt.NDArray[np.int64]:
        c1 = (base[0] + weight * one >> shift).clip(0, 255)
        c2 = (base[1] + weight * two >> shift).clip(0, 255)
        low, high = formula.luma_range(colours, c1, c2)
        count: npt.NDArray[np.int64] = ((low > high) & (weight > 0)).sum(1)
        return count

    best, moves = wrong(0, 0), np.zeros((2, len(index)), np.int32)
    for one, two in candidates:
        inside = ((small[0][cells] + one) & ~255 == 0) & ((small[1][cells] + two) & ~255 == 0)
        count = wrong(one, two)
        better = (count < best) & inside
        best[better] = count[better]
        moves[0][better], moves[1][better] = one, two
    for plane in range(2):
        small[plane][cells] += moves[plane]
        np.add.at(sums[plane], index, weight * moves[plane][:, None])
