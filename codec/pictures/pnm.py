"""PBM, PGM and PPM files (P1 to P6), as netpbm's manual describes them; read without Pillow, which brings 16 bits to 8."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bitstream.form import GREY, RGB, Form
from codec.pictures.formats import NUMBER, SPACES
from codec.pictures.parsed import BYTES_BEHIND, SPARE_BITS, Decoded, Parsed
from codec.pictures.refusals import refuse_damaged, refuse_unkept

BLOCK_BYTES = 1 << 20  # of numbers in plain text, at once
LONGEST_NUMBER = 10  # its digits

_GREYS = {1: Form(GREY, 1), 3: Form(GREY, 2), 15: Form(GREY, 4), 255: Form(GREY, 8), 65535: Form(GREY, 16)}  # by their largest value
_COLOURS = {255: Form(RGB, 8), 65535: Form(RGB, 16)}
_TRUNCATED = "its pixels are truncated"
_NO_NUMBERS = "its pixels are no numbers"


def parsed(data: bytes) -> Parsed:
    """Raises UnsupportedImageError."""
    kind = int(data[1:2])
    bitmap, colour = kind in (1, 4), kind in (3, 6)
    numbers, at = [], 2
    for _ in range(2 if bitmap else 3):
        found = NUMBER.match(data, at)
        if not found:
            refuse_damaged("its header is incomplete")
        numbers.append(int(found[1]))
        at = found.end()
    if data[at : at + 1] == b"#":  # up to the end of its line, which is the one space before the samples
        at = min((place for place in (data.find(b"\n", at), data.find(b"\r", at)) if place >= 0), default=len(data))
    if data[at : at + 1] not in (SPACES[k : k + 1] for k in range(len(SPACES))):
        refuse_damaged("its header is incomplete")
    width, height, *rest = numbers
    largest = rest[0] if rest else 1
    if not width or not height or not 0 < largest < 1 << 16:
        refuse_damaged(f"its header says {width}x{height} pixels" + (f" with a largest value of {largest}" if rest else ""))
    forms = _COLOURS if colour else _GREYS
    if largest not in forms:
        refuse_unkept(f"a {'PPM' if colour else 'PGM'} with a largest value of {largest}")
    form, left_out = forms[largest], ("comments in its header",) if b"#" in data[:at] else ()

    def decoded() -> Decoded:
        count = width * height * form.channels
        samples: npt.NDArray[Any]
        more: tuple[str, ...] = ()
        if kind == 4:
            samples, end, more = _bits(data, at + 1, width, height)
        elif kind > 4:
            samples, end = _bytes(data, at + 1, count, form.depth)
        else:
            samples, end = _plain_bits(data, at + 1, count) if kind == 1 else _plain_numbers(data, at + 1, count)
        if samples.max() > largest:
            refuse_damaged(f"it has samples above {largest}")
        samples = samples.astype(np.uint16 if form.depth == 16 else np.uint8, copy=False)
        return Decoded(samples.reshape(height, width, form.channels), form, (*more, *_behind(data, end, kind < 4)))

    return Parsed(b"", (width, height), (), left_out, decoded)


def _bits(data: bytes, at: int, width: int, height: int) -> tuple[npt.NDArray[np.uint8], int, tuple[str, ...]]:
    """Samples, where they end, and what else is there; 1 is black there, 0 here."""
    row_bytes = -(-width // 8)
    end = at + row_bytes * height
    if end > len(data):
        refuse_damaged(_TRUNCATED)
    bits = np.unpackbits(np.frombuffer(data, np.uint8, end - at, at).reshape(height, row_bytes), axis=1)
    return 1 - bits[:, :width], end, (SPARE_BITS,) if bits[:, width:].any() else ()


def _bytes(data: bytes, at: int, count: int, depth: int) -> tuple[npt.NDArray[Any], int]:
    dtype = np.dtype(">u2" if depth == 16 else np.uint8)
    end = at + count * dtype.itemsize
    if end > len(data):
        refuse_damaged(_TRUNCATED)
    return np.frombuffer(data, dtype, count, at).astype(dtype.newbyteorder("=")), end


def _plain_bits(data: bytes, at: int, count: int) -> tuple[npt.NDArray[np.uint8], int]:
    """Digits 0 and 1, with and without spaces between them."""
    if len(data) - at < count:
        refuse_damaged(_TRUNCATED)
    samples, filled = np.empty(count, np.uint8), 0
    while filled < count:
        block = np.frombuffer(data[at : at + BLOCK_BYTES], np.uint8)
        if not block.size:
            refuse_damaged(_TRUNCATED)
        places = np.flatnonzero((block == 48) | (block == 49))[: count - filled]
        filled += places.size
        used = int(places[-1]) + 1 if filled == count else block.size
        if data[at : at + used].translate(None, SPACES + b"01"):
            refuse_damaged("its pixels are no digits 0 and 1")
        samples[filled - places.size : filled] = 49 - block[places]
        at += used
    return samples, at


def _plain_numbers(data: bytes, at: int, count: int) -> tuple[npt.NDArray[np.uint16], int]:
    if len(data) - at < 2 * count - 1:
        refuse_damaged(_TRUNCATED)
    samples, filled = np.empty(count, np.uint16), 0
    while filled < count:
        block = data[at : at + BLOCK_BYTES]
        whole = at + len(block) == len(data)  # else the last number may go on
        numbers = block.split(None, count - filled)
        behind = numbers.pop() if len(numbers) > count - filled or (numbers and not whole and not block[-1:].isspace()) else b""
        used = len(block) - len(behind)
        if not numbers and (whole or not used):
            refuse_damaged(_TRUNCATED if whole else _NO_NUMBERS)
        at += used
        if not numbers:  # spaces only
            continue
        if b"".join(numbers).translate(None, b"0123456789") or max(map(len, numbers)) > LONGEST_NUMBER:
            refuse_damaged(_NO_NUMBERS)
        values = np.array(list(map(int, numbers)), np.int64)
        if values.max() >= 1 << 16:
            refuse_damaged("it has samples above 65535")
        samples[filled : filled + values.size] = values
        filled += values.size
    return samples, at


def _behind(data: bytes, end: int, plain: bool) -> tuple[str, ...]:
    """What follows the samples; plain text may end with spaces."""
    behind = data[end:].lstrip() if plain else data[end:]
    if not behind:
        return ()
    another = behind.lstrip()[:1] == b"P" and behind.lstrip()[1:2].isdigit()
    return (f"a second picture and what follows: {len(behind):,} bytes" if another else BYTES_BEHIND.format(len(behind)),)
