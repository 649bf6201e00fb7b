"""What a JPEG is, for people: its quality as libjpeg counts it, its sampling, its kind."""

import numpy as np
import numpy.typing as npt

from codec.jpeg.picture import Walk
from codec.jpeg.standard import LUMA_STEPS, scaled_steps

SAMPLINGS = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0", (4, 1): "4:1:1", (4, 2): "4:1:0"}  # across, down
NAMES = {1: "grey", 4: "four components"}


def described(found: Walk | None) -> list[str]:
    """Some words; none where nothing is known."""
    if not found:
        return []
    components = found.frame.components
    words = [f"quality about {quality(found.steps[0])}"]
    if len(components) in NAMES:
        words.append(NAMES[len(components)])
    if len(components) == 3 and components[1][1:3] == components[2][1:3]:
        luma, chroma = components[:2]
        if luma.across % chroma.across == luma.down % chroma.down == 0:
            ratio = luma.across // chroma.across, luma.down // chroma.down
            words += [SAMPLINGS[ratio]] if ratio in SAMPLINGS else []
    if found.frame.bits != 8:
        words.append(f"{found.frame.bits} bits")
    return [*words, "progressive"] if found.frame.progressive else words


def quality(steps: npt.NDArray[np.int64]) -> int:
    """Of libjpeg's, 1 to 100, that whose steps are nearest to these (64,) of luma."""
    tables = np.array([scaled_steps(LUMA_STEPS, quality) for quality in range(1, 101)])
    return 1 + int(np.abs(np.log(tables / np.maximum(steps, 1))).sum(1).argmin())
