"""TIFF files, as Pillow has them."""

import io
import warnings

from codec.image import DAMAGES, opened_by_pillow
from codec.pictures.parsed import Decoded, Parsed, refuse_as_damaged
from codec.pillow import picture_of


def parsed(data: bytes) -> Parsed:
    return by_pillow("TIFF", data)


def by_pillow(name: str, data: bytes) -> Parsed:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        try:
            image = opened_by_pillow(name, io.BytesIO(data))
            picture = picture_of(image)
        except DAMAGES as error:
            refuse_as_damaged(str(error).rstrip(".") or type(error).__name__)
    jpeg = ("the JPEG itself: these are its decoded pixels",) if name == "JPEG" else ()
    wrong = ("what is damaged in its metadata",) if warned else ()
    left_out = (*picture.left_out, *jpeg, *wrong)
    return Parsed(b"", image.size, picture.chunks, left_out, lambda: Decoded(picture.pixels, picture.form))
