"""BMP files of Windows (headers of 40 to 124 bytes) and OS/2 (12, 16 and 64), as Microsoft's and IBM's headers describe them.

Pillow reads fewer kinds, and tells nothing of profiles, alpha, and bytes between and behind.
"""

import struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bitstream.form import GREY, PALETTE, RGB, RGB_ALPHA, Form
from codec.pictures import metadata
from codec.pictures.parsed import BYTES_BEHIND, Decoded, Parsed
from codec.pictures.refusals import refuse_damaged, refuse_unkept

HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # their sizes
FILE_HEADER = 14  # bytes before the header
STORED, RLE8, RLE4, FIELDS, ALPHA_FIELDS = 0, 1, 2, 3, 6
PADDING = 3  # bytes behind the pixels, if they are zeros
INTENTS = {0: 0, 1: 2, 2: 1, 4: 0, 8: 3}  # rendering intents, as a PNG numbers them

_OTHERS = {4: "that holds a JPEG", 5: "that holds a PNG", 11: "in CMYK", 12: "in CMYK", 13: "in CMYK"}  # compressions
_OS2 = {3: "with Huffman's code", 4: "of 24 bits with run lengths"}
_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 24: (0xFF0000, 0xFF00, 0xFF, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}  # red, green, blue, alpha

Indices = npt.NDArray[np.uint8]


