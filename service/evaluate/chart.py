"""The chart of rate and quality on the HTML page: one SVG element."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from omnicodec.service.evaluate.report import Report

_WIDTH, _HEIGHT = 720, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 14, 14, 44  # room for the axes

# Blue, orange, green and purple that differ in lightness too, after Okabe and Ito.
_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9")

_OWN: Final = "#d55e00"

Curve = tuple[str, list[tuple[float, float]]]


def rate_chart(report: Report) -> str:
    """Return the ranking metric over the rate, or nothing without anchors.

    The rate's axis is logarithmic. The codec is a dot for each quality: its .omc files.
    """
    metric = report.ranking
    if metric is None:
        return ""
    own = [
        (name, summary.rate, quality)
        for name, summary in report.own()
        if (quality := summary.quality[metric.name]) is not None and math.isfinite(quality)
    ]
    curves: list[Curve] = []
    for anchor in report.anchors:
        summaries = [point.summary for point in anchor.points]
        curve = [(s.rate, q) for s in summaries if (q := s.quality[metric.name]) is not None]
        curves += [(anchor.title, curve)] if curve else []
    if not curves or not own:
        return ""
    dots = [(rate, quality) for _, rate, quality in own]
    axes = _Axes([*dots, *(point for _, points in curves for point in points)])
    parts = [*axes.draw(report.kind.rate, metric.heading)]
    # The legend stands where curves of rate and quality never are: at the upper left.
    for line, ((title, curve), colour) in enumerate(zip(curves, _COLOURS, strict=False)):
        parts.append(axes.line(curve, colour))
        y = _TOP + 16 + 18 * line
        parts.append(f'<path d="M{_LEFT + 12} {y}h24" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{_LEFT + 44}" y="{y + 4}">{escape(title)}</text>')
    if len(dots) > 1:
        parts.append(axes.line(dots, _OWN))
    for rate, quality in dots:
        parts.append(f'<circle cx="{axes.x(rate):.1f}" cy="{axes.y(quality):.1f}" r="6" ')
        parts.append(f'fill="{_OWN}"/>')
    # One dot has its name beside it; of several, the best has, where the curve ends.
    name, rate, quality = own[-1]
    name = name if len(own) == 1 else report.codec
    parts.append(f'<text x="{axes.x(rate) + 10:.1f}" y="{axes.y(quality) + 4:.1f}" class="own">')
    parts.append(f"{escape(name)}</text>")
    body = "\n".join(parts)
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">\n{body}\n</svg>'


class _Axes:
    """Maps rates (logarithmic) and quality (linear) to the chart's coordinates."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        rates = [rate for rate, _ in points]
        qualities = [quality for _, quality in points]
        self._x0, self._x1 = math.log2(min(rates)) - 0.2, math.log2(max(rates)) + 0.1
        self._y0, self._y1 = math.floor(min(qualities)) - 1, math.ceil(max(qualities))

    def x(self, rate: float) -> float:
        share = (math.log2(rate) - self._x0) / (self._x1 - self._x0)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, quality: float) -> float:
        share = (quality - self._y0) / max(self._y1 - self._y0, 1)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def line(self, curve: Sequence[tuple[float, float]], colour: str) -> str:
        """Return a line through points of rate and quality."""
        path = " ".join(f"{self.x(r):.1f},{self.y(q):.1f}" for r, q in curve)
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'

    def draw(self, x_title: str, y_title: str) -> Iterator[str]:
        """Yield grid lines with their values, and the titles."""
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        for power in range(math.ceil(self._x0), math.floor(self._x1) + 1):
            x = self.x(2.0**power)
            yield f'<path d="M{x:.1f} {_TOP}V{bottom}" class="grid"/>'
            yield f'<text x="{x:.1f}" y="{bottom + 17}" class="middle">{2.0**power:g}</text>'
        step = max(1, math.ceil((self._y1 - self._y0) / 8))
        for value in range(self._y0, self._y1 + 1, step):
            y = self.y(value)
            yield f'<path d="M{_LEFT} {y:.1f}H{right}" class="grid"/>'
            yield f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" class="end">{value}</text>'
        middle = (_LEFT + right) / 2
        yield f'<text x="{middle:.0f}" y="{_HEIGHT - 8}" class="middle">{escape(x_title)}</text>'
        turn = f"translate(13 {(_TOP + bottom) / 2:.0f}) rotate(-90)"
        yield f'<text transform="{turn}" class="middle">{escape(y_title)}</text>'
