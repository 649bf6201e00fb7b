"""The palette path against the default one: `python -m benchmarks.palette CHECKPOINT [FOLDER]`.

CHECKPOINT: a published ImageGPT, or one in that layout. Compares the integer network with `transformers` on the same tokens, and the real
files of both paths, on the middle 256x256 pixels of up to `--pictures` pictures of the folder. Writes palette.csv and palette.md.

`--train FOLDER` makes the checkpoint before: 512 clusters by k-means, an ImageGPT of the default model's size, trained on 32x32 crops.
"""

import argparse
import csv
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

import codec
from benchmarks.measure import RESULTS, circumstances, pictures_in, real_bytes
from codec import models
from codec.palette.coding import encode_tokens, largest_group, token_frequencies
from codec.palette.colours import UNIT, Palette
from codec.palette.network import PaletteImageGPT
from codec.tiling.context import POSITIONS
from codec.tiling.tiles import Grid, Rectangle, tiles_from_planes
from codec.training.data import TrainingData

CLUSTERS = 512
SIDE = 256
COMPARED_TILES = 16
RATE, WARM_UP, TILES = 1.5e-3, 100, 8


def fitted_clusters(data: TrainingData, rng: np.random.Generator) -> np.ndarray:
    """(CLUSTERS, 3), -1 to 1, as a published image processor has them."""
    from scipy.cluster.vq import kmeans2

    colours = np.concatenate([data.folders[0].crop(rng).reshape(-1, 3)[::8] for _ in range(1000)]).astype(np.float64)
    centres, _ = kmeans2(colours, CLUSTERS, iter=30, minit="++", rng=rng)
    return np.asarray(centres / 127.5 - 1)


def _fused_attention(
    _: object, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, __: object = None
) -> tuple[torch.Tensor, None]:
    """The same as the model's own, several times faster."""
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True), None


