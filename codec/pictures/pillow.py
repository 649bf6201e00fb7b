"""Pillow's images <-> pictures."""

import contextlib
import io
import logging
import os
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImagePalette, PngImagePlugin, TiffTags

from bitstream.constants import MAX_CHUNK_BYTES
from bitstream.envelope import Chunks, mode_of
from bitstream.errors import UnsupportedImageError
from bitstream.form import ALPHA, GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Form
from codec.pictures.picture import DAMAGES, Picture
from codec.tiling.planes import Pixels

logger = logging.getLogger("igpt")

# Info keys that say how the file was laid out, not what the picture is.
_LAYOUT = {
    "adobe",
    "adobe_transform",
    "compression",
    "loop",
    "background",
    "jfif",
    "jfif_version",
    "jfif_density",
    "jfif_unit",
    "progressive",
    "progression",
    "interlace",
    "timestamp",
    "duration",
    "version",
    "extension",
}
_TIFF_LAYOUT = {*range(254, 260), 262, 266, 273, 274, *range(277, 280), 282, 283, 284, 296, 297, 317, 320, *range(322, 326), 338, 339, 347}
_TIFF_KEPT = {700, 34675}  # XMP, colour profile
_MODES = {
    "1": Form(GREY, 1),
    "I;16": Form(GREY, 16),
    "L": Form(GREY, 8),
    "LA": Form(GREY_ALPHA, 8),
    "P": Form(PALETTE, 8),
    "RGB": Form(RGB, 8),
    "RGBA": Form(RGB_ALPHA, 8),
}
_EIGHT_BITS = {"BMP", "DIB", "GIF", "JPEG", "MPO", "PCX", "QOI", "TGA", "WEBP", "XBM", "XPM"}  # formats of which Pillow keeps every bit
_EXACT = {"PNG": ("1", "P", "I;16"), "PPM": ("1", "I;16"), "IGPT": ("1", "P", "I;16", "LA", "RGB", "RGBA")}  # modes that hide nothing
_SMALL = {"L;2": 2, "L;4": 4}  # raw modes of few bits, which Pillow stretches to 0 to 255
XMP = b"XML:com.adobe.xmp\0\0\0\0\0"

