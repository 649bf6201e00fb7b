"""numba's compiler, where it is there and can be used. What is compiled runs without the interpreter's lock, on whatever thread calls it;
numba starts none of its own (see `codec.threads`)."""

import contextlib
import functools
import hashlib
import logging
import os
from pathlib import Path
from typing import Any

from codec.threads import spread

numba: Any
try:
    import numba
    from numba.core.compiler_lock import global_compiler_lock
except ImportError:
    numba = None

if numba and hasattr(os, "register_at_fork"):  # a child would wait for ever for what another thread has locked
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def _sources() -> str:
    """A digest of everything that compiled code is made of: numba itself looks at a function's own file only."""
    folder = Path(__file__).parent
    kernels = (
        path for part in ("inside", "jpeg", "mixing", "network", "palette", "pasts") for path in sorted((folder / part).glob("*.py"))
    )
    files = [Path(__file__), folder / "tiling" / "context.py", *kernels]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


SOURCES = _sources() if numba else ""
logger = logging.getLogger("igpt")


@functools.cache
def _tell(keeps: bool) -> None:
    """Once in a process, when something is compiled."""
    if keeps:
        logger.info("kernels are compiled, which takes some seconds; they are kept, so that it is done once")
    else:
        logger.warning("kernels are compiled at every run, which takes some seconds: NUMBA_CACHE_DIR can name a folder to keep them in")


def _telling(dispatcher: Any) -> Any:
    """It tells when it compiles, which it does in every process."""
    compiling = dispatcher.compile

    def compiled_now(*arguments: Any) -> Any:
        _tell(False)
        return compiling(*arguments)

    dispatcher.compile = compiled_now
    return dispatcher


def _keeping(dispatcher: Any) -> Any:
    """What it compiled before counts only where all sources are the same, and where it can be read; else it is compiled again."""
    try:
        cache = dispatcher._cache
        cache._cache_file._source_stamp = (cache._cache_file._source_stamp, SOURCES)
        load, save, flush = cache.load_overload, cache.save_overload, cache.flush
    except AttributeError as error:
        logger.debug("this version of numba keeps compiled code in another way: %s", error)
        return dispatcher

    # What was kept is a pickle: damaged, it may raise anything, and nobody shall be stopped by it.
    def loaded(*arguments: Any) -> Any:
        try:
            if (found := load(*arguments)) is None:
                _tell(True)
            return found
        except Exception as error:
            logger.debug("compiled code cannot be read, and is made again: %r", error)
        try:
            flush()
        except OSError as error:
            logger.debug("it cannot be removed: %s", error)
        return None

    def saved(*arguments: Any) -> None:
        try:
            save(*arguments)
        except Exception as error:  # a full disk, too
            logger.debug("compiled code cannot be kept: %r", error)
            _tell(False)

    cache.load_overload, cache.save_overload = loaded, saved
    return dispatcher


def _has_place(function: Any) -> bool:
    """Whether numba may look for a place for what it compiles: where nobody is at home, it would make a folder called "~" in any other."""
    if "NUMBA_CACHE_DIR" in os.environ or os.path.isabs(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))):
        return True
    beside = Path(function.__code__.co_filename).parent
    return os.access(beside / "__pycache__" if (beside / "__pycache__").exists() else beside, os.W_OK)


def interpreted() -> bool:
    """Whether nothing is compiled: numba is missing or switched off."""
    return numba is None or bool(numba.config.DISABLE_JIT)


def _uncounted() -> dict[str, bool]:
    """The option that stands for that, of all versions so far."""
    return {"_nrt": False} if hasattr(numba.core.options.DefaultOptions, "_nrt") else {}


kept = True  # whether what was compiled is there the next time


def compiled(function: Any) -> Any:
    """Decorator: the function compiled at its first use, once for the types of its arguments; as it stands where numba is missing.

    It runs without the interpreter's lock, and does not look whether indices are within bounds or divisors are zero. What was compiled is
    kept for other processes, where there is a place for it; the logger "igpt" gets a line when that takes time, and when it is in vain.
    Loops belong into parts: see there.
    """
    if numba is None:
        return function
    options = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    if _has_place(function):
        with contextlib.suppress(RuntimeError):  # after all it has none
            return _keeping(numba.njit(cache=True, **options)(function))
    global kept
    kept = False
    return _telling(numba.njit(**options)(function))


def part(function: Any) -> Any:
    """Decorator: the same for what only compiled functions call: nothing is made for calls from Python, which would crash, nor kept by
    itself, as both take time. It makes no arrays and returns none: so nobody counts references to them, which takes longer than most parts
    do, and has threads wait for each other."""
    if numba is None:
        return function
    return numba.njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, **_uncounted())(function)


def run(kernel: Any, parts: int, *arguments: Any, fewest: int = 1) -> None:
    """A kernel, on so many parts of its work, spread over as many threads as the present one may use, each with `fewest` parts or more.

    The kernel's own first arguments are the first part that it does, and the one behind the last.
    """
    spread(lambda first, last: kernel(first, last, *arguments), parts, parts // fewest)
