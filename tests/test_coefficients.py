"""Coefficients of JPEG: the same come back, whatever they are, on however many threads; damage is told or harmless."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitstream.errors import DamagedError, ModelError
from codec import jit
from codec.jpeg import coefficients
from codec.jpeg.coefficients import Plane, bands, decode, encode
from codec.jpeg.kernel import LARGEST
from codec.jpeg.network import CoefficientConfig, CoefficientNetwork, expected_arrays
from codec.jpeg.prediction import ACTIVE, FEATURES, OUTPUTS, PLACES, WIDTH
from codec.threads import use_threads
from tests import plain_coefficients

FLAT = np.full(64, 3, np.int64)
STEPS = np.minimum(3 + np.arange(64), 255).astype(np.int64)


def ignore(_):
    pass


def network(seed: int = 0, hidden: tuple[int, int] = (16, 8), largest: bool = False) -> CoefficientNetwork:
    """Of random weights, or of the largest there may be."""
    rng, config = np.random.default_rng(seed), CoefficientConfig(hidden)
    arrays = {}
    for name, (dtype, shape) in expected_arrays(config).items():
        kind = name.rpartition(".")[2]
        most = {
            "gains": 32767 if largest else 200,
            "weight": (1 << 24) // ACTIVE // shape[-1] - 1,
            "multiplier": 32767,
            "offset": (1 << 30) - 1,
        }[kind]
        if kind == "offset" and not largest:
            most = 1 << 20
        if kind == "multiplier" and not largest:
            most = 2000
        values = rng.integers(-most, most + 1, shape)
        arrays[name] = (np.where(values < 0, -most, most) if largest else values).astype(dtype)
    return CoefficientNetwork(config, arrays, "random")


def blocks(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Something like the coefficients of a photograph: (rows, columns, 64) int16."""
    rng = np.random.default_rng(seed)
    scale = 60 / (1 + np.arange(64)) ** 1.3 * rng.gamma(1, 1, (rows, columns, 1))
    found = np.round(rng.laplace(0, 1, (rows, columns, 64)) * scale)
    found[..., 0] = np.round(200 * np.sin(np.arange(rows)[:, None] / 5) + 3 * np.arange(columns))
    return found.astype(np.int16)


def roundtrip(planes: list[Plane], predictor: CoefficientNetwork | None = None) -> list[bytes]:
    payloads = encode(planes, predictor, ignore)
    sizes = [plane.coefficients.shape[:2] for plane in planes]
    assert len(payloads) == bands(sizes, predictor is None)
    back = decode(payloads, sizes, [plane.steps for plane in planes], predictor, ignore)
    for plane, found in zip(planes, back, strict=True):
        assert found.dtype == np.int16
        assert np.array_equal(found, plane.coefficients)
    return payloads


@pytest.mark.parametrize("predictor", [None, network()], ids=["alone", "network"])
@pytest.mark.parametrize(
    "sizes",
    [
        [(5, 7)],
        [(1, 1)],
        [(8, 6), (4, 3), (4, 3)],
        [(7, 5), (4, 3), (4, 3)],
        [(2, 9), (2, 9), (2, 9), (2, 9)],
        [(2, 2), (5, 7), (1, 1)],
        [(3, 8), (3, 2)],
    ],
)
def test_planes_of_any_sizes(sizes, predictor) -> None:
    roundtrip([Plane(STEPS, blocks(*size, seed)) for seed, size in enumerate(sizes)], predictor)


