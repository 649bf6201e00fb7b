"""The coefficients of one plane, block after block; compiled by numba, or run as it stands."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codec.jit import compiled, part
from codec.jpeg.mixture import END_SLOTS, NODES, SITUATIONS
from codec.jpeg.prediction import END_PLACE, FEATURES, predict
from codec.jpeg.values import coefficient, end_of_block

LARGEST = 32767  # magnitude of a coefficient
WIDE = 10  # of a block with a border
PADDED = 12 * WIDE
LOGS = 4096
FINE = 30  # bits of an inverse step
RESIDUAL_LIMIT = 1 << 38


class Constants(NamedTuple):
    """raster: 8 * row + column of a zigzag position; zigzag: the inverse; edge, slope: 1024 times how a frequency shows in value and
    slope at a block's border; log: (LOGS,), 16 log2(1 + n); thresholds: a magnitude is above so many of them."""

    raster: npt.NDArray[np.int64]
    zigzag: npt.NDArray[np.int64]
    edge: npt.NDArray[np.int64]
    slope: npt.NDArray[np.int64]
    log: npt.NDArray[np.int64]
    thresholds: npt.NDArray[np.int64]


@part
def _clamped(value, most):
    return min(max(value, -most), most)


@part
def _log(log, value):
    """16 log2(1 + |value|), with the sign of the value."""
    return log[min(value, LOGS - 1)] if value >= 0 else -log[min(-value, LOGS - 1)]


