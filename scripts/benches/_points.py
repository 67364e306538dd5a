"""Curves of codecs and file formats on one kind of media, with the seconds of each way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from omnicodec.codecs import Media
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.stream import read_tokens, write_tokens
from omnicodec.service.evaluate.anchors import Anchor
from omnicodec.service.evaluate.curves import Measured, bd_rates
from omnicodec.service.evaluate.figures import Item, Seconds
from omnicodec.service.evaluate.measure import measure_anchor, timed
from omnicodec.service.evaluate.modality import MODALITIES, Modality
from omnicodec.service.evaluate.table import markdown, number

Say = Callable[[str], None]


@dataclass(frozen=True)
class Points:
    """One codec at an effort, or one file format: the items of each of its settings."""

    title: str
    settings: Mapping[str, Sequence[Item]]
    anchor: bool

    def first(self, count: int) -> Measured:
        """Return the curve of the first `count` items."""
        settings = {name: items[:count] for name, items in self.settings.items()}
        return Measured.of(self.title, settings, anchor=self.anchor, pooled=False)

    @property
    def count(self) -> int:
        return len(next(iter(self.settings.values())))

    def to_dict(self) -> dict[str, Any]:
        """Return means over items and the items themselves, by setting."""
        return {
            name: {
                "rate": fmean(item.rate for item in items),
                **{metric: _mean(items, metric) for metric in items[0].quality},
                "encode_seconds": fmean(item.seconds.compress for item in items),
                "decode_seconds": fmean(item.seconds.decompress for item in items),
                "items": {item.name: _item(item) for item in items},
            }
            for name, items in self.settings.items()
        }


def kind_of(modality: str, metrics: Sequence[str]) -> Modality:
    """Return how a modality is measured, with these metrics alone, and of whole items."""
    kind = MODALITIES[modality]
    kept = tuple(metric for metric in kind.metrics if metric.name in metrics)
    return replace(kind, metrics=kept, series=lambda *_: {})


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Have torch, and the loops that go by it, run on so many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measured(
    kind: Modality,
    name: str,
    original: Media,
    encode: Callable[[], bytes],
    decode: Callable[[bytes], Media],
) -> Item:
    """Return the item of a file that is written, and read."""
    data, encoding = timed(encode)
    decoded, decoding = timed(lambda: decode(data))
    pair = kind.prepare(original, decoded)
    return Item(
        name=name,
        size=kind.size(original),
        units=kind.units(original),
        file_bytes=len(data),
        token_bits=None,
        exact=kind.exact(original, decoded),
        seconds=Seconds(compress=encoding, decompress=decoding),
        quality={metric.name: metric.compute(*pair) for metric in kind.metrics},
        frames=kind.frames(original),
    )


def of_codec(
    codec: AnyCodec,
    kind: Modality,
    name: str,
    original: Media,
    quality: int,
    effort: str | None,
    ways: tuple[int, int],
) -> Item:
    """Return the item of an .omc stream, encoded and decoded on so many threads each."""

    def encode() -> bytes:
        with threads(ways[0]):
            (tokens,) = codec.encode([original], quality=quality, effort=effort)
            return write_tokens(tokens, codec, quality=quality)

    return measured(kind, name, original, encode, lambda data: decoded(codec, data, ways[1]))


def decoded(codec: AnyCodec, stream: bytes, count: int) -> Media:
    """Return what is in an .omc stream, decoded on so many threads."""
    with threads(count):
        tokens = read_tokens(stream, codec=codec, threads=count).tokens
        (media,) = codec.decode([tokens])
    assert isinstance(media, Media)
    return media


def of_anchor(anchor: Anchor, kind: Modality, items: Mapping[str, Media], say: Say) -> Points:
    """Return a file format at all steps of its ladder."""
    settings = {}
    for step in anchor.ladder:
        results = [measure_anchor(anchor, step, kind, n, item) for n, item in items.items()]
        settings[str(step)] = [result.item for result in results]
    say(f"{anchor.title}: {len(settings)} settings")
    return Points(anchor.title, settings, anchor=True)


def rates(
    kind: Modality, ours: Sequence[Points], formats: Sequence[Points]
) -> list[dict[str, Any]]:
    """Return the BD-rate of each of ours against each format, on the items that it has."""
    found: list[dict[str, Any]] = []
    for one in ours:
        for form in formats:
            pair = [one.first(one.count), form.first(one.count)]
            found += [
                {"curve": one.title, "reference": form.title, "items": one.count}
                | {"metric": rate.metric, "percent": rate.percent}
                | {"low": rate.low, "high": rate.high, "of_items": dict(rate.items)}
                for rate in bd_rates(pair, kind.metrics, None)
            ]
    return found


def rate_table(first: str, kind: Modality, found: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of what `rates` found."""
    references = list(dict.fromkeys(row["reference"] for row in found))
    titles = {metric.name: metric.title for metric in kind.metrics}
    rows = []
    for curve, metric in dict.fromkeys((row["curve"], row["metric"]) for row in found):
        own = {
            row["reference"]: row["percent"]
            for row in found
            if (row["curve"], row["metric"]) == (curve, metric)
        }
        percents = [number(own.get(reference), 1) for reference in references]
        rows.append([curve, titles[metric], *percents])
    return markdown([f"{first}: BD-rate, %", "in", *references], rows)


def _mean(items: Sequence[Item], metric: str) -> float | None:
    values = [value for item in items if (value := item.quality[metric]) is not None]
    return fmean(values) if values else None


def _item(item: Item) -> dict[str, Any]:
    return {
        "size": item.size,
        "bytes": item.file_bytes,
        "rate": item.rate,
        **item.quality,
        "encode_seconds": item.seconds.compress,
        "decode_seconds": item.seconds.decompress,
    }
