"""What is not a photograph: `python -m benchmarks.drawings [--out FOLDER] [--keep FOLDER]`.

Draws text, windows, charts, maps, pixel art and mixtures with photographs, always the same, and hands them to `benchmarks.rate`, which
writes drawings.csv, drawings.md and plots. --keep: also leaves the pictures there.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFont

from benchmarks import rate
from benchmarks.measure import RESULTS

WORDS = """lossless image codec transformer softmax token range coder decoder replays network every pixel comes back exactly
the window of attention sees what is known around it and the rest is counted in bits""".split()


def sentence(rng: np.random.Generator, words: int) -> str:
    return " ".join(rng.choice(WORDS, words))


def text_page(rng: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", (1240, 877), "white")
    draw = ImageDraw.Draw(image)
    draw.text((60, 30), "A page of text", fill=(0, 0, 0), font=ImageFont.load_default(34))
    for y in range(90, 850, 22):
        draw.text((60, y), sentence(rng, 15), fill=(25, 25, 25), font=ImageFont.load_default(15))
    return image


def editor(rng: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", (1280, 800), (30, 30, 38))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 220, 800), fill=(24, 24, 30))
    colours = [(220, 220, 220), (130, 170, 255), (195, 232, 141), (247, 140, 108), (110, 110, 130)]
    font = ImageFont.load_default(14)
    for line, y in enumerate(range(12, 780, 19)):
        draw.text((14, y), f"{rng.choice(WORDS)}.py", fill=(150, 150, 160), font=font)
        draw.text((236, y), f"{line + 1:3}", fill=(90, 90, 100), font=font)
        x = 280 + 28 * int(rng.integers(0, 4))
        for word in rng.choice(WORDS, int(rng.integers(1, 9))):
            draw.text((x, y), str(word), fill=colours[int(rng.integers(len(colours)))], font=font)
            x += 9 * len(word) + 8
    return image


def window(rng: np.random.Generator) -> Image.Image:
    """A desktop with a gradient, windows with shadows, buttons and icons."""
    y, x = np.mgrid[:720, :1280]
    image = Image.fromarray(np.stack([30 + x // 16, 60 + y // 9, 140 - x // 32 + y // 16], -1).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(13)
    for left, top in ((80, 60), (520, 180), (300, 380)):
        draw.rectangle((left + 6, top + 6, left + 566, top + 306), fill=(20, 30, 50))
        draw.rectangle((left, top, left + 560, top + 300), fill=(246, 246, 248), outline=(120, 120, 130))
        for k in range(26):
            draw.line((left + 1, top + 1 + k, left + 559, top + 1 + k), fill=(225 - 2 * k, 228 - 2 * k, 235 - 2 * k))
        for k, colour in enumerate(((255, 95, 86), (255, 189, 46), (39, 201, 63))):
            draw.ellipse((left + 10 + 22 * k, top + 7, left + 22 + 22 * k, top + 19), fill=colour)
        for row in range(9):
            draw.text((left + 20, top + 40 + 26 * row), sentence(rng, 6), fill=(40, 40, 46), font=font)
            draw.rounded_rectangle((left + 470, top + 38 + 26 * row, left + 540, top + 58 + 26 * row), 6, fill=(0, 122, 255))
            draw.text((left + 484, top + 41 + 26 * row), "Open", fill="white", font=font)
    return image


def chart(rng: np.random.Generator) -> Image.Image:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), dpi=100)
    for k in range(4):
        left.plot(np.cumsum(rng.normal(size=80)), label=f"series {k}")
    left.legend()
    left.grid(alpha=0.4)
    right.bar(range(8), rng.random(8))
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    plt.close(figure)
    return Image.fromarray(pixels)


def map_of_regions(rng: np.random.Generator) -> Image.Image:
    points, colours = rng.random((60, 2)) * (600, 800), rng.integers(120, 250, (60, 3))
    y, x = np.mgrid[:600, :800]
    distances = (y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2
    region = distances.argmin(-1)
    pixels = colours[region].astype(np.uint8)
    border = (region != np.roll(region, 1, 0)) | (region != np.roll(region, 1, 1))
    pixels[border] = (70, 70, 90)
    return Image.fromarray(pixels)


def pixel_art(rng: np.random.Generator) -> Image.Image:
    palette = rng.integers(0, 256, (12, 3)).astype(np.uint8)
    half = rng.integers(0, 12, (4, 6, 16, 8))
    sprites = np.concatenate([half, half[..., ::-1]], -1)
    sheet = palette[sprites.transpose(0, 2, 1, 3).reshape(64, 96)]
    return Image.fromarray(sheet.repeat(6, 0).repeat(6, 1))


def gradient(_: np.random.Generator) -> Image.Image:
    y, x = np.mgrid[:400, :600]
    return Image.fromarray(np.stack([x * 255 // 599, y * 255 // 399, np.full_like(x, 90)], -1).astype(np.uint8))


def line_drawing(rng: np.random.Generator) -> Image.Image:
    """Curves, smoothed by drawing them four times as large; greyscale."""
    image = Image.new("L", (2560, 1920), 255)
    draw = ImageDraw.Draw(image)
    angle = np.linspace(0, 2 * np.pi, 400)
    for _k in range(30):
        (y, x), size, waves = rng.random(2) * (1900, 2500), 60 + 400 * rng.random(), int(rng.integers(2, 9))
        radius = size * (1 + 0.3 * np.sin(waves * angle))
        draw.line(list(zip(x + radius * np.cos(angle), y + radius * np.sin(angle), strict=True)), fill=0, width=8)
    return image.resize((640, 480), Image.Resampling.BOX)


def black_and_white(rng: np.random.Generator) -> Image.Image:
    return text_page(rng).convert("L").point(lambda value: 255 * (value > 128))


def with_photograph(rng: np.random.Generator) -> Image.Image:
    page = text_page(rng)
    page.paste(Image.fromarray(skimage.data.astronaut()).resize((384, 384)), (700, 300))
    return page


def few_colours(_: np.random.Generator) -> Image.Image:
    return Image.fromarray(skimage.data.coffee()).quantize(32).convert("RGB")


PICTURES: tuple[Callable[[np.random.Generator], Image.Image], ...] = (
    text_page, editor, window, chart, map_of_regions, pixel_art, gradient, line_drawing, black_and_white, with_photograph, few_colours,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        drawings = Path(folder) / "drawings"
        drawings.mkdir()
        for draw in PICTURES:
            draw(np.random.default_rng(0)).save(drawings / f"{draw.__name__}.png")
        if arguments.keep:
            shutil.copytree(drawings, arguments.keep, dirs_exist_ok=True)
        rate.main([str(drawings), "--out", str(arguments.out)], "python -m benchmarks.drawings")


if __name__ == "__main__":
    main()
