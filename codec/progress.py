"""How far the work is: functions that are called with the number of pixels just done, or with 0 to say that it goes on."""

import threading
from collections.abc import Callable

from codec.threads import checkpoint

Progress = Callable[[int], None]


def ignore(pixels: int) -> None:
    """For those who do not want to know."""


def heartbeat(progress: Progress) -> Progress:
    """Passes on that the work goes on, not how far it is."""
    return lambda _: progress(0)


def scaled(progress: Progress, pixels: int, samples: int) -> Progress:
    """Turns numbers of `samples`, of all layers or parts, into numbers of `pixels`."""
    done = shown = 0

    def update(count: int) -> None:
        nonlocal done, shown
        done += count
        now = done * pixels // max(samples, 1)
        progress(now - shown)
        shown = now

    return update


def one_at_a_time(progress: Progress) -> Progress:
    """For threads side by side, whose work may have become useless, too."""
    lock = threading.Lock()

    def update(pixels: int) -> None:
        checkpoint()
        with lock:
            progress(pixels)

    return update
