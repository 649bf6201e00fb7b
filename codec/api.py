"""The library: pictures in memory or files by their paths, to igpt files and back."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bitstream.container import File, file_in, front_in, read
from bitstream.errors import IgptError, UnsupportedImageError
from codec import plugin
from codec.box import Box
from codec.compression import compress_picture, compress_pictures
from codec.decompression import decompress_file, decompress_files
from codec.description import Info, info_of
from codec.options import Options
from codec.pictures.kept import image_in
from codec.pictures.picture import Picture
from codec.pictures.pillow import opened
from codec.pictures.sources import Source, picture_from
from codec.progress import Progress, ignore
from codec.thumbnails import thumbnail_of

Data = bytes | str | Path | IO[bytes]  # an igpt file


def compress(
    picture: Source,
    *,
    model: str | Path | None = None,
    revision: str | None = None,
    palette_only: bool = False,
    level: str = "default",
    device: str = "auto",
    past: bool = True,
    pixels: bool = False,
    verify: bool = False,
    preview: bool = False,
    max_error: int = 0,
    lossy: str = "",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> bytes:
    """The bytes of an igpt file.

    >>> data = igpt.compress("photo.png")
    >>> data = igpt.compress(Image.open("photo.png"), level="fast")
    >>> data = igpt.compress(np.zeros((20, 30, 3), np.uint8))

    Of a JPEG file all of it is kept, byte for byte, and `jpeg_file` gives it back. Of other files, images and arrays the pixels are kept,
    and colour profile, EXIF, XMP and resolution; the logger "igpt" is told what else a picture has.

    * picture: a Pillow image of mode RGB, RGBA, L, LA, P, 1 or I;16; an array (height, width) or (height, width, 1 to 4), uint8 or uint16;
      or a picture file's bytes or its path. Where Pillow has opened a file of more bits than its image has, the image is refused; its
      copy() is not.
    * model: the folder, name or digest of an integer model, which is used instead of the default ones for what it codes; or the folder or
      hub id of a published ImageGPT checkpoint, which then codes colours by its palette. Without one, drawings are coded without any.
    * revision: the branch, tag or commit of a checkpoint on the hub.
    * palette_only: refuse other colours than the palette's.
    * level: fast, default or best: how much work, both ways, a smaller file is worth.
    * device: auto, cpu or cuda; it does not change the bytes.
    * past: whether what a decoded JPEG or PhotoCD was made of may be coded instead of the pixels.
    * pixels: of a JPEG file keep what it decodes to, not the file.
    * verify: decompress all of the result and compare it with the picture, not only how each of its chunks begins.
    * preview: put a lossy picture of an eighth of the sides into the file, too, which `thumbnail` shows at once.
    * max_error: how much a sample may differ from the picture's, 1 to 16, of samples of 16 bits to 4,096; 0: not at all. What is no larger
      without loss is kept without: JPEG files, palettes, few bits, alpha. `info` says what was done, and so do the metadata.
    * lossy: low, medium or high: how near a picture of 8 bits has to come, for far fewer bytes; no bound holds for each sample. What is
      no larger without loss is kept without, as above. It does not go with max_error, palette_only or past=False.
    * max_pixels: refuse larger pictures; the default is Pillow's limit for files, and none for images, arrays and JPEG files that are kept.
    * progress: called with the number of pixels just done.

    Raises TypeError for what is no picture, UnsupportedImageError for one that cannot be kept exactly, TooLargeError, ModelError for an
    unusable model, VerificationError where the result does not give back the picture, IgptError for a device that is unknown or not
    there, an unknown level, or a loss that is none, OSError where a file cannot be read.
    """
    options = Options(
        model=model,
        revision=revision,
        palette_only=palette_only,
        level=level,
        device=device,
        past=past,
        pixels=pixels,
        verify=verify,
        preview=preview,
        max_error=max_error,
        lossy=lossy,
        max_pixels=max_pixels,
    )
    return compress_picture(picture_from(picture, max_pixels, options.of_pixels), options, progress or ignore)


def compress_many(
    pictures: Sequence[Source],
    *,
    model: str | Path | None = None,
    revision: str | None = None,
    palette_only: bool = False,
    level: str = "default",
    device: str = "auto",
    past: bool = True,
    pixels: bool = False,
    verify: bool = False,
    preview: bool = False,
    max_error: int = 0,
    lossy: str = "",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> list[bytes]:
    """As `compress`, for several pictures, side by side on all threads; the same bytes.

    >>> files = igpt.compress_many(["photo.png", "photo.jpg"])
    >>> [igpt.info(data).width for data in files]
    [120, 120]

    What is raised for one stops all. A file is read when its turn comes.
    """
    options = Options(
        model=model,
        revision=revision,
        palette_only=palette_only,
        level=level,
        device=device,
        past=past,
        pixels=pixels,
        verify=verify,
        preview=preview,
        max_error=max_error,
        lossy=lossy,
        max_pixels=max_pixels,
    )
    return compress_pictures(pictures, options, progress or ignore)


def decompress(
    data: Data,
    *,
    box: tuple[int, int, int, int] | None = None,
    model: str | Path | None = None,
    device: str = "auto",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> Image.Image:
    """The image that `compress` was given, pixel for pixel (but for `max_error` and `lossy`), in the same mode, with its metadata; of a
    JPEG file what Pillow decodes it to.

    >>> data = igpt.compress("photo.png")
    >>> igpt.decompress(data).tobytes() == Image.open("photo.png").tobytes()
    True

    * data: an igpt file, its path, or a file object that can be sought, which is read from its start.
    * box: only these pixels, (left, upper, right, lower) as in Pillow. Only the chunks with some of them are read and decoded. They are
      under the chunks' checksums, not under the digest, which is that of the whole picture. Of a JPEG file all is decoded.
    * model: the folder of the model that the file names, where it is not on this machine.
    * device, progress: as in `compress`.
    * max_pixels: refuse larger pictures; the default is Pillow's limit.

    Raises NotIgptError, NewerVersionError, DamagedError, TruncatedError, ModelError or TooLargeError; UnsupportedImageError where Pillow
    has no mode for the picture, which `decode` has; IgptError for a box that does not lie in the picture, or a device that is unknown or
    not there; OSError where a file cannot be read.
    """
    options = Options(model=model, device=device, max_pixels=max_pixels, box=None if box is None else Box(*box))
    with _opened(data, options) as file:
        return _image(decompress_file(file, options, progress or ignore), options)


def decompress_many(
    files: Sequence[Data],
    *,
    model: str | Path | None = None,
    device: str = "auto",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> list[Image.Image]:
    """As `decompress`, for several files, whose tiles a network goes through together: small pictures come several times faster so.

    >>> files = igpt.compress_many(["photo.png", "photo.jpg"])
    >>> [image.size for image in igpt.decompress_many(files)]
    [(120, 80), (120, 80)]

    What is raised for one is raised.
    """
    options = Options(model=model, device=device, max_pixels=max_pixels)
    images = []
    for found in decompress_files([_file(data) for data in files], options, progress or ignore):
        if isinstance(found, IgptError):
            raise found
        images.append(_image(found, options))
    return images


def decode(
    data: Data,
    *,
    box: tuple[int, int, int, int] | None = None,
    model: str | Path | None = None,
    device: str = "auto",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> npt.NDArray[Any]:
    """The samples of an igpt file: (height, width), or (height, width, channels) where there are several, uint8 or uint16; of a palette the
    indices, of few bits numbers from 0 on.

    >>> samples = np.full((20, 30), 1000, np.uint16)
    >>> bool((igpt.decode(igpt.compress(samples)) == samples).all())
    True

    Arguments and errors as of `decompress`.
    """
    options = Options(model=model, device=device, max_pixels=max_pixels, box=None if box is None else Box(*box))
    with _opened(data, options) as file:
        picture = decompress_file(file, options, progress or ignore)
    if picture.is_file:
        return np.asarray(_image(picture, options))
    pixels = picture.pixels
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def jpeg_file(
    data: Data,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> bytes:
    """The JPEG file that `compress` was given, byte for byte.

    >>> igpt.jpeg_file(igpt.compress("photo.jpg")) == Path("photo.jpg").read_bytes()
    True

    Arguments and errors as of `decompress`; UnsupportedImageError where pixels were kept and not a file. max_pixels: the default is none.
    """
    picture = decompress_file(_file(data), Options(model=model, device=device, max_pixels=max_pixels), progress or ignore)
    if not picture.is_file:
        msg = "it holds pixels, not a JPEG file: decompress gives them"
        raise UnsupportedImageError(msg)
    return picture.file


def info(data: Data) -> Info:
    """What the beginning of an igpt file says, of which no more is read; nothing is decoded. data: as of `decompress`.

    >>> found = igpt.info(igpt.compress("photo.png"))
    >>> found.width, found.height, found.mode
    (120, 80, 'RGB')

    Raises NotIgptError, NewerVersionError, TruncatedError or DamagedError where the beginning is at fault.
    """
    with _stream(data) as stream:
        return info_of(front_in(stream))


def thumbnail(
    data: Data,
    size: int = 256,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> Image.Image:
    """A small image for people: RGB or RGBA, of at most `size` pixels a side, turned as EXIF says.

    >>> data = igpt.compress("photo.png", preview=True)
    >>> max(igpt.thumbnail(data).size) <= 256
    True

    It is of the preview where the file has one, which takes no time; else all of the picture is decompressed. Arguments and errors as of
    `decompress`; UnsupportedImageError, too, where Pillow cannot show a preview or a JPEG file.
    """
    options = Options(model=model, device=device, max_pixels=max_pixels)
    with _stream(data) as stream:
        return thumbnail_of(file_in(stream), size, options, progress or ignore)


def register_igpt_opener() -> None:
    """Teaches Pillow the format: from then on it opens and saves igpt files.

    >>> igpt.register_igpt_opener()
    >>> Image.open("photo.png").save("photo.igpt", level="fast")
    >>> with Image.open("photo.igpt") as image:
    ...     image.size
    (120, 80)

    `save` takes `model`, `revision`, `palette_only`, `level`, `device`, `past` and `verify` as `compress` does.
    """
    plugin.register()


def _image(picture: Picture, options: Options) -> Image.Image:
    if not picture.is_file:
        return opened(picture)
    image = image_in(picture, options.max_pixels)
    if options.box is None:
        return image
    options.box.require_in(*image.size)
    return image.crop(options.box)


def _file(data: Data) -> File:
    """All of it, with every checksum compared."""
    with _stream(data) as stream:
        file_in(stream)  # is it no larger than it can be?
        stream.seek(0)
        return read(stream.read())


@contextlib.contextmanager
def _opened(data: Data, options: Options) -> Iterator[File]:
    """All of a file, or one of which as much is read as is needed."""
    if options.box is None:
        yield _file(data)
        return
    with _stream(data) as stream:
        yield file_in(stream)


@contextlib.contextmanager
def _stream(data: Data) -> Iterator[IO[bytes]]:
    """At its start."""
    if isinstance(data, bytes):
        yield io.BytesIO(data)
    elif isinstance(data, str | Path):
        with Path(data).open("rb") as stream:
            yield stream
    elif hasattr(data, "read") and hasattr(data, "seek"):
        data.seek(0)
        yield data
    else:
        msg = f"an igpt file is bytes, a path (str or pathlib.Path) or a file object that can be sought, not {type(data).__name__}"
        raise TypeError(msg)
