"""igpt as a codec of numcodecs, "igpt", which is found by its name once both are installed: for chunks of zarr arrays of format 2, say."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ensure_ndarray

import codec
from codec.options import Options
from codec.pictures.reading import MAX_PIXELS


class Igpt(Codec):
    """Arrays (height, width) or (height, width, 1 to 4) of uint8 or uint16; each becomes an igpt file.

    level: as of `igpt.compress`. Raises IgptError for another one.
    """

    codec_id = "igpt"

    def __init__(self, level: str = "default") -> None:
        self.level = str(Options(level=level).level)

    def encode(self, buf: Any) -> bytes:
        """Raises TypeError for other samples, UnsupportedImageError for other shapes, and TooLargeError.

        What decodes a chunk knows neither its order in memory nor that of its samples' bytes: arrays of Fortran's order, and of the big
        end first, are refused.
        """
        chunk = ensure_ndarray(buf)
        if chunk.flags.f_contiguous and not chunk.flags.c_contiguous:
            msg = "an array in Fortran's order would come back in another one: use order C"
            raise codec.UnsupportedImageError(msg)
        if chunk.dtype != chunk.dtype.newbyteorder("<"):
            msg = f"an array of {chunk.dtype.str} would come back with other bytes: use {chunk.dtype.newbyteorder('<').str}"
            raise codec.UnsupportedImageError(msg)
        return codec.compress(chunk, level=self.level, max_pixels=MAX_PIXELS)

    def decode(self, buf: Any, out: Any = None) -> npt.NDArray[Any]:
        """Of one channel (height, width), if the chunk was (height, width, 1), too: zarr gives it its shape. out: is filled. Errors as of
        `igpt.decode`."""
        samples = codec.decode(ensure_bytes(buf))
        samples = samples.astype(samples.dtype.newbyteorder("<"), copy=False)
        if out is None:
            return samples
        target: npt.NDArray[Any] = ensure_ndarray(out)
        np.copyto(target, samples.reshape(target.shape), casting="no")
        return target
