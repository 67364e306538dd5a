"""Entropy coding of one bit at a time: a binary range coder, and windows of equal information.

The range coder is the carryless one of Mahoney's lpaq. The windows are those of "Training LLMs
over Neurally Compressed Text" (Lester et al., 2024), cut between bits rather than between
bytes: a window is a choice among 65,536 codes; each bit keeps a share of the codes that are
left, by its probability, until there are too few for another.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.prior.mixer import format as fmt
from omnicodec.codecs.prior.mixer.hashing import MASK32
from omnicodec.codecs.prior.mixer.state import (
    AT,
    CODE,
    HIGH,
    IN_TOKEN,
    LOW,
    TOKEN,
    WINDOW_LOW,
    WINDOW_SIZE,
)
from omnicodec.models.kernels import Integer, kernel

_TOP: Final = 0xFF000000


@kernel
def _middle(r: NDArray[np.int64], p: Integer) -> Integer:
    width = r[HIGH] - r[LOW]
    return r[LOW] + (width >> 16) * p + (((width & 0xFFFF) * p) >> 16)


@kernel
def encode_bit(r: NDArray[np.int64], buffer: NDArray[np.uint8], p: Integer, bit: Integer) -> bool:
    """Code a bit whose probability of 1 is `p`; False when the buffer is full."""
    if bit == 1:
        r[HIGH] = _middle(r, p)
    else:
        r[LOW] = _middle(r, p) + 1
    while ((r[LOW] ^ r[HIGH]) & _TOP) == 0:
        if r[AT] >= len(buffer):
            return False
        buffer[r[AT]] = r[HIGH] >> 24
        r[AT] += 1
        r[LOW] = (r[LOW] << 8) & MASK32
        r[HIGH] = ((r[HIGH] << 8) & MASK32) | 0xFF
    return True


@kernel
def next_byte(r: NDArray[np.int64], buffer: NDArray[np.uint8]) -> None:
    """Take one more byte of the code; behind the end they are 0."""
    byte = np.int64(buffer[r[AT]]) if r[AT] < len(buffer) else np.int64(0)
    r[AT] += 1
    r[CODE] = ((r[CODE] << 8) & MASK32) | byte


@kernel
def decode_bit(r: NDArray[np.int64], buffer: NDArray[np.uint8], p: Integer) -> Integer:
    """Return the next bit, whose probability of 1 is `p`."""
    middle = _middle(r, p)
    bit = 1 if r[CODE] <= middle else 0
    if bit == 1:
        r[HIGH] = middle
    else:
        r[LOW] = middle + 1
    while ((r[LOW] ^ r[HIGH]) & _TOP) == 0:
        r[LOW] = (r[LOW] << 8) & MASK32
        r[HIGH] = ((r[HIGH] << 8) & MASK32) | 0xFF
        next_byte(r, buffer)
    return bit


@kernel
def start_decoding(r: NDArray[np.int64], buffer: NDArray[np.uint8]) -> None:
    """Read the first bytes of the code."""
    for _ in range(4):
        next_byte(r, buffer)


@kernel
def finish(r: NDArray[np.int64], buffer: NDArray[np.uint8]) -> Integer:
    """Write as few bytes as tell the last interval; return their number in all, or -1 if full.

    Zeros at the end need not be written: behind its end, a code reads as zeros.
    """
    least = r[AT]
    for size in range(5):
        rest = (1 << (32 - 8 * size)) - 1
        value = (r[LOW] + rest) & ~rest
        if value <= r[HIGH]:
            for k in range(size):
                if r[AT] >= len(buffer):
                    return -1
                buffer[r[AT]] = (value >> (24 - 8 * k)) & 0xFF
                r[AT] += 1
            break
    end = r[AT]
    while end > least and buffer[end - 1] == 0:
        end -= 1
    return end


@kernel
def _share(r: NDArray[np.int64], p: Integer) -> Integer:
    """Return how many of the window's codes go to the bit 1."""
    size = r[WINDOW_SIZE]
    return min(max((size * p + (1 << 15)) >> 16, 1), size - 1)


@kernel
def encode_window_bit(
    r: NDArray[np.int64], windows: NDArray[np.int32], p: Integer, bit: Integer
) -> None:
    """Code a bit into the present window, or into a new one when that has too few codes left."""
    if r[WINDOW_SIZE] < fmt.WINDOW_LEAST:
        close_window(r, windows)
        r[WINDOW_LOW] = 0
        r[WINDOW_SIZE] = 1 << fmt.WINDOW_BITS
    ones = _share(r, p)
    if bit == 1:
        r[WINDOW_SIZE] = ones
    else:
        r[WINDOW_LOW] += ones
        r[WINDOW_SIZE] -= ones


@kernel
def close_window(r: NDArray[np.int64], windows: NDArray[np.int32]) -> None:
    """Write the present window, if there is one: the first of its codes that are left."""
    if r[WINDOW_SIZE] > 0:
        windows[r[TOKEN]] = r[WINDOW_LOW]
        r[TOKEN] += 1
        r[IN_TOKEN] = 0


@kernel
def decode_window_bit(r: NDArray[np.int64], windows: NDArray[np.int32], p: Integer) -> Integer:
    """Return the next bit, or -1 when the windows are spent."""
    if r[WINDOW_SIZE] < fmt.WINDOW_LEAST:
        if r[TOKEN] >= len(windows):
            return -1
        r[CODE] = windows[r[TOKEN]]
        r[TOKEN] += 1
        r[IN_TOKEN] = 0
        r[WINDOW_LOW] = 0
        r[WINDOW_SIZE] = 1 << fmt.WINDOW_BITS
    ones = _share(r, p)
    if r[CODE] < r[WINDOW_LOW] + ones:
        r[WINDOW_SIZE] = ones
        return 1
    r[WINDOW_LOW] += ones
    r[WINDOW_SIZE] -= ones
    return 0
