"""A learned transform, to see whether one would earn its place beside `--lossy`: it is trained here and measured, and not part of igpt.

    python -m benchmarks.transform train FOLDER ... --validation FOLDER --minutes 90 [--device cuda]
    python -m benchmarks.transform measure FOLDER

Convolutions take a picture to latents at a sixteenth of its sides and back; a hyperprior (Ballé, Minnen, Singh, Hwang and Johnston
2018) and a transformer, which goes through the 64 latents of 128x128 pixels in their order, say how they are distributed (Minnen, Ballé
and Toderici 2018: autoregressive priors). One network has all three regimes, by factors of the latents' channels. Real bytes by
constriction, decoded again step by step; but with floats, so that only the same machine surely reads them.

`train` writes the weights, curves for TensorBoard beside them, and results/transform-training.csv and .png. `measure` compares with what
lossy-NAME.csv has of other codecs: transform-NAME.csv, .md and .png; of no folder, it draws transform-coffee.png.
"""

import argparse
import csv
import math
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

import codec
from benchmarks import plots
from benchmarks.lossy import MEASURES, OTHERS, report, row
from benchmarks.measure import RESULTS, pictures_in, plain_pixels, psnr, shown, write_report
from codec.pictures.pillow import image_of
from codec.training.curves import Curves
from codec.training.data import Pictures

REGIMES = {"low": 0.0045, "medium": 0.018, "high": 0.07}  # bits per pixel that a squared error of one step (of 255) is worth
WEIGHTS = Path("build/transform/model.pt")
OUTER, INNER, LATENTS, HYPER, WIDTH, LAYERS, HEADS = 96, 160, 128, 32, 192, 3, 6
SIDE, CELLS = 128, 64  # of a tile: pixels of its side, latents
CROPS, RATE, WARM_UP = 16, 8e-4, 200  # per step; of learning; steps
HELD_OUT = 64  # crops
VALIDATIONS = 30
MOST = 1 << 11  # of a latent
Images = npt.NDArray[np.uint8]


class Residual(nn.Sequential):
    def __init__(self, channels: int) -> None:
        super().__init__(nn.Conv2d(channels, channels, 3, padding=1), nn.GELU(), nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def down(before: int, after: int, by: int) -> nn.Sequential:
    return nn.Sequential(nn.PixelUnshuffle(by), nn.Conv2d(before * by * by, after, 1))


def up(before: int, after: int, by: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after * by * by, 1), nn.PixelShuffle(by))


def blocks(channels: int) -> list[nn.Module]:
    return [Residual(channels), Residual(channels)]


