"""Pictures -> picture files, in the format that a name's extension says."""

import io
from typing import Any

from bitstream.errors import UnsupportedImageError
from codec.image import DAMAGES, Picture, opened_by_pillow
from codec.png import GREY, written

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
METADATA_OF = {"TIFF": ("icc_profile", "dpi"), "WEBP": ("icc_profile", "exif", "xmp")}


def png_of(picture: Picture) -> bytes:
    """A PNG file of the picture."""
    return written(picture.pixels, picture.form, picture.chunks)


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
    from codec.pillow import opened

    image = opened(picture)
    kept = {name: image.info[name] for name in METADATA_OF.get(form, ()) if name in image.info}
    stream = io.BytesIO()
    try:
        image.save(stream, form, **options, **kept)
        again = opened_by_pillow(form, io.BytesIO(stream.getvalue()))
        same = again.mode == image.mode and again.size == image.size and again.tobytes() == image.tobytes()
        if same and ("transparency" in image.info or image.mode == "P"):
            same = again.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()
    except DAMAGES as error:
        raise UnsupportedImageError(what) from error
    if not same:
        raise UnsupportedImageError(what)
    return stream.getvalue()
