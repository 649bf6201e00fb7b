"""JPEG files: `python -m benchmarks.jpeg FOLDER [--qualities 75 90 95] [--every N]`.

Every JPEG of the folder, or with --qualities every N-th picture of it as Pillow makes JPEGs of it (4:2:0): the bytes of its igpt file, of
what jpegtran's optimisation, Lepton, and JPEG XL make of it, of those that are installed, seconds of compressing and decompressing, all in
this process, and whether the same bytes came back. Writes jpeg-NAME.csv and jpeg-NAME.md.
"""

import argparse
import csv
import functools
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from tqdm import tqdm

import codec
from benchmarks.measure import RESULTS, circumstances, pictures_in, saved
from codec.pictures.formats import size_of_jpeg
from codec.pictures.kept import SUFFIXES
from codec.pictures.pillow import image_of
from codec.pictures.reading import MAX_PIXELS, open_picture
from codec.threads import threads


class Coder(NamedTuple):
    """back: None where another JPEG comes back, of the same coefficients."""

    there: Callable[[bytes], bytes]
    back: Callable[[bytes], bytes] | None


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _jxl(data: bytes) -> bytes:
    import pillow_jxl  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.jpg"  # it reads the file itself
        path.write_bytes(data)
        with Image.open(path) as image:
            return saved(image, "JXL", lossless_jpeg=True, effort=9, num_threads=1)


def _from_jxl(data: bytes) -> bytes:
    import pillow_jxl

    is_jpeg, _, found, *_ = pillow_jxl.Decoder(num_threads=1)(data)
    return bytes(found) if is_jpeg else b""


def coders() -> dict[str, Coder]:
    found = {"igpt": Coder(codec.compress, codec.jpeg_file)}
    found["igpt fast"] = Coder(functools.partial(codec.compress, level="fast"), codec.jpeg_file)
    if _has("lepton_jpeg_python"):
        import lepton_jpeg_python as lepton

        found["Lepton"] = Coder(lepton.compress_bytes, lepton.decompress_bytes)
    if _has("pillow_jxl"):
        found["JPEG XL 9"] = Coder(_jxl, _from_jxl)
    if _has("mozjpeg_lossless_optimization"):
        import mozjpeg_lossless_optimization as mozjpeg

        found["jpegtran -progressive -optimize"] = Coder(mozjpeg.optimize, None)
    return found


def files_in(folder: Path, qualities: list[int], every: int) -> Iterator[tuple[str, bytes]]:
    """Names and JPEGs."""
    if not qualities:
        for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES):
            yield path.name, path.read_bytes()
        return
    for path in pictures_in(folder)[::every]:
        with path.open("rb") as stream:
            image = image_of(open_picture(stream, MAX_PIXELS).plain_pixels)
        for quality in qualities:
            yield f"{path.stem} at {quality}", saved(image, "JPEG", quality=quality, subsampling="4:2:0")


def measure(name: str, data: bytes, chosen: dict[str, Coder]) -> dict[str, Any]:
    """One file's row. A coder that refuses it, or gives other bytes back, has nothing there."""
    width, height = size_of_jpeg(data)
    row: dict[str, Any] = {"file": name, "megapixels": width * height / 1e6, "JPEG": len(data)}
    for coder, (there, back) in chosen.items():
        start = time.perf_counter()
        try:
            packed = there(data)
        except Exception:  # whatever others raise
            if coder.startswith("igpt"):
                raise
            row |= {coder: "", f"{coder}, s": "", f"{coder} back, s": ""}
            continue
        middle = time.perf_counter()
        same = back is None or back(packed) == data
        row |= {coder: real_bytes(packed) if same else "", f"{coder}, s": middle - start, f"{coder} back, s": time.perf_counter() - middle}
        if coder.startswith("igpt") and not same:
            sys.exit(f"{name}: other bytes came back")
    return row


def real_bytes(data: bytes) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(data)
        return os.path.getsize(path)


def table(rows: list[dict[str, Any]], names: list[str], each: bool) -> str:
    """Bytes of each file, and what is saved of those that a coder takes."""
    lines = ["| file | JPEG | " + " | ".join(names) + " |", "|---" + "|---:" * (1 + len(names)) + "|"]
    for row in rows if each else ():
        lines.append(f"| {row['file']} | {row['JPEG']:,} | " + " | ".join(f"{row[n]:,}" if row[n] else "refused" for n in names) + " |")

    def summary(title: str, value: Callable[[str], str], jpeg: str = "") -> None:
        lines.append(f"| **{title}** | {jpeg} | " + " | ".join(map(value, names)) + " |")

    def total(name: str, of: str) -> float:
        return sum(float(row[of]) for row in rows if row[name])

    summary("bytes", lambda n: f"{total(n, n):,.0f}", f"{sum(row['JPEG'] for row in rows):,}")
    summary("files", lambda n: f"{sum(bool(row[n]) for row in rows)}", f"{len(rows)}")
    summary("saved", lambda n: f"{100 * (1 - total(n, n) / total(n, 'JPEG')):.1f} %" if total(n, n) else "")
    for what, column in (("compress", ", s"), ("decompress", " back, s")):
        summary(
            f"{what}, s per megapixel",
            lambda n, column=column: f"{total(n, n + column) / total(n, 'megapixels'):.2f}" if total(n, n) else "",
        )  # type: ignore[misc]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--qualities", type=int, nargs="*", default=[], help="of JPEGs made of the folder's pictures")
    parser.add_argument("--every", type=int, default=1, help="only every so many-th picture of these")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    chosen = coders()
    files = [*files_in(arguments.folder, arguments.qualities, arguments.every)]
    if not files:
        sys.exit(f"no JPEG in {arguments.folder.name}" if not arguments.qualities else f"no picture in {arguments.folder.name}")
    codec.jpeg_file(codec.compress(files[0][1]))  # what is compiled is compiled now
    rows = [measure(name, data, chosen) for name, data in tqdm(files, unit="file")]
    prefix = arguments.out / f"jpeg-{arguments.folder.name}"
    arguments.out.mkdir(parents=True, exist_ok=True)
    with open(f"{prefix}.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    names = list(chosen)
    command = f"python -m benchmarks.jpeg {arguments.folder.name}"
    command += f" --qualities {' '.join(map(str, arguments.qualities))} --every {arguments.every}" if arguments.qualities else ""
    parts = [table(rows, names, each=True)]
    if arguments.qualities:
        parts = []
        for quality in arguments.qualities:
            some = [row for row in rows if row["file"].endswith(f" at {quality}")]
            parts.append(f"Quality {quality}, 4:2:0, {len(some)} pictures:\n\n{table(some, names, each=False)}")
    seconds = f"Seconds with {threads()} threads for igpt, one for the others; everything that came back was compared byte for byte.\n"
    text = f"# JPEG files: {arguments.folder.name}\n\n{circumstances(command)}\n{seconds}\n" + "\n".join(parts)
    Path(f"{prefix}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
