"""The fixed tables of the mixer, made of integers alone, so that every machine has the same.

* `squash()`: log-odds to probability; `stretch()` is its inverse.
* `states()`: bit histories in one byte, after the state machines of Mahoney's PAQ
  ("Adaptive Weighing of Context Models for Lossless Data Compression", 2005).
"""

from __future__ import annotations

from functools import cache
from math import isqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.prior.mixer.format import LOGIT_MAX, ONE, SQUASH_MAX, STATE_CLASSES

_FRACTION: Final = 128  # fractional bits of the exponential: far more than the result keeps
_E: Final = 924983374546220337150911035843336795079  # e * 2**128, rounded down


@cache
def squash() -> NDArray[np.int32]:
    """Return `ONE / (1 + exp(-d / 256))` for d of -SQUASH_MAX - 1 ... SQUASH_MAX, rounded."""
    unit = 1 << _FRACTION
    # The 256th root of e, by eight square roots in integers.
    root = _E
    for _ in range(8):
        root = isqrt(root << _FRACTION)
    table = []
    power = unit
    for _ in range(SQUASH_MAX + 2):  # exp(n / 256) for n = 0, 1, ...
        table.append((ONE * power + (unit + power) // 2) // (unit + power))
        power = power * root >> _FRACTION
    upper = table[: SQUASH_MAX + 1]
    lower = [ONE - p for p in table[1:]]
    both = np.array(lower[::-1] + upper, np.int32)
    return np.clip(both, 1, ONE - 1)


@cache
def stretch() -> NDArray[np.int32]:
    """Return the log-odds of p = (i + 1/2) / 4096 for i of 0 ... 4095, within ±LOGIT_MAX.

    It is the least d whose `squash` reaches p.
    """
    targets = np.arange(4096) * 16 + 8
    d = np.searchsorted(squash(), targets) - (SQUASH_MAX + 1)
    return np.clip(d, -LOGIT_MAX, LOGIT_MAX).astype(np.int32)


@cache
def information() -> NDArray[np.int32]:
    """Return the information of p = i / 65536 in 1/4096 bit, for i of 0 ... 65536, rounded down.

    Entry 0 is that of the least probability above 0. The logarithm is made bit by bit, by squaring.
    """
    values = np.maximum(np.arange(ONE + 1), 1).astype(np.uint64)
    whole = np.array([int(v).bit_length() - 1 for v in values])
    x = values << (30 - whole).astype(np.uint64)  # 1 <= x < 2 with 30 fractional bits
    fraction = np.zeros(ONE + 1, np.int64)
    for _ in range(12):
        x = (x * x) >> np.uint64(30)
        bit = x >> np.uint64(31)
        fraction = fraction * 2 + bit.astype(np.int64)
        x >>= bit
    return ((16 << 12) - ((whole << 12) + fraction)).astype(np.int32)


class States(NamedTuple):
    """The bit-history machine. State 0 is "nothing seen".

    `next[s, bit]` is the next state, `total[s]` the number of bits that it stands for,
    `cls[s]` a class of similar states (0 ... STATE_CLASSES - 1), `counts[s]` its
    zeros and ones.
    """

    next: NDArray[np.uint8]
    total: NDArray[np.uint8]
    cls: NDArray[np.uint8]
    counts: NDArray[np.uint8]


_LIMIT: Final = {0: 48, 1: 20, 2: 10, 3: 7, 4: 6, 5: 5}
"""The largest count of one bit, by the smaller count of the other."""


@cache
def states() -> States:
    """Return the bit-history machine: (zeros, ones, last bit) with bounded counts.

    A bit raises its own count; when the other's is above 2, half of the excess is forgotten,
    so that histories follow what is recent.
    """
    index: dict[tuple[int, int, int], int] = {(0, 0, 0): 0}
    for total in range(1, 60):
        for zeros in range(total + 1):
            ones = total - zeros
            few, many = sorted((zeros, ones))
            if many > _LIMIT.get(few, 0):
                continue
            lasts = (0 if ones == 0 else 1,) if few == 0 else (0, 1)
            for last in lasts:
                index[zeros, ones, last] = len(index)
    assert len(index) <= 256
    following = np.zeros((256, 2), np.uint8)
    counts = np.zeros((256, 2), np.uint8)
    classes: dict[tuple[int, int, int], int] = {}
    cls = np.zeros(256, np.uint8)
    for (zeros, ones, last), at in index.items():
        counts[at] = zeros, ones
        kind = (_coarse(zeros), _coarse(ones), last if min(zeros, ones) else 0)
        cls[at] = classes.setdefault(kind, len(classes))
        for bit in (0, 1):
            same, other = (ones, zeros) if bit else (zeros, ones)
            same, other = _bounded(same + 1, other if other <= 2 else 2 + (other - 2) // 2)
            after = (other, same) if bit else (same, other)
            last_after = bit if min(after) else int(after[1] > 0)
            following[at, bit] = index[(*after, last_after)]
    assert len(classes) <= STATE_CLASSES
    return States(following, counts.sum(1, dtype=np.int64).astype(np.uint8), cls, counts)


def _bounded(same: int, other: int) -> tuple[int, int]:
    while True:
        if same >= other:
            if same <= _LIMIT.get(other, 0):
                return same, other
            same -= 1
        else:
            if other <= _LIMIT.get(same, 0):
                return same, other
            other -= 1


def _coarse(count: int) -> int:
    if count < 4:
        return count
    return 4 if count < 7 else 5 if count < 16 else 6
