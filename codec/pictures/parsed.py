"""What taking a picture file apart gives. Each format has a module with a function `parsed`, which accounts for every byte of the file."""

from typing import NamedTuple

from bitstream.envelope import Chunks

BYTES_BEHIND = "{:,} bytes behind its end"


class Parsed(NamedTuple):
    """plain: a file of the same format with nothing in it but what the samples need, for Pillow to decode; size: (width, height) that it
    promises; chunks: its metadata, as a PNG has them; left_out: names of what the file has and igpt does not store."""

    plain: bytes
    size: tuple[int, int]
    chunks: Chunks = ()
    left_out: tuple[str, ...] = ()
