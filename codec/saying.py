"""What is said to people: on standard error, by commands and by the logger "igpt"."""

import contextlib
import logging
import sys
from typing import TextIO


def say(text: str, stream: TextIO | None = None) -> None:
    """On stderr, or another stream; a progress bar makes room. Raises OSError, but not for stderr: who closed it wants no news."""
    with contextlib.ExitStack() as stack:
        if stream is None:
            stack.enter_context(contextlib.suppress(OSError))
        if tqdm := sys.modules.get("tqdm"):
            stack.enter_context(tqdm.tqdm.external_write_mode())
        print(text, file=stream or sys.stderr, flush=True)


class _Said(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(f"igpt: {self.format(record)}")


def heard(verbose: bool) -> None:
    """From now on the logger's warnings are said; verbose: and all else that it is told."""
    logger = logging.getLogger("igpt")
    if not any(isinstance(handler, _Said) for handler in logger.handlers):
        logger.addHandler(_Said())
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)
