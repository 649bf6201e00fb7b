"""How many threads compute, and what is done side by side. That never changes a byte.

The threads are the interpreter's own, and those that wait sleep. So a process may fork, as hosts do that load pictures in many processes:
its child hires helpers anew.
"""

import functools
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_own = threading.local()  # threads: of those that work side by side, each one's share
_requested = 0  # threads, by `use_threads`
_torch_computes = False  # for us
_torch_forked = False  # whether its threads were left behind in the process that this one was forked from


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """As many as the present one may use: its share of all. These are as many as `use_threads` or OMP_NUM_THREADS says, else as there are
    cores.
    """
    return getattr(_own, "threads", 0) or _all()


def _all() -> int:
    variable = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return _requested or (int(variable) if variable.isdecimal() else 0) or cores()


def use_threads(count: int) -> None:
    """For commands, in a process of their own, where torch takes as many; 0: as many as there are cores, or as OMP_NUM_THREADS says."""
    global _requested
    _requested = count
    if "torch" in sys.modules:
        tell_torch()


def tell_torch() -> None:
    """Before it computes: how many threads it may use. Where it was there before this process was forked that is one, as it would wait for
    the others for ever."""
    global _torch_computes
    _torch_computes = True
    if count := 1 if _torch_forked else _requested:
        sys.modules["torch"].set_num_threads(count)


class _Work:
    """A helper does it, or who wants it done, whoever is there first."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.error: BaseException | None = None
        self.begun, self.over = threading.Lock(), threading.Lock()
        self.over.acquire()

    def do(self) -> None:
        if self.begun.acquire(blocking=False):
            try:
                self.work()
            except BaseException as error:  # of whom it is done for
                self.error = error
            finally:
                self.over.release()

    def end(self) -> None:
        """Waits until it is done."""
        self.do()
        with self.over:
            pass


class _Helpers:
    """Threads that sleep until there is work. They are daemons, which no process waits for at its end."""

    def __init__(self) -> None:
        self.waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.count = 0

    def give(self, works: Sequence[_Work]) -> None:
        try:
            while self.count < _all() - 1:
                threading.Thread(target=self._help, name="igpt", daemon=True).start()
                self.count += 1
        except RuntimeError:  # no more threads than that
            pass
        for work in works if self.count else ():  # else nobody would take it away
            self.waiting.put(work.do)

    def _help(self) -> None:
        waiting = self.waiting
        while True:
            do = waiting.get()
            do()
            del do  # and what it holds


_helpers = _Helpers()


def spread(work: Callable[[int, int], object], parts: int, most: int) -> None:
    """work(first, last) for all of so many parts, first to last - 1 at a time, on at most so many threads: the present one is among them,
    and does what no other has begun."""
    count = min(most, threads(), parts)
    if count < 2:
        work(0, parts)
        return
    edges = [parts * k // count for k in range(count + 1)]
    others = [_Work(functools.partial(work, *edges[k : k + 2])) for k in range(1, count)]
    _helpers.give(others)
    try:
        work(0, edges[1])
    finally:
        for other in others:
            other.end()
    for other in others:
        if other.error:
            raise other.error


def side_by_side(function: Callable[[Item], Result], items: Sequence[Item], most: int) -> Iterator[Result]:
    """The results in order, of at most so many items at a time, each in a thread of its own with its share of all threads.

    What a function raises ends all of it; the others then end at their next `checkpoint`.
    """
    most = max(1, most)  # of no items none at a time
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


class lasting(Generic[Item, Result]):
    """A property that is made at its first use, and kept; by two threads at once, perhaps: functools.cached_property has a lock, before
    Python 3.12, which stays locked in a process that was forked meanwhile."""

    def __init__(self, function: Callable[[Item], Result]) -> None:
        self.function = function

    def __get__(self, owner: Item, kind: object = None) -> Result:
        made = owner.__dict__[self.function.__name__] = self.function(owner)
        return made


def _forked() -> None:
    global _helpers, _torch_forked
    _helpers = _Helpers()
    _torch_forked = _torch_forked or "torch" in sys.modules
    if _torch_computes:
        tell_torch()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
