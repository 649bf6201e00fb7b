"""What taking a picture file apart gives. Each format has a module with a function `parsed`, which accounts for every byte of the file.

But for these, which are neither stored nor named: how the pixels were packed and cut in pieces; spare bits at the ends of a PNG's
rows, which its standard leaves unspecified; how many bits a GIF says that its colours had before.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy.typing as npt

from bitstream.form import Form
from bitstream.metadata import Chunks

BYTES_BEHIND = "{:,} bytes behind its end"
SPARE_BITS = "bits at the ends of its rows"


class Decoded(NamedTuple):
    """samples: (height, width, channels) uint8 or uint16; left_out: what else was found to be in the file on the way."""

    samples: npt.NDArray[Any]
    form: Form
    left_out: tuple[str, ...] = ()


class Parsed(NamedTuple):
    """plain: a file of the same format with nothing in it but what the samples need, for Pillow to decode; size: (width, height) that it
    promises; chunks: its metadata, as a PNG has them; left_out: names of what the file has and igpt does not store.

    decoded: makes the samples where `plain` is not to be used, once the size is found to be allowed. Raises UnsupportedImageError.
    """

    plain: bytes
    size: tuple[int, int]
    chunks: Chunks = ()
    left_out: tuple[str, ...] = ()
    decoded: Callable[[], Decoded] | None = None
