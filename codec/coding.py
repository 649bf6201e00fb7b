"""Tiles <-> payloads: context, network, frequencies and words, encode and decode side by side.

The tokens of a group are ordered by position, then channel, then tile; positions that do not exist in a tile are left out. So the decoder
can take one position of all tiles at a time, and the encoder, which knows everything, computes the hidden states of whole tiles first.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bitstream.constants import ALPHABET
from bitstream.errors import DamagedError
from bitstream.words import TokenDecoder, TokenEncoder
from codec.context import CENTRE, POSITIONS, SIDE, TileContext, samples_of
from codec.network.integer import IntegerImageGPT
from codec.palette import Palette, Tokens
from codec.planes import Kind
from codec.tiles import Samples, Windows

ENCODED_TILES = {"cpu": 12, "cuda": 256}  # in one parallel pass
ENCODED_ROWS = {"cpu": 1 << 12, "cuda": 1 << 16}  # frequency tables at once, per channel
DECODED_TILES = {"cpu": 256, "cuda": 1 << 14}  # in lockstep
IMPOSSIBLE = -(1 << 20)  # a logit that leaves nothing but the least frequency

Extents = npt.NDArray[np.int64]  # (tiles, 2): rows and columns that exist
Progress = Callable[[int], None]  # told how many more pixels are done
TokensAt = Callable[[int, int, Tensor, Tensor], Tensor]


def present(extents: Extents, position: int) -> npt.NDArray[np.bool_]:
    """Which tiles have the position: (tiles,)."""
    y, x = divmod(position, SIDE)
    found: npt.NDArray[np.bool_] = (extents[:, 0] > y) & (extents[:, 1] > x)
    return found


def positions_needed(extents: Extents) -> int:
    """One more than the last position that any of the tiles has."""
    return int(((extents[:, 0] - 1) * SIDE + extents[:, 1]).max())


@dataclass(frozen=True)
class Cells:
    """The tokens of tiles, whose pixels are known to lie in the cells of a palette. tokens: (tiles, POSITIONS)."""

    palette: Palette
    tokens: Tokens

    def restricted(self, logits: Tensor, tokens: Tokens, known: list[npt.NDArray[np.int64]], predictions: Tensor, channels: int) -> Tensor:
        """Logits (rows, 256) without those of samples outside of the cells. tokens (rows): of the cells; known: the pixels' first samples,
        each (rows), in coding order; predictions (rows): that the next sample's residuals are to, modulo 256.
        """
        low, high = (torch.from_numpy(bound).to(logits.device)[:, None] for bound in self.palette.bounds(tokens, known, channels))
        samples = samples_of(torch.arange(ALPHABET, device=logits.device), predictions.long()[:, None])
        return logits.masked_fill((samples < low) | (samples > high), IMPOSSIBLE)


@dataclass(frozen=True)
class Group:
    """Tiles that are coded together. extents: as above; windows: for a surrounded kind, the chroma around each tile; cells: where their
    pixels are known to be."""

    kind: Kind
    extents: Extents
    windows: Windows | None = None
    cells: Cells | None = None


def encode_group(network: IntegerImageGPT, group: Group, samples: Samples, progress: Progress) -> bytes:
    """The payload of a group's (tiles, channels, POSITIONS) samples."""
    encoder = TokenEncoder()
    for tokens, tables in tokens_and_frequencies(network, group, samples, progress):
        encoder.encode(tokens, tables)
    return encoder.payload()


