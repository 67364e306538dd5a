"""Largest inputs that are accepted, checked before anything is decoded or allocated."""

from __future__ import annotations

from typing import Final

from omnicodec.codecs.errors import LimitExceeded

MAX_PIXELS: Final = 1 << 27
"""Pixels of one picture: 134 million, twice 8192 x 8192."""

MAX_SAMPLES: Final = 1 << 29
"""Samples of one audio clip or time series, all channels together: 2 GiB as float32."""

MAX_VIDEO_PIXELS: Final = 1 << 31
"""Pixels of one video, all frames together: 6 GiB as RGB, 34 seconds of 1080p at 30 fps."""

MAX_TEXT_BYTES: Final = 1 << 31
"""Bytes of one text."""

MAX_POSITIONS: Final = 1 << 31
"""Token positions of one item."""


def check_pixels(height: int, width: int, limit: int = MAX_PIXELS) -> None:
    """Raise `LimitExceeded` when a picture of this size is larger than `limit` pixels."""
    if height * width > limit:
        raise LimitExceeded(
            f"picture of {width}x{height} pixels is over the limit of {limit:,} pixels"
        )


def check_count(count: int, limit: int, what: str) -> None:
    """Raise `LimitExceeded` when there are more than `limit` of `what`, such as "samples"."""
    if count > limit:
        raise LimitExceeded(f"{count:,} {what} are over the limit of {limit:,}")
