"""Jobs on a Ray cluster: files travel as bytes, so that only the driver, which has the disk, reads and writes them.

A worker process keeps its models from one chunk to the next. Ray gives the chunks of a process that died to another one; as nothing was
written, nothing is written twice.
"""

import importlib
import os
import signal
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import codec
from bitstream.errors import IgptError
from codec.files import RequestError
from codec.jobs import Begun, Chunk, Job, Output, Report, Result, Task, leave_if_stopped

RETRIES = 3  # of a chunk whose process died
AHEAD = 2  # chunks on their way, for each that can be in work
WAIT_SECONDS = 0.2
CONNECT_SECONDS = 10


class Sent(NamedTuple):
    """A chunk on its way, with what was read of it."""

    jobs: list[Job]
    begun: list[Begun]


def on_ray(task: Task, chunks: Sequence[Chunk], address: str, count: int, report: Report) -> Iterator[Result]:
    """On the cluster at an address of Ray's; "local" starts one on this machine, with `count` processes. Raises RequestError.

    The device "auto" is a CPU here: GPUs are what Ray gives out, one to each process, where they are asked for.
    """
    task = replace(task, device="cpu") if task.device == "auto" else task
    ray = _connected(address, count * max(1, task.threads))
    gpus = 1 if task.device == "cuda" else 0
    work = ray.remote(transformed).options(num_cpus=max(1, task.threads), num_gpus=gpus, max_retries=RETRIES)
    slots = max(1, int(ray.cluster_resources().get("CPU", 1)) // max(1, task.threads))
    waiting, sent = deque(chunks), dict[Any, Sent]()
    try:
        while waiting or sent:
            leave_if_stopped()
            while waiting and len(sent) < AHEAD * slots:
                jobs, begun = list[Job](), list[Begun]()
                for job in waiting.popleft():
                    try:
                        read = task.begun(job)
                    except Exception as error:
                        yield task.failed(job, error)
                        continue
                    if read:
                        jobs.append(job)
                        begun.append(read)
                    else:
                        yield Result(job)
                if jobs:
                    reference = work.remote(codec.__version__, task, [(read.data, read.target.suffix) for read in begun])
                    sent[reference] = Sent(jobs, [read._replace(data=b"") for read in begun])
            if not sent:
                continue
            ready, _ = ray.wait(list(sent), num_returns=1, timeout=WAIT_SECONDS)
            for reference in ready:
                chunk = sent.pop(reference)
                outputs: list[Output | Exception]
                try:
                    outputs = ray.get(reference)
                except ray.exceptions.RayError as error:
                    if len(chunk.jobs) > 1:  # which of them is it?
                        waiting.extend([job] for job in chunk.jobs)
                        continue
                    outputs = [IgptError(f"Ray gave it up: {str(error).strip().splitlines()[-1]}")] * len(chunk.jobs)
                for job, begun_job, output in zip(*chunk, outputs, strict=True):
                    yield _ended(task, job, begun_job, output)
                    report(job.pixels, 0)
    finally:
        ray.shutdown()


def _ended(task: Task, job: Job, begun: Begun, output: Output | Exception) -> Result:
    try:
        if isinstance(output, Exception):
            raise output
        return task.ended(job, begun, output)
    except Exception as error:
        return task.failed(job, error)


def transformed(version: str, task: Task, files: list[tuple[bytes, str]]) -> list[Output | Exception]:
    """In a worker: the outputs of a chunk, or what went wrong with each. files: with the suffixes of their outputs."""
    if version != codec.__version__:
        error = IgptError(f"the cluster has igpt {codec.__version__}, this is {version}: install the same")
        return [error] * len(files)
    outputs: list[Output | Exception] = []
    for data, suffix in files:
        try:
            outputs.append(task.transformed(data, suffix, lambda _, __: None))
        except Exception as error:
            outputs.append(error)
    return outputs


def _connected(address: str, cpus: int) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # igpt tells nobody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        msg = "--ray needs Ray: `pip install igpt[ray]` first"
        raise RequestError(msg) from error
    _require_somebody(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    local = {"num_cpus": cpus, "include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, logging_level="ERROR", log_to_driver=False, **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        msg = f"there is no Ray cluster at {address}: {str(error).strip().splitlines()[0]}"
        raise RequestError(msg, code=1) from error
    finally:  # Ray has put its own in their place
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return ray


def _require_somebody(address: str) -> None:
    """Raises RequestError where nobody listens: Ray would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        msg = f"there is no Ray cluster at {address}: {error.strerror or error}"
        raise RequestError(msg, code=1) from error