class Header(NamedTuple):
    """size: its bytes; offset: of the pixels in the file; height: negative where the rows go from top to bottom."""

    size: int
    offset: int
    width: int
    height: int
    planes: int
    bits: int
    compression: int = STORED
    image_bytes: int = 0
    across: int = 0  # pixels per metre
    down: int = 0
    colours: int = 0
    important: int = 0
    rest: bytes = b""  # what follows these fields

    @property
    def row_bytes(self) -> int:
        return -(-self.width * self.bits // 8)

    @property
    def stride(self) -> int:
        """Bytes of a row with its padding."""
        return -(-self.width * self.bits // 32) * 4

    @property
    def packed(self) -> bool:
        return self.compression in (RLE8, RLE4)


def parsed(data: bytes) -> Parsed:
    """Raises UnsupportedImageError."""
    header = _header(data)
    _require_known(header)
    left_out = _unusual(data, header)
    masks, at = _masks(data, header, left_out)
    palette, offset = _palette(data, header, at)
    chunks, profile = _described(data, header, left_out)

    rows = abs(header.height)
    if header.packed:
        end = offset + header.image_bytes if header.image_bytes else profile[0] if profile[0] >= offset else len(data)
        needed = offset + rows * 2 * -(-header.width // 255)
    else:
        end = offset + rows * header.stride
        needed = end - header.stride + header.row_bytes  # the last row's padding may be missing
    if len(data) < needed or (header.packed and len(data) < end):
        refuse_damaged("its pixels are truncated")
    left_out += _wrong_sizes(data, header, offset, end)
    left_out += _unaccounted(data, [(0, at), (at, at + palette.size), (offset, end), profile])

    form = Form(RGB_ALPHA if masks[3] else RGB, 8)
    if header.bits <= 8:
        form = _indexed_form(palette, header.bits)
        left_out += ["colours of its palette that no pixel has"] * (len(palette) > 1 << header.bits)
        left_out += ["the fourth bytes of its palette"] * bool(palette[:, 3:].any())
    if form.colour == PALETTE:
        chunks = [(b"PLTE", palette[: 1 << header.bits, 2::-1].tobytes()), *chunks]

    def decoded() -> Decoded:
        samples: npt.NDArray[Any]
        if header.packed:
            samples, stray = _unpacked(data, offset, end, header)
        else:
            size = rows * header.stride
            stored = np.frombuffer(data[offset:end].ljust(size, b"\0"), np.uint8).reshape(rows, header.stride)
            samples, stray = _indices(stored, header) if header.bits <= 8 else _colours(stored, header, masks)
        samples = samples.reshape(rows, header.width, form.channels)
        return Decoded(np.array(samples if header.height < 0 else samples[::-1], order="C"), form, stray)

    return Parsed(b"", (header.width, rows), tuple(chunks), tuple(left_out), decoded)


def _header(data: bytes) -> Header:
    size = int.from_bytes(data[FILE_HEADER : FILE_HEADER + 4], "little")
    if len(data) < FILE_HEADER + 12:
        refuse_damaged("its header is truncated")
    if size not in HEADERS:
        refuse_unkept(f"a BMP with a header of {size:,} bytes")
    body = data[FILE_HEADER : FILE_HEADER + size]
    if len(body) < size:
        refuse_damaged("its header is truncated")
    (offset,) = struct.unpack_from("<I", data, 10)
    if size == 12:
        return Header(size, offset, *struct.unpack_from("<HHHH", body, 4))
    fields = struct.unpack_from("<iiHHIIiiII", body.ljust(40, b"\0"), 4)
    return Header(size, offset, *fields)._replace(rest=body[40:])


def _require_known(header: Header) -> None:
    """Raises UnsupportedImageError for what cannot be kept, by its name."""
    bits, compression = header.bits, header.compression
    if what := _OS2.get(compression, "") if header.size in (16, 64) else _OTHERS.get(compression, ""):
        refuse_unkept(f"a BMP {what}")
    if header.width <= 0 or header.height == 0:
        refuse_damaged(f"its header says {header.width}x{header.height} pixels")
    if bits not in (1, 4, 8, 16, 24, 32):
        refuse_unkept(f"a BMP of {bits} bits per pixel")
    if compression not in (STORED, RLE8, RLE4, FIELDS, ALPHA_FIELDS):
        refuse_unkept(f"a BMP of compression {compression}")
    if {RLE8: (8,), RLE4: (4,), STORED: (bits,)}.get(compression, (16, 32)).count(bits) == 0 or (header.packed and header.height < 0):
        refuse_damaged(f"its header says compression {compression} with {bits} bits")


def _unusual(data: bytes, header: Header) -> list[str]:
    """Names of what the plain fields say and no PNG has."""
    found = []
    if any(data[6:10]):
        found.append("what its reserved fields say")
    if header.planes != 1:
        found.append("its number of planes")
    if header.important not in (0, header.colours, 1 << header.bits if header.bits <= 8 else 0):
        found.append("how many of its colours are important")
    if header.size == 64 and any(header.rest):
        found.append("its fields of OS/2")
    if header.across | header.down and min(header.across, header.down) <= 0:
        found.append("its resolution")
    return found


def _wrong_sizes(data: bytes, header: Header, offset: int, end: int) -> list[str]:
    """Names of fields that have neither 0 nor a size that can be meant. end: of the pixels, with the last row's padding, there or not."""
    said = int.from_bytes(data[2:6], "little")
    found = ["its size as its header says it"] * bool(said and not min(end, len(data)) <= said <= max(end, len(data)))
    wrong = header.image_bytes and not header.packed and not 0 <= header.image_bytes - (end - offset) <= PADDING
    return found + ["the size of its pixels as its header says it"] * bool(wrong)


def _masks(data: bytes, header: Header, left_out: list[str]) -> tuple[tuple[int, ...], int]:
    """The bits of a pixel that are its red, green, blue and alpha, 8 each; and where the header and they end."""
    at = FILE_HEADER + header.size
    usual = _MASKS.get(header.bits, (0, 0, 0, 0))
    inside = struct.unpack("<4I", header.rest[:16].ljust(16, b"\0")) if header.size in (52, 56, 108, 124) else ()
    if header.compression not in (FIELDS, ALPHA_FIELDS):
        if any(inside) and inside != usual:
            left_out.append("masks that its pixels do not need")
        masks = usual
    elif inside:
        masks = inside
    else:
        count = 4 if header.compression == ALPHA_FIELDS else 3
        if len(data) < at + 4 * count:
            refuse_damaged("its header is truncated")
        masks = (*struct.unpack_from(f"<{count}I", data, at), *(0,) * (4 - count))
        at += 4 * count
    if header.bits > 8:
        widths = [mask.bit_count() for mask in masks if mask]
        contiguous = all(mask >> _shift(mask) == (1 << mask.bit_count()) - 1 for mask in masks if mask)
        if not all(masks[:3]) or sum(widths) != (masks[0] | masks[1] | masks[2] | masks[3]).bit_count() or not contiguous:
            refuse_unkept("a BMP whose bit fields overlap or have holes")
        if max(masks) >> header.bits:
            refuse_damaged("its bit fields are larger than its pixels")
        if widths.count(8) != len(widths):
            refuse_unkept(f"a BMP whose colours have {', '.join(map(str, widths))} bits")
    return masks, at


def _shift(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _palette(data: bytes, header: Header, at: int) -> tuple[Indices, int]:
    """(colours, bytes): blue, green, red, and perhaps one more, which stand at `at`; and where the pixels are."""
    if header.bits > 8:
        if 0 < header.offset < at:
            refuse_damaged("its pixels overlap its header")
        return np.empty((0, 4), np.uint8), header.offset or at
    entry = 3 if header.size == 12 else 4
    whole = 1 << header.bits
    count = header.colours or whole
    offset = header.offset
    if offset in (0, at):  # as some write it: without the palette
        offset = at + count * entry
    elif not header.colours:
        count = min(whole, max(0, offset - at) // entry)
    if not count or at + count * entry > min(offset, len(data)):
        refuse_damaged("its palette is truncated")
    return np.frombuffer(data, np.uint8, count * entry, at).reshape(count, entry), offset


def _indexed_form(palette: Indices, bits: int) -> Form:
    """Grey where the palette is just that of 1 or 8 bits."""
    ramp = np.arange(1 << bits) * (255 // ((1 << bits) - 1))
    grey = bits in (1, 8) and len(palette) == len(ramp) and bool((palette[:, :3] == ramp[:, None]).all())
    return Form(GREY if grey else PALETTE, bits)


def _described(data: bytes, header: Header, left_out: list[str]) -> tuple[list[tuple[bytes, bytes]], tuple[int, int]]:
    """What the header says of the colours and the resolution, as chunks; and where in the file the profile is: (start, end)."""
    chunks: list[tuple[bytes, bytes]] = []
    profile = (0, 0)
    if header.size >= 108:
        space, intent = header.rest[16:20][::-1], int.from_bytes(header.rest[68:72], "little")
        if any(header.rest[20:68]):
            left_out.append("the endpoints and gamma of its colours")
        if any(header.rest[80:84]):
            left_out.append("what its reserved fields say")
        if space in (b"MBED", b"LINK"):
            offset, size = struct.unpack("<II", header.rest[72:80].ljust(8, b"\0"))
            profile = (FILE_HEADER + offset, FILE_HEADER + offset + size)
            if space == b"LINK":
                left_out.append("the name of its colour profile, which is elsewhere")
            elif header.size < 124 or not size or profile[1] > len(data):
                left_out.append("its colour profile, which is damaged")
                profile = (0, 0)
            else:
                chunks.append(metadata.colour_profile(data[slice(*profile)]))
        elif space == b"sRGB":
            chunks.append((b"sRGB", bytes([INTENTS.get(intent, 0)])))
        elif space not in (b"Win ", bytes(4)):
            left_out.append("its colour space")
        if intent and (space != b"sRGB" or intent not in INTENTS):
            left_out.append("its rendering intent")
    if header.across > 0 and header.down > 0:
        chunks.append((b"pHYs", struct.pack(">IIB", header.across, header.down, 1)))
    return chunks, profile


def _unaccounted(data: bytes, spans: list[tuple[int, int]]) -> list[str]:
    """Names of what is in none of these parts, and not only zeros."""
    found, at = [], 0
    for start, end in sorted(spans):
        between = start - at
        if between > 0 and data.count(0, at, start) != between:
            found.append(f"{between:,} bytes between its parts")
        at = max(at, end)
    behind = len(data) - at
    if behind > PADDING or any(data[at:]):
        found.append(BYTES_BEHIND.format(behind))
    return found


def _indices(stored: Indices, header: Header) -> tuple[Indices, tuple[str, ...]]:
    rows = stored[:, : header.row_bytes]
    match header.bits:
        case 1:
            samples = np.unpackbits(rows, axis=1)
        case 4:
            samples = np.stack([rows >> 4, rows & 15], -1).reshape(len(rows), -1)
        case _:
            samples = rows
    stray = samples[:, header.width :].any() or stored[:, header.row_bytes :].any()
    return samples[:, : header.width], _stray(bool(stray))


def _colours(stored: Indices, header: Header, masks: tuple[int, ...]) -> tuple[Indices, tuple[str, ...]]:
    rows, step = stored[:, : header.row_bytes], header.bits // 8
    stray = _stray(bool(stored[:, header.row_bytes :].any()))
    if header.bits == 24:
        return rows.reshape(len(rows), -1, 3)[..., ::-1], stray
    words = np.ascontiguousarray(rows).view(f"<u{step}")  # (height, width)
    used = [mask for mask in masks if mask]
    samples = np.stack([(words >> _shift(mask)).astype(np.uint8) for mask in used], -1)
    beside = ((1 << header.bits) - 1) & ~sum(used)
    return samples, (*stray, *["bits of its pixels beside their colours"] * bool((words & beside).any()))


def _stray(there: bool) -> tuple[str, ...]:
    return ("bytes at the ends of its rows",) if there else ()


def _unpacked(data: bytes, at: int, end: int, header: Header) -> tuple[Indices, tuple[str, ...]]:
    """Run lengths undone. Raises UnsupportedImageError where they leave a pixel without a colour."""
    width, height, four = header.width, header.height, header.compression == RLE4
    rows: list[bytes] = []
    row, stray, ended = bytearray(), False, False
    while at + 1 < end and not ended:
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            row += (bytes((value >> 4, value & 15)) * 128)[:count] if four else bytes((value,)) * count
        elif value > 2:  # as they are
            used = -(-value // 2) if four else value
            some = data[at : min(at + used, end)]
            if len(some) < used:
                refuse_damaged("its pixels are truncated")
            row += bytes(part for byte in some for part in (byte >> 4, byte & 15))[:value] if four else some
            stray = stray or any(data[at + used : at + used + used % 2]) or bool(four and value % 2 and some[-1] & 15)
            at += used + used % 2
        elif value == 2 or (row and len(row) < width) or (not row and value == 0 and len(rows) < height):
            refuse_unkept("a BMP with run lengths that leave pixels out")
        if len(row) > width or (row and len(rows) == height):
            refuse_damaged("its rows are longer than its header says")
        if len(row) == width and not count and value < 2:
            rows.append(bytes(row))
            row.clear()
        ended = not count and value == 1
    if len(row) == width and len(rows) < height:
        rows.append(bytes(row))
    if len(rows) < height:
        if ended:
            refuse_unkept("a BMP with run lengths that leave pixels out")
        refuse_damaged("its pixels are truncated")
    behind = any(data[at:end])
    samples = np.frombuffer(b"".join(rows), np.uint8).reshape(height, width)
    return samples, (*_stray(stray), *[f"{end - at:,} bytes behind its pixels"] * behind)
