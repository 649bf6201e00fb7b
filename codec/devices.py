"""Where the network runs. The choice never changes a byte."""

import torch

from bitstream.errors import IgptError

NAMES = ("auto", "cpu", "cuda")


def device_named(name: str) -> torch.device:
    """auto: the GPU where there is one. Raises IgptError for a device that is not there."""
    if name not in NAMES:
        msg = f"there is no device {name!r}: choose one of {', '.join(NAMES)}"
        raise IgptError(msg)
    if name == "cuda" and not torch.cuda.is_available():
        msg = "no CUDA device is available: use --device cpu"
        raise IgptError(msg)
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
