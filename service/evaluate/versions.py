"""Which versions of an item the page shows: of each codec, of formats at the same size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from omnicodec.codecs import Image, Media, Video
from omnicodec.service.evaluate.anchors import Anchor
from omnicodec.service.evaluate.contender import Contender, Quality
from omnicodec.service.evaluate.equal_size import equal_size
from omnicodec.service.evaluate.figures import Item, at_quality
from omnicodec.service.evaluate.measure import Result, measure_anchor
from omnicodec.service.evaluate.modality import Modality
from omnicodec.service.evaluate.previews import EQUAL_SIZE, Version
from omnicodec.service.evaluate.table import number
from omnicodec.service.evaluate.token_map import token_map

QUALITIES: Final = 5
"""Qualities of the main codec that are shown of a picture."""


def versions(
    original: Media,
    codecs: Sequence[Contender],
    results: Sequence[Mapping[Quality, Result]],
    kind: Modality,
) -> list[Version]:
    """Return an item and what came back of it, the main codec's main quality first.

    Sounds come at all qualities; pictures at some of the main codec's and at the main one of
    others, video at the main ones.
    """
    shown = [Version("original", original)]
    for index, (codec, found) in enumerate(zip(codecs, results, strict=True)):
        qualities = list(found)
        if isinstance(original, Image):
            qualities = spread(qualities, QUALITIES) if index == 0 else qualities[:1]
        elif isinstance(original, Video):
            qualities = qualities[:1]
        for quality in qualities:
            about = _detail(found[quality].item, kind)
            title = at_quality(codec.name, quality)
            series = found[quality].item.series
            shown.append(Version(title, found[quality].decoded, about, series=series))
    return shown


def at_equal_size(
    original: Media, size: int, anchor: Anchor, files: Mapping[int, Item], kind: Modality
) -> Version:
    """Return an item as a file of about `size` bytes, given the figures at some settings."""
    sizes = {setting: item.file_bytes for setting, item in files.items()}
    setting = equal_size(anchor, original, size, sizes)
    result = measure_anchor(anchor, setting, kind, "", original)
    about = f"{anchor.setting.format(setting)}, {_detail(result.item, kind)}"
    return Version(f"{anchor.title} {EQUAL_SIZE}", result.decoded, about)


def at_nearest_size(
    original: Media, size: int, anchor: Anchor, files: Mapping[int, Item], kind: Modality
) -> Version:
    """Return an item as a file at the measured setting whose file is nearest to `size` bytes."""
    setting = min(files, key=lambda s: abs(math.log(files[s].file_bytes / size)))
    result = measure_anchor(anchor, setting, kind, "", original)
    about = f"{anchor.setting.format(setting)}, {_detail(result.item, kind)}"
    series = result.item.series
    return Version(anchor.title, result.decoded, about, series=series, anchor=True)


def token_maps(
    codecs: Sequence[Contender], results: Sequence[Mapping[Quality, Result]]
) -> list[Version]:
    """Return the tokens of a picture as drawings, at the main quality of each codec."""
    shown = []
    for codec, found in zip(codecs, results, strict=True):
        tokens = found[codec.qualities[0]].tokens
        if tokens and (drawn := token_map(tokens, codec.codec.spec.covers)):
            about = f"{' x '.join(map(str, tokens.grid))} positions, {drawn[1]}"
            shown.append(Version(f"tokens of {codec.name}", drawn[0], about, flat=True))
    return shown


def spread(qualities: Sequence[Quality], most: int) -> list[Quality]:
    """Return the first of these, and others spread over them, at most `most` in all."""
    first, *others = qualities
    if len(others) >= most:
        others = [others[round(i * (len(others) - 1) / (most - 2))] for i in range(most - 1)]
    return [first, *others]


def _detail(item: Item, kind: Modality) -> str:
    ranking = kind.ranking(item.quality)
    quality = [ranking.phrase(item.quality[ranking.name])] if ranking else []
    size = f"{item.file_bytes:,} bytes"
    return ", ".join([size, f"{number(item.rate, 3)} {kind.rate}", *quality])
