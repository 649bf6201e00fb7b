"""igpt files -> pictures. Each file's way is a generator that asks for layers; those of one network and kind are decoded together."""

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import codec
from bitstream.container import read_file
from bitstream.errors import DamagedError, IgptError
from bitstream.form import GREY, RGB, Form
from bitstream.header import PALETTE_KIND, Header
from bitstream.outliers import unpack
from codec.devices import check_device
from codec.parsing import Parsed
from codec.pictures.picture import MAX_PIXELS, Picture, check_size
from codec.tiling.planes import Kind, Pixels, Planes, planes_to_pixels

if TYPE_CHECKING:
    from codec.models import AnyModel
    from codec.network.layers import Wanted
    from codec.network.model import IntegerImageGPT

    Way = Generator[Wanted, Planes, Pixels]  # asks for layers, is sent their planes, and ends with (height, width, channels) pixels

Progress = Callable[[int], None]


def pictures(
    files: Sequence[Parsed], model: str | Path | None, device: str, max_pixels: int | None, progress: Progress
) -> list[Picture | IgptError]:
    """See `codec.decompress_pictures`."""
    check_device(device)
    ways = [_picture(file, model, device, MAX_PIXELS if max_pixels is None else max_pixels, progress) for file in files]
    asked: dict[int, Any] = {}  # what each waits for
    found: dict[int, Picture | IgptError] = {}

    def go_on(k: int, planes: Any) -> None:
        asked.pop(k, None)
        try:
            asked[k] = ways[k].send(planes)
        except StopIteration as end:
            found[k] = end.value
        except IgptError as error:
            found[k] = error

    for k in range(len(files)):
        go_on(k, None)
    while asked:
        first = next(iter(asked.values()))
        alike = [k for k, wanted in asked.items() if wanted.network is first.network and wanted.kind is first.kind]
        for k, planes in zip(alike, _decoded([asked[k] for k in alike], progress), strict=True):
            if isinstance(planes, IgptError):
                del asked[k]
                found[k] = planes
            else:
                go_on(k, planes)
    return [found[k] for k in range(len(files))]


def _decoded(wanted: "list[Wanted]", progress: Progress) -> "list[Planes | IgptError]":
    from codec.network.layers import decode_layers

    try:
        return [*decode_layers(wanted, progress)]
    except DamagedError as error:
        half = len(wanted) // 2
        return [error] if len(wanted) == 1 else [*_decoded(wanted[:half], progress), *_decoded(wanted[half:], progress)]


def _picture(
    file: Parsed, model: str | Path | None, device: str, max_pixels: int, progress: Progress
) -> "Generator[Wanted, Planes, Picture]":
    envelope = file.envelope
    files = [read_file(part, bool(envelope)) for part in file.parts]  # all of them, before any is decoded
    parts = []
    for header, payloads in files:
        parts.append((yield from _part(header, payloads, model, device, max_pixels, progress)))
    if not envelope:
        return Picture(parts[0], Form(GREY if parts[0].shape[2] == 1 else RGB, 8))
    form = Form(envelope.colour, envelope.depth)
    pixels: npt.NDArray[Any] = np.concatenate(parts, 2)
    largest = len(envelope.levels) - 1 if envelope.levels else (1 << form.depth) - 1
    if int(pixels.max()) > largest:
        msg = f"the file is damaged: it has samples above {largest}"
        raise DamagedError(msg)
    if envelope.levels:
        pixels = np.array(envelope.levels, np.uint16)[pixels]
    return Picture(pixels, form, envelope.chunks)


def _part(header: Header, payloads: list[bytes], model: str | Path | None, device: str, max_pixels: int, progress: Progress) -> "Way":
    """A file without an envelope, or one that lay in one."""
    check_size(header.width, header.height, max_pixels)
    if header.rows:
        pixels = _drawing(header, payloads, progress)
    else:
        pixels = yield from _from_network(header, payloads, model, device, progress)
    if codec.pixel_digest(pixels) != header.pixel_digest:
        msg = "the file is damaged: the pixels do not match their digest"
        raise DamagedError(msg)
    return pixels


def _drawing(header: Header, payloads: list[bytes], progress: Progress) -> Pixels:
    from codec.mixing import bands as mixing

    size = header.width, header.height
    planes = mixing.decode(payloads, size, header.channels, header.rows, progress, header.numerics_version, header.bit_depth)
    return planes_to_pixels(planes)


def _from_network(header: Header, payloads: list[bytes], model: str | Path | None, device: str, progress: Progress) -> "Way":
    from codec import models
    from codec.devices import device_named
    from codec.network.layers import NOTHING, PAST_KINDS, Known, Wanted
    from codec.network.model import IntegerImageGPT
    from codec.pasts.colour import FORMULAS
    from codec.pasts.past import Past, sampling_named
    from codec.tiling.planes import kind_of

    network = models.find(header.model_digest, header.model_name, models.chosen(model), device_named(device))
    if header.kind == PALETTE_KIND or not isinstance(network, IntegerImageGPT):
        return _with_palette(header, payloads, network, device, progress)
    size, group = (header.width, header.height), header.tiles_per_group
    if header.past is None:
        kind = kind_of(header.channels)
        _check_kinds(network, (kind,))
        return planes_to_pixels((yield Wanted(network, kind, size, NOTHING, group, payloads)))
    fields = header.past
    formula = FORMULAS[fields.formula]
    sampling = sampling_named(fields.filter, fields.top, fields.left, fields.ring)
    chroma_kind, luma_kind = PAST_KINDS[formula.name]
    _check_kinds(network, (chroma_kind, luma_kind))
    positions, corrections = unpack(payloads[0], header.width * header.height, header.most_exceptions)
    chroma_size, _ = header.layers
    luma_from = 1 + header.groups_of(chroma_size)
    chroma = yield Wanted(network, chroma_kind, chroma_size, NOTHING, group, payloads[1:luma_from])
    full = sampling.upsampled(chroma, header.height, header.width)
    luma = yield Wanted(network, luma_kind, size, Known(full), group, payloads[luma_from:])
    return Past(formula, sampling, luma[0], chroma, positions, corrections).pixels()


def _with_palette(header: Header, payloads: list[bytes], network: "AnyModel", device: str, progress: Progress) -> Pixels:
    from codec import models
    from codec.devices import device_named
    from codec.palette.network import PaletteImageGPT
    from codec.palette.packing import unpacked

    refinement = None
    if header.refinement_digest:
        refinement = models.find(header.refinement_digest, header.refinement_name, None, device_named(device))
    if header.kind != PALETTE_KIND or not isinstance(network, PaletteImageGPT) or isinstance(refinement, PaletteImageGPT):
        msg = f"the header is damaged: the model {network.name} does not code its kind"
        raise DamagedError(msg)
    return unpacked(header, payloads, network, refinement, progress)


def _check_kinds(network: "IntegerImageGPT", kinds: Sequence[Kind]) -> None:
    """Raises DamagedError where a file names a model that does not code what the file holds."""
    if not all(kind in network.config.kinds for kind in kinds):
        msg = f"the header is damaged: the model {network.name} does not code {kinds[0].name}"
        raise DamagedError(msg)
