"""What kernels do on the GPU where a network runs in plain torch: the words of groups of tiles, as in `coding`, so that no frequencies
travel; and attention, a position at a time. Kernels run on the CPU too, under numba's simulator.
"""

import functools
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bitstream import range_coder
from bitstream.constants import FREQUENCY_TOTAL
from bitstream.errors import DamagedError
from bitstream.range_coder import most_cost, payload_of, words_of
from codec import jit
from codec.network.arithmetic import exp2_table
from codec.network.attention import CachedAttention
from codec.network.config import ModelConfig
from codec.network.engine import Impossible
from codec.network.groups import Exist, Turn, positions_needed, present
from codec.network.limits import EXPONENT_STEPS
from codec.network.plain import PlainEngine, PlainSteps
from codec.network.words import encoder
from codec.progress import Progress
from codec.tiling.context import SIDE
from codec.tiling.tiles import TileSamples

TESTED = ModelConfig(n_embd=48, n_head=3, n_inner=16, head_inner=16, attention_window=5, n_layer=2)

log = logging.getLogger("igpt")


@functools.cache
def why_not() -> str:
    """Nothing where kernels make on the GPU what is made on the CPU, else the reason; a warning tells it, once."""
    try:
        from numba.cuda.cudadrv import driver, error
    except (ImportError, OSError) as reason:  # no numba, or not its CUDA
        return _told(str(reason))
    if not hasattr(driver, "Driver"):
        return _told("numba simulates it (NUMBA_ENABLE_CUDASIM)")
    of_cuda = tuple(kind for kind in vars(error).values() if isinstance(kind, type) and issubclass(kind, Exception))
    try:
        return "" if codes_exactly("cuda") and attends_exactly("cuda") else _told("they do not compute exactly on this machine")
    except (*of_cuda, ImportError, OSError, RuntimeError, TypeError, jit.numba.core.errors.NumbaError) as reason:
        # a TypeError may be numba's, whose versions differ in what they can compile
        return _told(" ".join(str(reason).split())[:200])


def _told(reason: str) -> str:
    log.warning("the GPU has no kernels for words and attention, which takes several times as long: %s", reason)
    return reason


def codes_exactly(device: str) -> bool:
    """Whether the range coder's kernels make on a device the words that are made here, of large and small frequencies, and read them."""
    counts, alphabet = np.array([1, 40, 23]), 96
    total, tokens = int(counts.sum()), np.arange(int(counts.sum())) * 37 % 96
    tables = np.ones((total, alphabet), np.int64) + (np.arange(total)[:, None] * 7919 + np.arange(alphabet) * 104729) % 90_001
    tables[:, 11] += FREQUENCY_TOTAL - tables.sum(1)
    tables[1::3] = 1
    tables[1::3, 41] = FREQUENCY_TOTAL - alphabet + 1
    rows, bounds = torch.from_numpy(tables.astype(np.int32)).to(device), np.cumsum([0, *counts])
    payloads = encoded(spans_of(torch.from_numpy(tokens).to(device), rows), bounds)
    for payload, first, last in zip(payloads, bounds, bounds[1:], strict=False):
        here = encoder(last - first)
        own, frequencies = (of[first:last, None, None].astype(np.int32) for of in (tokens, tables))
        here.encode(own, frequencies, np.ones((last - first, 1), np.bool_))
        if here.payload() != payload:
            return False
    decoders, found = Decoders(payloads, device), torch.zeros(total, dtype=torch.int32, device=device)
    decoders.begin(dict(enumerate(pairwise(bounds.tolist()))), {})
    decoders.decode(rows, torch.ones(total, dtype=torch.bool, device=device), found)
    try:
        decoders.finish()
    except DamagedError:
        return False
    return np.array_equal(found.cpu().numpy(), tokens)


