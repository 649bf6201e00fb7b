"""Reading bytes that may be damaged, and the variable-length integers of the format."""

from bitstream.constants import MAX_VARINT_BYTES
from bitstream.errors import DamagedError, TruncatedError


def varint(value: int) -> bytes:
    """Unsigned LEB128: seven bits per byte, least significant first, the top bit set on all but the last byte."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Reader:
    """Takes fields off the front of `data`, which is all there is; `part` names what is being read, for the messages."""

    def __init__(self, data: bytes, part: str) -> None:
        self.data = memoryview(data)
        self.position = 0
        self.part = part

    def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises DamagedError where there are fewer."""
        if count > self.remaining:
            raise self.too_short()
        self.position += count
        return bytes(self.data[self.position - count : self.position])

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        """Raises DamagedError for a number that is too long or not written in the shortest way."""
        value = 0
        for k in range(MAX_VARINT_BYTES):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * k)
            if byte < 0x80:
                if byte == 0 and k:
                    break
                return value
        msg = f"{self.part} is damaged: a number in it is malformed"
        raise DamagedError(msg)

    def too_short(self) -> DamagedError:
        return DamagedError(f"the file is damaged: there is too little of {self.part}")

    @property
    def remaining(self) -> int:
        return len(self.data) - self.position


class FileReader(Reader):
    """Of the file itself, of which there may be more."""

    def too_short(self) -> TruncatedError:
        return TruncatedError(f"the file is truncated: it ends in {self.part}")
