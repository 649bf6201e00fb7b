"""A picture file <-> pixels. What cannot be kept exactly is refused here, before anything else happens."""

import contextlib
import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffTags, UnidentifiedImageError

from bitstream.constants import MAX_CHUNK_BYTES
from bitstream.envelope import Chunks
from bitstream.errors import DamagedError, TooLargeError, UnsupportedImageError
from codec.planes import Pixels
from codec.png import ANIMATION, GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Form, chunks_of, deep_samples, written

MAX_PIXELS = 178_956_970  # where Pillow, too, stops by default
FORMATS = ("PNG", "PPM", "BMP", "TIFF", "WEBP", "JPEG", "GIF")
SUFFIXES = (".png", ".ppm", ".pgm", ".pbm", ".pnm", ".bmp", ".tif", ".tiff", ".webp", ".jpg", ".jpeg", ".gif")
OUTPUTS: dict[str, tuple[str, dict[str, Any]]] = {  # by extension: format and options that lose nothing
    ".ppm": ("PPM", {}),
    ".pgm": ("PPM", {}),
    ".pbm": ("PPM", {}),
    ".pnm": ("PPM", {}),
    ".bmp": ("BMP", {}),
    ".tif": ("TIFF", {"compression": "tiff_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_deflate"}),
    ".webp": ("WEBP", {"lossless": True, "exact": True, "method": 4}),
}
DAMAGES = (  # what Pillow raises
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    AttributeError,
    ArithmeticError,
    struct.error,
)
METADATA_OF = {"TIFF": ("icc_profile", "dpi"), "WEBP": ("icc_profile", "exif", "xmp")}
FOREIGN = f"this is not a picture that igpt reads ({', '.join(FORMATS)}); convert it to PNG first"
LARGEST_PIXEL = 16  # bytes in a file, for a picture that is stored plainly

# Info keys that say how the file was laid out, not what the picture is.
_LAYOUT = {
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
    "resolution",
}
_TIFF_LAYOUT = {*range(254, 260), 262, 266, 273, 274, *range(277, 280), 282, 283, 284, 296, 297, 317, 320, *range(322, 326), 338, 339, 347}
_TIFF_KEPT = {700, 34675}  # XMP, colour profile
_limit = threading.Lock()  # of Image.MAX_IMAGE_PIXELS, which is everybody's
_MODES = {
    "1": Form(GREY, 1),
    "I;16": Form(GREY, 16),
    "L": Form(GREY, 8),
    "LA": Form(GREY_ALPHA, 8),
    "P": Form(PALETTE, 8),
    "RGB": Form(RGB, 8),
    "RGBA": Form(RGB_ALPHA, 8),
}
_STRIPPED = (b"PLTE", b"tRNS", b"IDAT")  # what is left: what the pixels look like without them is another picture
XMP = b"XML:com.adobe.xmp\0\0\0\0\0"


@dataclass(frozen=True)
class Picture:
    """pixels: (height, width, channels) samples of a form, uint8 or uint16; chunks: of a PNG, its metadata. left_out: names of what the
    file had and igpt does not store."""

    pixels: npt.NDArray[Any]
    form: Form
    chunks: Chunks = ()
    left_out: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether the samples are all there is: 8-bit RGB or greyscale."""
        return self.form in (Form(RGB, 8), Form(GREY, 8)) and all(name == b"IDAT" for name, _ in self.chunks)

    @property
    def plain_pixels(self) -> Pixels:
        """8-bit RGB or greyscale samples. Raises UnsupportedImageError for others."""
        if self.form not in (Form(RGB, 8), Form(GREY, 8)):
            msg = f"this works on 8-bit RGB and greyscale pictures only, not on one of {self.described}"
            raise UnsupportedImageError(msg)
        return self.pixels

    @property
    def described(self) -> str:
        """For people."""
        height, width, _ = self.pixels.shape
        names = {GREY: "grey", RGB: "RGB", PALETTE: "palette", GREY_ALPHA: "grey with alpha", RGB_ALPHA: "RGB with alpha"}
        return f"{width}x{height} pixels, {names[self.form.colour]}, {self.form.depth} bits"

    def stripped(self) -> "Picture":
        """Without metadata."""
        return replace(self, chunks=tuple(chunk for chunk in self.chunks if chunk[0] in _STRIPPED))


def largest_picture_file(start: bytes, max_pixels: int) -> int:
    """A bound in bytes on a picture file that begins with `start` and is to be kept. Raises UnsupportedImageError for foreign files."""
    Image.init()
    accepts = [Image.OPEN[form][1] for form in FORMATS]
    if not any(accept is None or accept(start[:16]) for accept in accepts):
        raise UnsupportedImageError(FOREIGN)
    return max_pixels * LARGEST_PIXEL + (1 << 26)


def open_picture(stream: BinaryIO, max_pixels: int) -> Picture:
    """Reads a picture file. Raises UnsupportedImageError or TooLargeError."""
    data = stream.read()
    try:
        with _no_limit(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            check_size(*image.size, max_pixels)
            image.verify()
        with _no_limit() as warned, Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.format == "PNG":
                return _png_picture(image, data)
            picture = picture_of(image)
            jpeg = ("the JPEG itself: these are its decoded pixels",) if image.format == "JPEG" else ()
            damaged = ("what is damaged in its metadata",) if warned else ()
            return replace(picture, left_out=(*picture.left_out, *jpeg, *damaged))
    except UnidentifiedImageError as error:
        raise UnsupportedImageError(FOREIGN) from error
    except (*DAMAGES, MemoryError) as error:
        msg = f"the picture is damaged: {str(error).rstrip('.') or type(error).__name__}"
        raise UnsupportedImageError(msg) from error


def pixels_in(path: Path) -> int:
    """How many a picture file has, as it says at its beginning; 0 where that is no use."""
    try:
        with _no_limit(), Image.open(path, formats=FORMATS) as image:
            return image.width * image.height
    except DAMAGES:
        return 0


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raises TooLargeError."""
    if width * height > max_pixels:
        msg = f"the picture has {width}x{height} pixels, more than the limit of {max_pixels:,} (--max-pixels)"
        raise TooLargeError(msg)


