"""What a GPU does: `python -m benchmarks.gpu --out FOLDER [--minutes 8] [--device cuda|cpu]`.

In this order: versions, known answers, the tests that need a GPU, files across devices, speed, a profile of decoding, and training for the
minutes that are left. What each finds is written at once, to FOLDER/NAME.json and FOLDER/gpu.md, so that nothing is lost where time runs
out; where one fails, that is written, and the next goes on. Pictures are those of IGPT_DATA, else made up. See README.md here.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

import codec
from benchmarks.measure import Pixels, circumstances, pictures_in
from benchmarks.speed import sized
from bitstream.container import read
from codec import models
from codec.decompression import decompress_files
from codec.methods.network import Network
from codec.methods.palette import PublishedPalette
from codec.methods.past import PastMethod
from codec.network import coding, gpu, plain
from codec.network.arithmetic import PRODUCTS, is_exact
from codec.network.config import ModelConfig
from codec.network.engines import fast_engine, plain_engine
from codec.network.groups import Turn
from codec.network.known_answer import ANSWER, answer_of, random_network
from codec.network.layers import NO_SURROUNDINGS, Layer, Request, decode_layers, encode_layer, group_shape
from codec.options import Options
from codec.progress import ignore
from codec.tiling.context import SIDE
from codec.tiling.planes import RGB, pixels_to_planes
from codec.tiling.tiles import alone
from codec.training import loop
from tests.conftest import DATA, TINY_PALETTE, coded_by, decoded_jpeg, file_of, photo_cd

ROOT = Path(__file__).parents[1]
FOLDERS = ("train", "train_native", "kodak", "clic2025_crop512")  # of it
CHECKPOINT = ROOT / "checkpoints" / "photo-3"
MADE_UP = 6, 768, 1024  # pictures, where there are none: how many, height and width
CROSSED = 130, 200  # height and width of what crosses devices
MEGAPIXELS = (0.393216, 6, 24)
THUMBNAILS = 1000
BATCHES = (256, 1 << 12, 1 << 14)
BATCHED_MEGAPIXELS = 6
PROFILED_TILES, PROFILED_POSITIONS = 192, 256  # of each of two groups; as of 768x512 pixels
TRAINING_TILES = 96
TRIAL_STEPS = 20
SLOWEST = 12  # kernels that the profile names

Rows = list[dict[str, Any]]


@dataclass
class Run:
    """out: folder of the results; device: cuda or cpu; begun: by `time.monotonic`."""

    out: Path
    device: str
    begun: float
    minutes: float

    def left(self, until: float = 1) -> float:
        """Seconds until a share of the time has passed."""
        return self.begun + until * 60 * self.minutes - time.monotonic()

    @property
    def devices(self) -> list[str]:
        return list(dict.fromkeys([self.device, "cpu"]))

    @property
    def pictures(self) -> list[Path]:
        """Of the data's folders, or made up."""
        return [path for folder in self.folders for path in pictures_in(folder)]

    @property
    def folders(self) -> list[Path]:
        if found := [DATA / name for name in FOLDERS if (DATA / name).is_dir()]:
            return found
        folder = self.out / "pictures"
        if not folder.exists():
            folder.mkdir(parents=True)
            count, height, width = MADE_UP
            for seed in range(count):
                Image.fromarray(made_up(height, width, seed)).save(folder / f"{seed}.png")
        return [folder]

    @property
    def of_photographs(self) -> str:
        return "photographs" if (self.folders[0]).parent == DATA else "made-up pictures"

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def name_compiler() -> None:
    """numba looks for its compiler where CUDA_HOME says; it may have come as a wheel."""
    for place in getattr(find_spec("nvidia"), "submodule_search_locations", None) or ():
        if (Path(place) / "cuda_nvcc" / "nvvm").exists():
            os.environ.setdefault("CUDA_HOME", str(Path(place) / "cuda_nvcc"))


def made_up(height: int, width: int, seed: int) -> Pixels:
    """Somewhat like a photograph, (height, width, 3): noise of all sizes, edges, and grain."""
    random = torch.Generator().manual_seed(seed)
    total = torch.zeros(3, height, width)
    for octave in range(1, 9):
        small = torch.randn(3, max(2, height >> octave), max(2, width >> octave), generator=random)
        small = 0.3 * small + small[:1]  # mostly grey
        total += 1.7**octave * torch.nn.functional.interpolate(small[None], (height, width), mode="bilinear")[0]
    total += 20 * (total.mean(0) > 0) + torch.randn(3, height, width, generator=random)
    pixels: Pixels = (115 + total).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return pixels


