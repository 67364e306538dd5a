"""From integer logits to what entropy coders and the mixer take, in integers.

Logits count 1/256 nat (`LOGIT_FRACTION`). `frequencies` and `cumulative` are the softmax as
whole numbers for a range coder; `log_odds` is it as the binary decisions that spell a symbol.
The loops of `row_kernels` do the same for one row inside compiled code.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnicodec.models.exact import fixed
from omnicodec.models.exact.row_kernels import (
    ABSENT,
    MAX_LOG_ODDS,
    NODE_BITS,
    REACH,
    SOFTPLUS_ENTRIES,
    WEIGHT_BITS,
)
from omnicodec.models.exact.tables import exp_table, softplus_table

MAX_SYMBOLS: Final = 1 << 16
MAX_TOTAL_BITS: Final = 24

MAX_LOGIT: Final = 1 << 20
"""What `log_odds` takes, in 1/256 nat."""


def argmax(logits: Tensor) -> Tensor:
    """Return the first of the largest logits, int64 `(...)` of `(..., n)`."""
    n = logits.shape[-1]
    order = torch.arange(n - 1, -1, -1, device=logits.device)
    return n - 1 - (logits.to(torch.int64) * n + order).amax(-1) % n


def frequencies(logits: Tensor, total_bits: int = 16) -> Tensor:
    """Return the softmax as whole numbers that add up to `2**total_bits`, each at least 1.

    Takes integer logits `(..., n)`; returns int32 `(..., n)`. `frequencies / 2**total_bits` is
    exact in float64 and, up to 24 bits, in constriction's fixed point.
    """
    ends = cumulative(logits, total_bits)
    return ends[..., 1:] - ends[..., :-1]


def cumulative(logits: Tensor, total_bits: int = 16) -> Tensor:
    """Return the running sums of `frequencies`, from 0 to `2**total_bits`: int32 `(..., n + 1)`.

    With `w = 2**22 exp(logit - max)` by table, `n` symbols and `C` the running sum of `w`, it is
    `i + C[i] * (2**total_bits - n) // C[n]`: each symbol has 1 and its share of the rest, and
    rounding the ends instead of the shares leaves nothing to distribute.
    """
    n = logits.shape[-1]
    check_sizes(n, total_bits)
    logits = logits.to(torch.int64)
    below = (logits.amax(-1, keepdim=True) - logits).clamp(max=REACH << fixed.LOGIT_FRACTION)
    high, low = (torch.from_numpy(t.copy()).to(logits.device) for t in exp_tables())
    weights = (high[below >> 8] * low[below & 255]) >> (60 - WEIGHT_BITS)
    sums = torch.nn.functional.pad(weights.cumsum(-1), (1, 0))
    spare = (1 << total_bits) - n
    shares = torch.div(sums * spare, sums[..., -1:], rounding_mode="floor")
    ends = shares + torch.arange(n + 1, device=logits.device)
    return ends.to(torch.int32)


def log_odds(logits: Tensor) -> Tensor:
    """Return the log-odds of every binary decision that spells a symbol.

    Takes integer logits `(..., n)`; returns int32 `(..., 2**B - 1)` for the least `B` with
    `n <= 2**B`. Node 0 decides the most significant bit and node `i` is followed by `2i + 1`
    after a 0 and `2i + 2` after a 1. Values are `256 ln(P(1) / P(0))`, clamped to +-2047: inputs of
    the mixer.
    """
    n = logits.shape[-1]
    depth = tree_depth(n)
    if logits.numel() and int(logits.abs().amax()) > MAX_LOGIT:
        raise ValueError(f"logits must be within +-{MAX_LOGIT}")
    softplus = torch.from_numpy(softplus_entries().copy()).to(logits.device)
    sums = logits.to(torch.int64) << (NODE_BITS - fixed.LOGIT_FRACTION)
    sums = torch.nn.functional.pad(sums, (0, (1 << depth) - n), value=ABSENT)
    levels = []
    for _ in range(depth):
        zero, one = sums[..., 0::2], sums[..., 1::2]
        apart = one - zero
        odds = (apart + (1 << (NODE_BITS - 9))) >> (NODE_BITS - 8)
        levels.append(odds.clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS))
        # ln(e^a + e^b) = max(a, b) + ln(1 + e^-|a - b|)
        index = (apart.abs() + (1 << (NODE_BITS - 9))) >> (NODE_BITS - 8)
        sums = torch.maximum(zero, one) + softplus[index.clamp(max=SOFTPLUS_ENTRIES - 1)]
    return torch.cat(levels[::-1], -1).to(torch.int32)


def tree_depth(symbols: int) -> int:
    """Return how many binary decisions spell one of so many symbols."""
    if not 2 <= symbols <= MAX_SYMBOLS:
        raise ValueError(f"a tree is over 2 to {MAX_SYMBOLS} symbols, not {symbols}")
    return (symbols - 1).bit_length()


def check_sizes(symbols: int, total_bits: int) -> None:
    """Raise ValueError unless so many symbols can share a total of `2**total_bits`."""
    if not 1 <= symbols <= MAX_SYMBOLS:
        raise ValueError(f"frequencies are for 1 to {MAX_SYMBOLS} symbols, not {symbols}")
    if not 0 <= total_bits <= MAX_TOTAL_BITS or symbols > 1 << total_bits:
        raise ValueError(f"{symbols} symbols do not share a total of 2**{total_bits}")


def exp_tables() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return `2**30 exp(-i)` for whole nats to `REACH`, and for 256 parts of one.

    The last entry of the first is 0: beyond the reach nothing is left.
    """
    whole = exp_table(256, REACH + 1, 30).copy()
    whole[REACH] = 0
    return whole, exp_table(1, 256, 30)


def softplus_entries() -> NDArray[np.int64]:
    """Return `4096 ln(1 + exp(-i / 256))`; the last entries are 0."""
    return softplus_table(SOFTPLUS_ENTRIES, NODE_BITS)
