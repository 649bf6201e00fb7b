"""Our own networks: an ImageGPT gives the frequencies of each sample's residual, tile by tile."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bitstream.constants import MAX_GROUP_TILES, MAX_MODEL_NAME_BYTES, MAX_MODELS, MODEL_DIGEST_BYTES
from bitstream.container import Coding, require
from bitstream.reader import Reader, varint
from codec import models
from codec.devices import device_named
from codec.jpeg.network import CoefficientNetwork
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
from codec.mixing.bands import SMALL, repeated
from codec.network.costs import layer_costs
from codec.network.engines import engine_of
from codec.network.ensemble import Ensemble, Networks, members_of
from codec.network.layers import (
    NO_SURROUNDINGS,
    SAMPLED_TILES,
    Layer,
    Request,
    beginnings_differ,
    encode_layer,
    estimated_bytes,
    group_shape,
    least_bytes,
)
from codec.network.model import IntegerImageGPT
from codec.options import Level, Options
from codec.progress import Progress, heartbeat, ignore, scaled
from codec.tiling.planes import Kind, kind_of, pixels_to_planes, planes_to_pixels
from codec.tiling.tiles import Grid, Shape

CHECKED_POSITIONS = 64  # of every tile: two rows
DRAWN = 0.75  # of the pixels repeat others in a picture of indices that no network is asked about


ALONE = 1  # the variant of methods of coefficients that code these without a network


class Fields(NamedTuple):
    """shape: of the groups; models: that code, together."""

    shape: Shape
    models: Sequence[ModelName]

    def to_bytes(self) -> bytes:
        return shape_to_bytes(self.shape) + b"".join(map(model_to_bytes, self.models))


def shape_to_bytes(shape: Shape) -> bytes:
    return varint(shape.columns) + varint(shape.rows)


def model_to_bytes(model: ModelName) -> bytes:
    return model.digest + bytes((len(model.name),)) + model.name.encode()


def take_shape(reader: Reader) -> Shape:
    """Raises DamagedError."""
    shape = Shape(reader.varint(), reader.varint())
    require(min(shape) >= 1 and shape.tiles <= MAX_GROUP_TILES, f"groups of {shape.columns}x{shape.rows} tiles are out of range")
    return shape


def take_model(reader: Reader) -> ModelName:
    """Raises DamagedError."""
    digest, name = reader.take(MODEL_DIGEST_BYTES), reader.take(reader.byte())
    readable = len(name) <= MAX_MODEL_NAME_BYTES and name.isascii() and name.decode("ascii", "replace").isprintable()
    require(readable, "a model's name is malformed")
    return ModelName(digest, name.decode())


def take_models(reader: Reader) -> list[ModelName]:
    """All that is left: one or more of different digests. Raises DamagedError."""
    found = [take_model(reader)]
    while reader.remaining:
        found.append(take_model(reader))
        require(len({model.digest for model in found}) == len(found) <= MAX_MODELS, "its models are too many, or one is named twice")
    return found


def names_in_file(networks: Networks) -> list[ModelName]:
    return [name_in_file(member) for member in members_of(networks)]


def name_in_file(network: "models.AnyModel") -> ModelName:
    """Those that ship with igpt need no name."""
    return ModelName(network.digest, "" if models.shipped_name(network.digest) else network.name)


class LayersCandidate(Candidate):
    """Layers that a network codes, one after the other."""

    def __init__(self, network: Networks, layers: Sequence[Layer], pixels: int) -> None:
        self._network, self._layers, self._pixels = network, layers, pixels
        self._small: list[list[bytes]] | None = None

    @property
    def shape(self) -> Shape:
        return group_shape(self._layers[-1].grid)

    def estimate(self) -> float:
        """From real code of evenly spread tiles; where there are few, all are coded, and kept."""
        if all(layer.grid.tiles <= SAMPLED_TILES for layer in self._layers):
            self._small = self._small or [encode_layer(self._network, layer, self.shape, ignore) for layer in self._layers]
            return float(sum(len(payload) for payloads in self._small for payload in payloads))
        return sum(estimated_bytes(self._network, layer) for layer in self._layers)

    def payloads(self, progress: Progress) -> list[bytes]:
        """Of all layers' groups."""
        if self._small:
            progress(self._pixels)
            return [payload for payloads in self._small for payload in payloads]
        update = scaled(progress, self._pixels, sum(layer.planes[0].size for layer in self._layers))
        return [payload for layer in self._layers for payload in encode_layer(self._network, layer, self.shape, update)]


def check_layers(network: Networks, layers: Sequence[Layer], shape: Shape, payloads: Sequence[bytes], progress: Progress) -> None:
    """The beginnings of all tiles. Raises IgptError."""
    for layer in layers:
        count = layer.grid.count(shape)
        wrong = beginnings_differ(network, layer, shape, payloads[:count], CHECKED_POSITIONS, heartbeat(progress))
        require_same(not wrong, wrong)
        payloads = payloads[count:]


def require_kinds(network: "models.AnyModel", *kinds: Kind) -> IntegerImageGPT:
    """The network, if it codes these. Raises DamagedError."""
    able = isinstance(network, IntegerImageGPT) and all(kind in network.config.kinds for kind in kinds)
    require(able, f"the model {network.name} does not code {kinds[0].name}")
    assert isinstance(network, IntegerImageGPT)
    return network


