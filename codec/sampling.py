"""Pictures drawn from a model: what it has learnt, made visible."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from codec.network.coding import step_through
from codec.network.engine import Impossible, Steps
from codec.network.engines import engine_of
from codec.network.groups import Exist, Turn
from codec.network.model import IntegerImageGPT
from codec.progress import Progress
from codec.tiling.context import CENTRE, POSITIONS, SIDE
from codec.tiling.planes import RGB, Pixels, pixels_to_planes, planes_to_pixels
from codec.tiling.tiles import TileSamples, alone

GAP = 2  # pixels between the pictures of a grid, before it is enlarged


def draw(
    network: IntegerImageGPT,
    count: int,
    seed: int,
    temperature: float,
    top_k: int,
    given: Pixels | None,
    progress: Progress,
) -> list[Pixels]:
    """`count` pictures of (SIDE, SIDE, 3) uint8, token by token from the softmax of a model for colour; the same for a seed and a count.

    temperature: above 0, divides the logits. top_k: only so many of the likeliest tokens, 0 for all. given: (SIDE, SIDE, 3) uint8, of which
    the upper half is taken as it is. progress: called with the number of pixels just done. The same steps as the decoder's, with a random
    generator in the place of the file. Raises ModelError where no engine is exact here.
    """
    random = np.random.default_rng(seed)
    known = None if given is None else pixels_to_planes(given).reshape(RGB.channels, POSITIONS).astype(np.int32)

    def accept(position: int, channel: int, steps: Steps, _: Impossible | None, exist: Exist) -> None:
        steps.accept(tokens_at(position, channel, steps), exist)

    def tokens_at(position: int, channel: int, steps: Steps) -> npt.NDArray[np.int32]:
        if known is not None and position < POSITIONS // 2:
            taken: npt.NDArray[np.int32] = (known[channel, position] - steps.predictions + CENTRE) & 255
            return taken
        scores = np.log(steps.frequencies(None)) / temperature
        if top_k:
            scores[scores < np.partition(scores, -top_k, -1)[:, -top_k, None]] = -math.inf
        # the largest after Gumbel noise is as likely as the softmax says
        drawn: npt.NDArray[np.int32] = (scores + random.gumbel(size=scores.shape)).argmax(-1).astype(np.int32)
        return drawn

    tiles = Turn(RGB, np.full((count, 2), SIDE), alone(count, RGB.channels))
    samples: TileSamples = step_through(engine_of(network, count), tiles, accept, progress)
    return [planes_to_pixels(tile.reshape(RGB.channels, SIDE, SIDE)) for tile in samples]


def grid_of(pictures: list[npt.NDArray[np.uint8]], zoom: int) -> Image.Image:
    """Square pictures of the same size side by side, in about as many rows as columns, each pixel a square of zoom x zoom."""
    columns = math.ceil(math.sqrt(len(pictures)))
    pitch = SIDE + GAP
    sheet = Image.new("RGB", (columns * pitch - GAP, math.ceil(len(pictures) / columns) * pitch - GAP), "white")
    for k, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(picture), (k % columns * pitch, k // columns * pitch))
    return sheet.resize((sheet.width * zoom, sheet.height * zoom), Image.Resampling.NEAREST)
