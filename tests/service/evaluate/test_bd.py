"""BD-rates: closed forms, the library's splines, another implementation, and odd curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from omnicodec.service.evaluate.bd import Delta, RatePoint, bd_rate

LOWER: list[RatePoint] = [(0.12, 28), (0.25, 31), (0.5, 34), (1.1, 37.5)]
UPPER: list[RatePoint] = [(0.1, 26), (0.2, 29), (0.45, 32.5), (0.9, 36)]

steps = st.lists(
    st.tuples(st.floats(0.05, 1), st.floats(0.3, 5)),
    min_size=3,
    max_size=8,
)


def curve(
    found: list[tuple[float, float]], rate: float = 0.1, quality: float = 25
) -> list[RatePoint]:
    """Return a rising curve from increments of the logarithm of the rate and of quality."""
    points = []
    for log, gain in found:
        points.append((rate, quality))
        rate, quality = rate * math.exp(log), quality + gain
    return points


def by_scipy(a: list[RatePoint], b: list[RatePoint]) -> tuple[float, float, float] | None:
    splines = [PchipInterpolator([q for _, q in p], np.log([r for r, _ in p])) for p in (a, b)]
    low, high = max(a[0][1], b[0][1]), min(a[-1][1], b[-1][1])
    if high - low <= 1e-9:
        return None
    means = [float(s.integrate(low, high)) / (high - low) for s in splines]
    return 100 * math.expm1(means[0] - means[1]), low, high


def test_half_the_rate_everywhere_is_minus_50_percent() -> None:
    half = [(rate / 2, quality) for rate, quality in UPPER]
    assert bd_rate(half, UPPER) == Delta(pytest.approx(-50), 26, 36)
    assert bd_rate(UPPER, half) == Delta(pytest.approx(100), 26, 36)


def test_golden_value() -> None:
    """The figure of the `bjontegaard` package, version 1.3, method "pchip"."""
    assert bd_rate(LOWER, UPPER) == Delta(pytest.approx(-20.387900520477753), 28, 36)


def test_equals_the_bjontegaard_package() -> None:
    judge = pytest.importorskip("bjontegaard")
    rates, qualities = zip(*UPPER, strict=True)
    own_rates, own = zip(*LOWER, strict=True)
    found = judge.bd_rate(rates, qualities, own_rates, own, method="pchip", min_overlap=0)
    ours = bd_rate(LOWER, UPPER)
    assert ours is not None
    assert ours.percent == pytest.approx(found)


@settings(max_examples=40)
@given(steps, steps, st.floats(-3, 3))
def test_equals_scipys_splines(
    a: list[tuple[float, float]], b: list[tuple[float, float]], shift: float
) -> None:
    first, second = curve(a), curve(b, 0.15, 25 + shift)
    expected = by_scipy(first, second)
    found = bd_rate(first, second)
    if expected is None:
        assert found is None or found.high - found.low < 1e-8
        return
    assert found is not None
    assert (found.percent, found.low, found.high) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    other = bd_rate(second, first)
    assert other is not None
    assert found.inverse().percent == pytest.approx(other.percent, rel=1e-6, abs=1e-6)


@settings(max_examples=40)
@given(steps, steps)
def test_rates_cut_both_curves(a: list[tuple[float, float]], b: list[tuple[float, float]]) -> None:
    first, second = curve(a), curve(b, 0.12, 26)
    low, high = 0.14, 0.4
    found = bd_rate(first, second, (low, high))
    if found is None:
        return
    for points in (first, second):
        spline = PchipInterpolator([q for _, q in points], np.log([r for r, _ in points]))
        ends = np.exp(spline([found.low, found.high]))
        assert ends[0] >= min(low, points[-1][0]) * (1 - 1e-6)
        assert ends[1] <= max(high, points[0][0]) * (1 + 1e-6)
    whole = bd_rate(first, second)
    assert whole is not None
    assert whole.low <= found.low < found.high <= whole.high


def test_a_range_of_all_rates_changes_nothing() -> None:
    assert bd_rate(LOWER, UPPER, (0.01, 10)) == bd_rate(LOWER, UPPER)


def test_what_the_range_leaves_does_not_depend_on_points_beyond_it() -> None:
    """The quality where a curve crosses the end of the range counts, not the nearest point."""
    line = [(2.0**n, 30.0 + 3 * n) for n in range(-5, 4)]  # log-linear: splines are exact
    half = [(rate / 2, quality) for rate, quality in line]
    found = bd_rate(half[::2], line, (0.1, 1))
    assert found is not None
    assert found.percent == pytest.approx(-50)
    assert found.low == pytest.approx(30 + 3 * math.log2(0.2))
    assert found.high == pytest.approx(30)


def test_no_figure_without_overlap_or_with_too_few_settings() -> None:
    better = [(rate, quality + 20) for rate, quality in UPPER]
    assert bd_rate(better, UPPER) is None
    assert bd_rate(LOWER, UPPER, (10, 20)) is None
    assert bd_rate(LOWER[:2], UPPER) is None
    assert bd_rate([], UPPER) is None


def test_settings_that_are_worse_and_cost_more_are_left_out() -> None:
    assert bd_rate([*LOWER, (0.3, 30.9), (0.25, 20)], UPPER) == bd_rate(LOWER, UPPER)
    assert bd_rate(LOWER[::-1], UPPER) == bd_rate(LOWER, UPPER)
    assert bd_rate([*LOWER, (9, math.inf)], UPPER) == bd_rate(LOWER, UPPER)
