"""The same samples and the same files everywhere: `python -m benchmarks.exactness [PYTHON ...]`.

Each PYTHON, an interpreter in whose environment igpt's dependencies are (by default the one that runs this), or a script that emulates
one, decodes all golden files and compresses their pictures, with kernels for several kinds of processors. What they have in common is in
the table, and what differs. Writes exactness.md. `--worker` does it once, here, and prints a line of JSON.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
SECONDS = 900  # of a worker: the smallest files first, as far as that suffices
KERNELS = {  # environments, by what kernels are compiled for
    "this processor": {},
    "AVX-512, without products of bytes": {"NUMBA_CPU_NAME": "skylake-avx512"},
    "AVX2": {"NUMBA_CPU_NAME": "haswell"},
    "SSE4.2": {"NUMBA_CPU_NAME": "nehalem"},
    "any x86-64, or ARM": {"NUMBA_CPU_NAME": "generic"},
    "nothing: plain Python": {"NUMBA_DISABLE_JIT": "1"},
}
PACKAGES = "numpy", "numba", "llvmlite", "constriction", "pillow"


def worker(seconds: float) -> dict[str, Any]:
    """Decodes and compresses here. What it has not begun by then is left out."""
    os.environ["IGPT_MODEL_PATH"] = str(GOLDEN)
    from bitstream.errors import ModelError
    from codec.api import compress
    from codec.network.engines import why_not_fast
    from tests.conformance import difference
    from tests.igpt_decoder import Options as Given
    from tests.igpt_decoder import decompress_file, read, written

    known = json.loads((GOLDEN / "expected.json").read_text())["valid"]
    start = time.monotonic()
    paths = sorted((GOLDEN / f"{name}.igpt" for name in known), key=lambda path: known[path.stem]["bytes"])
    decoded, wrong, made = 0, [], hashlib.sha256()
    for path in paths:
        if time.monotonic() - start > seconds:
            break
        try:
            found = written(decompress_file(read(path.read_bytes()), Given(device="cpu")))
        except ModelError:  # of a published model, where torch is missing
            continue
        decoded += 1
        if difference(known[path.stem], found):
            wrong.append(path.stem)
    pictures = sorted(path for path in GOLDEN.glob("*.*") if path.suffix in (".png", ".jpg"))
    for k, path in enumerate(pictures):
        if time.monotonic() - start > seconds:
            pictures = pictures[:k]
            break
        for level in ("fast", "default", "best"):
            made.update(compress(path, level=level, device="cpu"))
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: _version(name) for name in PACKAGES},
        "decoded": decoded,
        "of": len(paths),
        "wrong": wrong,
        "pictures": len(pictures),
        "made": made.hexdigest()[:16],
        "engine": why_not_fast() or "compiled kernels",
        "seconds": round(time.monotonic() - start),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def ran(interpreter: str, environment: dict[str, str], seconds: float) -> dict[str, Any]:
    """What a worker prints."""
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [interpreter, "-m", "benchmarks.exactness", "--worker", "--seconds", str(seconds)],
            cwd=ROOT,
            env={**os.environ, "NUMBA_CACHE_DIR": cache, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["?"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(kernels: str, found: dict[str, Any]) -> str:
    if "error" in found:
        return f"| | {kernels} | {found['error']} | | |"
    versions = ", ".join(f"{name} {found[name]}" for name in PACKAGES if found[name])
    right = f"{found['decoded'] - len(found['wrong'])} of {found['of']}" + (
        f"; wrong: {', '.join(found['wrong'])}" if found["wrong"] else ""
    )
    made = f"{found['pictures']} pictures, three levels: `{found['made']}`" if found["pictures"] else ""
    return f"| Python {found['python']}, {found['machine']}: {versions} | {kernels} | {right} | {made} | {found['seconds']} |"


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", default=[sys.executable])
    parser.add_argument(
        "--kernels", nargs="*", choices=KERNELS, default=[*KERNELS], help="of the first PYTHON; of others for this processor"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each, about: the smallest first (default: %(default)s)")
    parser.add_argument("--add", action="store_true", help="keep the lines of the table that there is")
    parser.add_argument("--worker", action="store_true")
    arguments = parser.parse_args(given)
    if arguments.worker:
        print(json.dumps(worker(arguments.seconds)))
        return
    from benchmarks.measure import RESULTS, circumstances

    results = RESULTS / "exactness.md"
    lines = [line for line in results.read_text().splitlines() if line.startswith("| Python")] if arguments.add and results.exists() else []
    for k, interpreter in enumerate(arguments.pythons):
        for kernels in arguments.kernels if k == 0 else [next(iter(KERNELS))]:
            lines.append(row(kernels, ran(interpreter, KERNELS[kernels], arguments.seconds)))
            print(lines[-1], flush=True)
    text = (
        f"# Exactness\n\n{circumstances('python -m benchmarks.exactness PYTHON...')}\n"
        "Golden files whose samples and metadata are as expected (without torch those five that need it are left out), and one digest of "
        "all files that are made of their pictures.\n\n"
        "| environment | kernels for | decoded | compressed | seconds |\n|---|---|---:|---|---:|\n" + "\n".join(lines) + "\n"
    )
    results.write_text(text)


if __name__ == "__main__":
    main()
