"""What the benchmark scripts share: the sizes that other codecs make of the same pixels, and what is said of the machine."""

import csv
import functools
import importlib.metadata
import importlib.util
import io
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

import codec
from codec.pictures.pillow import image_of
from codec.pictures.reading import MAX_PIXELS, open_picture

Pixels = npt.NDArray[np.uint8]
RESULTS = Path(__file__).parent / "results"
SUFFIXES = {".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff"}


def pictures_in(folder: Path | None) -> list[Path]:
    """The pictures of a folder, or the photographs that come with scikit-image."""
    if folder is not None:
        return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    import skimage.data

    here = Path(skimage.data.__file__).parent
    names = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "moon", "motorcycle_left")
    return [here / f"{name}.png" for name in names]


def real_bytes(data: bytes, pixels: npt.NDArray[Any], model: Path | None = None) -> int:
    """The size of an igpt file of (height, width, channels) pixels, which was read, decoded and compared. model: the folder of its model,
    where that is not on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.igpt"
        path.write_bytes(data)
        if not np.array_equal(codec.decode(path, model=model).reshape(pixels.shape), pixels):
            msg = "other pixels came back"
            raise ValueError(msg)
        return path.stat().st_size


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _jxl(effort: int, image: Image.Image) -> bytes:
    import pillow_jxl  # noqa: F401

    return saved(image, "JXL", lossless=True, effort=effort, num_threads=1)


def _oxipng(image: Image.Image) -> bytes:
    import oxipng

    return bytes(oxipng.optimize_from_memory(saved(image, "PNG"), level=6))


def _flif(image: Image.Image) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "x.png", Path(folder) / "x.flif"
        image.save(source)
        subprocess.run(["flif", "-e", "-E100", source, target], check=True, capture_output=True)
        data = target.read_bytes()
        source.unlink()
        subprocess.run(["flif", "-d", target, source], check=True, capture_output=True)
        with Image.open(source) as back:
            if back.tobytes() != image.tobytes():
                msg = "flif changed the pixels"
                raise ValueError(msg)
    return data


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


Encoder = Callable[[Image.Image], bytes]


def lossless_encoders(efforts: tuple[int, ...] = (7, 9, 10)) -> dict[str, Encoder]:
    """Name -> encoder, of those that are installed."""
    encoders: dict[str, Encoder] = {"PNG optimised": lambda image: saved(image, "PNG", optimize=True)}
    if _has("oxipng"):
        encoders["oxipng 6"] = _oxipng
    encoders["WebP"] = lambda image: saved(image, "WEBP", lossless=True, method=6, quality=100, exact=True)
    if _has("pillow_jxl"):
        encoders |= {f"JPEG XL {effort}": functools.partial(_jxl, effort) for effort in efforts}
    if shutil.which("flif"):
        encoders["FLIF"] = _flif
    return encoders


def lossless_bytes(pixels: Pixels, encode: Encoder) -> int:
    """The size of what an encoder makes of the pixels, decoded and compared before it counts."""
    image = image_of(pixels)
    data = encode(image)
    if not data.startswith(b"FLIF"):  # compared where it was made
        with Image.open(io.BytesIO(data)) as back:
            if not np.array_equal(np.asarray(back.convert(image.mode)), np.asarray(image)):
                msg = f"a {back.format} file holds other pixels"
                raise ValueError(msg)
    return len(data)


def jpeg(pixels: Pixels, quality: int) -> tuple[int, float]:
    """Bytes and PSNR (dB) of a JPEG: lossy, for orientation only."""
    data = saved(image_of(pixels), "JPEG", quality=quality)
    return len(data), psnr(shown(data, pixels), pixels)


def psnr(found: Pixels, pixels: Pixels) -> float:
    """dB."""
    error = np.square(found.astype(np.float64) - pixels).mean()
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def plain_pixels(path: Path) -> Pixels:
    """(height, width, 3 or 1) of a picture file."""
    with path.open("rb") as stream:
        return open_picture(stream, MAX_PIXELS).plain_pixels


def shown(data: bytes, pixels: Pixels) -> Pixels:
    """What Pillow decodes of a file of a picture with these pixels, in their shape."""
    with Image.open(io.BytesIO(data)) as back:
        return np.asarray(back.convert("RGB" if pixels.shape[2] == 3 else "L")).reshape(pixels.shape)


def jpeg_xl(image: Image.Image, quality: float) -> bytes:
    """Lossy."""
    import pillow_jxl  # noqa: F401

    return saved(image, "JXL", quality=quality, effort=7, num_threads=1)


def write_report(rows: Sequence[dict[str, Any]], prefix: Path, title: str, command: str, body: str) -> None:
    """Rows as a CSV, and a text in Markdown, which is printed, too."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{prefix}.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()} for row in rows)
    text = f"# {title}\n\n{circumstances(command)}\n{body}\n"
    Path(f"{prefix}.md").write_text(text)
    print(text)


def circumstances(command: str) -> str:
    """The commit, machine and versions behind a result, as lines of Markdown."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "not a checkout"
    cpu = next((line.split(":")[1].strip() for line in _cpu_info() if line.startswith("model name")), platform.processor())
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    packages = ("igpt", "torch", "constriction", "pillow", "pillow-jxl-plugin", "pyoxipng")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages if _installed(name))
    machine = f"{cpu}, {os.cpu_count()} cores{gpu}; {platform.system()}, Python {platform.python_version()}"
    return f"Command: `{command}`  \nCommit: {commit}  \nMachine: {machine}  \nVersions: {versions}\n"


def write_table(rows: Sequence[dict[str, Any]], prefix: Path, title: str, note: str) -> str:
    """Rows as PREFIX.csv, and, with what they were measured by, as PREFIX.md, which is returned. The command is that of the process."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with prefix.with_suffix(".csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    command = " ".join([f"python -m benchmarks.{prefix.name}", *(Path(argument).name for argument in sys.argv[1:])])
    head = "| " + " | ".join(rows[0]) + " |\n|---" + "|---:" * (len(rows[0]) - 1) + "|\n"
    body = "".join("| " + " | ".join(str(value) for value in row.values()) + " |\n" for row in rows)
    text = f"# {title}\n\n{circumstances(command)}\n{note}\n\n{head}{body}"
    prefix.with_suffix(".md").write_text(text)
    return text


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