class Prior(nn.Module):
    """Means and scales of a tile's latents, each from those before it and the hyperprior."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(LATENTS, WIDTH), nn.Linear(WIDTH, 2 * LATENTS)
        self.around = nn.Sequential(up(HYPER, WIDTH, 2), *blocks(WIDTH), up(WIDTH, WIDTH, 2))
        self.places, self.regimes = nn.Parameter(0.02 * torch.randn(CELLS, WIDTH)), nn.Embedding(len(REGIMES), WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)

    def context(self, hyper: Tensor, regime: Tensor) -> Tensor:
        """(n, HYPER, 2, 2) -> (n, CELLS, WIDTH)."""
        return self.around(hyper).flatten(2).mT + self.places + self.regimes(regime)[:, None]

    def forward(self, before: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """(n, cells, LATENTS) latents, each one place late, and context -> means and scales, alike."""
        mask = nn.Transformer.generate_square_subsequent_mask(before.shape[1], device=before.device)
        hidden = self.layers(self.enter(before) + context[:, : before.shape[1]], mask, is_causal=True)
        mean, scale = self.leave(hidden).float().chunk(2, 2)
        return mean, 0.05 + F.softplus(scale)


class Transform(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.analysis = nn.Sequential(down(3, OUTER, 4), *blocks(OUTER), down(OUTER, INNER, 2), *blocks(INNER))
        self.leave = down(INNER, LATENTS, 2)
        self.synthesis = nn.Sequential(up(LATENTS, INNER, 2), *blocks(INNER), up(INNER, OUTER, 2), *blocks(OUTER), up(OUTER, 3, 4))
        self.above = nn.Sequential(down(LATENTS, WIDTH, 2), nn.GELU(), down(WIDTH, HYPER, 2))
        self.prior = Prior()
        self.gains = nn.Parameter(torch.tensor([[1.0], [1.7], [2.8]]).log().repeat(1, LATENTS) + 1.5)
        self.hyper_scales = nn.Parameter(torch.zeros(HYPER))

    def latents(self, images: Tensor, regime: Tensor) -> Tensor:
        """(n, 3, height, width) from -0.5 to 0.5 -> (n, LATENTS, height / 16, width / 16), not rounded yet."""
        found = self.analysis(images)
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 has no halves above 128
            found = self.leave(found.float())
        return found * self.gains[regime].exp()[:, :, None, None]

    def images(self, latents: Tensor, regime: Tensor) -> Tensor:
        return self.synthesis(latents * (-self.gains[regime]).exp()[:, :, None, None])

    def hyper(self, latents: Tensor) -> Tensor:
        return 4 * self.above(latents)

    @property
    def scales(self) -> Tensor:
        return 0.05 + F.softplus(self.hyper_scales)

    def forward(self, images: Tensor, regime: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3, SIDE, SIDE) -> bits and squared errors of each, (n). Noise stands for rounding where bits are counted (Ballé et al.)."""
        exact = self.latents(images, regime)
        hyper = self.hyper(exact).float()
        hyper_noisy, noisy = (of + torch.rand_like(of) - 0.5 for of in (hyper, exact))
        known = rounded(exact).flatten(2).mT
        before = F.pad(known, (0, 0, 1, -1))
        mean, scale = self.prior(before, self.prior.context(rounded(hyper), regime))
        bits = cost(noisy.flatten(2).mT, mean, scale).sum((1, 2))
        bits = bits + cost(hyper_noisy, torch.zeros(()), self.scales[:, None, None]).sum((1, 2, 3))
        return bits, (255 * (self.images(rounded(exact), regime).float() - images)).square().mean((1, 2, 3))


def rounded(of: Tensor) -> Tensor:
    """To whole numbers, as if that changed nothing for the gradient."""
    return of + (of.round() - of).detach()


