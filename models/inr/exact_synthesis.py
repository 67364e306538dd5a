"""Synthesis in integers: the same pixels on every machine.

Signals have 13 fractional bits at full resolution, and one less for each halving, as they grow to
twice their size; weights have 13, those of the correction 11, as its signals have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from omnicodec.models.inr.exact_arm import RATE_BITS
from omnicodec.models.inr.exact_convolution import Convolution, painted, shuffled, signals
from omnicodec.models.inr.exact_kernels import Ints
from omnicodec.models.inr.pyramid import CHANNELS, SHIFTS
from omnicodec.models.inr.synthesis import Synthesis
from omnicodec.models.inr.wavelet import extended_exact

STEP_BITS: Final = 16
"""Fractional bits of steps."""

SIGNAL_BITS: Final = 13
HEAD_BITS: Final = 11

_MOST: Final = (1 << 15) - 1


class ExactSynthesis:
    """`Synthesis` in integers, from its weights."""

    def __init__(self, synthesis: Synthesis) -> None:
        self._doublings = [
            Convolution(layer, SIGNAL_BITS, more=1)
            for layer in synthesis.doublings
            if isinstance(layer, nn.Conv2d)
        ]
        self._first = Convolution(synthesis.first, HEAD_BITS, relu=True)
        self._first_rate = synthesis.first_rate.detach().double().numpy(force=True)
        self._second = Convolution(synthesis.second, HEAD_BITS, relu=True)
        self._last = Convolution(synthesis.last, HEAD_BITS)
        self._colours = Convolution(synthesis.colours, SIGNAL_BITS).colours(255, SIGNAL_BITS)

    def render(self, scales: Sequence[Ints], steps: NDArray[Any], rate: int) -> Ints:
        """Return `(H, W, 3)` in 1/255, not cut to 0 to 255, of integer scales `(C, h, w)`.

        `steps` are those of all planes, in their order, with `STEP_BITS` fractional bits, and
        `rate` counts 1/256.
        """
        sized, start = [], 0
        for y, count, shift in zip(scales, CHANNELS, SHIFTS, strict=True):
            own = steps[start : start + count]
            sized.append(signals(y, own, STEP_BITS - SIGNAL_BITS + shift, _MOST))
            start += count
        picture, *others = sized
        for double, bands, shift in zip(self._doublings, others, SHIFTS[1:], strict=True):
            phases = double(extended_exact(picture, bands), shift)
            if shift > 1:
                picture = shuffled(phases)
        coarser = SIGNAL_BITS - HEAD_BITS
        count, height, width = phases.shape
        seen = np.zeros((count + len(bands), height + 2, width + 2), np.int32)
        np.right_shift(phases, coarser, out=seen[:count, 1:-1, 1:-1])
        np.right_shift(bands, coarser - 1, out=seen[count:, 1:-1, 1:-1])
        hidden = self._first(seen, 0, self._first_rate * rate / (1 << RATE_BITS))
        phases += self._last(self._second(hidden)) << coarser
        return painted(phases, self._colours)
