"""Curves of rate and quality: of codecs over their qualities, of file formats, and BD-rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from omnicodec.service.evaluate.bd import POINTS, Delta, RatePoint, bd_rate
from omnicodec.service.evaluate.figures import Item, Summary
from omnicodec.service.evaluate.modality import Metric


@dataclass(frozen=True)
class CurvePoint:
    """Mean rate, that of whole files, and quality of one setting."""

    setting: str
    rate: float
    quality: Mapping[str, float | None]


@dataclass(frozen=True)
class Curve:
    """A codec, or an `anchor`, at all its measured settings, lowest rate first."""

    title: str
    anchor: bool
    points: tuple[CurvePoint, ...]

    def scaled(self, metric: Metric) -> list[RatePoint]:
        """Return rate and quality of each point that has this metric, as curves take it."""
        return _scaled([(point.rate, point.quality[metric.name]) for point in self.points], metric)


@dataclass(frozen=True)
class Measured:
    """A curve, and the items of each of its points, always in the same order."""

    curve: Curve
    items: tuple[Sequence[Item], ...]

    @classmethod
    def of(
        cls, title: str, settings: Mapping[str, Sequence[Item]], *, anchor: bool, pooled: bool
    ) -> Measured:
        """Return the curve of the items of each setting, by the setting's name."""
        summaries = {name: Summary.of(items, pooled=pooled) for name, items in settings.items()}
        names = sorted(settings, key=lambda name: summaries[name].rate)
        points = [CurvePoint(n, summaries[n].rate, summaries[n].quality) for n in names]
        return cls(Curve(title, anchor, tuple(points)), tuple(settings[name] for name in names))

    def of_item(self, index: int, metric: Metric) -> list[RatePoint]:
        """Return the curve of one item."""
        items = [items[index] for items in self.items]
        return _scaled([(item.rate, item.quality[metric.name]) for item in items], metric)


@dataclass(frozen=True, kw_only=True)
class BDRate:
    """How many percent more bits `curve` takes than `reference`, at the same `metric`.

    `percent` is of the curves of means, over quality from `low` to `high`; None where the
    curves do not overlap. `items` has the same of each item's own curves, by name.
    """

    metric: str
    curve: str
    reference: str
    percent: float | None
    low: float | None
    high: float | None
    items: Mapping[str, float | None]

    def against(self, reference: str) -> float | None:
        """Return the percent of one of the two against the other, its `reference`."""
        if self.percent is None or reference == self.reference:
            return self.percent
        return Delta(self.percent, 0, 1).inverse().percent


def bd_rates(
    measured: Sequence[Measured], metrics: Sequence[Metric], rates: tuple[float, float] | None
) -> tuple[BDRate, ...]:
    """Return the BD-rates of each pair of curves, for each metric that some pair has.

    Each pair is there once: the curve that comes first against the one after it. Those of
    fewer than `POINTS` settings are no curves.
    """
    curves = [one for one in measured if len(one.curve.points) >= POINTS]
    found = []
    for metric in metrics:
        pairs = [_bd_rate(a, b, metric, rates) for a, b in combinations(curves, 2)]
        if any(pair.percent is not None for pair in pairs):
            found += pairs
    return tuple(found)


def _bd_rate(
    first: Measured, second: Measured, metric: Metric, rates: tuple[float, float] | None
) -> BDRate:
    mean = bd_rate(first.curve.scaled(metric), second.curve.scaled(metric), rates)
    items: dict[str, float | None] = {}
    for index, item in enumerate(first.items[0] if mean else ()):
        own = bd_rate(first.of_item(index, metric), second.of_item(index, metric), rates)
        items[item.name] = own.percent if own else None
    low, high = sorted(map(metric.unscaled, (mean.low, mean.high))) if mean else (None, None)
    return BDRate(
        metric=metric.name,
        curve=first.curve.title,
        reference=second.curve.title,
        percent=mean.percent if mean else None,
        low=low,
        high=high,
        items=items,
    )


def _scaled(points: Sequence[tuple[float, float | None]], metric: Metric) -> list[RatePoint]:
    return [(rate, metric.scaled(value)) for rate, value in points if value is not None]
