"""The golden files: igpt files, the pictures that they hold as PNG files, files that must be refused, and what is expected of all of them.

`python -m tests.make_golden` makes those that are missing; with `--anew` all of them, as encoders choose today. An igpt file that they made
before is put into the folder `former`, under the version that made it, as files once written stay readable. Neither is ever run by a test.
"""

import hashlib
import io
import json
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
from PIL import Image

import codec
from bitstream import palette
from bitstream.container import CODING, COLOURS, INDEX, LEVELS, METADATA, PALETTE, SIZE, Coding, read
from bitstream.deflate import deflated
from bitstream.errors import IgptError
from bitstream.form import GREY, Form
from bitstream.form import PALETTE as INDEXED
from bitstream.reader import varint
from codec import models
from codec.compression import compress_picture
from codec.jpeg.rest import unpack
from codec.lossy import forms
from codec.methods.inside import DecodedJpeg
from codec.methods.method import Coded, Method
from codec.methods.mixing import DeepMixing, Mixing
from codec.methods.network import Network
from codec.methods.palette import PublishedPalette
from codec.methods.past import NO_OUTLIERS, PastMethod
from codec.methods.past import _Candidate as PastCandidate
from codec.methods.stored import Stored
from codec.network import layers
from codec.options import Level, Lossy, Options
from codec.palette import coding
from codec.palette.network import PaletteImageGPT
from codec.pasts.chroma import FILTERS, Sampling
from codec.pasts.colour import FORMULAS
from codec.pasts.past import Past
from codec.pictures.png_writing import written
from codec.pictures.reading import MAX_PIXELS, open_picture, picture_in
from codec.pictures.sources import picture_of_array
from codec.progress import ignore
from tests.conformance import EXPECTED, digest
from tests.conftest import (
    CPU,
    GOLDEN,
    TINY,
    TINY_DCT,
    TINY_MODELS,
    TINY_PALETTE,
    TINY_YCC,
    coded_by,
    decoded_jpeg,
    file_of,
    form_of,
    photo_cd,
    picture,
    remade,
    smooth,
    with_network,
)
from tests.igpt_decoder import KINDS
from tests.igpt_decoder import written as written_by_igpt
from tests.intermediate import FILES, INTERMEDIATE, intermediate
from tests.picture_files import saved, sums

REFUSED, FORMER = GOLDEN / "refused", GOLDEN / "former"
RGB_MODELS, YCC_MODELS = (
    [models.FOLDER / name for level in (Level.DEFAULT, Level.FAST) for name in models.OF_LEVELS[level][layout]] for layout in ("rgb", "ycc")
)
DCT_MODEL = models.default("dct")


class Golden(NamedTuple):
    """png: of the picture, or a JPEG file; made: the igpt file, as it is made today; models: folders of those that it names; deflated:
    whether it may be smaller elsewhere, as deflate streams differ."""

    png: bytes
    made: Callable[[], bytes]
    models: tuple[Path, ...] = ()
    deflated: bool = False


def golden() -> dict[str, Golden]:
    """All of them, by their names."""
    return {**networks(), **pasts(), **insides(), **files(), **palettes(), **mixed(), **stored(), **whole(), **changed()}


