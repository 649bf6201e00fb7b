"""What is done with a file: it is read, compressed or decompressed, and the output written; whatever goes wrong is a result, too.

Who runs tasks is in `executors.py` and `cluster.py`.
"""

import contextlib
import io
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, NamedTuple

from bitstream import container
from bitstream.errors import IgptError
from bitstream.form import KEPT
from bitstream.reader import Reader
from codec.many.files import PIPE, RequestError, destination, is_file, is_passing, is_up_to_date, read, sentence, write
from codec.options import Options
from codec.threads import use_threads

if TYPE_CHECKING:
    from bitstream.container import File
    from codec.pictures.picture import Picture

Report = Callable[[int, int], None]  # (pixels): how many more are done, and how many more there are to do than was reported before

BATCH_FILES = 256  # at once, at most
BATCH_METADATA = 1 << 20  # bytes of a file that is decompressed with others


class Job(NamedTuple):
    """target: as it was named; pixels: of the source, as far as is known."""

    source: Path
    target: Path
    pixels: int = 0


Batch = list[Job]  # what is done at once


class Input(NamedTuple):
    """source: open at its start; target: where the output goes; state: the source's, as it was then."""

    source: BinaryIO
    target: Path
    state: tuple[int, ...]


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


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """What is done with each file: `load` opens it, `transform` needs no more than that, `store` writes the output.

    options: of the codec. threads: of each process, 0: share the cores. force: overwrite outputs. skip_existing: leave outputs alone that
    are not older than their inputs. preserve: copy the modification time and the mode bits. folders: make those of outputs. verbose: print
    tracebacks. delete_input: remove inputs when their outputs are on the disk.
    """

    suffix: ClassVar[str]  # of outputs
    options: Options = field(default_factory=Options)
    threads: int = 0
    force: bool = False
    skip_existing: bool = False
    preserve: bool = True
    folders: bool = False
    verbose: bool = False
    delete_input: bool = False

    @abstractmethod
    def pixels_in(self, source: Path) -> int:
        """As a file says at its beginning; 0 where that is no use."""

    def suffix_for(self, source: Path) -> str:
        """Of the output of an input, by default."""
        return self.suffix

    @abstractmethod
    def largest(self, start: bytes) -> int:
        """A bound in bytes on an input that begins with `start`. Raises IgptError for what is none."""

    @abstractmethod
    def transform(self, source: BinaryIO, suffix: str, report: Report) -> Output:
        """Input file, at its start -> output file, of the format that the suffix says. Raises IgptError or OSError."""

    def measured(self, job: Job) -> Job:
        """With its source's pixels. What can be read only once is not touched."""
        return job._replace(pixels=self.pixels_in(job.source) if is_file(job.source) else 0)

    def load(self, job: Job) -> Input | None:
        """Opens the source; None where there is nothing to do. Raises RequestError, IgptError or OSError."""
        if self.skip_existing and is_file(job.source) and is_up_to_date(job.source, job.target):
            return None
        target = destination(job.source, job.target, self.force, self.folders)
        if self.delete_input and (not is_file(job.source) or is_passing(target)):
            msg = "--delete-input needs an input and an output that are files"
            raise RequestError(msg)
        state = _state(job.source) if job.source != PIPE else ()
        return Input(self.opened(job.source), target, state)

    def opened(self, source: Path) -> BinaryIO:
        """A file for `transform`: all of it is in memory. Raises IgptError or OSError."""
        return io.BytesIO(read(source, self.largest))

    def store(self, job: Job, given: Input, output: Output) -> Result:
        """Writes the output of what `load` gave. Raises RequestError, IgptError or OSError."""
        source, delete = job.source, self.delete_input
        write(given.target, source, self.preserve, self.force, lambda stream: stream.write(output.data), self.folders, delete)
        if delete:
            if _state(source) != given.state:
                msg = f"it changed while it was compressed, so it was kept; {given.target} has what it was before"
                raise IgptError(msg)
            source.unlink()
        return Result(job._replace(target=given.target), output._replace(data=b""))

    def failure(self, job: Job, error: Exception) -> Result:
        """The result of a job in which this was raised."""
        if self.verbose:
            traceback.print_exception(error)
        return Result(job, error=sentence(error, job.source), code=error.code if isinstance(error, RequestError) else 1)

    def run(self, job: Job, report: Report) -> Result:
        """All of a job. Raises no Exception."""
        finished, expected = 0, job.pixels

        def counted(pixels: int, more: int) -> None:
            nonlocal finished, expected
            finished, expected = finished + pixels, expected + more
            report(pixels, more)

        try:
            given = self.load(job)
            if given is None:
                return Result(job)
            counted(0, -expected)
            with given.source:
                output = self.transform(given.source, job.target.suffix, counted)
            return self.store(job, given, output)
        except Exception as error:
            return self.failure(job, error)
        finally:
            report(0, finished - expected)

    def run_batch(self, batch: Batch, report: Report) -> Iterator[Result]:
        """All of several jobs. Raises no Exception."""
        for job in batch:
            yield self.run(job, report)

    def batch_files(self, jobs: int, count: int) -> int:
        """How many of so many jobs a batch may have, where so many processes share them."""
        return 1