def versions(run: Run) -> Iterator[Rows]:
    import numba
    from numba import cuda

    rows: Rows = [{"what": "pictures", "is": run.of_photographs}, {"what": "numba", "is": numba.__version__}]
    rows.append({"what": "numba.cuda", "is": f"{getattr(cuda, 'implementation', '')} {getattr(cuda, '__version__', '')}".strip()})
    rows.append({"what": "CUDA of torch", "is": torch.version.cuda or "none"})
    yield rows
    if run.device == "cuda":
        found = torch.cuda.get_device_properties(0)
        rows.append({"what": "device", "is": f"{found.name}, {found.total_memory >> 30} GiB, {found.multi_processor_count} processors"})
        rows.append({"what": "kernels on the GPU", "is": gpu.why_not() or "yes"})
    yield rows


def known_answers(run: Run) -> Iterator[Rows]:
    """Of every engine, here and there."""
    from codec.network.engine import plain_torch
    from codec.palette import known_answer
    from codec.palette.fast import FastOperations
    from codec.palette.operations import PaletteOperations

    tests: dict[str, Callable[[], bool]] = {}
    for device in run.devices:
        for name, product in PRODUCTS.items():
            tests[f"products by {name}, {device}"] = partial(is_exact, product, torch.device(device))
            tests[f"network, {plain_torch(device)}, products by {name}"] = partial(_network_is_exact, product, device)
        operations = PaletteOperations(plain_torch(device))
        tests[f"published network, {plain_torch(device)}"] = partial(_palette_is_exact, operations, device, known_answer)
    if run.device == "cuda":
        tests["range coder, kernels on the GPU"] = partial(gpu.codes_exactly, "cuda")
        tests["attention, kernel on the GPU"] = partial(gpu.attends_exactly, "cuda")
        tests["network, as it is used on the GPU"] = lambda: answer_of(plain_engine(random_network(device="cuda"))) == ANSWER
    tests["network, compiled kernels"] = lambda: answer_of(fast_engine(random_network())) == ANSWER
    tests["published network, compiled kernels"] = partial(_palette_is_exact, FastOperations("kernels"), "cpu", known_answer)
    rows: Rows = []
    for name, test in tests.items():
        start = time.perf_counter()
        rows.append({"what": name, "exact": _tried(test), "seconds": round(time.perf_counter() - start, 2)})
        yield rows


def _network_is_exact(product: Any, device: str) -> bool:
    return answer_of(plain.PlainEngine(random_network(device=device), product)) == ANSWER


def _palette_is_exact(operations: Any, device: str, known_answer: Any) -> bool:
    return bool(known_answer.answer_of(operations, device) == known_answer.ANSWER)


def _tried(work: Callable[[], Any]) -> Any:
    """What comes of it, or the error in a line."""
    try:
        return work()
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def tests_on_the_gpu(run: Run) -> Iterator[Rows]:
    """Those that are marked gpu; without one, only their names."""
    files = [path for path in sorted((ROOT / "tests").glob("test_*.py")) if "pytest.mark.gpu" in path.read_text()]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *map(str, files)]
    if run.device == "cpu":
        command.append("--collect-only")
    start = time.perf_counter()
    try:
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=max(1, run.left(0.35)))
        code, output = str(result.returncode), result.stdout + result.stderr
    except subprocess.TimeoutExpired as error:
        code, output = "out of time", (error.stdout or b"").decode(errors="replace")
    (run.out / "pytest.txt").write_text(output)
    lines = output.strip().splitlines() or [""]
    yield [{"exit code": code, "seconds": round(time.perf_counter() - start, 1), "last line": lines[-1]}]