def png_of(pixels: np.ndarray, form: Form | None = None, chunks: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    return written(pixels, form or form_of(pixels), chunks)


# Each method, whether or not another one makes a smaller file


def networks() -> dict[str, Golden]:
    pictures = {
        "rgb-1x1": picture(1, 1, 3),
        "rgb-33x45": picture(45, 33, 3),
        "grey-70x31": picture(31, 70, 1),
        "flat-40x40": np.full((40, 40, 3), 7, np.uint8),
    }
    small = {"tile-32x32": smooth(32, 32), "row-70x1": smooth(1, 70)[..., :1], "column-1x40": smooth(40, 1)}
    found = {}
    for name, pixels in (pictures | small).items():
        for folder in (TINY, *RGB_MODELS) if name in pictures else (TINY,):
            made = lambda pixels=pixels, folder=folder: file_of(pixels, coded_by(Network(), pixels, model=folder))  # noqa: E731
            found[f"network-{name}.{folder.name}"] = Golden(png_of(pixels), made, (folder,))
        if name in pictures:
            found |= together(f"network-{name}", Network(), pixels, "rgb")
    for name, pixels in {"la-9x8": smooth(8, 9)[..., :2], "rgba-9x8": np.dstack([smooth(8, 9), picture(8, 9, 1)])}.items():
        pixels = np.ascontiguousarray(pixels)
        found[f"network-{name}.{TINY.name}"] = Golden(png_of(pixels), lambda pixels=pixels: with_network(pixels), (TINY,))
    of_groups = {
        "groups-100x70": (smooth(70, 100) // 8 + 100, 4),
        "thin-9x290": (smooth(290, 9)[..., :1], 4),
        "single-70x34": (smooth(34, 70)[..., :1], 2),  # two by one, and single tiles at the right, which have one turn
    }
    for name, (pixels, most) in of_groups.items():
        made = lambda pixels=pixels, most=most: in_groups(pixels, most)  # noqa: E731
        found[f"network-{name}.{TINY.name}"] = Golden(png_of(pixels), made, (TINY,))
    return found


def together(name: str, method: Network | PastMethod, pixels: np.ndarray, layout: str) -> dict[str, Golden]:
    """By several models at once: those of level best, and tiny ones."""
    tiny = [GOLDEN / of for of in TINY_MODELS[Level.BEST][layout]]
    best = [models.FOLDER / of for of in models.OF_LEVELS[Level.BEST][layout]]
    return {
        f"{name}.tiny-best": Golden(png_of(pixels), lambda: file_of(pixels, by_tiny_models(method, pixels, level=Level.BEST)), (*tiny,)),
        f"{name}.best": Golden(png_of(pixels), lambda: file_of(pixels, coded_by(method, pixels, level=Level.BEST)), (*best,)),
    }


def by_tiny_models(method: Method, pixels: np.ndarray, **options: object) -> Coded:
    """As if these were those that ship with igpt."""
    with mock.patch.multiple(models, FOLDER=GOLDEN, OF_LEVELS=TINY_MODELS):
        return coded_by(method, pixels, **options)


def in_groups(pixels: np.ndarray, most: int, method: Method | None = None, folder: Path = TINY) -> bytes:
    """Of so many tiles at most, of both turns."""
    with mock.patch.object(layers, "MAX_GROUP_TILES", most):
        return file_of(pixels, coded_by(method or Network(), pixels, model=folder))


def pasts() -> dict[str, Golden]:
    pictures = {
        "jpeg-45x70": decoded_jpeg(smooth(70, 45)),
        "outliers-45x70": spoilt(decoded_jpeg(smooth(70, 45))),
        "444-30x20": decoded_jpeg(smooth(20, 30), 95, "4:4:4"),
        "film-50x37": photo_cd(37, 50),
    }
    found = {}
    for name, pixels in pictures.items():
        for folder in (TINY_YCC, *YCC_MODELS):
            made = lambda pixels=pixels, folder=folder: file_of(pixels, coded_by(PastMethod(), pixels, model=folder))  # noqa: E731
            found[f"past-{name}.{folder.name}"] = Golden(png_of(pixels), made, (folder,), deflated=name.startswith("outliers"))
        if not name.startswith("outliers"):
            found |= together(f"past-{name}", PastMethod(), pixels, "ycc")
    pixels = decoded_jpeg(smooth(40, 100))
    made = lambda: in_groups(pixels, 2, PastMethod(), TINY_YCC)  # noqa: E731
    found[f"past-groups-100x40.{TINY_YCC.name}"] = Golden(png_of(pixels), made, (TINY_YCC,))
    for name, past in samplings().items():
        made = lambda past=past: file_of(past.pixels(), by_past(past))  # noqa: E731
        found[f"past-{name}.{TINY_YCC.name}"] = Golden(png_of(past.pixels()), made, (TINY_YCC,))
    return found


def samplings() -> dict[str, Past]:
    """Of every formula and filter, with cells that begin outside of the picture, and with a ring."""
    found = {}
    for formula, filters in ((FORMULAS[0], FILTERS[:7]), (FORMULAS[1], (FILTERS[0], FILTERS[7]))):
        for filter_ in filters:
            sampling = Sampling(filter_, filter_.down - 1, filter_.across - 1, filter_.code % 2)
            luma, chroma = smooth(11, 13)[..., 0] // 2 + 60, smooth(*sampling.small_shape(11, 13), 1)[..., :2] // 8 + 120
            chroma = np.ascontiguousarray(chroma.transpose(2, 0, 1))
            found[f"sampling-{formula.code}-{filter_.code}"] = Past(formula, sampling, luma, chroma, *NO_OUTLIERS)
    return found


def by_past(past: Past) -> Coded:
    """Whether or not it would be recognised."""
    return PastCandidate(PastMethod(), models.read(TINY_YCC, CPU), past).coded(ignore)


def insides() -> dict[str, Golden]:
    """Decoded JPEGs."""
    grey = np.asarray(Image.open(io.BytesIO(saved(Image.fromarray(smooth(64, 72)[..., 0]), "JPEG"))))[..., None]
    pictures = {
        "420-45x70": decoded_jpeg(smooth(70, 45)),
        "outliers-45x70": spoilt(decoded_jpeg(smooth(70, 45))),
        "444-64x48": decoded_jpeg(smooth(48, 64), 95, "4:4:4"),
        "grey-72x64": grey,
        "crop-75x80": np.ascontiguousarray(decoded_jpeg(smooth(96, 96))[3:83, 5:80]),
        "422-40x40": decoded_jpeg(smooth(40, 40), 80, "4:2:2"),
    }
    # Decoded by raylib 6.2.0.0 and SDL2_image 2.8.12, which use stb_image and agree, and by zune-jpeg 0.5.15 in kornia-rs 0.2.0
    for path in sorted(GOLDEN.glob("inside-stb-*.png")) + sorted(GOLDEN.glob("inside-zune-*.png")):
        pixels = np.asarray(Image.open(path))
        pictures[path.stem.removeprefix("inside-")] = pixels.reshape(*pixels.shape[:2], -1)
    found = {}
    for name, pixels in pictures.items():
        for folder in (TINY_DCT, DCT_MODEL):
            made = lambda pixels=pixels, folder=folder: file_of(pixels, coded_by(DecodedJpeg(), pixels, model=folder))  # noqa: E731
            found[f"inside-{name}.{folder.name}"] = Golden(png_of(pixels), made, (folder,), deflated=name.startswith("outliers"))
        made = lambda pixels=pixels: file_of(pixels, coded_by(DecodedJpeg(), pixels, level=Level.FAST))  # noqa: E731
        found[f"inside-{name}.fast"] = Golden(png_of(pixels), made, deflated=name.startswith("outliers"))
    return found


def files() -> dict[str, Golden]:
    """JPEG files."""
    found = {}
    for name, data in jpegs().items():
        for folder in (TINY_DCT, DCT_MODEL):
            made = lambda data=data, folder=folder: compress_picture(picture_in(data), Options(device=CPU, model=folder))  # noqa: E731
            found[f"file-{name}.{folder.name}"] = Golden(data, made, (folder,))
        made = lambda data=data: compress_picture(picture_in(data), Options(device=CPU, level=Level.FAST))  # noqa: E731
        found[f"file-{name}.fast"] = Golden(data, made)
    path = GOLDEN / "file-bands.jpg"
    bands = path.read_bytes() if path.exists() else saved(Image.new("L", (1032, 1024), 77), "JPEG", optimize=True)
    found["file-bands.fast"] = Golden(bands, lambda: compress_picture(picture_in(bands), Options(device=CPU, level=Level.FAST)))
    return found


def jpegs() -> dict[str, bytes]:
    """As the Pillow that made the golden files wrote them; afterwards they are taken from there."""
    image = Image.fromarray(smooth(37, 52))
    small, grey = image.crop((0, 0, 20, 18)), image.convert("L")
    thumbnail = b"Exif\0\0II*\0\x08\0\0\0\0\0" + saved(image.resize((24, 16)), "JPEG")
    made = {
        "baseline": saved(image, "JPEG", quality=85),
        "progressive": saved(image, "JPEG", progressive=True, subsampling="4:4:4"),
        "restarts": saved(image, "JPEG", subsampling="4:2:2", restart_marker_blocks=2),
        "cmyk": saved(image.convert("CMYK"), "JPEG", quality=60),
        "cut": saved(image, "JPEG")[:-200],
        "thumbnail": saved(grey, "JPEG", exif=thumbnail) + b"behind",
        "pixel": saved(grey.crop((0, 0, 1, 1)), "JPEG"),
        "12-bits": saved(grey, "JPEG").replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc1\0\x0b\x0c"),
        "progressive-restarts": saved(small, "JPEG", progressive=True, restart_marker_rows=1),
        "two": saved(image, "MPO", save_all=True, append_images=[image.resize((40, 40))]),
    }
    return {name: path.read_bytes() if (path := GOLDEN / f"file-{name}.jpg").exists() else data for name, data in made.items()}


def spoilt(pixels: np.ndarray) -> np.ndarray:
    """With two pixels that no JPEG decodes to."""
    spoilt = pixels.copy()
    spoilt[3, 4], spoilt[60, 44] = (1, 255, 0), (0, 3, 255)
    return spoilt


def palettes() -> dict[str, Golden]:
    """Colours, greys, and the palette's colours only."""
    colours = PaletteImageGPT.load(TINY_PALETTE, CPU).palette
    pictures = {
        "33x7": smooth(7, 33),
        "grey-5x34": smooth(34, 5)[..., :1],
        "own-20x12": colours.painted(colours.tokens(smooth(12, 20)), 3),
        "1x1": smooth(1, 1),
        "groups-66x3": smooth(3, 66),
    }
    return {
        f"palette-{name}.{TINY_PALETTE.name}": Golden(
            png_of(pixels), lambda name=name, pixels=pixels: by_palette(pixels, 1 if "groups" in name else 64), (TINY_PALETTE, TINY)
        )
        for name, pixels in pictures.items()
    }


def by_palette(pixels: np.ndarray, most: int) -> bytes:
    """In groups of so many tiles at most."""
    with mock.patch.object(coding, "largest_group", return_value=most):
        return file_of(pixels, by_tiny_models(PublishedPalette(), pixels, model=TINY_PALETTE))


def mixed() -> dict[str, Golden]:
    found = {}
    for name, channels in {"grey": [0], "la": [0, 3], "rgb": [0, 1, 2], "rgba": [0, 1, 2, 3]}.items():
        pixels = np.ascontiguousarray(drawing()[..., channels])
        found[f"mixing-{name}"] = Golden(png_of(pixels), lambda pixels=pixels: file_of(pixels, coded_by(Mixing(), pixels)))
    few = smooth(26, 32) // 8
    sizes = {"1x1": few[:1, :1], "row-32x1": few[:1], "column-1x26": few[:, :1], "tile-32x32": smooth(32, 32)[..., :1]}
    for name, pixels in sizes.items():
        pixels = np.ascontiguousarray(pixels)
        found[f"mixing-{name}"] = Golden(png_of(pixels), lambda pixels=pixels: file_of(pixels, coded_by(Mixing(), pixels)))
        deep = pixels[..., :2].astype(np.uint16) * 1000 + 7
        found[f"deep-{name}"] = Golden(png_of(deep), lambda deep=deep: file_of(deep, coded_by(DeepMixing(), deep)))
    colours = np.dstack([sums(few), sums(few) + sums(few[..., ::-1]) // 7, sums(few[..., [1, 2, 0]])])
    for variant, kind in enumerate(("blended", "exact")):
        for name, pixels in {"grey": sums(few), "rgb": colours, "rgba": np.dstack([colours, sums(few) // 3])[:9]}.items():
            made = lambda pixels=pixels, variant=variant: file_of(pixels, coded_by(DeepMixing(), pixels, variant))  # noqa: E731
            found[f"deep-{kind}-{name}"] = Golden(png_of(pixels), made)
    return found


def drawing() -> np.ndarray:
    """Stripes, a gradient and a few dots, (48, 64, 4) uint8."""
    y, x = np.mgrid[:48, :64]
    colours = [
        np.where(y % 12 < 5, 240, 3 * x),
        np.where(x > 40, 20, 200),
        (x // 9 + y // 7) % 2 * 90 + 30,
        np.where(x + y > 50, 255, 4 * y),
    ]
    pixels = np.stack(colours, -1)
    pixels[y * x % 37 == 5] = (255, 0, 90, 255)
    return pixels.astype(np.uint8)


def stored() -> dict[str, Golden]:
    found = {}
    for channels in (1, 2, 3, 4):
        for dtype in (np.uint8, np.uint16):
            pixels = noise((9, 7, channels), 8 * dtype(0).itemsize)
            made = lambda pixels=pixels: file_of(pixels, coded_by(Stored(), pixels))  # noqa: E731
            found[f"stored-{channels}x{8 * pixels.itemsize}"] = Golden(png_of(pixels), made)
    one = noise((1, 1, 1), 8)
    found["stored-1x1"] = Golden(png_of(one), lambda: file_of(one, coded_by(Stored(), one)))
    return found


def noise(shape: tuple[int, ...], depth: int) -> np.ndarray:
    return np.random.default_rng(depth).integers(0, 1 << depth, shape).astype(np.uint16 if depth > 8 else np.uint8)


# Whole pictures, as `compress` makes them


def changed() -> dict[str, Golden]:
    """Lossy ones: the pictures are what comes back."""
    photograph = (smooth(48, 60) + np.random.default_rng(3).normal(0, 3, (48, 60, 3))).clip(0, 255).astype(np.uint8)
    with_alpha = np.dstack([photograph[:20, :30], picture(20, 30, 1)])
    found = {}
    for name, pixels, options, folder in (
        ("lossy-rgb.dct-1", photograph, Options(lossy=Lossy.MEDIUM), DCT_MODEL),
        ("lossy-rgba.fast", with_alpha, Options(lossy=Lossy.HIGH, level=Level.FAST), None),
        ("near-rgb.photo-3", photograph, Options(max_error=2), RGB_MODELS[0]),
    ):
        kept = forms(picture_of_array(pixels), options)[-1].picture
        made = lambda pixels=pixels, options=options: compress_picture(picture_of_array(pixels), options)  # noqa: E731
        found[name] = Golden(png_of(kept.pixels, kept.form, kept.chunks), made, (folder,) if folder else ())
    return found


def whole() -> dict[str, Golden]:
    """Forms, representations and boxes."""
    colour, alpha = smooth(30, 40), picture(30, 40, 1)
    index = (colour[..., :1] >> 5).astype(np.uint8)
    chunks = (
        (b"gAMA", (45455).to_bytes(4, "big")),
        (b"tEXt", b"Title\0golden"),
        (b"IDAT", b""),
        (b"tIME", bytes((7, 234, 11, 20, 1, 2, 3))),
    )
    entries, greys = np.random.default_rng(0).bytes(24), np.random.default_rng(1).permutation(256)
    deep = colour.astype(np.uint16) * 250 + noise(colour.shape, 7)
    edited = (colour.astype(int) * 8 // 5).clip(0, 255).astype(np.uint8)
    ramp, photograph = smooth(96, 96)[..., :1], smooth(64, 64)
    table, numbers = np.unique(photograph.reshape(-1, 3) // 16 * 16, axis=0, return_inverse=True)
    pngs = {
        "rgb": png_of(colour),
        "rgba-apart": png_of(np.dstack([colour, np.full_like(alpha, 255)])),
        "rgba-together": png_of(np.dstack([index * 30, index * 9, index, index * 11]).astype(np.uint8)),
        "la": png_of(np.dstack([colour[..., :1], index]), chunks=chunks),
        "text": png_of(colour, chunks=chunks),
        "bitmap": png_of(index & 1, Form(GREY, 1)),
        "grey-2": png_of(index & 3, Form(GREY, 2)),
        "grey-4": png_of(index, Form(GREY, 4)),
        "noise-1": png_of(noise((33, 31, 1), 1), Form(GREY, 1)),
        "noise-4": png_of(noise((33, 31, 1), 4), Form(GREY, 4)),
        "palette-4": png_of(index, Form(INDEXED, 4), ((b"PLTE", entries), (b"tRNS", bytes((0, 128))))),
        "palette-8": png_of(index, Form(INDEXED, 8), ((b"gAMA", chunks[0][1]), (b"PLTE", entries), *chunks[1:])),
        "colours-grey": png_of(np.argsort(greys).astype(np.uint8)[ramp], Form(INDEXED, 8), ((b"PLTE", bytes(greys.repeat(3).tolist())),)),
        "colours-rgb": png_of(numbers.reshape(64, 64, 1).astype(np.uint8), Form(INDEXED, 8), ((b"PLTE", table.tobytes()),)),
        "ranks": png_of(np.dstack([edited[..., :2], colour[..., 2:]])),
        "ranks-rgba": png_of(np.dstack([edited, np.full_like(alpha, 9)])),
        "deep": png_of(deep),
        "levels": png_of(deep >> 6 << 6),
        "levels-many": png_of(np.minimum(noise((64, 64, 1), 10), 40).astype(np.uint16) + noise((64, 64, 1), 9).astype(np.uint16) * 113),
        "eight": png_of(colour[..., :1].astype(np.uint16) * 257),
        "jpeg": png_of(decoded_jpeg(photograph)),
        "noise-2": png_of(noise((33, 31, 1), 2), Form(GREY, 2)),
        "la-apart": png_of(np.dstack([colour[..., :1], np.full_like(alpha, 255)])),
        "la-apart-16": png_of(np.dstack([deep[..., :1], np.full_like(deep[..., :1], 65535)])),
        "rgba-apart-16": png_of(np.dstack([deep[:9], np.full_like(deep[:9, :, :1], 65535)])),
        "palette-1": png_of(index & 1, Form(INDEXED, 1), ((b"PLTE", entries[:6]),)),
        "palette-2": png_of(index & 3, Form(INDEXED, 2), ((b"PLTE", entries[:12]),)),
        "palette-beyond": png_of(index, Form(INDEXED, 4), ((b"PLTE", entries[:3]),)),
        "palette-256": png_of(ramp[:24, :24], Form(INDEXED, 8), ((b"PLTE", np.random.default_rng(2).bytes(768)),)),
    }
    boxed = {"la", "text", "palette-4", "palette-8", "colours-rgb", "ranks", "ranks-rgba", "levels", "levels-many", "eight"}
    folders = RGB_MODELS[0], YCC_MODELS[0]
    found = {f"whole-{name}": Golden(png, lambda png=png: compressed(png), folders, name in boxed) for name, png in pngs.items()}
    return found | by_hand()


def compressed(png: bytes) -> bytes:
    return compress_picture(open_picture(io.BytesIO(png), MAX_PIXELS), Options(device=CPU))


def by_hand() -> dict[str, Golden]:
    """What no encoder writes and every decoder takes: boxes to be skipped or in another order, tables as they are, a stored file."""
    pixels = smooth(9, 7)[..., :1] // 8
    data, chunks = file_of(pixels, coded_by(Stored(), pixels)), ((b"tEXt", b"Title\0golden"), (b"IDAT", b""))
    text = b"tEXt\x0cTitle\0goldenIDAT\0"
    values, ranks = np.unique(pixels, return_inverse=True)
    table = np.packbits(np.isin(np.arange(256), values), bitorder="little").tobytes()
    body, kept = ranks.astype(np.uint8).tobytes(), jpegs()["pixel"]
    boxes = (LEVELS, b"\1" + table), (METADATA, bytes((len(text),)) + text)
    file = compress_picture(picture_in(kept), Options(device=CPU))
    return {
        "hand-kept": Golden(kept, lambda: remade(file, codings=[Coding(0)], chunks=[kept])),
        "hand-skipped": Golden(png_of(pixels), lambda: with_boxes(data, (0x82, b"of tomorrow"))),
        "hand-order": Golden(png_of(pixels, chunks=chunks), lambda: with_boxes(remade(data, chunks=[body]), *boxes)),
    }


def with_boxes(of: bytes, *added: tuple[int, bytes]) -> bytes:
    """A file with more boxes before its others, whatever they are."""
    front, chunks = read(of)
    start = front.head.to_bytes() + b"".join(bytes((kind,)) + varint(len(body)) + body for kind, body in added)
    rest = of[len(front.head.to_bytes()) : front.size - 4]
    return checked(start + rest) + b"".join(map(checked, chunks))


def checked(part: bytes) -> bytes:
    return part + zlib.crc32(part).to_bytes(4, "little")


# Files that must be refused


def refused() -> dict[str, tuple[str, bytes]]:
    """The error that each must be refused with, and the file."""
    one = picture(4, 5, 1) // 8
    data, two = file_of(one, coded_by(Stored(), one)), picture(4, 5, 2)
    apart = file_of(two, *(coded_by(Stored(), np.ascontiguousarray(two[..., c : c + 1])) for c in (0, 1)))
    network = in_groups(picture(40, 70, 3), 4)
    first, second = read(network).chunks
    past = file_of(pixels := spoilt(decoded_jpeg(smooth(70, 45))), coded_by(PastMethod(), pixels, model=TINY_YCC))
    past_fields = read(past).front.codings[0].fields
    model = read(network).front.codings[0].fields[2:]
    levels = bytes((1, *[255] * 4, *bytes(28)))
    deep = file_of(one.astype(np.uint16), coded_by(Stored(), one.astype(np.uint16)))

    def boxes(**some: bytes | None) -> bytes:
        kinds = {"metadata": METADATA, "palette": PALETTE, "levels": LEVELS, "colours": COLOURS}
        return remade(data, boxes={kinds[name]: body for name, body in some.items()})

    def head(at: int, value: int) -> bytes:
        """With another byte in the front, and a check that is right."""
        size = read(data).front.size
        return checked(data[:at] + bytes((value,)) + data[at + 1 : size - 4]) + data[size:]

    damaged = {
        "container-version-0": head(4, 0),
        "width-0": head(5, 0),
        "height-0": head(6, 0),
        "grey-with-alpha-apart": remade(data, alpha_apart=True, codings=[Coding(0), Coding(0)], chunks=[one.tobytes()] * 2),
        "side-too-large": remade(data, width=(1 << 24) + 1),
        "deep-too-wide": remade(deep, width=(1 << 20) + 1, height=1, codings=[Coding(2)], chunks=[bytes(99)]),
        "varint-not-shortest": checked(data[:5] + b"\x85\0" + data[6 : read(data).front.size - 4]) + data[read(data).front.size :],
        "varint-too-long": checked(data[:5] + b"\x85\x80\x80\x80\x80\1" + data[6 : read(data).front.size - 4])
        + data[read(data).front.size :],
        "no-last-byte": data[:-1],
        "half": network[: len(network) // 2],
        "one-more-byte": data + b"\0",
        "twice": data + data,
        "front-check": data[: read(data).front.size - 1] + bytes((data[read(data).front.size - 1] ^ 1,)) + data[read(data).front.size :],
        "payload-bit": data[:-5] + bytes((data[-5] ^ 1,)) + data[-4:],
        "payload-check": data[:-1] + bytes((data[-1] ^ 128,)),
        "other-digest": remade(data, digest=bytes(8)),
        "other-payload": remade(data, chunks=[bytes(20)]),
        "payload-too-short": remade(data, chunks=[one.tobytes()[:-1]]),
        "payload-too-long": remade(data, chunks=[one.tobytes() + b"x"]),
        "box-of-type-0": with_boxes(data, (0, b"")),
        "box-twice": with_boxes(data, (LEVELS, levels), (LEVELS, levels)),
        "box-too-long": checked(data[:16] + b"\x81\xff\xff\xff\xff\x0f") + data[16:],
        "coding-without-method": checked(data[:16] + bytes((CODING, 0))) + checked(b"x"),
        "index-without-need": remade(data, chunks=[one.tobytes(), b""]),
        "index-empty": with_boxes(data, (INDEX, b"")),
        "index-too-short": remade(apart, chunks=[*read(apart).chunks, b""]),
        "index-too-large": with_boxes(data, (INDEX, b"\xff\xff\xff\xff\x0f")),
        "palette-missing": remade(data, form=Form(INDEXED, 8)),
        "palette-empty": remade(data, form=Form(INDEXED, 8), boxes={PALETTE: b""}),
        "palette-lacks-a-colour": remade(data, form=Form(INDEXED, 8), boxes={PALETTE: palette.pack(bytes(6)), COLOURS: b"\1"}),
        "palette-of-grey": boxes(palette=b"\0\1\2\3"),
        "colours-of-grey": boxes(colours=b"\1"),
        "levels-of-few-bits": remade(data, form=Form(GREY, 4), boxes={LEVELS: levels}, chunks=[bytes(12)]),
        "levels-of-no-channel": boxes(levels=b"\0"),
        "levels-of-another-channel": boxes(levels=b"\2" + levels[1:]),
        "levels-empty": boxes(levels=b"\1" + bytes(32)),
        "levels-too-short": boxes(levels=levels[:-1]),
        "levels-too-long": boxes(levels=levels + b"x"),
        "levels-bomb": boxes(levels=b"\1" + deflated(bytes(1 << 20))),
        "rank-too-large": boxes(levels=bytes((1, 3, *bytes(31)))),
        "deep-levels-0": remade(deep, boxes={LEVELS: varint(0) + deflated(b"")}),
        "deep-levels-descending": remade(deep, boxes={LEVELS: varint(2) + deflated(b"\1\0\0\0")}),
        "deep-levels-too-large": remade(deep, boxes={LEVELS: varint(2) + deflated(b"\xff\xff\xff\xff")}),
        "metadata-empty": boxes(metadata=b""),
        "metadata-of-nothing": boxes(metadata=b"\0"),
        "metadata-ihdr": boxes(metadata=b"\5IHDR\0"),
        "metadata-two-idat": boxes(metadata=b"\x0aIDAT\0IDAT\0"),
        "metadata-name": boxes(metadata=b"\5te t\0"),
        "metadata-body": boxes(metadata=b"\6teSt\2x"),
        "metadata-bomb": boxes(metadata=varint(1000) + deflated(bytes(1 << 20))),
        "stored-fields": remade(data, codings=[Coding(0, 0, b"\0")]),
        "stored-reserved-bits": remade(data, form=Form(GREY, 1), chunks=[b"\xff" * 4]),
        "deep-mixing-of-8-bits": remade(data, codings=[Coding(2)]),
        "mixing-of-16-bits": remade(deep, codings=[Coding(1)]),
        "network-of-alpha": remade(apart, alpha_apart=False, codings=[Coding(3, 0, b"\1\1" + model)], chunks=[bytes(40)]),
        "network-groups-0": remade(network, codings=[Coding(3, 0, b"\0\1" + model)]),
        "network-groups-257": remade(network, codings=[Coding(3, 0, b"\1\x81\2" + model)]),
        "network-name": remade(network, codings=[Coding(3, 0, b"\2\2" + model[:16] + b"\1\n")]),
        "network-fields": remade(network, codings=[Coding(3, 0, b"\2\2" + model + b"x")]),
        "network-model-twice": remade(network, codings=[Coding(3, 0, b"\2\2" + model + model)]),
        "network-five-models": remade(network, codings=[Coding(3, 0, b"\2\2" + b"".join(bytes([k] * 16) + b"\0" for k in range(5)))]),
        "network-one-group": remade(network, chunks=[first]),
        "network-three-groups": remade(network, chunks=[first, second, second]),
        "network-groups-exchanged": remade(network, chunks=[second, first]),
        "network-too-few-words": remade(network, chunks=[first, second[:-4]]),
        "network-too-many-words": remade(network, chunks=[first + bytes(8), second]),
        "network-half-a-word": remade(network, chunks=[first, second + bytes(2)]),
        "network-noise": remade(network, chunks=[noise((len(first),), 8).tobytes(), second]),
        "network-noise-in-the-second-turn": remade(network, chunks=[first[:-8] + noise((8,), 8).tobytes(), second]),
        "past-without-outliers": remade(past, chunks=[b"", *read(past).chunks[1:]]),
        "past-outliers-cut": remade(past, chunks=[read(past).chunks[0][:-1], *read(past).chunks[1:]]),
        "past-sampling": remade(past, codings=[Coding(4, 0, bytes((past_fields[0] & ~7 | 0x10,)) + past_fields[1:])]),
        "past-fields": remade(past, codings=[Coding(4, 0, past_fields + b"\0")]),
        "past-of-grey": remade(data, codings=[Coding(4, 0, b"\1\1\1" + model)]),
    }
    jpeg = compress_picture(picture_in(jpegs()["baseline"]), Options(device=CPU, model=TINY_DCT))
    fields, size = read(jpeg).front.codings[0].fields, read(jpeg).front.boxes[SIZE]
    inside = file_of(decoded_jpeg(smooth(30, 40)), coded_by(DecodedJpeg(), decoded_jpeg(smooth(30, 40)), model=TINY_DCT))
    blocks = read(inside).front.codings[0].fields
    without_steps = blocks[: 19 + blocks[18]]
    steps = unpack(blocks[len(without_steps) :], 256)
    damaged |= {
        "file-without-size": remade(jpeg, boxes={SIZE: None}),
        "file-of-another-size": remade(jpeg, boxes={SIZE: varint(len(jpegs()["baseline"]) + 1)}),
        "file-too-large": remade(jpeg, boxes={SIZE: varint((1 << 28) + 1)}),
        "file-with-metadata": remade(jpeg, boxes={METADATA: b"\5teSt\0"}),
        "file-by-mixing": remade(jpeg, codings=[Coding(1)]),
        "file-of-17-pictures": remade(jpeg, codings=[Coding(6, 0, bytes((34,)) + fields[1:])]),
        "file-rest-cut": remade(jpeg, codings=[Coding(6, 0, fields[:-1])]),
        "file-coefficients-cut": remade(jpeg, chunks=[read(jpeg).chunks[0][:-1]]),
        "file-other-coefficients": remade(jpeg, chunks=[noise((len(read(jpeg).chunks[0]),), 8).tobytes()]),
        "picture-as-file": remade(data, codings=[Coding(6, 0, fields)]),
        "picture-with-size": remade(data, boxes={SIZE: size}),
        "inside-reserved-bit": remade(inside, codings=[Coding(7, 0, bytes((blocks[0] | 0xC0,)) + blocks[1:])]),
        "inside-too-far": remade(inside, codings=[Coding(7, 0, bytes((blocks[0] & ~7, 0x80)) + blocks[2:])]),
        "inside-step-0": remade(inside, codings=[Coding(7, 0, without_steps + b"\0" + bytes(256))]),
        "inside-of-grey": remade(data, codings=[Coding(7, 0, blocks)]),
        "inside-fields": remade(inside, codings=[Coding(7, 0, without_steps + b"\0" + steps + b"x")]),
        "inside-steps-cut": remade(inside, codings=[Coding(7, 0, blocks[:-1])]),
        "inside-ring-of-grey": remade(data, codings=[Coding(7, 0, b"\x0f\0" + without_steps[2:] + b"\0" + steps[:128])]),
        "inside-exceptions-of-noise": remade(inside, chunks=[b"x", *read(inside).chunks[1:]]),
    }
    damaged["palette-refined-2"] = remade(data, codings=[Coding(5, 0, b"\2\1\1" + model)])
    foreign = {"empty": b"", "png": png_of(one)[:60], "text-mode": data.replace(b"\x89", b"\x09", 1)}
    newer = {
        "container-version-2": data[:4] + b"\2" + data[5:],
        "box-that-must-be-known": with_boxes(data, (7, b"tomorrow's")),
        "method-31": remade(data, codings=[Coding(31)]),
        "variant-1": remade(data, codings=[Coding(0, 1)]),
        "colour-type-1": head(7, 1 | 3 << 3),
        "colour-type-5": head(7, 5 | 3 << 3),
        "file-of-16-bits": head(7, 7 | 4 << 3),
        "bits-32": head(7, 5 << 3),
        "rgb-of-4-bits": head(7, 2 | 2 << 3),
        "palette-of-16-bits": head(7, 3 | 4 << 3),
        "form-reserved-bit": head(7, 3 << 3 | 0x80),
    }
    unknown = {"model-missing": remade(network, codings=[Coding(3, 0, b"\2\2" + bytes(range(16)) + b"\0")])}
    # 11 bands of a row each, whose payloads nobody comes to
    large = {"too-large": remade(data, width=1 << 24, height=11, codings=[Coding(1)], chunks=[noise((50,), 8).tobytes()] * 11)}
    kinds = {"DamagedError": damaged, "NotIgptError": foreign, "NewerVersionError": newer, "ModelError": unknown, "TooLargeError": large}
    return {f"{name}.{error}": (error, file) for error, files in kinds.items() for name, file in files.items()}


# What is expected


def expected() -> dict[str, dict]:
    """As `golden/README.md` describes it."""
    folders = sorted(path.parent for path in [*GOLDEN.glob("*/config.json"), *models.FOLDER.glob("*/config.json")])
    digests = {models.read(folder, CPU).digest.hex(): folder for folder in folders}
    valid = {path.stem: expected_of(path, digests) for path in sorted(GOLDEN.glob("*.igpt"))}
    kinds = {f"refused/{path.stem}": kind_of(path.read_bytes()) for path in sorted(REFUSED.glob("*.igpt"))}
    root = GOLDEN.parents[1]
    return {"models": {str(of.relative_to(root)): digest for digest, of in digests.items()}, "valid": valid, "refused": kinds}


def expected_of(path: Path, folders: dict[str, Path]) -> dict:
    """Of a valid file: of the picture or file beside it, whatever a decoder says. folders: of models, by their digests."""
    named = [folders[model.digest].name for model in codec.info(path.read_bytes()).models]
    beside = path.stem.split(".")[0]
    if (jpeg := GOLDEN / f"{beside}.jpg").exists():
        return {"bytes": jpeg.stat().st_size, "file": digest(jpeg.read_bytes()), "models": named}
    picture = open_picture(io.BytesIO((GOLDEN / f"{beside}.png").read_bytes()), MAX_PIXELS)
    header, rest = written_by_igpt(picture).split(b"\n", 1)
    of = dict(zip(("colour", "bits", "width", "height"), map(int, header.split()), strict=True))
    cut = picture.pixels.nbytes
    return {**of, "bytes": cut, "samples": digest(rest[:cut]), "chunks": digest(rest[cut:]), "models": named}


def kind_of(data: bytes) -> str:
    """Why a file is refused by who has all models."""
    try:
        with mock.patch.dict(os.environ, IGPT_MODEL_PATH=str(GOLDEN)):
            codec.decode(data, device=CPU)
    except IgptError as error:
        return KINDS[type(error)]
    raise AssertionError


def lines(values: dict, levels: int) -> str:
    """JSON with a line for each value of so many levels of objects."""
    if not levels:
        return json.dumps(values)
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {lines(of, levels - 1)}" for name, of in values.items()) + "\n}"


def write(path: Path, data: bytes, anew: bool) -> None:
    if anew or not path.exists():
        path.write_bytes(data)


def keep(path: Path) -> None:
    """Of a file that is not made any more; the one that a release had, not what stood there between releases."""
    kept = FORMER / f"{path.stem}.{codec.__version__}.igpt"
    if kept.exists():
        path.unlink()
    else:
        path.rename(kept)


def main() -> None:
    anew = "--anew" in sys.argv
    REFUSED.mkdir(exist_ok=True)
    FORMER.mkdir(exist_ok=True)
    made = golden()
    for name, some in made.items():
        kind = "jpg" if some.png.startswith(b"\xff\xd8") else "png"
        write(GOLDEN / f"{name.split('.')[0]}.{kind}", some.png, False)
        path = GOLDEN / f"{name}.igpt"
        if anew or not path.exists():
            data = some.made()
            if path.exists() and path.read_bytes() != data:
                keep(path)
            path.write_bytes(data)
    for path in GOLDEN.glob("*.igpt"):
        if path.stem not in made:
            keep(path)
    for name, (_, data) in refused().items():
        write(REFUSED / f"{name}.igpt", data, anew)
    paths = sorted(path for folder in (GOLDEN, FORMER, REFUSED) for path in folder.glob("*.igpt"))
    digests = [f"{path.relative_to(GOLDEN)} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}\n" for path in paths]
    (GOLDEN / "digests.txt").write_text("".join(digests))
    known = {} if anew or not EXPECTED.exists() else json.loads(EXPECTED.read_text())
    EXPECTED.write_text(lines({part: of | known.get(part, {}) for part, of in expected().items()}, 2) + "\n")
    known = {} if anew or not INTERMEDIATE.exists() else json.loads(INTERMEDIATE.read_text())
    INTERMEDIATE.write_text(lines({name: known.get(name) or intermediate(name) for name in FILES}, 1) + "\n")


if __name__ == "__main__":
    main()
