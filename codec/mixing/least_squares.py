"""A sample predicted from those around it, with the coefficients that would have predicted the last few hundred samples best: least squares
that forget. What is known as recursive least squares, here solved anew every few pixels.

Everything is single operations of doubles, in a written order, so that every machine gets the same.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codec.jit import part

OWN, OTHER = 11, 7  # neighbours in the sample's own plane, and in each plane before it with its sample there
KEPT = 0.998  # of what is remembered, at every sample
RIDGE = 10.0
EVERY = 8  # pixels, after which coefficients are found anew

Doubles = npt.NDArray[np.float64]


class Squares(NamedTuple):
    """What is remembered. n: the most inputs that a plane has.

    moments: (channels, n + 1, n + 1) sums of products of the inputs and, behind them, what they should have given, below the diagonal and
    on it; coefficients: (channels, n); inputs: (n + 1); rest: (n + 1, n + 1) and column: (n + 1) of the solution.
    """

    moments: Doubles
    coefficients: Doubles
    inputs: Doubles
    rest: Doubles
    column: Doubles


def squares(channels: int) -> Squares:
    """Of a band, before its first sample."""
    n = OWN + OTHER * (channels - 1)
    return Squares(np.zeros((channels, n + 1, n + 1)), np.zeros((channels, n)), np.zeros(n + 1), np.zeros((n + 1, n + 1)), np.zeros(n + 1))


@part
def expected(rows, c, x, squares):
    """The sample of plane c at x of the last of the rows, (channels, 3, width); fills the inputs."""
    z, coefficients = squares.inputs, squares.coefficients[c]
    above, up, now = rows[c, 0], rows[c, 1], rows[c, 2]
    west, n = now[x - 1], OWN
    z[0], z[1], z[2], z[3] = up[x] - west, up[x - 1] - west, up[x + 1] - west, now[x - 2] - west
    z[4], z[5], z[6], z[7] = above[x] - west, above[x + 1] - west, up[x - 2] - west, up[x + 2] - west
    z[8], z[9], z[10] = above[x - 1] - west, above[x + 2] - west, above[x - 2] - west
    for plane in range(c):
        above, up, now = rows[plane, 0], rows[plane, 1], rows[plane, 2]
        beside = now[x - 1]
        z[n], z[n + 1], z[n + 2], z[n + 3] = now[x] - beside, up[x] - beside, up[x - 1] - beside, up[x + 1] - beside
        z[n + 4], z[n + 5], z[n + 6] = above[x] - beside, now[x - 2] - beside, above[x + 1] - beside
        n += OTHER
    value = np.float64(west)
    for i in range(n):
        value += coefficients[i] * z[i]
    return np.int64(np.floor(min(max(value, 0.0), 65535.0) + 0.5))


@part
def remember(difference, c, squares):
    """What the inputs should have given: the sample - its neighbour to the left."""
    z, moments, n = squares.inputs, squares.moments[c], OWN + OTHER * c
    z[n] = difference
    for i in range(n + 1):
        row = moments[i]
        for j in range(i + 1):
            row[j] = KEPT * row[j] + z[i] * z[j]


@part
def solve(c, squares):
    """Finds the coefficients of a plane anew, by an LDL decomposition."""
    moments, coefficients, rest, column, n = squares.moments[c], squares.coefficients[c], squares.rest, squares.column, OWN + OTHER * c
    for i in range(n + 1):
        for j in range(i + 1):
            rest[i, j] = moments[i, j]
        rest[i, i] += RIDGE
    for k in range(n):
        inverse = 1.0 / max(rest[k, k], 1.0)
        for i in range(k + 1, n + 1):
            column[i] = rest[i, k]
        for i in range(k + 1, n + 1):
            row, factor = rest[i], column[i] * inverse
            for j in range(k + 1, i + 1):
                row[j] -= factor * column[j]
            row[k] = factor
    for i in range(n):
        coefficients[i] = rest[n, i]
    for j in range(n - 1, 0, -1):
        row, coefficient = rest[j], coefficients[j]
        for i in range(j):
            coefficients[i] -= coefficient * row[i]
