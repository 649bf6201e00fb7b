"""TIFF files (6.0) taken apart: every tag, and every byte that a tag leads to."""

import struct
from fractions import Fraction

import numpy as np

from bitstream.errors import UnsupportedImageError
from bitstream.form import PALETTE
from codec.pictures import jpeg, metadata, strips
from codec.pictures.directory import ASCII, DIRECTORY, ENDIAN, LONG, RATIONAL, Directory, Entry, Field, exif_block, name_of, read_directory
from codec.pictures.parsed import BYTES_BEHIND, Decoded, Parsed
from codec.pictures.refusals import TRUNCATED, listed, refuse_damaged, refuse_unkept
from codec.pictures.strips import (
    COLOURS,
    JPEG,
    LAYOUT,
    OF_JPEG,
    OURS,
    PREDICTED,
    PREDICTOR,
    RAW,
    T4_OPTIONS,
    T6_OPTIONS,
    ZSTD,
    Layout,
    layout_of,
)

ORDERS = {b"II": "<", b"MM": ">"}
XMP, PROFILE, ORIENTATION, MAX_VALUE, EXIF, GPS, INTEROPERABILITY, MAKER_NOTE = 700, 34675, 274, 281, 34665, 34853, 40965, 37500
X_RESOLUTION, Y_RESOLUTION, UNIT = RESOLUTION = 282, 283, 296
UNITS = {1: None, 2: metadata.METRES_PER_INCH, 3: Fraction(1, 100)}
DESCRIPTIONS = {  # tags that say something in any file, so also in a block of EXIF
    *(269, 270, 271, 272, ORIENTATION, 285, 301, 305, 306, 315, 316, 318, 319, 18246, 18249, *range(40091, 40096)),
    33432,
}
SAY_NOTHING: dict[int, list[tuple[int, ...]]] = {  # with these values
    254: [(0,)],
    255: [(1,)],
    263: [(1,)],
    280: [(0,)],
    297: [(0, 0), (0, 1)],
}
USED_BY = {JPEG: OF_JPEG, 3: {T4_OPTIONS}, 4: {T6_OPTIONS}}
MOST_PAGES = 1000
MOST_DESCRIPTION_BYTES = 1 << 20
LEFT_OUT = "the JPEG in the TIFF: these are its decoded pixels"
Spans = list[tuple[int, int]]


def parsed(data: bytes) -> Parsed:
    """Raises UnsupportedImageError for several pages, for what cannot be kept exactly, and for what is damaged."""
    order = ORDERS.get(data[:2])
    if not order:
        refuse_damaged("it is no TIFF")
    if len(data) < 8:
        refuse_damaged(TRUNCATED)
    version, first = struct.unpack(f"{order}HI", data[2:8])
    if version != 42:
        refuse_unkept("a BigTIFF" if version == 43 else f"a TIFF of version {version}")
    directory = read_directory(data, order, first)
    _require_one_page(directory)
    layout = layout_of(directory)
    used = LAYOUT | ({COLOURS} if layout.form.colour == PALETTE else set()) | USED_BY.get(layout.compression, set())
    chunks, left_out, spans = _metadata(directory, layout, used)
    if layout.form.colour == PALETTE:
        chunks.insert(0, (b"PLTE", _palette(directory, layout.form.depth)))
    packed = layout.compression not in OURS
    if layout.compression == JPEG:
        left_out = [LEFT_OUT, *_jpeg_left_out(layout), *left_out]
    left_out += _unaccounted(layout, spans)
    if layout.compression == ZSTD:
        left_out.append("what its Zstandard code may hold behind its pixels")
    plain = _plain(directory, used) if packed else b""

    def decoded() -> Decoded:
        samples, beside = layout.samples()
        return Decoded(samples, layout.form, beside)

    return Parsed(plain, layout.size, tuple(chunks), listed(left_out), None if packed else decoded)


def _require_one_page(directory: Directory) -> None:
    seen = [directory.at]
    while directory.following and len(seen) < MOST_PAGES:
        if directory.following in seen:
            refuse_damaged("its pages run in a circle")
        directory = read_directory(directory.data, directory.order, directory.following)
        seen.append(directory.at)
    if len(seen) > 1:
        refuse_unkept(f"a file of {len(seen)} pages")


def _name(tag: int) -> str:
    return f"the TIFF tag {name_of(tag)}"


