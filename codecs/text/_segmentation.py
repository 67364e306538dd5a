"""Where a text is cut into patches: six rules, each a function of the bytes already read.

Whether a patch begins at byte `i` depends on the bytes before `i` alone, never on byte `i`
or on what follows. So the patches of a prefix are those of the whole up to its last, which
may be cut short, and a model that writes a text knows where a patch ends before it writes
the next byte. Every comparison is between integers.

A fixed threshold of entropy gives patches of 4.6 bytes in one text and of 2.5 in another: how
sure the byte model is depends on the subject, and on how much of the text it has seen. So
all thresholds but "global"'s follow the text, a little with each patch that is longer or
shorter than the average that is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput

METHODS: Final = ("entropy", "global", "monotonic", "surprisal", "space", "stride")

BIT: Final = 4096
"""Entropies, surprisals and thresholds count 1/4096 bit."""

HIGHEST: Final = 64 * BIT
"""No threshold is above 64 bits."""

RATE: Final = 32
"""How far a threshold moves for each byte that a patch differs from the average: 1/128 bit."""

Bytes = NDArray[np.uint8]
Bits = NDArray[np.int32]
Flags = NDArray[np.bool_]

Measure = Callable[[bytes], Bits]
"""Maps bytes to int32 `(n,)`: one value a byte, in 1/4096 bit."""


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """The rules, with their thresholds in 1/4096 bit, at the beginning of a text.

    * entropy: a patch begins where the next byte is uncertain, its entropy above the
      threshold (Byte Latent Transformer, Pagnoni et al. 2024, arXiv:2412.09871);
    * global: the same with a threshold that does not move, as in that paper;
    * monotonic: where that entropy rises by more than the threshold from one byte to the
      next (the same paper's approximate monotonic constraint);
    * surprisal: after the byte with which the surprisals of a patch add up to more than the
      threshold, so that patches hold equal information;
    * space: after a byte that is no letter, digit or UTF-8 continuation, unless the byte
      before it was such a byte too (SpaceByte, Slagle 2024, arXiv:2404.14408);
    * stride: every `stride` bytes (MEGABYTE, Yu et al. 2023, arXiv:2305.07185).

    The entropy is that of the next byte's first four bits, which costs a fraction of the
    whole and follows it closely. No patch is longer than `longest` bytes. A patch of `n`
    bytes raises the threshold by `rate * (average / 1000 - n)`, four times that for
    surprisal: over a long text the average patch has `average / 1000` bytes.
    """

    entropy: int
    monotonic: int
    surprisal: int
    stride: int
    longest: int
    average: int
    rate: int = RATE

    @classmethod
    def from_config(cls, config: Mapping[str, int]) -> Segmentation:
        return cls(**{name: int(config[name]) for name in cls.__dataclass_fields__})

    def lengths(
        self, data: bytes, method: str, *, entropy: Measure, surprisal: Measure
    ) -> NDArray[np.int32]:
        """Return the lengths of the patches of `data`, int32 `(P,)`, each 1 to `longest`.

        `entropy` and `surprisal` are called only where the method needs them; the value at
        byte `i` of the first may depend on bytes before `i`, of the second on `i` as well.
        Raises `InvalidInput` for an unknown method.
        """
        # Numba takes half a second to import, and facts about a codec need none of it.
        from omnicodec.codecs.text._cuts import above, equal_sums, limited

        row = np.frombuffer(data, np.uint8)
        steering = (self.rate, self.average, self.longest)
        if method == "entropy":
            return above(entropy(data), self.entropy, *steering)
        if method == "global":
            return above(entropy(data), self.entropy, 0, self.average, self.longest)
        if method == "monotonic":
            return above(rises(entropy(data)), self.monotonic, *steering)
        if method == "surprisal":
            # Sums are larger than single values, and so are the steps of their threshold.
            return equal_sums(
                surprisal(data), self.surprisal, 4 * self.rate, self.average, self.longest
            )
        if method == "space":
            return limited(after_spaces(row), self.longest)
        if method == "stride":
            return regular(row.size, min(self.stride, self.longest))
        raise InvalidInput(f"unknown method {method!r}; known: {', '.join(METHODS)}")


def rises(values: Bits) -> Bits:
    """Return by how much each value exceeds the one before it; 0 for the first."""
    return np.diff(values, prepend=values[:1])


def after_spaces(row: Bytes) -> Flags:
    """Return where the byte before is "spacelike" and the one before that is not."""
    flags = np.zeros(row.size, np.bool_)
    spacelike = _SPACELIKE[row]
    flags[1:] = spacelike[:-1]
    flags[2:] &= ~spacelike[:-2]
    return flags


def regular(size: int, stride: int) -> NDArray[np.int32]:
    """Return the lengths of patches of `stride` bytes, the last one what is left."""
    lengths = np.full(-(-size // stride), stride, np.int32)
    if size % stride:
        lengths[-1] = size % stride
    return lengths


def calibrate(patches: Callable[[int], int], size: int, average: int) -> int:
    """Return the least threshold with an average patch of `average / 1000` bytes or more.

    `patches` maps a threshold to the number of patches of `size` bytes, which falls as the
    threshold rises. `HIGHEST` is returned where none is high enough.
    """
    low, high = 0, HIGHEST
    while low < high:
        middle = (low + high) // 2
        if 1000 * size >= average * patches(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _spacelike() -> Flags:
    byte = np.arange(256)
    letter = (((byte | 32) >= ord("a")) & ((byte | 32) <= ord("z"))) & (byte < 128)
    digit = (byte >= ord("0")) & (byte <= ord("9"))
    continuation = (byte >= 0x80) & (byte < 0xC0)
    flags: Flags = ~(letter | digit | continuation)
    return flags


_SPACELIKE: Final = _spacelike()
