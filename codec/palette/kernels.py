"""The operations of the palette layout's network, compiled by numba, spread over the cores: the same integers as `operations`, faster."""

import math

import numpy as np

from codec.jit import compiled, numba

if numba is None:
    msg = "numba is missing"
    raise ImportError(msg)

from numba import njit

i32 = np.int32


@njit(inline="always")
def _bit_length(x):
    count = 0
    while x:
        x >>= 1
        count += 1
    return count


@njit(inline="always")
def _rounded(x, shift):
    return (x + ((1 << shift) >> 1)) >> shift


@njit(inline="always")
def _largest(row):
    largest = row[0] * 0
    for k in range(len(row)):
        largest = max(largest, abs(row[k]))
    return largest


@compiled
def limbs(first, last, x, bits, limit, high, low, exponent):
    """(rows, inputs) int64; see `operations.limbs`. A part is a row."""
    for row in range(first, last):
        shift = max(_bit_length(_largest(x[row])) - bits, 0)
        exponent[row, 0] = shift
        for k in range(x.shape[1]):
            mantissa = min(max(_rounded(x[row, k], shift), -limit), limit)
            upper = (mantissa + 64) >> 7
            high[row, k] = upper
            low[row, k] = mantissa - (upper << 7)


@compiled
def scaled(first, last, high, low, exponent, multiplier, bias, shift, least, most, limit, out):
    """See `operations.scaled`. A part is a row."""
    for row in range(first, last):
        by = min(max(shift - exponent[row, 0], least), most)
        half = (1 << by) >> 1
        for k in range(high.shape[1]):
            total = np.int64(high[row, k]) * 128 + low[row, k]
            out[row, k] = min(max(((total * multiplier[k] + half) >> by) + bias[k], -limit), limit)


@compiled
def activated(first, last, x, table):
    """In place; see `operations.activated`. A part is a row."""
    end = len(table) - 1
    for row in range(first, last):
        for k in range(x.shape[1]):
            value = x[row, k]
            x[row, k] = max(value, 0) - table[min(abs(value), end)]


@njit(inline="always")
def _cut(x, out):
    """A head's values, to 7 bits beside the sign; returns the exponent."""
    shift = max(_bit_length(_largest(x)) - 7, 0)
    for k in range(len(x)):
        out[k] = min(max(_rounded(x[k], shift), -127), 127)
    return shift


@njit(inline="always")
def _attend(query, exponent, keys, of_keys, values, of_values, count, multiplier, shift, table, scores, weights, out):
    """One query (dim) int8 against `count` keys and values (dim, positions) int8 with their exponents."""
    dim = len(query)
    for k in range(count):
        weights[k] = 0
    for d in range(dim):
        q, row = i32(query[d]), keys[d]
        for k in range(count):
            weights[k] = i32(weights[k] + i32(q * i32(row[k])))
    best = np.int64(-1) << 62
    for k in range(count):
        scores[k] = (np.int64(weights[k]) * multiplier) >> (shift - exponent - of_keys[k])
        best = max(best, scores[k])
    last, total = len(table) - 1, 0
    for k in range(count):
        weight = table[min(best - scores[k], last)]
        total += weight
        weights[k] = i32(weight << of_values[k])
    for d in range(dim):
        row, value = values[d], np.int64(0)
        for k in range(count):
            value += np.int64(weights[k]) * np.int64(row[k])
        out[d] = math.floor((2.0 * value + total) / (2.0 * total))


@compiled
def attend_cached(first, last, qkv, mantissas, exponents, position, multiplier, shift, table, out):
    """qkv (tiles, 3, heads, dim) int64; mantissas (2, tiles, heads, dim, positions) and exponents (2, tiles, heads, positions) int8. A part
    is a tile."""
    _, _, heads, dim = qkv.shape
    for tile in range(first, last):
        query, cut = np.empty(dim, np.int8), np.empty(dim, np.int8)
        scores, weights = np.empty(position + 1, np.int64), np.empty(position + 1, np.int32)
        for h in range(heads):
            for n in range(2):
                exponents[n, tile, h, position] = _cut(qkv[tile, n + 1, h], cut)
                mantissas[n, tile, h, :, position] = cut
            exponent = _cut(qkv[tile, 0, h], query)
            _attend(
                query, exponent, mantissas[0, tile, h], exponents[0, tile, h], mantissas[1, tile, h], exponents[1, tile, h],
                position + 1, multiplier, shift, table, scores, weights, out[tile, h],
            )  # fmt: skip


@compiled
def attend(first, last, qkv, multiplier, shift, table, out):
    """qkv (tiles, positions, 3, heads, dim) int64. A part is a head of a tile."""
    _, positions, _, heads, dim = qkv.shape
    for task in range(first, last):
        tile, h = task // heads, task % heads
        mantissas, exponents = np.empty((2, dim, positions), np.int8), np.empty((2, positions), np.int8)
        query, cut = np.empty(dim, np.int8), np.empty(dim, np.int8)
        scores, weights = np.empty(positions, np.int64), np.empty(positions, np.int32)
        for p in range(positions):
            for n in range(2):
                exponents[n, p] = _cut(qkv[tile, p, n + 1, h], cut)
                mantissas[n, :, p] = cut
            exponent = _cut(qkv[tile, p, 0, h], query)
            _attend(
                query, exponent, mantissas[0], exponents[0], mantissas[1], exponents[1],
                p + 1, multiplier, shift, table, scores, weights, out[tile, p, h],
            )  # fmt: skip
