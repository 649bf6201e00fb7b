"""Pillow's images <-> pictures."""

import contextlib
import io
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImagePalette, PngImagePlugin, TiffTags

from bitstream.constants import MAX_METADATA_BYTES
from bitstream.errors import UnsupportedImageError
from bitstream.form import ALPHA, GREY, PALETTE, Form
from bitstream.metadata import Chunks
from codec.pictures import gif, metadata
from codec.pictures.completeness import lacking, raw_mode, require_supported
from codec.pictures.decoding import DAMAGES, FORMS, samples_of
from codec.pictures.picture import Picture, told

# Info keys that say how the file was laid out, not what the picture is; or when and before what it is shown, which Pillow gives every WebP.
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
_SMALL = {"L;2": 2, "L;4": 4}  # raw modes of few bits, which Pillow stretches to 0 to 255

_UNDERSTOOD = (b"PLTE", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sRGB", b"pHYs", b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # by Pillow
_ADDABLE = (b"cHRM", b"cICP", b"gAMA", b"sBIT", b"sRGB", b"tIME", b"sPLT", b"iTXt", b"tEXt", b"zTXt", b"bKGD", b"hIST")  # as Pillow's PNGs
_MOST_INFLATED = 1032  # bytes that one deflated byte can become
_INFLATED_BYTES = 1 << 28  # of all texts and profiles of a picture; further ones are not looked at


def picture_kept(image: Image.Image, given: Mapping[str, Any] | None = None) -> Picture:
    """An image that a caller has, loaded or not, changed, perhaps without its file, as a picture. What is not stored of it is logged.

    given: as of `picture_of`. Raises UnsupportedImageError where the image cannot be kept exactly, or may have less than its file.
    """
    if image.mode in FORMS and (what := lacking(image)):
        msg = f"{what}: Pillow's image may have less; compress the file itself, or image.copy() for what Pillow has"
        raise UnsupportedImageError(msg)
    return told(picture_of(image, given))


def picture_of(image: Image.Image, given: Mapping[str, Any] | None = None) -> Picture:
    """An opened image as a picture: its samples, and as chunks what Pillow knows of it.

    given: options of `Image.save`: exif, icc_profile, dpi, xmp and transparency take the place of the image's own, and remove them where
    they are empty; the chunks of a pnginfo are added. Raises UnsupportedImageError where the image cannot be kept exactly.
    """
    require_supported(image)
    form, samples = _samples_kept(image)
    info, added = _settled(image, given or {})
    chunks: list[tuple[bytes, bytes]] = []
    for name, chunk_of in _CHUNK_OF.items():
        if name in info:
            with contextlib.suppress(struct.error, ValueError, TypeError, AttributeError, OverflowError, ZeroDivisionError):
                chunks.append(chunk_of(info[name]))
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
    left_out = {*(_printable(str(name)) for name in info.keys() - _LAYOUT), *_left_out_of_gif(image.info), *added.left_out}
    if image.format == "TIFF":
        left_out |= {TiffTags.lookup(tag).name for tag in set(getattr(image, "tag_v2", {})) - _TIFF_LAYOUT - _TIFF_KEPT}
    return Picture(samples, form, tuple(chunks), tuple(sorted(left_out)))


def _left_out_of_gif(info: Mapping[Any, Any]) -> list[str]:
    """Names of what Pillow tells of a GIF and igpt does not store, as `codec.pictures.gif` names it; none where it is another's image."""
    if info.get("version") not in (b"GIF87a", b"GIF89a"):
        return []
    extensions = [info["extension"][0]] if isinstance(info.get("extension"), tuple) else []
    extensions += [b"NETSCAPE2.0"] * ("loop" in info)
    named = [gif.APPLICATION_EXTENSION.format(_printable(bytes(name).decode("latin-1"))) for name in extensions]
    named += [gif.BACKGROUND.format(info["background"])] * bool(info.get("background"))
    return named + [gif.DELAY] * bool(info.get("duration"))


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
    """What is known of an image and what was given, each thing once; and the chunks of a pnginfo."""
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
        info.pop("dpi", None)  # what Pillow writes for none
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
    return metadata.exif(exif.tobytes(8) if isinstance(exif, Image.Exif) else exif)


_CHUNK_OF: dict[str, Callable[[Any], tuple[bytes, bytes]]] = {  # what Pillow knows of a picture, as chunks of a PNG
    "icc_profile": metadata.colour_profile,
    "srgb": lambda intent: (b"sRGB", struct.pack(">B", intent)),
    "chromaticity": lambda points: (b"cHRM", struct.pack(">8I", *(round(point * 1e5) for point in points))),
    "gamma": lambda gamma: (b"gAMA", struct.pack(">I", round(gamma * 1e5))),
    "dpi": _pixels_per_metre,
    "aspect": _aspect,
    "resolution": _aspect,
    "exif": _exif,
    "xmp": lambda xmp: metadata.xmp(xmp if isinstance(xmp, bytes) else xmp.encode()),
}


def _samples_kept(image: Image.Image) -> tuple[Form, npt.NDArray[Any]]:
    """Grey samples of few bits come as those, where Pillow's stretched ones still are such."""
    raw = raw_mode(image) if image.mode == "L" and isinstance(image, ImageFile.ImageFile) else None
    form = FORMS[image.mode]
    samples = samples_of(image, form)
    if depth := _SMALL.get(raw or ""):
        step = 255 // ((1 << depth) - 1)
        if not (samples % step).any():
            return Form(GREY, depth), samples // step
    return form, samples


def image_of(pixels: npt.NDArray[np.uint8]) -> Image.Image:
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
        profile = inflating.decompress(rest[1:], MAX_METADATA_BYTES)
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
        msg = "Pillow has no mode for 16 bits but greyscale: use codec.decode, or igpt decompress"
        raise UnsupportedImageError(msg)
    height, width, _ = samples.shape
    if form == Form(GREY, 1):
        raw = np.packbits(samples[..., 0], axis=-1)
    elif form.colour == GREY and form.depth < 8:
        raw = samples * np.uint8(255 // ((1 << form.depth) - 1))
    else:
        raw = samples.astype("<u2") if form.depth == 16 else samples
    return Image.frombytes(form.mode, (width, height), raw.tobytes())
