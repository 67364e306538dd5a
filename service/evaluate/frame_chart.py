"""Charts of figures over the frames of a clip, as SVG: quality and bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from omnicodec.service.evaluate.previews import View

_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 12, 40
_CODECS: Final = ("own0", "own1", "own2")
_FORMATS: Final = ("anchor0", "anchor1", "anchor2", "anchor3", "anchor4")

# What a view has of each frame, the title of its chart, and whether its axis is logarithmic.
_CHARTS: Final = (
    ("psnr", "PSNR dB", False),
    ("ms_ssim", "MS-SSIM", False),
    ("bits", "bits a frame", True),
)

Line = tuple[View, list[tuple[int, float]]]


def frame_charts(views: Sequence[View]) -> list[str]:
    """Return a chart for each figure that some view has of two frames or more."""
    found = []
    for name, title, logarithmic in _CHARTS:
        lines: list[Line] = []
        for view in views:
            points = [
                (index, float(value))
                for index, value in enumerate(view.series.get(name, ()))
                if value is not None and math.isfinite(value) and (value > 0 or not logarithmic)
            ]
            if len(points) > 1:
                lines.append((view, points))
        if lines:
            found.append(_chart(title, lines, logarithmic))
    return found


def _chart(title: str, lines: Sequence[Line], logarithmic: bool) -> str:
    values = [value for _, points in lines for _, value in points]
    last = max(index for _, points in lines for index, _ in points)
    low, high = min(values), max(values)
    if logarithmic:
        low, high = 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high))
    if low == high:
        low, high = low - 1, high + 1

    def x(index: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * index / last

    def y(value: float) -> float:
        a, b, v = (math.log10(n) if logarithmic else n for n in (low, high, value))
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * (v - a) / (b - a)

    parts = []
    for value in _ticks(low, high, logarithmic):
        parts.append(f'<path d="M{_LEFT} {y(value):.1f}H{_WIDTH - _RIGHT}" class="grid"/>')
        label = f"{value:,.6g}"
        parts.append(f'<text x="{_LEFT - 7}" y="{y(value) + 4:.1f}" class="end">{label}</text>')
    step = max(1, 10 ** math.floor(math.log10(max(last, 1))))
    step = step if last / step >= 3 else max(1, step // 5)
    for index in range(0, last + 1, step):
        place = f'x="{x(index):.1f}" y="{_HEIGHT - _BOTTOM + 16}"'
        parts.append(f'<text {place} class="middle">{index}</text>')
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" class="middle">frame</text>')
    turn = f"translate(14 {(_TOP + _HEIGHT - _BOTTOM) / 2:.0f}) rotate(-90)"
    parts.append(f'<text transform="{turn}" class="middle">{escape(title)}</text>')
    for (view, points), colour in zip(lines, _colours(lines), strict=True):
        path = " ".join(f"{x(index):.1f},{y(value):.1f}" for index, value in points)
        width = 1.2 if view.anchor else 2
        mean = sum(value for _, value in points) / len(points)
        told = escape(f"{view.title}: {mean:,.4g} in the mean")
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="var(--{colour})" '
            f'stroke-width="{width}"><title>{told}</title></polyline>'
        )
    ends = f'data-range="{x(0):.1f} {x(last):.1f}" data-frames="{last + 1}"'
    ends += f' data-top="{_TOP}" data-bottom="{_HEIGHT - _BOTTOM}"'
    parts.append(f'<path class="now" {ends} d=""/>')
    label = escape(f"{title} over frames")
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}"'
    body = "\n".join(parts)
    return f'<div><svg class="rd auto" {box}>\n{body}\n</svg>{_legend(lines)}</div>'


def _legend(lines: Sequence[Line]) -> str:
    shown = [
        f'<span class="rd auto"><svg class="key" width="22" height="8"><path d="M1 4h20" '
        f'stroke="var(--{colour})" stroke-width="2"/></svg> {escape(view.title)}</span>'
        for (view, _), colour in zip(lines, _colours(lines), strict=True)
    ]
    return f"<p>{' '.join(shown)}</p>"


def _colours(lines: Sequence[Line]) -> list[str]:
    own, anchors = 0, 0
    colours = []
    for view, _ in lines:
        if view.anchor:
            colours.append(_FORMATS[anchors % len(_FORMATS)])
            anchors += 1
        else:
            colours.append(_CODECS[own % len(_CODECS)])
            own += 1
    return colours


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    if logarithmic:
        first, last = round(math.log10(low)), round(math.log10(high))
        return [10.0**power for power in range(first, last + 1)]
    power = 10.0 ** math.floor(math.log10((high - low) / 3))
    step = max(s * power for s in (1, 2, 5) if (high - low) / (s * power) >= 3)
    return [round(n * step, 9) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
