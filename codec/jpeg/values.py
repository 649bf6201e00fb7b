"""A value as decisions: is it not 0, has it the expected sign, above how many thresholds is it, and where among those.

Compiled by numba, or run as it stands.
"""

from codec.jit import part
from codec.jpeg.mixture import END_SLOTS, NODES, PREDICTED, SITUATIONS, decided, simple
from codec.jpeg.prediction import NETWORK_THRESHOLDS
from codec.mixing.kernel import LIMIT

THRESHOLDS, END_THRESHOLDS = 14, 12  # that are asked about, of a coefficient and of the end of a block
SIGN = 15  # its node


@part
def _mixed(bit, node, logit, place, second, state, tables, coder, stream, decoding, spent):
    """A decision about a coefficient; place: 64 for chroma, plus its zigzag position; second: chooses a set of weights."""
    state.bases[PREDICTED] = (place * SITUATIONS + ((logit + LIMIT + 1) >> 5)) * NODES
    return decided(bit, node, logit, place * NODES + node, second * NODES + node, state, tables, coder, stream, decoding, spent)


@part
def _exponential(value, at, state, tables, coder, stream, decoding, spent):
    """A number from 0 on, as it is seldom needed: Exp-Golomb, of at most 17 bits."""
    bits = 0
    if not decoding:
        while (value + 1) >> (bits + 1):
            bits += 1
    n = 0
    while n < 17 and simple(int(bits > n), at + n, state, tables, coder, stream, decoding, spent):
        n += 1
    number = 1
    for i in range(n - 1, -1, -1):
        number = number << 1 | simple(((value + 1) >> i) & 1, at + 32 + i, state, tables, coder, stream, decoding, spent)
    return number - 1


@part
def coefficient(value, place, last, negative, second, constants, state, work, tables, coder, stream, decoding, spent):
    """Codes a value, which is not 0 where it is the last one; negative: the sign that is expected. Returns the value."""
    logits = work.logits
    magnitude = abs(value)
    if not last and not _mixed(int(magnitude > 0), 0, logits[0], place, second, state, tables, coder, stream, decoding, spent):
        return 0
    otherwise = _mixed(int((value < 0) != negative), SIGN, logits[1], place, second, state, tables, coder, stream, decoding, spent)
    side = 16 * otherwise
    thresholds = constants.thresholds
    j = 1
    while j < THRESHOLDS:
        logit = logits[1 + j + NETWORK_THRESHOLDS * otherwise] if j <= NETWORK_THRESHOLDS else 0
        if not _mixed(int(magnitude > thresholds[j]), side + j, logit, place, second, state, tables, coder, stream, decoding, spent):
            break
        j += 1
    group = (place >> 6) * 2 + int(place & 63 == 0)  # a DC is none of the others
    found = thresholds[j - 1] + 1
    if j == THRESHOLDS:
        found += _exponential(magnitude - found, 64 * (64 + group), state, tables, coder, stream, decoding, spent)
    else:
        width = thresholds[j] - thresholds[j - 1]
        bits = 0
        while (1 << bits) < width:
            bits += 1
        low, node = magnitude - found, 1
        for i in range(bits - 1, -1, -1):
            node = node << 1 | simple((low >> i) & 1, 64 * (16 * group + j) + node, state, tables, coder, stream, decoding, spent)
        found += node - (1 << bits)
    return -found if (otherwise != 0) != negative else found


@part
def end_of_block(end, chroma, activity, logits, state, thresholds, tables, coder, stream, decoding, spent):
    """The position of the last coefficient that is not 0, or 0: how many thresholds it is above, and its place among those."""
    first, second = 2 * 64 * NODES + chroma * END_SLOTS, 2 * 16 * 16 * NODES + (chroma * END_SLOTS) * 16 + activity
    j = 0
    while j < END_THRESHOLDS:
        logit = logits[0] if j == 0 else logits[1 + j]
        if not decided(int(end > thresholds[j]), j, logit, first + j, second + j * 16, state, tables, coder, stream, decoding, spent):
            break
        j += 1
    if j == 0:
        return 0
    found, width = thresholds[j - 1] + 1, thresholds[j] - thresholds[j - 1]
    bits = 0
    while (1 << bits) < width:
        bits += 1
    low, node = end - found, 1
    for i in range(bits - 1, -1, -1):
        at = 16 * j + node
        node = node << 1 | decided((low >> i) & 1, at, 0, first + at, second + at * 16, state, tables, coder, stream, decoding, spent)
    return min(found + node - (1 << bits), 63)
