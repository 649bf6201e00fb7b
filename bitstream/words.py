"""Tokens <-> words: constriction's queue range coder, driven with exactly our frequencies.

With `perfect=False`, "probabilities" that are whole numbers summing to 2^24 - n over n symbols give each symbol the frequency that number
plus one (constriction leaves one unit to every symbol and shares out the rest in proportion), so `frequency - 1` is what it is handed.
"""

import constriction
import numpy as np
import numpy.typing as npt

from bitstream.constants import WORD_BYTES
from bitstream.errors import DamagedError

Tokens = npt.NDArray[np.int32]
Frequencies = npt.NDArray[np.int32]

_CATEGORICAL = constriction.stream.model.Categorical(perfect=False)


def _counts(frequencies: Frequencies) -> npt.NDArray[np.float32]:
    """All below 2^24, so exact in float32."""
    return (frequencies - 1).astype(np.float32)


class TokenEncoder:
    """First in, first out: tokens are decoded in the order in which they were encoded."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def encode(self, tokens: Tokens, frequencies: Frequencies) -> None:
        """tokens (n,), frequencies (n, tokens), each row summing to 2^24 and none zero."""
        self._coder.encode(np.ascontiguousarray(tokens), _CATEGORICAL, _counts(frequencies))

    def payload(self) -> bytes:
        words: npt.NDArray[np.uint32] = self._coder.get_compressed()
        return words.astype("<u4").tobytes()


class TokenDecoder:
    """The inverse of TokenEncoder, handed the same frequencies."""

    def __init__(self, payload: bytes) -> None:
        words = np.frombuffer(payload, dtype="<u4", count=len(payload) // WORD_BYTES).astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def decode(self, frequencies: Frequencies) -> Tokens:
        """frequencies (n, tokens) -> tokens (n,). Raises DamagedError where no encoder wrote such words."""
        try:
            tokens: Tokens = self._coder.decode(_CATEGORICAL, _counts(frequencies))
        except AssertionError as error:
            msg = "the payload is damaged: it decodes to no token"
            raise DamagedError(msg) from error
        return tokens

    @property
    def exhausted(self) -> bool:
        """Whether the words may have been used up; False means that some are left over for certain."""
        exhausted: bool = self._coder.maybe_exhausted()
        return exhausted
