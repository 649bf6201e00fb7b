"""The integer ImageGPT: its sizes and weights, which are checked, and the digest that names them.

It knows nothing of what runs it: `codec.network.engines` chooses that.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from bitstream.constants import MODEL_DIGEST_BYTES
from bitstream.errors import ModelError
from codec.network.config import DIGEST_FIELDS, ModelConfig, name_of, require_model
from codec.network.limits import ACCUMULATOR_LIMIT, GAIN_LIMIT, MULTIPLIER_LIMIT, RESIDUAL_LIMIT, SHIFT_LIMITS, TABLE_SIZE
from codec.tiling.context import FEATURES, HEAD_FEATURES, HEADS

WEIGHTS_FILE = "integer.safetensors"

Arrays = dict[str, npt.NDArray[Any]]


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
    expected = expected_arrays(config)
    require_model(expected.keys() == arrays.keys(), "its tensors are not those of its configuration")
    for name, (dtype, shape) in expected.items():
        array = arrays[name]
        require_model(array.dtype == dtype and array.shape == shape, f"{name} has the wrong type or shape")
        low, high = int(array.min()), int(array.max())
        match name.rsplit(".", 1)[-1]:
            case "weight":
                require_model(low >= -64 and high <= 63, f"{name} has more than 7 bits")
                largest = np.abs(array.astype(np.int64)).sum(1) * 127 + np.abs(arrays[name.replace("weight", "bias")].astype(np.int64))
                require_model(int(largest.max()) <= ACCUMULATOR_LIMIT, f"{name} can overflow its accumulator")
            case "multiplier":
                require_model(0 <= low and high <= MULTIPLIER_LIMIT, f"{name} is out of range")
            case "shift":
                require_model(SHIFT_LIMITS[0] <= low and high <= SHIFT_LIMITS[1], f"{name} is out of range")
            case "gain":
                require_model(max(-low, high) <= GAIN_LIMIT, f"{name} is out of range")
            case "wpe":
                require_model(max(-low, high) <= RESIDUAL_LIMIT, f"{name} is out of range")
            case "table":
                require_model(low >= -127, f"{name} is out of range")


def model_digest(config: ModelConfig, arrays: Arrays) -> bytes:
    """SHA-256, cut to 16 bytes, of the sizes in the configuration and every array by name, in sorted order."""
    digest = hashlib.sha256(b"igpt network\n")
    for name in DIGEST_FIELDS:
        digest.update(f"{name} {str(getattr(config, name)).lower()}\n".encode())
    for name in sorted(arrays):
        array = arrays[name]
        little = array.astype(array.dtype.newbyteorder("<"))
        digest.update(f"{name} {array.dtype.name} {list(array.shape)}\n".encode() + little.tobytes())
    return digest.digest()[:MODEL_DIGEST_BYTES]


class IntegerImageGPT:
    """An integer model: `config`, and `arrays` by name as `expected_arrays` says.

    `device`, cpu or cuda, is where it is to run; `digest` names its content, and `name` is for people.

    Raises ModelError where `validate` does.
    """

    def __init__(self, config: ModelConfig, arrays: Arrays, name: str, device: str) -> None:
        validate(config, arrays)
        self.config, self.arrays, self.name, self.device = config, arrays, name, device
        self.digest = model_digest(config, arrays)

    @property
    def nbytes(self) -> int:
        """Bytes of its weights in memory."""
        return sum(array.nbytes for array in self.arrays.values())

    @classmethod
    def load(cls, folder: Path, device: str) -> "IntegerImageGPT":
        """The model whose `config.json` and weights are in a folder; it is called as the folder is. Raises ModelError where these are not
        usable."""
        config = ModelConfig.load(folder)
        try:
            arrays = load_file(folder / WEIGHTS_FILE)
        except (OSError, SafetensorError, TypeError, KeyError, AttributeError) as error:  # the last three: of types that NumPy lacks
            msg = f"{folder}: no usable {WEIGHTS_FILE} ({error})"
            raise ModelError(msg) from error
        return cls(config, arrays, name_of(folder), device)

    def save(self, folder: Path) -> None:
        """Writes `config.json` and the weights into a folder, which is made if need be. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save(folder)
        (folder / WEIGHTS_FILE).write_bytes(save({name: np.array(array, order="C") for name, array in self.arrays.items()}))
