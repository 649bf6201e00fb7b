"""The integer ImageGPT: its weights, and the engines that run it.

An engine is a network in a form that runs: plain torch on any device, which defines what is right, or compiled kernels on the CPU, which
give the same integers faster and need no torch. Each proves that it is exact in this process before it is used. The encoder has an engine
look at whole tiles, the decoder take one position of many tiles at a time.
"""

import functools
import hashlib
import logging
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from bitstream.constants import MODEL_DIGEST_BYTES
from bitstream.errors import ModelError
from codec.network.config import ModelConfig, name_of
from codec.network.limits import ACCUMULATOR_LIMIT, GAIN_LIMIT, MULTIPLIER_LIMIT, RESIDUAL_LIMIT, SHIFT_LIMITS, TABLE_SIZE
from codec.threads import lasting
from codec.tiling.context import FEATURES, HEAD_FEATURES, HEADS
from codec.tiling.planes import Kind
from codec.tiling.tiles import Samples, Windows

if TYPE_CHECKING:
    from codec.network.plain import PlainEngine

WEIGHTS_FILE = "integer.safetensors"
DIGEST_FIELDS = ("attention_window", "head_inner", "layout", "n_embd", "n_head", "n_inner", "n_layer", "n_positions")

log = logging.getLogger("igpt")

Arrays = dict[str, npt.NDArray[Any]]
Rows = npt.NDArray[np.int8]
Tokens = npt.NDArray[np.int32]
Tables = npt.NDArray[np.int32]  # of frequencies or logits, (..., 256)
Impossible = npt.NDArray[np.bool_]  # (..., 256): tokens that get no more than the least frequency


class Seen(NamedTuple):
    """What an engine makes of whole tiles: hidden (tiles, positions, n_embd) int8, and of each channel the head features (tiles, positions,
    HEAD_FEATURES) int8 and the tokens (tiles, positions) int32."""

    hidden: Rows
    features: list[Rows]
    tokens: list[Tokens]


class Steps(Protocol):
    """Tiles of a kind, all of them at the same position: `go_to` it once, then for each channel `begin` and `accept`.

    Every array that it gives is valid until the next call.
    """

    def go_to(self, position: int) -> None:
        """Positions from 0 on, one after the other."""

    def begin(self, channel: int) -> None: ...

    @property
    def predictions(self) -> npt.NDArray[np.int32]:
        """(tiles), of the channel begun."""

    @property
    def logits(self) -> Tables:
        """(tiles, 256)."""

    def frequencies(self, impossible: Impossible | None) -> Tables:
        """(tiles, 256)."""

    def accept(self, tokens: Tokens, exist: npt.NDArray[np.bool_]) -> None:
        """Takes the channel's tokens (tiles); where the position does not exist (tiles), the sample to its left."""

    def samples(self) -> Samples:
        """(tiles, channels, POSITIONS)."""


