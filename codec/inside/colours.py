"""Chroma seen from the pixels: with the right chroma there is a luma for each of them.

Small planes are those of all samples of blocks. An *upsampling* says how pixels are made of them: (taps, biases, shifts, cells, limits).
taps: (places, 4, 3), for each place in a cell rows and columns away and weights; biases, shifts: (places); cells: rows and columns of a
cell, and of pixels that are missing of the blocks; limits: the first and last row and column of samples that are used: beyond them the
last ones are repeated.
"""

from typing import Any

import numpy as np

from codec.inside.kernel import forward, inverse
from codec.jit import compiled, part

FRACTION = 16
ANY = 1 << 40
AROUND, SIDE = 2, 12  # samples around a block, and of it and these
MOST_EMPTY = 4  # of a pixel's luma interval, that counts
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
def _bounds(pixel, least, most):
    """What tables take off lies between these, in 1 / 2^FRACTION of luma, for each channel; see `Formula.luma_range`."""
    for k in range(3):
        value = np.int64(pixel[k]) << FRACTION
        least[k] = value if value > 0 else -ANY
        most[k] = value + (1 << FRACTION) - 1 if pixel[k] < 255 else ANY


@part
def _interval(least, most, c1, c2, first, second):
    """The lowest and highest luma that gives a pixel of these bounds."""
    low, high = np.int64(0), np.int64(256 << FRACTION) - 1
    for k in range(3):
        taken = first[k, c1] + second[k, c2]
        low, high = max(low, least[k] - taken), min(high, most[k] - taken)
    return -(-low >> FRACTION), high >> FRACTION


@compiled
def intervals(first_row, last_row, pixels, one, two, upsampling, first, second, low, high):
    """Fills in (height, width) lowest and highest luma for (height, width, 3) pixels; 1 and 0 where there is none."""
    taps, biases, shifts, cells, limits = upsampling
    least, most = np.empty(3, np.int64), np.empty(3, np.int64)
    width = pixels.shape[1]
    sums = np.empty((2, width), np.int64)
    for y in range(first_row, last_row):
        row, down = (y + cells[2]) // cells[0], (y + cells[2]) % cells[0]
        for across in range(cells[1]):
            place = down * cells[1] + across
            begin = (across - cells[3]) % cells[1]
            for x in range(begin, width, cells[1]):
                sums[0, x] = sums[1, x] = biases[place]
            for t in range(4):
                weight = taps[place, t, 2]
                if weight:
                    r = min(max(row + taps[place, t, 0], limits[0]), limits[1])
                    column = (begin + cells[3]) // cells[1] + taps[place, t, 1]
                    for x in range(begin, width, cells[1]):
                        c = min(max(column, limits[2]), limits[3])
                        sums[0, x] += weight * one[r, c]
                        sums[1, x] += weight * two[r, c]
                        column += 1
            for x in range(begin, width, cells[1]):
                _bounds(pixels[y, x], least, most)
                lowest, highest = _interval(least, most, sums[0, x] >> shifts[place], sums[1, x] >> shifts[place], first, second)
                if lowest > highest:
                    lowest, highest = 1, 0
                low[y, x], high[y, x] = lowest, highest


@part
def _reached(pixels, row, column, upsampling, bases, places, least, most):
    """The pixels that a block reaches: of each, where its cell lies in a patch, its place in the cell, and its bounds. Gives how many."""
    _, _, _, cells, _ = upsampling
    top, left = cells[2], cells[3]
    more_down, more_across = 1 if cells[0] > 1 else 0, 1 if cells[1] > 1 else 0
    first_y, last_y = 8 * row * cells[0] - more_down - top, 8 * (row + 1) * cells[0] + more_down - top
    first_x, last_x = 8 * column * cells[1] - more_across - left, 8 * (column + 1) * cells[1] + more_across - left
    count = 0
    for y in range(max(first_y, 0), min(last_y, pixels.shape[0])):
        for x in range(max(first_x, 0), min(last_x, pixels.shape[1])):
            cell_row, cell_column = (y + top) // cells[0] - 8 * row + AROUND, (x + left) // cells[1] - 8 * column + AROUND
            bases[count] = SIDE * cell_row + cell_column
            places[count] = (y + top) % cells[0] * cells[1] + (x + left) % cells[1]
            _bounds(pixels[y, x], least[count], most[count])
            count += 1
    return count


