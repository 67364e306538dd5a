"""The hash of contexts: 32 bits, the same in compiled code, numpy and plain Python."""

from __future__ import annotations

from typing import Final

from omnicodec.codecs.prior.mixer import format as fmt
from omnicodec.models.kernels import Integer, kernel

MASK32: Final = 0xFFFFFFFF

_A, _B, _C = fmt.HASH_FACTORS
_S, _T = fmt.HASH_SHIFTS


@kernel
def hash2(a: Integer, b: Integer) -> Integer:
    """Return a hash of two integers; only their low 32 bits count.

    `int()` keeps interpreted code from overflowing where compiled code wraps around.
    """
    h = ((int(a) & MASK32) * _A + (int(b) & MASK32) * _B) & MASK32
    h ^= h >> _S
    h = (h * _C) & MASK32
    return h ^ (h >> _T)
