"""How many threads compute, and what is done side by side. That never changes a byte."""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_own = threading.local()  # threads: of those that work side by side, each one's share


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """As many as the present one may use: its share of all. These are as many as torch uses, where it is there, else as there are cores, or
    OMP_NUM_THREADS says.
    """
    if share := getattr(_own, "threads", 0):
        return int(share)
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


def side_by_side(function: Callable[[Item], Result], items: Sequence[Item], most: int) -> Iterator[Result]:
    """The results in order, of at most so many items at a time, each in a thread of its own with its share of all threads.

    What a function raises ends all of it; the others then end at their next `checkpoint`.
    """
    last = len(items) - len(items) % most  # those behind it share the threads among fewer
    yield from _side_by_side(function, items[:last], most)
    yield from _side_by_side(function, items[last:], len(items) - last)


def _side_by_side(function: Callable[[Item], Result], items: Sequence[Item], most: int) -> Iterator[Result]:
    if most < 2:
        yield from map(function, items)
        return
    share, stopped = max(1, threads() // most), threading.Event()

    def begin() -> None:
        _own.threads, _own.stopped = share, stopped

    pool = ThreadPoolExecutor(most, initializer=begin)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            if len(waiting) == most:
                yield waiting.popleft().result()
            waiting.append(pool.submit(function, item))
        while waiting:
            yield waiting.popleft().result()
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)


class Stopped(BaseException):
    """In a thread whose work nobody waits for any more."""


def checkpoint() -> None:
    """Ends the present thread's work where nobody waits for it any more."""
    if (stopped := getattr(_own, "stopped", None)) and stopped.is_set():
        raise Stopped
