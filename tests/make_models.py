"""Makes the tiny models of the tests, those that are missing: `python -m tests.make_models`."""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from codec.methods.past import layers_of
from codec.network.config import ModelConfig
from codec.palette.conversion import converted
from codec.pasts.past import recognised
from codec.tiling.planes import RGB
from codec.tiling.tiles import alone
from codec.training.data import Batch, as_tensors
from codec.training.loop import bits
from codec.training.quantize import integer_model
from codec.training.reference import ImageGPT
from tests.conftest import (
    CPU,
    TINY,
    TINY_DCT,
    TINY_OTHER,
    TINY_PALETTE,
    TINY_YCC,
    TINY_YCC_OTHER,
    decoded_jpeg,
    photo_cd,
    picture,
    smooth,
    tile_samples,
    whole,
)


def make_tiny_palette(folder: Path) -> None:
    """From a random checkpoint in the published layout."""
    from tests.test_palette import checkpoint

    with tempfile.TemporaryDirectory() as published:
        checkpoint(Path(published), seed=5, n_embd=16, n_head=2, n_layer=2, vocab_size=17)
        converted(Path(published), folder.name, CPU).save(folder)


TINY_CONFIG = ModelConfig(n_embd=16, n_layer=2, n_head=2, n_inner=32, attention_window=40, head_inner=16)
OTHER_CONFIG = ModelConfig(n_embd=32, n_layer=1, n_head=1, n_inner=16, attention_window=33, head_inner=32)


def make_tiny_model(folder: Path, config: ModelConfig, batch: Batch) -> None:
    torch.manual_seed(20)
    model = ImageGPT(config)
    model.observe()
    with torch.no_grad():
        bits(model, batch)
    model.choose_steps()
    integer_model(model, folder.name, CPU).save(folder)


def luma_and_chroma() -> Batch:
    """Tiles of both, of each past."""
    batch = {}
    for pixels in (decoded_jpeg(smooth(64, 64)), photo_cd(64, 64)):
        for layer in layers_of(recognised(pixels)):
            turn, samples = whole(layer)
            batch[layer.kind] = torch.from_numpy(samples), as_tensors(turn.around)
    return batch


def main() -> None:
    for folder, config in ((TINY, TINY_CONFIG), (TINY_OTHER, OTHER_CONFIG)):
        if not folder.exists():
            samples = tile_samples([picture(32, 32, 3, seed) for seed in range(8)])
            make_tiny_model(folder, config, {RGB: (torch.from_numpy(samples), as_tensors(alone(8, 3)))})
    for folder, config in ((TINY_YCC, TINY_CONFIG), (TINY_YCC_OTHER, OTHER_CONFIG)):
        if not folder.exists():
            make_tiny_model(folder, replace(config, layout="ycc"), luma_and_chroma())
    if not TINY_DCT.exists():
        from tests.test_coefficients import network

        TINY_DCT.mkdir()
        network(20).save(TINY_DCT)
    if not TINY_PALETTE.exists():
        make_tiny_palette(TINY_PALETTE)


if __name__ == "__main__":
    main()
