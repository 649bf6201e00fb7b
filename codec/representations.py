"""How a picture's samples are given to a method: as they are, as ranks among the values that occur, or as a palette's colours.

Each representation has boxes that say how to get back.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bitstream import deflate, metadata, palette
from bitstream.constants import MAX_DEEP_WIDTH, MAX_KEPT_BYTES, SAMPLE_DIGEST_BYTES
from bitstream.container import COLOURS, LEVELS, METADATA, PALETTE, SIZE, Front, require
from bitstream.errors import TooLargeError, UnsupportedImageError
from bitstream.form import CHANNELS, KEPT
from bitstream.form import PALETTE as PALETTE_COLOUR
from bitstream.reader import Reader, varint
from codec.pictures.picture import Picture

Samples = npt.NDArray[Any]

WORTH_RANKS = 0.9  # of the values from a channel's least to its largest: if no more occur, ranks are tried
BITMAP_BYTES = 32
LARGEST_PALETTE = 3 * 256  # bytes
SAMPLES_AT_ONCE = 1 << 20  # samples that are looked at together


@dataclass(frozen=True)
class Representation:
    """samples: (height, width, channels), of `depth` bits, what is coded; boxes: bodies by type, that say how they are meant.

    indices: whether they are no brightnesses, or have few bits; original: whether they are the picture's own; kept: whether they are the
    bytes of a file.
    """

    samples: Samples
    depth: int
    boxes: Mapping[int, bytes] = field(default_factory=dict)
    indices: bool = False
    original: bool = True
    kept: bool = False

    @property
    def box_bytes(self) -> int:
        """What its boxes take in a file, about."""
        return sum(len(body) + 3 for body in self.boxes.values())


def representations(picture: Picture) -> Iterator[Representation]:
    """What may be coded of a picture: its own samples, and whatever else may turn out to be smaller. Raises TooLargeError."""
    samples, form = picture.pixels, picture.form
    if form.colour == KEPT:
        yield Representation(samples, 8, {SIZE: varint(samples.size)}, kept=True)
        return
    if form.depth == 16:
        yield from _deep(samples)
        return
    yield Representation(samples, form.depth, indices=not form.meaningful)
    if form.colour == PALETTE_COLOUR:
        yield from _coloured(samples, palette_of(picture))
    elif form.meaningful:
        yield from _ranked(samples)


def digest_of(samples: Samples) -> bytes:
    """Of (height, width, channels) samples: SHA-256 in raster order, channels interleaved, those of 16 bits with the low byte first,
    cut."""
    little = np.ascontiguousarray(samples, samples.dtype.newbyteorder("<"))
    return hashlib.sha256(little.data).digest()[:SAMPLE_DIGEST_BYTES]


def palette_of(picture: Picture) -> bytes:
    """The entries of its palette, 3 bytes each. Raises UnsupportedImageError where it has none."""
    bodies = [body for name, body in picture.chunks if name == b"PLTE"]
    if len(bodies) != 1 or len(bodies[0]) % 3 or not 3 <= len(bodies[0]) <= LARGEST_PALETTE:
        msg = "its chunks cannot be kept: the palette is missing or has a wrong size"
        raise UnsupportedImageError(msg)
    return bodies[0]


def picture_boxes(picture: Picture) -> dict[int, bytes]:
    """Of its metadata and its palette. Raises UnsupportedImageError where they cannot be kept."""
    chunks, boxes = picture.chunks, dict[int, bytes]()
    if picture.form.colour == PALETTE_COLOUR:
        boxes[PALETTE] = palette.pack(palette_of(picture))
        chunks = tuple((name, b"" if name == b"PLTE" else body) for name, body in chunks)
        chunks = chunks[1:] if chunks[0] == (b"PLTE", b"") else chunks
    chunks = chunks[:-1] if chunks[-1:] == ((b"IDAT", b""),) else chunks  # where they are in any case
    if chunks:
        boxes[METADATA] = metadata.pack(chunks, picture.form.colour)
    return boxes


def _deep(samples: Samples) -> Iterator[Representation]:
    levels = np.flatnonzero(_occurring(samples, 1 << 16)).astype(np.uint16)
    ranks = np.zeros(1 << 16, np.uint8 if len(levels) <= 256 else np.uint16)
    ranks[levels] = np.arange(len(levels))
    boxes = {LEVELS: _packed_levels(levels)}
    if len(levels) <= 256:
        if samples.size <= len(boxes[LEVELS]):  # of so few, ranks and their table take more
            yield Representation(samples, 16)
        yield Representation(ranks[samples], 8, boxes, original=False)
        return
    if samples.shape[1] > MAX_DEEP_WIDTH:
        width = samples.shape[1]
        msg = f"a picture of more than 256 levels of 16 bits can be at most {MAX_DEEP_WIDTH:,} pixels wide, this one has {width:,}"
        raise TooLargeError(msg)
    yield Representation(samples, 16)
    yield Representation(ranks[samples], 16, boxes, original=False)


def _packed_levels(levels: npt.NDArray[np.uint16]) -> bytes:
    """Of 16 bits: their number, and the steps between them as bytes, the low ones first, packed."""
    steps = np.diff(levels, prepend=0).astype("<u2").view(np.uint8).reshape(-1, 2)
    return varint(len(levels)) + deflate.packed(steps.T.tobytes())


def _ranked(samples: Samples) -> Iterator[Representation]:
    """8 bits, by channel, where enough values are missing."""
    channels = range(samples.shape[2])
    present = np.stack([_occurring(samples[..., channel], 256) for channel in channels])
    ranked = [c for c in channels if present[c].sum() <= WORTH_RANKS * (1 + np.ptp(np.flatnonzero(present[c])))]
    if not ranked:
        return
    coded = samples.copy()
    for channel in ranked:
        ranks = (np.cumsum(present[channel]) - 1).astype(np.uint8)
        coded[..., channel] = ranks[samples[..., channel]]
    bitmaps = np.packbits(present[ranked], axis=1, bitorder="little").tobytes()
    body = bytes((sum(1 << c for c in ranked),)) + deflate.packed(bitmaps)
    yield Representation(coded, 8, {LEVELS: body}, original=False)


def _coloured(indices: Samples, entries: bytes) -> Iterator[Representation]:
    """A palette's colours instead of its indices, where they lead back."""
    table = np.frombuffer(entries, np.uint8).reshape(-1, 3)
    used = np.flatnonzero(_occurring(indices, 256))
    lowest = _lowest_indices(table)
    if len(used) < 2 or used[-1] >= len(table) or not all(lowest[tuple(table[index].tolist())] == index for index in used):
        return
    colours = table[indices[..., 0]]
    grey = bool((colours == colours[..., :1]).all())
    channels = 1 if grey else 3
    yield Representation(np.ascontiguousarray(colours[..., :channels]), 8, {COLOURS: bytes((channels,))}, original=False)


