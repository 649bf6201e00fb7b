"""An igpt file taken apart, once: what everything that reads files begins with. Neither the payloads nor a model are touched."""

from typing import NamedTuple

from bitstream.envelope import Envelope, headers_of, is_envelope, read_envelope
from bitstream.header import Header, read_header
from bitstream.reader import Reader


class Parsed(NamedTuple):
    """parts: files without an envelope, one or two; headers: theirs; envelope: what lay around them, if anything did."""

    parts: tuple[bytes, ...]
    headers: list[Header]
    envelope: Envelope | None = None

    @property
    def pixels(self) -> int:
        return self.headers[0].width * self.headers[0].height

    @property
    def samples(self) -> int:
        """Of all layers; what a decoder goes through."""
        return sum(width * height for header in self.headers for width, height in header.layers)

    @property
    def metadata_bytes(self) -> int:
        return sum(len(body) for _, body in self.envelope.chunks) if self.envelope else 0


def parsed(data: bytes) -> Parsed:
    """Raises NotIgptError, NewerVersionError, TruncatedError or DamagedError where the envelope or a header is at fault."""
    if not is_envelope(data):
        return Parsed((data,), [read_header(Reader(data, "the header"))])
    envelope = read_envelope(data)
    return Parsed(envelope.parts, headers_of(envelope), envelope)
