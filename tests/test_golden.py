"""Files written once stay readable, and are written the same way today, but for the former ones; files that were refused once still are.

`python -m tests.make_golden` adds new ones.
"""

import hashlib
import io
import json
import zlib

import pytest

import codec
from bitstream.container import read
from bitstream.form import KEPT
from codec import models
from codec.decompression import decompress_file
from codec.methods import METHODS
from codec.options import Options
from codec.pictures.png_chunks import chunks_of
from codec.pictures.reading import MAX_PIXELS, open_picture, picture_in
from tests import igpt_decoder, plain_decoder
from tests.conformance import EXPECTED, difference
from tests.conftest import GOLDEN, TINY, TINY_DCT, TINY_OTHER, TINY_PALETTE, TINY_YCC, TINY_YCC_OTHER
from tests.make_golden import FORMER, REFUSED, golden, refused

MADE_TODAY, MADE_ONCE, REFUSED_FILES = (sorted(folder.glob("*.igpt")) for folder in (GOLDEN, FORMER, REFUSED))
FILES = [*MADE_TODAY, *MADE_ONCE]
ZLIB = "1.2.13"  # that made the files
TINY_MODELS = [TINY, TINY_OTHER, TINY_YCC, TINY_YCC_OTHER, TINY_DCT, TINY_PALETTE]
MADE = golden()
KNOWN = json.loads(EXPECTED.read_text())
SLOW = {"file-bands.fast"}  # for the document's decoder
OPTIONS = Options(device="cpu")


def name_of(path):
    return path.name.removesuffix(".igpt")


@pytest.fixture(autouse=True)
def _tiny_models(monkeypatch):
    """They are found, as if they shipped with igpt."""
    shipped = models.shipped()
    monkeypatch.setattr(models, "shipped", lambda: [*shipped, *TINY_MODELS])


def picture_of(path):
    """And its chunks."""
    jpeg = GOLDEN / f"{name_of(path).split('.')[0]}.jpg"
    if jpeg.exists():
        return picture_in(jpeg.read_bytes()), ()
    png = (GOLDEN / f"{name_of(path).split('.')[0]}.png").read_bytes()
    return open_picture(io.BytesIO(png), MAX_PIXELS), kept(chunks_of(png)[1])


def kept(chunks):
    """Without the place of the pixels where it says nothing: behind all others."""
    return tuple(chunks[:-1] if chunks and chunks[-1] == (b"IDAT", b"") else chunks)


def test_all_are_there():
    assert {name_of(path) for path in MADE_TODAY} == set(MADE)
    assert {name_of(path) for path in REFUSED_FILES} == set(refused())
    assert {name_of(path) for path in FILES} == set(KNOWN["valid"])
    assert {f"refused/{name_of(path)}" for path in REFUSED_FILES} == set(KNOWN["refused"])


def test_there_are_golden_files_of_everything():
    """Every method, variant, model, form and representation; alpha apart; several groups."""
    fronts = [read(path.read_bytes()).front for path in FILES]
    infos = [codec.info(path.read_bytes()) for path in FILES]
    found = {(coding.method, coding.variant) for front in fronts for coding in front.codings}
    assert found == {(method.number, variant) for method in METHODS for variant in range(method.variants)}
    of_files = {coding.method for front in fronts if front.head.form.colour == KEPT for coding in front.codings}
    assert of_files == {method.number for method in METHODS if True in method.of_files}
    named = {model.name for info in infos for model in info.models}
    assert named == {folder.name for folder in models.shipped()}
    forms = {(front.head.form.colour, front.head.form.depth) for front in fronts}
    assert forms == {
        (0, 1),
        (0, 2),
        (0, 4),
        (0, 8),
        (0, 16),
        (2, 8),
        (2, 16),
        (3, 1),
        (3, 2),
        (3, 4),
        (3, 8),
        (4, 8),
        (4, 16),
        (6, 8),
        (6, 16),
        (7, 8),
    }
    assert {info.representation for info in infos} == {"samples", "ranks", "colours"}
    assert {kind for front in fronts for kind in front.boxes} == {0x81, 0x82, 1, 2, 3, 6}
    apart = {(front.head.form.colour, front.head.form.depth) for front in fronts if front.head.alpha_apart}
    assert apart == {(4, 8), (4, 16), (6, 8), (6, 16)}
    assert {"damaged", "truncated", "newer", "not igpt", "too large", "model missing"} == {*KNOWN["refused"].values()}
    assert {info.chunks for info in infos if info.coding == "network"} == {1, 3}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_decompress_from(path):
    expected, chunks = picture_of(path)
    found = decompress_file(read(path.read_bytes()), OPTIONS)
    assert found.form == expected.form
    assert found.pixels.dtype == expected.pixels.dtype
    assert (found.pixels == expected.pixels).all()
    assert kept(found.chunks) == chunks
    assert not difference(KNOWN["valid"][name_of(path)], igpt_decoder.written(found))


@pytest.mark.parametrize("path", MADE_TODAY, ids=name_of)
def test_compress_to(path):
    """The same bytes; or with another zlib as few, where a part is deflated."""
    some, data = MADE[name_of(path)], path.read_bytes()
    made = some.made()
    assert made == data or (some.deflated and zlib.ZLIB_RUNTIME_VERSION != ZLIB and len(made) <= 1.02 * len(data))


def is_quick(path):
    """Other models, and many blocks, take the document's decoder minutes; `tests.test_conformance` has it decode these, too."""
    named = {model.name for model in codec.info(path.read_bytes()).models}
    return named <= {folder.name for folder in TINY_MODELS} and name_of(path) not in SLOW


@pytest.mark.parametrize("path", [path for path in FILES if is_quick(path)], ids=name_of)
def test_the_document_is_enough(path):
    """A second decoder, written from the documents, finds the same pixels and chunks."""
    expected, chunks = picture_of(path)
    found = plain_decoder.decode(path.read_bytes(), TINY_MODELS)
    assert (found.colour, found.bits) == expected.form
    assert (found.samples == expected.pixels).all()
    assert kept(found.chunks) == chunks
    assert not difference(KNOWN["valid"][name_of(path)], plain_decoder.written(found))


@pytest.mark.parametrize("path", REFUSED_FILES, ids=name_of)
def test_must_fail(path):
    """With the error that the name says; and by the document."""
    data = path.read_bytes()
    with pytest.raises(getattr(codec, name_of(path).split(".")[1])) as raised:
        codec.decode(data, device="cpu")
    assert igpt_decoder.KINDS[raised.type] == KNOWN["refused"][f"refused/{name_of(path)}"]
    with pytest.raises(plain_decoder.ERRORS):
        plain_decoder.decode(data, TINY_MODELS)


def test_golden_files_were_not_touched():
    """Their digests, so that a refresh by accident is seen."""
    found = {str(path.relative_to(GOLDEN)): hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in (*FILES, *REFUSED_FILES)}
    listed = dict(line.split() for line in (GOLDEN / "digests.txt").read_text().splitlines())
    assert found == listed
