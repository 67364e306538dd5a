"""Video on the command line: films with sound, raw frames, and what info says of both."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Audio, Video, load
from omnicodec.codecs.media.raw_video import RawVideo
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.stream import frames

pytest.importorskip("av")

Cli = Callable[..., Any]

load("audio/rvq", device="cpu")  # here, so that it is known behind each test as well


@pytest.fixture
def film(folder: Path) -> Video:
    """Return a film that lies in film.mkv, grey, of 6 frames of 8x6, with sound."""
    grey = np.random.default_rng(0).integers(0, 256, (6, 6, 8, 1), np.uint8).repeat(3, 3)
    sound = 0.1 * np.sin(np.arange(2000) / 20).astype(np.float32)[None]
    video = Video(grey, Fraction(25), Audio(sound, 8000))
    video.save(folder / "film.mkv")
    return video


def test_a_film_goes_and_comes_back_with_its_sound(cli: Cli, film: Video, film_codec: str) -> None:
    assert cli("compress", "film.mkv", "-c", film_codec).code == 0
    assert cli("decompress", "film.mkv.omc", "-o", "back.mkv").code == 0
    back = Video.open("back.mkv")
    assert np.array_equal(back.frames, film.frames)
    assert back.audio is not None
    assert back.audio.samples.shape == (1, 2000)
    facts = json.loads(cli("info", "film.mkv.omc", "--json").out)
    assert (facts["codec"], facts["damage"]) == (film_codec, None)
    assert facts["sound"]["codec"] == "audio/rvq"
    assert facts["sound"]["extent"] == {"samples": 2000, "rate": 8000, "channels": 1}
    assert facts["bytes"] == Path("film.mkv.omc").stat().st_size
    assert 0 < facts["sound"]["bytes"] < facts["bytes"]
    text = cli("info", "film.mkv.omc").out.decode()
    assert "\nsound codec        audio/rvq\n" in text
    assert "None" not in text
    assert cli("verify", "film.mkv.omc").code == 0


def test_sound_that_was_lost_is_said_so(cli: Cli, film: Video, film_codec: str) -> None:
    cli("compress", "film.mkv", "-c", film_codec)
    stream = bytearray(Path("film.mkv.omc").read_bytes())
    at = stream.rindex(frames.SOUND_SYNC)
    stream[at + 10] ^= 1
    Path("film.mkv.omc").write_bytes(stream)
    assert cli("verify", "film.mkv.omc").code == 4
    assert cli("decompress", "film.mkv.omc", "-o", "back.mkv").code == 4
    done = cli("decompress", "film.mkv.omc", "-o", "back.mkv", "--partial")
    assert done.code == 0
    assert "missing of its sound: all of it" in done.err
    assert Video.open("back.mkv") == Video(film.frames, film.fps)
    facts = json.loads(cli("info", "film.mkv.omc", "--json").out)
    assert facts["damage"] is not None
    assert (facts["sound"]["chunks"], facts["sound"]["whole_chunks"]) == (1, 0)


@pytest.mark.usefixtures("film")
def test_raw_frames_go_in_and_come_out(cli: Cli, film_codec: str) -> None:
    raw = RawVideo.parse("gray:8x6:25")
    data = np.random.default_rng(1).integers(16, 236, 4 * raw.frame_bytes, np.uint8).tobytes()
    Path("film.yuv").write_bytes(data)
    assert cli("compress", "film.yuv", "--raw", "gray:8x6:25:pc", "-c", film_codec).code == 0
    assert cli("decompress", "film.yuv.omc", "-o", "b.yuv", "--raw", "rgb24").code == 0
    back = np.frombuffer(Path("b.yuv").read_bytes(), np.uint8).reshape(4, 6, 8, 3)
    assert (back == back[..., :1]).all()
    assert np.corrcoef(back[..., 0].reshape(-1), np.frombuffer(data, np.uint8))[0, 1] > 0.999
    assert cli("encode", "film.yuv", "--raw", "gray:8x6:25", "-c", film_codec).code == 0


@pytest.mark.usefixtures("film")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--raw", "yuv420p"), 2, "FORMAT:WxH:FPS"),
        (("--raw", "yuv411p:8x6:25"), 2, "unknown pixel format"),
        (("--raw", "gray:5x5:25"), 3, "raw video ends within frame"),
        (("--raw", "gray:8x6:25", "-c", "text/bytes"), 2, "--raw is for codecs of video"),
    ],
)
def test_raw_frames_that_are_none(
    cli: Cli, film_codec: str, arguments: tuple[str, ...], code: int, words: str
) -> None:
    Path("film.yuv").write_bytes(bytes(4 * 48))
    codec = () if "-c" in arguments else ("-c", film_codec)
    done = cli("compress", "film.yuv", *arguments, *codec)
    assert (done.code, words in done.err) == (code, True)


@pytest.mark.usefixtures("folder")
def test_raw_is_for_video_alone(cli: Cli) -> None:
    assert cli("compress", "notes.txt").code == 0
    done = cli("decompress", "notes.txt.omc", "-o", "x", "--raw", "yuv420p")
    assert (done.code, "this is a stream of text/bytes" in done.err) == (2, True)
    assert cli("decompress", "notes.txt.omc", "-o", "x", "--raw", "yuv").code == 2


def test_codecs_of_video_are_registered_as_others(film_codec: str) -> None:
    codec: AnyCodec = load(film_codec)
    assert codec.spec.modality == "video"


@pytest.mark.usefixtures("film")
def test_what_became_of_a_film_is_said_as_people_speak_of_films(cli: Cli, film_codec: str) -> None:
    done = cli("compress", "film.mkv", "-c", film_codec, "--json", "-o", "a.omc")
    (facts,) = json.loads(done.out)["files"]
    assert (facts["frames"], facts["seconds"]) == (6, 0.24)
    assert facts["kbps"] == pytest.approx(facts["bytes"] * 8 / 240)
    done = cli("compress", "film.mkv", "-c", film_codec)
    assert f", 6 frames, {facts['kbps']:.2f} kbps" in done.err


def test_pictures_that_move_are_said_to_be_taken_once(
    cli: Cli, film: Video, film_codec: str, blocks: tuple[str, str]
) -> None:
    film.save("moves.gif")
    Video(film.frames[:1], film.fps).save("still.gif")
    done = cli("compress", "moves.gif", "-c", blocks[0])
    assert (done.code, done.lines[0]) == (
        0,
        "moves.gif: the first of 6 pictures; -c video/inr takes all",
    )
    assert len(cli("compress", "still.gif", "-c", blocks[0]).lines) == 1
    done = cli("compress", "moves.gif", "-c", film_codec, "-o", "all.omc")
    assert (done.code, len(done.lines)) == (0, 1)
    assert ", 6 frames, " in done.err


# Some frames of it.


def test_some_frames(cli: Cli, film: Video, film_codec: str) -> None:
    cli("compress", "film.mkv", "-c", film_codec)
    for text, start, stop, words in (
        ("1:3", 1, 3, "frames 1 to 2"),
        (":2", 0, 2, "frames 0 to 1"),
        ("-2:", 4, 6, "frames 4 to 5"),
        ("4:99", 4, 6, "frames 4 to 5"),
        ("-1", 5, 6, "frame 5"),
        ("0", 0, 1, "frame 0"),
        (":", 0, 6, "frames 0 to 5"),
    ):
        done = cli("decompress", "film.mkv.omc", "--frames", text, "-o", "part.mkv", "-f")
        assert done.code == 0, done.err
        assert f"part.mkv: {words}, " in done.err
        part = Video.open("part.mkv")
        assert np.array_equal(part.frames, film.frames[start:stop])
        assert part.audio is not None
        assert part.audio.samples.shape[1] == pytest.approx(320 * (stop - start), abs=80)
    done = cli("decompress", "film.mkv.omc", "--frames", "1:3", "-o", "p.yuv", "--raw", "rgb24")
    assert Path("p.yuv").read_bytes() == film.frames[1:3].tobytes()
    stream = Path("film.mkv.omc").read_bytes()
    done = cli("decompress", "-", "--frames=2:3", "--raw=rgb24", "-o", "-", stdin=stream)
    assert done.out == film.frames[2:3].tobytes()
    done = cli("decompress", "film.mkv.omc", "--frames=1:3", "--json", "-o", "c.mkv")
    (facts,) = json.loads(done.out)["files"]
    assert (facts["frames"], facts["missing"]) == ([1, 3], 0)


@pytest.mark.usefixtures("film")
@pytest.mark.parametrize("text", [
    "10-20", "3:1", "2:2", "-1:-3", "0:4:2", "1.5:2", "0:00-0:10", "a:b", "--", "6", "6:", "99:100",
    ":-6", "1,3", "9" * 30,
])  # fmt: skip
def test_frames_that_are_none(cli: Cli, film_codec: str, text: str) -> None:
    cli("compress", "film.mkv", "-c", film_codec)
    done = cli("decompress", "film.mkv.omc", "--frames", text, "-o", "part.mkv")
    assert (done.code, len(done.lines), "--frames" in done.err) == (2, 1, True), done.err
    assert not Path("part.mkv").exists()


@pytest.mark.usefixtures("folder")
def test_frames_are_for_video(cli: Cli) -> None:
    assert cli("compress", "notes.txt").code == 0
    done = cli("decompress", "notes.txt.omc", "-o", "x", "--frames", "1:2")
    assert (done.code, "this is a stream of text/bytes" in done.err) == (2, True)
    assert cli("decompress", "notes.txt.omc", "--frames", "1:2", "--pcm", "s16le").code == 2


def test_frames_of_a_damaged_film(cli: Cli, film: Video, film_codec: str) -> None:
    cli("compress", "film.mkv", "-c", film_codec)
    stream = bytearray(Path("film.mkv.omc").read_bytes())
    stream[stream.rindex(frames.SYNC) + 10] ^= 1  # in the last frame
    Path("film.mkv.omc").write_bytes(stream)
    take = ("decompress", "film.mkv.omc", "-o", "part.mkv", "-f")
    assert cli(*take).code == 4
    assert cli(*take, "--frames", ":3").code == 0
    assert np.array_equal(Video.open("part.mkv").frames, film.frames[:3])
    assert cli(*take, "--frames=-1").code == 4
    done = cli(*take, "--frames=-1", "--partial")
    assert (done.code, "missing of these frames: 48 of 48 positions" in done.err) == (0, True)
