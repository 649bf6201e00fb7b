"""Tokens of a palette <-> payloads: network, frequencies and words, encode and decode side by side."""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from bitstream.constants import FREQUENCY_BITS, MAX_PALETTE_CACHE_BYTES, MAX_PALETTE_GROUP_TILES
from bitstream.errors import DamagedError
from bitstream.range_coder import TokenDecoder, TokenEncoder
from codec.network.frequencies import frequencies
from codec.network.groups import Extents, positions_needed, present
from codec.palette.colours import Tokens
from codec.palette.engines import prepare
from codec.palette.network import PaletteImageGPT
from codec.progress import Progress
from codec.tiling.context import POSITIONS, SIDE
from codec.tiling.tiles import Grid, Rectangle, Shape, tiles_from_planes, tiles_into_planes

CACHE_BYTES = {"cpu": 1 << 30, "cuda": 1 << 35}  # of keys and values, for what is decoded in lockstep, a group at least
ENCODED_TILES = {"cpu": 1, "cuda": 16}  # in one parallel pass
REST = 0  # the token that takes what the rounding of frequencies leaves


def largest_group(network: PaletteImageGPT) -> int:
    """So many tiles as every decoder must be able to hold."""
    return max(1, min(MAX_PALETTE_GROUP_TILES, MAX_PALETTE_CACHE_BYTES // network.config.cache_bytes))


def encode_tokens(network: PaletteImageGPT, tokens: Tokens, shape: Shape, progress: Progress) -> list[bytes]:
    """A payload for each group of tiles of (height, width) tokens."""
    height, width = tokens.shape
    grid = Grid(width, height)
    rectangles = grid.groups(shape)
    return [_encode_group(network, grid.extents(of), tiles_from_planes(tokens[None], of)[:, 0], progress) for of in rectangles]


def token_frequencies(network: PaletteImageGPT, tiles: Tokens, count: int) -> torch.Tensor:
    """(tiles, positions) -> (tiles, count, tokens) int32: what the first `count` positions are coded with, by one parallel pass."""
    now = torch.from_numpy(tiles.astype(np.int64)).to(network.device)
    before = torch.nn.functional.pad(now[:, : count - 1], (1, 0), value=network.config.tokens)
    positions = torch.arange(count, device=network.device).repeat(len(tiles))
    attention = network.operations.attention(network.config, len(tiles), network.device)
    return frequencies(network.logits(before.flatten(), positions, attention), REST).view(len(tiles), count, -1)


def _encode_group(network: PaletteImageGPT, extents: Extents, tiles: Tokens, progress: Progress) -> bytes:
    prepare(network)
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


def token_costs(network: PaletteImageGPT, tokens: Tokens, progress: Progress) -> npt.NDArray[np.float32]:
    """-log2(frequency / 2^24) of each of (height, width) tokens. progress: called with the number of tokens just done."""
    prepare(network)
    height, width = tokens.shape
    grid, bits = Grid(width, height), np.empty((1, height, width), np.float32)
    shape = grid.shape(ENCODED_TILES[network.device])
    for of in grid.groups(shape):
        tiles, count = tiles_from_planes(tokens[None], of)[:, 0], positions_needed(grid.extents(of))
        own = torch.from_numpy(tiles[:, :count].astype(np.int64)).to(network.device)
        chosen = token_frequencies(network, tiles, count).gather(2, own[..., None])[..., 0]
        spent = np.zeros((len(tiles), 1, POSITIONS), np.float32)
        spent[:, 0, :count] = FREQUENCY_BITS - np.log2(chosen.cpu().numpy())
        tiles_into_planes(spent, bits, of)
        progress(int(grid.extents(of).prod(1).sum()))
    found: npt.NDArray[np.float32] = bits[0]
    return found


def decode_tokens(
    network: PaletteImageGPT,
    size: tuple[int, int],
    shape: Shape,
    payloads: Sequence[bytes],
    progress: Progress,
    positions: int = POSITIONS,
) -> Tokens:
    """The (height, width) tokens of a picture of size (width, height). positions: of each tile so many at most; the rest is 0.

    Raises DamagedError.
    """
    if shape.tiles > largest_group(network):
        msg = f"the file is damaged: groups of {shape.tiles} tiles are too large for its model"
        raise DamagedError(msg)
    grid = Grid(*size)
    tokens = np.empty((1, grid.height, grid.width), np.uint16)
    rectangles = [*grid.groups(shape)]
    groups_at_once = max(1, CACHE_BYTES[network.device] // (network.config.cache_bytes * shape.tiles))
    for first in range(0, len(rectangles), groups_at_once):
        some = slice(first, first + groups_at_once)
        tiles = _decode_groups(network, grid, rectangles[some], payloads[some], progress, positions)
        for of, samples in zip(rectangles[some], tiles, strict=True):
            tiles_into_planes(samples[:, None], tokens, of)
    plane: Tokens = tokens[0]
    return plane


def _decode_groups(
    network: PaletteImageGPT, grid: Grid, rectangles: Sequence[Rectangle], payloads: Sequence[bytes], progress: Progress, positions: int
) -> list[Tokens]:
    """The tiles of groups, decoded in lockstep."""
    prepare(network)
    extents = np.concatenate([grid.extents(of) for of in rectangles])
    edges = [0, *itertools.accumulate(of.tiles for of in rectangles)]
    parts = [slice(*edge) for edge in itertools.pairwise(edges)]
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
    return [tiles[part] for part in parts]
