"""Video in pieces: the same frames and sound as the whole, in little memory; files that lie."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.media import Audio, Video
from omnicodec.codecs.media.video_writer import VideoWriter

av = pytest.importorskip("av")


def clip(count: int = 20, height: int = 18, width: int = 26) -> NDArray[np.uint8]:
    """Return frames of a moving picture; each begins with its own number."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack([x * 5, y * 7, x + y], 2) % 200
    frames = np.stack([picture + i for i in range(count)]).astype(np.uint8)
    frames[:, 0, 0] = np.arange(count)[:, None]
    return frames


def sound(length: int, rate: int = 8000, channels: int = 2) -> Audio:
    samples = np.random.default_rng(1).uniform(-1, 1, (channels, length)).astype(np.float32)
    return Audio(samples, rate)


def joined(pieces: Iterator[Video]) -> Video:
    found = list(pieces)
    sounds = [p.audio for p in found if p.audio is not None]
    audio = None
    if sounds:
        audio = Audio(np.concatenate([s.samples for s in sounds], 1), sounds[0].sample_rate)
    return Video(np.concatenate([p.frames for p in found]), found[0].fps, audio)


CLIP = Video(clip(), Fraction(25), sound(5000))
FILE = CLIP.to_bytes(".mkv")


@settings(max_examples=15)
@given(st.integers(1, 25), st.sampled_from([0, 1, 100, 5000, 6400, 9000]))
def test_pieces_are_the_whole(frames: int, samples: int) -> None:
    whole = Video(CLIP.frames, CLIP.fps, sound(samples))
    pieces = list(whole.pieces(frames))
    assert joined(iter(pieces)) == whole
    assert [len(p.frames) for p in pieces[:-1]] == [frames] * (len(pieces) - 1)
    for piece in pieces[:-1]:  # of sound, what is heard with them
        assert piece.audio is not None
        assert abs(piece.audio.samples.shape[1] - frames * 320) <= 1 or samples < 6400


@settings(max_examples=10)
@given(st.integers(1, 25))
def test_a_file_in_pieces_is_the_file(frames: int) -> None:
    with Video.stream(FILE, frames=frames) as film:
        assert (film.fps, film.height, film.width, film.length) == (25, 18, 26, 20)
        assert (film.sample_rate, film.channels, film.variable) == (8000, 2, False)
        assert joined(iter(film)) == CLIP == Video.open(FILE)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ".y4m"])
def test_pieces_written_are_the_whole_written(suffix: str) -> None:
    whole = CLIP.to_bytes(suffix)
    out = io.BytesIO()
    with VideoWriter(out, 25, 18, 26, suffix=suffix, sample_rate=8000, channels=2) as file:
        for piece in CLIP.pieces(7):
            file.write(piece)
        assert file.written == 20
    back = Video.open(out.getvalue())
    # Not equal: of one and the same film, x264 does not always make the same file, and may differ
    # by a level or two under load.
    assert np.abs(back.frames.astype(int) - Video.open(whole).frames).mean() < 3
    with Video.stream(whole) as film:
        assert (film.length, film.fps) == (20, 25)
        assert film.channels == (2 if suffix in (".mp4", ".webm") else 0)


def test_a_pipe_and_a_file_that_is_open_already(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_bytes(b"12345" + FILE)
    with open(tmp_path / "a.mkv", "rb") as file:
        file.seek(5)
        assert joined(iter(Video.stream(file))) == CLIP
    out, into = os.pipe()
    os.write(into, FILE[:60_000])
    os.close(into)
    with open(out, "rb") as pipe, Video.stream(pipe) as film:
        assert len(film.read(1)) == 1
    (tmp_path / "b.mkv").write_bytes(FILE)
    assert joined(iter(Video.stream(tmp_path / "b.mkv"))) == CLIP


def test_memory_does_not_grow_with_the_film(tmp_path: Path) -> None:
    path, frames = tmp_path / "long.mkv", clip(8, 120, 160)
    with VideoWriter(path, 25, 120, 160, sample_rate=8000, channels=1) as file:
        for _ in range(30):
            file.write(Video(frames, Fraction(25), sound(2560, channels=1)))
    tracemalloc.start()
    with Video.stream(path, frames=4) as film:
        count = sum(len(piece.frames) for piece in film)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 240
    assert peak < 40 * frames[0].nbytes  # of 240


def write(path: Path, pieces: list[Video]) -> None:
    with VideoWriter(path, 25, 18, 26) as file:
        for piece in pieces:
            file.write(piece)


def test_a_path_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    pieces = [CLIP, Video(clip(1, 20, 26), Fraction(25))]
    with pytest.raises(InvalidInput, match="cannot go on"):
        write(path, pieces)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InvalidInput, match="0 pixels"):
        write(path, [])
    assert list(tmp_path.iterdir()) == []


