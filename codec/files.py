"""Files by name: inputs are read no further than they can go, outputs take their place whole or not at all."""

import contextlib
import errno
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bitstream.errors import IgptError

FIRST_BYTES = 1 << 16
BLOCK_BYTES = 1 << 24
PIPE = Path("-")  # standard input or output
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


def read(source: Path, plausible: Callable[[bytes], int]) -> bytes:
    """The whole input, but no more than it can be: `plausible` is shown how it begins, and gives its largest size or raises IgptError."""
    with contextlib.nullcontext(sys.stdin.buffer) if source == PIPE else source.open("rb") as stream:
        blocks = [stream.read(FIRST_BYTES)]
        left = plausible(blocks[0]) - len(blocks[0]) + 1
        while left > 0 and (block := stream.read(min(left, BLOCK_BYTES))):
            blocks.append(block)
            left -= len(block)
        return b"".join(blocks)


def output_of(source: Path, out: Path | None, option: Path | None, suffix: str) -> Path:
    """The output that is named, or that of an input by default. Raises RequestError where it is named twice."""
    if out and option:
        msg = "the output is named twice"
        raise RequestError(msg)
    return out or option or (PIPE if source == PIPE else source.with_suffix(suffix))


def destination(source: Path, target: Path, force: bool, folders: bool = False) -> Path:
    """Where the output goes; folders: it need not exist yet. Raises RequestError where that would be a mistake, or FileNotFoundError."""
    if target == PIPE:
        if sys.stdout.isatty():
            msg = "refusing to write binary data to a terminal: name an output file or use a pipe"
            raise RequestError(msg)
        return target
    target = target.resolve() if target.is_symlink() else target
    if target.is_dir():
        msg = f"{target} is a folder: name an output file"
        raise RequestError(msg)
    if source != PIPE and source.exists() and target.exists() and source.samefile(target):
        msg = f"{target} is the input itself"
        raise RequestError(msg)
    refuse_overwriting(target, force)
    if not folders and not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target.parent))
    return target


def refuse_overwriting(target: Path, force: bool) -> None:
    if target.is_file() and not force:
        msg = f"{target} exists already; use --force to overwrite it"
        raise RequestError(msg, code=1)


def is_up_to_date(source: Path, target: Path) -> bool:
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

    folders: make those that are missing. durable: return when it would survive a loss of power.
    """
    if target == PIPE:
        save(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    if target.exists() and not target.is_file():  # a device or a named pipe
        with target.open("wb") as stream:
            save(stream)
        return
    temporary = target.with_name(TEMPORARY + secrets.token_hex(8))
    with _begun(target), _folders(target.parent, folders) as made:
        try:
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, stat.S_IRUSR | stat.S_IWUSR)) as stream:
                save(stream)
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
            if preserve and source != PIPE:
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


@contextlib.contextmanager
def _begun(target: Path) -> Iterator[None]:
    unfinished.add(target)
    try:
        yield
    finally:
        unfinished.discard(target)


@contextlib.contextmanager
def _folders(folder: Path, wanted: bool) -> Iterator[list[Path]]:
    """Makes a folder with those above it, if that is wanted, gives those that it made, and takes them back if what follows fails."""
    missing = [path for path in (folder, *folder.parents) if wanted and not path.exists()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield missing
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):  # somebody else put something there
                path.rmdir()
        raise
