"""What the tests of the readers share: files, their pixels, and mutated ones."""

import io
import random
import time

import numpy as np
import pytest

from bitstream.errors import UnsupportedImageError
from tests.conftest import smooth
from tests.mutations import mutated

MOST_PIXELS = 1 << 18


def saved(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def deep(height, width, channels, seed=0):
    """16-bit samples: slow waves and noise of some bits."""
    fine = np.random.default_rng(seed).integers(0, 300, (height, width, channels))
    return (smooth(height, width, seed).astype(np.int64)[..., [0, 1, 2, 0]][..., :channels] * 250 + fine).astype(np.uint16)


def pillows(data, plugin):
    """(height, width, channels) of what Pillow's class for a format makes of a file."""
    with plugin(io.BytesIO(data)) as image:
        image.load()
        pixels = np.array(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def samples(parsed, plugin):
    return parsed.decoded().samples if parsed.decoded else pillows(parsed.plain, plugin)


def chunk(parsed, name):
    """The body of the only chunk of this name, or None."""
    found = [body for each, body in parsed.chunks if each == name]
    assert len(found) < 2
    return found[0] if found else None


def assert_refused(parse, data, reason):
    """By parsing it or by decoding it, in a sentence that says so."""
    with pytest.raises(UnsupportedImageError, match=reason) as caught:
        parse(data).decoded()
    assert "\n" not in str(caught.value)


def assert_only_refused(parse, seeds, cases):
    """Mutated files are accepted or refused, soon."""
    rng, accepted = random.Random(7), 0
    for _ in range(cases):
        data = rng.choice(seeds)
        for _ in range(rng.randint(1, 3)):
            data = mutated(data, rng, rng.choice(seeds))
        before = time.process_time()
        try:
            parsed = parse(data)
            width, height = parsed.size
            if parsed.decoded and width * height <= MOST_PIXELS:
                assert parsed.decoded().samples.shape[:2] == (height, width)
            accepted += 1
        except UnsupportedImageError as error:
            assert "\n" not in str(error)  # noqa: PT017
        assert time.process_time() - before < 1
    assert 0 < accepted < cases