def test_sound_of_another_rate_is_refused() -> None:
    with (
        pytest.raises(InvalidInput, match="8000 Hz cannot go on"),
        VideoWriter(io.BytesIO(), 25, 18, 26, sample_rate=8000, channels=2) as file,
    ):
        file.write(Video(clip(1), Fraction(25), sound(10, 16_000)))


def test_a_pipe_gets_an_mp4_when_it_is_whole() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    out = Pipe()
    with VideoWriter(out, 25, 18, 26) as file:
        file.write(CLIP)
    assert len(Video.open(out.getvalue()).frames) == 20


# GIF and WebM.


def test_a_gif_of_few_colours_is_exact_and_another_reader_agrees() -> None:
    frames = np.zeros((3, 8, 12, 3), np.uint8)
    frames[0, :, :6], frames[1, :4], frames[2] = (255, 0, 0), (0, 255, 0), (10, 20, 30)
    data = Video(frames, Fraction(20)).to_bytes(".gif")
    assert Video.open(data) == Video(frames, Fraction(20))
    with Pillow.open(io.BytesIO(data)) as picture:
        assert (picture.n_frames, picture.info["duration"]) == (3, 50)  # type: ignore[attr-defined]
        for index in range(3):
            picture.seek(index)
            assert np.array_equal(np.array(picture.convert("RGB")), frames[index])


def test_a_gif_of_more_than_50_frames_a_second_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at most 50"):
        Video(clip(2), Fraction(60)).to_bytes(".gif")


def test_webm_has_vp9_and_opus() -> None:
    data = Video(clip(5), Fraction(25), sound(8000, 44_100, 1)).to_bytes(".webm")
    with av.open(io.BytesIO(data)) as file:
        assert file.streams.video[0].codec_context.name in ("vp9", "libvpx-vp9")
        assert file.streams.audio[0].codec_context.name == "opus"
    back = Video.open(data).audio
    assert back is not None
    assert (back.sample_rate, len(back.samples)) == (48_000, 1)
    assert abs(back.duration - 8000 / 44_100) < 0.03
    with pytest.raises(InvalidInput, match="9 channels"):
        Video(clip(2), Fraction(25), sound(100, channels=9)).to_bytes(".webm")


# Rates that vary, and files that are not whole.


