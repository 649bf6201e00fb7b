"""Where the time goes: `python -m benchmarks.profile [FOLDER] [--megapixels 0.4 4 24] [--threads 2] [--thumbnails 1000]`.

Photographs of the folder, side by side and cropped to each size, and so many thumbnails of 32x32, inside a running process: seconds for
compress and decompress, and the share of each kind of work. Then what commands take, and how much of it is start-up. Then what a row
costs in the parts of the layers' kernel, each by itself on one thread, beside what the machine could do.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import njit
from PIL import Image

import codec
from benchmarks.measure import RESULTS, Pixels, circumstances, pictures_in
from benchmarks.speed import sized
from bitstream.container import read
from codec import models
from codec.decompression import decompress_files
from codec.methods import past
from codec.network import fast, kernels, words
from codec.network.vectors import INPUT, LANES
from codec.options import Options
from codec.threads import threads, use_threads

TOGETHER = 256  # files that are decompressed at once


class Stopwatch:
    """Adds up the time of calls by kind of work; a call inside of another one counts for the inner kind only, and one beside others by its
    thread's share of all."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.all, self.own = threads(), threading.local()

    def wrapped(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            before, self.own.inner = getattr(self.own, "inner", 0.0), 0.0
            start = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                spent = time.perf_counter() - start
                self.seconds[kind] += (spent - self.own.inner) * threads() / self.all
                self.own.inner = before + spent

        return call

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        places: list[tuple[Any, str, str]] = [
            (fast.FastEngine, "hidden_of_tiles", "layers"),
            (fast.FastSteps, "go_to", "layers"),
            (fast.FastEngine, "frequencies_into", "heads and frequencies"),
            (fast.FastEngine, "see", "context"),
            (kernels, "context", "context"),
            (past, "recognised", "search for a past"),
            (words.Encoder, "encode", "range coder"),
            (fast.FastSteps, "read", "frequencies, range coder and context"),
        ]
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


@njit
def products(times, x, weight, scale, out):
    for _ in range(times):
        kernels._product(x, weight, scale, out)


@njit
def attentions(times, where, sizes, layers, cache, room):
    for _ in range(times):
        arrays = room.qkv, room.means, room.scores, room.bests, room.totals, room.weights, room.head_sums
        kernels._attended(where, 0, sizes, layers.scores[0], layers.exponentials, cache, *arrays, len(where))


@njit
def lookups(times, sums, scale, table, out):
    for _ in range(times):
        kernels._looked_up(sums, scale, table, out)


@njit
def norms(times, x, gain, shift, inverses, out):
    for _ in range(times):
        kernels._normalized(x, gain, shift, inverses, out)


def least(times: int, work: Callable[..., Any], *arguments: Any) -> float:
    """Seconds of a call, the least of several."""
    work(1, *arguments)
    found = []
    for _ in range(7):
        start = time.perf_counter()
        work(times, *arguments)
        found.append(time.perf_counter() - start)
    return min(found) / times


def inside() -> list[str]:
    """A layer's parts on one thread, nanoseconds per row, and the rates of the machine's whole."""
    network = fast.FastEngine(models.load(None, "rgb", "cpu"))
    config, layers, random = network.config, network.layers, np.random.default_rng(0)
    rows, nanoseconds = kernels.BLOCK, 0.0
    work = 0
    for weight, scale in ((layers.attention, layers.attention_scale), (layers.attended, layers.attended_scale),
                          (layers.widened, layers.widened_scale), (layers.narrowed, layers.narrowed_scale)):  # fmt: skip
        depth, width = weight[0].size // scale.shape[2], scale.shape[2]
        x, out = random.integers(0, 127, (rows, depth)).astype(INPUT), np.zeros((rows, width), np.int32)
        nanoseconds += 1e9 * least(300, products, x, weight[0], scale[0], out) / rows
        work += depth * width
    lines = [f"| matrix products | {nanoseconds:.0f} | {work / nanoseconds:.0f} G multiply-adds/s |"]
    window, positions = config.attention_window, 2 * kernels.BLOCK + config.attention_window
    sizes = network.cache_sizes(positions + LANES)
    cache, room = network.cache(1, sizes), network.room(sizes)
    room.qkv[:] = random.integers(-30, 30, room.qkv.shape)
    place = np.arange(positions - rows, positions)
    where = np.stack([place, 0 * place, place, place + 1 - window, 0 * place + window], 1)
    of_heads = 1e9 * least(300, attentions, where, sizes, layers, cache, room) / rows
    lines.append(f"| attention | {of_heads:.0f} | {2 * config.n_embd * window / of_heads:.0f} G multiply-adds/s |")
    sums = random.integers(-5000, 5000, (rows, config.n_inner)).astype(np.int32)
    table = 1e9 * least(300, lookups, sums, layers.widened_scale[0], layers.tables[0], np.empty(sums.shape, INPUT)) / rows
    lines.append(f"| activation by table | {table:.0f} | |")
    x = random.integers(-5000, 5000, (rows, config.n_embd)).astype(np.int32)
    both = 2e9 * least(1000, norms, x, layers.gains[0], layers.norm_shifts[0], room.inverses, np.empty(x.shape, INPUT)) / rows
    lines.append(f"| norms | {both:.0f} | |")
    a, b = (torch.randint(-64, 64, (2048, 2048), dtype=torch.int8) for _ in range(2))
    copied = np.zeros(1 << 28, np.uint8)
    torch.set_num_threads(1)
    best = least(1, lambda _: torch._int_mm(a, b))
    moved = least(1, lambda _: copied.copy())
    lines.append(f"| the machine, one thread: torch's 8-bit products | | {2048**3 / best / 1e9:.0f} G multiply-adds/s |")
    lines.append(f"| the machine, one thread: memory copied | | {2 * copied.size / moved / 1e9:.0f} GB/s |")
    return lines


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
    parser.add_argument("--threads", type=int, default=threads())
    parser.add_argument("--thumbnails", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    use_threads(arguments.threads)
    pictures = pictures_in(arguments.folder)
    codec.decode(codec.compress(sized(pictures, 0.1)))  # what is compiled at the first use
    lines = []

    def both(name: str, some: list[Pixels]) -> None:
        spent, files = profiled(lambda: [codec.compress(pixels) for pixels in some])
        lines.append(row(f"compress {name}", spent))
        parts = [files[k : k + TOGETHER] for k in range(0, len(files), TOGETHER)]
        lines.append(row(f"decompress {name}", profiled(lambda: [decompress_files([*map(read, part)], Options()) for part in parts])[0]))

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
    text += "\n| in the layers' kernel | ns per row of a layer | |\n|---|---:|---|\n" + "\n".join(inside()) + "\n"
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "profile.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
