"""How the pixels stand in a TIFF (6.0): in strips or tiles, packed, predicted, in one plane or several; and the way back to samples."""

import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bitstream.constants import MAX_SIDE
from bitstream.form import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Form
from codec.pictures.directory import Directory, name_of
from codec.pictures.parsed import SPARE_BITS
from codec.pictures.refusals import TRUNCATED, refuse_damaged, refuse_unkept

Array = npt.NDArray[Any]

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIPS, CHANNELS, ROWS = 256, 257, 258, 259, 262, 266, 273, 277, 278
STRIP_BYTES, PLANES, T4_OPTIONS, T6_OPTIONS, PREDICTOR, COLOURS = 279, 284, 292, 293, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325
EXTRA, FORMAT, JPEG_TABLES = 338, 339, 347
OF_JPEG = {JPEG_TABLES, *range(529, 533)}  # tables, and how its colours are made
LAYOUT = {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIPS, CHANNELS, ROWS, STRIP_BYTES, PLANES, PREDICTOR}
LAYOUT |= {TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, EXTRA, FORMAT}

RAW, LZW, JPEG, DEFLATE, PACK_BITS, OLD_DEFLATE, LZMA, ZSTD = 1, 5, 7, 8, 32773, 32946, 34925, 50000
FAX = (2, 3, 4)  # CCITT: of rows of bytes, T.4, T.6
OURS = (RAW, *FAX, LZW, DEFLATE, PACK_BITS, OLD_DEFLATE, LZMA)  # the others are Pillow's work
PREDICTED = (LZW, DEFLATE, OLD_DEFLATE, LZMA, ZSTD)
OTHERS = {
    6: "an old kind of JPEG",
    34712: "JPEG 2000",
    34887: "LERC",
    50001: "WebP",
    50002: "JPEG XL",
}
WHITE_IS_ZERO, BLACK_IS_ZERO, COLOURED, INDEXED, YCBCR = 0, 1, 2, 3, 6
PHOTOMETRICS = {
    4: "a mask",
    5: "CMYK",
    6: "YCbCr",
    8: "CIELab",
    9: "ICCLab",
    10: "ITULab",
    32803: "a colour filter's mosaic",
    34892: "linear raw",
}
MOST_PIECES = 1 << 18
MOST_TILE_PIXELS = 1 << 22  # where it has more than the picture has
MOST_LZMA_BYTES = 1 << 28  # of memory
MOST_PADDING = 7  # bytes behind the code of a strip

