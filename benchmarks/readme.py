"""Writes the README's results from the committed tables: `python -m benchmarks.readme`."""

import csv
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- results -->\n", "<!-- end results -->\n"
COLUMNS = ("igpt", "igpt --no-past", "theory", "JPEG XL 10", "JPEG XL 9", "WebP", "oxipng 6", "as stored")
SETS = {
    "kodak": "Kodak, 24 pictures",
    "clic2025_crop512": "CLIC 2025, 26 crops of 512x512",
    "val": "43 more photographs",
    "scikit-image": "10 pictures of scikit-image",
}


def rows_of(name: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def results() -> str:
    """The README's section on results, in Markdown."""
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
    speed = rows_of("speed")
    if speed:
        text += "\nOne photograph of 0.4 megapixels, seconds in a running process (medians):\n\n"
        text += "| | bpsp | compress | decompress |\n|---|---:|---:|---:|\n"
        size = min({float(r["megapixels"]) for r in speed}, key=lambda m: abs(m - 0.4))
        for r in (r for r in speed if float(r["megapixels"]) == size):
            text += f"| {r['codec']} | {float(r['bpsp']):.3f} | {float(r['compress s']):.2f} | {float(r['decompress s']):.2f} |\n"
        text += "\n![bits per subpixel against seconds](benchmarks/results/speed.png)\n"
    if (RESULTS / "scikit-image-heat.png").exists():
        text += "\nWhere the bits of a picture go (`igpt heatmap`): the picture, then each channel, from black (0) to pale yellow (8):\n"
        text += "\n![the picture and its bits](benchmarks/results/scikit-image-heat.png)\n"
    return text


def with_results(readme: str) -> str:
    before, rest = readme.split(START)
    return before + START + results() + END + rest.split(END)[1]


def main() -> None:
    README.write_text(with_results(README.read_text()))


if __name__ == "__main__":
    main()
