"""Curves, BD-rates between them, and charts of them."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from omnicodec.service.evaluate.chart import charts, rate_chart
from omnicodec.service.evaluate.curves import Curve, CurvePoint, Measured, bd_rates
from omnicodec.service.evaluate.figures import Item, Seconds
from omnicodec.service.evaluate.modality import MODALITIES, Metric

KIND = MODALITIES["image"]
PSNR, MS_SSIM, HAARPSI = KIND.metrics
MEL = next(metric for metric in MODALITIES["audio"].metrics if metric.falling)


def item(name: str, rate: float, psnr: float, ms_ssim: float | None = None) -> Item:
    return Item(
        name=name,
        size="100x80",
        units=8000,
        file_bytes=round(1000 * rate),
        token_bits=None,
        exact=False,
        seconds=Seconds(compress=1, decompress=1),
        quality={"psnr": psnr, "ms_ssim": ms_ssim, "haarpsi": None},
    )


def measured(title: str, *, scale: float = 1, gain: float = 0, anchor: bool = False) -> Measured:
    """Return a curve of two items, the second of which needs twice the rate."""
    settings = {
        f"quality {q}": [
            item("a", scale * rate, 30 + gain + 3 * math.log2(rate), 1 - 0.1 / rate),
            item("b", 2 * scale * rate, 30 + gain + 3 * math.log2(rate), 1 - 0.1 / rate),
        ]
        for q, rate in enumerate((4, 1, 2, 0.5))
    }
    return Measured.of(title, settings, anchor=anchor, pooled=False)


def test_curves_go_from_the_lowest_rate_to_the_highest() -> None:
    curve = measured("x").curve
    assert [p.setting for p in curve.points] == [f"quality {n}" for n in (3, 1, 2, 0)]
    assert curve.scaled(PSNR)[0] == (0.75, 27)
    assert curve.scaled(HAARPSI) == []


def test_bd_rates_of_means_and_of_each_item() -> None:
    found = bd_rates([measured("x", scale=0.5), measured("y"), measured("z")], KIND.metrics, None)
    assert [(b.metric, b.curve, b.reference) for b in found] == [
        (metric, *pair)
        for metric in ("psnr", "ms_ssim")
        for pair in (("x", "y"), ("x", "z"), ("y", "z"))
    ]
    assert found[0].percent == pytest.approx(-50)
    assert found[0].items == {"a": pytest.approx(-50), "b": pytest.approx(-50)}
    assert (found[0].low, found[0].high) == (27, 36)
    assert found[0].against("y") == pytest.approx(-50)
    assert found[0].against("x") == pytest.approx(100)
    assert found[3].low == pytest.approx(0.8)  # MS-SSIM in its own unit


def test_curves_that_do_not_meet_have_no_bd_rate() -> None:
    assert bd_rates([measured("x"), measured("y", gain=50)], [PSNR], None) == ()
    (pair, *_) = bd_rates([measured("x"), measured("y", gain=50), measured("z")], [PSNR], None)
    assert (pair.percent, pair.low, pair.items, pair.against("x")) == (None, None, {}, None)


@pytest.mark.parametrize(("metric", "value"), [(PSNR, 31.5), (MS_SSIM, 0.99), (MEL, 0.7)])
def test_scales_of_curves(metric: Metric, value: float) -> None:
    assert metric.unscaled(metric.scaled(value)) == pytest.approx(value)


def test_more_is_better_on_every_scale() -> None:
    assert MS_SSIM.scaled(0.99) == pytest.approx(20)
    assert MS_SSIM.scaled(1) == math.inf
    assert MEL.scaled(0.2) > MEL.scaled(0.4)


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(re.sub(r' xmlns="[^"]*"', "", svg))


def test_chart_has_a_line_a_legend_and_the_figures_of_each_point() -> None:
    curves = [measured("a<b").curve, measured("JPEG", scale=2, anchor=True).curve]
    svg = parse(rate_chart(curves, PSNR, "bits per pixel"))
    lines = svg.findall("polyline")
    assert [len((line.get("points") or "").split()) for line in lines] == [4, 4]
    titles = [title.text or "" for title in svg.iter("title")]
    assert titles[0] == "a<b quality 3: 0.750 bits per pixel, PSNR 27.00 dB"
    assert len(titles) == 8
    words = [text.text for text in svg.iter("text")]
    assert {"a<b", "JPEG", "PSNR dB", "bits per pixel"} <= set(words)
    for line in lines:
        points = [tuple(map(float, p.split(","))) for p in (line.get("points") or "").split()]
        assert points == sorted(points)  # to the right with the rate
        heights = [y for _, y in points]
        assert heights == sorted(heights, reverse=True)  # and up with quality
        assert all(0 < x < 640 and 0 < y < 400 for x, y in points)


def test_ticks_are_round_and_inside() -> None:
    for values in ((27.0, 36.0), (0.61, 0.64), (20.0, 20.0), (0.001, 90.0)):
        points = tuple(CurvePoint("", 0.1 * n + 0.1, {"psnr": v}) for n, v in enumerate(values))
        svg = parse(rate_chart([Curve("x", False, points)], PSNR, "bpp"))
        ticks = [t for t in svg.iter("text") if t.get("class") == "end"]
        assert 3 <= len(ticks) <= 12, values
        assert all(len(t.text or "") <= 6 for t in ticks)


def test_charts_only_of_what_can_be_compared() -> None:
    assert len(charts([measured("x").curve], KIND)) == 2
    one = Curve("x", False, (CurvePoint("", 1, {"psnr": 30, "ms_ssim": None, "haarpsi": None}),))
    assert charts([one], KIND) == []
    assert len(charts([one, measured("y").curve], KIND)) == 2


def test_a_file_of_its_own() -> None:
    svg = rate_chart([measured("x").curve], PSNR, "bpp", standalone=True)
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<style>" in svg


def test_many_curves_have_lines_of_their_own() -> None:
    curves = [measured(f"codec {n}", scale=1 + n).curve for n in range(4)]
    curves += [measured(f"format {n}", scale=1 + n, anchor=True).curve for n in range(6)]
    svg = parse(rate_chart(curves, PSNR, "bpp"))
    looks = {(p.get("stroke"), p.get("stroke-dasharray")) for p in svg.findall("polyline")}
    assert len(looks) == 10
