"""Figures: what is measured of items, their means, and rates at equal quality."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, median
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """What one item took: to tokens and back, and to the bytes of a file and back.

    The latter include the former. File formats have no tokens.
    """

    compress: float
    decompress: float
    encode: float | None = None
    decode: float | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item: `units` pixels, bytes or milliseconds, `token_bits` before entropy coding.

    Those are None of file formats, and of codecs whose tokens are not for models.
    `quality` has the modality's metrics by name; None where a metric does not apply. A video
    has so many `frames`, and in `series` figures of each of them.
    """

    name: str
    size: str
    units: int
    file_bytes: int
    token_bits: float | None
    exact: bool
    seconds: Seconds
    quality: Mapping[str, float | None]
    frames: int = 1
    series: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Bits per unit of the file."""
        return 8 * self.file_bytes / self.units

    @property
    def token_rate(self) -> float | None:
        """Bits per unit of the tokens as they are: log2(codebook size) of an id, all of a value."""
        return None if self.token_bits is None else self.token_bits / self.units


@dataclass(frozen=True)
class Speed:
    """Million units a second, and items a second, of video frames.

    Both are medians over items, or with `Modality.pooled` all units over all seconds.
    """

    million: float
    items: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures of several items together; see `Modality` for the kind of mean.

    `scored` says how many items each metric applied to.
    """

    items: int
    exact: int
    rate: float
    token_rate: float | None
    quality: Mapping[str, float | None]
    scored: Mapping[str, int]
    compress: Speed | None
    decompress: Speed | None
    encode: Speed | None
    decode: Speed | None

    @classmethod
    def of(cls, items: Sequence[Item], *, pooled: bool) -> Summary:
        """Return the summary of at least one item."""
        weights = [item.units if pooled else 1 for item in items]
        token_rates = [rate for item in items if (rate := item.token_rate) is not None]
        return cls(
            items=len(items),
            exact=sum(item.exact for item in items),
            rate=fmean([item.rate for item in items], weights),
            token_rate=fmean(token_rates, weights) if len(token_rates) == len(items) else None,
            quality={name: _mean(items, name) for name in items[0].quality},
            scored={
                name: sum(item.quality[name] is not None for item in items)
                for name in items[0].quality
            },
            compress=_speed(
                [(item.units, item.frames, item.seconds.compress) for item in items], pooled
            ),
            decompress=_speed(
                [(item.units, item.frames, item.seconds.decompress) for item in items], pooled
            ),
            encode=_speed(
                [(item.units, item.frames, item.seconds.encode) for item in items], pooled
            ),
            decode=_speed(
                [(item.units, item.frames, item.seconds.decode) for item in items], pooled
            ),
        )


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """A codec at one quality, None where it chose itself."""

    quality: int | None
    summary: Summary
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class CodecReport:
    """Another codec on the same items, at one quality or more."""

    codec: str
    version: int
    fingerprint: str
    points: tuple[QualityReport, ...]


@dataclass(frozen=True)
class Point:
    """A file format at one setting."""

    setting: str
    summary: Summary


@dataclass(frozen=True)
class Match:
    """The rate at which a file format reaches the codec's quality.

    `kind` is "interpolated" between two of its points, or says that the codec's quality is
    "below" that of its lowest rate, or "above" that of its highest; then `rate` is that
    lowest or highest rate.
    """

    kind: Literal["interpolated", "below", "above"]
    rate: float


@dataclass(frozen=True, kw_only=True)
class AnchorReport:
    """A file format's points, lowest rate first, on the same items."""

    name: str
    title: str
    options: str
    version: str
    points: tuple[Point, ...]
    match: Match | None


def at_quality(codec: str, quality: int | None) -> str:
    """Return a codec's name with its quality, as one types it."""
    return codec if quality is None else f"{codec} -q {quality}"


def match_rate(
    points: Sequence[Point], metric: str, target: float | None, *, falling: bool = False
) -> Match | None:
    """Return the rate at which `points`, lowest rate first, reach `target`.

    The logarithm of the rate is interpolated linearly over the metric, of which less is
    better when it is `falling`. None where there is nothing finite to compare.
    """
    sign = -1 if falling else 1
    known = [
        (sign * quality, point.summary.rate)
        for point in points
        if (quality := point.summary.quality.get(metric)) is not None
    ]
    if not known or target is None or not math.isfinite(target):
        return None
    target *= sign
    if target < known[0][0]:
        return Match("below", known[0][1])
    for (q0, r0), (q1, r1) in pairwise(known):
        if q0 <= target <= q1 and q0 < q1 < math.inf:
            share = (target - q0) / (q1 - q0)
            return Match("interpolated", r0 * (r1 / r0) ** share)
    return Match("above", known[-1][1])


def _mean(items: Sequence[Item], metric: str) -> float | None:
    values = [value for item in items if (value := item.quality[metric]) is not None]
    return fmean(values) if values else None


def _speed(times: Sequence[tuple[int, int, float | None]], pooled: bool) -> Speed | None:
    known = [(units, count, seconds) for units, count, seconds in times if seconds]
    if not known:
        return None
    if pooled:
        total = sum(seconds for _, _, seconds in known)
        return Speed(
            sum(units for units, _, _ in known) / total / 1e6,
            sum(count for _, count, _ in known) / total,
        )
    return Speed(
        median(units / seconds / 1e6 for units, _, seconds in known),
        median(count / seconds for _, count, seconds in known),
    )
