"""The network's prediction of one coefficient, in whole numbers; compiled by numba, or run as it stands.

Its first layer sees features of what is known around the coefficient, each times a gain of its own for every place, and every layer has
scales and offsets of its own for every place. A place is a position in a block of one kind of plane, or the end of such a block.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codec.jit import part
from codec.mixing.kernel import LIMIT

KINDS = 3  # of planes: luma, first and second chroma
FEATURES = 92
WIDTH = 96  # inputs of a layer, some of which may be unused
ACTIVE = 511  # the largest
NETWORK_THRESHOLDS = 11  # of a magnitude, about which the network knows
OUTPUTS = 2 + 2 * NETWORK_THRESHOLDS  # logits: is it not 0, has it the other sign; is it above each threshold, for both signs
END_PLACE = KINDS * 64  # and the two behind it
PLACES = END_PLACE + KINDS


class Network(NamedTuple):
    """gains: (PLACES, FEATURES); of each of three layers the weights, (outputs, WIDTH), and multipliers and offsets,
    (PLACES, outputs). Without a network all of them are empty."""

    gains: npt.NDArray[np.int16]
    first: npt.NDArray[np.int16]
    first_multiplier: npt.NDArray[np.int16]
    first_offset: npt.NDArray[np.int32]
    second: npt.NDArray[np.int16]
    second_multiplier: npt.NDArray[np.int16]
    second_offset: npt.NDArray[np.int32]
    third: npt.NDArray[np.int16]
    third_multiplier: npt.NDArray[np.int16]
    third_offset: npt.NDArray[np.int32]


class Work(NamedTuple):
    """Room for one run of the network: the features, (FEATURES,), what each layer takes, (WIDTH,), and the logits in 1/256, (OUTPUTS,)."""

    features: npt.NDArray[np.int16]
    scaled: npt.NDArray[np.int16]
    first: npt.NDArray[np.int16]
    second: npt.NDArray[np.int16]
    logits: npt.NDArray[np.int64]


@part
def _layer(inputs, weights, multiplier, offset, least, most, outputs):
    """outputs = the sums of inputs times weights, scaled. Sums are below 2^24, so that nothing exceeds 31 bits."""
    for j in range(len(outputs)):
        total = np.int32(0)
        for i in range(WIDTH):
            total = np.int32(total + np.int32(np.int32(weights[j, i]) * np.int32(inputs[i])))  # of 32 bits, for speed
        outputs[j] = min(max(((np.int64(total) >> 8) * np.int64(multiplier[j]) + offset[j]) >> 14, least), most)


@part
def predict(place, network, work):
    """The logits of the decisions about one coefficient, from its features."""
    for i in range(FEATURES):
        work.scaled[i] = min(max((np.int64(work.features[i]) * np.int64(network.gains[place, i]) + 32) >> 6, -ACTIVE), ACTIVE)
    n = network
    _layer(work.scaled, n.first, n.first_multiplier[place], n.first_offset[place], 0, ACTIVE, work.first[: len(n.first)])
    _layer(work.first, n.second, n.second_multiplier[place], n.second_offset[place], 0, ACTIVE, work.second[: len(n.second)])
    _layer(work.second, n.third, n.third_multiplier[place], n.third_offset[place], -LIMIT, LIMIT, work.logits)
