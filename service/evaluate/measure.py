"""Measuring one item: a codec's way through tokens and a stream, or a file format's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from omnicodec.codecs import Media, Tokens
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.stream import read_tokens, write_tokens
from omnicodec.service.evaluate.anchors import Anchor
from omnicodec.service.evaluate.figures import Item, Seconds
from omnicodec.service.evaluate.modality import Modality

T = TypeVar("T")


def timed(step: Callable[[], T]) -> tuple[T, float]:
    """Return what `step` returns, and the seconds that it took."""
    start = time.perf_counter()
    result = step()
    return result, time.perf_counter() - start


def measure_codec(
    codec: AnyCodec, kind: Modality, name: str, original: Media, quality: int | None = None
) -> tuple[Item, Media]:
    """Return the figures of one item and its reconstruction, decoded from its .omc stream."""
    (tokens,), encoding = timed(lambda: codec.encode([original], quality=quality))
    stream, writing = timed(lambda: write_tokens(tokens, codec))
    contents, reading = timed(lambda: read_tokens(stream, codec=codec))
    (decoded,), decoding = timed(lambda: codec.decode([contents.tokens]))
    seconds = Seconds(
        encode=encoding,
        decode=decoding,
        compress=encoding + writing,
        decompress=reading + decoding,
    )
    bits = token_bits(codec, tokens)
    return _item(kind, name, original, decoded, len(stream), bits, seconds), decoded


def measure_anchor(
    anchor: Anchor, setting: int, kind: Modality, name: str, original: Media
) -> Item:
    """Return the figures of one item as a file of this format."""
    data, encoding = timed(lambda: anchor.encode(original, setting))
    decoded, decoding = timed(lambda: anchor.decode(data))
    seconds = Seconds(compress=encoding, decompress=decoding)
    return _item(kind, name, original, decoded, len(data), None, seconds)


def token_bits(codec: AnyCodec, tokens: Tokens) -> float:
    """Return the bits of tokens as they are, before entropy coding.

    A codec with qualities leaves its last codebooks out of the lower ones: rows of zeros,
    which are not counted.
    """
    sizes = codec.spec.codebook_sizes
    if codec.spec.qualities:
        used = np.flatnonzero(tokens.ids.any(1))
        sizes = sizes[: int(used[-1]) + 1] if used.size else ()
    return len(tokens) * sum(math.log2(size) for size in sizes)


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
        exact=decoded == original,
        seconds=seconds,
        quality={metric.name: metric.compute(*pair) for metric in kind.metrics},
    )
