"""Sound through the program: files, live pipes, Ctrl-C, broken pipes, damage."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Audio, compress, decompress, load
from omnicodec.codecs.media.pcm import PCM
from omnicodec.codecs.stream import compress_pieces, inspect, read_tokens

Cli = Callable[..., Any]
pytest.importorskip("soundfile")

PROGRAM = (sys.executable, "-m", "omnicodec.service.cli")
RATE = 24_000
TO_STDOUT = ("compress", "-", "-c", "audio/rvq", "-q", "1")


@pytest.fixture
def clip(folder: Path) -> Audio:
    """Return half a second of two channels, which also lies in sound.wav, in 16 bits."""
    rng = np.random.default_rng(0)
    levels = rng.integers(-4000, 4000, (2, RATE // 2))
    clip = Audio((levels / 32768).astype(np.float32), RATE)
    clip.save(folder / "sound.wav")
    return clip


def expected(clip: Audio) -> bytes:
    back = decompress(compress(clip, "audio/rvq", quality=1))
    return back.to_bytes(".wav")


def test_files(cli: Cli, clip: Audio) -> None:
    done = cli("compress", "sound.wav", "-c", "audio/rvq", "-q", "1", "--json")
    (facts,) = json.loads(done.out)["files"]
    stream = Path("sound.wav.omc").read_bytes()
    header = inspect(stream)
    size = Path("sound.wav").stat().st_size
    assert (header.source.name, header.source.size, header.quality) == ("sound.wav", size, 1)
    assert (facts["source_bytes"], facts["bytes"]) == (size, len(stream))
    assert facts["seconds"] == pytest.approx(0.5)
    assert read_tokens(stream).tokens == load("audio/rvq").encode([clip], quality=1)[0]
    assert cli("decompress", "sound.wav.omc", "-o", "back.wav").code == 0
    assert Path("back.wav").read_bytes() == expected(clip)
    assert cli("decompress", "sound.wav.omc", "-o", "-").out == expected(clip)
    assert cli("decompress", "sound.wav.omc", "-o", "back.flac").code == 0
    assert Audio.open("back.flac").samples.shape == clip.samples.shape
    plain = cli("decompress", "sound.wav.omc", "-o", "-", "--pcm", "s16le").out
    assert plain == expected(clip)[44:]
    assert cli("info", "sound.wav.omc").code == cli("verify", "sound.wav.omc").code == 0
    old = compress(clip, "audio/rvq", quality=1)
    assert cli("decompress", "-", stdin=old).out == expected(clip)


def test_all_inputs_give_the_same_tokens(program: Cli, clip: Audio, folder: Path) -> None:
    wav = (folder / "sound.wav").read_bytes()
    unknown = wav[:4] + b"\xff" * 4 + wav[8:40] + b"\xff" * 4 + wav[44:]
    (tokens,) = load("audio/rvq").encode([clip], quality=1)
    live = program(*TO_STDOUT, "--chunk", "0.1", stdin=unknown)
    assert live.code == 0
    assert read_tokens(live.out).tokens == tokens
    seconds = load("audio/rvq").spec.covers["seconds"]
    assert inspect(live.out).chunk_positions == 2 * round(0.1 / seconds)
    pcm = program(*TO_STDOUT, "--pcm", "s16le:24000:2", stdin=wav[44:])
    assert read_tokens(pcm.out).tokens == tokens
    back = program("decompress", "-", stdin=live.out)
    assert back.out[44:] == expected(clip)[44:]
    assert back.out[40:44] == b"\xff" * 4


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_close_a_live_stream(folder: Path, clip: Audio, number: int) -> None:
    process = start(
        folder, *TO_STDOUT, "-o", "live.omc", "--pcm", "s16le:24000:2", "--chunk", "0.1"
    )
    assert process.stdin is not None
    process.stdin.write(PCM("s16le", RATE, 2).to_bytes(clip.samples))
    process.stdin.flush()
    stream = compress_pieces([clip], "audio/rvq", quality=1, chunk_seconds=0.1)
    wait_for_chunks(folder, sum(map(len, stream)) // 2)
    process.send_signal(number)
    assert process.wait(timeout=60) == 130
    assert process.stderr is not None
    assert process.stderr.read().count(b"\n") == 1
    stream = (folder / "live.omc").read_bytes()
    heard = decompress(stream)
    assert isinstance(heard, Audio)
    whole = decompress(compress(clip, "audio/rvq", quality=1))
    assert isinstance(whole, Audio)
    assert 0.2 * RATE < heard.samples.shape[1] <= clip.samples.shape[1]
    assert sorted(p.name for p in folder.iterdir() if p.suffix == ".tmp") == []


def wait_for_chunks(folder: Path, size: int) -> None:
    """Wait until the temporary file holds more than so many bytes."""
    for _ in range(600):
        sizes = [path.stat().st_size for path in folder.glob(".live.omc.*.tmp")]
        if sizes and sizes[0] > size:
            return
        time.sleep(0.1)
    raise AssertionError("nothing was written")


def test_a_broken_pipe_is_quiet(folder: Path, clip: Audio) -> None:
    process = start(folder, *TO_STDOUT, "--pcm", "s16le:24000:2", "--chunk", "0.1")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    data = PCM("s16le", RATE, 2).to_bytes(clip.samples)
    process.stdin.write(data)
    process.stdin.flush()
    assert os.read(process.stdout.fileno(), 4) == b"\x89OMC"
    process.stdout.close()
    with contextlib.suppress(BrokenPipeError):  # it is gone already, or goes at the next chunk
        process.stdin.write(data)
        process.stdin.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == b""


@pytest.mark.usefixtures("clip")
def test_streams_that_stop_in_the_middle(cli: Cli, files: Any) -> None:
    done = cli("compress", "sound.wav", "-c", "audio/rvq", "--chunk", "0.1")
    assert done.code == 0
    stream = Path("sound.wav.omc").read_bytes()
    Path("cut.omc").write_bytes(stream[: len(stream) // 2])
    before = files()
    done = cli("decompress", "cut.omc", "-o", "cut.wav")
    assert (done.code, files()) == (4, before)
    assert "cut off" in done.err
    assert json.loads(cli("info", "cut.omc", "--json").out)["damage"]
    done = cli("decompress", "--partial", "cut.omc", "-o", "cut.wav")
    assert done.code == 0
    assert "is cut off, 0." in done.lines[0]
    assert 0 < Audio.open("cut.wav").duration < 0.5
    for empty in (b"", stream[:20]):
        assert cli("decompress", "-", stdin=empty).code == 4


def test_bad_sound(cli: Cli, clip: Audio, files: Any) -> None:
    Path("text.wav").write_bytes(b"words\n" * 99)
    Path("empty.wav").touch()
    flac = clip.to_bytes(".flac")
    Path("cut.flac").write_bytes(flac[: len(flac) // 2])
    nan = clip.samples.copy()
    nan[0, 7] = np.nan
    header = PCM("f32le", RATE, 2).wav_header(nan.shape[1])
    Path("nan.wav").write_bytes(header + PCM("f32le", RATE, 2).to_bytes(nan))
    before = files()
    names = ("text.wav", "empty.wav", "cut.flac", "nan.wav")
    done = cli("compress", *names, "-c", "audio/rvq")
    assert (done.code, files()) == (3, before)
    for line, name, says in zip(
        done.lines, names, ("not an audio", "empty", "damaged", "finite"), strict=True
    ):
        assert line.startswith(f"omnicodec: {name}: ")
        assert says in line
    for name in names:
        assert cli(*TO_STDOUT, stdin=Path(name).read_bytes()).out == b"" or name == "nan.wav"


@pytest.mark.usefixtures("folder")
def test_no_samples(cli: Cli) -> None:
    Audio(np.zeros((2, 0), np.float32), 8000).save("none.wav")
    assert cli("compress", "none.wav", "-c", "audio/rvq").code == 0
    assert cli("decompress", "none.wav.omc", "-o", "back.wav").code == 0
    assert Path("back.wav").read_bytes() == Path("none.wav").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["compress", "sound.wav", "-c", "audio/rvq", "--pcm", "s16le"], "FORMAT:RATE:CHANNELS"),
        (["compress", "sound.wav", "-c", "audio/rvq", "--chunk", "0"], "cannot last 0 seconds"),
        (["compress", "sound.wav", "-c", "audio/rvq", "-q", "99"], "no quality 99"),
        (["compress", "notes.txt", "--pcm", "u8:8000:1", "-c", "text/bytes"], "codecs of sound"),
        (["compress", "notes.txt", "--chunk", "1"], "codecs of sound"),
        (["decompress", "x.omc", "--pcm", "mp3"], "unknown sample format 'mp3'"),
    ],
)
@pytest.mark.usefixtures("clip")
def test_misuse(cli: Cli, arguments: list[str], says: str) -> None:
    done = cli(*arguments)
    assert (done.code, len(done.lines)) == (2, 1)
    assert says in done.err
