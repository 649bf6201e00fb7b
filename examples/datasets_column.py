"""A column of igpt files in a data set of Hugging Face's `datasets`, decoded when it is looked at."""

import tempfile
from pathlib import Path

import numpy as np
from datasets import Dataset, Image

import igpt

igpt.register_igpt_opener()  # `datasets` opens pictures with Pillow; each process that does so needs this line
pixels = np.arange(64 * 64 * 3, dtype=np.uint16).reshape(64, 64, 3).astype(np.uint8)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "x.igpt"
    path.write_bytes(igpt.compress(pixels))
    pictures = Dataset.from_dict({"image": [str(path)], "label": [7]}).cast_column("image", Image())
    image = pictures[0]["image"]
    assert (np.asarray(image) == pixels).all()
    print(image.format, image.size)
