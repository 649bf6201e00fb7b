"""Samples as they are, for noise: the bound of every file."""

from collections.abc import Iterator, Sequence

import numpy as np

from bitstream.container import Coding, require
from codec.methods.method import Candidate, Coded, DirectMethod, Method, Part, Samples, Source, require_same
from codec.progress import Progress, heartbeat


class StoredCandidate(Candidate):
    exact = True

    def __init__(self, method: Method, source: Source) -> None:
        self._method, self._source = method, source

    def estimate(self) -> float:
        height, width, channels = self._source.samples.shape
        return float(height * _row_bytes(width, channels, self._source.depth))

    def coded(self, progress: Progress) -> Coded:
        payload = _packed(self._source.samples, self._source.depth)
        progress(self._source.pixels)
        return Coded(Coding(self._method.number), [payload])


def _row_bytes(width: int, channels: int, depth: int) -> int:
    return -(-width * channels * depth // 8)


def _packed(samples: Samples, depth: int) -> bytes:
    """Rows one after the other, as in a PNG without filters: samples of few bits side by side in bytes, those of 16 with the high byte
    first."""
    height, width, channels = samples.shape
    flat = samples.reshape(height, width * channels)
    if depth >= 8:
        return flat.astype(f">u{depth // 8}").tobytes()
    bits = np.unpackbits(flat[..., None], axis=-1)[..., 8 - depth :]
    return np.packbits(bits.reshape(height, -1), axis=-1).tobytes()


class Stored(DirectMethod):
    number = 0
    name = "stored"
    of_files = (False, True)

    def offer(self, source: Source, progress: Progress) -> Sequence[Candidate]:
        return [StoredCandidate(self, source)]

    def least_bytes(self, part: Part) -> Iterator[int]:
        require(not part.coding.fields, "its coding has other fields than it should")
        yield part.height * _row_bytes(part.width, part.channels, part.depth)

    def decode(self, part: Part, progress: Progress) -> Samples:
        (payload,), height = part.chunks, part.height
        row_bytes = _row_bytes(part.width, part.channels, part.depth)
        require(len(payload) == height * row_bytes, "its samples are too many")
        if part.depth >= 8:
            samples = np.frombuffer(payload, f">u{part.depth // 8}").astype(f"u{part.depth // 8}")
        else:
            bits = np.unpackbits(np.frombuffer(payload, np.uint8).reshape(height, row_bytes), axis=-1)
            used = part.width * part.channels * part.depth
            require(not bits[:, used:].any(), "bits behind its rows are set")
            bits = bits[:, :used].reshape(height, -1, part.depth)
            samples = np.packbits(bits, axis=-1)[..., 0] >> (8 - part.depth)
        progress(part.width * height)
        return part.cut(samples.reshape(height, part.width, part.channels))

    def check(self, part: Part, coded: Coded, samples: Samples, progress: Progress) -> None:
        found = self.decode(part, heartbeat(progress))
        require_same(np.array_equal(found, samples), "its samples differ")
