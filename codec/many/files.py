"""Files by name: inputs are read no further than they can go, outputs take their place whole or not at all."""

import contextlib
import errno
import io
import os
import re
import secrets
import shutil
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bitstream.errors import IgptError, TooLargeError

FIRST_BYTES = 1 << 16
BLOCK_BYTES = 1 << 24
PIPE = Path("-")  # standard input or output
STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
STREAM = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})")
TEMPORARY = ".igpt-"

unfinished: set[Path] = set()  # outputs that are being written


class RequestError(Exception):
    """The request itself makes no sense or would destroy something: exit code 2 for the former, 1 for the latter."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message, code)
        self.message, self.code = message, code

    def __str__(self) -> str:
        return self.message


def sentence(error: Exception, source: Path) -> str:
    """What went wrong with a file, for people."""
    name = "standard input" if source == PIPE else str(source)
    match error:
        case RequestError():
            return str(error)
        case IgptError() | OSError():
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            where = getattr(error, "filename", None) or name
            return reason if reason.startswith(f"{where}: ") else f"{where}: {reason}"
        case MemoryError():
            return f"{name}: there is not enough memory"
    return f"{name}: an error of igpt itself, {type(error).__name__}: {error}; please report it (--verbose has the details)"


def stream_of(path: Path) -> int | None:
    """The descriptor that a name such as /dev/stdout or /dev/fd/3 stands for; None for other names.

    What it stands for was opened by somebody else, who may have written to it or read from it: so it is not opened again, nor replaced.
    """
    name = str(path)
    found = STREAM.fullmatch(name)
    return int(found[1]) if found else STREAMS.get(name)


def is_file(path: Path) -> bool:
    """Whether it can be read more than once, and without waiting for anybody: a regular file."""
    return path != PIPE and stream_of(path) is None and os.path.isfile(path)


def is_passing(path: Path) -> bool:
    """Whether what is written there goes through it and is not kept under that name: standard output, a device, a pipe."""
    return path == PIPE or stream_of(path) is not None or (os.path.exists(path) and not os.path.isfile(path))


def read(source: Path, largest: Callable[[bytes], int]) -> bytes:
    """The whole input, but no more than it can be.

    largest: given how it begins, it returns a bound in bytes, or raises IgptError. Raises that, TooLargeError, and OSError.
    """
    with _opened(source) as stream, _named(source, "standard input"):
        blocks = [stream.read(FIRST_BYTES)]
        bound = largest(blocks[0])
        left = 0 if is_file(source) and source.stat().st_size > bound else bound - len(blocks[0]) + 1
        while left > 0 and (block := stream.read(min(left, BLOCK_BYTES))):
            blocks.append(block)
            left -= len(block)
        if left <= 0:
            msg = f"the file has more than {bound:,} bytes, which no picture within the limit on pixels needs"
            raise TooLargeError(msg)
        return b"".join(blocks)


def _opened(source: Path) -> contextlib.AbstractContextManager[BinaryIO]:
    if source == PIPE:
        return contextlib.nullcontext(sys.stdin.buffer)
    number = stream_of(source)
    with _named(source):
        return source.open("rb") if number is None else open(os.dup(number), "rb")


@contextlib.contextmanager
def _named(path: Path, pipe: str = "") -> Iterator[None]:
    """Has an OSError name this file where it names none, or a temporary one; pipe: what "-" means."""
    try:
        yield
    except OSError as error:
        temporary = error.filename is None or Path(os.fsdecode(error.filename)).name.startswith(TEMPORARY)
        if temporary and error.errno is not None:
            error.filename = pipe if path == PIPE else str(path)
        raise


def default_output(source: Path, suffix: str) -> Path:
    """Under the input's name, but with this extension; photo.jpg for photo.jpg.igpt."""
    bare = source.with_suffix("")
    return bare if bare.suffix and bare.suffix.lower() == suffix else source.with_suffix(suffix)


def output_of(source: Path, out: Path | None, option: Path | None, suffix_for: Callable[[Path], str]) -> Path:
    """The output that is named, or that of an input by default. Raises RequestError where it is named twice, or the input is a folder."""
    if out and option:
        msg = "the output is named twice"
        raise RequestError(msg)
    if os.path.isdir(source):
        msg = f"{source} is a folder, not a file"
        raise RequestError(msg)
    return out or option or (PIPE if source == PIPE or stream_of(source) is not None else default_output(source, suffix_for(source)))


def destination(source: Path, target: Path, force: bool, folders: bool = False) -> Path:
    """Where the output goes; folders: it need not exist yet. Raises RequestError where that would be a mistake, or OSError."""
    if target == PIPE or stream_of(target) is not None:
        _require_open(target)
        return target
    found = _status(target)
    if found is None and target.is_symlink():  # to what is not there yet
        target = target.resolve()
    elif found and stat.S_ISDIR(found.st_mode):
        msg = f"{target} is a folder: name an output file"
        raise RequestError(msg)
    elif found and not stat.S_ISREG(found.st_mode):  # a device or a named pipe
        return target
    elif found:
        target = target.resolve() if target.is_symlink() else target
        if source != PIPE and (of_source := _status(source)) and os.path.samestat(of_source, found):
            msg = f"{target} is the input itself"
            raise RequestError(msg)
        refuse_overwriting(target, force)
    if not folders and not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target.parent))
    return target