@part
def _surroundings(small, row, column, limits, fixed, own):
    """The samples of a block and those around it, (SIDE * SIDE); own: the sample of the block that each is, or -1."""
    for k in range(SIDE * SIDE):
        r = min(max(8 * row + k // SIDE - AROUND, limits[0]), limits[1])
        c = min(max(8 * column + k % SIDE - AROUND, limits[2]), limits[3])
        fixed[k] = small[r, c]
        r, c = r - 8 * row, c - 8 * column
        own[k] = 8 * r + c if 0 <= r < 8 and 0 <= c < 8 else -1


@part
def _patch(block, fixed, own, patch):
    for k in range(SIDE * SIDE):
        patch[k] = block[own[k]] if own[k] >= 0 else fixed[k]


@part
def _pixel(patch, base, place, upsampling):
    """The sample of a pixel."""
    taps, biases, shifts, _, _ = upsampling
    total = biases[place]
    for t in range(4):
        total += taps[place, t, 2] * patch[base + SIDE * taps[place, t, 0] + taps[place, t, 1]]
    return total >> shifts[place]


@part
def _emptiness(patch, plane, full, count, order, bases, places, least, most, upsampling, first, second, enough):
    """How empty luma intervals are, where one plane's samples come of the patch and the other's are (2, n) full; it counts no further than
    `enough`."""
    total = np.int64(0)
    for m in range(count):
        n = order[m]
        sample = _pixel(patch, bases[n], places[n], upsampling)
        c1, c2 = (sample, full[1, n]) if plane == 0 else (full[0, n], sample)
        low, high = _interval(least[n], most[n], c1, c2, first, second)
        if low > high:
            total += min(low - high, MOST_EMPTY)
            if total >= enough:
                break
    return total


@part
def _sorted(full, count, order, least, most, first, second):
    """Those pixels first that have no luma; gives how empty their intervals are."""
    total, empty = np.int64(0), 0
    for n in range(count):
        low, high = _interval(least[n], most[n], full[0, n], full[1, n], first, second)
        order[n] = n
        if low > high:
            total += min(low - high, MOST_EMPTY)
            order[n], order[empty] = order[empty], n
            empty += 1
    return total


@compiled
def repaired(begin, end, where, pixels, aims, one, two, coefficients, steps, upsampling, first, second, basis, zigzag, decoder, empty):
    """Moves doubtful coefficients of the blocks where[begin] to where[end - 1], by number, row by row, to their second nearest as long as
    pixels get a luma thereby, and any by 1 of blocks that do not lie in the picture as a whole; no two of these blocks reach the same
    pixel. aims: (2, rows, columns), what the small planes should come near to. coefficients: (2, rows, columns, 64), which change, and the
    small planes with them; empty: (blocks), what is left."""
    _, _, _, cells, limits = upsampling
    block, target, real, between = np.empty(64, np.int64), np.empty(64), np.empty((2, 64)), np.empty(64)
    work, order = np.empty(64), np.empty((2, 64), np.int64)
    reached = (8 * cells[0] + 2) * (8 * cells[1] + 2)
    bases, places, pixel_order = np.empty(reached, np.int64), np.empty(reached, np.int64), np.empty(reached, np.int64)
    least, most, full = np.empty((reached, 3), np.int64), np.empty((reached, 3), np.int64), np.empty((2, reached), np.int64)
    fixed, own, patch = np.empty((2, SIDE * SIDE), np.int64), np.empty((2, SIDE * SIDE), np.int64), np.empty(SIDE * SIDE, np.int64)
    columns = coefficients.shape[2]
    for n in range(begin, end):
        row, column = where[n] // columns, where[n] % columns
        count = _reached(pixels, row, column, upsampling, bases, places, least, most)
        for plane in range(2):
            _surroundings(one if plane == 0 else two, row, column, limits, fixed[plane], own[plane])
            for k in range(count):
                full[plane, k] = _pixel(fixed[plane], bases[k], places[k], upsampling)
        left = _sorted(full, count, pixel_order, least, most, first, second)
        if left:
            y, x = 8 * row * cells[0] - cells[2], 8 * column * cells[1] - cells[3]
            whole = y >= 0 and x >= 0 and y + 8 * cells[0] <= pixels.shape[0] and x + 8 * cells[1] <= pixels.shape[1]
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
                best, whose, which, by = left, 0, -1, 0
                for plane in range(2):
                    chosen = coefficients[plane, row, column]
                    for t in range(many if whole else 2 * many):
                        c = order[plane, t % many]
                        move = 1 if (real[plane, c] > chosen[c] * steps[plane, c]) == (t < many) else -1
                        chosen[c] += move
                        inverse(chosen, steps[plane], zigzag, decoder, block)
                        chosen[c] -= move
                        _patch(block, fixed[plane], own[plane], patch)
                        now = _emptiness(
                            patch, plane, full, count, pixel_order, bases, places, least, most, upsampling, first, second, best
                        )
                        if now < best:
                            best, whose, which, by = now, plane, c, move
                if which < 0:
                    break
                coefficients[whose, row, column, which] += by
                inverse(coefficients[whose, row, column], steps[whose], zigzag, decoder, block)
                _patch(block, fixed[whose], own[whose], patch)
                for k in range(count):
                    full[whose, k] = _pixel(patch, bases[k], places[k], upsampling)
                small = one if whose == 0 else two
                for k in range(64):
                    small[8 * row + k // 8, 8 * column + k % 8] = block[k]
                left = _sorted(full, count, pixel_order, least, most, first, second)
                if not left:
                    break
        empty[where[n]] = left
