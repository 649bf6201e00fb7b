"""Makes the golden files: `python -m tests.make_golden`. Files that exist are never made again, so what was written once stays."""

import hashlib

import numpy as np
import torch
from PIL import Image

import codec
from codec.context import TileContext
from codec.network.config import ModelConfig
from codec.network.quantize import integer_model
from codec.network.reference import ImageGPT
from codec.planes import RGB
from codec.training.data import as_samples
from tests.conftest import CPU, GOLDEN, TINY, picture

PICTURES = {
    "rgb-1x1": picture(1, 1, 3),
    "rgb-33x45": picture(45, 33, 3),
    "grey-70x31": picture(31, 70, 1),
    "flat-40x40": np.full((40, 40, 3), 7, np.uint8),
}


def make_tiny_model() -> None:
    torch.manual_seed(20)
    config = ModelConfig(n_embd=16, n_layer=2, n_head=2, n_inner=32, attention_window=40, head_inner=16)
    model = ImageGPT(config)
    context = TileContext(as_samples([picture(32, 32, 3, seed) for seed in range(8)], RGB), RGB)
    model.observe()
    with torch.no_grad():
        hidden = model.hidden(context.features)
        for c in range(3):
            model.logits(hidden, context.head_features[c], c)
    model.choose_steps()
    integer_model(model, "tiny", CPU).save(TINY)


def main() -> None:
    if not TINY.exists():
        make_tiny_model()
    for name, pixels in PICTURES.items():
        for model, folder in (("tiny", TINY), ("photo-1", None)):
            packed = GOLDEN / f"{name}.{model}.igpt"
            if not packed.exists():
                packed.write_bytes(codec.compress_pixels(pixels, model=folder, device="cpu"))
        if not (GOLDEN / f"{name}.png").exists():
            Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(GOLDEN / f"{name}.png")
    digests = [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}\n" for path in sorted(GOLDEN.glob("*.igpt"))]
    (GOLDEN / "digests.txt").write_text("".join(digests))


if __name__ == "__main__":
    main()
