"""Samples, ranks among the values that occur, and a palette's colours: each leads back, and what does not is refused."""

import numpy as np
import pytest

from bitstream.container import COLOURS, read
from bitstream.errors import DamagedError
from bitstream.form import PALETTE, Form
from codec.decompression import decompress_file
from codec.methods.mixing import Mixing
from codec.options import Options
from codec.pictures.picture import Picture
from codec.representations import picture_boxes, representations
from tests.conftest import coded_by
from tests.forged import claiming

INDICES = np.mgrid[:9, :13].sum(0).astype(np.uint8)[..., None]
COLOURED = bytes(np.random.default_rng(0).integers(0, 256, 256 * 3).astype(np.uint8))
GREYS = bytes(k for k in range(3, 240, 7) for _ in range(3))


def by_colours(picture: Picture) -> bytes:
    """A file of its colours, whether or not that is smaller."""
    _, colours = representations(picture)
    coded, (height, width, _) = coded_by(Mixing(), colours.samples), picture.pixels.shape
    boxes = {**picture_boxes(picture), **colours.boxes}
    return claiming(width, height, picture.form, coded.coding, coded.chunks, boxes, picture.pixels)


def decoded(data: bytes) -> Picture:
    return decompress_file(read(data), Options(device="cpu"))


@pytest.mark.parametrize(("entries", "channels"), [(COLOURED, 3), (GREYS, 1), (GREYS[:-3] + bytes((1, 2, 3)), 1)])
def test_colours_lead_back_to_indices(entries, channels):
    picture = Picture(INDICES, Form(PALETTE, 8), ((b"PLTE", entries),))
    data = by_colours(picture)
    assert read(data).front.boxes[COLOURS] == bytes((channels,))
    found = decoded(data)
    assert (found.form, found.chunks) == (picture.form, picture.chunks)
    assert np.array_equal(found.pixels, picture.pixels)


def test_of_two_entries_of_a_colour_the_first_is_meant():
    twice = COLOURED[:30] + COLOURED[:30] + COLOURED[60:]
    for indices, ways in ((INDICES % 10, 2), (INDICES % 11, 1)):
        picture = Picture(indices, Form(PALETTE, 8), ((b"PLTE", twice),))
        assert len([*representations(picture)]) == ways
    picture = Picture(INDICES % 10, picture.form, picture.chunks)
    assert np.array_equal(decoded(by_colours(picture)).pixels, picture.pixels)


def test_colours_that_are_not_in_the_palette_are_damage():
    picture = Picture(INDICES, Form(PALETTE, 8), ((b"PLTE", COLOURED),))
    coded, boxes = coded_by(Mixing(), np.full((9, 13, 3), 77, np.uint8)), picture_boxes(picture) | {COLOURS: b"\3"}
    with pytest.raises(DamagedError, match="not in its palette"):
        decoded(claiming(13, 9, picture.form, coded.coding, coded.chunks, boxes))


def test_indices_of_few_bits_stay_so_by_way_of_colours():
    """The palette has more entries than such an index can name."""
    picture = Picture(INDICES, Form(PALETTE, 8), ((b"PLTE", COLOURED),))
    front, chunks = read(by_colours(picture))
    for depth in (1, 2, 4):
        data = claiming(13, 9, Form(PALETTE, depth), front.codings, chunks, front.boxes, picture.pixels)
        with pytest.raises(DamagedError, match=f"samples above {(1 << depth) - 1}"):
            decoded(data)
