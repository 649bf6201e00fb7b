"""What the benchmark scripts share: theory, and the sizes that other codecs make of the same pixels."""

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from bitstream.constants import FREQUENCY_BITS
from codec.coding import tokens_and_frequencies
from codec.image import image_of
from codec.network.integer import IntegerImageGPT
from codec.planes import kind_of, pixels_to_planes
from codec.tiles import Grid, balanced_group, tiles_from_planes

Pixels = npt.NDArray[np.uint8]


def theoretical_bits(pixels: Pixels, network: IntegerImageGPT) -> float:
    """The sum of -log2(frequency / 2^24) of all tokens: what no coder with this model can go below."""
    height, width, channels = pixels.shape
    kind, grid = kind_of(channels), Grid(width, height)
    planes = pixels_to_planes(pixels, kind)
    total, group = 0.0, balanced_group(grid.tiles)
    for first in range(0, grid.tiles, group):
        last = min(first + group, grid.tiles)
        samples = tiles_from_planes(planes, grid, first, last)
        for tokens, tables in tokens_and_frequencies(network, samples, grid.extents(first, last), kind):
            total += float((FREQUENCY_BITS - np.log2(tables[np.arange(len(tokens)), tokens])).sum())
    return total


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _jxl(image: Image.Image) -> bytes:
    import pillow_jxl  # noqa: F401

    return saved(image, "JXL", lossless=True, effort=9, num_threads=1)


COMPETITORS: dict[str, Callable[[Image.Image], bytes]] = {
    "PNG (optimised)": lambda image: saved(image, "PNG", optimize=True),
    "WebP lossless": lambda image: saved(image, "WEBP", lossless=True, method=6, quality=100, exact=True),
    "JPEG XL effort 9": _jxl,
}


def competitor_bytes(pixels: Pixels, name: str) -> int:
    """The size of what `name` makes of the pixels, decoded and compared before it counts."""
    image = image_of(pixels)
    data = COMPETITORS[name](image)
    with Image.open(io.BytesIO(data)) as back:
        if not np.array_equal(np.asarray(back.convert(image.mode)), np.asarray(image)):
            msg = f"{name} changed the pixels"
            raise ValueError(msg)
    return len(data)
