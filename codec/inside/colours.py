"""Chroma seen from the pixels: with the right chroma there is a luma for each of them.

Small planes are those of all samples of blocks. An *upsampling* says how pixels are made of them: (taps, biases, shifts, cells, limits).
taps: (places, 4, 3), for each place in a cell rows and columns away and weights; biases, shifts: (places); cells: rows and columns of a
cell, and of pixels that are missing of the blocks; limits: the first and last row and column of samples that are used.
"""

from typing import Any

import numpy as np

from codec.inside.kernel import forward, islow
from codec.jit import compiled, part
from codec.pasts.colour import FORMULAS

FORMULA = FORMULAS[0]
FRACTION = 16
MOST_EMPTY = 4  # of a pixel's luma interval, that counts
ALL = 1 << 30
TRIED = 20  # coefficients of a block and component
MOVES = 10  # of one coefficient after the other


def upsampling(layout: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """That of a layout with chroma, for small planes of this shape."""
    filter_, ring = layout.sampling.filter, layout.sampling.ring
    taps = np.zeros((len(filter_.places), 4, 3), np.int64)
    for n, place in enumerate(filter_.places.values()):
        taps[n, : len(place.taps)] = place.taps
    biases = np.array([place.bias for place in filter_.places.values()], np.int64)
    shifts = np.array([place.shift for place in filter_.places.values()], np.int64)
    (top, left), (rows, columns) = layout.offsets[1], layout.sizes[1]
    limits = (0, shape[0] - 1, 0, shape[1] - 1) if ring else (top, top + rows - 1, left, left + columns - 1)
    cells = filter_.down, filter_.across, layout.top, layout.left
    return taps, biases, shifts, cells, limits


@part
def _sample(small, y, x, upsampling):
    """Of the pixel in row y and column x, counted from the first block."""
    taps, biases, shifts, cells, limits = upsampling
    row, column = y // cells[0], x // cells[1]
    place = y % cells[0] * cells[1] + x % cells[1]
    total = biases[place]
    for t in range(4):
        weight = taps[place, t, 2]
        if weight:
            r = min(max(row + taps[place, t, 0], limits[0]), limits[1])
            c = min(max(column + taps[place, t, 1], limits[2]), limits[3])
            total += weight * small[r, c]
    return total >> shifts[place]


@part
def _interval(pixel, c1, c2, first, second):
    """The lowest and highest luma that gives the pixel; see `Formula.luma_range`."""
    low, high = np.int64(0), np.int64(255)
    for k in range(3):
        value = np.int64(pixel[k])
        rest = (value << FRACTION) - first[k, c1] - second[k, c2]
        if value > 0:
            low = max(low, -(-rest >> FRACTION))
        if value < 255:
            high = min(high, (rest + ((1 << FRACTION) - 1)) >> FRACTION)
    return low, high


@compiled
def intervals(first_row, last_row, pixels, one, two, upsampling, first, second, low, high):
    """Fills in (height, width) lowest and highest luma for (height, width, 3) pixels; 1 and 0 where there is none."""
    top, left = upsampling[3][2], upsampling[3][3]
    for y in range(first_row, last_row):
        for x in range(pixels.shape[1]):
            c1, c2 = _sample(one, y + top, x + left, upsampling), _sample(two, y + top, x + left, upsampling)
            lowest, highest = _interval(pixels[y, x], c1, c2, first, second)
            if lowest > highest:
                lowest, highest = 1, 0
            low[y, x], high[y, x] = lowest, highest


@part
def _emptiness(pixels, one, two, row, column, upsampling, first, second, enough):
    """How empty the luma intervals are of the pixels that a block reaches; it counts no further than `enough`."""
    _, _, _, cells, _ = upsampling
    top, left = cells[2], cells[3]
    more_down, more_across = 1 if cells[0] > 1 else 0, 1 if cells[1] > 1 else 0
    first_y, last_y = 8 * row * cells[0] - more_down - top, 8 * (row + 1) * cells[0] + more_down - top
    first_x, last_x = 8 * column * cells[1] - more_across - left, 8 * (column + 1) * cells[1] + more_across - left
    total = np.int64(0)
    for y in range(max(first_y, 0), min(last_y, pixels.shape[0])):
        for x in range(max(first_x, 0), min(last_x, pixels.shape[1])):
            c1, c2 = _sample(one, y + top, x + left, upsampling), _sample(two, y + top, x + left, upsampling)
            low, high = _interval(pixels[y, x], c1, c2, first, second)
            if low > high:
                total += min(low - high, MOST_EMPTY)
        if total >= enough:
            break
    return total


@part
def _put(block, small, row, column):
    for k in range(64):
        small[8 * row + k // 8, 8 * column + k % 8] = block[k]


@compiled
def repaired(begin, end, where, pixels, aims, one, two, coefficients, steps, upsampling, first, second, basis, zigzag, empty):
    """Moves doubtful coefficients of the blocks where[begin] to where[end - 1], by number, row by row, to their second nearest as long as
    pixels get a luma thereby, and any by 1 of blocks that do not lie in the picture as a whole; no two of these blocks reach the same
    pixel. aims: (2, rows, columns), what the small planes should come near to. coefficients: (2, rows, columns, 64), which change, and the
    small planes with them; empty: (blocks), what is left."""
    block, target, real, between = np.empty(64, np.int64), np.empty(64), np.empty((2, 64)), np.empty(64)
    work, order, old = np.empty(64), np.empty((2, 64), np.int64), np.empty(64, np.int64)
    columns = coefficients.shape[2]
    for n in range(begin, end):
        row, column = where[n] // columns, where[n] % columns
        least = _emptiness(pixels, one, two, row, column, upsampling, first, second, ALL)
        if least:
            y, x = 8 * row * upsampling[3][0] - upsampling[3][2], 8 * column * upsampling[3][1] - upsampling[3][3]
            whole = y >= 0 and x >= 0 and y + 8 * upsampling[3][0] <= pixels.shape[0] and x + 8 * upsampling[3][1] <= pixels.shape[1]
            many = TRIED if whole else 64
            for plane in range(2):
                for k in range(64):
                    target[k] = aims[plane, 8 * row + k // 8, 8 * column + k % 8] - 128.0
                forward(target, basis, between, work)
                for c in range(64):
                    real[plane, c] = work[zigzag[c]]
                for c in range(64):
                    value = real[plane, c] - coefficients[plane, row, column, c] * steps[plane, c]
                    work[c] = 0.5 * steps[plane, c] - abs(value)
                order[plane] = np.argsort(work)
            for _ in range(MOVES):
                best, whose, which, by = least, 0, -1, 0
                for plane in range(2):
                    small = one if plane == 0 else two
                    chosen = coefficients[plane, row, column]
                    for k in range(64):
                        old[k] = small[8 * row + k // 8, 8 * column + k % 8]
                    for t in range(many if whole else 2 * many):
                        c = order[plane, t % many]
                        move = 1 if (real[plane, c] > chosen[c] * steps[plane, c]) == (t < many) else -1
                        chosen[c] += move
                        islow(chosen, steps[plane], zigzag, block)
                        _put(block, small, row, column)
                        now = _emptiness(pixels, one, two, row, column, upsampling, first, second, best)
                        chosen[c] -= move
                        if now < best:
                            best, whose, which, by = now, plane, c, move
                    _put(old, small, row, column)
                if which < 0:
                    break
                coefficients[whose, row, column, which] += by
                islow(coefficients[whose, row, column], steps[whose], zigzag, block)
                _put(block, one if whose == 0 else two, row, column)
                least = best
                if not least:
                    break
        empty[where[n]] = least
