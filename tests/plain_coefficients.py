"""The decoder of bitstream/FORMAT-dct.md, written from that document only: slow, and plain."""

from collections import defaultdict

from tests.plain_decoder import STRETCH, bands_of, limit, rate, squash, trust

EDGE = (724, 1081, 1221, 1377, 1448, 1356, 1061, 584)
SLOPE = (0, 153, 554, 1051, 1448, 1573, 1338, 769)
THRESHOLDS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)


def zigzag():
    """Rows and columns, as T.81 has them in figure A.6."""
    diagonals = [[(n - u, u) for u in range(8) if 0 <= n - u < 8] for n in range(15)]
    return [place for n, diagonal in enumerate(diagonals) for place in (diagonal if n % 2 == 0 else diagonal[::-1])]


PLACE = zigzag()
NUMBER = {place: k for k, place in enumerate(PLACE)}


def log_table():
    table, m = [], 0
    for n in range(4096):
        while 2 ** (2 * m + 1) <= (n + 1) ** 32:
            m += 1
        table.append(m)
    return table


LOG = log_table()


def log(x):
    return LOG[min(x, 4095)] if x >= 0 else -LOG[min(-x, 4095)]


def within(x, m):
    return limit(x, -m, m)


def ceil(a, b):
    return -(-a // b)


def bits(width):
    return (width - 1).bit_length()


class Arithmetic:
    def __init__(self, payload):
        self.payload, self.at = payload, 0
        self.low, self.high, self.value = 0, 2**32 - 1, 0
        for _ in range(4):
            self.value = self.value * 256 + self.next()

    def next(self):
        self.at += 1
        return self.payload[self.at - 1] if self.at <= len(self.payload) else 0

    def decide(self, chance):
        span = self.high - self.low
        middle = self.low + (span >> 16) * chance + (((span % 65536) * chance) >> 16)
        bit = int(self.value <= middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while self.low >> 24 == self.high >> 24:
            self.low = self.low * 256 % 2**32
            self.high = self.high * 256 % 2**32 + 255
            self.value = self.value * 256 % 2**32 + self.next()
        return bit


class Mixture:
    def __init__(self, coder, alone):
        self.coder = coder
        self.used = [alone in (False, used) for used in (0, 0, 1, 1, 1, 1, 0, 0, 1, 0, 1, 1)]
        first = [29491] * 12 + [0, 0] if alone else [2621] * 12 + [58982, 0]
        self.tables = [defaultdict(lambda: (2**21, 0)) for _ in range(12)]
        self.rare = defaultdict(lambda: (2**21, 0))
        self.sets = defaultdict(lambda: ([*first], [0]))
        self.refinements = defaultdict(lambda: [squash(limit(192 * j - 3072, -3071, 3071)) for j in range(33)])

    @staticmethod
    def learn(table, place, bit):
        p, n = table[place]
        table[place] = limit(p + (((2**22 * bit - p) * rate(n)) >> 16), 1, 2**22 - 1), min(n + 1, 255)

    def simple(self, place):
        bit = self.coder.decide(limit(self.rare[place][0] >> 6, 32, 65504))
        self.learn(self.rare, place, bit)
        return bit

    def decide(self, places, logit, first, second):
        counters = [table[place] for table, place in zip(self.tables, places, strict=True)]
        inputs = [used * ((STRETCH[p >> 10] * trust(n)) >> 8) for used, (p, n) in zip(self.used, counters, strict=True)] + [logit, 256]
        sets = [self.sets["first", first], self.sets["second", second]]
        opinions = [limit(sum((w * x) >> 8 for w, x in zip(weights, inputs, strict=True)) >> 8, -3071, 3071) for weights, _ in sets]
        mean = sum(opinions) >> 1
        place, rest = divmod(32 * (mean + 3072), 6144)
        refinement = self.refinements[first]
        refined = (refinement[place] * (6144 - rest) + refinement[place + 1] * rest) // 6144
        bit = self.coder.decide(limit((squash(mean) + refined) >> 1, 1, 65535))
        target = 65536 * bit
        for (weights, uses), opinion in zip(sets, opinions, strict=True):
            wrong = ((target - squash(opinion)) * (32 + 14336 // (64 + uses[0]))) >> 8
            for i, x in enumerate(inputs):
                weights[i] = within(weights[i] + ((x * wrong + 8192) >> 14), 524287)
            uses[0] = min(uses[0] + 1, 4095)
        for table, where in zip(self.tables, places, strict=True):
            self.learn(table, where, bit)
        nearest = place + (2 * rest > 6144)
        refinement[nearest] += (target - refinement[nearest]) >> 6
        return bit


def logits_of(network, place, features):
    if network is None:
        return [0] * 24
    x = [within((f * int(g) + 32) >> 6, 511) for f, g in zip(features, network["gains"][place], strict=True)]
    for layer in ("first", "second", "third"):
        low, high = (-3071, 3071) if layer == "third" else (0, 511)
        rows = network[f"{layer}.weight"].tolist()
        scales = zip(rows, network[f"{layer}.multiplier"][place].tolist(), network[f"{layer}.offset"][place].tolist(), strict=True)
        x = [limit(((sum(w * a for w, a in zip(row, x, strict=True)) >> 8) * m + o) >> 14, low, high) for row, m, o in scales]
    return x


class Block:
    """What a block leaves: its values by row and column, 0 elsewhere."""

    def __init__(self):
        self.values, self.end, self.count, self.size = defaultdict(int), 0, 0, 0
        self.right, self.below, self.right_slope, self.below_slope = ([0] * 8 for _ in range(4))

    def magnitude(self, v, u):
        return abs(self.values[v, u])

    def level(self, v, u):
        return log(self.magnitude(v, u))


class PlaneDecoder:
    def __init__(self, mixture, network, kind, size, steps, luma, second):
        self.mixture, self.network, self.kind, self.size = mixture, network, kind, size
        self.steps, self.luma, self.second = [max(int(q), 1) for q in steps], luma, second
        self.chroma = int(kind > 0)
        self.blocks, self.found = {}, {}

    def neighbours(self, y, x):
        get, none = self.blocks.get, Block()
        w, n = get((y, x - 1)), get((y - 1, x))
        w, n = w or n or none, n or w or none
        inner = y > 0 and x > 0
        return {
            "W": w,
            "N": n,
            "NW": (get((y - 1, x - 1)) if inner else None) or n,
            "NE": get((y - 1, x + 1)) or n,
            "WW": get((y, x - 2)) or w,
            "NN": get((y - 2, x)) or n,
        }

    def lighting(self, y, x):
        """light, bright, endlight."""
        if not self.kind:
            return [0] * 64, [0] * 64, 0
        sides = []
        for at, own, theirs in ((y, self.size[0], self.luma.size[0]), (x, self.size[1], self.luma.size[1])):
            times = ceil(theirs, own) if theirs >= own else 0
            first = min(times * at if times else at * theirs // own, theirs - 1)
            sides.append(range(first, min(first + min(max(times, 1), 2), theirs)))
        blocks = [self.luma.found[i, j] for i in sides[0] for j in sides[1]]
        light = [log(4 * sum(b[k] for b in blocks) // len(blocks)) for k in range(64)]
        bright = [log(4 * sum(abs(b[k]) for b in blocks) // len(blocks)) for k in range(64)]
        return light, bright, max((k for k in range(64) if bright[k]), default=0)

    def pull(self, total, factor, k):
        if factor == 0:
            return 0
        return within((within(total, 2**38) * (2**32 // (factor * self.steps[k]))) >> 30, 4095)

    def decode(self):
        for y in range(self.size[0]):
            for x in range(self.size[1]):
                self.block(y, x)

    def block(self, y, x):
        steps, kind, chroma = self.steps, self.kind, self.chroma
        near = self.neighbours(y, x)
        w, n, nw, ne, ww, nn = (near[name] for name in ("W", "N", "NW", "NE", "WW", "NN"))
        west, north = int(x > 0), int(y > 0)
        pw, qw = ([*w.right], [*w.right_slope]) if west else ([0] * 8, [0] * 8)
        pn, qn = ([*n.below], [*n.below_slope]) if north else ([0] * 8, [0] * 8)
        light, bright, endlight = self.lighting(y, x)
        twin = [0] * 64
        if kind == 2:
            rows, columns = self.second.size
            twin = self.second.found[min(y, rows - 1), min(x, columns - 1)]
        endtwin = max((k for k in range(64) if twin[k]), default=0)
        activity = sum(abs(pw[i]) + abs(pn[i]) for i in range(1, 8)) * (2 if west != north else 1)
        active = min(log(4 * (activity >> 10) // (steps[1] + steps[2])) >> 3, 15)

        e = w.end + n.end
        situations = (
            e >> 1,
            16 * (w.end >> 2) + (n.end >> 2),
            16 * active + (e >> 3),
            16 * (endlight >> 2) + (e >> 3),
            16 * ((nw.end + ne.end) >> 3) + (e >> 3),
            16 * active + (endtwin >> 2),
            8 * ((e + nw.end + ne.end) >> 3) + (endlight >> 3),
            4 * min(w.end, n.end) + (active >> 2),
            4 * max(w.end, n.end) + (active >> 2),
            16 * active + (endlight >> 2),
            4 * endtwin + (e >> 5),
            0,
        )
        f = [0] * 92
        for i in range(8):
            f[i] = log(min(abs(pw[i]), 2**38) * (2**32 // (724 * steps[NUMBER[i, 0]])) >> 30)
            f[8 + i] = log(min(abs(pn[i]), 2**38) * (2**32 // (724 * steps[NUMBER[0, i]])) >> 30)
        f[21:27] = [4 * b.end for b in (w, n, nw, ne, ww, nn)]
        f[36:42] = [log(w.end), log(n.end), log(w.count), log(n.count), log(w.count), log(n.count)]
        f[42:48] = [4 * w.count, 4 * n.count, w.level(0, 0), n.level(0, 0), log(nw.end), log(ne.end)]
        f[55], f[63], f[64] = log(abs(w.end - n.end)), log(steps[0]), log(steps[1] + steps[2])
        f[67], f[72], f[73], f[74], f[75] = 4 * endlight, 4 * endtwin, 64 * west, 64 * north, 8 * active
        f[90], f[91] = log(w.size), log(n.size)
        logits = logits_of(self.network, 192 + kind, f)

        def decide_end(node, logit):
            places = [("end", chroma, situation, node) for situation in situations]
            return self.mixture.decide(places, logit, 4096 + 256 * chroma + node, 16384 + 16 * (256 * chroma + node) + active)

        j = 0
        while j < 12 and decide_end(j, logits[1 + j if j else 0]):
            j += 1
        end = 0
        if j:
            t, width = 1, bits(THRESHOLDS[j] - THRESHOLDS[j - 1])
            for _ in range(width):
                t = 2 * t + decide_end(16 * j + t, 0)
            end = min(THRESHOLDS[j - 1] + 1 + t - 2**width, 63)

        own = self.blocks[y, x] = Block()
        own.end, found = end, [0] * 64
        self.found[y, x] = found
        zeros, last, before = 0, 0, 0
        for k in [*range(1, end + 1), 0]:
            v, u = PLACE[k]
            expected = 0
            if k:
                a, b = self.pull(pw[v], EDGE[u], k), self.pull(pn[u], EDGE[v], k)
                p = (a * (v + 1) + b * (u + 1)) // (u + v + 2) if west and north else a if west else b
            else:
                rest_w = min((sum(abs(pw[i]) for i in range(1, 8)) >> 10) // steps[0], 4096) + 1
                rest_n = min((sum(abs(pn[i]) for i in range(1, 8)) >> 10) // steps[0], 4096) + 1
                c, d = (8 * within(total, 2**38) // (724 * steps[0]) for total in (pw[0], pn[0]))
                eighths = c if west else d if north else 0
                if west and north:
                    eighths = (c * rest_n**2 + d * rest_w**2) // (rest_w**2 + rest_n**2)
                expected = within((eighths + 4) >> 3, 32767)
                a = within((c - 8 * expected) >> 1, 4095) * west
                b = within((d - 8 * expected) >> 1, 4095) * north
                p = within(eighths - 8 * expected, 4095)
            leaning = p or a or b or w.values[v, u]
            s = -1 if leaning < 0 else 1

            def signed(block, i, j, s=s):
                return s * log(block.values[i, j])

            def levels(block, *places):
                return [block.level(*place) for place in places]

            here, left_, right_, up, down = (v, u), (v, u - 1), (v, u + 1), (v - 1, u), (v + 1, u)
            f = [s * log(self.pull(pw[i], 724, k)) for i in range(8)] + [s * log(self.pull(pn[i], 724, k)) for i in range(8)]
            f += [s * log(a), s * log(b), log(abs(p)), abs(log(a)), abs(log(b))]
            f += [block.level(v, u) for block in (w, n, nw, ne, ww, nn)]
            f += levels(own, left_, up, (v - 1, u - 1), (v, u - 2), (v - 2, u), (v - 1, u + 1), (v + 1, u - 1), right_, down)
            f += levels(w, left_, right_, up, down) + levels(n, left_, right_, up, down)
            f += [w.level(v + 1, u + 1), n.level(v + 1, u + 1), signed(w, *here), signed(n, *here)]
            f += [signed(own, *place) for place in (left_, up, (v, u - 2), (v - 2, u), (v - 1, u - 1))]
            f += [log(end - k), 4 * (end - k), 4 * end, 4 * w.end, 4 * n.end]
            f += [log(own.count), log(own.size), log(zeros), log(last), log(before), log(steps[k]), log(steps[1] + steps[2])]
            f += [bright[k], s * light[k], 4 * endlight]
            f += [bright[NUMBER[v, u + 1]] if chroma and u < 7 else 0, bright[NUMBER[v + 1, u]] if chroma and v < 7 else 0]
            f += [log(abs(twin[k])), s * log(twin[k]), 4 * endtwin, 64 * west, 64 * north, 8 * active]
            g, h = log(self.pull(qw[v], SLOPE[u], k)), log(self.pull(qn[u], SLOPE[v], k))
            f += [s * g, s * h, abs(g), abs(h), log(steps[k - 1]) - log(steps[k]) if k else 0, log(steps[1] + steps[2]) - log(steps[k])]
            f += [signed(w, *left_), signed(w, *right_), signed(n, *up), signed(n, *down), w.level(v - 1, u - 1), n.level(v - 1, u - 1)]
            f += [sum(levels(nw, right_, down)), sum(levels(ne, right_, down)), log(w.size), log(n.size)]
            logits = logits_of(self.network, 64 * kind + k, f)

            m = [block.magnitude(v, u) for block in (w, n, nw, ne, ww, nn)]
            close = min(log(3 * m[0] + 3 * m[1] + m[2] + m[3] + m[4] + m[5]) >> 3, 15)
            left = min(log(end - k) >> 3, 15)
            high = 2 * own.magnitude(*left_) + own.magnitude(v, u - 2) + 2 * own.magnitude(*up) + own.magnitude(v - 2, u)
            high = min(log(high + own.magnitude(*right_) + own.magnitude(*down)) >> 3, 15)
            corner = min(log(own.magnitude(v - 1, u - 1) + own.magnitude(v + 1, u - 1) + own.magnitude(v - 1, u + 1)) >> 3, 15)
            beside = min(sum(levels(w, left_, right_, up, down) + levels(n, left_, right_, up, down)) >> 5, 15)
            strong = min(log(abs(p)) >> 3, 15)
            far_a, far_b = min(abs(log(a)) >> 3, 10), min(abs(log(b)) >> 3, 10)
            if chroma:
                colour = 15 * (within(s * (twin[k] if kind == 2 else light[k] >> 4), 7) + 7) + min(bright[k] >> 3, 14)
            else:
                colour = 16 * min(log(m[2] + m[3]) >> 3, 15) + min(log(m[4] + m[5]) >> 3, 15)
            position = 64 * chroma + k
            places = [
                (position, 16 * close + left),
                (position, 4 * min(log(abs(p)) >> 1, 63) + (close >> 2)),
                (position, 2 * (11 * far_a + far_b) + (a * b > 0)),
                (position, 16 * high + corner),
                (position, 15 * (within(s * w.values[v, u], 7) + 7) + within(s * n.values[v, u], 7) + 7),
                (position, 8 * (end >> 1) + min(own.count, 7)),
                (position, colour),
                (position, 32 * min(last, 7) + 4 * min(before, 7) + (left >> 2)),
                (chroma, 256 * close + 16 * strong + high),
                (position, 16 * close + strong),
                (position, 16 * beside + min(log(own.size) >> 3, 15)),
            ]

            def decide(node, logit, places=places, position=position, second=256 * chroma + 16 * close + strong):
                ours = [("coefficient", *place, node) for place in [*places, (position, (logit + 3072) >> 5)]]
                return self.mixture.decide(ours, logit, 32 * position + node, 32 * second + node)

            value = self.value(k, k == end and k > 0, s, logits, decide)
            own.values[v, u] = value
            coefficient = found[k] = expected + value
            assert abs(coefficient) <= 32767
            if k and value:
                c = coefficient * steps[k]
                pw[v] -= EDGE[u] * c
                pn[u] -= EDGE[v] * c
                qw[v] -= SLOPE[u] * c
                qn[u] -= SLOPE[v] * c
                own.count += 1
                own.size += abs(value)
            zeros = 0 if value else zeros + 1
            last, before = abs(value), last
        for k in range(64):
            (v, u), c = PLACE[k], found[k] * steps[k]
            own.right[v] += (-1) ** u * EDGE[u] * c
            own.below[u] += (-1) ** v * EDGE[v] * c
            own.right_slope[v] -= (-1) ** u * SLOPE[u] * c
            own.below_slope[u] -= (-1) ** v * SLOPE[v] * c

    def value(self, k, certain, s, logits, decide):
        if not certain and not decide(0, logits[0]):
            return 0
        other = decide(15, logits[1])
        j = 1
        while j < 14 and decide(16 * other + j, logits[1 + j + 11 * other] if j <= 11 else 0):
            j += 1
        group, simple = 2 * self.chroma + (k == 0), self.mixture.simple
        if j == 14:
            m = 0
            while m < 17 and simple((group, "length", m)):
                m += 1
            t = 1
            for i in range(m - 1, -1, -1):
                t = 2 * t + simple((group, "bit", i))
            magnitude = 97 + t - 1
        else:
            t, width = 1, bits(THRESHOLDS[j] - THRESHOLDS[j - 1])
            for _ in range(width):
                t = 2 * t + simple((group, j, t))
            magnitude = THRESHOLDS[j - 1] + 1 + t - 2**width
        return (-s if other else s) * magnitude


def coefficients(payloads, sizes, steps, network=None):
    """Of each plane its rows of blocks of 64 coefficients; network: its tensors by name, or None."""
    least, bands = min(size[0] for size in sizes), bands_of(sizes, network is None)
    assert len(payloads) == bands
    planes = [[] for _ in sizes]
    for b, payload in enumerate(payloads):
        cuts = [least * n // bands for n in (b, b + 1)]
        blocks = sum((ceil(cuts[1] * rows, least) - ceil(cuts[0] * rows, least)) * columns for rows, columns in sizes)
        assert len(payload) >= max(1, ceil(2 * blocks * 366, 2**27) - 3)
        mixture, decoders = Mixture(Arithmetic(payload), network is None), []
        for i, (rows, columns) in enumerate(sizes):
            first, last = (ceil(cut * rows, least) for cut in cuts)
            luma, second = (decoders[0] if i else None), (decoders[1] if i > 1 else None)
            decoders.append(PlaneDecoder(mixture, network, i % 3, (last - first, columns), steps[i], luma, second))
            decoders[i].decode()
            planes[i] += [[decoders[i].found[y, x] for x in range(columns)] for y in range(last - first)]
        assert mixture.coder.at == len(payload) + 3
    return planes
