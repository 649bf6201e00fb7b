"""Tokens of a palette <-> payloads: network, frequencies and words, encode and decode side by side."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch

from bitstream.errors import DamagedError
from bitstream.range_coder import TokenDecoder, TokenEncoder
from codec.network.coding import Extents, positions_needed, present
from codec.network.frequencies import frequencies
from codec.palette.colours import Tokens
from codec.palette.network import PaletteImageGPT
from codec.tiling.context import POSITIONS, SIDE
from codec.tiling.tiles import Grid, tiles_from_planes, tiles_into_planes

LARGEST_GROUP = 64  # tiles
CACHE_BYTES = {"cpu": 1 << 30, "cuda": 1 << 35}  # of keys and values, for what is decoded in lockstep; the former holds any group
ENCODED_TILES = {"cpu": 1, "cuda": 16}  # in one parallel pass
REST = 0  # the token that takes what the rounding of frequencies leaves

Progress = Callable[[int], None]


def largest_group(network: PaletteImageGPT) -> int:
    """So many tiles as every decoder must be able to hold."""
    return max(1, min(LARGEST_GROUP, CACHE_BYTES["cpu"] // network.config.cache_bytes))


def group_size(network: PaletteImageGPT, tiles: int) -> int:
    """Tiles per group when `tiles` are spread evenly over as few groups as possible."""
    return -(-tiles // -(-tiles // largest_group(network)))


def encode_tokens(network: PaletteImageGPT, tokens: Tokens, tiles_per_group: int, progress: Progress) -> list[bytes]:
    """A payload for each group of tiles of (height, width) tokens."""
    height, width = tokens.shape
    grid = Grid(width, height)
    payloads = []
    for first in range(0, grid.tiles, tiles_per_group):
        last = min(first + tiles_per_group, grid.tiles)
        payloads.append(
            _encode_group(network, grid.extents(first, last), tiles_from_planes(tokens[None], grid, first, last)[:, 0], progress)
        )
    return payloads


def token_frequencies(network: PaletteImageGPT, tiles: Tokens, count: int) -> torch.Tensor:
    """(tiles, positions) -> (tiles, count, tokens) int32: what the first `count` positions are coded with, by one parallel pass."""
    now = torch.from_numpy(tiles.astype(np.int64)).to(network.device)
    before = torch.nn.functional.pad(now[:, : count - 1], (1, 0), value=network.config.tokens)
    positions = torch.arange(count, device=network.device).repeat(len(tiles))
    attention = network.operations.attention(network.config, len(tiles), network.device)
    return frequencies(network.logits(before.flatten(), positions, attention), REST).view(len(tiles), count, -1)


def _encode_group(network: PaletteImageGPT, extents: Extents, tiles: Tokens, progress: Progress) -> bytes:
    network.prepare()
    count = positions_needed(extents)
    tables = np.empty((count, len(tiles), network.config.tokens), np.int32)
    at_once = ENCODED_TILES[network.device]
    for first in range(0, len(tiles), at_once):
        part = slice(first, first + at_once)
        tables[:, part] = token_frequencies(network, tiles[part], count).transpose(0, 1).cpu().numpy()
        progress(int(extents[part].prod(1).sum()))
    encoder = TokenEncoder()
    for position in range(count):
        exist = present(extents, position)
        encoder.encode(tiles[exist, position].astype(np.int32), tables[position, exist])
    return encoder.payload()


def decode_tokens(
    network: PaletteImageGPT,
    size: tuple[int, int],
    tiles_per_group: int,
    payloads: Sequence[bytes],
    progress: Progress,
    positions: int = POSITIONS,
) -> Tokens:
    """The (height, width) tokens of a picture of size (width, height). positions: of each tile so many at most; the rest is 0.

    Raises DamagedError.
    """
    if tiles_per_group > largest_group(network):
        msg = f"the header is damaged: {tiles_per_group} tiles per group are too many for its model"
        raise DamagedError(msg)
    grid = Grid(*size)
    tokens = np.empty((1, grid.height, grid.width), np.uint16)
    firsts = range(0, grid.tiles, tiles_per_group)
    groups_at_once = max(1, CACHE_BYTES[network.device] // (network.config.cache_bytes * tiles_per_group))
    for k in range(0, len(firsts), groups_at_once):
        some = firsts[k : k + groups_at_once]
        bounds = [*some, min(some[-1] + tiles_per_group, grid.tiles)]
        tiles = _decode_groups(network, grid, bounds, payloads[k : k + groups_at_once], progress, positions)
        tiles_into_planes(tiles[:, None], tokens, grid, bounds[0])
    plane: Tokens = tokens[0]
    return plane


def _decode_groups(
    network: PaletteImageGPT, grid: Grid, bounds: Sequence[int], payloads: Sequence[bytes], progress: Progress, positions: int
) -> Tokens:
    """The tiles of groups that begin and end at `bounds`, decoded in lockstep."""
    network.prepare()
    extents = grid.extents(bounds[0], bounds[-1])
    parts = [slice(first - bounds[0], last - bounds[0]) for first, last in itertools.pairwise(bounds)]
    decoders = [TokenDecoder(payload) for payload in payloads]
    attention = network.operations.cached_attention(network.config, len(extents), network.device)
    tiles = np.zeros((len(extents), POSITIONS), np.uint16)
    now = np.full(len(extents), network.config.tokens, np.int64)
    for position in range(min(positions, positions_needed(extents))):
        attention.position = position
        before, place = torch.from_numpy(now).to(network.device), torch.tensor(position, device=network.device)
        tables = frequencies(network.logits(before, place, attention), REST).cpu().numpy()
        exist = present(extents, position)
        now = tiles[:, position - 1].astype(np.int64) if position % SIDE else np.zeros(len(extents), np.int64)
        for decoder, part in zip(decoders, parts, strict=True):
            if exist[part].any():
                now[part][exist[part]] = decoder.decode(tables[part][exist[part]])
        tiles[:, position] = now
        progress(int(exist.sum()))
    if positions >= positions_needed(extents):
        for decoder in decoders:
            decoder.finish()
    return tiles