def cost(of: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Bits of a normal distribution's share of what rounds to these values."""
    away = (of - mean).abs()
    share = torch.special.ndtr((0.5 - away) / scale) - torch.special.ndtr((-0.5 - away) / scale)
    return -share.clamp(min=1e-9).log2()


def as_images(pixels: Sequence[Images], device: str) -> Tensor:
    found = torch.from_numpy(np.stack(pixels)).to(device).permute(0, 3, 1, 2).float() / 255 - 0.5
    return found.contiguous(memory_format=torch.channels_last)


def train(folders: Sequence[Path], validation: Path, weights: Path, out: Path, minutes: float, device: str) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    data = [Pictures(folder) for folder in folders]
    shares = np.sqrt([folder.sizes.sum() for folder in data])
    held_out = [Pictures(validation).crop(np.random.default_rng(k), SIDE) for k in range(HELD_OUT)]
    model = Transform().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.0)
    lambdas = torch.tensor([*REGIMES.values()], device=device)
    weights.parent.mkdir(parents=True, exist_ok=True)
    curves, log = Curves(weights.parent, quiet=False), list[dict[str, Any]]()
    start, step = time.monotonic(), 0
    while (progress := (time.monotonic() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min((step + 1) / WARM_UP, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        crops = [folder.crop(rng, SIDE) for folder in rng.choice(np.array(data, object), CROPS, p=shares / shares.sum())]
        regime = torch.from_numpy(rng.integers(len(REGIMES), size=CROPS)).to(device)
        with torch.autocast(device, torch.bfloat16):
            bits, errors = model(as_images(crops, device), regime)
        loss = (bits / SIDE**2 + lambdas[regime] * errors).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 20 == 0:
            curves.show(step, {"training/loss": loss.item()})
        if progress * VALIDATIONS >= len(log):
            log += [{"step": step, "minutes": round(progress * minutes, 1)} | validated(model, as_images(held_out, device))]
            curves.show(step, {f"validation/{name}": value for name, value in log[-1].items()})
            print(log[-1], flush=True)
            torch.save(model.state_dict(), weights)
    log += [{"step": step, "minutes": minutes} | validated(model, as_images(held_out, device))]
    print(log[-1])
    torch.save(model.state_dict(), weights)
    curves.close()
    with (out / "transform-training.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*log[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(log)
    plots.trained(log, [*REGIMES], out / "transform-training.png")


@torch.no_grad()
def validated(model: Transform, images: Tensor) -> dict[str, float]:
    """Bits per pixel and the PSNR of the mean squared error, by regime."""
    found = {}
    for k, name in enumerate(REGIMES):
        parts = [model(some, torch.full((len(some),), k, device=some.device)) for some in images.split(16)]
        bits, errors = (torch.cat(of).mean().item() for of in zip(*parts, strict=True))
        found |= {f"{name}, bits per pixel": round(bits / SIDE**2, 4), f"{name}, PSNR": round(10 * math.log10(255**2 / errors), 3)}
    return found


def gaussian() -> Any:
    return constriction.stream.model.QuantizedGaussian(-MOST, MOST - 1)


def tiles_of(latents: Tensor) -> Tensor:
    """(1, LATENTS, rows, columns) -> (tiles, CELLS, LATENTS)."""
    n = math.isqrt(CELLS)
    return latents[0].unfold(1, n, n).unfold(2, n, n).flatten(3).permute(1, 2, 3, 0).flatten(0, 1)


def from_tiles(tiles: Tensor, down: int, across: int) -> Tensor:
    n = math.isqrt(CELLS)
    return tiles.view(down, across, n, n, LATENTS).permute(4, 0, 2, 1, 3).reshape(1, LATENTS, down * n, across * n)


def params(mean: Tensor, scale: Tensor) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """On a grid, so that a last bit is nearly never seen."""
    return tuple(np.round(of.double().numpy().ravel() * 256) / 256 for of in (mean, scale.clamp(min=0.05)))  # type: ignore[return-value]


@torch.no_grad()
def steps(model: Transform, hyper: Tensor, regime: Tensor, tiles: Tensor, code: Any) -> None:
    """Goes through the places of all tiles together. code: given means and scales, and the latents, which it may fill."""
    n = len(tiles)
    context = model.prior.context(torch.cat([tile_hyper(hyper, k) for k in range(n)]), regime.expand(n))
    for k in range(CELLS):
        before = F.pad(tiles[:, :k], (0, 0, 1, 0))
        mean, scale = model.prior(before, context)
        tiles[:, k] = code(*params(mean[:, -1], scale[:, -1]), tiles[:, k])


def tile_hyper(hyper: Tensor, k: int) -> Tensor:
    across = hyper.shape[3] // 2
    y, x = 2 * (k // across), 2 * (k % across)
    return hyper[:, :, y : y + 2, x : x + 2]


@torch.no_grad()
def compress(model: Transform, pixels: Images, name: str) -> bytes:
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % SIDE), (0, -width % SIDE), (0, 0)), "symmetric")
    regime = torch.tensor([[*REGIMES].index(name)])
    latents = model.latents(as_images([padded], "cpu"), regime).round().clamp(-MOST, MOST - 1)
    hyper = model.hyper(latents).round().clamp(-MOST, MOST - 1)
    encoder = constriction.stream.queue.RangeEncoder()
    scales = np.repeat(model.scales.double().numpy(), hyper[0, 0].numel())
    encoder.encode(hyper.int().numpy().ravel(), gaussian(), np.zeros(hyper.numel()), scales)

    def code(means: Any, scales: Any, known: Tensor) -> Tensor:
        encoder.encode(known.int().numpy().ravel(), gaussian(), means, scales)
        return known

    steps(model, hyper, regime, tiles_of(latents), code)
    return struct.pack("<HHB", height, width, regime.item()) + encoder.get_compressed().tobytes()


@torch.no_grad()
def decompress(model: Transform, data: bytes) -> Images:
    height, width, regime_number = struct.unpack("<HHB", data[:5])
    down, across = -(-height // SIDE), -(-width // SIDE)
    regime = torch.tensor([regime_number])
    decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(data[5:], np.uint32))
    shape = 1, HYPER, 2 * down, 2 * across
    scales = np.repeat(model.scales.double().numpy(), 4 * down * across)
    hyper = torch.from_numpy(decoder.decode(gaussian(), np.zeros(math.prod(shape)), scales)).view(shape).float()
    tiles = torch.zeros(down * across, CELLS, LATENTS)
    steps(
        model, hyper, regime, tiles, lambda means, scales, out: torch.from_numpy(decoder.decode(gaussian(), means, scales)).view(out.shape)
    )
    images = model.images(from_tiles(tiles, down, across), regime)[0, :, :height, :width]
    found: Images = (255 * (images + 0.5)).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return found


def loaded(weights: Path) -> Transform:
    model = Transform()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def measured(path: Path, model: Transform) -> list[dict[str, Any]]:
    pixels, rows = plain_pixels(path), []
    colours = pixels if pixels.shape[2] == 3 else pixels.repeat(3, 2)
    for name in REGIMES:
        start = time.perf_counter()
        data = compress(model, colours, name)
        middle = time.perf_counter()
        found = decompress(model, data)
        seconds = {"seconds": round(middle - start, 2), "seconds back": round(time.perf_counter() - middle, 2)}
        rows.append(row(path.name, "transform", name, data, found if pixels is colours else found[..., 1:2], pixels) | seconds)
    return rows


def measure(folder: Path, weights: Path, out: Path) -> None:
    name = folder.name
    with (RESULTS / f"lossy-{name}.csv").open(newline="") as file:
        others = [found | {key: float(found[key]) for key in ("pixels", "bytes", *MEASURES)} for found in csv.DictReader(file)]
    model = loaded(weights)
    rows = [one for path in tqdm(pictures_in(folder), desc=name) for one in measured(path, model)]
    there, back = (float(np.mean([one[key] for one in rows])) for key in ("seconds", "seconds back"))
    note = (
        f"{len(pictures_in(folder))} pictures; igpt's own lossy way and the other codecs are of lossy-{name}.csv. Against others: by how "
        "much more or less the transform's files take than theirs of the same quality. "
        f"A picture takes {there:.1f} seconds to compress and {back:.1f} to decompress."
    )
    both = [*rows, *others]
    text = f"{note}\n\n{report(both, 'transform')}\n![curves](transform-{name}.png)"
    write_report(rows, out / f"transform-{name}", f"A learned transform: {name}", f"python -m benchmarks.transform measure {name}", text)
    plots.lossy(both, out / f"transform-{name}.png")


def side_by_side(weights: Path, out: Path) -> None:
    """A photograph of scikit-image's at the lowest rate, beside others of about as many bytes; igpt's own has a rate of its own."""
    (path,) = (path for path in pictures_in(None) if path.stem == "coffee")
    pixels, model = plain_pixels(path), loaded(weights)
    data, own = compress(model, pixels, "low"), codec.compress(pixels, lossy="low")
    shows = {"transform": (data, decompress(model, data)), "igpt --lossy low": (own, codec.decode(own))}
    for name in ("JPEG", "WebP", "AVIF 4:2:0"):
        encode, _ = OTHERS[name]
        files = (encode(image_of(pixels), quality) for quality in range(1, 80, 2))
        nearest = min(files, key=lambda other: abs(len(other) - len(data)))
        shows[name] = nearest, shown(nearest, pixels)
    area = pixels.shape[0] * pixels.shape[1]
    titles = {
        f"{name}: {8 * len(file) / area:.2f} bits per pixel, {psnr(found, pixels):.1f} dB": found for name, (file, found) in shows.items()
    }
    plots.side_by_side({"as it was": pixels} | titles, out / "transform-coffee.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    training.add_argument("folders", nargs="+", type=Path)
    training.add_argument("--validation", type=Path, required=True)
    training.add_argument("--minutes", type=float, default=90)
    training.add_argument("--device", default="cpu")
    measuring = commands.add_parser("measure")
    measuring.add_argument("folder", nargs="?", type=Path, help="default: a photograph, beside what others make of it")
    for one in (training, measuring):
        one.add_argument("--weights", type=Path, default=WEIGHTS)
        one.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.command == "train":
        train(arguments.folders, arguments.validation, arguments.weights, arguments.out, arguments.minutes, arguments.device)
    elif arguments.folder:
        measure(arguments.folder, arguments.weights, arguments.out)
    else:
        side_by_side(arguments.weights, arguments.out)


if __name__ == "__main__":
    main()
