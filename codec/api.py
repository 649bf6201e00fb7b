"""The library: pictures in memory or files by their paths, to igpt files and back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bitstream.container import File, front_in, read, read_front
from bitstream.errors import IgptError, UnsupportedImageError
from codec import plugin
from codec.compression import compress_picture, compress_pictures
from codec.decompression import decompress_file, decompress_files
from codec.description import Info, info_of
from codec.options import Options
from codec.pictures.kept import image_in
from codec.pictures.picture import Picture
from codec.pictures.pillow import opened
from codec.pictures.sources import Source, picture_from
from codec.progress import Progress, ignore


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
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> bytes:
    """The bytes of an igpt file.

    picture: a Pillow image of mode RGB, RGBA, L, LA, P, 1 or I;16; an array (height, width) or (height, width, 1 to 4), uint8 or uint16; or
    a picture file's bytes or its path. Of a JPEG file all of it is kept, byte for byte, and `jpeg_file` gives it back; but for `pixels`,
    which keeps what it decodes to. Of other files, images and arrays the pixels are kept. Colour profile, EXIF, XMP and resolution are,
    too; the logger "igpt" is told what else a picture has. Where Pillow has opened a file of more bits than its image has, the image is
    refused; its copy() is not. model: see Options: an integer model, which is used instead of the default ones for what it codes, or a
    published ImageGPT checkpoint, which then codes colours by its palette; without one, drawings are coded without any. palette_only:
    refuse other colours than the palette's. level: fast, default or best: how much work, both ways, a smaller file is worth. device: auto,
    cpu or cuda; it does not change the bytes. past: whether what a decoded JPEG or PhotoCD was made of may be coded instead of the pixels.
    verify: decompress all of the result and compare it with the picture, not only how each of its chunks begins. max_pixels: refuse larger
    pictures; the default is Pillow's limit for files, and none for images, arrays and JPEG files that are kept. progress: called with the
    number of pixels just done.

    Raises TypeError for what is no picture, UnsupportedImageError for one that cannot be kept exactly, TooLargeError, ModelError for an
    unusable model, VerificationError where the result does not give back the picture, IgptError for a device that is unknown or not
    there, or an unknown level, OSError where a file cannot be read.
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
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> list[bytes]:
    """As `compress`, for several pictures, side by side on all threads; the same bytes. What is raised for one stops all. A file is read
    when its turn comes."""
    options = Options(
        model=model,
        revision=revision,
        palette_only=palette_only,
        level=level,
        device=device,
        past=past,
        pixels=pixels,
        verify=verify,
        max_pixels=max_pixels,
    )
    return compress_pictures(pictures, options, progress or ignore)


def decompress(
    data: bytes | str | Path,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> Image.Image:
    """The image that `compress` was given, pixel for pixel, in the same mode, with its metadata; of a JPEG file what Pillow decodes it to.

    data: an igpt file, or its path. model: the folder of the model that the file names, where it is not on this machine. max_pixels: refuse
    larger pictures; the default is Pillow's limit. device, progress: as in `compress`.

    Raises NotIgptError, NewerVersionError, DamagedError, TruncatedError, ModelError or TooLargeError; UnsupportedImageError where Pillow
    has no mode for the picture, which `decode` has; IgptError for a device that is unknown or not there; OSError where a file cannot be
    read.
    """
    options = Options(model=model, device=device, max_pixels=max_pixels)
    return _image(decompress_file(_file(data), options, progress or ignore), max_pixels)


def decompress_many(
    files: Sequence[bytes | str | Path],
    *,
    model: str | Path | None = None,
    device: str = "auto",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> list[Image.Image]:
    """As `decompress`, for several files, whose tiles a network goes through together: small pictures come several times faster so. What is
    raised for one is raised."""
    options = Options(model=model, device=device, max_pixels=max_pixels)
    images = []
    for found in decompress_files([_file(data) for data in files], options, progress or ignore):
        if isinstance(found, IgptError):
            raise found
        images.append(_image(found, max_pixels))
    return images


def decode(
    data: bytes | str | Path,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> npt.NDArray[Any]:
    """The samples of an igpt file: (height, width), or (height, width, channels) where there are several, uint8 or uint16; of a palette the
    indices, of few bits numbers from 0 on. Arguments and errors as of `decompress`."""
    options = Options(model=model, device=device, max_pixels=max_pixels)
    picture = decompress_file(_file(data), options, progress or ignore)
    if picture.is_file:
        return np.asarray(image_in(picture, max_pixels))
    pixels = picture.pixels
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def jpeg_file(
    data: bytes | str | Path,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> bytes:
    """The JPEG file that `compress` was given, byte for byte.

    Arguments and errors as of `decompress`; UnsupportedImageError where pixels were kept and not a file. max_pixels: the default is none.
    """
    picture = decompress_file(_file(data), Options(model=model, device=device, max_pixels=max_pixels), progress or ignore)
    if not picture.is_file:
        msg = "it holds pixels, not a JPEG file: decompress gives them"
        raise UnsupportedImageError(msg)
    return picture.file


def info(data: bytes | str | Path) -> Info:
    """What the beginning of an igpt file, or of the file of this path, says; nothing is decoded.

    Raises NotIgptError, NewerVersionError, TruncatedError or DamagedError where the beginning is at fault.
    """
    if isinstance(data, bytes):
        return info_of(read_front(data))
    with Path(_path(data)).open("rb") as stream:
        return info_of(front_in(stream))


def register_igpt_opener() -> None:
    """Teaches Pillow the format: from then on `Image.open("x.igpt")` and `image.save("x.igpt")` work."""
    plugin.register()


def _image(picture: Picture, max_pixels: int | None) -> Image.Image:
    return image_in(picture, max_pixels) if picture.is_file else opened(picture)


def _file(data: bytes | str | Path) -> File:
    return read(data if isinstance(data, bytes) else Path(_path(data)).read_bytes())


def _path(data: Any) -> str | Path:
    if not isinstance(data, str | Path):
        msg = f"an igpt file is bytes or a path (str or pathlib.Path), not {type(data).__name__}"
        raise TypeError(msg)
    return data