def attends_exactly(device: str) -> bool:
    """Whether attention is on a device what it is in torch on the CPU, until the ring has gone round, at the extremes too."""
    tiles, scale = 3, (3, 8)
    here, there = CachedAttention(TESTED, tiles, torch.device("cpu")), KernelAttention(TESTED, tiles, torch.device(device))
    for position in range(TESTED.attention_window + 2):
        numbers = np.arange(tiles * 3 * TESTED.n_embd).reshape(tiles, -1) * (position * 7919 + 31) % 104729 % 255 - 127
        numbers[0] = np.where(numbers[0] < 0, -127, 127)
        for layer in range(TESTED.n_layer):
            qkv = torch.from_numpy((numbers >> layer).astype(np.int8))
            for attention in (here, there):
                attention.position.fill_(position)
            if not torch.equal(here(layer, qkv, *scale), there(layer, qkv.to(device), *scale).cpu()):
                return False
    return True


class KernelAttention(CachedAttention):
    """As it is in torch."""

    def _attended(self, qkv: Tensor, keys: Tensor, values: Tensor, multiplier: int, shift: int) -> Tensor:
        from codec.network.gpu_kernels import THREADS, attend

        table, out = exp2_table(EXPONENT_STEPS, self.top, qkv.device), torch.empty_like(qkv[:, : self.config.n_embd])
        arrays = _arrays(qkv, keys, values, self.position, table, out)
        _launcher(attend, (self.tiles, self.config.n_head), THREADS, qkv.device)(*arrays[:-1], multiplier, shift, arrays[-1])
        return out


def encode_groups(engine: PlainEngine, groups: Sequence[Sequence[tuple[Turn, TileSamples]]], rows: int, progress: Progress) -> list[bytes]:
    """The payload of each group, of its turns with their samples. rows: frequency tables at once, per channel."""
    spans = [torch.cat([part for turn in turns for part in _spans(engine, *turn, rows, progress)], 1) for turns in groups]
    return encoded(torch.cat(spans, 1), np.cumsum([0, *(of.shape[1] for of in spans)]))


