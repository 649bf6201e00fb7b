"""Where the time goes: `python -m benchmarks.profile [FOLDER] [--megapixels 0.4 4 24] [--threads 2] [--thumbnails 1000]`.

Photographs of the folder, side by side and cropped to each size, and so many thumbnails of 32x32, inside a running process: seconds for
compress and decompress, and the share of each kind of work. Then what commands take, and how much of it is start-up.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import codec
from benchmarks.measure import RESULTS, Pixels, circumstances, pictures_in
from benchmarks.speed import sized
from bitstream.words import TokenDecoder, TokenEncoder
from codec import coding, pasts
from codec.network import attention, integer, operations
from codec.stepping import CompiledSteps, Steps

BETWEEN = ("to_integers", "to_bytes", "looked_up", "added", "normalized")
ATTENTION = ("ParallelAttention", "CachedAttention", "CompiledParallelAttention", "CompiledCachedAttention")


class Stopwatch:
    """Adds up the time of calls by kind of work; a call inside of another one counts for the inner kind only."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.inner = 0.0

    def wrapped(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            before, self.inner = self.inner, 0.0
            start = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                spent = time.perf_counter() - start
                self.seconds[kind] += spent - self.inner
                self.inner = before + spent

        return call

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        places: list[tuple[Any, str, str]] = [
            (integer.IntegerImageGPT, "product_and_scale", "matrix products"),
            (coding, "TileContext", "context"),
            (pasts, "recognised", "search for a past"),
            (TokenEncoder, "encode", "range coder"),
            (TokenDecoder, "decode", "range coder"),
            *((steps, name, "context") for steps in (Steps, CompiledSteps) for name in ("features", "head", "accept")),
            *((getattr(attention, name), "__call__", "attention") for name in ATTENTION),
        ]
        for kind in (operations.Operations, operations.CompiledOperations):
            places += [(kind, name, "between products") for name in BETWEEN] + [(kind, "frequencies", "frequencies")]
        kept = [(place, name, place.__dict__.get(name)) for place, name, _ in places]
        for place, name, kind in places:
            if name in place.__dict__:
                setattr(place, name, self.wrapped(kind, place.__dict__[name]))
        try:
            yield
        finally:
            for place, name, function in kept:
                if function is not None:
                    setattr(place, name, function)


def profiled(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Seconds in all and by kind, and the result."""
    watch = Stopwatch()
    start = time.perf_counter()
    with watch.on():
        result = work()
    total = time.perf_counter() - start
    return {"seconds": total, **watch.seconds, "the rest": total - sum(watch.seconds.values())}, result


def row(name: str, spent: dict[str, float]) -> str:
    total = spent["seconds"]
    shares = ", ".join(f"{kind} {share / total:.0%}" for kind, share in sorted(spent.items(), key=lambda x: -x[1]) if kind != "seconds")
    return f"| {name} | {total:.2f} | {shares} |"


def commands(source: Path) -> list[str]:
    """Seconds of whole processes."""
    igpt = [sys.executable, "-m", "cli"]
    with tempfile.TemporaryDirectory() as folder:
        packed, back = f"{folder}/x.igpt", f"{folder}/x.png"
        runs = {
            "python": [sys.executable, "-c", ""],
            "import torch": [sys.executable, "-c", "import torch"],
            "igpt --version": [*igpt, "--version"],
            "igpt compress": [*igpt, "compress", "-q", str(source), packed],
            "igpt decompress": [*igpt, "decompress", "-q", packed, back],
            "igpt info": [*igpt, "info", packed],
        }
        lines = []
        for name, command in runs.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            lines.append(f"| {name} | {time.perf_counter() - start:.2f} | |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="default: photographs that come with scikit-image")
    parser.add_argument("--megapixels", type=float, nargs="*", default=[0.4, 4, 24])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--thumbnails", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pictures = pictures_in(arguments.folder)
    codec.decompress_pixels(codec.compress_pixels(sized(pictures, 0.1)))  # what is compiled at the first use
    lines = []

    def both(name: str, some: list[Pixels]) -> None:
        spent, files = profiled(lambda: [codec.compress_pixels(pixels) for pixels in some])
        lines.append(row(f"compress {name}", spent))
        lines.append(row(f"decompress {name}", profiled(lambda: [codec.decompress_pixels(data) for data in files])[0]))

    for megapixels in arguments.megapixels:
        both(f"{megapixels:g} MP", [sized(pictures, megapixels)])
    if arguments.thumbnails:
        large = sized(pictures, arguments.thumbnails * 1024 * 1.2 / 1e6)
        squares = [large[y : y + 32, x : x + 32] for y in range(0, len(large) - 31, 32) for x in range(0, large.shape[1] - 31, 32)]
        both(f"{arguments.thumbnails} of 32x32", squares[: arguments.thumbnails])
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "x.png"
        Image.fromarray(sized(pictures, 0.4)).save(source)
        lines += commands(source)
    command = " ".join(["python -m benchmarks.profile", *(Path(argument).name for argument in sys.argv[1:])])
    text = f"# Where the time goes\n\n{circumstances(command)}\n| | seconds | |\n|---|---:|---|\n" + "\n".join(lines) + "\n"
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "profile.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
