"""What is said to people: on standard error, by commands and by the logger "igpt"."""

import contextlib
import logging
import sys
from collections.abc import Iterator


def say(text: str) -> None:
    """A progress bar makes room. Who closed the stream wants no news, which is no error."""
    with contextlib.suppress(OSError), room():
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def room() -> Iterator[None]:
    """For a line on a terminal that may show a progress bar."""
    tqdm = sys.modules.get("tqdm")
    with tqdm.tqdm.external_write_mode() if tqdm else contextlib.nullcontext():
        yield


class _Said(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(f"igpt: {self.format(record)}")


def heard(verbose: bool) -> None:
    """From now on the logger's warnings are said; verbose: and all else that it is told."""
    logger = logging.getLogger("igpt")
    if not any(isinstance(handler, _Said) for handler in logger.handlers):
        logger.addHandler(_Said())
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)
