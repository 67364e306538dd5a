"""Report: the figures of one evaluation, as JSON and as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from statistics import fmean
from typing import Any, Final

from omnicodec.service.evaluate.bd import POINTS
from omnicodec.service.evaluate.curves import BDRate, Curve
from omnicodec.service.evaluate.environment import Environment
from omnicodec.service.evaluate.figures import (
    AnchorReport,
    CodecReport,
    Item,
    QualityReport,
    Speed,
    Summary,
    at_quality,
)
from omnicodec.service.evaluate.modality import MODALITIES, Metric, Modality, SpeedColumn
from omnicodec.service.evaluate.previews import Preview
from omnicodec.service.evaluate.table import markdown, number

FORMAT: Final = "omnicodec.report.v1"


@dataclass(frozen=True, kw_only=True)
class Report:
    """One codec on one set of media; `items` are in the order in which they were read.

    `quality` is the setting that `summary` and `items` are of, None where the codec chose;
    `others` has the other qualities that were measured, `beside` other codecs. `curves` has
    all of them and the file formats as curves, `bd_rates` compares these between `rates`.
    `skipped` says what was left out and why, `unmeasured` which metrics. `previews` are by
    item name, for the worst items only, and not part of the JSON.
    """

    codec: str
    version: int
    fingerprint: str
    modality: str
    data: str
    summary: Summary
    items: tuple[Item, ...]
    skipped: tuple[str, ...]
    anchors: tuple[AnchorReport, ...]
    environment: Environment
    quality: int | None = None
    effort: str | None = None
    others: tuple[QualityReport, ...] = ()
    beside: tuple[CodecReport, ...] = ()
    curves: tuple[Curve, ...] = ()
    bd_rates: tuple[BDRate, ...] = ()
    rates: tuple[float, float] | None = None
    unmeasured: tuple[str, ...] = ()
    previews: Mapping[str, Preview] = field(default_factory=dict, repr=False)

    @property
    def kind(self) -> Modality:
        """How media of this modality are measured."""
        return MODALITIES[self.modality]

    @property
    def title(self) -> str:
        count, what = len(self.items), self.kind.items
        names = ", ".join([self.codec, *(other.codec for other in self.beside)])
        return f"{names} on {self.data}: {count} {what if count != 1 else what[:-1]}"

    @property
    def name(self) -> str:
        """The codec with the quality that the report is about."""
        return at_quality(self.codec, self.quality)

    @property
    def ranking(self) -> Metric | None:
        """The metric that ranks items and is matched."""
        return self.kind.ranking(self.summary.quality)

    def own(self) -> list[tuple[str, Summary]]:
        """Return names and summaries of each codec at each quality, lowest first."""
        found = [(self.quality, self.summary), *((o.quality, o.summary) for o in self.others)]
        names = _by_quality(self.codec, found)
        for other in self.beside:
            names += _by_quality(other.codec, [(p.quality, p.summary) for p in other.points])
        return names

    def worst_first(self) -> list[Item]:
        """Return the items by the ranking metric, or by rate where there is none."""
        return worst_first(self.items, self.ranking)

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as what JSON can hold; infinities become None."""
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "previews"}
        plain: dict[str, Any] = _plain({"format": FORMAT, **shown, "notes": self.kind.notes})
        measured = [(self.items, plain["items"])]
        groups = [(self.others, plain["others"])]
        groups += [
            (c.points, p["points"]) for c, p in zip(self.beside, plain["beside"], strict=True)
        ]
        for points, parts in groups:
            measured += [(a.items, b["items"]) for a, b in zip(points, parts, strict=True)]
        for items, rows in measured:
            for item, row in zip(items, rows, strict=True):
                row |= {"rate": item.rate, "token_rate": item.token_rate}
        return plain

    def to_table(self, worst: int = 10) -> str:
        """Return the report as Markdown that also reads well as plain text.

        The means, the anchors, and the `worst` items are shown.
        """
        parts = [f"# {self.title}", markdown(*self.comparison())]
        parts.append("\n".join(f"* {line}" for line in (*self.times(), *self.matches())))
        parts += [markdown(*table) for table in self.bd_tables()]
        shown = self.worst_first()[:worst]
        if len(self.items) > 1:
            parts += [f"Worst {len(shown)} of {len(self.items)}:", markdown(*self.rows(shown))]
        parts += ["\n".join(self.notes()), str(self.environment)]
        return "\n\n".join(part for part in parts if part) + "\n"

    def comparison(self) -> tuple[list[str], list[list[str]]]:
        """Return header and rows: codecs' tokens and files, and the anchors' points."""
        kind = self.kind
        header = ["", kind.rate, *(metric.heading for metric in kind.metrics)]
        header += [f"{way} {c.heading}" for way in ("encode", "decode") for c in kind.speeds]

        def row(title: str, s: Summary, rate: float | None, *speeds: Speed | None) -> list[str]:
            quality = [number(s.quality[m.name], m.digits) for m in kind.metrics]
            shown = [cell for speed in speeds for cell in _speed(speed, kind.speeds)]
            return [title, number(rate, kind.rate_digits), *quality, *shown]

        rows = []
        for name, own in self.own():
            if own.token_rate is not None:
                rows.append(row(f"{name}, tokens", own, own.token_rate, own.encode, own.decode))
            rows.append(row(f"{name}, .omc files", own, own.rate, own.compress, own.decompress))
        for anchor in self.anchors:
            for point in anchor.points:
                s = point.summary
                title = f"{anchor.title} {point.setting}"
                rows.append(row(title, s, s.rate, s.compress, s.decompress))
        return header, rows

    def bd_tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """Return header and rows of the BD-rates of each metric, in percent."""
        tables = []
        for metric in self.kind.metrics:
            pairs = {(b.curve, b.reference): b for b in self.bd_rates if b.metric == metric.name}
            pairs |= {(b.reference, b.curve): b for b in pairs.values()}
            known = {name for key, b in pairs.items() if b.percent is not None for name in key}
            titles = [curve.title for curve in self.curves if curve.title in known]
            rows = []
            for title in titles:
                found = [pairs[title, t].against(t) if t != title else None for t in titles]
                rows.append([title, *("-" if v is None else f"{v:+.1f} %" for v in found)])
            if rows:
                tables.append(([f"BD-rate, {metric.title}", *(f"to {t}" for t in titles)], rows))
        return tables

    def matches(self) -> list[str]:
        """Return a sentence for each anchor: the rate at which it is as good as the codec."""
        lines = []
        for anchor in self.anchors:
            if not self.kind.metrics:
                lines.append(f"{anchor.title}: {self._versus(anchor.points[0].summary.rate)}.")
            metric = self.ranking
            if anchor.match is None or metric is None:
                continue
            versus = self._versus(anchor.match.rate)
            if anchor.match.kind == "interpolated":
                lines.append(f"{anchor.title} has the same {metric.title} at {versus}.")
                continue
            lowest = anchor.match.kind == "below"
            end = anchor.points[0 if lowest else -1].summary.quality[metric.name]
            lines.append(
                f"{anchor.title} at its {'lowest' if lowest else 'highest measured'} rate, "
                f"{versus}, is {'already better' if lowest else 'still worse'}: "
                f"{metric.phrase(end)}."
            )
        return lines

    def times(self) -> list[str]:
        """Return of video a sentence for each codec and format: how long its files took."""
        if self.modality != "video":
            return []
        frames = fmean(item.frames for item in self.items)
        about = [(name, [summary]) for name, summary in self.own()]
        about += [(a.title, [p.summary for p in a.points]) for a in self.anchors]
        lines = []
        for name, summaries in about:
            encoding = [s.compress.items for s in summaries if s.compress]
            decoding = [s.decompress.items for s in summaries if s.decompress]
            if encoding and decoding:
                took = _span([_duration(frames / max(encoding)), _duration(frames / min(encoding))])
                speeds = [_span(list(map(number, (min(v), max(v))))) for v in (encoding, decoding)]
                lines.append(
                    f"{name} took {took} to encode {frames:,.0f} frames ({speeds[0]} a second), "
                    f"and decodes {speeds[1]} a second."
                )
        return lines

    def rows(self, items: Sequence[Item]) -> tuple[list[str], list[list[str]]]:
        """Return header and one row for each of these items."""
        kind = self.kind
        header = ["name", "size", kind.rate, *(metric.heading for metric in kind.metrics)]
        header += [f"{way} {kind.speeds[0].heading}" for way in ("encode", "decode")]
        rows = []
        for item in items:
            quality = [number(item.quality[m.name], m.digits) for m in kind.metrics]
            times = (item.seconds.encode, item.seconds.decode)
            known = [Speed(item.units / t / 1e6, 1 / t) if t else None for t in times]
            speeds = [cell for speed in known for cell in _speed(speed, kind.speeds[:1])]
            rate = number(item.rate, kind.rate_digits)
            rows.append([item.name, item.size, rate, *quality, *speeds])
        return header, rows

    def notes(self) -> list[str]:
        """Return what a reader of the figures has to know."""
        lines = [
            *self.kind.notes,
            "Items are done one at a time, after a warm-up; the speed of files includes entropy "
            "coding. File formats run as Pillow, PyAV, soundfile or Python call them, with as "
            "many threads as they take.",
            *self.unmeasured,
        ]
        main = [(self.codec, self.summary), *((o.codec, o.points[0].summary) for o in self.beside)]
        if bare := [name for name, summary in main if summary.token_rate is None]:
            lines.append(
                f"There is no row for the tokens of {' and '.join(bare)}: their ids, no fewer than "
                "pixels or samples, are numbers for the entropy coder, not words for a language "
                "model."
            )
        lines += [f"{m.title}: {m.version()}." for m in self._measured() if m.requires]
        lines += [
            f"{m.title} is of {self.summary.scored[m.name]} of {len(self.items)} {self.kind.items}."
            for m in self._measured()
            if self.summary.scored[m.name] < len(self.items)
        ]
        if self.bd_rates:
            where = "at all rates that were measured"
            if self.rates:
                where = f"at {self.rates[0]:g} to {self.rates[1]:g} {self.kind.rate}"
            nines = [m.title for m in self.kind.metrics if m.nines]
            scale = f", of {' and '.join(nines)} on the scale -10 log10(1 - x)" if nines else ""
            lines.append(
                "BD-rates (Bjontegaard 2001) say how many percent more bits the row takes than "
                f"the column at the same quality; minus is fewer. They compare curves of means "
                f"of {POINTS} settings or more, as piecewise cubics (pchip), over the quality "
                f"that both have {where}{scale}. Each item's own are in the JSON."
            )
        if self.summary.exact == self.summary.items:
            lines.append(f"All {self.kind.items} came back exactly.")
        if self.skipped:
            lines.append(f"{len(self.skipped)} files were left out as they cannot be read.")
        for anchor in self.anchors:
            about = [words for words in (anchor.options, anchor.version) if words]
            lines += [f"{anchor.title}: {', '.join(about)}."] if about else []
        return lines

    def _versus(self, rate: float) -> str:
        ratio, shown = rate / self.summary.rate, number(rate, self.kind.rate_digits)
        return f"{shown} {self.kind.rate} ({ratio:.2f} times that of {self.name})"

    def _measured(self) -> list[Metric]:
        return [m for m in self.kind.metrics if self.summary.quality[m.name] is not None]


def _span(ends: Sequence[str]) -> str:
    """Return a range of figures, or one where both ends are the same."""
    return " to ".join(dict.fromkeys(ends))


def _duration(seconds: float) -> str:
    """Return a length of time as people say it."""
    if seconds < 60:
        return f"{number(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def worst_first(items: Sequence[Item], metric: Metric | None) -> list[Item]:
    """Return items by a metric, those without it last, or by rate where there is none."""
    if metric is None:
        return sorted(items, key=lambda item: -item.rate)

    def goodness(item: Item) -> float:
        value = item.quality[metric.name]
        return math.inf if value is None else metric.goodness(value)

    return sorted(items, key=goodness)


def _by_quality(
    codec: str, found: Sequence[tuple[int | None, Summary]]
) -> list[tuple[str, Summary]]:
    ordered = sorted(found, key=lambda pair: -1 if pair[0] is None else pair[0])
    return [(at_quality(codec, quality), summary) for quality, summary in ordered]


def _speed(speed: Speed | None, columns: Sequence[SpeedColumn]) -> list[str]:
    return [number(None if speed is None else column.of(speed)) for column in columns]


def _plain(value: Any) -> Any:
    """Return `value` with dataclasses as dicts, tuples as lists, infinities as None."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
