"""Training: float first, then quantisation-aware, on a schedule over a given number of steps."""

import contextlib
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from codec.messages import Bar, say
from codec.network.config import ModelConfig
from codec.network.features import TileContext
from codec.tiling.context import POSITIONS
from codec.tiling.planes import Kind
from codec.tiling.tiles import Around
from codec.training.curves import Curves
from codec.training.data import Batch, TrainingData
from codec.training.reference import ImageGPT
from codec.training.state import State
from codec.training.stopping import asked_to_stop

WARM_UP = 0.02  # shares of the whole training
VALIDATIONS = 20  # at most
VALIDATION_TILES = 48
VALIDATION_SHARE = 0.1  # of the time, but for the last one
OBSERVED_BATCHES = 8
WORTH_COMPILING = 400  # steps; compiling takes as long as about 30, for the float network and again for the one that simulates integers
LARGEST_GRADIENT = 1.0


def bits(model: ImageGPT, batch: Batch) -> dict[Kind, Tensor]:
    """Code length in bits of each kind's tiles, scalars."""
    contexts = {kind: TileContext(samples, kind, around) for kind, (samples, around) in batch.items()}
    hidden = model.hidden(torch.cat([context.features for context in contexts.values()]))
    totals = {}
    for (kind, context), own in zip(contexts.items(), torch.split(hidden, [len(s) for s, _ in batch.values()]), strict=True):
        losses = []
        for c, head in enumerate(kind.heads):
            logits = model.logits(own, context.head_features[c], head).float().flatten(0, 1)
            losses.append(F.cross_entropy(logits, context.tokens[c].long().flatten(), reduction="sum") / math.log(2))
        totals[kind] = torch.stack(losses).sum()
    return totals


def compiles(device: str) -> bool:
    """Whether torch has what it needs to compile for a device: a C++ compiler, or Triton."""
    try:
        torch.compile(torch.sin)(torch.zeros(8, device=device))
    except (RuntimeError, ImportError, OSError):
        return False
    return True


@torch.no_grad()
def bits_per_sample(model: ImageGPT, batch: Batch, tiles_at_once: int = 16) -> dict[Kind, float]:
    """The float model's mean over each kind's tiles, in float32."""
    means = {}
    for kind, (samples, around) in batch.items():
        parts = zip(*(torch.split(tensor, tiles_at_once) for tensor in (samples, *around) if tensor is not None), strict=True)
        with torch.compiler.set_stance("force_eager"):  # a few tiles are not worth compiling for
            total = sum(bits(model, {kind: (own, Around(*of))})[kind] for own, *of in parts)
        means[kind] = float(total) / samples.numel()
    return means


def on(device: torch.device, batch: Batch) -> Batch:
    return {kind: (samples.to(device), around.each(lambda tensor: tensor.to(device))) for kind, (samples, around) in batch.items()}


