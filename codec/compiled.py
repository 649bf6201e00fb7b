"""numba's compiler, where it is there and can be used; imported before numba by everything that compiles.

numba launches a pool of threads once, as large as it was told before its import, and tells OpenMP, which torch shares.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from codec.threads import threads

if "numba" not in sys.modules:
    os.environ.setdefault("NUMBA_NUM_THREADS", str(threads()))

numba: Any
try:
    import numba
except ImportError:
    numba = None


@contextlib.contextmanager
def waiting_passively() -> Iterator[None]:
    """While OpenMP reads its settings: threads that wait for others shall sleep. Where anything else runs on the machine, those that spin
    keep the others from their work, and everything takes ten times as long."""
    if "OMP_WAIT_POLICY" in os.environ:
        yield
        return
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    try:
        yield
    finally:
        del os.environ["OMP_WAIT_POLICY"]


def _sources() -> str:
    """A digest of everything that compiled code is made of: numba itself looks at a function's own file only."""
    folder = Path(__file__).parent
    kernels = (path for part in ("mixing", "network", "pasts") for path in sorted((folder / part).glob("*.py")))
    files = [Path(__file__), folder / "context.py", *kernels]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


SOURCES = _sources() if numba else ""


def _keeping(dispatcher: Any) -> Any:
    """What it compiled before counts only where all sources are the same, and where it can be read; else it is compiled again."""
    with contextlib.suppress(AttributeError):  # another numba
        cache = dispatcher._cache
        cache._cache_file._source_stamp = (cache._cache_file._source_stamp, SOURCES)
        load, save = cache.load_overload, cache.save_overload

        def loaded(*arguments: Any) -> Any:
            try:
                return load(*arguments)
            except Exception:  # damaged
                return None

        def saved(*arguments: Any) -> None:
            with contextlib.suppress(Exception):  # a full disk
                save(*arguments)

        cache.load_overload, cache.save_overload = loaded, saved
    return dispatcher


def _has_place(function: Any) -> bool:
    """Whether numba may look for a place for what it compiles: where nobody is at home, it would make a folder called "~" in any other."""
    if "NUMBA_CACHE_DIR" in os.environ or os.path.isabs(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))):
        return True
    beside = Path(function.__code__.co_filename).parent
    return os.access(beside / "__pycache__" if (beside / "__pycache__").exists() else beside, os.W_OK)


kept = True  # whether what was compiled is there the next time


def compiled(**options: bool) -> Callable[[Any], Any]:
    """Decorator: the function compiled at its first use, without the interpreter's lock; as it stands where numba is missing.

    What was compiled is kept, where there is a place for it.
    """

    def decorated(function: Any) -> Any:
        if numba is None:
            return function
        if _has_place(function):
            with contextlib.suppress(RuntimeError):  # after all it has none
                return _keeping(numba.njit(nogil=True, cache=True, **options)(function))
        global kept
        kept = False
        return numba.njit(nogil=True, **options)(function)

    return decorated
