"""The network's prediction of one coefficient, in whole numbers; compiled by numba, or run as it stands.

Its first layer sees features of what is known around the coefficient, each times a gain of its own for every place, and every layer has
scales and offsets of its own for every place. A place is a position in a block of one kind of plane, or the end of such a block.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codec.jit import interpreted, part
from codec.mixing.kernel import LIMIT

KINDS = 3  # of planes: luma, first and second chroma
FEATURES = 92
WIDTH = 96  # inputs of a layer, some of which may be unused
COLUMNS = 48  # sums made together, 3 * `vectors.LANES`
ACTIVE = 511  # the largest
NETWORK_THRESHOLDS = 11  # of a magnitude, about which the network knows
OUTPUTS = 2 + 2 * NETWORK_THRESHOLDS  # logits: is it not 0, has it the other sign; is it above each threshold, for both signs
END_PLACE = KINDS * 64  # and the two behind it
PLACES = END_PLACE + KINDS


class Layer(NamedTuple):
    """weights: (parts, pairs, COLUMNS, 2), of an even number of pairs of inputs for so many outputs, or fewer; multiplier and offset:
    (PLACES, outputs)."""

    weights: npt.NDArray[np.int16]
    multiplier: npt.NDArray[np.int16]
    offset: npt.NDArray[np.int32]


class Network(NamedTuple):
    """gains: (PLACES, FEATURES). Without a network all is empty."""

    gains: npt.NDArray[np.int16]
    first: Layer
    second: Layer
    third: Layer


def layer_of(weights: npt.NDArray[np.int16], multiplier: npt.NDArray[np.int16], offset: npt.NDArray[np.int32]) -> Layer:
    """weights: (outputs, inputs)."""
    outputs, inputs = weights.shape
    wide = np.zeros((-(-outputs // COLUMNS) * COLUMNS, -(-inputs // 4) * 4), np.int16)
    wide[:outputs, :inputs] = weights
    parts = wide.reshape(-1, COLUMNS, wide.shape[1] // 2, 2).swapaxes(1, 2)
    return Layer(*map(np.ascontiguousarray, (parts, multiplier, offset)))


class Work(NamedTuple):
    """Room for one run of the network: the features, (FEATURES,), what each layer takes, (WIDTH,), its sums, (WIDTH,), and the logits in
    1/256, (OUTPUTS,)."""

    features: npt.NDArray[np.int16]
    scaled: npt.NDArray[np.int16]
    first: npt.NDArray[np.int16]
    second: npt.NDArray[np.int16]
    sums: npt.NDArray[np.int32]
    logits: npt.NDArray[np.int64]


@part
def _layer(inputs, layer, place, least, most, sums, outputs):
    """outputs = the sums of inputs times weights, scaled. Sums are below 2^24."""
    pairs = layer.weights.shape[1]
    for k in range(len(layer.weights)):
        sums_of_pairs(inputs, pairs, layer.weights, 2 * k * pairs * COLUMNS, sums, k * COLUMNS)
    multiplier, offset = layer.multiplier[place], layer.offset[place]
    for j in range(len(multiplier)):
        outputs[j] = min(max(((np.int64(sums[j]) >> 8) * np.int64(multiplier[j]) + offset[j]) >> 14, least), most)


@part
def predict(place, network, work):
    """The logits of the decisions about one coefficient, from its features."""
    features, scaled, gains = work.features, work.scaled, network.gains[place]
    for i in range(FEATURES):
        product = np.int32(np.int32(features[i]) * np.int32(gains[i]))  # of 32 bits, for speed
        scaled[i] = min(max(np.int32(product + np.int32(32)) >> np.int32(6), np.int32(-ACTIVE)), np.int32(ACTIVE))
    _layer(scaled, network.first, place, 0, ACTIVE, work.sums, work.first)
    _layer(work.first, network.second, place, 0, ACTIVE, work.sums, work.second)
    _layer(work.second, network.third, place, -LIMIT, LIMIT, work.sums, work.logits)


def sums_of_pairs(inputs, count, weights, at, out, out_at):
    """As that of `codec.network.vectors`, which takes its place where it can."""
    rows = weights.reshape(-1, 2)[at // 2 :][: count * COLUMNS].reshape(count, COLUMNS, 2)
    out[out_at : out_at + COLUMNS] = (rows.astype(np.int32) * inputs[: 2 * count].reshape(count, 1, 2)).sum((0, 2))


plain_sums_of_pairs = sums_of_pairs
if not interpreted():
    from codec.network.vectors import sums_of_pairs
