"""What a decoded JPEG or PhotoCD was made of: its chroma, then its luma with the chroma in view, and the pixels that differ."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bitstream.constants import MAX_OUTLIER_SHARE
from bitstream.container import Coding, require
from bitstream.outliers import Corrections, Positions, pack, unpack
from codec import models
from codec.box import Box
from codec.devices import device_named
from codec.methods.method import (
    Bits,
    Candidate,
    Coded,
    Decoding,
    Method,
    ModelName,
    Part,
    Samples,
    Source,
    fields_reader,
    require_same,
)
from codec.methods.network import (
    LayersCandidate,
    check_layers,
    engine_names,
    model_to_bytes,
    names_in_file,
    shape_to_bytes,
    take_models,
    take_shape,
    together,
)
from codec.network.costs import layer_costs
from codec.network.ensemble import Networks
from codec.network.layers import NO_SURROUNDINGS, Layer, Request, Surroundings, least_bytes
from codec.options import Options
from codec.pasts.chroma import FILTERS, FULL, Sampling
from codec.pasts.colour import FORMULAS, Formula
from codec.pasts.past import Past, translated
from codec.progress import Progress, ignore, scaled
from codec.tiling.context import MARGIN
from codec.tiling.planes import FILM_CHROMA, FILM_LUMA, JPEG_CHROMA, JPEG_LUMA
from codec.tiling.tiles import Grid, Shape

KINDS = {"JPEG": (JPEG_CHROMA, JPEG_LUMA), "PhotoCD": (FILM_CHROMA, FILM_LUMA)}  # by formula: of chroma and luma
DESCRIPTIONS = {"JPEG": "decoded JPEG", "PhotoCD": "PhotoCD"}
HAS_OUTLIERS = 0x80
NO_OUTLIERS = np.zeros(0, np.int64), np.zeros((0, 3), np.uint8)


class Fields(NamedTuple):
    """formula, sampling: of the past; outliers: whether there are any; shape: of the groups; models: that code, together."""

    formula: Formula
    sampling: Sampling
    outliers: bool
    shape: Shape
    models: Sequence[ModelName]

    def to_bytes(self) -> bytes:
        s = self.sampling
        first = s.filter.code | self.formula.code << 3 | s.top << 4 | s.left << 5 | s.ring << 6 | (HAS_OUTLIERS if self.outliers else 0)
        return bytes((first,)) + shape_to_bytes(self.shape) + b"".join(map(model_to_bytes, self.models))

    def chroma_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the small planes of a picture of this size."""
        rows, columns = self.sampling.small_shape(height, width)
        return columns, rows


def layers_of(past: Past) -> list[Layer]:
    """What is coded of a past."""
    chroma_kind, luma_kind = KINDS[past.formula.name]
    return [
        Layer(chroma_kind, past.chroma),
        Layer(luma_kind, past.luma[None], Surroundings(past.sampling.upsampled(past.chroma, *past.luma.shape))),
    ]


class MadeOf(NamedTuple):
    network: Networks
    past: Past
    layers: Sequence[Layer]


class _Candidate(LayersCandidate):
    def __init__(self, method: Method, network: Networks, past: Past) -> None:
        super().__init__(network, layers_of(past), past.luma.size)
        self._method, self._past, self.settled = method, past, past.certain
        fields = Fields(past.formula, past.sampling, bool(len(past.positions)), self.shape, names_in_file(network))
        self._fields = fields.to_bytes()
        self._outliers = [pack(past.positions, past.corrections)] if fields.outliers else []

    def estimate(self) -> float:
        return len(self._fields) + sum(map(len, self._outliers)) + super().estimate()

    def coded(self, progress: Progress) -> Coded:
        chunks = [*self._outliers, *self.payloads(progress)]
        return Coded(Coding(self._method.number, 0, self._fields), chunks, MadeOf(self._network, self._past, self._layers))


