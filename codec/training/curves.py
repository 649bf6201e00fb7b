"""The curves of a training, for TensorBoard: `tensorboard --logdir FOLDER`."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.messages import say

FOLDER = "curves"  # in that of the checkpoint
EVERY = 20  # steps


class Curves:
    """Scalars by step. Nothing is written where tensorboard is missing, which is said once unless `quiet`."""

    def __init__(self, out: Path, quiet: bool) -> None:
        self._writer: Any = None
        self._begin()
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            if not quiet:
                say("no curves for TensorBoard: `pip install igpt[train]` brings it")
        else:
            self._writer = SummaryWriter(str(out / FOLDER))

    def _begin(self) -> None:
        self._since, self._losses, self._positions = time.monotonic(), list[Tensor](), 0

    def step(self, step: int, loss: Tensor, rate: float, positions: int) -> None:
        """loss: of this step, in bits per sample, a scalar; positions: of this step. Means of EVERY steps are written."""
        self._losses.append(loss.detach())
        self._positions += positions
        if step % EVERY == 0:
            speed = self._positions / (time.monotonic() - self._since)
            mean = float(torch.stack(self._losses).mean())
            self.show(step, {"training/bits per sample": mean, "training/rate": rate, "training/positions per second": speed})
            self._begin()

    def show(self, step: int, values: dict[str, float]) -> None:
        """By name."""
        for name, value in values.items() if self._writer else ():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer:
            self._writer.close()
