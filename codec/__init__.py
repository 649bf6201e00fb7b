"""igpt: a lossless image codec driven by an ImageGPT transformer.

>>> data = codec.compress(Image.open("photo.png"))
>>> image = codec.decompress(data)
>>> codec.info(data)["width"]
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from bitstream.constants import DRAWING_NUMERICS, EXACT_NUMERICS, MAX_DEEP_WIDTH
from bitstream.errors import (
    DamagedError,
    IgptError,
    ModelError,
    NewerVersionError,
    NotIgptError,
    TooLargeError,
    TruncatedError,
    UnsupportedImageError,
    VerificationError,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL import Image

    from bitstream.header import Header
    from codec.checking import Part
    from codec.network.layers import Coded
    from codec.parsing import Parsed
    from codec.pictures.picture import Picture
    from codec.tiling.planes import Pixels

__version__ = "0.1.0"

__all__ = [
    "DamagedError",
    "IgptError",
    "ModelError",
    "NewerVersionError",
    "NotIgptError",
    "TooLargeError",
    "TruncatedError",
    "UnsupportedImageError",
    "VerificationError",
    "compress",
    "decompress",
    "info",
    "register_igpt_opener",
]

Progress = Callable[[int], None]

TRIED_PIXELS = 1 << 15  # of 16 bits, in the middle rows
EASY = 0.1  # bits per sample that no network undercuts
HEADER_BYTES = 56  # of a file with a model's name, about
PAST_BYTES = 16  # what a past takes in the header and for its exceptions' chunk, at most


def _ignore(pixels: int) -> None:
    pass


def register_igpt_opener() -> None:
    """Teaches Pillow the format: from then on `Image.open("x.igpt")` and `image.save("x.igpt")` work."""
    from codec.plugin import register

    register()


class Options(TypedDict, total=False):
    """Of `compress_pixels`, which see, and of what calls it."""

    model: str | Path | None
    revision: str | None
    palette_only: bool
    device: str
    past: bool
    progress: Progress | None


def compress(image: "Image.Image", *, verify: bool = False, **options: Unpack[Options]) -> bytes:
    """The bytes of an igpt file.

    image: of mode RGB, RGBA, L, LA, P, 1 or I;16. Its colour profile, EXIF, XMP and resolution are kept; the logger "igpt" is told what of
    its info is not. Where Pillow has opened a file of more bits than its image has, it is refused; its copy() is not. model: a folder with
    an integer model, which is used instead of the default one for what it codes; without it, drawings are coded without any. Or a published
    ImageGPT checkpoint, as a folder or a hub id with its revision, which then codes colours by its palette; palette_only: refuse other
    colours. device: auto, cpu or cuda; it does not change the bytes. past: whether a recognised past may be coded instead of the pixels.
    progress: called with the number of pixels just done. verify: decompress all of the result and compare it with the image, not only how
    each of its groups begins.

    Raises UnsupportedImageError for a picture that cannot be kept exactly, ModelError for an unusable model, VerificationError where the
    result does not give back the image.
    """
    from codec.pictures.pillow import picture_kept

    return compress_picture(picture_kept(image), verify=verify, **options)


def compress_picture(picture: "Picture", *, verify: bool = False, **options: Unpack[Options]) -> bytes:
    """As `compress`, for what was read of a picture file."""
    from codec.checking import check_beginnings, check_whole

    progress = options.get("progress") or _ignore
    if verify:
        pixels = picture.pixels.shape[0] * picture.pixels.shape[1]
        progress = options["progress"] = _share(progress, pixels, 2 * pixels)
    data, parts = _packed_picture(picture, progress, options)
    if not verify:
        check_beginnings(data, picture, parts, progress)
        return data
    model = options.get("model")
    if model is not None:
        from codec import models

        model = models.chosen(model, options.get("revision"))
    check_whole(data, picture, model, options.get("device", "auto"), progress)
    return data


def _packed_picture(picture: "Picture", progress: Progress, options: Options) -> "tuple[bytes, list[Part]]":
    from bitstream.envelope import Envelope, write_envelope
    from bitstream.form import ALPHA
    from codec.checking import Part
    from codec.pictures.png_file import MEANINGFUL

    def packed_samples(pixels: "Pixels", progress: Progress) -> Part:
        return packed_pixels(pixels, **Options({**options, "progress": progress}))

    pixels, form = picture.pixels, picture.form
    if picture.plain:
        part = packed_samples(pixels, progress)
        return part.data, [part]
    levels: tuple[int, ...] = ()
    numerics_version = DRAWING_NUMERICS
    if form.depth == 16:
        pixels, levels, numerics_version = smallest(pixels)
    if pixels.dtype != "uint8":
        parts = [Part(pixels, drawn(pixels, progress, numerics_version=numerics_version))]
    elif form not in MEANINGFUL:  # indices and small samples look like no photograph
        drawing = drawn(pixels, progress, always=True)
        parts = [Part(pixels, drawing) if drawing else packed_samples(pixels, progress)]
    elif form.colour in ALPHA:
        parts = _with_alpha(pixels, packed_samples, progress)
    else:
        parts = [packed_samples(pixels, progress)]
    return write_envelope(Envelope(form.colour, form.depth, picture.chunks, tuple(part.data for part in parts), levels)), parts


def smallest(pixels: "npt.NDArray[Any]") -> "tuple[npt.NDArray[Any], tuple[int, ...], int]":
    """16-bit samples as some rows of them become smallest: themselves, or the places of their values among the levels, and these; as bytes
    if that is enough. And the numerics version.
    """
    import numpy as np

    from bitstream.envelope import packed_levels
    from codec.mixing import bands as mixing
    from codec.tiling.planes import pixels_to_planes

    height, width, _ = pixels.shape
    levels = np.unique(pixels)
    ranks = np.zeros(1 << 16, np.uint8 if len(levels) <= 256 else np.uint16)
    ranks[levels] = np.arange(len(levels))
    by_rank = ranks[pixels], tuple(levels.tolist())
    if len(levels) <= 256:
        return *by_rank, DRAWING_NUMERICS
    if width > MAX_DEEP_WIDTH:
        msg = f"a picture with samples of 16 bits can be at most {MAX_DEEP_WIDTH:,} pixels wide, this one has {width:,}"
        raise TooLargeError(msg)
    rows = min(height, max(1, TRIED_PIXELS // width))
    first = (height - rows) // 2

    def estimate(form: "tuple[npt.NDArray[Any], tuple[int, ...], int]") -> float:
        some, table, numerics_version = form
        payloads = mixing.encode(pixels_to_planes(some[first : first + rows]), rows, _ignore, numerics_version) or []
        return float(sum(map(len, payloads)) * height / rows + len(packed_levels(table)))

    return min(((*some, version) for some in ((pixels, ()), by_rank) for version in (DRAWING_NUMERICS, EXACT_NUMERICS)), key=estimate)


def _with_alpha(pixels: "Pixels", packed_samples: "Callable[[Pixels, Progress], Part]", progress: Progress) -> "list[Part]":
    """The parts of (height, width, 2 or 4) pixels: all channels as one drawing, or colour and alpha by themselves."""
    from codec.checking import Part

    together = Part(pixels, drawn(pixels, lambda _: progress(0)))
    size = len(together.data)
    if size and 8 * size <= EASY * pixels.size:
        return [together]
    parts = [packed_samples(pixels[..., :-1], progress), packed_samples(pixels[..., -1:], lambda _: progress(0))]
    return parts if not size or sum(len(part.data) for part in parts) < size else [together]


def compress_pixels(pixels: "Pixels", **options: Unpack[Options]) -> bytes:
    """As `compress`, for pixels of shape (height, width, 1 or 3), uint8, and without the check."""
    return packed_pixels(pixels, **options).data


def packed_pixels(
    pixels: "Pixels",
    *,
    model: str | Path | None = None,
    revision: str | None = None,
    palette_only: bool = False,
    device: str = "auto",
    past: bool = True,
    progress: Progress | None = None,
) -> "Part":
    """The file that `compress_pixels` gives, with what it was made of."""
    from codec.checking import Part
    from codec.devices import check_device

    check_device(device)
    progress = progress or _ignore
    folder = None
    if model is not None:
        from codec import models

        folder = models.chosen(model, revision)
        if folder and models.layout_of(folder) == "palette":
            return _by_palette(pixels, folder, palette_only, device, progress)
    if palette_only:
        msg = "only a published ImageGPT has a palette: name one as the model"
        raise ModelError(msg)
    drawing, coded = what_is_coded(pixels, folder, device, past, progress)
    if coded:
        data = packed(pixels, coded, progress)
        noise = drawn(pixels, lambda _: progress(0), always=True) if folder is None and len(data) > pixels.nbytes + HEADER_BYTES else b""
        return Part(pixels, noise) if noise and len(noise) < len(data) else Part(pixels, data, coded)
    progress(pixels.shape[0] * pixels.shape[1])
    return Part(pixels, drawing)


def _by_palette(pixels: "Pixels", folder: Path, palette_only: bool, device: str, progress: Progress) -> "Part":
    from codec import models
    from codec.checking import Part
    from codec.devices import device_named
    from codec.palette.network import PaletteImageGPT
    from codec.palette.packing import packed

    network, refinement = models.read(folder, device_named(device)), models.load(None, "rgb", device_named(device))
    assert isinstance(network, PaletteImageGPT)
    data, coded = packed(pixels, pixel_digest(pixels), network, refinement, palette_only, progress)
    return Part(pixels, data, coded, network)


def drawn(pixels: "Pixels", progress: Progress, always: bool = False, numerics_version: int = DRAWING_NUMERICS) -> bytes:
    """The bytes of an igpt file without a network; none if it makes the pixels more or, but for `always`, they do not look worth trying."""
    from bitstream.container import write_file
    from bitstream.header import DRAWING_KIND, Header
    from codec.mixing import bands as mixing
    from codec.tiling.planes import pixels_to_planes

    height, width, channels = pixels.shape
    if pixels.dtype == "uint8" and not always and not mixing.promising(pixels):
        return b""
    rows = mixing.rows_per_band(height, width)
    payloads = mixing.encode(pixels_to_planes(pixels), rows, progress, numerics_version)
    if not payloads:
        return b""
    header = Header(
        width=width,
        height=height,
        channels=channels,
        bit_depth=8 * pixels.itemsize,
        kind=DRAWING_KIND,
        pixel_digest=pixel_digest(pixels),
        rows=rows,
        numerics_version=numerics_version,
    )
    return write_file(header, payloads)


def packed(pixels: "Pixels", coded: "Coded", progress: Progress) -> bytes:
    """The bytes of an igpt file of the pixels, which is to hold these layers."""
    from bitstream.container import write_file
    from bitstream.header import PAST_KIND, Header
    from bitstream.outliers import pack
    from codec.network.layers import encode_layer, fields_of
    from codec.tiling.context import SIDE
    from codec.tiling.tiles import balanced_group

    height, width, channels = pixels.shape
    network, past, layers = coded
    fields, payloads = None, []
    if past:
        fields = fields_of(past)
        payloads.append(pack(past.positions, past.corrections))
    header = Header(
        width=width,
        height=height,
        channels=channels,
        bit_depth=8,
        kind=PAST_KIND if past else layers[0].kind.code,
        tile_side=SIDE,
        tiles_per_group=balanced_group(layers[-1].grid.tiles),
        model_digest=network.digest,
        model_name=network.name,
        pixel_digest=pixel_digest(pixels),
        past=fields,
    )
    shown = _share(progress, height * width, sum(layer.planes[0].size for layer in layers))
    for layer in layers:
        payloads += encode_layer(network, layer, header.tiles_per_group, shown)
    return write_file(header, payloads)


def what_is_coded(
    pixels: "Pixels", model: Path | None, device: str, use_past: bool, progress: Progress = _ignore
) -> "tuple[bytes, Coded | None]":
    """The file of a drawing and None, where that is the smallest; else what `packed` is to code, which then seems to be.

    progress: called with 0, now and then.
    """
    from codec.devices import check_device, device_named

    check_device(device)
    drawing = drawn(pixels, lambda _: progress(0)) if model is None else b""
    if drawing and 8 * len(drawing) <= EASY * pixels.size:
        return drawing, None
    from codec.pasts.past import recognised

    with ThreadPoolExecutor(1) as meanwhile:
        found = meanwhile.submit(device_named, device)  # which may take a second
        past = recognised(pixels) if use_past and pixels.shape[2] == 3 else None
    where = found.result()
    from codec import models
    from codec.network.layers import Coded, layers_of

    possible = [Coded(models.load(model, "ycc", where), past, layers_of(pixels, past))] if past else []
    if not (past and past.certain):
        possible.append(Coded(models.load(model, "rgb", where), None, layers_of(pixels, None)))
    if not drawing and len(possible) == 1:
        return b"", possible[0]
    sizes = [coded.estimated_bytes() + (PAST_BYTES if coded.past else 0) for coded in possible]
    size, coded = min(zip(sizes, possible, strict=True), key=lambda pair: pair[0])
    return drawing, None if drawing and len(drawing) <= HEADER_BYTES + size else coded


def decompress(
    data: bytes, *, model: str | Path | None = None, device: str = "auto", max_pixels: int | None = None, progress: Progress | None = None
) -> "Image.Image":
    """The image that `compress` was given, pixel for pixel, in the same mode.

    model: the folder of the model that the file names, where it is not in the package. max_pixels: refuse larger pictures; the default is
    Pillow's limit. device, progress: as in `compress`.

    Raises NotIgptError, NewerVersionError, DamagedError, TruncatedError, ModelError or TooLargeError, and UnsupportedImageError where
    Pillow has no mode for the picture.
    """
    from codec.pictures.pillow import opened

    return opened(decompress_picture(data, model=model, device=device, max_pixels=max_pixels, progress=progress))


def decompress_picture(
    data: bytes, *, model: str | Path | None = None, device: str = "auto", max_pixels: int | None = None, progress: Progress | None = None
) -> "Picture":
    """As `decompress`, as what a picture file is made of."""
    from codec.parsing import parsed

    return decompress_parsed(parsed(data), model=model, device=device, max_pixels=max_pixels, progress=progress)


def decompress_parsed(
    file: "Parsed",
    *,
    model: str | Path | None = None,
    device: str = "auto",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> "Picture":
    """As `decompress_picture`, for a file that was taken apart."""
    (found,) = decompress_pictures([file], model=model, device=device, max_pixels=max_pixels, progress=progress)
    if isinstance(found, IgptError):
        raise found
    return found


def decompress_pictures(
    files: "Sequence[Parsed]",
    *,
    model: str | Path | None = None,
    device: str = "auto",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> "list[Picture | IgptError]":
    """As `decompress_parsed`, for several files at once: the network goes through the tiles of all of them together. An error takes the
    place of a file's picture."""
    from codec.unpacking import pictures

    pixels, samples = sum(file.pixels for file in files), sum(file.samples for file in files)
    return pictures(files, model, device, max_pixels, _share(progress or _ignore, pixels, samples))


