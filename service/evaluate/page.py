"""The report as one HTML page that needs nothing from anywhere else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from omnicodec.codecs.files import atomic_write
from omnicodec.service.evaluate.chart import rate_chart
from omnicodec.service.evaluate.previews import SOUND_SECONDS, View
from omnicodec.service.evaluate.report import Report
from omnicodec.service.evaluate.spectrogram import RANGE_DB
from omnicodec.service.evaluate.table import number

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td { white-space: nowrap; }
th { vertical-align: bottom; font-weight: 600; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: .3rem; }
tr.own { font-weight: 600; background: var(--soft); }
svg { max-width: 45rem; display: block; font-size: 12px; fill: currentColor; }
svg .grid { stroke: var(--line); } svg .own { font-weight: 600; }
svg .middle { text-anchor: middle; } svg .end { text-anchor: end; }
figure { margin: 1.5rem 0; }
figure > div { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; max-width: 51rem; }
figure p { margin: .2rem 0 0; }
audio { width: 100%; height: 2.2rem; }
img { width: 100%; display: block; }
figcaption { margin-bottom: .3rem; }
figcaption span { margin-left: .8rem; }
figcaption span, .soft { opacity: .75; }
footer { margin-top: 2.5rem; font-size: .85rem; opacity: .8; }
pre { white-space: pre-wrap; }
"""

_ABOUT_PICTURES: Final = (
    "The middle of each picture at its own scale; both sides are shown as WebP."
)
_ABOUT_SOUNDS: Final = (
    f"The middle {SOUND_SECONDS} seconds of each clip, at 24 kHz and 16 bits. Pictures are "
    f"spectrograms on the mel scale, in dB below the original's loudest band; what lies "
    f"{RANGE_DB} dB below it is black."
)


def write_html(report: Report, path: Path) -> None:
    """Write the report's page: means, anchors, pictures worst first, every item.

    All styles and pictures are in the file. Raises `InvalidInput` when it cannot be written.
    """
    atomic_write(path, _page(report).encode())


def _page(report: Report) -> str:
    title = escape(report.title)
    matches = "".join(f"<li>{escape(line)}</li>" for line in report.matches())
    notes = "".join(f"<p>{escape(line)}</p>" for line in report.notes())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p class="soft">Version {report.version}, fingerprint <code>{escape(report.fingerprint)}</code></p>
{rate_chart(report)}
<ul>{matches}</ul>
{_table(*report.comparison(), own=report.codec)}
{_figures(report)}
<h2>Every item, worst first</h2>
{_table(*report.rows(report.worst_first()))}
<footer>{notes}<pre>{escape(str(report.environment))}</pre></footer>
</body>
</html>
"""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], own: str | None = None) -> str:
    """Return a table; rows whose first cell starts with `own` stand out."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr{' class=own' if own and row[0].startswith(own) else ''}>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row)
        + "</tr>\n"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>'


def _figures(report: Report) -> str:
    """Return originals and reconstructions side by side, worst first."""
    shown = [item for item in report.worst_first() if item.name in report.previews]
    if not shown:
        return ""
    sounds = any(view.sound for views in report.previews.values() for view in views)
    parts = [
        "<h2>Original and reconstruction, worst first</h2>\n"
        f"<p>{_ABOUT_SOUNDS if sounds else _ABOUT_PICTURES}</p>"
    ]
    for item in shown:
        quality = [metric.phrase(item.quality[metric.name]) for metric in report.kind.metrics]
        rate = f"{number(item.rate, report.kind.rate_digits)} {report.kind.rate}"
        figures = ", ".join([item.size, rate, *quality])
        views = "".join(_view(view) for view in report.previews[item.name])
        parts.append(
            f"<figure><figcaption>{escape(item.name)}<span>{escape(figures)}</span></figcaption>"
            f"<div>{views}</div></figure>"
        )
    return "\n".join(parts)


def _view(view: View) -> str:
    """Return a picture, or a picture of a sound over its title and player."""
    source = f"data:image/webp;base64,{base64.b64encode(view.picture).decode()}"
    picture = f'<img src="{source}" alt="{escape(view.title)}">'
    if not view.sound:
        return picture
    sound = f"data:audio/flac;base64,{base64.b64encode(view.sound).decode()}"
    player = f'<audio controls preload="metadata" src="{sound}"></audio>'
    return f"<div>{picture}<p>{escape(view.title)}</p>{player}</div>"
