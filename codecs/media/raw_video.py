"""Frames as plain bytes, without any header: raw YUV, as cameras and test sequences have it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.limits import check_pixels
from omnicodec.codecs.media.colour import Colours, parse_colours

_Plane = tuple[int, int, int]
"""The binary logarithms of horizontal and vertical subsampling, and the bytes of a place."""


def _planar(across: int, down: int, size: int) -> tuple[_Plane, ...]:
    return (0, 0, size), (across, down, size), (across, down, size)


_LAYOUTS: Final[dict[str, tuple[_Plane, ...]]] = {
    f"yuv{name}p{depth}": _planar(across, down, 2 if depth else 1)
    for name, across, down in (("420", 1, 1), ("422", 1, 0), ("444", 0, 0))
    for depth in ("", "10le", "12le")
} | {
    "nv12": ((0, 0, 1), (1, 1, 2)),
    "gray": ((0, 0, 1),),
    "rgb24": ((0, 0, 3),),
    "bgr24": ((0, 0, 3),),
}

PIXEL_FORMATS: Final = tuple(_LAYOUTS)


@dataclass(frozen=True)
class RawVideo:
    """How frames lie in bytes: `format` is one of `PIXEL_FORMATS`, with FFmpeg's names.

    Raises `InvalidInput` for a format, size or rate that there is not, and `LimitExceeded`.
    """

    format: str
    width: int
    height: int
    fps: Fraction
    colours: Colours

    def __post_init__(self) -> None:
        if self.format not in _LAYOUTS:
            raise InvalidInput(
                f"unknown pixel format {self.format!r}; known: {', '.join(PIXEL_FORMATS)}"
            )
        if self.width < 1 or self.height < 1 or self.fps <= 0:
            raise InvalidInput(
                f"no video is {self.width}x{self.height} at {self.fps} frames a second"
            )
        check_pixels(self.height, self.width)

    @classmethod
    def parse(cls, text: str) -> RawVideo:
        """Return what "FORMAT:WxH:FPS" says, as in "yuv420p:640x360:25".

        Rates may be fractions, "30000/1001". Behind them may stand the matrix of the colours,
        601, 709 or 2020, and their range, tv or pc, as in "yuv420p:1920x1080:25:709:pc";
        without, it is 709 above 576 lines, else 601, and tv.
        """
        form, _, rest = text.partition(":")
        found = re.fullmatch(
            r"(\d{1,6})x(\d{1,6}):(\d{1,9}(?:\.\d{1,9}|/\d{1,9})?)((?::\w+)*)", rest
        )
        try:
            fps = Fraction(found[3]) if found else Fraction(0)
        except ZeroDivisionError:
            found = None
        if not found or not rest.isascii():
            raise InvalidInput(f"{text!r} is not FORMAT:WxH:FPS, as in yuv420p:640x360:25")
        width, height = int(found[1]), int(found[2])
        colours = parse_colours(found[4].split(":")[1:], height)
        return cls(form, width, height, fps, colours)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return sum(rows * row for rows, row in self._planes())

    def to_frame(self, av: Any, data: bytes) -> Any:
        """Return the PyAV frame in so many bytes."""
        frame = av.VideoFrame(self.width, self.height, self.format)
        at = 0
        for plane, (rows, row) in zip(frame.planes, self._planes(), strict=True):
            lines = np.zeros((rows, plane.line_size), np.uint8)
            lines[:, :row] = np.frombuffer(data, np.uint8, rows * row, at).reshape(rows, row)
            plane.update(lines.tobytes())
            at += rows * row
        if not frame.format.is_rgb:
            self.colours.of_frame(frame)
        return frame

    def to_bytes(self, frame: Any) -> bytes:
        """Return the bytes of a PyAV frame of this format and size."""
        parts: list[NDArray[np.uint8]] = []
        for plane, (rows, row) in zip(frame.planes, self._planes(), strict=True):
            lines = np.frombuffer(plane, np.uint8).reshape(rows, plane.line_size)
            parts.append(lines[:, :row].reshape(-1))
        return np.concatenate(parts).tobytes()

    def _planes(self) -> Sequence[tuple[int, int]]:
        """Return the rows of each plane, and the bytes of a row."""
        return [
            (-(-self.height >> down), -(-self.width >> across) * size)
            for across, down, size in _LAYOUTS[self.format]
        ]
