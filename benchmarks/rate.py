"""Real bytes against theory and against other codecs: `python -m benchmarks.rate [FOLDER] [--name NAME] [--green] [--others CSV]`.

For every picture: the size of its `.igpt` file at each level, decoded again and compared; the theoretical bits of the integer and of the
float model; the order-0 entropy; and what other lossless codecs make of the same pixels. JPEG stands beside them, marked as lossy. Writes
NAME.csv, NAME.md and plots.
"""

import argparse
import csv
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

import codec
from benchmarks import plots
from benchmarks.measure import RESULTS, Pixels, circumstances, jpeg, lossless_bytes, lossless_encoders, pictures_in, real_bytes
from benchmarks.theory import Theory, theory_of
from bitstream.container import read
from bitstream.errors import TooLargeError, UnsupportedImageError
from codec import models
from codec.analysis import bits_per_pixel, heat_map
from codec.compression import compressed
from codec.methods.inside import DecodedJpeg
from codec.methods.past import PastMethod
from codec.network.layers import Layer, group_shape
from codec.options import Level, Options
from codec.pictures.reading import MAX_PIXELS, open_picture
from codec.pictures.sources import picture_of_array
from codec.progress import ignore
from codec.tiling.planes import LAYOUTS
from codec.training.data import as_tensors
from codec.training.loop import bits_per_sample
from codec.training.reference import ImageGPT

JPEG_QUALITIES = (75, 90, 95, 100)
HEAT_SIDE = 256  # of the part of the first picture that the heat map shows
CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"

Row = dict[str, Any]


def order_0_bits(pixels: Pixels) -> float:
    """The entropy of each channel's histogram, times its samples."""
    total = 0.0
    for channel in pixels.reshape(-1, pixels.shape[-1]).T:
        counts = np.bincount(channel, minlength=256)
        shares = counts[counts > 0] / channel.size
        total -= channel.size * float((shares * np.log2(shares)).sum())
    return total


def float_bits(layer: Layer, model: ImageGPT) -> float:
    """The float model's code length of a layer that consists of whole tiles."""
    total = 0.0
    for of in layer.grid.groups(group_shape(layer.grid)):
        for turn, samples in layer.turns(of):
            batch = {layer.kind: (torch.from_numpy(samples), as_tensors(turn.around))}
            total += bits_per_sample(model, batch)[layer.kind] * samples.size
    return total