def picture_of(image: Image.Image) -> Picture:
    """An opened image: its samples, and as chunks what Pillow knows of it. Raises UnsupportedImageError where that is not all of it."""
    _require_supported(image)
    form, info = _MODES[image.mode], dict(image.info)
    chunks: list[tuple[bytes, bytes]] = []
    for name, packed in _PACKED.items():
        if name in info:
            with contextlib.suppress(struct.error, ValueError, TypeError, AttributeError, OverflowError, ZeroDivisionError):
                chunks.append(packed(info[name]))
                del info[name]
    transparency = info.pop("transparency", None)
    if form.colour == PALETTE:
        colours, mode = image.getpalette("RGBA") or [], image.palette.mode if image.palette else ""
        entries = np.array(colours or [0, 0, 0, 255], np.uint8).reshape(-1, 4)
        chunks.append((b"PLTE", entries[:, :3].tobytes()))
        if isinstance(transparency, int):
            transparency = b"\xff" * transparency + b"\0"
        if transparency or mode == "RGBA":
            chunks.append((b"tRNS", transparency or entries[:, 3].tobytes()))
    elif isinstance(transparency, int | tuple):
        values = transparency if isinstance(transparency, tuple) else (transparency,)
        chunks.append((b"tRNS", struct.pack(f">{len(values)}H", *values)))
    left_out = {str(key) for key in info} - _LAYOUT
    if image.format == "TIFF":
        left_out |= {TiffTags.lookup(tag).name for tag in set(getattr(image, "tag_v2", {})) - _TIFF_LAYOUT - _TIFF_KEPT}
    return Picture(_samples(image, form), form, tuple(chunks), tuple(sorted(left_out)))


def _pixels_per_metre(dpi: tuple[float, float]) -> tuple[bytes, bytes]:
    return b"pHYs", struct.pack(">IIB", *(round(float(n) / 0.0254) for n in dpi), 1)


_PACKED: dict[str, Callable[[Any], tuple[bytes, bytes]]] = {  # what Pillow knows of a picture, as chunks of a PNG
    "icc_profile": lambda profile: (b"iCCP", b"ICC profile\0\0" + zlib.compress(profile, 9)),
    "gamma": lambda gamma: (b"gAMA", struct.pack(">I", round(gamma * 1e5))),
    "dpi": _pixels_per_metre,
    "exif": lambda exif: (b"eXIf", exif.removeprefix(b"Exif\0\0")),
    "xmp": lambda xmp: (b"iTXt", XMP + (xmp if isinstance(xmp, bytes) else xmp.encode())),
}


def _png_picture(image: Image.Image, data: bytes) -> Picture:
    """A PNG that Pillow opened from `data`, with every chunk as it is."""
    form, chunks = chunks_of(data)
    if any(name in ANIMATION for name, _ in chunks):
        msg = "an animation cannot be kept by this version; still pictures can"
        raise UnsupportedImageError(msg)
    _require_supported(image, form)
    samples: npt.NDArray[Any] = deep_samples(data, image.size) if form.depth == 16 else _samples(image, form)
    return Picture(samples, form, chunks)


def _samples(image: Image.Image, form: Form) -> npt.NDArray[Any]:
    dtype = np.uint16 if form.depth == 16 else np.uint8
    samples: npt.NDArray[Any] = np.array(image, dtype=dtype).reshape(image.height, image.width, form.channels)
    if form.colour == GREY and 1 < form.depth < 8:  # Pillow has stretched them to 0 to 255
        samples //= 255 // ((1 << form.depth) - 1)
    return samples


