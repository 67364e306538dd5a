"""One evaluation, from a codec's name to a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from omnicodec.codecs import CodecSpec, Image, InvalidInput, Video, load
from omnicodec.codecs.registry import AnyCodec
from omnicodec.service.evaluate.anchors import Anchor, choose
from omnicodec.service.evaluate.contender import Contender
from omnicodec.service.evaluate.curves import Measured, bd_rates
from omnicodec.service.evaluate.data import Source
from omnicodec.service.evaluate.environment import Environment
from omnicodec.service.evaluate.figures import AnchorReport, Item, Point, Summary, match_rate
from omnicodec.service.evaluate.measure import measure_anchor
from omnicodec.service.evaluate.modality import Modality, modality_of
from omnicodec.service.evaluate.previews import Preview, drop_all_but, limit, preview
from omnicodec.service.evaluate.report import Report, worst_first
from omnicodec.service.evaluate.table import number
from omnicodec.service.evaluate.versions import (
    at_equal_size,
    at_nearest_size,
    token_maps,
    versions,
)

Qualities = Sequence[int] | Literal["all"]

MOST: Final = 9
"""Qualities that "all" takes at most: of more, these many, evenly spread."""

AnchorItems = dict[int, list[Item]]
"""The items of a file format by setting."""


def evaluate(
    codec: str | Path,
    data: Path,
    *,
    beside: Sequence[str | Path] = (),
    against: Sequence[str] = (),
    qualities: Qualities = (),
    effort: str | None = None,
    rates: tuple[float, float] | None = None,
    device: str = "auto",
    max_items: int | None = None,
    previews: bool = True,
    report: Callable[[str], None],
) -> Report:
    """Measure a codec on a file, a folder or a .tar shard.

    It is compared with the codecs `beside` it and the file formats in `against`. The first of
    `qualities` is the one that the report is about, the others make its curve; "all" is every
    quality, the best first, or `MOST` of them. Without any, the codec chooses. The codecs
    `beside` it have the same qualities if all of them are theirs, and otherwise all that they
    have; and the same `effort`, if they have it. BD-rates are taken between the two `rates`,
    in the modality's unit. `report` is given a line for each item.

    Raises `InvalidInput` when there are no media of the codec's modality, for codecs of two
    modalities, or for a modality, a quality or an anchor that is not known, and `Unavailable`
    when an anchor's library is missing; both before anything is measured.
    """
    opened = [load(name, device=device) for name in dict.fromkeys([codec, *beside])]
    spec = opened[0].spec
    kind = modality_of(spec.name, spec.modality)
    for other in opened[1:]:
        if other.spec.modality != spec.modality:
            raise InvalidInput(f"{other.spec.name} is no codec of {spec.modality}")
    anchors = choose(spec.modality, against)
    codecs = []
    for one in opened:
        first = one is opened[0]
        chosen = _settings(one.spec, qualities, first=first)
        own_effort = effort if first or effort in one.spec.efforts else None
        for quality in chosen:
            one.encode([], quality=quality, effort=own_effort)  # says no
        codecs.append(Contender(_name(one.spec, opened), one, chosen, own_effort))
    if max_items is not None and max_items < 1:
        raise InvalidInput(f"max_items must be at least 1, not {max_items}")
    if rates is not None and not 0 < rates[0] < rates[1]:
        raise InvalidInput(f"rates {rates[0]:g} to {rates[1]:g} are no range above 0")
    unmeasured = [why for metric in kind.metrics if (why := metric.missing())]
    for why in unmeasured:
        report(why)
    source = Source(data, opened[0].media_type, report)
    main = codecs[0].main
    points: dict[str, AnchorItems] = {a.name: {s: [] for s in a.ladder} for a in anchors}
    found: dict[str, Preview] = {}
    for name, media in islice(source, max_items):
        if not main:  # warm up: the first call of anything is slower than the others
            for contender in codecs:
                contender.warm_up(kind, name, media)
            for anchor in anchors:
                measure_anchor(anchor, anchor.ladder[0], kind, name, media)
        results = [contender.measure(kind, name, media) for contender in codecs]
        report(_line(main[-1], kind))
        ranking = kind.ranking(Summary.of(main, pooled=kind.pooled).quality)
        worst = worst_first(main, ranking)[: limit(media)]
        wanted = previews and main[-1] in worst
        shown = versions(media, codecs, results, kind) if wanted else []
        for anchor in anchors:
            files = {s: measure_anchor(anchor, s, kind, name, media).item for s in anchor.ladder}
            for setting, item in files.items():
                points[anchor.name][setting].append(item)
            if wanted and isinstance(media, Image):
                shown.append(at_equal_size(media, main[-1].file_bytes, anchor, files, kind))
            if wanted and isinstance(media, Video):
                shown.append(at_nearest_size(media, main[-1].file_bytes, anchor, files, kind))
        if wanted:
            drop_all_but(found, worst)
            if views := preview([*shown, *token_maps(codecs, results)]):
                found[name] = views
    if not main:
        endings = ", ".join(opened[0].media_type.suffixes[:6])
        raise InvalidInput(f"no {kind.items} ({endings}, ...) in {str(data)!r}")
    own, *rest = (contender.report(kind) for contender in codecs)
    measured = [contender.curve(kind) for contender in codecs]
    measured += [_curve(anchor, points[anchor.name], kind) for anchor in anchors]
    about, *others = own.points
    return Report(
        codec=own.codec,
        version=own.version,
        fingerprint=own.fingerprint,
        modality=spec.modality,
        data=data.resolve().name,
        summary=about.summary,
        items=about.items,
        skipped=tuple(source.skipped),
        anchors=tuple(_anchor_report(a, points[a.name], about.summary, kind) for a in anchors),
        environment=Environment.here(device if opened[0].on_device else "cpu"),
        quality=about.quality,
        effort=effort,
        others=tuple(others),
        beside=tuple(rest),
        curves=tuple(one.curve for one in measured),
        bd_rates=bd_rates(measured, kind.metrics, rates),
        rates=rates,
        unmeasured=tuple(unmeasured),
        previews=found,
    )


def _name(spec: CodecSpec, opened: Sequence[AnyCodec]) -> str:
    """Return a codec's name, with its fingerprint where another has the same name."""
    alone = sum(one.spec.name == spec.name for one in opened) == 1
    return spec.name if alone else f"{spec.name} {spec.fingerprint[:8]}"


def _settings(spec: CodecSpec, qualities: Qualities, *, first: bool) -> tuple[int | None, ...]:
    """Return the qualities at which a codec is measured, the main one first."""
    if not qualities:
        return (None,)
    if qualities != "all" and (first or set(qualities) <= set(spec.qualities)):
        return tuple(dict.fromkeys(qualities))
    known = sorted(spec.qualities, reverse=True)
    if len(known) > MOST:
        known = [known[round(i * (len(known) - 1) / (MOST - 1))] for i in range(MOST)]
    return tuple(known) or (None,)


def _curve(anchor: Anchor, measured: AnchorItems, kind: Modality) -> Measured:
    named = {anchor.setting.format(setting): items for setting, items in measured.items()}
    return Measured.of(anchor.title, named, anchor=True, pooled=kind.pooled)


def _anchor_report(
    anchor: Anchor, measured: AnchorItems, own: Summary, kind: Modality
) -> AnchorReport:
    points = tuple(
        Point(anchor.setting.format(setting), Summary.of(items, pooled=kind.pooled))
        for setting, items in measured.items()
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
