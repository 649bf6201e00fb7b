"""Quantised coefficients of JPEG <-> bytes, whether they were read in a file or found in a picture.

The planes are cut into bands of rows. Each band is coded by itself into one payload, as binary decisions: per block where its last
coefficient is that is not 0, then the coefficients up to it in zigzag order, then the DC, as the difference to what the blocks to the left
and above lead to expect. `kernel` walks through the blocks, `mixture` codes a decision, and `network` predicts it.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from bitstream.constants import CODER_BYTES, FREQUENCY_BITS, LEAST_COST
from bitstream.container import require
from bitstream.errors import DamagedError
from codec.jpeg.kernel import LOGS, Constants, code
from codec.jpeg.mixture import ALONE_CONTEXTS, CONTEXTS, FIRST_SETS, INPUTS, MOST_USES, RARE, SECOND_SETS, SLOTS, State
from codec.jpeg.network import CoefficientNetwork
from codec.jpeg.prediction import FEATURES, OUTPUTS, WIDTH, Layer, Network, Work
from codec.mixing.bands import tables
from codec.mixing.kernel import LIMIT, ONE, STEPS
from codec.threads import threads

Size = tuple[int, int]  # rows, columns of blocks
Blocks = npt.NDArray[np.int16]  # (rows, columns, 64), zigzag order
Result = TypeVar("Result")

EDGE = (724, 1081, 1221, 1377, 1448, 1356, 1061, 584)  # 1024 c(u) (1.5 cos(u pi / 16) - 0.5 cos(3 u pi / 16)), c(0) = sqrt(1 / 2)
SLOPE = (0, 153, 554, 1051, 1448, 1573, 1338, 769)  # 1024 c(u) (cos(u pi / 16) - cos(3 u pi / 16))
THRESHOLDS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
BAND_BLOCKS, SPLIT_BLOCKS = 1 << 16, 1 << 15  # of the first plane: of a band at most, and where there are two bands at least
ALONE_BAND_BLOCKS = 1 << 14  # of a band at most, without a network
MOST_THREADS = 4  # as every band in work has tables of its own
COUNTER_WEIGHT, NETWORK_WEIGHT, ALONE_WEIGHT = 0.04, 0.9, 0.45  # at first
DECISIONS = 2  # about a block, at least
CHECKED_ROWS = 4  # of a band, before anybody relies on it
NO_COSTS = np.empty((0, 0), np.float32)
NO_RECORDS = np.empty((0, FEATURES + 3), np.int16)


class Plane(NamedTuple):
    """steps: (64,) of the quantisation table, zigzag order, where 0 counts as 1; coefficients: (rows, columns, 64) in zigzag order, from
    -32767 to 32767. Of several planes the first is luma, the second and third are chroma, and the fourth is coded as luma is."""

    steps: npt.NDArray[np.int64]
    coefficients: Blocks


@cache
def constants() -> Constants:
    """Tables of the format."""
    order = sorted(range(64), key=lambda n: (n // 8 + n % 8, n // 8 if (n // 8 + n % 8) % 2 else n % 8))
    raster = np.array(order, np.int64)
    log, level = np.zeros(LOGS, np.int64), 0
    for n in range(LOGS):
        while 1 << (2 * level + 1) <= (n + 1) ** 32:  # the next level is nearer
            level += 1
        log[n] = level
    return Constants(raster, np.argsort(raster), np.array(EDGE, np.int64), np.array(SLOPE, np.int64), log, np.array(THRESHOLDS, np.int64))


@cache
def no_network() -> Network:
    shorts, integers = np.zeros((0, 0), np.int16), np.zeros((0, 0), np.int32)
    return Network(shorts, *(3 * (Layer(np.zeros((0, 0, 0, 0), np.int16), shorts, integers),)))


def _state(alone: bool) -> State:
    """Before the first decision."""
    start = tables().squash[(np.arange(STEPS + 1) * 192 - LIMIT - 1).clip(-LIMIT, LIMIT) + LIMIT]
    weights = np.full((FIRST_SETS + SECOND_SETS, INPUTS + 1), int(ONE * (ALONE_WEIGHT if alone else COUNTER_WEIGHT)), np.int32)
    weights[:, CONTEXTS:] = 0
    weights[:, CONTEXTS] = 0 if alone else int(ONE * NETWORK_WEIGHT)
    return State(
        np.zeros((ALONE_CONTEXTS if alone else CONTEXTS, SLOTS), np.uint32),
        weights,
        32 + 14336 // (64 + np.arange(MOST_USES + 1)),
        np.tile(start, (FIRST_SETS, 1)),
        np.zeros(RARE, np.uint32),
        np.zeros(CONTEXTS, np.int64),
        np.zeros(INPUTS, np.int32),
    )


def _work() -> Work:
    features, scaled, first, second = (np.zeros(n, np.int16) for n in (FEATURES, WIDTH, WIDTH, WIDTH))
    return Work(features, scaled, first, second, np.zeros(WIDTH, np.int32), np.zeros(OUTPUTS, np.int64))


def _run(
    planes: Sequence[Plane],
    stream: npt.NDArray[np.uint8],
    decoding: bool,
    network: CoefficientNetwork | None,
    stopped: npt.NDArray[np.bool_],
    costs: Sequence[npt.NDArray[np.float32]] = (),
    records: npt.NDArray[np.int16] = NO_RECORDS,
    every: int = 0,
) -> int:
    """One band. Returns the number of bytes that it takes, more than `stream` has where it did not suffice.

    records: where every so many-th coefficient leaves its features and its value; then returns how many did.
    """
    state, used, work = _state(network is None), network.runnable if network else no_network(), _work()
    coder, recorded = np.array([0, 0xFFFFFFFF, 0, 0], np.int64), np.array([0, every], np.int64)
    if decoding:
        coder[2:] = int.from_bytes(stream[:4].tobytes().ljust(4, b"\0"), "big"), 4
    luma, twin = planes[0].coefficients, planes[min(1, len(planes) - 1)].coefficients
    for i, (steps, blocks) in enumerate(planes):
        code(
            blocks,
            np.maximum(steps, 1).astype(np.int64),
            i % 3,
            luma,
            twin,
            used,
            constants(),
            state,
            work,
            tables(),
            coder,
            stream,
            decoding,
            i == len(planes) - 1,
            costs[i] if costs else NO_COSTS,
            stopped,
            records,
            recorded,
        )
    if every:
        return int(recorded[0])
    return int(coder[3]) - 3 if decoding else int(coder[3])


def _bands(sizes: Sequence[Size], alone: bool) -> Iterator[list[slice]]:
    """The rows of each plane in each band. alone: without a network."""
    blocks, rows = sizes[0][0] * sizes[0][1], min(size[0] for size in sizes)
    count = -(-blocks // (ALONE_BAND_BLOCKS if alone else BAND_BLOCKS))
    count = min(rows, max(count, 2 if blocks >= SPLIT_BLOCKS else 1))
    cuts = [rows * k // count for k in range(count + 1)]
    for first, last in itertools.pairwise(cuts):
        yield [slice(-(-first * size[0] // rows), -(-last * size[0] // rows)) for size in sizes]


def bands(sizes: Sequence[Size], alone: bool) -> int:
    """How many payloads planes of these sizes have. alone: without a network."""
    return len(list(_bands(sizes, alone)))


def least_bytes(sizes: Sequence[Size], alone: bool) -> Iterator[int]:
    """Of the payload of each band. alone: without a network."""
    for band in _bands(sizes, alone):
        blocks = sum((rows.stop - rows.start) * size[1] for rows, size in zip(band, sizes, strict=True))
        yield max(1, -(-DECISIONS * blocks * LEAST_COST // (8 << FREQUENCY_BITS)) - CODER_BYTES)


def _parts(planes: Sequence[Plane], alone: bool) -> list[list[Plane]]:
    """Of every band."""
    return [
        [Plane(steps, np.ascontiguousarray(blocks[rows])) for (steps, blocks), rows in zip(planes, band, strict=True)]
        for band in _bands([plane.coefficients.shape[:2] for plane in planes], alone)
    ]


def _side_by_side(
    work: Callable[..., Result], parts: Sequence[Sequence[Plane]], progress: Callable[[int], None], *arguments: Sequence[Any]
) -> list[Result]:
    """work(stopped, part, ...) for every band; `stopped` is set where this ends before its time."""
    pool = ThreadPoolExecutor(min(MOST_THREADS, threads()))
    stopped, results = np.zeros(1, np.bool_), []
    try:
        for part, result in zip(parts, pool.map(functools.partial(work, stopped), parts, *arguments), strict=True):
            results.append(result)
            progress(sum(plane.coefficients.size for plane in part))
        return results
    finally:
        stopped[0] = len(results) < len(parts)
        pool.shutdown(cancel_futures=True)


def encode(planes: Sequence[Plane], network: CoefficientNetwork | None, progress: Callable[[int], None]) -> list[bytes]:
    """A payload for every band of one to four planes. progress: is told of numbers of coefficients."""

    def encode_band(stopped: npt.NDArray[np.bool_], part: Sequence[Plane]) -> bytes:
        room = sum(plane.coefficients.size for plane in part) + 1024
        while True:
            stream = np.zeros(room, np.uint8)
            count = _run(part, stream, False, network, stopped)
            if count <= room or stopped[0]:
                return stream[:count].tobytes()
            room *= 8

    return _side_by_side(encode_band, _parts(planes, network is None), progress)


def costs(planes: Sequence[Plane], network: CoefficientNetwork | None) -> list[npt.NDArray[np.float32]]:
    """The bits of each block of each plane, (rows, columns), in `encode`."""

    def costs_of_band(stopped: npt.NDArray[np.bool_], part: Sequence[Plane]) -> list[npt.NDArray[np.float32]]:
        bits = [np.zeros(plane.coefficients.shape[:2], np.float32) for plane in part]
        _run(part, np.zeros(16 * sum(plane.coefficients.size for plane in part), np.uint8), False, network, stopped, bits)
        return bits

    found = _side_by_side(costs_of_band, _parts(planes, network is None), lambda _: None)
    return [np.concatenate(bits) for bits in zip(*found, strict=True)]


def records(planes: Sequence[Plane], every: int) -> npt.NDArray[np.int16]:
    """What training sees of every so many-th coefficient and end: (records, FEATURES + 3), features, place, value, whether it is not 0
    for sure. Values have the sign that is expected, or are negative."""
    found = np.zeros((sum(plane.coefficients.size + 1 for plane in planes) * 65 // 64 // every + 1, FEATURES + 3), np.int16)
    return found[: _run(planes, np.zeros(0, np.uint8), False, None, np.zeros(1, np.bool_), records=found, every=every)]


def decode(
    payloads: Sequence[bytes],
    sizes: Sequence[Size],
    steps: Sequence[npt.NDArray[np.int64]],
    network: CoefficientNetwork | None,
    progress: Callable[[int], None],
    wanted: slice | None = None,
) -> list[Blocks]:
    """The inverse of `encode`, which gave as many payloads as `bands` says. wanted: rows of blocks of the first plane, if not all are;
    bands without any of them are 0. Raises DamagedError where a payload is not what an encoder writes."""

    def decode_band(stopped: npt.NDArray[np.bool_], part: Sequence[Plane], payload: bytes) -> None:
        stream = np.frombuffer(payload, np.uint8).copy()
        count = _run(part, stream, True, network, stopped)
        if count != len(payload) and not stopped[0]:
            msg = "a payload is damaged: it is not what an encoder writes"
            raise DamagedError(msg)

    found, alone = [np.zeros((*size, 64), np.int16) for size in sizes], network is None
    # Whole rows of an array lie side by side, so that these are the arrays themselves.
    wanted, parts, of_parts = wanted or slice(0, sizes[0][0]), [], []
    for k, (band, least) in enumerate(zip(_bands(sizes, alone), least_bytes(sizes, alone), strict=True)):
        if band[0].start < wanted.stop and wanted.start < band[0].stop:
            require(len(payloads[k]) >= least, "a payload of it is too short for its blocks")
            parts.append([Plane(q, blocks[rows]) for q, blocks, rows in zip(steps, found, band, strict=True)])
            of_parts.append(payloads[k])
    _side_by_side(decode_band, parts, progress, of_parts)
    return found


def beginnings_differ(payloads: Sequence[bytes], planes: Sequence[Plane], network: CoefficientNetwork | None) -> bool:
    """Whether another CHECKED_ROWS of blocks of the first plane stand at the beginning of any payload."""

    def differs(stopped: npt.NDArray[np.bool_], part: Sequence[Plane], payload: bytes) -> bool:
        steps, expected = part[0].steps, part[0].coefficients[:CHECKED_ROWS]
        found = np.zeros_like(expected)
        _run([Plane(steps, found)], np.frombuffer(payload, np.uint8).copy(), True, network, stopped)
        return not np.array_equal(found, expected)

    return any(_side_by_side(differs, _parts(planes, network is None), lambda _: None, payloads))
