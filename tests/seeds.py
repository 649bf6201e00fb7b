"""Small valid files of every sort, which `fuzz` mutates: igpt files of all methods, forms and representations, and picture files."""

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache
from unittest import mock

import numpy as np
from PIL import Image

from bitstream.container import read
from bitstream.form import GREY, PALETTE, RGB, RGB_ALPHA, Form
from codec import models
from codec.compression import compress_picture
from codec.decompression import understood
from codec.methods.inside import DecodedJpeg
from codec.methods.method import Method
from codec.methods.mixing import DeepMixing, Mixing
from codec.methods.network import Network
from codec.methods.palette import PublishedPalette
from codec.methods.past import PastMethod
from codec.methods.stored import Stored
from codec.network import layers
from codec.options import Level, Options
from codec.pasts.chroma import FILTERS, Sampling
from codec.pasts.colour import FORMULAS
from codec.pasts.past import developed
from codec.pictures.picture import Picture
from codec.pictures.pillow import picture_kept
from codec.pictures.reading import picture_in
from codec.representations import picture_boxes, representations
from tests.conftest import GOLDEN, TINY, TINY_MODELS, TINY_PALETTE, coded_by, decoded_jpeg, file_of, smooth
from tests.forged import claiming

FORMATS = {
    "PNG": {"dpi": (72, 72), "icc_profile": b"profile"},
    "PPM": {},
    "BMP": {},
    "TIFF": {},
    "GIF": {},
    "WEBP": {"lossless": True, "exact": True, "exif": b"Exif\0\0x", "xmp": b"<x/>"},
    "JPEG": {},
}


def file_by(method: Method, samples: np.ndarray, which: int = 0, **options: object) -> bytes:
    """What one method makes of samples, whether or not another makes less."""
    return file_of(samples, coded_by(method, samples, which, **options))


def tiny_models() -> AbstractContextManager[object]:
    """As if these were those that ship with igpt."""
    return mock.patch.multiple(models, FOLDER=GOLDEN, OF_LEVELS=TINY_MODELS)


@cache
def files() -> list[bytes]:
    return [*without_models(), *with_models()]


@cache
def without_models() -> list[bytes]:
    y, x = np.mgrid[:12, :17]
    rgb = np.stack([x * y, x, y], -1).astype(np.uint8)
    deep = np.stack([x * 3000 + y, y * 70, x * y * 300], -1).astype(np.uint16)
    found = [compress_picture(picture, Options(device="cpu")) for picture in small_pictures()]
    found += [file_by(Mixing(), samples) for samples in (rgb, rgb[..., :1], rgb[..., :2], np.dstack([rgb, rgb[..., :1]]))]
    found += [file_by(DeepMixing(), deep[..., :channels], which=k) for k in range(2) for channels in (1, 2, 3)]
    found += [file_by(Stored(), samples) for samples in (rgb, rgb[..., :1], deep)]
    return [*(data for data in found if not names_models(data)), *map(coloured, (3, 1))]


def coloured(channels: int) -> bytes:
    """A palette's colours instead of its indices."""
    y, x = np.mgrid[:9, :13][..., None]
    entries = bytes(k * (2 if channels == 3 and c == 2 else 1) for k in range(0, 120, 5) for c in range(3))
    picture = Picture((x + y).astype(np.uint8), Form(PALETTE, 8), ((b"PLTE", entries),))
    _, colours = representations(picture)
    coded = coded_by(Mixing(), colours.samples)
    return claiming(13, 9, picture.form, coded.coding, coded.chunks, {**picture_boxes(picture), **colours.boxes}, picture.pixels)


@cache
def with_models() -> list[bytes]:
    """In a rectangle of two tiles, and in two of one; a past with outliers, and one without."""
    y, x = np.mgrid[:20, :33]
    rgb = np.stack([x * 7 + y, x * 3 + y * y, y * 11], -1).astype(np.uint8)
    chroma = np.stack([x[:10, :17] + 110, 140 - y[:10, :17]]).astype(np.uint8)
    jpeg = developed(FORMULAS[0], (60 + x + 3 * y).astype(np.uint8), Sampling(FILTERS[1]).upsampled(chroma, 20, 33))
    spotted = jpeg.copy()
    spotted[5, 7:9] ^= 64
    network, past, palette = Network(), PastMethod(), PublishedPalette()
    with tiny_models(), mock.patch.object(layers, "MAX_GROUP_TILES", 1):
        found = [file_by(network, rgb), file_by(network, rgb[..., :1]), file_by(past, jpeg), file_by(past, spotted)]
    with tiny_models():
        exact = models.with_palette(str(TINY_PALETTE), None, "cpu").palette.quantized(rgb)
        found += [file_by(network, rgb), file_by(past, spotted)]
        found += [file_by(network, rgb, level=Level.BEST), file_by(past, jpeg, level=Level.BEST)]
        jpegs_seen = decoded_jpeg(smooth(40, 50)), decoded_jpeg(smooth(48, 64), 95, "4:4:4")
        found += [file_by(DecodedJpeg(), pixels) for pixels in jpegs_seen]
        found += [file_by(DecodedJpeg(), pixels, level=Level.FAST) for pixels in jpegs_seen]
        found += [compress_picture(picture_in(data), Options(device="cpu", level=level)) for level in Level for data in jpegs()]
        found += [file_by(palette, pixels, model=TINY_PALETTE) for pixels in (rgb[:9], rgb[:5, :, :1], exact[:5])]
        parts = coded_by(network, rgb), coded_by(Mixing(), np.full((20, 33, 1), 255, np.uint8))
        found.append(file_of(np.dstack([rgb, np.full((20, 33), 255, np.uint8)]), *parts))
    return [*found, file_by(network, rgb, model=TINY)]  # the last says its name


