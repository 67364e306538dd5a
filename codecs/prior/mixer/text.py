"""Features of bytes of text: what was read, the words, the classes of characters."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.prior.mixer.hashing import MASK32
from omnicodec.models.kernels import Integer, kernel

(
    LAST1, LAST2, LAST3, LAST4, FIFTH, FIFTH_SIXTH, BYTES_5_TO_8,
    WORD, PREVIOUS_WORD, WORD_BEFORE, WORD_LENGTH, CLASS1, CLASSES2, CLASSES3, CLASSES8,
) = range(15)  # fmt: skip
COUNT: Final = 15


def _classes() -> NDArray[np.int32]:
    """Return the class, 1 ... 15, of each byte."""
    table = np.full(256, 15, np.int32)
    for members, cls in (
        (" \t", 1), ("\n", 2), ("aeiou", 3), ("bcdfghjklmnpqrstvwxyz", 4),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 5), ("0123456789", 6), (".,;:!?", 7), ("()[]{}", 8),
        ("\"'`", 9), ("=+-*/<>&|^%~", 10), ("#$@_\\", 11),
    ):  # fmt: skip
        table[[ord(c) for c in members]] = cls
    table[128:192] = 12  # the rest of a UTF-8 character
    table[192:224] = 13  # the start of one of two bytes
    table[224:] = 14
    return table


CLASSES: Final = _classes()


@kernel
def after_byte(f: NDArray[np.int64], c: Integer) -> None:
    """Bring the features `f` up to date after the byte `c`."""
    f[BYTES_5_TO_8] = ((f[BYTES_5_TO_8] << 8) | (f[LAST4] >> 24)) & MASK32
    f[LAST4] = ((f[LAST4] << 8) | c) & MASK32
    f[LAST1] = c
    f[LAST2] = f[LAST4] & 0xFFFF
    f[LAST3] = f[LAST4] & 0xFFFFFF
    f[FIFTH] = f[BYTES_5_TO_8] & 0xFF
    f[FIFTH_SIXTH] = f[BYTES_5_TO_8] & 0xFFFF
    folded = c | 32
    if 97 <= folded <= 122 or c >= 128:
        f[WORD] = ((f[WORD] + folded + 1) * 0x2F0B4C47) & MASK32
        f[WORD_LENGTH] += 1
    elif f[WORD] != 0:
        f[WORD_BEFORE] = f[PREVIOUS_WORD]
        f[PREVIOUS_WORD] = f[WORD]
        f[WORD] = 0
        f[WORD_LENGTH] = 0
    f[CLASSES8] = ((f[CLASSES8] << 4) | CLASSES[c]) & MASK32
    f[CLASS1] = f[CLASSES8] & 0xF
    f[CLASSES2] = f[CLASSES8] & 0xFF
    f[CLASSES3] = f[CLASSES8] & 0xFFF
