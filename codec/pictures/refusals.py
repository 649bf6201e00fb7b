"""How every reader refuses a file, or names what it leaves out."""

from collections.abc import Iterable, Iterator
from typing import NoReturn, TypeVar

from bitstream.errors import UnsupportedImageError

MOST_NAMES = 40
MOST_PARTS = 1 << 16  # blocks, chunks or segments of a file
TRUNCATED = "it is truncated"

Part = TypeVar("Part")


def refuse_unkept(what: str) -> NoReturn:
    """what: the subject of the sentence, with its article."""
    msg = f"{what} cannot be kept exactly by this version; RGB and greyscale with and without alpha, palettes and bitmaps can"
    raise UnsupportedImageError(msg)


def refuse_damaged(why: str) -> NoReturn:
    msg = f"the picture is damaged: {why}"
    raise UnsupportedImageError(msg)


def listed(names: Iterable[str]) -> tuple[str, ...]:
    """Each once, and no more of them than anybody reads."""
    each = tuple(dict.fromkeys(names))
    return each if len(each) <= MOST_NAMES else (*each[:MOST_NAMES], f"{len(each) - MOST_NAMES:,} more of such")


def limited(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts of a file, as long as they are no attack. Raises UnsupportedImageError."""
    for number, part in enumerate(parts):
        if number == MOST_PARTS:
            refuse_unkept(f"a file of more than {MOST_PARTS:,} parts")
        yield part
