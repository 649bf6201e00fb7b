"""Alpha, 16 bits, few levels, palettes and icons beside others: `python -m benchmarks.modes [PHOTOGRAPHS] [--pngsuite FOLDER]
[--icons FOLDER...] [--others CSV]`.

Real sizes; every file is decoded and compared. Alpha, 16-bit samples and those that miss values, and palettes that are ramps, are made
from the photographs, and sprites, which have some of a palette's colours, from the icons, always the same. PNG is
oxipng's (level 6), with its form and palette as they are and not, WebP is lossless and exact with method 6, JPEG XL has effort 9. Writes
modes.csv, and modes.md with the sets, and with what igpt makes larger than the smaller of PNG and WebP by more than 100 bytes.
"""

import argparse
import csv
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from benchmarks.measure import RESULTS, circumstances, pictures_in, saved
from bitstream.container import read
from bitstream.errors import UnsupportedImageError
from bitstream.form import ALPHA, GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Form
from codec.compression import compress_picture
from codec.decompression import decompress_file
from codec.options import Options
from codec.pictures.outputs import png_of
from codec.pictures.picture import Picture
from codec.pictures.reading import MAX_PIXELS, open_picture

PHOTOGRAPHS, SIDE = 4, 256  # how many, and how large at most
ICONS = 60  # of a folder, at most
WORSE_BYTES = 100
CODECS = ("igpt", "PNG, the same form", "PNG", "WebP", "JPEG XL 9")
AS_IT_IS = {f"{what}_reduction": False for what in ("bit_depth", "color_type", "palette", "grayscale")}

Samples = npt.NDArray[Any]
Row = dict[str, Any]


def soft(rgb: Samples) -> Samples:
    """A photograph that fades out to its edges."""
    y, x = (np.linspace(-1, 1, n) for n in rgb.shape[:2])
    return np.dstack([rgb, (255 * np.clip(1.5 - 1.2 * np.hypot(y[:, None], x), 0, 1)).astype(np.uint8)])


def cut_out(rgb: Samples) -> Samples:
    """What is bright in a photograph, with smooth edges; what is left out is black."""
    luma = ndimage.gaussian_filter(rgb.mean(-1), 12)
    alpha = (255 * np.clip((luma - np.median(luma)) / 6 + 0.5, 0, 1)).astype(np.uint8)
    return np.dstack([np.where(alpha[..., None] > 0, rgb, 0), alpha])


def kept_under_alpha(rgb: Samples) -> Samples:
    """The same with the colours under alpha 0."""
    return np.dstack([rgb, cut_out(rgb)[..., 3]])


def linear(rgb: Samples) -> Samples:
    """Linear light, 0 to 1."""
    value = rgb / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def deep(values: Samples) -> Samples:
    return np.rint(65535 * values).astype(np.uint16).reshape(*values.shape[:2], -1)