@dataclass(frozen=True, kw_only=True)
class Compression(Task):
    """Picture files -> igpt files. strip: leave out metadata."""

    suffix: ClassVar[str] = ".igpt"
    strip: bool = False

    def pixels_in(self, source: Path) -> int:
        from codec.pictures.reading import pixels_in

        return pixels_in(source)

    @property
    def max_pixels(self) -> int:
        from codec.pictures.reading import MAX_PIXELS

        return MAX_PIXELS if self.options.max_pixels is None else self.options.max_pixels

    def largest(self, start: bytes) -> int:
        from codec.pictures.reading import largest_picture_file

        return largest_picture_file(start, self.max_pixels)

    def transform(self, source: BinaryIO, suffix: str, report: Report) -> Output:
        from codec.compression import compress_picture
        from codec.pictures.reading import picture_in

        start, data = time.perf_counter(), source.read()
        picture = picture_in(data, self.options.max_pixels, self.options.of_pixels or self.strip)
        left_out = picture.left_out
        if self.delete_input and left_out:
            msg = f"with --delete-input this would be lost: {', '.join(left_out)}"
            raise IgptError(msg)
        picture = picture.stripped() if self.strip else picture
        use_threads(self.threads)
        report(0, picture.area)
        options = replace(self.options, verify=self.options.verify or self.delete_input)
        compressed = compress_picture(picture, options, lambda pixels: report(pixels, 0))
        return self._output(data, picture, left_out, compressed, time.perf_counter() - start)

    def _output(self, data: bytes, picture: "Picture", left_out: tuple[str, ...], compressed: bytes, seconds: float) -> Output:
        from codec.description import engines_of, info_of
        from codec.representations import digest_of

        file = container.read(compressed)
        engine, says = engines_of(file, self.options), info_of(file)
        raw, bpsp = picture.pixels.size * picture.form.depth / 8, 8 * len(compressed) / picture.pixels.size
        text = f"{len(compressed) / len(data):.3f} of the input file"
        text = f"{text}, byte for byte" if picture.is_file else f"{bpsp:.3f} bpsp, {text}, {len(compressed) / raw:.3f} of raw"
        max_error, lossy = self.options.max_error, self.options.lossy
        if max_error or lossy:
            if says.digest == digest_of(picture.pixels).hex():
                max_error, lossy = 0, ""
            text += f", lossy: no sample differs by more than {max_error}" if max_error else f", lossy: {lossy}" if lossy else ", lossless"
        figures = {
            "input_bytes": len(data),
            "bytes": len(compressed),
            "bpsp": None if picture.is_file else round(bpsp, 4),
            "max_error": max_error,
            "lossy": lossy,
            "seconds": round(seconds, 3),
            "left_out": [*left_out],
            "engine": engine,
        }
        details = f"{seconds:.2f} s; coded as: {says.coding}{_by(engine)}"
        note = f"not stored: {', '.join(left_out)}" if left_out else ""
        return Output(compressed, f"{len(compressed):,} bytes, {text}", details, note, figures)


