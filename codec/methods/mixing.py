"""Context mixing without a network: drawings, text, screenshots, indices; and with samples of 16 bits everything."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from bitstream.constants import CODER_BYTES, FREQUENCY_BITS, LEAST_COST, MAX_DEEP_WIDTH
from bitstream.container import Coding, require
from codec import models
from codec.methods.method import Bits, Candidate, Coded, DirectMethod, Part, Ready, Samples, Source, require_same
from codec.mixing import bands
from codec.mixing.bands import Coder
from codec.options import Options
from codec.progress import Progress, heartbeat, ignore
from codec.tiling.planes import pixels_to_planes, planes_to_pixels

EASY = 0.1  # bits per sample that no network undercuts
CHECKED_SHARE = 16  # of the rows of a band, one in so many, but no less than
CHECKED_ROWS = 4


class Mixed(DirectMethod):
    """What both kinds have in common. coders: by variant."""

    coders: ClassVar[tuple[Coder, ...]]

    def coded(self, source: Source, variant: int, progress: Progress) -> Coded | None:
        """None where it makes the samples larger."""
        payloads = bands.encode(pixels_to_planes(source.samples), self.coders[variant], progress)
        return Coded(Coding(self.number, variant), payloads) if payloads else None

    def _coder(self, part: Part) -> Coder:
        require(not part.coding.fields, "its coding has other fields than it should")
        return self.coders[part.coding.variant]

    def least_bytes(self, part: Part) -> Iterator[int]:
        coder = self._coder(part)
        require((part.depth == 16) == coder.deep, f"samples of {part.depth} bits are not coded so")
        require(not coder.deep or part.width <= MAX_DEEP_WIDTH, f"a width of {part.width} with 16 bits is out of range")
        decisions = part.channels if coder.deep else 1  # of a pixel, at least
        for rows in bands.bands(part.height, part.width):
            tokens = (rows.stop - rows.start) * part.width * decisions
            yield max(1, -(-tokens * LEAST_COST // (8 << FREQUENCY_BITS)) - CODER_BYTES)

    def decode(self, part: Part, progress: Progress) -> Samples:
        size, box = (part.width, part.height), part.box
        planes = bands.decode(part.chunks, size, part.channels, self._coder(part), progress, rows=box.rows)
        return planes_to_pixels(planes[:, box.rows, box.columns])

    def layer_samples(self, part: Part) -> int:
        rows, wanted = bands.rows_per_band(part.height, part.width), bands.covering(part.box.rows, part.height, part.width)
        return part.width * (min(rows * wanted.stop, part.height) - rows * wanted.start)

    def check(self, part: Part, coded: Coded, samples: Samples, progress: Progress) -> None:
        coder, (height, width, _), expected = self._coder(part), samples.shape, pixels_to_planes(samples)
        most = max(CHECKED_ROWS, bands.rows_per_band(height, width) // CHECKED_SHARE)
        found = bands.decode(part.chunks, (width, height), part.channels, coder, heartbeat(progress), most)
        for band in bands.bands(height, width):
            rows = slice(band.start, min(band.start + most, band.stop))
            require_same(np.array_equal(found[:, rows], expected[:, rows]), f"from row {band.start} on its pixels differ")

    def costs(self, coded: Coded, samples: Samples, progress: Progress = ignore) -> Bits:
        bits = bands.costs(pixels_to_planes(samples), self.coders[coded.coding.variant])
        progress(bits.size)
        return {"all": bits}


class Mixing(Mixed):
    """Samples of 8 bits or fewer."""

    number = 1
    name = "mixing"
    coders = (bands.SHALLOW,)

    def offer(self, source: Source, progress: Progress) -> Sequence[Candidate]:
        """A network that the user names comes first for colours, unless they repeat themselves; a published one always."""
        samples = source.samples
        colours = not source.indices and not source.alpha and samples.shape[2] in (1, 3)
        named = named_layout(source.options) if colours else None
        if samples.dtype != np.uint8 or named == "palette":
            return []
        worth = bands.repeats if named == "rgb" else bands.promising
        if not source.indices and not worth(samples):
            return []
        coded = self.coded(source, 0, heartbeat(progress))
        return [Ready(coded, source.pixels, settled=8 * coded.size <= EASY * samples.size)] if coded else []


def named_layout(options: Options) -> str | None:
    """Of the model that is named, if one is. Raises ModelError."""
    folder = models.chosen(options.model, options.revision)
    return None if folder is None else models.layout_of(folder)


class DeepMixing(Mixed):
    """Samples of 16 bits."""

    number = 2
    name = "deep mixing"
    variants = 2
    coders = (bands.BLENDED, bands.EXACT)

    def offer(self, source: Source, progress: Progress) -> Sequence[Candidate]:
        if source.samples.dtype == np.uint8:
            return []
        return [_Deep(self, source, variant) for variant in range(self.variants)]


class _Deep(Candidate):
    def __init__(self, method: DeepMixing, source: Source, variant: int) -> None:
        self._method, self._source, self._variant = method, source, variant

    def estimate(self) -> float:
        """As some rows in the middle become."""
        height, width, _ = self._source.samples.shape
        rows = min(height, max(1, TRIED_PIXELS // width))
        first = (height - rows) // 2
        some = replace(self._source, samples=self._source.samples[first : first + rows])
        coded = self._method.coded(some, self._variant, ignore)
        return sum(map(len, coded.chunks)) * height / rows if coded else math.inf

    def coded(self, progress: Progress) -> Coded:
        coded = self._method.coded(self._source, self._variant, progress)
        assert coded
        return coded


TRIED_PIXELS = 1 << 15  # of 16 bits
