"""Pixels <-> planes: the reversible stage between a picture and what is coded.

A *kind* names what the planes are and how the channels hang together. Everything after this stage codes planes of a kind and does not
know of red or blue.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Planes = npt.NDArray[np.uint8]
Sample = TypeVar("Sample", bound=np.generic)


@dataclass(frozen=True)
class Kind:
    """code: the kind's number in the header and in the network's input. order: plane k holds channel order[k] of the pixels."""

    name: str
    code: int
    order: tuple[int, ...]

    @property
    def channels(self) -> int:
        return len(self.order)


RGB = Kind("rgb", 0, (1, 0, 2))
GREY = Kind("grey", 1, (0,))
KINDS = (RGB, GREY)


def kind_of(channels: int) -> Kind:
    return next(kind for kind in KINDS if kind.channels == channels)


def pixels_to_planes(pixels: npt.NDArray[Sample], kind: Kind) -> npt.NDArray[Sample]:
    """(height, width, channels) -> (channels, height, width), in the kind's coding order."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[list(kind.order)])


def planes_to_pixels(planes: npt.NDArray[Sample], kind: Kind) -> npt.NDArray[Sample]:
    """(channels, height, width) -> (height, width, channels): the inverse of `pixels_to_planes`."""
    return np.ascontiguousarray(planes[list(np.argsort(kind.order))].transpose(1, 2, 0))
