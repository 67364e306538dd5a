"""Figures as the page of a report tells them."""

from __future__ import annotations

from collections.abc import Sequence


def per_token(modality: str, units: int, tokens: int) -> str:
    """Return how much one token stands for: "256 pixels"."""
    names = {"image": "pixels", "video": "pixels", "audio": "samples", "text": "bytes"}
    name = names.get(modality)
    return f"{ratio(units, tokens)} {name}" if name and units else "-"


def ratio(a: float, b: float) -> str:
    """Return a quotient in three digits."""
    if not b:
        return "-"
    value = a / b
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.3g}"


def share_of(a: float, b: float) -> str:
    """Return a share in percent, "-" of nothing."""
    if not b:
        return "-"
    share = 100 * a / b
    if 0 < share < 1:
        return f"{share:.2g} %"
    return f"{share:.2f} %" if 99 < share < 100 else f"{share:.1f} %"


def counted(count: int, what: str) -> str:
    """Return a number and what it counts, in the plural unless it is one."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def mean(values: Sequence[float]) -> float:
    """Return the mean, 0 of none."""
    return sum(values) / max(1, len(values))


def nbytes(count: float) -> str:
    """Return a size in decimal units."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:,.0f} bytes"
