"""The search for small chroma planes, candidate by candidate."""

import math

import numpy as np

from codec.jit import compiled, part
from codec.pasts.colour import FRACTION

NEAR = 1e-7  # more than rounding errors, less than how far a quotient is from whole numbers if it is none


@part
def given(pixel, c1, c2, scale, first, second):
    """Whether any luma gives the pixel with this chroma; see `Formula.luma_range`."""
    low, high, share = 0.0, 255.0, 1.0 / scale
    for k in range(3):
        value = np.int64(pixel[k])
        rest = (value << FRACTION) - first[k, c1] - second[k, c2]
        if value > 0:
            low = max(low, math.ceil(rest * share - NEAR))
        if value < 255:
            high = min(high, math.floor((rest + ((1 << FRACTION) - 1)) * share + NEAR))
    return low <= high


@compiled
def which_given(pixels, chroma, scale, first, second, out):
    """`given` for (height, width, 3) pixels and (2, height, width) chroma."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = given(pixels[y, x], np.int64(chroma[0, y, x]), np.int64(chroma[1, y, x]), scale, first, second)


@compiled
def nearest(pixels, chroma, moves, trials, scale, first, second, hits):
    """Moves each of (2, n) chroma to the nearest that gives its (n, 3) pixel, and says where there is one: hits (n). At most so many trials
    for each."""
    for n in range(len(pixels)):
        for m in range(min(len(moves), trials)):
            c1, c2 = min(max(chroma[0, n] + moves[m, 0], 0), 255), min(max(chroma[1, n] + moves[m, 1], 0), 255)
            if given(pixels[n], c1, c2, scale, first, second):
                chroma[0, n], chroma[1, n], hits[n] = c1, c2, True
                break


@compiled
def improve(small, sums, pixels, cells, index, weight, bias, shift, moves, scale, first, second):
    """Moves each of the cells (n, 2) of small planes, no two of which reach the same pixel, to the nearest place where the fewest of the
    pixels (n, taps) that it reaches with some weight are without a luma. sums: (2, pixels), the weighted sums, which follow."""
    for n in range(len(cells)):
        one, two = small[0, cells[n, 0], cells[n, 1]], small[1, cells[n, 0], cells[n, 1]]
        best, at = np.int64(1) << 62, (0, 0)
        for m in range(-1, len(moves)):
            a, b = (moves[m, 0], moves[m, 1]) if m >= 0 else (0, 0)
            if not (0 <= one + a <= 255 and 0 <= two + b <= 255):
                continue
            wrong = 0
            for t in range(index.shape[1]):
                if weight[n, t] > 0:
                    place = index[n, t]
                    c1 = min(max((sums[0, place] + bias[t] + weight[n, t] * a) >> shift[t], 0), 255)
                    c2 = min(max((sums[1, place] + bias[t] + weight[n, t] * b) >> shift[t], 0), 255)
                    if not given(pixels[place], c1, c2, scale, first, second):
                        wrong += 1
                        if wrong >= best:
                            break
            if wrong < best:
                best, at = wrong, (a, b)
        if at != (0, 0):
            small[0, cells[n, 0], cells[n, 1]] += at[0]
            small[1, cells[n, 0], cells[n, 1]] += at[1]
            for t in range(index.shape[1]):
                sums[0, index[n, t]] += weight[n, t] * at[0]
                sums[1, index[n, t]] += weight[n, t] * at[1]


@compiled
def charge(alone, pairs, sums, aim, known, y, x, weight, shares, many, moves):
    """Adds to the costs of moves what each makes wrong of one place in the cells.

    alone: (rows, count, moves), of a sample's moves; pairs: (rows, count, moves, moves), of its and its right neighbour's. sums, aim and
    known: (height, width), the weighted sums, what should become of them, and where that matters. y, weight: (rows), the rows' place and
    weight; x: of the columns. shares: of a column alone, and of the left and the right one of two. many: bias, shift, where the second
    column is (-1, 0 or 1), the first cell, and what a wrong sample costs.
    """
    alone_share, left, right = shares
    bias, shift, far, first, wrong = many
    count = alone.shape[1]
    for row in range(len(y)):
        if weight[row] == 0:
            continue
        for k in range(len(x)):
            if not known[y[row], x[k]]:
                continue
            now, wanted, own = sums[y[row], x[k]] + bias, aim[y[row], x[k]], first + k
            if far != 0 and 0 <= own + far < count:
                cell = own + min(far, 0)
                for a in range(len(moves)):
                    for b in range(len(moves)):
                        if (now + weight[row] * (moves[a] * left + moves[b] * right)) >> shift != wanted:
                            pairs[row, cell, a, b] += wrong
            else:
                for a in range(len(moves)):
                    if (now + weight[row] * moves[a] * alone_share) >> shift != wanted:
                        alone[row, own, a] += wrong


@compiled
def cheapest(alone, pairs, chosen):
    """The moves (rows, count) with the least sum of costs in each row: Viterbi's algorithm."""
    _, count, moves = alone.shape
    total, other, origin = np.zeros(moves, np.int64), np.zeros(moves, np.int64), np.zeros((count, moves), np.int64)
    for row in range(len(alone)):
        for a in range(moves):
            total[a] = alone[row, 0, a]
        for k in range(1, count):
            for b in range(moves):
                best = 0
                for a in range(1, moves):
                    if total[a] + pairs[row, k - 1, a, b] < total[best] + pairs[row, k - 1, best, b]:
                        best = a
                origin[k, b] = best
                other[b] = total[best] + pairs[row, k - 1, best, b] + alone[row, k, b]
            for b in range(moves):
                total[b] = other[b]
        best = 0
        for a in range(1, moves):
            if total[a] < total[best]:
                best = a
        for k in range(count - 1, -1, -1):
            chosen[row, k] = best
            best = origin[k, best]
