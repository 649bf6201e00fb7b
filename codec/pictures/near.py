"""Near-lossless: pictures whose samples are others than they were, by a bound at most, and fewer; they are then coded as any other."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bitstream.errors import IgptError, VerificationError
from bitstream.form import ALPHA
from codec.options import LARGEST_ERROR
from codec.pictures.picture import Picture

Samples = npt.NDArray[Any]
Levels = npt.NDArray[np.int64]

LARGEST_ERRORS = {8: 16, 16: LARGEST_ERROR}  # by bits per sample
SAMPLES_AT_ONCE = 1 << 20  # that are looked at together
LATTICES = 64  # that are tried, at most
MOST = (1 << 16) - 1  # that two samples can differ by
KEYWORD = b"igpt max error"  # of a text chunk, which says the bound


def near(picture: Picture, bound: int) -> Picture:
    """The picture with samples of fewer levels, none of them further than `bound` from what it was. Its metadata say so.

    Alpha stays as it is; so do pictures whose samples are no brightnesses (palettes, few bits, files) or have a colour that is transparent:
    they are returned. Raises IgptError for a bound above LARGEST_ERRORS.
    """
    form = picture.form
    if not (bound and form.meaningful) or any(name == b"tRNS" for name, _ in picture.chunks):
        return picture
    if bound > LARGEST_ERRORS[form.depth]:
        msg = f"of samples of {form.depth} bits a largest error is at most {LARGEST_ERRORS[form.depth]:,}, not {bound:,}"
        raise IgptError(msg)
    pixels = picture.pixels.copy()
    for channel in range(form.channels - (form.colour in ALPHA)):
        pixels[..., channel] = _table(picture.pixels[..., channel], form.depth, bound)[picture.pixels[..., channel]]
    if np.array_equal(pixels, picture.pixels):
        return picture
    return replace(picture, pixels=pixels, chunks=_marked(picture, bound))


def require_within(found: Picture, picture: Picture, bound: int) -> None:
    """Raises VerificationError where a sample of what was found differs by more from the picture's."""
    if found is not picture:
        for rows in _some_rows(picture.pixels):
            if np.abs(found.pixels[rows].astype(np.int32) - picture.pixels[rows]).max() > bound:
                msg = f"a sample would differ by more than {bound}: nothing was written; please report this"
                raise VerificationError(msg)


def max_error(chunks: tuple[tuple[bytes, bytes], ...]) -> int:
    """What the metadata say of how far samples may be from what they once were; 0 where they say nothing."""
    errors = [body.removeprefix(KEYWORD + b"\0") for name, body in chunks if name == b"tEXt" and body.startswith(KEYWORD + b"\0")]
    return min(MOST, sum(int(error) for error in errors if error.isdigit() and len(error) <= 5))


def _marked(picture: Picture, bound: int) -> tuple[tuple[bytes, bytes], ...]:
    """Its chunks, before the pixels with one more, instead of an earlier one."""
    body = KEYWORD + b"\0" + str(min(MOST, max_error(picture.chunks) + bound)).encode()
    others = [chunk for chunk in picture.chunks if not (chunk[0] == b"tEXt" and chunk[1].startswith(KEYWORD + b"\0"))]
    place = next((k for k, (name, _) in enumerate(others) if name == b"IDAT"), len(others))
    return (*others[:place], (b"tEXt", body), *others[place:])


def _table(samples: Samples, depth: int, bound: int) -> Samples:
    """What becomes of each value: of several ways to join neighbours to one level, that which leaves the least entropy."""
    counts = np.zeros(1 << depth, np.int64)
    for rows in _some_rows(samples):
        counts += np.bincount(samples[rows].ravel(), minlength=len(counts))
    width = 2 * bound + 1
    starts = np.unique(np.linspace(0, width - 1, min(width, LATTICES)).astype(np.int64))
    cells = [(np.arange(1 << depth) + start) // width for start in starts]
    cells.append(_fewest(counts, width))
    cell = min(cells, key=lambda cell: _entropy(np.bincount(cell, counts)))
    values = np.flatnonzero(counts)
    least, most = (np.full(int(cell.max()) + 1, fill) for fill in (1 << depth, -1))
    np.minimum.at(least, cell[values], values)
    np.maximum.at(most, cell[values], values)
    middles: Samples = ((least + most) // 2).astype(samples.dtype)
    table: Samples = middles[cell]
    return table


def _fewest(counts: npt.NDArray[np.int64], width: int) -> Levels:
    """The cell of each value, if every cell begins with the first value that occurs above the last one."""
    starts, end = np.zeros(len(counts), np.int64), -1
    for value in np.flatnonzero(counts).tolist():
        if value >= end:
            starts[value], end = 1, value + width
    cells: Levels = np.cumsum(starts)
    return cells


def _some_rows(samples: Samples) -> Iterator[slice]:
    """All rows, some at a time, so that what is made of them takes little memory."""
    step = max(1, SAMPLES_AT_ONCE // samples[0].size)
    return (slice(first, first + step) for first in range(0, len(samples), step))


def _entropy(counts: npt.NDArray[Any]) -> float:
    """In bits."""
    some = counts[counts > 0]
    return float(some.sum() * np.log2(some.sum()) - (some * np.log2(some)).sum())
