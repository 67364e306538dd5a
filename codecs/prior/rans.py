"""Entropy coding of integers around a predicted mean: rANS with shipped tables.

Asymmetric numeral systems (Duda, arXiv:1311.2540) in its range variant (Giesen,
arXiv:1402.3392): the state is in [2**24, 2**40), words have 16 bits, and so have frequencies.

A value is coded given its mean, in eighths, and the class of its scale:

* The mean is cut into the integer nearest to it and one of 8 fractions. Class and fraction
  choose a table of 33 frequencies for the remainder `r = value - integer`: 32 buckets of
  `2**shift` remainders from `-16 << shift` on, and one symbol for all others. The shift belongs
  to the class.
* Low bits of `r` within a bucket are raw.
* Another remainder follows as an Exp-Golomb code (4 bits for the number of bits, then those),
  positive and negative ones in turns.

The decoder must end with the state that the encoder began with and with all words used, so most
damage is noticed.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import CorruptStream
from omnicodec.models.kernels import Integer, inlined, kernel

FRACTIONS: Final = 8
"""Means count eighths, which are rounded to the nearest integer; ties go up."""

BUCKETS: Final = 32
SYMBOLS: Final = BUCKETS + 1
"""Symbols of a table: the buckets, then the escape."""

TOTAL: Final = 1 << 16
"""The sum of a table's frequencies; each is at least 1."""

MAX_SHIFT: Final = 10
MAX_REMAINDER: Final = 1 << 13
"""Values are coded whose distance from their mean is below this."""

CODES: Final = 3
"""Steps of the coder that one value takes at most."""

_HALF: Final = BUCKETS // 2
_LOW: Final = 1 << 24
_STATE_BYTES: Final = 5


class Distributions(NamedTuple):
    """Tables as the compiled loops take them; row `class * 8 + fraction`.

    `bounds` int32 `(rows, 34)` are running sums of frequencies, `first` uint8 `(rows, 256)`
    is the symbol that holds the first of each 256 slots, `shifts` int64 `(classes,)`.
    """

    bounds: NDArray[np.int32]
    first: NDArray[np.uint8]
    shifts: NDArray[np.int64]


def distributions(frequencies: NDArray[Any], shifts: NDArray[Any]) -> Distributions:
    """Return the tables for frequencies `(classes, 8, 33)` and shifts `(classes,)`.

    Raises ValueError for frequencies that do not add up to 2**16, or are below 1.
    """
    found = np.asarray(frequencies, np.int64)
    classes = found.shape[0] if found.ndim == 3 else 0
    if found.shape != (classes, FRACTIONS, SYMBOLS) or not classes or shifts.shape != (classes,):
        raise ValueError(f"frequencies of shape {found.shape} are not those of classes")
    if found.min() < 1 or (found.sum(2) != TOTAL).any():
        raise ValueError(f"frequencies are at least 1 and add up to {TOTAL}")
    if shifts.min() < 0 or shifts.max() > MAX_SHIFT:
        raise ValueError(f"shifts are 0 to {MAX_SHIFT}")
    bounds = np.zeros((classes * FRACTIONS, SYMBOLS + 1), np.int32)
    bounds[:, 1:] = found.reshape(-1, SYMBOLS).cumsum(1)
    slots = np.arange(0, TOTAL, 256)
    first = (bounds[:, None, 1:] <= slots[:, None]).sum(2).astype(np.uint8)
    return Distributions(bounds, first, shifts.astype(np.int64))


