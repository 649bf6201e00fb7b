"""Makes the golden files: `python -m tests.make_golden`. Files that exist are never made again, so what was written once stays."""

import hashlib
import io
import tempfile
from pathlib import Path

import numpy as np
import torch
from codec.palette.packing import packed, painted
from PIL import Image

import codec
from bitstream.form import GREY, GREY_ALPHA, PALETTE, RGB_ALPHA, Form
from bitstream.form import RGB as COLOUR
from codec import models
from codec.network.config import ModelConfig
from codec.network.layers import layers_of
from codec.network.model import IntegerImageGPT
from codec.palette.conversion import converted
from codec.palette.network import PaletteImageGPT
from codec.pasts.past import recognised
from codec.pictures.png_writing import written
from codec.pictures.reading import MAX_PIXELS, open_picture
from codec.tiling.planes import RGB
from codec.training.data import Batch, as_samples
from codec.training.loop import bits
from codec.training.quantize import integer_model
from codec.training.reference import ImageGPT
from tests.conftest import CPU, GOLDEN, TINY, TINY_PALETTE, TINY_YCC, decoded_jpeg, photo_cd, picture, smooth, with_past


def spoilt(pixels: np.ndarray) -> np.ndarray:
    """With two pixels that no JPEG decodes to."""
    spoilt = pixels.copy()
    spoilt[3, 4], spoilt[60, 44] = (1, 255, 0), (0, 3, 255)
    return spoilt


PICTURES = {
    "rgb-1x1": picture(1, 1, 3),
    "rgb-33x45": picture(45, 33, 3),
    "grey-70x31": picture(31, 70, 1),
    "flat-40x40": np.full((40, 40, 3), 7, np.uint8),
}


PASTS = {"jpeg-45x70": spoilt(decoded_jpeg(smooth(70, 45))), "film-50x37": photo_cd(37, 50)}


def palettes() -> dict[str, np.ndarray]:
    """Colours, greys, and the palette's colours only."""
    palette = PaletteImageGPT.load(TINY_PALETTE, CPU).palette
    own = painted(palette, palette.tokens(smooth(40, 35)), 3)
    return {"palette-37x20": smooth(20, 37), "palette-grey-20x34": smooth(34, 20)[..., :1], "palette-own-35x40": own}


