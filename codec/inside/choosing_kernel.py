"""Which multiples of steps stand for the coefficients of a picture's blocks, so that bytes and errors together are few: compiled by numba,
or run as they stand where that is missing."""

import numpy as np

from codec.inside.kernel import ZIGZAG, forward
from codec.jit import compiled, part

MOST = 8  # a magnitude whose cost is looked up; beyond it more is added
BESIDE, WITHIN = 4, 2  # magnitudes that count, in the blocks around one and at the frequencies around one
AROUND = np.array([0, 1, 2, 2, 3, 3, 3, *[4] * 10])  # kinds of surroundings, by the sum of magnitudes in the four blocks around
NEARBY = np.array([0, 1, 2, 3, 3, 4, 4, 4, *[5] * 7])  # the same by that of the frequencies around
NEARBY_KINDS = int(NEARBY[-1]) + 1
KINDS = (int(AROUND[-1]) + 1) * NEARBY_KINDS
NONE = 64  # in the place of a frequency
FINE = 1024  # of coefficients before they are compared


def _frequencies() -> np.ndarray:
    """(64, 7): of each in zigzag order those around it, but for 0, or NONE."""
    place = {int(of): k for k, of in enumerate(ZIGZAG)}
    found = np.full((64, 7), NONE)
    for k, of in enumerate(ZIGZAG):
        y, x = divmod(int(of), 8)
        around = [(y, x + 1), (y + 1, x), (y, x - 1), (y - 1, x), (y + 1, x + 1), (y, x + 2), (y + 2, x)]
        inside = [place[8 * v + u] for v, u in around if 0 <= v < 8 and 0 <= u < 8 and (v, u) != (0, 0)]
        found[k, : len(inside)] = inside
    return found


FREQUENCIES = _frequencies()


@part
def _kind(magnitudes, row, column, k, around, nearby, frequencies):
    """Of the surroundings of a coefficient, among (rows, columns, 64) magnitudes."""
    rows, columns, _ = magnitudes.shape
    beside, within = 0, 0
    if row:
        beside += min(magnitudes[row - 1, column, k], BESIDE)
    if row + 1 < rows:
        beside += min(magnitudes[row + 1, column, k], BESIDE)
    if column:
        beside += min(magnitudes[row, column - 1, k], BESIDE)
    if column + 1 < columns:
        beside += min(magnitudes[row, column + 1, k], BESIDE)
    for n in range(frequencies.shape[1]):
        other = frequencies[k, n]
        if other == NONE:
            break
        within += min(magnitudes[row, column, other], WITHIN)
    return around[beside] * NEARBY_KINDS + nearby[within]


@compiled
def count(every, magnitudes, around, nearby, frequencies, counts):
    """Counts (64, KINDS, MOST + 1) magnitudes, (rows, columns, 64) up to MOST, of one in so many rows of blocks."""
    for row in range(0, magnitudes.shape[0], every):
        for column in range(magnitudes.shape[1]):
            for k in range(64):
                kind = _kind(magnitudes, row, column, k, around, nearby, frequencies)
                counts[k, kind, magnitudes[row, column, k]] += 1


@compiled
def choose(
    first, last, pixels, weights, offset, basis, zigzag, steps, rounding,
    before, around, nearby, frequencies, costs, more, weight, chosen, after,
):  # fmt: skip
    """Rows of blocks: (height, width, channels) pixels -> (rows, columns, 64) int16 coefficients, in steps.

    weights, offset: what makes a sample of a pixel's channels; rounding: of magnitudes, the first and the others; before, after:
    magnitudes up to MOST, which were chosen last time, and which are. Then costs: (64, KINDS, MOST + 1), in bits; more: of magnitudes from
    MOST on; weight: of a bit, in squares of a step; 0: magnitudes are only rounded.
    """
    height, width, channels = pixels.shape
    block, between, found = np.empty(64), np.empty(64), np.empty(64)
    for row in range(first, last):
        for column in range(chosen.shape[1]):
            for k in range(64):
                pixel = pixels[min(8 * row + k // 8, height - 1), min(8 * column + k % 8, width - 1)]
                sample = offset
                for channel in range(channels):
                    sample += weights[channel] * pixel[channel]
                block[k] = sample
            forward(block, basis, between, found)
            for k in range(64):
                value = np.floor(found[zigzag[k]] * FINE + 0.5) / FINE  # the same on all machines, whatever their cosines' last digit
                size = abs(value) / steps[k]
                best = np.int64(size + rounding[min(k, 1)])
                if weight > 0.0 and k and best:
                    kind = _kind(before, row, column, k, around, nearby, frequencies)
                    nearest, least = best, np.inf
                    for n in range(3):
                        magnitude = nearest - n if n < 2 else 0
                        bits = costs[k, kind, min(magnitude, MOST)] + more[max(magnitude - MOST, 0)]
                        cost = (size - magnitude) * (size - magnitude) + weight * bits
                        if cost < least:
                            least, best = cost, magnitude
                after[row, column, k] = min(best, MOST)
                chosen[row, column, k] = best if value > 0 else -best
