"""igpt as a format of Pillow: `Image.open("x.igpt")`, `image.save("x.igpt")`."""

from typing import IO, Any

from PIL import Image, ImageFile, UnidentifiedImageError

from bitstream.constants import MAGIC
from bitstream.container import FIRST_BYTES, front_in, largest_file, read
from bitstream.errors import IgptError, UnsupportedImageError
from bitstream.form import GREY, KEPT, Form
from codec.compression import compress_picture
from codec.decompression import decompress_file, header_in
from codec.options import Options
from codec.pictures.kept import image_in, opened_header
from codec.pictures.pillow import bare, known_of, picture_kept
from codec.representations import meant

OPTIONS = (
    "model",
    "revision",
    "palette_only",
    "level",
    "device",
    "past",
    "verify",
    "preview",
    "max_error",
    "lossy",
)  # of `save`, for the codec


class IgptImageFile(ImageFile.ImageFile):
    """Opens by the front of the file; the pixels come with `load`."""

    format = "IGPT"
    format_description = "igpt lossless image"
    raw_mode: str | None = None  # as of a PNG with such samples
    _coded = False  # whether the pixels are still in the file

    def _open(self) -> None:
        assert self.fp is not None
        try:
            front = front_in(self.fp)
            form = front.head.form
            if form.colour == KEPT:
                self._show(opened_header(header_in(read(self._data()))))
                return
            require_mode(form)
            known = known_of(form, meant(front).chunks)
        except IgptError as error:
            raise UnidentifiedImageError(str(error)) from error  # nobody else can open it: this is the sentence that counts
        self._size = front.head.width, front.head.height
        self._mode = form.mode
        self.info, self.text, self.palette = known
        self.raw_mode = f"L;{form.depth}" if self.mode == "L" and form.depth < 8 else self.mode
        self._coded = True

    def _show(self, jpeg: Image.Image) -> None:
        """As a kept JPEG file is shown; jpeg: its header."""
        self._size, self._mode, self.info = jpeg.size, jpeg.mode, jpeg.info
        self.raw_mode, self._coded = jpeg.mode, True

    def _data(self) -> bytes:
        """All of the file; no more than one that is valid can have."""
        if self.fp is None:
            msg = "the image was closed before it was loaded"
            raise ValueError(msg)
        self.fp.seek(0)
        start = self.fp.read(FIRST_BYTES)
        return start + self.fp.read(max(0, largest_file(start) + 1 - len(start)))

    def load(self) -> Any:
        """Raises OSError where the file is damaged."""
        if self._coded:
            try:
                picture = decompress_file(read(self._data()), Options(max_pixels=self.width * self.height))
                image = image_in(picture, self.width * self.height) if picture.is_file else bare(picture)
            except IgptError as error:
                raise OSError(str(error)) from error
            if (image.size, image.mode) != (self.size, self.mode):
                msg = "the file is not the one that was opened"
                raise OSError(msg)
            self.im, self.readonly, self._coded = image.im, 0, False
            if self._exclusive_fp and self.fp:
                self.fp.close()
            self.fp = None
        return super().load()

    def verify(self) -> None:
        """Checks every checksum; decodes nothing. Raises OSError where the file is damaged."""
        try:
            meant(read(self._data()).front)
        except IgptError as error:
            raise OSError(str(error)) from error
        super().verify()


def require_mode(form: Form) -> None:
    """Raises UnsupportedImageError where Pillow has no mode for such samples."""
    if form.depth == 16 and form.colour != GREY:
        msg = f"Pillow has no mode for colour type {form.colour} with {form.depth} bits: use igpt decompress"
        raise UnsupportedImageError(msg)


def save(image: Image.Image, stream: IO[bytes], filename: str | bytes) -> None:
    """Options of `Image.save`: model, revision, palette_only, level, device, past, verify, preview, max_error, lossy as of `compress`;
    exif, icc_profile, dpi, xmp, transparency and pnginfo as of a PNG.

    Raises OSError for what cannot be kept.
    """
    options: Any = {name: image.encoderinfo[name] for name in OPTIONS if name in image.encoderinfo}
    try:
        stream.write(compress_picture(picture_kept(image, image.encoderinfo), Options(**options)))
    except IgptError as error:
        raise OSError(str(error)) from error


def save_all(image: Image.Image, stream: IO[bytes], filename: str | bytes) -> None:
    """As `save`, which Pillow would call without the images to append. Raises OSError where there are some."""
    if image.encoderinfo.get("append_images"):
        msg = "an igpt file holds one image: save each in a file of its own"
        raise OSError(msg)
    save(image, stream, filename)


def register() -> None:
    Image.register_open(IgptImageFile.format, IgptImageFile, lambda prefix: prefix.startswith(MAGIC))
    Image.register_save(IgptImageFile.format, save)
    Image.register_save_all(IgptImageFile.format, save_all)
    Image.register_extension(IgptImageFile.format, ".igpt")
    Image.register_mime(IgptImageFile.format, "image/x-igpt")
