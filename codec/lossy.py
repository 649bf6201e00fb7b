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
from codec.pictures.marks import LOSSY, marked
from codec.pictures.near import changeable, near
from codec.pictures.picture import Picture


class Changed(NamedTuple):
    """A picture, and the JPEG that its colours are of, where that is known."""

    picture: Picture
    antecedent: Antecedent | None = None


def forms(picture: Picture, options: Options) -> Sequence[Changed]:
    """The picture as it is, and as options want it to be. Raises IgptError for a largest error that is none."""
    changed = Changed(picture)
    if options.max_error:
        changed = Changed(near(picture, options.max_error))
    elif options.lossy:
        changed = _lossy(picture, Lossy(options.lossy))
    return [Changed(picture)] if changed.picture is picture else [Changed(picture), changed]


def _lossy(picture: Picture, how: Lossy) -> Changed:
    """As a JPEG that is near to it; alpha stays, and so do pictures of other depths than 8 bits and what is `changeable` by no means."""
    form, pixels = picture.form, picture.pixels
    if not changeable(picture) or form.depth != 8 or not fits(pixels.shape[0], pixels.shape[1]):
        return Changed(picture)
    colours = np.ascontiguousarray(pixels[..., : form.channels - (form.colour in ALPHA)])
    antecedent = chosen(colours, how)
    pixels = np.concatenate([antecedent.pixels(), pixels[..., colours.shape[2] :]], 2)
    return Changed(replace(picture, pixels=pixels, chunks=marked(picture.chunks, LOSSY, how)), antecedent)
