"""Where the network runs. The choice never changes a byte."""

from typing import TYPE_CHECKING

from bitstream.errors import IgptError

if TYPE_CHECKING:
    import torch

NAMES = ("auto", "cpu", "cuda")


def check_device(name: str) -> None:
    """Raises IgptError for a name that there is not."""
    if name not in NAMES:
        msg = f"there is no device {name!r}: choose one of {', '.join(NAMES)}"
        raise IgptError(msg)


def device_named(name: str) -> "torch.device":
    """auto: the GPU where there is one. Raises IgptError for a device that is not there."""
    import torch

    check_device(name)
    if name == "cuda" and not torch.cuda.is_available():
        msg = "no CUDA device is available: use --device cpu"
        raise IgptError(msg)
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