def _status(path: Path) -> os.stat_result | None:
    """None where there is nothing of that name. Raises OSError where that is not sure: on the way lies a file, or a loop of links."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _require_open(target: Path) -> None:
    """Raises RequestError for a terminal, and OSError for a stream that is closed or not for writing."""
    with _named(target, "standard output"):
        try:
            number = sys.stdout.fileno() if target == PIPE else stream_of(target)
        except io.UnsupportedOperation:  # somebody put another object in its place
            return
        assert number is not None
        os.write(number, b"")
        if os.isatty(number):
            msg = "refusing to write binary data to a terminal: name an output file or use a pipe"
            raise RequestError(msg)


def refuse_overwriting(target: Path, force: bool) -> None:
    """Raises RequestError where the target is a file, but for `force`."""
    if target.is_file() and not force:
        msg = f"{target} exists already; use --force to overwrite it"
        raise RequestError(msg, code=1)


def is_up_to_date(source: Path, target: Path) -> bool:
    """Whether the target is a file that is not older. Raises OSError."""
    return target.is_file() and target.stat().st_mtime >= source.stat().st_mtime


def write(
    target: Path,
    source: Path,
    preserve: bool,
    force: bool,
    save: Callable[[Any], object],
    folders: bool = False,
    durable: bool = False,
) -> None:
    """Lets `save` fill a temporary file beside `target`, which then takes its place at once, or leaves nothing behind.

    preserve: copy the source's modification time and mode bits. force: overwrite. folders: make those that are missing. durable: return
    when it would survive a loss of power. Raises RequestError where the target is there meanwhile, OSError, and what `save` raises.
    """
    number = stream_of(target)
    if target == PIPE:
        with _standard_output():
            save(sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return
    if is_passing(target):
        with _named(target), target.open("wb") if number is None else open(os.dup(number), "wb") as stream:
            save(stream)
        return
    temporary = target.with_name(TEMPORARY + secrets.token_hex(8))
    with _named(target), _registered(target), _folders(target.parent, folders) as made:
        try:
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, stat.S_IRUSR | stat.S_IWUSR)) as stream:
                save(stream)
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
            if preserve and is_file(source):
                shutil.copystat(source, temporary)
            else:
                mask = os.umask(0)
                os.umask(mask)
                temporary.chmod((stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH) & ~mask)
            _put(temporary, target, force)
        finally:
            temporary.unlink(missing_ok=True)
    if durable and os.name != "nt":  # where folders cannot be opened
        for folder in {target.parent, *(path.parent for path in made)}:
            _sync(folder)


@contextlib.contextmanager
def _standard_output() -> Iterator[None]:
    """Has an OSError name it. Where its reader has left, the run ends without a message, as SIGPIPE ends other programs."""
    try:
        with _named(PIPE, "standard output"):
            yield
    except BrokenPipeError:
        raise SystemExit(128 + signal.SIGPIPE) from None


def put(text: str) -> None:
    """A line on standard output, for programs. Raises OSError."""
    with _standard_output():
        print(text, flush=True)


def flush() -> None:
    """Writes what is still in the buffer of standard output. Raises OSError."""
    with _standard_output():
        sys.stdout.flush()


def _sync(folder: Path) -> None:
    """Has the names in a folder survive a loss of power."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _put(temporary: Path, target: Path, force: bool) -> None:
    """Gives the file its name, which but for `force` nobody else may have taken meanwhile."""
    if not force:
        try:
            os.link(temporary, target)
        except FileExistsError:
            refuse_overwriting(target, force)
        except OSError:  # a file system without links
            refuse_overwriting(target, force)
        else:
            return
    temporary.replace(target)


def fill_streams() -> None:
    """Has standard input, output and error exist where they were closed: what is opened next would take their numbers, and get what is
    printed. From the first reading fails, to the second writing, as they should; messages are lost.
    """
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, flags)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
    sys.stdin = sys.stdin or open(0, closefd=False)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)


@contextlib.contextmanager
def _registered(target: Path) -> Iterator[None]:
    unfinished.add(target)
    try:
        yield
    finally:
        unfinished.discard(target)


@contextlib.contextmanager
def _folders(folder: Path, make: bool) -> Iterator[list[Path]]:
    """Makes a folder with those above it, if it is to, gives those that it made, and removes them if what follows fails."""
    missing = [path for path in (folder, *folder.parents) if make and not path.exists()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield missing
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):  # somebody else put something there
                path.rmdir()
        raise
