"""One evaluation, from a codec's name to a report."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from omnicodec.codecs import Image, InvalidInput, load
from omnicodec.service.evaluate.anchors import Anchor, choose
from omnicodec.service.evaluate.data import Source
from omnicodec.service.evaluate.environment import Environment
from omnicodec.service.evaluate.figures import AnchorReport, Item, Point, Summary, match_rate
from omnicodec.service.evaluate.measure import measure_anchor, measure_codec
from omnicodec.service.evaluate.modality import Modality, modality_of
from omnicodec.service.evaluate.report import Preview, Report, worst_first

PREVIEWS: Final = 24
"""How many of the worst pictures are kept for the HTML page."""

PREVIEW_SIZE: Final = (400, 300)
"""Width and height in pixels of the middle part that is kept of a picture."""


def evaluate(
    codec: str | Path,
    data: Path,
    *,
    against: Sequence[str] = (),
    device: str = "auto",
    max_items: int | None = None,
    report: Callable[[str], None],
) -> Report:
    """Measure a codec on a file, a folder or a .tar shard, beside the formats in `against`.

    `report` is given a line for each item. Raises `InvalidInput` when there are no media of
    the codec's modality, or for a modality or an anchor that is not known, and
    `Unavailable` when an anchor's library is missing; both before anything is measured.
    """
    loaded = load(codec, device=device)
    spec = loaded.spec
    kind = modality_of(spec.name, spec.modality)
    anchors = choose(spec.modality, against)
    if max_items is not None and max_items < 1:
        raise InvalidInput(f"max_items must be at least 1, not {max_items}")
    source = Source(data, loaded.media_type, report)
    items: list[Item] = []
    points: dict[tuple[str, int], list[Item]] = {}
    previews: dict[str, Preview] = {}
    for name, media in islice(source, max_items):
        if not items:  # warm up: the first call of anything is slower than the others
            measure_codec(loaded, kind, name, media)
            for anchor in anchors:
                measure_anchor(anchor, anchor.ladder[0], kind, name, media)
        item, decoded = measure_codec(loaded, kind, name, media)
        items.append(item)
        report(_line(item, kind))
        if isinstance(media, Image) and isinstance(decoded, Image):
            _keep_preview(previews, items, kind, Preview(_crop(media), _crop(decoded)))
        for anchor in anchors:
            for setting in anchor.ladder:
                measured = measure_anchor(anchor, setting, kind, name, media)
                points.setdefault((anchor.name, setting), []).append(measured)
    if not items:
        endings = ", ".join(loaded.media_type.suffixes[:6])
        raise InvalidInput(f"no {kind.items} ({endings}, ...) in {str(data)!r}")
    summary = Summary.of(items, pooled=kind.pooled)
    return Report(
        codec=spec.name,
        version=spec.version,
        fingerprint=spec.fingerprint,
        modality=spec.modality,
        data=data.resolve().name,
        summary=summary,
        items=tuple(items),
        skipped=tuple(source.skipped),
        anchors=tuple(_anchor_report(anchor, points, summary, kind) for anchor in anchors),
        environment=Environment.here(device if loaded.on_device else "cpu"),
        previews=previews,
    )


def _anchor_report(
    anchor: Anchor,
    measured: dict[tuple[str, int], list[Item]],
    own: Summary,
    kind: Modality,
) -> AnchorReport:
    points = tuple(
        Point(
            f"{anchor.setting} {setting}",
            Summary.of(measured[anchor.name, setting], pooled=kind.pooled),
        )
        for setting in anchor.ladder
    )
    match = None
    if kind.metrics:
        first = kind.metrics[0].name
        match = match_rate(points, first, own.quality[first])
    return AnchorReport(
        name=anchor.name,
        title=anchor.title,
        options=anchor.options,
        version=anchor.version(),
        points=points,
        match=match,
    )


def _line(item: Item, kind: Modality) -> str:
    quality = [m.phrase(item.quality[m.name]) for m in kind.metrics]
    return "  ".join([item.name, f"{item.rate:.4f} {kind.rate}", *quality])


def _keep_preview(
    previews: dict[str, Preview], items: Sequence[Item], kind: Modality, newest: Preview
) -> None:
    """Add the last item's preview; the best one goes when there are too many."""
    previews[items[-1].name] = newest
    if len(previews) > PREVIEWS:
        shown = [item for item in items if item.name in previews]
        del previews[worst_first(shown, kind)[-1].name]


def _crop(image: Image) -> bytes:
    """Return the middle of a picture, at its own scale, as a WebP file."""
    from PIL import Image as Pillow

    width, height = min(PREVIEW_SIZE[0], image.width), min(PREVIEW_SIZE[1], image.height)
    x, y = (image.width - width) // 2, (image.height - height) // 2
    out = io.BytesIO()
    pixels = image.pixels[y : y + height, x : x + width]
    Pillow.fromarray(pixels).save(out, "WEBP", quality=92, method=2)
    return out.getvalue()
