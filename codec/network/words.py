"""Tokens <-> words: by compiled kernels, or by constriction where numba is missing; the words are the same."""

import numpy as np

from bitstream.errors import DamagedError
from bitstream.range_coder import FAILURES, NOT_ENDED, TokenDecoder, TokenEncoder, most_cost, payload_of, words_of
from codec.jit import interpreted
from codec.network.engine import Tables, Tokens
from codec.network.groups import Exist
from codec.network.word_kernel import END, FAILURE, FIRST, PLACE, RANGE, decode, encode, end

MORE_WORDS = 2  # than tokens, at most


class Encoder:
    """Of one payload, of so many tokens at most."""

    def __init__(self, tokens: int) -> None:
        self._words = np.empty(tokens + MORE_WORDS, np.uint32)
        self._state, self._numbers = np.array([0, RANGE], np.uint64), np.zeros(3, np.int64)

    def encode(self, tokens: Tokens, tables: Tables, exist: Exist) -> None:
        """Those of tokens (n, channels, tiles) that exist (n, tiles), with tables (n, channels, tiles, 256) of frequencies."""
        encode(tokens, tables, exist, self._state, self._numbers, self._words)

    def payload(self) -> bytes:
        """After all tokens, of which there is one at least."""
        end(self._state, self._numbers, self._words)
        return payload_of(self._words[: self._numbers[PLACE]])


class Decoder:
    """The inverse, handed the same frequencies. Raises DamagedError as `TokenDecoder` does."""

    def __init__(self, payload: bytes) -> None:
        self._words = words_of(payload)
        first, second = (*self._words[:2].tolist(), 0, 0)[:2]
        self._state = np.array([first << 32 | second, RANGE], np.uint64)
        self._numbers = np.array([2, most_cost(self._words), 0], np.int64)

    def decode(self, tables: Tables, exist: Exist, tokens: Tokens) -> None:
        """Those of tokens (tiles) that exist (tiles), with tables (tiles, 256)."""
        decode(tables, exist, self._state, self._numbers, self._words, tokens)
        if self._numbers[FAILURE]:
            raise DamagedError(FAILURES[self._numbers[FAILURE] - 1])

    def finish(self) -> None:
        """After the last token."""
        if self._numbers[PLACE] < len(self._words) or self._state[FIRST] >= END:
            raise DamagedError(NOT_ENDED)


class SlowEncoder:
    """The same by constriction."""

    def __init__(self, tokens: int) -> None:
        self._coder = TokenEncoder()

    def encode(self, tokens: Tokens, tables: Tables, exist: Exist) -> None:
        there = exist[:, None].repeat(tokens.shape[1], 1)
        self._coder.encode(tokens[there], tables[there])

    def payload(self) -> bytes:
        return self._coder.payload()


class SlowDecoder:
    """The same by constriction."""

    def __init__(self, payload: bytes) -> None:
        self._coder = TokenDecoder(payload)

    def decode(self, tables: Tables, exist: Exist, tokens: Tokens) -> None:
        if exist.any():
            tokens[exist] = self._coder.decode(tables[exist])

    def finish(self) -> None:
        self._coder.finish()


def encoder(tokens: int) -> Encoder | SlowEncoder:
    return SlowEncoder(tokens) if interpreted() else Encoder(tokens)


def decoder(payload: bytes) -> Decoder | SlowDecoder:
    """Raises DamagedError where the payload is not made of whole words."""
    return SlowDecoder(payload) if interpreted() else Decoder(payload)
