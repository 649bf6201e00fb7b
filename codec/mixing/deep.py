"""Samples of more than 8 bits: predicted by several predictors, one of which learns, weighted by how they did nearby; what is left is
coded decision by decision.

Or exact: predicted by a median, so that where few residuals occur, each is learnt by itself.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codec.jit import compiled, part
from codec.mixing.kernel import MAX_CHANNELS, ended, hashed, mixed, started
from codec.mixing.least_squares import EVERY, expected, remember, solve

PREDICTORS = 10
LEARNT = 9  # the one by least squares, which counts TRUST times
TRUST = 4
CONTEXTS = 6
DECISIONS = 64  # kinds of them
OCTAVES = 20
BIAS_CONTEXTS = 256
BIAS_LIMIT = 64  # how many errors a bias remembers
MOST = (1 << 16) - 1  # of a sample
FOLLOWERS = 1 << 16
MIN_TABLE_BITS, MAX_TABLE_BITS = 14, 22
QUIET = 12  # quarters of octaves
PAD = 2

Integers = npt.NDArray[np.int64]


class State(NamedTuple):
    """What is known nearby.

    followers: the sample that last followed some surroundings, by their hash, or -1. rows: (channels, 3, width) samples of two rows above
    and of this one; errors: (channels, PREDICTORS, 3, width) how wrong each predictor was; residuals: (channels, 3, width) of the last
    two; biases: (channels, BIAS_CONTEXTS, 2) sums and numbers of errors.
    """

    followers: Integers
    rows: Integers
    errors: npt.NDArray[np.int32]
    residuals: Integers
    biases: Integers


COLUMN_BYTES = 2 * 3 * 8 + PREDICTORS * 3 * 4  # of a channel's state


def state(channels: int, width: int) -> State:
    """Of a band of so many columns, before its first sample."""
    columns = width + 2 * PAD
    return State(
        np.full(FOLLOWERS, -1, np.int64),
        np.zeros((channels, 3, columns), np.int64),
        np.zeros((channels, PREDICTORS, 3, columns), np.int32),
        np.zeros((channels, 3, columns), np.int64),
        np.zeros((channels, BIAS_CONTEXTS, 2), np.int64),
    )


@part
def _octaves(x):
    """Four times the binary logarithm of 1 + x, rounded down."""
    x += 1
    length = 0
    while x >> (length + 1):
        length += 1
    part = (x << 2 >> length) & 3
    return 4 * length + part


@part
def _predict(state, c, x, learnt, predictions):
    """The blend of all predictors, and their spread; fills `predictions`. learnt: the last one."""
    now, up, above = state.rows[c, 2], state.rows[c, 1], state.rows[c, 0]
    w, n, nw, ne, ww, nn = now[x - 1], up[x], up[x - 1], up[x + 1], now[x - 2], above[x]
    predictions[0], predictions[1], predictions[2] = w, n, w + n - nw
    predictions[3], predictions[4], predictions[5] = w + ne - n, 2 * n - nn, 2 * w - ww
    if c:
        first, first_up = state.rows[0, 2], state.rows[0, 1]
        predictions[6] = w + first[x] - first[x - 1]
        predictions[7] = n + first[x] - first_up[x]
        predictions[8] = w + n - nw + first[x] - first[x - 1] - first_up[x] + first_up[x - 1]
    else:
        predictions[6] = (w + n) >> 1
        predictions[7] = n + ne - above[x + 1]
        predictions[8] = min(max(w + n - nw, min(w, n)), max(w, n))
    predictions[LEARNT] = learnt
    total, weights, least, lowest, highest = 0, 0, 1 << 40, predictions[0], predictions[0]
    for k in range(PREDICTORS):
        errors = state.errors[c, k]
        wrong = 2 * (np.int64(errors[2, x - 1]) + errors[1, x]) + errors[1, x - 1] + errors[1, x + 1] + errors[2, x - 2] + errors[0, x]
        least = min(least, wrong)
        wrong = min(wrong + 3, (1 << 20) - 1)
        weight = ((1 << 40) // (wrong * wrong) + 1) * (TRUST if k == LEARNT else 1)
        total += weight * predictions[k]
        weights += weight
        lowest, highest = min(lowest, predictions[k]), max(highest, predictions[k])
    return (2 * total + weights) // (2 * weights), highest - lowest, least


@part
def _median(state, c, x):
    """Of W, N and W + N - NW, for planes after the first as differences to it."""
    now, up = state.rows[c, 2], state.rows[c, 1]
    w, n, nw, first = now[x - 1], up[x], up[x - 1], np.int64(0)
    if c:
        beside, above = state.rows[0, 2], state.rows[0, 1]
        w, n, nw, first = w - beside[x - 1], n - above[x], nw - above[x - 1], beside[x]
    return first + min(max(w + n - nw, min(w, n)), max(w, n))


@part
def _decided(bit, kind, c, bases, octave, mixer, tables, coder, stream, decoding, spent):
    """One decision of a kind below DECISIONS, in the contexts of `bases`."""
    size = mixer.counters.shape[1] - 1
    for i in range(CONTEXTS):
        mixer.chosen[i] = hashed(bases[i], kind) & size
    first = octave * DECISIONS + kind
    second = (OCTAVES + c) * DECISIONS + kind
    third = (OCTAVES + MAX_CHANNELS) * DECISIONS + (c * DECISIONS + kind) * CONTEXTS
    refinement = c * DECISIONS + kind
    return mixed(bit, mixer, np.int64(0), first, second, third, refinement, tables, coder, stream, decoding, spent)


@part
def _new_row(state, first):
    """What was this row is the one above. first: whether there is none yet, so that all above is 0."""
    rows, errors, residuals = state.rows, state.errors, state.residuals
    for c in range(0 if first else rows.shape[0]):
        for k in range(rows.shape[2]):
            rows[c, 0, k], rows[c, 1, k] = rows[c, 1, k], rows[c, 2, k]
            residuals[c, 1, k], residuals[c, 2, k] = residuals[c, 2, k], 0
            for p in range(PREDICTORS):
                errors[c, p, 0, k], errors[c, p, 1, k], errors[c, p, 2, k] = errors[c, p, 1, k], errors[c, p, 2, k], 0
        for k in range(PAD):
            rows[c, 2, k] = rows[c, 1, PAD]


@part
def _row_ends(state, width):
    """The last sample of a row goes on to its right."""
    rows, errors, residuals = state.rows, state.errors, state.residuals
    for c in range(rows.shape[0]):
        for k in range(width + PAD, width + 2 * PAD):
            rows[c, 2, k] = rows[c, 2, width + PAD - 1]
            residuals[c, 2, k] = residuals[c, 2, width + PAD - 1]
            for p in range(PREDICTORS):
                errors[c, p, 2, k] = errors[c, p, 2, width + PAD - 1]


@part
def _energy(state, c, x):
    """How large residuals are nearby."""
    now, before = state.residuals[c, 2], state.residuals[c, 1]
    return _octaves(2 * (abs(now[x - 1]) + abs(before[x])) + abs(before[x - 1]) + abs(before[x + 1]))


@part
def _bias_of(state, c, x, blend, energy):
    """The number of the bias that a sample has."""
    rows, signs = state.rows, 0
    for value in (rows[c, 2, x - 1], rows[c, 1, x], rows[c, 1, x - 1], rows[c, 1, x + 1]):
        signs = signs << 1 | int(value > blend)
    return signs << 4 | min(energy >> 3, 15)


@part
def _find_bases(state, c, x, energy, spread, least, bases):
    """Fills `bases`, the contexts of all decisions of a sample."""
    now, before = state.residuals[c, 2], state.residuals[c, 1]
    beside = _octaves(abs(state.residuals[c - 1, 2, x])) if c else 0
    earlier = _octaves(abs(state.residuals[0, 2, x])) if c > 1 else 0
    spread, least = _octaves(spread), _octaves(least)
    bases[0] = hashed(c, energy)
    bases[1] = hashed(c + 10, _octaves(abs(now[x - 1])) >> 1 << 8 | _octaves(abs(before[x])) >> 1)
    bases[2] = hashed(c + 20, beside << 16 | earlier >> 1 << 8 | energy >> 2)
    bases[3] = hashed(c + 30, spread << 8 | least >> 2)
    bases[4] = hashed(c + 40, least << 8 | energy >> 2)
    bases[5] = hashed(c + 50, (_octaves(abs(now[x - 1]) + abs(now[x - 2])) >> 1) << 8 | spread >> 1)


@part
def _surroundings(state, c, x):
    """Their hash: where `followers` keeps what last followed such samples."""
    rows = state.rows
    key = hashed(hashed(rows[c, 2, x - 1], rows[c, 1, x]), hashed(rows[c, 1, x - 1], rows[c, 1, x + 1] * 4 + c))
    if c:
        key = hashed(key, rows[c - 1, 2, x])
    return key & (len(state.followers) - 1)


@part
def _hit(hit, guess, key, missed, west, north, c, bases, keys, octave, mixer, tables, coder, stream, decoding, spent):
    """The decision whether the sample is the guess."""
    for i in range(CONTEXTS):
        keys[i] = bases[i]
    keys[1], keys[3] = hashed(c + 60, missed), hashed(c + 70, key)
    keys[5] = hashed(c + 80, int(guess == west) | int(guess == north) << 1 | int(west == north) << 2 | missed << 3)
    return _decided(hit, np.int64(0), c, keys, octave, mixer, tables, coder, stream, decoding, spent)


@part
def _coded_residual(residual, now, before, beside, c, bases, keys, octave, mixer, tables, coder, stream, decoding, spent, exact):
    """A residual: the number of its bits, its sign, and the bits below the first. Changes `bases` and `keys`.

    now, before, beside: the residuals to the left, above, and of the plane before.
    """
    size, length, node = abs(residual), 0, np.int64(1)
    while size >> length:
        length += 1
    for k in range(4, -1, -1):
        bit = (length >> k) & 1
        node = node << 1 | _decided(bit, node, c, bases, octave, mixer, tables, coder, stream, decoding, spent)
    length = node & 31
    if not length:
        return np.int64(0)
    turn = (int(now > 0) - int(now < 0)) * 3 + int(before > 0) - int(before < 0)
    if c:
        turn = turn * 3 + int(beside > 0) - int(beside < 0)
    for i in range(CONTEXTS):
        bases[i] = hashed(bases[i], 4096 + (turn + 100 if i & 1 else length))
    negative = _decided(int(residual < 0), np.int64(32), c, bases, octave, mixer, tables, coder, stream, decoding, spent)
    found, prefix = np.int64(1), 1
    for k in range(length - 2, -1, -1):
        kind = 32 + prefix if prefix < 8 else 41 + min(k, 22)
        for i in range(CONTEXTS):
            keys[i] = hashed(bases[i], (length << 17) + 2 * found + negative) if exact else bases[i]
        bit = _decided((size >> k) & 1, kind, c, keys, octave, mixer, tables, coder, stream, decoding, spent)
        found = found << 1 | bit
        prefix = min(prefix << 1 | bit, 8)
    return -found if negative else found


@compiled
def code(planes, stream, decoding, mixer, state, squares, tables, costs, stopped, exact):
    """Codes a band of (channels, height, width) uint16 planes, or fills them; as `kernel.code`. exact: whether by the median."""
    spent = np.zeros(min(1, costs.size))
    channels, height, width = planes.shape
    coder = started(stream, decoding)
    predictions, bases, keys = np.zeros(PREDICTORS, np.int64), np.zeros(CONTEXTS, np.int64), np.zeros(CONTEXTS, np.int64)
    missed = np.zeros(channels, np.int64)
    followers, rows, errors, residuals, biases = state
    for y in range(height):
        if stopped[0] or coder[3] > len(stream) + 3:
            break
        _new_row(state, y == 0)
        for x in range(PAD, width + PAD):
            if coder[3] > len(stream) + 3:
                break
            for c in range(channels):
                blend, spread, least = _predict(state, c, x, expected(rows, c, x, squares), predictions)
                energy = _energy(state, c, x)
                bias = biases[c, _bias_of(state, c, x, blend, energy)]
                prediction = blend + (2 * bias[0] + bias[1]) // (2 * bias[1]) if bias[1] else blend
                if exact:
                    prediction = _median(state, c, x)
                prediction = min(max(prediction, 0), MOST)
                _find_bases(state, c, x, energy, spread, least, bases)
                octave = min(energy >> 2, OCTAVES - 1)
                residual = 0 if decoding else np.int64(planes[c, y, x - PAD]) - prediction
                key = _surroundings(state, c, x)
                follower = followers[key]
                guess = follower if follower >= 0 else rows[c, 2, x - 1]
                hit = 0
                if energy < QUIET or follower >= 0:
                    hit = int(prediction + residual == guess)
                    how = octave, mixer, tables, coder, stream, decoding, spent
                    hit = _hit(hit, guess, key, missed[c], rows[c, 2, x - 1], rows[c, 1, x], c, bases, keys, *how)
                    missed[c] = (missed[c] << 1 | (1 - hit)) & 255
                if hit:
                    residual = guess - prediction
                else:
                    how = octave, mixer, tables, coder, stream, decoding, spent, exact
                    beside = residuals[c - 1, 2, x] if c else np.int64(0)
                    residual = _coded_residual(residual, residuals[c, 2, x - 1], residuals[c, 1, x], beside, c, bases, keys, *how)
                sample = prediction + residual
                if decoding:
                    if sample < 0 or sample > MOST:
                        sample, coder[3] = np.int64(0), len(stream) + 4  # as if it had run dry
                    planes[c, y, x - PAD] = sample
                rows[c, 2, x], followers[key], residuals[c, 2, x] = sample, sample, residual
                for k in range(PREDICTORS):
                    errors[c, k, 2, x] = abs(sample - predictions[k])
                remember(np.float64(sample - rows[c, 2, x - 1]), c, squares)
                if (y * width + x - PAD) % EVERY == EVERY - 1:
                    solve(c, squares)
                bias[0] += sample - blend
                bias[1] += 1
                if bias[1] >= BIAS_LIMIT:
                    bias[0], bias[1] = (bias[0] + 1) >> 1, bias[1] >> 1
            if len(spent):
                costs[y, x - PAD] = spent[0]
                spent[0] = 0
        _row_ends(state, width)
    return ended(coder, stream, decoding)
