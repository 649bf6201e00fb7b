"""The documents of the format: their example, their tables, and the links between them."""

import hashlib
import re

import numpy as np
import pytest

import codec
from bitstream.metadata import DICTIONARY
from tests import make_example, plain_decoder
from tests.make_example import DICTIONARY_DOCUMENT, DOCUMENT, SECTION

DOCUMENTS = sorted(DOCUMENT.parent.glob("FORMAT*.md"))


def test_the_example_is_a_file():
    data = make_example.documented()
    assert SECTION.search(DOCUMENT.read_text()).group() == make_example.section(data)
    assert (codec.decode(data) == plain_decoder.decode(data).samples[..., 0]).all()


def test_the_dictionary_is_that_of_the_code():
    assert plain_decoder.preset_dictionary() == DICTIONARY
    assert DICTIONARY_DOCUMENT.read_text() == make_example.dictionary_document(DICTIONARY)


def anchors(text):
    """Of its headings."""
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.stem)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\((FORMAT[^)#]*)?(?:#([^)]*))?\)", path.read_text())
    assert links
    for name, anchor in links:
        target = (path.parent / name if name else path).read_text()
        assert not anchor or anchor in anchors(target), (name, anchor)


def test_tables_have_the_digests_of_the_documents():
    """As computed by the second decoder; the engines are compared with it elsewhere."""
    tables = {
        "exp2(32, 2^10)": plain_decoder.exp2(32, 1 << 10),
        "exp2(32, 2^11)": plain_decoder.exp2(32, 1 << 11),
        "exp2(128, 2^18)": plain_decoder.LOGIT_TABLE,
        "exp2(128, 2^20)": plain_decoder.FACTORS,
        "exp2(256, 2^16)": plain_decoder.exp2(256, 1 << 16),
        "T": plain_decoder.activation_table(),
        "squash(x), x from -3071 to 3071": plain_decoder.SQUASH,
        "stretch(i), i from 0 to 4095": plain_decoder.STRETCH,
        "rate(n), n from 0 to 255": [plain_decoder.rate(n) for n in range(256)],
        "trust(n), n from 0 to 255": [plain_decoder.trust(n) for n in range(256)],
    }
    rows = re.findall(r"^\| ([^|]+) \|.*\| `([0-9a-f]{16})` \|$", "\n".join(path.read_text() for path in DOCUMENTS), re.MULTILINE)
    assert {name for name, _ in rows} == set(tables)
    for name, digest in rows:
        assert hashlib.sha256(np.array(tables[name], "<i8").tobytes()).hexdigest()[:16] == digest, name


def test_weights_of_a_palette_are_those_of_the_document():
    rows = [
        [int(number) for number in row.strip("| ").split("|")]
        for row in re.findall(r"^\| [012] \|[ 0-9|]*$", (DOCUMENT.with_name("FORMAT-palette-box.md")).read_text(), re.MULTILINE)
    ]
    guesses, counts = [row for row in rows if len(row) == 9], [row for row in rows if 6 <= len(row) <= 7]
    assert [(channel, guess) for channel, guess, *_ in guesses] == [(0, k) for k in range(4)] + [(c, k) for c in (1, 2) for k in range(7)]
    assert [row[2:] for row in guesses] == [row for channel in plain_decoder.GUESS_WEIGHTS for row in channel]
    assert counts == [[channel, *row] for channel, row in enumerate(plain_decoder.COUNT_WEIGHTS)]