@pytest.mark.parametrize("predictor", [None, network(), network(largest=True)], ids=["alone", "network", "largest"])
@pytest.mark.parametrize("steps", [np.zeros(64, np.int64), FLAT, np.full(64, 65535)], ids=["least", "few", "most"])
def test_extremes(steps, predictor) -> None:
    rng, shape = np.random.default_rng(1), (4, 5, 64)
    signs = rng.choice([-LARGEST, LARGEST], shape).astype(np.int16)
    jumps = np.zeros(shape, np.int16)
    jumps[::2, ::2, 0], jumps[1::2, ::2, 0] = LARGEST, -LARGEST
    noise = rng.integers(-LARGEST, LARGEST + 1, shape).astype(np.int16)
    for values in (signs, jumps, noise, np.zeros(shape, np.int16), np.full(shape, LARGEST, np.int16), np.full(shape, -LARGEST, np.int16)):
        roundtrip([Plane(steps, values), Plane(steps, -values), Plane(steps, values[::-1, ::-1].copy())], predictor)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(0, 1 << 30), st.sampled_from([1, 3, 40, 3000, LARGEST]))
def test_any_values(count, rows, columns, seed, most) -> None:
    rng = np.random.default_rng(seed)
    planes = []
    for _ in range(count):
        values = rng.integers(-most, most + 1, (rows, columns, 64)) * (rng.random((rows, columns, 64)) < rng.random())
        planes.append(Plane(rng.integers(0, 300, 64), values.astype(np.int16)))
    roundtrip(planes, network(seed) if seed % 2 else None)


def test_bands_and_threads(monkeypatch) -> None:
    monkeypatch.setattr(coefficients, "BAND_BLOCKS", 20)
    monkeypatch.setattr(coefficients, "SPLIT_BLOCKS", 12)
    sizes = [(11, 6), (6, 3), (6, 3)]
    assert bands(sizes, alone=False) == 4
    assert bands([(11, 1)], alone=False) == 1
    assert bands([(3, 4)], alone=False) == 2
    assert bands([(1, 400), (1, 1)], alone=False) == 1
    planes = [Plane(STEPS, blocks(*size, seed)) for seed, size in enumerate(sizes)]
    found = []
    try:
        for count in (1, 2, 3):
            use_threads(count)
            found.append(roundtrip(planes, network()))
    finally:
        use_threads(0)
    assert found[0] == found[1] == found[2]
    told = []
    encode(planes, None, told.append)
    assert sum(told) == sum(plane.coefficients.size for plane in planes)


def test_photographs_become_smaller() -> None:
    values = blocks(30, 40)
    (payload,) = roundtrip([Plane(STEPS, values)])
    bits = np.ceil(np.log2(np.abs(values.astype(int)) + 1)).sum() + (values != 0).sum()
    assert 8 * len(payload) < 2.2 * bits


def test_costs() -> None:
    planes = [Plane(STEPS, blocks(12, 10)), Plane(STEPS, blocks(6, 5, 1))]
    (payload,) = encode(planes, network(), ignore)
    costs = coefficients.costs(planes, network())
    assert [bits.shape for bits in costs] == [(12, 10), (6, 5)]
    assert sum(bits.sum() for bits in costs) == pytest.approx(8 * len(payload), abs=40)


