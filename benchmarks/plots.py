"""The plots of the results, each drawn from the rows of a committed table: `python -m benchmarks.readme` draws all of them again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib import ticker
from matplotlib.axes import Axes

Rows = Sequence[dict[str, Any]]  # of a CSV: numbers may be text
DPI = 110
RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100)
MOST_TICKS = 18
LEAST_RATIO, MOST_RATIO = 0.9, 1.25  # that the axis reaches at least
LEAST_SHARE = 0.001  # per cent
LABELLED = 45  # pictures; of more the names would lie over each other
LETTERS = 16  # of a picture's name
PLAIN = ticker.FuncFormatter(lambda value, _: f"{value:,.10g}")


def numbers(rows: Rows, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([float(row[name]) for row in rows])


def of_rate(rows: Rows, prefix: Path) -> None:
    """Those of a table of `benchmarks.rate`, but for the ranks, which are not in it."""
    ratios(rows, Path(f"{prefix}-ratio.png"))
    overhead(rows, Path(f"{prefix}-theory.png"))


def ratios(rows: Rows, path: Path) -> None:
    """Of a table of `benchmarks.rate`: what other lossless codecs make of each picture, relative to igpt; losses below the line."""
    columns = list(rows[0])
    others = [name for name in columns[columns.index("PNG optimised") + 1 :] if "PSNR" not in name and "lossy" not in name]
    figure, axes = plt.subplots(figsize=(max(8.5, 0.3 * len(rows) + 1.5), 4.4), layout="constrained")
    values = {name: numbers(rows, name) / numbers(rows, "igpt") for name in others}
    low, high = min(LEAST_RATIO, *(v.min() for v in values.values())) / 1.05, max(MOST_RATIO, *(v.max() for v in values.values())) * 1.05
    axes.axhspan(low, 1, color="tab:red", alpha=0.08, linewidth=0)
    axes.axhline(1, color="black", linewidth=1)
    for k, (name, of) in enumerate(values.items()):
        axes.plot(range(len(rows)), of, "osD^vP*"[k % 7], markersize=5, label=f"{name}, mean {np.exp(np.log(of).mean()):.2f}")
    axes.set(yscale="log", ylim=(low, high), xlim=(-0.6, len(rows) - 0.4), ylabel="size / igpt's size, of the same picture")
    axes.yaxis.set_major_locator(ticker.FixedLocator(apart(low, high)))
    axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.grid(axis="both", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    name_pictures(axes, [Path(row["picture"]).stem for row in rows])
    axes.set_title("Above the line igpt's file is smaller, below it (red) the other one's. Means are geometric.", fontsize=9)
    figure.legend(ncols=len(others), fontsize=8, loc="outside upper center")
    save(figure, path)


def apart(low: float, high: float) -> list[float]:
    """RATIOS from low to high, whose numbers do not touch each other on a logarithmic axis; 1 is among them."""
    least = (high / low) ** (1 / MOST_TICKS)
    found = [1.0]
    for ratio in sorted(RATIOS, key=lambda ratio: abs(np.log(ratio))):
        if low <= ratio <= high and all(max(ratio / other, other / ratio) > least for other in found):
            found.append(ratio)
    return found


def overhead(rows: Rows, path: Path) -> None:
    """Of a table of `benchmarks.rate`: by how much real files are larger than what their probabilities say, by the size of the picture.
    Less than LEAST_SHARE is drawn as that."""
    rows = [row for row in rows if float(row["theory"])]  # no share of nothing
    if not rows:
        return
    pixels, theory, real = numbers(rows, "width") * numbers(rows, "height"), numbers(rows, "theory"), numbers(rows, "igpt")
    share = np.maximum(100 * (real / theory - 1), LEAST_SHARE)
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.scatter(pixels, share, s=18, alpha=0.7)
    total = max(100 * float(real.sum() / theory.sum() - 1), LEAST_SHARE)
    axes.axhline(total, color="grey", linewidth=1, linestyle="--")
    text = f"all files together: {total:.2g} %"
    axes.annotate(text, (0.99, total), (0, 3), ("axes fraction", "data"), "offset points", ha="right", fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="size of the picture, pixels", ylabel="real file larger than the theory, per cent")
    axes.set_title("What a file has beyond the sum of -log2 of its probabilities:\nheader, checksums, the range coder's rest", fontsize=9)
    for axis, of in ((axes.xaxis, pixels), (axes.yaxis, share)):
        near = of.max() < 20 * of.min()  # few powers of ten
        axis.set_major_formatter(PLAIN)
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if near else (1,)))
        axis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlim(pixels.min() / 3, pixels.max() * 3)
    axes.set_ylim(min(share.min(), total) / 1.4, max(share.max(), total) * 1.4)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    save(figure, path)


def ranks(counts: Sequence[int], path: Path) -> None:
    """How often the token that came was the model's first choice, its second, and so on."""
    share = 100 * np.array(counts) / sum(counts)
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axes.bar(range(32), share[:32])
    axes.set(xlabel="likelier tokens than the one that came (0: it was the model's first choice)", ylabel="tokens, per cent", yscale="log")
    axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.set_title(f"The first choice is right for {share[0]:.1f} % of the tokens.", fontsize=9)
    save(figure, path)


