"""Near-lossless sizes beside lossy codecs at the same PSNR: `python -m benchmarks.near FOLDER [--errors K...] [--level LEVEL]`.

For every picture of 8-bit RGB or grey and every largest error K: the real size of its igpt file, decoded again and compared with the bound;
and the smallest AVIF (4:4:4) and lossy JPEG XL files whose PSNR is not lower, or the best that they can do; JPEG XL (effort 9) of the same
changed pixels, without loss; and WebP's near_lossless, where cwebp is installed, whose bound is another. Writes near-NAME.csv and .md.
"""

import argparse
import csv
import io
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
from benchmarks.measure import RESULTS, circumstances, lossless_bytes, lossless_encoders, pictures_in, saved
from codec.options import Level
from codec.pictures.pillow import image_of
from codec.pictures.reading import MAX_PIXELS, open_picture

Pixels = npt.NDArray[np.uint8]
NEAR_LOSSLESS = {1: 80, 2: 60, 4: 40}  # WebP's, for about such an error
FINEST, BEST_LOSSY = 0.05, 99.95  # of JPEG XL's qualities: 100 would be without loss


def psnr(found: Pixels, pixels: Pixels) -> float:
    """dB."""
    error = np.square(found.astype(np.float64) - pixels).mean()
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def decoded(data: bytes, pixels: Pixels) -> Pixels:
    with Image.open(io.BytesIO(data)) as back:
        return np.asarray(back.convert("RGB" if pixels.shape[2] == 3 else "L")).reshape(pixels.shape)


def avif(image: Image.Image, quality: float) -> bytes:
    return saved(image, "AVIF", quality=round(quality), subsampling="4:4:4", speed=6)


def jpeg_xl(image: Image.Image, quality: float) -> bytes:
    import pillow_jxl  # noqa: F401

    return saved(image, "JXL", quality=min(quality, BEST_LOSSY), effort=7, num_threads=1)


def smallest(encode: Callable[[Image.Image, float], bytes], pixels: Pixels, wanted: float, finest: float) -> tuple[int, float]:
    """Bytes and PSNR of the coarsest file that is not below the PSNR that is wanted, or of the finest file."""
    image, low, high = image_of(pixels), 50.0, 100.0
    best = encode(image, high)
    found = len(best), psnr(decoded(best, pixels), pixels)
    if found[1] < wanted:
        return found
    while high - low > finest:
        quality = (low + high) / 2
        data = encode(image, quality)
        reached = psnr(decoded(data, pixels), pixels)
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
        back = decoded(target.read_bytes(), pixels)
        return target.stat().st_size, psnr(back, pixels), int(np.abs(back.astype(int) - pixels).max())


def measure(path: Path, error: int, level: str, lossless: int) -> dict[str, Any]:
    """A row of the table. lossless: bytes; 0: not known."""
    with path.open("rb") as stream:
        pixels = open_picture(stream, MAX_PIXELS).plain_pixels
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
    row["JPEG XL lossy"], row["JPEG XL PSNR"] = smallest(jpeg_xl, pixels, wanted, FINEST)
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
    columns = list(dict.fromkeys(key for row in rows for key in row))
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / f"near-{name}.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
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
    text = f"# Near-lossless: {name}\n\n{circumstances(command)}\n{note}\n\n{table}\n"
    (arguments.out / f"near-{name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
