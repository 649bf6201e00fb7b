"""An igpt file on any file system that `fsspec` knows. Opening reads its beginning only; the pixels come when they are asked for."""

import fsspec
import numpy as np
from PIL import Image

import igpt

igpt.register_igpt_opener()
pixels = np.arange(64 * 64 * 3, dtype=np.uint16).reshape(64, 64, 3).astype(np.uint8)
with fsspec.open("memory://x.igpt", "wb") as stream:
    stream.write(igpt.compress(pixels))
with fsspec.open("memory://x.igpt") as stream, Image.open(stream) as image:
    print(image.format, image.size)
    assert (np.asarray(image) == pixels).all()
