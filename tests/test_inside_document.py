"""The decoder that was written from FORMAT-inside.md finds the same pixels as the product, however the blocks of a picture lie."""

from contextlib import nullcontext, suppress
from itertools import product

import numpy as np
import pytest

from bitstream.constants import MAX_OUTLIER_SHARE
from bitstream.container import Coding, read
from bitstream.errors import DamagedError
from bitstream.outliers import pack
from codec import models
from codec.decompression import decompress_file
from codec.inside.antecedent import DECODERS, LIBJPEG, Antecedent, Layout
from codec.jpeg import coefficients
from codec.methods.inside import BLOCK, DecodedJpeg, Fields, planes_of
from codec.methods.method import Part
from codec.methods.network import name_in_file
from codec.options import Options
from codec.pasts.chroma import FILTERS, Sampling
from codec.progress import ignore
from tests import plain_decoder
from tests.conftest import TINY_DCT, form_of
from tests.forged import claiming

CPU = Options(device="cpu", model=TINY_DCT)
HEIGHT, WIDTH = 11, 9


def antecedent(rng, filter_, ring, decoder=LIBJPEG):
    """Any tables, coefficients and exceptions, the blocks anywhere; without a filter grey."""
    down, across = (filter_.down, filter_.across) if filter_ else (1, 1)
    top, left = int(rng.integers(8 * down)), int(rng.integers(8 * across))
    sampling = Sampling(filter_, top % down, left % across, ring) if filter_ else None
    layout = Layout(HEIGHT, WIDTH, sampling, top, left, decoder)
    steps = [rng.integers(1, rng.choice((4, 40, 65536)), BLOCK) for _ in layout.blocks]
    if rng.random() < 0.5:
        steps[1:] = steps[1:2] * (len(steps) - 1)
    blocks = [(rng.integers(-32767, 32768, (*size, BLOCK)) >> 10).astype(np.int16) for size in layout.blocks]
    for one in blocks:
        one[..., rng.integers(1, 12) :] = 0
        one[..., :1] = rng.integers(-32767, 32768, one[..., :1].shape) >> rng.integers(0, 10)
    count = int(rng.integers(HEIGHT * WIDTH // MAX_OUTLIER_SHARE + 1))
    positions = np.sort(rng.permutation(HEIGHT * WIDTH)[:count])
    return Antecedent(layout, steps, blocks, positions, rng.integers(0, 256, (count, 3 if filter_ else 1)).astype(np.uint8))


def igpt(found):
    network = models.for_coefficients(models.chosen(TINY_DCT, None))
    fields = Fields(found.layout, found.steps, len(found.positions) > 0, name_in_file(network))
    corrections = np.pad(found.corrections, ((0, 0), (0, 3 - found.corrections.shape[1])), constant_values=9)
    chunks = [pack(found.positions, corrections)] if len(found.positions) else []
    chunks += coefficients.encode(planes_of(found), network, ignore)
    pixels = found.pixels()
    coding = Coding(DecodedJpeg.number, 0, fields.to_bytes())
    return claiming(WIDTH, HEIGHT, form_of(pixels), coding, chunks, samples=pixels)


def plain(data):
    return plain_decoder.decode(data, [TINY_DCT]).samples


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.code)
@pytest.mark.parametrize("ring", [0, 1])
@pytest.mark.parametrize("code", range(7), ids=lambda code: FILTERS[code].name)
def test_colours(code, ring, decoder):
    found = antecedent(np.random.default_rng(2 * code + ring), decoder.filters[code], ring, decoder)
    data = igpt(found)
    assert (decompress_file(read(data), CPU).pixels == found.pixels()).all()
    assert (plain(data) == found.pixels()).all()


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.code)
@pytest.mark.parametrize("seed", range(3))
def test_greys(seed, decoder):
    found = antecedent(np.random.default_rng(seed), None, 0, decoder)
    data = igpt(found)
    assert (decompress_file(read(data), CPU).pixels == found.pixels()).all()
    assert (plain(data) == found.pixels()).all()


@pytest.mark.parametrize("variant", [0, 1])
def test_both_decoders_refuse_the_same_fields(variant):
    """Any first byte, and many second ones; otherwise they find the same blocks."""
    model, refused, kinds = b"" if variant else bytes(17), 0, range(256)
    for kind, place, channels in product(kinds, (0, 7, 8, 15, 0x70, 0x80, 0xFF), (1, 3)):
        tables = 1 if kind & 7 == 7 else 2 if kind & 0x20 else 3
        fields = bytes((kind, place)) + model + b"\0" + bytes(range(1, 129)) * tables
        layout = found = None
        with suppress(DamagedError):
            layout = DecodedJpeg().fields(Part(WIDTH, HEIGHT, channels, 8, Coding(7, variant, fields))).layout
        with suppress(AssertionError):
            found = plain_decoder.Inside(plain_decoder.Reader(fields), WIDTH, HEIGHT, channels, variant)
        assert (layout is None) == (found is None)
        if layout and found:
            assert (layout.blocks, layout.offsets, layout.sizes) == (found.blocks, found.missing, found.sizes)
            assert layout.decoder.code == found.decoder
        refused += found is None
    assert len(kinds) < refused < 13 * len(kinds)


@pytest.mark.parametrize(("pixels", "fits"), [(7, False), (8, True)])
def test_small_pictures_have_no_exceptions(pixels, fits):
    fields = bytes((0x17, 0)) + bytes(17) + b"\0" + bytes([1] * 128)
    with nullcontext() if fits else pytest.raises(DamagedError):
        DecodedJpeg().fields(Part(pixels, 1, 1, 8, Coding(7, 0, fields)))
    with nullcontext() if fits else pytest.raises(AssertionError):
        plain_decoder.Inside(plain_decoder.Reader(fields), pixels, 1, 1, 0)