def across_devices(run: Run) -> Iterator[Rows]:
    """Files made on the CPU decoded on the device, and the other way, by every method that uses a network."""
    pixels = sized(run.pictures, max(CROSSED[0] * CROSSED[1] * 4e-6, 1e-4))[: CROSSED[0], : CROSSED[1]]
    grey = np.ascontiguousarray(pixels[..., 1:2])
    ways: dict[str, tuple[Any, Pixels, dict[str, Any]]] = {
        "network, colours": (Network(), pixels, {}),
        "network, grey": (Network(), grey, {}),
        "past, JPEG": (PastMethod(), decoded_jpeg(pixels), {}),
        "past, PhotoCD": (PastMethod(), photo_cd(*CROSSED), {}),
        "palette": (PublishedPalette(), pixels[:40, :70], {"model": TINY_PALETTE}),
    }
    rows: Rows = [{"what": "coefficients of JPEG files, and of decoded ones", "same bytes": "CPU only: their network runs nowhere else"}]
    yield rows
    for name, (method, source, options) in ways.items():

        def crossed(method: Any = method, source: Pixels = source, options: dict[str, Any] = options) -> dict[str, Any]:
            made = {device: file_of(source, coded_by(method, source, device=device, **options)) for device in run.devices}
            here, there = made["cpu"], made[run.device]
            back = [
                np.array_equal(codec.decode(data, device=device, **options).reshape(source.shape), source)
                for data, device in ((here, run.device), (there, "cpu"), (there, run.device))
            ]
            keys = ("same bytes", "CPU's file on the device", "the device's file on the CPU", "on the device")
            return dict(zip(keys, (here == there, *back), strict=True))

        found = _tried(crossed)
        rows.append({"what": name, **(found if isinstance(found, dict) else {"same bytes": found})})
        yield rows


def speed(run: Run) -> Iterator[Rows]:
    """Whole pictures, and what the network has of it; the device first, then the CPU as far as the time goes."""
    rows: Rows = []
    until = 0.6
    slowest = dict.fromkeys(run.devices, 0.0)  # seconds a megapixel

    def add(name: str, device: str, megapixels: float, work: Callable[[], tuple[float, float]]) -> Iterator[Rows]:
        if run.left(until) < slowest[device] * megapixels:
            rows.append({"what": name, "device": device, "megapixels": round(megapixels, 3), "compress s": "no time left"})
        else:
            found = _tried(work)
            rows.append({"what": name, "device": device, "megapixels": round(megapixels, 3)})
            if isinstance(found, tuple):
                rates = [round(megapixels / seconds, 3) for seconds in found]
                slowest[device] = sum(found) / megapixels
                seconds = [round(x, 3) for x in found]
                rows[-1] |= dict(zip(("compress s", "decompress s", "compress MP/s", "decompress MP/s"), (*seconds, *rates), strict=True))
            else:
                rows[-1]["compress s"] = found
        yield rows

    pixels = {size: sized(run.pictures, size) for size in MEGAPIXELS}
    first = pixels[min(MEGAPIXELS)]
    for device in run.devices:
        _tried(lambda device=device: whole(first[:64, :64], device))  # what is compiled or recorded at the first use
        for size in MEGAPIXELS:
            yield from add("whole", device, size, partial(whole, pixels[size], device))
            yield from add("network", device, size, partial(by_network, pixels[size], device))
        yield from add(f"{THUMBNAILS} of 32x32", device, THUMBNAILS * SIDE**2 / 1e6, partial(thumbnails, run, device))
        if device != run.device:
            continue
        batched = sized(run.pictures, BATCHED_MEGAPIXELS)
        for batch in BATCHES:
            with patch.dict(coding.DECODED_TILES, {device: batch}):
                yield from add(f"network, {batch} tiles in lockstep", device, BATCHED_MEGAPIXELS, partial(by_network, batched, device))
        with patch.object(plain, "REPLAY", False):
            yield from add("network, without CUDA graphs", device, min(MEGAPIXELS), partial(by_network, first, device))
        with patch.object(gpu, "why_not", lambda: "not wanted"):
            yield from add("network, words by the CPU", device, min(MEGAPIXELS), partial(by_network, first, device))


