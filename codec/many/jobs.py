"""Many files: jobs are planned, put into chunks, and given to an executor, which yields a result for each of them.

Executors are `in_turn` and `in_processes` here, and `on_ray` in `cluster.py`. In all of them only one process reads and writes a file, and
whatever happens to it happens to no other.
"""

import contextlib
import io
import os
import signal
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import codec
from bitstream.errors import IgptError
from codec.many.files import (
    FIRST_BYTES,
    PIPE,
    RequestError,
    destination,
    is_file,
    is_passing,
    is_up_to_date,
    read,
    sentence,
    stream_of,
    unfinished,
    write,
)
from codec.messages import heard
from codec.threads import use_threads

if TYPE_CHECKING:
    from bitstream.header import Header

    from codec.parsing import Parsed
    from codec.pictures.picture import Picture

Report = Callable[[int, int], None]  # told how many more pixels are done, and how many more there are to do than was said before

CHUNK_PIXELS, CHUNK_FILES = 1 << 18, 256  # at once, at most
CHUNK_METADATA = 1 << 20  # bytes of one of them
REPORT_SECONDS = 0.1
LEAVE_SECONDS = 5  # for a worker to clean up


class Job(NamedTuple):
    """target: as it was named; pixels: of the source, as far as is known."""

    source: Path
    target: Path
    pixels: int = 0


Chunk = list[Job]


class Output(NamedTuple):
    """data: of the output file; text, details: what came of it and how, for people; note: what was left out; figures: for programs."""

    data: bytes
    text: str
    details: str
    note: str
    figures: dict[str, Any]


class Result(NamedTuple):
    """Of a job: what came of it; or the error's sentence and exit code; neither where it was skipped."""

    job: Job
    output: Output | None = None
    error: str = ""
    code: int = 0


class Begun(NamedTuple):
    """data: of the source; target: where the output goes; seen: the source as it was then."""

    data: bytes
    target: Path
    seen: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """What is done with each file: `begun` reads it, `transformed` needs neither its name nor a disk, `ended` writes the output."""

    suffix: ClassVar[str]
    model: str | None = None
    device: str = "auto"
    threads: int = 0
    max_pixels: int | None = None
    force: bool = False
    skip_existing: bool = False
    preserve: bool = True
    folders: bool = False
    verbose: bool = False
    delete_input: bool = False

    @abstractmethod
    def pixels_of(self, source: Path) -> int:
        """As a file's header says; 0 where that cannot be told."""

    def measured(self, job: Job) -> Job:
        """With its source's pixels. What can be read only once is not touched."""
        return job._replace(pixels=self.pixels_of(job.source) if is_file(job.source) else 0)

    @abstractmethod
    def largest(self, start: bytes) -> int:
        """As `read` asks."""

    @abstractmethod
    def transformed(self, data: bytes, suffix: str, report: Report) -> Output:
        """Input file -> output file, of the format that the suffix says."""

    def folder(self) -> Path | None:
        """Of the model that is named. Raises ModelError."""
        from codec import models

        return models.chosen(self.model)

    def engine_of(self, header: "Header") -> str | None:
        """The name of what runs a file's network; None for a drawing, which has none."""
        if header.rows:
            return None
        from codec import models
        from codec.devices import device_named
        from codec.network.engines import engine_of
        from codec.network.model import IntegerImageGPT

        network = models.find(header.model_digest, header.model_name, self.folder(), device_named(self.device))
        return engine_of(network, header.tiles).name if isinstance(network, IntegerImageGPT) else None

    def begun(self, job: Job) -> Begun | None:
        """None where there is nothing to do."""
        if self.skip_existing and is_up_to_date(job.source, job.target):
            return None
        target = destination(job.source, job.target, self.force, self.folders)
        if self.delete_input and (not is_file(job.source) or is_passing(target)):
            msg = "--delete-input needs an input and an output that are files"
            raise RequestError(msg)
        seen = _state(job.source) if job.source != PIPE else ()
        return Begun(read(job.source, self.largest), target, seen)

    def ended(self, job: Job, begun: Begun, output: Output) -> Result:
        source, delete = job.source, self.delete_input
        write(begun.target, source, self.preserve, self.force, lambda stream: stream.write(output.data), self.folders, delete)
        if delete:
            if _state(source) != begun.seen:
                msg = f"it changed while it was compressed, so it was kept; {begun.target} has what it was before"
                raise IgptError(msg)
            source.unlink()
        return Result(job._replace(target=begun.target), output._replace(data=b""))

    def most_together(self, jobs: int, count: int) -> int:
        """Of so many jobs, in a chunk, where so many processes share them."""
        return 1

    def together(self, chunk: Chunk, report: Report) -> Iterator[Result]:
        """The jobs of a chunk."""
        for job in chunk:
            yield self.done(job, report)

    def failed(self, job: Job, error: Exception) -> Result:
        if self.verbose:
            traceback.print_exception(error)
        return Result(job, error=sentence(error, job.source), code=error.code if isinstance(error, RequestError) else 1)

    def done(self, job: Job, report: Report) -> Result:
        finished, expected = 0, job.pixels

        def counted(pixels: int, more: int) -> None:
            nonlocal finished, expected
            finished, expected = finished + pixels, expected + more
            report(pixels, more)

        try:
            begun = self.begun(job)
            if begun is None:
                return Result(job)
            counted(0, -expected)
            return self.ended(job, begun, self.transformed(begun.data, begun.target.suffix, counted))
        except Exception as error:
            return self.failed(job, error)
        finally:
            report(0, finished - expected)