_UNDERSTOOD = (b"PLTE", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sRGB", b"pHYs", b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # by Pillow
_MOST_INFLATED = 1032  # bytes that one deflated byte can become
_INFLATED_BYTES = 1 << 28  # of all texts and profiles of a picture; further ones are not looked at


def picture_kept(image: Image.Image, given: Mapping[str, Any] | None = None) -> Picture:
    """As `picture_of`, for an image that a caller has: loaded or not, changed, without its file. What is not stored of it is logged."""
    if isinstance(image, ImageFile.ImageFile) and image.mode in _MODES and (what := _cut(image)):
        msg = f"{what}: Pillow's image may have less; compress the file itself, or image.copy() for what Pillow has"
        raise UnsupportedImageError(msg)
    picture = picture_of(image, given)
    if picture.left_out:
        logger.warning("not stored: %s", ", ".join(picture.left_out))
    return picture


def picture_of(image: Image.Image, given: Mapping[str, Any] | None = None) -> Picture:
    """An opened image: its samples, and as chunks what Pillow knows of it. Raises UnsupportedImageError where that is not all of it.

    given: options of `Image.save`: exif, icc_profile, dpi, xmp and transparency take the place of the image's own, and remove them where
    they are empty; the chunks of a pnginfo are added.
    """
    require_supported(image)
    form, samples = _samples_kept(image)
    info, added = _settled(image, given or {})
    chunks: list[tuple[bytes, bytes]] = []
    for name, packed in _PACKED.items():
        if name in info:
            with contextlib.suppress(struct.error, ValueError, TypeError, AttributeError, OverflowError, ZeroDivisionError):
                chunks.append(packed(info[name]))
                del info[name]
    transparency = info.pop("transparency", None)
    chunks = [*(chunk for chunk in chunks if chunk[0] not in added.instead), *added.first]
    entries = b""
    if form.colour == PALETTE:
        colours, mode = image.getpalette("RGBA") or [], image.palette.mode if image.palette else ""
        table = np.array(colours or [0, 0, 0, 255], np.uint8).reshape(-1, 4)
        entries = table[:, :3].tobytes()
        chunks.append((b"PLTE", entries))
        if transparency in (None, b"") and mode == "RGBA":
            transparency = table[:, 3].tobytes()
    if form.colour in ALPHA:  # beside that it is a stale note
        info |= {"transparency": 0} if (given or {}).get("transparency") is not None else {}
    elif transparency not in (None, b""):
        chunks.append((b"tRNS", _transparent(transparency, image.mode, len(entries) // 3)))
    chunks += added.behind_palette
    if added.last:
        chunks += [(b"IDAT", b""), *added.last]
    left_out = {*(_printable(str(name)) for name in info.keys() - _LAYOUT), *added.left_out}
    if image.format == "TIFF":
        left_out |= {TiffTags.lookup(tag).name for tag in set(getattr(image, "tag_v2", {})) - _TIFF_LAYOUT - _TIFF_KEPT}
    return Picture(samples, form, tuple(chunks), tuple(sorted(left_out)))


def _printable(name: str) -> str:
    """A file may have named it."""
    return name if name.isprintable() else ascii(name)


class _Added(NamedTuple):
    """Chunks of a pnginfo, by their place. instead: names of which a picture has one; left_out: names of those that igpt makes itself."""

    instead: frozenset[bytes] = frozenset()
    first: Chunks = ()
    behind_palette: Chunks = ()
    last: Chunks = ()
    left_out: tuple[str, ...] = ()


def _settled(image: Image.Image, given: Mapping[str, Any]) -> tuple[dict[Any, Any], _Added]:
    """What is known of an image and what was given, each thing once."""
    info = dict(image.info)
    if "dpi" in given:
        info.pop("aspect", None)
    if "xmp" in given or "xmp" in info:
        info.pop("XML:com.adobe.xmp", None)  # the same as a text
    for name in ("exif", "icc_profile", "dpi", "xmp", "transparency"):
        if name in given:
            info[name] = given[name]
            if given[name] is None or (hasattr(given[name], "__len__") and not len(given[name])):
                del info[name]
    if info.get("dpi") == (0, 0) or (image.format == "TIFF" and 282 not in getattr(image, "tag_v2", {282}) and "dpi" not in given):
        info.pop("dpi", None)  # Pillow's word for none
        info.pop("resolution", None)
    if "dpi" in info:
        info.pop("resolution", None)  # the same
    density = info.get("jfif_density")
    if info.get("jfif_unit") == 0 and isinstance(density, tuple) and len(set(density)) > 1:
        info["aspect"] = density
    return info, _added(given.get("pnginfo"))


def _added(pnginfo: Any) -> _Added:
    first: list[tuple[bytes, bytes]] = []
    behind_palette: list[tuple[bytes, bytes]] = []
    last: list[tuple[bytes, bytes]] = []
    left_out = []
    for name, body, *behind in pnginfo.chunks if pnginfo else ():
        private = name.isalpha() and name[1:2].islower()
        if private or name in _ADDABLE:
            place = last if private and any(behind) else behind_palette if name in (b"bKGD", b"hIST") else first
            place.append((name, body))
        else:
            left_out.append(_printable(f"{name.decode('latin-1')} of pnginfo"))
    instead = frozenset(name for name, _ in first) - {b"iTXt"}
    return _Added(instead, tuple(first), tuple(behind_palette), tuple(last), tuple(left_out))


_ADDABLE = (b"cHRM", b"cICP", b"gAMA", b"sBIT", b"sRGB", b"tIME", b"sPLT", b"iTXt", b"tEXt", b"zTXt", b"bKGD", b"hIST")  # as Pillow's PNGs


def _transparent(value: Any, mode: str, entries: int) -> bytes:
    """The body of a tRNS chunk. Raises UnsupportedImageError for what is none."""
    with contextlib.suppress(struct.error, ValueError, TypeError):
        match mode:
            case "P":
                return (b"\xff" * min(value, 256) + b"\0" if isinstance(value, int) else bytes(value))[:entries]
            case "1":
                return struct.pack(">H", bool(value))
            case "RGB":
                return struct.pack(">3H", *value)
            case _:
                return struct.pack(">H", value)
    msg = f"the transparency {str(value)[:40]!r} is none that an image of mode {mode} can have: remove it from image.info"
    raise UnsupportedImageError(msg)


def _pixels_per_metre(dpi: tuple[float, float]) -> tuple[bytes, bytes]:
    return b"pHYs", struct.pack(">IIB", *(round(float(n) / 0.0254) for n in dpi), 1)


def _aspect(aspect: tuple[Any, Any]) -> tuple[bytes, bytes]:
    """Raises ValueError for fractions."""
    x, y = map(float, aspect)
    if not (x.is_integer() and y.is_integer()):
        raise ValueError
    return b"pHYs", struct.pack(">IIB", int(x), int(y), 0)


def _exif(exif: bytes | Image.Exif) -> tuple[bytes, bytes]:
    return b"eXIf", (exif.tobytes(8) if isinstance(exif, Image.Exif) else exif).removeprefix(b"Exif\0\0")


_PACKED: dict[str, Callable[[Any], tuple[bytes, bytes]]] = {  # what Pillow knows of a picture, as chunks of a PNG
    "icc_profile": lambda profile: (b"iCCP", b"ICC profile\0\0" + zlib.compress(profile, 9)),
    "srgb": lambda intent: (b"sRGB", struct.pack(">B", intent)),
    "chromaticity": lambda points: (b"cHRM", struct.pack(">8I", *(round(point * 1e5) for point in points))),
    "gamma": lambda gamma: (b"gAMA", struct.pack(">I", round(gamma * 1e5))),
    "dpi": _pixels_per_metre,
    "aspect": _aspect,
    "resolution": _aspect,
    "exif": _exif,
    "xmp": lambda xmp: (b"iTXt", XMP + (xmp if isinstance(xmp, bytes) else xmp.encode())),
}


def _samples_kept(image: Image.Image) -> tuple[Form, npt.NDArray[Any]]:
    """Grey samples of few bits come as those, where Pillow's stretched ones still are such."""
    raw = _raw_mode(image) if image.mode == "L" and isinstance(image, ImageFile.ImageFile) else None
    form = _MODES[image.mode]
    samples = samples_of(image, form)
    if depth := _SMALL.get(raw or ""):
        step = 255 // ((1 << depth) - 1)
        if not (samples % step).any():
            return Form(GREY, depth), samples // step
    return form, samples


def samples_of(image: Image.Image, form: Form) -> npt.NDArray[Any]:
    dtype = np.uint16 if form.depth == 16 else np.uint8
    samples: npt.NDArray[Any] = np.array(image, dtype=dtype).reshape(image.height, image.width, form.channels)
    if form.colour == GREY and 1 < form.depth < 8:  # Pillow has stretched them to 0 to 255
        samples //= 255 // ((1 << form.depth) - 1)
    return samples


def require_supported(image: Image.Image, form: Form | None = None) -> None:
    if what := unsupported(image, form):
        msg = f"{what} cannot be kept exactly by this version; RGB and greyscale with and without alpha, palettes and bitmaps can"
        raise UnsupportedImageError(msg)


def unsupported(image: Image.Image, form: Form | None = None) -> str:
    """What about an image cannot be kept, as the subject of a sentence; empty where all can.

    form: of a PNG whose samples are not taken from Pillow.
    """
    if image.width == 0 or image.height == 0:
        return "a picture without pixels"
    try:
        pages = getattr(image, "n_frames", 1)
    except (*DAMAGES, AssertionError):
        return "a file that was closed before its pages were counted"
    if pages > 1:
        return f"an animation or a file of {pages} pages"
    if form:
        return "" if form.kept else f"a PNG with samples of {form.depth} bits"
    if image.mode not in _MODES:
        return f"a picture of mode {image.mode}"
    return _cut(image) if isinstance(image, ImageFile.ImageFile) else ""


def _cut(image: ImageFile.ImageFile) -> str:
    """A file of which Pillow's image has not all, or whose samples can no longer be told, as the subject of a sentence; else empty.

    Pillow opens deeper and shallower samples as 8-bit without a word.
    """
    if image.format == "TIFF":
        return _cut_tiff(image)
    if image.format in _EIGHT_BITS or image.mode in _EXACT.get(image.format or "", ()):
        return ""
    if image.format not in ("PNG", "PPM", "IGPT"):
        return f"a file of the format {image.format}, whose depth Pillow does not tell"
    raw = _raw_mode(image)
    if raw is None:
        return f"a {image.format} that can no longer be read to tell its depth"
    if ";16" in raw:
        return f"a {image.format} with samples of 16 bits"
    return f"a {image.format} with a largest value of {raw}" if raw.isdigit() else ""


def _cut_tiff(image: ImageFile.ImageFile) -> str:
    tags: Mapping[int, Any] | None = getattr(image, "tag_v2", None)
    if tags is None:
        return "a TIFF that has lost its tags"
    bits = set(tags.get(258, (1,)))
    if bits != {{"1": 1, "I;16": 16}.get(image.mode, 8)} and not (image.mode == "P" and max(bits) < 8):
        return "a TIFF with samples of other than 8 bits"
    if set(tags.get(339, (1,))) != {1} or tuple(tags.get(338, ())) not in ((), (2,)):
        return "a TIFF with signed samples, or with more channels than a picture's"
    if image.mode == "I;16" and tags.get(262) != 1:
        return "a TIFF with 16-bit samples that are no brightnesses"
    colours = tags.get(320, ()) if image.mode == "P" else ()
    if any(v % 256 for v in colours) and any(v % 257 for v in colours):
        return "a TIFF whose palette has colours of 16 bits"
    return ""


def _raw_mode(image: ImageFile.ImageFile) -> str | None:
    """Of the samples in the file of a PNG, PPM or igpt image, as Pillow names them; of a PPM its largest value where that is not 255. None
    where it cannot be told any more: an image that is loaded has forgotten it, so the file is opened once more.
    """
    if image.format == "IGPT":
        return getattr(image, "raw_mode", None)
    if image.tile:
        return _raw_mode_of(image)
    name: Any = image.filename
    with contextlib.suppress(*DAMAGES):
        stream: Any = getattr(image, "_fp", None) or image.fp
        name = name or getattr(stream, "name", "")
        place = stream.tell()
        try:
            stream.seek(0)
            return _raw_mode_of(type(image)(stream))
        finally:
            stream.seek(place)
    with contextlib.suppress(*DAMAGES):
        if isinstance(name, str | bytes) and os.path.isfile(name):
            with open(name, "rb") as file:
                return _raw_mode_of(type(image)(file))
    return None


def _raw_mode_of(image: ImageFile.ImageFile) -> str:
    """As `_raw_mode`, of an image that is not loaded."""
    decoder, _, _, arguments = image.tile[0]
    raw, *more = [arguments] if isinstance(arguments, str) else (arguments or ("",))
    if image.format == "PPM" and decoder.startswith("ppm") and more and more[0] != 255:
        return str(more[0])
    return str(raw)


def image_of(pixels: Pixels) -> Image.Image:
    """(height, width, channels) uint8 -> an image of mode L or RGB."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


class Known(NamedTuple):
    """What Pillow knows of a picture without its pixels. info, text, palette: as of an image that was opened from a PNG."""

    info: dict[Any, Any]
    text: dict[str, str]
    palette: ImagePalette.ImagePalette | None


def known_of(form: Form, chunks: Chunks) -> Known:
    """What Pillow makes of the chunks of a picture; of those that it cannot make sense of nothing."""
    stream = PngImagePlugin.PngStream(io.BytesIO())
    inflated = 0

    def read(name: bytes, body: bytes) -> None:
        stream.fp = io.BytesIO(body)
        stream.call(name, 0, len(body))

    read(b"IHDR", struct.pack(">IIBBBBB", 1, 1, form.depth, form.colour, 0, 0, 0))
    for name, body in chunks:
        if name not in _UNDERSTOOD:
            continue
        if name in (b"iCCP", b"zTXt") or (name == b"iTXt" and body.partition(b"\0")[2][:1] != b"\0"):
            inflated += min(_MOST_INFLATED * len(body), PngImagePlugin.MAX_TEXT_CHUNK)
            if inflated > _INFLATED_BYTES:
                continue
        try:
            read(name, body)
        except DAMAGES:
            if name == b"iCCP":
                inflated += _INFLATED_BYTES // 2
                stream.im_info |= _large_profile(body)
    palette = ImagePalette.raw(*stream.im_palette) if stream.im_palette else None
    return Known(stream.im_info, stream.im_text, palette)


def _large_profile(body: bytes) -> dict[Any, Any]:
    """Pillow takes none of more than a megabyte."""
    _, separator, rest = body.partition(b"\0")
    if not separator or rest[:1] != b"\0":
        return {}
    inflating = zlib.decompressobj()
    with contextlib.suppress(zlib.error):
        profile = inflating.decompress(rest[1:], MAX_CHUNK_BYTES)
        return {"icc_profile": profile} if inflating.eof else {}
    return {}


def opened(picture: Picture) -> Image.Image:
    """Pillow's image of a picture, as of a PNG. Raises UnsupportedImageError where Pillow has no mode for it."""
    image = bare(picture)
    image.info, _, image.palette = known_of(picture.form, picture.chunks)
    image.load()
    return image


def bare(picture: Picture) -> Image.Image:
    """The samples alone. Raises UnsupportedImageError where Pillow has no mode for them."""
    samples, form = picture.pixels, picture.form
    if form.depth == 16 and form.colour != GREY:
        msg = "Pillow has no mode for 16 bits but greyscale: use decompress_picture, or igpt decompress"
        raise UnsupportedImageError(msg)
    height, width, _ = samples.shape
    if form == Form(GREY, 1):
        raw = np.packbits(samples[..., 0], axis=-1)
    elif form.colour == GREY and form.depth < 8:
        raw = samples * np.uint8(255 // ((1 << form.depth) - 1))
    else:
        raw = samples.astype("<u2") if form.depth == 16 else samples
    return Image.frombytes(mode_of(form.colour, form.depth), (width, height), raw.tobytes())
