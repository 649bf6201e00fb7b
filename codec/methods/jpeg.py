"""JPEG files, byte for byte: the coefficients of the pictures in them, and all other bytes."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from typing import NamedTuple

import numpy as np

from bitstream.container import Coding, require
from bitstream.reader import varint
from codec.jpeg import coefficients, rest
from codec.jpeg.coefficients import Plane
from codec.jpeg.entropy import Coefficients
from codec.jpeg.file import MOST_PICTURES, Place, joined, pictures_in, place_from, skeleton
from codec.jpeg.network import CoefficientNetwork
from codec.jpeg.picture import BLOCK, Taken, Walk, walk
from codec.jpeg.words import described
from codec.methods.method import Candidate, Coded, Decoding, ModelName, Part, Samples, Source, fields_reader, require_same
from codec.methods.network import (
    ALONE,
    MethodOfCoefficients,
    chosen_for_coefficients,
    for_coefficients,
    model_to_bytes,
    name_in_file,
    take_model,
)
from codec.options import Options
from codec.progress import Progress, heartbeat, ignore, scaled

FRONT_BYTES = 1 << 20  # of the rest; what more there is has a chunk


class Fields(NamedTuple):
    """places: of the pictures; model: that codes their coefficients, None where there are none, or none does; size: of the beginning of the
    rest, in bytes, which is `packed`; behind: whether there is more of it."""

    places: Sequence[Place]
    model: ModelName | None
    size: int
    packed: bytes
    behind: bool

    def to_bytes(self) -> bytes:
        numbers = varint(len(self.places) << 1 | self.behind) + varint(self.size)
        model = model_to_bytes(self.model) if self.model else b""
        return numbers + b"".join(place.to_bytes() for place in self.places) + model + self.packed

    @property
    def front(self) -> bytes:
        """The beginning of the rest. Raises DamagedError."""
        return rest.unpack(self.packed, self.size)


class MadeOf(NamedTuple):
    """network: None where there are no coefficients, or these are coded without one."""

    network: CoefficientNetwork | None
    pictures: Sequence[Taken]


class _Candidate(Candidate):
    def __init__(self, source: Source) -> None:
        self._options, self._bytes = source.options, source.pixels
        self._pictures, self._left = pictures_in(source.samples.tobytes())
        self._coded: Coded | None = None

    def estimate(self) -> float:
        """All is coded, and kept."""
        self._coded = self.coded(ignore)
        return float(self._coded.size)

    def coded(self, progress: Progress) -> Coded:
        if self._coded:
            progress(self._bytes)
            return self._coded
        pictures, left = self._pictures, self._left
        network = chosen_for_coefficients(self._options) if pictures else None
        variant = ALONE if pictures and not network else 0
        places, chunks = list[Place](), [rest.pack(left[FRONT_BYTES:])] if len(left) > FRONT_BYTES else []
        update = scaled(progress, self._bytes, sum(taken.coefficients.size for _, taken in pictures))
        for start, taken in pictures:
            payloads = coefficients.encode(planes_of(taken.walk, taken.coefficients), network, update)
            places.append(Place(start, taken.code, len(payloads), taken.unusual))
            chunks += payloads
        model = name_in_file(network) if network else None
        fields = Fields(places, model, min(len(left), FRONT_BYTES), rest.pack(left[:FRONT_BYTES]), len(left) > FRONT_BYTES)
        made_of = MadeOf(network, [taken for _, taken in pictures])
        return Coded(Coding(JpegFiles.number, variant, fields.to_bytes()), chunks or [b""], made_of)


class JpegFiles(MethodOfCoefficients):
    number = 6
    name = "JPEG file"
    of_files = (True,)

    def offer(self, source: Source, progress: Progress) -> Sequence[Candidate]:
        return [_Candidate(source)]

    def fields(self, part: Part) -> Fields:
        """Raises DamagedError."""
        reader = fields_reader(part)
        first, size = reader.varint(), reader.varint()
        require(first >> 1 <= MOST_PICTURES and size <= FRONT_BYTES, "its pictures are too many")
        places = [place_from(reader) for _ in range(first >> 1)]
        beside = part.width - size - sum(place.code for place in places)
        require(beside > 0 if first & 1 else beside == 0, "its parts have more bytes than it, or fewer")
        return Fields(
            places,
            take_model(reader) if places and part.coding.variant != ALONE else None,
            size,
            reader.take(reader.remaining),
            bool(first & 1),
        )

    def least_bytes(self, part: Part) -> Iterator[int]:
        fields = self.fields(part)
        chunks = fields.behind + sum(place.chunks for place in fields.places)
        for _ in range(chunks):
            yield 1
        if not chunks:
            yield 0

    def _rest(self, part: Part) -> bytes:
        """Of the file. Raises DamagedError."""
        fields = self.fields(part)
        if not fields.behind:
            return fields.front
        behind = part.width - fields.size - sum(place.code for place in fields.places)
        return fields.front + rest.unpack(part.chunks[0], behind)

    def _joined(self, part: Part, options: Options, progress: Progress, first: int = 0) -> bytes:
        """The file; with another `first` without the code of the pictures before that one. progress: goes with the first picture, which is
        nearly always the largest."""
        fields, chunks = self.fields(part), part.chunks
        network = for_coefficients(fields.model, options) if fields.model else None
        ends = [*accumulate((place.chunks for place in fields.places), initial=int(fields.behind))]
        require(ends[-1] > 0 or chunks[0] == b"", "its only chunk is not empty")

        def decode(found: Walk, number: int) -> Coefficients:
            sizes = [(c.rows, c.stride) for c in found.frame.components]
            payloads = chunks[ends[number] : ends[number + 1]]
            require(len(payloads) == coefficients.bands(sizes, network is None), "a JPEG in it has another number of chunks")
            values = BLOCK * sum(rows * columns for rows, columns in sizes)
            update = heartbeat(progress) if number else scaled(progress, part.width, values)
            planes = coefficients.decode(payloads, sizes, found.steps, network, update)
            blocks = np.empty((found.frame.blocks, BLOCK), np.int16)
            for component in found.frame.components:  # each plane is let go before the next one takes memory
                plane = planes.pop(0).reshape(-1, BLOCK)
                blocks[component.first : component.first + len(plane)] = plane
            return blocks

        return joined(self._rest(part), fields.places, decode, first)

    def decoding(self, part: Part, options: Options, progress: Progress) -> Decoding:
        data = self._joined(part, options, progress)
        if not self.fields(part).places:
            progress(part.width)
        return np.frombuffer(data, np.uint8).reshape(1, -1, 1)
        yield

    def header(self, part: Part, options: Options) -> bytes:
        """The file without the code of its own picture, the first: all that is known of that but its pixels. Raises DamagedError."""
        fields = self.fields(part)
        return self._joined(part, options, ignore, first=int(bool(fields.places) and fields.places[0].start == 0))

    def check(self, part: Part, coded: Coded, samples: Samples, progress: Progress) -> None:
        """That the coefficients give the file, as far as it was made of them; and how each chunk of them begins."""
        made_of: MadeOf = coded.made_of
        pictures = made_of.pictures
        fields = self.fields(part)
        found = joined(self._rest(part), fields.places, lambda _, number: pictures[number].coefficients)
        require_same(found == samples.tobytes(), "its bytes differ")
        chunks = iter(part.chunks[int(fields.behind) :])
        for place, taken in zip(fields.places, pictures, strict=True):
            payloads = [*islice(chunks, place.chunks)]
            wrong = coefficients.beginnings_differ(payloads, planes_of(taken.walk, taken.coefficients), made_of.network)
            require_same(not wrong, "its coefficients differ")

    def models(self, part: Part) -> list[ModelName]:
        model = self.fields(part).model
        return [model] if model else []

    def description(self, part: Part) -> str:
        fields = self.fields(part)
        what = described(walk(skeleton(fields.front, fields.places), 0))
        return ", ".join(("JPEG file", *what)) + "; comes back byte for byte"


def planes_of(found: Walk, blocks: Coefficients) -> list[Plane]:
    """Of each component."""
    return [
        Plane(steps, blocks[c.first : c.first + c.stride * c.rows].reshape(c.rows, c.stride, -1))
        for c, steps in zip(found.frame.components, found.steps, strict=True)
    ]
