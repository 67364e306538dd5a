"""Charts of rate and quality as SVG: on the HTML page, or as files of their own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from omnicodec.service.evaluate.curves import Curve
from omnicodec.service.evaluate.modality import Metric, Modality
from omnicodec.service.evaluate.table import number

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 14, 46  # room for the axes

_OWN, _ANCHORS = 3, 5  # colours of codecs, and of file formats

# After Okabe and Ito: hues that most eyes tell apart, and that differ in lightness too.
STYLE: Final = """
.rd { font: 13px system-ui, sans-serif; fill: currentColor; --grid: #8884;
  --own0: #d55e00; --own1: #aa4499; --own2: #8a6d00;
  --anchor0: #0072b2; --anchor1: #b97700; --anchor2: #007a5a; --anchor3: #777; --anchor4: #56b4e9; }
@media (prefers-color-scheme: dark) { .rd.auto {
  --own0: #ff7f2a; --own1: #dd88cc; --own2: #e6cf4a;
  --anchor0: #4ba8e8; --anchor1: #e69f00; --anchor2: #2bc79a; --anchor3: #aaa;
  --anchor4: #9ad4f5; } }
.rd .grid { stroke: var(--grid); fill: none; } .rd .own { font-weight: 600; }
.rd .middle { text-anchor: middle; } .rd .end { text-anchor: end; }
"""

_NINES: Final = (0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999)


def charts(curves: Sequence[Curve], kind: Modality) -> list[str]:
    """Return a chart for each metric in which there is something to compare."""
    found = [rate_chart(curves, metric, kind.rate) for metric in kind.metrics]
    return [chart for chart in found if chart]


def rate_chart(
    curves: Sequence[Curve], metric: Metric, rate: str, *, standalone: bool = False
) -> str:
    """Return a metric over the rate as SVG, or nothing where there are no two points.

    `rate` is the rate's unit; its axis is logarithmic, and better is always further up.
    Codecs have thick lines and large dots, file formats thin ones. `standalone` makes it a
    file with its own style and a white ground.
    """
    lines = []
    for curve in curves:
        named = [
            (f"{curve.title} {point.setting}".strip(), (point.rate, scaled))
            for point in curve.points
            if (value := point.quality[metric.name]) is not None
            and math.isfinite(scaled := metric.scaled(value))
        ]
        if named:
            lines.append((curve, named))
    every = [point for _, named in lines for _, point in named]
    if len(set(every)) < 2:
        return ""
    axes = _Axes(every, metric)
    parts = [*axes.draw(rate)]
    order = {True: 0, False: 0}
    # The legend stands where curves of rate and quality never are: at the upper left.
    for place, (curve, named) in enumerate(lines):
        nth, colours = order[curve.anchor], _ANCHORS if curve.anchor else _OWN
        order[curve.anchor] += 1
        colour = f"var(--{'anchor' if curve.anchor else 'own'}{nth % colours})"
        # Where colours begin again, lines are dashed.
        dash = f' stroke-dasharray="{2 * (nth // colours) + 4} 3"' if nth >= colours else ""
        width, radius = (1.5, 2.5) if curve.anchor else (2.5, 4)
        stroke = f'stroke="{colour}" stroke-width="{width}"{dash}'
        path = " ".join(f"{axes.x(r):.1f},{axes.y(q):.1f}" for _, (r, q) in named)
        parts.append(f'<polyline points="{path}" fill="none" {stroke}/>')
        for text, (r, q) in named:
            reached = metric.phrase(metric.unscaled(q))
            told = escape(f"{text}: {number(r)} {rate}, {reached}")
            dot = f'cx="{axes.x(r):.1f}" cy="{axes.y(q):.1f}" r="{radius}" fill="{colour}"'
            parts.append(f"<circle {dot}><title>{told}</title></circle>")
        y = _TOP + 18 + 19 * place
        strong = "" if curve.anchor else ' class="own"'
        parts.append(f'<path d="M{_LEFT + 12} {y}h24" fill="none" {stroke}/>')
        parts.append(
            f'<circle cx="{_LEFT + 24}" cy="{y}" r="{radius}" fill="{colour}"/>'
            f'<text x="{_LEFT + 44}" y="{y + 4}"{strong}>{escape(curve.title)}</text>'
        )
    label = escape(f"{metric.title} over {rate}")
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}"'
    body = "\n".join(parts)
    if not standalone:
        return f'<svg class="rd auto" {box}>\n{body}\n</svg>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="rd" {box} color="#222">\n'
        f"<style>{STYLE}</style>\n"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="#fff"/>\n{body}\n</svg>\n'
    )


class _Axes:
    """Maps rates (logarithmic) and scaled quality (linear) to the chart's coordinates."""

    def __init__(self, points: Sequence[tuple[float, float]], metric: Metric) -> None:
        rates, qualities = [rate for rate, _ in points], [quality for _, quality in points]
        self._metric = metric
        self._x0, self._x1 = math.log10(min(rates)) - 0.06, math.log10(max(rates)) + 0.04
        low, high = min(qualities), max(qualities)
        room = 0.04 * (high - low) or 1
        self._y0, self._y1 = low - room, high + room

    def x(self, rate: float) -> float:
        share = (math.log10(rate) - self._x0) / (self._x1 - self._x0)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, scaled: float) -> float:
        share = (scaled - self._y0) / (self._y1 - self._y0)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def draw(self, rate: str) -> Iterator[str]:
        """Yield grid lines with their values, and the titles."""
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        for value in self._rates():
            x = self.x(value)
            yield f'<path d="M{x:.1f} {_TOP}V{bottom}" class="grid"/>'
            yield f'<text x="{x:.1f}" y="{bottom + 17}" class="middle">{value:g}</text>'
        for value in self._qualities():
            y = self.y(self._metric.scaled(value))
            yield f'<path d="M{_LEFT} {y:.1f}H{right}" class="grid"/>'
            yield f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" class="end">{value:g}</text>'
        middle = (_LEFT + right) / 2
        yield f'<text x="{middle:.0f}" y="{_HEIGHT - 8}" class="middle">{escape(rate)}</text>'
        turn = f"translate(14 {(_TOP + bottom) / 2:.0f}) rotate(-90)"
        yield f'<text transform="{turn}" class="middle">{escape(self._metric.heading)}</text>'

    def _rates(self) -> list[float]:
        """Return 1, 2 and 5 times powers of ten; of many decades, the powers."""
        steps = (1, 2, 5) if self._x1 - self._x0 < 3 else (1,)
        powers = range(math.floor(self._x0), math.ceil(self._x1) + 1)
        values = [float(f"{step}e{power}") for power in powers for step in steps]
        return [value for value in values if self._x0 <= math.log10(value) <= self._x1]

    def _qualities(self) -> list[float]:
        """Return round figures of the metric inside the chart, eight or so at most."""
        if self._metric.nines:
            scaled = self._metric.scaled
            return [value for value in _NINES if self._y0 <= scaled(value) <= self._y1]
        ends = [self._metric.unscaled(end) for end in (self._y0, self._y1)]
        low, high = min(ends), max(ends)
        power = 10.0 ** math.floor(math.log10((high - low) / 4))
        step = max(s * power for s in (1, 2, 5) if (high - low) / (s * power) >= 4)
        first = math.ceil(low / step)
        return [round(n * step, 9) for n in range(first, math.floor(high / step) + 1)]