def _metadata(directory: Directory, layout: Layout, used: set[int]) -> tuple[list[metadata.Chunk], list[str], Spans]:
    """Chunks, names of what is left out, and where everything stands that the tags lead to, but for the pixels. used: tags that say how
    those are stored."""
    chunks: list[metadata.Chunk] = []
    left_out = [f"{_name(tag)}, which it has twice" for tag in directory.twice]
    fields: list[Field] = []
    spans: Spans = [(0, 8), (directory.at, directory.end), *_values(directory)]
    highest = (1 << layout.form.depth) - 1
    for tag, entry in directory.entries.items():
        if tag in used or tag in RESOLUTION:
            continue
        if not entry.many:
            left_out.append(f"{_name(tag)}, which is damaged")
        elif tag == PROFILE:
            chunks.append(metadata.colour_profile(directory.value(tag)))
        elif tag == XMP and entry.kind != ASCII:
            chunks.append(metadata.xmp(directory.value(tag)))
        elif tag in DESCRIPTIONS and entry.size <= MOST_DESCRIPTION_BYTES:
            fields.append(Field(tag, entry.kind, entry.many, directory.value(tag)))
        elif tag in (EXIF, GPS) and (inner := _inner(directory, entry, left_out, spans)):
            fields.append(inner)
        elif not directory.says(tag, *SAY_NOTHING.get(tag, ()), *([(highest,)] if tag == MAX_VALUE else [])):
            left_out.append(_name(tag))
    resolution = _resolution(directory)
    if resolution:
        chunks.append(resolution[0])
        left_out += resolution[1]
    else:
        lost = [tag for tag in (X_RESOLUTION, Y_RESOLUTION) if tag in directory.entries]
        if not lost and UNIT in directory.entries and not directory.says(UNIT, (2,)):  # which it is without the tag
            lost = [UNIT]
        left_out += map(_name, lost)
    if layout.compression not in PREDICTED and PREDICTOR in directory.entries and not directory.says(PREDICTOR, (1,)):
        left_out.append(_name(PREDICTOR))
    if any(tag != ORIENTATION for tag, *_ in fields) or (fields and not directory.says(ORIENTATION, (1,))):
        chunks.append(metadata.exif(exif_block(directory.order, fields)))
    return chunks, left_out, spans


def _values(directory: Directory) -> Spans:
    return [(entry.at, entry.at + entry.size) for entry in directory.entries.values() if entry.size]


def _inner(directory: Directory, entry: Entry, left_out: list[str], spans: Spans) -> Field | None:
    """The directory of EXIF, GPS or interoperability as a field; None where it is damaged. Adds what it leaves out, and where it stands."""
    try:
        if entry.kind not in (LONG, DIRECTORY) or entry.many != 1:
            return None
        inner = read_directory(directory.data, directory.order, int.from_bytes(directory.value(entry.tag), ENDIAN[directory.order]))
    except UnsupportedImageError:
        return None
    if inner.twice or sum(inside.size for inside in inner.entries.values()) > len(inner.data):  # many values that lie in the same place
        return None
    spans += [(inner.at, inner.end), *_values(inner)]
    fields: list[Field] = []
    for tag, inside in inner.entries.items():
        below = _inner(inner, inside, left_out, spans) if tag == INTEROPERABILITY and entry.tag == EXIF else None
        if below:
            fields.append(below)
        elif tag in (MAKER_NOTE, INTEROPERABILITY) or inside.kind == DIRECTORY or not inside.many:  # a note may lead to places in the file
            left_out.append(f"the EXIF tag {name_of(tag, entry.tag)}")
        else:
            fields.append(Field(tag, inside.kind, inside.many, inner.value(tag)))
    if inner.following:
        left_out.append("a directory behind that of EXIF")
    return Field(entry.tag, LONG, 1, fields)


def _resolution(directory: Directory) -> tuple[metadata.Chunk, list[str]] | None:
    """As `metadata.resolution`."""
    values: list[Fraction] = []
    for tag in (X_RESOLUTION, Y_RESOLUTION):
        entry = directory.entries.get(tag)
        if not entry or (entry.kind, entry.many) != (RATIONAL, 1):
            return None
        above, below = struct.unpack(f"{directory.order}II", directory.value(tag))
        values.append(Fraction(above, below) if below else Fraction(0))
    units = [UNITS[unit] for unit in UNITS if directory.says(UNIT, (unit,)) or (unit == 2 and UNIT not in directory.entries)]
    return metadata.resolution(values[0], values[1], units[0]) if units else None


