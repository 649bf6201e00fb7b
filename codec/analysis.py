"""Where the bits of a picture go, without writing a file."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from PIL import Image

from codec.compression import offers
from codec.methods import method_of
from codec.methods.method import Bits, Source
from codec.options import Options
from codec.progress import Progress, ignore
from codec.tiling.planes import Pixels

HOTTEST_BITS = 8.0  # of a sample in a heat map; more is drawn as this
RAMP = ((0, 0, 0), (60, 10, 110), (190, 40, 80), (250, 150, 20), (255, 255, 200))


def bits_per_pixel(pixels: Pixels, options: Options, progress: Progress = ignore) -> Bits:
    """The bits of each channel at each of (height, width, 1 or 3) pixels, (height, width), by the channel's name, as the smallest method
    spends them; where it codes whole pixels, of all channels together."""
    coded = offers(Source(pixels, 8, options), progress).coded(progress)
    return method_of(coded.coding).costs(coded, pixels)


def heat_map(pixels: Pixels, channels: Iterable[npt.NDArray[np.float32]]) -> Image.Image:
    """The picture, and beside it the (height, width) bits of each channel, from black (none) to pale yellow (HOTTEST_BITS or more)."""
    stops = np.linspace(0, HOTTEST_BITS, len(RAMP))
    panels = [pixels.repeat(4 - pixels.shape[-1], -1)[..., :3]]
    for heat in channels:
        panels.append(np.stack([np.interp(heat, stops, [colour[k] for colour in RAMP]) for k in range(3)], -1).round().astype(np.uint8))
    return Image.fromarray(np.concatenate(panels, 1))