@pytest.mark.parametrize("predictor", [None, network()], ids=["alone", "network"])
def test_damage_is_told_or_harmless(predictor) -> None:
    planes = [Plane(STEPS, blocks(9, 8)), Plane(STEPS, blocks(5, 4, 1))]
    sizes, steps = [(9, 8), (5, 4)], [STEPS, STEPS]
    (payload,) = encode(planes, predictor, ignore)
    rng, told = np.random.default_rng(2), 0
    damaged = [payload[:n] for n in (0, 1, 3, 4, len(payload) // 2, len(payload) - 1)] + [payload + b"\0", bytes(100), b"\xff" * 3000]
    for _ in range(60):
        changed = bytearray(payload)
        changed[rng.integers(len(payload))] ^= 1 << rng.integers(8)
        damaged.append(bytes(changed))
    for data in damaged:
        try:
            found = decode([data], sizes, steps, predictor, ignore)
        except DamagedError:
            told += 1
        else:
            assert all(np.abs(values.astype(int)).max() <= LARGEST for values in found)
    assert told > 9


def test_a_payload_that_is_used_up_ends_soon() -> None:
    with pytest.raises(DamagedError):
        decode([b"\x80" * 8] * bands([(4000, 4000)], alone=True), [(4000, 4000)], [FLAT], None, ignore)


@pytest.mark.parametrize("predictor", [None, network()], ids=["alone", "network"])
@pytest.mark.parametrize("most", [LARGEST, 9])
def test_the_document_is_enough(most, predictor) -> None:
    """A decoder that was written from it agrees."""
    sizes, steps = [(5, 7), (3, 4), (3, 4), (2, 2)], [STEPS, FLAT, STEPS, FLAT]
    planes = [Plane(q, blocks(*size, n)) for n, (size, q) in enumerate(zip(sizes, steps, strict=True))]
    rng = np.random.default_rng(5)
    planes[3] = Plane(FLAT, rng.integers(-most, most + 1, (2, 2, 64)).astype(np.int16))
    payloads = encode(planes, predictor, ignore)
    found = plain_coefficients.coefficients(payloads, sizes, steps, predictor.arrays if predictor else None)
    assert all(np.array_equal(theirs, plane.coefficients) for theirs, plane in zip(found, planes, strict=True))


WITHOUT_NUMBA = """
import numpy as np
from tests.test_coefficients import STEPS, Plane, blocks, network, roundtrip
print([p.hex() for p in roundtrip([Plane(STEPS, blocks(2, 2)), Plane(STEPS, blocks(1, 1, 1))], network())])
"""


def test_without_numba() -> None:
    run = [sys.executable, "-W", "error", "-c", WITHOUT_NUMBA]
    found = subprocess.run(run, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, check=True)
    planes = [Plane(STEPS, blocks(2, 2)), Plane(STEPS, blocks(1, 1, 1))]
    assert found.stdout.strip() == str([payload.hex() for payload in roundtrip(planes, network())])


@pytest.mark.skipif(jit.interpreted(), reason="without numba there are no kernels")
@pytest.mark.parametrize("counts", [False, True])
def test_parts_count_no_references(counts) -> None:
    """To arrays, which took longer than all else that a decision does; what numba compiles by itself counts them."""
    import numba

    decorator = numba.njit if counts else jit.part

    @decorator
    def grow(row, by):
        for k in range(len(row)):
            row[k] += by

    @decorator
    def each(rows):
        for k in range(len(rows) - 1):
            one, two = rows[k], rows[k + 1]
            if two[1] > 0:
                grow(one, two[0])
            else:
                grow(two, one[0])

    rows = np.arange(8.0).reshape(4, 2)
    numba.njit(lambda rows: each(rows))(rows)
    assert rows[0].tolist() == [2, 3]
    assert ("NRT_incref" in "".join(each.inspect_llvm().values())) == counts


def test_networks_are_checked(tmp_path) -> None:
    good = network()
    good.save(tmp_path)
    back = CoefficientNetwork.load(tmp_path, "again")
    assert back.digest == good.digest
    assert back.nbytes == good.nbytes

    def refused(words: str, **changes) -> None:
        with pytest.raises(ModelError, match=words):
            CoefficientNetwork(good.config, {**good.arrays, **changes}, "bad")

    refused("not those", more=np.zeros(1))
    refused("wrong type or shape", gains=np.zeros((PLACES, FEATURES - 1), np.int16))
    refused("overflow", **{"first.weight": np.full((16, FEATURES), 32767, np.int16)})
    refused("out of range", **{"third.offset": np.full((PLACES, OUTPUTS), 1 << 30, np.int32)})
    for text in ("{}", "[]", "nonsense", '{"hidden": [16], "layout": "dct"}', f'{{"hidden": [16, {WIDTH + 1}], "layout": "dct"}}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ModelError):
            CoefficientNetwork.load(tmp_path, "bad")
