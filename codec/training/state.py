"""The state of an unfinished training, from which the same command goes on."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bitstream.errors import IgptError

FILE = "training.pt"  # in the folder of the checkpoint
SECONDS = 100  # from one writing to the next; with the step that runs meanwhile they are less than two minutes


class State:
    """step: how many were made; log: of the validations. Raises IgptError where there is a state that the training cannot go on from."""

    def __init__(self, folder: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], device: str) -> None:
        self._file, self._model, self._optimizers = folder / FILE, model, optimizers
        self.step, self.log = 0, list[dict[str, Any]]()
        self._written = time.monotonic()
        if self._file.exists():
            self._read(device)

    def _read(self, device: str) -> None:
        try:
            state = torch.load(self._file, map_location=device, weights_only=True)
            self._model.load_state_dict(state["model"])
            for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.step, self.log = state["step"], state["log"]
        except Exception as error:  # whatever unpickling meets, or another network
            reason = (str(error) or type(error).__name__).splitlines()[0]
            msg = f"{self._file}: this training cannot go on ({reason}): give the options it began with, or remove the file to begin anew"
            raise IgptError(msg) from error

    @property
    def due(self) -> bool:
        return time.monotonic() - self._written > SECONDS

    def write(self) -> None:
        """At once in the place of what was there, whatever happens meanwhile."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        new = self._file.with_suffix(".new")
        optimizers = [optimizer.state_dict() for optimizer in self._optimizers]
        torch.save({"model": self._model.state_dict(), "optimizers": optimizers, "step": self.step, "log": self.log}, new)
        new.replace(self._file)
        self._written = time.monotonic()
