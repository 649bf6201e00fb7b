"""Near-lossless sizes beside lossy codecs at the same PSNR: `python -m benchmarks.near FOLDER [--errors K...] [--level LEVEL]`.

For every picture of 8-bit RGB or grey and every largest error K: the real size of its igpt file, decoded again and compared with the bound;
and the smallest AVIF (4:4:4) and lossy JPEG XL files whose PSNR is not lower, or the best that they can do; JPEG XL (effort 9) of the same
changed pixels, without loss; and WebP's near_lossless, where cwebp is installed, whose bound is another. Writes near-NAME.csv and .md.
"""

import argparse
import csv
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

import codec
from benchmarks.measure import (
    RESULTS,
    jpeg_xl,
    lossless_bytes,
    lossless_encoders,
    pictures_in,
    plain_pixels,
    psnr,
    saved,
    shown,
    write_report,
)
from codec.options import Level
from codec.pictures.pillow import image_of

Pixels = npt.NDArray[np.uint8]
NEAR_LOSSLESS = {1: 80, 2: 60, 4: 40}  # WebP's, for about such an error
FINEST, BEST_LOSSY = 0.05, 99.95  # of JPEG XL's qualities: 100 would be without loss


def avif(image: Image.Image, quality: float) -> bytes:
    return saved(image, "AVIF", quality=round(quality), subsampling="4:4:4", speed=6)


def lossy_jpeg_xl(image: Image.Image, quality: float) -> bytes:
    return jpeg_xl(image, min(quality, BEST_LOSSY))


def smallest(encode: Callable[[Image.Image, float], bytes], pixels: Pixels, wanted: float, finest: float) -> tuple[int, float]:
    """Bytes and PSNR of the coarsest file that is not below the PSNR that is wanted, or of the finest file."""
    image, low, high = image_of(pixels), 50.0, 100.0
    best = encode(image, high)
    found = len(best), psnr(shown(best, pixels), pixels)
    if found[1] < wanted:
        return found
    while high - low > finest:
        quality = (low + high) / 2
        data = encode(image, quality)
        reached = psnr(shown(data, pixels), pixels)
        if reached >= wanted:
            high, found = quality, (len(data), reached)
        else:
            low = quality
    return found


def webp(pixels: Pixels, near_lossless: int) -> tuple[int, float, int]:
    """Bytes, PSNR and largest error."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "x.png", Path(folder) / "x.webp"
        image_of(pixels).save(source)
        subprocess.run(["cwebp", "-quiet", "-m", "6", "-near_lossless", str(near_lossless), source, "-o", target], check=True)
        back = shown(target.read_bytes(), pixels)
        return target.stat().st_size, psnr(back, pixels), int(np.abs(back.astype(int) - pixels).max())


def measure(path: Path, error: int, level: str, lossless: int) -> dict[str, Any]:
    """A row of the table. lossless: bytes; 0: not known."""
    pixels = plain_pixels(path)
    data = codec.compress(pixels, max_error=error, level=level)
    back = codec.decode(data).reshape(pixels.shape)
    largest, wanted = int(np.abs(back.astype(int) - pixels).max()), psnr(back, pixels)
    if largest > error:
        msg = f"{path.name}: a sample differs by {largest}"
        raise ValueError(msg)
    row = {
        "picture": path.name,
        "K": error,
        "lossless": lossless or len(codec.compress(pixels, level=level)),
        "igpt": len(data),
        "PSNR": wanted,
        "JPEG XL 9 of the same": lossless_bytes(back, lossless_encoders((9,))["JPEG XL 9"]),
    }
    row["AVIF"], row["AVIF PSNR"] = smallest(avif, pixels, wanted, 1)
    row["JPEG XL lossy"], row["JPEG XL PSNR"] = smallest(
        lambda image, quality: jpeg_xl(image, min(quality, BEST_LOSSY)), pixels, wanted, FINEST
    )
    if shutil.which("cwebp") and error in NEAR_LOSSLESS:
        row["WebP near_lossless"], row["WebP PSNR"], row["WebP error"] = webp(pixels, NEAR_LOSSLESS[error])
    return row


def summary(rows: Sequence[dict[str, Any]], error: int) -> str:
    """A line of Markdown: of all pictures with this error."""
    own = [row for row in rows if row["K"] == error]

    def total(name: str) -> int:
        return sum(row[name] for row in own)

    def lossy(name: str, quality: str) -> str:
        below = sum(row[quality] < row["PSNR"] for row in own)
        return f"{total(name):,}" + (f" ({below} of {len(own)} out of its reach)" if below else "")

    lost = [row["PSNR"] for row in own if np.isfinite(row["PSNR"])]
    without = f" ({len(own) - len(lost)} without loss)" if len(lost) < len(own) else ""
    cells = [str(error), f"{total('igpt'):,}", f"{total('igpt') / total('lossless'):.3f}", f"{np.mean(lost):.1f}{without}"]
    cells += [f"{total('JPEG XL 9 of the same'):,}", lossy("AVIF", "AVIF PSNR"), lossy("JPEG XL lossy", "JPEG XL PSNR")]
    if "WebP error" in own[0]:
        worst, quality = max(row["WebP error"] for row in own), np.mean([row["WebP PSNR"] for row in own])
        cells.append(f"{total('WebP near_lossless'):,} ({quality:.1f} dB, at most {worst})")
    else:
        cells.append("")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="default: photographs that come with scikit-image")
    parser.add_argument("--errors", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--level", choices=[*Level], default=Level.DEFAULT)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--lossless", type=Path, help="CSV of benchmarks.rate, with the sizes without loss")
    arguments = parser.parse_args()
    name = arguments.folder.name if arguments.folder else "scikit-image"
    known = {}
    if arguments.lossless:
        column = "igpt" if arguments.level == Level.DEFAULT else f"igpt {arguments.level}"
        with arguments.lossless.open(newline="") as stream:
            known = {row["picture"]: int(row[column]) for row in csv.DictReader(stream)}
    paths = pictures_in(arguments.folder)
    rows = [measure(path, error, arguments.level, known.get(path.name, 0)) for path in tqdm(paths, desc=name) for error in arguments.errors]
    head = (
        "K",
        "igpt, bytes",
        "of lossless",
        "PSNR, dB",
        "JPEG XL 9 of the same pixels",
        "AVIF 4:4:4",
        "JPEG XL lossy",
        "WebP near_lossless",
    )
    table = "\n".join(["| " + " | ".join(head) + " |", "|---:" * len(head) + "|", *(summary(rows, error) for error in arguments.errors)])
    command = f"python -m benchmarks.near {arguments.folder.name if arguments.folder else ''}".strip()
    note = (
        f"{len(paths)} pictures, level {arguments.level}. AVIF (speed 6) and lossy JPEG XL (effort 7): of each picture the smallest file "
        "that is not below igpt's PSNR, or the finest."
    )
    write_report(rows, arguments.out / f"near-{name}", f"Near-lossless: {name}", command, f"{note}\n\n{table}")


if __name__ == "__main__":
    main()