@compiled
def code(
    blocks,
    steps,
    kind,
    luma,
    other,
    network,
    constants,
    state,
    work,
    tables,
    coder,
    stream,
    decoding,
    final,
    costs,
    stopped,
    records,
    recorded,
):
    """Codes the (rows, columns, 64) blocks of a plane into `stream`, or fills them from it.

    kind: 0 luma, 1 first and 2 second chroma; luma, other: the blocks of luma and of the first chroma. final: the stream ends with this
    plane. costs: empty, or takes the bits of each block. stopped: one number that another thread sets to make an end, as does a payload
    that is used up. records: takes features and values of every `recorded[1]`-th coefficient, `recorded[0]` counts them.
    """
    spent = np.zeros(min(1, costs.size))
    rows, columns = blocks.shape[0], blocks.shape[1]
    raster, zigzag, edge, slope, log = constants.raster, constants.zigzag, constants.edge, constants.slope, constants.log
    chroma = 1 if kind else 0
    across = -(-luma.shape[1] // columns) if luma.shape[1] >= columns else 0
    down = -(-luma.shape[0] // rows) if luma.shape[0] >= rows else 0
    f = work.features
    bases = state.bases
    values, logs = np.zeros((3, columns + 4, PADDED), np.int32), np.zeros((3, columns + 4, PADDED), np.int32)
    ends = np.zeros((3, columns + 4), np.int64)
    right, below = np.zeros(8, np.int64), np.zeros((columns, 8), np.int64)
    west, north = np.zeros(8, np.int64), np.zeros(8, np.int64)
    right_slope, below_slope = np.zeros(8, np.int64), np.zeros((columns, 8), np.int64)
    west_slope, north_slope = np.zeros(8, np.int64), np.zeros(8, np.int64)
    slope_west, slope_north = np.zeros(64, np.int64), np.zeros(64, np.int64)
    sizes, counts = np.zeros((3, columns + 4), np.int64), np.zeros((3, columns + 4), np.int64)
    light, bright = np.zeros(64, np.int64), np.zeros(64, np.int64)
    inverse, inverse_west, inverse_north = np.zeros(64, np.int64), np.zeros(64, np.int64), np.zeros(64, np.int64)
    for k in range(64):
        v, u = raster[k] >> 3, raster[k] & 7
        inverse[k] = (4 << FINE) // (edge[0] * steps[k])
        inverse_west[k] = (4 << FINE) // (edge[u] * steps[k])
        inverse_north[k] = (4 << FINE) // (edge[v] * steps[k])
        if u:
            slope_west[k] = (4 << FINE) // (slope[u] * steps[k])
        if v:
            slope_north[k] = (4 << FINE) // (slope[v] * steps[k])
    predicted = len(network.gains) > 0
    counted = 0
    for y in range(rows):
        if stopped[0] or coder[3] > len(stream) + 3:
            break
        now, up, above = y % 3, (y + 2) % 3, (y + 1) % 3
        for x in range(columns):
            if coder[3] > len(stream) + 3:
                break
            block = blocks[y, x]
            has_west, has_north = x > 0, y > 0
            # where a neighbour is missing another one stands for it; column 0 is empty
            row_w, col_w = (now, x + 1) if has_west else (up, x + 2) if has_north else (now, 0)
            row_n, col_n = (up, x + 2) if has_north else (row_w, col_w)
            row_nw, col_nw = (up, x + 1) if has_west and has_north else (row_n, col_n)
            row_ne, col_ne = (up, x + 3) if has_north and x + 1 < columns else (row_n, col_n)
            row_ww, col_ww = (now, x) if x > 1 else (row_w, col_w)
            row_nn, col_nn = (above, x + 2) if y > 1 else (row_n, col_n)
            log_w, log_n, log_nw, log_ne = logs[row_w, col_w], logs[row_n, col_n], logs[row_nw, col_nw], logs[row_ne, col_ne]
            log_ww, log_nn = logs[row_ww, col_ww], logs[row_nn, col_nn]
            val_w, val_n, val_nw, val_ne = values[row_w, col_w], values[row_n, col_n], values[row_nw, col_nw], values[row_ne, col_ne]
            val_ww, val_nn = values[row_ww, col_ww], values[row_nn, col_nn]
            end_w, end_n, end_nw, end_ne = ends[row_w, col_w], ends[row_n, col_n], ends[row_nw, col_nw], ends[row_ne, col_ne]
            own, own_log = values[now, x + 2], logs[now, x + 2]
            for i in range(PADDED):
                own[i] = 0
                own_log[i] = 0
            end_light = end_other = 0
            if kind:
                first_y = down * y if down else y * luma.shape[0] // rows
                first_x = across * x if across else x * luma.shape[1] // columns
                first_y, first_x = min(first_y, luma.shape[0] - 1), min(first_x, luma.shape[1] - 1)
                last_y = min(first_y + min(max(down, 1), 2), luma.shape[0])
                last_x = min(first_x + min(max(across, 1), 2), luma.shape[1])
                number = (last_y - first_y) * (last_x - first_x)
                for k in range(64):
                    light[k] = bright[k] = 0
                for i in range(first_y, last_y):
                    for j in range(first_x, last_x):
                        shining = luma[i, j]
                        for k in range(64):
                            level = np.int64(shining[k])
                            light[k] += level
                            bright[k] += abs(level)
                for k in range(64):
                    if bright[k]:
                        end_light = k
                        light[k] = _log(log, light[k] * 4 // number)
                        bright[k] = _log(log, bright[k] * 4 // number)
            same = other[min(y, other.shape[0] - 1), min(x, other.shape[1] - 1)]
            if kind == 2:
                end_other = 63
                while end_other and same[end_other] == 0:
                    end_other -= 1
            size_w, size_n, count_w, count_n = sizes[row_w, col_w], sizes[row_n, col_n], counts[row_w, col_w], counts[row_n, col_n]
            end = 0
            if not decoding:
                end = 63
                while end and block[end] == 0:
                    end -= 1
            activity = 0
            for i in range(8):
                west[i] = right[i] if has_west else 0
                north[i] = below[x, i] if has_north else 0
                west_slope[i] = right_slope[i] if has_west else 0
                north_slope[i] = below_slope[x, i] if has_north else 0
                if i:
                    activity += abs(west[i]) + abs(north[i])
            if has_west != has_north:
                activity *= 2
            active = min(_log(log, (activity >> 10) * 4 // (steps[1] + steps[2])) >> 3, 15)
            t, start = chroma * SITUATIONS, 2 * 64 * SITUATIONS * NODES
            around = end_w + end_n
            bases[10] = start + (t + (around >> 1)) * END_SLOTS
            bases[9] = start + (t + (end_w >> 2) * 16 + (end_n >> 2)) * END_SLOTS
            bases[0] = start + (t + active * 16 + (around >> 3)) * END_SLOTS
            bases[1] = start + (t + (end_light >> 2) * 16 + (around >> 3)) * END_SLOTS
            bases[2] = start + (t + ((end_nw + end_ne) >> 3) * 16 + (around >> 3)) * END_SLOTS
            bases[3] = start + (t + active * 16 + (end_other >> 2)) * END_SLOTS
            bases[8] = start + (t + ((around + end_nw + end_ne) >> 3) * 8 + (end_light >> 3)) * END_SLOTS
            bases[7] = start + (t + min(end_w, end_n) * 4 + (active >> 2)) * END_SLOTS
            bases[4] = start + (t + max(end_w, end_n) * 4 + (active >> 2)) * END_SLOTS
            bases[11] = start + (t + active * 16 + (end_light >> 2)) * END_SLOTS
            bases[5] = start + (t + end_other * 4 + (around >> 5)) * END_SLOTS
            bases[6] = start + t * END_SLOTS
            if predicted or recorded[1]:
                for i in range(FEATURES):
                    f[i] = 0
                for i in range(8):
                    f[i] = log[min((min(abs(west[i]), RESIDUAL_LIMIT) * inverse[zigzag[8 * i]]) >> FINE, LOGS - 1)]
                    f[8 + i] = log[min((min(abs(north[i]), RESIDUAL_LIMIT) * inverse[zigzag[i]]) >> FINE, LOGS - 1)]
                f[21], f[22], f[23], f[24] = 4 * end_w, 4 * end_n, 4 * end_nw, 4 * end_ne
                f[25], f[26] = 4 * ends[row_ww, col_ww], 4 * ends[row_nn, col_nn]
                f[36], f[37], f[38], f[39] = log[end_w], log[end_n], log[count_w], log[count_n]
                f[40], f[41], f[42], f[43] = log[count_w], log[count_n], 4 * count_w, 4 * count_n
                f[44], f[45], f[46], f[47] = log_w[2 * WIDE + 1], log_n[2 * WIDE + 1], log[end_nw], log[end_ne]
                f[55] = log[min(abs(end_w - end_n), 63)]
                f[63], f[64], f[67], f[72] = _log(log, steps[0]), _log(log, steps[1] + steps[2]), 4 * end_light, 4 * end_other
                f[73], f[74], f[75], f[90], f[91] = (
                    int(has_west) * 64,
                    int(has_north) * 64,
                    active * 8,
                    _log(log, size_w),
                    _log(log, size_n),
                )
            if predicted:
                predict(END_PLACE + kind, network, work)
            if recorded[1]:
                counted += 1
                if counted % recorded[1] == 0 and recorded[0] < len(records):
                    record = records[recorded[0]]
                    recorded[0] += 1
                    for i in range(FEATURES):
                        record[i] = f[i]
                    record[FEATURES], record[FEATURES + 1], record[FEATURES + 2] = END_PLACE + kind, end, 0
            else:
                end = end_of_block(end, chroma, active, work.logits, state, constants.thresholds, tables, coder, stream, decoding, spent)
            ends[now, x + 2] = end
            log_steps = _log(log, steps[1] + steps[2])
            zeros = nonzero = size = 0
            before, before_that = 0, 0
            for index in range(1, end + 2):
                k = index if index <= end else 0
                v, u = raster[k] >> 3, raster[k] & 7
                at = (v + 2) * WIDE + u + 1
                step, kept = steps[k], inverse[k]
                prediction = 0
                if k:
                    pull_w = _clamped((_clamped(west[v], RESIDUAL_LIMIT) * inverse_west[k]) >> FINE, LOGS - 1)
                    pull_n = _clamped((_clamped(north[u], RESIDUAL_LIMIT) * inverse_north[k]) >> FINE, LOGS - 1)
                    if has_west and has_north:
                        pull = (pull_w * (v + 1) + pull_n * (u + 1)) // (u + v + 2)
                    else:
                        pull = pull_w if has_west else pull_n
                else:
                    rest_w, rest_n = 0, 0
                    for i in range(1, 8):
                        rest_w += abs(west[i])
                        rest_n += abs(north[i])
                    rest_w = min((rest_w >> 10) // step, LOGS) + 1
                    rest_n = min((rest_n >> 10) // step, LOGS) + 1
                    eighth_w = (_clamped(west[0], RESIDUAL_LIMIT) * 8) // (edge[0] * step)
                    eighth_n = (_clamped(north[0], RESIDUAL_LIMIT) * 8) // (edge[0] * step)
                    if has_west and has_north:
                        eighths = (eighth_w * rest_n * rest_n + eighth_n * rest_w * rest_w) // (rest_w * rest_w + rest_n * rest_n)
                    else:
                        eighths = eighth_w if has_west else eighth_n if has_north else 0
                    prediction = _clamped((eighths + 4) >> 3, LARGEST)
                    pull_w = _clamped((eighth_w - 8 * prediction) >> 1, LOGS - 1) if has_west else 0
                    pull_n = _clamped((eighth_n - 8 * prediction) >> 1, LOGS - 1) if has_north else 0
                    pull = _clamped(eighths - 8 * prediction, LOGS - 1)
                leaning = pull if pull else pull_w if pull_w else pull_n if pull_n else np.int64(val_w[at])
                negative = leaning < 0
                s = -1 if negative else 1
                far_w, far_n = _log(log, pull_w * s), _log(log, pull_n * s)
                pulled = log[abs(pull)]
                twin = np.int64(same[k]) if kind == 2 else np.int64(0)
                if predicted or recorded[1]:
                    for i in range(8):
                        f[i] = s * _log(log, _clamped((_clamped(west[i], RESIDUAL_LIMIT) * kept) >> FINE, LOGS - 1))
                        f[8 + i] = s * _log(log, _clamped((_clamped(north[i], RESIDUAL_LIMIT) * kept) >> FINE, LOGS - 1))
                    f[16], f[17], f[18], f[19], f[20] = far_w, far_n, pulled, abs(far_w), abs(far_n)
                    f[21], f[22], f[23], f[24], f[25], f[26] = log_w[at], log_n[at], log_nw[at], log_ne[at], log_ww[at], log_nn[at]
                    f[27], f[28], f[29] = own_log[at - 1], own_log[at - WIDE], own_log[at - WIDE - 1]
                    f[30], f[31], f[32], f[33] = own_log[at - 2], own_log[at - 2 * WIDE], own_log[at - WIDE + 1], own_log[at + WIDE - 1]
                    f[34], f[35] = own_log[at + 1], own_log[at + WIDE]
                    f[36], f[37], f[38], f[39] = log_w[at - 1], log_w[at + 1], log_w[at - WIDE], log_w[at + WIDE]
                    f[40], f[41], f[42], f[43] = log_n[at - 1], log_n[at + 1], log_n[at - WIDE], log_n[at + WIDE]
                    f[44], f[45] = log_w[at + WIDE + 1], log_n[at + WIDE + 1]
                    f[46] = log_w[at] * s if val_w[at] > 0 else -log_w[at] * s
                    f[47] = log_n[at] * s if val_n[at] > 0 else -log_n[at] * s
                    f[48] = own_log[at - 1] * s if own[at - 1] > 0 else -own_log[at - 1] * s
                    f[49] = own_log[at - WIDE] * s if own[at - WIDE] > 0 else -own_log[at - WIDE] * s
                    f[50] = own_log[at - 2] * s if own[at - 2] > 0 else -own_log[at - 2] * s
                    f[51] = own_log[at - 2 * WIDE] * s if own[at - 2 * WIDE] > 0 else -own_log[at - 2 * WIDE] * s
                    f[52] = own_log[at - WIDE - 1] * s if own[at - WIDE - 1] > 0 else -own_log[at - WIDE - 1] * s
                    f[53], f[54] = _log(log, end - k), 4 * (end - k)
                    f[55], f[56], f[57] = 4 * end, 4 * end_w, 4 * end_n
                    f[58], f[59], f[60] = _log(log, nonzero), _log(log, size), _log(log, zeros)
                    f[61], f[62] = _log(log, before), _log(log, before_that)
                    f[63], f[64] = _log(log, step), log_steps
                    f[65], f[66], f[67] = bright[k], light[k] * s, 4 * end_light
                    f[68], f[69], f[70], f[71], f[72] = 0, 0, 0, 0, 0
                    if kind:
                        f[68] = bright[zigzag[8 * v + u + 1]] if u < 7 else 0
                        f[69] = bright[zigzag[8 * v + u + 8]] if v < 7 else 0
                    if kind == 2:
                        f[70], f[71], f[72] = _log(log, abs(twin)), _log(log, twin) * s, 4 * end_other
                    f[73], f[74], f[75] = int(has_west) * 64, int(has_north) * 64, active * 8
                    steep_w = _log(log, s * _clamped((_clamped(west_slope[v], RESIDUAL_LIMIT) * slope_west[k]) >> FINE, LOGS - 1))
                    steep_n = _log(log, s * _clamped((_clamped(north_slope[u], RESIDUAL_LIMIT) * slope_north[k]) >> FINE, LOGS - 1))
                    f[76], f[77], f[78], f[79] = steep_w, steep_n, abs(steep_w), abs(steep_n)
                    f[80] = log[min(steps[k - 1], LOGS - 1)] - f[63] if k else 0
                    f[81] = log_steps - f[63]
                    f[82] = log_w[at - 1] * s if val_w[at - 1] > 0 else -log_w[at - 1] * s
                    f[83] = log_w[at + 1] * s if val_w[at + 1] > 0 else -log_w[at + 1] * s
                    f[84] = log_n[at - WIDE] * s if val_n[at - WIDE] > 0 else -log_n[at - WIDE] * s
                    f[85] = log_n[at + WIDE] * s if val_n[at + WIDE] > 0 else -log_n[at + WIDE] * s
                    f[86], f[87] = log_w[at - WIDE - 1], log_n[at - WIDE - 1]
                    f[88], f[89] = log_nw[at + 1] + log_nw[at + WIDE], log_ne[at + 1] + log_ne[at + WIDE]
                    f[90], f[91] = _log(log, size_w), _log(log, size_n)
                place = kind * 64 + k
                if predicted:
                    predict(place, network, work)
                # contexts
                abs_w, abs_n = abs(np.int64(val_w[at])), abs(np.int64(val_n[at]))
                abs_nw, abs_ne = abs(np.int64(val_nw[at])), abs(np.int64(val_ne[at]))
                abs_ww, abs_nn = abs(np.int64(val_ww[at])), abs(np.int64(val_nn[at]))
                near = min(_log(log, 3 * (abs_w + abs_n) + abs_nw + abs_ne + abs_ww + abs_nn) >> 3, 15)
                left = min(_log(log, end - k) >> 3, 15)
                high = (
                    abs(np.int64(own[at - 1])) * 2
                    + abs(np.int64(own[at - 2]))
                    + abs(np.int64(own[at - WIDE])) * 2
                    + abs(np.int64(own[at - 2 * WIDE]))
                )
                high += abs(np.int64(own[at + 1])) + abs(np.int64(own[at + WIDE]))
                high = min(_log(log, high) >> 3, 15)
                corner = abs(np.int64(own[at - WIDE - 1])) + abs(np.int64(own[at + WIDE - 1])) + abs(np.int64(own[at - WIDE + 1]))
                beside = (
                    log_w[at - 1]
                    + log_w[at + 1]
                    + log_w[at - WIDE]
                    + log_w[at + WIDE]
                    + log_n[at - 1]
                    + log_n[at + 1]
                    + log_n[at - WIDE]
                    + log_n[at + WIDE]
                )
                beside = min(beside >> 5, 15)
                strong = min(pulled >> 3, 15)
                t = (chroma * 64 + k) * SITUATIONS
                bases[10] = (t + near * 16 + left) * NODES
                bases[9] = (t + min(pulled >> 1, 63) * 4 + (near >> 2)) * NODES
                bases[0] = (t + (min(abs(far_w) >> 3, 10) * 11 + min(abs(far_n) >> 3, 10)) * 2 + int(far_w * far_n > 0)) * NODES
                bases[1] = (t + high * 16 + min(_log(log, corner) >> 3, 15)) * NODES
                bases[2] = (t + (_clamped(val_w[at] * s, 7) + 7) * 15 + _clamped(val_n[at] * s, 7) + 7) * NODES
                bases[3] = (t + (end >> 1) * 8 + min(nonzero, 7)) * NODES
                if kind:
                    bases[8] = (t + (_clamped((twin if kind == 2 else light[k] >> 4) * s, 7) + 7) * 15 + min(bright[k] >> 3, 14)) * NODES
                else:
                    bases[8] = (t + min(_log(log, abs_nw + abs_ne) >> 3, 15) * 16 + min(_log(log, abs_ww + abs_nn) >> 3, 15)) * NODES
                bases[7] = (t + min(before, 7) * 32 + min(before_that, 7) * 4 + (left >> 2)) * NODES
                bases[4] = (chroma * 64 * SITUATIONS + near * 256 + strong * 16 + high) * NODES
                bases[11] = (t + near * 16 + strong) * NODES
                bases[5] = (t + beside * 16 + min(_log(log, size) >> 3, 15)) * NODES
                value = 0
                if not decoding:
                    value = np.int64(block[k]) - prediction
                if recorded[1]:
                    counted += 1
                    if counted % recorded[1] == 0 and recorded[0] < len(records):
                        record = records[recorded[0]]
                        recorded[0] += 1
                        for i in range(FEATURES):
                            record[i] = f[i]
                        record[FEATURES] = place
                        record[FEATURES + 1] = _clamped(value * s, LARGEST)
                        record[FEATURES + 2] = int(k == end and k > 0)
                else:
                    value = coefficient(
                        value,
                        chroma * 64 + k,
                        k == end and k > 0,
                        negative,
                        (chroma * 16 + near) * 16 + strong,
                        constants,
                        state,
                        work,
                        tables,
                        coder,
                        stream,
                        decoding,
                        spent,
                    )
                if decoding:
                    if abs(prediction + value) > LARGEST:
                        value, coder[3] = -prediction, len(stream) + 4  # as if it had run dry
                    block[k] = prediction + value
                magnitude = abs(value)
                own[at], own_log[at] = value, _log(log, magnitude)
                if k and magnitude:
                    weight = np.int64(block[k]) * step
                    west[v] -= weight * edge[u]
                    north[u] -= weight * edge[v]
                    west_slope[v] -= weight * slope[u]
                    north_slope[u] -= weight * slope[v]
                    nonzero += 1
                    size += magnitude
                zeros = 0 if magnitude else zeros + 1
                before_that, before = before, magnitude
            for i in range(8):
                right[i] = below[x, i] = right_slope[i] = below_slope[x, i] = 0
            for k in range(end + 1):
                if block[k]:
                    v, u = raster[k] >> 3, raster[k] & 7
                    weight = np.int64(block[k]) * steps[k]
                    right[v] += -weight * edge[u] if u & 1 else weight * edge[u]
                    below[x, u] += -weight * edge[v] if v & 1 else weight * edge[v]
                    right_slope[v] += weight * slope[u] if u & 1 else -weight * slope[u]
                    below_slope[x, u] += weight * slope[v] if v & 1 else -weight * slope[v]
            counts[now, x + 2], sizes[now, x + 2] = nonzero, size
            if len(spent):
                costs[y, x] = spent[0]
                spent[0] = 0
    if final and not decoding:
        if coder[3] < len(stream):
            stream[coder[3]] = coder[1] >> 24
        coder[3] += 1
