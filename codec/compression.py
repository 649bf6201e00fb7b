"""Pictures -> igpt files: every method offers ways to code each representation of the samples; the smallest wins."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from bitstream.container import PREVIEW, Head, written
from bitstream.form import ALPHA
from codec.checking import check_beginnings, check_whole
from codec.devices import check_device
from codec.lossy import Changed, forms
from codec.methods import METHODS
from codec.methods.method import Candidate, Coded, Samples, Source
from codec.options import Level, Options
from codec.pictures import sources
from codec.pictures.near import require_within
from codec.pictures.picture import Picture
from codec.pictures.preview import preview_of
from codec.progress import Progress, heartbeat, ignore, one_at_a_time, scaled
from codec.representations import Representation, digest_of, picture_boxes, representations
from codec.threads import side_by_side, threads

NEAR = 1.03  # of the smallest size, as far as can be told: what may be smaller in the end
FEW_BITS = 1.0  # of indices per pixel, which their colours will not undercut


@dataclass(frozen=True)
class Offers:
    """What methods offer for a part of a picture: all of its channels, its colour or its alpha."""

    source: Source
    candidates: Sequence[Candidate]

    @property
    def settled(self) -> bool:
        return any(candidate.settled for candidate in self.candidates)

    @cached_property
    def best(self) -> Candidate:
        """The smallest, as far as can be told. Where there is but one besides the last, nobody is asked."""
        stored, others = self.candidates[-1], self.candidates[:-1]
        return _smallest(others) if others else stored

    @cached_property
    def size(self) -> float:
        return min(self.best.size, self.candidates[-1].size)

    @cached_property
    def worth_coding(self) -> Sequence[Candidate]:
        """The best; at level best all that may turn out to be smaller."""
        if self.source.options.level != Level.BEST:
            return [self.best]
        return [candidate for candidate in self.candidates if candidate.size <= NEAR * self.best.size]

    def coded(self, progress: Progress) -> Coded:
        """By the best, as it turns out; or by another one whose size is known to be smaller, where the best is not settled."""
        update = scaled(progress, self.source.pixels, self.source.pixels * len(self.worth_coding))
        coded = min((candidate.coded(update) for candidate in self.worth_coding), key=lambda coded: coded.size)
        if self.best.settled:
            return coded
        known = [candidate for candidate in self.candidates if candidate.exact and candidate.size < coded.size]
        return _smallest(known).coded(ignore) if known else coded


def _smallest(candidates: Sequence[Candidate]) -> Candidate:
    return candidates[0] if len(candidates) == 1 else min(candidates, key=lambda candidate: candidate.size)


def offers(source: Source, progress: Progress) -> Offers:
    """Those of all methods, in their order; where one says that nothing else is worth a trial, the others are not asked. The last one is to
    store the samples."""
    *methods, last = METHODS
    candidates: list[Candidate] = []
    for method in methods:
        if source.kept not in method.of_files:
            continue
        candidates += method.offer(source, heartbeat(progress))
        if any(candidate.settled for candidate in candidates):
            break
    return Offers(source, [*candidates, *last.offer(source, progress)])


class Way(NamedTuple):
    """A representation of a picture, and what is offered for its parts."""

    picture: Picture
    representation: Representation
    parts: Sequence[Offers]

    @property
    def size(self) -> float:
        return self.representation.box_bytes + sum(part.size for part in self.parts)

    @property
    def metadata_bytes(self) -> int:
        """As they are, before they are packed."""
        return sum(len(body) for _, body in self.picture.chunks)


class Compressed(NamedTuple):
    """An igpt file, and what it was made of. picture: that comes back."""

    data: bytes
    picture: Picture
    samples: Sequence[Samples]
    parts: Sequence[Coded]


def ways(changed: Changed, options: Options, progress: Progress) -> list[Way]:
    """At least one; only one where a palette is to code the colours, as they are. Raises UnsupportedImageError."""
    found: list[Way] = []
    picture, antecedent = changed
    for representation in representations(picture):
        r = representation
        whole = Source(r.samples, r.depth, options, r.indices, r.original, kept=r.kept, antecedent=antecedent)
        if options.palette_only:
            parts = _apart(whole) if picture.form.colour in ALPHA else [whole]
            return [Way(picture, representation, [offers(part, progress) for part in parts])]
        together = offers(whole, progress)
        found.append(Way(picture, representation, [together]))
        if picture.form.colour in ALPHA and not together.settled:
            found.append(Way(picture, representation, [offers(part, progress) for part in _apart(whole)]))
        if together.settled or (representation.indices and 8 * together.size <= FEW_BITS * whole.pixels):
            break
    return found


def _apart(whole: Source) -> list[Source]:
    """Its colour and its alpha."""
    colour, alpha = map(np.ascontiguousarray, np.split(whole.samples, [-1], 2))
    return [replace(whole, samples=colour), replace(whole, samples=alpha, alpha=True)]


def compressed(picture: Picture, options: Options, progress: Progress) -> Compressed:
    """Not checked yet. What may differ from the picture is what it is coded as, if that is smaller. Raises UnsupportedImageError,
    ModelError, IgptError for a bound that is too large."""
    check_device(options.device)
    possible = [way for form in forms(picture, options, progress) for way in ways(form, options, progress)]
    way = possible[0] if len(possible) == 1 else min(possible, key=lambda way: way.size + way.metadata_bytes)
    picture = way.picture
    boxes = picture_boxes(picture)
    if options.preview and (preview := preview_of(picture)):
        boxes[PREVIEW] = preview
    width, height = picture.size
    update = scaled(progress, picture.area, picture.area * len(way.parts))
    parts = [part.coded(update) for part in way.parts]
    head = Head(width, height, picture.form, digest_of(picture.pixels), len(parts) > 1)
    chunks = [chunk for part in parts for chunk in part.chunks]
    data = written(head, {**boxes, **way.representation.boxes}, [part.coding for part in parts], chunks)
    return Compressed(data, picture, [part.source.samples for part in way.parts], parts)


def compress_picture(picture: Picture, options: Options, progress: Progress = ignore) -> bytes:
    """The bytes of an igpt file, which was checked: its beginnings, or with `verify` all of it.

    Raises UnsupportedImageError for a picture that cannot be kept exactly, TooLargeError, ModelError for an unusable model,
    VerificationError where the result does not give back the picture.
    """
    update = scaled(progress, picture.area, 2 * picture.area) if options.verify else progress
    found = compressed(picture, options, update)
    if options.max_error:
        require_within(found.picture, picture, options.max_error)
    if options.verify:
        check_whole(found.data, found.picture, options, update)
    else:
        check_beginnings(found.data, found.picture, found.samples, found.parts, update)
    return found.data


def compress_pictures(pictures: Sequence[sources.Source], options: Options, progress: Progress = ignore) -> list[bytes]:
    """As `compress_picture`, side by side on all threads; each is opened when its turn comes. What is raised for one ends all.

    Raises what `sources.picture_from` raises, too.
    """
    update = one_at_a_time(progress)

    def compress(source: sources.Source) -> bytes:
        return compress_picture(sources.picture_from(source, options.max_pixels, options.of_pixels), options, update)

    return list(side_by_side(compress, pictures, max(1, min(threads(), len(pictures)))))
