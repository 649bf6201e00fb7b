"""Where the network runs. The choice never changes a byte."""

import ctypes
from pathlib import Path

from bitstream.errors import IgptError

NAMES = ("auto", "cpu", "cuda")
DRIVERS = ("libcuda.so.1", "nvcuda.dll")
KERNEL_DRIVERS = ("/dev/kfd", "/dev/dxg")  # of AMD's GPUs, and of those that Windows lends to Linux


def check_device(name: str) -> None:
    """Raises IgptError for a name that there is not."""
    if name not in NAMES:
        msg = f"there is no device {name!r}: choose one of {', '.join(NAMES)}"
        raise IgptError(msg)


def device_named(name: str) -> str:
    """cpu or cuda; auto: the GPU where there is one. Raises IgptError for a device that is not there.

    torch, whose import takes a second, is asked only where the machine has a driver for a GPU.
    """
    check_device(name)
    if name == "cpu" or (name == "auto" and not _has_driver()):
        return "cpu"
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        msg = "no CUDA device is available: use --device cpu"
        raise IgptError(msg)
    return "cuda" if torch.cuda.is_available() else "cpu"


def _has_driver() -> bool:
    for name in DRIVERS:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return any(Path(path).exists() for path in KERNEL_DRIVERS)