def drawing(channels: int) -> np.ndarray:
    """Stripes, a gradient and a few dots."""
    y, x = np.mgrid[:48, :64]
    pixels = np.stack([np.where(y % 12 < 5, 240, 3 * x), np.where(x > 40, 20, 200), (x // 9 + y // 7) % 2 * 90 + 30], -1)
    pixels[y * x % 37 == 5] = (255, 0, 90)
    return pixels[..., :channels].astype(np.uint8)


DRAWINGS = {"drawing-5-rgb": drawing(3), "drawing-5-grey": drawing(1)}  # with five guesses; drawing-rgb and drawing-grey have four


def make_tiny_palette(folder: Path) -> None:
    """From a random checkpoint in the published layout."""
    from tests.test_palette import checkpoint

    with tempfile.TemporaryDirectory() as published:
        checkpoint(Path(published), seed=5, n_embd=16, n_head=2, n_layer=2, vocab_size=17)
        converted(Path(published), folder.name, CPU).save(folder)


def by_palette(pixels: np.ndarray) -> bytes:
    """With the tiny models."""
    network, refinement = PaletteImageGPT.load(TINY_PALETTE, CPU), IntegerImageGPT.load(TINY, CPU)
    return packed(pixels, codec.pixel_digest(pixels), network, refinement, False, lambda _: None)[0]


def make_tiny_model(folder: Path, layout: str, batch: Batch) -> None:
    torch.manual_seed(20)
    config = ModelConfig(n_embd=16, n_layer=2, n_head=2, n_inner=32, attention_window=40, head_inner=16, layout=layout)
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
        for layer in layers_of(pixels, recognised(pixels)):
            group, samples = layer.part(0, layer.grid.tiles)
            batch[layer.kind] = torch.from_numpy(samples), None if group.windows is None else torch.from_numpy(group.windows)
    return batch


def envelopes() -> dict[str, bytes]:
    """PNG files that are more than 8-bit RGB or grey."""
    colour = smooth(30, 40)
    alpha = picture(30, 40, 1)
    deep = colour.astype(np.uint16) * 250 + np.random.default_rng(0).integers(0, 200, colour.shape).astype(np.uint16)
    few = smooth(40, 50) // 8
    index = (colour[..., :1] >> 5).astype(np.uint8)
    chunks = (
        (b"gAMA", (45455).to_bytes(4, "big")),
        (b"tEXt", b"Title\0golden"),
        (b"IDAT", b""),
        (b"tIME", bytes((7, 234, 11, 20, 1, 2, 3))),
    )
    palette = ((b"PLTE", bytes(range(24))), (b"tRNS", bytes((0, 128))))
    return {
        "envelope-rgba": written(np.dstack([colour, alpha]), Form(RGB_ALPHA, 8), ()),
        "envelope-la": written(np.dstack([colour[..., :1], index]), Form(GREY_ALPHA, 8), chunks),
        "envelope-palette": written(index, Form(PALETTE, 4), palette),
        "envelope-bitmap": written(index & 1, Form(GREY, 1), ()),
        "envelope-text": written(colour, Form(COLOUR, 8), chunks),
        "envelope-deep": written(deep, Form(COLOUR, 16), chunks),
        "envelope-levels": written(deep >> 6 << 6, Form(COLOUR, 16), ()),
        "envelope-exact": written(sums(few), Form(GREY, 16), ()),
        "envelope-exact-rgb": written(
            np.dstack([sums(few), sums(few) + sums(few[..., ::-1]) // 7, sums(few[..., [1, 2, 0]])]), Form(COLOUR, 16), ()
        ),
        "envelope-eight": written(colour[..., :1].astype(np.uint16) * 257, Form(GREY, 16), ()),
    }


def sums(pixels: np.ndarray) -> np.ndarray:
    """Weighted sums of colours, as luma is: (height, width, 1) uint16."""
    return (pixels @ np.array([55, 183, 19]))[..., None].astype(np.uint16)


def enclosed(png: bytes) -> bytes:
    """With the tiny model."""
    return codec.compress_picture(open_picture(io.BytesIO(png), MAX_PIXELS), model=TINY, device="cpu")


def write_golden(name: str, model: str, pixels: np.ndarray, data: bytes) -> None:
    if not (GOLDEN / f"{name}.{model}.igpt").exists():
        (GOLDEN / f"{name}.{model}.igpt").write_bytes(data)
    if not (GOLDEN / f"{name}.png").exists():
        Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(GOLDEN / f"{name}.png")


def main() -> None:
    if not TINY.exists():
        make_tiny_model(TINY, "rgb", {RGB: (as_samples([picture(32, 32, 3, seed) for seed in range(8)]), None)})
    if not TINY_YCC.exists():
        make_tiny_model(TINY_YCC, "ycc", luma_and_chroma())
    for name, pixels in PICTURES.items():
        for folder in (TINY, models.FOLDER / "photo-1", models.FOLDER / "photo-2"):
            write_golden(name, folder.name, pixels, codec.compress_pixels(pixels, model=folder, device="cpu", past=False))
    for name, pixels in PASTS.items():
        for folder in (TINY_YCC, models.FOLDER / "past-1"):
            write_golden(name, folder.name, pixels, with_past(pixels, folder))
    if not TINY_PALETTE.exists():
        make_tiny_palette(TINY_PALETTE)
    for name, pixels in palettes().items():
        write_golden(name, TINY_PALETTE.name, pixels, by_palette(pixels))
    for name, png in envelopes().items():
        if not (GOLDEN / f"{name}.png").exists():
            (GOLDEN / f"{name}.png").write_bytes(png)
            (GOLDEN / f"{name}.{TINY.name}.igpt").write_bytes(enclosed(png))
    for name, pixels in DRAWINGS.items():
        write_golden(name, "drawing", pixels, codec.drawn(pixels, lambda _: None))
    digests = [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}\n" for path in sorted(GOLDEN.glob("*.igpt"))]
    (GOLDEN / "digests.txt").write_text("".join(digests))


if __name__ == "__main__":
    main()
