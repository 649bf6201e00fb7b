"""The check that what was just compressed comes back, before anybody relies on it: of the beginnings, or of everything.

The beginnings are those of every group of tiles and every band of rows, decoded as a decoder does it: from the file's own bytes, step by
step. Checksums, sizes, the metadata, the way back from what is coded to the samples, and a past's to the pixels are checked as a whole in
any case.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from bitstream.container import Chunks, read
from bitstream.errors import IgptError, VerificationError
from bitstream.metadata import Chunks as Metadata
from codec.decompression import Channels, decompress_file, understood, with_chunks
from codec.methods.method import Coded, Samples, require_same
from codec.options import Options
from codec.pictures.picture import Picture, same
from codec.progress import Progress
from codec.representations import digest_of


def check_whole(data: bytes, picture: Picture, options: Options, progress: Progress) -> None:
    """Decompresses everything. Raises VerificationError where that is not the picture."""
    with _verified():
        width, height = picture.size
        found = decompress_file(read(data), replace(options, max_pixels=height * width), progress)
        require_same(found.form == picture.form and _without_place(found) == _without_place(picture), "its form or its metadata differ")
        require_same(same(found.pixels, picture.pixels), "its pixels differ")


def check_beginnings(data: bytes, picture: Picture, samples: Sequence[Samples], parts: Sequence[Coded], progress: Progress) -> None:
    """samples: what each part has coded. progress: called with 0, now and then.

    Raises VerificationError where the file does not begin as the picture does.
    """
    with _verified():
        file = read(data)
        head, (is_meant, found) = file.head, understood(file.front)
        width, height = picture.size
        require_same((head.width, head.height, head.form) == (width, height, picture.form), "its size or form differs")
        require_same(_without_place(Picture(picture.pixels, head.form, is_meant.chunks)) == _without_place(picture), "its metadata differ")
        coded = samples[0] if len(samples) == 1 else np.concatenate(samples, 2)
        require_same(same(is_meant.samples(coded, file.front), picture.pixels), "its samples are others")
        require_same(head.digest == digest_of(picture.pixels), "its digest is another")
        _check_parts(file.chunks, found, samples, parts, progress)


def _check_parts(chunks: Chunks, found: Channels, samples: Sequence[Samples], parts: Sequence[Coded], progress: Progress) -> None:
    for (method, part), some, coded in zip(with_chunks(found, chunks), samples, parts, strict=True):
        require_same((part.height, part.width, part.channels) == some.shape, "its parts have other sizes")
        method.check(part, coded, some, progress)


def _without_place(picture: Picture) -> Metadata:
    """Its chunks, without a mark for the pixels that says nothing: behind all others."""
    return picture.chunks[:-1] if picture.chunks[-1:] == ((b"IDAT", b""),) else picture.chunks


@contextlib.contextmanager
def _verified() -> Iterator[None]:
    """Turns what a decoder raises into a VerificationError."""
    try:
        yield
    except IgptError as error:
        msg = f"what was coded does not give back the picture ({error}): nothing was written; please report this"
        raise VerificationError(msg) from error
