"""A shard of `webdataset`, a tar of igpt files and labels, written and read."""

import tempfile
from pathlib import Path

import numpy as np
import webdataset

import igpt

pixels = np.arange(64 * 64 * 3, dtype=np.uint16).reshape(64, 64, 3).astype(np.uint8)
with tempfile.TemporaryDirectory() as folder:
    shard = (Path(folder) / "x.tar").as_posix()
    with webdataset.TarWriter(shard) as writer:
        writer.write({"__key__": "a", "igpt": igpt.compress(pixels), "cls": 7})
    pictures = webdataset.WebDataset(shard, shardshuffle=False).decode(webdataset.handle_extension("igpt", igpt.decompress))
    for image, label in pictures.to_tuple("igpt", "cls"):
        assert (np.asarray(image) == pixels).all()
        print(image.mode, image.size, label)
