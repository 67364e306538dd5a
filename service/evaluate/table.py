"""Tables and figures as text."""

from __future__ import annotations

import math
from collections.abc import Sequence


def number(value: float | None, digits: int | None = None) -> str:
    """Return a figure with `digits` decimals, or three significant digits; "-" for None."""
    if value is None:
        return "-"
    if math.isinf(value):
        return "exact"
    if digits is not None:
        return f"{value:.{digits}f}"
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, padded so that it reads well as plain text too.

    The first column is aligned left, the others right.
    """
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(header))]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in cells
    ]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], "| " + " | ".join(rule) + " |", *lines[1:]])
