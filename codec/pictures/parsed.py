"""What taking a picture file apart gives. Each format has a module with a function `parsed`, which accounts for every byte of the file."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy.typing as npt

from bitstream.envelope import Chunks
from codec.png import Form

BYTES_BEHIND = "{:,} bytes behind its end"


class Parsed(NamedTuple):
    """plain: a file of the same format with nothing in it but what the samples need, for Pillow to decode; size: (width, height) that it
    promises; chunks: its metadata, as a PNG has them; left_out: names of what the file has and igpt does not store.

    form and samples are given by formats that need no Pillow, and plain is empty then: samples() decodes, once the size is found to be
    allowed, (height, width, channels) uint8 or uint16, and raises UnsupportedImageError where the file is damaged.
    """

    plain: bytes
    size: tuple[int, int]
    chunks: Chunks = ()
    left_out: tuple[str, ...] = ()
    form: Form | None = None
    samples: Callable[[], npt.NDArray[Any]] | None = None
