"""Tiles built position by position: what the network sees at a position, and what becomes of a token. In torch, or compiled."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from codec.context import (
    CHANNEL_FEATURES,
    FEATURES,
    FIRST_SAMPLE,
    HEAD_FEATURES,
    POSITIONS,
    RESIDUAL_NEIGHBOURS,
    SLOTS,
    base_predictions,
    channel_prediction,
    head_features,
    input_features,
    neighbour_slots,
    samples_of,
    surroundings,
)
from codec.planes import Kind

Exist = npt.NDArray[np.bool_]  # (tiles,)


class Steps:
    """Tiles of a kind, all of them at the same position. At each: `features` once, then for every channel `head` and `accept`."""

    def __init__(self, kind: Kind, tiles: int, windows: Tensor | None, device: torch.device) -> None:
        self.kind = kind
        self.slots = neighbour_slots(device)
        self.surroundings = None if windows is None else surroundings(windows.to(device))
        self.samples = torch.full((tiles, kind.channels, SLOTS), FIRST_SAMPLE, dtype=torch.int32, device=device)
        self.residuals = torch.zeros_like(self.samples)

    def features(self, position: int) -> Tensor:
        """Goes to a position: (tiles, FEATURES) int8."""
        self.position = position
        self.values = self.samples[:, :, self.slots[position]]  # (tiles, channels, neighbours)
        self.base = base_predictions(self.values)
        around = self.residuals[:, :, self.slots[position, :RESIDUAL_NEIGHBOURS]]
        return input_features(self.values, around, self.kind, None if self.surroundings is None else self.surroundings[:, position])

    def head(self, channel: int) -> tuple[Tensor, Tensor]:
        """The predictions (tiles) int32 and the head features (tiles, HEAD_FEATURES) int8 of the channel that comes next."""
        self.prediction = channel_prediction(self.values, self.samples[:, 0, self.position], channel, self.kind)
        known = list(self.residuals[:, :channel, self.position].unbind(1))
        return self.prediction, head_features(known, self.prediction, self.base[:, channel])

    def accept(self, channel: int, tokens: Tensor, exist: Exist) -> None:
        """Takes the channel's tokens (tiles) int32; where the position does not exist, the sample to its left."""
        sample = samples_of(tokens, self.prediction)
        if not exist.all():
            sample = torch.where(torch.from_numpy(exist).to(sample.device), sample, self.values[:, channel, 0])
        self.samples[:, channel, self.position] = sample
        self.residuals[:, channel, self.position] = sample - self.prediction

    def tiles(self) -> npt.NDArray[np.uint8]:
        """(tiles, channels, POSITIONS)."""
        return self.samples[:, :, :POSITIONS].to(torch.uint8).cpu().numpy()


class CompiledSteps(Steps):
    """By the compiled kernels."""

    def __init__(self, kind: Kind, tiles: int, windows: Tensor | None, device: torch.device) -> None:
        from codec.network import kernels

        super().__init__(kind, tiles, windows, device)
        self.kernels = kernels
        self.arrays = self.samples.numpy(), self.residuals.numpy()
        self.neighbours = self.slots.numpy()
        seen = torch.zeros(tiles, POSITIONS, 0, dtype=torch.int8) if self.surroundings is None else self.surroundings
        self.seen = seen.numpy()
        self.bases = np.empty((tiles, kind.channels), np.int32)

    def features(self, position: int) -> Tensor:
        self.position = position
        out = torch.empty(len(self.samples), FEATURES, dtype=torch.int8)
        kind, neighbours = self.kind.code, self.neighbours[position]
        self.kernels.step_features(*self.arrays, neighbours, self.seen, position, kind, CHANNEL_FEATURES, out.numpy(), self.bases)
        return out

    def head(self, channel: int) -> tuple[Tensor, Tensor]:
        self.prediction = torch.empty(len(self.samples), dtype=torch.int32)
        out = torch.empty(len(self.samples), HEAD_FEATURES, dtype=torch.int8)
        related = self.kind.related and channel > 0
        neighbours = self.neighbours[self.position]
        self.kernels.step_head(*self.arrays, neighbours, self.position, channel, related, self.bases, self.prediction.numpy(), out.numpy())
        return self.prediction, out

    def accept(self, channel: int, tokens: Tensor, exist: Exist) -> None:
        neighbours = self.neighbours[self.position]
        self.kernels.step_accept(*self.arrays, neighbours, self.position, channel, tokens.numpy(), self.prediction.numpy(), exist)
