"""Compiled loops: requantization in one pass, the gated recurrence, and a step of a network.

Integers only. `advance` runs one step of a network that `Stepper` has laid out in flat arrays;
it may be called from other compiled loops, so that a decoder's inner loop needs no Python.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.kernels import Integer, kernel

# Operations of a program; the columns that each uses are in `advance`.
EMBED: Final = 0
LINEAR: Final = 1
CAUSAL: Final = 2
MASKED: Final = 3
MINGRU: Final = 4
TABLE: Final = 5
REQUANTIZE: Final = 6
ADD: Final = 7

COLUMNS: Final = 16
HEADER: Final = 4
"""Entries before the operations: their number, height, width, positions (0: no limit)."""

GATE_BITS: Final = 15
"""An update gate counts 2**-15; its table ends at 2**15 - 1."""

I32 = np.int32
HALF_GATE: Final = 1 << (GATE_BITS - 1)


@kernel
def _rescale(x: Integer, shift: Integer, bits: Integer) -> Integer:
    """`requantize` of one integer; in 32 bits and without branches, so that loops are vectors."""
    high = I32(I32(1) << I32(bits - 1)) - 1
    low = -high - 1
    right, left = I32(max(I32(shift), I32(0))), I32(max(-I32(shift), I32(0)))
    x = I32(I32(x) + I32(I32(I32(1) << right) >> I32(1))) >> right
    x = min(max(I32(x), I32(low)), I32(high))
    x = I32(x << left)
    return I32(min(max(x, I32(low)), I32(high)))


@kernel
def _rescale_all(x: NDArray[np.int32], shift: NDArray[np.int32], bits: Integer) -> None:
    """Requantize a vector in place, each value by its own shift."""
    for n in range(x.size):
        x[n] = _rescale(x[n], shift[n], bits)


@kernel
def requantize_rows(
    sums: NDArray[np.int32],
    bias: NDArray[np.int32],
    shift: NDArray[np.int8],
    bits: int,
    out: NDArray[Any],
) -> None:
    """Add the bias to `(M, N)` sums and requantize them into `out`, int8 or int16 `(M, N)`."""
    for m in range(sums.shape[0]):
        row, y = sums[m], out[m]
        for n in range(row.size):
            y[n] = _rescale(I32(row[n] + bias[n]), shift[n], bits)


@kernel
def _mix(h: Integer, z: Integer, c: Integer) -> Integer:
    """One step of the recurrence; `|z * (c - h)|` and half a step stay below 2**31."""
    change = I32(I32(z) * I32(I32(c) - I32(h)))
    return I32(h + (I32(change + I32(HALF_GATE)) >> I32(GATE_BITS)))


@kernel
def look_up(x: NDArray[np.int8], table: NDArray[np.int16], out: NDArray[Any]) -> None:
    """Put `table[x + 128]` into `out`, int8 or int16, for flat arrays."""
    for n in range(x.size):
        out[n] = table[np.uint8(I32(x[n]) + 128)]


@kernel
def add(
    x: NDArray[Any],
    y: NDArray[Any],
    left: NDArray[np.int8],
    shift: Integer,
    bits: Integer,
    out: NDArray[Any],
) -> None:
    """Requantize the sum of two int8 or int16 arrays, each shifted left first; all are flat."""
    first, second = I32(left[0]), I32(left[1])
    for n in range(x.size):
        total = I32(I32(I32(x[n]) << first) + I32(I32(y[n]) << second))
        out[n] = _rescale(total, shift, bits)


@kernel
def recurrent_rows(
    sums: NDArray[np.int32],
    bias: NDArray[np.int32],
    shift: NDArray[np.int8],
    table: NDArray[np.int16],
    shift_out: Integer,
    bits: Integer,
    state: NDArray[np.int32],
    out: NDArray[Any],
) -> None:
    """Run a minGRU over its accumulators.

    `sums` is `(B, T, 2 * C)`, gates before candidates; `state` `(B, C)` is the first `h` and
    becomes the last; `out`, int8 or int16 `(B, T, C)`, gets every requantized `h`.
    """
    channels = out.shape[2]
    gate_bias, gate_shift = bias[:channels], shift[:channels]
    candidate_bias, candidate_shift = bias[channels:], shift[channels:]
    for b in range(sums.shape[0]):
        h = state[b]
        for t in range(sums.shape[1]):
            gates, candidates, y = sums[b, t, :channels], sums[b, t, channels:], out[b, t]
            for n in range(channels):
                before = _rescale(I32(gates[n] + gate_bias[n]), gate_shift[n], 8)
                z = table[np.uint8(before + 128)]
                c = _rescale(I32(candidates[n] + candidate_bias[n]), candidate_shift[n], 16)
                h[n] = _mix(h[n], z, c)
                y[n] = _rescale(h[n], shift_out, bits)


@kernel
def _multiply(
    w8: NDArray[np.int8],
    weight: Integer,
    x16: NDArray[np.int16],
    inputs: Integer,
    bias: NDArray[np.int32],
    out: NDArray[np.int32],
) -> None:
    """Put `weight @ x + bias` into `out`; the weight is row-major in `w8` from `weight` on."""
    x = x16[:inputs]
    for n in range(out.size):
        row = w8[weight + n * inputs : weight + (n + 1) * inputs]
        total = I32(0)
        for k in range(inputs):
            total = I32(total + I32(I32(row[k]) * I32(x[k])))
        out[n] = I32(total + bias[n])


@kernel
def _gather_ring(
    source: NDArray[np.int32],
    ring: NDArray[np.int32],
    tick: Integer,
    dilation: Integer,
    out: NDArray[np.int16],
) -> None:
    """Put the inputs of this time into the ring, and what a causal convolution sees into `out`."""
    channels = source.size
    taps = out.size // channels
    span = (taps - 1) * dilation + 1
    start = tick % span * channels
    ring[start : start + channels] = source
    for j in range(taps):
        start = (tick + 1 + j * dilation) % span * channels
        seen, part = ring[start : start + channels], out[j * channels : (j + 1) * channels]
        for k in range(channels):
            part[k] = seen[k]


@kernel
def _gather_canvas(
    canvas: NDArray[np.int32],
    height: Integer,
    width: Integer,
    tick: Integer,
    channels: Integer,
    offsets: NDArray[np.int32],
    out: NDArray[np.int16],
) -> None:
    """Put what a masked convolution sees at position `tick` into `out`."""
    y, x = tick // width, tick % width
    for j in range(out.size // channels):
        v, u = y + offsets[2 * j], x + offsets[2 * j + 1]
        part = out[j * channels : (j + 1) * channels]
        if v < 0 or v >= height or u < 0 or u >= width:
            part[:] = 0
            continue
        start = (v * width + u) * channels
        seen = canvas[start : start + channels]
        for k in range(channels):
            part[k] = seen[k]


@kernel
def advance(
    program: NDArray[np.int64],
    w8: NDArray[np.int8],
    w32: NDArray[np.int32],
    registers: NDArray[np.int32],
    x16: NDArray[np.int16],
    state: NDArray[np.int32],
    ids: NDArray[np.int64],
) -> None:
    """Run a network for one step on `ids`; its results are left in `registers`.

    The arrays are a `Stepper`'s `arrays`. `state[0]` counts the steps; copying `state` and
    writing it back returns to an earlier step. Raises IndexError for an id out of range, and
    for a step beyond a grid's last position.
    """
    height, width, positions = program[1], program[2], program[3]
    tick = np.int64(state[0])
    if positions > 0 and tick >= positions:
        raise IndexError("a step beyond the last position of the grid")
    for i in range(program[0]):
        # An operation's columns: 0 code, 1 first register of its source, 2 of its results,
        # 3 how many results, 4 their bits, and from 5 on what the comments below say.
        op = program[HEADER + i * COLUMNS : HEADER + (i + 1) * COLUMNS]
        code, size, bits, inputs = op[0], op[3], op[4], op[6]
        out = registers[op[2] : op[2] + size]
        if code == EMBED:  # 5 weight, 6 number of tables, 8 shifts, 9 sizes
            first = op[5]
            out[:] = 0
            for j in range(inputs):
                if ids[j] < 0 or ids[j] >= w32[op[9] + j]:
                    raise IndexError("an id is out of the range of its embedding")
                row = w8[first + ids[j] * size : first + (ids[j] + 1) * size]
                first += w32[op[9] + j] * size
                for n in range(size):
                    out[n] += row[n]
            _rescale_all(out, w32[op[8] : op[8] + size], bits)
        elif code == TABLE:  # 5 table
            source = registers[op[1] : op[1] + size]
            table = w32[op[5] : op[5] + 256]
            for n in range(size):
                out[n] = table[np.uint8(source[n] + 128)]
        elif code == REQUANTIZE:  # 8 shift
            source = registers[op[1] : op[1] + size]
            shift = w32[op[8]]
            for n in range(size):
                out[n] = _rescale(source[n], shift, bits)
        elif code == ADD:  # 5 the second source, 8 shift and the left shifts of the two
            source, other = registers[op[1] : op[1] + size], registers[op[5] : op[5] + size]
            shift, left, other_left = w32[op[8]], w32[op[8] + 1], w32[op[8] + 2]
            for n in range(size):
                total = I32(I32(source[n] << left) + I32(other[n] << other_left))
                out[n] = _rescale(total, shift, bits)
        else:  # 5 weight, 6 inputs, 7 bias, 8 shifts
            if code == CAUSAL:  # 9 channels, 10 ring, 11 dilation
                source = registers[op[1] : op[1] + op[9]]
                _gather_ring(source, state[op[10] :], tick, op[11], x16[:inputs])
            elif code == MASKED:  # 9 channels, 10 canvas, 11 offsets, 12 steps behind
                source = registers[op[1] : op[1] + op[9]]
                canvas = state[op[10] : op[10] + positions * op[9]]
                known = tick - op[12]
                if known >= 0:
                    canvas[known * op[9] : (known + 1) * op[9]] = source
                _gather_canvas(canvas, height, width, tick, op[9], w32[op[11] :], x16[:inputs])
            else:
                source = registers[op[1] : op[1] + inputs]
                for k in range(inputs):
                    x16[k] = source[k]
            if code == MINGRU:  # 9 table, 10 state, 11 scratch
                both = registers[op[11] : op[11] + 2 * size]
                _multiply(w8, op[5], x16, inputs, w32[op[7] : op[7] + 2 * size], both)
                shifts = w32[op[8] : op[8] + 2 * size + 1]
                _rescale_all(both[:size], shifts[:size], 8)
                _rescale_all(both[size:], shifts[size:], 16)
                h, table = state[op[10] : op[10] + size], w32[op[9] : op[9] + 256]
                for n in range(size):
                    z = table[np.uint8(both[n] + 128)]
                    h[n] = _mix(h[n], z, both[size + n])
                    out[n] = _rescale(h[n], shifts[2 * size], bits)
            else:
                _multiply(w8, op[5], x16, inputs, w32[op[7] : op[7] + size], out)
                _rescale_all(out, w32[op[8] : op[8] + size], bits)
    state[0] = tick + 1


@kernel
def advance_all(
    program: NDArray[np.int64],
    w8: NDArray[np.int8],
    w32: NDArray[np.int32],
    registers: NDArray[np.int32],
    x16: NDArray[np.int16],
    state: NDArray[np.int32],
    ids: NDArray[np.int64],
    first: int,
    out: NDArray[np.int32],
) -> None:
    """Run a step for each row of ids; put the registers from `first` on into the rows of `out`."""
    for t in range(ids.shape[0]):
        advance(program, w8, w32, registers, x16, state, ids[t])
        out[t] = registers[first : first + out.shape[1]]
