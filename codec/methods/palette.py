"""Published ImageGPT checkpoints: the tokens of their palette, then the exact colours inside of the tokens' cells."""

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bitstream.constants import MAX_PALETTE_GROUP_TILES, WORD_BYTES
from bitstream.container import Coding, require
from bitstream.errors import ModelError, UnsupportedImageError
from codec import models
from codec.devices import device_named
from codec.extras import require_torch
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
    CHECKED_POSITIONS,
    check_layers,
    engine_names,
    found,
    layer_bits,
    model_to_bytes,
    name_in_file,
    require_kinds,
    shape_to_bytes,
    take_model,
    take_shape,
)
from codec.network.layers import Layer, Request, Surroundings, encode_layer, least_bytes
from codec.network.model import IntegerImageGPT
from codec.options import Options
from codec.palette.colours import Tokens
from codec.progress import Progress, heartbeat, ignore, scaled
from codec.tiling.context import SIDE
from codec.tiling.planes import kind_of, pixels_to_planes, planes_to_pixels
from codec.tiling.tiles import Grid, Shape

if TYPE_CHECKING:
    from codec.palette.network import PaletteImageGPT


class Fields(NamedTuple):
    """shape: of the groups; model: of the tokens; refinement: of the pixels; None where all have the palette's colours."""

    shape: Shape
    model: ModelName
    refinement: ModelName | None

    def to_bytes(self) -> bytes:
        refinement = model_to_bytes(self.refinement) if self.refinement else b""
        return bytes((bool(refinement),)) + shape_to_bytes(self.shape) + model_to_bytes(self.model) + refinement


class MadeOf(NamedTuple):
    """layer: of the pixels inside of the cells, which the refinement coded; none where all have the palette's colours."""

    network: "PaletteImageGPT"
    tokens: Tokens
    refinement: IntegerImageGPT
    layer: Layer | None


class _Candidate(Candidate):
    settled = True

    def __init__(self, method: Method, made_of: MadeOf) -> None:
        from codec.palette.coding import largest_group

        network, tokens, refinement, layer = made_of
        height, width = tokens.shape
        self._method, self._made_of = method, made_of
        self._shape = Grid(width, height).shape(largest_group(network))
        self._fields = Fields(self._shape, name_in_file(network), name_in_file(refinement) if layer else None).to_bytes()

    def estimate(self) -> float:
        """Nobody asks: who names such a model wants it."""
        return 0.0

    def coded(self, progress: Progress) -> Coded:
        from codec.palette.coding import encode_tokens

        network, tokens, refinement, layer = self._made_of
        chunks = encode_tokens(network, tokens, self._shape, progress)
        if layer:
            chunks += encode_layer(refinement, layer, self._shape, heartbeat(progress))
        return Coded(Coding(self._method.number, 0, self._fields), chunks, self._made_of)