def pixels_of(path: Path, green: bool) -> Pixels:
    """(height, width, 1 or 3). Raises UnsupportedImageError, TooLargeError."""
    with path.open("rb") as stream:
        pixels = open_picture(stream, MAX_PIXELS).plain_pixels
    return np.ascontiguousarray(pixels[..., pixels.shape[2] // 2 :][..., :1]) if green else pixels


def heat_of(pixels: Pixels) -> Image.Image:
    """Where the bits of a part of a picture go."""
    bits = bits_per_pixel(pixels, Options())
    return heat_map(pixels[:HEAT_SIDE, :HEAT_SIDE], {name: channel[:HEAT_SIDE, :HEAT_SIDE] for name, channel in bits.items()})


def measure(path: Path, green: bool, encoders: dict[str, Any], references: dict[str, ImageGPT], known: Row) -> tuple[Row, Theory]:
    """One picture's row of the table, and what its samples cost. known: what other codecs made of it before."""
    pixels = pixels_of(path, green)
    found = compressed(picture_of_array(pixels), Options(), ignore)
    theory, says = theory_of(found), codec.info(found.data)
    past = read(found.data).front.codings[0].method in (PastMethod.number, DecodedJpeg.number)
    size = real_bytes(found.data, pixels)
    without = real_bytes(codec.compress(pixels, past=False), pixels) if past else size
    row: Row = {
        "picture": path.name,
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "channels": pixels.shape[2],
        "coded as": says.coding if says.representation == "samples" else f"{says.coding}, {says.representation}",
        "igpt": size,
        "igpt --no-past": without,
        **{f"igpt {level}": real_bytes(codec.compress(pixels, level=level), pixels) for level in (Level.FAST, Level.BEST)},
        "theory": theory.bytes,
        "float model": "",
        "overhead": size - sum(len(chunk) for part in found.parts for chunk in part.chunks),
        "exceptions": theory.outliers,
        "order 0": order_0_bits(pixels) / 8,
        "as stored": path.stat().st_size,
    }
    if theory.layers and (layout := found.parts[0].made_of.network.config.layout) in references and whole_tiles(theory.layers):
        row["float model"] = sum(float_bits(layer, references[layout]) for layer in theory.layers) / 8 + theory.outliers
    if known and any(int(known[key]) != row[key] for key in ("width", "height", "channels")):
        sys.exit(f"{path.name}: the earlier run was of another picture")
    row |= {name: int(known[name]) if name in known else lossless_bytes(pixels, encode) for name, encode in encoders.items()}
    for quality in JPEG_QUALITIES:
        row[f"JPEG {quality} (lossy)"], row[f"JPEG {quality} PSNR"] = jpeg(pixels, quality)
    return row, theory


def whole_tiles(layers: Sequence[Layer]) -> bool:
    return not any(n % 32 for layer in layers for n in layer.planes.shape[1:])


def subpixels(row: Row) -> int:
    return int(row["width"] * row["height"] * row["channels"])


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Markdown: per picture and in all, bytes; then bits per subpixel, its mean and deviation over pictures, and the ratio to igpt."""
    lines = ["| picture | " + " | ".join(columns) + " |", "|---" + "|---:" * len(columns) + "|"]
    lines += [f"| {row['picture']} | " + " | ".join(f"{round(row[c]):,}" if row[c] != "" else "" for c in columns) + " |" for row in rows]
    full = [c for c in columns if all(row[c] != "" for row in rows)]

    def summary(name: str, value: Any) -> str:
        return f"| **{name}** | " + " | ".join(value(c) if c in full else "" for c in columns) + " |"

    def bpsp(c: str) -> list[float]:
        return [8 * row[c] / subpixels(row) for row in rows]

    def total(c: str) -> float:
        return float(sum(row[c] for row in rows))

    samples = sum(map(subpixels, rows))
    lines.append(summary("all, bytes", lambda c: f"{round(total(c)):,}"))
    lines.append(summary("all, bpsp", lambda c: f"{8 * total(c) / samples:.3f}"))
    lines.append(summary("bpp, mean", lambda c: f"{statistics.mean(8 * r[c] / (r['width'] * r['height']) for r in rows):.3f}"))
    lines.append(summary("bpsp, mean", lambda c: f"{statistics.mean(bpsp(c)):.3f}"))
    lines.append(summary("bpsp, standard deviation", lambda c: f"{statistics.pstdev(bpsp(c)):.3f}"))
    lines.append(summary("raw / bytes", lambda c: f"{samples / total(c):.3f}" if total(c) else ""))
    lines.append(summary("bytes / igpt", lambda c: f"{total(c) / total('igpt'):.3f}"))
    return "\n".join(lines) + "\n"


def main(given: Sequence[str] | None = None, command: str | None = None) -> None:
    """given: arguments instead of those of the command line; command: what the results are to say that they were made by."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="default: photographs that come with scikit-image")
    parser.add_argument("--name", help="of the result files; default: the folder's name")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--efforts", type=int, nargs="*", default=[7, 9, 10], help="of JPEG XL")
    parser.add_argument("--others", type=Path, help="CSV of an earlier run with the same codecs, whose sizes are taken over")
    parser.add_argument("--green", action="store_true", help="only the green channel, as a greyscale picture")
    arguments = parser.parse_args(given)
    name = arguments.name or (arguments.folder.name if arguments.folder else "scikit-image") + ("-green" if arguments.green else "")
    encoders = lossless_encoders(tuple(arguments.efforts))
    checkpoints = {layout: CHECKPOINTS / models.default(layout).name for layout in LAYOUTS}
    references = {layout: ImageGPT.load(path) for layout, path in checkpoints.items() if path.exists()}
    known = {}
    if arguments.others:
        with arguments.others.open(newline="") as stream:
            known = {row["picture"]: row for row in csv.DictReader(stream)}
    rows, refused, ranks = [], [], np.zeros(256, np.int64)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for path in tqdm(pictures_in(arguments.folder), unit="picture", desc=name):
        try:
            row, theory = measure(path, arguments.green, encoders, references, known.get(path.name, {}))
        except (UnsupportedImageError, TooLargeError):
            refused.append(path.name)
            continue
        rows.append(row)
        ranks += theory.ranks
    if not rows:
        sys.exit(f"{name}: no picture that igpt takes")
    prefix = arguments.out / name
    with open(f"{prefix}.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    columns = [
        "igpt",
        "igpt fast",
        "igpt best",
        *(["igpt --no-past"] if any(row["igpt --no-past"] != row["igpt"] for row in rows) else []),
        "theory",
        "float model",
        "overhead",
        "exceptions",
        "order 0",
        "as stored",
        *encoders,
    ]
    columns += [f"JPEG {quality} (lossy)" for quality in JPEG_QUALITIES]
    psnr = ", ".join(f"{q}: {statistics.mean(row[f'JPEG {q} PSNR'] for row in rows):.1f} dB" for q in JPEG_QUALITIES)
    command = command or "python -m benchmarks.rate" + (f" {arguments.folder.name}" if arguments.folder else "")
    command += " --green" if arguments.green else ""
    left_out = f"\n{len(refused)} files that igpt refuses are left out: {', '.join(refused)}.\n" if refused else ""
    earlier = "\nThe other lossless codecs' sizes are those of an earlier run with the same versions.\n" if known else ""
    text = f"# {name}\n\n{circumstances(command)}{left_out}{earlier}\nBytes. JPEG is lossy; mean PSNR {psnr}.\n\n{table(rows, columns)}"
    Path(f"{prefix}.md").write_text(text)
    plots.of_rate(rows, prefix)
    if ranks.any():
        plots.ranks(ranks.tolist(), Path(f"{prefix}-ranks.png"))
    if arguments.folder is None:  # other pictures may not be ours to show
        heat_of(pixels_of(pictures_in(None)[0], arguments.green)).save(f"{prefix}-heat.png")
    print(text)


if __name__ == "__main__":
    main()