class Engine(Protocol):
    """An integer network in a form that runs."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def device(self) -> str: ...

    @property
    def at_once(self) -> int:
        """How many threads may call it."""

    def see(self, kind: Kind, samples: Samples, windows: Windows | None, count: int) -> Seen:
        """The parallel pass over (tiles, channels, POSITIONS) samples, of their first `count` positions, whole rows of tiles. windows: for
        a surrounded kind."""

    def frequencies(self, kind: Kind, hidden: Rows, features: list[Rows], impossible: list[Impossible] | None) -> Tables:
        """(n, tiles, n_embd) hidden states and each channel's (n, tiles, HEAD_FEATURES), and (n, tiles, 256) -> (n, channels, tiles,
        256)."""

    def steps(self, kind: Kind, tiles: int, windows: Windows | None) -> Steps: ...


def expected_arrays(config: ModelConfig) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
    """Name -> type and shape of every array of an integer model."""
    expected: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {}

    def projection(name: str, inputs: int, outputs: int) -> None:
        expected[f"{name}.weight"] = (np.int8, (outputs, inputs))
        expected[f"{name}.bias"] = expected[f"{name}.multiplier"] = expected[f"{name}.shift"] = (np.int32, (outputs,))

    def norm(name: str) -> None:
        expected[f"{name}.gain"] = (np.int32, (config.n_embd,))
        expected[f"{name}.shift"] = (np.int32, ())

    def feed_forward(name: str, inputs: int, inner: int, outputs: int) -> None:
        projection(f"{name}.c_fc", inputs, inner)
        expected[f"{name}.table"] = (np.int8, (TABLE_SIZE,))
        projection(f"{name}.c_proj", inner, outputs)

    width = config.n_embd
    projection("wce", FEATURES, width)
    expected["wpe"] = (np.int32, (config.n_positions, width))
    for k in range(config.n_layer):
        norm(f"h.{k}.ln_1")
        projection(f"h.{k}.attn.c_attn", width, 3 * width)
        expected[f"h.{k}.attn.multiplier"] = expected[f"h.{k}.attn.shift"] = (np.int32, ())
        projection(f"h.{k}.attn.c_proj", width, width)
        norm(f"h.{k}.ln_2")
        feed_forward(f"h.{k}.mlp", width, config.n_inner, width)
    norm("ln_f")
    for c in range(HEADS):
        feed_forward(f"heads.{c}", width + HEAD_FEATURES, config.head_inner, 256)
    return expected


def validate(config: ModelConfig, arrays: Arrays) -> None:
    """Raises ModelError unless the arrays are complete and every value is within the bounds that exact arithmetic needs."""

    def require(holds: bool, what: str) -> None:
        if not holds:
            msg = f"unusable integer model: {what}"
            raise ModelError(msg)

    expected = expected_arrays(config)
    require(expected.keys() == arrays.keys(), "its tensors are not those of its configuration")
    for name, (dtype, shape) in expected.items():
        array = arrays[name]
        require(array.dtype == dtype and array.shape == shape, f"{name} has the wrong type or shape")
        low, high = int(array.min()), int(array.max())
        match name.rsplit(".", 1)[-1]:
            case "weight":
                require(low >= -64 and high <= 63, f"{name} has more than 7 bits")
                largest = np.abs(array.astype(np.int64)).sum(1) * 127 + np.abs(arrays[name.replace("weight", "bias")].astype(np.int64))
                require(int(largest.max()) <= ACCUMULATOR_LIMIT, f"{name} can overflow its accumulator")
            case "multiplier":
                require(0 <= low and high <= MULTIPLIER_LIMIT, f"{name} is out of range")
            case "shift":
                require(SHIFT_LIMITS[0] <= low and high <= SHIFT_LIMITS[1], f"{name} is out of range")
            case "gain":
                require(max(-low, high) <= GAIN_LIMIT, f"{name} is out of range")
            case "wpe":
                require(max(-low, high) <= RESIDUAL_LIMIT, f"{name} is out of range")
            case "table":
                require(low >= -127, f"{name} is out of range")


def model_digest(config: ModelConfig, arrays: Arrays) -> bytes:
    """SHA-256, cut to 16 bytes, of the sizes in the configuration and every array by name, in sorted order."""
    digest = hashlib.sha256(b"igpt network\n")
    for name in DIGEST_FIELDS:
        digest.update(f"{name} {getattr(config, name)}\n".encode())
    for name in sorted(arrays):
        array = arrays[name]
        little = array.astype(array.dtype.newbyteorder("<"))
        digest.update(f"{name} {array.dtype.name} {list(array.shape)}\n".encode() + little.tobytes())
    return digest.digest()[:MODEL_DIGEST_BYTES]


class IntegerImageGPT:
    """An integer model, to run on a device, cpu or cuda. `digest` names its content; `name` is for people, and so is `engine_name`, of the
    engine that was taken last."""

    engine_name = ""

    def __init__(self, config: ModelConfig, arrays: Arrays, name: str, device: str) -> None:
        validate(config, arrays)
        self.config, self.arrays, self.name, self.device = config, arrays, name, device
        self.digest = model_digest(config, arrays)

    def engine(self, tiles: int) -> Engine:
        """The fastest for a picture of so many tiles that proves exact here: compiled on the CPU, where that is possible and worth it.

        Raises ModelError where none does.
        """
        engine = self._fastest(tiles)
        if engine.name != self.engine_name:
            self.engine_name = engine.name
            log.debug("the model %s runs by %s", self.name, engine.name)
        return engine

    def _fastest(self, tiles: int) -> Engine:
        compiled = compiled_engines() if self.device == "cpu" else None
        if compiled and compiled.worth_it(tiles) and self._by_kernels:
            return self._by_kernels
        from codec.network.plain import require_exact

        require_exact(self.device)
        return self.plain

    @lasting
    def plain(self) -> "PlainEngine":
        from codec.network.plain import PlainEngine

        return PlainEngine(self)

    @lasting
    def _by_kernels(self) -> Engine | None:
        from codec.network.fast import compiled

        return compiled(self)

    @property
    def nbytes(self) -> int:
        """Of its weights."""
        return sum(array.nbytes for array in self.arrays.values())

    @classmethod
    def load(cls, folder: Path, device: str) -> "IntegerImageGPT":
        """Raises ModelError where the folder holds no usable integer model."""
        config = ModelConfig.load(folder)
        try:
            arrays = load_file(folder / WEIGHTS_FILE)
        except (OSError, SafetensorError, TypeError, KeyError, AttributeError) as error:  # the last three: of types that NumPy lacks
            msg = f"{folder}: no usable {WEIGHTS_FILE} ({error})"
            raise ModelError(msg) from error
        return cls(config, arrays, name_of(folder), device)

    def save(self, folder: Path) -> None:
        """Writes `config.json` and the weights."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save(folder)
        (folder / WEIGHTS_FILE).write_bytes(save({name: np.array(array, order="C") for name, array in self.arrays.items()}))


def plain_torch(device: str) -> str:
    """The name of an engine."""
    return "plain torch on CUDA" if device == "cuda" else "plain torch on the CPU"


@functools.cache
def compiled_engines() -> ModuleType | None:
    """The module of compiled engines; None, and a warning, where numba is missing, switched off, or lacks one of its libraries."""
    try:
        from codec.network import fast as compiled
    except (ImportError, OSError) as error:
        if (getattr(error, "name", None) or "").startswith("codec"):
            raise
        log.warning("plain torch takes the place of the compiled kernels, which makes everything several times slower: %s", error)
        return None
    return compiled
