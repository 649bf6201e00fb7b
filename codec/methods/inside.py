"""The JPEG that a decoded picture was: its coefficients, and the pixels that come out otherwise."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bitstream.constants import MAX_OUTLIER_SHARE
from bitstream.container import Coding, require
from bitstream.outliers import pack, unpack
from codec.inside.antecedent import DECODERS, Antecedent, Layout, Steps
from codec.inside.costs import estimated_bytes
from codec.inside.finding import inside
from codec.jpeg import coefficients, rest
from codec.jpeg.coefficients import Plane
from codec.jpeg.network import CoefficientNetwork
from codec.jpeg.picture import MOST_BLOCKS
from codec.jpeg.words import quality
from codec.methods.method import Bits, Candidate, Coded, Decoding, ModelName, Part, Samples, Source, fields_reader, require_same
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
from codec.pasts.chroma import Sampling
from codec.pasts.past import CERTAIN_PIXELS
from codec.progress import Progress, heartbeat, ignore, scaled

GREY = 7  # in the place of a filter's code: PhotoCD's, which no JPEG has
RING, OUTLIERS, COMMON = 0x08, 0x10, 0x20  # beside it; COMMON: both planes of chroma have the same steps
DECODER = 6  # bits below its code
BLOCK = 64
SEEN = 32  # pixels around one, in which everything lies that it is made of
MOST_SIDE = 65535  # of a JPEG
CERTAIN_STEP, CERTAIN_PART = 5, 200  # of luma, in the middle, and one pixel in so many wrong: planes never undercut that


class Fields(NamedTuple):
    """layout: where the blocks lie; steps: of each component; outliers: whether there are any; model: that codes, None where none
    does."""

    layout: Layout
    steps: Sequence[Steps]
    outliers: bool
    model: ModelName | None

    def to_bytes(self) -> bytes:
        sampling, steps = self.layout.sampling, [*self.steps]
        first = GREY if sampling is None else sampling.filter.code | (RING if sampling.ring else 0)
        first |= self.layout.decoder.code << DECODER | (OUTLIERS if self.outliers else 0)
        if len(steps) == 3 and np.array_equal(steps[1], steps[2]):
            first, steps = first | COMMON, steps[:2]
        tables = b"".join(table.astype(">u2").view(np.uint8).reshape(BLOCK, 2).T.tobytes() for table in steps)
        model = model_to_bytes(self.model) if self.model else b""
        return bytes((first, self.layout.top << 4 | self.layout.left)) + model + rest.pack(tables)


class MadeOf(NamedTuple):
    """network: None where the coefficients are coded without one."""

    network: CoefficientNetwork | None
    antecedent: Antecedent


class _Candidate(Candidate):
    def __init__(self, network: CoefficientNetwork | None, antecedent: Antecedent) -> None:
        self._network, self._antecedent, pixels = network, antecedent, antecedent.layout.height * antecedent.layout.width
        coarse = float(np.median(antecedent.steps[0])) >= CERTAIN_STEP
        self.settled = pixels >= CERTAIN_PIXELS and coarse and len(antecedent.positions) <= pixels // CERTAIN_PART
        channels = antecedent.corrections.shape[1]
        corrections = np.pad(antecedent.corrections, ((0, 0), (0, 3 - channels)))
        self._outliers = [pack(antecedent.positions, corrections)] if len(antecedent.positions) else []

    def estimate(self) -> float:
        return estimated_bytes(self._antecedent)

    def coded(self, progress: Progress) -> Coded:
        found = self._antecedent
        planes, pixels = planes_of(found), found.layout.height * found.layout.width
        update = scaled(progress, pixels, sum(plane.coefficients.size for plane in planes))
        payloads = coefficients.encode(planes, self._network, update)
        fields = Fields(found.layout, found.steps, bool(self._outliers), name_in_file(self._network) if self._network else None)
        return Coded(
            Coding(DecodedJpeg.number, 0 if self._network else ALONE, fields.to_bytes()),
            [*self._outliers, *payloads],
            MadeOf(self._network, found),
        )


class DecodedJpeg(MethodOfCoefficients):
    number = 7
    name = "decoded JPEG"

    def offer(self, source: Source, progress: Progress) -> Sequence[Candidate]:
        samples = source.samples
        right = source.original and not source.indices and not source.alpha and samples.dtype == np.uint8
        if not (source.options.past and right and samples.shape[2] in (1, 3) and max(samples.shape[:2]) <= MOST_SIDE):
            return []
        if source.antecedent:
            return [_Candidate(chosen_for_coefficients(source.options), source.antecedent)]
        past = source.past(progress)
        found = inside(samples, past, progress) if past or samples.shape[2] == 1 else None
        if found and blocks_of(found.layout) > MOST_BLOCKS:
            return []
        return [_Candidate(chosen_for_coefficients(source.options), found)] if found else []

    def fields(self, part: Part) -> Fields:
        """Raises DamagedError."""
        reader = fields_reader(part)
        first, place = reader.byte(), reader.byte()
        code, (top, left) = first & 7, divmod(place, 16)
        grey = code == GREY
        require(first >> DECODER < len(DECODERS), "its decoder is unknown")
        require(not (grey and first & (RING | COMMON)), "its blocks lie in an unknown way")
        decoder = DECODERS[first >> DECODER]
        require(max(part.width, part.height) <= MOST_SIDE, "no JPEG has such a side")
        require(part.depth <= 8 and part.channels == (1 if grey else 3), f"{part.channels} channels of {part.depth} bits are not coded so")
        sampling = None
        if not grey:
            filter_ = decoder.filters[code]
            sampling = Sampling(filter_, top % filter_.down, left % filter_.across, int(bool(first & RING)))
        down, across = (sampling.filter.down, sampling.filter.across) if sampling else (1, 1)
        require(top < 8 * down and left < 8 * across, "its blocks lie too far away")
        model = None if part.coding.variant == ALONE else take_model(reader)
        tables = 1 if grey else 2 if first & COMMON else 3
        raw = np.frombuffer(rest.unpack(reader.take(reader.remaining), 2 * BLOCK * tables), np.uint8).reshape(tables, 2, BLOCK)
        steps = [*(raw[:, 0].astype(np.int64) << 8 | raw[:, 1])]
        require(min(int(table.min()) for table in steps) > 0, "a step of it is 0")
        outliers = bool(first & OUTLIERS)
        require(not outliers or part.width * part.height >= MAX_OUTLIER_SHARE, "it is too small for outliers")
        layout = Layout(part.height, part.width, sampling, top, left, decoder)
        require(blocks_of(layout) <= MOST_BLOCKS, f"it has {blocks_of(layout):,} blocks, too many")
        return Fields(layout, steps + steps[1:] * (tables == 2), outliers, model)

    def least_bytes(self, part: Part) -> Iterator[int]:
        fields = self.fields(part)
        if fields.outliers:
            yield 1
        yield from coefficients.least_bytes(fields.layout.blocks, fields.model is None)

    def decoding(self, part: Part, options: Options, progress: Progress) -> Decoding:
        fields, chunks = self.fields(part), part.chunks
        network = for_coefficients(fields.model, options) if fields.model else None
        pixels = part.width * part.height
        positions, corrections = np.zeros(0, np.int64), np.zeros((0, 3), np.uint8)
        if fields.outliers:
            positions, corrections = unpack(chunks[0], pixels, pixels // MAX_OUTLIER_SHARE)
        layout = fields.layout
        seen, whole = part.box.grown(SEEN, part.width, part.height), part.wanted is None
        rows = slice((layout.top % 8 + seen.top) // 8, -(-(layout.top % 8 + seen.bottom) // 8))
        update = scaled(progress, pixels, BLOCK * blocks_of(layout)) if whole else heartbeat(progress)
        found = coefficients.decode(chunks[fields.outliers :], layout.blocks, fields.steps, network, update, rows)
        samples = Antecedent(layout, [*fields.steps], found, positions, corrections[:, : part.channels]).pixels(part.box)
        progress(0 if whole else part.box.pixels)
        return samples
        yield

    def check(self, part: Part, coded: Coded, samples: Samples, progress: Progress) -> None:
        """The whole way from the coefficients to the pixels, too."""
        made_of: MadeOf = coded.made_of
        found, fields = made_of.antecedent, self.fields(part)
        digests = [named.digest for named in (fields.model, made_of.network) if named]
        require_same(len(digests) != 1 and len({*digests}) <= 1, "its model is another")
        same = all(np.array_equal(*pair) for pair in zip(fields.steps, found.steps, strict=True))
        require_same(same and fields.layout == found.layout, "its blocks are others")
        require_same(np.array_equal(found.pixels(), samples), "its coefficients are not those of its pixels")
        wrong = coefficients.beginnings_differ(part.chunks[fields.outliers :], planes_of(found), made_of.network)
        require_same(not wrong, "its coefficients differ")
        if fields.outliers:
            positions, corrections = unpack(part.chunks[0], samples.shape[0] * samples.shape[1], len(found.positions))
            same = np.array_equal(positions, found.positions) and np.array_equal(corrections[:, : part.channels], found.corrections)
            require_same(same, "its outliers are others")

    def costs(self, coded: Coded, samples: Samples, progress: Progress = ignore) -> Bits:
        """A block's go to the pixels that it covers."""
        network, found = coded.made_of
        layout, (height, width, _) = found.layout, samples.shape
        bits = {}
        for name, of_blocks, first in zip(
            ("Y", "C1", "C2"), coefficients.costs(planes_of(found), network), (True, False, False), strict=False
        ):
            filter_ = None if first or layout.sampling is None else layout.sampling.filter
            down, across = (8 * filter_.down, 8 * filter_.across) if filter_ else (8, 8)
            rows = (np.arange(height) + (layout.top % down)) // down
            columns = (np.arange(width) + (layout.left % across)) // across
            bits[name] = of_blocks[rows[:, None], columns] / np.float32(down * across)
        progress(height * width)
        return bits

    def models(self, part: Part) -> list[ModelName]:
        model = self.fields(part).model
        return [model] if model else []

    def description(self, part: Part) -> str:
        fields = self.fields(part)
        sampling = fields.layout.sampling
        return f"decoded JPEG, quality about {quality(fields.steps[0])}, {sampling.filter.name if sampling else 'grey'}"


def fits(height: int, width: int, channels: int) -> bool:
    """Whether blocks, without sampling, can make a picture of this size."""
    return max(height, width) <= MOST_SIDE and channels * -(-height // 8) * -(-width // 8) <= MOST_BLOCKS


def blocks_of(layout: Layout) -> int:
    return sum(rows * columns for rows, columns in layout.blocks)


def planes_of(found: Antecedent) -> list[Plane]:
    return [Plane(steps, blocks) for steps, blocks in zip(found.steps, found.coefficients, strict=True)]
