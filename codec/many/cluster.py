"""Jobs on a Ray cluster: files travel as bytes, so that only the driver, which has the disk, reads and writes them.

A model travels by its digest: the worker looks for it among its own, and the driver looks whether what comes back names it.

A worker process keeps its models from one batch to the next. Ray gives the batches of a process that died to another one; as nothing was
written, nothing is written twice.
"""

import contextlib
import importlib
import io
import os
import signal
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import codec
from bitstream import container
from bitstream.errors import IgptError, ModelError
from codec.many.files import RequestError
from codec.many.stopping import leave_if_stopped
from codec.many.tasks import Batch, Compression, Input, Job, Output, Report, Result, Task

RETRIES = 3  # of a batch whose process died
AHEAD = 2  # batches on their way, for each that can be in work
WAIT_SECONDS = 0.2
CONNECT_SECONDS = 10


class NamedModel(NamedTuple):
    """The model of a task. name: as files are to have it."""

    digest: bytes
    name: str


class Sent(NamedTuple):
    """A batch on its way, with what was read of it, but for the data."""

    jobs: list[Job]
    inputs: list[Input]


def on_ray(task: Task, batches: Sequence[Batch], address: str, count: int, report: Report) -> Iterator[Result]:
    """On the cluster at an address of Ray's; "local" starts one on this machine, with `count` processes. Raises RequestError.

    The device "auto" is a CPU here: GPUs are what Ray gives out, one to each process, where they are asked for.
    """
    task = replace(task, options=replace(task.options, device="cpu")) if task.options.device == "auto" else task
    model, expected = _models(task)
    ray = _connected(address, count * max(1, task.threads))
    gpus = 1 if task.options.device == "cuda" else 0
    work = ray.remote(transform_all).options(num_cpus=max(1, task.threads), num_gpus=gpus, max_retries=RETRIES)
    slots = max(1, int(ray.cluster_resources().get("CPU", 1)) // max(1, task.threads))
    waiting, on_their_way = deque(batches), dict[Any, Sent]()
    whole = replace(task, options=replace(task.options, box=None))  # as files travel
    try:
        while waiting or on_their_way:
            leave_if_stopped()
            while waiting and len(on_their_way) < AHEAD * slots:
                files, results = _loaded(whole, waiting.popleft())
                yield from results
                if files:
                    data = [(given.source.read(), job.target.suffix) for job, given in files]
                    sent = Sent([job for job, _ in files], [given._replace(source=io.BytesIO()) for _, given in files])
                    on_their_way[work.remote(codec.__version__, task, model, data)] = sent
            if not on_their_way:
                continue
            ready, _ = ray.wait(list(on_their_way), num_returns=1, timeout=WAIT_SECONDS)
            for reference in ready:
                batch = on_their_way.pop(reference)
                outputs: list[Output | Exception]
                try:
                    outputs = ray.get(reference)
                except ray.exceptions.RayError as error:
                    if len(batch.jobs) > 1:  # which of them is it?
                        waiting.extend([job] for job in batch.jobs)
                        continue
                    outputs = [IgptError(f"Ray gave it up: {str(error).strip().splitlines()[-1]}")]
                for job, given, output in zip(*batch, outputs, strict=True):
                    yield _stored(task, job, given, output, expected)
                    report(job.pixels, 0)
    finally:
        ray.shutdown()


def _loaded(task: Task, batch: Batch) -> tuple[list[tuple[Job, Input]], list[Result]]:
    """What is to be sent, and results of what is not."""
    files, results = list[tuple[Job, Input]](), list[Result]()
    for job in batch:
        try:
            given = task.load(job)
        except Exception as error:
            results.append(task.failure(job, error))
            continue
        if given:
            files.append((job, given))
        else:
            results.append(Result(job))
    return files, results


def _models(task: Task) -> tuple[NamedModel | None, frozenset[bytes]]:
    """The model that is named, if one is; and the digests of all that an igpt file which a worker makes may name. Raises ModelError."""
    from codec import models

    folder = models.chosen(task.options.model, task.options.revision)
    defaults = {models.digest_of(folder) for folder in models.shipped()}
    if not folder:
        return None, frozenset(defaults)
    model = models.read(folder, "cpu")
    return NamedModel(model.digest, model.name), frozenset({model.digest, *defaults})


def _stored(task: Task, job: Job, given: Input, output: Output | Exception, expected: frozenset[bytes]) -> Result:
    try:
        if isinstance(output, Exception):
            raise output
        if isinstance(task, Compression):
            require_models(output.data, expected)
        return task.store(job, given, output)
    except Exception as error:
        return task.failure(job, error)


def require_models(data: bytes, expected: frozenset[bytes]) -> None:
    """Raises IgptError where an igpt file is damaged, or names a model of another digest than these."""
    from codec.description import info_of

    for name, digest in info_of(container.read(data)).models:
        if bytes.fromhex(digest) not in expected:
            msg = f"a worker of the cluster used another model, {name or 'of its igpt'} ({digest}): nothing was written"
            raise ModelError(msg)


def transform_all(version: str, task: Task, model: NamedModel | None, files: list[tuple[bytes, str]]) -> list[Output | Exception]:
    """In a worker: the outputs of a batch, or what went wrong with each. files: with the suffixes of their outputs."""
    try:
        if version != codec.__version__:
            msg = f"the cluster has igpt {codec.__version__}, this is {version}: install the same"
            raise IgptError(msg)
        task = replace(task, options=replace(task.options, model=_place_of(model, task), revision=None)) if model else task
    except IgptError as error:
        return [error] * len(files)
    outputs: list[Output | Exception] = []
    for data, suffix in files:
        try:
            outputs.append(task.transform(io.BytesIO(data), suffix, lambda _, __: None))
        except Exception as error:
            outputs.append(error)
    return outputs


def _place_of(model: NamedModel, task: Task) -> Path:
    """The folder of the model in a worker, where the driver's name for it may mean another one. Raises ModelError."""
    from codec import models
    from codec.devices import device_named

    device = device_named(task.options.device)
    folder = None
    with contextlib.suppress(ModelError):  # it means nothing here
        folder = models.chosen(task.options.model, task.options.revision)
        folder = folder if folder and models.digest_of(folder, device) == model.digest else None
    try:
        folder = folder or models.place_of(model.digest, model.name, None, device)
    except ModelError as error:
        msg = f"a worker of the cluster lacks the model {model.name} ({model.digest.hex()}): bring it there with `igpt models add`"
        raise ModelError(msg) from error
    models.read(folder, device).name = model.name
    return folder


def _connected(address: str, cpus: int) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray is not to report what igpt does
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
