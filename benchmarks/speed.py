"""Megapixels per second: `python -m benchmarks.speed [FOLDER] [--megapixels 0.1 0.4 ...] [--threads 1 2] [--batch 512] [--runs 3]`.

Photographs of the folder, side by side and cropped to each size, through igpt at each level and through PNG, WebP and JPEG XL in the same
run and process. Medians, spread, peak memory; from 2 megapixels on a single run, with the last of the threads and of the batches only.
Writes speed.csv, speed.md and plots: bits per subpixel against seconds, and seconds against megapixels.
"""

import argparse
import functools
import io
import itertools
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

import codec
from benchmarks import plots
from benchmarks.measure import RESULTS, Encoder, Pixels, lossless_encoders, pictures_in, write_table
from codec.devices import device_named
from codec.network import coding
from codec.options import Level
from codec.pictures.pillow import image_of
from codec.threads import use_threads

BLOCK = 256  # pixels
LARGE = 2  # megapixels, from which on one run has to do
SKIPPED = ("PNG optimised", "oxipng 6", "FLIF")


def blocks(pictures: Sequence[Path]) -> Iterator[Pixels]:
    """Squares of the pictures, one of each in turn; when all were used, mirrored and transposed."""
    squares: list[list[Pixels]] = []
    for path in pictures:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        corners = itertools.product(*(range(0, n - BLOCK + 1, BLOCK) for n in pixels.shape[:2]))
        squares.append([pixels[y : y + BLOCK, x : x + BLOCK] for y, x in corners])
    ordered = [square for turn in itertools.zip_longest(*squares) for square in turn if square is not None]
    for transposed, up, across in itertools.product((False, True), (1, -1), (1, -1)):
        for square in ordered:
            yield (square.transpose(1, 0, 2) if transposed else square)[::up, ::across]
    msg = "the pictures are too few for this size"
    raise ValueError(msg)


def sized(pictures: Sequence[Path], megapixels: float) -> Pixels:
    """About so many megapixels of photographs, side by side, with sides in the ratio 3 to 2."""
    height = round((megapixels * 1e6 * 2 / 3) ** 0.5)
    width = round(height * 1.5)
    source = blocks(pictures)
    rows = [np.concatenate([next(source) for _ in range(-(-width // BLOCK))], 1) for _ in range(-(-height // BLOCK))]
    return np.ascontiguousarray(np.concatenate(rows)[:height, :width])


def timed(work: Callable[[], Any], runs: int) -> tuple[list[float], Any]:
    """Seconds of each run, and the last result."""
    seconds = []
    result = None
    for _ in range(runs):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return seconds, result


def row(name: str, pixels: Pixels, compress: Callable[[], bytes], decompress: Callable[[bytes], Any], runs: int) -> dict[str, Any]:
    there, data = timed(compress, runs)
    back, image = timed(lambda: decompress(data), runs)
    if not np.array_equal(np.asarray(image).reshape(pixels.shape), pixels):
        msg = f"{name} changed the pixels"
        raise ValueError(msg)
    megapixels = pixels.shape[0] * pixels.shape[1] / 1e6
    return {
        "codec": name,
        "megapixels": round(megapixels, 3),
        "bpsp": round(8 * len(data) / pixels.size, 4),
        "compress s": round(statistics.median(there), 4),
        "compress spread": round(max(there) - min(there), 4),
        "decompress s": round(statistics.median(back), 4),
        "decompress spread": round(max(back) - min(back), 4),
        "compress MP/s": round(megapixels / statistics.median(there), 4),
        "decompress MP/s": round(megapixels / statistics.median(back), 4),
        "peak MB so far": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def at(level: str) -> str:
    """igpt at a level, for tables."""
    return "igpt" if level == Level.DEFAULT else f"igpt {level}"


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="default: photographs that come with scikit-image")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.1, 0.4, 1.6, 6, 25])
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--batch", type=int, nargs="+", help="most tiles decoded in lockstep; default: as the decoder does")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    pictures = pictures_in(arguments.folder)
    encoders: dict[str, Encoder] = {"PNG": lambda image: _png(image)}
    encoders |= {name: encode for name, encode in lossless_encoders().items() if name not in SKIPPED}
    rows = []
    device = device_named(arguments.device)
    batches = arguments.batch or [coding.DECODED_TILES[device]]
    compress = functools.partial(codec.compress, device=arguments.device)
    decompress = functools.partial(codec.decode, device=arguments.device)
    for level in Level:
        compress(sized(pictures, min(arguments.megapixels)), level=level)  # what is compiled at the first use
    for megapixels in tqdm(arguments.megapixels, unit="size"):
        pixels = sized(pictures, megapixels)
        runs = arguments.runs if megapixels < LARGE else 1
        ways = list(itertools.product(arguments.threads, batches))
        for threads, batch in ways if megapixels < LARGE else ways[-1:]:
            use_threads(threads)
            coding.DECODED_TILES[device] = batch
            for level in Level:
                name = f"{at(level)}, {device}, {threads} thread{'s' * (threads > 1)}, batch {batch}"
                rows.append(row(name, pixels, functools.partial(compress, pixels, level=level), decompress, runs))
        image = image_of(pixels)
        rows += [row(name, pixels, functools.partial(encode, image), opened, runs) for name, encode in encoders.items()]
    note = f"Medians of {arguments.runs} runs; from {LARGE} megapixels on one run. batch: most tiles that are decoded in lockstep."
    text = write_table(rows, arguments.out / "speed", "Speed", note)
    plots.seconds(rows, arguments.out / "speed.png")
    plots.scaling(rows, arguments.out / "speed-scaling.png")
    print(text)


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


if __name__ == "__main__":
    main()
