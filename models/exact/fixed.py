"""Fixed-point numbers: what an integer of a layer means, and how it is rounded.

A tensor of a layer holds integers `q` that stand for the real numbers `q / 2**fraction`;
`fraction` (0 to 15) is known when the network is built and stored nowhere but in the shifts
that follow from it. Activations have 8 or 16 bits, weights 8, accumulators 32.

Every rescaling is `requantize`, defined bit for bit:

* `shift >= 0`: add `2**(shift - 1)` (nothing for a shift of 0), shift right arithmetically,
  saturate to the range of the result. So ties go up: `floor(x + 1/2)`, also for negative `x`.
* `shift < 0`: saturate, multiply by `2**-shift`, saturate again.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

MAX_FRACTION: Final = 15
"""Activations and weights have 0 to 15 fractional bits, so every shift is in -15...30."""

MIN_SHIFT: Final = -15
MAX_SHIFT: Final = 30

MAX_INPUTS: Final = 1 << 16
"""Products summed by one output: 2**16 of at most 127 * 128 stay below 2**30."""

MAX_BIAS: Final = (1 << 29) - 1
"""With it, sum of products, bias and rounding together stay below 2**31."""

MAX_WEIGHT: Final = 127
"""Weights are in -127...127, so that a weight and its negation are the same step."""

LOGIT_FRACTION: Final = 8
"""Logits count 1/256 nat: the log-odds units of the mixer."""

DTYPES: Final = {8: torch.int8, 16: torch.int16}


def limits(bits: int) -> tuple[int, int]:
    """Return the least and the greatest integer of 8 or 16 bits."""
    if bits not in DTYPES:
        raise ValueError(f"activations have 8 or 16 bits, not {bits}")
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def requantize(x: Tensor, shift: Tensor, bits: int) -> Tensor:
    """Return `x / 2**shift`, rounded and saturated to `bits`; see the module's text.

    `x` is int32 `(..., N)` with `|x| < 2**31 - 2**29`; `shift` is an integer tensor that
    broadcasts against it, in -15...30. Returns int8 or int16 of the shape of `x`.
    """
    low, high = limits(bits)
    shift = shift.to(torch.int32)
    right, left = shift.clamp(min=0), (-shift).clamp(min=0)
    half = torch.bitwise_left_shift(torch.ones_like(right), right) >> 1
    x = torch.bitwise_right_shift(x + half, right).clamp(low, high)
    x = torch.bitwise_left_shift(x, left).clamp(low, high)
    return x.to(DTYPES[bits])


def check_shift(shift: Tensor) -> None:
    """Raise ValueError unless all shifts are in range."""
    if shift.numel() and not (MIN_SHIFT <= int(shift.min()) and int(shift.max()) <= MAX_SHIFT):
        raise ValueError(f"shifts must be in {MIN_SHIFT}...{MAX_SHIFT}")
