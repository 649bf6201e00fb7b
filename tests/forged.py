"""igpt files that no encoder would make."""

from collections.abc import Mapping, Sequence

import numpy as np

from bitstream.container import Coding, Head, written
from bitstream.form import Form
from codec.representations import digest_of


def claiming(
    width: int,
    height: int,
    form: Form,
    coding: Coding | Sequence[Coding],
    chunks: Sequence[bytes],
    boxes: Mapping[int, bytes] | None = None,
    samples: np.ndarray | None = None,
) -> bytes:
    """A file with this in it, its checksums right; its digest only where `samples` are given."""
    codings = [coding] if isinstance(coding, Coding) else coding
    digest = bytes(8) if samples is None else digest_of(samples)
    return written(Head(width, height, form, digest, len(codings) > 1), boxes or {}, codings, chunks)