def train(folders: list[Path], out: Path, steps: int) -> None:
    """Trains and saves a checkpoint in the published layout."""
    from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling
    from transformers.models.imagegpt.modeling_imagegpt import ImageGPTAttention

    ImageGPTAttention._attn = _fused_attention
    data, rng = TrainingData(folders), np.random.default_rng(0)
    torch.manual_seed(0)
    clusters = fitted_clusters(data, rng)
    palette = Palette(((clusters + 1) * 127.5 * UNIT).round().astype(np.int32), np.zeros((CLUSTERS, 2)), np.zeros((CLUSTERS, 256, 2)))
    model = ImageGPTForCausalImageModeling(
        ImageGPTConfig(n_embd=128, n_layer=4, n_head=4, n_inner=512, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min(k / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * k / steps)))
    model.train()
    shown = tqdm(range(steps), unit="step")
    for _ in shown:
        folder = data.folders[rng.choice(len(data.folders), p=data.shares / data.shares.sum())]
        tiles = np.concatenate([folder.crop(rng)[None] for _ in range(TILES)])
        tokens = torch.from_numpy(palette.tokens(tiles.reshape(-1, 32, 3)).reshape(TILES, POSITIONS).astype(np.int64))
        before = torch.nn.functional.pad(tokens[:, :-1], (1, 0), value=CLUSTERS)
        loss = torch.nn.functional.cross_entropy(model(before).logits.flatten(0, 1), tokens.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        shown.set_postfix(bits=f"{loss.item() / math.log(2):.3f}")
    model.save_pretrained(out)
    processor = {
        "image_processor_type": "ImageGPTImageProcessor",
        "clusters": clusters.tolist(),
        "do_color_quantize": True,
        "do_normalize": True,
    }
    (out / "preprocessor_config.json").write_text(json.dumps(processor) + "\n")


def against_transformers(checkpoint: Path, network: PaletteImageGPT, pictures: list[np.ndarray]) -> dict[str, float]:
    """How the integer network compares with the float32 one on the same tokens."""
    from transformers import ImageGPTForCausalImageModeling, ImageGPTImageProcessor

    processor = ImageGPTImageProcessor.from_pretrained(checkpoint, do_resize=False)
    equal = [
        float((processor(Image.fromarray(p), return_tensors="np")["input_ids"].reshape(-1) == network.palette.tokens(p).reshape(-1)).mean())
        for p in pictures
    ]
    model = ImageGPTForCausalImageModeling.from_pretrained(checkpoint).eval()
    tiles = []
    for k in range(COMPARED_TILES):
        tokens = network.palette.tokens(pictures[k % len(pictures)])
        grid = Grid(*tokens.shape[::-1])
        row, column = divmod(k * 7 % grid.tiles, grid.columns)
        tiles.append(tiles_from_planes(tokens[None], Rectangle(row, column, 1, 1))[0, 0])
    some = torch.from_numpy(np.stack(tiles).astype(np.int64))
    float_bits, integer_bits = 0.0, 0.0
    for tile in some.split(1):
        with torch.no_grad():
            logits = model(torch.nn.functional.pad(tile[:, :-1], (1, 0), value=network.config.tokens)).logits
        float_bits += float(torch.nn.functional.cross_entropy(logits.double()[0], tile[0], reduction="sum")) / math.log(2)
        table = token_frequencies(network, tile.numpy().astype(np.uint16), POSITIONS)[0]
        integer_bits -= float(torch.log2(table.gather(1, tile[0, :, None]).double() / 2**24).sum())
    count = some.numel()
    return {
        "tokens equal": float(np.mean(equal)),
        "float32 bits per token": float_bits / count,
        "integer bits per token": integer_bits / count,
    }


def measured(checkpoint: Path, network: PaletteImageGPT, pixels: np.ndarray) -> dict[str, Any]:
    """Real bytes and seconds of a picture in both paths."""
    row: dict[str, Any] = {}
    ways: dict[str, dict[str, Any]] = {"palette": {"model": checkpoint}, "rgb": {"past": False}}
    for name, options in ways.items():
        start = time.perf_counter()
        data = codec.compress(pixels, **options)
        row[name], row[f"{name} s"] = len(data), round(time.perf_counter() - start, 2)
        start = time.perf_counter()
        real_bytes(data, pixels)
        row[f"{name} back s"] = round(time.perf_counter() - start, 2)
    tokens = network.palette.tokens(pixels)
    shape = Grid(*tokens.shape[::-1]).shape(largest_group(network))
    row["tokens"] = sum(map(len, encode_tokens(network, tokens, shape, lambda _: None)))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", nargs="?", type=Path, help="default: photographs that come with scikit-image")
    parser.add_argument("--train", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.train:
        train(arguments.train, arguments.checkpoint, arguments.steps)
    network = models.with_palette(str(arguments.checkpoint), None, "cpu")
    pictures = {}
    for path in pictures_in(arguments.folder):
        image = Image.open(path)
        if image.mode == "RGB" and len(pictures) < arguments.pictures:
            x, y = ((n - SIDE) // 2 for n in image.size)
            pictures[path.name] = np.asarray(image.crop((x, y, x + SIDE, y + SIDE)))
    compared = against_transformers(arguments.checkpoint, network, list(pictures.values()))
    rows = [{"picture": name, **measured(arguments.checkpoint, network, pixels)} for name, pixels in tqdm(pictures.items())]
    rows.append({"picture": "all", **{key: round(sum(row[key] for row in rows), 2) for key in rows[0] if key != "picture"}})
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "palette.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    head = "| " + " | ".join(rows[0]) + " |\n|---" + "|---:" * (len(rows[0]) - 1) + "|\n"
    body = "".join("| " + " | ".join(str(v) for v in row.values()) + " |\n" for row in rows)
    figures = "".join(f"* {name}: {value:.5f}\n" for name, value in compared.items())
    command = f"python -m benchmarks.palette {arguments.checkpoint.name}" + (f" {arguments.folder.name}" if arguments.folder else "")
    note = f"The middle {SIDE}x{SIDE} pixels of each picture; bytes of files that were decoded and compared, and seconds.\n"
    note += "tokens: what of `palette` the tokens take."
    lines = ("# The palette path\n", circumstances(command), "Against `transformers` in float32, on the same tokens:\n", figures, note)
    text = "\n".join(lines) + f"\n\n{head}{body}"
    (arguments.out / "palette.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
