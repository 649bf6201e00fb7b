"""Ten pictures, small and full size, in colour, grey and tokens of a palette: `python -m benchmarks.demo10 [FOLDER]`.

What the project began with, an estimate at 24x24, with real files: every size is that of a file that was decoded and compared. Writes
demo10.csv, demo10.md and demo10.png.
"""

import argparse
import csv
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

import codec
from benchmarks import plots
from benchmarks.measure import RESULTS, Pixels, circumstances, pictures_in, real_bytes, saved
from codec import models
from codec.pictures.pillow import image_of

SIZES = {"24x24": 24, "32x32": 32, "full": 0}
CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "palette-1"
TOKENS = "tokens of 512 colours"


def variants(pixels: Pixels) -> Iterator[tuple[str, str, Pixels]]:
    """Size, colours, pixels."""
    palette = models.with_palette(str(CHECKPOINT), None, "cpu").palette
    for size, side in SIZES.items():
        image = image_of(pixels).convert("RGB")
        if side:
            image = image.resize((side, side), Image.Resampling.LANCZOS)
        colour = np.asarray(image)
        yield size, "rgb", colour
        yield size, "grey", np.asarray(image.convert("L"))[..., None]
        yield size, TOKENS, palette.quantized(colour)


def igpt_bytes(pixels: Pixels, colours: str) -> int:
    options: dict[str, Any] = {"model": CHECKPOINT, "palette_only": True} if colours == TOKENS else {}
    return real_bytes(codec.compress(pixels, **options), pixels)


def kinds() -> list[tuple[str, str]]:
    return list(itertools.product(SIZES, ("rgb", "grey", TOKENS)))


def bpp(row: dict[str, object]) -> float:
    return 8 * int(str(row["igpt"])) / (int(str(row["samples"])) / (1 if row["colours"] == "grey" else 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="default: photographs that come with scikit-image")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows = []
    for path in tqdm(pictures_in(arguments.folder)[:10], unit="picture"):
        pixels = np.asarray(Image.open(io.BytesIO(path.read_bytes())))
        for size, colours, variant in variants(pixels.reshape(*pixels.shape[:2], -1)):
            png = len(saved(image_of(variant), "PNG", optimize=True))
            samples = variant.size
            rows.append(
                {
                    "picture": path.stem,
                    "size": size,
                    "colours": colours,
                    "samples": samples,
                    "igpt": igpt_bytes(variant, colours),
                }
            )
            rows[-1]["png"] = png
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "demo10.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    names = list(dict.fromkeys(row["picture"] for row in rows))
    by = {(row["picture"], row["size"], row["colours"]): row for row in rows}
    head = "| picture | " + " | ".join(f"{s} {c}" for s, c in kinds()) + " |\n|---" + "|---:" * len(kinds()) + "|\n"
    lines = [f"| {n} | " + " | ".join(f"{by[n, s, c]['igpt']:,}" for s, c in kinds()) + " |" for n in names]
    mean = [np.mean([bpp(by[n, s, c]) for n in names]) for s, c in kinds()]
    ratio = [sum(by[n, s, c]["png"] for n in names) / sum(by[n, s, c]["igpt"] for n in names) for s, c in kinds()]
    lines.append("| **bits per pixel, mean** | " + " | ".join(f"{m:.3f}" for m in mean) + " |")
    lines.append("| **PNG / igpt** | " + " | ".join(f"{r:.3f}" for r in ratio) + " |")
    note = (
        "Bytes of `.igpt` files. Tokens: the picture in the 512 colours of checkpoints/palette-1, which is lossy, coded by that network.\n"
    )
    text = f"# Ten pictures\n\n{circumstances('python -m benchmarks.demo10')}\n{note}\n{head}" + "\n".join(lines) + "\n"
    (arguments.out / "demo10.md").write_text(text)
    plots.ten_pictures(rows, arguments.out / "demo10.png")
    print(text)


if __name__ == "__main__":
    main()
