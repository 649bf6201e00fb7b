"""What code writes into the documents of the format: `python -m tests.make_example` writes it anew.

The example of FORMAT.md is a small file taken apart; FORMAT-dictionary.md has the preset dictionary of metadata.
"""

import hashlib
import re
import tempfile
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests import plain_decoder
from tests.plain_decoder import CODING, INDEX, METADATA, PALETTE, Reader

DOCUMENT = Path(__file__).parents[1] / "bitstream" / "FORMAT.md"
DICTIONARY_DOCUMENT = DOCUMENT.with_name("FORMAT-dictionary.md")
DICTIONARY_STEP = 48  # bytes on a line
SECTION = re.compile(r"(?<=<!-- example -->\n).*?(?=<!-- end of example -->)", re.DOTALL)
NAMES = {METADATA: "METADATA", PALETTE: "PALETTE", INDEX: "INDEX", CODING: "CODING"}
METHODS = ("stored", "mixing")
COLOURS = bytes((20, 20, 60, 250, 240, 220, 200, 40, 40, 90, 140, 220))
PIXELS = ("........", ".##..##.", ".######.", "..####..", "...++...", "...++...")


def example() -> bytes:
    """A small icon of four colours, with a gamma."""
    import codec

    image = Image.new("P", (len(PIXELS[0]), len(PIXELS)))
    image.putpalette(COLOURS)
    image.putdata([".#+".index(letter) for row in PIXELS for letter in row])
    info = PngInfo()
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "icon.png"
        image.save(path, pnginfo=info, bits=2)
        return codec.compress(path)


def fields_of(data: bytes) -> list[tuple[bytes, str]]:
    """The bytes of each field, and what it is. For a file of one chunk, without a model."""
    reader, found = Reader(data), []

    def note(what: str, start: int) -> None:
        found.append((data[start : reader.at], what))

    def number(what: str) -> int:
        start = reader.at
        value = reader.varint()
        note(f"{what}: {value}", start)
        return value

    def taken(count: int, what: str) -> bytes:
        start = reader.at
        value = reader.take(count)
        note(what, start)
        return value

    taken(4, "magic")
    taken(1, "container version: 1")
    number("width")
    number("height")
    form = reader.data[reader.at]
    taken(1, f"form: colour type {form & 7}, {1 << (form >> 3 & 7)} bits per sample")
    taken(8, "digest of the final samples")
    kind = 0
    while kind != CODING:
        kind = reader.data[reader.at]
        taken(1, f"box {NAMES[kind]}")
        end = number("length of its body")
        end += reader.at
        if kind == METADATA:
            size = number("raw size")
            taken(end - reader.at, "PNG chunks as they are" if size == end - reader.at else "PNG chunks, deflated with the dictionary")
        elif kind == CODING:
            method = reader.data[reader.at]
            taken(1, f"method: {method}, {METHODS[method]}")
        else:
            count = reader.data[reader.at] + 1
            taken(1, f"entries - 1: there are {count}")
            taken(end - reader.at, "their components, " + ("as they are" if end - reader.at == 3 * count else "coded"))
    taken(4, "front check")
    taken(len(data) - reader.at - 4, "payload of the only chunk")
    taken(4, "its check")
    return found


def section(data: bytes) -> str:
    """The text of the example."""
    decoded, at, rows = plain_decoder.decode(data), 0, []
    for field, what in fields_of(data):
        rows.append(f"| {at} | `{field.hex(' ')}` | {what} |")
        at += len(field)
    shown = ["    " + " ".join(str(index) for index in row[:, 0]) for row in decoded.samples]
    bodies = [f" with the body `{body.hex(' ')}`" if body else " without a body" for _, body in decoded.chunks]
    chunks = ", ".join(f"`{name.decode()}`{body}" for (name, _), body in zip(decoded.chunks, bodies, strict=True))
    height, width = decoded.samples.shape[:2]
    return "\n".join(
        (
            f"An icon of {width}x{height} pixels, in {len(data)} bytes:",
            "",
            "| from byte | bytes | what they are |",
            "|---|---|---|",
            *rows,
            "",
            "Its indices, row by row:",
            "",
            *shown,
            "",
            f"Its PNG chunks, with the entries in their place: {chunks}.",
            "",
        )
    )


def documented() -> bytes:
    """The bytes of the file in the document."""
    return bytes.fromhex("".join(re.findall(r"^\| \d+ \| `([0-9a-f ]+)` \|", SECTION.search(DOCUMENT.read_text()).group(), re.MULTILINE)))


def dictionary_document(dictionary: bytes) -> str:
    """The text of FORMAT-dictionary.md."""
    pieces = [dictionary[k : k + DICTIONARY_STEP] for k in range(0, len(dictionary), DICTIONARY_STEP)]
    digest = hashlib.sha256(dictionary).hexdigest()
    return "\n".join(
        (
            "# The preset dictionary of metadata",
            "",
            "Part of [the igpt file format](FORMAT.md#metadata). It is a constant: pieces of what metadata often hold, the commonest last.",
            "A decoder hands it to inflate before the first byte: `zlib.decompressobj(-15, zdict=dictionary)` in Python.",
            "",
            f"It has {len(dictionary)} bytes with the SHA-256 `{digest}`,",
            "the following ones in Python's notation, one line after the other.",
            "",
            *(f"    {piece!r}" for piece in pieces),
            "",
        )
    )


if __name__ == "__main__":
    from bitstream.metadata import DICTIONARY

    DICTIONARY_DOCUMENT.write_text(dictionary_document(DICTIONARY))
    text = section(example())
    DOCUMENT.write_text(SECTION.sub(lambda _: text, DOCUMENT.read_text()))