def together(names: Sequence[ModelName], options: Options, *kinds: Kind) -> Networks:
    """The networks that a file names, which code these. Raises ModelError, DamagedError."""
    members = tuple(require_kinds(found(name, options), *kinds) for name in names)
    if len(members) == 1:
        return members[0]
    require(all(member.config.learns for member in members), "a model of several does not learn")
    return Ensemble(members)


class MethodOfCoefficients(Method):
    """Variant 0 has a network, ALONE none."""

    variants = 2

    def level(self, part: Part) -> str:
        return Level.FAST if part.coding.variant == ALONE else super().level(part)


def chosen_for_coefficients(options: Options) -> CoefficientNetwork | None:
    """The model that codes coefficients at a level; None at the fast one. Raises ModelError."""
    if options.level == Level.FAST and not options.model:
        return None
    return models.for_coefficients(models.chosen(options.model, options.revision))


def for_coefficients(model: ModelName, options: Options) -> CoefficientNetwork:
    """The model that a file names for coefficients. Raises ModelError, DamagedError."""
    network = found(model, options)
    require(isinstance(network, CoefficientNetwork), f"the model {network.name} does not code coefficients")
    assert isinstance(network, CoefficientNetwork)
    return network


def found(model: ModelName, options: Options) -> "models.AnyModel":
    """The model that a file names. Raises ModelError."""
    return models.find(model.digest, model.name, models.chosen(options.model, options.revision), device_named(options.device))


def engine_names(names: Sequence[ModelName], part: Part, options: Options) -> str | None:
    """Of the engines that run models for a part; None where none does."""
    networks = [network for name in names if isinstance(network := found(name, options), IntegerImageGPT)]
    engines = [engine_of(network, Grid(part.width, part.height).tiles).name for network in networks]
    return ", ".join(dict.fromkeys(engines)) or None


def layer_bits(network: Networks, layer: Layer, progress: Progress) -> Bits:
    """Of colours or greys, by channel."""
    planes = planes_to_pixels(layer_costs(network, layer, progress).bits)
    return {name: planes[..., k] for k, name in enumerate("RGB" if planes.shape[2] == 3 else "L")}


class MadeOf(NamedTuple):
    """What a network coded."""

    network: Networks
    layers: Sequence[Layer]


class _Candidate(LayersCandidate):
    def __init__(self, method: Method, network: Networks, source: Source) -> None:
        layers = [Layer(kind_of(source.samples.shape[2]), pixels_to_planes(source.samples))]
        super().__init__(network, layers, source.pixels)
        self._method = method
        self._fields = Fields(self.shape, names_in_file(network)).to_bytes()

    def estimate(self) -> float:
        return len(self._fields) + super().estimate()

    def coded(self, progress: Progress) -> Coded:
        made_of = MadeOf(self._network, self._layers)
        return Coded(Coding(self._method.number, 0, self._fields), self.payloads(progress), made_of)


def _as_brightnesses(source: Source) -> bool:
    """Whether indices may be those of a ramp of false colours, which tell how bright a photograph was."""
    return source.depth == 8 and source.pixels > SMALL and repeated(source.samples) < DRAWN


class Network(Method):
    number = 3
    name = "network"

    def offer(self, source: Source, progress: Progress) -> Sequence[Candidate]:
        samples = source.samples
        if samples.dtype != "uint8" or samples.shape[2] not in (1, 3) or (source.indices and not _as_brightnesses(source)):
            return []
        options = source.options
        folder = models.chosen(options.model, options.revision)
        tried = models.tried(folder, "rgb", device_named(options.device), options.level)
        return [_Candidate(self, network, source) for network in tried]

    def fields(self, part: Part) -> Fields:
        """Raises DamagedError."""
        reader = fields_reader(part)
        fields = Fields(take_shape(reader), take_models(reader))
        require(part.depth <= 8 and part.channels in (1, 3), f"{part.channels} channels of {part.depth} bits are not coded so")
        return fields

    def least_bytes(self, part: Part) -> Iterator[int]:
        yield from least_bytes(Grid(part.width, part.height), self.fields(part).shape, part.channels)

    def layer_samples(self, part: Part) -> int:
        return Grid(part.width, part.height).covering(part.box, self.fields(part).shape).pixels

    def decoding(self, part: Part, options: Options, progress: Progress) -> Decoding:
        fields, kind = self.fields(part), kind_of(part.channels)
        network = together(fields.models, options, kind)
        request = Request(network, kind, (part.width, part.height), NO_SURROUNDINGS, fields.shape, part.chunks, part.box)
        planes = yield request
        return planes_to_pixels(planes[:, part.box.rows, part.box.columns])

    def check(self, part: Part, coded: Coded, samples: Samples, progress: Progress) -> None:
        made_of: MadeOf = coded.made_of
        fields = self.fields(part)
        require_same(fields.models == names_in_file(made_of.network), "its models are others")
        check_layers(*made_of, fields.shape, part.chunks, progress)

    def costs(self, coded: Coded, samples: Samples, progress: Progress = ignore) -> Bits:
        made_of: MadeOf = coded.made_of
        return layer_bits(made_of.network, made_of.layers[0], progress)

    def models(self, part: Part) -> list[ModelName]:
        return [*self.fields(part).models]

    def engine(self, part: Part, options: Options) -> str | None:
        return engine_names(self.fields(part).models, part, options)
