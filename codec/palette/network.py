"""The integer network of the palette layout: a published ImageGPT, token in, softmax over tokens out.

Nobody trained these networks for few bits, so they get more: activations of 15 bits, as two limbs of 8, with an exponent per position;
queries, keys and values of 8 bits with an exponent per head; attention weights of 17 bits. Weights keep 7 bits. As everywhere, one
definition of the layers is driven by parallel attention over whole tiles or by cached attention, a position of many tiles at a time.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from bitstream.constants import MODEL_DIGEST_BYTES
from bitstream.errors import ModelError
from codec.network.arithmetic import Product, exact_product
from codec.network.config import json_object, name_of, require_model
from codec.network.engine import plain_torch
from codec.palette.colours import LARGEST, Palette
from codec.palette.operations import MANTISSA_LIMIT, SHIFT_LIMITS, PaletteOperations
from codec.threads import lasting, tell_torch
from codec.tiling.context import POSITIONS

RESIDUAL_BITS = 14  # fraction bits of the residual stream
RESIDUAL_LIMIT = (1 << 30) - 1
INNER_LIMIT = (1 << 26) - 1
HEAD_LIMIT = (1 << 19) - 1  # of queries, keys and values
GAIN_LIMIT = 1 << 14
MULTIPLIER_LIMIT = 1 << 24
BIAS_LIMIT = 1 << 30
WEIGHT_SUM_LIMIT = ((1 << 31) - 1) // (MANTISSA_LIMIT + 64)  # of one output
SCORE_MULTIPLIER_LIMIT = 1 << 15
SCORE_SHIFT_LIMITS = (24, 62)
LOGIT_LIMIT = (1 << 20) - 1
EPSILON_LIMIT = 1 << 26
MAX_TOKENS = 4096

Tensors = dict[str, Tensor]
DIGEST_FIELDS = ("n_embd", "n_head", "n_inner", "n_layer", "n_positions", "vocab_size")
WEIGHTS_FILE = "integer.safetensors"


@dataclass(frozen=True)
class PaletteConfig:
    """The sizes of a published network, under the names of `transformers.ImageGPTConfig`. vocab_size counts the start token, too."""

    n_embd: int
    n_head: int
    n_inner: int
    n_layer: int
    vocab_size: int
    n_positions: int = POSITIONS
    layout: str = "palette"
    model_type: str = "imagegpt"

    def __post_init__(self) -> None:
        for name in DIGEST_FIELDS:
            value = getattr(self, name)
            require_model(type(value) is int and 1 <= value <= 8192, f"{name} is {value!r}, not a whole number from 1 to 8192")
        require_model(self.n_positions == POSITIONS, f"n_positions is {self.n_positions}, tiles have {POSITIONS}")
        require_model(self.n_embd % self.n_head == 0, "n_embd is not a multiple of n_head")
        require_model(self.n_embd // self.n_head <= 128, "a head is wider than 128")
        require_model(2 <= self.tokens <= MAX_TOKENS, f"{self.tokens} tokens are out of range")
        for name in ("n_embd", "n_inner", "tokens"):
            require_model(getattr(self, name) % 8 == 0, f"{name} is not a multiple of 8")

    @property
    def tokens(self) -> int:
        return self.vocab_size - 1

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head

    @property
    def cache_bytes(self) -> int:
        """What a tile takes in the decoder: keys and values of all positions, with their exponents."""
        return self.n_layer * 2 * self.n_positions * (self.n_embd + self.n_head)

    @classmethod
    def load(cls, folder: Path) -> "PaletteConfig":
        """Raises ModelError where `config.json` is missing or unusable."""
        values = json_object(folder / "config.json")
        try:
            return cls(**{name: values[name] for name in DIGEST_FIELDS})
        except KeyError as error:
            msg = f"{folder}: config.json lacks {error}"
            raise ModelError(msg) from error

    def save(self, folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps(asdict(self), indent=2) + "\n")


def expected_tensors(config: PaletteConfig) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Name -> type and shape of every tensor of an integer model of the palette layout."""
    expected: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}

    def projection(name: str, inputs: int, outputs: int) -> None:
        expected[f"{name}.weight"] = (torch.int8, (outputs, inputs))
        expected[f"{name}.bias"] = expected[f"{name}.multiplier"] = (torch.int32, (outputs,))
        expected[f"{name}.shift"] = (torch.int32, ())

    width, tokens = config.n_embd, config.tokens
    expected["centres"] = (torch.int32, (tokens, 3))
    expected["green"], expected["red"] = (torch.uint8, (tokens, 2)), (torch.uint8, (tokens, 256, 2))
    expected["wte"], expected["wpe"] = (torch.int32, (tokens + 1, width)), (torch.int32, (config.n_positions, width))
    expected["epsilon"] = (torch.int64, ())
    for k in range(config.n_layer):
        expected[f"h.{k}.ln_1.gain"] = expected[f"h.{k}.ln_2.gain"] = (torch.int32, (width,))
        projection(f"h.{k}.attn.c_attn", width, 3 * width)
        expected[f"h.{k}.attn.multiplier"] = expected[f"h.{k}.attn.shift"] = (torch.int32, ())
        projection(f"h.{k}.attn.c_proj", width, width)
        projection(f"h.{k}.mlp.c_fc", width, config.n_inner)
        projection(f"h.{k}.mlp.c_proj", config.n_inner, width)
    expected["ln_f.gain"] = (torch.int32, (width,))
    projection("lm_head", width, tokens)
    return expected


