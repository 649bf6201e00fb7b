"""What pasts bring, and whether they are found: `python -m benchmarks.pasts FOLDER [--every N]`.

Every N-th picture of the folder goes through JPEG at three qualities and three samplings and becomes RGB again, as it would be stored as a
PNG; igpt's real files, decoded and compared, stand beside JPEG XL's and the JPEG's own. And every picture of the folder as it is: is a past
found in it, what did looking for it take, and how much larger is the file than without. Writes pasts.csv and pasts.md.
"""

import argparse
import contextlib
import csv
import io
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

import codec
from benchmarks.measure import RESULTS, Pixels, circumstances, lossless_bytes, lossless_encoders, pictures_in, real_bytes, saved
from bitstream.container import read_front
from bitstream.errors import UnsupportedImageError
from codec.methods.inside import DecodedJpeg
from codec.methods.past import PastMethod
from codec.pasts import past as pasts
from codec.pictures.pillow import image_of
from codec.pictures.reading import MAX_PIXELS, open_picture

QUALITIES = (75, 90, 95)
SAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


def past_in(data: bytes) -> str:
    """What a file says that its pixels were made of; nothing where it holds the pixels."""
    front = read_front(data)
    return codec.info(data).coding if front.codings[0].method in (PastMethod.number, DecodedJpeg.number) else ""


def through_jpeg(pixels: Pixels, quality: int, sampling: str) -> tuple[Pixels, int]:
    """What a JPEG decodes to, and its bytes."""
    data = saved(image_of(pixels), "JPEG", quality=quality, subsampling=sampling)
    return np.asarray(Image.open(io.BytesIO(data))), len(data)


def decoded_jpeg(path: Path, pixels: Pixels, quality: int, sampling: str) -> dict[str, Any]:
    decoded, jpeg_bytes = through_jpeg(pixels, quality, sampling)
    start = time.perf_counter()
    past = pasts.recognised(decoded)
    seconds = time.perf_counter() - start
    data = codec.compress(decoded)
    size, name = real_bytes(data, decoded), past_in(data)
    return {
        "picture": path.name,
        "quality": quality,
        "sampling": sampling,
        "past": name,
        "right": name.startswith("decoded JPEG") and name.endswith(f", {sampling}"),
        "coefficients": "quality" in name,
        "igpt": size,
        "JPEG XL 9": lossless_bytes(decoded, lossless_encoders((9,))["JPEG XL 9"]),
        "JPEG": jpeg_bytes,
        "exceptions": len(past.positions) / past.luma.size if past else "",
        "search s": seconds,
    }


def as_it_is(path: Path, pixels: Pixels) -> dict[str, Any]:
    start = time.perf_counter()
    past = pasts.recognised(pixels)
    seconds = time.perf_counter() - start
    found = {"picture": path.name, "past": past.formula.name if past else "", "search s": seconds}
    if past:
        found["more bytes"] = len(codec.compress(pixels)) - len(codec.compress(pixels, past=False))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="default: photographs that come with scikit-image")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    pictures = []
    for path in pictures_in(arguments.folder):
        with contextlib.suppress(UnsupportedImageError), path.open("rb") as stream:
            pixels = open_picture(stream, MAX_PIXELS).plain_pixels
            if pixels.shape[2] == 3:
                pictures.append((path, pixels))
    if not pictures:
        sys.exit("no colour picture that igpt takes")
    jobs = [(p, x, q, s) for p, x in pictures[:: arguments.every] for q in QUALITIES for s in SAMPLINGS]
    rows = [decoded_jpeg(*job) for job in tqdm(jobs, unit="picture")]
    plain = [as_it_is(*picture) for picture in pictures]
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "pasts.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    head = ("quality, sampling", "recognised", "igpt", "JPEG XL 9", "igpt / JPEG XL 9", "igpt / JPEG", "exceptions", "search, s")
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for quality in QUALITIES:
        for sampling in SAMPLINGS:
            some = [r for r in rows if (r["quality"], r["sampling"]) == (quality, sampling)]
            ours, theirs, jpegs = (sum(r[name] for r in some) for name in ("igpt", "JPEG XL 9", "JPEG"))
            exceptions = np.mean([float(r["exceptions"] or 0) for r in some])
            lines.append(
                f"| {quality}, {sampling} | {sum(r['right'] for r in some)} of {len(some)} | {ours:,} | {theirs:,} | {ours / theirs:.3f} "
                f"| {ours / jpegs:.2f} | {100 * exceptions:.2f} % | {np.median([r['search s'] for r in some]):.2f} |"
            )
    found = [f for f in plain if f["past"]]
    slowest = max(f["search s"] for f in plain if not f["past"]) if len(found) < len(plain) else 0.0
    notes = [f"{f['picture']} ({f['past']}, {f['more bytes']:+,} bytes)" for f in found]
    folder = arguments.folder.name if arguments.folder else "scikit-image"
    command = f"python -m benchmarks.pasts {folder} --every {arguments.every}"
    text = (
        f"# Pasts\n\n{circumstances(command)}\nDecoded JPEGs, bytes of all pictures together:\n\n" + "\n".join(lines) + "\n\n"
        f"The {len(plain)} pictures as they are: a past is found in {len(found)}{': ' + ', '.join(notes) if notes else ''}; "
        f"where there is none, looking takes at most {slowest:.3f} s.\n"
    )
    (arguments.out / "pasts.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
