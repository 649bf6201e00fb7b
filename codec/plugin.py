"""igpt as a format of Pillow: `Image.open("x.igpt")`, `image.save("x.igpt")`."""

from typing import IO, Any

from PIL import Image, ImageFile, UnidentifiedImageError

import codec
from bitstream.constants import MAGIC
from bitstream.container import read_file
from bitstream.envelope import chunks_in, first_header, headers_of, is_envelope, mode_of, read_envelope
from bitstream.form import DEPTHS, GREY, RGB, Form
from bitstream.header import read_header
from bitstream.reader import Reader
from codec.pictures.pillow import bare, known_of, picture_kept

FIRST_BYTES = 1 << 12
OPTIONS = ("model", "revision", "device", "past")  # of `Image.save`, for the codec


class IgptImageFile(ImageFile.ImageFile):
    """Opens by the header and the metadata; the pixels come with `load`."""

    format = "IGPT"
    format_description = "igpt lossless image"
    raw_mode: str | None = None  # as of a PNG with such samples
    _coded = False  # whether the pixels are still in the file

    def _open(self) -> None:
        assert self.fp is not None
        start = self.fp.read(FIRST_BYTES)
        try:
            self._size, form = size_and_form(start)
            known = known_of(form, chunks_in(self.fp) if is_envelope(start) else ())
        except codec.IgptError as error:
            raise UnidentifiedImageError(str(error)) from error  # nobody else can open it: this is the sentence that counts
        self._mode = mode_of(form.colour, form.depth)
        self.info, self.text, self.palette = known
        self.raw_mode = f"L;{form.depth}" if self.mode == "L" and form.depth < 8 else self.mode
        self._coded = True

    def _data(self) -> bytes:
        """All of the file; no more than one that is valid can have."""
        if self.fp is None:
            msg = "the image was closed before it was loaded"
            raise ValueError(msg)
        self.fp.seek(0)
        start = self.fp.read(FIRST_BYTES)
        return start + self.fp.read(max(0, codec.largest_file(start) + 1 - len(start)))

    def load(self) -> Any:
        """Raises OSError where the file is damaged."""
        if self._coded:
            try:
                picture = codec.decompress_picture(self._data(), max_pixels=self.width * self.height)
                image = bare(picture)
            except codec.IgptError as error:
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
            data = self._data()
            parts: tuple[bytes, ...] = (data,)
            if is_envelope(data):
                envelope = read_envelope(data)
                headers_of(envelope)
                parts = envelope.parts
            for part in parts:
                read_file(part, part is not data)
        except codec.IgptError as error:
            raise OSError(str(error)) from error
        super().verify()


def size_and_form(start: bytes) -> tuple[tuple[int, int], Form]:
    """Of a file that begins so: (width, height), and of its samples. Raises IgptError."""
    if not is_envelope(start):
        header = read_header(Reader(start, "the header"))
        return (header.width, header.height), Form({1: GREY, 3: RGB}[header.channels], 8)
    header = first_header(start)
    colour, depth = start[len(MAGIC) + 1], start[len(MAGIC) + 2]
    if depth not in DEPTHS.get(colour, ()) or (depth == 16 and colour != GREY):
        msg = f"Pillow has no mode for colour type {colour} with {depth} bits: use igpt decompress"
        raise codec.UnsupportedImageError(msg)
    return (header.width, header.height), Form(colour, depth)


def save(image: Image.Image, stream: IO[bytes], filename: str | bytes) -> None:
    """Options of `Image.save`: model, revision, device, past; exif, icc_profile, dpi, xmp, transparency and pnginfo as of a PNG.

    Raises OSError for what cannot be kept.
    """
    options: Any = {name: image.encoderinfo[name] for name in OPTIONS if name in image.encoderinfo}
    try:
        stream.write(codec.compress_picture(picture_kept(image, image.encoderinfo), **options))
    except codec.IgptError as error:
        raise OSError(str(error)) from error


def register() -> None:
    Image.register_open(IgptImageFile.format, IgptImageFile, lambda prefix: prefix.startswith(MAGIC))
    Image.register_save(IgptImageFile.format, save)
    Image.register_extension(IgptImageFile.format, ".igpt")
    Image.register_mime(IgptImageFile.format, "image/x-igpt")
