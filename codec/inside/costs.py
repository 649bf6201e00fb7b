"""About how many bytes an antecedent takes, before it is coded."""

import numpy as np

from bitstream.outliers import pack
from codec.inside.antecedent import Antecedent, Coefficients

LEVELS = np.array([1, 2, 3, 5, 9, 17])  # of the sum of magnitudes of the coefficients above and to the left
LARGEST = 20  # magnitude that is counted by itself
SHARE = 0.8  # of what these contexts give, that a good coder takes


def estimated_bytes(antecedent: Antecedent) -> float:
    """Of tables, coefficients and exceptions."""
    bits = sum(map(_bits, antecedent.coefficients))
    corrections = np.pad(antecedent.corrections, ((0, 0), (0, 3 - antecedent.corrections.shape[1])))
    return 64 * min(len(antecedent.steps), 2) + SHARE * bits / 8 + len(pack(antecedent.positions, corrections))


def _bits(coefficients: Coefficients) -> float:
    """(rows, columns, 64) by entropy, each coefficient with its own in the blocks around as context."""
    values = coefficients.astype(np.int64)
    around = np.pad(values, ((1, 0), (1, 0), (0, 0)))
    above, before = around[:-1, 1:], around[1:, :-1]
    activity = np.abs(above) + np.abs(before)
    corner = around[:-1, :-1, 0]
    activity[..., 0] = np.abs(above[..., 0] - corner) + np.abs(before[..., 0] - corner)
    values[..., 0] -= (above[..., 0] + before[..., 0]) >> 1  # DC is coded as what it differs by
    levels = np.searchsorted(LEVELS, activity, "right")
    symbols = values.clip(-LARGEST, LARGEST) + LARGEST
    total = float((2 * np.log2(np.maximum(np.abs(values) - LARGEST, 0) + 1)).sum())
    contexts, kinds = len(LEVELS) + 1, 2 * LARGEST + 1
    for k in range(64):
        counts = np.bincount((levels[..., k] * kinds + symbols[..., k]).ravel(), minlength=contexts * kinds).reshape(contexts, kinds)
        all_ = counts.sum(1, keepdims=True)
        total -= float((counts * np.log2(np.maximum(counts, 1) / np.maximum(all_, 1))).sum())
        total += float((counts > 0).sum() * 0.5 * np.log2(max(len(coefficients) * coefficients.shape[1], 2)))  # what it takes to learn them
    return total