class PublishedPalette(Method):
    number = 5
    name = "palette"

    def offer(self, source: Source, progress: Progress) -> Sequence[Candidate]:
        options = source.options
        folder = models.chosen(options.model, options.revision)
        if not folder or models.layout_of(folder) != "palette":
            if options.palette_only:
                msg = "only a published ImageGPT has a palette: name one as the model"
                raise ModelError(msg)
            return []
        require_torch(f"{folder}: a published ImageGPT")
        from codec.palette.network import PaletteImageGPT

        samples, device = source.samples, device_named(options.device)
        colours = samples.dtype == np.uint8 and samples.shape[2] in (1, 3) and not source.alpha
        if not colours or source.indices or not source.original:
            if options.palette_only and not source.alpha:
                msg = "a palette codes colours and greys of 8 bits only, which this picture has not: make it RGB or L first"
                raise UnsupportedImageError(msg)
            return []
        network, refinement = models.read(folder, device), models.load(None, "rgb", device)
        assert isinstance(network, PaletteImageGPT)
        palette = network.palette
        tokens = palette.tokens(samples)
        exact = bool((palette.painted(tokens, samples.shape[2]) == samples).all())
        if options.palette_only and not exact:
            msg = "the picture has other colours than the model's palette: `igpt quantize` makes a picture of those, with a loss"
            raise UnsupportedImageError(msg)
        around = Surroundings(tokens=tokens, bounds=palette)
        layer = None if exact else Layer(kind_of(samples.shape[2]), pixels_to_planes(samples), around)
        return [_Candidate(self, MadeOf(network, tokens, refinement, layer))]

    def fields(self, part: Part) -> Fields:
        """Raises DamagedError."""
        reader = fields_reader(part)
        refined = reader.byte()
        require(refined <= 1, "its coding is unknown")
        fields = Fields(take_shape(reader), take_model(reader), take_model(reader) if refined else None)
        require(not reader.remaining, "its coding has other fields than it should")
        require(part.depth <= 8 and part.channels in (1, 3), f"{part.channels} channels of {part.depth} bits are not coded so")
        tiles = fields.shape.tiles
        require(tiles <= MAX_PALETTE_GROUP_TILES, f"groups of {tiles} tiles are too large for tokens")
        return fields

    def least_bytes(self, part: Part) -> Iterator[int]:
        fields, grid = self.fields(part), Grid(part.width, part.height)
        yield from itertools.repeat(WORD_BYTES, grid.count(fields.shape))
        if fields.refinement:
            yield from least_bytes(grid, fields.shape, part.channels)

    def layer_samples(self, part: Part) -> int:
        return part.width * part.height * (2 if self.fields(part).refinement else 1)

    def _network(self, fields: Fields, options: Options) -> "PaletteImageGPT":
        require_torch("a published ImageGPT")
        from codec.palette.network import PaletteImageGPT

        network = found(fields.model, options)
        require(isinstance(network, PaletteImageGPT), f"the model {network.name} has no palette")
        assert isinstance(network, PaletteImageGPT)
        return network

    def decoding(self, part: Part, options: Options, progress: Progress) -> Decoding:
        fields, size, kind = self.fields(part), (part.width, part.height), kind_of(part.channels)
        network = self._network(fields, options)
        from codec.palette.coding import decode_tokens

        refinement = None
        if fields.refinement:
            name = fields.refinement
            refinement = require_kinds(models.find(name.digest, name.name, None, device_named(options.device)), kind)
        count = Grid(*size).count(fields.shape)
        tokens = decode_tokens(network, size, fields.shape, part.chunks[:count], progress)
        if refinement is None:
            return part.cut(network.palette.painted(tokens, part.channels))
        around = Surroundings(tokens=tokens, bounds=network.palette)
        planes = yield Request(refinement, kind, size, around, fields.shape, part.chunks[count:], part.box)
        return planes_to_pixels(planes[:, part.box.rows, part.box.columns])

    def check(self, part: Part, coded: Coded, samples: Samples, progress: Progress) -> None:
        from codec.palette.coding import decode_tokens

        network, tokens, refinement, layer = coded.made_of
        fields = self.fields(part)
        require_same(fields.model.digest == network.digest, "its model is another")
        count = Grid(part.width, part.height).count(fields.shape)
        size, payloads = (part.width, part.height), part.chunks[:count]
        seen = decode_tokens(network, size, fields.shape, payloads, heartbeat(progress), CHECKED_POSITIONS)
        begins = np.arange(part.height) % SIDE < CHECKED_POSITIONS // SIDE
        require_same(np.array_equal(seen[begins], tokens[begins]), "its tokens differ")
        require_same(bool(layer) == bool(fields.refinement), "its refinement is another")
        if layer and fields.refinement:
            require_same(fields.refinement.digest == refinement.digest, "its refinement's model is another")
            check_layers(refinement, [layer], fields.shape, part.chunks[count:], progress)
        else:
            painted = network.palette.painted(tokens, part.channels)
            require_same(np.array_equal(painted, samples), "its pixels have other colours than the palette's")

    def costs(self, coded: Coded, samples: Samples, progress: Progress = ignore) -> Bits:
        """Of the tokens, and of each channel inside of their cells."""
        from codec.palette.coding import token_costs

        network, tokens, refinement, layer = coded.made_of
        update = scaled(progress, tokens.size, (2 if layer else 1) * tokens.size)
        of_tokens = token_costs(network, tokens, update)
        return {"tokens": of_tokens, **(layer_bits(refinement, layer, update) if layer else {})}

    def models(self, part: Part) -> list[ModelName]:
        fields = self.fields(part)
        return [fields.model, *([fields.refinement] if fields.refinement else [])]

    def engine(self, part: Part, options: Options) -> str | None:
        """Of the tokens' network, and of the refinement where it runs by another one."""
        fields = self.fields(part)
        network = self._network(fields, options)
        from codec.palette.engines import prepare

        prepare(network)
        names = [network.engine_name, engine_names([fields.refinement], part, options) if fields.refinement else None]
        return ", ".join(dict.fromkeys(name for name in names if name))