class Codes:
    """What an encoder has collected: the steps of the coder, in the order of decoding."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.uint32]] = []

    def room(self, values: int) -> NDArray[np.uint32]:
        """Return an array for the codes of so many values, to be filled and then added."""
        return np.empty(CODES * values, np.uint32)

    def add(self, codes: NDArray[np.uint32], count: int) -> None:
        """Take the first `count` of the codes."""
        self._parts.append(codes[:count].copy())

    def finish(self) -> bytes:
        """Return the bytes that a `Source` reads all values from."""
        codes = np.concatenate([np.empty(0, np.uint32), *self._parts])
        words = np.empty(codes.size + 1, np.uint16)
        state, at = write(codes, words)
        return int(state).to_bytes(_STATE_BYTES, "little") + words[at:].astype("<u2").tobytes()


class Source:
    """What a decoder reads from: `words`, and `state`, int64 (state of the coder, words used)."""

    def __init__(self, data: bytes) -> None:
        if len(data) < _STATE_BYTES or (len(data) - _STATE_BYTES) % 2:
            raise CorruptStream("entropy-coded data is cut off")
        state = int.from_bytes(data[:_STATE_BYTES], "little")
        if state < _LOW:
            raise CorruptStream("entropy-coded data is invalid")
        self.words = np.frombuffer(data, "<u2", offset=_STATE_BYTES).astype(np.uint16)
        self.state = np.array([state, 0], np.int64)

    def close(self) -> None:
        """Raise `CorruptStream` unless everything was read, and nothing else."""
        if self.state[0] != _LOW or self.state[1] != self.words.size:
            raise CorruptStream("entropy-coded data is not that of its chunk")


@kernel
def write(codes: NDArray[np.uint32], words: NDArray[np.uint16]) -> tuple[Integer, Integer]:
    """Write codes from the last to the first; words fill their array from its end.

    A code is `start | frequency << 16`. Returns the final state and where the words begin.
    """
    x = np.int64(_LOW)
    at = words.size
    for i in range(codes.size - 1, -1, -1):
        code = np.int64(codes[i])
        frequency = code >> 16
        if x >= frequency << 24:
            at -= 1
            words[at] = np.uint16(x & 0xFFFF)
            x >>= 16
        quotient = x // frequency
        x = (quotient << 16) + (x - quotient * frequency) + (code & 0xFFFF)
    return x, at


@inlined
def refill(x: Integer, at: Integer, words: NDArray[np.uint16]) -> tuple[Integer, Integer]:
    """Take a word where the state has become small; behind the end, words are 0."""
    if x < _LOW:
        word = np.int64(words[at]) if at < words.size else np.int64(0)
        return (x << 16) | word, at + 1
    return x, at


@inlined
def take_bits(
    x: Integer, at: Integer, words: NDArray[np.uint16], count: Integer
) -> tuple[Integer, Integer, Integer]:
    """Return the state and `count` raw bits, 0 to 15."""
    slot = x & 0xFFFF
    left = 16 - count
    x = ((x >> 16) << left) + (slot & ((1 << left) - 1))
    x, at = refill(x, at, words)
    return x, at, slot >> left


@inlined
def take(
    x: Integer, at: Integer, words: NDArray[np.uint16], tables: Distributions,
    scale: Integer, mean: Integer,
) -> tuple[Integer, Integer, Integer]:  # fmt: skip
    """Return the state and the next value, given its class and its mean in eighths.

    The value is within `mean / 8` plus or minus `2**17`, whatever the words are.
    """
    middle = (mean + 4) >> 3
    row = (scale << 3) + mean - (middle << 3) + 4
    slot = x & 0xFFFF
    bounds = tables.bounds[row]
    symbol = np.int64(tables.first[row, slot >> 8])
    while bounds[symbol + 1] <= slot:
        symbol += 1
    start = np.int64(bounds[symbol])
    x = (np.int64(bounds[symbol + 1]) - start) * (x >> 16) + slot - start
    x, at = refill(x, at, words)
    shift = tables.shifts[scale]
    if symbol < BUCKETS:
        r = (symbol - _HALF) << shift
        if shift > 0:
            x, at, low = take_bits(x, at, words, shift)
            r += low
        return x, at, middle + r
    x, at, size = take_bits(x, at, words, 4)
    x, at, low = take_bits(x, at, words, size)
    u = (1 << size) + low - 1
    r = (_HALF << shift) + (u >> 1)
    return x, at, middle + (r if u & 1 == 0 else -1 - r)


@kernel
def put_bits(codes: NDArray[np.uint32], at: Integer, bits: Integer, count: Integer) -> Integer:
    """Append raw bits, if there are any; return where the next code goes."""
    if count == 0:
        return at
    left = 16 - count
    codes[at] = np.uint32((bits << left) | (1 << (left + 16)))
    return at + 1


@kernel
def put(
    codes: NDArray[np.uint32], at: Integer, tables: Distributions,
    scale: Integer, mean: Integer, value: Integer,
) -> Integer:  # fmt: skip
    """Append the codes of a value, at most `CODES`; return where the next code goes."""
    middle = (mean + 4) >> 3
    row = (scale << 3) + mean - (middle << 3) + 4
    shift = tables.shifts[scale]
    r = value - middle
    symbol = (r >> shift) + _HALF
    inside = 0 <= symbol < BUCKETS
    if not inside:
        symbol = np.int64(BUCKETS)
    start = np.int64(tables.bounds[row, symbol])
    frequency = np.int64(tables.bounds[row, symbol + 1]) - start
    codes[at] = np.uint32(start | (frequency << 16))
    at += 1
    if inside:
        return put_bits(codes, at, r & ((1 << shift) - 1), shift)
    u = 2 * (r - (_HALF << shift)) if r >= 0 else 2 * (-1 - r - (_HALF << shift)) + 1
    size = np.int64(0)
    while (u + 1) >> (size + 1) > 0:
        size += 1
    at = put_bits(codes, at, size, 4)
    return put_bits(codes, at, u + 1 - (1 << size), size)
