"""The inverse DCTs of decoders, to the bit, the forward DCT in reals (ITU-T T.81, A.3.3), and which steps explain what it gives.

Blocks are 64 numbers, row by row; coefficients of pictures stand in zigzag order, and `ZIGZAG` says where each of them lies in its block.
"""

import numpy as np

from codec.jit import compiled, part


def _zigzag() -> np.ndarray:
    places = [(y, x) for y in range(8) for x in range(8)]
    return np.array([8 * y + x for y, x in sorted(places, key=lambda p: (sum(p), p[0] if sum(p) % 2 else p[1]))])


def _basis() -> np.ndarray:
    """(8, 8): row u holds frequency u."""
    basis = np.sqrt(2 / 8) * np.cos((2 * np.arange(8) + 1) * np.arange(8)[:, None] * np.pi / 16)
    basis[0] /= np.sqrt(2)
    return basis


ZIGZAG = _zigzag()
BASIS = _basis()
BASES = np.einsum("vy,ux->vuyx", BASIS, BASIS).reshape(64, 64)[ZIGZAG]  # what each coefficient, in zigzag order, adds to a block
TAIL = 2.4  # magnitude that a coefficient of 0 hardly reaches even where samples are not rounded at random
RELATIVE = 0.05  # of a step, the mean distance that is well below a random one
STRAYS = 0.03  # coefficients between 0 and the step, for one at a multiple
KEPT = 2  # bits behind the point of what the columns' transforms give
LIBJPEG, STB, ZUNE = range(3)  # whose transform it is: the numbers of decoders
# bits behind the point, and the constants of an inverse transform by Loeffler, Ligtenberg and Moschytz as `_line` uses them
ISLOW = (13, 4433, -15137, 6270, 9633, -7373, -20995, -16069, -3196, 2446, 16819, 25172, 12299)
COARSE = (12, 2217, -7567, 3135, 4816, -3685, -10497, -8034, -1597, 1223, 8410, 12586, 6149)


@part
def _line(block, at, step, constants, shift, half):
    """The inverse transform of eight numbers, in place."""
    fraction, k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11 = constants
    a, b, c, d = block[at], block[at + step], block[at + 2 * step], block[at + 3 * step]
    e, f, g, h = block[at + 4 * step], block[at + 5 * step], block[at + 6 * step], block[at + 7 * step]
    turned = (c + g) * k0
    two, three = turned + g * k1, turned + c * k2
    zero, one = (a + e) * (1 << fraction), (a - e) * (1 << fraction)
    even0, even3, even1, even2 = zero + three, zero - three, one + two, one - two
    five = (h + d + f + b) * k3
    z1, z2, z3, z4 = (h + b) * k4, (f + d) * k5, (h + d) * k6 + five, (f + b) * k7 + five
    odd3, odd2, odd1, odd0 = h * k8 + z1 + z3, f * k9 + z2 + z4, d * k10 + z2 + z3, b * k11 + z1 + z4
    block[at], block[at + 7 * step] = (even0 + odd0 + half) >> shift, (even0 - odd0 + half) >> shift
    block[at + step], block[at + 6 * step] = (even1 + odd1 + half) >> shift, (even1 - odd1 + half) >> shift
    block[at + 2 * step], block[at + 5 * step] = (even2 + odd2 + half) >> shift, (even2 - odd2 + half) >> shift
    block[at + 3 * step], block[at + 4 * step] = (even3 + odd3 + half) >> shift, (even3 - odd3 + half) >> shift


@part
def _lines(block, constants, more):
    """Of all columns, and then of all rows, where `more` is added before the shift."""
    first, second = constants[0] - KEPT, constants[0] + KEPT + 3
    for x in range(8):
        _line(block, x, 8, constants, first, 1 << (first - 1))
    for y in range(8):
        _line(block, 8 * y, 1, constants, second, (1 << (second - 1)) + more)


@part
def inverse(coefficients, steps, zigzag, decoder, block):
    """64 coefficients in zigzag order -> a block of int64 samples from 0 to 255, as a decoder makes them.

    No sum overflows: products of a coefficient and a step are at most 2^31, the columns' results 2^36, the rows' sums 2^53.
    """
    for k in range(64):
        block[zigzag[k]] = np.int64(coefficients[k]) * np.int64(steps[k])
    if decoder == LIBJPEG:
        _lines(block, ISLOW, 0)
    else:
        _lines(block, COARSE, 512 if decoder == ZUNE else 0)
    for k in range(64):
        block[k] = min(max(block[k] + 128, 0), 255)


@compiled
def decode(first, last, coefficients, steps, zigzag, decoder, top, left, plane):
    """Rows first to last - 1 of (rows, columns, 64) blocks -> their part of a plane, which lacks the first `top` rows and `left` columns of
    the first blocks, and ends where it ends."""
    block = np.empty(64, np.int64)
    height, width = plane.shape
    for row in range(first, last):
        for column in range(coefficients.shape[1]):
            inverse(coefficients[row, column], steps, zigzag, decoder, block)
            for k in range(64):
                y, x = 8 * row + k // 8 - top, 8 * column + k % 8 - left
                if 0 <= y < height and 0 <= x < width:
                    plane[y, x] = block[k]


@part
def forward(block, basis, between, out):
    """The DCT of a block of reals, row by row as it is."""
    for v in range(8):
        for x in range(8):
            total = 0.0
            for y in range(8):
                total += basis[v, y] * block[8 * y + x]
            between[8 * v + x] = total
    for v in range(8):
        for u in range(8):
            total = 0.0
            for x in range(8):
                total += basis[u, x] * between[8 * v + x]
            out[8 * v + u] = total


@compiled
def transform(first, last, plane, corners, basis, zigzag, out):
    """The DCTs (n, 64), in zigzag order, of the blocks of a plane that begin at the corners (n, 2)."""
    block, between, found = np.empty(64), np.empty(64), np.empty(64)
    for n in range(first, last):
        for k in range(64):
            block[k] = plane[corners[n, 0] + k // 8, corners[n, 1] + k % 8] - 128.0
        forward(block, basis, between, found)
        for k in range(64):
            out[n, k] = found[zigzag[k]]


@compiled
def explained(first, last, coefficients, counts, noise, out):
    """out (64, LARGEST_STEP + 1): for each step, the mean distance of the live coefficients (64, n), of each the first counts (64), from
    its multiples other than 0; -1 where it does not explain them."""
    for c in range(first, last):
        for step in range(1, out.shape[1]):
            total, many, between = 0.0, 0, 0
            half = 0.5 * step
            for k in range(counts[c]):
                value = coefficients[c, k]
                if value > half:
                    total += abs(value - np.floor(value / step + 0.5) * step)
                    many += 1
                elif value > TAIL:
                    between += 1
                if k == 63 and total > 2 * many * max(2 * noise, RELATIVE * step):
                    break
            bound = max(noise * (1 + 1.3 / np.sqrt(max(many, 1))), RELATIVE * step)
            out[c, step] = total / many if many and total <= many * bound and between <= STRAYS * many else -1.0