def decompress_pixels(
    data: bytes, *, model: str | Path | None = None, device: str = "auto", max_pixels: int | None = None, progress: Progress | None = None
) -> "Pixels":
    """The inverse of `compress_pixels`: an array (height, width, channels), uint8."""
    return decompress_picture(data, model=model, device=device, max_pixels=max_pixels, progress=progress).pixels


def info(data: bytes) -> dict[str, Any]:
    """What the header says, as plain values; neither the payload nor a model is touched.

    Raises NotIgptError, NewerVersionError, TruncatedError or DamagedError where the header is at fault.
    """
    from codec.parsing import parsed

    return info_of(parsed(data))


def info_of(file: "Parsed") -> dict[str, Any]:
    """As `info`, for a file that was taken apart."""
    from bitstream.constants import VERSION
    from bitstream.envelope import mode_of

    parts = [_fields(header) for header in file.headers]
    envelope = file.envelope
    if not envelope:
        return parts[0]
    return {
        **parts[0],
        "version": VERSION,
        "mode": mode_of(envelope.colour, envelope.depth),
        "channels": sum(header.channels for header in file.headers),
        "bit_depth": envelope.depth,
        **({"alpha": parts[1]["kind"]} if len(parts) > 1 else {}),
        "metadata": [name.decode() for name, _ in envelope.chunks if name != b"IDAT"],
    }


