"""Small images of igpt files, for people: of the preview where there is one, else of all pixels."""

from PIL import Image

from bitstream.container import PREVIEW, File
from codec.decompression import decompress_file
from codec.options import Options
from codec.pictures.kept import image_in
from codec.pictures.preview import in_colour, opened_preview, shown, turned
from codec.progress import Progress


def thumbnail_of(file: File, size: int, options: Options, progress: Progress) -> Image.Image:
    """RGB or RGBA, of at most `size` pixels a side, turned as EXIF says. Raises as `decompress_file`, and UnsupportedImageError."""
    image = in_colour(_image(file, options, progress))
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    found = turned(image)
    return Image.frombytes(found.mode, found.size, found.tobytes())  # without what else came with it


def _image(file: File, options: Options, progress: Progress) -> Image.Image:
    front = file.front
    if PREVIEW in front.boxes:  # which has been turned
        return opened_preview(front.boxes[PREVIEW], (front.head.width, front.head.height))
    picture = decompress_file(file, options, progress)
    return image_in(picture, options.max_pixels) if picture.is_file else shown(picture)
