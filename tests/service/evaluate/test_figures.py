"""Means of figures, and rates at equal quality."""

from __future__ import annotations

import math

import pytest

from omnicodec.service.evaluate import Item, Match, Point, Seconds, Summary
from omnicodec.service.evaluate.figures import match_rate


def item(units: int, file_bytes: int, seconds: float = 1, **options: object) -> Item:
    values = {"token_bits": None, "exact": False, "quality": {}, "name": "x", "size": "1x1"}
    times = Seconds(compress=seconds, decompress=seconds / 2)
    return Item(units=units, file_bytes=file_bytes, seconds=times, **(values | options))  # type: ignore[arg-type]


def points(*known: tuple[float, float | None]) -> list[Point]:
    """Return points of (rate, quality)."""
    return [
        Point("", Summary.of([item(8000, int(1000 * rate), quality={"psnr": q})], pooled=False))
        for rate, q in known
    ]


def test_rates_are_bits_per_unit() -> None:
    one = item(256, 32, token_bits=64)
    assert (one.rate, one.token_rate) == (1, 0.25)


def test_means_weigh_items_or_units() -> None:
    items = [item(100, 100), item(300, 150)]
    assert Summary.of(items, pooled=False).rate == 6
    assert Summary.of(items, pooled=True).rate == 5


def test_quality_is_the_mean_of_what_there_is() -> None:
    items = [item(1, 1, quality={"psnr": q, "ms_ssim": None}) for q in (20, None, 30)]
    assert Summary.of(items, pooled=False).quality == {"psnr": 25, "ms_ssim": None}


def test_speeds_are_medians() -> None:
    summary = Summary.of([item(10**6, 1, s) for s in (0.1, 0.5, 10)], pooled=False)
    assert summary.compress is not None
    assert summary.decompress is not None
    assert (summary.compress.million, summary.compress.items) == (2, 2)
    assert summary.decompress.items == 4
    assert summary.encode is None


def test_speeds_of_pooled_items_are_all_units_over_all_seconds() -> None:
    summary = Summary.of([item(10**6, 1, 0.5), item(10**6, 1, 3.5)], pooled=True)
    assert summary.compress is not None
    assert (summary.compress.million, summary.compress.items) == (0.5, 0.5)


def test_token_rate_needs_tokens() -> None:
    items = [item(8, 1, token_bits=8), item(8, 1)]
    assert Summary.of(items[:1], pooled=False).token_rate == 1
    assert Summary.of(items, pooled=False).token_rate is None


def test_equal_quality_is_interpolated_over_the_logarithm_of_the_rate() -> None:
    ladder = points((1, 20), (4, 30), (8, 40))
    found = match_rate(ladder, "psnr", 25)
    assert found is not None
    assert found.kind == "interpolated"
    assert found.rate == pytest.approx(2)
    for rate, quality in ((1, 20), (4, 30), (8, 40)):
        assert match_rate(ladder, "psnr", quality) == Match("interpolated", pytest.approx(rate))


def test_quality_outside_the_ladder_is_said_to_be_so() -> None:
    ladder = points((1, 20), (4, 30))
    assert match_rate(ladder, "psnr", 19.9) == Match("below", 1)
    assert match_rate(ladder, "psnr", 30.1) == Match("above", 4)


def test_less_may_be_better() -> None:
    ladder = points((1, 0.9), (4, 0.3), (8, 0.2))
    found = match_rate(ladder, "psnr", 0.6, falling=True)
    assert found == Match("interpolated", pytest.approx(2))
    assert match_rate(ladder, "psnr", 1, falling=True) == Match("below", 1)
    assert match_rate(ladder, "psnr", 0.1, falling=True) == Match("above", 8)


def test_scored_counts_the_items_that_have_a_metric() -> None:
    items = [item(1, 1, quality={"psnr": q}) for q in (20, None, 30)]
    assert Summary.of(items, pooled=True).scored == {"psnr": 2}


def test_nothing_matches_without_finite_quality() -> None:
    assert match_rate(points((1, 20)), "psnr", math.inf) is None
    assert match_rate(points((1, 20)), "psnr", None) is None
    assert match_rate(points((1, None)), "psnr", 20) is None
    assert match_rate([], "psnr", 20) is None


def test_an_exact_rung_is_not_interpolated_to() -> None:
    assert match_rate(points((1, 20), (8, math.inf)), "psnr", 50) == Match("above", 8)
