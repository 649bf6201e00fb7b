"""Small images of igpt files, for people: of the preview where there is one, else of all pixels."""

from PIL import Image, ImageOps

from bitstream.container import PREVIEW, File
from bitstream.form import KEPT
from codec.decompression import decompress_file, header_in
from codec.options import Options
from codec.pictures.decoding import DAMAGES
from codec.pictures.kept import image_in, opened_header
from codec.pictures.pillow import known_of
from codec.pictures.preview import in_colour, opened_preview, shown
from codec.progress import Progress
from codec.representations import meant

ORIENTATION = 0x0112  # of EXIF


def thumbnail_of(file: File, size: int, options: Options, progress: Progress) -> Image.Image:
    """RGB or RGBA, of at most `size` pixels a side, turned as EXIF says. Raises as `decompress_file`, and UnsupportedImageError."""
    image = in_colour(_image(file, options, progress))
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    exif = image.getexif()
    exif.clear()
    exif[ORIENTATION] = _orientation(file)
    found = ImageOps.exif_transpose(image)
    return Image.frombytes(found.mode, found.size, found.tobytes())  # without what else came with it


def _image(file: File, options: Options, progress: Progress) -> Image.Image:
    front = file.front
    if PREVIEW in front.boxes:
        return opened_preview(front.boxes[PREVIEW], (front.head.width, front.head.height))
    picture = decompress_file(file, options, progress)
    return image_in(picture, options.max_pixels) if picture.is_file else shown(picture)


def _orientation(file: File) -> int:
    """1 where EXIF says none, or nothing that makes sense."""
    form, exif = file.head.form, Image.Exif()
    try:
        if form.colour == KEPT:
            exif = opened_header(header_in(file)).getexif()
        else:
            exif.load(known_of(form, meant(file.front).chunks).info.get("exif", b""))
        return int(exif.get(ORIENTATION, 1))
    except DAMAGES:
        return 1
