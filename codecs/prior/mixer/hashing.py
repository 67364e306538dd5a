"""The hash of contexts: 32 bits, the same in compiled code, numpy and plain Python."""

from __future__ import annotations

from typing import Final

from omnicodec.models.kernels import Integer, kernel

MASK32: Final = 0xFFFFFFFF


@kernel
def hash2(a: Integer, b: Integer) -> Integer:
    """Return a hash of two integers; only their low 32 bits count.

    `int()` keeps interpreted code from overflowing where compiled code wraps around.
    """
    h = ((int(a) & MASK32) * 0x9E3779B1 + (int(b) & MASK32) * 0x85EBCA6B) & MASK32
    h ^= h >> 15
    h = (h * 0x2C1B3C6D) & MASK32
    return h ^ (h >> 13)
