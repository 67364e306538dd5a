"""`logits.cumulative` and `logits.log_odds` of one row, for compiled loops that code step by step.

They take their tables as arguments: `logits.exp_tables()` and `logits.softplus_entries()`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.kernels import kernel

WEIGHT_BITS: Final = 22
"""The likeliest symbol weighs 2**22; 16 nats below it a symbol weighs nothing."""

REACH: Final = 16
"""In nats."""

NODE_BITS: Final = 12
"""Sums over subtrees count 1/4096 nat, so that roundings of 16 levels do not add up."""

SOFTPLUS_ENTRIES: Final = 2400

MAX_LOG_ODDS: Final = 2047

ABSENT: Final = -(1 << 28)
"""Stands for the logarithm of nothing: no sum of logits comes near it."""

_WEIGHT_SHIFT: Final = 60 - WEIGHT_BITS
_FINER: Final = NODE_BITS - 8
_HALF: Final = 1 << (_FINER - 1)


@kernel
def cumulative_row(
    logits: NDArray[np.int32],
    total_bits: int,
    high: NDArray[np.int64],
    low: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    """Put the running sums of a row's frequencies into `out`, int64 `(n + 1,)`."""
    n = logits.size
    most = np.int64(logits[0])
    for i in range(1, n):
        most = max(most, np.int64(logits[i]))
    out[0] = 0
    for i in range(n):
        below = min(most - logits[i], REACH << 8)
        out[i + 1] = out[i] + ((high[below >> 8] * low[below & 255]) >> _WEIGHT_SHIFT)
    total = out[n]
    spare = (1 << total_bits) - n
    for i in range(n + 1):
        out[i] = i + out[i] * spare // total


@kernel
def log_odds_row(
    logits: NDArray[np.int32],
    depth: int,
    softplus: NDArray[np.int64],
    sums: NDArray[np.int64],
    out: NDArray[np.int32],
) -> None:
    """Put a row's log-odds into `out`, int32 `(2**depth - 1,)`.

    `sums` is scratch, int64 `(2**depth,)`; `depth` is `tree_depth(logits.size)`.
    """
    leaves = 1 << depth
    for i in range(leaves):
        sums[i] = np.int64(logits[i]) << _FINER if i < logits.size else ABSENT
    for level in range(depth - 1, -1, -1):
        for i in range(1 << level):
            zero, one = sums[2 * i], sums[2 * i + 1]
            apart = one - zero
            odds = min(max((apart + _HALF) >> _FINER, -MAX_LOG_ODDS), MAX_LOG_ODDS)
            out[(1 << level) - 1 + i] = odds
            index = (abs(apart) + _HALF) >> _FINER
            sums[i] = max(zero, one) + softplus[min(index, SOFTPLUS_ENTRIES - 1)]
