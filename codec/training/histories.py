"""Simulated pasts: what a JPEG or a PhotoCD would have held of a picture, for training.

Each gives its formula, luma and small chroma as a decoder has them in front of its upsampling, without the errors of the way back.
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from codec.pasts.chroma import FILTERS, FULL, Sampling
from codec.pasts.colour import FORMULAS, Formula

Bytes = npt.NDArray[np.uint8]
History = tuple[Formula, Bytes, Bytes, Sampling]  # luma (height, width), small chroma planes (2, rows, columns), their sampling

QUALITIES = (60, 99)
JPEG_SAMPLINGS = ((FILTERS[1], 0.6), (FILTERS[2], 0.15), (FULL, 0.25))


def film(region: Bytes, rng: np.random.Generator) -> History:
    """(height, width, 3) -> PhotoCD's luma and chroma, rounded from reals."""
    formula, sampling = FORMULAS[1], Sampling(FILTERS[7])
    planes = formula.real_planes(region)
    height, width = region.shape[:2]
    chroma = planes[1:].reshape(2, height // 2, 2, width // 2, 2)
    chroma = chroma[:, :, 0, :, 0] if rng.random() < 0.25 else chroma.mean((2, 4))
    return formula, _bytes(planes[0]), _bytes(chroma), sampling


def jpeg(region: Bytes, rng: np.random.Generator) -> History:
    """(height, width, 3), sides being multiples of 16 -> the luma and chroma that a JPEG of random quality and sampling decodes to."""
    height, width = region.shape[:2]
    formula = FORMULAS[0]
    planes = formula.real_planes(region)
    choice = rng.choice(len(JPEG_SAMPLINGS), p=[share for _, share in JPEG_SAMPLINGS])
    filter_ = JPEG_SAMPLINGS[choice][0]
    tables = _quantisation_tables(int(rng.integers(*QUALITIES)))
    chroma = planes[1:].reshape(2, height // filter_.down, filter_.down, width // filter_.across, filter_.across).mean((2, 4))
    small = np.stack([_coded(_bytes(plane), tables[1]) for plane in chroma])
    return formula, _coded(_bytes(planes[0]), tables[0]), small, Sampling(filter_)


def _bytes(plane: npt.NDArray[np.floating]) -> Bytes:
    rounded: Bytes = np.rint(plane).clip(0, 255).astype(np.uint8)
    return rounded


def _coded(plane: Bytes, table: list[int]) -> Bytes:
    """A plane through a greyscale JPEG with this quantisation table."""
    stream = io.BytesIO()
    Image.fromarray(plane).save(stream, "JPEG", qtables=[table])
    return np.array(Image.open(stream), np.uint8)


_TABLES: dict[int, dict[int, list[int]]] = {}


def _quantisation_tables(quality: int) -> dict[int, list[int]]:
    """Those that libjpeg makes for a quality: 0 for luma, 1 for chroma."""
    if quality not in _TABLES:
        stream = io.BytesIO()
        Image.new("RGB", (8, 8)).save(stream, "JPEG", quality=quality)
        _TABLES[quality] = Image.open(stream).quantization  # type: ignore[attr-defined]
    return _TABLES[quality]
