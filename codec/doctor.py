"""What igpt finds on this machine: versions, engines and whether they compute exactly, speed, models, and where things are kept."""

import importlib.metadata
import math
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bitstream.constants import CONTAINER_VERSION
from bitstream.errors import IgptError, ModelError
from codec import jit, models
from codec.devices import why_no_gpu
from codec.extras import has_torch
from codec.network.engine import KERNELS, plain_torch
from codec.network.engines import require_exact, why_not_fast
from codec.network.layers import NO_SURROUNDINGS, Layer, Request, decode_layers, encode_layer, group_shape
from codec.options import Level
from codec.progress import Progress, ignore
from codec.threads import cores, threads
from codec.tiling.planes import RGB, pixels_to_planes

PACKAGES = ("numpy", "numba", "llvmlite", "torch", "constriction", "Pillow", "safetensors", "typer", "ray")
VARIABLES = ("IGPT_MODEL_PATH", "OMP_NUM_THREADS", "NUMBA_CACHE_DIR", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_DISABLE_JIT")
VECTORS = ("avx512f", "avx2", "sse4.1", "neon")  # the widest first
MEASURED_LEVELS = Level.FAST, Level.DEFAULT  # the other would take as long as all else
MEASURED = 256, 256  # rows and columns of the picture with which speed is measured
EXACT = "exact"


def pixels() -> int:
    """There and back, that `findings` goes through."""
    return 2 * len(MEASURED_LEVELS) * math.prod(MEASURED)


def findings(progress: Progress = ignore) -> dict[str, Any]:
    """Plain values, for people and programs. Every engine is proven by the known-answer test; `engines` has EXACT for those that pass, and
    for the others why not. progress: called with the number of pixels just done, after the engines, which take a few seconds."""
    engines = {KERNELS: why_not_fast() or EXACT, plain_torch("cpu"): _plain(), plain_torch("cuda"): why_no_gpu() or EXACT}
    return {
        "igpt": importlib.metadata.version("igpt"),
        "container version": CONTAINER_VERSION,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}, {sys.byteorder} endian",
        "cores": cores(),
        "threads": threads(),
        **_compiler(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "settings": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "engines": engines,
        "megapixels per second": {str(level): _speed(level, progress) for level in MEASURED_LEVELS} if EXACT in engines.values() else {},
        "models": {folder.name: models.digest_of(folder).hex() for folder in (*models.shipped(), *models.added())},
        "stores": {str(store): _writable(store) for store in models.stores()},
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _plain() -> str:
    if not has_torch():
        return "torch is not installed"
    try:
        require_exact("cpu")
    except ModelError as error:
        return str(error)
    return EXACT


def _compiler() -> dict[str, Any]:
    """For which processor kernels are compiled, and where they are kept."""
    if jit.interpreted():
        return {"processor": platform.processor() or "unknown", "kernels kept": "none are compiled"}
    from llvmlite import binding

    own = not jit.numba.config.CPU_FEATURES and binding.get_host_cpu_features()
    name = jit.numba.config.CPU_NAME or binding.get_host_cpu_name()
    widest = next((vector for vector in VECTORS if own and own.get(vector)), "")
    return {"processor": f"{name}, {widest}" if widest else name, "kernels kept": _place()}


def _place() -> str:
    if not jit.kept:
        return "nowhere, so they are compiled at every run: NUMBA_CACHE_DIR can name a folder"
    from codec.network import kernels

    return str(kernels.hidden._cache.cache_path)


def _speed(level: Level, progress: Progress) -> dict[str, float]:
    """There and back, by the models of a level for colours."""
    rows, columns = MEASURED
    y, x = np.mgrid[:rows, :columns]
    noise = np.random.default_rng(0).integers(-6, 7, (rows, columns, 3))
    picture = (128 + 60 * np.sin(x / 40)[..., None] + 50 * np.sin(y / 30)[..., None] + noise).astype(np.uint8)
    network = models.tried(None, "rgb", "cpu", level)[0]
    layer = Layer(RGB, pixels_to_planes(picture))
    shape = group_shape(layer.grid)
    encode_layer(network, Layer(RGB, layer.planes[:, :32, :64]), shape, ignore)  # what is loaded or compiled at the first use
    start = time.perf_counter()
    payloads = encode_layer(network, layer, shape, progress)
    between = time.perf_counter()
    (found,) = decode_layers([Request(network, RGB, (columns, rows), NO_SURROUNDINGS, shape, payloads)], progress)
    end = time.perf_counter()
    if not np.array_equal(found, layer.planes):
        msg = "what was coded here does not come back"
        raise IgptError(msg)
    return {
        "compress": round(rows * columns / 1e6 / (between - start), 3),
        "decompress": round(rows * columns / 1e6 / (end - between), 3),
    }


def _writable(folder: Path) -> str:
    """Whether something can be kept in a folder, or where it would be made."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    try:
        with tempfile.TemporaryFile(dir=there):
            return "can be written" if there == folder else "can be made"
    except OSError as error:
        return f"cannot be written: {error.strerror}"
