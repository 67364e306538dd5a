"""Sample rates to one another, piece by piece and with the same floats however they are cut."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

ZERO_CROSSINGS: Final = 16
ROLLOFF: Final = 0.98
"""Where the filter cuts off, of the lower rate's highest frequency."""

LARGEST_TERM: Final = 640
"""Of a ratio: the filter has one phase for each output in a period, of which this is the most."""

STEEPEST: Final = 32
"""Ratios are within 1/32 and 32; a clip beyond them is coded as though its rate were there."""

_BLOCK_SECONDS: Final = 0.01


def ratio(source: int, target: int) -> Fraction:
    """Return output samples for each input sample, close to `target / source` or equal to it.

    A clip that goes through a ratio and then through its inverse has its own rate again, so
    an odd rate may be taken for one that is less odd: what the codec takes for 24 kHz is then
    a fraction of a percent off, and what it gives back is not.
    """
    exact = min(max(Fraction(target, source), Fraction(1, STEEPEST)), Fraction(STEEPEST))
    if exact >= 1:
        return 1 / (1 / exact).limit_denominator(LARGEST_TERM)
    return exact.limit_denominator(LARGEST_TERM)


class Resampler:
    """Resamples one channel by a ratio with a windowed sinc filter.

    The filter is that of `torchaudio.functional.resample`, applied to blocks of one size,
    so that the last bit of a sample never depends on the pieces that came in. N samples
    give `ceil(N * ratio)`.
    """

    def __init__(self, by: Fraction, block: int) -> None:
        """Take a ratio, and about how many input samples a block should have."""
        self._by = by
        self._period = by.denominator
        self._kernel, self._reach = _kernel(by.numerator, by.denominator)
        self._groups = max(1, block // self._period)
        self._waiting = np.zeros(self._reach, np.float32)
        self._taken = 0
        self._given = 0

    def push(self, samples: Samples) -> Samples:
        """Take samples `(T,)`; return those of the output that are final."""
        self._taken += samples.size
        return self._run(samples)

    def finish(self) -> Samples:
        """Return what is left, as though silence followed."""
        total = math.ceil(self._taken * self._by)
        pieces = [np.zeros(0, np.float32)]
        silence = np.zeros(self._groups * self._period, np.float32)
        left = total - self._given
        while sum(piece.size for piece in pieces) < left:
            pieces.append(self._run(silence))
        return np.concatenate(pieces)[:left]

    def _run(self, samples: Samples) -> Samples:
        waiting = np.concatenate([self._waiting, samples])
        step = self._groups * self._period
        width = self._kernel.shape[0]
        out = []
        start = 0
        while waiting.size - start >= step + 2 * self._reach:
            block = waiting[start : start + step + 2 * self._reach]
            rows = np.lib.stride_tricks.sliding_window_view(block, width)[:: self._period]
            out.append((np.ascontiguousarray(rows) @ self._kernel).reshape(-1))
            start += step
        self._waiting = waiting[start:].copy()
        found = np.concatenate(out) if out else np.zeros(0, np.float32)
        self._given += found.size
        return found


def resampler(source: int, target: int, by: Fraction) -> Resampler | None:
    """Return the resampler of a stream, or None where there is nothing to resample."""
    if by == 1:
        return None
    lower = min(source, target * STEEPEST)
    return Resampler(by, round(lower * _BLOCK_SECONDS))


@lru_cache(maxsize=64)
def _kernel(new: int, old: int) -> tuple[Samples, int]:
    """Return the filter `(reach + old + reach, new)`, and how far it reaches past a period."""
    cutoff = min(1.0, new / old) * ROLLOFF
    reach = math.ceil(ZERO_CROSSINGS / cutoff)
    taps = np.arange(-reach, old + reach)[:, None]
    phases = np.arange(new)[None] * (old / new)
    x = ((taps - phases) * cutoff).clip(-ZERO_CROSSINGS, ZERO_CROSSINGS)
    window = np.cos(np.pi * x / (2 * ZERO_CROSSINGS)) ** 2
    return (cutoff * np.sinc(x) * window).astype(np.float32), reach
