"""A file that begins as a JPEG <-> the pictures in it, taken apart one after the other, and the rest of its bytes.

The first picture is the file's own. Those within it (thumbnails) and behind it (of other sizes, gain maps) are JPEGs themselves. Each is
taken from what the ones before have left, so they are put back in the opposite order.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bitstream.container import require
from bitstream.reader import Reader, varint
from codec.jpeg.entropy import Coefficients
from codec.jpeg.picture import BLOCKS_PER_BYTE, MOST_BLOCKS, MOST_SEGMENTS, Patch, Taken, Walk, put_back, taken_apart, walk

MOST_PICTURES, MOST_TRIED = 16, 64
BEGINNING = b"\xff\xd8\xff"


class Place(NamedTuple):
    """Of a picture that was taken. start: of its SOI, in the file without the code of the pictures before and of its own; code: bytes that
    its coefficients give; chunks: how many hold these; patches: of its scans, by number, those that are not as usual."""

    start: int
    code: int
    chunks: int
    patches: Sequence[tuple[int, Patch]]

    def to_bytes(self) -> bytes:
        numbers = [self.start, self.code, self.chunks, len(self.patches)]
        for scan, (kept, ones) in self.patches:
            numbers += [scan, (0 if kept is None else kept + 1) << 1 | (not ones)]
        return b"".join(map(varint, numbers))

    def all_patches(self, scans: int) -> list[Patch]:
        """Raises DamagedError."""
        unusual = dict(self.patches)
        require(len(unusual) == len(self.patches) and max(unusual, default=0) < scans, "its scans are others")
        return [unusual.get(scan, Patch()) for scan in range(scans)]


def place_from(reader: Reader) -> Place:
    """Raises DamagedError."""
    start, code, chunks, count = (reader.varint() for _ in range(4))
    require(count <= MOST_SEGMENTS, "its scans are too many")
    patches = []
    for _ in range(count):
        scan, value = reader.varint(), reader.varint()
        patches.append((scan, Patch((value >> 1) - 1 if value >> 1 else None, not value & 1)))
    return Place(start, code, chunks, patches)


def pictures_in(data: bytes) -> tuple[list[tuple[int, Taken]], bytes]:
    """Each with its start, and the rest of the file."""
    found, rest, at, most_blocks = list[tuple[int, Taken]](), data, 0, MOST_BLOCKS
    for _ in range(MOST_TRIED):
        if (at := rest.find(BEGINNING, at)) < 0 or len(found) == MOST_PICTURES:
            break
        if taken := taken_apart(rest, at, most_blocks):
            found.append((at, taken))
            rest = taken.rest
            most_blocks -= taken.walk.frame.blocks
        at += 2
    return found, rest


Decoder = Callable[[Walk, int], Coefficients]  # of the picture with this number


def joined(rest: bytes, places: Sequence[Place], decode: Decoder, first: int = 0) -> bytes:
    """The file, or with another `first` what it is without the pictures before that. Raises DamagedError."""
    most_blocks = MOST_BLOCKS
    for number in range(len(places) - 1, first - 1, -1):
        place = places[number]
        found = walk(rest, place.start) if rest.startswith(BEGINNING, place.start) else None
        require(found is not None, "there is no JPEG where one should be")
        assert found
        blocks, size = found.frame.blocks, len(rest) + place.code
        require(blocks <= min(most_blocks, BLOCKS_PER_BYTE * size), f"a JPEG in it has {blocks:,} blocks, too many")
        most_blocks -= blocks
        rest = put_back(rest, found, place.all_patches(len(found.scans)), decode(found, number), place.code)
        require(len(rest) == size, "a JPEG in it has another size")
    return rest


def skeleton(rest: bytes, places: Sequence[Place]) -> bytes:
    """As `joined` with the first as the first, but with zeros instead of code: enough to find the segments of the file's own picture."""
    for place in reversed(places[1:]):
        if found := walk(rest, place.start):
            rest = rest[: found.scans[0][1]] + bytes(place.code) + rest[found.scans[0][1] :]
    return rest
