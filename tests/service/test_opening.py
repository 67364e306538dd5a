"""Files are opened in processes of their own, as in this one, and not for longer than allowed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import (
    Audio,
    Image,
    InvalidInput,
    LimitExceeded,
    Media,
    Series,
    Unavailable,
    Video,
)
from omnicodec.service.opener import COST_OF_UNIT, Limits, NeedsMore
from omnicodec.service.server.opening import Openers

RNG = np.random.default_rng(4)
PIXELS = RNG.integers(0, 256, (90, 120, 3), np.uint8)
PICTURE = Image(PIXELS)
SOUND = Audio(RNG.uniform(-0.5, 0.5, (2, 30_000)).astype(np.float32), 8000)
FILM = Video(RNG.integers(0, 256, (5, 16, 24, 3), np.uint8), Fraction(25), SOUND)
TABLE = Series(RNG.normal(size=(3, 50)).astype(np.float32), 2.5)
MOST = Limits(1 << 24, 1000.0, 1 << 28)


@pytest.fixture(scope="module")
def openers() -> Iterator[Openers]:
    made = Openers(20.0, 1 << 30)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("modality", "item", "suffixes"),
    [
        ("image", PICTURE, (".png", ".jpg", ".webp", ".avif", ".gif", ".tif", ".bmp", ".ppm")),
        ("audio", SOUND, (".wav", ".flac", ".ogg")),
        ("video", FILM, (".mkv", ".mp4", ".webm")),
        ("series", TABLE, (".npz", ".npy")),
    ],
)
def test_media_are_those_that_a_thread_would_open(
    openers: Openers, modality: str, item: Media, suffixes: tuple[str, ...]
) -> None:
    for suffix in suffixes:
        data = item.to_bytes(suffix)
        assert openers.open(data, modality, MOST) == type(item).open(data), suffix
    with pytest.raises(InvalidInput) as here:
        type(item).open(b"nonsense")
    with pytest.raises(InvalidInput) as there:
        openers.open(b"nonsense", modality, MOST)
    assert str(here.value) == str(there.value)


def test_nothing_is_media_too(openers: Openers) -> None:
    silence = Audio(np.zeros((2, 0), np.float32), 8000)
    assert openers.open(silence.to_bytes(".wav"), "audio", MOST) == silence
    table = Series(np.zeros((1, 0), np.float32), 1.0)
    assert openers.open(table.to_bytes(".npz"), "series", MOST) == table


@pytest.mark.parametrize(
    ("modality", "data", "most"),
    [
        ("image", PICTURE.to_bytes(".png"), Limits(PIXELS.size // 3 - 1, 1.0, 1 << 28)),
        ("audio", SOUND.to_bytes(".flac"), Limits(1, 3.7, 1 << 28)),
        ("video", FILM.to_bytes(".mkv"), Limits(5 * 16 * 24 - 1, 10.0, 1 << 28)),
        ("video", FILM.to_bytes(".mkv"), Limits(1 << 20, 0.1, 1 << 28)),
        ("video", FILM.to_bytes(".mkv"), Limits(1 << 20, 3.0, 1 << 28)),  # of its sound
    ],
)
def test_limits_come_before_decoding(
    openers: Openers, modality: str, data: bytes, most: Limits
) -> None:
    with pytest.raises(LimitExceeded, match="over the limit"):
        openers.open(data, modality, most)


def test_memory_is_asked_for(openers: Openers) -> None:
    data = PICTURE.to_bytes(".png")
    with pytest.raises(NeedsMore) as caught:
        openers.open(data, "image", Limits(1 << 24, 1.0, 1000))
    assert caught.value.cost == COST_OF_UNIT * PIXELS.size // 3
    assert openers.open(data, "image", Limits(1 << 24, 1.0, caught.value.cost)) == PICTURE


def stopped(openers: Openers, after: Callable[[], None]) -> Callable[[], None]:
    """Return a `check` that stops the process at its first call, as a file might, then `after`."""
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 1:
            for process in openers._all:
                os.kill(process._process.pid, signal.SIGSTOP)
        else:
            after()

    return check


def test_a_file_that_takes_too_long_is_ended() -> None:
    openers = Openers(1.5, 1 << 30)
    data = PICTURE.to_bytes(".png")
    try:
        openers.open(data, "image", MOST)
        (process,) = openers._all
        with pytest.raises(LimitExceeded, match=r"more than 1.5 seconds to open"):
            openers.open(data, "image", MOST, stopped(openers, lambda: None))
        assert process._process.poll() == -signal.SIGKILL
        assert openers.open(data, "image", MOST) == PICTURE
    finally:
        openers.close()


def test_nobody_waits_for_what_nobody_wants() -> None:
    openers = Openers(60.0, 1 << 30)

    class GoneError(Exception):
        pass

    def gone() -> None:
        raise GoneError

    try:
        openers.open(PICTURE.to_bytes(), "image", MOST)
        with pytest.raises(GoneError):
            openers.open(PICTURE.to_bytes(), "image", MOST, stopped(openers, gone))
        assert not openers._all
    finally:
        openers.close()


def test_a_crash_ends_one_file_only(openers: Openers) -> None:
    openers.open(PICTURE.to_bytes(), "image", MOST)

    def crash() -> None:
        for process in openers._all:
            os.kill(process._process.pid, signal.SIGSEGV)

    with pytest.raises(InvalidInput, match="the file cannot be read"):
        openers.open(PICTURE.to_bytes(), "image", MOST, crash)
    assert openers.open(PICTURE.to_bytes(), "image", MOST) == PICTURE


def test_processes_that_died_while_idle_are_replaced(openers: Openers) -> None:
    openers.open(PICTURE.to_bytes(), "image", MOST)
    for process in list(openers._all):
        os.kill(process._process.pid, signal.SIGKILL)
        process._process.wait()
    assert openers.open(PICTURE.to_bytes(), "image", MOST) == PICTURE


def test_files_side_by_side(openers: Openers) -> None:
    pictures = [Image(RNG.integers(0, 256, (60, 80 + i, 3), np.uint8)) for i in range(6)]
    found: dict[int, Media] = {}

    def work(i: int) -> None:
        found[i] = openers.open(pictures[i].to_bytes(".png"), "image", MOST)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [found[i] for i in range(6)] == pictures


def test_closing_leaves_no_process_behind() -> None:
    openers = Openers(20.0, 1 << 30)
    openers.open(PICTURE.to_bytes(), "image", MOST)
    pids = [process._process.pid for process in openers._all]
    openers.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(Unavailable):
        openers.open(PICTURE.to_bytes(), "image", MOST)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_nothing_stays_open() -> None:
    openers = Openers(20.0, 1 << 30)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        openers.open(PICTURE.to_bytes(), "image", MOST)
        for process in list(openers._all):
            process.kill()
            while process.alive:
                time.sleep(0.005)
    openers.close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
