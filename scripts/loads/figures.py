"""Samples to figures, figures to tables and plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any, Final

import numpy as np
from loads.traffic import OK, REFUSED, Sample

from omnicodec.service.evaluate.table import markdown, number

PERCENTILES: Final = (50, 95, 99)

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 260, 58, 16, 30, 40
_COLOURS: Final = ("#d55e00", "#0072b2", "#007a5a", "#aa4499", "#777")


def figures(samples: Sequence[Sample], seconds: float | None = None) -> dict[str, Any]:
    """Return throughput, latency and outcomes, of all kinds together and each alone."""
    if seconds is None:
        ends = [s.ended for s in samples] or [0.0]
        seconds = max(ends) - min((s.due for s in samples), default=0.0)
    kinds = sorted({s.kind for s in samples})
    return {
        "seconds": seconds,
        "all": _of(samples, seconds),
        **{kind: _of([s for s in samples if s.kind == kind], seconds) for kind in kinds},
    }


def _of(samples: Sequence[Sample], seconds: float) -> dict[str, Any]:
    good = [s.latency for s in samples if s.outcome == OK]
    refused = [s.latency for s in samples if s.outcome == REFUSED]
    return {
        "requests": len(samples),
        "offered_per_second": len(samples) / seconds if seconds else None,
        "per_second": len(good) / seconds if seconds else None,
        "latency_ms": percentiles(good),
        "refused_latency_ms": percentiles(refused),
        "outcomes": dict(Counter(s.outcome for s in samples).most_common()),
    }


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return percentiles in milliseconds, by name; empty for nothing."""
    if not seconds:
        return {}
    return {f"p{p}": float(np.percentile(seconds, p)) * 1000 for p in PERCENTILES}


def table(runs: dict[str, dict[str, Any]]) -> str:
    """Return a table with a line for each run, and for each kind of its requests."""
    rows = []
    for name, run in runs.items():
        kinds = [key for key in run if key not in ("seconds", "all")]
        for kind in ("all", *(kinds if len(kinds) > 1 else ())):
            found = run[kind]
            outcomes = found["outcomes"]
            others = [f"{k} {v}" for k, v in outcomes.items() if k not in (OK, REFUSED)]
            latency = found["latency_ms"]
            rows.append(
                [
                    name if kind == "all" else f"  {kind}",
                    str(found["requests"]),
                    number(found["offered_per_second"]),
                    number(found["per_second"]),
                    *(number(latency.get(f"p{p}")) for p in PERCENTILES),
                    str(outcomes.get(REFUSED, 0)),
                    ", ".join(others) or "none",
                ]
            )
    header = ["run", "requests", "offered/s", "done/s", "p50 ms", "p95 ms", "p99 ms", "refused",
              "errors"]  # fmt: skip
    return markdown(header, rows)


def over_time(samples: Sequence[Sample], buckets: int = 60) -> str:
    """Return a plot of throughput and latency over time, as SVG."""
    begin = min(s.due for s in samples)
    width = max((max(s.ended for s in samples) - begin) / buckets, 1e-3)
    done = [0] * (buckets + 1)
    refused = [0] * (buckets + 1)
    waits: list[list[float]] = [[] for _ in range(buckets + 1)]
    for s in samples:
        at = min(int((s.ended - begin) / width), buckets)
        if s.outcome == OK:
            done[at] += 1
            waits[at].append(1000 * s.latency)
        elif s.outcome == REFUSED:
            refused[at] += 1
    times = [width * (i + 0.5) for i in range(buckets)]
    rates = {"done": [n / width for n in done[:buckets]]}
    if any(refused):
        rates["refused"] = [n / width for n in refused[:buckets]]
    latency = {
        f"p{p}": [float(np.percentile(w, p)) if w else None for w in waits[:buckets]]
        for p in PERCENTILES
    }
    return svg([("requests a second", times, rates), ("latency, ms", times, latency)])


Series = dict[str, list[Any]]


def svg(panels: Sequence[tuple[str, Sequence[float], Series]]) -> str:
    """Return line charts over seconds, one below the other: each a title, times and named lines."""
    parts = []
    for nth, (title, times, lines) in enumerate(panels):
        parts += _panel(nth * _HEIGHT, title, times, lines)
    height = _HEIGHT * len(panels)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="#222">\n'
        f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _panel(top: int, title: str, times: Sequence[float], lines: Series) -> list[str]:
    values = [v for line in lines.values() for v in line if v is not None]
    high, last = (max(values, default=0.0) or 1.0), (max(times, default=0.0) or 1.0)
    right, floor = _WIDTH - _RIGHT, top + _HEIGHT - _BOTTOM
    tall = _HEIGHT - _TOP - _BOTTOM
    parts = [f'<text x="{_LEFT}" y="{top + 19}" font-weight="600">{escape(title)}</text>']
    for i in range(5):
        y, value = floor - tall * i / 4, high * i / 4
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#8884"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
        x, second = _LEFT + (right - _LEFT) * i / 4, last * i / 4
        parts.append(
            f'<text x="{x:.1f}" y="{floor + 17}" text-anchor="middle">{second:.3g} s</text>'
        )
    for nth, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[nth % len(_COLOURS)]
        drawn = " ".join(
            f"{_LEFT + (right - _LEFT) * t / last:.1f},{floor - tall * v / high:.1f}"
            for t, v in zip(times, line, strict=True)
            if v is not None
        )
        parts.append(
            f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
        )
        x = right - 90 * (len(lines) - nth) + 30
        parts.append(f'<path d="M{x} {top + 15}h18" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<text x="{x + 23}" y="{top + 19}">{escape(name)}</text>')
    return parts
