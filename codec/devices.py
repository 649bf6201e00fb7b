"""Where the network runs. The choice never changes a byte."""

import ctypes
import functools
import logging
from pathlib import Path

from bitstream.errors import IgptError, ModelError
from codec.extras import has_torch

log = logging.getLogger("igpt")

NAMES = ("auto", "cpu", "cuda")
DRIVERS = ("libcuda.so.1", "nvcuda.dll")
NO_GPU = "no CUDA device is available"
NO_TORCH = "torch is not installed, which a GPU needs (`pip install igpt[torch]`)"
FORKED = "a process that was forked after the GPU was used cannot use it, one that was spawned can"
KERNEL_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # Nvidia's, AMD's, and that of GPUs which Windows lends to Linux


def check_device(name: str) -> None:
    """Raises IgptError for a name that is not of NAMES."""
    if name not in NAMES:
        msg = f"there is no device {name!r}: choose one of {', '.join(NAMES)}"
        raise IgptError(msg)


def device_named(name: str) -> str:
    """cpu or cuda, by a name of NAMES; auto is the GPU where there is one that computes exactly, else the CPU.

    Raises IgptError for another name, and for cuda where there is no GPU, none that computes exactly, or no torch.

    torch, whose import takes a second, is asked only where the machine has a driver for a GPU.
    """
    check_device(name)
    if name == "cpu" or (name == "auto" and not _has_driver()):
        return "cpu"
    if not (reason := why_no_gpu()):
        return "cuda"
    if name == "cuda":
        msg = f"{reason}: use --device cpu"
        raise IgptError(msg)
    _tell(reason)
    return "cpu"


@functools.cache
def _tell(reason: str) -> None:
    """Once in a process."""
    level = logging.DEBUG if reason in (NO_GPU, NO_TORCH) else logging.WARNING
    log.log(level, "the CPU is used: %s", reason)


def why_no_gpu() -> str:
    """Nothing where a GPU computes exactly, as torch is set now."""
    if not has_torch():
        return NO_TORCH
    import torch

    from codec.network.engines import require_exact

    if torch.cuda._is_in_bad_fork():
        return FORKED
    if not torch.cuda.is_available():
        return NO_GPU
    try:
        require_exact("cuda")
    except (ModelError, RuntimeError, torch.cuda.DeferredCudaCallError) as error:  # ours, or a driver's, a card's, a version's of torch
        return f"the GPU cannot be used, {str(error).split(chr(10))[0]}"
    return ""


def _has_driver() -> bool:
    for name in DRIVERS:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return any(Path(path).exists() for path in KERNEL_DRIVERS)
