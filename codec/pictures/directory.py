"""Directories of tags, as TIFF (6.0, section 2) and EXIF have them: read, and written as a block of EXIF."""

import struct
from typing import Literal, NamedTuple

from PIL import TiffTags

from codec.pictures.refusals import TRUNCATED, refuse_damaged

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, DIRECTORY = 1, 2, 3, 4, 5, 7, 13
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # in bytes, of a value, by its type
INLINE = 4  # bytes of a value at most that stand in the entry itself
ENTRY = 12
ENDIAN: dict[str, Literal["little", "big"]] = {"<": "little", ">": "big"}


def name_of(tag: int, group: int | None = None) -> str:
    """For people; group: the tag of the directory that it stands in."""
    name = TiffTags.lookup(tag, group).name
    return str(tag) if name == "unknown" else name


class Entry(NamedTuple):
    """at: where its values stand; size: their bytes; raw: all of the entry, as it stands in the file."""

    tag: int
    kind: int
    many: int
    at: int
    size: int
    raw: bytes


class Directory(NamedTuple):
    """order: of bytes, as struct names it; at, end: where it stands; following: where the next one does, or 0. entries: by tag; those whose
    type is unknown or whose values are not in the file have 0 of them."""

    data: bytes
    order: str
    at: int
    end: int
    following: int
    entries: dict[int, Entry]
    twice: frozenset[int]

    def value(self, tag: int) -> bytes:
        """Raw; empty where there is none."""
        entry = self.entries.get(tag)
        return self.data[entry.at : entry.at + entry.size] if entry else b""

    def numbers(self, tag: int, *missing: int) -> tuple[int, ...]:
        """Of a tag that is known to have whole ones. Raises UnsupportedImageError where it has others."""
        entry = self.entries.get(tag)
        if entry is None:
            return missing
        if entry.kind not in (BYTE, SHORT, LONG) or not entry.many:
            refuse_damaged(f"its tag {name_of(tag)} is unusable")
        return struct.unpack(f"{self.order}{entry.many}{' BxHI'[entry.kind]}", self.value(tag))

    def says(self, tag: int, *what: tuple[int, ...]) -> bool:
        """Whether a tag's values are whole numbers, and these."""
        entry = self.entries.get(tag)
        return bool(entry and entry.kind in (BYTE, SHORT, LONG) and 0 < entry.many < 5 and self.numbers(tag) in what)

    def number(self, tag: int, missing: int) -> int:
        """The only one. Raises UnsupportedImageError where there are more."""
        found = self.numbers(tag, missing)
        if len(found) != 1:
            refuse_damaged(f"its tag {name_of(tag)} has {len(found):,} values")
        return found[0]


def read_directory(data: bytes, order: str, at: int) -> Directory:
    """Raises UnsupportedImageError where it is not all there."""
    length = int.from_bytes(data[at : at + 2], ENDIAN[order])
    end = at + 2 + ENTRY * length + 4
    if at < 8 or end > len(data):
        refuse_damaged(TRUNCATED)
    entries: dict[int, Entry] = {}
    twice: set[int] = set()
    for place in range(at + 2, end - 4, ENTRY):
        tag, kind, many, offset = struct.unpack_from(f"{order}HHII", data, place)
        size = SIZES.get(kind, 0) * many
        start = place + 8 if size <= INLINE else offset
        if not SIZES.get(kind) or start + size > len(data):
            many = size = 0
        if tag in entries:
            twice.add(tag)
            continue
        entries[tag] = Entry(tag, kind, many, start, size, data[place : place + ENTRY])
    return Directory(data, order, at, end, int.from_bytes(data[end - 4 : end], ENDIAN[order]), entries, frozenset(twice))


class Field(NamedTuple):
    """What an entry says, wherever it stands: raw values in the order of bytes, or a directory of fields."""

    tag: int
    kind: int
    many: int
    value: "bytes | list[Field]"


def exif_block(order: str, fields: list[Field]) -> bytes:
    """A TIFF without a picture."""
    return (b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08") + _written(order, fields, 8)


def _written(order: str, fields: list[Field], at: int) -> bytes:
    """The directory to stand at this place, with everything that it points to behind it."""
    entries, behind = [struct.pack(f"{order}H", len(fields))], bytearray()
    start = at + 2 + ENTRY * len(fields) + 4
    for tag, kind, many, value in sorted(fields, key=lambda field: field.tag):
        place = struct.pack(f"{order}I", start + len(behind))
        if isinstance(value, list):
            behind += _written(order, value, start + len(behind))
        elif len(value) > INLINE:
            behind += value + b"\0" * (len(value) & 1)
        else:
            place = value.ljust(INLINE, b"\0")
        entries.append(struct.pack(f"{order}HHI", tag, kind, many) + place)
    return b"".join([*entries, bytes(4), behind])
