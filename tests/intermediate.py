"""Values on the way, observed in the plain decoder: what `golden/intermediate.json` has of a few files. `golden/README.md` explains it."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from unittest import mock

import numpy as np

from tests import plain_coefficients, plain_decoder
from tests.conformance import GOLDEN

INTERMEDIATE = GOLDEN / "intermediate.json"
POSITIONS = (0, 1, 2, 32, 33, 64)  # of a tile
FIRST = 32  # decisions, coefficients, or runs of the network of coefficients
COUNTS = (32, 128, 512, 2048)  # of decisions; after the last one nothing is observed
FILES = (
    "network-rgb-33x45.tiny",
    "network-grey-70x31.tiny",
    "network-rgb-33x45.tiny-best",
    "past-444-30x20.tiny-ycc",
    "past-film-50x37.tiny-ycc",
    "palette-33x7.tiny-palette",
    "mixing-grey",
    "mixing-rgba",
    "deep-blended-rgb",
    "deep-exact-grey",
    "file-baseline.tiny-dct",
    "file-progressive.fast",
    "inside-420-45x70.tiny-dct",
)


def digest(values: object, dtype: str) -> str:
    """The first 16 hexadecimal digits of SHA-256 of numbers as little-endian integers."""
    found = np.asarray(values)
    narrow = found.astype(dtype)
    assert (narrow == found).all()
    return hashlib.sha256(narrow.tobytes()).hexdigest()[:16]


class Steps:
    """What a decoder sees of the first tile of every turn of the first group, at some positions. `layers` of turns of positions."""

    def __init__(self) -> None:
        self.layers: list[list[dict]] = []
        self.groups = 0
        self.extent = 32, 32  # rows and columns of the first tile

    def layer_begins(self) -> None:
        self.layers.append([])
        self.groups = 0

    def group_begins(self) -> None:
        self.groups += 1

    def turn_begins(self, extent: tuple[int, int]) -> None:
        self.extent = extent
        if self.groups <= 1:
            self.layers[-1].append({})

    def position(self, p: int) -> dict:
        """Of the present turn; thrown away where nobody asks."""
        self.p = p
        if self.groups > 1 or p not in POSITIONS or p // 32 >= self.extent[0] or p % 32 >= self.extent[1]:
            return {}
        return self.layers[-1][-1].setdefault(str(p), {})

    @property
    def now(self) -> dict:
        return self.position(self.p)

    def found(self) -> list[list[dict]]:
        return self.layers

    def channel(self, key: str, value: object) -> None:
        """One more value of a channel; the first of each counts, which is that of the first tile."""
        self.now.setdefault("channels", [{}])[-1].setdefault(key, value)


def steps(data: bytes, folders: Sequence[Path]) -> list[list[dict]]:
    """Of a file that networks code, by the plain decoder."""
    seen, p = Steps(), plain_decoder
    real = {name: getattr(p, name) for name in ("decode_layer", "decode_turn", "mean_of")}
    model, palette, coder = p.Model, p.PaletteModel, p.RangeDecoder
    hidden, logits, token, start = model.hidden, model.logits, coder.token, coder.__init__
    palette_logits, normalize, decode_tokens = palette.logits, palette.normalize, p.decode_tokens

    def of_layer(*arguments):
        seen.layer_begins()
        return real["decode_layer"](*arguments)

    def of_turn(*arguments):
        seen.turn_begins(arguments[5][0])
        return real["decode_turn"](*arguments)

    def of_tokens(network, payloads, groups, width, height):
        seen.layer_begins()
        seen.turn_begins((min(height, 32), min(width, 32)))
        return decode_tokens(network, payloads, groups, width, height)

    def of_hidden(self, features, position, cache):
        found = hidden(self, features, position, cache)
        now = seen.position(position)
        now.setdefault("features", digest(features[0], "<i1"))
        now.setdefault("hidden", []).append(digest(found[0], "<i1"))
        return found

    def of_logits(self, states, features, head):
        found, channels = logits(self, states, features, head), seen.now.setdefault("channels", [])
        if not channels or channels[-1]["head"] != head:
            channels.append({"head": head, "head features": digest(features[0], "<i1"), "logits": []})
        channels[-1]["logits"].append(digest(found[0], "<i4"))
        return found

    def of_mean(frequencies):
        found = real["mean_of"](frequencies)
        seen.channel("frequencies", digest(found[0], "<i4"))
        return found

    def of_group(self, payload):
        start(self, payload)
        seen.group_begins()

    def of_token(self, frequencies):
        found = token(self, frequencies)
        seen.channel("corrected", digest(frequencies, "<i4"))
        seen.channel("token", found)
        return found

    def of_palette(self, before, position, cache):
        seen.position(position)
        found = palette_logits(self, before, position, cache)
        seen.channel("logits", [digest(found, "<i4")])
        return found

    def of_norm(self, name, x):
        found = normalize(self, name, x)
        if name == "ln_f":
            seen.now.setdefault("hidden", [digest(found, "<i8")])
        return found

    with (
        mock.patch.multiple(p, decode_layer=of_layer, decode_turn=of_turn, mean_of=of_mean, decode_tokens=of_tokens),
        mock.patch.multiple(model, hidden=of_hidden, logits=of_logits),
        mock.patch.multiple(palette, logits=of_palette, normalize=of_norm),
        mock.patch.multiple(coder, __init__=of_group, token=of_token),
    ):
        p.decode(data, folders)
    return seen.found()


class Enough(Exception):
    """Has been seen."""


class Decisions:
    """The decisions of the first band, what the network of coefficients gave, and the coefficients."""

    def __init__(self) -> None:
        self.probabilities, self.bits = [], []
        self.runs, self.coefficients = [], []

    def decided(self, probability: int, bit: int) -> None:
        self.probabilities.append(int(probability))
        self.bits.append(int(bit))
        if len(self.bits) == COUNTS[-1]:
            raise Enough

    def ran(self, place: int, features: object, logits: object) -> None:
        if len(self.runs) < FIRST:
            self.runs.append({"place": int(place), "features": digest(features, "<i2"), "logits": digest(logits, "<i2")})

    def decoded(self, position: int, value: int) -> None:
        self.coefficients.append([int(position), int(value)])

    def found(self) -> dict:
        counts = [count for count in COUNTS if count <= len(self.probabilities)]
        known = {
            "probabilities": self.probabilities[:FIRST],
            "bits": "".join(map(str, self.bits[:FIRST])),
            "digests": {str(count): digest(self.probabilities[:count], "<u2") for count in counts},
        }
        if self.runs:
            known["network"] = self.runs
        if self.coefficients:
            known["coefficients"] = self.coefficients[:FIRST]
        return known


def decisions(data: bytes, folders: Sequence[Path]) -> dict:
    """Of a file that mixing or deep mixing codes, or whose coefficients are coded, by the plain decoder."""
    seen, band, arithmetic, planes = Decisions(), plain_decoder.Band, plain_coefficients.Arithmetic, plain_coefficients.PlaneDecoder
    of_band, of_arithmetic, logits_of, value = band.decide, arithmetic.decide, plain_coefficients.logits_of, planes.value

    def decide(self, probability, decided):
        bit = decided(self, probability)
        seen.decided(probability, bit)
        return bit

    def run(network, place, features):
        found = logits_of(network, place, features)
        if network:
            seen.ran(place, features, found)
        return found

    def coefficient(self, k, *arguments):
        found = value(self, k, *arguments)
        seen.decoded(k, found)
        return found

    with (
        mock.patch.object(band, "decide", lambda self, q: decide(self, q, of_band)),
        mock.patch.object(arithmetic, "decide", lambda self, q: decide(self, q, of_arithmetic)),
        mock.patch.object(plain_coefficients, "logits_of", run),
        mock.patch.object(planes, "value", coefficient),
        suppress(Enough),
    ):
        plain_decoder.decode(data, folders)
    return seen.found()


def by_network(name: str) -> bool:
    """Whether a golden file has tokens and not decisions."""
    return name.startswith(("network", "past", "palette"))


def intermediate(name: str) -> object:
    """Of a golden file."""
    data, folders = (GOLDEN / f"{name}.igpt").read_bytes(), sorted(path.parent for path in GOLDEN.glob("*/config.json"))
    return steps(data, folders) if by_network(name) else decisions(data, folders)