def ten_pictures(rows: Rows, path: Path) -> None:
    """Of the table of `benchmarks.demo10`: bits per pixel of each picture, in each form and size, and PNG's as a line."""
    names, sizes, forms = (list(dict.fromkeys(row[key] for row in rows)) for key in ("picture", "size", "colours"))
    by = {(row["picture"], row["size"], row["colours"]): row for row in rows}
    figure, all_axes = plt.subplots(len(forms), figsize=(8.5, 2.3 * len(forms)), layout="constrained", sharex=True)
    width = 0.8 / len(sizes)
    for axes, form in zip(all_axes, forms, strict=True):
        for k, size in enumerate(sizes):
            found = [by[name, size, form] for name in names]
            pixels = numbers(found, "samples") / (1 if form == "grey" else 3)
            places = np.arange(len(names)) + (k - (len(sizes) - 1) / 2) * width
            axes.bar(places, 8 * numbers(found, "igpt") / pixels, 0.92 * width, color=plt.get_cmap("viridis")(0.25 + 0.3 * k), label=size)
            axes.hlines(8 * numbers(found, "png") / pixels, places - width / 2, places + width / 2, "black", label="PNG" if not k else None)
        axes.set_ylabel("bits per pixel")
        axes.set_title(form, fontsize=9)
        axes.grid(axis="y", color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
    name_pictures(all_axes[-1], names)
    handles, labels = all_axes[0].get_legend_handles_labels()
    labels = [label if label == "PNG" else f"igpt, {label} pixels" if label[0].isdigit() else f"igpt, {label} size" for label in labels]
    figure.legend(handles, labels, ncols=len(labels), fontsize=8, loc="outside upper center")
    save(figure, path)


def seconds(rows: Rows, path: Path) -> None:
    """Of the table of `benchmarks.speed`: bits per subpixel against seconds, at the size nearest to 0.4 megapixels."""
    size = min({float(row["megapixels"]) for row in rows}, key=lambda megapixels: abs(megapixels - 0.4))
    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    shown = {coder(row): row for row in rows if float(row["megapixels"]) == size}  # igpt with the most threads and the largest batch
    for name, row in shown.items():
        there, back, rate = (float(row[key]) for key in ("compress s", "decompress s", "bpsp"))
        line = axes.plot([there, back], [rate] * 2, linewidth=1)
        axes.plot(there, rate, "o", color=line[0].get_color())
        axes.plot(back, rate, "s", color=line[0].get_color())
        axes.annotate(name, (there, rate), xytext=(0, 6), textcoords="offset points", fontsize=8, ha="center")
    axes.margins(x=0.12, y=0.12)
    axes.set(xscale="log", xlabel="seconds (circle: compress, square: decompress)", ylabel="bits per subpixel")
    axes.set_title(f"{size:g} megapixels; lower and further left is better", fontsize=9)
    axes.xaxis.set_major_formatter(PLAIN)
    save(figure, path)


def scaling(rows: Rows, path: Path) -> None:
    """Of the table of `benchmarks.speed`: seconds against megapixels, of the last of the threads and of the batches."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    last = {(coder(row), float(row["megapixels"])): row for row in rows}
    for name in dict.fromkeys(name for name, _ in last):
        own = [row for (of, _), row in sorted(last.items()) if of == name]
        sizes = numbers(own, "megapixels")
        line = axes.plot(sizes, numbers(own, "compress s"), "o-", linewidth=1, markersize=4, label=f"{name}, compress")
        if name.startswith("igpt"):
            label, colour = f"{name}, decompress", line[0].get_color()
            axes.plot(sizes, numbers(own, "decompress s"), "s--", linewidth=1, markersize=4, color=colour, label=label)
    axes.set(xscale="log", yscale="log", xlabel="size of the picture, megapixels", ylabel="seconds")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PLAIN)
    sizes = sorted({float(row["megapixels"]) for row in rows})
    axes.set_xticks(sizes, [f"{size:.1f}" for size in sizes])
    axes.minorticks_off()
    figure.legend(fontsize=8, loc="outside right")
    save(figure, path)


def lossy(rows: Rows, path: Path) -> None:
    """Of a table of `benchmarks.lossy`: means over all pictures, by codec and setting."""
    names = list(dict.fromkeys(row["codec"] for row in rows))
    figure, both = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for axes, measure in zip(both, ("PSNR", "MS-SSIM"), strict=True):
        for k, name in enumerate(names):
            own = [row for row in rows if row["codec"] == name]
            points = []
            for setting in dict.fromkeys(row["setting"] for row in own):
                some = [row for row in own if row["setting"] == setting]
                points.append((8 * numbers(some, "bytes").sum() / numbers(some, "pixels").sum(), np.nanmean(finite(some, measure))))
            axes.plot(*zip(*points, strict=True), marker="osD^vP*"[k % 7], markersize=8 if name == "igpt" else 4, label=name)
        axes.set(xscale="log", xlim=(0.15, 4), xlabel="bits per pixel (logarithmic)", ylabel=f"mean {measure}, dB")
        axes.xaxis.set_major_locator(ticker.FixedLocator([0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4]))
        axes.xaxis.set_major_formatter(PLAIN)
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.grid(color="0.9", linewidth=0.6)
    figure.legend(*both[0].get_legend_handles_labels(), ncols=len(names), fontsize=8, loc="outside upper center")
    save(figure, path)


def trained(log: Rows, names: Sequence[str], path: Path) -> None:
    """Of `benchmarks.transform`: bits per pixel and PSNR of the validation by minutes, and their way from the first to the last."""
    figure, (rates, qualities, both) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for name in names:
        bits, reached = numbers(log, f"{name}, bits per pixel"), numbers(log, f"{name}, PSNR")
        rates.plot(numbers(log, "minutes"), bits, label=name)
        qualities.plot(numbers(log, "minutes"), reached)
        both.plot(bits, reached, marker=".")
    rates.set(yscale="log", xlabel="minutes of training", ylabel="bits per pixel (logarithmic)")
    qualities.set(xlabel="minutes of training", ylabel="PSNR, dB")
    both.set(xscale="log", xlabel="bits per pixel (logarithmic)", ylabel="PSNR, dB")
    for axes in (rates, qualities, both):
        axes.grid(color="0.9", linewidth=0.6)
    figure.legend(*rates.get_legend_handles_labels(), ncols=len(names), fontsize=8, loc="outside upper center")
    save(figure, path)


def side_by_side(pictures: dict[str, np.ndarray[Any, np.dtype[np.uint8]]], path: Path) -> None:
    """By title: the middle of each, (height, width, 3), enlarged."""
    figure, places = plt.subplots(2, -(-len(pictures) // 2), figsize=(13, 8.4), layout="constrained")
    for axes, (title, pixels) in zip(places.flat, pictures.items(), strict=True):
        top, left = (side // 2 - 110 for side in pixels.shape[:2])
        axes.imshow(pixels[top : top + 220, left : left + 220], interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    save(figure, path)


def finite(rows: Rows, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Numbers, of which those that are infinite are none."""
    found = numbers(rows, name)
    return np.where(np.isfinite(found), found, np.nan)


def coder(row: dict[str, Any]) -> str:
    return str(row["codec"]).split(",")[0]


def name_pictures(axes: Axes, names: Sequence[str]) -> None:
    """On the lower axis."""
    if len(names) > LABELLED:
        axes.set_xlabel("picture, in the order of the table")
    else:
        axes.set_xticks(range(len(names)), [name[:LETTERS] for name in names], rotation=50, ha="right", rotation_mode="anchor", fontsize=8)


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=DPI)
    plt.close(figure)
