"""HNeRV on one clip: what it gives in some minutes, and what `video/inr` needs for the same."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final
from unittest.mock import patch

from benches import _points

from omnicodec.codecs import Progress, Video, Work
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.stream import write_tokens
from omnicodec.codecs.video._inr_fit import HNERV_EPOCHS
from omnicodec.models.inr.hnerv import HnervFit
from omnicodec.service.evaluate.figures import Item
from omnicodec.service.evaluate.modality import Modality

TRIED: Final = (0.03, 20.0)
"""How long steps are timed: a share of all the time, at most so many seconds."""

SPARE: Final = 0.97
"""The share of the time that is planned for, so that the schedule ends before the time does."""

FARTHER: Final = 20
"""How far to the next quality, where those measured do not reach HNeRV's PSNR."""


@dataclass
class _Watch:
    """Ends a fit when its time is up."""

    seconds: float
    say: _points.Say
    steps: int = 0
    _began: float = field(default_factory=time.perf_counter)
    _told: float = -math.inf

    def listen(self, progress: Progress) -> None:
        self.steps = progress.step
        if self.taken - self._told > 30:
            self._told = self.taken
            self.say(f"HNeRV: {progress.share:.0%}, {progress.psnr:.2f} dB")

    def enough(self, _: Progress) -> bool:
        return self.taken > self.seconds

    @property
    def taken(self) -> float:
        return time.perf_counter() - self._began


def hnerv(
    codec: AnyCodec,
    kind: Modality,
    name: str,
    video: Video,
    *,
    quality: int,
    minutes: float,
    device: str,
    ways: tuple[int, int],
    say: _points.Say,
) -> dict[str, Any]:
    """Return parameters, epochs, rate and quality of a network fitted for so many minutes.

    As many epochs are planned as the time is enough for, so that the learning rate is down to 0
    at the end. Should steps get slower meanwhile, the fit ends early; both numbers are stated.
    """
    seconds = 60 * minutes
    with _points.threads(ways[0]):
        parameters, step = _seconds_a_step(video, quality, device, seconds)
    count = len(video.frames)
    epoch = step * HnervFit.steps_of(count, 100) / 100  # of an odd number, half a step less
    epochs = max(1, int(SPARE * seconds / epoch))
    say(f"HNeRV: {parameters:,} parameters, {1000 * step:.0f} ms a step, {epochs} epochs")
    watch = _Watch(seconds, say)

    def encode() -> bytes:
        work = Work(listen=watch.listen, enough=watch.enough)
        # The codec has three numbers of epochs; here it is the time that says how many.
        with _points.threads(ways[0]), patch.dict(HNERV_EPOCHS, {"fast": epochs}):
            (tokens,) = codec.encode(
                [video], quality=quality, effort="fast", method="hnerv", work=work
            )
            return write_tokens(tokens, codec, quality=quality)

    item = _points.measured(
        kind, name, video, encode, lambda data: _points.decoded(codec, data, ways[1])
    )
    return {
        "clip": name,
        "size": item.size,
        "quality": quality,
        "minutes": minutes,
        "device": device,
        "parameters": parameters,
        "epochs": epochs * watch.steps / HnervFit.steps_of(count, epochs),
        "epochs_planned": epochs,
        "bytes": item.file_bytes,
        "rate": item.rate,
        **item.quality,
        "encode_seconds": item.seconds.compress,
        "decode_seconds": item.seconds.decompress,
    }


def same_psnr(
    measure: Callable[[int], Item], points: dict[int, Item], psnr: float
) -> dict[str, Any]:
    """Return the bytes and seconds that `video/inr` needs for a PSNR, between two qualities.

    Bytes are interpolated by their logarithm, seconds as they are, both over PSNR. `points` are
    what there is by quality; others are measured while they do not reach the PSNR. Where no
    quality does, the nearest one is returned with the PSNR that it has.
    """
    points = dict(points)
    while _psnr(points[low := min(points)]) > psnr and low > 0:
        points[max(0, low - FARTHER)] = measure(max(0, low - FARTHER))
    while _psnr(points[high := max(points)]) < psnr and high < 100:
        points[min(100, high + FARTHER)] = measure(min(100, high + FARTHER))
    for (low, below), (high, above) in pairwise(sorted(points.items())):
        if _psnr(below) <= psnr <= _psnr(above):
            width = _psnr(above) - _psnr(below)
            return _between([low, high], below, above, (psnr - _psnr(below)) / (width or 1.0))
    nearest = min(points, key=lambda quality: abs(_psnr(points[quality]) - psnr))
    return _between([nearest], points[nearest], points[nearest], 0.0)


def _between(qualities: list[int], below: Item, above: Item, share: float) -> dict[str, Any]:
    size = below.file_bytes ** (1 - share) * above.file_bytes**share
    first, second = below.seconds, above.seconds
    return {
        "qualities": qualities,
        "psnr": (1 - share) * _psnr(below) + share * _psnr(above),
        "bytes": round(size),
        "rate": 8 * size / below.units,
        "encode_seconds": (1 - share) * first.compress + share * second.compress,
        "decode_seconds": (1 - share) * first.decompress + share * second.decompress,
    }


def _seconds_a_step(video: Video, quality: int, device: str, seconds: float) -> tuple[int, float]:
    """Return a network's parameters, and how long a step takes: of some that are thrown away."""
    share, most = TRIED
    fit = HnervFit(video.frames, quality, 1 << 30, device=device)
    for _ in range(2):  # the first ones allocate
        fit.step()
    fit.preview()  # waits for the device
    began, first = time.perf_counter(), fit.done
    while fit.done == first or time.perf_counter() - began < min(share * seconds, most):
        fit.step()
    fit.preview()
    return fit.shape.parameters, (time.perf_counter() - began) / (fit.done - first)


def _psnr(item: Item) -> float:
    value = item.quality["psnr"]
    assert value is not None
    return value
