"""Untrusted files, opened by processes that are killed when one takes too long.

A thread of the server would be quicker, but no limit could end it: decoders are C, and come back
to Python now and then at best. docs/decisions.md has what the processes cost.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from omnicodec.codecs import (
    CorruptStream,
    InvalidInput,
    LimitExceeded,
    Media,
    OmnicodecError,
    Unavailable,
)
from omnicodec.service import opener
from omnicodec.service.opener import Limits, NeedsMore

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.05
"""How often a call that waits looks whether it is still wanted."""

_START_SECONDS: Final = 60.0
_MAX_FILES: Final = 1000
"""Files that one process opens: what libraries leak does not add up."""

_KINDS: Final[dict[str, type[OmnicodecError]]] = {
    kind.__name__: kind for kind in (CorruptStream, InvalidInput, LimitExceeded, Unavailable)
}


class Openers:
    """Opens files in processes of their own, as many as there are threads that ask.

    They start when they are needed. A file has `seconds`; what it becomes, at most `memory` bytes.
    """

    def __init__(self, seconds: float, memory: int) -> None:
        self._seconds, self._memory = seconds, memory
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()
        self._lock = threading.Lock()
        self._closed = False

    def open(
        self, data: bytes, modality: str, most: Limits, check: Callable[[], None] = lambda: None
    ) -> Media:
        """Return the media in a file.

        `check` is called while this waits; when it raises, the work is ended too. Raises
        `InvalidInput`, `LimitExceeded` (after `seconds` as well) or `NeedsMore`.
        """
        process = self._take(check)
        try:
            media = process.open(data, modality, most, self._seconds, check)
        except (OmnicodecError, NeedsMore):
            raise
        except (EOFError, OSError) as e:
            if self._closed:
                raise Unavailable("the server is shutting down") from e
            # A decoder crashed: of a file that makes it do so nothing good can be said.
            _log.warning("a process that opens files ended: %s", process.end())
            raise InvalidInput("the file cannot be read") from e
        finally:
            self._give_back(process)
        return media

    def close(self) -> None:
        """End all processes; calls in progress fail."""
        with self._lock:
            self._closed = True
            for process in self._all:
                process.kill()  # those that are in use are ended by their threads
            idle, self._idle = self._idle, []
        for process in idle:
            self._give_back(process)

    def _take(self, check: Callable[[], None]) -> _Process:
        while True:
            with self._lock:
                if self._closed:
                    raise Unavailable("the server is shutting down")
                if not self._idle:
                    process = _Process(self._memory)
                    self._all.add(process)
                    break
                process = self._idle.pop()
                if process.alive:
                    return process
                self._all.discard(process)
            process.end()
        try:
            process.wait_ready(check)
        except BaseException as e:
            process.end()
            self._give_back(process)
            if isinstance(e, EOFError | OSError):
                raise Unavailable("a process that opens files cannot be started") from e
            raise
        return process

    def _give_back(self, process: _Process) -> None:
        with self._lock:
            if process.alive and process.opened < _MAX_FILES and not self._closed:
                self._idle.append(process)
                return
            self._all.discard(process)
        process.end()


class _Process:
    """A process that runs `opener.main`, used by one thread at a time."""

    def __init__(self, memory: int) -> None:
        self.opened = 0
        self._channel, theirs = socket.socketpair()
        self._shared = os.memfd_create("omnicodec") if hasattr(os, "memfd_create") else -1
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", opener.__name__, str(memory), str(self._shared)],
                pass_fds=() if self._shared < 0 else (self._shared,),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    "OMP_NUM_THREADS": "1",
                },
                # A terminal's Ctrl-C is for the server, which then finishes what it has begun.
                start_new_session=True,
            )
        self._alive = True

    @property
    def alive(self) -> bool:
        return self._alive and self._process.poll() is None

    def wait_ready(self, check: Callable[[], None]) -> None:
        reader = _Reader(self._channel, time.monotonic() + _START_SECONDS, check)
        opener.receive_facts(reader.fill)

    def open(
        self,
        data: bytes,
        modality: str,
        most: Limits,
        seconds: float,
        check: Callable[[], None],
    ) -> Media:
        self.opened += 1
        asked = {
            "modality": modality,
            "pixels": most.pixels,
            "seconds": most.seconds,
            "cost": most.cost,
        }
        reader = _Reader(self._channel, time.monotonic() + seconds, check)
        in_step = False
        try:
            self._channel.settimeout(seconds)
            opener.send(self._channel, asked, data)
            answer, _ = opener.receive_facts(reader.fill)
            in_step = "kind" not in answer
            media = self._media(answer, reader)
            in_step = True
        except TimeoutError:
            raise LimitExceeded(f"the file took more than {seconds:g} seconds to open") from None
        finally:
            if not in_step:  # it is still at work, or has more to say
                self.end()
        return media

    def _media(self, answer: dict[str, Any], reader: _Reader) -> Media:
        if "shared" in answer:
            shared = opener.SharedReader(self._shared)
            try:
                return opener.unpack(answer, shared.fill)
            finally:
                shared.close()
        if "kind" in answer:
            return opener.unpack(answer, reader.fill)
        if "needs" in answer:
            raise NeedsMore(answer["needs"])
        if "failed" in answer:
            _log.error("opening a file failed: %s", answer["failed"])
            raise RuntimeError("opening a file failed")
        raise _KINDS.get(answer["error"], OmnicodecError)(answer["message"])

    def kill(self) -> None:
        """Have the process end."""
        self._process.kill()

    def end(self) -> int | None:
        """End the process at once, and all that belongs to it; return its exit status."""
        if self._alive and self._shared >= 0:
            os.close(self._shared)
        self._alive = False
        self._process.kill()
        self._channel.close()
        status: int = self._process.wait()
        return status


class _Reader:
    """Reads from a socket until a time, and while somebody wants it."""

    def __init__(self, channel: socket.socket, ends: float, check: Callable[[], None]) -> None:
        self._channel, self._ends, self._check = channel, ends, check

    def fill(self, view: memoryview) -> None:
        while view:
            self._check()
            left = self._ends - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._channel.settimeout(min(left, _LOOK_SECONDS))
            try:
                count = self._channel.recv_into(view)
            except TimeoutError:
                continue
            if not count:
                raise EOFError
            view = view[count:]
