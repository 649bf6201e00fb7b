"""The header: everything about a file but its payload."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from bitstream.constants import (
    CODER_BYTES,
    CRC_BYTES,
    DRAWING_NUMERICS,
    ENVELOPE_VERSION,
    FREQUENCY_BITS,
    LEAST_COST,
    MAGIC,
    MAX_BAND_PIXELS,
    MAX_DEEP_WIDTH,
    MAX_EXCEPTION_SHARE,
    MAX_MODEL_NAME_BYTES,
    MAX_SIDE,
    MAX_TILES_PER_GROUP,
    MODEL_DIGEST_BYTES,
    NUMERICS_VERSION,
    PIXEL_DIGEST_BYTES,
    VERSION,
    WORD_BYTES,
)
from bitstream.errors import DamagedError, NewerVersionError, NotIgptError
from bitstream.reader import Reader, varint

KINDS = {0: "rgb", 1: "grey", 2: "past", 3: "drawing", 4: "palette"}
CHANNELS_OF_KIND = {0: (3,), 1: (1,), 2: (3,), 3: (1, 2, 3, 4), 4: (1, 3)}
VERSION_OF_KIND = {0: 1, 1: 1, 2: 2, 3: 3, 4: 4}
PAST_KIND, DRAWING_KIND, PALETTE_KIND = 2, 3, 4
NUMERICS_OF_KIND = {DRAWING_KIND: NUMERICS_VERSION}  # the highest, where it is not 1
PAST_VERSION, DRAWING_VERSION, PALETTE_VERSION = (VERSION_OF_KIND[kind] for kind in (PAST_KIND, DRAWING_KIND, PALETTE_KIND))
FORMULAS = ("decoded JPEG", "PhotoCD")
FILTERS = (
    "4:4:4", "4:2:0", "4:2:2", "4:4:0", "4:2:0, repeated", "4:2:2, repeated", "4:4:0, repeated", "4:2:0, averaged",
)  # fmt: skip


CELLS = ((1, 1), (2, 2), (1, 2), (2, 1), (2, 2), (1, 2), (2, 1), (2, 2))  # rows and columns of pixels per chroma sample, by filter


def past_name(formula: int, filter_: int) -> str:
    """For people."""
    return f"{FORMULAS[formula]}, {FILTERS[filter_]}"


@dataclass(frozen=True)
class PastFields:
    """formula, filter: their codes; top, left, ring: as FORMAT.md says; chroma_width, chroma_height: of the chroma planes."""

    formula: int
    filter: int
    top: int
    left: int
    ring: int
    chroma_width: int
    chroma_height: int

    def to_bytes(self) -> bytes:
        place = self.top | self.left << 1 | self.ring << 2
        return bytes((self.formula, self.filter, place)) + varint(self.chroma_width) + varint(self.chroma_height)


@dataclass(frozen=True)
class Header:
    """width, height in pixels; kind: of KINDS; tile_side in pixels; digests as bytes; past: with its kind. A drawing has no tiles and no
    model; rows: of its bands, else 0. refinement_digest, refinement_name: of a palette, the model that codes the colours inside of its
    cells; empty where all are the palette's."""

    width: int
    height: int
    channels: int
    bit_depth: int
    kind: int
    pixel_digest: bytes
    tile_side: int = 0
    tiles_per_group: int = 0
    model_digest: bytes = b""
    model_name: str = ""
    past: PastFields | None = None
    rows: int = 0
    refinement_digest: bytes = b""
    refinement_name: str = ""
    numerics_version: int = 1

    @property
    def version(self) -> int:
        """The lowest that can hold it."""
        return VERSION_OF_KIND.get(self.kind, 1)

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Width and height of what is coded, one after the other: the pixels, chroma and luma, or tokens and the pixels in their cells."""
        pixels = (self.width, self.height)
        if self.refinement_digest:
            return [pixels, pixels]
        return [(self.past.chroma_width, self.past.chroma_height), pixels] if self.past else [pixels]

    def groups_of(self, layer: tuple[int, int]) -> int:
        return -(-self._tiles(*layer) // self.tiles_per_group)

    def _tiles(self, width: int, height: int) -> int:
        return -(-width // self.tile_side) * -(-height // self.tile_side)

    @property
    def tiles(self) -> int:
        return 0 if self.rows else sum(self._tiles(*layer) for layer in self.layers)

    @property
    def groups(self) -> int:
        """Of tiles, in all layers, or the bands of a drawing: what has a chunk of its own."""
        return -(-self.height // self.rows) if self.rows else sum(map(self.groups_of, self.layers))

    @property
    def chunks(self) -> int:
        return self.groups + (self.past is not None)

    def in_words(self, chunk: int) -> bool:
        """Whether the payload of a chunk consists of whole words."""
        return not self.rows and not (self.past and chunk == 0)

    def least_bytes(self) -> Iterator[int]:
        """Of the payload of each chunk in turn: as every token, and every decision of a drawing, costs something."""
        if self.past:
            yield 0
        if self.rows:
            per_pixel = self.channels if self.bit_depth == 16 else 1  # decisions, at least
            for first in range(0, self.height, self.rows):
                yield max(1, _least_bytes(min(self.rows, self.height - first) * self.width * per_pixel) - CODER_BYTES)
            return
        planes = (2, 1) if self.past else (self.channels,)
        if self.kind == PALETTE_KIND:
            planes = 0, self.channels  # its tokens may cost next to nothing
        for layer, per_pixel in zip(self.layers, planes, strict=False):
            tiles, before = self._tiles(*layer), 0
            for first in range(0, tiles, self.tiles_per_group):
                behind = _pixels_before(layer, min(first + self.tiles_per_group, tiles), self.tile_side)
                yield max(WORD_BYTES, _least_bytes((behind - before) * per_pixel))
                before = behind

    @property
    def most_exceptions(self) -> int:
        return self.width * self.height // MAX_EXCEPTION_SHARE if self.past else 0

    def to_bytes(self) -> bytes:
        refinement = named(self.refinement_digest, self.refinement_name) if self.refinement_digest else b""
        fields = b"".join(
            (
                MAGIC,
                bytes((self.version, self.numerics_version)),
                varint(self.width),
                varint(self.height),
                bytes((self.channels, self.bit_depth, self.kind)),
                b"" if self.rows else bytes((self.tile_side,)) + varint(self.tiles_per_group) + named(self.model_digest, self.model_name),
                self.pixel_digest,
                self.past.to_bytes() if self.past else b"",
                varint(self.rows) if self.rows else b"",
                bytes((bool(refinement),)) + refinement if self.kind == PALETTE_KIND else b"",
            )
        )
        return fields + zlib.crc32(fields).to_bytes(CRC_BYTES, "little")


def _least_bytes(tokens: int) -> int:
    return -(-tokens * LEAST_COST // (8 << FREQUENCY_BITS))


def _pixels_before(layer: tuple[int, int], tile: int, side: int) -> int:
    """How many pixels of a layer lie in tiles with smaller numbers, in raster order."""
    width, height = layer
    row, column = divmod(tile, -(-width // side))
    if row * side >= height:
        return width * height
    return row * side * width + min(side, height - row * side) * min(column * side, width)


def named(digest: bytes, name: str) -> bytes:
    """A model, as the header has it."""
    return digest + bytes((len(name),)) + name.encode()


def read_header(reader: Reader, enclosed: bool = False) -> Header:
    """Takes the header off `reader`. enclosed: whether the file lies in an envelope, where it may have alpha.

    Raises NotIgptError, NewerVersionError, TruncatedError, or DamagedError where a checksum or a value is wrong.
    """
    start = bytes(reader.data[: len(MAGIC)])
    if not start or start != MAGIC[: len(start)]:
        msg = "this is not an igpt file" if start else "this is not an igpt file: it is empty"
        if start[1:5] == MAGIC[1:5]:
            msg = "the beginning of the file is damaged, as by a transfer in text mode"
        raise NotIgptError(msg)
    reader.take(len(MAGIC))
    version = reader.byte()
    if version > VERSION:
        msg = f"the file has format version {version}, this igpt reads up to version {VERSION}: update igpt"
        raise NewerVersionError(msg)
    numerics_version = reader.byte()
    width, height = reader.varint(), reader.varint()
    channels, bit_depth, kind = (reader.byte() for _ in range(3))
    tile_side, tiles_per_group, model_digest, name, rows = 0, 0, b"", b"", 0
    refined, refinement_digest, refinement_name = 0, b"", b""
    if version != DRAWING_VERSION:
        tile_side, tiles_per_group = reader.byte(), reader.varint()
        model_digest, name = reader.take(MODEL_DIGEST_BYTES), reader.take(reader.byte())
    pixel_digest = reader.take(PIXEL_DIGEST_BYTES)
    past, place = None, 0
    if version == PAST_VERSION:
        formula, filter_, place = (reader.byte() for _ in range(3))
        past = PastFields(formula, filter_, place & 1, place >> 1 & 1, place >> 2, reader.varint(), reader.varint())
    elif version == DRAWING_VERSION:
        rows = reader.varint()
    elif version == PALETTE_VERSION:
        refined = reader.byte()
        if refined:
            refinement_digest, refinement_name = reader.take(MODEL_DIGEST_BYTES), reader.take(reader.byte())
    fields_end = reader.position
    if int.from_bytes(reader.take(CRC_BYTES), "little") != zlib.crc32(reader.data[:fields_end]):
        msg = "the header is damaged: its checksum does not match"
        raise DamagedError(msg)
    if numerics_version > NUMERICS_VERSION:
        msg = f"the file needs numerics version {numerics_version}, this igpt has version {NUMERICS_VERSION}: update igpt"
        raise NewerVersionError(msg)

    def require(holds: bool, what: str) -> None:
        if not holds:
            msg = f"the header is damaged: {what}"
            raise DamagedError(msg)

    require(1 <= version < ENVELOPE_VERSION and 1 <= numerics_version <= NUMERICS_OF_KIND.get(kind, 1), "there is no such version")
    require(1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE, f"the size {width}x{height} is out of range")
    require(channels in CHANNELS_OF_KIND.get(kind, ()), f"kind {kind} with {channels} channels is unknown")
    require(channels in (1, 3) or enclosed, f"{channels} channels need an envelope")
    require(VERSION_OF_KIND[kind] == version, f"kind {kind} does not go with version {version}")
    deep = bit_depth == 16 and kind == DRAWING_KIND and enclosed and numerics_version > 1
    require(bit_depth == 8 or deep, f"the bit depth {bit_depth} is unknown")
    require(bit_depth == 8 or width <= MAX_DEEP_WIDTH, f"a width of {width} with 16 bits is out of range")
    require(bit_depth == 16 or numerics_version <= DRAWING_NUMERICS, "there is no such version of 8 bits")
    if kind == DRAWING_KIND:
        largest = max(width, MAX_BAND_PIXELS)
        require(1 <= rows <= height and rows * width <= largest, f"bands of {rows} rows are out of range")
        require(rows == height or (2 * rows + 1) * width > largest, f"bands of {rows} rows are needlessly small")
    else:
        require(tile_side == 32, f"the tile side {tile_side} is unknown")
        require(1 <= tiles_per_group <= MAX_TILES_PER_GROUP, f"{tiles_per_group} tiles per group are out of range")
        require(refined <= 1 and all(map(_is_name, (name, refinement_name))), "a model's name is malformed")
    if past:
        require(past.formula < len(FORMULAS) and past.filter < len(FILTERS) and place < 8, "its past is unknown")
        down, across = CELLS[past.filter]
        expected = -(-(width + past.left) // across) + 2 * past.ring, -(-(height + past.top) // down) + 2 * past.ring
        require(
            past.top < down and past.left < across and (past.chroma_width, past.chroma_height) == expected,
            "its sampling and the chroma's size do not go together",
        )
    return Header(
        width,
        height,
        channels,
        bit_depth,
        kind,
        pixel_digest,
        tile_side,
        tiles_per_group,
        model_digest,
        name.decode(),
        past,
        rows,
        refinement_digest,
        refinement_name.decode(),
        numerics_version,
    )


def _is_name(name: bytes) -> bool:
    return len(name) <= MAX_MODEL_NAME_BYTES and name.isascii() and name.decode("ascii", "replace").isprintable()
