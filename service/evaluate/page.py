"""The report as one HTML page that needs nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from omnicodec.codecs.files import atomic_write
from omnicodec.service.evaluate import chart, compare, players
from omnicodec.service.evaluate.figures import CodecReport
from omnicodec.service.evaluate.previews import SOUND_SECONDS, Preview
from omnicodec.service.evaluate.report import Report
from omnicodec.service.evaluate.spectrogram import RANGE_DB
from omnicodec.service.evaluate.table import number

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td { white-space: nowrap; }
th { vertical-align: bottom; font-weight: 600; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: .3rem; }
tr.own { font-weight: 600; background: var(--soft); }
.charts { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
svg { width: 100%; max-width: 45rem; display: block; }
figure { margin: 1.5rem 0; }
.sounds { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; max-width: 51rem; }
.sounds p { margin: .2rem 0 0; }
audio { width: 100%; height: 2.2rem; }
img { width: 100%; height: auto; display: block; }
figcaption { margin-bottom: .3rem; }
figcaption span { margin-left: .8rem; }
figcaption span, .soft { opacity: .75; }
footer { margin-top: 2.5rem; font-size: .85rem; opacity: .8; }
pre { white-space: pre-wrap; }
"""

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
    lines = [*report.times(), *report.matches()]
    matches = "".join(f"<li>{escape(line)}</li>" for line in lines)
    notes = "".join(f"<p>{escape(line)}</p>" for line in report.notes())
    about: list[Report | CodecReport] = [report, *report.beside]
    versions = "<br>".join(
        f"{escape(codec.codec)}: version {codec.version}, "
        f"fingerprint <code>{escape(codec.fingerprint)}</code>"
        for codec in about
    )
    names = (report.codec, *(other.codec for other in report.beside))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}{chart.STYLE}{compare.STYLE}{players.STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p class="soft">{versions}</p>
{_charts(report)}
<ul>{matches}</ul>
{_bd_rates(report)}
{_table(*report.comparison(), own=names)}
{_figures(report)}
<h2>Every item, worst first</h2>
{_table(*report.rows(report.worst_first()))}
<footer>{notes}<pre>{escape(str(report.environment))}</pre></footer>
</body>
</html>
"""


def _charts(report: Report) -> str:
    drawn = chart.charts(report.curves, report.kind)
    return '<div class="charts">' + "\n".join(drawn) + "</div>" if drawn else ""


def _bd_rates(report: Report) -> str:
    own = tuple(curve.title for curve in report.curves if not curve.anchor)
    tables = "\n".join(_table(*table, own=own) for table in report.bd_tables())
    return f"<h2>BD-rates: bits at equal quality</h2>\n{tables}" if tables else ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], own: tuple[str, ...] = ()) -> str:
    """Return a table; rows whose first cell starts with one of `own` stand out."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr{' class=own' if own and row[0].startswith(own) else ''}>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row)
        + "</tr>\n"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>'


def _figures(report: Report) -> str:
    """Return originals and what came back of them, worst first."""
    shown = []
    for item in report.worst_first():
        if item.name not in report.previews:
            continue
        quality = [metric.phrase(item.quality[metric.name]) for metric in report.kind.metrics]
        rate = f"{number(item.rate, report.kind.rate_digits)} {report.kind.rate}"
        shown.append(
            (item.name, ", ".join([item.size, rate, *quality]), report.previews[item.name])
        )
    if not shown:
        return ""
    heading = "<h2>Original and reconstruction, worst first</h2>\n"
    if report.modality == "audio":
        return heading + _sound_section(shown)
    if report.modality == "video":
        return heading + players.clip_section(shown)
    return heading + compare.picture_section(shown)


def _sound_section(previews: Sequence[tuple[str, str, Preview]]) -> str:
    """Return pictures of sounds over their titles and players: names, figures, and views."""
    parts = [f"<p>{_ABOUT_SOUNDS}</p>"]
    for name, figures, views in previews:
        shown = []
        for view in views:
            picture = compare.data_url("image/webp", view.picture)
            sound = compare.data_url("audio/flac", view.sound)
            detail = f' <span class="soft">{escape(view.detail)}</span>' if view.detail else ""
            shown.append(
                f'<div><img src="{picture}" alt="{escape(view.title)}">'
                f"<p>{escape(view.title)}{detail}</p>"
                f'<audio controls preload="metadata" src="{sound}"></audio></div>'
            )
        caption = f"<figcaption>{escape(name)}<span>{escape(figures)}</span></figcaption>"
        parts.append(f'<figure>{caption}<div class="sounds">{"".join(shown)}</div></figure>')
    return "\n".join(parts)
