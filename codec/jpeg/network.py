"""The network that predicts coefficients: its weights, which are checked, and the digest that names them. `kernel` runs it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from bitstream.constants import MODEL_DIGEST_BYTES
from bitstream.errors import ModelError
from codec.jpeg.prediction import ACTIVE, FEATURES, OUTPUTS, PLACES, WIDTH, Network, layer_of

LAYOUT = "dct"
CONFIG_FILE, WEIGHTS_FILE = "config.json", "integer.safetensors"
LAYERS = ("first", "second", "third")
SUM_LIMIT = 1 << 24
OFFSET_LIMIT = (1 << 30) - 1

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class CoefficientConfig:
    """hidden: the outputs of the first two layers, at most WIDTH."""

    hidden: tuple[int, int] = (WIDTH, 48)
    layout: str = LAYOUT

    def __post_init__(self) -> None:
        widths = self.hidden
        _require(self.layout == LAYOUT, f"layout {self.layout!r} is not {LAYOUT}")
        _require(isinstance(widths, tuple) and len(widths) == 2, f"hidden is {widths!r}, not two numbers")
        _require(all(type(n) is int and 1 <= n <= WIDTH for n in widths), f"hidden is {widths!r}, not whole numbers from 1 to {WIDTH}")

    @classmethod
    def load(cls, folder: Path) -> "CoefficientConfig":
        """Raises ModelError where `config.json` is missing or unusable."""
        try:
            values = json.loads((folder / CONFIG_FILE).read_text())
            return cls(tuple(values["hidden"]), values["layout"])
        except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
            msg = f"{folder}: no usable {CONFIG_FILE} ({error!r})"
            raise ModelError(msg) from error

    def save(self, folder: Path) -> None:
        (folder / CONFIG_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n")


def _require(holds: bool, what: str) -> None:
    if not holds:
        msg = f"unusable model: {what}"
        raise ModelError(msg)


def expected_arrays(config: CoefficientConfig) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
    """Name -> type and shape of every array."""
    expected: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {"gains": (np.int16, (PLACES, FEATURES))}
    widths = (FEATURES, *config.hidden, OUTPUTS)
    for name, inputs, outputs in zip(LAYERS, widths, widths[1:], strict=False):
        expected[f"{name}.weight"] = (np.int16, (outputs, inputs))
        expected[f"{name}.multiplier"] = (np.int16, (PLACES, outputs))
        expected[f"{name}.offset"] = (np.int32, (PLACES, outputs))
    return expected


def validate(config: CoefficientConfig, arrays: Arrays) -> None:
    """Raises ModelError unless the arrays are complete and no sum in the network can exceed its bound."""
    expected = expected_arrays(config)
    _require(expected.keys() == arrays.keys(), "its tensors are not those of its configuration")
    for name, (dtype, shape) in expected.items():
        array = arrays[name]
        _require(array.dtype == dtype and array.shape == shape, f"{name} has the wrong type or shape")
        magnitudes = np.abs(array.astype(np.int64))
        if name.endswith(".weight"):
            _require(int(magnitudes.sum(1).max()) * ACTIVE < SUM_LIMIT, f"{name} can overflow its sums")
        if name.endswith(".offset"):
            _require(int(magnitudes.max()) <= OFFSET_LIMIT, f"{name} is out of range")


def model_digest(config: CoefficientConfig, arrays: Arrays) -> bytes:
    """SHA-256, cut to 16 bytes, of the sizes and every array by name, in sorted order."""
    digest = hashlib.sha256(f"igpt network\nhidden {list(config.hidden)}\nlayout {config.layout}\n".encode())
    for name in sorted(arrays):
        array = arrays[name]
        little = array.astype(array.dtype.newbyteorder("<"))
        digest.update(f"{name} {array.dtype.name} {list(array.shape)}\n".encode() + little.tobytes())
    return digest.digest()[:MODEL_DIGEST_BYTES]


class CoefficientNetwork:
    """A network for coefficients: `config`, and `arrays` by name as `expected_arrays` says.

    `digest` names its content, `name` is for people; `runnable` is what the kernel takes. Raises ModelError where `validate` does.
    """

    def __init__(self, config: CoefficientConfig, arrays: Arrays, name: str) -> None:
        validate(config, arrays)
        self.config, self.arrays, self.name = config, arrays, name
        self.digest = model_digest(config, arrays)
        layers = (layer_of(*(arrays[f"{layer}.{name}"] for name in ("weight", "multiplier", "offset"))) for layer in LAYERS)
        self.runnable = Network(np.ascontiguousarray(arrays["gains"]), *layers)

    @property
    def nbytes(self) -> int:
        """Bytes of its weights in memory."""
        return sum(array.nbytes for array in self.arrays.values())

    @classmethod
    def load(cls, folder: Path, name: str) -> "CoefficientNetwork":
        """The one whose `config.json` and weights are in a folder. Raises ModelError where these are not usable."""
        config = CoefficientConfig.load(folder)
        try:
            arrays = load_file(folder / WEIGHTS_FILE)
        except (OSError, SafetensorError, TypeError, KeyError, AttributeError) as error:  # the last three: of types that NumPy lacks
            msg = f"{folder}: no usable {WEIGHTS_FILE} ({error})"
            raise ModelError(msg) from error
        return cls(config, arrays, name)

    def save(self, folder: Path) -> None:
        """Writes `config.json` and the weights into a folder, which is made if need be. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save(folder)
        (folder / WEIGHTS_FILE).write_bytes(save({name: np.array(array, order="C") for name, array in self.arrays.items()}))
