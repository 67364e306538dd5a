"""Charts of a data set's report as SVG: lengths, frequencies of ids, shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.service.batch.report_tally import Lengths

_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 14, 42
_BARS: Final = 40
_FEW: Final = 11
_WIDE: Final = 8
"""From this ratio of the most to the least on, lengths stand on a logarithmic axis."""

_POINTS: Final = 160
"""Points of a line: more are not told apart."""

COLOURS: Final = ("anchor0", "own0", "anchor2", "own1", "anchor1", "anchor4", "own2", "anchor3")
"""Colours of `evaluate.chart.STYLE`, in the order in which they are taken."""

Scale = Callable[[float], float]


def histogram(lengths: Lengths, title: str, colour: str) -> str:
    """Return how many items have how many tokens, as bars."""
    edges = _edges(lengths)
    counts = [0] * (len(edges) - 1)
    for length, count in lengths.items():
        place = int(np.searchsorted(edges, length, side="right")) - 1
        counts[min(max(place, 0), len(counts) - 1)] += count
    logarithmic = edges[0] > 0 and edges[-1] / edges[0] >= _WIDE
    x = _scale(edges[0], edges[-1], _LEFT, _WIDTH - _RIGHT, logarithmic)
    y = _scale(0, max(counts) * 1.05, _HEIGHT - _BOTTOM, _TOP, False)
    parts = [*_grid_y(_linear_ticks(0, max(counts), whole=True), y)]
    ticks = _log_ticks if logarithmic else _linear_ticks
    # A bar of one whole number is told in its middle.
    middle = 0.5 if edges[1] - edges[0] == 1 and not logarithmic else 0.0
    parts += _labels_x(ticks(edges[0], edges[-1] - 2 * middle), lambda value: x(value + middle))
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        if count:
            first, last = math.ceil(low), max(math.ceil(low), math.ceil(high) - 1)
            span = f"{first:,}" if first == last else f"{first:,} to {last:,}"
            top, left = y(count), x(low)
            parts.append(
                f'<rect x="{left + 0.5:.1f}" y="{top:.1f}" '
                f'width="{max(1.0, x(high) - left - 1):.1f}" '
                f'height="{_HEIGHT - _BOTTOM - top:.1f}" fill="var(--{colour})">'
                f"<title>{span} tokens: {count:,} items</title></rect>"
            )
    parts += _titles("tokens an item", "items")
    return _svg(parts, f"{title}: tokens an item")


def frequencies(lines: Sequence[tuple[str, NDArray[np.float64]]], title: str) -> str:
    """Return the share of tokens over the rank of their ids, both logarithmic.

    Each line has a name and its ids' shares, the most frequent first, some of them.
    """
    ranks = max(shares.size for _, shares in lines)
    low = min(float(shares[-1]) for _, shares in lines)
    high = max(float(shares[0]) for _, shares in lines)
    bottom, top = _decades(low, high)
    x = _scale(1, max(10, ranks), _LEFT, _WIDTH - _RIGHT, True)
    y = _scale(bottom, top, _HEIGHT - _BOTTOM, _TOP, True)
    parts = [*_grid_y(_log_ticks(bottom, top), y, _percent)]
    parts += _labels_x(_log_ticks(1, max(10, ranks)), x)
    for (name, shares), colour in zip(lines, _repeated(COLOURS), strict=False):
        places = np.unique(np.geomspace(1, shares.size, _POINTS).round().astype(int))
        points = " ".join(f"{x(place):.1f},{y(shares[place - 1]):.1f}" for place in places)
        told = escape(f"{name}: {shares.size:,} ids, the first {_percent(float(shares[0]))}")
        if shares.size == 1:
            parts.append(
                f'<circle cx="{x(1):.1f}" cy="{y(float(shares[0])):.1f}" r="4" '
                f'fill="var(--{colour})"><title>{told}</title></circle>'
            )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="var(--{colour})" '
            f'stroke-width="2"><title>{told}</title></polyline>'
        )
    parts += _titles("rank of the id", "share of tokens")
    return _svg(parts, f"{title}: share of tokens by rank of their ids")


def legend(names: Sequence[str]) -> str:
    """Return the names of lines or bars in their colours; nothing for one."""
    if len(names) < 2:
        return ""
    shown = [
        f'<span class="rd auto"><svg class="key" width="12" height="12"><rect width="12" '
        f'height="12" rx="2" fill="var(--{colour})"/></svg> {escape(name)}</span>'
        for name, colour in zip(names, _repeated(COLOURS), strict=False)
    ]
    return f'<p class="legend">{" ".join(shown)}</p>'


def shares(named: Sequence[tuple[str, float]], title: str) -> str:
    """Return one bar divided by shares of a whole, which need not add up to 1 before."""
    total = sum(value for _, value in named)
    if total <= 0:
        return ""
    parts, at = [], 0.0
    for (name, value), colour in zip(named, _repeated(COLOURS), strict=False):
        width = _WIDTH * value / total
        told = escape(f"{name}: {_percent(value / total)}")
        parts.append(
            f'<rect x="{at:.2f}" y="0" width="{width:.2f}" height="26" fill="var(--{colour})">'
            f"<title>{told}</title></rect>"
        )
        at += width
    label = escape(title)
    body = "".join(parts)
    return (
        f'<svg class="rd auto bar" viewBox="0 0 {_WIDTH} 26" preserveAspectRatio="none" '
        f'role="img" aria-label="{label}">{body}</svg>'
    )


def _svg(parts: Sequence[str], label: str) -> str:
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}"'
    body = "\n".join(parts)
    return f'<svg class="rd auto" {box}>\n{body}\n</svg>'


def _edges(lengths: Lengths) -> list[float]:
    """Return the edges of bars that are as wide as each other on the axis they stand on."""
    low, high = lengths.least, lengths.most + 1
    if low > 0 and high / low >= _WIDE:
        # No bar is narrower than one whole number, or its neighbours would be empty.
        edges = np.unique(np.ceil(np.geomspace(low, high, _BARS + 1)))
        return [float(edge) for edge in edges]
    room = max(0, _FEW - (high - low)) // 2  # one bar alone would fill the chart
    low, high = max(0, low - room), high + room
    step = max(1, math.ceil((high - low) / _BARS))
    count = math.ceil((high - low) / step)
    return [float(low + i * step) for i in range(count + 1)]


def _scale(low: float, high: float, start: float, end: float, logarithmic: bool) -> Scale:
    a, b = (math.log(low), math.log(high)) if logarithmic else (low, high)
    span = (b - a) or 1.0

    def scaled(value: float) -> float:
        at = math.log(value) if logarithmic else value
        return start + (end - start) * (at - a) / span

    return scaled


def _decades(low: float, high: float) -> tuple[float, float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return 10.0**first, 10.0 ** max(last, first + 1)


def _log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten; with 2 and 5 times them where there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if high / low < 1000 else (1,)
    values = [float(f"{step}e{power}") for power in range(first, last + 1) for step in steps]
    return [value for value in values if low * 0.999 <= value <= high * 1.001]


def _linear_ticks(low: float, high: float, *, whole: bool = True) -> list[float]:
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / 3))
    step = max(s * power for s in (1, 2, 5) if span / (s * power) >= 3)
    step = max(1.0, round(step)) if whole else step
    first = math.ceil(low / step)
    return [round(n * step, 9) for n in range(first, math.floor(high / step) + 1)]


def _grid_y(
    ticks: Sequence[float], y: Scale, told: Callable[[float], str] = lambda v: f"{v:,.6g}"
) -> Iterator[str]:
    for value in ticks:
        at = y(value)
        yield f'<path d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}" class="grid"/>'
        yield f'<text x="{_LEFT - 7}" y="{at + 4:.1f}" class="end">{told(value)}</text>'


def _labels_x(ticks: Sequence[float], x: Scale) -> Iterator[str]:
    bottom = _HEIGHT - _BOTTOM
    for value in ticks:
        at = x(value)
        yield f'<path d="M{at:.1f} {bottom}v4" class="grid"/>'
        yield f'<text x="{at:.1f}" y="{bottom + 17}" class="middle">{_short(value)}</text>'


def _titles(horizontal: str, vertical: str) -> Iterator[str]:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield f'<text x="{middle:.0f}" y="{_HEIGHT - 6}" class="middle">{horizontal}</text>'
    turn = f"translate(13 {(_TOP + _HEIGHT - _BOTTOM) / 2:.0f}) rotate(-90)"
    yield f'<text transform="{turn}" class="middle">{vertical}</text>'


def _short(value: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= max(unit, 1e4):
            return f"{value / unit:g}{name}"
    return f"{value:,g}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _repeated(colours: Sequence[str]) -> Iterator[str]:
    while True:
        yield from colours
