"""The bytes of a JPEG file that are no coefficients: headers, metadata, whatever stands behind the picture.

Each is predicted, bit by bit, by counters of what followed the bytes before it, mixed as in `codec.mixing`. A dictionary of what JPEGs
often hold comes first, so that little is left of an ordinary header.
"""

import struct
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bitstream import metadata
from bitstream.container import require
from bitstream.deflate import deflated, inflated
from bitstream.reader import Reader
from codec.jpeg.history import CONTEXTS, code
from codec.jpeg.standard import CHROMA_STEPS, LUMA_STEPS, scaled_steps
from codec.mixing.bands import mixer, tables
from codec.mixing.kernel import WEIGHT_BITS, Mixer

PLAIN, DEFLATED, MIXED = range(3)  # how bytes are packed
MIN_TABLE_BITS, MAX_TABLE_BITS = 17, 20
MOST_MIXED = 1 << 20  # bytes, more take too long


def _mixed(data: npt.NDArray[np.uint8], stream: npt.NDArray[np.uint8], decoding: bool) -> int:
    """data: the dictionary, and behind it what is coded."""
    bits = min(max((8 * len(data)).bit_length(), MIN_TABLE_BITS), MAX_TABLE_BITS)
    learnt = _taught(bits)
    mixing = learnt._replace(**{name: array.copy() for name, array in learnt._asdict().items()})
    return int(code(data, len(DICTIONARY), stream, decoding, mixing, tables()))


@lru_cache(1)
def _taught(bits: int) -> Mixer:
    """That has learnt from the dictionary."""
    mixing = mixer(CONTEXTS, bits, 0, 512 + 8 * CONTEXTS, 256, (2 << WEIGHT_BITS) // 10)
    code(np.frombuffer(DICTIONARY, np.uint8).copy(), 0, np.empty(len(DICTIONARY), np.uint8), False, mixing, tables())
    return mixing


def pack(raw: bytes) -> bytes:
    """A byte that says how, and the bytes."""
    found = [bytes((PLAIN,)) + raw, bytes((DEFLATED,)) + deflated(raw)]
    if len(raw) <= MOST_MIXED:
        stream = np.zeros(len(raw) + 4, np.uint8)
        count = _mixed(np.frombuffer(DICTIONARY + raw, np.uint8).copy(), stream, decoding=False)
        found.append(bytes((MIXED,)) + stream[:count].tobytes())
    return min(found, key=len)


def unpack(body: bytes, size: int) -> bytes:
    """The `size` bytes. Raises DamagedError."""
    reader = Reader(body, "the bytes beside its coefficients")
    how, packed = reader.byte(), reader.take(reader.remaining)
    if how == PLAIN:
        require(len(packed) == size, "its bytes are too few or too many")
        return packed
    if how == DEFLATED:
        return inflated(packed, size)
    require(how == MIXED and size <= MOST_MIXED, "its bytes are packed in an unknown way")
    data = np.frombuffer(DICTIONARY + bytes(size), np.uint8).copy()
    count = _mixed(data, np.frombuffer(packed, np.uint8).copy(), decoding=True)
    require(count == len(packed), "its bytes are not what an encoder writes")
    return data[len(DICTIONARY) :].tobytes()


# The dictionary is a constant of the format. Codes: ITU-T T.81, annex K.

QUALITIES = range(50, 101)
DC_CODES = ("00010501010101010100000000000000", "00030101010101010101010000000000")  # how many of each length; the symbols are 0 to 11
AC_CODES = (
    "0002010303020403050504040000017d"
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a434445464748494a"
    "535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7"
    "c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa",
    "00020102040403040705040400010277"
    "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738393a43444546474849"
    "4a535455565758595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5"
    "c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa",
)


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def _dictionary() -> bytes:
    steps = [_segment(0xDB, bytes((k, *scaled_steps(t, q)))) for q in QUALITIES for k, t in enumerate((LUMA_STEPS, CHROMA_STEPS))]
    dc = [bytes((k,)) + bytes.fromhex(codes) + bytes(range(12)) for k, codes in enumerate(DC_CODES)]
    ac = [bytes((16 | k,)) + bytes.fromhex(codes) for k, codes in enumerate(AC_CODES)]
    codes = [table for pair in zip(dc, ac, strict=True) for table in pair]
    frames = [_segment(0xC0, bytes.fromhex(f"0801e002800301{sampling}0002110103{'11'}01")) for sampling in ("11", "21", "22")]
    return b"".join(
        (
            metadata.DICTIONARY,
            _segment(0xDA, bytes.fromhex("03010002000300003f00")),
            _segment(0xC4, b"".join(codes)),
            *steps,
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\1\1\1\0\x48\0\x48\0\0"),
            _segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
            *frames,
            *(_segment(0xC4, table) for table in codes),
            _segment(0xDA, bytes.fromhex("03010002110311003f00")),
            b"\xff\xd9",
        )
    )


DICTIONARY = _dictionary()
