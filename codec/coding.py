"""Tiles <-> payloads: context, network, frequencies and words, encode and decode side by side.

The tokens of a group are ordered by position, then channel, then tile; positions that do not exist in a tile are left out. So the decoder
can take one position of all tiles at a time, and the encoder, which knows everything, computes the hidden states of whole tiles first.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bitstream.constants import ALPHABET
from bitstream.errors import DamagedError
from bitstream.words import TokenDecoder, TokenEncoder
from codec.context import (
    FIRST_SAMPLE,
    POSITIONS,
    RESIDUAL_NEIGHBOURS,
    SIDE,
    SLOTS,
    TileContext,
    base_predictions,
    channel_prediction,
    head_features,
    input_features,
    neighbour_slots,
    samples_of,
)
from codec.frequencies import frequencies
from codec.network.integer import CachedAttention, IntegerImageGPT, ParallelAttention
from codec.planes import Kind
from codec.tiles import Samples

ENCODED_TILES = {"cpu": 12, "cuda": 256}  # in one parallel pass
ENCODED_ROWS = {"cpu": 1 << 12, "cuda": 1 << 16}  # frequency tables at once, per channel
DECODED_TILES = {"cpu": 512, "cuda": 1 << 14}  # in lockstep

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


def encode_group(network: IntegerImageGPT, samples: Samples, extents: Extents, kind: Kind, progress: Progress) -> bytes:
    """The payload of one group of (tiles, channels, POSITIONS) samples."""
    encoder = TokenEncoder()
    for tokens, tables in tokens_and_frequencies(network, samples, extents, kind, progress):
        encoder.encode(tokens, tables)
    return encoder.payload()


def tokens_and_frequencies(
    network: IntegerImageGPT, samples: Samples, extents: Extents, kind: Kind, progress: Progress
) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
    """A group's tokens in coding order with the frequencies they are coded with, in parts: (n,) and (n, 256)."""
    tiles, needed = len(samples), positions_needed(extents)
    hidden, features, tokens = hidden_states(network, samples, extents, kind, progress)
    at_once = max(1, ENCODED_ROWS[network.device.type] // tiles)
    for start in range(0, needed, at_once):
        span = slice(start, min(start + at_once, needed))
        rows = hidden[span].flatten(0, 1)
        logits = [network.logits(rows, features[c][span].flatten(0, 1), c) for c in range(kind.channels)]
        tables = torch.stack([frequencies(x).view(-1, tiles, ALPHABET) for x in logits], 1).cpu().numpy()
        ordered = torch.stack([t[span] for t in tokens], 1).cpu().numpy()  # (positions, channels, tiles)
        exist = np.stack([present(extents, p) for p in range(needed)[span]])[:, None].repeat(kind.channels, 1)
        if exist.all():
            yield ordered.reshape(-1), tables.reshape(-1, ALPHABET)
        else:
            yield ordered[exist], tables[exist]


def hidden_states(
    network: IntegerImageGPT, samples: Samples, extents: Extents, kind: Kind, progress: Progress
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The parallel pass over every tile, down to the last row that any has; here goes most of the encoder's time.

    Returns the hidden states (positions, tiles, n_embd) int8, and per channel the head features (positions, tiles, HEAD_FEATURES) int8 and
    the tokens (positions, tiles) int32.
    """
    count = int(extents[:, 0].max()) * SIDE
    positions = torch.arange(count, device=network.device)
    hidden, features, tokens = [], [], []
    at_once = ENCODED_TILES[network.device.type]
    for first, part in zip(range(0, len(samples), at_once), torch.split(torch.from_numpy(samples), at_once), strict=True):
        context = TileContext(part.to(network.device), kind)
        attention = ParallelAttention(network.config, len(part), network.device)
        states = network.hidden(context.features[:, :count].flatten(0, 1), positions.repeat(len(part)), attention)
        hidden.append(states.view(len(part), count, -1))
        features.append([f[:, :count] for f in context.head_features])
        tokens.append([t[:, :count] for t in context.tokens])
        progress(int(extents[first : first + at_once].prod(1).sum()))

    def joined(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts)).transpose(0, 1).contiguous()

    by_channel = [[joined(parts) for parts in zip(*of, strict=True)] for of in (features, tokens)]
    return joined(hidden), by_channel[0], by_channel[1]


def decode_groups(
    network: IntegerImageGPT, payloads: Sequence[bytes], extents: Sequence[Extents], kind: Kind, progress: Progress
) -> list[Samples]:
    """The samples of several groups, decoded in lockstep. Raises DamagedError where a payload is not what an encoder writes."""
    decoders = [TokenDecoder(payload) for payload in payloads]
    bounds = np.cumsum([0, *map(len, extents)])
    groups = [slice(first, last) for first, last in itertools.pairwise(bounds)]
    all_extents = np.concatenate(list(extents))

    def read_tokens(position: int, channel: int, predictions: Tensor, logits: Tensor) -> Tensor:
        tables = frequencies(logits).cpu().numpy()
        exist = present(all_extents, position)
        tokens = np.zeros(len(all_extents), np.int32)
        for decoder, group in zip(decoders, groups, strict=True):
            found = exist[group]
            if found.any():
                tokens[group][found] = decoder.decode(tables[group] if found.all() else tables[group][found])
        return torch.from_numpy(tokens).to(logits.device)

    samples = step_through(network, all_extents, kind, read_tokens, progress)
    if not all(decoder.exhausted for decoder in decoders):
        msg = "a payload is damaged: words are left over"
        raise DamagedError(msg)
    return [samples[group] for group in groups]


def step_through(network: IntegerImageGPT, extents: Extents, kind: Kind, tokens_at: TokensAt, progress: Progress) -> Samples:
    """Builds tiles position by position, each token from the logits that all before it lead to: the decoder, and the sampler.

    tokens_at: called with position, channel, predictions (tiles) and logits (tiles, 256); gives the tokens (tiles) int32.
    """
    device, tiles = network.device, len(extents)
    slots = neighbour_slots(device)
    samples = torch.full((tiles, kind.channels, SLOTS), FIRST_SAMPLE, dtype=torch.int32, device=device)
    residuals = torch.zeros_like(samples)
    attention = CachedAttention(network.config, tiles, device)
    for position in range(positions_needed(extents)):
        exist = present(extents, position)
        values = samples[:, :, slots[position]]  # (tiles, channels, neighbours)
        around = residuals[:, :, slots[position, :RESIDUAL_NEIGHBOURS]]
        attention.position = position
        hidden = network.hidden(input_features(values, around, kind), torch.tensor(position, device=device), attention)
        base = base_predictions(values)
        repeats = None if exist.all() else torch.from_numpy(~exist).to(device)
        known: list[Tensor] = []
        for c in range(kind.channels):
            prediction = channel_prediction(values, samples[:, 0, position], c)
            logits = network.logits(hidden, head_features(known, prediction, base[:, c]), c)
            sample = samples_of(tokens_at(position, c, prediction, logits), prediction)
            if repeats is not None:
                sample = torch.where(repeats, values[:, c, 0], sample)
            samples[:, c, position] = sample
            known.append(sample - prediction)
            residuals[:, c, position] = known[-1]
        progress(int(exist.sum()))
    return samples[:, :, :POSITIONS].to(torch.uint8).cpu().numpy()
