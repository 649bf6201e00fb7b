"""What igpt does; its public names are documented, and to be imported, as those of the package `igpt`."""

import importlib
from typing import TYPE_CHECKING, Any

from bitstream.errors import (
    DamagedError,
    IgptError,
    ModelError,
    NewerVersionError,
    NotIgptError,
    TooLargeError,
    TruncatedError,
    UnsupportedImageError,
    VerificationError,
)

if TYPE_CHECKING:
    from codec.api import compress, compress_many, decode, decompress, decompress_many, info, jpeg_file, register_igpt_opener, thumbnail
    from codec.description import Info

__version__ = "1.0.0"

__all__ = [
    "DamagedError",
    "IgptError",
    "Info",
    "ModelError",
    "NewerVersionError",
    "NotIgptError",
    "TooLargeError",
    "TruncatedError",
    "UnsupportedImageError",
    "VerificationError",
    "compress",
    "compress_many",
    "decode",
    "decompress",
    "decompress_many",
    "info",
    "jpeg_file",
    "register_igpt_opener",
    "thumbnail",
]


def __getattr__(name: str) -> Any:
    """The functions are imported at their first use, as they bring all of the codec with them."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module("codec.description" if name == "Info" else "codec.api"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
