"""numba's compiler, where it is there and can be used; imported before numba by everything that compiles.

numba launches a pool of threads once, as large as it was told before its import, and tells OpenMP, which torch shares.
"""

import os
import sys
from collections.abc import Callable
from typing import Any


def threads() -> int:
    """As many as torch uses, or would use if it were there."""
    if of_torch := getattr(sys.modules.get("torch"), "get_num_threads", None):
        return int(of_torch())
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(wanted) if wanted.isdecimal() and int(wanted) else os.cpu_count() or 1


if "numba" not in sys.modules:
    os.environ.setdefault("NUMBA_NUM_THREADS", str(threads()))

numba: Any
try:
    import numba
except ImportError:
    numba = None


kept = True  # whether what was compiled is there the next time


def compiled(**options: bool) -> Callable[[Any], Any]:
    """Decorator: the function compiled at its first use, without the interpreter's lock; as it stands where numba is missing.

    What was compiled is kept, where there is a place for it.
    """

    def decorated(function: Any) -> Any:
        if numba is None:
            return function
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # no place
            global kept
            kept = False
            return numba.njit(nogil=True, **options)(function)

    return decorated