@cache
def jpegs() -> list[bytes]:
    """JPEG files: of every kind of scan, with a thumbnail, with a second picture, cut off, and with bytes behind."""
    y, x = np.mgrid[:40, :52]
    image = Image.fromarray((np.stack([x * 5, y * 6, x * y // 9], -1) % 251).astype(np.uint8))
    kinds: list[dict[str, object]] = [
        {"subsampling": "4:2:0"},
        {"subsampling": "4:4:4", "quality": 95},
        {"progressive": True},
        {"subsampling": "4:2:2", "restart_marker_blocks": 2},
        {"progressive": True, "restart_marker_rows": 1},
        {"quality": 20},
    ]
    found = [_saved(image, "JPEG", **kind) for kind in kinds]
    found += [_saved(image.convert(mode), "JPEG") for mode in ("L", "CMYK")]
    found.append(_saved(image, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0" + found[0]))
    found.append(_saved(image, "MPO", save_all=True, append_images=[image.resize((30, 30))]))
    return [*found, found[0][: len(found[0]) * 3 // 4], found[2] + b"behind"]


def _saved(image: Image.Image, name: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def names_models(data: bytes) -> bool:
    front = read(data).front
    return any(method.models(part) for method, part in understood(front)[1])


def small_pictures() -> Iterator[Picture]:
    """Of every form; with metadata, with few levels, and with a palette that is a ramp."""
    yield from map(picture_kept, small_images())
    y, x = np.mgrid[:9, :13][..., None]
    ramp = b"".join(bytes((k, k, k)) for k in range(0, 256, 5))
    text = (b"tEXt", b"Title\0what it shows"), (b"IDAT", b""), (b"eXIf", b"II*\0\x08\0\0\0\0\0")
    yield Picture((x * 3 + y).astype(np.uint8), Form(PALETTE, 8), ((b"PLTE", ramp), *text))
    yield Picture(((x + y) % 16).astype(np.uint8), Form(PALETTE, 4), ((b"gAMA", bytes(4)), (b"PLTE", ramp[: 3 * 16]), (b"tRNS", b"\0\1")))
    for depth in (2, 4):
        yield Picture(((x + y) % (1 << depth)).astype(np.uint8), Form(GREY, depth))
    noise = np.random.default_rng(0).integers(0, 25, (9, 13, 4)).astype(np.uint8)
    yield Picture(noise[..., :3] * 10, Form(RGB, 8), text)
    yield Picture(np.dstack([noise[..., :3] * 10, noise[..., 3:]]), Form(RGB_ALPHA, 8))
    yield Picture(np.ascontiguousarray(y * 13 + x).astype(np.uint16) * 500, Form(GREY, 16))
    yield Picture(np.random.default_rng(0).integers(0, 300, (9, 40, 4)).astype(np.uint16) * 200, Form(RGB_ALPHA, 16))


def small_images() -> list[Image.Image]:
    """Of every mode."""
    y, x = np.mgrid[:9, :13]
    samples = (np.stack([x * 19, y * 25, (x + y) * 11, 255 - 20 * x], -1) % 256).astype(np.uint8)
    colours = Image.fromarray(samples[..., :3])
    deep = Image.fromarray((x * 5000 + y * 77).astype(np.uint16))
    grey = Image.fromarray(samples[..., 0])
    return [
        colours,
        Image.fromarray(samples),
        grey,
        Image.fromarray(samples[..., 2:]),
        colours.quantize(7),
        grey.point(lambda v: v & 128, "1"),
        deep,
    ]


def pictures() -> list[bytes]:
    """Picture files of every format that is read."""
    found = [path.read_bytes() for path in sorted(GOLDEN.glob("*.png")) if path.stat().st_size < 3000]
    for image in small_images():
        for name, options in FORMATS.items():
            stream = io.BytesIO()
            try:
                image.save(stream, name, **options)
            except (OSError, ValueError):
                continue
            found.append(stream.getvalue())
    stream = io.BytesIO()
    small_images()[0].save(stream, "TIFF", compression="tiff_lzw", icc_profile=b"profile", dpi=(72, 72))
    return [*found, stream.getvalue()]
