"""The main job on one real picture: `python -m benchmarks.demo [PICTURE]`.

Compresses and decompresses with the installed command in fresh processes, compares every pixel, and prints the sizes beside PNG, WebP,
JPEG XL and the theoretical bits. Without an argument it takes a picture that comes with scikit-image.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import lossless_bytes, lossless_encoders
from benchmarks.theory import theory_of
from codec.compression import compressed
from codec.options import Options
from codec.pictures.sources import picture_from
from codec.progress import ignore

IGPT = Path(sys.executable).parent / "igpt"


def sample() -> Path:
    import skimage.data

    return Path(skimage.data.__file__).parent / "coffee.png"


def main() -> int:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else sample()
    with tempfile.TemporaryDirectory() as folder:
        packed, back = Path(folder) / "picture.igpt", Path(folder) / "picture.png"
        seconds = []
        for arguments in (["compress", source, packed], ["decompress", packed, back]):
            start = time.perf_counter()
            subprocess.run([IGPT, *map(str, arguments)], check=True)
            seconds.append(time.perf_counter() - start)
        pixels, decoded = np.asarray(Image.open(source)), np.asarray(Image.open(back))
        size = packed.stat().st_size
    if pixels.dtype != decoded.dtype or not np.array_equal(pixels, decoded):
        print("the pixels differ")
        return 1
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    theory = round(theory_of(compressed(picture_from(pixels), Options(), ignore)).bytes)
    rows = [("igpt", size), ("igpt, theoretical", theory)]
    rows += [(name, lossless_bytes(pixels, encode)) for name, encode in lossless_encoders((7, 9)).items()]
    rows += [("PNG as stored", source.stat().st_size), ("raw", pixels.nbytes)]
    print(f"\n{source.name}: {pixels.shape[1]}x{pixels.shape[0]}, every pixel identical")
    print(f"compress {seconds[0]:.1f} s, decompress {seconds[1]:.1f} s, processes and all\n")
    for name, count in rows:
        print(f"{name:18} {count:>10,} bytes  {8 * count / pixels.size:6.3f} bpsp  {count / size:5.2f} x igpt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
