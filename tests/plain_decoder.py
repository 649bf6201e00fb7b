"""A second decoder, written from `bitstream/FORMAT.md` alone: NumPy int64 and Python integers, no torch, no constriction, no speed.

It proves that the document is enough, and is an independent witness for every step of the exact network.
"""

import hashlib
import json
import math
import zlib
from bisect import bisect_left, bisect_right
from collections import defaultdict
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import partial
from math import isqrt
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

NEIGHBOURS = [
    (0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, -2),
    (-1, 2), (-2, -1), (-2, 1), (0, -3), (-2, -2), (-2, 2), (-3, 0),
]  # fmt: skip


def exp2(steps, top):
    """Section 7: the first octave by integer roots with 64 more bits, the rest by halving."""
    table = []
    octave = [Fraction(nth_root((2 * top) ** steps << 64 * steps >> i, steps), 1 << 65) for i in range(steps)]
    while not table or table[-1]:
        halvings, i = divmod(len(table), steps)
        power = octave[i] / (1 << halvings)
        table.append((2 * power.numerator + power.denominator) // (2 * power.denominator))
    return np.array(table)


def nth_root(x, n):
    low, high = 0, 1 << (x.bit_length() // n + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if middle**n <= x:
            low = middle
        else:
            high = middle - 1
    return low


def clamp(x, n):
    return np.clip(x, -n, n)


def med(w, n, nw):
    return np.sort(np.stack([w, n, w + n - nw]), 0)[1]


class Model:
    def __init__(self, folder):
        self.config = json.loads((Path(folder) / "config.json").read_text())
        self.tensors = load_file(Path(folder) / "integer.safetensors")
        digest = hashlib.sha256(b"igpt numerics 1\n")
        for name in ("attention_window", "head_inner", "layout", "n_embd", "n_head", "n_inner", "n_layer", "n_positions"):
            digest.update(f"{name} {self.config[name]}\n".encode())
        for name in sorted(self.tensors):
            t = self.tensors[name]
            digest.update(f"{name} {t.dtype.name} {list(t.shape)}\n".encode() + t.tobytes())
        self.digest = digest.digest()[:8]
        self.t = {name: tensor.astype(np.int64) for name, tensor in self.tensors.items()}
        window = self.config["attention_window"]
        top = 1
        while 2 * top * 127 * window < 1 << 24:
            top *= 2
        self.attention_table = exp2(32, top)

    def project(self, name, x, limit):
        a = x @ self.t[f"{name}.weight"].T + self.t[f"{name}.bias"]
        shift = self.t[f"{name}.shift"]
        return clamp((a * self.t[f"{name}.multiplier"] + (1 << (shift - 1))) >> shift, limit)

    def normalize(self, name, x):
        b = 3 if x.shape[-1] <= 128 else 0
        out = []
        shift = int(self.t[f"{name}.shift"])
        for row in x:
            r = isqrt(4**b * int((row * row).sum()))
            i = 2 ** (30 + b) // max(r, 2**b)
            out.append(clamp((((row * i) >> 15) * self.t[f"{name}.gain"] + (1 << (shift - 1))) >> shift, 127))
        return np.array(out)

    def inner(self, name, x):
        return self.t[f"{name}.table"][512 + self.project(f"{name}.c_fc", x, 511)]

    def attend(self, layer, query, keys, values):
        """query (tiles, d), keys and values (positions, tiles, d)."""
        heads = self.config["n_head"]
        dim = query.shape[-1] // heads
        multiplier, shift = int(self.t[f"h.{layer}.attn.multiplier"]), int(self.t[f"h.{layer}.attn.shift"])
        out = np.empty_like(query)
        for h in range(heads):
            part = slice(h * dim, (h + 1) * dim)
            score = (query[None, :, part] * keys[:, :, part]).sum(-1)  # (positions, tiles)
            index = ((score.max(0) - score) * multiplier) >> shift
            e = self.attention_table[np.minimum(index, len(self.attention_table) - 1)]
            total = e.sum(0)[:, None]
            out[:, part] = (2 * (e[:, :, None] * values[:, :, part]).sum(0) + total) // (2 * total)
        return out

    def hidden(self, features, p, cache):
        limit = 2**19 - 1
        x = clamp(self.project("wce", features, limit) + self.t["wpe"][p], limit)
        window = self.config["attention_window"]
        for k in range(self.config["n_layer"]):
            query, key, value = np.split(self.project(f"h.{k}.attn.c_attn", self.normalize(f"h.{k}.ln_1", x), 127), 3, -1)
            cache.setdefault(k, []).append((key, value))
            keys, values = (np.stack(part) for part in zip(*cache[k][-window:], strict=True))
            x = clamp(x + self.project(f"h.{k}.attn.c_proj", self.attend(k, query, keys, values), limit), limit)
            inner = self.inner(f"h.{k}.mlp", self.normalize(f"h.{k}.ln_2", x))
            x = clamp(x + self.project(f"h.{k}.mlp.c_proj", inner, limit), limit)
        return self.normalize("ln_f", x)

    def logits(self, hidden, features, head):
        return self.project(f"heads.{head}.c_proj", self.inner(f"heads.{head}", np.concatenate([hidden, features], 1)), 2**15 - 1)


LOGIT_TABLE = exp2(128, 1 << 18)


def frequencies_of(logits, rest):
    """Section 10."""
    n = logits.shape[-1]
    below = np.minimum(logits.max(-1, keepdims=True) - logits, len(LOGIT_TABLE) - 1)
    e = LOGIT_TABLE[below]
    i = ((2**24 - n) << 18) // e.sum(-1, keepdims=True)
    f = (e * i) >> 18
    f[:, rest] += 2**24 - n - f.sum(-1)
    return f + 1


def rounded(x, s):
    return (x + (1 << s >> 1)) >> s


class PaletteModel:
    """Section 14; everything for one tile, row by row."""

    def __init__(self, folder):
        self.config = json.loads((Path(folder) / "config.json").read_text())
        tensors = load_file(Path(folder) / "integer.safetensors")
        digest = hashlib.sha256(b"igpt numerics 1 palette\n")
        for name in ("n_embd", "n_head", "n_inner", "n_layer", "n_positions", "vocab_size"):
            digest.update(f"{name} {self.config[name]}\n".encode())
        for name in sorted(tensors):
            t = tensors[name]
            digest.update(f"{name} {t.dtype.name} {list(t.shape)}\n".encode() + t.tobytes())
        self.digest = digest.digest()[:8]
        self.t = {name: tensor.astype(np.int64) for name, tensor in tensors.items()}
        self.table = exp2(256, 1 << 16)
        with localcontext() as context:
            context.prec = 40
            powers = [(Decimal("-1.702") * z / 4096).exp() for z in range(32768)]
            self.activation = np.array([int((z * p / (1 + p) + Decimal("0.5")) // 1) for z, p in enumerate(powers)])

    def project(self, name, x, limit):
        e = max(0, int(abs(x).max()).bit_length() - 14)
        a = self.t[f"{name}.weight"] @ clamp(rounded(x, e), 16256)
        s = min(max(int(self.t[f"{name}.shift"]) - e, 1), 62)
        return clamp(rounded(a * self.t[f"{name}.multiplier"], s) + self.t[f"{name}.bias"], limit)

    def normalize(self, name, x):
        k = max(int(abs(x).max()).bit_length() - 15, -10)
        y, epsilon = (rounded(x, k), int(self.t["epsilon"]) >> 2 * k) if k > 0 else (x << -k, int(self.t["epsilon"]) * 4**-k)
        f = 2**34 // max(1, isqrt(int((y * y).sum()) + epsilon))
        return ((y * f) >> 16) * self.t[f"{name}.gain"]

    def attend(self, k, qkv, cache):
        heads, width = self.config["n_head"], self.config["n_embd"]
        cuts = []
        for part in qkv.reshape(3 * heads, width // heads):
            e = max(0, int(abs(part).max()).bit_length() - 7)
            cuts.append((clamp(rounded(part, e), 127), e))
        cache.setdefault(k, []).append(cuts)
        multiplier, shift = int(self.t[f"h.{k}.attn.multiplier"]), int(self.t[f"h.{k}.attn.shift"])
        out = []
        for h in range(heads):
            query, e_query = cuts[h]
            keys, values = ([past[n * heads + h] for past in cache[k]] for n in (1, 2))
            scores = [int(query @ key) * multiplier >> (shift - e_query - e) for key, e in keys]
            weights = [int(self.table[min(max(scores) - score, len(self.table) - 1)]) for score in scores]
            v = sum(w * (value << e) for w, (value, e) in zip(weights, values, strict=True))
            out.append((2 * v + sum(weights)) // (2 * sum(weights)))
        return np.concatenate(out)

    def logits(self, before, p, cache):
        limit = 2**30 - 1
        x = clamp(self.t["wte"][before] + self.t["wpe"][p], limit)
        for k in range(self.config["n_layer"]):
            qkv = self.project(f"h.{k}.attn.c_attn", self.normalize(f"h.{k}.ln_1", x), 2**19 - 1)
            x = clamp(x + self.project(f"h.{k}.attn.c_proj", self.attend(k, qkv, cache), limit), limit)
            inner = self.project(f"h.{k}.mlp.c_fc", self.normalize(f"h.{k}.ln_2", x), 2**26 - 1)
            active = np.maximum(inner, 0) - self.activation[np.minimum(abs(inner), 32767)]
            x = clamp(x + self.project(f"h.{k}.mlp.c_proj", active, limit), limit)
        return self.project("lm_head", self.normalize("ln_f", x), 2**20 - 1)

    def bounds(self, t, known, channels):
        """Of the next sample of a pixel with the token t: (low, high)."""
        if channels == 3 and len(known) < 2:
            return self.t["red"][t, known[0]] if known else self.t["green"][t]
        centres = self.t["centres"]
        found = []
        for s in range(256):
            colour = np.array([known[1], known[0], s] if known else [s, s, s])
            room = (centres**2).sum(1) - (centres[t] ** 2).sum() - (np.arange(len(centres)) < t)
            if (2**17 * (colour * (centres - centres[t])).sum(1) <= room)[np.arange(len(centres)) != t].all():
                found.append(s)
        return (min(found), max(found)) if found else (256, -1)


def decode_tokens(model, chunks, group_size, width, height):
    """Takes the groups off `chunks`; (height, width) tokens."""
    columns = -(-width // 32)
    tiles = columns * -(-height // 32)
    plane = np.zeros((height, width), np.int64)
    for first in range(0, tiles, group_size):
        decoder = RangeDecoder(chunks.pop(0))
        corners = [(t // columns * 32, t % columns * 32) for t in range(first, min(first + group_size, tiles))]
        caches, before = [{} for _ in corners], [model.config["vocab_size"] - 1 for _ in corners]
        for p in range(1024):
            for k, (top, left) in enumerate(corners):
                y, x = top + p // 32, left + p % 32
                if y >= height:
                    continue
                logits = model.logits(before[k], p, caches[k])
                if x < width:
                    before[k] = plane[y, x] = decoder.token(frequencies_of(logits[None], 0)[0])
        decoder.finish()
    return plane


class RangeDecoder:
    """Section 11."""

    def __init__(self, payload):
        self.words = [int.from_bytes(payload[k : k + 4], "little") for k in range(0, len(payload), 4)]
        self.read = self.cost = 0
        self.lower, self.range = 0, 2**64 - 1
        self.point = self.word() << 32 | self.word()

    def word(self):
        self.read += 1
        return self.words[self.read - 1] if self.read <= len(self.words) else 0

    def token(self, frequencies):
        c = np.concatenate([[0], np.cumsum(frequencies)]).tolist()
        scale = self.range >> 24
        q = (self.point - self.lower) % 2**64 // scale
        assert q < 2**24
        t = bisect_right(c, q) - 1
        self.lower, self.range = (self.lower + scale * c[t]) % 2**64, scale * (c[t + 1] - c[t])
        if self.range < 2**32:
            self.lower, self.range = (self.lower << 32) % 2**64, self.range << 32
            self.point = (self.point << 32) % 2**64 | self.word()
        f, k = c[t + 1] - c[t], 0
        while f << k <= 2**23:
            k += 1
        self.cost += 2**24 * k + 23 * (2**24 - (f << k)) // 16
        assert self.cost <= 2**27 * 4 * len(self.words)
        return t

    def finish(self):
        assert self.read >= len(self.words)
        assert (self.point - self.lower) % 2**64 < 2**33 - 1


def encode_tokens(tokens, tables):
    """Section 11, the encoder: tokens, and a row of frequencies for each."""
    lower, range_, renewed = 0, 2**64 - 1, 0
    for t, frequencies in zip(tokens, tables, strict=True):
        scale = range_ >> 24
        lower, range_ = lower + scale * sum(frequencies[:t]), scale * frequencies[t]
        if range_ < 2**32:
            lower, range_, renewed = lower << 32, range_ << 32, renewed + 1
    last = (lower + 2**32 - 1) >> 32
    words = [last >> 32 * k & 0xFFFFFFFF for k in range(renewed, -1, -1)] + [0] * ((lower + range_) >> 32 == last)
    return b"".join(word.to_bytes(4, "little") for word in words)


def varint(data, at):
    value = 0
    for k in range(5):
        byte = data[at + k]
        value |= (byte & 127) << 7 * k
        if byte < 128:
            assert byte or not k
            return value, at + k + 1
    raise AssertionError


def inflate(packed, size):
    """A zlib stream and nothing else, of at most so many bytes."""
    stream = zlib.decompressobj()
    raw = stream.decompress(packed, size + 1)
    assert stream.eof
    assert not stream.unused_data
    return raw


def decode_envelope(data, folder):
    """Sections 15 and 16: colour type, bits, samples (height, width, channels) and the chunks as (name, body)."""
    assert data[9] == 5
    assert data[-8:] == hashlib.sha256(data[:-8]).digest()[:8]
    colour, bits, count = data[10:13]
    at, parts = 13, []
    for _ in range(count):
        n, at = varint(data, at)
        parts.append(decode(data[:9] + data[at : at + n], folder))
        at += n
    samples = np.concatenate(parts, 2)
    if bits == 16:
        n, at = varint(data, at)
        packed, at = varint(data, at)
        assert n <= 2**16
        assert bool(packed) == bool(n)
        steps = inflate(data[at : at + packed], 2 * n) if n else b""
        at += packed
        assert len(steps) == 2 * n
        if n:
            levels = np.cumsum([steps[i] + 256 * steps[n + i] for i in range(n)])
            assert (np.diff(levels) > 0).all()
            assert levels[-1] < 2**16
            samples = levels.astype(np.uint16)[samples]
    size, at = varint(data, at)
    packed, at = varint(data, at)
    assert size <= 2**26
    assert bool(packed) == bool(size)
    raw = inflate(data[at : at + packed], size) if size else b""
    assert len(raw) == size
    assert at + packed + 8 == len(data)
    at, chunks = 0, []
    while at < len(raw):
        n, start = varint(raw, at + 4)
        assert start + n <= len(raw)
        chunks.append((raw[at : at + 4], raw[start : start + n]))
        at = start + n
    return colour, bits, samples, chunks


def decode(data, folder, refinement=None):
    """The pixels of a file, (height, width, channels) uint8. refinement: the folder of a palette's second model."""
    assert data[:9] == bytes.fromhex("89 49 47 50 54 0D 0A 1A 0A")
    version = data[9]
    assert version in (1, 2, 3, 4)
    numerics = data[10]
    assert numerics == 1 or (numerics, version) in ((2, 3), (3, 3))
    width, at = varint(data, 11)
    height, at = varint(data, at)
    channels, depth, kind = data[at : at + 3]
    at += 3
    if version != 3:
        group_size, at = varint(data, at + 1)
        digest, at = data[at : at + 8], at + 8
        at += 1 + data[at]
    pixel_digest, at = data[at : at + 16], at + 16
    if version == 2:
        formula, filter_, place = data[at : at + 3]
        chroma_width, at = varint(data, at + 3)
        chroma_height, at = varint(data, at)
    elif version == 3:
        rows, at = varint(data, at)
    elif version == 4:
        refined, at = data[at], at + 1
        assert refined in (0, 1)
        if refined:
            refinement_digest, at = data[at : at + 8], at + 8
            at += 1 + data[at]
    assert int.from_bytes(data[at : at + 4], "little") == zlib.crc32(data[:at])
    header, at = data[: at + 4], at + 4
    chunks = []
    while at < len(data):
        length, at = varint(data, at)
        payload, at = data[at : at + length], at + length
        assert int.from_bytes(data[at : at + 4], "little") == zlib.crc32(header[:-4] + len(chunks).to_bytes(4, "little") + payload)
        chunks.append(payload)
        at += 4
    assert at == len(data)
    if version != 3:
        model = (PaletteModel if version == 4 else Model)(folder)
        assert model.digest == digest
    if version == 4:
        assert kind == 4
        tokens = decode_tokens(model, chunks, group_size, width, height)
        if refined:
            second = Model(refinement)
            assert second.digest == refinement_digest
            planes = decode_layer(second, chunks, group_size, width, height, channels, 0 if channels == 3 else 1, None, (model, tokens))
            pixels = np.ascontiguousarray(planes[[1, 0, 2] if channels == 3 else [0]].transpose(1, 2, 0))
        else:
            pixels = ((model.t["centres"] + 2**15) >> 16).astype(np.uint8)[tokens][..., :channels].copy()
    elif version == 3:
        assert kind == 3
        form = partial(DeepBand, exact=numerics == 3) if depth == 16 else partial(Band, guesses=3 + numerics)
        bands = [form(chunks.pop(0), width, min(rows, height - y), channels).decode() for y in range(0, height, rows)]
        pixels = np.concatenate(bands)[..., [[0], [0, 1], [1, 0, 2], [1, 0, 2, 3]][channels - 1]]
    elif version == 1:
        assert kind in (0, 1)
        planes = decode_layer(model, chunks, group_size, width, height, channels, kind, None)
        pixels = np.ascontiguousarray(planes[[1, 0, 2] if kind == 0 else [0]].transpose(1, 2, 0))
    else:
        assert kind == 2
        exceptions = chunks.pop(0)
        small = decode_layer(model, chunks, group_size, chroma_width, chroma_height, 2, 3 + 2 * formula, None)
        chroma = upsample(small.astype(np.int64), filter_, place & 1, place >> 1 & 1, place >> 2, height, width)
        luma = decode_layer(model, chunks, group_size, width, height, 1, 2 + 2 * formula, chroma)[0].astype(np.int64)
        pixels = develop(formula, luma, *chroma)
        for number, additions in exceptions_of(exceptions, width * height):
            for c in range(3):
                pixels[number // width, number % width, c] = (int(pixels[number // width, number % width, c]) + additions[c]) % 256
    assert not chunks
    assert hashlib.sha256(pixels.tobytes()).digest()[:16] == pixel_digest
    return pixels


def exceptions_of(payload, pixels):
    """Section 12: numbers of pixels, and additions to R, G and B."""
    if not payload:
        return []
    raw = inflate(payload, 7 * pixels + 5)
    n, at = varint(raw, 0)
    assert 1 <= n <= pixels // 8
    assert len(raw) == at + 7 * n
    numbers, last = [], -1
    for i in range(n):
        last += 1 + sum(raw[at + k * n + i] << 8 * k for k in range(4))
        numbers.append(last)
    assert last < pixels
    return [(number, raw[at + 4 * n + i :: n]) for i, number in enumerate(numbers)]


def least_bytes(tokens):
    """Section 3."""
    return -(-366 * tokens // 2**27)


def upsample(small, filter_, top, left, ring, height, width):
    """Section 12, one sample at a time: (2, rows, columns) -> (2, height, width)."""
    down, across = {0: (1, 1), 1: (2, 2), 2: (1, 2), 3: (2, 1), 4: (2, 2), 5: (1, 2), 6: (2, 1), 7: (2, 2)}[filter_]

    def taps(k, factor):
        if factor == 1 or filter_ in (4, 5, 6):
            return {0: 1}
        if filter_ == 7:
            return {0: 1, 1: 1} if k else {0: 1}
        return {0: 3, 1 if k else -1: 1}

    rows, columns = small.shape[1:]
    assert (rows, columns) == (-(-(height + top) // down) + 2 * ring, -(-(width + left) // across) + 2 * ring)
    out = np.empty((2, height, width), np.int64)
    for i in range(height):
        for j in range(width):
            cell, y = divmod(i + top, down)
            other, x = divmod(j + left, across)
            total = 0
            for dy, v in taps(y, down).items():
                for dx, h in taps(x, across).items():
                    total = total + v * h * small[:, min(max(cell + ring + dy, 0), rows - 1), min(max(other + ring + dx, 0), columns - 1)]
            if filter_ == 7:
                bias, shift = y + x, y + x
            else:
                bias, shift = {1: ((8, 7)[x], 4), 2: ((1, 2)[x], 2), 3: ((1, 2)[y], 2)}.get(filter_, (0, 0))
            out[:, i, j] = (total + bias) >> shift
    return out


def develop(formula, y, c1, c2):
    """Section 12: pixels (height, width, 3) uint8."""
    if formula == 0:
        b, r = c1 - 128, c2 - 128
        rgb = [y + ((91881 * r + 32768) >> 16), y + ((-22554 * b - 46802 * r + 32768) >> 16), y + ((116130 * b + 32768) >> 16)]
    else:
        light, b, r = 89024 * y, 145352 * (c1 - 156), 119374 * (c2 - 137)
        rgb = [(light + r) >> 16, (light - 12714 * (b >> 16) - 33358 * (r >> 16)) >> 16, (light + b) >> 16]
    return np.clip(np.stack(rgb, -1), 0, 255).astype(np.uint8)


def decode_layer(model, chunks, group_size, width, height, channels, kind, chroma, cells=None):
    """Takes its groups off `chunks`; (channels, height, width) uint8."""
    columns = -(-width // 32)
    tiles = columns * -(-height // 32)
    planes = np.zeros((channels, height, width), np.uint8)
    for group in range(-(-tiles // group_size)):
        members = range(group * group_size, min((group + 1) * group_size, tiles))
        corners = [(t // columns * 32, t % columns * 32) for t in members]
        sizes = [(min(32, height - y), min(32, width - x)) for y, x in corners]
        decoded = decode_group(model, chunks.pop(0), sizes, channels, kind, None if chroma is None else (chroma, corners), cells, corners)
        for (y, x), size, tile in zip(corners, sizes, decoded, strict=True):
            planes[:, y : y + size[0], x : x + size[1]] = tile.reshape(channels, 32, 32)[:, : size[0], : size[1]]
    return planes


PLACES = [
    (0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1), (0, -2),
    (0, 2), (-2, 0), (2, 0), (2, 2), (2, -2), (0, 4), (4, 0), (4, 4),
]  # fmt: skip


def surroundings(chroma, y, x):
    """Section 6: the 70 features of the pixel (y, x)."""
    found = []
    for plane in chroma:
        height, width = plane.shape

        def at(row, column, plane=plane, height=height, width=width):
            return plane[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]

        difference = np.array([at(y + dy, x + dx) - at(y, x) for dy, dx in PLACES])
        found += [*fine(difference), *coarse(difference), clamp(at(y, x) - 128, 127)]
    return found


def fine(x):
    return clamp(4 * x, 127)


def coarse(x):
    return clamp(x >> 1, 127)


def decode_group(model, payload, sizes, channels, kind, around, cells, corners):
    assert len(payload) >= max(4, least_bytes(channels * sum(rows * columns for rows, columns in sizes)))
    decoder = RangeDecoder(payload)
    count = len(sizes)
    s = np.zeros((count, channels, 1024), np.int64)
    residual = np.zeros((count, channels, 1024), np.int64)
    cache = {}
    for p in range(max((rows - 1) * 32 + columns for rows, columns in sizes)):
        y, x = divmod(p, 32)
        v = np.full((count, channels, 14), 128)
        r = np.zeros((count, channels, 14), np.int64)
        for k, (dy, dx) in enumerate(NEIGHBOURS):
            at = max(y + dy, 0) * 32 + min(max(x + dx, 0), 31)
            if at >= p:
                at = p - 1 if x else p - 32
            if at >= 0:
                v[:, :, k], r[:, :, k] = s[:, :, at], residual[:, :, at]
        base = med(v[..., 0], v[..., 1], v[..., 2])
        features = np.zeros((count, 112), np.int64)
        for c in range(channels):
            difference = v[:, c] - base[:, c, None]
            own = [fine(difference), coarse(difference), fine(r[:, c, :6]), clamp(base[:, c, None] - 128, 127)]
            features[:, 35 * c : 35 * c + 35] = np.concatenate(own, 1)
        if around:
            chroma, corners = around
            features[:, 35:105] = [surroundings(chroma, corner[0] + y, corner[1] + x) for corner in corners]
        features[:, 105 + kind] = 64
        hidden = model.hidden(features, p, cache)
        for c in range(channels):
            prediction = base[:, c]
            if c and kind == 0:
                d = v[:, c] - v[:, 0]
                prediction = np.clip(s[:, 0, p] + med(d[:, 0], d[:, 1], d[:, 2]), 0, 255)
            head = np.zeros((count, 16), np.int64)
            for k, q in enumerate([*residual[:, :c, p].T, prediction - base[:, c]] if c else []):
                head[:, 2 * k], head[:, 2 * k + 1] = fine(q), coarse(q)
            logits = model.logits(hidden, head, c + 1 if kind in (3, 5) else c)
            for t, (rows, columns) in enumerate(sizes):
                if cells and y < rows and x < columns:
                    palette, tokens = cells
                    low, high = palette.bounds(tokens[corners[t][0] + y, corners[t][1] + x], s[t, :c, p].tolist(), channels)
                    sample = (np.arange(256) + prediction[t] - 128) % 256
                    logits[t, (sample < low) | (sample > high)] = -(2**20)
            frequencies = frequencies_of(logits, 128)
            for t, (rows, columns) in enumerate(sizes):
                if y < rows and x < columns:
                    s[t, c, p] = (decoder.token(frequencies[t]) + prediction[t] - 128) % 256
                elif x >= columns:
                    s[t, c, p] = s[t, c, p - 1]
            residual[:, c, p] = s[:, c, p] - prediction
    decoder.finish()
    return s


def squash_table():
    """Section 13."""
    with localcontext() as context:
        context.prec = 40
        values = [Decimal(65536) / (1 + (Decimal(-x) / 256).exp()) for x in range(-3071, 3072)]
        return [min(max(int(v + Decimal("0.5")), 1), 65535) for v in values]


SQUASH = squash_table()
STRETCH = [min(bisect_left(SQUASH, 16 * i + 8), 6142) - 3071 for i in range(4096)]


def squash(x):
    return SQUASH[x + 3071]


def limit(x, low, high):
    return min(max(x, low), high)


def h(a, b):
    x = (a * 0x1B873593 + b + 0x3C6EF372) % 2**31
    x = (x * 0x2545F491) % 2**31
    return x ^ (x >> 15)


class Mixer:
    def __init__(self, size, inputs, weight):
        self.size = size
        self.counters = [defaultdict(lambda: (1 << 21, 0)) for _ in range(6)]
        self.weights = defaultdict(lambda: [weight] * inputs)
        self.refinements = defaultdict(lambda: [squash(limit(192 * j - 3072, -3071, 3071)) for j in range(33)])

    def decide(self, coder, slots, further, a, b, c, refinement):
        slots = [slot % self.size for slot in slots]
        counters = [table[slot] for table, slot in zip(self.counters, slots, strict=True)]
        inputs = [(STRETCH[p >> 10] * (2560 * n // (10 * n + 3))) >> 8 for p, n in counters] + further + [256]
        c += sum(n > 0 for _, n in counters[1:])
        sets = [self.weights[k] for k in (a, b, c)]
        d = [limit(sum(w * x for w, x in zip(s, inputs, strict=True)) >> 16, -3071, 3071) for s in sets]
        mean = sum(d) // 3
        j, r = divmod(32 * (mean + 3072), 6144)
        refined = self.refinements[refinement]
        y = (refined[j] * (6144 - r) + refined[j + 1] * r) // 6144
        bit = coder.decide(limit((squash(mean) + y) >> 1, 1, 65535))
        t = bit << 16
        for weights, own in zip(sets, d, strict=True):
            for i, x in enumerate(inputs):
                weights[i] += (x * (t - squash(own)) + 4096) >> 13
        for table, slot, (p, n) in zip(self.counters, slots, counters, strict=True):
            p += (((bit << 22) - p) * (2**17 // (2 * n + 3))) >> 16
            table[slot] = limit(p, 1, 2**22 - 1), min(n + 1, 255)
        nearest = j + (2 * r > 6144)
        refined[nearest] += (t - refined[nearest]) >> 6
        return bit


def q(x):
    """Section 16."""
    length = (1 + x).bit_length() - 1
    return 4 * length + ((1 + x) * 4 >> length) % 4


def sign(x):
    return (x > 0) - (x < 0)


class Band:
    """Section 13: one band of a drawing."""

    def __init__(self, payload, width, height, channels, guesses):
        assert len(payload) >= max(1, least_bytes(width * height * (1 if guesses else channels)) - 3)
        self.guesses = guesses
        self.payload, self.asked = payload, 0
        self.width, self.height, self.channels = width, height, channels
        self.low, self.high, self.value = 0, 2**32 - 1, 0
        for _ in range(4):
            self.value = self.value << 8 | self.byte()
        size = 1 << limit(math.ceil(math.log2(2 * width * height)), 12, 20)
        self.size = size
        self.guessing, self.sampling = Mixer(size, 7, 19660), Mixer(size, 9, 13107)
        start = [1 + (96 >> min(u, 10)) + 12 // (1 + u) for u in (min(v, 256 - v) for v in range(256))]
        self.histograms = defaultdict(lambda: list(start))
        self.followers, self.missed = {}, 0
        self.rows = {}

    def byte(self):
        self.asked += 1
        return self.payload[self.asked - 1] if self.asked <= len(self.payload) else 0

    def decide(self, q):
        span = self.high - self.low
        middle = self.low + (span >> 16) * q + (((span & 65535) * q) >> 16)
        bit = int(self.value <= middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while self.low >> 24 == self.high >> 24:
            self.low, self.high = self.low << 8 & 0xFFFFFFFF, (self.high << 8 & 0xFFFFFFFF) | 255
            self.value = self.value << 8 & 0xFFFFFFFF | self.byte()
        return bit

    def at(self, y, x):
        if y < 0:
            return 0
        if x < 0:
            return self.rows[y - 1][0] if y else 0
        return self.rows[y][min(x, self.width - 1)]

    def decode(self):
        for y in range(self.height):
            self.rows[y] = []
            for x in range(self.width):
                self.rows[y].append(self.pixel(y, x))
        assert self.asked == len(self.payload) + 3
        places = [8 * (self.channels - 1 - c) for c in range(self.channels)]
        return np.array([[[p >> k & 255 for k in places] for p in self.rows[y]] for y in range(self.height)], np.uint8)

    def pixel(self, y, x):
        def near(dy, dx):
            return self.at(y + dy, x + dx)

        w, n, nw, ne = near(0, -1), near(-1, 0), near(-1, -1), near(-1, 1)
        pair = h(w, n)
        four = h(pair, h(nw, ne))
        six = h(four, h(near(0, -2), near(-2, 0)))
        ten = h(six, h(h(near(-2, 1), near(-1, 2)), h(near(-1, -2), near(-2, -1))))
        everything = h(h(near(0, -3), near(0, -4)), h(h(near(-1, 3), near(-1, -3)), h(near(-2, -2), near(-2, 2))))
        everything = h(ten, everything)
        guesses = [self.followers.get(everything % self.size), w, n, self.continued(w, n, nw), self.continued(n, n, near(-2, 0))]
        guesses = guesses[: self.guesses]
        equal = [w == n, n == ne, nw == n, w == nw, near(0, -2) == w, near(-2, 0) == n, near(-1, 2) == ne, w == ne]
        shape = sum(e << k for k, e in enumerate(equal))
        tried, found = 0, None
        for s, guess in enumerate(guesses):
            if guess is None or guess in guesses[:s]:
                continue
            agree = sum(1 << k for k in range(s + 1, self.guesses) if guesses[k] == guess)
            key, situation = h(16 * s + tried, guess), h(16 * s + tried, agree)
            slots = [h(situation, shape), h(pair, key), h(six, key), h(ten, key), h(situation, 256 + self.missed), h(everything, key)]
            where = 16 * s + self.missed, 16 * self.guesses + 256 * s + shape, 272 * self.guesses + 6 * s
            if self.guessing.decide(self, slots, [], *where, 256 * s + shape):
                found = guess
                break
            tried += 1 << s
        if found is None:
            found = self.samples(w, n, nw, ne, four)
        if guesses[0] is not None:
            self.missed = (self.missed << 1 | (guesses[0] != found)) % 16
        self.followers[everything % self.size] = found
        return found

    def continued(self, w, n, nw):
        samples = ((p >> k & 255 for p in (w, n, nw)) for k in range(8 * self.channels - 8, -1, -8))
        found = 0
        for a, b, c in samples:
            found = found << 8 | limit(a + b - c, 0, 255)
        return found

    def samples(self, *around):
        *neighbours, four = around
        known = 0
        first = [p >> 8 * (self.channels - 1) & 255 for p in neighbours]
        for c in range(self.channels):
            w, n, nw, ne = own = [p >> 8 * (self.channels - 1 - c) & 255 for p in neighbours]
            median = sorted((w, n, w + n - nw))[1]
            prediction = median
            if c:
                dw, dn, dnw = (p - q for p, q in zip(own[:3], first[:3], strict=True))
                prediction = limit((known >> 8 * (c - 1)) + sorted((dw, dn, dw + dn - dnw))[1], 0, 255)
            lively = abs(w - nw) + abs(n - nw) + abs(ne - n)
            a = next(k for k in range(8) if 2**k > lively or k == 7)
            histograms = [(self.histograms[16 * c + a], prediction), (self.histograms[16 * c + 8 + a], median)]
            mine = h(known, c)
            bases = [mine, h(mine, neighbours[0]), h(mine, neighbours[1]), h(c + 100, prediction)]
            bases += [h(h(c, w), h(n, ne >> 2)), h(mine, four)]
            possible, node = range(256), 1
            for k in range(7, -1, -1):
                further = []
                for histogram, centre in histograms:
                    weights = [histogram[(v - centre) % 256] for v in possible]
                    one = sum(weights[len(weights) // 2 :])
                    further.append(STRETCH[limit((4096 * one + 2048) // sum(weights), 1, 4095)])
                where = 256 * c + node, 1024 + 4 * (8 * c + k) + (a >> 1), 1152 + 6 * (8 * c + k)
                bit = self.sampling.decide(self, [h(base, node) for base in bases], further, *where, 256 * c + node)
                possible = possible[len(possible) // 2 :] if bit else possible[: len(possible) // 2]
                node = 2 * node + bit
            for histogram, centre in histograms:
                before = sum(histogram)
                v = (possible[0] - centre) % 256
                histogram[v] += 24
                histogram[(v + 1) % 256] += 4
                histogram[(v - 1) % 256] += 4
                if before > 8160:
                    histogram[:] = [(count + 1) >> 1 for count in histogram]
            known = known << 8 | possible[0]
        return known


class DeepBand(Band):
    """Section 16: one band of samples of 16 bits."""

    def __init__(self, payload, width, height, channels, exact):
        super().__init__(payload, width, height, channels, 0)
        self.exact = exact
        self.mixer = Mixer(1 << limit(math.ceil(math.log2(4 * width * height)), 14, 22), 7, 19660)
        self.samples, self.left = {}, {}  # by plane, row, column: a sample; its residual and errors
        self.entries, self.behind = {}, [0] * channels
        self.biases = defaultdict(lambda: [0, 0])

    def decode(self):
        planes = range(self.channels)
        for y in range(self.height):
            for x in range(self.width):
                for c in planes:
                    self.sample(c, y, x)
        assert self.asked == len(self.payload) + 3
        return np.array([[[self.samples[c, y, x] for c in planes] for x in range(self.width)] for y in range(self.height)], np.uint16)

    def near(self, c, y, x):
        if y < 0:
            return 0
        if x < 0:
            return self.samples[c, y - 1, 0] if y else 0
        return self.samples[c, y, min(x, self.width - 1)]

    def remains(self, c, y, x):
        return self.left[c, y, min(x, self.width - 1)] if y >= 0 and x >= 0 else (0, [0] * 9)

    def decided(self, kind, c, numbers, energy):
        where = 64 * min(energy >> 2, 19) + kind, 64 * (20 + c) + kind, 1536 + 6 * (64 * c + kind)
        return self.mixer.decide(self, [h(number, kind) for number in numbers], [], *where, 64 * c + kind)

    def sample(self, c, y, x):
        w, n, nw, ne, ww, nn, nne = (
            self.near(c, y + dy, x + dx) for dy, dx in ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-2, 1))
        )
        guesses = [w, n, w + n - nw, w + ne - n, 2 * n - nn, 2 * w - ww]
        if c:
            p, pw, pn, pnw = (self.near(0, y + dy, x + dx) for dy, dx in ((0, 0), (0, -1), (-1, 0), (-1, -1)))
            guesses += [w + p - pw, n + p - pn, w + n - nw + p - pw - pn + pnw]
        else:
            guesses += [(w + n) >> 1, n + ne - nne, sorted((w, n, w + n - nw))[1]]
        at = [self.remains(c, y + dy, x + dx) for dy, dx in ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))]
        (rw, ew), (rn, en), (rnw, enw), (rne, ene), (rww, eww), (_, enn) = at
        wrong = [2 * (ew[k] + en[k]) + enw[k] + ene[k] + eww[k] + enn[k] for k in range(9)]
        weights = [2**40 // min(v + 3, 2**20 - 1) ** 2 + 1 for v in wrong]
        blend = (2 * sum(a * b for a, b in zip(weights, guesses, strict=True)) + sum(weights)) // (2 * sum(weights))
        energy, least = q(2 * abs(rw) + 2 * abs(rn) + abs(rnw) + abs(rne)), q(min(wrong))
        spread = q(max(guesses) - min(guesses))
        before = self.left[c - 1, y, x][0] if c else 0
        beside, earlier = q(abs(before)) if c else 0, q(abs(self.left[0, y, x][0])) if c > 1 else 0
        j = 8 * (w > blend) + 4 * (n > blend) + 2 * (nw > blend) + (ne > blend)
        bias = self.biases[c, 16 * j + min(energy >> 3, 15)]
        prediction = limit(blend + ((2 * bias[0] + bias[1]) // (2 * bias[1]) if bias[1] else 0), 0, 65535)
        if self.exact:
            w0, n0, nw0 = (w - pw, n - pn, nw - pnw) if c else (w, n, nw)
            prediction = limit((p if c else 0) + sorted((w0, n0, w0 + n0 - nw0))[1], 0, 65535)
        bases = [
            h(c, energy),
            h(c + 10, 256 * (q(abs(rw)) >> 1) + (q(abs(rn)) >> 1)),
            h(c + 20, 65536 * beside + 256 * (earlier >> 1) + (energy >> 2)),
            h(c + 30, 256 * spread + (least >> 2)),
            h(c + 40, 256 * least + (energy >> 2)),
            h(c + 50, 256 * (q(abs(rw) + abs(rww)) >> 1) + (spread >> 1)),
        ]
        key = h(h(w, n), h(nw, 4 * ne + c))
        key = (h(key, self.samples[c - 1, y, x]) if c else key) % 65536
        guess, hit = self.entries.get(key, w), 0
        if energy < 12 or key in self.entries:
            numbers = list(bases)
            numbers[1], numbers[3] = h(c + 60, self.behind[c]), h(c + 70, key)
            numbers[5] = h(c + 80, (guess == w) + 2 * (guess == n) + 4 * (w == n) + 8 * self.behind[c])
            hit = self.decided(0, c, numbers, energy)
            self.behind[c] = (2 * self.behind[c] + (1 - hit)) % 256
        residual = guess - prediction
        if not hit:
            residual = self.residual(c, bases, energy, 3 * sign(rw) + sign(rn), before)
        sample = limit(prediction + residual, 0, 65535)
        self.samples[c, y, x], self.entries[key] = sample, sample
        self.left[c, y, x] = residual, [abs(sample - guess) for guess in guesses]
        bias[0], bias[1] = bias[0] + sample - blend, bias[1] + 1
        if bias[1] >= 64:
            bias[0], bias[1] = (bias[0] + 1) >> 1, bias[1] >> 1

    def residual(self, c, bases, energy, turn, before):
        node = 1
        for _ in range(5):
            node = 2 * node + self.decided(node, c, bases, energy)
        length = node - 32
        if not length:
            return 0
        turn = 3 * turn + sign(before) if c else turn
        bases = [h(base, 4196 + turn if i % 2 else 4096 + length) for i, base in enumerate(bases)]
        negative = self.decided(32, c, bases, energy)
        found = prefix = 1
        for k in range(length - 2, -1, -1):
            numbers = [h(base, 2**17 * length + 2 * found + negative) for base in bases] if self.exact else bases
            bit = self.decided(32 + prefix if prefix < 8 else 41 + min(k, 22), c, numbers, energy)
            found, prefix = 2 * found + bit, min(2 * prefix + bit, 8)
        return -found if negative else found
