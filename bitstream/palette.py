"""Palettes <-> bytes: the entries of a PNG's PLTE, every component coded with a mix of what several guesses say of it.

A guess is a value and a scale: what is nearer to the value is likelier. `FORMAT.md` gives the meaning of all numbers here. The mix is
Bayes' rule with a fixed share (Herbster and Warmuth 1998). All numbers are integers: those in float64 are below 2^50, and what they are
divided by is below 2^35, so that a quotient below 2^17 rounds down as it should.
"""

import bisect
import functools

import numpy as np
from numpy.typing import NDArray

from bitstream.container import require
from bitstream.reader import Reader

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_ENTRIES = 256
ONE = 1 << 16
RATIOS = (0, 84, 445, 734, 904, 974, 1007)  # by scale: how fast likelihood falls with distance, in 1024ths
STEP_RATIO = 974
STEP_SIZES = (1, 3, 9, 30)  # the borders of what is told apart
TAPS = np.array([1, 2, 5, 11, 26, 60, 138, 318, 138, 60, 26, 11, 5, 2, 1])  # of what is near to a value
NEARNESS = (1 << 22) // (6 + np.arange(511)) ** 3 + 1  # by distance
LATER = np.arange(256)
WHOLE = 1024
HEADS = np.array([52480.0, 6528.0, 6528.0])  # plain, by low bits, by values
WEIGHT_SHARE, HEAD_SHARE = 32, 64  # one part in so many comes back from the beginning
# By channel: weights in 1024ths, of every guess by scale, and of what is counted
PRIORS: tuple[tuple[tuple[tuple[int, ...], ...], tuple[int, ...]], ...] = (
    (
        (
            (8, 7, 17, 61, 32, 84, 116),  # the entry before
            (47, 18, 16, 0, 0, 0, 0),  # the line of the last two
            (0, 0, 0, 12, 0, 8, 20),  # the second before
            (0, 0, 0, 6, 0, 11, 17),  # the third before
        ),
        (55, 149, 84, 175, 81),  # nothing, steps, steps after such a one, values, what is near
    ),
    (
        (
            (0, 0, 0, 22, 16, 0, 17),  # the entry before
            (11, 16, 0, 0, 0, 0, 0),  # the line of the last two
            (31, 0, 10, 9, 7, 16, 9),  # the entry before, moved by the step of red
            (106, 0, 0, 0, 7, 20, 11),  # red
            (0, 0, 0, 0, 7, 13, 0),  # the nearest entry
            (21, 0, 12, 26, 81, 38, 0),  # the nearest, moved
            (0, 0, 0, 0, 0, 0, 10),  # the second nearest
        ),
        (4, 33, 185, 84, 13, 189),  # nothing, steps, steps after such a one, values, what is near, and that moved
    ),
    (
        (
            (0, 0, 0, 0, 0, 0, 0),  # the entry before
            (7, 16, 0, 0, 0, 0, 0),  # the line of the last two
            (42, 0, 8, 0, 13, 14, 0),  # the entry before, moved by the step of green
            (94, 0, 0, 0, 0, 0, 0),  # green
            (7, 0, 0, 16, 29, 15, 0),  # the nearest entry
            (34, 0, 10, 34, 58, 29, 0),  # the nearest, moved
            (7, 0, 0, 0, 28, 0, 0),  # the second nearest
        ),
        (10, 28, 141, 80, 53, 251),  # nothing, steps, steps after such a one, values, what is near, and that moved
    ),
)


def pack(entries: bytes) -> bytes:
    """entries: 1 to 256 times red, green, blue."""
    count = len(entries) // 3
    if len(entries) % 3 or not 1 <= count <= MOST_ENTRIES:
        msg = f"a palette has 1 to {MOST_ENTRIES} entries of 3 bytes, this one has {len(entries)} bytes"
        raise ValueError(msg)
    model, interval = _Model(count), _Interval()
    for k, value in enumerate(entries):
        ends = model.ends(k)
        interval.narrow(int(ends[value - 1]) if value else 0, int(ends[value]), int(ends[-1]))
        model.learn(k, value)
    coded = interval.shortest()
    return bytes([count - 1]) + (coded if len(coded) < len(entries) else entries)


