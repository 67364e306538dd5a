"""A file format at about the size of something else: for looking at both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from omnicodec.codecs import Media
from omnicodec.service.evaluate.anchors import Anchor

_TRIES: Final = 3
_CLOSE: Final = 0.03


def equal_size(anchor: Anchor, media: Media, size: int, known: Mapping[int, int]) -> int:
    """Return the setting at which `media` as a file has about `size` bytes.

    `known` has the sizes at some settings, two at least; others between them are tried, three
    at most, where the logarithm of the size suggests it. Beyond them, the nearest is returned.
    """
    sizes = dict(known)
    for _ in range(_TRIES):
        below = [s for s in sizes if sizes[s] <= size]
        above = [s for s in sizes if sizes[s] > size]
        if not below or not above:
            break
        low, high = max(below), min(above)
        if high - low < 2 or sizes[low] > (1 - _CLOSE) * size:
            break
        share = math.log(size / sizes[low]) / math.log(sizes[high] / sizes[low])
        setting = min(max(round(low + share * (high - low)), low + 1), high - 1)
        sizes[setting] = len(anchor.encode(media, setting))
    return min(sizes, key=lambda s: (abs(math.log(sizes[s] / size)), s))
