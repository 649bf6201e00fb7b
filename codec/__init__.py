"""igpt: a lossless image codec driven by an ImageGPT transformer.

>>> data = codec.compress(Image.open("photo.png"))
>>> image = codec.decompress(data)
>>> codec.info(data)["width"]
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitstream.errors import (
    DamagedError,
    IgptError,
    ModelError,
    NewerVersionError,
    NotIgptError,
    TooLargeError,
    TruncatedError,
    UnsupportedImageError,
)

if TYPE_CHECKING:
    from PIL import Image

    from codec.planes import Pixels

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
    "compress",
    "decompress",
    "info",
]

Progress = Callable[[int], None]


def compress(image: "Image.Image", *, model: Path | None = None, device: str = "auto", progress: Progress | None = None) -> bytes:
    """The bytes of an igpt file.

    image: 8-bit RGB or greyscale (modes RGB and L). model: a folder with an integer model; the default model otherwise. device: auto, cpu
    or cuda; it does not change the bytes. progress: called with the number of pixels just done.

    Raises UnsupportedImageError for a picture that cannot be kept exactly, ModelError for an unusable model.
    """
    from codec.image import picture_of

    return compress_pixels(picture_of(image).pixels, model=model, device=device, progress=progress)


def compress_pixels(pixels: "Pixels", *, model: Path | None = None, device: str = "auto", progress: Progress | None = None) -> bytes:
    """As `compress`, for pixels of shape (height, width, 1 or 3), uint8."""
    from bitstream.container import write_file
    from bitstream.header import Header
    from codec import models
    from codec.coding import encode_group
    from codec.context import SIDE
    from codec.devices import device_named
    from codec.planes import kind_of, pixels_to_planes
    from codec.tiles import Grid, balanced_group, tiles_from_planes

    height, width, channels = pixels.shape
    network = models.load(model, device_named(device))
    kind = kind_of(channels)
    planes = pixels_to_planes(pixels, kind)
    grid = Grid(width, height)
    header = Header(
        width=width,
        height=height,
        channels=channels,
        bit_depth=8,
        kind=kind.code,
        tile_side=SIDE,
        tiles_per_group=balanced_group(grid.tiles),
        model_digest=network.digest,
        model_name=network.name,
        pixel_digest=pixel_digest(pixels),
    )
    payloads = []
    for first in range(0, grid.tiles, header.tiles_per_group):
        last = min(first + header.tiles_per_group, grid.tiles)
        samples = tiles_from_planes(planes, grid, first, last)
        payloads.append(encode_group(network, samples, grid.extents(first, last), kind, progress or _ignore))
    return write_file(header, payloads)


def decompress(
    data: bytes, *, model: Path | None = None, device: str = "auto", max_pixels: int | None = None, progress: Progress | None = None
) -> "Image.Image":
    """The image that `compress` was given, pixel for pixel.

    model: the folder of the model that the file names, where it is not in the package. max_pixels: refuse larger pictures; the default is
    Pillow's limit. device, progress: as in `compress`.

    Raises NotIgptError, NewerVersionError, DamagedError, TruncatedError, ModelError or TooLargeError.
    """
    from codec.image import image_of

    return image_of(decompress_pixels(data, model=model, device=device, max_pixels=max_pixels, progress=progress))


def decompress_pixels(
    data: bytes, *, model: Path | None = None, device: str = "auto", max_pixels: int | None = None, progress: Progress | None = None
) -> "Pixels":
    """As `decompress`, as an array (height, width, 1 or 3), uint8."""
    import numpy as np

    from bitstream.container import read_file
    from codec.image import MAX_PIXELS, check_size

    header, payloads = read_file(data)
    check_size(header.width, header.height, MAX_PIXELS if max_pixels is None else max_pixels)

    from codec import models
    from codec.coding import DECODED_TILES, decode_groups
    from codec.devices import device_named
    from codec.planes import KINDS, planes_to_pixels
    from codec.tiles import Grid, tiles_into_planes

    network = models.find(header.model_digest, header.model_name, model, device_named(device))
    kind = next(kind for kind in KINDS if kind.code == header.kind)
    grid = Grid(header.width, header.height)
    planes = np.empty((kind.channels, header.height, header.width), np.uint8)
    firsts = range(0, grid.tiles, header.tiles_per_group)
    groups_at_once = max(1, DECODED_TILES[network.device.type] // header.tiles_per_group)
    for k in range(0, header.groups, groups_at_once):
        some = range(k, min(k + groups_at_once, header.groups))
        extents = [grid.extents(firsts[g], min(firsts[g] + header.tiles_per_group, grid.tiles)) for g in some]
        decoded = decode_groups(network, payloads[some.start : some.stop], extents, kind, progress or _ignore)
        for g, samples in zip(some, decoded, strict=True):
            tiles_into_planes(samples, planes, grid, firsts[g])
    pixels = planes_to_pixels(planes, kind)
    if pixel_digest(pixels) != header.pixel_digest:
        msg = "the file is damaged: the pixels do not match their digest"
        raise DamagedError(msg)
    return pixels


def info(data: bytes) -> dict[str, Any]:
    """What the header says, as plain values; neither the payload nor a model is touched.

    Raises NotIgptError, NewerVersionError, TruncatedError or DamagedError where the header is at fault.
    """
    from bitstream.header import read_header
    from bitstream.reader import Reader

    header = read_header(Reader(data, "the header"))
    return {
        "version": header.version,
        "numerics_version": header.numerics_version,
        "width": header.width,
        "height": header.height,
        "mode": {1: "L", 3: "RGB"}[header.channels],
        "channels": header.channels,
        "bit_depth": header.bit_depth,
        "kind": {0: "rgb", 1: "grey"}[header.kind],
        "tile_side": header.tile_side,
        "tiles": header.tiles,
        "groups": header.groups,
        "model": header.model_name,
        "model_digest": header.model_digest.hex(),
        "pixel_digest": header.pixel_digest.hex(),
    }


def pixel_digest(pixels: "Pixels") -> bytes:
    """SHA-256 of the pixels in raster order, channels interleaved, cut to 16 bytes."""
    import numpy as np

    from bitstream.constants import PIXEL_DIGEST_BYTES

    return hashlib.sha256(np.ascontiguousarray(pixels).data).digest()[:PIXEL_DIGEST_BYTES]


def largest_file(start: bytes) -> int:
    """The largest size in bytes of a file whose header is in `start`. Raises as `info`."""
    from bitstream.container import largest_file as largest
    from bitstream.header import read_header
    from bitstream.reader import Reader

    return largest(read_header(Reader(start, "the header")))


def _ignore(pixels: int) -> None:
    pass
