"""A lossless image codec driven by an ImageGPT transformer.

>>> import igpt
>>> data = igpt.compress("photo.png")
>>> igpt.info(data).width
120
>>> image = igpt.decompress(data)

These are the names of `codec`, under the name that is documented; they are imported at their first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codec import (
        DamagedError,
        IgptError,
        Info,
        ModelError,
        NewerVersionError,
        NotIgptError,
        TooLargeError,
        TruncatedError,
        UnsupportedImageError,
        VerificationError,
        __version__,
        compress,
        compress_many,
        decode,
        decompress,
        decompress_many,
        info,
        jpeg_file,
        register_igpt_opener,
        thumbnail,
    )

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
    "__version__",
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
    import codec

    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(codec, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