@dataclass(frozen=True, kw_only=True)
class Decompression(Task):
    """igpt files -> picture files. Small ones are decompressed together, several at once."""

    suffix: ClassVar[str] = ".png"

    def suffix_for(self, source: Path) -> str:
        """A JPEG file that was kept is one again, if all of it is wanted."""
        if self.options.box:
            return self.suffix
        with contextlib.suppress(IgptError, OSError):
            if is_file(source):
                with source.open("rb") as stream:
                    return ".jpg" if container.front_in(stream).head.form.colour == KEPT else self.suffix
        return self.suffix

    def pixels_in(self, source: Path) -> int:
        try:
            with source.open("rb") as stream:
                return container.front_in(stream).head.pixels
        except (IgptError, OSError):
            return 0

    def largest(self, start: bytes) -> int:
        from codec.decompression import check_head

        check_head(container.head_of(start), self.options)
        return container.largest_file(start)

    def load(self, job: Job) -> Input | None:
        from codec.pictures.kept import SUFFIXES as JPEGS
        from codec.pictures.outputs import OUTPUTS

        if job.target.suffix.lower() not in ("", ".png", *OUTPUTS, *JPEGS):
            msg = f"{job.target}: the output cannot be {job.target.suffix}; choose .png, {', '.join(OUTPUTS)}, or .jpg of a JPEG file"
            raise RequestError(msg)
        if is_file(job.source):  # what it is comes before where it goes
            with job.source.open("rb") as stream:
                self.largest(stream.read(container.FIRST_BYTES))
        return super().load(job)

    def opened(self, source: Path) -> BinaryIO:
        """Of a part of a picture, what it does not touch is not read."""
        return source.open("rb") if self.options.box and is_file(source) else super().opened(source)

    def transform(self, source: BinaryIO, suffix: str, report: Report) -> Output:
        from codec.decompression import decompress_file
        from codec.pictures.outputs import require_output

        start = time.perf_counter()
        box = self.options.box
        file = self._file(source)
        require_output(file.head.form, suffix, whole=not box)
        use_threads(self.threads)
        report(0, box.pixels if box else file.head.pixels)
        picture = decompress_file(file, self.options, lambda pixels: report(pixels, 0))
        return self._output(file, picture, suffix, time.perf_counter() - start)

    def _output(self, file: "File", picture: "Picture", suffix: str, seconds: float) -> Output:
        from codec.description import engines_of
        from codec.pictures.kept import part_shown
        from codec.pictures.outputs import written_as

        if self.options.box and picture.is_file:
            picture = part_shown(picture, self.options.box, self.options.max_pixels)
        written, left_out = written_as(picture, suffix, self.options.max_pixels)
        engine = engines_of(file, self.options)
        figures = {"bytes": len(written), "seconds": round(seconds, 3), "left_out": [*left_out], "engine": engine}
        note = f"not written: {', '.join(left_out)}" if left_out else ""
        return Output(written, picture.described, f"{seconds:.2f} s{_by(engine)}", note, figures)

    def _file(self, source: BinaryIO) -> "File":
        return container.file_in(source) if self.options.box else container.read(source.read())

    def batch_files(self, jobs: int, count: int) -> int:
        return min(BATCH_FILES, -(-jobs // max(1, count)))

    def run_batch(self, batch: Batch, report: Report) -> Iterator[Result]:
        """Decodes the files together, but for those with much metadata, and where anything unexpected happens."""
        if len(batch) == 1:
            yield self.run(batch[0], report)
            return
        with contextlib.ExitStack() as sources:
            yield from self._run_batch(batch, report, sources)

    def _run_batch(self, batch: Batch, report: Report, sources: contextlib.ExitStack) -> Iterator[Result]:
        together: list[_Loaded] = []
        for job in batch:
            try:
                given = self.load(job)
                loaded = _Loaded(job, given, self._file(sources.enter_context(given.source))) if given else None
                apart = loaded is not None and loaded.metadata_bytes > BATCH_METADATA
            except Exception as error:
                report(0, -job.pixels)
                yield self.failure(job, error)
                continue
            if not loaded:
                report(0, -job.pixels)
                yield Result(job)
            elif apart:
                yield from self._run_together([loaded], report)
            else:
                together.append(loaded)
        if together:
            yield from self._run_together(together, report)

    def _run_together(self, loaded: "list[_Loaded]", report: Report) -> Iterator[Result]:
        from codec.decompression import decompress_files

        start, finished = time.perf_counter(), 0

        def counted(pixels: int) -> None:
            nonlocal finished
            finished += pixels
            report(pixels, 0)

        use_threads(self.threads)
        pictures: list[Picture | IgptError] = []
        with contextlib.suppress(Exception):  # then each by itself, so that it stops no other
            pictures = decompress_files([one.file for one in loaded], self.options, counted)
        if not pictures:
            report(0, finished)
            for one in loaded:
                yield self.run(one.job, report)
            return
        seconds = (time.perf_counter() - start) / len(loaded)
        report(0, finished - sum(one.job.pixels for one in loaded))
        for one, picture in zip(loaded, pictures, strict=True):
            try:
                if isinstance(picture, IgptError):
                    raise picture
                yield self.store(one.job, one.input, self._output(one.file, picture, one.job.target.suffix, seconds))
            except Exception as error:
                yield self.failure(one.job, error)


@dataclass(frozen=True, kw_only=True)
class Verification(Decompression):
    """igpt files are decompressed, and their pixels compared with the digest; nothing is written. The target of a job is its source."""

    def load(self, job: Job) -> Input:
        return Input(self.opened(job.source), job.target, ())

    def _output(self, file: "File", picture: "Picture", suffix: str, seconds: float) -> Output:
        from codec.description import engines_of

        engine = engines_of(file, self.options)
        figures = {"pixels": file.head.pixels, "seconds": round(seconds, 3), "engine": engine}
        return Output(b"", f"ok, {picture.described}", f"{seconds:.2f} s{_by(engine)}", "", figures)

    def store(self, job: Job, given: Input, output: Output) -> Result:
        return Result(job, output)


class _Loaded(NamedTuple):
    """A file that is about to be decompressed."""

    job: Job
    input: Input
    file: "File"

    @property
    def metadata_bytes(self) -> int:
        """As the box says at its beginning. Raises DamagedError."""
        box = self.file.front.boxes.get(container.METADATA)
        return 0 if box is None else Reader(box, "the metadata").varint()


def _by(engine: str | None) -> str:
    """The end of a sentence."""
    return f"; engine: {engine}" if engine else ""


def _state(source: Path) -> tuple[int, ...]:
    """Other numbers where a file was changed or replaced meanwhile."""
    found = source.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
