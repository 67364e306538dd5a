"""Measuring one item: a codec's way through tokens and a stream, or a file format's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from omnicodec.codecs import CodecSpec, Media, Tokens
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.stream import read_tokens, write_tokens
from omnicodec.service.evaluate.anchors import Anchor
from omnicodec.service.evaluate.figures import Item, Seconds
from omnicodec.service.evaluate.modality import Modality
from omnicodec.service.evaluate.video_metrics import stream_bits

T = TypeVar("T")

_PLACES: Final = {"frames": 1, "height": 1, "width": 1, "channels": 1, "seconds": 8000}
"""Pixels, and samples at the lowest rate in use, in what a position covers of each of these."""

BITS: Final = "bits"
"""What the bits of each frame are called in `Item.series`."""


def timed(step: Callable[[], T]) -> tuple[T, float]:
    """Return what `step` returns, and the seconds that it took."""
    start = time.perf_counter()
    result = step()
    return result, time.perf_counter() - start


def for_models(spec: CodecSpec) -> bool:
    """Return whether a codec's tokens are for models, and not for its entropy coder alone.

    Those of text are, and real values. Others are where they are fewer than the pixels or samples
    that they stand for: a transform has an id for each of them, and what is fitted to an item
    stands for none.
    """
    covered = [n * _PLACES[what] for what, n in spec.covers.items() if what in _PLACES]
    places = math.prod(covered) if covered else 0
    fewer = len(spec.codebook_sizes) < places
    return spec.modality == "text" or bool(spec.soft_width) or fewer


@dataclass(frozen=True)
class Result:
    """The figures of one item, what came back of it, and a codec's tokens."""

    item: Item
    decoded: Media
    tokens: Tokens | None = None


def measure_codec(
    codec: AnyCodec,
    kind: Modality,
    name: str,
    original: Media,
    quality: int | None = None,
    effort: str | None = None,
) -> Result:
    """Return the result of one item, decoded from its .omc stream."""
    (tokens,), encoding = timed(lambda: codec.encode([original], quality=quality, effort=effort))
    stream, writing = timed(lambda: write_tokens(tokens, codec, quality=quality))
    contents, reading = timed(lambda: read_tokens(stream, codec=codec))
    (decoded,), decoding = timed(lambda: codec.decode([contents.tokens]))
    seconds = Seconds(
        encode=encoding,
        decode=decoding,
        compress=encoding + writing,
        decompress=reading + decoding,
    )
    bits = codec.token_bits(tokens) if for_models(codec.spec) else None
    item = _item(kind, name, original, decoded, len(stream), bits, seconds)
    if item.series:
        item = _with_bits(item, stream_bits(stream, item.frames))
    return Result(item, decoded, tokens)


def measure_anchor(
    anchor: Anchor, setting: int, kind: Modality, name: str, original: Media
) -> Result:
    """Return the result of one item as a file of this format."""
    data, encoding = timed(lambda: anchor.encode(original, setting))
    decoded, decoding = timed(lambda: anchor.decode(data))
    seconds = Seconds(compress=encoding, decompress=decoding)
    item = _item(kind, name, original, decoded, len(data), None, seconds)
    if item.series and anchor.frame_bits is not None:
        item = _with_bits(item, anchor.frame_bits(data))
    return Result(item, decoded)


def _with_bits(item: Item, bits: tuple[float, ...]) -> Item:
    return replace(item, series={**item.series, BITS: bits})


def _item(
    kind: Modality,
    name: str,
    original: Media,
    decoded: Any,
    file_bytes: int,
    token_bits: float | None,
    seconds: Seconds,
) -> Item:
    pair = kind.prepare(original, decoded)
    return Item(
        name=name,
        size=kind.size(original),
        units=kind.units(original),
        file_bytes=file_bytes,
        token_bits=token_bits,
        exact=kind.exact(original, decoded),
        seconds=seconds,
        quality={metric.name: metric.compute(*pair) for metric in kind.metrics},
        frames=kind.frames(original),
        series=kind.series(*pair),
    )