def seconds_of(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def whole(pixels: Pixels, device: str) -> tuple[float, float]:
    """Seconds to compress and to decompress."""
    there, data = seconds_of(lambda: codec.compress(pixels, device=device))
    back, found = seconds_of(lambda: codec.decode(data, device=device))
    _same(found, pixels)
    return there, back


def by_network(pixels: Pixels, device: str) -> tuple[float, float]:
    """The same without what is done beside the network."""
    network = models.load(None, "rgb", device)
    layer = Layer(RGB, pixels_to_planes(pixels))
    shape, size = group_shape(layer.grid), (layer.grid.width, layer.grid.height)
    there, payloads = seconds_of(lambda: encode_layer(network, layer, shape, ignore))
    back, (planes,) = seconds_of(lambda: decode_layers([Request(network, RGB, size, NO_SURROUNDINGS, shape, payloads)], ignore))
    _same(planes, layer.planes)
    return there, back


def thumbnails(run: Run, device: str) -> tuple[float, float]:
    """Compressed one by one, decompressed together."""
    large = sized(run.pictures, THUMBNAILS * SIDE**2 * 1.3 / 1e6 + 0.01)
    rows, columns = large.shape[0] // SIDE, large.shape[1] // SIDE
    squares = [large[SIDE * y :, SIDE * x :][:SIDE, :SIDE] for y in range(rows) for x in range(columns)][:THUMBNAILS]
    there, files = seconds_of(lambda: [codec.compress(square, device=device) for square in squares])
    back, found = seconds_of(lambda: decompress_files([*map(read, files)], Options(device=device)))
    for picture, square in zip(found, squares, strict=True):
        _same(picture.pixels, square)
    return there, back


def _same(found: Any, expected: Pixels) -> None:
    if not np.array_equal(np.asarray(found).reshape(expected.shape), expected):
        msg = "the pixels differ"
        raise ValueError(msg)


def profile(run: Run) -> Iterator[Rows]:
    """Of a step of decoding, with and without CUDA graphs: its kernels, launches and copies, and the slowest kernels."""
    from torch.profiler import ProfilerActivity

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if run.device == "cuda" else [])]
    engine = plain_engine(models.load(None, "rgb", run.device))
    extents = np.full((PROFILED_TILES, 2), (-(-PROFILED_POSITIONS // SIDE), SIDE))
    turn = Turn(RGB, extents, alone(PROFILED_TILES, RGB.channels))
    samples = np.random.default_rng(0).integers(118, 138, (PROFILED_TILES, 3, SIDE * SIDE)).astype(np.uint8)
    payloads = coding.encode_groups(engine, [[(turn, samples)]] * 2, ignore)
    rows: Rows = []

    def seconds_for(positions: int) -> float:
        def decode() -> None:
            coding.Decoding(engine, payloads).turn({0: turn, 1: turn}, ignore, positions)
            run.wait()

        return seconds_of(decode)[0]

    half = PROFILED_POSITIONS // 2
    for replay in dict.fromkeys([run.device == "cuda", False]):
        how = "with CUDA graphs" if replay else "one by one"
        with patch.object(plain, "REPLAY", replay):
            seconds_for(half)  # what is compiled
            before = seconds_for(half)
            if run.left(0.8) < 10 * before:
                rows.append({"what": "no time left"})
                yield rows
                return
            rows.append(_per_step(f"a step of {2 * PROFILED_TILES} tiles, {how}", half, 1e6 * (seconds_for(2 * half) - before), half))
            yield rows
            with torch.profiler.profile(activities=activities) as found:
                coding.Decoding(engine, payloads).turn({0: turn, 1: turn}, ignore, PROFILED_POSITIONS)
                run.wait()
        averages = found.key_averages()
        device_time = (lambda e: e.self_device_time_total) if run.device == "cuda" else (lambda e: e.self_cpu_time_total)
        on_device = [e for e in averages if (str(e.device_type).endswith("CUDA")) == (run.device == "cuda") and device_time(e) > 0]
        parts: dict[str, Sequence[Any]] = {
            "all kernels": [e for e in on_device if not re.match("Memcpy|Memset", e.key)],
            "copies between host and device": [e for e in on_device if re.match("Memcpy (HtoD|DtoH)", e.key)],
            "range coder": [e for e in on_device if "gpu_coder" in e.key or "range_coder" in e.key],
            "launches of kernels": [e for e in averages if re.match("cudaLaunchKernel|cuLaunchKernel", e.key)],
            "launches of graphs": [e for e in averages if e.key.startswith("cudaGraphLaunch")],
        }
        for name, events in parts.items():
            spent = sum(e.self_cpu_time_total if name.startswith("launches") else device_time(e) for e in events)
            rows.append(_per_step(f"{name}, {how}", sum(e.count for e in events), spent))
        for event in sorted(on_device, key=device_time, reverse=True)[:SLOWEST]:
            rows.append(_per_step(event.key[:90], event.count, device_time(event)))
        yield rows


def _per_step(name: str, count: int, microseconds: float, steps: int = 0) -> dict[str, Any]:
    """Of so many steps, or of those that were profiled, their recording included."""
    steps = steps or PROFILED_POSITIONS
    return {"what": name, "a step": round(count / steps, 2), "us a step": round(microseconds / steps, 1)}


def training(run: Run) -> Iterator[Rows]:
    """From the latest checkpoint, for the minutes that are left, with a checkpoint every minute; where one of a training lies in the
    folder, that goes on."""
    out, config = run.out / "training", ModelConfig.load(CHECKPOINT)
    train = partial(loop.train, run.folders[:2], run.folders[-1], config=config, device=run.device, tiles=TRAINING_TILES, quiet=True)
    rows: Rows = []
    for what in ("the first steps", "later steps"):
        start = time.monotonic()
        with patch.object(loop, "VALIDATIONS", 1):
            train(run.out / f"trial-{len(rows)}", TRIAL_STEPS, start_from=CHECKPOINT)
        seconds = (time.monotonic() - start) / TRIAL_STEPS
        rate = round(TRAINING_TILES * SIDE**2 / seconds)
        rows.append({"what": f"{what}, of {TRAINING_TILES} tiles", "seconds each": round(seconds, 3), "positions/s": rate})
        yield rows
    steps = int(0.9 * run.left() / seconds)
    if steps < 1:
        rows.append({"what": "no time left for more"})
        yield rows
        return
    with patch.object(loop, "VALIDATIONS", max(1, min(steps, round(run.left() / 60)))):
        train(out, steps, start_from=CHECKPOINT, until=time.monotonic() + run.left())
    rows += [{"what": f"after {entry['step']} of {steps} steps", **entry} for entry in json.loads((out / "training.json").read_text())]
    yield rows


STEPS: dict[str, Callable[[Run], Iterator[Rows]]] = {
    "versions": versions,
    "known-answers": known_answers,
    "tests": tests_on_the_gpu,
    "across-devices": across_devices,
    "speed": speed,
    "profile": profile,
    "training": training,
}


def write(run: Run, name: str, result: dict[str, Any], all_of_them: dict[str, dict[str, Any]]) -> None:
    """A step's result so far, and the summary of all."""
    all_of_them[name] = result
    (run.out / f"{name}.json").write_text(json.dumps(result, indent=1, default=str) + "\n")
    text = f"# On a GPU\n\n{circumstances(f'python -m benchmarks.gpu --device {run.device} --minutes {run.minutes:g}')}\n"
    for title, found in all_of_them.items():
        text += f"## {title}\n\n{table(found['rows'])}\n{found['seconds']} s\n\n"
        if "error" in found:
            text += f"```\n{found['error']}```\n\n"
    (run.out / "gpu.md").write_text(text)


def table(rows: Rows) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        return ""
    lines = [names, ["---"] * len(names), *([str(row.get(name, "")).replace("|", "/") for name in names] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    name_compiler()
    run = Run(arguments.out, arguments.device, time.monotonic(), arguments.minutes)
    found: dict[str, dict[str, Any]] = {}
    for name, step in STEPS.items():
        start, result = time.monotonic(), dict[str, Any](rows=[], seconds=0)
        try:
            for rows in step(run) if run.left() > 0 else ([{"what": "no time left"}],):
                result |= {"rows": rows, "seconds": round(time.monotonic() - start, 1)}
                write(run, name, result, found)
        except Exception:
            result["error"] = traceback.format_exc()
        result["seconds"] = round(time.monotonic() - start, 1)
        write(run, name, result, found)
        print(f"{name}: {result['seconds']} s{', failed' if 'error' in result else ''}", flush=True)
    print((run.out / "gpu.md").read_text())
    return int(any("error" in result for result in found.values()))


if __name__ == "__main__":
    sys.exit(main())
