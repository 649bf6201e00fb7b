"""What a file should take: the sum of -log2(frequency / 2^24) of everything that is coded in it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codec.compression import Compressed
from codec.methods import method_of
from codec.methods import network as networks
from codec.methods import past as pasts
from codec.methods.method import Coded, Samples
from codec.network.costs import layer_costs
from codec.network.layers import Layer


class Theory(NamedTuple):
    """bytes: of the payloads, without what the range coder adds. outliers: of them, those of a past's outliers, which are counted as they
    are. layers: what a network codes, if one does; ranks: how many tokens had how many likelier ones, (256,)."""

    bytes: float
    outliers: int
    layers: Sequence[Layer]
    ranks: npt.NDArray[np.int64]


def theory_of(found: Compressed) -> Theory:
    """Of all parts of a file."""
    parts = [_of_part(part, samples) for part, samples in zip(found.parts, found.samples, strict=True)]
    layers = [layer for part in parts for layer in part.layers]
    ranks: npt.NDArray[np.int64] = np.sum([part.ranks for part in parts], 0)
    return Theory(sum(part.bytes for part in parts), sum(part.outliers for part in parts), layers, ranks)


def _of_part(part: Coded, samples: Samples) -> Theory:
    made_of = part.made_of
    if not isinstance(made_of, networks.MadeOf | pasts.MadeOf):
        bits = method_of(part.coding).costs(part, samples)
        return Theory(sum(float(some.sum(dtype=np.float64)) for some in bits.values()) / 8, 0, (), np.zeros(256, np.int64))
    costs = [layer_costs(made_of.network, layer) for layer in made_of.layers]
    outliers = len(part.chunks[0]) if isinstance(made_of, pasts.MadeOf) and len(made_of.past.positions) else 0
    ranks: npt.NDArray[np.int64] = np.sum([np.bincount(some.ranks.ravel(), minlength=256) for some in costs], 0)
    return Theory(sum(some.total for some in costs) / 8 + outliers, outliers, made_of.layers, ranks)
