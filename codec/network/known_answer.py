"""The known-answer test of engines: a digest of what an engine makes of a random network with values at the extremes.

What plain torch made of it on a CPU when the first files were made is the answer that is known, so that nothing else is needed to compare
with.
"""

import functools
import hashlib

import numpy as np
import numpy.typing as npt

from codec.network.config import ModelConfig
from codec.network.engine import Engine
from codec.network.limits import GAIN_LIMIT
from codec.network.model import Arrays, IntegerImageGPT, expected_arrays
from codec.tiling.context import POSITIONS, SIDE, STRIPS, WINDOW
from codec.tiling.planes import JPEG_CHROMA, JPEG_LUMA, RGB
from codec.tiling.tiles import Known

# Of which the others are variants, for the arithmetic; and how many positions of each are stepped through, of the first beyond the window.
KINDS = {RGB: 35, JPEG_CHROMA: 5, JPEG_LUMA: 8}
# As wide, and its attention weights as large, as makes a difference.
TESTED = ModelConfig(n_embd=144, n_head=9, n_inner=64, head_inner=32, attention_window=31, n_layer=2)
ANSWER = "6aebe02b97724c000ade2c2389ef7135e803ab3f8c753f246097116aacbd441f"  # `answer_of` its plain engine on a CPU


def random_numbers(name: str, low: int, high: int, *shape: int) -> npt.NDArray[np.int32]:
    """int32 numbers of a shape, from low to high, the same for ever for a name."""
    count = int(np.prod(shape))
    numbers = np.frombuffer(hashlib.shake_128(name.encode()).digest(4 * count), "<u4")
    return (low + numbers.astype(np.int64) % (high - low + 1)).astype(np.int32).reshape(shape)


def random_network(config: ModelConfig = TESTED, device: str = "cpu") -> IntegerImageGPT:
    """A model of numbers that reach all bounds now and then, the same for ever."""
    arrays: Arrays = {}
    for name, (dtype, shape) in expected_arrays(config).items():
        between = functools.partial(random_numbers, name)
        match name.rsplit(".", 1)[-1]:
            case "weight":
                array = between(-64, 63, *shape)
                array[::5] = np.where(array[::5] < 0, -64, 63)
            case "table":
                array = between(-127, 127, *shape)
            case "multiplier":
                array = between(1, 255, *shape)
            case "shift":
                array = between(14, 19, *shape) if ".ln_" in name or "ln_f" in name or "attn.shift" in name else between(12, 16, *shape)
            case "gain":
                array = between(-GAIN_LIMIT, GAIN_LIMIT, *shape)
            case _:
                array = between(-(1 << 15), 1 << 15, *shape)
        arrays[name] = array.astype(dtype)
    return IntegerImageGPT(config, arrays, "random", device)


def answer_of(engine: Engine) -> str:
    """The SHA-256, hexadecimal, of all that an engine gives, of whole tiles of two rows and stepwise, on eighteen tiles."""
    digest, tiles, count = hashlib.sha256(), 18, 2 * SIDE
    for kind, stepped in KINDS.items():
        samples = random_numbers(kind.name, 0, 255, tiles, kind.channels, POSITIONS).astype(np.uint8)
        strips = random_numbers(f"{kind.name} strips", 0, 255, tiles, kind.channels, STRIPS).astype(np.uint8)
        windows = random_numbers(f"{kind.name} windows", 0, 255, tiles, 2, WINDOW, WINDOW).astype(np.uint8) if kind.surrounded else None
        around = Known(np.arange(tiles).astype(np.uint8) % 16, strips, windows)
        seen = engine.see(kind, samples, around, count)
        across = [np.ascontiguousarray(array.swapaxes(0, 1)) for array in (seen.hidden, *seen.features)]
        tables = engine.frequencies(kind, across[0], across[1:], None)
        masked = engine.frequencies(kind, across[0], across[1:], [tables[:, c] % 8 == 0 for c in range(kind.channels)])
        for array in (*across, *seen.tokens, tables, masked):
            digest.update(array.tobytes())
        steps, exist = engine.steps(kind, around), np.ones(tiles, np.bool_)
        for position in range(stepped):
            steps.go_to(position)
            for channel in range(kind.channels):
                steps.begin(channel)
                impossible = tables[position, channel] % 8 == position % 8 if position >= SIDE else None
                digest.update(steps.frequencies(impossible).tobytes())
                exist[:] = np.arange(tiles) <= tiles + SIDE - position
                steps.accept(np.ascontiguousarray(seen.tokens[channel][:, position]), exist)
        digest.update(steps.samples()[:, :, :stepped].tobytes())
    return digest.hexdigest()
