"""How many threads compute. That never changes a byte."""

import os
import sys


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """As many as torch uses, or would use if it were there."""
    if of_torch := getattr(sys.modules.get("torch"), "get_num_threads", None):
        return int(of_torch())
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(wanted) if wanted.isdecimal() and int(wanted) else cores()


def use_threads(count: int) -> None:
    """0: as many as there are cores, or as OMP_NUM_THREADS says."""
    if count:
        os.environ["OMP_NUM_THREADS"] = str(count)
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(count)
