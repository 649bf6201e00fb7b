"""The search for the coefficients of a block, from what its samples may be.

Each sample has a lowest and a highest value, mostly the same. 0 as the lowest and 255 as the highest mean any value beyond, too, as the
decoder limits samples; those outside of the picture may be anything. What the inverse DCT gives is rounded, so the transform of the samples
is off by noise of a standard deviation of 0.29: where steps are large, rounding finds the coefficients; else a few doubtful ones are tried
both ways, and where samples are not known those coefficients are preferred that a picture mostly has.
"""

import math

import numpy as np

from codec.inside.kernel import forward, inverse
from codec.jit import compiled, part

FAR = 1e4  # beyond all samples
ROUNDS = 6  # of filling in unknown samples
DOUBTFUL = 1.6  # distance from a border between two coefficients, in samples' units, at which the nearest is beyond doubt
FEW, SOME = 3, 10  # choices kept, coefficients tried
BEAM, DEPTH = 32, 14  # where these do not serve
CLOSE = 8.0  # of a range that is as it is
FINE = 1 << 10  # parts of a sample
MOST_DISTANT = 9.0  # by `_distance`, of which exact samples are hardly more
HOPELESS = 1.0  # excess beyond which no exact block is found
DECIDED = 16  # beam of `_decided`
ATTEMPTS = 4  # at samples that are limited
SAMPLE_NOISE = 1 / 12  # variance
LIMIT_NOISE = 400.0  # of what is behind the limits


@part
def _fetch(plane, low, high, y, x, lowest, highest, target):
    """Fills in the block at (y, x) of planes: the lowest and highest of (64) samples, and what to begin with; gives the number of those
    that are not certain. Where the lowest is above the highest, anything will do."""
    height, width = low.shape
    open_ = 0
    for k in range(64):
        row, column = y + k // 8, x + k % 8
        inside = 0 <= row < height and 0 <= column < width
        row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
        one, two = np.int64(low[row, column]), np.int64(high[row, column])
        target[k] = plane[row, column]
        if not inside or one > two:
            lowest[k], highest[k] = -FAR, FAR
        else:
            lowest[k], highest[k] = one if one > 0 else -FAR, two if two < 255 else FAR
        if lowest[k] != highest[k]:
            open_ += 1
    return open_


@part
def _wrong(block, lowest, highest):
    """The samples that are not what they should be."""
    wrong = 0
    for k in range(64):
        if block[k] < lowest[k] or block[k] > highest[k]:
            wrong += 1
    return wrong


@part
def _rounded(target, lowest, highest, open_, steps, basis, zigzag, decoder, real, chosen, work, block):
    """Coefficients by rounding, unknown samples filled in by what comes of them; gives the number of wrong samples."""
    wrong = 64
    for _ in range(ROUNDS):
        for k in range(64):
            block_value = target[k] - 128.0
            work[64 + k] = block_value
        forward(work[64:], basis, work, real)
        for k in range(64):
            work[64 + k] = real[zigzag[k]]
        changed = False
        for k in range(64):
            real[k] = work[64 + k]
            now = np.int64(math.floor(real[k] / steps[k] + 0.5))
            now = min(max(now, -32768), 32767)
            changed |= now != chosen[k]
            chosen[k] = now
        inverse(chosen, steps, zigzag, decoder, block)
        wrong = _wrong(block, lowest, highest)
        if wrong == 0 or not changed or open_ == 0:
            break
        for k in range(64):
            if lowest[k] != highest[k]:
                target[k] = min(max(np.float64(block[k]), lowest[k]), highest[k])
    return wrong


@part
def _excess(samples, move, basis, lowest, highest):
    """How far samples + move * basis lie beyond where they are rounded to what they should be: the sum of squares."""
    one, two, three, four = 0.0, 0.0, 0.0, 0.0  # side by side
    for k in range(0, 64, 4):
        a, b = samples[k] + move * basis[k], samples[k + 1] + move * basis[k + 1]
        c, d = samples[k + 2] + move * basis[k + 2], samples[k + 3] + move * basis[k + 3]
        a = max(max(lowest[k] - a, a - highest[k]) - 0.5, 0.0)
        b = max(max(lowest[k + 1] - b, b - highest[k + 1]) - 0.5, 0.0)
        c = max(max(lowest[k + 2] - c, c - highest[k + 2]) - 0.5, 0.0)
        d = max(max(lowest[k + 3] - d, d - highest[k + 3]) - 0.5, 0.0)
        one, two, three, four = one + a * a, two + b * b, three + c * c, four + d * d
    return one + two + three + four


@part
def _restored(chosen, steps, bases, samples):
    for k in range(64):
        samples[k] = 128.0
    for c in range(64):
        if chosen[c]:
            move = chosen[c] * steps[c]
            for k in range(64):
                samples[k] += move * bases[c, k]


