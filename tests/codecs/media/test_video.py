"""Video: frames, rate and sound come back; colours and turns are those that a player shows."""

from __future__ import annotations

import io
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from omnicodec.codecs import limits
from omnicodec.codecs.errors import InvalidInput, LimitExceeded, Unavailable
from omnicodec.codecs.media import Audio, Video
from omnicodec.codecs.media.colour import ToRGB

av = pytest.importorskip("av")

Pixels = NDArray[np.uint8]

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def clip(count: int = 5, height: int = 32, width: int = 48) -> Pixels:
    """Return frames of a smooth picture that moves; their corners differ."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    picture = (np.stack([x, y, (1 - x) * (1 - y)], 2) * 200).astype(np.uint8)
    return np.stack([picture + np.uint8(10 * i) for i in range(count)])


def video(frames: Pixels, fps: Any = 25, audio: Audio | None = None) -> Video:
    return Video(frames, fps, audio)


def tone(channels: int, rate: int, length: int = 6000) -> Audio:
    time = np.arange(length) / rate
    waves = [0.5 * np.sin(2 * np.pi * 200 * (c + 1) * time) for c in range(channels)]
    return Audio(np.array(waves, np.float32), rate)


def y4m(height: int, width: int, yuv: tuple[int, int, int], extra: str = "") -> bytes:
    """Return 3 frames of one colour as a YUV4MPEG2 file; sizes are even."""
    chroma = height * width // 4
    frame = bytes([yuv[0]]) * (4 * chroma) + bytes([yuv[1]]) * chroma + bytes([yuv[2]]) * chroma
    head = f"YUV4MPEG2 W{width} H{height} F30000:1001 C420jpeg{extra}\n".encode()
    return head + (b"FRAME\n" + frame) * 3


def difference(a: Pixels, b: Pixels) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


# Round trips.


@pytest.mark.parametrize("size", [(32, 48), (35, 47), (1, 1), (2, 6)])
@pytest.mark.parametrize("count", [1, 5])
def test_mkv_is_lossless(size: tuple[int, int], count: int) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)
    assert Video.open(video(frames).to_bytes(".mkv")) == video(frames)


@pytest.mark.parametrize("size", [(32, 48), (35, 48), (32, 47), (35, 47), (1, 1)])
def test_mp4_is_close_at_odd_sizes_too(size: tuple[int, int]) -> None:
    frames = clip(5, *size)
    assert difference(Video.open(video(frames).to_bytes(".mp4")).frames, frames) < 2


def test_mp4_is_the_default_and_says_what_its_colours_mean() -> None:
    data = video(clip()).to_bytes()
    with av.open(io.BytesIO(data)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frame = next(file.decode(stream))
        assert (frame.colorspace, frame.color_range) == (1, 1)  # BT.709, studio range


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    "fps",
    [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001), Fraction(120000, 1001),
     Fraction(25), Fraction(1, 3), Fraction(997, 7), Fraction(2997, 100), Fraction(5994, 100)],
    ids=str,
)  # fmt: skip
def test_rates_come_back_exactly(suffix: str, fps: Fraction) -> None:
    assert Video.open(video(clip(3), fps).to_bytes(suffix)).fps == fps


@pytest.mark.parametrize(("channels", "rate"), [(1, 44100), (2, 48000), (6, 48000), (9, 11111)])
def test_sound_in_mkv_is_exact(channels: int, rate: int) -> None:
    item = video(clip(), 25, tone(channels, rate, 70_000))
    assert Video.open(item.to_bytes(".mkv")) == item


@pytest.mark.parametrize(
    ("channels", "rate", "codec", "tolerance"),
    [(1, 44100, "aac", 0.02), (2, 48000, "aac", 0.02), (1, 8000, "aac", 0.02),
     (2, 11111, "flac", 1e-4), (6, 48000, "flac", 1e-4)],
)  # fmt: skip
def test_sound_in_mp4_is_close_and_in_time(
    channels: int, rate: int, codec: str, tolerance: float
) -> None:
    sound = tone(channels, rate)
    data = video(clip(), 25, sound).to_bytes(".mp4")
    with av.open(io.BytesIO(data)) as file:
        assert file.streams.audio[0].codec_context.name == codec
    back = Video.open(data)
    assert len(back.frames) == 5
    assert back.audio is not None
    assert back.audio.sample_rate == rate
    assert 6000 <= back.audio.samples.shape[1] < 6000 + 1024
    middle = slice(1000, 5000)
    error = back.audio.samples[:, middle] - sound.samples[:, middle]
    assert np.sqrt(np.mean(error**2)) < tolerance  # of waves of 0.35


def test_sound_of_no_samples_is_left_out() -> None:
    item = video(clip(), 25, Audio(np.zeros((1, 0), np.float32), 8000))
    assert Video.open(item.to_bytes(".mkv")) == video(clip())


# What a player shows.


@pytest.mark.parametrize("colour", [RED, GREEN, BLUE, WHITE, (0, 0, 0), (200, 100, 50)])
def test_colours_survive_mp4(colour: tuple[int, int, int]) -> None:
    frames = np.full((2, 32, 32, 3), colour, np.uint8)
    back = Video.open(video(frames).to_bytes(".mp4")).frames
    assert np.abs(back.astype(int) - frames).max() <= 4


@pytest.mark.parametrize(
    ("height", "yuv", "extra", "colour"),
    [
        (16, (81, 90, 240), "", RED),  # BT.601, which small files mean that do not say
        (720, (63, 102, 240), "", RED),  # BT.709, which large ones mean
        (16, (145, 54, 34), "", GREEN),
        (720, (173, 42, 26), "", GREEN),
        (16, (235, 128, 128), " XCOLORRANGE=LIMITED", WHITE),
        (16, (255, 128, 128), " XCOLORRANGE=FULL", WHITE),
        (16, (128, 128, 128), " XCOLORRANGE=FULL", (128, 128, 128)),
    ],
)
def test_matrix_and_range_of_the_frame_are_used(
    height: int, yuv: tuple[int, int, int], extra: str, colour: tuple[int, int, int]
) -> None:
    item = Video.open(y4m(height, 16, yuv, extra))
    assert item.frames.shape == (3, height, 16, 3)
    assert item.fps == Fraction(30000, 1001)
    assert np.abs(item.frames.astype(int) - colour).max() <= 2


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_video_is_shown_upright(quarters: int) -> None:
    def matrix(*rows: int) -> bytes:
        return b"".join(value.to_bytes(4, "big", signed=True) for value in rows)

    # The display matrices of the file format, for quarter turns clockwise.
    one = 1 << 16
    plain = matrix(one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    turned = {
        1: matrix(0, one, 0, -one, 0, 0, 0, 0, 1 << 30),
        2: matrix(-one, 0, 0, 0, -one, 0, 0, 0, 1 << 30),
        3: matrix(0, -one, 0, one, 0, 0, 0, 0, 1 << 30),
    }[quarters]
    data = video(clip()).to_bytes(".mp4")
    place = data.index(plain, data.index(b"tkhd"))
    back = Video.open(data[:place] + turned + data[place + 36 :])
    expected = np.rot90(clip(), -quarters, (1, 2))
    assert difference(back.frames, expected) < 2
    assert difference(Video.open(data).frames, clip()) < 2


def test_gif_frames_and_transparency_over_white() -> None:
    frames = [Pillow.new("RGBA", (8, 8), (*colour, 255)) for colour in (RED, GREEN)]
    frames[0].paste((0, 0, 0, 0), (0, 0, 4, 8))
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=100)
    back = Video.open(out.getvalue())
    assert back.frames[:, 0, 6].tolist() == [list(RED), list(GREEN)]
    assert back.frames[0, 0, 1].tolist() == list(WHITE)
    assert back.fps == 10


def encoded(kind: str, codec: str) -> bytes:
    """Return `clip()` at 25 frames a second in another container."""
    if codec not in av.codecs_available:
        pytest.skip(f"no {codec}")
    out = io.BytesIO()
    with av.open(out, "w", format=kind) as file:
        stream = file.add_stream(codec, 25)
        stream.width, stream.height = 48, 32
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for pixels in clip():
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        file.mux(stream.encode())
    return out.getvalue()


@pytest.mark.parametrize(("kind", "codec"), [("avi", "mjpeg"), ("webm", "libvpx-vp9")])
def test_other_containers_are_read(kind: str, codec: str) -> None:
    back = Video.open(encoded(kind, codec))
    assert back.fps == 25
    assert difference(back.frames, clip()) < 6


# Values.


@pytest.mark.parametrize(
    ("fps", "exact"),
    [(25, Fraction(25)), (0.5, Fraction(1, 2)), (29.97, Fraction(29.97)),
     (np.float64(24), Fraction(24)), (np.int32(24), Fraction(24))],
)  # fmt: skip
def test_fps_is_kept_exactly(fps: Any, exact: Fraction) -> None:
    item = video(clip(1), fps)
    assert type(item.fps) is Fraction
    assert item.fps == exact


@pytest.mark.parametrize("fps", [0, -25, float("nan"), float("inf"), None, "fast", 1j])
def test_fps_must_be_positive(fps: Any) -> None:
    with pytest.raises(InvalidInput, match="fps"):
        video(clip(1), fps)


@pytest.mark.parametrize("fps", [1e-9, 1e9])
def test_a_rate_that_no_file_can_state_is_refused_when_writing(fps: float) -> None:
    with pytest.raises(InvalidInput, match="frames a second"):
        video(clip(1), fps).to_bytes()


def test_equality_needs_frames_rate_and_sound() -> None:
    item = video(clip(), 25, tone(1, 8000))
    assert item == video(clip(), 25.0, tone(1, 8000))
    assert item != video(clip(), 24, tone(1, 8000))
    assert item != video(clip())
    assert item != video(clip(4), 25, tone(1, 8000))
    assert item.nbytes == 5 * 32 * 48 * 3 + 2 * 6000


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (1, 0, 4, 3), (1, 4, 0, 3)])
def test_an_empty_video_exists_but_has_no_file(shape: tuple[int, ...]) -> None:
    item = video(np.zeros(shape, np.uint8))
    assert item.nbytes == 0
    with pytest.raises(InvalidInput, match="0 pixels"):
        item.to_bytes()


@pytest.mark.parametrize("shape", [(4, 4, 3), (1, 4, 4, 4), (1, 4, 4)])
def test_frames_of_another_form_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="frames"):
        video(np.zeros(shape, np.uint8))


def test_audio_must_be_audio() -> None:
    with pytest.raises(InvalidInput, match="audio"):
        video(clip(), 25, np.zeros((1, 4), np.float32))  # type: ignore[arg-type]


# Refusals.


@pytest.mark.parametrize(
    "data",
    [
        b"hello, this is text",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"\x1aE\xdf\xa3",
        b"RIFF\x24\0\0\0AVI LIST",
        tone(1, 8000).to_bytes(".wav"),
        tone(1, 8000).to_bytes(".flac"),
    ],
    ids=["text", "hls", "concat", "matroska", "avi", "wav", "flac"],
)
def test_what_is_no_video_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        Video.open(data)


@pytest.mark.parametrize("kind", ["nut", "mpegts"])
def test_containers_outside_the_list_are_refused(kind: str) -> None:
    data = encoded(kind, "mpeg4")
    with av.open(io.BytesIO(data)) as file:
        assert next(file.decode(video=0)).width == 48  # it could be read
    with pytest.raises(InvalidInput):
        Video.open(data)


def test_a_file_with_sound_alone_is_refused() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("aac", 8000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(tone(1, 8000).samples, "fltp", "mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with pytest.raises(InvalidInput, match="no video"):
        Video.open(out.getvalue())


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_an_mp4_file_that_was_cut_off_is_refused(share: float) -> None:
    data = video(clip()).to_bytes(".mp4")  # its index is at the end
    with pytest.raises(InvalidInput):
        Video.open(data[: int(len(data) * share)])


def test_an_mkv_file_that_was_cut_off_gives_the_frames_before_the_cut() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (6, 32, 48, 3), np.uint8)
    data = video(frames).to_bytes(".mkv")
    back = Video.open(data[: len(data) // 2]).frames
    assert 0 < len(back) < 6
    assert np.array_equal(back, frames[: len(back)])


def test_the_size_in_the_header_is_checked_before_decoding() -> None:
    head = b"YUV4MPEG2 W12000 H12000 F25:1 C420jpeg\nFRAME\n"
    with pytest.raises(LimitExceeded):
        Video.open(head + bytes(1000))


def test_pixels_are_counted_while_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = y4m(16, 16, (128, 128, 128))
    monkeypatch.setattr(limits, "MAX_VIDEO_PIXELS", 3 * 256)
    assert len(Video.open(data).frames) == 3
    monkeypatch.setattr(limits, "MAX_VIDEO_PIXELS", 2 * 256 - 1)
    with pytest.raises(LimitExceeded):
        video(np.zeros((2, 16, 16, 3), np.uint8))
    kept: list[Pixels] = []
    convert = ToRGB.__call__

    def keep(self: ToRGB, frame: Any) -> Pixels:
        kept.append(convert(self, frame))
        return kept[-1]

    monkeypatch.setattr(ToRGB, "__call__", keep)
    monkeypatch.setattr(limits, "MAX_VIDEO_PIXELS", 256 - 1)
    with pytest.raises(LimitExceeded):
        Video.open(data)
    assert len(kept) < 3  # and not all three


def test_samples_are_counted_while_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = video(clip(), 25, tone(2, 8000)).to_bytes(".mkv")
    monkeypatch.setattr(limits, "MAX_SAMPLES", 12_000)
    assert Video.open(data).audio is not None
    monkeypatch.setattr(limits, "MAX_SAMPLES", 11_999)
    with pytest.raises(LimitExceeded):
        Video.open(data)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_damage_never_raises_anything_else(suffix: str) -> None:
    rng = np.random.default_rng(4)
    data = video(clip(3), 25, tone(1, 8000, 800)).to_bytes(suffix)
    refused = 0
    for _ in range(40):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 12):
            broken[place] = rng.integers(0, 256)
        try:
            Video.open(bytes(broken))
        except (InvalidInput, LimitExceeded):
            refused += 1
    assert refused > 0


def test_without_av_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    data = video(clip()).to_bytes()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(Unavailable, match=r'pip install "omnicodec\[video\]"'):
        Video.open(data)
    with pytest.raises(Unavailable):
        video(clip()).to_bytes()
