"""BD-rate: how many more bits one curve of rate and quality needs than another.

Gisle Bjontegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33 (2001),
with piecewise cubics (pchip) instead of one cubic for the whole, as the standards' common test
conditions have it since: F. N. Fritsch and J. Butland, "A method for constructing local monotone
piecewise cubic interpolants" (1984).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

POINTS: Final = 3
"""Settings that a curve needs at least: with two it would be a guess."""

RatePoint = tuple[float, float]
"""Rate and quality of a setting; of quality more is better."""


@dataclass(frozen=True)
class Delta:
    """The mean difference in rate, in percent, over the quality that both curves reach.

    -20 means that the curve needs 20 % fewer bits than its reference. `low` and `high` bound
    the interval of quality that was averaged over.
    """

    percent: float
    low: float
    high: float

    def inverse(self) -> Delta:
        """Return the same with curve and reference exchanged."""
        return Delta(100 * (100 / (100 + self.percent) - 1), self.low, self.high)


def bd_rate(
    curve: Sequence[RatePoint],
    reference: Sequence[RatePoint],
    rates: tuple[float, float] | None = None,
) -> Delta | None:
    """Return how the rate of `curve` differs from that of `reference` at the same quality.

    The logarithm of the rate, interpolated over quality, is averaged over the quality that
    both curves have; with `rates`, that both have at rates from the first to the second. All
    settings shape the curves, also those beyond, so that the result hardly depends on which
    rates happened to be measured. Settings that cost more than another one and are no better
    are left out, as are those whose quality is not finite. None for curves that do not
    overlap, or have fewer than `POINTS` settings.
    """
    found = [_monotone(points) for points in (curve, reference)]
    if any(len(points) < POINTS for points in found):
        return None
    first, second = (_Cubic(points) for points in found)
    bounds = [one.bounds(rates) for one in (first, second)]
    low, high = max(b[0] for b in bounds), min(b[1] for b in bounds)
    if not low < high:
        return None
    mean = (first.integral(low, high) - second.integral(low, high)) / (high - low)
    return Delta(100 * math.expm1(mean), low, high)


def _monotone(points: Sequence[RatePoint]) -> list[RatePoint]:
    """Return the points, lowest rate first, each of them better than all before."""
    kept: list[RatePoint] = []
    for rate, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if math.isfinite(quality) and rate > 0 and (not kept or quality > kept[-1][1]):
            kept.append((rate, quality))
    return kept


class _Cubic:
    """The natural logarithm of the rate as a rising function of quality."""

    def __init__(self, points: Sequence[RatePoint]) -> None:
        self.x = np.array([quality for _, quality in points])
        self.y = np.log([rate for rate, _ in points])
        step = np.diff(self.x)
        slope = np.diff(self.y) / step
        d = _derivatives(step, slope)
        # Powers of the distance from the left end of each piece, lowest first.
        self._powers = np.stack(
            [
                self.y[:-1],
                d[:-1],
                (3 * slope - 2 * d[:-1] - d[1:]) / step,
                (d[:-1] + d[1:] - 2 * slope) / step**2,
            ]
        )

    def bounds(self, rates: tuple[float, float] | None) -> tuple[float, float]:
        """Return the quality at both ends, or where the curve has those rates."""
        if rates is None:
            return float(self.x[0]), float(self.x[-1])
        low, high = (self._quality(math.log(rate)) for rate in rates)
        return low, high

    def integral(self, low: float, high: float) -> float:
        """Return the integral of the logarithm of the rate from `low` to `high`."""
        left = np.clip(low, self.x[:-1], self.x[1:]) - self.x[:-1]
        right = np.clip(high, self.x[:-1], self.x[1:]) - self.x[:-1]
        terms = [
            c * (right ** (n + 1) - left ** (n + 1)) / (n + 1) for n, c in enumerate(self._powers)
        ]
        return float(np.sum(terms))

    def _quality(self, y: float) -> float:
        """Return where the curve is at `y`, or its nearer end, by bisection."""
        if y <= self.y[0]:
            return float(self.x[0])
        if y >= self.y[-1]:
            return float(self.x[-1])
        piece = int(np.searchsorted(self.y, y, "right")) - 1
        low, high = 0.0, float(self.x[piece + 1] - self.x[piece])
        for _ in range(60):
            middle = (low + high) / 2
            below = np.polynomial.polynomial.polyval(middle, self._powers[:, piece]) < y
            low, high = (middle, high) if below else (low, middle)
        return float(self.x[piece]) + low


def _derivatives(step: NDArray[np.float64], slope: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the derivatives at all points of rising data, at least three of them.

    Inside, the weighted harmonic mean of the slopes on both sides; at the ends, three points
    with a limit that keeps the curve rising.
    """
    w0, w1 = 2 * step[1:] + step[:-1], step[1:] + 2 * step[:-1]
    inner = (w0 + w1) / (w0 / slope[:-1] + w1 / slope[1:])
    first = _end(step[0], step[1], slope[0], slope[1])
    last = _end(step[-1], step[-2], slope[-1], slope[-2])
    return np.concatenate([[first], inner, [last]])


def _end(step: float, next_step: float, slope: float, next_slope: float) -> float:
    d = ((2 * step + next_step) * slope - step * next_slope) / (step + next_step)
    return min(max(d, 0.0), 3 * slope)
