"""JPEG files, as Pillow has them."""

from codec.pictures.parsed import Parsed
from codec.pictures.tiff import by_pillow


def parsed(data: bytes) -> Parsed:
    return by_pillow("JPEG", data)
