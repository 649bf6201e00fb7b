"""What the parts of the coder of JPEG's coefficients are worth: python -m benchmarks.jpeg_ablation [DATA]

Bytes of whole files, of the camera files in `jpeg_test` and of JPEGs that Pillow makes of some pictures in `val`: the mixture without the
network, the network without counters (only the refinement and what the network does not predict learn), and both.
"""

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from codec import models
from codec.jpeg import coefficients
from codec.jpeg.mixture import CONTEXTS, State
from codec.jpeg.network import CoefficientNetwork
from codec.jpeg.picture import taken_apart
from codec.mixing.kernel import ONE
from codec.progress import ignore
from codec.training.records import planes_of

QUALITIES = (75, 90, 95)
PICTURES = 8
Made = Callable[[bool], State]


def files(data: Path) -> Iterator[tuple[str, list[bytes]]]:
    yield "jpeg_test", [path.read_bytes() for path in sorted((data / "jpeg_test").glob("*.jpg"))]
    paths = sorted((data / "val").iterdir())
    for quality in QUALITIES:
        made = []
        for path in paths[:: len(paths) // PICTURES][:PICTURES]:
            out = io.BytesIO()
            Image.open(path).convert("RGB").save(out, "JPEG", quality=quality, subsampling=2)
            made.append(out.getvalue())
        yield f"val, quality {quality}", made


def network_only(made: Made) -> Made:
    """The weights of the counters are 0, and nothing changes them."""

    def state(alone: bool) -> State:
        start = made(alone)
        start.weights[:] = 0
        start.weights[:, CONTEXTS] = ONE
        return start._replace(rates=np.zeros_like(start.rates))

    return state


def coded(data: bytes, network: CoefficientNetwork | None) -> int:
    return sum(map(len, coefficients.encode(planes_of(data), network, ignore)))


def main(arguments: Sequence[str]) -> None:
    data = Path(arguments[0] if arguments else Path(__file__).parents[2] / "shared" / "data")
    network = models.for_coefficients(None)
    print("| files | as they are | mixture alone | network alone | both |\n|---|---:|---:|---:|---:|")
    for name, group in files(data):
        whole = sum(map(len, group))
        others = sum(len(file) - code_bytes(file) for file in group)
        alone, both = (sum(coded(file, each) for file in group) for each in (None, network))
        with mock.patch.object(coefficients, "_state", network_only(coefficients._state)):
            only = sum(coded(file, network) for file in group)
        cells = [f"{others + count:,} ({100 * (1 - (others + count) / whole):.1f} %)" for count in (alone, only, both)]
        print(f"| {name} | {whole:,} | {' | '.join(cells)} |", flush=True)


def code_bytes(data: bytes) -> int:
    """Of the scans of a file."""
    taken = taken_apart(data, 0)
    assert taken is not None
    return taken.code


if __name__ == "__main__":
    main(sys.argv[1:])
