"""What an item of a request needs, told before anything of it is decoded: limits, and memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from omnicodec.codecs import CodecSpec, LimitExceeded
from omnicodec.service.opener import COST_OF_UNIT, Limits
from omnicodec.service.server.options import ServerOptions
from omnicodec.v1 import media_pb2

UNITS_OF_FILE_BYTE: Final = 2
"""What a byte of a file is taken for, until its header was read: few have more pixels or samples
a byte without being small."""

UNITS_OF_FILE: Final = 1 << 16
"""What a file is taken for at least: a picture of 256x256 pixels."""

_PIXEL: Final = 3  # bytes of RGB
_SAMPLE: Final = 4  # bytes of a float32


@dataclass(frozen=True)
class ItemLimits:
    """The limits of one item: see `ServerOptions`."""

    nbytes: int
    pixels: int
    seconds: float
    tokens: int
    cost: int

    @classmethod
    def of(cls, options: ServerOptions) -> ItemLimits:
        return cls(
            options.max_item_bytes,
            options.max_pixels,
            options.max_seconds,
            options.max_tokens,
            options.max_cost,
        )

    def of_media(self, cost: int) -> Limits:
        """Return what a file may become that was given so much memory."""
        return Limits(self.pixels, self.seconds, cost)

    def check_bytes(self, size: int) -> None:
        """Raise `LimitExceeded` for an item that comes as so many bytes, if they are too many."""
        _check(size, self.nbytes, "bytes an item")

    def check_tokens(self, grid: Sequence[int], numbers: int) -> None:
        """Raise `LimitExceeded` for too many tokens: so many numbers at each position of a grid."""
        _check(math.prod(grid) * numbers, self.tokens, "tokens an item")

    def check_media(self, message: media_pb2.Media, spec: CodecSpec, *, to_tokens: bool) -> int:
        """Return the bytes of memory that it takes to encode an item: of a file, about.

        With `to_tokens` its tokens would travel, and are limited too, as far as the codec tells
        how many there will be. Raises `LimitExceeded`. Raw media are measured by their bytes: what
        they say of themselves must agree with these before anything is allocated.
        """
        self.check_bytes(message.ByteSize())
        size: dict[str, float] = {}
        units = pixels = 0
        seconds = 0.0
        match message.WhichOneof("kind"):
            case "image":
                units = pixels = len(message.image.pixels) // _PIXEL
                size = {"height": message.image.height, "width": message.image.width}
            case "video":
                video = message.video
                pixels = len(video.frames) // _PIXEL
                seconds = video.count * video.fps_denominator / max(1, video.fps_numerator)
                units = pixels + len(video.audio.samples) // _SAMPLE
            case "audio":
                audio = message.audio
                units = len(audio.samples) // _SAMPLE
                seconds = units / max(1, audio.channels) / max(1, audio.sample_rate)
                size = {"seconds": seconds, "channels": audio.channels}
            case "series":
                units = len(message.series.values) // _SAMPLE
            case "text":
                units = len(message.text)
                size = {"bytes": units}
            case _:
                nbytes = len(message.file)
                if spec.modality == "text":
                    units, size = nbytes, {"bytes": nbytes}
                else:
                    units = max(UNITS_OF_FILE, UNITS_OF_FILE_BYTE * nbytes)
        Limits(self.pixels, self.seconds, self.cost).check(pixels=pixels, seconds=seconds)
        if to_tokens and spec.covers and set(spec.covers) == set(size):
            grid = [math.ceil(size[name] / one) for name, one in spec.covers.items()]
            if math.prod(size.values()) <= units:  # else it is not what it says
                self.check_tokens(grid, spec.per_position)
        return COST_OF_UNIT * units

    def check_extent(self, extent: Mapping[str, int]) -> None:
        """Raise `LimitExceeded` for media that tokens stand for, if they are too large."""
        pixels = extent.get("height", 0) * extent.get("width", 0) * extent.get("frames", 1)
        seconds = extent.get("samples", 0) / max(1, extent.get("rate", 1))
        Limits(self.pixels, self.seconds, self.cost).check(pixels=pixels, seconds=seconds)


def _check(value: int, most: int, what: str) -> None:
    if value > most:
        raise LimitExceeded(f"{value:,} is over the limit of {most:,} {what}")
