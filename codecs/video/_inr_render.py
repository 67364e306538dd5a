"""Frames from the rows of `video/inr`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.image._inr_prior import from_ids
from omnicodec.codecs.video._inr_format import (
    HNERV_FRONT,
    groups_of,
    is_hnerv,
    quality_of,
    unpack,
)
from omnicodec.models.inr.frames import Renderer
from omnicodec.models.inr.order import needed

if TYPE_CHECKING:
    from omnicodec.codecs.video._inr_prior import VideoInrPrior
    from omnicodec.models.inr.synthesis import Synthesis


def draw(
    rows: NDArray[np.int32],
    lost: NDArray[np.bool_] | None,
    extent: Mapping[str, int],
    frames: range,
    synthesis: Synthesis,
    prior: VideoInrPrior,
    device: str,
    pixels: NDArray[np.uint8],
) -> None:
    """Write `frames` to `pixels` `(n, H, W, 3)`, from the ids of all groups, `(groups, P)`.

    Groups that are `lost` show the frame before them, or that behind them.
    """
    height, width = extent["height"], extent["width"]
    renderer = Renderer(synthesis, prior.tensors)
    shown = np.zeros(len(frames), np.bool_)
    for which, group in enumerate(groups_of(extent["frames"], extent["groups"])):
        inside = range(max(frames.start, group.start), min(frames.stop, group.stop))
        if not len(inside) or (lost is not None and lost[which]):
            continue
        row = from_ids(rows[which])
        here = range(inside.start - group.start, inside.stop - group.start)
        to = slice(inside.start - frames.start, inside.stop - frames.start)
        if is_hnerv(row):
            from omnicodec.models.inr.hnerv import layout, render, row_size

            size = {"frames": len(group), "height": height, "width": width}
            quality = quality_of(row)
            values = row[HNERV_FRONT:][: row_size(layout(size, quality))]
            values = np.pad(values, (0, row_size(layout(size, quality)) - values.size))
            pixels[to] = render(values, size, quality, here, device)
        else:
            wanted = needed(len(group), here)
            group_frames = unpack(row, len(group), height, width, prior.sizes)
            drawn = renderer.group(group_frames, height, width, wanted)
            for k, index in enumerate(here):
                pixels[to.start + k] = drawn[index]
        shown[to] = True
    _fill(pixels, shown)


def _fill(pixels: NDArray[np.uint8], shown: NDArray[np.bool_]) -> None:
    """Show what is before frames that are not there, or behind them."""
    known = np.flatnonzero(shown)
    if not known.size or known.size == shown.size:
        return
    for index in np.flatnonzero(~shown):
        before = known[known < index]
        pixels[index] = pixels[before[-1] if before.size else known[0]]