def validate(config: PaletteConfig, tensors: Tensors) -> None:
    """Raises ModelError unless the tensors are complete and every value is within the bounds that exact arithmetic needs."""
    expected = expected_tensors(config)
    require_model(expected.keys() == tensors.keys(), "its tensors are not those of its configuration")
    for name, (dtype, shape) in expected.items():
        tensor = tensors[name]
        require_model(tensor.dtype == dtype and tuple(tensor.shape) == shape, f"{name} has the wrong type or shape")
        low, high = int(tensor.min()), int(tensor.max())
        scores = name.endswith((".attn.multiplier", ".attn.shift"))
        match name.rsplit(".", 1)[-1]:
            case "weight":
                require_model(low >= -64 and high <= 63, f"{name} has more than 7 bits")
                largest = max(int(part.long().abs().sum(1).max()) for part in torch.split(tensor, 256))
                require_model(largest <= WEIGHT_SUM_LIMIT, f"{name} can overflow its accumulator")
            case "multiplier":
                require_model(low >= 0 and high <= (SCORE_MULTIPLIER_LIMIT if scores else MULTIPLIER_LIMIT), f"{name} is out of range")
            case "shift":
                limits = SCORE_SHIFT_LIMITS if scores else SHIFT_LIMITS
                require_model(limits[0] <= low and high <= limits[1], f"{name} is out of range")
            case "gain":
                require_model(max(-low, high) <= GAIN_LIMIT, f"{name} is out of range")
            case "bias" | "wte" | "wpe":
                require_model(max(-low, high) <= BIAS_LIMIT, f"{name} is out of range")
            case "centres":
                require_model(low >= 0 and high <= LARGEST, f"{name} is out of range")
            case "epsilon":
                require_model(0 <= low <= EPSILON_LIMIT, f"{name} is out of range")


def model_digest(config: PaletteConfig, tensors: Tensors) -> bytes:
    """SHA-256, cut to 16 bytes, of the layout, the sizes in the configuration and every tensor by name, in sorted order."""
    digest = hashlib.sha256(b"igpt palette\n")
    for name in DIGEST_FIELDS:
        digest.update(f"{name} {getattr(config, name)}\n".encode())
    for name in sorted(tensors):
        array = tensors[name].cpu().numpy()
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {array.dtype.name} {list(array.shape)}\n".encode())
        digest.update(little.data if little.size else b"")
    return digest.digest()[:MODEL_DIGEST_BYTES]


