"""How a channel's tokens are read, in one go: their frequencies, corrected by what was learnt, their words, and what follows from them.

Made of the kernels of each: called from Python one by one they would wait for the interpreter's lock for longer than they take.
"""

from codec.jit import compiled
from codec.network.kernels import BLOCK, accept, context, frequencies
from codec.network.learning_kernel import corrected, learnt
from codec.network.word_kernel import FAILURE, decode
from codec.tiling.context import POSITIONS


@compiled
def accepted(
    position, channel, tokens, exist,
    known, residuals, slots, sides, windows, kind, related, bases, features, of_heads, predictions,
):  # fmt: skip
    """Tokens (tiles) become samples; then the context of what is next: see `kernels.context`."""
    tiles, channels = known.shape[:2]
    accept(known, residuals, slots, sides, position, channel, tokens, predictions[channel].reshape(tiles), exist)
    channel += 1
    if channel == channels:
        position, channel = position + 1, 0
    if position < POSITIONS:
        around = known, residuals, slots, sides, windows, position, channel, channel + 1, kind, related
        context(0, tiles, *around, bases, features, of_heads, predictions)


@compiled
def read(
    position, channel, tokens, exist,
    known, residuals, slots, sides, windows, kind, related, bases, features, of_heads, predictions,
    hidden, head, limit, impossible, table, shared, bits, out,
    widened, widened_scale, tables, narrowed, narrowed_scale, given, inner, wide_sums, sums,
    bounds, states, numbers, words,
    learns, factors, weights, seen, touched, powers, halves, pairs,
):  # fmt: skip
    """A channel's tokens at a position of the tiles of several groups. Returns the number of the first one that fails, or -1.

    First what `accepted` and `frequencies` take. bounds: (groups, 2), each one's tiles, from one to before the other; states, numbers,
    words: of all groups' decoders; learns: (groups), whether it does; then what is learnt of each.
    """
    tiles = len(known)
    room = given, inner, wide_sums, sums
    what = hidden, of_heads[channel].reshape(tiles, of_heads.shape[3]), head, limit, impossible, table, shared, bits, 0, out
    frequencies(0, (tiles + BLOCK - 1) // BLOCK, *what, widened, widened_scale, tables, narrowed, narrowed_scale, *room)
    for group in range(len(bounds)):
        first, end = bounds[group]
        if first == end:
            continue
        own, there, found = out[0, 0, first:end], exist[first:end], tokens[first:end]
        of, places = predictions[channel, first:end].reshape(end - first), (known[first:end], slots, sides[first:end])
        if learns[group]:
            work = powers, halves[first:end], pairs[first:end]
            corrected(position, channel, own, of, *places, factors[group], weights[group], *work)
        decode(own, there, states[group], numbers[group], words, found)
        if numbers[group, FAILURE]:
            return group
        if learns[group]:
            work = seen[group], touched[group], halves[first:end], pairs[first:end]
            learnt(position, channel, own, of, *places, factors[group], weights[group], *work, found, there)
    accepted(
        position, channel, tokens, exist,
        known, residuals, slots, sides, windows, kind, related, bases, features, of_heads, predictions,
    )  # fmt: skip
    return -1
