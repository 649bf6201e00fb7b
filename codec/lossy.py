"""Pictures that are changed before they are coded, on request, so that they take fewer bytes; any decoder reads them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bitstream.form import ALPHA
from codec.inside.antecedent import Antecedent
from codec.inside.choosing import chosen
from codec.methods.inside import fits
from codec.options import Lossy, Options
from codec.pictures.marks import LOSSY, MAX_ERROR, lossy, marked, unmarked
from codec.pictures.near import changeable, near
from codec.pictures.picture import Picture
from codec.progress import Progress, heartbeat, ignore


class Changed(NamedTuple):
    """A picture, and the JPEG that its colours are of, where that is known."""

    picture: Picture
    antecedent: Antecedent | None = None


def forms(picture: Picture, options: Options, progress: Progress = ignore) -> Sequence[Changed]:
    """The picture as it is, and as options want it to be. Raises IgptError for a largest error that is none."""
    changed = Changed(picture)
    if options.max_error:
        changed = Changed(near(picture, options.max_error))
    elif options.lossy:
        changed = _lossy(picture, Lossy(options.lossy), heartbeat(progress))
    return [Changed(picture)] if changed.picture is picture else [Changed(picture), changed]


def _lossy(picture: Picture, how: Lossy, progress: Progress) -> Changed:
    """As a JPEG that is near to it; alpha stays, and so do pictures of other depths than 8 bits and what is `changeable` by no means. The
    metadata say the coarsest way that it ever went, and no bound."""
    form, pixels = picture.form, picture.pixels
    channels = form.channels - (form.colour in ALPHA)
    if not changeable(picture) or form.depth != 8 or not fits(pixels.shape[0], pixels.shape[1], channels):
        return Changed(picture)
    colours = np.ascontiguousarray(pixels[..., :channels])
    antecedent = chosen(colours, how, progress)
    pixels = np.concatenate([antecedent.pixels(), pixels[..., channels:]], 2)
    if np.array_equal(pixels, picture.pixels):
        return Changed(picture)
    coarsest = min([how, *map(Lossy, lossy(picture.chunks))], key=[*Lossy].index)
    return Changed(replace(picture, pixels=pixels, chunks=marked(unmarked(picture.chunks, MAX_ERROR), LOSSY, coarsest)), antecedent)