def validation_tiles(folder: Path, config: ModelConfig) -> Batch:
    """VALIDATION_TILES of every kind that the model codes, the same for every model of a layout."""
    data, rng = TrainingData([folder]), np.random.default_rng(0)
    return {kind: data.tiles(kind, VALIDATION_TILES, rng) for kind in config.kinds}


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
    device: str,
    tiles: int = 12,
    rate: float = 6e-3,
    start_from: Path | None = None,
    quantize_from: float = 0.88,
    quiet: bool = False,
    until: float = math.inf,
) -> None:
    """Trains for `steps` batches of `tiles` tiles and writes the checkpoint folder `out`, with the state, which `card.finish` removes.

    Where `out` holds an unfinished training, that one goes on: its state is written every two minutes, and where Ctrl-C stops it, which it
    does after a step.
    start_from: a checkpoint folder whose weights to begin with.
    quantize_from: the share of the steps after which the training simulates the integer network. until: by `time.monotonic`, when it stops
    before, unfinished.
    """
    hidden = quiet or not sys.stderr.isatty()
    with Bar("reading pictures", 0, hidden=hidden) as bar:
        data = TrainingData(folders, bar.update)
    held_out = on(torch.device(device), validation_tiles(validation, config))
    model = (ImageGPT.load(start_from, config.layout) if start_from else ImageGPT(config)).to(device)
    compiled = steps >= WORTH_COMPILING and compiles(device)
    if compiled:
        model.transformer.compile(dynamic=False)
    updates = optimizers(model, rate)
    state = State(out, model, updates, device)
    first = state.step
    parameters = sum(p.numel() for p in model.parameters())
    positions = steps * tiles * POSITIONS / 1e6
    if not quiet:
        how = f"on {device}{', compiled at the first step' if compiled else ''}"
        say(f"{parameters:,} parameters, {data.megapixels:.0f} megapixels of pictures, {positions:.0f} million positions, {how}")
    if first / steps >= quantize_from and model.has_steps:  # gone on with; those of `start_from` are for other weights
        model.set_quantized(True)
    torch.manual_seed(first)
    rng = np.random.default_rng(first)
    curves = Curves(out, quiet)
    start, validating = time.monotonic(), list[float]()  # seconds of each validation

    def validate() -> None:
        before = time.monotonic()
        means = {kind.name: round(mean, 4) for kind, mean in bits_per_sample(model, held_out).items()}
        state.log.append({"step": state.step, "positions": state.step * tiles * POSITIONS, **means})
        curves.show(state.step, {f"validation/{name}": mean for name, mean in means.items()})
        if not quiet:
            say(f"step {state.step}: validation, bits per sample: {', '.join(f'{name} {mean:.4f}' for name, mean in means.items())}")
        validating.append(time.monotonic() - before)

    def worth_validating() -> bool:
        """Whether enough steps were made since the last time, and it takes no more than its share of the time. The first one is taken to
        last as long as training on so many tiles."""
        since, passed = state.step - (state.log[-1]["step"] if state.log else 0), time.monotonic() - start
        a_tile = passed / (state.step - first) / tiles
        next_one = validating[-1] if validating else a_tile * sum(len(samples) for samples, _ in held_out.values())
        return since >= steps / VALIDATIONS and sum(validating) + next_one <= VALIDATION_SHARE * passed

    def write() -> None:
        model.save(out)
        (out / "training.json").write_text(json.dumps(state.log, indent=1) + "\n")
        state.write()

    with Bar("training", steps, first, hidden) as bar, asked_to_stop() as asked, contextlib.closing(curves):
        while state.step < steps:
            progress = (state.step + 1) / steps
            if progress >= quantize_from and not model.transformer.ln_f.out.enabled:
                choose_steps(model, data, rng, tiles)
                model.set_quantized(True)
            for optimizer in updates:
                for group in optimizer.param_groups:
                    group["lr"] = rate * rate_share(progress)
            batch = on(torch.device(device), data.batch(tiles, rng, config.kinds))
            with torch.autocast(device, torch.bfloat16):
                total = torch.stack(list(bits(model, batch).values())).sum()
            loss = total / sum(samples.numel() for samples, _ in batch.values())
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
            for optimizer in updates:
                optimizer.step()
                optimizer.zero_grad()
            state.step += 1
            bar.update(1)
            curves.step(state.step, loss, rate * rate_share(progress), tiles * POSITIONS)
            stops = time.monotonic() > until or bool(asked.number)
            if not stops and state.step < steps and worth_validating():
                validate()
            if stops or state.due:
                write()
            if stops:
                if not quiet:
                    say(f"stopped after step {state.step} of {steps}; the same command goes on")
                return
        if not state.log or state.log[-1]["step"] < state.step:
            validate()
        write()


@torch.no_grad()
def choose_steps(model: ImageGPT, data: TrainingData, rng: np.random.Generator, tiles: int) -> None:
    """Lets every quantizer see a few batches and choose its step.

    Nothing is compiled for that: what the quantizers have seen is another list each time, so that each batch would be compiled anew, until
    torch gave up compiling the network at all.
    """
    device = next(model.parameters()).device
    model.observe()
    with torch.compiler.set_stance("force_eager"):
        for _ in range(OBSERVED_BATCHES):
            bits(model, on(device, data.batch(tiles, rng, model.config.kinds)))
    model.choose_steps()