def _require_supported(image: Image.Image, form: Form | None = None) -> None:
    if what := unsupported(image, form):
        msg = f"{what} cannot be kept exactly by this version; RGB and greyscale with and without alpha, palettes and bitmaps can"
        raise UnsupportedImageError(msg)


def unsupported(image: Image.Image, form: Form | None = None) -> str:
    """What about an image cannot be kept, as the subject of a sentence; empty where all can.

    Pillow opens deeper and shallower samples as 8-bit without a word; the raw mode of what it is about to decode tells.
    """
    if image.width == 0 or image.height == 0:
        return "a picture without pixels"
    if getattr(image, "n_frames", 1) > 1:
        return f"an animation or a file of {getattr(image, 'n_frames', 1)} pages"
    if form and not form.kept:
        return f"a PNG with samples of {form.depth} bits"
    if form:
        return ""
    if image.mode not in _MODES:
        return f"a picture of mode {image.mode}"
    tiles = getattr(image, "tile", [])
    decoder = tiles[0].codec_name if tiles else ""
    arguments: Any = tiles[0].args if tiles else ()
    raw = arguments if isinstance(arguments, str) else next(iter(arguments or ()), "")
    if image.format == "PNG" and raw and ";16" in raw and image.mode != "I;16":
        return "a PNG with samples of 16 bits"
    if image.format == "PPM" and decoder.startswith("ppm") and isinstance(arguments, tuple) and arguments[1] != 255:
        return f"a PPM with a largest value of {arguments[1]}"
    if image.format == "TIFF" and set(getattr(image, "tag_v2", {}).get(258, (8,))) != {8}:
        return "a TIFF with samples of other than 8 bits"
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        if set(tags.get(339, (1,))) != {1} or tuple(tags.get(338, ())) not in ((), (2,)):
            return "a TIFF with signed samples, or with more channels than a picture's"
    return ""


def image_of(pixels: Pixels) -> Image.Image:
    """(height, width, channels) uint8 -> an image of mode L or RGB."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def png_of(picture: Picture) -> bytes:
    """A PNG file of the picture."""
    return written(picture.pixels, picture.form, picture.chunks)


@contextlib.contextmanager
def _no_limit() -> Iterator[list[warnings.WarningMessage]]:
    """Pillow's own limit on pixels is off: ours was heeded before. Gives what it warns of, which nobody else hears."""
    with _limit, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield warned
        finally:
            Image.MAX_IMAGE_PIXELS = before


def opened(picture: Picture) -> Image.Image:
    """Pillow's image of a picture. Raises DamagedError where its metadata are none that a PNG can have.

    Pillow reads no colour profile of more than a megabyte; so that is handed over beside the PNG.
    """
    profiles = [body for name, body in picture.chunks if name == b"iCCP"]
    rest = tuple(chunk for chunk in picture.chunks if chunk[0] != b"iCCP")
    try:
        with _no_limit():
            image = Image.open(io.BytesIO(png_of(replace(picture, chunks=rest))), formats=("PNG",))
            image.load()
        for body in profiles:
            image.info["icc_profile"] = zlib.decompressobj().decompress(body.partition(b"\0")[2][1:], MAX_CHUNK_BYTES)
    except (*DAMAGES, zlib.error) as error:
        msg = f"the file is damaged: its metadata are unusable ({str(error).rstrip('.')})"
        raise DamagedError(msg) from error
    return image


def written_as(picture: Picture, suffix: str) -> bytes:
    """A picture file, of the format that the extension says; none, and a pipe, mean PNG.

    Raises UnsupportedImageError where the format cannot hold the picture; of the metadata it keeps what it can.
    """
    if suffix.lower() in ("", ".png"):
        return png_of(picture)
    form, options = OUTPUTS[suffix.lower()]
    what = f"{picture.described} cannot be written as {form} without loss: choose .png"
    if picture.form.depth == 16 and picture.form.colour != GREY:
        raise UnsupportedImageError(what)
    image = opened(picture)
    kept = {name: image.info[name] for name in METADATA_OF.get(form, ()) if name in image.info}
    stream = io.BytesIO()
    try:
        image.save(stream, form, **options, **kept)
        with _no_limit():
            again = Image.open(io.BytesIO(stream.getvalue()))
            again.load()
        same = again.mode == image.mode and again.size == image.size and again.tobytes() == image.tobytes()
        if same and ("transparency" in image.info or image.mode == "P"):
            same = again.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()
    except DAMAGES as error:
        raise UnsupportedImageError(what) from error
    if not same:
        raise UnsupportedImageError(what)
    return stream.getvalue()
