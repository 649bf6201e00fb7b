"""The entropy-coded bytes of a JPEG's scan <-> quantised coefficients (ITU-T T.81, annexes F and G), with Huffman codes.

Compiled by numba, or run as it stands where that is missing. A *state* is where a scan stands: the position in its bytes, bits that are
held and how many, the run of blocks that are over, correction bits that are held back, and a fault.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codec.jit import compiled, part

POSITION, HELD, COUNT, RUN, CORRECTIONS, FAULT, PADDING = range(7)  # of a state
ENDED, WRONG = 1, 2  # faults: no bytes are left; no code, or no coefficient, is like this
MOST_RUN = 0x7FFF  # of blocks that are over
MOST_CORRECTIONS = 937  # that libjpeg holds back before it ends a run: of its 1,000 a block may add 63
LARGEST = 0x7FFF  # magnitude of a coefficient

Coefficients = npt.NDArray[np.int16]  # (blocks, 64) of all components, in zigzag order
Numbers = npt.NDArray[np.int64]


class Scan(NamedTuple):
    """What a scan codes, and how.

    layout: (components, 4), of each its first block, blocks in a row of its plane, and blocks of an MCU across and down. size: MCUs across
    and down. first, last: coefficients in zigzag order; high, low: bits of successive approximation. progressive: as the frame is.
    interval: MCUs between restarts, 0 for none. symbols: (8, 65536), of tables 0 to 3 for DC and then AC, by the next 16 bits, length *
    256 + symbol, or -1; codes, lengths: (8, 256), by symbol, length 0 where it has none. tables: (components, 2), which of these.
    """

    layout: Numbers
    size: tuple[int, int]
    first: int
    last: int
    high: int
    low: int
    progressive: bool
    interval: int
    symbols: npt.NDArray[np.int32]
    codes: Numbers
    lengths: Numbers
    tables: Numbers


def started() -> Numbers:
    state = np.zeros(7, np.int64)
    state[PADDING] = -1  # unknown
    return state


# Bits


@part
def _fill(state, data):
    """Holds 25 bits or more, as long as no marker and not the end comes first."""
    while state[COUNT] <= 24:
        at = state[POSITION]
        if at >= len(data):
            break
        byte = np.int64(data[at])
        if byte == 0xFF:
            at += 1
            if at >= len(data) or data[at] != 0:
                break
        state[POSITION] = at + 1
        state[HELD] = (state[HELD] << 8 | byte) & 0xFFFFFFFF
        state[COUNT] += 8


@part
def _read(state, data, bits):
    if bits == 0:
        return np.int64(0)
    _fill(state, data)
    if state[COUNT] < bits:
        state[FAULT] = ENDED
        return np.int64(0)
    state[COUNT] -= bits
    return state[HELD] >> state[COUNT] & ((1 << bits) - 1)


@part
def _read_symbol(state, data, symbols):
    _fill(state, data)
    count = state[COUNT]
    found = np.int64(symbols[(state[HELD] >> (count - 16) if count >= 16 else state[HELD] << (16 - count)) & 0xFFFF])
    if found < 0 or found >> 8 > count:
        state[FAULT] = ENDED if count < 16 else WRONG
        return np.int64(0)
    state[COUNT] -= found >> 8
    return found & 255


@part
def _read_value(state, data, bits):
    """Of a coefficient that has so many bits."""
    value = _read(state, data, bits)
    return value if bits == 0 or value >> (bits - 1) else value - (1 << bits) + 1


@part
def _write(state, out, value, bits):
    """Nothing, once there is a fault; that may be that `out` is full."""
    if state[FAULT]:
        return
    state[HELD] = (state[HELD] << bits | (value & ((1 << bits) - 1))) & 0xFFFFFFFF
    state[COUNT] += bits
    while state[COUNT] >= 8:
        at = state[POSITION]
        if at + 2 > len(out):
            state[FAULT] = ENDED
            return
        state[COUNT] -= 8
        byte = state[HELD] >> state[COUNT] & 255
        out[at] = byte
        state[POSITION] = at + 1
        if byte == 0xFF:
            out[at + 1] = 0
            state[POSITION] = at + 2


@part
def _write_symbol(state, out, symbol, codes, lengths):
    if lengths[symbol] == 0:
        state[FAULT] = WRONG
    else:
        _write(state, out, codes[symbol], lengths[symbol])


@part
def _bit_length(value):
    bits = 0
    while value >> bits:
        bits += 1
    return bits


@part
def _write_value(state, out, value, bits):
    _write(state, out, value if value > 0 else value - 1, bits)


# Blocks. predicted: the DC coefficient before, of each component.


@part
def _read_dc(state, data, block, scan, dc, predicted, c):
    if scan.high:
        block[0] |= _read(state, data, 1) << scan.low
        return
    bits = _read_symbol(state, data, scan.symbols[dc])
    if bits > 15:
        state[FAULT] = WRONG
    value = predicted[c] + _read_value(state, data, min(bits, 15))
    if abs(value) << scan.low > LARGEST:
        state[FAULT] = WRONG
    if not state[FAULT]:
        predicted[c] = value
        block[0] = value << scan.low


@part
def _write_dc(state, out, block, scan, dc, predicted, c):
    value = np.int64(block[0]) >> scan.low
    if scan.high:
        _write(state, out, value & 1, 1)
        return
    difference = value - predicted[c]
    predicted[c] = value
    bits = _bit_length(abs(difference))
    _write_symbol(state, out, bits, scan.codes[dc], scan.lengths[dc])
    _write_value(state, out, difference, bits)


@part
def _read_ac(state, data, block, scan, ac):
    """Of a sequential frame, or for the first time of a progressive one."""
    if state[RUN]:
        state[RUN] -= 1
        return
    k = max(scan.first, 1)
    while k <= scan.last:
        symbol = _read_symbol(state, data, scan.symbols[ac])
        if state[FAULT]:
            return
        run, bits = symbol >> 4, symbol & 15
        if bits == 0:
            if run == 15:
                k += 16
                continue
            if run and not scan.progressive:
                state[FAULT] = WRONG
                return
            state[RUN] = (1 << run) - 1 + _read(state, data, run)
            return
        k += run
        value = _read_value(state, data, bits)
        if k > scan.last or abs(value) << scan.low > LARGEST:
            state[FAULT] = WRONG
        if state[FAULT]:
            return
        block[k] = value * (1 << scan.low)
        k += 1


@part
def _write_ac(state, out, block, scan, ac, corrections):
    codes, lengths = scan.codes[ac], scan.lengths[ac]
    run = 0
    for k in range(max(scan.first, 1), scan.last + 1):
        magnitude = abs(np.int64(block[k])) >> scan.low
        if magnitude == 0:
            run += 1
            continue
        _write_run(state, out, codes, lengths, corrections)
        while run > 15:
            _write_symbol(state, out, 0xF0, codes, lengths)
            run -= 16
        bits = _bit_length(magnitude)
        if bits > 15:
            state[FAULT] = WRONG
            return
        _write_symbol(state, out, run << 4 | bits, codes, lengths)
        _write_value(state, out, magnitude if block[k] > 0 else -magnitude, bits)
        run = 0
    if run:
        state[RUN] += 1
        if state[RUN] == MOST_RUN or not scan.progressive:
            _write_run(state, out, codes, lengths, corrections)


@part
def _refine(state, data, block, k, bit):
    """One more bit of a coefficient that is not 0."""
    if _read(state, data, 1) and not abs(np.int64(block[k])) & bit:
        block[k] += bit if block[k] > 0 else -bit


@part
def _read_refined_ac(state, data, block, scan, ac):
    k, bit = max(scan.first, 1), 1 << scan.low
    while k <= scan.last and not state[RUN]:
        symbol = _read_symbol(state, data, scan.symbols[ac])
        run, bits = symbol >> 4, symbol & 15
        new = np.int64(0)
        if bits:
            new = bit if _read(state, data, 1) else -bit
            if bits > 1:
                state[FAULT] = WRONG
        elif run < 15:
            state[RUN] = (1 << run) + _read(state, data, run)
            break
        while k <= scan.last and not state[FAULT]:
            if block[k]:
                _refine(state, data, block, k, bit)
            elif run == 0:
                break
            else:
                run -= 1
            k += 1
        if state[FAULT]:
            return
        if k > scan.last and new:
            state[FAULT] = WRONG
            return
        if new:
            block[k] = new
        k += 1
    if state[RUN]:
        while k <= scan.last and not state[FAULT]:
            if block[k]:
                _refine(state, data, block, k, bit)
            k += 1
        state[RUN] -= 1


@part
def _write_refined_ac(state, out, block, scan, ac, corrections):
    codes, lengths = scan.codes[ac], scan.lengths[ac]
    first, end = max(scan.first, 1), 0
    start = scan.last + 1  # of what is not 0
    for k in range(scan.last, first - 1, -1):
        magnitude = abs(np.int64(block[k])) >> scan.low
        if magnitude:
            start = k
        if magnitude == 1 and not end:
            end = k
    run, held = start - first, 0  # correction bits of this block, behind those of blocks before
    for k in range(start, scan.last + 1):
        magnitude = abs(np.int64(block[k])) >> scan.low
        if magnitude == 0:
            run += 1
            continue
        while run > 15 and k <= end:
            held = _write_run_before(state, out, codes, lengths, corrections, held)
            _write_symbol(state, out, 0xF0, codes, lengths)
            run -= 16
            held = _write_corrections(state, out, corrections, held)
        if magnitude > 1:
            corrections[state[CORRECTIONS] + held] = magnitude & 1
            held += 1
            continue
        held = _write_run_before(state, out, codes, lengths, corrections, held)
        _write_symbol(state, out, run << 4 | 1, codes, lengths)
        _write(state, out, 1 if block[k] > 0 else 0, 1)
        held = _write_corrections(state, out, corrections, held)
        run = 0
    if run or held:
        state[RUN] += 1
        state[CORRECTIONS] += held
        if state[RUN] == MOST_RUN or state[CORRECTIONS] > MOST_CORRECTIONS:
            _write_run(state, out, codes, lengths, corrections)


@part
def _write_corrections(state, out, corrections, held):
    for k in range(held):
        _write(state, out, corrections[k], 1)
    return 0


@part
def _write_run(state, out, codes, lengths, corrections):
    """Of blocks that are over, and the correction bits in them."""
    run = state[RUN]
    if run:
        bits = _bit_length(run) - 1
        _write_symbol(state, out, bits << 4, codes, lengths)
        _write(state, out, run, bits)
        state[RUN] = 0
        _write_corrections(state, out, corrections, state[CORRECTIONS])
        state[CORRECTIONS] = 0


@part
def _write_run_before(state, out, codes, lengths, corrections, held):
    """The same, while so many correction bits of a block stand behind them: these come to the front."""
    behind = state[CORRECTIONS]
    _write_run(state, out, codes, lengths, corrections)
    if behind:
        for k in range(held):
            corrections[k] = corrections[behind + k]
    return held


# Scans


@part
def _read_padding(state):
    """What fills the last byte of a part between restarts."""
    count = state[COUNT]
    if count > 7:
        state[FAULT] = WRONG
        return
    if count:
        bits = state[HELD] & ((1 << count) - 1)
        now = 1 if bits == (1 << count) - 1 else 0
        if (bits and not now) or state[PADDING] not in (-1, now):
            state[FAULT] = WRONG
        state[PADDING] = now
    state[COUNT] = 0


@part
def _write_padding(state, out):
    count = (8 - state[COUNT]) & 7
    _write(state, out, (1 << count) - 1 if state[PADDING] else 0, count)


@compiled
def read(data, coefficients, scan, state):
    """Fills in what a scan says, from its bytes; until a fault. Coefficients keep what was read before it."""
    predicted = np.zeros(4, np.int64)
    across, down = scan.size
    for mcu in range(across * down):
        if scan.interval and mcu and mcu % scan.interval == 0:
            _read_padding(state)
            at = state[POSITION]
            if at + 2 > len(data) or data[at] != 0xFF or data[at + 1] != 0xD0 + (mcu // scan.interval - 1) % 8 or state[RUN]:
                state[FAULT] = WRONG if not state[FAULT] else state[FAULT]
            if state[FAULT]:
                return
            state[POSITION] = at + 2
            predicted[:] = 0
        row, column = mcu // across, mcu % across
        for c in range(len(scan.layout)):
            first, stride, wide, high = scan.layout[c]
            for y in range(row * high, (row + 1) * high):
                for x in range(column * wide, (column + 1) * wide):
                    block = coefficients[first + y * stride + x]
                    if scan.first == 0:
                        _read_dc(state, data, block, scan, scan.tables[c, 0], predicted, c)
                    if scan.last and not state[FAULT]:
                        if scan.high:
                            _read_refined_ac(state, data, block, scan, scan.tables[c, 1])
                        else:
                            _read_ac(state, data, block, scan, scan.tables[c, 1])
                    if state[FAULT]:
                        return
    _read_padding(state)


@compiled
def write(out, coefficients, scan, state):
    """The same bytes, as libjpeg writes them; until a fault, as that `out` is full. PADDING of the state says with which bit."""
    predicted = np.zeros(4, np.int64)
    corrections = np.zeros(MOST_CORRECTIONS + 64, np.int64)
    across, down = scan.size
    for mcu in range(across * down):
        if scan.interval and mcu and mcu % scan.interval == 0:
            _write_run(state, out, scan.codes[scan.tables[0, 1]], scan.lengths[scan.tables[0, 1]], corrections)
            _write_padding(state, out)
            at = state[POSITION]
            if at + 2 > len(out):
                state[FAULT] = ENDED
            if state[FAULT]:
                return
            out[at], out[at + 1] = 0xFF, 0xD0 + (mcu // scan.interval - 1) % 8
            state[POSITION] = at + 2
            predicted[:] = 0
        row, column = mcu // across, mcu % across
        for c in range(len(scan.layout)):
            first, stride, wide, high = scan.layout[c]
            for y in range(row * high, (row + 1) * high):
                for x in range(column * wide, (column + 1) * wide):
                    block = coefficients[first + y * stride + x]
                    if scan.first == 0:
                        _write_dc(state, out, block, scan, scan.tables[c, 0], predicted, c)
                    if scan.last:
                        if scan.high:
                            _write_refined_ac(state, out, block, scan, scan.tables[c, 1], corrections)
                        else:
                            _write_ac(state, out, block, scan, scan.tables[c, 1], corrections)
                    if state[FAULT]:
                        return
    _write_run(state, out, scan.codes[scan.tables[0, 1]], scan.lengths[scan.tables[0, 1]], corrections)
    _write_padding(state, out)