def _occurring(samples: Samples, values: int) -> npt.NDArray[np.bool_]:
    """Which of the values from 0 on occur, some rows at a time: (values)."""
    found = np.zeros(values, np.bool_)
    rows = max(1, SAMPLES_AT_ONCE // samples[0].size)
    for first in range(0, len(samples), rows):
        found[samples[first : first + rows]] = True
    return found


def _lowest_indices(table: npt.NDArray[np.uint8]) -> dict[tuple[int, ...], int]:
    """Of each colour."""
    return {tuple(colour): index for index, colour in reversed(list(enumerate(table.tolist())))}


class Meant(NamedTuple):
    """What the boxes of a file say of its samples. chunks: of a PNG, its metadata; entries: of its palette; channels, depth: of what is
    coded; levels: what ranks stand for, by channel, or of all channels; kept_bytes: how many a kept file has."""

    chunks: metadata.Chunks
    entries: bytes
    channels: int
    depth: int
    levels: Mapping[int, npt.NDArray[Any]]
    coloured: bool
    kept_bytes: int

    def samples(self, coded: Samples, front: Front) -> Samples:
        """The picture's own samples. Raises DamagedError."""
        if self.coloured:
            coded = self._indices(coded)
        form = front.head.form
        if form.depth < 8:
            require(int(coded.max()) < 1 << form.depth, f"it has samples above {(1 << form.depth) - 1}")
        if not self.levels:
            return coded
        found = np.empty(coded.shape, np.uint16 if form.depth == 16 else np.uint8)
        for channel in range(coded.shape[2]):
            table = self.levels.get(channel)
            if table is None:
                found[..., channel] = coded[..., channel]
                continue
            require(int(coded[..., channel].max()) < len(table), f"it has samples above {len(table) - 1}")
            found[..., channel] = table[coded[..., channel]]
        return found

    def _indices(self, coded: Samples) -> Samples:
        table = np.frombuffer(self.entries, np.uint8).reshape(-1, 3)
        numbers = np.full(1 << 24 if coded.shape[2] == 3 else 256, -1, np.int16)
        for colour, index in _lowest_indices(table).items():
            if coded.shape[2] == 3:
                numbers[colour[0] << 16 | colour[1] << 8 | colour[2]] = index
            elif len(set(colour)) == 1:
                numbers[colour[0]] = index
        found = np.empty((*coded.shape[:2], 1), np.uint8)
        rows = max(1, SAMPLES_AT_ONCE // coded[0].size)
        for first in range(0, len(coded), rows):
            wide = coded[first : first + rows].astype(np.int32)
            indices = numbers[wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2] if coded.shape[2] == 3 else wide[..., 0]]
            require(bool((indices >= 0).all()), "it has colours that are not in its palette")
            found[first : first + rows, :, 0] = indices
        return found


def meant(front: Front) -> Meant:
    """Raises DamagedError where the boxes are wrong, or do not go with the form."""
    form, boxes = front.head.form, front.boxes
    require(form.colour != KEPT or METADATA not in boxes, "it has metadata that it cannot have")
    chunks = metadata.unpack(boxes[METADATA], form.colour) if METADATA in boxes else ()
    has_palette = form.colour == PALETTE_COLOUR
    require((PALETTE in boxes) == has_palette, "its palette is missing" if has_palette else "it has a palette that it cannot have")
    entries = palette.unpack(boxes[PALETTE]) if has_palette else b""
    if has_palette:
        chunks = chunks if any(name == b"PLTE" for name, _ in chunks) else ((b"PLTE", b""), *chunks)
        chunks = tuple((name, entries if name == b"PLTE" else body) for name, body in chunks)
    channels, depth = CHANNELS[form.colour], form.depth
    coloured = COLOURS in boxes
    if coloured:
        require(has_palette and boxes[COLOURS] in (b"\1", b"\3"), "its colours are unknown")
        channels, depth = boxes[COLOURS][0], 8
    levels: Mapping[int, npt.NDArray[Any]] = {}
    if LEVELS in boxes:
        require(form.meaningful, "it has levels that it cannot have")
        levels = _levels(boxes[LEVELS], form.depth, channels)
        depth = 8 if form.depth == 16 and len(levels[0]) <= 256 else depth
    require((SIZE in boxes) == (form.colour == KEPT), "its number of bytes is missing, or has no place")
    return Meant(chunks, entries, channels, depth, levels, coloured, _kept_bytes(boxes[SIZE]) if SIZE in boxes else 0)


def _kept_bytes(body: bytes) -> int:
    reader = Reader(body, "its number of bytes")
    count = reader.varint()
    require(1 <= count <= MAX_KEPT_BYTES and not reader.remaining, f"a file of {count} bytes is not kept")
    return count


def _levels(body: bytes, depth: int, channels: int) -> dict[int, npt.NDArray[Any]]:
    reader = Reader(body, "its levels")
    if depth == 16:
        count = reader.varint()
        require(1 <= count <= 1 << 16, "its levels are too many")
        raw = np.frombuffer(deflate.unpacked(reader.take(reader.remaining), 2 * count), np.uint8).reshape(2, count)
        steps = raw[0].astype(np.int64) | raw[1].astype(np.int64) << 8
        levels = np.cumsum(steps)
        require(bool((steps[1:] > 0).all()) and int(levels[-1]) < 1 << 16, "its levels do not ascend")
        return dict.fromkeys(range(channels), levels.astype(np.uint16))
    mask = reader.byte()
    require(0 < mask < 1 << channels, "its levels are of channels that it has not")
    ranked = [channel for channel in range(channels) if mask >> channel & 1]
    bitmaps = deflate.unpacked(reader.take(reader.remaining), BITMAP_BYTES * len(ranked))
    found: dict[int, npt.NDArray[Any]] = {}
    for channel, bits in zip(ranked, np.frombuffer(bitmaps, np.uint8).reshape(-1, BITMAP_BYTES), strict=True):
        found[channel] = np.flatnonzero(np.unpackbits(bits, bitorder="little")).astype(np.uint8)
        require(bool(bits.any()), "its levels are empty")
    return found
