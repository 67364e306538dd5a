"""stdin and stdout as pipes that live streams go through."""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any, TypeVar

T = TypeVar("T")

_PIECE = 1 << 16


class Pipe:
    """A pipe whose beginning can be looked at, and that a signal can end.

    `taken` counts the bytes that came, `stopped` says whether a signal ended it.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._waker: int | None = None
        self.head = b""
        """What was looked at, and not read yet."""

        self.taken = 0
        self.stopped = False

    def look(self) -> bool:
        """Make `head` longer by what comes next; return False at the end."""
        piece = self._take(_PIECE)
        self.head += piece
        return bool(piece)

    def look_for(self, parse: Callable[[bytes], T], short: type[Exception]) -> T:
        """Return what `parse` finds in `head`, as soon as it is not too `short` any more."""
        while True:
            try:
                return parse(self.head)
            except short:
                if not self.look():
                    raise

    def read(self, size: int = -1) -> bytes:
        """Return some bytes, at most `size`; none only at the end."""
        if self.head:
            size = len(self.head) if size < 0 else size
            piece, self.head = self.head[:size], self.head[size:]
            return piece
        return self._take(_PIECE if size < 0 else size)

    read1 = read

    def seekable(self) -> bool:
        return False

    def _take(self, size: int) -> bytes:
        self._wait()
        if self.stopped:
            return b""
        stream: Any = self._stream
        piece: bytes = getattr(stream, "read1", stream.read)(size)
        self.taken += len(piece)
        return piece

    def _wait(self) -> None:
        """Return when the stream has something, or has ended, or was stopped by a signal."""
        # No signal may end the read itself: what it has taken from the stream would be lost.
        while self._waker is not None and not self.stopped:
            sources: list[IO[bytes] | int] = [self._stream, self._waker]
            ready, _, _ = select.select(sources, [], [])
            if self._stream in ready:
                return
            os.read(self._waker, 1)

    @contextlib.contextmanager
    def ended_by_signals(self) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM end the pipe, as though nothing more came; twice, the program."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(*_: object) -> None:
            if self.stopped:
                raise KeyboardInterrupt
            self.stopped = True

        numbers = (signal.SIGINT, signal.SIGTERM)
        with self._woken_by_signals():
            before = [signal.signal(number, stop) for number in numbers]
            try:
                yield
            finally:
                for number, handler in zip(numbers, before, strict=True):
                    signal.signal(number, handler)

    @contextlib.contextmanager
    def _woken_by_signals(self) -> Iterator[None]:
        """Have signals end `_wait`, also those that come right before it; files only can wait."""
        try:
            self._stream.fileno()
        except (AttributeError, io.UnsupportedOperation):
            yield
            return
        self._waker, written = os.pipe()
        os.set_blocking(written, False)
        before = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            os.close(self._waker)
            os.close(written)
            self._waker = None


class Stdout:
    """stdout, written through at once and only forwards."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:
        """Write all of it."""
        # With PYTHONUNBUFFERED, stdout is a raw file, and those may take less than all.
        rest = memoryview(data)
        while rest:
            rest = rest[self._stream.write(rest) :]
        self._stream.flush()
        return len(data)

    def flush(self) -> None:
        """Do nothing: all is written."""

    def seekable(self) -> bool:
        return False