class PaletteImageGPT:
    """An integer model of the palette layout, `config` and `tensors` by name as `expected_tensors` says, on a device, cpu or cuda.

    `digest` names its content, `name` is for people; `palette` are its colours. Before it codes, `engines.prepare` gives it its operations.
    Raises ModelError where `validate` does, or where no product of matrices is exact here.
    """

    def __init__(self, config: PaletteConfig, tensors: Tensors, name: str, device: str, product: Product | None = None) -> None:
        validate(config, tensors)
        self.config, self.name, self.device = config, name, device
        self.digest = model_digest(config, tensors)
        tell_torch()
        self.product = product or exact_product(torch.device(device))
        self.operations = PaletteOperations(plain_torch(device))
        self.tensors = {key: tensor.to(device) for key, tensor in tensors.items()}
        self.scalars = {key: int(tensor) for key, tensor in tensors.items() if tensor.ndim == 0}

    @property
    def engine_name(self) -> str:
        """For people: of the operations that it runs by."""
        return self.operations.name

    @lasting
    def palette(self) -> Palette:
        return Palette(*(self.tensors[name].cpu().numpy() for name in ("centres", "green", "red")))

    @property
    def nbytes(self) -> int:
        """Of its weights."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @classmethod
    def load(cls, folder: Path, device: str) -> "PaletteImageGPT":
        """Raises ModelError where the folder holds no usable integer model."""
        config = PaletteConfig.load(folder)
        try:
            tensors = load_file(folder / WEIGHTS_FILE)
        except (OSError, SafetensorError) as error:
            msg = f"{folder}: no usable {WEIGHTS_FILE} ({error})"
            raise ModelError(msg) from error
        return cls(config, tensors, name_of(folder), device)

    def save(self, folder: Path) -> None:
        """Writes `config.json` and the weights."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save(folder)
        (folder / WEIGHTS_FILE).write_bytes(save({name: tensor.cpu().contiguous() for name, tensor in self.tensors.items()}))

    def layer_outputs(self, tokens: Tensor, positions: Tensor, attention: Callable[[int, Tensor, int, int], Tensor]) -> Iterator[Tensor]:
        """The residual stream after the embedding and after every layer, (rows, n_embd) int64, then the logits.

        tokens: (rows) int64, the token before each position, and `config.tokens` for the first one; positions: (rows) or () int64.
        """
        x = self.tensors["wte"][tokens].long() + self.tensors["wpe"][positions]
        x = x.clamp_(-RESIDUAL_LIMIT, RESIDUAL_LIMIT)
        yield x
        for k in range(self.config.n_layer):
            scale = self.scalars[f"h.{k}.attn.multiplier"], self.scalars[f"h.{k}.attn.shift"]
            qkv = self.projected(f"h.{k}.attn.c_attn", self.norm(f"h.{k}.ln_1", x), HEAD_LIMIT)
            x = self.added(x, f"h.{k}.attn.c_proj", attention(k, qkv, *scale))
            inner = self.projected(f"h.{k}.mlp.c_fc", self.norm(f"h.{k}.ln_2", x), INNER_LIMIT)
            x = self.added(x, f"h.{k}.mlp.c_proj", self.operations.activated(inner))
            yield x
        yield self.projected("lm_head", self.norm("ln_f", x), LOGIT_LIMIT)

    def logits(self, tokens: Tensor, positions: Tensor, attention: Callable[[int, Tensor, int, int], Tensor]) -> Tensor:
        """(rows) int64 -> (rows, config.tokens) int32 in 1/128 octaves."""
        *_, last = self.layer_outputs(tokens, positions, attention)
        return last.to(torch.int32)

    def projected(self, name: str, x: Tensor, limit: int) -> Tensor:
        """(rows, inputs) int64 (overwritten) -> (rows, outputs) int64 within +-limit."""
        high, low, exponent = self.operations.limbs(x)
        weight = self.tensors[f"{name}.weight"].t()
        sums = self.product(high, weight), self.product(low, weight)
        multiplier, bias = self.tensors[f"{name}.multiplier"], self.tensors[f"{name}.bias"]
        return self.operations.scaled(*sums, exponent, multiplier, self.scalars[f"{name}.shift"], bias, limit)

    def added(self, x: Tensor, name: str, y: Tensor) -> Tensor:
        """x plus a projection of y."""
        return self.projected(name, y, RESIDUAL_LIMIT).add_(x).clamp_(-RESIDUAL_LIMIT, RESIDUAL_LIMIT)

    def norm(self, name: str, x: Tensor) -> Tensor:
        return self.operations.normalized(x, self.tensors[f"{name}.gain"], self.scalars["epsilon"])
