"""Several networks that code together: each gives its frequencies, and the mean of them counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitstream.constants import FREQUENCY_TOTAL
from codec.network.config import ModelConfig
from codec.network.engine import Engine, Impossible, Rows, Seen, Steps, Tables, Tokens
from codec.network.model import IntegerImageGPT
from codec.tiling.context import CENTRE
from codec.tiling.planes import Kind
from codec.tiling.tiles import Known, TileSamples


@dataclass(frozen=True)
class Ensemble:
    """members: networks of one layout, on one device, that learn."""

    members: tuple[IntegerImageGPT, ...]

    @property
    def config(self) -> ModelConfig:
        """Of the first, which the others share as far as others than their engines have to know it."""
        return self.members[0].config

    @property
    def device(self) -> str:
        return self.members[0].device

    @property
    def name(self) -> str:
        """For people."""
        return " and ".join(member.name for member in self.members)


Networks = IntegerImageGPT | Ensemble


def members_of(networks: Networks) -> tuple[IntegerImageGPT, ...]:
    return networks.members if isinstance(networks, Ensemble) else (networks,)


def mean(tables: Sequence[Tables]) -> Tables:
    """Of frequencies (..., 256), which sum to 2^24 again: what rounding down leaves is the middle token's."""
    found: Tables = sum(tables[1:], tables[0]) // len(tables)
    found[..., CENTRE] += FREQUENCY_TOTAL - found.sum(-1, dtype=np.int32)
    return found


class EnsembleEngine:
    """An `engine.Engine` of an ensemble, given those of its members. Its hidden states are theirs, one behind the other."""

    def __init__(self, members: Sequence[Engine]) -> None:
        self.members, first = members, members[0]
        self.name, self.device, self.config = first.name, first.device, first.config
        self.at_once = min(member.at_once for member in members)
        self.ends = np.cumsum([member.config.n_embd for member in members])[:-1]

    def see(self, kind: Kind, samples: TileSamples, around: Known, count: int) -> Seen:
        seen = [member.see(kind, samples, around, count) for member in self.members]
        return Seen(np.concatenate([of.hidden for of in seen], -1), seen[0].features, seen[0].tokens)

    def frequencies(self, kind: Kind, hidden: Rows, features: list[Rows], impossible: list[Impossible] | None) -> Tables:
        parts = zip(self.members, np.split(hidden, self.ends, -1), strict=True)
        return mean([member.frequencies(kind, part, features, impossible) for member, part in parts])

    def steps(self, kind: Kind, around: Known) -> "EnsembleSteps":
        return EnsembleSteps([member.steps(kind, around) for member in self.members])


class EnsembleSteps:
    """The `engine.Steps` of an EnsembleEngine, given those of its members."""

    read = None

    def __init__(self, members: Sequence[Steps]) -> None:
        self.members, self.first = members, members[0]

    def go_to(self, position: int) -> None:
        for member in self.members:
            member.go_to(position)

    def begin(self, channel: int) -> None:
        for member in self.members:
            member.begin(channel)

    @property
    def predictions(self) -> npt.NDArray[np.int32]:
        return self.first.predictions

    def frequencies(self, impossible: Impossible | None) -> Tables:
        return mean([member.frequencies(impossible) for member in self.members])

    def accept(self, tokens: Tokens, exist: npt.NDArray[np.bool_]) -> None:
        for member in self.members:
            member.accept(tokens, exist)

    @property
    def accepted(self) -> npt.NDArray[np.int32]:
        return self.first.accepted

    def samples(self) -> TileSamples:
        return self.first.samples()
