"""Writes the results of the README and of docs/results.md from the committed tables, and draws the plots again:
`python -m benchmarks.readme`."""

import csv
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS

README = Path(__file__).parents[1] / "README.md"
DOCUMENT = README.with_name("docs") / "results.md"
START, END = "<!-- results -->\n", "<!-- end results -->\n"
IN_SHORT = {  # titles, and columns, of the README's table
    "clic2025_crop512": "26 pictures (CLIC 2025), nearly all photographs, 512x512",
    "val": "43 photographs held out of the training data",
    "kodak": "24 PhotoCD pictures (Kodak)",
    "drawings": "11 drawings made by programs: text, windows, charts",
}
SHORT_COLUMNS = {"igpt": "igpt", "JPEG XL 9": "JPEG XL, effort 9", "WebP": "WebP, lossless", "oxipng 6": "PNG, oxipng 6"}
COLUMNS = ("igpt", "igpt fast", "igpt best", "igpt --no-past", "theory", "JPEG XL 10", "JPEG XL 9", "WebP", "oxipng 6", "as stored")
SETS = {
    "kodak": "Kodak, 24 pictures",
    "clic2025_crop512": "CLIC 2025, 26 crops of 512x512",
    "val": "43 photographs held out of the training data",
    "scikit-image": "10 pictures of scikit-image",
    "drawings": "11 drawings: text, windows, charts",
}

JPEG_SETS = {"jpeg_test": "of cameras", "jpeg_odd": "odd ones of test suites", "val": "Pillow's, 4:2:0, quality {}"}
JPEG_CODERS = ("igpt", "igpt fast", "Lepton", "JPEG XL 9", "jpegtran -progressive -optimize")


def in_short() -> str:
    """The README's table: megabytes, and each in parts of igpt's."""
    lines = ["| | " + " | ".join(SHORT_COLUMNS.values()) + " |", "|---" + "|---:" * len(SHORT_COLUMNS) + "|"]
    for name, title in IN_SHORT.items():
        totals = [sum(float(r[column]) for r in rows_of(name)) for column in SHORT_COLUMNS]
        lines.append(f"| {title} | " + " | ".join(f"{total / 1e6:.2f} MB ({100 * total / totals[0]:.0f} %)" for total in totals) + " |")
    rows = rows_of("jpeg-jpeg_test")
    ours, theirs, before = (sum(int(r[column]) for r in rows) for column in ("igpt", "JPEG XL 9", "JPEG"))
    cells = f"{ours / 1e6:.2f} MB (100 %) | {theirs / 1e6:.2f} MB ({100 * theirs / ours:.0f} %) | | "
    lines.append(f"| {len(rows)} JPEG files of cameras, {before / 1e6:.2f} MB, byte for byte | {cells}|")
    return "\n".join(lines) + "\n"


