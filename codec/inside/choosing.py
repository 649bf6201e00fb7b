"""The JPEG that a picture may become, on request: coefficients whose picture is near to it, in few bytes.

Steps are about the same for all frequencies, as errors count alike, but for the lowest ones, whose errors show as blocks. What a magnitude
costs is learnt from the picture itself, by its surroundings; a coefficient is the nearest multiple of its step, one less, or 0, by what
it costs beside its error (rate-distortion optimised quantisation; as trellises in encoders of JPEG and H.264 do it).
"""

import numpy as np
import numpy.typing as npt

from codec.inside import kernel
from codec.inside.antecedent import Antecedent, Layout, Steps
from codec.inside.choosing_kernel import AROUND, FINE, FREQUENCIES, KINDS, MOST, NEARBY, choose, count
from codec.jit import run
from codec.options import Lossy
from codec.pasts.chroma import FULL, Bytes, Sampling
from codec.progress import Progress, ignore

Reals = npt.NDArray[np.float64]

STEPS = {Lossy.LOW: 40, Lossy.MEDIUM: 20, Lossy.HIGH: 10}  # of most coefficients of luma
CHROMA = 1.15  # of these, for chroma
GENTLE = 0.5, 0.6, 0.7, 0.8, 0.9  # of these, for frequencies whose sum is 0, 1 and so on
COMPONENTS = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # of R, G and B (ITU-T T.871)
WEIGHT = 0.115  # of a bit, in squares of a step: ln(2) / 6, the slope of (step^2 / 12) against bits at fine steps
ROUNDS = 2
NEAREST, LESS = (0.5, 0.5), (0.5, 0.4)  # rounding, of the first coefficient and of the others
COUNTED = 1 << 15  # blocks
LARGEST = 1 << 11  # magnitude, of steps of 1 at least
POOLED = 4  # frequencies to both sides that tell of one that is rare, together as much as so many of its own
TRUST = 6.0


def chosen(pixels: Bytes, how: Lossy, progress: Progress = ignore) -> Antecedent:
    """An antecedent of a picture near to (height, width, channels) pixels, grey or RGB. progress: called with 0, now and then."""
    height, width, channels = pixels.shape
    layout = Layout(height, width, Sampling(FULL) if channels == 3 else None, 0, 0)
    steps = [steps_of(how, component > 0) for component in range(channels)]
    weights = COMPONENTS if channels == 3 else ((1.0,),)
    found = [
        _component(pixels, np.array(of), layout.blocks[k], own, progress) for k, (of, own) in enumerate(zip(weights, steps, strict=True))
    ]  # fmt: skip
    return Antecedent(layout, steps, found, np.zeros(0, np.int64), np.zeros((0, channels), np.uint8))


def steps_of(how: Lossy, chroma: bool) -> Steps:
    """(64), in zigzag order."""
    sums = np.add.outer(np.arange(8), np.arange(8)).ravel()[kernel.ZIGZAG]
    gentle = np.array([*GENTLE, *[1.0] * 10])[sums]
    steps: Steps = np.rint(STEPS[how] * (CHROMA if chroma else 1.0) * gentle).astype(np.int64)
    return steps


def _component(pixels: Bytes, weights: Reals, blocks: tuple[int, int], steps: Steps, progress: Progress) -> npt.NDArray[np.int16]:
    """(rows, columns, 64) coefficients, in steps."""
    offset = -128.0 if weights.sum() > 0.5 else 0.0  # chroma's samples are 128 where there is none
    found = np.empty((*blocks, 64), np.int16)
    before, after = np.zeros(found.shape, np.uint8), np.empty(found.shape, np.uint8)
    tables = AROUND, NEARBY, FREQUENCIES
    of_pixels = pixels, weights, offset, kernel.BASIS, kernel.ZIGZAG, steps.astype(np.float64)
    costs, more = np.zeros((64, KINDS, MOST + 1)), _rounded(np.append(0, 2 * np.log2(np.arange(1, LARGEST)) + 1))
    for turn in range(ROUNDS + 1):
        how = np.array(NEAREST if turn else LESS), before, *tables, costs, more, WEIGHT if turn else 0.0
        run(choose, blocks[0], *of_pixels, *how, found, after)
        before, after = after, before
        progress(0)
        if turn < ROUNDS:
            counts = np.zeros(costs.shape, np.int64)
            count(-(-blocks[0] * blocks[1] // COUNTED), before, *tables, counts)
            costs = _costs(counts)
    return found


def _costs(counts: npt.NDArray[np.int64]) -> Reals:
    """In bits, with those of signs, of (64, KINDS, MOST + 1) magnitudes that were counted."""
    pooled = np.empty(counts.shape)
    for k in range(64):
        pooled[k] = counts[max(1, k - POOLED) : k + POOLED + 1].sum(0) if k else counts[0]
    pooled += 0.02 + 1e-4 * pooled.sum(0)
    shares = counts + TRUST * pooled / pooled.sum(-1, keepdims=True)
    bits = -np.log2(shares / shares.sum(-1, keepdims=True))
    bits[..., 1:] += 1
    return _rounded(bits)


def _rounded(bits: Reals) -> Reals:
    """The same on all machines, whatever their logarithms' last digit."""
    found: Reals = np.rint(bits * FINE) / FINE
    return found