def mp4(path: Path, times: list[int], options: dict[str, str] | None = None) -> bytes:
    """Return a film with a frame at each of these milliseconds, the last one for 40 ms."""
    with av.open(str(path), "w", format="mp4", options=options or {}) as file:
        stream = file.add_stream("libx264", 25, options={"g": "5", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 26, 18, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for pixels, time in zip(clip(len(times)), times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base, frame.duration = time, Fraction(1, 1000), 40
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path.read_bytes()


def test_a_rate_that_varies_becomes_its_mean_and_no_frame_is_lost(tmp_path: Path) -> None:
    times = np.cumsum([0, *[20] * 10, *[400] * 3, *[100] * 6]).tolist()
    data = mp4(tmp_path / "a.mp4", times)
    with Video.stream(data) as film:
        assert film.variable
        assert film.length == 20
        assert float(film.fps) == pytest.approx(20 / ((times[-1] + 40) / 1000), rel=1e-3)
    back = Video.open(data)
    assert len(back.frames) == 20
    assert np.abs(back.frames.astype(int) - clip()).mean() < 3
    with Video.stream(mp4(tmp_path / "b.mp4", list(range(0, 800, 40)))) as film:
        assert (film.variable, film.fps) == (False, 25)


@pytest.mark.parametrize("share", [0.4, 0.7, 0.9])
def test_an_mp4_that_was_cut_off_behind_its_index_is_refused(tmp_path: Path, share: float) -> None:
    data = mp4(tmp_path / "a.mp4", list(range(0, 1600, 40)), {"movflags": "faststart"})
    assert len(Video.open(data).frames) == 40
    with pytest.raises(InvalidInput):
        Video.open(data[: int(len(data) * share)])


def test_an_mp4_in_fragments_is_whole_between_them_and_refused_within(tmp_path: Path) -> None:
    data = mp4(
        tmp_path / "a.mp4", list(range(0, 1600, 40)), {"movflags": "frag_keyframe+empty_moov"}
    )
    ends, at = [], 0
    for kind, content in boxes(data):
        at += len(content) + 8
        if kind == b"mdat":
            ends.append(at)
    assert len(ends) == 8
    assert len(Video.open(data[: ends[3]]).frames) == 20
    with pytest.raises(InvalidInput, match="damaged"):
        Video.open(data[: ends[3] - 200])


def test_one_frame_and_none() -> None:
    one = Video(clip(1), Fraction(25))
    assert Video.open(one.to_bytes(".mkv")) == one
    assert joined(iter(Video.stream(one.to_bytes(".mkv")))) == one
    head = b"YUV4MPEG2 W16 H16 F25:1 C420jpeg\n"
    with pytest.raises(InvalidInput, match="no frames"):
        Video.open(head)


# Files that point elsewhere.


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return kind and content of the boxes of an MP4, or of one of its boxes."""
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, data[at + 8 : at + size]))
        at += size
    return found


def boxed(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


def referring(data: bytes, entry: bytes) -> bytes:
    """Return an MP4 whose samples are said to lie in another file."""
    out = b""
    for kind, content in boxes(data):
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
            content = referring(content, entry)
        elif kind == b"dref":
            content = struct.pack(">II", 0, 1) + entry
        out += boxed(kind, content)
    return out


def alias(path: bytes) -> bytes:
    """Return a data reference of QuickTime: the name, and the path as record 18."""
    name = os.path.basename(path)[:27]  # noqa: PTH119
    record = bytearray(150)
    record[4:6] = struct.pack(">H", 150 + 4 + len(path) + len(path) % 2 + 4)
    record[10], record[50] = 0, len(name)
    record[51 : 51 + len(name)] = name
    tail = struct.pack(">HH", 18, len(path)) + path + bytes(len(path) % 2)
    return boxed(b"alis", bytes(4) + bytes(record) + tail + struct.pack(">HH", 0xFFFF, 0))


def test_a_film_whose_frames_are_said_to_lie_elsewhere_gets_nothing_from_there(
    tmp_path: Path,
) -> None:
    own = mp4(tmp_path / "own.mp4", list(range(0, 400, 40)))
    other = tmp_path / "other.mp4"
    other.write_bytes(own)
    place = str(other).encode()
    hollow = b"".join(
        boxed(kind, bytes(len(content)) if kind == b"mdat" else content)
        for kind, content in boxes(own)
    )
    for entry in (alias(place), boxed(b"url ", bytes(4) + b"file://" + place + b"\0")):
        with pytest.raises(InvalidInput):  # its own frames are zeros
            Video.open(referring(hollow, entry))


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.ffconcat", "list.mkv"])
def test_playlists_are_not_followed_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.mkv").write_bytes(FILE)
    for text in (
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mkv\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile secret.mkv\n",
        "[playlist]\nFile1=secret.mkv\n",
        '<?xml version="1.0"?><MPD><BaseURL>secret.mkv</BaseURL></MPD>',
    ):
        (tmp_path / name).write_text(text)
        for opened in (lambda: Video.open(tmp_path / name), lambda: Video.stream(tmp_path / name)):
            with pytest.raises(InvalidInput):
                opened()


def test_what_is_wrong_with_a_file_is_said_plainly() -> None:
    out = io.BytesIO()
    CLIP.save(out, ".mp4")
    movie = out.getvalue()
    index = movie.index(b"moov")
    long = boxed(b"ftyp", b"isom") + struct.pack(">I4sQ", 1, b"mdat", 20) + b"more"
    for data, words in (
        (b"", "is empty"),
        (b"#EXTM3U\nsecret.mkv", "a list of other files"),
        (b"ffconcat version 1.0\nfile secret.mkv", "a list of other files"),
        (movie[: index - 4], "is cut off"),
        (movie[: index // 2], "is cut off"),
        (movie[:12], "is cut off"),
        (long, "is cut off"),
        (long + boxed(b"moov", b""), "MP4, MOV, MKV"),
        (b"some words", "MP4, MOV, MKV"),
    ):
        with pytest.raises(InvalidInput, match=words):
            Video.open(data)


def test_a_reference_movie_has_no_frames() -> None:
    target = boxed(b"rdrf", bytes(4) + b"url " + struct.pack(">I", 9) + b"film.mov\0")
    movie = boxed(b"ftyp", b"qt  \0\0\0\0qt  ") + boxed(
        b"moov", boxed(b"rmra", boxed(b"rmda", target))
    )
    with pytest.raises(InvalidInput):
        Video.open(movie)


def test_the_sound_of_a_file_is_read_beside_its_frames_wherever_it_lies(tmp_path: Path) -> None:
    """All sound before all frames, as some files have it."""
    out = tmp_path / "a.mkv"
    container: Any = {"max_interleave_delta": "0"}
    with av.open(str(out), "w", format="matroska", container_options=container) as file:
        video, audio = file.add_stream("ffv1", 25), file.add_stream("pcm_f32le", 8000)
        video.width, video.height, video.pix_fmt = 26, 18, "bgr0"
        audio.layout = "2 channels"
        assert CLIP.audio is not None
        block = CLIP.audio.samples.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "flt", "2 channels")
        frame.sample_rate, frame.pts, frame.time_base = 8000, 0, Fraction(1, 8000)
        file.mux(audio.encode(frame))
        for i, pixels in enumerate(CLIP.frames):
            picture = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="bgr0")
            picture.pts = i
            file.mux(video.encode(picture))
        file.mux(video.encode())
    assert joined(iter(Video.stream(out, frames=3))) == CLIP
