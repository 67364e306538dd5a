"""Report: the figures of one evaluation, as JSON and as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Final

from omnicodec.service.evaluate.environment import Environment
from omnicodec.service.evaluate.figures import AnchorReport, Item, Speed, Summary
from omnicodec.service.evaluate.modality import MODALITIES, Modality
from omnicodec.service.evaluate.table import markdown, number

FORMAT: Final = "omnicodec.report.v1"


@dataclass(frozen=True)
class Preview:
    """The same part of an original and of its reconstruction, as WebP files."""

    original: bytes
    decoded: bytes


@dataclass(frozen=True, kw_only=True)
class Report:
    """One codec on one set of media; `items` are in the order in which they were read.

    `skipped` says what was left out and why. `previews` are by item name, for the worst
    items only, and not part of the JSON.
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
    previews: Mapping[str, Preview] = field(default_factory=dict, repr=False)

    @property
    def kind(self) -> Modality:
        """How media of this modality are measured."""
        return MODALITIES[self.modality]

    @property
    def title(self) -> str:
        count, what = len(self.items), self.kind.items
        return f"{self.codec} on {self.data}: {count} {what if count != 1 else what[:-1]}"

    def worst_first(self) -> list[Item]:
        """Return the items by the first metric, or by rate where there is none."""
        return worst_first(self.items, self.kind)

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as what JSON can hold; infinities become None."""
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "previews"}
        plain: dict[str, Any] = _plain({"format": FORMAT, **shown, "notes": self.kind.notes})
        for item, row in zip(self.items, plain["items"], strict=True):
            row |= {"rate": item.rate, "token_rate": item.token_rate}
        return plain

    def to_table(self, worst: int = 10) -> str:
        """Return the report as Markdown that also reads well as plain text.

        The means, the anchors, and the `worst` items are shown.
        """
        parts = [f"# {self.title}", markdown(*self.comparison())]
        parts.append("\n".join(f"* {line}" for line in self.matches()))
        shown = self.worst_first()[:worst]
        if len(self.items) > 1:
            parts += [f"Worst {len(shown)} of {len(self.items)}:", markdown(*self.rows(shown))]
        parts += ["\n".join(self.notes()), str(self.environment)]
        return "\n\n".join(part for part in parts if part) + "\n"

    def comparison(self) -> tuple[list[str], list[list[str]]]:
        """Return header and rows: the codec's tokens, its files, and the anchors' points."""
        kind, own = self.kind, self.summary
        header = ["", kind.rate, *(metric.heading for metric in kind.metrics)]
        header += [
            f"{way} {unit}/s" for way in ("encode", "decode") for unit in (kind.million, kind.items)
        ]

        def row(title: str, s: Summary, rate: float | None, *speeds: Speed | None) -> list[str]:
            quality = [number(s.quality[m.name], m.digits) for m in kind.metrics]
            return [title, number(rate, 4), *quality, *(f for x in speeds for f in _speed(x))]

        rows = [
            row(f"{self.codec}, tokens", own, own.token_rate, own.encode, own.decode),
            row(f"{self.codec}, .omc files", own, own.rate, own.compress, own.decompress),
        ]
        for anchor in self.anchors:
            for point in anchor.points:
                s = point.summary
                title = f"{anchor.title} {point.setting}"
                rows.append(row(title, s, s.rate, s.compress, s.decompress))
        return header, rows

    def matches(self) -> list[str]:
        """Return a sentence for each anchor: the rate at which it is as good as the codec."""
        lines = []
        for anchor in self.anchors:
            if not self.kind.metrics:
                lines.append(f"{anchor.title}: {self._versus(anchor.points[0].summary.rate)}.")
            if anchor.match is None:
                continue
            metric, versus = self.kind.metrics[0], self._versus(anchor.match.rate)
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

    def rows(self, items: Sequence[Item]) -> tuple[list[str], list[list[str]]]:
        """Return header and one row for each of these items."""
        kind = self.kind
        header = ["name", "size", kind.rate, *(metric.heading for metric in kind.metrics)]
        header += [f"encode {kind.million}/s", f"decode {kind.million}/s"]
        rows = []
        for item in items:
            quality = [number(item.quality[m.name], m.digits) for m in kind.metrics]
            times = (item.seconds.encode, item.seconds.decode)
            speeds = [number(item.units / t / 1e6 if t else None) for t in times]
            rows.append([item.name, item.size, number(item.rate, 4), *quality, *speeds])
        return header, rows

    def notes(self) -> list[str]:
        """Return what a reader of the figures has to know."""
        lines = [
            *self.kind.notes,
            "Items are done one at a time, after a warm-up; the speed of files includes entropy "
            "coding. File formats run as Pillow or Python call them, with as many threads as "
            "they take.",
        ]
        if self.summary.exact == self.summary.items:
            lines.append(f"All {self.kind.items} came back exactly.")
        if self.skipped:
            lines.append(f"{len(self.skipped)} files were left out as they cannot be read.")
        for anchor in self.anchors:
            about = [words for words in (anchor.options, anchor.version) if words]
            lines += [f"{anchor.title}: {', '.join(about)}."] if about else []
        return lines

    def _versus(self, rate: float) -> str:
        ratio = rate / self.summary.rate
        return f"{rate:.4f} {self.kind.rate} ({ratio:.2f} times that of {self.codec})"


def worst_first(items: Sequence[Item], kind: Modality) -> list[Item]:
    """Return items by the modality's first metric, or by rate where there is none."""
    if not kind.metrics:
        return sorted(items, key=lambda item: -item.rate)
    first = kind.metrics[0].name

    def quality(item: Item) -> float:
        value = item.quality[first]
        return math.inf if value is None else value

    return sorted(items, key=quality)


def _speed(speed: Speed | None) -> list[str]:
    if speed is None:
        return ["-", "-"]
    return [number(speed.million), number(speed.items)]


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