def halved(values: Samples) -> Samples:
    """Each sample the mean of four."""
    height, width = values.shape[0] // 2 * 2, values.shape[1] // 2 * 2
    return values[:height, :width].reshape(height // 2, 2, width // 2, 2, -1).mean((1, 3))


def averaged(rgb: Samples) -> Samples:
    """Five pictures of the same, each moved by a pixel."""
    values = rgb.astype(np.float64)
    return (values + sum(np.roll(values, by, axis) for by in (1, -1) for axis in (0, 1))) / 5 / 255


LUMA = np.array([0.2126, 0.7152, 0.0722])


def luma(rgb: Samples) -> Samples:
    """Of 8 bits, (height, width)."""
    return np.rint(rgb @ LUMA).astype(np.uint8)


def stretched(rgb: Samples, by: float) -> Samples:
    """Brighter, so that values are missing: every fifth, where it is by a quarter."""
    return np.clip(rgb * by, 0, 255).astype(np.uint8)


def levelled(rgb: Samples) -> Samples:
    """Black and white points and a gamma set, as an editor does."""
    return np.rint(255 * np.clip((rgb - 16.0) / 219, 0, 1) ** (1 / 1.2)).astype(np.uint8)


def coarse(rgb: Samples) -> Samples:
    """Greys of 151 levels, spread over all 8 bits."""
    return np.rint(np.rint(luma(rgb) * (150 / 255)) * (255 / 150)).astype(np.uint8)[..., None]


def brightened(rgb: Samples) -> Samples:
    """A decoded JPEG, brightened."""
    with Image.open(io.BytesIO(saved(Image.fromarray(rgb), "JPEG", quality=85))) as image:
        return np.clip(np.asarray(image) * 1.15 + 6, 0, 255).astype(np.uint8)


MADE: dict[str, Callable[[Samples], Samples]] = {
    "photographs, soft alpha": soft,
    "photographs, cut out": cut_out,
    "photographs, cut out, colours kept": kept_under_alpha,
    "16-bit grey, dense: average of five": lambda rgb: deep(averaged(rgb) @ LUMA),
    "16-bit grey, dense: linear light, halved": lambda rgb: deep(halved(linear(rgb) @ LUMA)),
    "16-bit grey, sparse: luma of 8-bit RGB": lambda rgb: deep(rgb @ LUMA / 255),
    "16-bit grey, sparse: linear light of 8 bits": lambda rgb: deep(linear(rgb[..., 1])),
    "16-bit RGB, dense: average of five": lambda rgb: deep(averaged(rgb)),
    "16-bit RGB, dense: linear light, halved": lambda rgb: deep(halved(linear(rgb))),
    "16-bit RGB, sparse: linear light of 8 bits": lambda rgb: deep(linear(rgb)),
    "8-bit RGB, sparse: stretched by 1.1": lambda rgb: stretched(rgb, 1.1),
    "8-bit RGB, sparse: stretched by 1.25": lambda rgb: stretched(rgb, 1.25),
    "8-bit RGB, sparse: stretched by 1.5": lambda rgb: stretched(rgb, 1.5),
    "8-bit RGB, sparse: gamma 1.2": lambda rgb: np.rint(255 * (rgb / 255) ** 1.2).astype(np.uint8),
    "8-bit RGB, sparse: gamma 0.8": lambda rgb: np.rint(255 * (rgb / 255) ** 0.8).astype(np.uint8),
    "8-bit RGB, sparse: 40 levels": lambda rgb: np.rint(np.rint(rgb * (39 / 255)) * (255 / 39)).astype(np.uint8),
    "8-bit RGB, sparse: decoded JPEG, brightened": brightened,
    "8-bit RGB, sparse: levels edited": levelled,
    "8-bit grey, sparse: 151 levels": coarse,
}
RAMPS = {  # of colours: red, green, blue of 0 to 255
    "palettes, ramp of greys": lambda v: (v, v, v),
    "palettes, ramp of greys, falling": lambda v: (255 - v, 255 - v, 255 - v),
    "palettes, ramp of false colours": lambda v: (np.clip(2 * v, 0, 255), np.clip(2 * v - 128, 0, 255), np.abs(2 * v - 255)),
}
SPRITE_COLOURS = 256  # of the palette that all of a folder have


def made(photographs: list[Path]) -> Iterator[tuple[str, str, bytes]]:
    """Set, name and PNG of what is made of photographs."""
    for path in photographs[:: max(1, len(photographs) // PHOTOGRAPHS)][:PHOTOGRAPHS]:
        with Image.open(path) as image:
            rgb = np.asarray(image.convert("RGB"))[:SIDE, :SIDE]
        for name, make in MADE.items():
            samples = make(rgb)
            form = Form({1: GREY, 2: GREY_ALPHA, 3: RGB, 4: RGB_ALPHA}[samples.shape[2]], 8 * samples.itemsize)
            yield name, path.name, png_of(Picture(samples, form))
        for name, ramp in RAMPS.items():
            yield name, path.name, indexed(luma(rgb), np.stack(ramp(np.arange(256)), -1).astype(np.uint8))


def indexed(indices: Samples, colours: Samples) -> bytes:
    """A PNG of (height, width) indices of (n, 3) colours."""
    return png_of(Picture(indices[..., None], Form(PALETTE, 8), ((b"PLTE", colours.tobytes()),)))


def icons(folders: list[Path]) -> Iterator[tuple[str, str, bytes]]:
    """RGBA pictures of the folders."""
    for folder in folders:
        for path in icons_in(folder):
            yield f"icons: {folder.name}", str(path.relative_to(folder)), path.read_bytes()


def sprites(folders: list[Path]) -> Iterator[tuple[str, str, bytes]]:
    """The same on a ground, in the colours of one palette for all of a folder, of which each has some, as those of a game are."""
    for folder in folders:
        paths = icons_in(folder)
        drawn = [Image.alpha_composite(Image.new("RGBA", icon.size, (255, 0, 255, 255)), icon) for icon in map(rgba, paths)]
        edges = np.cumsum([0, *(icon.height for icon in drawn)])
        sheet = Image.new("RGB", (max(icon.width for icon in drawn), int(edges[-1])))
        for icon, top in zip(drawn, edges.tolist(), strict=False):
            sheet.paste(icon.convert("RGB"), (0, top))
        few = sheet.quantize(SPRITE_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        indices, colours = np.asarray(few), np.array(few.getpalette("RGB"), np.uint8).reshape(-1, 3)
        for path, icon, top in zip(paths, drawn, edges.tolist(), strict=False):
            yield f"sprites: {folder.name}", str(path.relative_to(folder)), indexed(indices[top : top + icon.height, : icon.width], colours)


def icons_in(folder: Path) -> list[Path]:
    paths = sorted(folder.rglob("*.png"))
    return paths[:: max(1, len(paths) // ICONS)][:ICONS]


def rgba(path: Path) -> Image.Image:
    with Image.open(path) as icon:
        return icon.convert("RGBA")


def pngsuite(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Its valid files, by kind."""
    for path in sorted(folder.glob("[!x]*.png")):
        data = path.read_bytes()
        yield f"PngSuite: {KINDS.get(data[25], '?')}, {data[24]} bits", path.name, data


KINDS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey, alpha", 6: "RGBA"}


def igpt_bytes(picture: Picture) -> int:
    data = compress_picture(picture, Options())
    back = decompress_file(read(data), Options())
    require(np.array_equal(back.pixels, picture.pixels) and back.form == picture.form, "igpt")
    return len(data)


def png_bytes(picture: Picture, **options: bool) -> int:
    import oxipng

    data = bytes(oxipng.optimize_from_memory(png_of(picture), level=6, **options))
    require(np.array_equal(as_deep(open_picture(io.BytesIO(data), MAX_PIXELS)), as_deep(picture)), "PNG")
    return len(data)


def as_deep(picture: Picture) -> Samples:
    """(height, width, 4) of 16 bits: what a picture looks like, however it is stored. Of transparency, only a palette's is looked at."""
    samples, (colour, depth) = picture.pixels.astype(np.int64), picture.form
    chunks = dict(picture.chunks)
    if colour == 3:
        colours = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
        alpha = np.frombuffer(chunks.get(b"tRNS", b"").ljust(len(colours), b"\xff"), np.uint8)[: len(colours)]
        samples, depth = np.column_stack([colours, alpha])[samples[..., 0]].astype(np.int64), 8
    elif colour in (GREY, GREY_ALPHA):
        samples = np.concatenate([samples[..., :1].repeat(3, -1), samples[..., 1:]], -1)
    samples = samples * (65535 // ((1 << depth) - 1))
    return samples if samples.shape[2] == 4 else np.dstack([samples, np.full(samples.shape[:2], 65535)])


def eight_bits(picture: Picture) -> Samples | None:
    """(height, width, channels) as WebP and JPEG XL take them, none where they cannot."""
    if picture.form.depth == 16:
        return None
    samples = (as_deep(picture) // 257).astype(np.uint8)
    if (samples[..., 3] == 255).all() and picture.form.colour not in ALPHA:
        samples = samples[..., :3]
        if picture.form.colour == GREY:
            samples = samples[..., :1]
    return samples


def webp_bytes(picture: Picture) -> int | None:
    samples = eight_bits(picture)
    if samples is None:
        return None
    samples = samples.repeat(3, -1) if samples.shape[2] == 1 else samples
    data = saved(Image.fromarray(samples), "WEBP", lossless=True, exact=True, method=6, quality=100)
    with Image.open(io.BytesIO(data)) as back:
        require(np.array_equal(np.asarray(back.convert("RGBA" if samples.shape[2] == 4 else "RGB")), samples), "WebP")
    return len(data)


def jxl_bytes(picture: Picture) -> int | None:
    """By Pillow's plugin; 16 bits, of which it takes greyscale only, by imagecodecs, where that is installed."""
    samples = eight_bits(picture)
    if samples is None:
        try:
            import imagecodecs
        except ImportError:
            return None
        values = picture.pixels.squeeze(-1) if picture.pixels.shape[2] == 1 else picture.pixels
        data = imagecodecs.jpegxl_encode(values, lossless=True, effort=9, numthreads=1)
        require(np.array_equal(imagecodecs.jpegxl_decode(data).reshape(picture.pixels.shape), picture.pixels), "JPEG XL")
        return len(data)
    import pillow_jxl  # noqa: F401

    image = Image.fromarray(samples.squeeze(-1) if samples.shape[2] == 1 else samples)
    data = saved(image, "JXL", lossless=True, effort=9, num_threads=1)
    with Image.open(io.BytesIO(data)) as back:
        require(np.array_equal(np.asarray(back.convert(image.mode)), np.asarray(image)), "JPEG XL")
    return len(data)


def require(same: bool, name: str) -> None:
    if not same:
        msg = f"{name}: other pixels came back"
        raise ValueError(msg)


def measure(group: str, name: str, data: bytes, known: Row) -> Row:
    """A row of the table. known: what other codecs made of it before."""
    picture = open_picture(io.BytesIO(data), MAX_PIXELS).stripped()
    height, width, channels = picture.pixels.shape
    row: Row = {"set": group, "picture": name, "width": width, "height": height, "channels": channels, "bits": picture.form.depth}
    if any(int(known[key]) != value for key, value in row.items() if known and key not in ("set", "picture")):
        sys.exit(f"{name}: the earlier run was of another picture")
    others = [int(known[codec]) if known[codec] else None for codec in CODECS[1:]] if known else others_bytes(picture)
    return row | dict(zip(CODECS, (igpt_bytes(picture), *others), strict=True))


def others_bytes(picture: Picture) -> list[int | None]:
    return [png_bytes(picture, **AS_IT_IS), png_bytes(picture), webp_bytes(picture), jxl_bytes(picture)]


def text_of(rows: list[Row], command: str) -> str:
    """Markdown: bytes by set, and where igpt's file is larger than others."""
    lines = ["| set | pictures | " + " | ".join(CODECS) + " | igpt / JPEG XL 9 |", "|---" + "|---:" * (len(CODECS) + 2) + "|"]
    for group in dict.fromkeys(row["set"] for row in rows):
        some = [row for row in rows if row["set"] == group]
        totals = {name: None if any(r[name] is None for r in some) else sum(r[name] for r in some) for name in CODECS}
        cells = " | ".join("" if total is None else f"{total:,}" for total in totals.values())
        ratio = f"{totals['igpt'] / totals['JPEG XL 9']:.3f}" if totals["JPEG XL 9"] else ""
        lines.append(f"| {group} | {len(some)} | {cells} | {ratio} |")
    worse = [(row["igpt"] - min(row["PNG"], row["WebP"] or row["PNG"]), row) for row in rows]
    worse = sorted(((more, row) for more, row in worse if more > WORSE_BYTES), key=lambda pair: -pair[0])
    listed = "\n".join(
        f"* {row['set']}, {row['picture']}: {row['igpt']:,}, by {more:,}; by {row['igpt'] - row[CODECS[1]]:,} than {CODECS[1]}"
        for more, row in worse
    )
    absurd = f"Larger than the smaller of PNG and WebP by more than {WORSE_BYTES} bytes: {len(worse)} of {len(rows)}.\n\n{listed}\n"
    without = (
        "Bytes, without metadata. WebP takes no 16 bits. igpt and the first PNG keep the form and the palette with its unused colours and\n"
        "their order, and transparent colours; the second PNG, WebP and JPEG XL the looks, with the colour under alpha 0.\n"
    )
    return f"# modes\n\n{circumstances(command)}\n{without}\n" + "\n".join(lines) + f"\n\n{absurd}"


def main() -> None:
    import matplotlib as mpl

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="?", type=Path, help="default: photographs that come with scikit-image")
    parser.add_argument("--pngsuite", type=Path)
    parser.add_argument("--icons", type=Path, nargs="*", default=[], help="default: those that come with matplotlib")
    parser.add_argument("--only", default="", help="sets whose names begin so")
    parser.add_argument("--others", type=Path, help="CSV of an earlier run with the same codecs, whose sizes are taken over")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    folders = arguments.icons or [Path(mpl.get_data_path()) / "images"]
    found = [*made(pictures_in(arguments.photographs)), *icons(folders), *sprites(folders)]
    found += pngsuite(arguments.pngsuite) if arguments.pngsuite else []
    known = {}
    if arguments.others:
        with arguments.others.open(newline="") as stream:
            known = {(row["set"], row["picture"]): row for row in csv.DictReader(stream)}
    rows = []
    for group, name, data in tqdm([some for some in found if some[0].startswith(arguments.only)], unit="picture"):
        try:
            rows.append(measure(group, name, data, known.get((group, name), {})))
        except UnsupportedImageError as error:
            tqdm.write(f"{name}: {error}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "modes.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    names = [str(value.name) for value in (arguments.photographs, arguments.pngsuite, *arguments.icons) if value]
    text = text_of(rows, " ".join(["python -m benchmarks.modes", *names]))
    (arguments.out / "modes.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
