"""A JPEG in a file <-> its coefficients, and the file without the code of its scans.

Both ways walk through the same segments, which stay where they are. What the coefficients do not give back, because the scan is cut off,
damaged or written in an unusual way, stays, too: a *patch* says how far the code of a scan is made of coefficients.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bitstream.container import require
from codec.jpeg import entropy
from codec.jpeg.entropy import PADDING, POSITION, Coefficients
from codec.jpeg.frame import FRAMES, NO_CODES, TABLES, Codes, Frame, Header, Unfit, defined, frame_of, header_of, require_fit

EOI, SOS, DQT, DHT, DRI = 0xD9, 0xDA, 0xDB, 0xC4, 0xDD
LONELY = (0x01, *range(0xD0, 0xD8))  # markers without a segment
OTHER_FRAMES = {*range(0xC3, 0xD0)} - {DHT, 0xC8, 0xCC}
BLOCK = 64  # coefficients
MOST_SEGMENTS = 1 << 12
BLOCK_VISITS, MOST_VISITS = 7, 20  # of a scan's block, beside those of its coefficients; of a block, each of all its coefficients
MOST_BLOCKS = 9 << 19  # of all pictures of a file together: 200 megapixels in 4:2:0
BLOCKS_PER_BYTE = 8  # of code, at most
WORTH_BYTES = 64  # of code that coefficients must give
WORTH_SHARE = 2  # of all code at least one byte in so many

_MARKER = re.compile(rb"\xff([^\xff\x00])", re.DOTALL)
_CODED = re.compile(rb"\xff[^\xff\x00\xd0-\xd7]", re.DOTALL)  # where the code of a scan ends


class Patch(NamedTuple):
    """Of a scan. kept: how many bytes of what its coefficients give are in the file, None: all; ones: with which bits bytes are filled
    up."""

    kept: int | None = None
    ones: bool = True


class Walk(NamedTuple):
    """What a picture's segments say. steps: of each component, (64,) in zigzag order; scans: of each its header, and where its code is."""

    frame: Frame
    steps: Sequence[npt.NDArray[np.int64]]
    scans: Sequence[tuple[Header, int]]


def walk(data: bytes, start: int) -> Walk | None:
    """From the SOI at `start` to the EOI, or as far as anybody can go; None where there is no scan that can be taken apart."""
    frame, interval, scans, visits, at = None, 0, list[tuple[Header, int]](), 0, start + 2
    codes: Sequence[Codes] = NO_CODES
    steps = [np.ones(BLOCK, np.int64) for _ in range(TABLES)]
    for _ in range(MOST_SEGMENTS):
        found = _MARKER.search(data, at)
        if not found or found[1][0] in (EOI, 0xD8) or found[1][0] in OTHER_FRAMES:
            break
        marker, at = found[1][0], found.end()
        if marker in LONELY:
            continue
        end = at + int.from_bytes(data[at : at + 2], "big")
        if end < at + 2 or end > len(data):
            break
        body, at = data[at + 2 : end], end
        try:
            if marker in FRAMES:
                require_fit(frame is None)
                frame = frame_of(marker, body)
            elif marker == DQT:
                steps = _with_steps(steps, body)
            elif marker == DHT:
                codes = defined(codes, body)
            elif marker == DRI and len(body) == 2:
                interval = int.from_bytes(body, "big")
            elif marker == SOS:
                require_fit(frame is not None)
                assert frame
                header = header_of(body, frame, codes, interval)
                visits += header.blocks * (BLOCK_VISITS + 1 + header.last - header.first)
                require_fit(visits <= MOST_VISITS * BLOCK * frame.blocks)
                scans.append((header, at))
        except Unfit:
            break
        if marker == SOS:
            at = _end_of_code(data, at)
    return Walk(frame, [steps[c.steps] for c in frame.components], scans) if frame and scans else None


def _end_of_code(data: bytes, at: int) -> int:
    """Of the scan whose code begins there."""
    found = _CODED.search(data, at)
    end = found.start() if found else len(data)
    while end > at and data[end - 1] == 0xFF:  # these belong to the marker behind it
        end -= 1
    return end