BESIDE = "what its tiles have beside the picture"

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Layout:
    """Of a picture of this (width, height). piece: width and height of a strip or tile; planes: how many hold a channel each, or 1 for
    all; offsets, counts: in bytes, of the pieces, plane by plane in reading order; inverted: whether 0 is white; fax: of
    codec.pictures.fax, what kind of code."""

    data: bytes
    order: str
    compression: int
    form: Form
    size: tuple[int, int]
    piece: tuple[int, int]
    tiled: bool
    planes: int
    predicted: bool
    reversed_bits: bool
    inverted: bool
    fax: int
    offsets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    @cached_property
    def grid(self) -> tuple[int, int]:
        """How many pieces there are across and down."""
        return -(-self.size[0] // self.piece[0]), -(-self.size[1] // self.piece[1])

    def rows(self, down: int) -> int:
        """Of a piece in this row of pieces."""
        return self.piece[1] if self.tiled else min(self.piece[1], self.size[1] - down * self.piece[1])

    @property
    def row_bytes(self) -> int:
        """Of a piece, unpacked."""
        return -(-self.piece[0] * self.form.channels // self.planes * self.form.depth // 8)

    def samples(self) -> tuple[Array, tuple[str, ...]]:
        """(height, width, channels), and names of what the pieces have beside them.

        Raises UnsupportedImageError where a piece does not hold exactly its pixels.
        """
        (width, height), (across, down), (wide, high) = self.size, self.grid, self.piece
        samples = np.empty((height, width, self.form.channels), np.uint16 if self.form.depth == 16 else np.uint8)
        beside, spare = False, False
        for k, (offset, count) in enumerate(zip(self.offsets.tolist(), self.counts.tolist(), strict=True)):
            plane, place = divmod(k, across * down)
            y, x = divmod(place, across)
            rows = self.rows(y)
            flat = self._unpacked(offset, count, rows * self.row_bytes).reshape(rows, -1)
            piece, more = self._sampled(flat)
            piece, spare = piece.reshape(rows, wide, -1), spare or more
            if self.predicted:
                piece = np.cumsum(piece, axis=1, dtype=piece.dtype)
            part = samples[y * high : y * high + rows, x * wide : x * wide + wide, plane : plane + piece.shape[2]]
            part[...] = piece[: part.shape[0], : part.shape[1]]
            beside = beside or _says_something(piece, *part.shape[:2])
        if self.inverted:
            samples[..., 0] ^= (1 << self.form.depth) - 1
        return samples, (*[SPARE_BITS] * spare, *[BESIDE] * beside)

    def _unpacked(self, offset: int, count: int, expected: int) -> Array:
        """The bytes of a piece: exactly as many as are expected."""
        code = self.data[offset : offset + count]
        if self.reversed_bits:
            code = code.translate(_REVERSED)
        if self.compression == RAW:
            return np.frombuffer(code, np.uint8, expected)
        if self.compression in (LZW, PACK_BITS):
            from codec.pictures.lzw import TOO_MUCH, UNKNOWN_CODE, unpacked_bits, unpacked_lzw

            if self.compression == LZW and code[:1] == b"\0" and code[1:2] and code[1] & 1:
                refuse_unkept("a TIFF with an old kind of LZW code")
            out, packed = np.empty(expected, np.uint8), np.frombuffer(code, np.uint8)
            how: tuple[int, ...] = unpacked_lzw(packed, 8, True, out) if self.compression == LZW else unpacked_bits(packed, out)
            if how[1] == UNKNOWN_CODE or (how[0] < expected and how[1] != TOO_MUCH):
                refuse_damaged("its pixels are truncated or damaged")
            _require_end(how[1] == TOO_MUCH, code[how[2] :])
            return out
        if self.compression in FAX:
            from codec.pictures.fax import ENDED, TOO_MUCH, tables, unpacked_fax

            dots = np.zeros((expected // self.row_bytes, self.piece[0]), np.uint8)
            ended = unpacked_fax(np.frombuffer(code, np.uint8), self.fax, *tables(), dots)
            if ended != ENDED:
                refuse_damaged("its pixels are truncated or damaged" if ended != TOO_MUCH else "it has bytes behind the pixels of a strip")
            return np.packbits(dots, axis=1).reshape(-1)
        return np.frombuffer(_inflated(self.compression, code, expected), np.uint8)

    def _sampled(self, rows: Array) -> tuple[Array, bool]:
        """(rows, bytes) -> (rows, samples), and whether there are bits behind them."""
        depth, many = self.form.depth, self.piece[0] * self.form.channels // self.planes
        if depth == 16:
            return rows.view(f"{self.order}u2").astype(np.uint16), False
        if depth == 8:
            return rows, False
        shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
        samples = ((rows[..., None] >> shifts) & ((1 << depth) - 1)).reshape(len(rows), -1)
        return samples[:, :many], bool(samples[:, many:].any())


def _says_something(piece: Array, height: int, width: int) -> bool:
    """Whether what a tile (rows, columns, channels) has to the right of these and below is neither one colour nor the last pixels again."""
    right, below, corner = piece[:height, width:], piece[height:, :width], piece[height:, width:]
    return (
        (_differs(right, right[:1, :1]) and _differs(right, piece[:height, width - 1 : width]))
        or (_differs(below, below[:1, :1]) and _differs(below, piece[height - 1 : height, :width]))
        or _differs(corner, corner[:1, :1])
    )


def _differs(padding: Array, expected: Array) -> bool:
    return bool(padding.size and (padding != expected).any())


def _inflated(compression: int, code: bytes, expected: int) -> bytes:
    inflater, error = _inflater(compression)
    try:
        flat: bytes = inflater.decompress(code, expected)
        more = inflater.decompress(b"" if compression == LZMA else inflater.unconsumed_tail, 1) if not inflater.eof else b""
    except error:
        refuse_damaged("its pixels do not inflate")
    if len(flat) < expected or not (more or inflater.eof):
        refuse_damaged("its pixels are truncated")
    _require_end(bool(more), inflater.unused_data)
    return flat


def _inflater(compression: int) -> tuple[Any, type[Exception]]:
    """And what it raises."""
    if compression != LZMA:
        return zlib.decompressobj(), zlib.error
    try:
        import lzma
    except ImportError:  # Python can be built without it
        refuse_unkept("a TIFF packed with LZMA")
    return lzma.LZMADecompressor(memlimit=MOST_LZMA_BYTES), lzma.LZMAError


def _require_end(more: bool, rest: bytes) -> None:
    """Raises UnsupportedImageError where a piece holds more than its pixels."""
    if more:
        refuse_damaged("its strips have more pixels than its size says")
    if len(rest) > MOST_PADDING or rest.strip(b"\0"):
        refuse_damaged(f"it has {len(rest):,} bytes behind the pixels of a strip")


def layout_of(directory: Directory) -> Layout:
    """Raises UnsupportedImageError where the pixels cannot be kept exactly, or are not all there."""
    number, numbers = directory.number, directory.numbers
    if twice := directory.twice & {*LAYOUT, *OF_JPEG, COLOURS, T4_OPTIONS, T6_OPTIONS}:
        refuse_damaged(f"it has the tag {name_of(min(twice))} twice")
    size = number(WIDTH, 0), number(HEIGHT, 0)
    if 0 in size:
        refuse_unkept("a picture without pixels")
    if max(size) > MAX_SIDE:
        refuse_unkept(f"a picture of {size[0]}x{size[1]} pixels")
    compression, planar = number(COMPRESSION, RAW), number(PLANES, 1)
    if compression not in (*OURS, JPEG, ZSTD):
        refuse_unkept(f"a TIFF packed with {OTHERS.get(compression, f'a code of number {compression}')}")
    if compression == JPEG and any(tag in directory.entries and not directory.entries[tag].many for tag in OF_JPEG):
        refuse_damaged("the tables of its JPEG are not there")
    form = _form(directory, compression)
    planes = form.channels if planar == 2 else 1
    predictor = number(PREDICTOR, 1) if compression in PREDICTED else 1
    fill_order = number(FILL_ORDER, 1)
    if planar not in (1, 2) or predictor not in (1, 2) or fill_order not in (1, 2) or (predictor == 2 and form.depth < 8):
        refuse_unkept("a TIFF of an unknown layout")
    if compression not in OURS and (planar, fill_order) != (1, 1):
        refuse_unkept("a TIFF of an unknown layout")
    tiled = TILES in directory.entries
    if directory.entries.keys() & {STRIPS, STRIP_BYTES} and directory.entries.keys() & {TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES}:
        refuse_damaged("it has strips and tiles")
    if tiled:
        piece = number(TILE_WIDTH, 0), number(TILE_HEIGHT, 0)
    else:
        piece = size[0], min(number(ROWS, size[1]), size[1])
    if 0 in piece or piece[0] * piece[1] > max(MOST_TILE_PIXELS, 4 * size[0] * size[1]):
        refuse_damaged("its tiles or strips have an impossible size")
    offsets, counts = (np.array(numbers(tag), np.int64) for tag in ((TILES, TILE_BYTES) if tiled else (STRIPS, STRIP_BYTES)))
    layout = Layout(
        directory.data,
        directory.order,
        compression,
        form,
        size,
        piece,
        tiled,
        planes,
        predictor == 2,
        fill_order == 2,
        number(PHOTOMETRIC, 0) == WHITE_IS_ZERO,
        _fax_kind(directory, compression),
        offsets,
        counts,
    )
    _require_pieces(layout)
    return layout


def _form(directory: Directory, compression: int) -> Form:
    """Of the samples. Raises UnsupportedImageError."""
    photometric, channels = directory.number(PHOTOMETRIC, WHITE_IS_ZERO), directory.number(CHANNELS, 1)
    bits, formats, extra = directory.numbers(BITS, 1), directory.numbers(FORMAT, 1), directory.numbers(EXTRA)
    if PHOTOMETRIC not in directory.entries:
        refuse_damaged("it does not say what its samples are")
    if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, COLOURED, INDEXED) and (photometric, compression) != (YCBCR, JPEG):
        refuse_unkept(f"a TIFF in {PHOTOMETRICS.get(photometric, f'colours of kind {photometric}')}")
    if set(formats) != {1}:
        kind = {2: "signed samples", 3: "floating-point samples (mode F)"}.get(max(formats), "samples of an unknown kind")
        refuse_unkept(f"a TIFF with {kind}")
    if len(set(bits)) != 1 or len(bits) not in (1, channels):
        refuse_unkept("a TIFF with samples of several depths")
    colours = 3 if photometric in (COLOURED, YCBCR) else 1
    if channels < colours:
        refuse_damaged(f"it has {channels} channels of {colours}")
    if channels > colours and (channels > colours + 1 or extra != (2,)):
        refuse_unkept("a TIFF with alpha multiplied into its colours" if extra == (1,) else "a TIFF with more channels than a picture's")
    if channels == colours and extra:
        refuse_damaged("it speaks of channels that it does not have")
    alpha = channels > colours
    if photometric == INDEXED:
        form = Form(PALETTE if not alpha else -1, bits[0])
    else:
        form = Form({(1, False): GREY, (1, True): GREY_ALPHA, (3, False): RGB, (3, True): RGB_ALPHA}[colours, alpha], bits[0])
    if form.colour < 0:
        refuse_unkept("a TIFF with a palette and alpha")
    if not form.known:
        refuse_unkept(f"a TIFF with samples of {form.depth} bits")
    if compression in FAX and form != Form(GREY, 1):
        refuse_unkept("a TIFF of a facsimile in colours")
    if compression not in OURS and (form.depth != 8 or photometric == WHITE_IS_ZERO or (alpha and compression == JPEG)):
        kind = f"samples of {form.depth} bits" if form.depth != 8 else "alpha" if alpha else "0 as white"
        refuse_unkept(f"a TIFF with {kind} and packed with {'JPEG' if compression == JPEG else 'Zstandard'}")
    return form


def _fax_kind(directory: Directory, compression: int) -> int:
    """Of codec.pictures.fax. Raises UnsupportedImageError where rows may stand without a code."""
    options = directory.number(T6_OPTIONS if compression == 4 else T4_OPTIONS, 0) if compression in FAX[1:] else 0
    if options & 2:
        refuse_unkept("a TIFF of a facsimile that is not all coded")
    return {2: 0, 3: 1 + (options & 1), 4: 3}.get(compression, 0)


def _require_pieces(layout: Layout) -> None:
    """Raises UnsupportedImageError where strips or tiles are missing, beyond the end, or too short for their pixels."""
    (across, down), data = layout.grid, layout.data
    pieces = across * down * layout.planes
    if pieces > MOST_PIECES:
        refuse_unkept(f"a TIFF in {pieces:,} pieces")
    if len(layout.offsets) != pieces or len(layout.counts) != pieces:
        refuse_damaged(f"it needs {pieces:,} strips or tiles, and has {min(len(layout.offsets), len(layout.counts)):,}")
    if (layout.offsets + layout.counts).max() > len(data):
        refuse_damaged(TRUNCATED)
    if layout.counts.sum() > len(data):
        refuse_damaged("its strips overlap")
    if layout.compression == RAW and (layout.counts < expected_bytes(layout)).any():
        refuse_damaged("its pixels are truncated")


def expected_bytes(layout: Layout) -> npt.NDArray[np.int64]:
    """Of each piece, unpacked."""
    across, down = layout.grid
    rows = np.array([layout.rows(y) for y in range(down)], np.int64)
    return np.tile(np.repeat(rows * layout.row_bytes, across), layout.planes)
