"""Context mixing: planes <-> bytes without a network, for drawings, text and screenshots.

Pixels are coded one after the other in raster order as binary decisions: does the pixel repeat what followed the same surroundings before,
its left or its upper neighbour, and if not, the bits of its samples. Each decision has several contexts; in each an adaptive counter knows
how often it was 1. A logistic mixture of the counters that learns its weights gives the probability, and a binary arithmetic coder the
bytes. This is the architecture of PAQ (Mahoney, "Adaptive weighing of context models for lossless data compression", 2005).

Everything is integer arithmetic. numba compiles it; where numba is missing the same code runs as it stands, very slowly.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from bitstream.constants import MAX_BAND_PIXELS
from bitstream.errors import DamagedError
from codec.decimals import exactly
from codec.mixing import deep
from codec.mixing.kernel import (
    ACTIVITIES,
    COUNT_BITS,
    COUNTER_BITS,
    GUESS_CONTEXTS,
    GUESSES,
    HISTOGRAMS,
    LIMIT,
    MAX_CHANNELS,
    MOST_COUNT,
    ONE,
    SAMPLE_CONTEXTS,
    STEPS,
    WEIGHT_BITS,
    Mixer,
    Tables,
    code,
)
from codec.mixing.least_squares import squares
from codec.threads import threads
from codec.tiling.planes import Pixels, Planes

Result = TypeVar("Result")

REPEATED = 0.375  # of the pixels
RECURRING = 0.05  # of them; of photographs hardly 0.02
SEARCHED_PIXELS = 1 << 20
FEW_COLOURS = 512
SAMPLED_PIXELS = 1 << 14
SAMPLED_ROWS = 512
SMALL = 1 << 12  # pixels, which take no time
SPARE_BYTES = 4  # that even a single pixel may take more than its samples
MOST_THREADS = 4
MOST_BYTES = 1 << 29  # of all threads together, unless one takes more
TABLE_BYTES = 60 << 20  # that each takes, about, beside what deep samples take for every column
MIN_TABLE_BITS, MAX_TABLE_BITS = 12, 20
NO_COSTS = np.empty((0, 0), np.float32)


class Coder(NamedTuple):
    """deep: of samples of 16 bits, else of 8; exact: of those, whose residuals recur."""

    deep: bool
    exact: bool = False


SHALLOW, BLENDED, EXACT = Coder(deep=False), Coder(deep=True), Coder(deep=True, exact=True)


@cache
def tables() -> Tables:
    with exactly(30):
        logistic = [Decimal(ONE) / (1 + (Decimal(-x) / 256).exp()) for x in range(-LIMIT, LIMIT + 1)]
        squash = np.array([int(value.to_integral_value()) for value in logistic], np.int64).clip(1, ONE - 1)
    stretch = np.searchsorted(squash, np.arange(1 << 12) * 16 + 8).clip(0, 2 * LIMIT) - LIMIT
    count = np.arange(MOST_COUNT + 1, dtype=np.int64)
    return Tables(squash, stretch.astype(np.int64), (1 << 17) // (2 * count + 3), 2560 * count // (10 * count + 3))


def mixer(contexts: int, bits: int, more: int, sets: int, refinements: int, weight: int) -> Mixer:
    """With tables of 2^bits counters, `more` inputs that come from elsewhere, and this first weight."""
    start = tables().squash[(np.arange(STEPS + 1) * 192 - LIMIT - 1).clip(-LIMIT, LIMIT) + LIMIT]
    return Mixer(
        np.full((contexts, 1 << bits), 1 << (COUNTER_BITS - 1 + COUNT_BITS), np.uint32),
        np.full((sets, contexts + more + 1), weight, np.int64),
        np.tile(start, (refinements, 1)),
        np.zeros(contexts, np.int64),
        np.zeros(contexts + more + 1, np.int64),
    )


def _run(
    planes: npt.NDArray[Any],
    stream: npt.NDArray[np.uint8],
    coder: Coder,
    decoding: bool,
    stopped: npt.NDArray[np.bool_],
    costs: npt.NDArray[np.float32] = NO_COSTS,
    pixels: int | None = None,
) -> int:
    """One band, or the upper part of one that has so many pixels in all.

    Returns the number of bytes that it takes, more than `stream` has where it did not suffice.
    """
    pixels = pixels or planes[0].size
    if coder.deep:
        return _run_deep(planes, stream, decoding, stopped, costs, coder.exact, pixels)
    bits = min(max((2 * pixels - 1).bit_length(), MIN_TABLE_BITS), MAX_TABLE_BITS)
    guessing = mixer(GUESS_CONTEXTS, bits, 0, GUESSES * (16 + 256 + GUESS_CONTEXTS), GUESSES * 256, (3 << WEIGHT_BITS) // 10)
    sample_sets = MAX_CHANNELS * (256 + 32 + 8 * SAMPLE_CONTEXTS)
    sampling = mixer(SAMPLE_CONTEXTS, bits, HISTOGRAMS, sample_sets, MAX_CHANNELS * 256, (2 << WEIGHT_BITS) // 10)
    away = np.minimum(np.arange(256), 256 - np.arange(256))
    histogram = 1 + (96 >> np.minimum(away, 10)) + 12 // (1 + away)
    histograms = np.tile(histogram, (MAX_CHANNELS * HISTOGRAMS * ACTIVITIES, 1))
    followers = np.full(1 << bits, -1, np.int64)
    return int(code(planes, stream, decoding, guessing, sampling, histograms, followers, tables(), costs, stopped))


def _run_deep(
    planes: npt.NDArray[np.uint16],
    stream: npt.NDArray[np.uint8],
    decoding: bool,
    stopped: npt.NDArray[np.bool_],
    costs: npt.NDArray[np.float32],
    exact: bool,
    pixels: int,
) -> int:
    """The same for samples of 16 bits."""
    channels, _, width = planes.shape
    bits = min(max((4 * pixels - 1).bit_length(), deep.MIN_TABLE_BITS), deep.MAX_TABLE_BITS)
    sets = (deep.OCTAVES + MAX_CHANNELS + MAX_CHANNELS * deep.CONTEXTS) * deep.DECISIONS
    deciding = mixer(deep.CONTEXTS, bits, 0, sets, MAX_CHANNELS * deep.DECISIONS, (3 << WEIGHT_BITS) // 10)
    nearby = deep.state(channels, width), squares(channels)
    return int(deep.code(planes, stream, decoding, deciding, *nearby, tables(), costs, stopped, exact))


def promising(pixels: Pixels) -> bool:
    """Whether (height, width, channels) pixels are worth trying: they are not many, repeat themselves, or have few colours."""
    height, width, channels = pixels.shape
    if height * width <= SMALL or repeats(pixels):
        return True
    some = pixels.reshape(-1, channels)[:: max(1, height * width // SAMPLED_PIXELS)]
    return channels > 1 and len(np.unique(some.astype(np.int64) @ 256 ** np.arange(channels))) <= FEW_COLOURS


def repeats(pixels: Pixels) -> bool:
    """Whether many of the (height, width, channels) pixels are as neighbours, or as what was before in the same surroundings."""
    return repeated(pixels) >= REPEATED or recurring(pixels) >= RECURRING


def repeated(pixels: Pixels) -> float:
    """The share of the (height, width, channels) pixels that are as the one to the left or above, or continue both as a slope does.

    Of a large picture, in some of the rows.
    """
    step = max(1, len(pixels) // SAMPLED_ROWS)
    now, west, north, north_west = pixels[1::step, 1:], pixels[1::step, :-1], pixels[:-1:step, 1:], pixels[:-1:step, :-1]
    same = (now == west).all(-1) | (now == north).all(-1) | (now - west == north - north_west).all(-1)
    return float(same.mean()) if same.size else 1.0


def recurring(pixels: Pixels) -> float:
    """The share of the (height, width, channels) pixels that are not as a neighbour is, but as one was that had the same surroundings: high
    where a texture was laid side by side. Of a large picture, of rows in its middle.
    """
    height, width, channels = pixels.shape
    rows = min(height, max(3, SEARCHED_PIXELS // width))
    first = (height - rows) // 2
    some = pixels[first : first + rows].astype(np.uint64) @ np.uint64(256) ** np.arange(channels, dtype=np.uint64)
    now, west, north, north_west = some[2:, 2:-1], some[2:, 1:-2], some[1:-1, 2:-1], some[1:-1, 1:-2]
    key = now
    for near in (west, north, north_west, some[1:-1, 3:], some[2:, :-3], some[:-2, 2:-1]):
        key = (key ^ near) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    keys = np.sort(key[(now != west) & (now != north) & (now - west != north - north_west)])
    return float((keys[1:] == keys[:-1]).sum() / max(1, now.size))


def _in_parallel(
    work: Callable[..., Result], progress: Callable[[int], None], most: int, pixels: Sequence[int], *arguments: Iterable[Any]
) -> list[Result]:
    """work(stopped, ...) for every band, which has so many pixels: on as many threads as `threads` says, but no more than `most`.

    `stopped` is set where this ends before its time.
    """
    pool = ThreadPoolExecutor(min(most, threads()))
    stopped, results = np.zeros(1, np.bool_), []
    try:
        for count, result in zip(pixels, pool.map(functools.partial(work, stopped), *arguments), strict=True):
            results.append(result)
            progress(count)
        return results
    finally:
        stopped[0] = len(results) < len(pixels)
        pool.shutdown(cancel_futures=True)


def most_threads(coder: Coder, channels: int, width: int) -> int:
    """That code bands side by side."""
    each = TABLE_BYTES + (deep.COLUMN_BYTES * channels * width if coder.deep else 0)
    return max(1, min(MOST_THREADS, MOST_BYTES // each))


def bands(height: int, width: int) -> Iterator[slice]:
    """The rows of each band of a picture."""
    rows = rows_per_band(height, width)
    for first in range(0, height, rows):
        yield slice(first, min(first + rows, height))


def covering(rows: slice, height: int, width: int) -> range:
    """The numbers of the bands of a picture that have some of these rows."""
    each = rows_per_band(height, width)
    return range(rows.start // each, -(-rows.stop // each))


def rows_per_band(height: int, width: int) -> int:
    """As many as MAX_BAND_PIXELS allows, and the same number in every band but the last."""
    count = -(-height // max(1, MAX_BAND_PIXELS // width))
    return -(-height // count)


def encode(planes: Planes, coder: Coder, progress: Callable[[int], None]) -> list[bytes] | None:
    """A payload for every band of (channels, height, width) planes; None where 8-bit ones become needlessly large."""
    height, width = planes.shape[1:]
    parts = list(bands(height, width))

    def encode_band(stopped: npt.NDArray[np.bool_], band: slice) -> bytes | None:
        part = np.ascontiguousarray(planes[:, band])
        most = 2 * part.nbytes if coder.deep else part.nbytes + part.nbytes // 32
        stream = np.zeros(most + SPARE_BYTES, np.uint8)
        count = _run(part, stream, coder, False, stopped)
        return stream[:count].tobytes() if count <= len(stream) else None

    payloads = _in_parallel(
        encode_band, progress, most_threads(coder, len(planes), width), [width * (band.stop - band.start) for band in parts], parts
    )
    whole = [payload for payload in payloads if payload is not None]
    return whole if len(whole) == len(parts) else None


def costs(planes: Planes, coder: Coder) -> npt.NDArray[np.float32]:
    """The bits of each pixel, (height, width), in `encode`."""
    bits = np.zeros(planes.shape[1:], np.float32)
    for band in bands(*planes.shape[1:]):
        part = np.ascontiguousarray(planes[:, band])
        _run(part, np.empty(4 * part.size + SPARE_BYTES, np.uint8), coder, False, np.zeros(1, np.bool_), bits[band])
    return bits


def decode(
    payloads: Sequence[bytes],
    size: tuple[int, int],
    channels: int,
    coder: Coder,
    progress: Callable[[int], None],
    most_rows: int | None = None,
    rows: slice | None = None,
) -> Planes:
    """The inverse of `encode`; size: (width, height).

    most_rows: of every band, so many at most; what follows in it is undefined. rows: that are wanted, if not all are; bands that have none
    of them are undefined. Raises DamagedError where a payload is not what an encoder
    writes.
    """
    width, height = size
    dtype = np.uint16 if coder.deep else np.uint8
    planes = np.empty((channels, height, width), dtype)
    every = [*bands(height, width)]
    wanted = covering(rows or slice(0, height), height, width)
    parts = [every[number] for number in wanted]

    def decode_band(stopped: npt.NDArray[np.bool_], band: slice, payload: bytes) -> None:
        height = band.stop - band.start
        part = np.empty((channels, min(height, most_rows or height), width), dtype)
        stream = np.frombuffer(payload, np.uint8).copy()
        count = _run(part, stream, coder, True, stopped, pixels=height * width)
        if count != len(payload) and part.shape[1] == height and not stopped[0]:
            msg = "a payload is damaged: it is not what an encoder writes"
            raise DamagedError(msg)
        planes[:, band.start : band.start + part.shape[1]] = part

    _in_parallel(
        decode_band,
        progress,
        most_threads(coder, channels, width),
        [width * (band.stop - band.start) for band in parts],
        parts,
        [payloads[number] for number in wanted],
    )
    return planes