def _spans(engine: PlainEngine, turn: Turn, samples: TileSamples, rows: int, progress: Progress) -> Iterator[Tensor]:
    """`spans_of` a turn's tokens in coding order, in parts; a turn is one parallel pass."""
    kind, extents = turn.kind, turn.extents
    count, needed, at_once = int(extents[:, 0].max()) * SIDE, positions_needed(extents), max(1, rows // len(samples))
    context = engine.context(kind, samples, turn.around)
    hidden = engine.hidden_of_tiles(context.features[:, :count]).swapaxes(0, 1)
    features = [of.swapaxes(0, 1) for of in context.head_features]
    tokens = torch.stack([of.t() for of in context.tokens], 1)  # (positions, channels, tiles)
    progress(int(extents.prod(1).sum()))
    seen = tokens.cpu().numpy() if turn.cells else None
    for start in range(0, needed, at_once):
        span = slice(start, min(start + at_once, needed))
        impossible = turn.cells.impossible_in(span, samples, seen) if turn.cells and seen is not None else None
        tables = engine.tables(kind, hidden[span], [of[span] for of in features], impossible)
        spans = spans_of(tokens[span], tables)
        exist = present(extents, np.arange(span.start, span.stop))[:, None].repeat(kind.channels, 1)
        yield spans.flatten(1) if exist.all() else spans[:, torch.from_numpy(exist).to(spans.device)]


def spans_of(tokens: Tensor, tables: Tensor) -> Tensor:
    """What a range coder must know of tokens (...) of tables (..., alphabet) int32: (2, ...) int32, the sum of the frequencies of lower
    values, and their own."""
    places = tokens.long()[..., None]
    own = tables.gather(-1, places)[..., 0]
    return torch.stack([tables.cumsum(-1, dtype=torch.int32).gather(-1, places)[..., 0] - own, own])


def encoded(spans: Tensor, bounds: npt.NDArray[np.int64]) -> list[bytes]:
    """The payloads of tokens, whose spans (2, tokens) are known; bounds (payloads + 1): a payload's tokens are those from one to before the
    next."""
    from bitstream import gpu_coder

    payloads, device = len(bounds) - 1, spans.device
    words = torch.empty(spans.shape[1] + payloads * gpu_coder.MORE_WORDS, dtype=torch.uint32, device=device)
    counts, edges = torch.empty(payloads, dtype=torch.int64, device=device), torch.from_numpy(bounds).to(device)
    _launcher(gpu_coder.encode, payloads, 1, device)(*_arrays(spans[0], spans[1], edges, words, counts))
    starts = bounds[:-1] + np.arange(payloads) * gpu_coder.MORE_WORDS
    ends = starts + counts.cpu().numpy()
    return [payload_of(words[first:last].cpu().numpy()) for first, last in zip(starts.tolist(), ends.tolist(), strict=True)]


class Decoders:
    """As `coding.Decoders`, of steps in plain torch. A failure is noticed at the end of a row of the tiles.

    Raises DamagedError as those do, of the same payload, with the same words.
    """

    def __init__(self, payloads: Sequence[bytes], device: str = "cuda") -> None:
        from bitstream import gpu_coder

        words = [words_of(payload) for payload in payloads]
        states, numbers = np.empty((len(words), 2), np.uint64), np.zeros((len(words), 7), np.int64)
        place = 0
        for own, number, some in zip(states, numbers, words, strict=True):
            first, second = (*some[:2].tolist(), 0, 0)[:2]
            own[gpu_coder.OFFSET], own[gpu_coder.SIZE] = first << 32 | second, gpu_coder.RANGE
            number[: gpu_coder.CALLS] = 0, 0, place + 2, place + len(some), most_cost(some)
            place += len(some)
        self._words = torch.from_numpy(np.concatenate([*words, np.zeros(1, np.uint32)])).to(device)  # never empty
        self._states, self._numbers = torch.from_numpy(states).to(device), torch.from_numpy(numbers).to(device)
        self._read = _launcher(gpu_coder.decode, len(words), gpu_coder.THREADS, self._words.device)
        self._end = _launcher(gpu_coder.finish, len(words), 1, self._words.device)
        self._arrays = _arrays(self._words, self._states, self._numbers)

    def begin(self, parts: dict[int, tuple[int, int]], learning: dict[int, Turn]) -> None:
        """As `coding.Decoders.begin`; nothing is learnt."""
        tiles = np.zeros((len(self._numbers), 2), np.int64)
        for place, part in parts.items():
            tiles[place] = part
        self._numbers[:, :2] = torch.from_numpy(tiles)

    def accept(self, position: int, channel: int, steps: PlainSteps, impossible: Impossible | None, exist: Exist) -> None:
        """Hands the steps their tokens. Raises DamagedError."""
        steps.exist.copy_(torch.from_numpy(exist), non_blocking=True)
        self.decode(steps.table_there(impossible), steps.exist, steps.tokens)
        steps.take()
        if position % SIDE == SIDE - 1:
            self._check()

    def decode(self, tables: Tensor, exist: Tensor, tokens: Tensor) -> None:
        """tables: (tiles, alphabet) int32; exist: (tiles) bool; tokens: (tiles) int32, of which those that exist are set."""
        ends, there, found = _arrays(tables.cumsum(1, dtype=torch.int32), exist, tokens)
        self._read(ends, there, *self._arrays, found)

    def finish(self) -> None:
        """After the last token. Raises DamagedError."""
        self._end(*self._arrays[1:])
        self._check()

    def _check(self) -> None:
        """Raises DamagedError for the payload that failed first."""
        from bitstream.gpu_coder import CALLS, FAILURE

        numbers = self._numbers.cpu().numpy()
        failed = numbers[numbers[:, FAILURE] > 0]
        if len(failed):
            first = failed[failed[:, CALLS].argmin()]
            raise DamagedError(range_coder.FAILURES[first[FAILURE] - 1])


def _arrays(*tensors: Tensor) -> list[Any]:
    """What kernels take: the tensors' memory, where it lies."""
    if not tensors[0].is_cuda:
        return [tensor.numpy() for tensor in tensors]
    from numba.cuda import as_cuda_array

    as_array: Any = as_cuda_array
    return [as_array(tensor) for tensor in tensors]


def _launcher(kernel: Any, blocks: int | tuple[int, int], threads: int, device: torch.device) -> Callable[..., None]:
    """What launches a kernel, after what torch was told to do before."""
    from numba import cuda

    stream = cuda.external_stream(torch.cuda.current_stream().cuda_stream) if device.type == "cuda" else cuda.stream()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are few blocks
        launcher: Callable[..., None] = kernel[blocks, threads, stream]
    return launcher
