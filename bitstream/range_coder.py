"""Tokens <-> words: constriction's queue range coder, driven with exactly our frequencies.

With `perfect=False`, "probabilities" that are whole numbers summing to 2^24 - n over n symbols give each symbol the frequency that number
plus one (constriction leaves one unit to every symbol and shares out the rest in proportion), so `frequency - 1` is what it is handed.
"""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from bitstream.constants import FREQUENCY_BITS, FREQUENCY_TOTAL, WORD_BYTES
from bitstream.errors import DamagedError, ModelError

Tokens = npt.NDArray[np.int32]
Frequencies = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint32]
Costs = npt.NDArray[np.int64]  # in bits / 2^24

FAILURES = (
    "a payload is damaged: it decodes to no token",
    "a payload is damaged: its tokens take more than it holds",
    "a payload is damaged: it does not end with its last token",
)
NO_TOKEN, TOO_COSTLY, NOT_ENDED = FAILURES


@functools.cache
def _constriction() -> tuple[Any, Any]:
    """Its queue coders, and its model of frequencies. Raises ModelError where it is not installed: it is not made for every machine, and
    compiled kernels do without it."""
    try:
        import constriction
    except ImportError as error:
        msg = "words without compiled kernels, and those of published models, need constriction: `pip install constriction` first"
        raise ModelError(msg) from error
    return constriction.stream.queue, constriction.stream.model.Categorical(perfect=False)


def _counts(frequencies: Frequencies) -> npt.NDArray[np.float32]:
    """All below 2^24, so exact in float32."""
    return (frequencies - 1).astype(np.float32)


def least_costs(frequencies: Frequencies) -> Costs:
    """At least so much does a token of this frequency cost, in bits / 2^24: less than 24 - log2(frequency) bits, by at most 0.29 bits.

    Doubled k times, a frequency is above 2^23; then the logarithm is nowhere above its tangent at 2^24, whose slope 1 / ln(2) is more than
    23 / 16.
    """
    doublings = FREQUENCY_BITS - np.frexp((frequencies - 1).astype(np.float64))[1].astype(np.int64)  # frexp's exponents are bit lengths
    below = FREQUENCY_TOTAL - (frequencies.astype(np.int64) << doublings)
    costs: Costs = (doublings << FREQUENCY_BITS) + (below * 23 >> 4)
    return costs


def words_of(payload: bytes) -> Words:
    """Raises DamagedError where it is not made of whole words."""
    if len(payload) % WORD_BYTES:
        msg = "a payload is damaged: it does not end with a whole word"
        raise DamagedError(msg)
    words: Words = np.frombuffer(payload, "<u4").astype(np.uint32)
    return words


def payload_of(words: Words) -> bytes:
    return words.astype("<u4").tobytes()


def most_cost(words: Words) -> int:
    """Of the tokens of a payload, in bits / 2^24."""
    return 8 * WORD_BYTES * len(words) << FREQUENCY_BITS


class TokenEncoder:
    """First in, first out: tokens are decoded in the order in which they were encoded."""

    def __init__(self) -> None:
        queue, self._categorical = _constriction()
        self._coder = queue.RangeEncoder()

    def encode(self, tokens: Tokens, frequencies: Frequencies) -> None:
        """tokens (n,), frequencies (n, tokens), each row summing to 2^24 and none zero."""
        self._coder.encode(np.ascontiguousarray(tokens), self._categorical, _counts(frequencies))

    def payload(self) -> bytes:
        words: Words = self._coder.get_compressed()
        return payload_of(words)


class TokenDecoder:
    """The inverse of TokenEncoder, handed the same frequencies.

    constriction reads zeros where words are missing, and never ends. But tokens that cost n bits take n bits of words: each shrinks the
    range to frequency / 2^24 of it or less; the range begins below 2^64, ends at 2^32 or more, and is multiplied by 2^32 for every word
    but the last one or two. So a payload is refused as soon as its tokens cost more than it holds.
    """

    def __init__(self, payload: bytes) -> None:
        """Raises DamagedError where it is not made of whole words."""
        words = words_of(payload)
        queue, self._categorical = _constriction()
        self._coder = queue.RangeDecoder(words)
        self._left = most_cost(words)

    def decode(self, frequencies: Frequencies) -> Tokens:
        """frequencies (n, tokens) -> tokens (n,). Raises DamagedError where no encoder wrote such words."""
        try:
            tokens: Tokens = self._coder.decode(self._categorical, _counts(frequencies))
        except AssertionError as error:
            raise DamagedError(NO_TOKEN) from error
        self._left -= int(least_costs(frequencies[np.arange(len(tokens)), tokens]).sum())
        if self._left < 0:
            raise DamagedError(TOO_COSTLY)
        return tokens

    def finish(self) -> None:
        """After the last token. Raises DamagedError where words are left over, or it cannot end so."""
        if not self._coder.maybe_exhausted():
            raise DamagedError(NOT_ENDED)
