"""Files written once stay readable, and are written the same way today. `python -m tests.make_golden` adds new ones."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

import codec
from bitstream.constants import DRAWING_NUMERICS
from codec import models
from codec.pictures.outputs import png_of
from codec.pictures.png_chunks import chunks_of
from codec.pictures.reading import MAX_PIXELS, open_picture
from tests.conftest import GOLDEN, TINY, TINY_PALETTE, TINY_YCC, with_past
from tests.make_golden import by_palette, enclosed
from tests.plain_decoder import decode, decode_envelope

ENVELOPES = sorted(GOLDEN.glob("envelope-*.igpt"))
FILES = sorted(set(GOLDEN.glob("*.igpt")) - set(ENVELOPES))


def expected(path):
    pixels = np.asarray(Image.open(GOLDEN / f"{path.name.split('.')[0]}.png"))
    return pixels.reshape(*pixels.shape[:2], -1)


def model_of(path):
    """The model's folder; None for a drawing, which has none."""
    name = path.name.split(".")[1]
    return None if name == "drawing" else {"tiny": TINY, "tiny-ycc": TINY_YCC, "tiny-palette": TINY_PALETTE}.get(name, models.FOLDER / name)


def test_there_are_golden_files_of_every_shipped_model():
    from codec.models import shipped

    names = {folder.name for folder in shipped()}
    assert {path.name.split(".")[1] for path in FILES} == {"tiny", "tiny-ycc", "tiny-palette", "drawing", *names}
    assert set(models.DEFAULTS.values()) <= names


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_decompress_from(path, monkeypatch):
    monkeypatch.setattr(models, "shipped", lambda: [TINY])  # which refines the palettes
    assert (codec.decompress_pixels(path.read_bytes(), model=model_of(path), device="cpu") == expected(path)).all()


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_compress_to(path):
    header = codec.info(path.read_bytes())
    if header["kind"] == "drawing" and header["numerics_version"] < DRAWING_NUMERICS:
        assert len(codec.drawn(expected(path), lambda _: None)) <= 1.02 * path.stat().st_size
    elif "past" in header:  # finding a past may become better
        assert len(with_past(expected(path), model_of(path))) <= 1.02 * path.stat().st_size
    elif model_of(path) == TINY_PALETTE:
        assert by_palette(expected(path)) == path.read_bytes()
    else:
        assert codec.compress_pixels(expected(path), model=model_of(path), device="cpu", past=False) == path.read_bytes()


@pytest.mark.parametrize("path", [p for p in FILES if p.name.split(".")[1] not in models.DEFAULTS.values()], ids=lambda p: p.stem)
def test_the_document_is_enough(path):
    """A second decoder, written from FORMAT.md, finds the same pixels."""
    assert (decode(path.read_bytes(), model_of(path), TINY) == expected(path)).all()


@pytest.mark.parametrize("path", ENVELOPES, ids=lambda p: p.stem)
def test_envelopes(path):
    """Their PNGs come out to the byte, are packed in the same way today, and by the document."""
    png, data = (GOLDEN / f"{path.name.split('.')[0]}.png").read_bytes(), path.read_bytes()
    picture = codec.decompress_picture(data, model=TINY, device="cpu")
    assert chunks_of(png_of(picture)) == chunks_of(png)
    assert (open_picture(io.BytesIO(png), MAX_PIXELS).pixels == picture.pixels).all()
    again = enclosed(png)
    assert again == data or len(again) < len(data)  # deflating may become better
    colour, bits, samples, chunks = decode_envelope(data, TINY)
    assert (samples == picture.pixels).all()
    assert (colour, bits) == picture.form
    assert tuple(chunks) == picture.chunks


MUST_FAIL = {
    "empty": lambda data: b"",
    "magic only": lambda data: data[:9],
    "text mode": lambda data: data.replace(b"\r\n", b"\n"),
    "newer": lambda data: data[:9] + b"\x63" + data[10:],
    "half": lambda data: data[: len(data) // 2],
    "no last byte": lambda data: data[:-1],
    "one more byte": lambda data: data + b"\0",
    "twice": lambda data: data + data,
    "other name length": lambda data: data[:29] + b"\xff" + data[30:],
    "first payload byte": lambda data: data[:70] + bytes([data[70] ^ 1]) + data[71:],
    "last CRC byte": lambda data: data[:-1] + bytes([data[-1] ^ 128]),
}


@pytest.mark.parametrize("name", MUST_FAIL)
def test_must_fail(name):
    data = MUST_FAIL[name]((GOLDEN / "rgb-33x45.tiny.igpt").read_bytes())
    with pytest.raises(codec.IgptError):
        codec.decompress(data, model=TINY, device="cpu")


def test_golden_files_were_not_touched():
    """Their digests, so that a refresh by accident is seen."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in (*FILES, *ENVELOPES)}
    listed = dict(line.split() for line in (GOLDEN / "digests.txt").read_text().splitlines())
    assert found == listed