@dataclass(frozen=True, kw_only=True)
class Compression(Task):
    suffix: ClassVar[str] = ".igpt"
    revision: str | None = None
    palette_only: bool = False
    past: bool = True
    strip: bool = False
    verify: bool = False

    def pixels_of(self, source: Path) -> int:
        from codec.pictures.picture import pixels_in

        return pixels_in(source)

    def folder(self) -> Path | None:
        from codec import models

        return models.chosen(self.model, self.revision)

    @property
    def limit(self) -> int:
        from codec.pictures.picture import MAX_PIXELS

        return MAX_PIXELS if self.max_pixels is None else self.max_pixels

    def largest(self, start: bytes) -> int:
        from codec.pictures.picture import largest_picture_file

        return largest_picture_file(start, self.limit)

    def transformed(self, data: bytes, suffix: str, report: Report) -> Output:
        from codec.pictures.picture import open_picture

        start = time.perf_counter()
        picture = open_picture(io.BytesIO(data), self.limit)
        if self.delete_input and picture.left_out:
            msg = f"with --delete-input this would be lost: {', '.join(picture.left_out)}"
            raise IgptError(msg)
        note = f"not stored: {', '.join(picture.left_out)}" if picture.left_out else ""
        left_out = list(picture.left_out)
        picture = picture.stripped() if self.strip else picture
        height, width, _ = picture.pixels.shape
        use_threads(self.threads)
        report(0, height * width)
        packed = codec.compress_picture(
            picture,
            model=self.model,
            revision=self.revision,
            palette_only=self.palette_only,
            device=self.device,
            past=self.past,
            verify=self.verify or self.delete_input,
            progress=lambda pixels: report(pixels, 0),
        )
        header, seconds = codec.first_header(packed), time.perf_counter() - start
        raw, bpsp = picture.pixels.size * picture.form.depth / 8, 8 * len(packed) / picture.pixels.size
        ratios = f"{len(packed) / len(data):.3f} of the input file, {len(packed) / raw:.3f} of raw"
        engine = self.engine_of(header)
        figures = {
            "input_bytes": len(data),
            "bytes": len(packed),
            "bpsp": round(bpsp, 4),
            "seconds": round(seconds, 3),
            "left_out": left_out,
            "engine": engine,
        }
        details = f"{seconds:.2f} s; coded as: {coded_as(header)}{told(engine)}"
        return Output(packed, f"{len(packed):,} bytes, {bpsp:.3f} bpsp, {ratios}", details, note, figures)


