"""A plain decoder of palettes, written from the text of the format: whole numbers only, nothing shared with the coder but its weights."""

from bitstream.palette import PRIORS

ONE = 65536
TAPS = (1, 2, 5, 11, 26, 60, 138, 318, 138, 60, 26, 11, 5, 2, 1)


def falling(ratio):
    fall = [1 << 20]
    while len(fall) < 256:
        fall.append(fall[-1] * ratio // 1024)
    return fall


FALLS = [falling(ratio) for ratio in (0, 84, 445, 734, 904, 974, 1007)]


def shares(counts):
    return [count * ONE // sum(counts) for count in counts]


def kernel(guess, scale):
    return shares([FALLS[scale][abs(value - guess)] for value in range(256)])


def near(weighted):
    """1, and of every pair (value, weight) the weight times the taps."""
    counts = [0] * 256
    for value, weight in weighted:
        counts[value] += weight
    return [1 + sum(tap * counts[v + d - 7] for d, tap in enumerate(TAPS) if 0 <= v + d - 7 < 256) for v in range(256)]


def clip(value):
    return max(0, min(255, value))


def learned(weights, said, start, share):
    right = [w * s for w, s in zip(weights, said, strict=True)]
    return [r * (ONE - ONE // share) // sum(right) + s // share for r, s in zip(right, start, strict=True)]


def decode(body):
    count, rest = body[0] + 1, body[1:]
    if len(rest) == 3 * count:
        return rest
    entries = [[0, 0, 0]] * 3  # three black ones in front
    start_weights = [[64 * w for row in scaled for w in row if w] + [64 * w for w in counted] for scaled, counted in PRIORS]
    weights = [list(start) for start in start_weights]
    start_heads = [52480, 6528, 6528]
    heads = [start_heads] * 3
    steps = [[1 + 80 * FALLS[5][abs(step)] // (1 << 20) for step in range(-255, 256)] for _ in range(3)]
    steps_after = [[[0] * 511 for _ in range(9)] for _ in range(3)]
    values = [1] * 256
    low_bits = [[2] * 8 for _ in range(3)]
    data = iter(rest)
    code, width = 0, 1 << 56
    for _ in range(7):
        code = code * 256 + next(data, 0)
    for i in range(3, count + 3):
        now = []
        entries.append(now)
        third, second, before = entries[i - 3 : i]
        for c in range(3):
            step = now[c - 1] - before[c - 1] if c else before[2] - second[2]
            size = sum(abs(step) >= border for border in (1, 3, 9, 30))
            after = steps_after[c][4 + size if step > 0 else 4 - size]
            window = range(255 - before[c], 511 - before[c])
            counts = [[1] * 256, [steps[c][s] for s in window]]
            counts.append([32 * after[s] + steps[c][s] for s in window])
            counts.append(list(values))
            guesses = [before[c], clip(2 * before[c] - second[c])]
            if c == 0:
                guesses += [second[0], third[0]]
                counts.append(near((entry[0], 1) for entry in entries[3:i]))
            else:
                distances = [sum(abs(entry[d] - now[d]) for d in range(c)) for entry in entries[3:i]]
                moved = [clip(entry[c] + now[c - 1] - entry[c - 1]) for entry in entries[3:i]]
                order = sorted(range(i - 3), key=lambda j: (distances[j], -j))
                first, following = (order[0], order[min(1, len(order) - 1)]) if order else (0, 0)
                guesses += [clip(before[c] + step), now[c - 1]]
                guesses += [entries[3 + first][c], moved[first], entries[3 + following][c]] if order else [0, 0, 0]
                nearness = [(1 << 22) // (6 + distance) ** 3 + 1 for distance in distances]
                counts.append(near((entries[3 + j][c], nearness[j]) for j in range(i - 3)))
                counts.append(near((moved[j], nearness[j]) for j in range(i - 3)))
            rows = [kernel(guess, s) for guess, row in zip(guesses, PRIORS[c][0], strict=True) for s, weight in enumerate(row) if weight]
            rows += [shares(row) for row in counts]
            mixed = [sum(w * row[v] for w, row in zip(weights[c], rows, strict=True)) for v in range(256)]
            plain = [m // 4096 for m in mixed]
            parts = [plain, [m * low_bits[c][v % 8] for v, m in enumerate(plain)], [m * values[v] for v, m in enumerate(plain)]]
            parts = [[share + 1 for share in shares(part)] for part in parts]
            frequencies = [sum(h * part[v] for h, part in zip(heads[c], parts, strict=True)) // 4096 for v in range(256)]
            unit = width // sum(frequencies)
            value = 0
            while code >= unit * frequencies[value]:
                code -= unit * frequencies[value]
                value += 1
            width = unit * frequencies[value]
            while width < 1 << 48:
                code, width = code * 256 + next(data, 0), width * 256
            now.append(value)
            weights[c] = learned(weights[c], [row[value] for row in rows], start_weights[c], 32)
            heads[c] = learned(heads[c], [part[value] for part in parts], start_heads, 64)
            for table in (steps[c], after):
                table[:] = [n - n // 32 for n in table]
                table[value - before[c] + 255] += 4096
            values[value] += 16
            low_bits[c][value % 8] += 5
    return bytes(value for entry in entries[3:] for value in entry)
