"""igpt files for torch's DataLoader, which decodes the files of a batch together; `pip install igpt[torch]` brings what it needs.

>>> loader = DataLoader(Pictures(sorted(Path("crops").glob("*.igpt"))), batch_size=64, num_workers=2)
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

import codec


def tensor_of(image: Image.Image) -> torch.Tensor:
    """(channels, height, width) uint8 or uint16; of a palette the colours that it shows."""
    if image.mode in ("P", "1"):
        image = image.convert("L" if image.mode == "1" else "RGBA" if image.has_transparency_data else "RGB")
    return torch.from_numpy(np.atleast_3d(np.array(image)).transpose(2, 0, 1).copy())


class Pictures(Dataset[Any]):
    """The pictures of igpt files, or pairs of these and labels, where labels are given.

    transform: of a Pillow image. Each worker takes as many threads as OMP_NUM_THREADS says, or as there are cores. Items raise
    what `igpt.decompress` does, with the file's name.
    """

    def __init__(
        self, paths: Sequence[str | Path], labels: Sequence[Any] | None = None, transform: Callable[[Image.Image], Any] = tensor_of
    ) -> None:
        if labels is not None and len(labels) != len(paths):
            msg = f"{len(paths)} files have {len(labels)} labels"
            raise ValueError(msg)
        self.paths, self.labels, self.transform = paths, labels, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Of a batch."""
        paths = [self.paths[index] for index in indices]
        try:
            images = codec.decompress_many(paths, device="cpu")
        except codec.IgptError:
            _name(paths)
            raise
        items = [self.transform(image) for image in images]
        return items if self.labels is None else [(item, self.labels[index]) for item, index in zip(items, indices, strict=True)]


def _name(paths: Sequence[str | Path]) -> None:
    """Raises what is wrong with the first one that cannot be decompressed, with its name."""
    for path in paths:
        try:
            codec.decompress(path, device="cpu")
        except codec.IgptError as error:
            msg = f"{path}: {error}"
            raise type(error)(msg) from error
