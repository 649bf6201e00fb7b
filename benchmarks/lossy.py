"""Lossy pictures beside other lossy codecs: `python -m benchmarks.lossy FOLDER [--level LEVEL]`.

For every picture igpt's real file at low, medium and high, decoded again, and JPEG, WebP, AVIF and lossy JPEG XL at many qualities: bytes,
PSNR of the RGB samples and MS-SSIM (of R, G and B; Wang, Simoncelli and Bovik 2003, by pytorch-msssim). Between its qualities a codec's
bytes are taken from a line through the logarithms. Writes lossy-NAME.csv, .md and .png.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from tqdm import tqdm

import codec
from benchmarks import plots
from benchmarks.measure import RESULTS, jpeg_xl, pictures_in, plain_pixels, psnr, saved, shown, write_report
from codec.options import Level, Lossy
from codec.pictures.pillow import image_of

Pixels = npt.NDArray[np.uint8]
Encoder = Callable[[Image.Image, int], bytes]
OTHERS: dict[str, tuple[Encoder, tuple[int, ...]]] = {
    "JPEG": (lambda image, q: saved(image, "JPEG", quality=q, optimize=True, progressive=True), (10, 20, 35, 50, 65, 80, 88, 93, 96, 98)),
    "WebP": (lambda image, q: saved(image, "WEBP", quality=q, method=6), (1, 10, 25, 45, 65, 80, 88, 94, 98, 100)),
    "JPEG XL": (jpeg_xl, (10, 25, 40, 55, 70, 80, 88, 93, 96, 98)),
    "AVIF 4:2:0": (lambda image, q: saved(image, "AVIF", quality=q, subsampling="4:2:0", speed=6), (10, 25, 40, 52, 64, 74, 82, 89, 95)),
    "AVIF 4:4:4": (lambda image, q: saved(image, "AVIF", quality=q, subsampling="4:4:4", speed=6), (10, 25, 40, 52, 64, 74, 82, 89, 95)),
}
MEASURES = "PSNR", "MS-SSIM"
FEWEST = 176  # pixels of a side, for MS-SSIM


def ms_ssim(found: Pixels, pixels: Pixels) -> float:
    """-10 log10(1 - MS-SSIM), dB; not a number for small pictures."""
    from pytorch_msssim import ms_ssim

    if min(pixels.shape[:2]) < FEWEST:
        return float("nan")
    first, second = (torch.from_numpy(of.astype(np.float32)).permute(2, 0, 1)[None] for of in (found, pixels))
    return float(-10 * np.log10(max(1e-9, 1 - ms_ssim(first, second, data_range=255).item())))


def row(name: str, of: str, setting: str, data: bytes, found: Pixels, pixels: Pixels) -> dict[str, Any]:
    area = pixels.shape[0] * pixels.shape[1]
    quality = {"PSNR": round(psnr(found, pixels), 3), "MS-SSIM": round(ms_ssim(found, pixels), 3)}
    return {"picture": name, "pixels": area, "codec": of, "setting": setting, "bytes": len(data)} | quality


def measure(path: Path, level: str) -> list[dict[str, Any]]:
    pixels = plain_pixels(path)
    rows = []
    for how in Lossy:
        data = codec.compress(pixels, lossy=how, level=level)
        rows.append(row(path.name, "igpt", how, data, codec.decode(data).reshape(pixels.shape), pixels))
    for name, (encode, qualities) in OTHERS.items():
        for quality in qualities:
            data = encode(image_of(pixels), quality)
            rows.append(row(path.name, name, str(quality), data, shown(data, pixels), pixels))
    return rows


def bytes_at(rows: Sequence[dict[str, Any]], measure: str, wanted: float) -> float:
    """Of a codec and a picture, for a quality: between two settings, or not a number where none reaches that far."""
    points = sorted((row[measure], np.log(row["bytes"])) for row in rows)
    reached, sizes = zip(*points, strict=True)
    return float(np.exp(np.interp(wanted, reached, sizes))) if reached[0] <= wanted <= reached[-1] else float("nan")


def compared(rows: Sequence[dict[str, Any]], how: str, other: str, measure: str, of: str = "igpt") -> str:
    """A codec's bytes, per cent of another one's at the same quality; and of how many pictures, where not of all."""
    pictures = list(dict.fromkeys(row["picture"] for row in rows))
    own, theirs = 0.0, 0.0
    reached = 0
    for picture in pictures:
        here = [row for row in rows if row["picture"] == picture]
        (mine,) = (row for row in here if row["codec"] == of and row["setting"] == how)
        size = bytes_at([row for row in here if row["codec"] == other], measure, mine[measure])
        if np.isfinite(size):
            own, theirs, reached = own + mine["bytes"], theirs + size, reached + 1
    share = f"{own / theirs - 1:+.1%}" if reached else ""
    return share + (f" ({reached} of {len(pictures)})" if reached < len(pictures) else "")


def report(rows: Sequence[dict[str, Any]], of: str = "igpt") -> str:
    """Markdown: what a codec reaches, and what its files take against others of the same quality."""
    lines, others = list[str](), [name for name in dict.fromkeys(row["codec"] for row in rows) if name != of]
    for measure in MEASURES:
        lines += [f"| | bits per pixel | {measure}, dB | " + " | ".join(f"against {other}" for other in others) + " |"]
        lines += ["|---|---:|---:|" + "---:|" * len(others)]
        for how in Lossy:
            own = [row for row in rows if row["codec"] == of and row["setting"] == how]
            bpp = 8 * sum(row["bytes"] for row in own) / sum(row["pixels"] for row in own)
            reached = np.mean([row[measure] for row in own if np.isfinite(row[measure])])
            shares = " | ".join(compared(rows, how, other, measure, of) for other in others)
            lines += [f"| {how} | {bpp:.3f} | {reached:.2f} | {shares} |"]
        lines += [""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="default: photographs that come with scikit-image")
    parser.add_argument("--level", choices=[*Level], default=Level.DEFAULT)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    name = arguments.folder.name if arguments.folder else "scikit-image"
    paths = pictures_in(arguments.folder)
    rows = [row for path in tqdm(paths, desc=name) for row in measure(path, arguments.level)]
    command = f"python -m benchmarks.lossy {arguments.folder.name if arguments.folder else ''}".strip()
    note = (
        f"{len(paths)} pictures, level {arguments.level}. MS-SSIM is -10 log10(1 - MS-SSIM). Against others: by how much more or less "
        "igpt's files take than theirs of the same quality."
    )
    prefix = arguments.out / f"lossy-{name}"
    write_report(rows, prefix, f"Lossy: {name}", command, f"{note}\n\n{report(rows)}\n![curves](lossy-{name}.png)")
    plots.lossy(rows, Path(f"{prefix}.png"))


if __name__ == "__main__":
    main()
