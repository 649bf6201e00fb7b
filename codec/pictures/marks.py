"""Texts in a picture's metadata that tell people and programs that igpt changed its samples."""

from bitstream.metadata import Chunks
from codec.options import Lossy

MAX_ERROR = b"igpt max error"  # keywords: a number, how far samples may be from what they were
LOSSY = b"igpt lossy"  # and how near they come to it, by name
LONGEST = 16  # text that counts


def marked(chunks: Chunks, keyword: bytes, text: str) -> Chunks:
    """Before the pixels one more, instead of an earlier one of this keyword."""
    others = unmarked(chunks, keyword)
    place = next((k for k, (name, _) in enumerate(others) if name == b"IDAT"), len(others))
    return (*others[:place], (b"tEXt", keyword + b"\0" + text.encode()), *others[place:])


def unmarked(chunks: Chunks, keyword: bytes) -> Chunks:
    """Without those of this keyword."""
    return tuple(chunk for chunk in chunks if not _is(chunk, keyword))


def marks(chunks: Chunks, keyword: bytes) -> list[str]:
    """The short texts of a keyword."""
    texts = [body[len(keyword) + 1 :] for name, body in chunks if _is((name, body), keyword)]
    return [text.decode("latin-1") for text in texts if len(text) <= LONGEST]


def lossy(chunks: Chunks) -> list[str]:
    """What they say of how near the samples came to what they were."""
    return [name for name in marks(chunks, LOSSY) if name in [*Lossy]]


def _is(chunk: tuple[bytes, bytes], keyword: bytes) -> bool:
    return chunk[0] == b"tEXt" and chunk[1].startswith(keyword + b"\0")
