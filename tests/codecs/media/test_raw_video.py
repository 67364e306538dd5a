"""Raw video: frames without a header, of every layout, and what is not whole."""

from __future__ import annotations

import io
import os
import threading
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs.errors import InvalidInput, LimitExceeded
from omnicodec.codecs.media import Video
from omnicodec.codecs.media.colour import Colours
from omnicodec.codecs.media.raw_video import PIXEL_FORMATS, RawVideo
from omnicodec.codecs.media.video_writer import VideoWriter

av = pytest.importorskip("av")


@given(
    st.sampled_from(PIXEL_FORMATS),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_bytes_of_a_frame_come_back(layout: str, width: int, height: int) -> None:
    raw = RawVideo(layout, width, height, Fraction(25), Colours("601"))
    data = np.random.default_rng(width).integers(0, 256, raw.frame_bytes, np.uint8).tobytes()
    frame = raw.to_frame(av, data)
    assert (frame.width, frame.height, frame.format.name) == (width, height, layout)
    assert raw.to_bytes(frame) == data


@pytest.mark.parametrize(
    ("text", "layout", "size", "fps", "colours"),
    [
        ("yuv420p:640x360:25", "yuv420p", (640, 360), 25, Colours("601")),
        ("yuv420p10le:1920x1080:30000/1001", "yuv420p10le", (1920, 1080),
         Fraction(30000, 1001), Colours("709")),
        ("nv12:7x5:29.97", "nv12", (7, 5), Fraction(2997, 100), Colours("601")),
        ("yuv444p:1280x720:50:2020:pc", "yuv444p", (1280, 720), 50, Colours("2020", "pc")),
        ("yuv420p:1280x720:50:pc", "yuv420p", (1280, 720), 50, Colours("709", "pc")),
    ],
)  # fmt: skip
def test_parsed(
    text: str, layout: str, size: tuple[int, int], fps: Fraction, colours: Colours
) -> None:
    assert RawVideo.parse(text) == RawVideo(layout, *size, Fraction(fps), colours)


@pytest.mark.parametrize(
    "text",
    ["", "yuv420p", "yuv420p:640x360", "yuv420p:640x360:0", "yuv420p:0x360:25", "pal8:4x4:25",
     "yuv420p:640x360:25/0", "yuv420p:640x-360:25", "yuv420p:640x360:25:470", "yuv420p:6x4:1e3",
     "yuv420p:٣x٤:25"],
)  # fmt: skip
def test_what_is_no_raw_video_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        RawVideo.parse(text)


def test_a_size_over_the_limit_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        RawVideo.parse("yuv420p:999999x999999:25")


def test_a_grey_film_comes_back_exactly() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 1), np.uint8).repeat(3, 3)
    raw = RawVideo.parse("rgb24:7x5:24")
    video = Video.from_raw(frames.tobytes(), raw)
    assert (video.fps, video.audio) == (24, None)
    assert np.array_equal(video.frames, frames)


@pytest.mark.parametrize("layout", ["yuv420p", "yuv444p10le", "nv12", "rgb24", "gray"])
def test_written_in_pieces_and_read_again(layout: str) -> None:
    y, x = np.mgrid[0:24, 0:32]
    picture = np.stack([x * 4, y * 5, 90 + 0 * x] if layout != "gray" else [x * 4] * 3, 2)
    frames = np.stack([picture + i for i in range(5)]).astype(np.uint8)
    out = io.BytesIO()
    with VideoWriter(out, 25, 24, 32, raw=layout) as file:
        for piece in Video(frames, Fraction(25)).pieces(2):
            file.write(piece)
    raw = RawVideo.parse(f"{layout}:32x24:25")
    assert len(out.getvalue()) == 5 * raw.frame_bytes
    back = Video.from_raw(out.getvalue(), raw).frames
    assert np.abs(back.astype(int) - frames).mean() < 1.5


def test_half_a_frame_is_an_error_that_says_where() -> None:
    raw = RawVideo.parse("yuv420p:8x8:25")
    with pytest.raises(InvalidInput, match=r"frame 2.*yuv420p of 8x8"):
        Video.from_raw(bytes(2 * raw.frame_bytes + 1), raw)
    with pytest.raises(InvalidInput, match="no frames"):
        Video.from_raw(b"", raw)


def test_frames_come_out_of_a_pipe_while_others_still_go_in() -> None:
    raw = RawVideo.parse("gray:4x4:25")
    out, into = os.pipe()
    seen = threading.Semaphore(0)

    def speak() -> None:
        with open(into, "wb", buffering=0) as pipe:
            for level in range(6):
                pipe.write(bytes([level]) * raw.frame_bytes)
                if level > 1:  # the reader is one frame ahead
                    assert seen.acquire(timeout=20)

    speaker = threading.Thread(target=speak)
    speaker.start()
    levels = []
    with open(out, "rb", buffering=0) as pipe, Video.stream(pipe, frames=1, raw=raw) as film:
        assert film.length is None
        for piece in film:
            levels.append(len(piece.frames))
            seen.release()
    speaker.join()
    assert levels == [1] * 6