def tokens_and_frequencies(
    network: IntegerImageGPT, group: Group, samples: Samples, progress: Progress
) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
    """A group's tokens in coding order with the frequencies they are coded with, in parts: (n,) and (n, 256)."""
    kind, extents = group.kind, group.extents
    tiles, needed = len(samples), positions_needed(extents)
    hidden, features, tokens = hidden_states(network, group, samples, progress)
    at_once = max(1, ENCODED_ROWS[network.device.type] // tiles)
    for start in range(0, needed, at_once):
        span = slice(start, min(start + at_once, needed))
        rows = hidden[span].flatten(0, 1)
        logits = [network.logits(rows, features[c][span].flatten(0, 1), head) for c, head in enumerate(kind.heads)]
        if group.cells:
            now = samples[:, :, span].transpose(1, 2, 0).astype(np.int64)  # (channels, positions, tiles)
            flat = [*now.reshape(len(now), -1)]
            seen = group.cells.tokens[:, span].T.reshape(-1)
            for c, token in enumerate(tokens):
                predictions = torch.from_numpy(flat[c]).to(token.device) - token[span].flatten() + CENTRE
                logits[c] = group.cells.restricted(logits[c], seen, flat[:c], predictions, kind.channels)
        tables = torch.stack([network.frequencies(x).view(-1, tiles, ALPHABET) for x in logits], 1).cpu().numpy()
        ordered = torch.stack([t[span] for t in tokens], 1).cpu().numpy()  # (positions, channels, tiles)
        exist = np.stack([present(extents, p) for p in range(needed)[span]])[:, None].repeat(kind.channels, 1)
        if exist.all():
            yield ordered.reshape(-1), tables.reshape(-1, ALPHABET)
        else:
            yield ordered[exist], tables[exist]


def hidden_states(
    network: IntegerImageGPT, group: Group, samples: Samples, progress: Progress
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The parallel pass over every tile, down to the last row that any has; here goes most of the encoder's time.

    Returns the hidden states (positions, tiles, n_embd) int8, and per channel the head features (positions, tiles, HEAD_FEATURES) int8 and
    the tokens (positions, tiles) int32.
    """
    count = int(group.extents[:, 0].max()) * SIDE
    hidden, features, tokens = [], [], []
    at_once = ENCODED_TILES[network.device.type]
    for first in range(0, len(samples), at_once):
        part = slice(first, first + at_once)
        windows = None if group.windows is None else torch.from_numpy(group.windows[part]).to(network.device)
        context = TileContext(torch.from_numpy(samples[part]).to(network.device), group.kind, windows)
        hidden.append(network.hidden_of_tiles(context.features[:, :count]))
        features.append([f[:, :count] for f in context.head_features])
        tokens.append([t[:, :count] for t in context.tokens])
        progress(int(group.extents[part].prod(1).sum()))

    def joined(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts)).transpose(0, 1).contiguous()

    by_channel = [[joined(parts) for parts in zip(*of, strict=True)] for of in (features, tokens)]
    return joined(hidden), by_channel[0], by_channel[1]


def decode_groups(
    network: IntegerImageGPT, groups: Sequence[Group], payloads: Sequence[bytes], progress: Progress, positions: int = POSITIONS
) -> list[Samples]:
    """The samples of several groups of a kind, decoded in lockstep; positions: as in `step_through`.

    Raises DamagedError where a payload is not what an encoder writes.
    """
    decoders = [TokenDecoder(payload) for payload in payloads]
    bounds = np.cumsum([0, *(len(group.extents) for group in groups)])
    parts = [slice(first, last) for first, last in itertools.pairwise(bounds)]
    extents = np.concatenate([group.extents for group in groups])
    windows = [group.windows for group in groups if group.windows is not None]
    cells = [group.cells for group in groups if group.cells]
    seen = Cells(cells[0].palette, np.concatenate([c.tokens for c in cells])) if cells else None
    together = Group(groups[0].kind, extents, np.concatenate(windows) if windows else None, seen)

    def read_tokens(position: int, channel: int, predictions: Tensor, logits: Tensor) -> Tensor:
        tables = network.frequencies(logits).cpu().numpy()
        exist = present(extents, position)
        tokens = np.zeros(len(extents), np.int32)
        for decoder, part in zip(decoders, parts, strict=True):
            found = exist[part]
            if found.any():
                tokens[part][found] = decoder.decode(tables[part] if found.all() else tables[part][found])
        return torch.from_numpy(tokens).to(logits.device)

    samples = step_through(network, together, read_tokens, progress, positions)
    if positions >= positions_needed(extents) and not all(decoder.exhausted for decoder in decoders):
        msg = "a payload is damaged: words are left over"
        raise DamagedError(msg)
    return [samples[part] for part in parts]


def step_through(network: IntegerImageGPT, group: Group, tokens_at: TokensAt, progress: Progress, positions: int = POSITIONS) -> Samples:
    """Builds tiles position by position, each token from the logits that all before it lead to: the decoder, and the sampler.

    tokens_at: called with position, channel, predictions (tiles) and logits (tiles, 256); gives the tokens (tiles) int32. positions: so
    many at most; what follows is undefined.
    """
    tiles = len(group.extents)
    windows = None if group.windows is None else torch.from_numpy(group.windows)
    steps, cache = network.steps(group.kind, tiles, windows), network.cached(tiles)
    for position in range(min(positions, positions_needed(group.extents))):
        exist = present(group.extents, position)
        hidden = cache.hidden(steps.features(position), position)
        for channel, head in enumerate(group.kind.heads):
            prediction, features = steps.head(channel)
            logits = network.logits(hidden, features, head)
            if group.cells:
                known = [x.cpu().numpy().astype(np.int64) for x in steps.samples[:, :channel, position].unbind(1)]
                logits = group.cells.restricted(logits, group.cells.tokens[:, position], known, prediction, group.kind.channels)
            steps.accept(channel, tokens_at(position, channel, prediction, logits), exist)
        progress(int(exist.sum()))
    samples: Samples = steps.tiles()
    return samples