@dataclass(frozen=True, kw_only=True)
class Decompression(Task):
    suffix: ClassVar[str] = ".png"

    def pixels_of(self, source: Path) -> int:
        try:
            with source.open("rb") as stream:
                header = codec.first_header(stream.read(FIRST_BYTES))
            return header.width * header.height
        except (IgptError, OSError):
            return 0

    def largest(self, start: bytes) -> int:
        return codec.largest_file(start)

    def begun(self, job: Job) -> Begun | None:
        from codec.pictures.outputs import OUTPUTS

        if job.target.suffix.lower() not in ("", ".png", *OUTPUTS):
            msg = f"{job.target}: the output cannot be {job.target.suffix}; choose .png, {', '.join(OUTPUTS)}"
            raise RequestError(msg)
        return super().begun(job)

    def transformed(self, data: bytes, suffix: str, report: Report) -> Output:
        from codec.parsing import parsed

        start = time.perf_counter()
        file = parsed(data)
        use_threads(self.threads)
        report(0, file.pixels)
        picture = codec.decompress_parsed(
            file, model=self.model, device=self.device, max_pixels=self.max_pixels, progress=lambda pixels: report(pixels, 0)
        )
        return self._output(file, picture, suffix, time.perf_counter() - start)

    def _output(self, file: "Parsed", picture: "Picture", suffix: str, seconds: float) -> Output:
        from codec.pictures.outputs import written_as

        written, left_out = written_as(picture, suffix)
        engine = self.engine_of(file.headers[0])
        figures = {"bytes": len(written), "seconds": round(seconds, 3), "left_out": [*left_out], "engine": engine}
        note = f"not written: {', '.join(left_out)}" if left_out else ""
        return Output(written, picture.described, f"{seconds:.2f} s{told(engine)}", note, figures)

    def most_together(self, jobs: int, count: int) -> int:
        return min(CHUNK_FILES, -(-jobs // max(1, count)))

    def together(self, chunk: Chunk, report: Report) -> Iterator[Result]:
        """Small pictures are decoded together, but for those with much metadata, and where anything unexpected happens."""
        if len(chunk) == 1:
            yield self.done(chunk[0], report)
            return
        from codec.parsing import parsed

        ready: list[Read] = []
        for job in chunk:
            try:
                begun = self.begun(job)
                read = Read(job, begun._replace(data=b""), parsed(begun.data)) if begun else None
            except Exception as error:
                report(0, -job.pixels)
                yield self.failed(job, error)
                continue
            if not read:
                report(0, -job.pixels)
                yield Result(job)
            elif read.file.metadata_bytes > CHUNK_METADATA:
                yield from self._together([read], report)
            else:
                ready.append(read)
        if ready:
            yield from self._together(ready, report)

    def _together(self, ready: "list[Read]", report: Report) -> Iterator[Result]:
        start, finished = time.perf_counter(), 0

        def counted(pixels: int) -> None:
            nonlocal finished
            finished += pixels
            report(pixels, 0)

        use_threads(self.threads)
        files = [read.file for read in ready]
        try:
            found = codec.decompress_pictures(files, model=self.model, device=self.device, max_pixels=self.max_pixels, progress=counted)
        except Exception:  # each by itself, so that it stops no other
            report(0, finished)
            for read in ready:
                yield self.done(read.job, report)
            return
        seconds = (time.perf_counter() - start) / len(files)
        report(0, finished - sum(read.job.pixels for read in ready))
        for read, picture in zip(ready, found, strict=True):
            try:
                if isinstance(picture, IgptError):
                    raise picture
                yield self.ended(read.job, read.begun, self._output(read.file, picture, read.begun.target.suffix, seconds))
            except Exception as error:
                yield self.failed(read.job, error)


class Read(NamedTuple):
    """A file that is about to be decompressed."""

    job: Job
    begun: Begun
    file: "Parsed"


def told(engine: str | None) -> str:
    """The end of a sentence."""
    return f"; engine: {engine}" if engine else ""


def coded_as(header: "Header") -> str:
    """What a file holds, for people."""
    from bitstream.header import KINDS, past_name

    return past_name(header.past.formula, header.past.filter) if header.past else KINDS[header.kind]


def _state(source: Path) -> tuple[int, ...]:
    found = source.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


stopped: list[int] = []  # signals that asked to stop


def stop(number: int, _: object) -> None:
    """A signal's handler."""
    stopped.append(number)
    leave_if_stopped()


def leave_if_stopped() -> None:
    """Also called while work goes on: an exception that a signal raises amid a compilation is lost."""
    if stopped:
        raise SystemExit(128 + stopped[0])


class Plan(NamedTuple):
    """unread: folders that could not be gone through, as results; notes: what in them was passed over, for people."""

    jobs: list[Job]
    unread: list[Result]
    notes: list[str]


def planned(
    inputs: Sequence[Path], option: Path | None, out_dir: Path | None, recursive: bool, suffix: str, wanted: Collection[str]
) -> Plan:
    """Inputs with their outputs: folders are gone through, and mirrored in out_dir. Raises RequestError where two have the same output."""
    if option:
        msg = "several inputs have several outputs: use --out-dir"
        raise RequestError(msg)
    if out_dir and os.path.exists(out_dir) and not os.path.isdir(out_dir):
        msg = f"{out_dir} is no folder: --out-dir needs one"
        raise RequestError(msg)
    plan = Plan([], [], [])
    taken: dict[Path, Path] = {}
    places: dict[Path, Path] = {}  # folders by their names
    for path in inputs:
        if path == PIPE or stream_of(path) is not None:
            msg = f"{'standard input' if path == PIPE else path} cannot be one of several inputs"
            raise RequestError(msg)
        if os.path.isdir(path) and not recursive:
            msg = f"{path} is a folder: use -r to go through it"
            raise RequestError(msg)
        is_folder = os.path.isdir(path)
        for source in _found(path, wanted, plan) if is_folder else [path]:
            place = source.relative_to(path) if is_folder else Path(source.name)
            target = ((out_dir / place) if out_dir else source).with_suffix(suffix)
            if (parent := target.parent) not in places:
                places[parent] = Path(os.path.realpath(parent))
            real = places[parent] / target.name
            if real in taken:
                msg = f"{taken[real]} and {source} would both become {target}"
                raise RequestError(msg)
            taken[real] = source
            plan.jobs.append(Job(source, target))
    return plan


def _found(folder: Path, wanted: Collection[str], plan: Plan) -> list[Path]:
    """The files with such extensions in a folder and those below it, sorted. Links to files are followed, so that broken ones fail; links
    to folders, which may lead around in a circle, are not; devices and pipes are not opened.
    """
    found = []

    def unread(error: OSError) -> None:
        plan.unread.append(Result(Job(Path(error.filename), Path(error.filename)), error=sentence(error, folder), code=1))

    for place, folders, names in os.walk(folder, onerror=unread):
        leave_if_stopped()
        links = [path for name in folders if (path := Path(place, name)).is_symlink()]
        plan.notes.extend(f"{path}: note: a link to a folder, which is not followed" for path in links)
        for path in (Path(place, name) for name in names):
            if path.suffix.lower() not in wanted:
                continue
            if os.path.exists(path) and not os.path.isfile(path):
                plan.notes.append(f"{path}: note: neither a file nor a folder, so it is left alone")
            else:
                found.append(path)
    return sorted(found)


def in_chunks(jobs: Sequence[Job], most: int = CHUNK_FILES) -> list[Chunk]:
    """What an executor hands out at once: small pictures in numbers, at most so many, others alone."""
    chunks: list[Chunk] = []
    pixels = 0
    for job in jobs:
        if not chunks or not job.pixels or pixels + job.pixels > CHUNK_PIXELS or len(chunks[-1]) == most:
            chunks.append([])
            pixels = 0 if job.pixels else CHUNK_PIXELS
        chunks[-1].append(job)
        pixels += job.pixels
    return chunks


def in_turn(task: Task, chunks: Sequence[Chunk], report: Report) -> Iterator[Result]:
    """In this process."""
    for chunk in chunks:
        yield from task.together(chunk, report)


@dataclass
class Worker:
    """A process with its end of the line. left: of its chunk."""

    process: Any
    line: "Connection[Any, Any]"
    left: deque[Job] = field(default_factory=deque)

    def give(self, chunk: Chunk) -> None:
        self.left.extend(chunk)
        with contextlib.suppress(OSError):  # it is dead, which shows at once
            self.line.send(chunk)


def in_processes(task: Task, chunks: Sequence[Chunk], count: int, report: Report) -> Iterator[Result]:
    """In so many processes. The file on which one is killed fails, the rest goes on in a new one."""
    waiting, workers = deque(chunks), list[Worker]()
    finished = False
    try:
        while waiting or workers:
            while waiting and len(workers) < count:
                workers.append(_hired(task))
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
                    _dismissed(worker)
        finished = True
    finally:
        if not finished:
            for worker in workers:
                worker.process.terminate()
            for worker in workers:
                _dismissed(worker)


def _hired(task: Task) -> Worker:
    context = get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, task), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, mine)


def _dismissed(worker: Worker) -> None:
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


def _serve(line: "Connection[Any, Any]", task: Task) -> None:
    """A worker: takes chunks off the line, and gives back results, and (pixels, more) as `Report` has them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: who hired this process knows what to do
    signal.signal(signal.SIGTERM, _leave)
    heard(task.verbose)
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
            for result in task.together(line.recv(), report):
                line.send((pixels, more))
                pixels = more = 0
                line.send(result)
