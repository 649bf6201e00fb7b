"""Training: float first, then quantisation-aware, on a schedule over a given number of steps."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from codec.context import POSITIONS, TileContext
from codec.network.config import ModelConfig
from codec.network.reference import ImageGPT
from codec.planes import RGB, Kind
from codec.training.data import TrainingData

WARM_UP = 0.02  # shares of the whole training
VALIDATIONS = 20
VALIDATION_TILES = 128
OBSERVED_BATCHES = 8
LARGEST_GRADIENT = 1.0


def bits(model: ImageGPT, batch: dict[Kind, Tensor]) -> tuple[Tensor, int]:
    """Code length in bits (a scalar) and the number of subpixels of a batch: kind -> (tiles, channels, POSITIONS) uint8."""
    total, subpixels = torch.zeros((), device=next(iter(batch.values())).device), 0
    contexts = {kind: TileContext(samples, kind) for kind, samples in batch.items()}
    hidden = model.hidden(torch.cat([context.features for context in contexts.values()]))
    for (kind, context), own in zip(contexts.items(), torch.split(hidden, [len(s) for s in batch.values()]), strict=True):
        for c in range(kind.channels):
            logits = model.logits(own, context.head_features[c], c).float().flatten(0, 1)
            total = total + F.cross_entropy(logits, context.tokens[c].long().flatten(), reduction="sum") / math.log(2)
        subpixels += batch[kind].numel()
    return total, subpixels


@torch.no_grad()
def bits_per_subpixel(model: ImageGPT, samples: Tensor, kind: Kind, tiles_at_once: int = 16) -> float:
    """The float model's mean over (tiles, channels, POSITIONS) uint8, in float32."""
    parts = [bits(model, {kind: part}) for part in torch.split(samples, tiles_at_once)]
    return float(sum(total for total, _ in parts)) / sum(n for _, n in parts)


def optimizers(model: ImageGPT, rate: float) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al., 2024) for the inner matrices, AdamW for what reads the input, writes the logits, or is a vector."""
    inner = [p for name, p in model.named_parameters() if p.ndim == 2 and ("transformer.h." in name or ".c_fc." in name)]
    rest = [p for p in model.parameters() if all(p is not q for q in inner)]
    return [
        torch.optim.Muon(inner, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def rate_share(progress: float) -> float:
    """The learning rate as a share of its peak: warm-up, then a cosine down to 2 %."""
    return min(progress / WARM_UP, 1.0, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


def train(
    folders: Sequence[Path],
    validation: Path,
    out: Path,
    steps: int,
    config: ModelConfig,
    device: torch.device,
    tiles: int = 12,
    rate: float = 6e-3,
    start_from: Path | None = None,
    quantize_from: float = 0.88,
    quiet: bool = False,
) -> None:
    """Trains for `steps` batches of `tiles` tiles and writes the checkpoint folder `out`.

    Where `out` holds an unfinished training, that one goes on. start_from: a checkpoint folder whose weights to begin with.
    quantize_from: the share of the steps after which the training simulates the integer network.
    """
    data = TrainingData(folders)
    held_out = TrainingData([validation]).batch(VALIDATION_TILES, np.random.default_rng(0))[RGB].to(device)
    model = (ImageGPT.load(start_from) if start_from else ImageGPT(config)).to(device)
    updates = optimizers(model, rate)
    step, log = 0, []
    state_file = out / "training.pt"
    if state_file.exists():
        state = torch.load(state_file, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(updates, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, log = state["step"], state["log"]
    parameters = sum(p.numel() for p in model.parameters())
    bar = tqdm(total=steps, initial=step, unit="step", disable=quiet, mininterval=1, smoothing=0.05)

    def tell(text: str) -> None:
        if not quiet:
            bar.write(text, file=sys.stderr)

    tell(
        f"{parameters:,} parameters, {data.megapixels:.0f} megapixels of pictures, {steps * tiles / 977:.0f} million positions, on {device}"
    )
    torch.manual_seed(step)
    rng = np.random.default_rng(step)
    while step < steps:
        progress = (step + 1) / steps
        if progress >= quantize_from and not model.transformer.ln_f.out.enabled:
            if not model.has_steps:
                choose_steps(model, data, rng, tiles)
            model.set_quantized(True)
        for optimizer in updates:
            for group in optimizer.param_groups:
                group["lr"] = rate * rate_share(progress)
        batch = {kind: samples.to(device) for kind, samples in data.batch(tiles, rng).items()}
        with torch.autocast(device.type, torch.bfloat16):
            total, subpixels = bits(model, batch)
        (total / subpixels).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        for optimizer in updates:
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        bar.update()
        if step * VALIDATIONS // steps > (step - 1) * VALIDATIONS // steps:
            log.append({"step": step, "positions": step * tiles * POSITIONS, "bpsp": round(bits_per_subpixel(model, held_out, RGB), 4)})
            tell(f"step {step}: validation {log[-1]['bpsp']:.4f} bpsp")
            model.save(out)
            saved_updates = [optimizer.state_dict() for optimizer in updates]
            torch.save({"model": model.state_dict(), "optimizers": saved_updates, "step": step, "log": log}, state_file)
            (out / "training.json").write_text(json.dumps(log, indent=1) + "\n")
    bar.close()
    state_file.unlink(missing_ok=True)


@torch.no_grad()
def choose_steps(model: ImageGPT, data: TrainingData, rng: np.random.Generator, tiles: int) -> None:
    """Lets every quantizer see a few batches and choose its step."""
    device = next(model.parameters()).device
    model.observe()
    for _ in range(OBSERVED_BATCHES):
        bits(model, {kind: samples.to(device) for kind, samples in data.batch(tiles, rng).items()})
    model.choose_steps()
