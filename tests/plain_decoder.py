"""A second decoder, written from `bitstream/FORMAT.md` alone: NumPy int64 and Python integers, no torch, no constriction, no speed.

It proves that the document is enough, and is an independent witness for every step of the exact network.
"""

import hashlib
import json
import zlib
from bisect import bisect_right
from fractions import Fraction
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
        self.logit_table = exp2(128, 1 << 18)

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

    def frequencies(self, hidden, features, head):
        logits = self.project(f"heads.{head}.c_proj", self.inner(f"heads.{head}", np.concatenate([hidden, features], 1)), 2**15 - 1)
        below = np.minimum(logits.max(-1, keepdims=True) - logits, len(self.logit_table) - 1)
        e = self.logit_table[below]
        i = ((2**24 - 256) << 18) // e.sum(-1, keepdims=True)
        f = (e * i) >> 18
        f[:, 128] += 2**24 - 256 - f.sum(-1)
        return f + 1


class RangeDecoder:
    def __init__(self, payload):
        self.words = [int.from_bytes(payload[k : k + 4], "little") for k in range(0, len(payload), 4)]
        self.read = 0
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
        return t


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def decode(data, folder):
    """The pixels of a file, (height, width, channels) uint8."""
    assert data[:9] == bytes.fromhex("89 49 47 50 54 0D 0A 1A 0A")
    version = data[9]
    assert version in (1, 2)
    assert data[10] == 1
    width, at = varint(data, 11)
    height, at = varint(data, at)
    channels, _depth, kind, _side = data[at : at + 4]
    group_size, at = varint(data, at + 4)
    digest, at = data[at : at + 8], at + 8
    at += 1 + data[at]
    pixel_digest, at = data[at : at + 16], at + 16
    if version == 2:
        formula, filter_, place = data[at : at + 3]
        chroma_width, at = varint(data, at + 3)
        chroma_height, at = varint(data, at)
    assert int.from_bytes(data[at : at + 4], "little") == zlib.crc32(data[:at])
    header, at = data[: at + 4], at + 4
    model = Model(folder)
    assert model.digest == digest
    chunks = []
    while at < len(data):
        length, at = varint(data, at)
        payload, at = data[at : at + length], at + length
        assert int.from_bytes(data[at : at + 4], "little") == zlib.crc32(header[:-4] + len(chunks).to_bytes(4, "little") + payload)
        chunks.append(payload)
        at += 4
    assert at == len(data)
    if version == 1:
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
        if exceptions:
            raw = zlib.decompress(exceptions)
            n, at = varint(raw, 0)
            assert 1 <= n <= width * height // 8
            assert len(raw) == at + 7 * n
            gaps = [sum(raw[at + k * n + i] << 8 * k for k in range(4)) for i in range(n)]
            for i in range(n):
                y, x = divmod(sum(gaps[: i + 1]) + i, width)
                for c in range(3):
                    pixels[y, x, c] = (int(pixels[y, x, c]) + raw[at + (4 + c) * n + i]) % 256
    assert not chunks
    assert hashlib.sha256(pixels.tobytes()).digest()[:16] == pixel_digest
    return pixels


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


def decode_layer(model, chunks, group_size, width, height, channels, kind, chroma):
    """Takes its groups off `chunks`; (channels, height, width) uint8."""
    columns = -(-width // 32)
    tiles = columns * -(-height // 32)
    planes = np.zeros((channels, height, width), np.uint8)
    for group in range(-(-tiles // group_size)):
        members = range(group * group_size, min((group + 1) * group_size, tiles))
        corners = [(t // columns * 32, t % columns * 32) for t in members]
        sizes = [(min(32, height - y), min(32, width - x)) for y, x in corners]
        decoded = decode_group(model, chunks.pop(0), sizes, channels, kind, None if chroma is None else (chroma, corners))
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


def decode_group(model, payload, sizes, channels, kind, around):
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
            frequencies = model.frequencies(hidden, head, c + 1 if kind in (3, 5) else c)
            for t, (rows, columns) in enumerate(sizes):
                if y < rows and x < columns:
                    s[t, c, p] = (decoder.token(frequencies[t]) + prediction[t] - 128) % 256
                elif x >= columns:
                    s[t, c, p] = s[t, c, p - 1]
            residual[:, c, p] = s[:, c, p] - prediction
    assert decoder.read >= len(decoder.words)
    return s
