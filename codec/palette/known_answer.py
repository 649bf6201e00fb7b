"""The known-answer test of a palette network's operations, of the same kind as that of `codec.network.known_answer`."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from codec.network.frequencies import frequencies
from codec.network.known_answer import random_numbers
from codec.palette.network import GAIN_LIMIT, HEAD_LIMIT, MULTIPLIER_LIMIT, PaletteConfig, PaletteImageGPT, Tensors, expected_tensors
from codec.palette.operations import QUERIES_AT_ONCE, PaletteOperations

TESTED = PaletteConfig(n_embd=48, n_head=2, n_inner=80, n_layer=2, vocab_size=41)
ANSWER = "9dd3801c767b82a666361e3697b73e0b7232274003e7175db0ecede7c8099794"  # `answer_of` plain torch on a CPU
SHIFTS = {"attn.c_attn": 43, "attn.c_proj": 29, "mlp.c_fc": 45, "mlp.c_proj": 29, "lm_head": 55}  # which keep values within their range


def random_network(device: str) -> PaletteImageGPT:
    """With values at the extremes, the same for ever."""
    tensors: Tensors = {}
    for name, (dtype, shape) in expected_tensors(TESTED).items():
        match name.rsplit(".", 1)[-1]:
            case "weight":
                low, high = -64, 63
            case "gain":
                low, high = -GAIN_LIMIT, GAIN_LIMIT
            case "multiplier":
                low, high = (1 << 14, 1 << 15) if shape == () else (0, MULTIPLIER_LIMIT)
            case "shift":
                low = high = next((shift for part, shift in SHIFTS.items() if part in name), 45)
            case "bias":
                low, high = (-512, 512) if "lm_head" in name else (-(1 << 16), 1 << 16)
            case "wte" | "wpe":
                low, high = -(1 << 18), 1 << 18
            case _:
                low, high = 0, 255
        numbers = random_numbers(f"palette {name}", low, high, *shape)
        if name.endswith("weight"):
            numbers[::5] = np.where(numbers[::5] < 0, -64, 63)
        tensors[name] = torch.from_numpy(numbers).to(dtype)
    return PaletteImageGPT(TESTED, tensors, "random", device)


def answer_of(operations: PaletteOperations, device: str) -> str:
    """The SHA-256, hexadecimal, of all that a random network gives by operations on a device, of a whole tile and stepwise, and of what
    they make of the largest numbers."""
    digest, network = hashlib.sha256(), random_network(device)
    network.operations = operations

    def take(*tensors: Tensor) -> None:
        for tensor in tensors:
            digest.update(tensor.cpu().contiguous().numpy().tobytes())

    count = QUERIES_AT_ONCE + 8
    tokens = torch.from_numpy(random_numbers("palette tokens", 0, TESTED.tokens, count).astype(np.int64)).to(device)
    places = torch.arange(count, dtype=torch.int64, device=device)
    attention = network.operations.attention(TESTED, 1, device)
    for x in network.layer_outputs(tokens, places, attention):
        take(x)
    take(frequencies(x.to(torch.int32), 0))
    tiles = tokens[:120].view(3, 40)
    cached = network.operations.cached_attention(TESTED, len(tiles), device)
    for position in range(20):
        cached.position = position
        take(network.logits(tiles[:, position], places[position], cached))
    take(*_of_the_largest(network))
    return digest.hexdigest()


def _of_the_largest(network: PaletteImageGPT) -> list[Tensor]:
    def choice(name: str, values: list[int], *shape: int) -> Tensor:
        chosen = np.array(values, np.int64)[random_numbers(f"palette {name}", 0, len(values) - 1, *shape)]
        return torch.from_numpy(chosen).to(network.device)

    operations = network.operations
    numbers = choice("numbers", [0, 1, -1, 77, 8191, -16383, 16384, -(1 << 20), 1 << 29], 40, 64)
    numbers[1], numbers[2, 1:], numbers[3] = 0, 3, -(1 << 33)
    sums = [choice(f"sums {k}", [0, 1, -5, 8_000_000, -8_000_000], 40, 64).to(torch.int32) for k in range(2)]
    exponent, bias = choice("exponent", [0, 3, 9, 30], 40, 1), choice("bias", [0, -(1 << 30), 1 << 30, 17], 64).to(torch.int32)
    multiplier = choice("multiplier", [0, 1, 1 << 24, 12_345_678], 64).to(torch.int32)
    small, gain = numbers[:, :32].clamp(-(1 << 30), 1 << 30), choice("gain", [-GAIN_LIMIT, GAIN_LIMIT, 3], 32)
    qkv = choice("qkv", [0, 3, -127, 128, -5000, HEAD_LIMIT, -HEAD_LIMIT], 40, 3 * TESTED.n_embd)
    high, low, common = operations.limbs(numbers.clone())
    return [
        high,
        low,
        common,
        operations.scaled(sums[0], sums[1], exponent, multiplier, 31, bias, (1 << 30) - 1),
        operations.activated(numbers.clone()),
        operations.normalized(small, gain, 17),
        operations.attention(TESTED, 1, network.device)(0, qkv, 20_000, 36),
    ]
