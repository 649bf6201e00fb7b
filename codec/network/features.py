"""What is exactly known around a pixel, in torch: base predictions, tokens, and the network's input features.

Everything here is integer arithmetic on tensors of any leading shape, so that the encoder (all positions of a tile at once) and the
decoder (one position of many tiles) call the same functions. What is known of tiles is (tiles, channels, SLOTS).
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from codec.tiling.context import (
    AHEAD_FEATURES,
    CENTRE,
    CHANNEL_FEATURES,
    FEATURES,
    FIRST_SAMPLE,
    HEAD_FEATURES,
    KIND_FEATURE,
    MARGIN,
    MAX_CHANNELS,
    NEIGHBOURS,
    POSITIONS,
    RESIDUAL_NEIGHBOURS,
    SIDE,
    SIDE_FEATURES,
    SIDES,
    SLOTS,
    SURROUNDINGS,
    UNKNOWN,
    edges,
    neighbour_slots,
)
from codec.tiling.planes import Kind
from codec.tiling.tiles import Around

TILES_AT_ONCE = 64  # whose surroundings are made together


class Places(NamedTuple):
    """Where neighbours and what is ahead lie, by the sides that are known: `context.neighbour_slots`, and which of `context.edges` are
    features, (16, POSITIONS, sides) int8."""

    slots: Tensor
    edges: Tensor


@cache
def places_on(device: torch.device) -> Places:
    known = np.arange(1 << len(SIDES))[:, None, None] & np.array(SIDES) != 0
    found = (edges() & known).astype(np.int8) * KIND_FEATURE
    return Places(torch.from_numpy(neighbour_slots()).to(device), torch.from_numpy(found).to(device))


def median_edge(west: Tensor, north: Tensor, north_west: Tensor) -> Tensor:
    """The median of W, N and W + N - NW (the predictor of JPEG-LS, ITU-T T.87, A.4.1); same shape as each input."""
    low, high = torch.minimum(west, north), torch.maximum(west, north)
    return torch.minimum(torch.maximum(west + north - north_west, low), high)


def base_predictions(values: Tensor) -> Tensor:
    """The median edge detector in every plane by itself: (..., channels, neighbours) -> (..., channels), 0 to 255."""
    return median_edge(values[..., 0], values[..., 1], values[..., 2])


def channel_prediction(values: Tensor, first: Tensor, channel: int, kind: Kind) -> Tensor:
    """The prediction that `channel`'s token is a residual to, given the sample of channel 0 for the later channels.

    values: (..., channels, neighbours) int32; first: (...) int32, the pixel's sample of channel 0 (unused for channel 0).
    Returns (...), 0 to 255. Later channels of a kind whose channels are related are predicted by their difference from channel 0.
    """
    if channel == 0 or not kind.related:
        return base_predictions(values[..., channel : channel + 1, :])[..., 0]
    difference = values[..., channel, :3] - values[..., 0, :3]
    return (first + median_edge(difference[..., 0], difference[..., 1], difference[..., 2])).clamp(0, 255)


def tokens_of(samples: Tensor, predictions: Tensor) -> Tensor:
    """Residuals modulo 256, centred: samples 0 to 255 -> tokens 0 to 255."""
    return (samples - predictions + CENTRE) & 255


def samples_of(tokens: Tensor, predictions: Tensor) -> Tensor:
    """The inverse of `tokens_of`."""
    return (tokens + predictions - CENTRE) & 255


def fine(difference: Tensor) -> Tensor:
    return (difference * 4).clamp(-127, 127)


def coarse(difference: Tensor) -> Tensor:
    return (difference >> 1).clamp(-127, 127)


def surroundings(windows: Tensor) -> Tensor:
    """What luma sees of its chroma: windows (tiles, 2, WINDOW, WINDOW) uint8 -> (tiles, POSITIONS, 2 * CHANNEL_FEATURES) int8."""
    return torch.cat([_surroundings(part) for part in torch.split(windows, TILES_AT_ONCE)])


def _surroundings(windows: Tensor) -> Tensor:
    now = windows.to(torch.int16)

    def seen(rows: int, columns: int) -> Tensor:
        return now[:, :, MARGIN + rows : MARGIN + rows + SIDE, MARGIN + columns : MARGIN + columns + SIDE]

    difference = torch.stack([seen(*away) - seen(0, 0) for away in SURROUNDINGS], -1)
    features = torch.cat([fine(difference), coarse(difference), (seen(0, 0)[..., None] - 128).clamp(-127, 127)], -1)
    return features.permute(0, 2, 3, 1, 4).reshape(len(windows), POSITIONS, 2 * CHANNEL_FEATURES).to(torch.int8)


def input_features(values: Tensor, residuals: Tensor, unknown: Tensor, at_edges: Tensor, kind: Kind, surrounding: Tensor | None) -> Tensor:
    """The network's input at a position.

    values: (..., channels, neighbours and what is ahead) int32, samples; residuals: (..., channels, RESIDUAL_NEIGHBOURS) int32, sample
    minus channel prediction there, -255 to 255; unknown: (..., len(AHEAD)) bool, of what is ahead; at_edges: (..., sides) int8 of `Places`;
    surrounding: for a surrounded kind, the position's (..., 2 * CHANNEL_FEATURES) int8 of `surroundings`, which take the place of a second
    and a third channel. Returns (..., FEATURES) int8 in -127 to 127.
    """
    base = base_predictions(values)
    difference = values - base[..., None]
    near, ahead = difference[..., : len(NEIGHBOURS)], difference[..., len(NEIGHBOURS) :].masked_fill(unknown[..., None, :], 0)
    channels = torch.cat([fine(near), coarse(near), fine(residuals), (base[..., None] - 128).clamp(-127, 127)], -1)
    features = torch.zeros(*values.shape[:-2], FEATURES, dtype=torch.int8, device=values.device)
    features[..., : kind.channels * CHANNEL_FEATURES] = channels.flatten(-2).to(torch.int8)
    of_ahead = torch.cat([fine(ahead), coarse(ahead)], -1).flatten(-2).to(torch.int8)
    features[..., AHEAD_FEATURES : AHEAD_FEATURES + of_ahead.shape[-1]] = of_ahead
    features[..., SIDE_FEATURES : SIDE_FEATURES + len(SIDES)] = at_edges
    if surrounding is not None:
        features[..., CHANNEL_FEATURES : MAX_CHANNELS * CHANNEL_FEATURES] = surrounding
    features[..., MAX_CHANNELS * CHANNEL_FEATURES + kind.code] = KIND_FEATURE
    return features


def head_features(residuals: list[Tensor], prediction: Tensor, base: Tensor) -> Tensor:
    """What the head of channel len(residuals) sees beside the network's output.

    residuals: of the channels coded before, each (...) int32; prediction and base: (...) int32, the channel's prediction with and
    without channel 0. Returns (..., HEAD_FEATURES) int8 in -127 to 127.
    """
    known = [*residuals, prediction - base] if residuals else []
    features = torch.zeros(*base.shape, HEAD_FEATURES, dtype=torch.int8, device=base.device)
    for k, value in enumerate(known):
        features[..., 2 * k] = fine(value).to(torch.int8)
        features[..., 2 * k + 1] = coarse(value).to(torch.int8)
    return features


class TileContext:
    """All positions of whole tiles at once, as the encoder and the training see them.

    samples: (tiles, channels, POSITIONS) uint8. Afterwards `features` is (tiles, POSITIONS, FEATURES) int8; `tokens` and `head_features`
    are lists over the channels of (tiles, POSITIONS) int32 and (tiles, POSITIONS, HEAD_FEATURES) int8.
    """

    def __init__(self, samples: Tensor, kind: Kind, around: Around[Tensor]) -> None:
        places, sides = places_on(samples.device), around.sides.long()
        slots = places.slots[sides]  # (tiles, positions, neighbours)
        now = samples.to(torch.int32)
        values = seen_at(slots, with_strips(now, around.strips))  # (tiles, positions, channels, neighbours)
        base = base_predictions(values)
        self.tokens: list[Tensor] = []
        self.head_features: list[Tensor] = []
        residuals: list[Tensor] = []
        for c in range(kind.channels):
            prediction = channel_prediction(values, now[:, 0], c, kind)
            self.tokens.append(tokens_of(now[:, c], prediction))
            self.head_features.append(head_features(residuals, prediction, base[..., c]))
            residuals.append(now[:, c] - prediction)
        wrong = torch.nn.functional.pad(torch.stack(residuals, 1), (0, SLOTS - POSITIONS))
        near = seen_at(slots[..., :RESIDUAL_NEIGHBOURS], wrong)
        unknown = slots[..., len(NEIGHBOURS) :] == UNKNOWN
        windows = None if around.windows is None else surroundings(around.windows)
        self.features = input_features(values, near, unknown, places.edges[sides], kind, windows)


def with_strips(now: Tensor, strips: Tensor) -> Tensor:
    """(tiles, channels, POSITIONS) int32 and (tiles, channels, STRIPS) -> (tiles, channels, SLOTS) int32."""
    return torch.cat([now, torch.full_like(now[..., :1], FIRST_SAMPLE), strips.to(torch.int32)], -1)


def seen_at(slots: Tensor, known: Tensor) -> Tensor:
    """(tiles, n, neighbours) slots of (tiles, channels, SLOTS) -> (tiles, n, channels, neighbours); anything for those UNKNOWN."""
    tiles, channels, last = known.shape
    flat = slots.clamp(max=last - 1).flatten(1)[:, None].expand(-1, channels, -1)
    return known.gather(2, flat).view(tiles, channels, *slots.shape[1:]).transpose(1, 2)
