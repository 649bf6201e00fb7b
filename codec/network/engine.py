"""What runs an integer network: the interface of all engines, and the types of what goes in and out.

An engine is a network in a form that runs: plain torch on any device, which defines what is right, or kernels on the CPU, which give the
same integers faster and need no torch; `codec.network.engines` chooses. The encoder has an engine look at whole tiles, the decoder take one
position of many tiles at a time.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from codec.network.config import ModelConfig
from codec.tiling.planes import Kind
from codec.tiling.tiles import Known, TileSamples

Rows = npt.NDArray[np.int8]
Tokens = npt.NDArray[np.int32]
Tables = npt.NDArray[np.int32]  # of frequencies, (..., 256)
Impossible = npt.NDArray[np.bool_]  # (..., 256): tokens that get no more than the least frequency


KERNELS = "compiled kernels"  # the name of an engine


def plain_torch(device: str) -> str:
    """The name of another, by its device, cpu or cuda."""
    return "plain torch on CUDA" if device == "cuda" else "plain torch on the CPU"


class Seen(NamedTuple):
    """What an engine makes of whole tiles.

    hidden: (tiles, positions, n_embd) int8, -127 to 127. Of each channel: features, what its head reads beside that, (tiles, positions,
    HEAD_FEATURES) int8, -127 to 127; tokens, (tiles, positions) int32, 0 to 255.
    """

    hidden: Rows
    features: list[Rows]
    tokens: list[Tokens]


class Reading(NamedTuple):
    """The words of several groups, whose tiles lie one behind the other, and what is learnt of them.

    bounds: (groups, 2) int64, each group's tiles are those from one to before the other; states, numbers, words: as of `words.Decoders`;
    learns: (groups), of which something is learnt in this turn; factors, weights, seen, touched: as of `learning.Learnt`; powers: of two;
    halves, pairs: (tiles) int64, (tiles, 256) int32, for what the kernels know of a token.
    """

    bounds: npt.NDArray[np.int64]
    states: npt.NDArray[np.uint64]
    numbers: npt.NDArray[np.int64]
    words: npt.NDArray[np.uint32]
    learns: npt.NDArray[np.bool_]
    factors: npt.NDArray[np.int32]
    weights: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int64]
    touched: npt.NDArray[np.bool_]
    powers: npt.NDArray[np.int64]
    halves: npt.NDArray[np.int64]
    pairs: npt.NDArray[np.int32]


Read = Callable[[Reading, Impossible | None, npt.NDArray[np.bool_]], int]


class Steps(Protocol):
    """Tiles of a kind, all of them at the same position: `go_to` it once, then for each channel `begin` and `accept`.

    Every array that it gives is valid until the next call.
    """

    def go_to(self, position: int) -> None:
        """Runs the layers there. Positions from 0 on, one after the other."""

    def begin(self, channel: int) -> None:
        """Channels from 0 on, in coding order; what follows is about this one."""

    @property
    def predictions(self) -> npt.NDArray[np.int32]:
        """(tiles), 0 to 255: what the channel's tokens are residuals to."""

    def frequencies(self, impossible: Impossible | None) -> Tables:
        """(tiles, 256), each 1 or more, each row summing to 2^24. impossible: (tiles, 256), or None for none."""

    @property
    def read(self) -> Read | None:
        """All at once, where an engine can: reads the channel's tokens of those tiles that exist, and accepts them. Called with the words,
        what is impossible, as above, and which exist (tiles). Returns the number of the first group that fails, or -1."""

    def accept(self, tokens: Tokens, exist: npt.NDArray[np.bool_]) -> None:
        """Takes the channel's tokens (tiles), 0 to 255; where the position does not exist (tiles), the sample to its left."""

    @property
    def accepted(self) -> npt.NDArray[np.int32]:
        """(tiles), 0 to 255: the channel's samples, where tokens were accepted."""

    def samples(self) -> TileSamples:
        """(tiles, channels, POSITIONS) uint8, of which those of the positions so far count."""


class Engine(Protocol):
    """An integer network in a form that runs. All engines of a network give the same integers."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def device(self) -> str:
        """cpu or cuda."""

    @property
    def config(self) -> ModelConfig:
        """Of the network."""

    @property
    def at_once(self) -> int:
        """How many threads may call it."""

    def see(self, kind: Kind, samples: TileSamples, around: Known, count: int) -> Seen:
        """The parallel pass over (tiles, channels, POSITIONS) uint8 samples, of their first `count` positions, whole rows of tiles."""

    def frequencies(self, kind: Kind, hidden: Rows, features: list[Rows], impossible: list[Impossible] | None) -> Tables:
        """(n, tiles, n_embd) hidden states and each channel's features (n, tiles, HEAD_FEATURES) -> (n, channels, tiles, 256), each 1 or
        more, each row summing to 2^24. impossible: of each channel, (n, tiles, 256), or None for none."""

    def steps(self, kind: Kind, around: Known) -> Steps:
        """Of tiles before their first position."""