def unpack(body: bytes) -> bytes:
    """Raises DamagedError for all that `pack` does not write, but entries as they are where coded ones were shorter."""
    reader = Reader(body, "the palette")
    count = reader.byte() + 1
    rest = reader.take(reader.remaining)
    if len(rest) == 3 * count:
        return rest
    model, interval, entries = _Model(count), _Interval(), bytearray()
    for k in range(3 * count if len(rest) < 3 * count else 0):
        ends = model.ends(k)
        value = int(np.searchsorted(ends, interval.found(rest, int(ends[-1])), "right"))
        if value == len(ends):
            break
        interval.narrow(int(ends[value - 1]) if value else 0, int(ends[value]), int(ends[-1]))
        model.learn(k, value)
        entries.append(value)
    require(len(entries) == 3 * count and interval.shortest() == rest, "its palette is malformed")
    return bytes(entries)


class _Interval:
    """What a range coder has narrowed down: the numbers of `size` bytes from `low` on, `width` of them."""

    def __init__(self) -> None:
        self.low, self.width, self.size = 0, 1 << 56, 7

    def narrow(self, start: int, end: int, total: int) -> None:
        part = self.width // total
        self.low += part * start
        self.width = part * (end - start)
        while self.width < 1 << 48:
            self.low, self.width, self.size = self.low << 8, self.width << 8, self.size + 1

    def found(self, data: bytes, total: int) -> int:
        """Where in `total` the number lies that `data` begins; zeros follow it. It is `total` or more where it is out of bounds."""
        number = int.from_bytes(data[: self.size].ljust(self.size, b"\0"), "big")
        return (number - self.low) // (self.width // total)

    def shortest(self) -> bytes:
        """The shortest bytes that begin a number inside."""
        drops = range(8 * self.size, -1, -8)  # bits
        drop = next(drop for drop in drops if -(-self.low >> drop) << drop < self.low + self.width)
        return (-(-self.low >> drop)).to_bytes(self.size - drop // 8, "big")


@functools.cache
def _experts(c: int) -> tuple[Ints, Ints, Floats]:
    """Of a channel: every expert's guess, its rows' place in the kernels, and all weights at first, those of the counts last."""
    scaled, counted = PRIORS[c]
    places = [(guess, scale) for guess, weights in enumerate(scaled) for scale, weight in enumerate(weights) if weight]
    weights = [scaled[guess][scale] for guess, scale in places] + list(counted)
    return np.array([g for g, _ in places]), np.array([256 * s for _, s in places]), np.array(weights) * float(ONE // WHOLE)


def _falling(ratio: int) -> list[int]:
    """By distance, 0 to 255."""
    fall = [1 << 20]
    while len(fall) < 256:
        fall.append(fall[-1] * ratio >> 10)
    return fall


@functools.cache
def _kernels() -> Floats:
    """How likely values are, in 2^-16, (scales * guesses, values)."""
    rows = []
    for ratio in RATIOS:
        fall = _falling(ratio)
        kernel = np.array(fall[:0:-1] + fall)
        for guess in range(256):
            row = kernel[255 - guess : 511 - guess]
            rows.append(row * ONE // row.sum())
    return np.array(rows, np.float64)


class _Model:
    """What is known from the components so far, which are numbered 3 * entry + channel."""

    def __init__(self, entries: int) -> None:
        fall = _falling(STEP_RATIO)
        start = np.array([1 + (80 * fall[abs(step)] >> 20) for step in range(-255, 256)])
        self.kernels = _kernels()
        self.entries = np.zeros((entries + 3, 3), np.int64)  # behind three that are black
        self.weights = [_experts(c)[2] for c in range(3)]
        self.heads = [HEADS] * 3
        self.steps = np.tile(start, (3, 1))  # (channels, steps)
        self.steps_after = np.zeros((3, 2 * len(STEP_SIZES) + 1, 511), np.int64)  # by what stepped last
        self.values = np.ones(256)
        self.low_bits = np.full((3, 8), 2.0)
        self.far: Ints = LATER  # of earlier entries, by the channels known

    def ends(self, k: int) -> Floats:
        """Where the parts end that the values have of a whole, (values)."""
        i, c = divmod(k, 3)
        third, second, before, now = self.entries[i : i + 4].tolist()
        step = now[c - 1] - before[c - 1] if c else before[2] - second[2]
        size = bisect.bisect_right(STEP_SIZES, abs(step))
        self.was, self.after = before[c], (c, len(STEP_SIZES) + (size if step > 0 else -size))
        guesses = [before[c], _clipped(2 * before[c] - second[c])]
        counts = np.empty((len(PRIORS[c][1]), 256))
        window = slice(255 - self.was, 511 - self.was)
        counts[0] = 1
        counts[1] = self.steps[c, window]
        counts[2] = (self.steps_after[self.after][window] << 5) + counts[1]
        counts[3] = self.values
        if c:
            guesses += [_clipped(before[c] + step), now[c - 1], *self._near(i, c, now, counts[4:])]
        else:
            guesses += [second[c], third[c]]
            near = np.bincount(self.entries[3 : 3 + i, 0], minlength=256)
            counts[4] = np.convolve(near, TAPS, "same") + 1
        self.rows = np.empty((len(self.weights[c]), 256))  # (experts, values)
        self.rows[: -len(counts)] = self.kernels[np.array(guesses)[_experts(c)[0]] + _experts(c)[1]]
        self.rows[-len(counts) :] = _shares(counts)
        self.mixed = self.weights[c] @ self.rows
        parts = np.empty((3, 256))  # (heads, values)
        parts[0] = np.floor(self.mixed / 4096)
        parts[1] = (parts[0].reshape(32, 8) * self.low_bits[c]).ravel()
        parts[2] = parts[0] * self.values
        self.parts = _shares(parts) + 1
        return np.cumsum(np.floor(self.heads[c] @ self.parts / 4096))

    def _near(self, i: int, c: int, now: list[int], counts: Floats) -> list[int]:
        """Guesses from the two earlier entries that are nearest in the channels known; `counts` gets what all say, the nearer the more."""
        if not i:
            counts[:] = 1
            return [0] * 3
        earlier = self.entries[3 : 3 + i]
        far = np.abs(earlier[:, c - 1] - now[c - 1])
        self.far = far + self.far if c > 1 else far
        said = np.stack((earlier[:, c], earlier[:, c] + now[c - 1] - earlier[:, c - 1]))  # as they are, and moved
        said[1] = np.minimum(np.maximum(said[1], 0), 255)
        ranks = (self.far << 8) - LATER[:i]
        first = int(ranks.argmin())
        ranks[first] = 1 << 20
        second = int(ranks.argmin())
        for k in range(2):
            counts[k] = np.convolve(np.bincount(said[k], NEARNESS[self.far], 256), TAPS, "same") + 1
        return [int(said[0, first]), int(said[1, first]), int(said[0, second])]

    def learn(self, k: int, value: int) -> None:
        i, c = divmod(k, 3)
        self.entries[i + 3, c] = value
        self.weights[c] = _learned(self.weights[c], self.rows[:, value], _experts(c)[2], WEIGHT_SHARE)
        self.heads[c] = _learned(self.heads[c], self.parts[:, value], HEADS, HEAD_SHARE)
        for counts in (self.steps[c], self.steps_after[self.after]):
            counts -= counts >> 5
            counts[value - self.was + 255] += 1 << 12
        self.values[value] += 16
        self.low_bits[c, value % 8] += 5


def _clipped(value: int) -> int:
    return min(max(value, 0), 255)


def _shares(counts: Floats) -> Floats:
    """Of the sum of their row, in 2^-16, rounded down."""
    shares: Floats = np.floor(counts * ONE / counts.sum(1, keepdims=True))
    return shares


def _learned(weights: Floats, said: Floats, start: Floats, share: int) -> Floats:
    """Bayes' rule, and a share of the weights at the start."""
    right = weights * said
    learned: Floats = np.floor(right * (ONE - ONE // share) / right.sum()) + np.floor(start / share)
    return learned