def _with_steps(steps: Sequence[npt.NDArray[np.int64]], body: bytes) -> list[npt.NDArray[np.int64]]:
    """Tables, with those of a segment DQT. Raises Unfit."""
    found, at = [*steps], 0
    for _ in range(TABLES):
        if at == len(body):
            break
        size = BLOCK * (1 + (body[at] >> 4))
        require_fit(body[at] >> 4 <= 1 and body[at] & 15 < TABLES and len(body) > at + size)
        table = np.frombuffer(body[at + 1 : at + 1 + size], ">u2" if body[at] >> 4 else np.uint8)
        found[body[at] & 15] = table.astype(np.int64)
        at += 1 + size
    require_fit(at == len(body))
    return found


class Taken(NamedTuple):
    """A picture that was taken apart. patches: of its scans; coefficients: of its blocks; rest: the file without what these give; code: how
    many bytes that is."""

    walk: Walk
    patches: Sequence[Patch]
    coefficients: Coefficients
    rest: bytes
    code: int

    @property
    def unusual(self) -> list[tuple[int, Patch]]:
        """The patches that are not as usual, by scan."""
        return [(number, patch) for number, patch in enumerate(self.patches) if patch != Patch()]


def taken_apart(data: bytes, start: int, most_blocks: int = MOST_BLOCKS) -> Taken | None:
    """The picture whose SOI is at `start`; None where that is impossible, or in vain."""
    found = walk(data, start)
    if not found or found.frame.blocks > min(most_blocks, BLOCKS_PER_BYTE * len(data)):
        return None
    coefficients = np.zeros((found.frame.blocks, BLOCK), np.int16)
    places = [(place, _end_of_code(data, place)) for _, place in found.scans]
    ones = []
    for (header, _), (place, end) in zip(found.scans, places, strict=True):
        state = entropy.started()
        entropy.read(np.frombuffer(data[place:end], np.uint8), coefficients, header.scan(), state)
        ones.append(bool(state[PADDING]))
    patches, pieces, at, given = list[Patch](), list[bytes](), 0, 0
    out = np.empty(len(data) + 2, np.uint8)
    for (header, _), (place, end), bits in zip(found.scans, places, ones, strict=True):
        code = _written(header, coefficients, bits, out)
        kept = _agreement(code, np.frombuffer(data, np.uint8, end - place, place))
        patches.append(Patch(None if kept == len(code) == end - place else kept, bits))
        pieces.append(data[at:place])
        at, given = place + kept, given + kept
    if given < max(WORTH_BYTES, sum(end - place for place, end in places) // WORTH_SHARE):
        return None
    return Taken(found, patches, coefficients, b"".join((*pieces, data[at:])), given)


def _written(header: Header, coefficients: Coefficients, ones: bool, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The code of a scan, as far as there is one, in `out`."""
    state = entropy.started()
    state[PADDING] = int(ones)
    entropy.write(out, coefficients, header.scan(), state)
    return out[: int(state[POSITION])]


def _agreement(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> int:
    """Of how many bytes the beginnings are the same."""
    shorter = min(len(one), len(other))
    different = np.flatnonzero(one[:shorter] != other[:shorter])
    return int(different[0]) if len(different) else shorter


def put_back(rest: bytes, found: Walk, patches: Sequence[Patch], coefficients: Coefficients, most: int) -> bytes:
    """The file. found: what `walk` finds in the rest; most: bytes that it can have. Raises DamagedError."""
    require(len(patches) == len(found.scans), "a JPEG in it has another number of scans")
    out, pieces, at = np.empty(most + 2, np.uint8), list[bytes](), 0
    for (header, place), (kept, ones) in zip(found.scans, patches, strict=True):
        code = _written(header, coefficients, ones, out)
        require(kept is None or kept <= len(code), "a scan in it is too short")
        pieces += [rest[at:place], code[:kept].tobytes()]
        at, most = place, most - len(pieces[-1])
        require(most >= 0, "its scans are too long")
    return b"".join((*pieces, rest[at:]))
