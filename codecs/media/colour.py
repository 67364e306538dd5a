"""Colours of video frames: YCbCr of any matrix, range and depth to 8-bit RGB, and back.

Matrices are those of ITU-R BT.601, BT.709, SMPTE 240M and BT.2020 (non-constant luminance),
ranges "tv" (black at 16, white at 235) and "pc" (0 to 255). Transfer functions and primaries
stay as they are: the numbers of a film for HDR screens are not made for others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput

Pixels = NDArray[np.uint8]

# FFmpeg's numbers for a frame's matrix, which are those of ITU-T H.273.
_RGB: Final = 0
_UNSTATED: Final = (2, 3)
_CONSTANT_2020: Final = 10
_MATRICES: Final = {"709": 1, "601": 6, "240": 7, "2020": 9}
_ALIKE: Final = {5: 6, _CONSTANT_2020: 9}
"""BT.470 is BT.601; of constant luminance nothing is to be seen in most frames."""

_WEIGHTS: Final = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
"""What red and blue weigh in luma."""

_RANGES: Final = {"tv": 1, "pc": 2}

# FFmpeg's SWS_BICUBIC, _ACCURATE_RND, _FULL_CHR_H_INT and _FULL_CHR_H_INP: right to the last
# level, where the fast defaults are 2 levels off.
_SCALER: Final = 0x4 | 0x40000 | 0x2000 | 0x4000
_LARGEST_SD: Final = 576  # lines


@dataclass(frozen=True)
class Colours:
    """What the numbers of frames mean: `matrix` "601", "709", "240", "2020", `range` "tv", "pc"."""

    matrix: str
    range: str = "tv"

    def __post_init__(self) -> None:
        if self.matrix not in _MATRICES or self.range not in _RANGES:
            raise InvalidInput(f"there are no colours {self.matrix!r}, {self.range!r}")

    @classmethod
    def unstated(cls, height: int) -> Colours:
        """Return what players take frames for that say nothing."""
        return cls("709" if height > _LARGEST_SD else "601")

    def of_stream(self, context: Any) -> None:
        """Have a stream that is written say what its colours are."""
        context.colorspace = context.color_primaries = context.color_trc = _MATRICES[self.matrix]
        context.color_range = _RANGES[self.range]

    def of_frame(self, frame: Any) -> None:
        """Have a frame say what its colours are."""
        frame.colorspace, frame.color_range = _MATRICES[self.matrix], _RANGES[self.range]


class ToRGB:
    """Makes `(H, W, 3)` pixels of frames, upright, by each frame's own matrix and range."""

    def __init__(self, av: Any) -> None:
        self._av = av
        self._convert = av.video.reformatter.VideoReformatter().reformat

    def __call__(self, frame: Any) -> Pixels:
        """Return the pixels of one frame; raises what PyAV raises for a format it cannot read."""
        form, full = frame.format, frame.color_range == _RANGES["pc"]
        wide = not form.is_rgb and max((c.bits for c in form.components), default=8) > 8
        if full and wide and len(form.components) == 3:
            pixels = self._wide(frame)
        else:
            matrix = self._matrix(frame)
            # PyAV before 17 heeds the matrix only beside another one, which means nothing for RGB.
            rgb = self._convert(
                frame,
                format="rgb24",
                src_colorspace=None if matrix == _RGB else _SCALER_MATRICES.get(matrix, matrix),
                dst_colorspace="ITU601",
                interpolation=_SCALER,
            )
            pixels = rgb.to_ndarray()
        return np.rot90(pixels, round(frame.rotation / 90))

    def _matrix(self, frame: Any) -> int:
        stated = int(frame.colorspace)
        if stated in _UNSTATED:
            return _MATRICES[Colours.unstated(frame.height).matrix]
        return _ALIKE.get(stated, stated)

    def _wide(self, frame: Any) -> Pixels:
        """Return the pixels of a frame of full range and more than 8 bits.

        libswscale takes their white for 1024 in 1024, not 1023, and is a level off.
        """
        matrix = self._matrix(frame)
        if matrix not in _WEIGHTS:
            raise InvalidInput(f"colour matrix {matrix} is not known")
        red, blue = _WEIGHTS[matrix]
        bits = max(c.bits for c in frame.format.components)
        planes = self._convert(frame, format=f"yuv444p{bits}le", interpolation=_SCALER)
        y, u, v = (_samples(plane) for plane in planes.planes)
        white, middle = np.float32((1 << bits) - 1), np.float32(1 << (bits - 1))
        y, u, v = y / white, (u - middle) / white, (v - middle) / white
        r = y + np.float32(2 * (1 - red)) * v
        b = y + np.float32(2 * (1 - blue)) * u
        g = (y - np.float32(red) * r - np.float32(blue) * b) / np.float32(1 - red - blue)
        levels = np.stack([r, g, b], 2) * np.float32(255)
        return levels.round().clip(0, 255).astype(np.uint8)


class FromRGB:
    """Makes frames of a format out of `(H, W, 3)` pixels."""

    def __init__(self, av: Any, layout: str, colours: Colours | None) -> None:
        """`colours` are None for layouts of RGB."""
        self._av, self._layout, self._colours = av, layout, colours
        self._convert = av.video.reformatter.VideoReformatter().reformat

    def __call__(self, pixels: Pixels) -> Any:
        """Return the frame of these pixels, which says what its colours are."""
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
        if self._colours is None:
            return self._convert(frame, format=self._layout, interpolation=_SCALER)
        matrix = _MATRICES[self._colours.matrix]
        made = self._convert(
            frame,
            format=self._layout,
            dst_colorspace=_SCALER_MATRICES.get(matrix, matrix),
            dst_color_range=_RANGES[self._colours.range],
            interpolation=_SCALER,
        )
        self._colours.of_frame(made)
        return made


_SCALER_MATRICES: Final = {6: 5}
"""libswscale calls BT.601 5, whichever of its two numbers the frame has."""


def _samples(plane: Any) -> NDArray[np.float32]:
    rows = np.frombuffer(plane, "<u2").reshape(plane.height, -1)
    return rows[:, : plane.width].astype(np.float32)


def parse_colours(words: list[str], height: int) -> Colours:
    """Return what words such as "709" and "pc" say, and the usual where they say nothing."""
    colours = Colours.unstated(height)
    for word in words:
        if word in _MATRICES:
            colours = replace(colours, matrix=word)
        elif word in _RANGES:
            colours = replace(colours, range=word)
        else:
            known = ", ".join([*_MATRICES, *_RANGES])
            raise InvalidInput(f"unknown colours {word!r}; known: {known}")
    return colours
