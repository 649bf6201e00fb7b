"""Where the bits of a picture go, without writing a file."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from codec.compression import offers
from codec.methods import method_of
from codec.methods.method import Bits, Source
from codec.options import Options
from codec.progress import Progress, ignore, scaled
from codec.tiling.planes import Pixels

HOTTEST_BITS = 8  # of a sample in a heat map; more is drawn as this
RAMP = ((0, 0, 0), (60, 10, 110), (190, 40, 80), (250, 150, 20), (255, 255, 200))
TICKS = (("0 bits", "ls"), ("2", "ms"), ("4", "ms"), ("6", "ms"), ("8 or more", "rs"))  # with their anchors
SHADES = np.linspace(0, len(RAMP) - 1, 256)
COLOURS = np.stack([np.interp(SHADES, range(len(RAMP)), of) for of in zip(*RAMP, strict=True)], -1).round().astype(np.uint8)
LEAST_SIDE = 256  # of a panel, the longer one; a smaller picture is enlarged by a whole number
LETTERS = 30  # on the longer side of a panel, about
LEAST_LETTER = 13  # height
ASPECT = 1.6  # width of a heat map to its height, about


def bits_per_pixel(pixels: Pixels, options: Options, progress: Progress = ignore) -> Bits:
    """The bits of each channel at each of (height, width, 1 or 3) pixels, (height, width), by the channel's name, as the smallest method
    spends them; where it codes whole pixels, of all channels together. progress: called with the number of pixels just done."""
    area = pixels.shape[0] * pixels.shape[1]
    update = scaled(progress, area, 2 * area)  # coded, then measured
    coded = offers(Source(pixels, 8, options), update).coded(update)
    return method_of(coded.coding).costs(coded, pixels, update)


def heat_map(pixels: Pixels, channels: Bits) -> Image.Image:
    """The picture, and a panel for each channel that has any bits: its (height, width) bits, by its name, from black (none) to pale yellow
    (HOTTEST_BITS or more). What a panel shows stands above it, what the colours mean at the bottom."""
    height, width, _ = pixels.shape
    total = sum(float(bits.mean()) for bits in channels.values())
    panels = {f"{width}x{height} pixels, {total:.3f} bits each": pixels.repeat(4 - pixels.shape[-1], -1)[..., :3]}
    panels |= {f"{name}: {bits.mean():.3f} bits per pixel": coloured(bits) for name, bits in channels.items() if bits.any()}
    zoom = max(1, LEAST_SIDE // max(width, height))
    across, down = zoom * width, zoom * height
    letter = max(LEAST_LETTER, max(across, down) // LETTERS)
    gap, font = letter // 2, ImageFont.load_default(letter)
    pitch = max(across, *(math.ceil(font.getlength(title)) for title in panels)) + gap, down + 2 * letter + gap
    columns = columns_for(len(panels), pitch[0] / pitch[1])
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (columns * pitch[0] + gap, rows * pitch[1] + 3 * letter + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for k, (title, panel) in enumerate(panels.items()):
        left, top = k % columns * pitch[0] + gap, k // columns * pitch[1] + gap
        draw.text((left, top + letter), title, "black", font, "ls")
        sheet.paste(Image.fromarray(panel).resize((across, down), Image.Resampling.NEAREST), (left, top + letter + gap))
    top, length = rows * pitch[1] + gap, sheet.width - 2 * gap
    sheet.paste(Image.fromarray(COLOURS[None]).resize((length, letter)), (gap, top))
    for k, (tick, anchor) in enumerate(TICKS):
        draw.text((gap + length * k / (len(TICKS) - 1), top + 2 * letter + gap), tick, "black", font, anchor)
    return sheet


def coloured(bits: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """(height, width) -> (height, width, 3)."""
    return COLOURS[(bits * (255 / HOTTEST_BITS)).clip(0, 255).astype(np.uint8)]


def columns_for(panels: int, aspect: float) -> int:
    """Of a sheet as near to ASPECT as can be. aspect: width of a panel to its height."""

    def unlike(columns: int) -> float:
        return abs(math.log(aspect * columns / -(-panels // columns) / ASPECT))

    return min((columns for columns in range(1, panels + 1) if columns == -(-panels // -(-panels // columns))), key=unlike)
