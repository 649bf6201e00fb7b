"""Images per second of torch's DataLoader: `python -m benchmarks.loader [FOLDER] [--sides 256 64] [--crops 1 12] [--workers 0 2]`.

Crops of photographs, so many of each, as igpt files, PNG and WebP, in batches as tensors; the files of an igpt batch are decoded together.
Workers are started, and the first round is run, before the clock is. Writes loader.csv and loader.md.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

import codec
from benchmarks.measure import RESULTS, Pixels, pictures_in, saved, write_table
from codec.pictures.pillow import image_of
from igpt.torch import Pictures, tensor_of

FORMATS: dict[str, Callable[[list[Pixels]], list[bytes]]] = {
    "igpt fast": lambda crops: codec.compress_many(crops, level="fast", device="cpu"),
    "igpt": lambda crops: codec.compress_many(crops, device="cpu"),
    "PNG": lambda crops: [saved(image_of(pixels), "PNG") for pixels in crops],
    "WebP": lambda crops: [saved(image_of(pixels), "WEBP", lossless=True, method=6, quality=100, exact=True) for pixels in crops],
}


class Opened(Dataset[Any]):
    """Files that Pillow opens."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        with Image.open(self.paths[index]) as image:
            return tensor_of(image)


def crops_of(pictures: list[Path], side: int, count: int) -> Iterator[Pixels]:
    """So many of each picture, of random places, (side, side, 3)."""
    rng = np.random.default_rng(0)
    for path in pictures:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        for _ in range(count):
            y, x = (rng.integers(0, n - side + 1) for n in pixels.shape[:2])
            yield np.ascontiguousarray(pixels[y : y + side, x : x + side])


def seconds_of(loader: Any, crops: list[Pixels], runs: int) -> list[float]:
    """Of each run through all; the first one, which is not counted, checks what comes."""
    found = np.concatenate([batch.numpy() for batch in loader]).transpose(0, 2, 3, 1)
    if not np.array_equal(found, np.stack(crops)):
        msg = "other pixels came back"
        raise ValueError(msg)
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        for _ in loader:
            pass
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="default: photographs that come with scikit-image")
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 64])
    parser.add_argument("--crops", type=int, nargs="+", default=[1, 12], help="of each photograph, for each side")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows = []
    for side, count in tqdm(list(zip(arguments.sides, arguments.crops, strict=True)), unit="side"):
        crops = list(crops_of(pictures_in(arguments.folder), side, count))
        for name, encode in FORMATS.items():
            with tempfile.TemporaryDirectory() as folder:
                paths = [Path(folder) / str(k) for k in range(len(crops))]
                for path, data in zip(paths, encode(crops), strict=True):
                    path.write_bytes(data)
                for workers in arguments.workers:
                    pictures = Pictures(paths) if name.startswith("igpt") else Opened(paths)
                    loader = DataLoader(pictures, arguments.batch, num_workers=workers, persistent_workers=workers > 0)
                    seconds = seconds_of(loader, crops, arguments.runs)
                    rows.append(
                        {
                            "codec": name,
                            "side": side,
                            "images": len(crops),
                            "workers": workers,
                            "bpsp": round(8 * sum(path.stat().st_size for path in paths) / np.stack(crops).size, 3),
                            "images/s": round(len(crops) / statistics.median(seconds), 1),
                            "spread s": round(max(seconds) - min(seconds), 4),
                        }
                    )
    note = f"Batches of {arguments.batch}; medians of {arguments.runs} runs through all images, after one that is not counted."
    text = write_table(rows, arguments.out / "loader", "torch's DataLoader", note)
    print(text)


if __name__ == "__main__":
    main()
