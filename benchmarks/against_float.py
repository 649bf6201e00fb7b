"""igpt against a float32 ImageGPT that steps with its own key/value cache: `python -m benchmarks.against_float [PICTURE]`.

The float model is `transformers.ImageGPTForCausalImageModeling` of the same width, depth and number of tiles, one position at a time, and
only its forward passes are timed: no features, no frequencies, no range coder. igpt's times are end to end, inside a running process.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import codec
from benchmarks.demo import sample
from codec import models
from codec.devices import device_named
from codec.tiling.context import POSITIONS
from codec.tiling.tiles import Grid

RUNS = 3


def float_seconds(tiles: int, device: str) -> float:
    """Seconds for 1024 cached steps of a float32 ImageGPT over `tiles` tiles."""
    from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling

    config = models.load(None, "rgb", device).config
    sizes = {name: getattr(config, name) for name in ("n_embd", "n_layer", "n_head", "n_inner", "n_positions")}
    model = ImageGPTForCausalImageModeling(ImageGPTConfig(vocab_size=513, **sizes)).eval().to(device)
    tokens = torch.randint(0, 512, (tiles, POSITIONS), device=device)
    cache = None
    start = time.perf_counter()
    with torch.no_grad():
        for position in range(POSITIONS):
            out = model(tokens[:, position : position + 1], past_key_values=cache, use_cache=True)
            cache = out.past_key_values
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else sample()
    pixels = np.asarray(Image.open(source).convert("RGB"))
    height, width, _ = pixels.shape
    device = device_named("auto")
    codec.compress(pixels[:32, :32])
    times: dict[str, list[float]] = {"compress": [], "decompress": []}
    for _ in range(RUNS):
        start = time.perf_counter()
        data = codec.compress(pixels)
        times["compress"].append(time.perf_counter() - start)
        start = time.perf_counter()
        codec.decode(data)
        times["decompress"].append(time.perf_counter() - start)
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:12} {median:7.1f} s, {height * width / 1e6 / median:.3f} megapixels per second")
    theirs = float_seconds(Grid(width, height).tiles, device)
    ratio = theirs / statistics.median(times["decompress"])
    print(f"float32 with cache {theirs:.1f} s on {device}, {torch.get_num_threads()} threads: {ratio:.1f} times igpt's decompress")


if __name__ == "__main__":
    main()
