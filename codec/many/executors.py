"""Who runs a task on many files: this process, several ones, or a cluster (`cluster.py`). Each gives a result for every job.

In all of them only one process reads and writes a file, and whatever happens to it happens to no other.
"""

import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import connection, get_context
from typing import Any

from codec.many.files import unfinished
from codec.many.planning import in_batches
from codec.many.stopping import leave_if_stopped, stop
from codec.many.tasks import Batch, Job, Report, Result, Task
from codec.messages import show_log
from codec.threads import cores, use_threads

REPORT_SECONDS = 0.1
LEAVE_SECONDS = 5  # for a worker to clean up


def executed(task: Task, jobs: list[Job], count: int, ray: str | None, report: Report) -> Iterator[Result]:
    """The results, as they come. count: of processes; ray: the address of a cluster. Raises RequestError where that cannot be used."""
    batches = in_batches(jobs, task.batch_files(len(jobs), count))
    if ray is not None:
        from codec.many.cluster import on_ray

        return on_ray(task, batches, ray, count, report)
    count = min(count, len(batches))
    if count < 2:
        return in_turn(task, batches, report)
    return in_processes(replace(task, threads=task.threads or max(1, cores() // count)), batches, count, report)


def in_turn(task: Task, batches: Sequence[Batch], report: Report) -> Iterator[Result]:
    """In this process."""
    for batch in batches:
        yield from task.run_batch(batch, report)


@dataclass
class Worker:
    """A process with this end of the line to it. left: jobs of its batch without a result."""

    process: Any
    line: "connection.Connection[Any, Any]"
    left: deque[Job] = field(default_factory=deque)

    def give(self, batch: Batch) -> None:
        self.left.extend(batch)
        with contextlib.suppress(OSError):  # it is dead, which shows at once
            self.line.send(batch)


def in_processes(task: Task, batches: Sequence[Batch], count: int, report: Report) -> Iterator[Result]:
    """In so many processes. The file on which one is killed fails, the rest goes on in a new one."""
    waiting, workers = deque(batches), list[Worker]()
    finished = False
    try:
        while waiting or workers:
            while waiting and len(workers) < count:
                workers.append(_started(task))
                workers[-1].give(waiting.popleft())
            for line in connection.wait([worker.line for worker in workers]):
                worker = next(worker for worker in workers if worker.line is line)
                try:
                    message = worker.line.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    end = _end(worker)
                    if len(worker.left) == 1:
                        yield Result(worker.left[0], error=f"{worker.left[0].source}: {end}", code=1)
                    waiting.extendleft([job] for job in worker.left if len(worker.left) > 1)  # which of them is it?
                    continue
                if isinstance(message, Result):
                    worker.left.remove(next(job for job in worker.left if job.source == message.job.source))
                    yield message
                else:
                    report(*message)
                if worker.left:
                    continue
                if waiting:
                    worker.give(waiting.popleft())
                else:
                    workers.remove(worker)
                    _dismiss(worker)
        finished = True
    finally:
        if not finished:
            for worker in workers:
                worker.process.terminate()
            for worker in workers:
                _dismiss(worker)


def _started(task: Task) -> Worker:
    context = get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, task), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, mine)


def _dismiss(worker: Worker) -> None:
    worker.line.close()
    worker.process.join(LEAVE_SECONDS)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


def _end(worker: Worker) -> str:
    """How a process ended that should not have."""
    worker.line.close()
    worker.process.join()
    code = worker.process.exitcode
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"the process that worked on it {how}"


def _leave(number: int, frame: object) -> None:
    """A worker's handler: there is nothing to clean up but a file that is being written."""
    if unfinished:
        stop(number, frame)
    else:
        os._exit(128 + number)


def _serve(line: "connection.Connection[Any, Any]", task: Task) -> None:
    """A worker: takes batches off the line, and gives back results, and (pixels, more) as `Report` has them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: who started this process knows what to do
    signal.signal(signal.SIGTERM, _leave)
    show_log(task.verbose)
    use_threads(task.threads)
    pixels = more = 0
    last = time.monotonic()

    def report(now: int, further: int) -> None:
        nonlocal pixels, more, last
        leave_if_stopped()
        pixels, more = pixels + now, more + further
        if time.monotonic() - last > REPORT_SECONDS:
            line.send((pixels, more))
            pixels, more, last = 0, 0, time.monotonic()

    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # nobody is there any more
        while True:
            for result in task.run_batch(line.recv(), report):
                line.send((pixels, more))
                pixels = more = 0
                line.send(result)
