"""What a model of one's own brings on pictures of its kind: `python -m benchmarks.domain HELD_OUT --model MODEL`.

Codes every colour photograph of the folder HELD_OUT, which the model's training did not see, with the models that come with igpt and with
MODEL, a folder that `igpt train` has written; decodes, compares, and writes domain-MODEL.csv and domain-MODEL.md.
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

import codec
from benchmarks.measure import RESULTS, circumstances, lossless_bytes, lossless_encoders, pictures_in, real_bytes
from codec.pictures.reading import MAX_PIXELS, open_picture

OURS, TRAINED = "igpt", "igpt, trained"
OTHERS = "JPEG XL 9", "WebP"


def measured(path: Path, model: Path) -> dict[str, Any]:
    """A picture's real bytes by each."""
    with path.open("rb") as stream:
        pixels = open_picture(stream, MAX_PIXELS).plain_pixels
    sizes = {name: real_bytes(codec.compress(pixels, model=own), pixels, own) for name, own in ((OURS, None), (TRAINED, model))}
    others = {name: encode for name, encode in lossless_encoders((9,)).items() if name in OTHERS}
    return {"picture": path.name, **sizes, **{name: lossless_bytes(pixels, encode) for name, encode in others.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows = [measured(path, arguments.model) for path in tqdm(pictures_in(arguments.folder), unit="picture")]
    if not rows:
        sys.exit("no picture that igpt takes")
    name = arguments.model.resolve().name
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / f"domain-{name}.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    columns = [column for column in rows[0] if column != "picture"]
    totals = {column: sum(row[column] for row in rows) for column in columns}
    positions = json.loads((arguments.model / "training.json").read_text())[-1]["positions"]
    text = (
        f"# {name}\n\n{circumstances(f'python -m benchmarks.domain {arguments.folder.name} --model {name}')}\n"
        f"{len(rows)} pictures that training did not see, after {positions / 1e6:.1f} million positions; {TRAINED} takes "
        f"{100 * (totals[TRAINED] / totals[OURS] - 1):+.1f} %.\n\n"
        f"| | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}\n| bytes | {' | '.join(f'{totals[c]:,}' for c in columns)} |\n"
    )
    (arguments.out / f"domain-{name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
