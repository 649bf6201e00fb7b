"""What is installed only where it is asked for, and the sentence that says how."""

import importlib.util

from bitstream.errors import ModelError


def has_torch() -> bool:
    """Whether torch is installed; it is not imported for that, which takes a second."""
    return importlib.util.find_spec("torch") is not None


def require_torch(what: str) -> None:
    """Raises ModelError where torch is not installed. what: needs it, the beginning of a sentence."""
    if not has_torch():
        msg = f"{what} needs torch: `pip install igpt[torch]` first"
        raise ModelError(msg)
