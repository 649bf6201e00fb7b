"""Tokens <-> words: by compiled kernels, or by constriction where numba is missing; the words are the same."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bitstream.errors import DamagedError
from bitstream.range_coder import FAILURES, NOT_ENDED, TokenDecoder, TokenEncoder, most_cost, payload_of, words_of
from codec.jit import interpreted
from codec.network.engine import Tables, Tokens
from codec.network.groups import Exist
from codec.network.word_kernel import END, FAILURE, FIRST, LAST, LEFT, PLACE, RANGE, decode, encode, end

MORE_WORDS = 2  # than tokens, at most


class Encoder:
    """Of one payload, of so many tokens at most."""

    def __init__(self, tokens: int) -> None:
        self._words = np.empty(tokens + MORE_WORDS, np.uint32)
        self._state, self._numbers = np.array([0, RANGE], np.uint64), np.zeros(4, np.int64)

    def encode(self, tokens: Tokens, tables: Tables, exist: Exist) -> None:
        """Those of tokens (n, channels, tiles) that exist (n, tiles), with tables (n, channels, tiles, 256) of frequencies."""
        encode(tokens, tables, exist, self._state, self._numbers, self._words)

    def payload(self) -> bytes:
        """After all tokens, of which there is one at least."""
        end(self._state, self._numbers, self._words)
        return payload_of(self._words[: self._numbers[PLACE]])


class Decoders:
    """The inverse, of several payloads, handed the same frequencies. Raises DamagedError as `TokenDecoder` does.

    states: (payloads, 2) uint64; numbers: (payloads, 4) int64; words: of all payloads: see `word_kernel`.
    """

    def __init__(self, payloads: Sequence[bytes]) -> None:
        of_each = [words_of(payload) for payload in payloads]
        self.words = np.concatenate([*of_each, np.zeros(1, np.uint32)])  # never empty
        self.states, self.numbers = np.empty((len(of_each), 2), np.uint64), np.zeros((len(of_each), 4), np.int64)
        place = 0
        for state, number, words in zip(self.states, self.numbers, of_each, strict=True):
            first, second = (*words[:2].tolist(), 0, 0)[:2]
            state[:] = first << 32 | second, RANGE
            number[[PLACE, LEFT, LAST]] = place + 2, most_cost(words), place + len(words)
            place += len(words)

    def decode(self, payload: int, tables: Tables, exist: Exist, tokens: Tokens) -> None:
        """Of a payload those of tokens (tiles) that exist (tiles), with tables (tiles, 256)."""
        decode(tables, exist, self.states[payload], self.numbers[payload], self.words, tokens)
        if self.numbers[payload, FAILURE]:
            raise failure(self.numbers[payload])

    def finish(self) -> None:
        """After the last token of each."""
        if (self.numbers[:, PLACE] < self.numbers[:, LAST]).any() or (self.states[:, FIRST] >= END).any():
            raise DamagedError(NOT_ENDED)


def failure(numbers: npt.NDArray[np.int64]) -> DamagedError:
    """Of a decoder that failed."""
    return DamagedError(FAILURES[numbers[FAILURE] - 1])


class SlowEncoder:
    """The same by constriction."""

    def __init__(self, tokens: int) -> None:
        self._coder = TokenEncoder()

    def encode(self, tokens: Tokens, tables: Tables, exist: Exist) -> None:
        there = exist[:, None].repeat(tokens.shape[1], 1)
        self._coder.encode(tokens[there], tables[there])

    def payload(self) -> bytes:
        return self._coder.payload()


class SlowDecoders:
    """The same by constriction."""

    def __init__(self, payloads: Sequence[bytes]) -> None:
        self._coders = [TokenDecoder(payload) for payload in payloads]

    def decode(self, payload: int, tables: Tables, exist: Exist, tokens: Tokens) -> None:
        if exist.any():
            tokens[exist] = self._coders[payload].decode(tables[exist])

    def finish(self) -> None:
        for coder in self._coders:
            coder.finish()


def encoder(tokens: int) -> Encoder | SlowEncoder:
    return SlowEncoder(tokens) if interpreted() else Encoder(tokens)


def decoders(payloads: Sequence[bytes]) -> Decoders | SlowDecoders:
    """Raises DamagedError where a payload is not made of whole words."""
    return SlowDecoders(payloads) if interpreted() else Decoders(payloads)
