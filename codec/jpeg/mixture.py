"""The decisions about coefficients: adaptive counters and a network's prediction, mixed; compiled by numba, or run as it stands.

This is the mixture of `codec.mixing.kernel` with tables that are indexed, not hashed: a context's decisions about one coefficient lie side
by side.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codec.jit import part
from codec.mixing.kernel import COUNT_BITS, COUNTER_BITS, LIMIT, MOST_COUNT, ONE, PROBABILITY_BITS, STEPS, coded

NODES = 32  # decisions about one coefficient, of which each has a counter in every context
CONTEXTS = 12
ALONE_CONTEXTS = 7  # the first ones, which are all that there are without a network
PREDICTED = 6  # the one of the network's prediction
SITUATIONS = 256  # of one context
INPUTS = CONTEXTS + 2  # of the mixture: the counters, the network's prediction and a constant
WEIGHT_LIMIT = (8 << PROBABILITY_BITS) - 1
RATE_BITS = 14
MOST_USES = 4095  # of a set of weights, that are counted
HALF = 1 << (COUNTER_BITS - 1)

END_SLOTS = 256  # of one situation
SLOTS = 2 * 64 * SITUATIONS * NODES + 2 * SITUATIONS * END_SLOTS
FIRST_SETS = 2 * 64 * NODES + 2 * END_SLOTS
SECOND_SETS = 2 * 16 * 16 * NODES + 2 * END_SLOTS * 16
RARE = 68 * 64


class State(NamedTuple):
    """What is learned.

    counters: (CONTEXTS or ALONE_CONTEXTS, SLOTS), 0 for one that was never used; weights: (FIRST_SETS + SECOND_SETS, INPUTS + 1), behind
    those of a set how often it was used; rates: by that, how fast it learns, in 1/256; refined: (FIRST_SETS, STEPS + 1); rare: counters of
    decisions that are not mixed; bases: places of the present coefficient's counters in each context; inputs: of the mixture.
    """

    counters: npt.NDArray[np.uint32]
    weights: npt.NDArray[np.int32]
    rates: npt.NDArray[np.int64]
    refined: npt.NDArray[np.int64]
    rare: npt.NDArray[np.uint32]
    bases: npt.NDArray[np.int64]
    inputs: npt.NDArray[np.int32]


@part
def learned(counter, bit, rate):
    """The counter after one more decision."""
    count, known = counter & ((1 << COUNT_BITS) - 1), (counter >> COUNT_BITS) ^ HALF
    known += (((bit << COUNTER_BITS) - known) * rate[count]) >> 16
    known = min(max(known, 1), (1 << COUNTER_BITS) - 1)
    return (known ^ HALF) << COUNT_BITS | min(count + 1, MOST_COUNT)


@part
def simple(bit, at, state, tables, coder, stream, decoding, spent):
    """One decision by a counter alone. Returns the bit."""
    counter = np.int64(state.rare[at])
    probability = min(max(((counter >> COUNT_BITS) ^ HALF) >> (COUNTER_BITS - PROBABILITY_BITS), 32), ONE - 32)
    bit = coded(bit, probability, coder, stream, decoding, spent)
    state.rare[at] = learned(counter, bit, tables.rate)
    return bit


@part
def decided(bit, node, logit, first, second, state, tables, coder, stream, decoding, spent):
    """One decision by all counters at `bases` + node and the network's logit, mixed by two sets of weights. Returns the bit."""
    counters, weights, rates, refined, _, bases, inputs = state
    for i in range(len(counters)):
        counter = np.int64(counters[i, bases[i] + node])
        known = ((counter >> COUNT_BITS) ^ HALF) >> (COUNTER_BITS - 12)
        inputs[i] = (tables.stretch[known] * tables.trust[counter & ((1 << COUNT_BITS) - 1)]) >> 8
    inputs[CONTEXTS], inputs[CONTEXTS + 1] = logit, 256
    one, two = weights[first], weights[FIRST_SETS + second]
    sum_one, sum_two = np.int32(0), np.int32(0)
    for i in range(INPUTS):
        sum_one += np.int32(np.int32(one[i] * inputs[i]) >> 8)
        sum_two += np.int32(np.int32(two[i] * inputs[i]) >> 8)
    total_one = min(max(np.int64(sum_one) >> 8, -LIMIT), LIMIT)
    total_two = min(max(np.int64(sum_two) >> 8, -LIMIT), LIMIT)
    total = (total_one + total_two) >> 1
    place = (total + LIMIT + 1) * STEPS
    step, part = place // (2 * LIMIT + 2), place % (2 * LIMIT + 2)
    map_ = refined[first]
    better = (map_[step] * (2 * LIMIT + 2 - part) + map_[step + 1] * part) // (2 * LIMIT + 2)
    probability = min(max((tables.squash[total + LIMIT] + better) >> 1, 1), ONE - 1)
    bit = coded(bit, probability, coder, stream, decoding, spent)
    target = bit << PROBABILITY_BITS
    wrong_one = np.int32(((target - tables.squash[total_one + LIMIT]) * rates[one[INPUTS]]) >> 8)
    wrong_two = np.int32(((target - tables.squash[total_two + LIMIT]) * rates[two[INPUTS]]) >> 8)
    one[INPUTS] = min(one[INPUTS] + 1, MOST_USES)
    two[INPUTS] = min(two[INPUTS] + 1, MOST_USES)
    for i in range(INPUTS):
        change_one = np.int32(np.int32(inputs[i] * wrong_one + (1 << (RATE_BITS - 1))) >> RATE_BITS)
        change_two = np.int32(np.int32(inputs[i] * wrong_two + (1 << (RATE_BITS - 1))) >> RATE_BITS)
        one[i] = min(max(np.int32(one[i] + change_one), -WEIGHT_LIMIT), WEIGHT_LIMIT)
        two[i] = min(max(np.int32(two[i] + change_two), -WEIGHT_LIMIT), WEIGHT_LIMIT)
    for i in range(len(counters)):
        at = bases[i] + node
        counters[i, at] = learned(np.int64(counters[i, at]), bit, tables.rate)
    nearest = step + (1 if 2 * part > 2 * LIMIT + 2 else 0)
    map_[nearest] += (target - map_[nearest]) >> 6
    return bit
