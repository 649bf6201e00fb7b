"""What a way of coding is: a method, with one interface for all who compress, decompress, check, analyse or describe.

A method codes *samples*, (height, width, channels) of 8 or 16 bits, as a *coding* (its number, variant and fields) and *chunks*.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from bitstream.container import Coding
from bitstream.errors import IgptError
from bitstream.reader import Reader
from codec.box import Box, whole
from codec.models import level_of
from codec.network.layers import Request
from codec.options import Options
from codec.pasts.past import Past, recognised
from codec.progress import Progress, ignore
from codec.threads import lasting
from codec.tiling.planes import Planes

if TYPE_CHECKING:
    from codec.inside.antecedent import Antecedent

Samples = npt.NDArray[Any]  # (height, width, channels), uint8 or uint16
Bits = dict[str, npt.NDArray[np.float32]]  # of each pixel, (height, width), by what they are spent on
Decoding = Generator[Request, Planes, Samples]  # asks for layers of a network, is sent their planes, and ends with the samples


@dataclass(frozen=True)
class Source:
    """What is to be coded, and how it may be.

    samples: (height, width, channels), uint8 or uint16, of `depth` bits. indices: whether they are no brightnesses, or have few bits.
    original: whether they are the picture's own, in which a past shows. alpha: whether they are no colours, but how opaque these are. kept:
    whether they are the bytes of a file, (1, bytes, 1). antecedent: the JPEG that colours and greys are known to be of.
    """

    samples: Samples
    depth: int = 8
    options: Options = field(default_factory=Options)
    indices: bool = False
    original: bool = True
    alpha: bool = False
    kept: bool = False
    antecedent: "Antecedent | None" = None

    @property
    def pixels(self) -> int:
        return int(self.samples.shape[0] * self.samples.shape[1])

    @lasting
    def _pasts(self) -> list[Past | None]:
        return []

    def past(self, progress: Progress) -> Past | None:
        """Of samples of 8 bits and 3 channels, if there is one; looked for once. progress: called with 0, now and then."""
        if self.samples.shape[2] != 3:
            return None
        if not self._pasts:
            self._pasts.append(recognised(self.samples, progress))
        return self._pasts[0]


class Coded(NamedTuple):
    """A picture, coded. made_of: what the method's check and costs need to know of it."""

    coding: Coding
    chunks: Sequence[bytes]
    made_of: Any = None

    @property
    def size(self) -> int:
        """In bytes, without what every file has."""
        return len(self.coding.fields) + sum(map(len, self.chunks)) + BYTES_PER_CHUNK * (len(self.chunks) - 1)


BYTES_PER_CHUNK = 6  # its checksum and its length, about


class Candidate(ABC):
    """A way in which a method offers to code a source. settled: nothing else is worth a trial; exact: its size is known to be what `coded`
    has."""

    settled: bool = False
    exact: bool = False

    @lasting
    def size(self) -> float:
        """In bytes, as `estimate` says, once."""
        return self.estimate()

    @abstractmethod
    def estimate(self) -> float:
        """In bytes, as far as can be told without coding all of a large picture."""

    @abstractmethod
    def coded(self, progress: Progress) -> Coded: ...


class Ready(Candidate):
    """What has been coded already."""

    exact = True

    def __init__(self, coded: Coded, pixels: int, settled: bool = False) -> None:
        self._coded, self._pixels, self.settled = coded, pixels, settled

    def estimate(self) -> float:
        return float(self._coded.size)

    def coded(self, progress: Progress) -> Coded:
        progress(self._pixels)
        return self._coded


class Part(NamedTuple):
    """What a file has of one coding. depth: bits per sample; those of fewer than 8 have a byte each where they are decoded. chunks:
    payloads; none where only the beginning of the file is known. wanted: of its pixels, where not all are."""

    width: int
    height: int
    channels: int
    depth: int
    coding: Coding
    chunks: Sequence[bytes] = ()
    wanted: Box | None = None

    @property
    def box(self) -> Box:
        """Of the pixels that are wanted."""
        return self.wanted or whole(self.width, self.height)

    def cut(self, samples: Samples) -> Samples:
        """What is wanted of (height, width, channels) samples of all pixels."""
        return samples[self.box.rows, self.box.columns]


class ModelName(NamedTuple):
    """As a file names a model. name: for people; empty for those that ship with igpt."""

    digest: bytes
    name: str = ""


class Method(ABC):
    """number: in the file; name: for people; variants: how many it has; of_files: whether it codes the bytes of kept
    files, or pictures, or both."""

    number: ClassVar[int]
    name: ClassVar[str]
    variants: ClassVar[int] = 1
    of_files: ClassVar[tuple[bool, ...]] = (False,)

    @abstractmethod
    def offer(self, source: Source, progress: Progress) -> Sequence[Candidate]:
        """Ways to code it, if there are any. progress: called with 0, now and then."""

    def least_bytes(self, part: Part) -> Iterator[int]:
        """Of the payload of each chunk that the part must have, in turn. Raises DamagedError where its fields are wrong."""
        yield 0

    def layer_samples(self, part: Part) -> int:
        """How many a decoder goes through for what is wanted, in all layers, of each plane one."""
        return part.box.pixels

    @abstractmethod
    def decoding(self, part: Part, options: Options, progress: Progress) -> Decoding:
        """The (height, width, channels) samples that are wanted, in the end. Raises DamagedError, ModelError."""

    @abstractmethod
    def check(self, part: Part, coded: Coded, samples: Samples, progress: Progress) -> None:
        """Decodes how each chunk begins, and compares. part: as it was read again. Raises IgptError where it is not the samples."""

    def costs(self, coded: Coded, samples: Samples, progress: Progress = ignore) -> Bits:
        """Where the bits go. progress: called with the number of pixels just done."""
        height, width, _ = samples.shape
        progress(height * width)
        return {"all": np.full((height, width), 8 * coded.size / (height * width), np.float32)}

    def description(self, part: Part) -> str:
        """For people."""
        return self.name

    def models(self, part: Part) -> list[ModelName]:
        """That it names."""
        return []

    def level(self, part: Part) -> str:
        """At which it was made; empty where nobody can tell, or all levels do the same."""
        return level_of(model.digest for model in self.models(part))

    def engine(self, part: Part, options: Options) -> str | None:
        """The name of what runs its network; None where it has none."""
        return None


class DirectMethod(Method):
    """One that needs no layers of a network to decode."""

    @abstractmethod
    def decode(self, part: Part, progress: Progress) -> Samples:
        """The (height, width, channels) samples that are wanted. Raises DamagedError, ModelError."""

    def decoding(self, part: Part, options: Options, progress: Progress) -> Decoding:
        return self.decode(part, progress)
        yield


def fields_reader(part: Part) -> Reader:
    return Reader(part.coding.fields, "the fields of its coding")


def require_same(holds: bool, what: str) -> None:
    """Of a check. Raises IgptError."""
    if not holds:
        raise IgptError(what)
