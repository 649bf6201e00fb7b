"""Which engine a network runs by: the compiled kernels on a CPU where they pass the known-answer test, else plain torch where that does.

The choice never changes a byte. torch is imported only where it is chosen.
"""

import functools
import logging
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from bitstream.errors import ModelError
from codec import jit
from codec.extras import has_torch, require_torch
from codec.network.engine import KERNELS, Engine, plain_torch
from codec.network.ensemble import Ensemble, EnsembleEngine, Networks
from codec.network.known_answer import ANSWER, answer_of, random_network
from codec.network.limits import attention_top
from codec.network.model import IntegerImageGPT

if TYPE_CHECKING:
    from codec.network.plain import PlainEngine

FEWEST_TILES = 32  # for which kernels are compiled even where they cannot be kept

log = logging.getLogger("igpt")
_plain: "WeakKeyDictionary[IntegerImageGPT, PlainEngine]" = WeakKeyDictionary()
_fast: WeakKeyDictionary[IntegerImageGPT, Engine] = WeakKeyDictionary()
_chosen: WeakKeyDictionary[IntegerImageGPT, str] = WeakKeyDictionary()  # the name of the engine that was chosen last


def engine_of(network: Networks, tiles: int) -> Engine:
    """The fastest engine on the network's device for a picture of so many tiles that is exact here; it is made once for a network.

    Raises ModelError where none is exact, or where plain torch is needed and not installed.
    """
    if isinstance(network, Ensemble):
        return EnsembleEngine([engine_of(member, tiles) for member in network.members])
    engine = _fastest(network, tiles)
    if _chosen.get(network) != engine.name:
        _chosen[network] = engine.name
        log.debug("the model %s runs by %s", network.name, engine.name)
    return engine


def _fastest(network: IntegerImageGPT, tiles: int) -> Engine:
    if network.device == "cpu" and worth_compiling(tiles):
        if attention_top(network.config.attention_window) >= 1 << 15:
            require_torch(f"the model {network.name}, whose attention weights are too large for the {KERNELS},")
        elif reason := why_not_fast():
            require_torch(f"a network, as the {KERNELS} cannot be used ({reason}),")
        else:
            return fast_engine(network)
    require_torch("a network" if network.device == "cpu" else "a GPU")
    require_exact(network.device)
    return plain_engine(network)


def worth_compiling(tiles: int) -> bool:
    """Whether the kernels save more than their start takes, for a picture of so many tiles; there may be no choice."""
    return jit.kept or tiles >= FEWEST_TILES or why_not_fast.cache_info().currsize > 0 or not has_torch()


def plain_engine(network: IntegerImageGPT) -> "PlainEngine":
    """The network in plain torch on its device, whether or not that is exact here; made once for a network."""
    from codec.network.plain import PlainEngine

    if network not in _plain:
        engine = PlainEngine(network)
        if network.device == "cuda":
            from codec.network import gpu

            if not gpu.why_not():
                engine.cached_attention = gpu.KernelAttention
        _plain[network] = engine
    return _plain[network]


def fast_engine(network: IntegerImageGPT) -> Engine:
    """The network by the compiled kernels, whether or not they are exact here; made once for a network. Raises ImportError where numba is
    missing."""
    from codec.network.fast import FastEngine

    if network not in _fast:
        _fast[network] = FastEngine(network)
    return _fast[network]


@functools.cache
def fast_module() -> ModuleType | str:
    """The module of the compiled kernels' engine, or why there is none: numba is missing, switched off, or lacks one of its libraries."""
    try:
        from codec.network import fast
    except (ImportError, OSError) as error:
        if (getattr(error, "name", None) or "").startswith("codec"):
            raise
        warn(KERNELS, str(error))
        return str(error)
    return fast


@functools.cache
def why_not_fast() -> str:
    """Nothing where the compiled kernels give here what plain torch gives, else the reason; a warning tells it, once.

    No setting of torch reaches the kernels, so this holds for the whole process.
    """
    fast = fast_module()
    if isinstance(fast, str):
        return fast
    return failure(KERNELS, lambda: answer_of(fast.FastEngine(random_network())) == ANSWER)


def failure(kernels: str, test: Callable[[], bool]) -> str:
    """Nothing where kernels pass a test; else, and where numba is not able to compile them, the reason, of which a warning tells."""
    try:
        if test():
            return ""
        reason = "they do not compute exactly on this machine"
    except (jit.numba.core.errors.NumbaError, RuntimeError) as error:  # the latter is LLVM's
        reason = f"numba fails: {' '.join(str(error).split())[:200]}"
    warn(kernels, reason)
    return reason


def warn(kernels: str, reason: str) -> None:
    """That plain torch does what kernels cannot, where it is installed."""
    if has_torch():
        log.warning("plain torch takes the place of the %s, which takes about ten times as long: %s", kernels, reason)


def require_exact(device: str) -> None:
    """Raises ModelError where plain torch does not give on a device, as it is set now, what it gave when the first files were made."""
    from codec.network.settings import as_set, settings

    state = settings(device)
    if not _is_exact(device, state):
        msg = f"{plain_torch(device)} does not compute exactly here{as_set(state)}: nothing can be coded with it"
        raise ModelError(msg)


@functools.cache
def _is_exact(device: str, state: tuple[str, ...]) -> bool:
    return answer_of(plain_engine(random_network(device=device))) == ANSWER
