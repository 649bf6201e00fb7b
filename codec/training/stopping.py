"""Stopping a training where Ctrl-C or `kill` asks for it: at the end of a step, when its state is written."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Asked:
    """number: of the signal that asked to stop, or 0."""

    def __init__(self) -> None:
        self.number = 0


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Asked]:
    """Notes the first signal; the second does what it did before, and so does the first, again, at the end."""
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        asked.number = number
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield asked
    finally:
        restore()
    if asked.number:
        signal.raise_signal(asked.number)