def rows_of(name: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def results() -> str:
    """All results, in Markdown."""
    lines = ["| bytes (bpsp) | " + " | ".join(COLUMNS) + " |", "|---" + "|---:" * len(COLUMNS) + "|"]
    for name, title in SETS.items():
        rows = rows_of(name)
        if not rows:
            continue
        samples = sum(int(r["width"]) * int(r["height"]) * int(r["channels"]) for r in rows)
        cells = []
        for column in COLUMNS:
            total = sum(float(r[column]) for r in rows) if column in rows[0] else None
            cells.append("" if total is None else f"{round(total):,} ({8 * total / samples:.3f})")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    text = "\n".join(lines) + "\n"
    text += jpeg_files()
    text += decoded_jpegs()
    text += modes()
    speed = rows_of("speed")
    if speed:
        text += "\nPhotographs, 0.4 megapixels, seconds in a running process (medians):\n\n"
        text += "| | bpsp | compress | decompress |\n|---|---:|---:|---:|\n"
        size = min({float(r["megapixels"]) for r in speed}, key=lambda m: abs(m - 0.4))
        for r in (r for r in speed if float(r["megapixels"]) == size):
            text += f"| {r['codec']} | {float(r['bpsp']):.3f} | {float(r['compress s']):.2f} | {float(r['decompress s']):.2f} |\n"
        text += "\n![bits per subpixel against seconds](../benchmarks/results/speed.png)\n"
    if (RESULTS / "scikit-image-heat.png").exists():
        text += "\nWhere the bits of a picture go (`igpt heatmap`): the picture, then each channel:\n"
        text += "\n![the picture and its bits](../benchmarks/results/scikit-image-heat.png)\n"
    return text


def jpeg_files() -> str:
    """What is saved of JPEG files."""
    lines = []
    for name, title in JPEG_SETS.items():
        rows = rows_of(f"jpeg-{name}")
        kinds = list(dict.fromkeys(" at " + r["file"].rpartition(" at ")[2] if " at " in r["file"] else "" for r in rows))
        for kind in kinds:
            some = [r for r in rows if r["file"].endswith(kind)]
            cells = [f"{sum(int(r['JPEG']) for r in some):,}"]
            for coder in JPEG_CODERS:
                taken = [r for r in some if r[coder]]
                saved = 1 - sum(int(r[coder]) for r in taken) / max(1, sum(int(r["JPEG"]) for r in taken))
                cells.append(f"{100 * saved:.1f} %" + (f" of {len(taken)}" if len(taken) < len(some) else ""))
            lines.append(f"| {title.format(kind.removeprefix(' at '))}, {len(some)} files | " + " | ".join(cells) + " |\n")
    if not lines:
        return ""
    head = "| saved of JPEG files | bytes | " + " | ".join(JPEG_CODERS) + " |\n|---" + "|---:" * (1 + len(JPEG_CODERS)) + "|\n"
    return "\n" + head + "".join(lines)


def decoded_jpegs() -> str:
    """Sizes relative to JPEG XL's and to the JPEG's own, by sampling and quality."""
    rows = rows_of("pasts")
    if not rows:
        return ""
    qualities = list(dict.fromkeys(r["quality"] for r in rows))
    pictures = len({r["picture"] for r in rows})
    text = f"\nPNGs of {pictures} photographs that were JPEGs, bytes of igpt / JPEG XL 9, and / the JPEG:\n\n"
    text += "| | " + " | ".join(f"quality {q}" for q in qualities) + " |\n|---" + "|---:" * len(qualities) + "|\n"
    for sampling in dict.fromkeys(r["sampling"] for r in rows):
        cells = []
        for quality in qualities:
            some = [r for r in rows if (r["quality"], r["sampling"]) == (quality, sampling)]
            ours, theirs, jpegs = (sum(int(r[name]) for r in some) for name in ("igpt", "JPEG XL 9", "JPEG"))
            cells.append(f"{ours / theirs:.3f}, {ours / jpegs:.3f}")
        text += f"| {sampling} | " + " | ".join(cells) + " |\n"
    return text


def modes() -> str:
    """Sizes of what is more than 8-bit RGB or greyscale, by set."""
    rows = rows_of("modes")
    if not rows:
        return ""
    columns = ("igpt", "PNG", "WebP", "JPEG XL 9")
    text = "\nAlpha, palettes, few and many bits, bytes (WebP takes no 16 bits):\n\n"
    text += "| | pictures | " + " | ".join(columns) + " |\n|---" + "|---:" * (len(columns) + 1) + "|\n"
    groups: dict[str, list[dict[str, Any]]] = {}
    for r in rows:
        groups.setdefault("PngSuite" if r["set"].startswith("PngSuite") else r["set"], []).append(r)
    for group, some in groups.items():
        totals = [f"{sum(int(r[c]) for r in some):,}" if all(r[c] for r in some) else "" for c in columns]
        text += f"| {group} | {len(some)} | " + " | ".join(totals) + " |\n"
    return text


def with_results(text: str, results: str) -> str:
    before, rest = text.split(START)
    return before + START + results + END + rest.split(END)[1]


def redraw() -> None:
    """The plots that are in the folder of the results, from the tables beside them."""
    from benchmarks import plots

    for path in RESULTS.glob("*-ratio.png"):
        name = path.name.removesuffix("-ratio.png")
        plots.of_rate(rows_of(name), RESULTS / name)
    plots.ten_pictures(rows_of("demo10"), RESULTS / "demo10.png")
    plots.seconds(rows_of("speed"), RESULTS / "speed.png")
    plots.scaling(rows_of("speed"), RESULTS / "speed-scaling.png")


def main() -> None:
    redraw()
    README.write_text(with_results(README.read_text(), in_short()))
    DOCUMENT.write_text(with_results(DOCUMENT.read_text(), results()))


if __name__ == "__main__":
    main()
