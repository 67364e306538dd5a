"""Colours of video, judged by an independent conversion after the standards' formulas."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.media import Video
from omnicodec.codecs.media.colour import Colours
from omnicodec.codecs.media.raw_video import RawVideo

av = pytest.importorskip("av")

BARS = [
    (255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0), (255, 0, 255), (255, 0, 0),
    (0, 0, 255), (0, 0, 0), (191, 64, 128), (128, 128, 128), (20, 200, 90), (3, 5, 1),
]  # fmt: skip

# Kr and Kb: ITU-R BT.601-7 2.5.1, BT.709-6 3.2, SMPTE 240M, BT.2020-2 table 4.
LUMA = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "240": (0.212, 0.087),
        "2020": (0.2627, 0.0593)}  # fmt: skip

SIDE = 16


def bars() -> NDArray[np.uint8]:
    """Return one frame of vertical colour bars, `(16, 192, 3)`."""
    return np.repeat(np.array(BARS, np.uint8)[None], SIDE, 1).repeat(SIDE, 0)


def quantized(
    rgb: NDArray[np.uint8], matrix: str, full: bool, depth: int
) -> tuple[NDArray[np.float64], ...]:
    """Return Y, Cb and Cr of 8-bit RGB as levels of `depth` bits, after H.273 8.3."""
    red, blue = LUMA[matrix]
    r, g, b = (rgb[..., c] / 255 for c in range(3))
    y = red * r + (1 - red - blue) * g + blue * b
    pb, pr = (b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))
    top, middle = (1 << depth) - 1, 1 << (depth - 1)
    if full:
        parts = top * y, top * pb + middle, top * pr + middle
    else:
        step = 1 << (depth - 8)
        parts = step * (219 * y + 16), step * (224 * pb + 128), step * (224 * pr + 128)
    return tuple(np.clip(np.floor(part + 0.5), 0, top) for part in parts)


def restored(
    parts: tuple[NDArray[np.float64], ...], matrix: str, full: bool, depth: int
) -> NDArray[np.float64]:
    """Return the RGB, 0 to 255 and not rounded, of such levels."""
    red, blue = LUMA[matrix]
    top, middle = (1 << depth) - 1, 1 << (depth - 1)
    y, cb, cr = parts
    if full:
        y, pb, pr = y / top, (cb - middle) / top, (cr - middle) / top
    else:
        step = 1 << (depth - 8)
        y = (y / step - 16) / 219
        pb, pr = (cb / step - 128) / 224, (cr / step - 128) / 224
    r, b = y + 2 * (1 - red) * pr, y + 2 * (1 - blue) * pb
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.clip(255 * np.stack([r, g, b], -1), 0, 255)


def raw_bytes(parts: tuple[NDArray[np.float64], ...], depth: int, halved: bool) -> bytes:
    kind = np.dtype("u1" if depth == 8 else "<u2")
    y, *chroma = (part.astype(kind) for part in parts)
    step = 2 if halved else 1
    return b"".join(a.tobytes() for a in (y, *(c[::step, ::step] for c in chroma)))


@pytest.mark.parametrize("matrix", LUMA)
@pytest.mark.parametrize("scale", ["tv", "pc"])
@pytest.mark.parametrize(("layout", "depth"), [
    ("yuv420p", 8), ("yuv444p", 8), ("yuv420p10le", 10), ("yuv444p10le", 10), ("yuv420p12le", 12),
])  # fmt: skip
def test_bars_of_each_matrix_range_and_depth_are_rounded_right(
    matrix: str, scale: str, layout: str, depth: int
) -> None:
    parts = quantized(bars(), matrix, scale == "pc", depth)
    exact = restored(parts, matrix, scale == "pc", depth)
    raw = RawVideo(layout, SIDE * len(BARS), SIDE, 25, Colours(matrix, scale))
    video = Video.from_raw(raw_bytes(parts, depth, "420" in layout), raw)
    middles = video.frames[0, :, SIDE // 2 :: SIDE].astype(float)
    error = middles - exact[:, SIDE // 2 :: SIDE]
    assert np.abs(error).max() < 0.55  # to the nearest level, but for ties
    assert np.abs(error.mean()) < 0.15  # and neither up nor down on the whole


@pytest.mark.parametrize("matrix", LUMA)
@pytest.mark.parametrize("scale", ["tv", "pc"])
def test_a_film_that_says_its_colours_is_shown_so(matrix: str, scale: str) -> None:
    """What stands in the H.264 stream decides, at a size that would mean BT.601."""
    parts = quantized(bars(), matrix, scale == "pc", 8)
    raw = RawVideo("yuv444p", SIDE * len(BARS), SIDE, 25, Colours(matrix, scale))
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("libx264", 25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = raw.width, raw.height, "yuv444p"
        raw.colours.of_stream(stream.codec_context)
        frame = raw.to_frame(av, raw_bytes(parts, 8, False))
        frame.pts = 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    back = Video.open(out.getvalue()).frames[0]
    assert np.abs(back - restored(parts, matrix, scale == "pc", 8)).max() < 0.55


@pytest.mark.parametrize(("suffix", "worst"), [(".mp4", 3), (".webm", 3), (".y4m", 2), (".mkv", 0)])
@pytest.mark.parametrize("height", [SIDE, 592])
def test_no_file_shifts_colours(suffix: str, worst: int, height: int) -> None:
    """Below and above the 576 lines that decide where a file says nothing."""
    frames = np.repeat(bars()[None, :1], height, 1).repeat(2, 0)
    back = Video.open(Video(frames, 25).to_bytes(suffix)).frames  # type: ignore[arg-type]
    middles = slice(SIDE // 2, None, SIDE)
    error = back[:, :, middles].astype(int) - frames[:, :, middles]
    assert np.abs(error).max() <= worst
    assert np.abs(error.mean((0, 1, 2))).max() <= 0.75


def read_levels(data: bytes, layout: str) -> list[NDArray[Any]]:
    with av.open(io.BytesIO(data)) as file:
        frame = next(file.decode(video=0))
    assert frame.format.name == layout
    return [
        np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width]
        for p in frame.planes
    ]


def test_the_levels_of_a_written_y4m_are_those_of_the_standard() -> None:
    data = Video(bars()[None], 25).to_bytes(".y4m")  # type: ignore[arg-type]
    expected = quantized(bars(), "601", False, 8)
    for plane, levels in zip(read_levels(data, "yuv444p"), expected, strict=True):
        assert np.abs(plane[:, 8::16] - levels[:, 8::16]).max() <= 1


def test_a_frame_that_names_no_matrix_is_taken_as_players_do() -> None:
    assert Colours.unstated(576) == Colours("601", "tv")
    assert Colours.unstated(720) == Colours("709", "tv")
    with pytest.raises(InvalidInput, match="colours"):
        Colours("470")
