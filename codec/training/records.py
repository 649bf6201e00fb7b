"""What the network for coefficients learns from: JPEG files as they are, and JPEGs that Pillow makes of lossless pictures."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from bitstream.errors import IgptError
from codec.jpeg.coefficients import Plane, records
from codec.jpeg.picture import taken_apart
from codec.jpeg.prediction import FEATURES
from codec.progress import Progress, ignore
from codec.training.data import SUFFIXES

JPEG_SUFFIXES = {".jpg", ".jpeg"}
QUALITIES = (50, 60, 70, 75, 75, 80, 85, 90, 90, 92, 95, 95, 97, 98, 99)  # frequent ones; or any from LEAST_QUALITY on
LEAST_QUALITY = 40
FREQUENT_SHARE, GREY_SHARE, TABLES_SHARE = 0.6, 0.1, 0.15
SAMPLINGS = (2, 2, 2, 2, 2, 0, 0, 1)  # of Pillow: 4:2:0, 4:4:4, 4:2:2
FILE_STEP = 26  # every so many-th coefficient of a file
RECORDS_PER_PICTURE = 1 << 14  # about
LEAST_STEP = 4


def planes_of(data: bytes) -> list[Plane]:
    """The coefficients of a JPEG file. Raises IgptError where it cannot be taken apart, or is too small for that."""
    taken = taken_apart(data, 0)
    if taken is None:
        msg = "a training file is no JPEG that can be taken apart"
        raise IgptError(msg)
    blocks, walk = taken.coefficients, taken.walk
    return [
        Plane(steps, blocks[c.first : c.first + c.stride * c.rows].reshape(c.rows, c.stride, -1))
        for c, steps in zip(walk.frame.components, walk.steps, strict=True)
    ]


def made(picture: Image.Image, tables: Sequence[dict[int, list[int]]], rng: np.random.Generator) -> bytes:
    """A JPEG of a picture, of random quality and sampling; some with the tables of a camera."""
    picture = picture.convert("L" if rng.random() < GREY_SHARE else "RGB")
    for change in (Image.Transpose.TRANSPOSE, Image.Transpose.FLIP_LEFT_RIGHT):
        if rng.random() < 0.3:
            picture = picture.transpose(change)
    sampling, out = int(rng.choice(SAMPLINGS)), io.BytesIO()
    if tables and rng.random() < TABLES_SHARE:
        picture.save(out, "JPEG", subsampling=sampling, qtables=tables[int(rng.integers(len(tables)))])
    else:
        quality = rng.choice(QUALITIES) if rng.random() < FREQUENT_SHARE else rng.integers(LEAST_QUALITY, 100)
        picture.save(out, "JPEG", subsampling=sampling, quality=int(quality))
    return out.getvalue()


def gathered(folders: Sequence[Path], count: int, rng: np.random.Generator, progress: Progress = ignore) -> npt.NDArray[np.int16]:
    """At most so many records, (records, FEATURES + 3), shuffled: of all JPEG files, then of pictures in rounds. progress: called with the
    number of those just found. Raises IgptError."""
    paths = sorted(path for folder in folders for path in folder.rglob("*"))
    files = [path for path in paths if path.suffix.lower() in JPEG_SUFFIXES]
    pictures = [path for path in paths if path.suffix.lower() in SUFFIXES]
    found, total = list[npt.NDArray[np.int16]](), 0
    for planes, step in _planes(files, pictures, rng):
        found.append(records(planes, step))
        total += len(found[-1])
        progress(len(found[-1]))
        if total >= count:
            break
    together = np.concatenate(found) if found else np.empty((0, FEATURES + 3), np.int16)
    return together[rng.permutation(len(together))][:count]


def _planes(files: Sequence[Path], pictures: Sequence[Path], rng: np.random.Generator) -> Iterator[tuple[list[Plane], int]]:
    """With the step between coefficients that are recorded. Pictures too small or too flat for a JPEG worth coding are left out."""
    tables = []
    for path in files:
        data = path.read_bytes()
        try:
            planes = planes_of(data)
        except IgptError as error:
            msg = f"{path}: {error}"
            raise IgptError(msg) from error
        with Image.open(io.BytesIO(data)) as image:
            if image.mode == "RGB":
                tables.append({n: list(table) for n, table in image.quantization.items()})  # type: ignore[attr-defined]
        yield planes, FILE_STEP
    useful = bool(pictures)
    while useful:
        useful = False
        for k in rng.permutation(len(pictures)):
            with Image.open(pictures[k]) as image, contextlib.suppress(IgptError):
                planes = planes_of(made(image, tables, rng))
                coded = sum(int(np.count_nonzero(plane.coefficients)) for plane in planes)
                useful |= coded >= LEAST_STEP
                yield planes, max(LEAST_STEP, coded // RECORDS_PER_PICTURE)
