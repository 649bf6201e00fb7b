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
    """What a network must know of the planes that it codes.

    code: the kind's number in the network's input. heads: of the network, one per channel. related: whether the later channels are
    predicted by their difference from the first. surrounded: whether chroma planes, known all around, go with each tile.
    """

    name: str
    code: int
    heads: tuple[int, ...]
    related: bool = False
    surrounded: bool = False

    @property
    def channels(self) -> int:
        return len(self.heads)


RGB = Kind("rgb", 0, (0, 1, 2), related=True)
GREY = Kind("grey", 1, (0,))
JPEG_LUMA = Kind("jpeg luma", 2, (0,), surrounded=True)
JPEG_CHROMA = Kind("jpeg chroma", 3, (1, 2))
FILM_LUMA = Kind("film luma", 4, (0,), surrounded=True)
FILM_CHROMA = Kind("film chroma", 5, (1, 2))
LAYOUTS = {"rgb": (RGB, GREY), "ycc": (JPEG_LUMA, JPEG_CHROMA, FILM_LUMA, FILM_CHROMA)}  # what a network of each layout codes

ORDERS = {3: (1, 0, 2), 1: (0,), 4: (1, 0, 2, 3), 2: (0, 1)}  # by number of channels: plane k holds channel order[k] of the pixels


def kind_of(channels: int) -> Kind:
    return {3: RGB, 1: GREY}[channels]


def pixels_to_planes(pixels: npt.NDArray[Sample]) -> npt.NDArray[Sample]:
    """(height, width, channels) -> (channels, height, width), in coding order: green, red, blue, alpha."""
    return np.stack([pixels[..., channel] for channel in ORDERS[pixels.shape[2]]])


def planes_to_pixels(planes: npt.NDArray[Sample]) -> npt.NDArray[Sample]:
    """(channels, height, width) -> (height, width, channels): the inverse of `pixels_to_planes`."""
    return np.stack([planes[k] for k in np.argsort(ORDERS[len(planes)])], -1)
