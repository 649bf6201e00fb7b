"""Which operations a palette network runs by: compiled kernels on a CPU where they pass the known-answer test, else plain torch where that
does. The choice never changes a byte."""

import logging
from functools import cache

from bitstream.errors import ModelError
from codec.network.engine import KERNELS, plain_torch
from codec.network.engines import failure, fast_module
from codec.network.settings import as_set, settings
from codec.palette.known_answer import ANSWER, answer_of
from codec.palette.network import PaletteImageGPT
from codec.palette.operations import PaletteOperations

log = logging.getLogger("igpt")


def prepare(network: PaletteImageGPT) -> None:
    """Gives the network the fastest operations that are exact on its device, as torch is set now. Raises ModelError where none are."""
    network.operations = exact_operations(network.device)
    log.debug("the model %s runs by %s", network.name, network.engine_name)


def exact_operations(device: str) -> PaletteOperations:
    """The fastest operations that are exact on a device, cpu or cuda, as torch is set now. Raises ModelError where none are."""
    state = settings(device)
    if device == "cpu" and (fast := _fast(state)):
        return fast
    if not _plain_is_exact(device, state):
        msg = f"{plain_torch(device)} does not compute exactly here{as_set(state)}: nothing can be coded with it"
        raise ModelError(msg)
    return PaletteOperations(plain_torch(device))


@cache
def _fast(state: tuple[str, ...]) -> PaletteOperations | None:
    if isinstance(fast_module(), str):
        return None
    from codec.palette.fast import FastOperations

    operations = FastOperations(KERNELS)
    return None if failure(f"palette's {KERNELS}", lambda: answer_of(operations, "cpu") == ANSWER) else operations


@cache
def _plain_is_exact(device: str, state: tuple[str, ...]) -> bool:
    return answer_of(PaletteOperations(plain_torch(device)), device) == ANSWER
