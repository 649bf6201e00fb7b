"""The decisions about pixels, their mixture and their code: compiled by numba, or run as they stand where that is missing."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codec.jit import compiled, part

PROBABILITY_BITS = 16
ONE = 1 << PROBABILITY_BITS
LIMIT = 3071  # of a stretched probability, ln(p / (1 - p)) in 1/256
COUNTER_BITS, COUNT_BITS = 22, 10  # a counter: its probability, above it how often it was used
MOST_COUNT = 255
WEIGHT_BITS = 16
STEPS = 32  # of a refinement

GUESSES = 5  # as after the same surroundings, left, above, left and above continued, above continued
GUESS_CONTEXTS, SAMPLE_CONTEXTS = 6, 6
HISTOGRAMS = 2
ACTIVITIES = 8
HISTOGRAM_LIMIT = 1 << 13
MAX_CHANNELS = 4
PAD = 4  # pixels left and right of a row

Integers = npt.NDArray[np.int64]


class Tables(NamedTuple):
    """squash: ONE * logistic(x / 256) for x from -LIMIT; stretch: its inverse for 12-bit probabilities; rate and trust: by count."""

    squash: Integers
    stretch: Integers
    rate: Integers
    trust: Integers


class Mixer(NamedTuple):
    """counters: (contexts, table size); weights: (sets, inputs); refined: (contexts of the refinement, STEPS + 1); chosen: the counter
    of each context; inputs: of the mixture, the last one constant."""

    counters: npt.NDArray[np.uint32]
    weights: Integers
    refined: Integers
    chosen: Integers
    inputs: Integers


@part
def hashed(a, b):
    """31 bits of two numbers of up to 32."""
    h = (a * 0x1B873593 + b + 0x3C6EF372) & 0x7FFFFFFF
    h = (h * 0x2545F491) & 0x7FFFFFFF
    return h ^ (h >> 15)


@part
def coded(bit, probability, coder, stream, decoding, spent):
    """One decision through the arithmetic coder: low, high, value, position. probability: of a 1, 1 to ONE - 1. Returns the bit.

    spent: empty, or one number to which the cost in bits is added.
    """
    low, high = coder[0], coder[1]
    span = high - low
    middle = low + (span >> PROBABILITY_BITS) * probability + (((span & (ONE - 1)) * probability) >> PROBABILITY_BITS)
    if decoding:
        bit = 1 if coder[2] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    if len(spent):
        spent[0] -= math.log2((probability if bit else ONE - probability) / ONE)
    while (low ^ high) >> 24 == 0:
        at = coder[3]
        if decoding:
            coder[2] = ((coder[2] << 8) & 0xFFFFFFFF) | (stream[at] if at < len(stream) else 0)
        elif at < len(stream):
            stream[at] = high >> 24
        coder[3] = at + 1
        low = (low << 8) & 0xFFFFFFFF
        high = ((high << 8) & 0xFFFFFFFF) | 255
    coder[0], coder[1] = low, high
    return bit


@compiled
def started(stream, decoding):
    """The arithmetic coder before its first decision: low, high, value, position."""
    coder = np.zeros(4, np.int64)
    coder[1] = 0xFFFFFFFF
    if decoding:
        for at in range(4):
            coder[2] = coder[2] << 8 | (stream[at] if at < len(stream) else 0)
        coder[3] = 4
    return coder


@part
def ended(coder, stream, decoding):
    """Writes what is left; how many bytes the stream takes."""
    if decoding:
        return coder[3] - 3
    if coder[3] < len(stream):
        stream[coder[3]] = coder[1] >> 24
    return coder[3] + 1


@part
def mixed(bit, mixer, more, first, second, third, refinement, tables, coder, stream, decoding, spent):
    """One decision: the counters chosen in `mixer.chosen` and the last `more` inputs, mixed by three sets of weights. Returns the bit.

    third: the first of a row of sets, of which the number of contexts seen before chooses one.
    """
    counters, weights, refined, chosen, inputs = mixer
    contexts = len(chosen)
    for i in range(contexts):
        counter = np.int64(counters[i, chosen[i]])
        count = counter & ((1 << COUNT_BITS) - 1)
        inputs[i] = (tables.stretch[counter >> (COUNTER_BITS - 12 + COUNT_BITS)] * tables.trust[count]) >> 8
        if count and i:
            third += 1
    inputs[contexts + more] = 256
    one, two, three = weights[first], weights[second], weights[third]
    sum_one, sum_two, sum_three = 0, 0, 0
    for i in range(len(inputs)):
        sum_one += one[i] * inputs[i]
        sum_two += two[i] * inputs[i]
        sum_three += three[i] * inputs[i]
    sum_one = min(max(sum_one >> WEIGHT_BITS, -LIMIT), LIMIT)
    sum_two = min(max(sum_two >> WEIGHT_BITS, -LIMIT), LIMIT)
    sum_three = min(max(sum_three >> WEIGHT_BITS, -LIMIT), LIMIT)
    total = (sum_one + sum_two + sum_three) // 3
    place = (total + LIMIT + 1) * STEPS
    step, part = place // (2 * LIMIT + 2), place % (2 * LIMIT + 2)
    map_ = refined[refinement]
    better = (map_[step] * (2 * LIMIT + 2 - part) + map_[step + 1] * part) // (2 * LIMIT + 2)
    probability = min(max((tables.squash[total + LIMIT] + better) >> 1, 1), ONE - 1)
    bit = coded(bit, probability, coder, stream, decoding, spent)
    target = bit << PROBABILITY_BITS
    wrong_one = target - tables.squash[sum_one + LIMIT]
    wrong_two = target - tables.squash[sum_two + LIMIT]
    wrong_three = target - tables.squash[sum_three + LIMIT]
    for i in range(len(inputs)):
        one[i] += (inputs[i] * wrong_one + (1 << 12)) >> 13
        two[i] += (inputs[i] * wrong_two + (1 << 12)) >> 13
        three[i] += (inputs[i] * wrong_three + (1 << 12)) >> 13
    for i in range(contexts):
        counter = np.int64(counters[i, chosen[i]])
        count, known = counter & ((1 << COUNT_BITS) - 1), counter >> COUNT_BITS
        known += (((bit << COUNTER_BITS) - known) * tables.rate[count]) >> 16
        known = min(max(known, 1), (1 << COUNTER_BITS) - 1)
        counters[i, chosen[i]] = known << COUNT_BITS | min(count + 1, MOST_COUNT)
    nearest = step + (1 if 2 * part > 2 * LIMIT + 2 else 0)
    map_[nearest] += (target - map_[nearest]) >> 6
    return bit


@part
def _among(value, values, count):
    """Whether it is one of the first so many."""
    for k in range(count):
        if values[k] == value:
            return True
    return False


@part
def _median(west, north, north_west):
    return min(max(west + north - north_west, min(west, north)), max(west, north))


@part
def _continued(west, north, north_west, channels):
    """The pixel west + north - north_west, each sample limited to 0 to 255."""
    pixel = 0
    for c in range(channels - 1, -1, -1):
        sample = ((west >> (8 * c)) & 255) + ((north >> (8 * c)) & 255) - ((north_west >> (8 * c)) & 255)
        pixel = pixel << 8 | min(max(sample, 0), 255)
    return pixel


@part
def _samples(pixel, rows, x, channels, mixer, histograms, sums, tables, coder, stream, decoding, spent):
    """The samples of a pixel that none of the guesses gave; rows: two above and the current one, (3, ...). Returns the pixel."""
    size, more = mixer.counters.shape[1] - 1, np.int64(HISTOGRAMS)
    up, now = rows[1], rows[2]
    near = hashed(hashed(now[x - 1], up[x]), hashed(up[x - 1], up[x + 1]))
    known = 0
    predictions, which = (0, 0), (0, 0)
    for c in range(channels):
        place, first = 8 * (channels - 1 - c), 8 * (channels - 1)
        west, north = (now[x - 1] >> place) & 255, (up[x] >> place) & 255
        north_west, north_east = (up[x - 1] >> place) & 255, (up[x + 1] >> place) & 255
        median = _median(west, north, north_west)
        prediction = median
        if c:
            slope = _median(
                west - ((now[x - 1] >> first) & 255), north - ((up[x] >> first) & 255), north_west - ((up[x - 1] >> first) & 255)
            )
            prediction = min(max((known >> (8 * (c - 1))) + slope, 0), 255)
        lively, activity = abs(west - north_west) + abs(north - north_west) + abs(north_east - north), 0
        while (1 << activity) <= lively and activity < ACTIVITIES - 1:
            activity += 1
        own = hashed(known, c)
        bases = (
            own,
            hashed(own, now[x - 1]),
            hashed(own, up[x]),
            hashed(c + 100, prediction),
            hashed(hashed(c, west), hashed(north, north_east >> 2)),
            hashed(own, near),
        )
        predictions = (prediction, median)
        which = ((c * HISTOGRAMS) * ACTIVITIES + activity, (c * HISTOGRAMS + 1) * ACTIVITIES + activity)
        for h in range(HISTOGRAMS):
            total = 0
            for value in range(256):
                sums[h, value] = total
                total += histograms[which[h], (value - predictions[h]) & 255]
            sums[h, 256] = total
        sample, node = (pixel >> place) & 255, 1
        for k in range(7, -1, -1):
            low = (node << (k + 1)) & 255
            for h in range(HISTOGRAMS):
                middle, high = sums[h, low + (1 << k)], sums[h, low + (2 << k)]
                share = ((high - middle) * 4096 + 2048) // (high - sums[h, low])
                mixer.inputs[SAMPLE_CONTEXTS + h] = tables.stretch[min(max(share, 1), 4095)]
            for i in range(SAMPLE_CONTEXTS):
                mixer.chosen[i] = hashed(bases[i], node) & size
            first_set = c * 256 + node
            second_set = MAX_CHANNELS * 256 + (c * 8 + k) * 4 + (activity >> 1)
            third_set = MAX_CHANNELS * (256 + 32) + (c * 8 + k) * SAMPLE_CONTEXTS
            bit = (sample >> k) & 1
            bit = mixed(bit, mixer, more, first_set, second_set, third_set, first_set, tables, coder, stream, decoding, spent)
            node = node << 1 | bit
        sample = node & 255
        for h in range(HISTOGRAMS):
            histogram, residual = histograms[which[h]], sample - predictions[h]
            histogram[residual & 255] += 24
            histogram[(residual + 1) & 255] += 4
            histogram[(residual - 1) & 255] += 4
            if sums[h, 256] + 32 > HISTOGRAM_LIMIT:
                for value in range(256):
                    histogram[value] = (histogram[value] + 1) >> 1
        known = known << 8 | sample
    return known


@compiled
def code(planes, stream, decoding, guessing, sampling, histograms, followers, tables, costs, stopped):
    """Codes a band of (channels, height, width) planes into `stream`, or fills them from it; returns how many bytes that took.

    followers: the pixel that last followed some surroundings, by their hash, or -1. costs: empty, or takes the bits of each pixel.
    stopped: one number that another thread sets to make an end, as does a payload that is used up, or a stream that is full.
    """
    spent = np.zeros(min(1, costs.size))
    channels, height, width = planes.shape
    size, last_follower = guessing.counters.shape[1] - 1, len(followers) - 1
    coder = started(stream, decoding)
    sums = np.zeros((HISTOGRAMS, 257), np.int64)
    rows = np.zeros((3, width + 2 * PAD), np.int64)
    guesses = np.zeros(GUESSES, np.int64)
    missed = 0
    for y in range(height):
        if stopped[0] or coder[3] > len(stream) + 3:
            break
        for k in range(rows.shape[1]):
            rows[0, k], rows[1, k] = rows[1, k], rows[2, k]
        above, up, now = rows[0], rows[1], rows[2]
        for k in range(PAD):
            now[k] = up[PAD]
        for x in range(PAD, width + PAD):
            if coder[3] > len(stream) + 3:
                break
            west, north = now[x - 1], up[x]
            pair = hashed(west, north)
            six = hashed(hashed(pair, hashed(up[x - 1], up[x + 1])), hashed(now[x - 2], above[x]))
            ten = hashed(six, hashed(hashed(above[x + 1], up[x + 2]), hashed(up[x - 2], above[x - 1])))
            sixteen = hashed(hashed(now[x - 3], now[x - 4]), hashed(hashed(up[x + 3], up[x - 3]), hashed(above[x - 2], above[x + 2])))
            sixteen = hashed(ten, sixteen)
            guesses[0], guesses[1], guesses[2] = followers[sixteen & last_follower], west, north
            guesses[3] = _continued(west, north, up[x - 1], channels)
            guesses[4] = _continued(north, north, above[x], channels)
            shape = int(west == north) | int(north == up[x + 1]) << 1 | int(up[x - 1] == north) << 2 | int(west == up[x - 1]) << 3
            shape |= int(now[x - 2] == west) << 4 | int(above[x] == north) << 5 | int(up[x + 2] == up[x + 1]) << 6
            shape |= int(west == up[x + 1]) << 7
            pixel = -1
            if not decoding:
                pixel = 0
                for c in range(channels):
                    pixel = pixel << 8 | np.int64(planes[c, y, x - PAD])
            found, tried = False, 0
            for s in range(GUESSES):
                guess = guesses[s]
                if found or guess < 0 or _among(guess, guesses, s):
                    continue
                agree = 0
                for t in range(s + 1, GUESSES):
                    agree |= int(guesses[t] == guess) << t
                turn = s * 16 + tried
                key = hashed(turn, guess)
                situation = hashed(turn, agree)
                guessing.chosen[0] = hashed(situation, shape) & size
                guessing.chosen[1] = hashed(pair, key) & size
                guessing.chosen[2] = hashed(six, key) & size
                guessing.chosen[3] = hashed(ten, key) & size
                guessing.chosen[4] = hashed(situation, 256 + missed) & size
                guessing.chosen[5] = hashed(sixteen, key) & size
                first, second = s * 16 + missed, GUESSES * 16 + s * 256 + shape
                third = GUESSES * (16 + 256) + s * GUESS_CONTEXTS
                bit = int(pixel == guess)
                if mixed(bit, guessing, np.int64(0), first, second, third, s * 256 + shape, tables, coder, stream, decoding, spent):
                    found, pixel = True, guess
                tried |= 1 << s
            if not found:
                pixel = _samples(pixel, rows, x, channels, sampling, histograms, sums, tables, coder, stream, decoding, spent)
            if decoding:
                for c in range(channels):
                    planes[c, y, x - PAD] = (pixel >> (8 * (channels - 1 - c))) & 255
            if guesses[0] >= 0:
                missed = (missed << 1 | int(guesses[0] != pixel)) & 15
            followers[sixteen & last_follower] = pixel
            now[x] = pixel
            if len(spent):
                costs[y, x - PAD] = spent[0]
                spent[0] = 0
        for k in range(width + PAD, width + 2 * PAD):
            now[k] = now[width + PAD - 1]
    return ended(coder, stream, decoding)
