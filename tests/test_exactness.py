"""The same file whatever the host has set in torch, in NumPy, in Python, or in the environment, by every engine."""

import contextlib
import decimal
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import codec
from codec.network import compiled, palette_operations, plain
from codec.network.integer import IntegerImageGPT
from codec.network.palette import PaletteImageGPT
from codec.palette.coding import decode_tokens, encode_tokens
from tests.conftest import CPU, TINY, TINY_PALETTE, TINY_YCC, decoded_jpeg, picture, smooth, with_past

ENGINES = ("compiled", "plain")


@contextlib.contextmanager
def changed(change, back):
    change()
    try:
        yield
    finally:
        back()


def attribute(owner, name, value):
    before = getattr(owner, name)
    return changed(lambda: setattr(owner, name, value), lambda: setattr(owner, name, before))


def decimals(**options):
    """Of this thread and of those to come."""
    stack = contextlib.ExitStack()
    for name, value in options.items():
        for context in (decimal.getcontext(), decimal.DefaultContext):
            stack.enter_context(attribute(context, name, value))
    return stack


def of_new_kind(value):
    """torch forbids to mix these settings with the older ones."""
    return attribute(torch.backends, "fp32_precision", value)


def precision(value):
    return changed(lambda: torch.set_float32_matmul_precision(value), lambda: torch.set_float32_matmul_precision("highest"))


def default_type(dtype):
    return changed(lambda: torch.set_default_dtype(dtype), lambda: torch.set_default_dtype(torch.float32))


def threads(count):
    before = torch.get_num_threads()
    return changed(lambda: torch.set_num_threads(count), lambda: torch.set_num_threads(before))


SETTINGS = {
    "nothing": contextlib.nullcontext,
    "matmul precision high": lambda: precision("high"),
    "matmul precision medium": lambda: precision("medium"),
    "TF32 on CUDA": lambda: attribute(torch.backends.cuda.matmul, "allow_tf32", True),
    "fp32_precision bf16": lambda: of_new_kind("bf16"),
    "fp32_precision tf32": lambda: of_new_kind("tf32"),
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "default dtype float64": lambda: default_type(torch.float64),
    "default dtype float16": lambda: default_type(torch.float16),
    "default device meta": lambda: changed(lambda: torch.set_default_device("meta"), lambda: torch.set_default_device(None)),
    "deterministic algorithms": lambda: changed(
        lambda: torch.use_deterministic_algorithms(True), lambda: torch.use_deterministic_algorithms(False)
    ),
    "flush denormals": lambda: changed(lambda: torch.set_flush_denormal(True), lambda: torch.set_flush_denormal(False)),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "oneDNN off": lambda: torch.backends.mkldnn.flags(enabled=False),
    "one thread": lambda: threads(1),
    "three threads": lambda: threads(3),
    "NumPy raises": lambda: np.errstate(all="raise"),
    "decimals rounded up": lambda: decimals(rounding=decimal.ROUND_UP),
    "short exponents of decimals": lambda: decimals(Emin=-2, Emax=2),
}


def forget():
    """Everything of the network that a process keeps, but the proof of the kernels, which takes long."""
    for name, module in [*sys.modules.items()]:
        if name.startswith("codec.") and module is not compiled:
            for value in vars(module).values():
                if hasattr(value, "cache_clear") and getattr(value, "__module__", None) == name:
                    value.cache_clear()


def made():
    """Digests of what every layout's network makes: files of a picture and of a past, payloads of a palette's tokens, a checkpoint's
    integer form; and what can be decoded is."""
    pixels = picture(40, 50, 3)
    data = codec.compress_pixels(pixels, model=TINY, device=CPU, past=False)
    assert (codec.decompress_pixels(data, model=TINY, device=CPU) == pixels).all()
    past = with_past(PAST)
    assert (codec.decompress_pixels(past, model=TINY_YCC, device=CPU) == PAST).all()
    network = PaletteImageGPT.load(TINY_PALETTE, CPU)
    tokens = network.palette.tokens(smooth(3, 40))
    payloads = encode_tokens(network, tokens, 4, lambda _: None)
    assert (decode_tokens(network, (40, 3), 4, payloads, lambda _: None) == tokens).all()
    return [hashlib.sha256(part).hexdigest()[:16] for part in (data, past, b"".join(payloads))]


PAST = decoded_jpeg(smooth(40, 36))


@contextlib.contextmanager
def only(engine):
    """Kernels are taken wherever they can be, or nowhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "worth_it", lambda tiles: engine == "compiled")
        if engine == "plain":
            patch.setattr(palette_operations, "_compiled_operations", palette_operations.PaletteOperations)
        yield


def main():
    """The table of settings: what is the same, what differs, what fails."""
    expected = {}
    for name, setting in SETTINGS.items():
        row = []
        for engine in ENGINES:
            forget()
            try:
                with only(engine), setting():
                    found = made()
                row.append("same" if found == expected.setdefault(0, found) else "OTHER BYTES")
            except BaseException as error:
                row.append(f"{type(error).__name__}: {str(error).splitlines()[0][:60] if str(error) else ''}")
            try: torch.set_float32_matmul_precision("highest")
            except RuntimeError: pass
        print(f"| {name} | {' | '.join(row)} |", flush=True)
    print(expected)


if __name__ == "__main__":
    main()