class PastMethod(Method):
    number = 4
    name = "past"

    def offer(self, source: Source, progress: Progress) -> Sequence[Candidate]:
        samples, options = source.samples, source.options
        if not options.past or not source.original or source.indices or samples.dtype != np.uint8 or samples.shape[2] != 3:
            return []
        past = source.past(progress)
        if past and past.formula.name not in KINDS:
            past = translated(past, samples)
        if not past:
            return []
        folder = models.chosen(options.model, options.revision)
        tried = models.tried(folder, "ycc", device_named(options.device), options.level)
        return [_Candidate(self, network, past) for network in tried]

    def fields(self, part: Part) -> Fields:
        """Raises DamagedError."""
        reader = fields_reader(part)
        first = reader.byte()
        sampling = Sampling(FILTERS[first & 7], first >> 4 & 1, first >> 5 & 1, first >> 6 & 1)
        fields = Fields(FORMULAS[first >> 3 & 1], sampling, bool(first & HAS_OUTLIERS), take_shape(reader), take_models(reader))
        require(part.depth == 8 and part.channels == 3, f"{part.channels} channels of {part.depth} bits are not coded so")
        require(not fields.outliers or part.width * part.height >= MAX_OUTLIER_SHARE, "it is too small for outliers")
        require(not (sampling.ring and sampling.filter is FULL), "its chroma goes on where nothing is smoothed")
        require(sampling.top < sampling.filter.down and sampling.left < sampling.filter.across, "its sampling is not possible")
        return fields

    def least_bytes(self, part: Part) -> Iterator[int]:
        fields = self.fields(part)
        if fields.outliers:
            yield 1
        yield from least_bytes(Grid(*fields.chroma_size(part.width, part.height)), fields.shape, 2)
        yield from least_bytes(Grid(part.width, part.height), fields.shape, 1)

    def layer_samples(self, part: Part) -> int:
        luma, chroma = self._boxes(part, self.fields(part))
        return luma.pixels + chroma.pixels

    def _boxes(self, part: Part, fields: Fields) -> tuple[Box, Box]:
        """Of luma and chroma samples that are decoded: of the groups with some of the box, and of those with some of what these see."""
        size = part.width, part.height
        luma = Grid(*size).covering(part.box, fields.shape)
        seen = fields.sampling.cells(luma.grown(MARGIN, *size), part.height, part.width)
        return luma, Grid(*fields.chroma_size(*size)).covering(seen, fields.shape)

    def _taken_apart(self, part: Part, fields: Fields) -> tuple[tuple[Positions, Corrections], Sequence[bytes], Sequence[bytes]]:
        """The outliers, and the payloads of chroma and luma. Raises DamagedError."""
        pixels, chunks = part.width * part.height, part.chunks
        outliers = unpack(chunks[0], pixels, pixels // MAX_OUTLIER_SHARE) if fields.outliers else NO_OUTLIERS
        payloads = chunks[int(fields.outliers) :]
        count = Grid(*fields.chroma_size(part.width, part.height)).count(fields.shape)
        return outliers, payloads[:count], payloads[count:]

    def decoding(self, part: Part, options: Options, progress: Progress) -> Decoding:
        fields = self.fields(part)
        chroma_kind, luma_kind = KINDS[fields.formula.name]
        network = together(fields.models, options, chroma_kind, luma_kind)
        outliers, of_chroma, of_luma = self._taken_apart(part, fields)
        size = part.width, part.height
        luma_box, chroma_box = self._boxes(part, fields)
        chroma = yield Request(network, chroma_kind, fields.chroma_size(*size), NO_SURROUNDINGS, fields.shape, of_chroma, chroma_box)
        seen = luma_box.grown(MARGIN, *size).rows
        around = Surroundings(fields.sampling.upsampled(chroma, part.height, part.width, seen))
        luma = yield Request(network, luma_kind, size, around, fields.shape, of_luma, part.box)
        return Past(fields.formula, fields.sampling, luma[0], chroma, *outliers).pixels(part.box)

    def check(self, part: Part, coded: Coded, samples: Samples, progress: Progress) -> None:
        """The whole way from the planes to the pixels, too."""
        made_of: MadeOf = coded.made_of
        past, fields = made_of.past, self.fields(part)
        require_same((fields.formula, fields.sampling) == (past.formula, past.sampling), "its past is another")
        require_same(fields.models == names_in_file(made_of.network), "its models are others")
        (positions, corrections), of_chroma, of_luma = self._taken_apart(part, fields)
        same = np.array_equal(positions, past.positions) and np.array_equal(corrections, past.corrections)
        require_same(same, "its outliers are others")
        require_same(np.array_equal(past.pixels(), samples), "its past is not that of its pixels")
        check_layers(made_of.network, made_of.layers, fields.shape, [*of_chroma, *of_luma], progress)

    def costs(self, coded: Coded, samples: Samples, progress: Progress = ignore) -> Bits:
        """A chroma sample's go to the pixels of its cell."""
        made_of: MadeOf = coded.made_of
        sampling, (height, width, _) = made_of.past.sampling, samples.shape
        update = scaled(progress, height * width, sum(layer.planes[0].size for layer in made_of.layers))
        small, luma = (layer_costs(made_of.network, layer, update).bits for layer in made_of.layers)
        down, across, ring = sampling.filter.down, sampling.filter.across, sampling.ring
        rows = (np.arange(height) + sampling.top) // down + ring
        columns = (np.arange(width) + sampling.left) // across + ring
        chroma = small[:, rows[:, None], columns] / (down * across)
        return {"Y": luma[0], "C1": chroma[0], "C2": chroma[1]}

    def description(self, part: Part) -> str:
        fields = self.fields(part)
        return f"{DESCRIPTIONS[fields.formula.name]}, {fields.sampling.filter.name}"

    def models(self, part: Part) -> list[ModelName]:
        return [*self.fields(part).models]

    def engine(self, part: Part, options: Options) -> str | None:
        return engine_names(self.fields(part).models, part, options)
