"""Where the network runs. The choice never changes a byte."""

import ctypes
from pathlib import Path

from bitstream.errors import IgptError

NAMES = ("auto", "cpu", "cuda")
DRIVERS = ("libcuda.so.1", "nvcuda.dll")
KERNEL_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # Nvidia's, AMD's, and that of GPUs which Windows lends to Linux


def check_device(name: str) -> None:
    """Raises IgptError for a name that there is not."""
    if name not in NAMES:
        msg = f"there is no device {name!r}: choose one of {', '.join(NAMES)}"
        raise IgptError(msg)


def device_named(name: str) -> str:
    """cpu or cuda; auto: the GPU where there is one that computes exactly. Raises IgptError for a device that is not there, or does not.

    torch, whose import takes a second, is asked only where the machine has a driver for a GPU.
    """
    check_device(name)
    if name == "cpu" or (name == "auto" and not _has_driver()):
        return "cpu"
    import torch

    from codec.network.plain import is_exact_on

    if torch.cuda._is_in_bad_fork():
        if name == "auto":
            return "cpu"
        msg = "a process that was forked after the GPU was used cannot use it: start processes by spawn, or use the device cpu"
        raise IgptError(msg)
    if torch.cuda.is_available() and is_exact_on("cuda"):
        return "cuda"
    if name == "cuda":
        what = "the GPU does not compute exactly" if torch.cuda.is_available() else "no CUDA device is available"
        msg = f"{what}: use --device cpu"
        raise IgptError(msg)
    return "cpu"


def _has_driver() -> bool:
    for name in DRIVERS:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return any(Path(path).exists() for path in KERNEL_DRIVERS)
