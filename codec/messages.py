"""What is shown to people on standard error: lines, the logger "igpt", and progress bars."""

import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Iterator

UPDATE_SECONDS = 0.1

_bars: list["Bar"] = []  # on the terminal


class Bar:
    """A progress bar on the last line of a terminal: what there is to do, how much is done, and for how long it will go on.

    total: of any unit, it may grow. done: of the same, to begin with. hidden: show nothing.
    """

    def __init__(self, what: str, total: float, done: float = 0, hidden: bool = False) -> None:
        self.what, self.total, self.done, self.hidden = what, total, done, hidden
        self.start, self.first, self.shown = time.monotonic(), done, 0.0

    def __enter__(self) -> "Bar":
        if not self.hidden:
            _bars.append(self)
            self.draw()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.hidden:
            _bars.remove(self)
            self.clear()

    def update(self, done: float, more: float = 0) -> None:
        """So much more is done, and there is so much more to do than was known."""
        self.done, self.total = self.done + done, self.total + more
        if not self.hidden and time.monotonic() - self.shown > UPDATE_SECONDS:
            self.draw()

    def draw(self) -> None:
        self.shown = time.monotonic()
        share = min(1.0, self.done / self.total) if self.total > 0 else 0.0
        new = self.done - self.first
        left = _clock((self.total - self.done) * (self.shown - self.start) / new) if new > 0 else "?"
        head, tail = f"{self.what}: {share:4.0%} |", f"| {left}"
        columns = shutil.get_terminal_size().columns - 1
        width = max(0, columns - len(head) - len(tail))
        filled = round(share * width)
        _write("\r" + f"{head}{'#' * filled}{' ' * (width - filled)}{tail}"[:columns])

    def clear(self) -> None:
        _write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def _write(text: str) -> None:
    with contextlib.suppress(OSError):  # who closed the stream wants no news
        sys.stderr.write(text)
        sys.stderr.flush()


@contextlib.contextmanager
def above_bar() -> Iterator[None]:
    """For a line on a terminal that may show a progress bar, which comes again below it."""
    for bar in _bars[-1:]:
        bar.clear()
    yield
    for bar in _bars[-1:]:
        bar.draw()


def say(text: str) -> None:
    """A line on standard error. Where that is closed nobody wants news, which is no error."""
    with contextlib.suppress(OSError), above_bar():
        print(text, file=sys.stderr, flush=True)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(f"igpt: {self.format(record)}")


def show_log(verbose: bool) -> None:
    """From now on the warnings of the logger "igpt" are shown, and on a terminal why something takes long; verbose: everything that it
    gets."""
    logger = logging.getLogger("igpt")
    if not any(isinstance(handler, _Handler) for handler in logger.handlers):
        logger.addHandler(_Handler())
    quiet = logging.INFO if sys.stderr and sys.stderr.isatty() else logging.WARNING
    logger.setLevel(logging.DEBUG if verbose else quiet)