@part
def _beyond(samples, add, lowest, highest):
    """How far samples + add, all int32, lie beyond where they are rounded to what they should be: the sum of squares, in (1 / FINE)^2."""
    total = np.int32(0)
    for k in range(64):
        sample = np.int32(samples[k] + add[k])
        off = max(max(np.int32(lowest[k] - sample), np.int32(sample - highest[k])), np.int32(0))
        off = min(off, np.int32(4 * FINE))
        total = np.int32(total + np.int32(off * off))
    return total


@part
def _tried(chosen, real, steps, bases, adds, zigzag, decoder, lowest, highest, block, beam, depth, work):
    """Tries doubtful coefficients both ways, a beam of choices at a time; improves `chosen` and gives its number of wrong samples."""
    samples, fine, order, errors, keys, states, spare, best = work
    many = 0
    for c in range(64):
        doubt = (0.5 - abs(real[c] / steps[c] - chosen[c])) * steps[c]
        if doubt > DOUBTFUL:
            continue
        at = many
        while at and samples[at - 1] > doubt:
            at -= 1
        if at < depth:
            many = min(many + 1, depth)
            for n in range(many - 1, at, -1):
                samples[n], order[n] = samples[n - 1], order[n - 1]
            samples[at], order[at] = doubt, c
    _restored(chosen, steps, bases, samples)
    for k in range(64):
        states[0, k] = np.int32(math.floor(samples[k] * FINE + 0.5))
        fine[0, k] = np.int32(lowest[k] * FINE - FINE // 2)
        fine[1, k] = np.int32(highest[k] * FINE + FINE // 2)
        fine[2, k] = 0
    # a key: the error, in (1 / FINE)^2, and which coefficients are flipped
    keys[0], count = np.int64(_beyond(states[0], fine[2], fine[0], fine[1])) << 16, 1
    for n in range(many):
        c = order[n]
        up = real[c] > chosen[c] * steps[c]
        for k in range(64):
            fine[2, k] = adds[c, k] if up else -adds[c, k]
        kept = count
        for b in range(count):
            errors[b] = keys[b] << 8 | b
        for b in range(count):
            error = np.int64(_beyond(states[b], fine[2], fine[0], fine[1]))
            key = (error << 16 | (keys[b] & 0xFFFF) | 1 << n) << 8 | 128 | b
            if kept == beam and key >= errors[kept - 1]:
                continue
            at = kept if kept < beam else kept - 1
            kept = at + 1
            while at and errors[at - 1] > key:
                errors[at] = errors[at - 1]
                at -= 1
            errors[at] = key
        for at in range(kept):
            b, keys[at] = errors[at] & 127, errors[at] >> 8
            if errors[at] & 128:
                for k in range(64):
                    spare[at, k] = states[b, k] + fine[2, k]
            else:
                for k in range(64):
                    spare[at, k] = states[b, k]
        states, spare, count = spare, states, kept
    inverse(chosen, steps, zigzag, decoder, block)
    fewest, found = _wrong(block, lowest, highest), 0
    for b in range(count):
        flips = keys[b] & 0xFFFF
        if b and keys[b] >> 16 > HOPELESS * FINE * FINE:
            break
        for c in range(64):
            best[c] = chosen[c]
        for n in range(many):
            if flips >> n & 1:
                best[order[n]] += 1 if real[order[n]] > chosen[order[n]] * steps[order[n]] else -1
        inverse(best, steps, zigzag, decoder, block)
        wrong = _wrong(block, lowest, highest)
        if wrong < fewest:
            fewest, found = wrong, flips
            if wrong == 0:
                break
    for n in range(many):
        if found >> n & 1:
            chosen[order[n]] += 1 if real[order[n]] > chosen[order[n]] * steps[order[n]] else -1
    return fewest


@part
def _distance(real, chosen, steps):
    """The sum of squares by which samples are off from those of the coefficients, before rounding: 64 / 12 where these are right."""
    total = 0.0
    for c in range(64):
        off = real[c] - chosen[c] * steps[c]
        total += off * off
    return total


@part
def _climbed(chosen, steps, bases, zigzag, decoder, lowest, highest, samples, block):
    """Moves one coefficient after the other by 1 as long as that brings the samples nearer to what they should be."""
    _restored(chosen, steps, bases, samples)
    error = _excess(samples, 0.0, bases[0], lowest, highest)
    for _ in range(24):
        if error == 0.0:
            break
        best, at, by = error, -1, 0
        for c in range(64):
            for sign in (-1, 1):
                now = _excess(samples, sign * steps[c], bases[c], lowest, highest)
                if now < best - 1e-9:
                    best, at, by = now, c, sign
        if at < 0:
            break
        chosen[at] += by
        error = best
        for k in range(64):
            samples[k] += by * steps[at] * bases[at, k]
    inverse(chosen, steps, zigzag, decoder, block)
    return _wrong(block, lowest, highest)


@part
def _weighed(lowest, highest, weights):
    """How certain samples are, as inverse variances; gives the number of those that are limited on one side, or to a range."""
    limited = 0
    for k in range(64):
        weights[k] = 0.0
        if lowest[k] == highest[k]:
            weights[k] = 1.0 / SAMPLE_NOISE
        elif lowest[k] > -FAR or highest[k] < FAR:
            far = highest[k] - lowest[k]
            weights[k] = 1.0 / (SAMPLE_NOISE + min(far * far / 12.0, LIMIT_NOISE))
            limited += 1
    return limited


@part
def _moved(chosen, steps, bases, lowest, highest, samples, target, weights):
    """Limited samples are looked for where coefficients bring them, or at their limits."""
    _restored(chosen, steps, bases, samples)
    for k in range(64):
        if lowest[k] != highest[k] and weights[k] > 0.0:
            target[k] = min(max(samples[k], lowest[k]), highest[k])
            if highest[k] - lowest[k] > 2.0 * CLOSE:
                weights[k] = 1.0 / LIMIT_NOISE if target[k] == samples[k] else 16.0 / LIMIT_NOISE


@part
def _inverted(matrix):
    """The inverse of a positive definite matrix, in place, by Gauss and Jordan."""
    n = len(matrix)
    for p in range(n):
        pivot = 1.0 / matrix[p, p]
        matrix[p, p] = 1.0
        for j in range(n):
            matrix[p, j] *= pivot
        for i in range(n):
            if i != p:
                factor = matrix[i, p]
                matrix[i, p] = 0.0
                for j in range(n):
                    matrix[i, j] -= factor * matrix[p, j]


@compiled
def _decided(target, weights, freedom, steps, bases, variances, covariance, means, spare, whole, spare_whole, errors):
    """The likeliest whole coefficients, given samples, how certain each is, and what variances coefficients have, but for a factor:
    (DECIDED, 64), the best first. They are decided one after the other, the most certain first, each by what the ones before leave of it.
    Gives how many there are."""
    n = 64
    right = np.zeros(n)
    for c in range(n):
        for d in range(n):
            covariance[c, d] = 0.0
        covariance[c, c] = 1.0 / (variances[c] * freedom)
    row = np.empty(n)
    for k in range(64):
        weight = weights[k]
        if weight == 0.0:
            continue
        for c in range(n):
            row[c] = bases[c, k] * steps[c]
        aim = (target[k] - 128.0) * weight
        for c in range(n):
            right[c] += row[c] * aim
            scaled = row[c] * weight
            for d in range(n):
                covariance[c, d] += scaled * row[d]
    _inverted(covariance)
    for c in range(n):
        total = 0.0
        for d in range(n):
            total += covariance[c, d] * right[d]
        means[0, c] = total
    over = np.zeros(n, np.bool_)
    errors[0], count = 0.0, 1
    costs, whose, values = np.empty(3 * DECIDED), np.empty(3 * DECIDED, np.int64), np.empty(3 * DECIDED, np.int64)
    for _ in range(n):
        at = -1
        for c in range(n):
            if not over[c] and (at < 0 or covariance[c, c] < covariance[at, at]):
                at = c
        over[at] = True
        own = max(covariance[at, at], 1e-12)
        options = 0
        for b in range(count):
            mean = means[b, at]
            near = np.int64(math.floor(mean + 0.5))
            side = 1 if mean > near else -1
            for option in (0, side, -side):
                off = near + option - mean
                costs[options] = errors[b] + off * off / own
                whose[options], values[options] = b, near + option
                options += 1
        kept = np.argsort(costs[:options])[:DECIDED]
        least = costs[kept[0]]
        many = 0
        for m in range(len(kept)):
            if costs[kept[m]] > least + 40.0:
                break
            many += 1
        for m in range(many):
            b, value = whose[kept[m]], values[kept[m]]
            factor = (value - means[b, at]) / own
            for c in range(n):
                spare[m, c] = means[b, c] + (0.0 if over[c] else covariance[c, at] * factor)
                spare_whole[m, c] = whole[b, c]
            spare_whole[m, at] = value
        count = many
        for m in range(count):
            errors[m] = costs[kept[m]]
            for c in range(n):
                means[m, c], whole[m, c] = spare[m, c], spare_whole[m, c]
        for c in range(n):
            row[c] = covariance[at, c]
        for c in range(n):
            if not over[c]:
                factor = row[c] / own
                for d in range(n):
                    covariance[c, d] -= factor * row[d]
    return count


@compiled
def rounded(first, last, where, plane, low, high, top, left, steps, basis, zigzag, decoder, coefficients, wrong):
    """The coefficients of the blocks where[first] to where[last - 1], by number, row by row, of planes that lack `top` rows and `left`
    columns of the first; and how many of their samples are wrong."""
    lowest, highest, target, real = np.empty(64), np.empty(64), np.empty(64), np.empty(64)
    chosen, block, work = np.zeros(64, np.int64), np.empty(64, np.int64), np.empty(128)
    columns = coefficients.shape[1]
    for n in range(first, last):
        row, column = where[n] // columns, where[n] % columns
        open_ = _fetch(plane, low, high, 8 * row - top, 8 * column - left, lowest, highest, target)
        wrong[where[n]] = _rounded(target, lowest, highest, open_, steps, basis, zigzag, decoder, real, chosen, work, block)
        for c in range(64):
            coefficients[row, column, c] = chosen[c]


@compiled
def searched(first, last, where, plane, low, high, top, left, steps, basis, bases, zigzag, decoder, coefficients, wrong, uncertain):
    """The same by search, for blocks where rounding was not enough; uncertain: whether not all samples of a block are known."""
    lowest, highest, target, real = np.empty(64), np.empty(64), np.empty(64), np.empty(64)
    chosen, block, work = np.zeros(64, np.int64), np.empty(64, np.int64), np.empty(128)
    adds = np.empty((64, 64), np.int32)
    for c in range(64):
        for k in range(64):
            adds[c, k] = np.int32(math.floor(bases[c, k] * steps[c] * FINE + 0.5))
    trial = (
        np.empty(64),
        np.empty((3, 64), np.int32),
        np.empty(64, np.int64),
        np.empty(BEAM, np.int64),
        np.empty(BEAM, np.int64),
        np.empty((BEAM, 64), np.int32),
        np.empty((BEAM, 64), np.int32),
        np.empty(64, np.int64),
    )
    columns = coefficients.shape[1]
    for n in range(first, last):
        row, column = where[n] // columns, where[n] % columns
        open_ = _fetch(plane, low, high, 8 * row - top, 8 * column - left, lowest, highest, target)
        fewest = _rounded(target, lowest, highest, open_, steps, basis, zigzag, decoder, real, chosen, work, block)
        if fewest:
            fewest = _tried(chosen, real, steps, bases, adds, zigzag, decoder, lowest, highest, block, FEW, SOME, trial)
        if fewest and (open_ or _distance(real, chosen, steps) < MOST_DISTANT):
            _rounded(target, lowest, highest, open_, steps, basis, zigzag, decoder, real, chosen, work, block)
            fewest = _tried(chosen, real, steps, bases, adds, zigzag, decoder, lowest, highest, block, BEAM, DEPTH, trial)
        uncertain[where[n]] = open_ > 0
        wrong[where[n]] = fewest
        for c in range(64):
            coefficients[row, column, c] = min(max(chosen[c], -32768), 32767)


@compiled
def likeliest(first, last, where, plane, low, high, top, left, steps, bases, zigzag, decoder, variances, coefficients, wrong):
    """The same for blocks that the search leaves wrong, by what is likeliest where samples are not known."""
    lowest, highest, target, weights = np.empty(64), np.empty(64), np.empty(64), np.empty(64)
    chosen, block, work = np.zeros(64, np.int64), np.empty(64, np.int64), np.empty(64)
    states, spare, errors = np.empty((DECIDED, 64)), np.empty((DECIDED, 64)), np.empty(DECIDED)
    covariance, whole, spare_whole = np.empty((64, 64)), np.zeros((DECIDED, 64), np.int64), np.zeros((DECIDED, 64), np.int64)
    columns = coefficients.shape[1]
    for n in range(first, last):
        row, column = where[n] // columns, where[n] % columns
        fewest = wrong[where[n]]
        _fetch(plane, low, high, 8 * row - top, 8 * column - left, lowest, highest, target)
        limited = _weighed(lowest, highest, weights)
        for attempt in range(ATTEMPTS if limited else 1):
            if attempt:
                _moved(whole[0], steps, bases, lowest, highest, work, target, weights)
            freedom = 4.0**attempt
            count = _decided(target, weights, freedom, steps, bases, variances, covariance, states, spare, whole, spare_whole, errors)
            for m in range(count):
                for c in range(64):
                    chosen[c] = whole[m, c]
                inverse(chosen, steps, zigzag, decoder, block)
                now = _wrong(block, lowest, highest)
                if now and m < 4:
                    now = _climbed(chosen, steps, bases, zigzag, decoder, lowest, highest, work, block)
                if now < fewest:
                    fewest = now
                    for c in range(64):
                        coefficients[row, column, c] = min(max(chosen[c], -32768), 32767)
                    if fewest == 0:
                        break
            if fewest == 0:
                break
        wrong[where[n]] = fewest
