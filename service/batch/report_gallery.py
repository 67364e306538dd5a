"""Samples on the page of a data set's report: originals and what came back, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from omnicodec.codecs import Image, Media, OmnicodecError, Text
from omnicodec.service.batch.report_samples import PARTS, Sample, ShownPart
from omnicodec.service.batch.tasks import token_count
from omnicodec.service.evaluate.compare import data_url
from omnicodec.service.evaluate.metrics import psnr
from omnicodec.service.evaluate.previews import Version, View, preview
from omnicodec.service.evaluate.token_map import token_map

_CHARACTERS: Final = 700

STYLE: Final = """
.sample { margin: 1.2rem 0; padding-top: .8rem; border-top: 1px solid var(--line); }
.sample figcaption { overflow-wrap: anywhere; } .sample figcaption span { margin-left: .8rem; }
.parts { display: grid; gap: .6rem 1rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 16rem), 1fr)); margin: .5rem 0; }
.parts img, .parts video { max-width: 100%; min-width: 8rem; height: auto; display: block; }
.parts audio { width: 100%; height: 2.2rem; } .parts p { margin: .2rem 0 0; font-size: .85rem; }
.parts pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; font-size: .85rem;
  background: var(--soft); padding: .5rem .7rem; border-radius: 4px; }
.parts .text { grid-column: 1 / -1; }
@media print { .sample { break-inside: avoid; } audio { display: none; } }
"""


def gallery(samples: Sequence[Sample]) -> str:
    """Return the section of all samples; nothing where there are none."""
    if not samples:
        return ""
    why = {sample.origin: None for sample in samples if sample.origin}
    notes = "".join(f"<p>Where no original stands beside it: {escape(line)}.</p>" for line in why)
    about = (
        "The middle of pictures at their own scale as WebP, sounds of 6 seconds as FLAC, clips of "
        "4 seconds as WebM. Originals are as their sources have them now."
    )
    shown = "\n".join(_sample(sample) for sample in samples)
    return f"<h2>Samples</h2>\n<p>{about}</p>{notes}\n{shown}"


def _sample(sample: Sample) -> str:
    document = sample.document
    title = document.key or f"row {sample.row:,}"
    counts = sum(map(token_count, document.parts))
    told = [f"{counts:,} tokens"]
    if document.key:
        told.append(f"row {sample.row:,}")
    if document.source:
        told.append(document.source)
    if not document.whole:
        told.append("cut by packing")
    if len(document.parts) > PARTS:
        told.append(f"the first {PARTS} of {len(document.parts):,} parts")
    spans = "".join(f'<span class="soft">{escape(plain(line))}</span>' for line in told)
    parts = "\n".join(_part(part) for part in sample.parts)
    problems = "".join(f'<p class="soft">{escape(plain(line))}</p>' for line in document.problems)
    return (
        f'<figure class="sample"><figcaption>{escape(plain(title))}{spans}</figcaption>\n'
        f"{parts}{problems}</figure>"
    )


def _part(part: ShownPart) -> str:
    """Return a part: the original, what came back, and the tokens where they can be drawn."""
    tokens = part.tokens
    grid = "x".join(map(str, tokens.grid))
    facts = f"{tokens.codec}, grid {grid}, {token_count(tokens):,} tokens"
    if tokens.soft is not None:
        facts += f" of {tokens.soft.shape[1]} real values"
    if part.restored is None:
        return f'<p class="soft">{escape(facts)}: {escape(plain(part.why))}</p>'
    if isinstance(part.restored, Text):
        return _texts(part, part.restored, facts)
    versions = [Version("restored", part.restored, facts)]
    if part.original is not None:
        versions.insert(0, Version("original", part.original, _size(part.original)))
        versions[1] = Version("restored", part.restored, f"{facts}{_quality(part)}")
    drawn = token_map(tokens, part.covers)
    if drawn is not None:
        versions.append(Version("tokens", drawn[0], drawn[1], flat=True))
    try:
        views = preview(versions)
    except OmnicodecError as e:
        return f'<p class="soft">{escape(facts)}: {escape(plain(str(e)))}</p>'
    return f'<div class="parts">{"".join(map(_view, views))}</div>'


def _texts(part: ShownPart, restored: Text, facts: str) -> str:
    original = part.original
    if not isinstance(original, Text):
        shown = [("restored", restored, facts)]
    elif original == restored:
        shown = [("original and restored", restored, f"{facts}, equal")]
    else:
        shown = [("original", original, ""), ("restored", restored, facts)]
    cells = "".join(
        f'<div class="text"><pre>{escape(_excerpt(str(text)))}</pre>'
        f'<p>{title} <span class="soft">{escape(detail)}</span></p></div>'
        for title, text, detail in shown
    )
    return f'<div class="parts">{cells}</div>'


def _view(view: View) -> str:
    if view.clip:
        medium = (
            '<video controls muted playsinline preload="metadata" '
            f'src="{data_url("video/webm", view.clip)}"></video>'
        )
    else:
        picture = data_url("image/webp", view.picture)
        medium = f'<img src="{picture}" alt="{escape(view.title)}">'
    if view.sound:
        sound = data_url("audio/flac", view.sound)
        medium += f'<audio controls preload="metadata" src="{sound}"></audio>'
    detail = f' <span class="soft">{escape(plain(view.detail))}</span>' if view.detail else ""
    return f"<div>{medium}<p>{escape(view.title)}{detail}</p></div>"


def _size(media: Media) -> str:
    if isinstance(media, Image):
        return f"{media.width}x{media.height}"
    return ""


def _quality(part: ShownPart) -> str:
    a, b = part.original, part.restored
    if not isinstance(a, Image) or not isinstance(b, Image):
        return ""
    if a.pixels.shape != b.pixels.shape:
        return ", of another size than the original is now"
    value = psnr(a.pixels, b.pixels)
    return ", equal" if value == float("inf") else f", {value:.1f} dB PSNR"


def _excerpt(text: str) -> str:
    shown = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text[:_CHARACTERS])
    return f"{shown} ..." if len(text) > _CHARACTERS else shown


def plain(text: str, most: int = 300) -> str:
    """Return text that may come from anywhere, short, on one line and printable."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:most])
    return shown if len(text) <= most else f"{shown}..."
