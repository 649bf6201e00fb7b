"""The box that holds a palette: every one comes back, those of many kinds are small, and no bytes do harm."""

import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bitstream import palette
from bitstream.errors import DamagedError
from bitstream.form import PALETTE
from tests import plain_decoder
from tests.conftest import smooth

WEB = bytes(v for r in range(0, 256, 51) for g in range(0, 256, 51) for b in range(0, 256, 51) for v in (r, g, b))
GREY = bytes(v for grey in range(256) for v in (grey, grey, grey))
SPRITE = random.Random(1).randbytes(3 * 78)
RAMPS = bytes(
    start + (end - start) * k // 15
    for first, last in (((10, 0, 40), (90, 200, 250)), ((80, 40, 0), (255, 230, 170)), ((0, 30, 10), (120, 250, 90)))
    for k in range(16)
    for start, end in zip(first, last, strict=True)
)
GROWN = bytes.fromhex(  # of a drawn picture
    "00000041352c42372e453930463b31473c32493e354b41384d42394f453c51463d53493e554b41584e44594f455b5147"
)
SORTED = bytes(np.sort(np.random.default_rng(2).integers(0, 256, (200, 3)), axis=0).astype(np.uint8).tobytes())


def assert_roundtrip(entries: bytes) -> bytes:
    body = palette.pack(entries)
    assert palette.unpack(body) == entries
    assert len(body) <= 1 + len(entries)
    return body


@pytest.mark.parametrize(
    ("entries", "size"),
    [
        (bytes(3), 1),
        (b"\xff\xff\xff", 3),
        (b"\x12\x34\x56", 4),
        (bytes(3) + b"\xff\xff\xff", 4),
        (bytes(768), 1),
        (bytes(range(48)), 7),
        (GREY, 7),
        (GREY[::-1], 8),
        (WEB, 35),
        (WEB + bytes(120), 39),
        (RAMPS, 53),
        (GROWN, 20),
        (SORTED, 185),
        (SPRITE, 235),
        (SPRITE + bytes(3 * 178), 244),
    ],
)
def test_sizes(entries, size):
    """A number that changes means another format."""
    assert len(assert_roundtrip(entries)) == size


def test_the_words_stay_the_same():
    """One body in full: other numbers in the model give other bytes."""
    assert palette.pack(GROWN).hex() == "0f03664ce0daae4da3119ac269e63f1cada60212"


@settings(deadline=None, max_examples=40)
@given(st.binary(min_size=1, max_size=40).map(lambda data: data * 3))
def test_any_palette_comes_back(entries):
    assert_roundtrip(entries)


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 1 << 32), st.integers(1, 256), st.sampled_from([1, 4, 40, 255]), st.integers(0, 255))
def test_palettes_of_all_sizes_come_back(seed, count, spread, unused):
    """Walks with steps of a certain size, and a tail that is all the same."""
    rng = np.random.default_rng(seed)
    entries = np.clip(np.cumsum(rng.integers(-spread, spread + 1, (count, 3)), axis=0) + 128, 0, 255).astype(np.uint8)
    entries[count - min(unused, count - 1) :] = entries[-1]
    assert_roundtrip(entries.tobytes())


def test_extremes_come_back():
    """Where a count, a weight or a product could grow over its bound."""
    for entry in (b"\0\0\0", b"\xff\xff\xff", b"\0\xff\0", b"\xff\0\xff"):
        assert len(assert_roundtrip(entry * 256)) <= 7
    assert_roundtrip((b"\0\0\0\xff\xff\xff") * 128)
    assert_roundtrip(bytes(random.Random(3).choice((0, 255)) for _ in range(768)))
    assert_roundtrip(b"\x80" * 765 + b"\x7f\x81\x80")


def test_arithmetic_is_exact():
    """The sums are whole numbers, and as the text of the format says: no value has no part, none has more than is left."""
    model = palette._Model(256)
    entries = (GREY + WEB)[384:1152]
    for k, value in enumerate(entries):
        ends = model.ends(k)
        assert (ends == np.floor(ends)).all()
        assert (np.diff(ends, prepend=0) >= 1).all()
        assert ends[-1] < 1 << 21
        model.learn(k, value)
        weights = model.weights[k % 3]
        assert weights.min() >= 2
        assert weights.sum() <= 1 << 16
        assert model.heads[k % 3].sum() <= 1 << 16


@pytest.mark.parametrize("entries", [GROWN, RAMPS[:60], GREY[:90] + bytes(30), WEB[:90], SORTED[:60], b"\xff\0\xff" * 20], ids=range(6))
def test_a_plain_decoder_agrees(entries):
    assert b"".join(plain_decoder.palette_of(palette.pack(entries), PALETTE)) == entries


def test_the_weights_at_the_start_are_a_whole():
    for scaled, counted in palette.PRIORS:
        assert sum(map(sum, scaled)) + sum(counted) == palette.WHOLE


def test_photographs_and_what_a_general_coder_takes():
    image = Image.fromarray(smooth(120, 160)).quantize(200, Image.Quantize.MEDIANCUT)
    entries = bytes(image.getpalette())[: 3 * 200]
    assert len(assert_roundtrip(entries)) < 0.9 * len(entries)


@pytest.mark.parametrize("entries", [b"", b"\0", b"\0" * 4, b"\0" * 771])
def test_no_palette(entries):
    with pytest.raises(ValueError, match="1 to 256 entries"):
        palette.pack(entries)


def test_what_is_not_written_is_not_read():
    with pytest.raises(DamagedError):
        palette.unpack(b"")
    for body in (palette.pack(GREY), palette.pack(WEB), palette.pack(RAMPS)):
        for wrong in (body + b"\0", body + b"\1", body + bytes(769)):
            with pytest.raises(DamagedError):
                palette.unpack(wrong)
    with pytest.raises(DamagedError):
        palette.unpack(b"\1" + bytes(7))
    with pytest.raises(DamagedError):
        palette.unpack(b"\xff" + b"\xff" * 300)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([*range(8), 15, 255]), st.binary(max_size=40))
def test_no_bytes_do_harm(count, rest):
    body = bytes([count]) + rest
    try:
        entries = palette.unpack(body)
    except DamagedError:
        return
    assert len(entries) == 3 * (count + 1)
    assert len(rest) == len(entries) or palette.pack(entries) == body


def test_hostile_bytes_take_no_time():
    start = time.process_time()
    with pytest.raises(DamagedError):
        palette.unpack(b"\xff" + bytes(1 << 24))
    assert time.process_time() - start < 1
