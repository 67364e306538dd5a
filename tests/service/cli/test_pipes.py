"""Pipes that signals end: nothing that came is lost, and nobody waits for more."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Iterator
from typing import IO

import pytest

from omnicodec.service.cli.pipes import Pipe


@pytest.fixture
def ends() -> Iterator[tuple[IO[bytes], int]]:
    """Return a pipe's two ends: the reader, and the descriptor to write to."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        yield stream, writer
    os.close(writer)


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


class Interrupted(io.RawIOBase):
    """A stream in which a signal comes when a piece was read, and before it is returned."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream

    def fileno(self) -> int:
        return self._stream.fileno()

    def read(self, size: int = -1) -> bytes:
        piece = os.read(self.fileno(), size)
        interrupt()
        return piece


def test_a_signal_loses_nothing_that_was_read(ends: tuple[IO[bytes], int]) -> None:
    stream, writer = ends
    os.write(writer, b"a piece")
    pipe = Pipe(Interrupted(stream))  # type: ignore[arg-type]
    with pipe.ended_by_signals():
        assert pipe.read() == b"a piece"
        assert pipe.stopped
        os.write(writer, b"more")
        assert pipe.read() == b""
    assert pipe.taken == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait(ends: tuple[IO[bytes], int], number: int) -> None:
    pipe = Pipe(ends[0])
    with pipe.ended_by_signals():
        timer = threading.Timer(0.1, interrupt, [number])
        timer.start()
        assert pipe.read() == b""
        assert pipe.stopped
        timer.join()


def test_a_signal_before_the_wait_ends_it(ends: tuple[IO[bytes], int]) -> None:
    stream, writer = ends
    pipe = Pipe(stream)
    with pipe.ended_by_signals():
        os.write(writer, b"read in two pieces")
        assert pipe.read(7) + pipe.read() == b"read in two pieces"
        interrupt()
        assert pipe.read() == b""
        with pytest.raises(KeyboardInterrupt):
            interrupt()


def test_other_signals_end_nothing(ends: tuple[IO[bytes], int]) -> None:
    stream, writer = ends
    pipe, heard = Pipe(stream), list[int]()

    def hear(number: int, _: object) -> None:
        heard.append(number)
        os.write(writer, b"after the signal")

    before = signal.signal(signal.SIGUSR1, hear)
    try:
        with pipe.ended_by_signals():
            timer = threading.Timer(0.1, interrupt, [signal.SIGUSR1])
            timer.start()
            assert pipe.read() == b"after the signal"
            timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]
    assert not pipe.stopped


def test_what_a_pipe_changes_is_put_back(ends: tuple[IO[bytes], int]) -> None:
    stream, writer = ends
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    pipe = Pipe(stream)
    with pipe.ended_by_signals():
        assert signal.getsignal(signal.SIGINT) is not handlers[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    wakeup = signal.set_wakeup_fd(-1)
    assert wakeup == -1
    os.write(writer, b"then it is read as before")
    assert pipe.read(4) == b"then"


def test_streams_without_a_descriptor_end_between_reads() -> None:
    pipe = Pipe(io.BytesIO(b"a piece and more"))
    with pipe.ended_by_signals():
        assert pipe.read(7) == b"a piece"
        interrupt()
        assert pipe.read() == b""