def _fields(header: "Header") -> dict[str, Any]:
    from bitstream.header import KINDS, past_name

    past = {"past": past_name(header.past.formula, header.past.filter)} if header.past else {}
    network = {
        "tile_side": header.tile_side,
        "tiles": header.tiles,
        "groups": header.groups,
        "model": header.model_name,
        "model_digest": header.model_digest.hex(),
        **({"refinement": header.refinement_name} if header.refinement_digest else {}),
    }
    return {
        "version": header.version,
        "numerics_version": header.numerics_version,
        "width": header.width,
        "height": header.height,
        "mode": {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[header.channels],
        "channels": header.channels,
        "bit_depth": header.bit_depth,
        "kind": KINDS[header.kind],
        **past,
        **({"bands": header.groups} if header.rows else network),
        "pixel_digest": header.pixel_digest.hex(),
    }


def pixel_digest(pixels: "Pixels") -> bytes:
    """SHA-256 of the pixels in raster order, channels interleaved, 16-bit samples with the low byte first, cut to 16 bytes."""
    import numpy as np

    from bitstream.constants import PIXEL_DIGEST_BYTES

    return hashlib.sha256(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).data).digest()[:PIXEL_DIGEST_BYTES]


def largest_file(start: bytes) -> int:
    """The largest size in bytes of a file whose header is in `start`. Raises as `info`."""
    from bitstream.container import largest_file as largest
    from bitstream.envelope import is_envelope, largest_envelope

    header = first_header(start)
    return largest_envelope(header) if is_envelope(start) else largest(header)


def first_header(start: bytes) -> "Header":
    """Of a file that begins with `start`; of an envelope its first part's. Raises as `info`."""
    from bitstream import envelope
    from bitstream.header import read_header
    from bitstream.reader import Reader

    return envelope.first_header(start) if envelope.is_envelope(start) else read_header(Reader(start, "the header"))


def _share(progress: Progress, pixels: int, samples: int) -> Progress:
    """Turns numbers of samples done, of all layers, into numbers of pixels."""
    done = shown = 0

    def update(count: int) -> None:
        nonlocal done, shown
        done += count
        now = done * pixels // max(samples, 1)
        progress(now - shown)
        shown = now

    return update
