"""igpt files -> pictures. Each file's way is a generator that asks for layers of a network; alike layers of several files are decoded
together."""

from collections.abc import Generator, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from bitstream.container import Chunks, File, Front, Head, require
from bitstream.errors import DamagedError, IgptError
from bitstream.form import KEPT
from codec.devices import check_device
from codec.methods import method_of
from codec.methods.jpeg import JpegFiles
from codec.methods.method import Method, Part, Samples
from codec.network.layers import Request, decode_layers
from codec.options import Options
from codec.pictures.picture import Picture
from codec.pictures.reading import MAX_PIXELS, check_size
from codec.progress import Progress, heartbeat, ignore, scaled
from codec.representations import Meant, digest_of, meant
from codec.tiling.planes import Planes

Way = Generator[Request, Planes, Picture]  # asks for layers, is sent their planes, and ends with the picture
Channels = list[tuple[Method, Part]]


def understood(front: Front) -> tuple[Meant, Channels]:
    """What a file's boxes say, and its methods and parts, without their chunks. Raises NewerVersionError, DamagedError."""
    methods = [method_of(coding) for coding in front.codings]
    head, is_meant = front.head, meant(front)
    channels = [is_meant.channels - 1, 1] if head.alpha_apart else [is_meant.channels]
    size = (is_meant.kept_bytes, 1) if head.form.colour == KEPT else (head.width, head.height)
    require(all((head.form.colour == KEPT) in method.of_files for method in methods), "what it has is not coded so")
    parts = [Part(*size, n, is_meant.depth, coding) for n, coding in zip(channels, front.codings, strict=True)]
    return is_meant, [*zip(methods, parts, strict=True)]


def chunks_of(parts: Channels, sizes: Iterator[int], count: int) -> list[int]:
    """How many of a file's chunks each part has. sizes: of the payloads in bytes, as far as they are known. Raises DamagedError where there
    are more or fewer, or one is too small for what it must hold."""
    counts, found = list[int](), 0
    for method, part in parts:
        before = found
        for least in method.least_bytes(part):
            found += 1
            require(found <= count, f"it has {count} chunks, which are too few")
            size = next(sizes, least)
            require(size >= least, f"chunk {found} of {count} has {size} bytes, which are too few for its pixels")
        counts.append(found - before)
    require(found == count, f"it has {count} chunks, {found} are wanted")
    return counts


def with_chunks(parts: Channels, chunks: Chunks) -> Channels:
    """Each part with its chunks. Raises as `chunks_of`."""
    ends = [0, *accumulate(chunks_of(parts, iter(chunks.sizes), len(chunks)))]
    return [(method, part._replace(chunks=chunks[slice(*own)])) for (method, part), own in zip(parts, pairwise(ends), strict=True)]


def decompress_file(file: File, options: Options, progress: Progress = ignore) -> Picture:
    """As a picture file is made of. Raises DamagedError, NewerVersionError, ModelError, TooLargeError."""
    (found,) = decompress_files([file], options, progress)
    if isinstance(found, IgptError):
        raise found
    return found


def decompress_files(files: Sequence[File], options: Options, progress: Progress = ignore) -> list[Picture | IgptError]:
    """As `decompress_file`, for several files at once: a network goes through the tiles of all of them together. An error takes the place
    of a file's picture."""
    check_device(options.device)
    found: dict[int, Picture | IgptError] = {}
    readings: dict[int, Reading] = {}
    for k, file in enumerate(files):
        try:
            readings[k] = _read(file, options)
        except IgptError as error:
            found[k] = error
    pixels = sum(options.box.pixels if options.box else file.head.pixels for file in files)
    samples = sum(method.layer_samples(part) for reading in readings.values() for method, part in reading.parts)
    update = scaled(progress, pixels, samples)
    ways = {k: _picture(reading, options, update) for k, reading in readings.items()}
    waiting: dict[int, Request] = {}

    def go_on(k: int, planes: Any) -> None:
        waiting.pop(k, None)
        try:
            waiting[k] = ways[k].send(planes)
        except StopIteration as end:
            found[k] = end.value
        except IgptError as error:
            found[k] = error

    for k in readings:
        go_on(k, None)
    while waiting:
        first = next(iter(waiting.values()))
        alike = [k for k, request in waiting.items() if request.network == first.network and request.kind is first.kind]
        for k, planes in zip(alike, _decoded([waiting[k] for k in alike], update), strict=True):
            if isinstance(planes, IgptError):
                del waiting[k]
                found[k] = planes
            else:
                go_on(k, planes)
    return [found[k] for k in range(len(files))]


def header_in(file: File) -> bytes:
    """Of a kept file: all of it, or without the code of the picture that it shows, so that all else of it is known soon. Raises as
    `decompress_file`."""
    ((method, part),) = _read(file, Options()).parts
    return method.header(part, Options()) if isinstance(method, JpegFiles) else decompress_file(file, Options()).file


class Reading(NamedTuple):
    """A file whose boxes and fields have been read. front; is_meant: what its boxes say; parts: with their chunks."""

    front: Front
    is_meant: Meant
    parts: Channels


def check_head(head: Head, options: Options) -> None:
    """Raises TooLargeError for more pixels than the limit; of a kept file none are made."""
    default = None if head.form.colour == KEPT else MAX_PIXELS
    check_size(head.width, head.height, default if options.max_pixels is None else options.max_pixels)


def _read(file: File, options: Options) -> Reading:
    """Nothing is decoded yet. Raises as `decompress_file`."""
    head = file.head
    check_head(head, options)
    is_meant, parts = understood(file.front)
    if options.box and head.form.colour != KEPT:
        options.box.require_in(head.width, head.height)
        parts = [(method, part._replace(wanted=options.box)) for method, part in parts]
    return Reading(file.front, is_meant, with_chunks(parts, file.chunks))


def _decoded(requests: list[Request], progress: Progress) -> list[Planes | IgptError]:
    """Of layers of one network and kind, in their order; an error takes the place of what it concerns: one layer, or the network."""
    try:
        return [*decode_layers(requests, progress)]
    except DamagedError as error:
        half, again = len(requests) // 2, heartbeat(progress)  # how far they are was said already
        return [error] if len(requests) == 1 else [*_decoded(requests[:half], again), *_decoded(requests[half:], again)]
    except IgptError as error:
        return [error for _ in requests]


def _picture(reading: Reading, options: Options, progress: Progress) -> Way:
    head, is_meant = reading.front.head, reading.is_meant
    found: list[Samples] = []
    for method, part in reading.parts:
        found.append((yield from method.decoding(part, options, progress)))
    samples = is_meant.samples(found[0] if len(found) == 1 else np.concatenate(found, 2), reading.front)
    if all(part.wanted is None for _, part in reading.parts) and digest_of(samples) != head.digest:
        msg = f"the file is damaged: the {'bytes' if head.form.colour == KEPT else 'pixels'} do not match their digest"
        raise DamagedError(msg)
    shown = (head.width, head.height) if head.form.colour == KEPT else None
    return Picture(samples, head.form, is_meant.chunks, tuple(reading.front.unknown), shown)