def _palette(directory: Directory, depth: int) -> bytes:
    """PLTE. Raises UnsupportedImageError where the colours have more than 8 bits."""
    entries = np.array(directory.numbers(COLOURS))
    if entries.size != 3 << depth:
        refuse_damaged(f"its palette has {entries.size} numbers, not {3 << depth}")
    if entries.max() > 65535:
        refuse_damaged("its palette has numbers above 65,535")
    if entries.any() and entries.max() < 256:
        refuse_unkept("a TIFF whose palette ends at 255 where it should at 65,535")
    if (entries % 257).any() and (entries % 256).any():
        refuse_unkept("a TIFF whose palette has colours of 16 bits")
    return (entries >> 8).astype(np.uint8).reshape(3, -1).T.tobytes()


def _jpeg_left_out(layout: Layout) -> list[str]:
    """Raises UnsupportedImageError where a strip or tile is no JPEG of its size with its end."""
    behind = 0
    across, down = layout.grid
    for k, (offset, count) in enumerate(zip(layout.offsets.tolist(), layout.counts.tolist(), strict=True)):
        code = layout.data[offset : offset + count]
        if code[:2] != b"\xff\xd8":
            refuse_damaged("a strip of it is no JPEG")
        found = list(jpeg.segments(code))
        frames = [struct.unpack(">BHHB", part.body[:6]) for part in found if part.marker in jpeg.FRAMES and len(part.body) >= 6]
        if not (len(frames) == 1 and any(part.marker == jpeg.SOS for part in found)):
            refuse_damaged("a strip of it has no picture")
        if frames[0] != (8, layout.rows(k // across % down), layout.piece[0], layout.form.channels):
            refuse_damaged("a strip of it has another size, or other channels, than it should")
        if sum(part.marker == jpeg.SOS for part in found) > jpeg.MOST_SCANS:
            refuse_unkept("a TIFF with a JPEG of very many scans")
        behind += len(code[found[-1].end :].rstrip(b"\0"))
    return [f"{behind:,} bytes behind the JPEGs in the TIFF"] if behind else []


def _unaccounted(layout: Layout, spans: Spans) -> list[str]:
    """Bytes of the file that no tag leads to, but for a little padding with zeros. spans: what is known beside the pixels."""
    used = np.minimum(layout.counts, strips.expected_bytes(layout)) if layout.compression == RAW else layout.counts
    known = np.array(spans, np.int64).reshape(-1, 2)
    starts, ends = np.concatenate([known[:, 0], layout.offsets]), np.concatenate([known[:, 1], layout.offsets + used])
    order = starts.argsort(kind="stable")
    starts, ends = starts[order], np.maximum.accumulate(ends[order])
    total = len(layout.data)
    holes = np.flatnonzero(starts[1:] > ends[:-1])
    inside = sum(_unexplained(layout.data, int(ends[k]), int(starts[k + 1])) for k in holes)
    behind = _unexplained(layout.data, int(ends[-1]), total)
    left_out = [f"{inside:,} bytes of the TIFF that belong to nothing"] if inside else []
    return left_out + ([BYTES_BEHIND.format(behind)] if behind else [])


def _unexplained(data: bytes, start: int, end: int) -> int:
    """How many bytes lie between; 0 where they only bring what follows to a multiple of 2, 4, 8 or 16."""
    padding = any(end % step == 0 and end - start < step for step in (2, 4, 8, 16))
    return 0 if padding and not any(data[start:end]) else end - start


def _plain(directory: Directory, kept: set[int]) -> bytes:
    """The file with another directory at its end, in which nothing is but these tags."""
    data, order = directory.data, directory.order
    entries = [entry.raw for tag, entry in sorted(directory.entries.items()) if tag in kept and entry.many]
    at = len(data) + (len(data) & 1)
    if at + (1 << 16) > 1 << 32:
        refuse_unkept("a TIFF of four gigabytes")
    header = data[:4] + struct.pack(f"{order}I", at)
    return b"".join([header, data[8:], bytes(at - len(data)), struct.pack(f"{order}H", len(entries)), *entries, bytes(4)])
