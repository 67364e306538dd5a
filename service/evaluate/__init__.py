"""Evaluation: rate, quality and speed of a codec on media, beside well-known formats.

>>> from omnicodec.service.evaluate import evaluate, write_html
>>> report = evaluate("image/vq", Path("photos"), against=["jpeg", "avif"], report=print)
>>> print(report.to_table())
>>> write_html(report, Path("report.html"))
"""

from __future__ import annotations

from omnicodec.service.evaluate.curves import BDRate, Curve
from omnicodec.service.evaluate.environment import Environment
from omnicodec.service.evaluate.figures import (
    AnchorReport,
    CodecReport,
    Item,
    Match,
    Point,
    QualityReport,
    Seconds,
    Speed,
    Summary,
)
from omnicodec.service.evaluate.haarpsi import haarpsi
from omnicodec.service.evaluate.metrics import ms_ssim, psnr
from omnicodec.service.evaluate.page import write_html
from omnicodec.service.evaluate.previews import Preview, View
from omnicodec.service.evaluate.report import Report
from omnicodec.service.evaluate.run import evaluate

__all__ = [
    "AnchorReport",
    "BDRate",
    "CodecReport",
    "Curve",
    "Environment",
    "Item",
    "Match",
    "Point",
    "Preview",
    "QualityReport",
    "Report",
    "Seconds",
    "Speed",
    "Summary",
    "View",
    "evaluate",
    "haarpsi",
    "ms_ssim",
    "psnr",
    "write_html",
]
