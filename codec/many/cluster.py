"""Jobs on a Ray cluster: files travel as bytes, so that only the driver, which has the disk, reads and writes them.

A model travels by its digest: the worker looks for it among its own, and the driver looks whether what comes back names it.

A worker process keeps its models from one chunk to the next. Ray gives the chunks of a process that died to another one; as nothing was
written, nothing is written twice.
"""

import contextlib
import importlib
import os
import signal
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import codec
from bitstream.container import read_file
from bitstream.errors import IgptError, ModelError
from codec.many.files import RequestError
from codec.many.jobs import Begun, Chunk, Compression, Job, Output, Report, Result, Task, leave_if_stopped
from codec.parsing import parsed

RETRIES = 3  # of a chunk whose process died
AHEAD = 2  # chunks on their way, for each that can be in work
WAIT_SECONDS = 0.2
CONNECT_SECONDS = 10


class Named(NamedTuple):
    """The model of a task. name: as the header is to have it."""

    digest: bytes
    name: str


class Sent(NamedTuple):
    """A chunk on its way, with what was read of it."""

    jobs: list[Job]
    begun: list[Begun]


def on_ray(task: Task, chunks: Sequence[Chunk], address: str, count: int, report: Report) -> Iterator[Result]:
    """On the cluster at an address of Ray's; "local" starts one on this machine, with `count` processes. Raises RequestError.

    The device "auto" is a CPU here: GPUs are what Ray gives out, one to each process, where they are asked for.
    """
    task = replace(task, device="cpu") if task.device == "auto" else task
    model, expected = _models(task)
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
                    reference = work.remote(codec.__version__, task, model, [(read.data, read.target.suffix) for read in begun])
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
                    yield _ended(task, job, begun_job, output, expected)
                    report(job.pixels, 0)
    finally:
        ray.shutdown()


def _models(task: Task) -> tuple[Named | None, frozenset[bytes]]:
    """The model that is named, if one is; and the digests of all that an igpt file which a worker makes may name. Raises ModelError."""
    from codec import models

    folder = task.folder()
    defaults = {models.digest_of(models.FOLDER / name) for name in models.DEFAULTS.values()}
    if not folder:
        return None, frozenset(defaults)
    model = models.read(folder, "cpu")
    return Named(model.digest, model.name), frozenset({model.digest, *defaults})


def _ended(task: Task, job: Job, begun: Begun, output: Output | Exception, expected: frozenset[bytes]) -> Result:
    try:
        if isinstance(output, Exception):
            raise output
        if isinstance(task, Compression):
            require_models(output.data, expected)
        return task.ended(job, begun, output)
    except Exception as error:
        return task.failed(job, error)


def require_models(data: bytes, expected: frozenset[bytes]) -> None:
    """Raises IgptError where an igpt file is damaged, or names a model that is not one of these."""
    file = parsed(data)
    for part in file.parts:
        read_file(part, bool(file.envelope))
    for header in file.headers:
        for digest, name in ((header.model_digest, header.model_name), (header.refinement_digest, header.refinement_name)):
            if digest and digest not in expected:
                msg = f"a worker of the cluster used another model, {name} ({digest.hex()}): nothing was written"
                raise ModelError(msg)


def transformed(version: str, task: Task, model: Named | None, files: list[tuple[bytes, str]]) -> list[Output | Exception]:
    """In a worker: the outputs of a chunk, or what went wrong with each. files: with the suffixes of their outputs."""
    try:
        if version != codec.__version__:
            msg = f"the cluster has igpt {codec.__version__}, this is {version}: install the same"
            raise IgptError(msg)
        task = replace(task, model=str(_place_of(model, task))) if model else task
    except IgptError as error:
        return [error] * len(files)
    outputs: list[Output | Exception] = []
    for data, suffix in files:
        try:
            outputs.append(task.transformed(data, suffix, lambda _, __: None))
        except Exception as error:
            outputs.append(error)
    return outputs


def _place_of(model: Named, task: Task) -> Path:
    """The folder of the model in a worker, where what the driver's user said for it may mean another one. Raises ModelError."""
    from codec import models
    from codec.devices import device_named

    device = device_named(task.device)
    folder = None
    with contextlib.suppress(ModelError):  # it means nothing here
        folder = models.chosen(task.model)
        folder = folder if folder and models.digest_of(folder, device) == model.digest else None
    try:
        folder = folder or models.place_of(model.digest, model.name, None, device)
    except ModelError as error:
        msg = f"a worker of the cluster lacks the model {model.name} ({model.digest.hex()}): bring it there with `igpt models add`"
        raise ModelError(msg) from error
    models.read(folder, device).name = model.name
    return folder


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
