"""igpt as a format of Pillow: `Image.open("x.igpt")`, `image.save("x.igpt")`."""

from typing import IO, Any

from PIL import Image, ImageFile

import codec
from bitstream.constants import MAGIC
from bitstream.envelope import DEPTHS, first_header, is_envelope, mode_of
from bitstream.header import read_header
from bitstream.reader import Reader

FIRST_BYTES = 1 << 12


class IgptImageFile(ImageFile.ImageFile):
    """Opens by the header; the pixels and the metadata come with `load`."""

    format = "IGPT"
    format_description = "igpt lossless image"

    def _open(self) -> None:
        assert self.fp is not None
        start = self.fp.read(FIRST_BYTES)
        try:
            self._size, self._mode = size_and_mode(start)
        except codec.IgptError as error:
            raise SyntaxError(str(error)) from error
        self.tile = []
        self.undecoded = True

    def load(self) -> Any:
        """Raises OSError where the file is damaged."""
        if self.undecoded:
            assert self.fp is not None
            self.fp.seek(0)
            try:
                image = codec.decompress(self.fp.read(), max_pixels=self.width * self.height)
            except codec.IgptError as error:
                raise OSError(str(error)) from error
            self.undecoded = False
            self.im, self._mode, self.palette = image.im, image.mode, image.palette
            self.info |= image.info
            if self._exclusive_fp:
                self.fp.close()
        return super().load()


def size_and_mode(start: bytes) -> tuple[tuple[int, int], str]:
    """Of a file that begins so: (width, height), and Pillow's mode. Raises IgptError."""
    if not is_envelope(start):
        header = read_header(Reader(start, "the header"))
        return (header.width, header.height), {1: "L", 3: "RGB"}[header.channels]
    header = first_header(start)
    colour, depth = start[len(MAGIC) + 1], start[len(MAGIC) + 2]
    if depth not in DEPTHS.get(colour, ()) or (depth == 16 and colour != 0):
        msg = f"Pillow has no mode for colour type {colour} with {depth} bits: use igpt decompress"
        raise codec.UnsupportedImageError(msg)
    return (header.width, header.height), mode_of(colour, depth)


def save(image: Image.Image, stream: IO[bytes], filename: str | bytes) -> None:
    """Options of `Image.save`: model, revision, device, past. Raises OSError for what cannot be kept."""
    options = {name: image.encoderinfo[name] for name in ("model", "revision", "device", "past") if name in image.encoderinfo}
    try:
        stream.write(codec.compress(image, **options))
    except codec.IgptError as error:
        raise OSError(str(error)) from error


def register() -> None:
    Image.register_open(IgptImageFile.format, IgptImageFile, lambda prefix: prefix.startswith(MAGIC))
    Image.register_save(IgptImageFile.format, save)
    Image.register_extension(IgptImageFile.format, ".igpt")
    Image.register_mime(IgptImageFile.format, "image/x-igpt")
