"""One evaluation, from a codec's name to a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from omnicodec.codecs import InvalidInput, load
from omnicodec.service.evaluate.anchors import Anchor, choose
from omnicodec.service.evaluate.data import Source
from omnicodec.service.evaluate.environment import Environment
from omnicodec.service.evaluate.figures import (
    AnchorReport,
    Item,
    Point,
    QualityReport,
    Summary,
    match_rate,
)
from omnicodec.service.evaluate.measure import measure_anchor, measure_codec
from omnicodec.service.evaluate.modality import Modality, modality_of
from omnicodec.service.evaluate.previews import Previews
from omnicodec.service.evaluate.report import Report, worst_first
from omnicodec.service.evaluate.table import number


def evaluate(
    codec: str | Path,
    data: Path,
    *,
    against: Sequence[str] = (),
    qualities: Sequence[int] = (),
    device: str = "auto",
    max_items: int | None = None,
    report: Callable[[str], None],
) -> Report:
    """Measure a codec on a file, a folder or a .tar shard, beside the formats in `against`.

    The first of `qualities` is the one that the report is about, the others stand beside it;
    without any, the codec chooses. `report` is given a line for each item. Raises `InvalidInput`
    when there are no media of the codec's modality, or for a modality, a quality or an anchor
    that is not known, and `Unavailable` when an anchor's library is missing; both before
    anything is measured.
    """
    loaded = load(codec, device=device)
    spec = loaded.spec
    kind = modality_of(spec.name, spec.modality)
    anchors = choose(spec.modality, against)
    settings: tuple[int | None, ...] = tuple(dict.fromkeys(qualities)) or (None,)
    for quality in settings:
        loaded.encode([], quality=quality)  # says no
    if max_items is not None and max_items < 1:
        raise InvalidInput(f"max_items must be at least 1, not {max_items}")
    unmeasured = [why for metric in kind.metrics if (why := metric.missing())]
    for why in unmeasured:
        report(why)
    source = Source(data, loaded.media_type, report)
    items: dict[int | None, list[Item]] = {quality: [] for quality in settings}
    main = items[settings[0]]
    points: dict[tuple[str, int], list[Item]] = {}
    previews = Previews()
    for name, media in islice(source, max_items):
        if not main:  # warm up: the first call of anything is slower than the others
            measure_codec(loaded, kind, name, media, settings[0])
            for anchor in anchors:
                measure_anchor(anchor, anchor.ladder[0], kind, name, media)
        shown = {"original": media}
        for quality in settings:
            item, decoded = measure_codec(loaded, kind, name, media, quality)
            items[quality].append(item)
            shown["decoded" if quality is None else f"quality {quality}"] = decoded
        report(_line(main[-1], kind))
        so_far = Summary.of(main, pooled=kind.pooled)
        previews.add(name, shown, worst_first(main, kind.ranking(so_far.quality)))
        for anchor in anchors:
            for setting in anchor.ladder:
                measured = measure_anchor(anchor, setting, kind, name, media)
                points.setdefault((anchor.name, setting), []).append(measured)
    if not main:
        endings = ", ".join(loaded.media_type.suffixes[:6])
        raise InvalidInput(f"no {kind.items} ({endings}, ...) in {str(data)!r}")
    summary = Summary.of(main, pooled=kind.pooled)
    return Report(
        codec=spec.name,
        version=spec.version,
        fingerprint=spec.fingerprint,
        modality=spec.modality,
        data=data.resolve().name,
        summary=summary,
        items=tuple(main),
        skipped=tuple(source.skipped),
        anchors=tuple(_anchor_report(anchor, points, summary, kind) for anchor in anchors),
        environment=Environment.here(device if loaded.on_device else "cpu"),
        quality=settings[0],
        others=tuple(
            QualityReport(
                quality=quality,
                summary=Summary.of(items[quality], pooled=kind.pooled),
                items=tuple(items[quality]),
            )
            for quality in settings[1:]
            if quality is not None
        ),
        unmeasured=tuple(unmeasured),
        previews=previews.found,
    )


def _anchor_report(
    anchor: Anchor,
    measured: dict[tuple[str, int], list[Item]],
    own: Summary,
    kind: Modality,
) -> AnchorReport:
    points = tuple(
        Point(
            anchor.setting.format(setting),
            Summary.of(measured[anchor.name, setting], pooled=kind.pooled),
        )
        for setting in anchor.ladder
    )
    match = None
    if metric := kind.ranking(own.quality):
        target = own.quality[metric.name]
        match = match_rate(points, metric.name, target, falling=metric.falling)
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
    rate = f"{number(item.rate, kind.rate_digits)} {kind.rate}"
    return "  ".join([item.name, rate, *quality])
