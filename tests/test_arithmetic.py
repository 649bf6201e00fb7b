"""Every exact operation against Python's integers, at random and at the extremes of its bounds."""

import math

import numpy as np
import pytest
import torch

from codec.network import arithmetic as A
from codec.network import limits as L
from tests.conftest import CPU


@pytest.mark.parametrize(("steps", "top"), [(L.EXPONENT_STEPS, 1024), (L.EXPONENT_STEPS, 128), (L.LOGIT_STEPS, 1 << 18)])
def test_exp2_table_is_rounded_half_up(steps, top):
    table = L.powers_of_two(steps, top).tolist()
    for i, n in enumerate(table):  # n - 1/2 <= top * 2^(-i / steps) < n + 1/2, raised to the power `steps`
        power = (2 * top) ** steps
        assert (2 * n - 1) ** steps << i <= power or n == 0
        assert power < (2 * n + 1) ** steps << i
    assert table[0] == top
    assert table[-1] == 0 < table[-2]


def test_floor_divide_at_whole_quotients_and_beside_them():
    denominators = torch.tensor([1, 3, 7, 2**20 - 1, 2**26 + 1])
    for quotient in (0, 1, 12345, 2**25):
        for beside in (-1, 0, 1):
            numerators = denominators * quotient + beside
            expected = [n // d for n, d in zip(numerators.tolist(), denominators.tolist(), strict=True)]
            assert A.floor_divide(numerators, denominators).tolist() == expected


def test_integer_sqrt_at_squares_and_beside_them():
    roots = [1, 2, 1000, 2**20 + 7, 2**26 - 1]
    values = [r * r + beside for r in roots for beside in (-1, 0, 1)]
    assert A.integer_sqrt(torch.tensor(values)).tolist() == [math.isqrt(v) for v in values]


def test_requantize_at_its_bounds():
    limit = L.ACCUMULATOR_LIMIT
    accumulators = torch.tensor([limit, -limit, limit - 1, 0, 1, -1], dtype=torch.int32)
    for multiplier in (0, 1, 128, L.MULTIPLIER_LIMIT):
        for shift in L.SHIFT_LIMITS:
            m, s = (torch.full((6,), v, dtype=torch.int32) for v in (multiplier, shift))
            offset = torch.full((6,), 1 << (shift - 1), dtype=torch.int32)
            found = A.requantize(accumulators.clone(), m, offset, s, L.RESIDUAL_LIMIT).tolist()
            assert found == [
                max(-L.RESIDUAL_LIMIT, min(L.RESIDUAL_LIMIT, (a * multiplier + (1 << (shift - 1))) >> shift)) for a in accumulators.tolist()
            ]


@pytest.mark.parametrize("width", [16, 128, 512])
def test_normalize_at_its_bounds(width):
    rng = np.random.default_rng(1)
    rows = [np.full(width, v) for v in (L.RESIDUAL_LIMIT, -L.RESIDUAL_LIMIT, 1, 0)]
    rows += [np.eye(1, width, dtype=np.int64)[0] * v for v in (L.RESIDUAL_LIMIT, -1, 1)]
    rows += [rng.integers(-top, top + 1, width) for top in (3, 1000, L.RESIDUAL_LIMIT)]
    gain = rng.integers(-L.GAIN_LIMIT, L.GAIN_LIMIT + 1, width)
    gain[:2] = L.GAIN_LIMIT, -L.GAIN_LIMIT
    for shift in (1, 7, 24):
        found = A.normalize(torch.tensor(np.array(rows), dtype=torch.int32), torch.tensor(gain, dtype=torch.int32), shift)
        for row, got in zip(rows, found.tolist(), strict=True):
            bits = 3 if width <= 128 else 0
            root = math.isqrt(4**bits * sum(int(v) ** 2 for v in row))
            inverse = 2 ** (30 + bits) // max(root, 2**bits)
            expected = [(((int(v) * inverse) >> 15) * int(g) + (1 << (shift - 1))) >> shift for v, g in zip(row, gain, strict=True)]
            assert got == [max(-127, min(127, e)) for e in expected]


@pytest.mark.parametrize(("window", "dim"), [(96, 32), (1024, 128), (7, 8)])
def test_attend_at_its_bounds(window, dim):
    """Equal scores (the largest sums), the largest score differences, and random ones, against Python's integers."""
    rng = np.random.default_rng(2)
    top = L.attention_top(window)
    assert top * 127 * window < L.FLOAT32_EXACT <= 2 * top * 127 * window
    table = L.powers_of_two(L.EXPONENT_STEPS, top).tolist()
    query = rng.integers(-127, 128, (4, dim))
    key, value = rng.integers(-127, 128, (2, window, dim))
    query[0], query[1], query[2] = 127, -127, 0
    key[0], key[1], key[-1] = 127, -127, 127
    value[:, 0], value[:, 1] = 127, -127
    for multiplier, shift in ((1, 1), (255, 1), (167, 13), (255, 24)):
        found = A.attend(*(torch.tensor(x, dtype=torch.int8) for x in (query, key, value)), multiplier, shift, top)
        for q, got in zip(query.tolist(), found.tolist(), strict=True):
            scores = [sum(a * b for a, b in zip(q, k, strict=True)) for k in key.tolist()]
            weights = [table[min((max(scores) - s) * multiplier >> shift, len(table) - 1)] for s in scores]
            total = sum(weights)
            sums = [sum(w * v for w, v in zip(weights, column, strict=True)) for column in value.T.tolist()]
            assert got == [(2 * s + total) // (2 * total) for s in sums]


def test_attend_at_the_largest_sums():
    """Sums near the bound under an odd total: 2 * sum + total is odd, and more than float32 could hold."""
    rng = np.random.default_rng(4)
    table = L.powers_of_two(L.EXPONENT_STEPS, 1024).tolist()
    query = np.full((1, 8), 1)
    total = 0
    while total % 2 == 0:
        key = rng.integers(-2, 1, (96, 8))
        scores = key.sum(1)
        weights = [table[(int(scores.max()) - int(s)) >> 3] for s in scores]
        total = sum(weights)
    for value in (rng.integers(126, 128, (96, 64)), rng.integers(-127, -125, (96, 64))):
        found = A.attend(*(torch.tensor(x, dtype=torch.int8) for x in (query, key, value)), 1, 3, 1024)
        sums = [sum(w * int(v) for w, v in zip(weights, column, strict=True)) for column in value.T]
        assert 2 * max(map(abs, sums)) > L.FLOAT32_EXACT
        assert found[0].tolist() == [(2 * s + total) // (2 * total) for s in sums]


def test_forbidden_keys_count_for_nothing():
    rng = np.random.default_rng(3)
    query, key, value = (torch.tensor(rng.integers(-127, 128, (20, 8)), dtype=torch.int8) for _ in range(3))
    forbidden = torch.ones(20, 20, dtype=torch.bool)
    forbidden[:, 4:9] = False
    assert torch.equal(A.attend(query, key, value, 1, 1, 1024, forbidden), A.attend(query, key[4:9], value[4:9], 1, 1, 1024))


@pytest.mark.parametrize("name", A.PRODUCTS)
@pytest.mark.parametrize("depth", [16, 112, 144, 512, 2048])
def test_products_are_exact_at_the_extremes(name, depth):
    rng = np.random.default_rng(depth)
    a = rng.integers(-127, 128, (40, depth))
    b = rng.integers(-64, 64, (24, depth))
    a[0], a[1], a[2, ::2], b[0], b[1], b[2, ::2] = 127, -127, 127, 63, -64, -64
    expected = a @ b.T
    found = A.PRODUCTS[name](torch.tensor(a, dtype=torch.int8), torch.tensor(b, dtype=torch.int8).t())
    if name != "int8" or A.is_exact(A.PRODUCTS[name], CPU):
        assert found.tolist() == expected.tolist()


def test_the_self_test_finds_a_saturating_product():
    def saturating(a, b):
        pairs = a.long()[:, :, None] * b.long()[None]
        return (pairs[:, ::2] + pairs[:, 1::2]).clamp(-(1 << 13), (1 << 13) - 1).sum(1).to(torch.int32)

    assert not A.is_exact(saturating, CPU)
    assert A.is_exact(A.PRODUCTS["float64"], CPU)
    assert A.exact_product(torch.device(CPU)) in A.PRODUCTS.values()
