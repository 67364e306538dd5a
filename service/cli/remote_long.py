"""Encodes that take minutes, on a server: shown, left running, waited for again, cancelled."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from omnicodec.codecs import (
    Cancelled,
    Media,
    OmnicodecError,
    Progress,
    Tokens,
    Unavailable,
)
from omnicodec.service.cli.console import UsageError, is_terminal, note
from omnicodec.service.cli.naming import shown_name
from omnicodec.service.cli.screen import Screen, Shown, reached
from omnicodec.service.targets import Targets

if TYPE_CHECKING:
    from omnicodec.codecs import CodecSpec
    from omnicodec.codecs.codec import Settings
    from omnicodec.service.cli.server import Server
    from omnicodec.service.client import Operation

POLL_SECONDS: Final = 0.5

SECOND_THOUGHTS: Final = 5.0
"""Seconds in which a second Ctrl-C cancels what the first one left running."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class RemoteWork:
    """The long work of one invocation, on a server.

    An encode is a job of the server, which outlives this program. Its request_id is made of
    everything that the command says, so that the same command finds the same job again.
    """

    def __init__(self, server: Server, screen: Screen, targets: Targets) -> None:
        self._server, self._screen, self._targets = server, screen, targets
        self._interrupted, self._cancelled = threading.Event(), threading.Event()
        self._to_tell: SimpleQueue[str] = SimpleQueue()
        self._working = 0
        self._begun: dict[str, Operation] = {}

    def check(self, spec: CodecSpec) -> None:
        """Raise `UsageError` for targets that the codec does not know."""
        if self._targets and not spec.resumable:
            raise UsageError(
                f"{spec.name} does not work towards a target, so --target-psnr and "
                f"--target-size are not for it"
            )

    def encode(
        self,
        file: str,
        path: Path | None,
        item: Media | bytes,
        spec: CodecSpec,
        settings: Settings,
        *,
        compress: bool,
    ) -> Tokens | bytes:
        """Return the tokens of an item, or its stream, from a job or where there are none a call.

        `path` is that of the result. Raises `Cancelled` with the line to end with.
        """
        name = shown_name(file)
        chosen = {name: getattr(settings, name) for name in ("quality", "effort", "method")}
        try:
            operation = self._start(
                _key(path, item, spec, {**chosen, **asdict(self._targets), "stream": compress}),
                item,
                spec,
                chosen,
                compress,
            )
        except Unavailable as e:
            if not _is_unimplemented(e) or self._targets:
                raise
            note(
                f"{name}: {self._server.address} keeps no jobs, so this is one call; Ctrl-C ends it"
            )
            client = self._server.patient_client
            if compress:
                return client.compress([item], spec.name, **chosen)[0]
            return client.encode([item], spec.name, **chosen)[0]
        self._begun[file] = operation
        shown = Shown(self._screen, name)
        self._working += 1
        try:
            last = self._watch(operation, shown)
        finally:
            self._working -= 1
            shown.remove()
        result = operation.result()
        if last is not None and self._targets and not self._targets.met(last):
            note(f"{name}: the target was not met: {reached(last)}")
        return result

    def written(self, file: str) -> None:
        """Have the server forget a job: the result is safe."""
        if (operation := self._begun.pop(file, None)) is not None:
            with contextlib.suppress(Unavailable):  # it expires by itself
                operation.delete()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM leave jobs running; twice, cancel them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # A handler may stand in the middle of a line: it cannot write one itself.
        teller = threading.Thread(target=self._tell, daemon=True)
        teller.start()
        before = [signal.signal(number, self._on_signal) for number in _SIGNALS]
        try:
            yield
        finally:
            for number, handler in zip(_SIGNALS, before, strict=True):
                signal.signal(number, handler)
            self._to_tell.put("")
            teller.join()

    def _start(
        self, key: str, item: Media | bytes, spec: CodecSpec, chosen: Any, compress: bool
    ) -> Operation:
        from omnicodec.service.client import State

        def start() -> Operation:
            return self._server.client.start_encode(
                item,
                spec.name,
                **chosen,
                target_psnr=self._targets.psnr,
                target_bytes=self._targets.nbytes,
                compress=compress,
                request_id=key,
            )

        operation = start()
        if operation.last_state in (State.FAILED, State.CANCELLED):  # of an earlier command
            operation.delete()
            operation = start()
        return operation

    def _watch(self, operation: Operation, shown: Shown) -> Progress | None:
        """Return the last report of an operation that has ended."""
        last: Progress | None = None
        answered = time.monotonic()
        while True:
            try:
                last = operation.progress() or last
                if operation.done():
                    return last
                answered = time.monotonic()
            except Unavailable as e:  # a server that is restarted goes on with its jobs
                patience = self._server.client.timeout
                if not _is_lost(e) or (patience and time.monotonic() - answered > patience):
                    raise
            if last is not None:
                shown.show(last)
            if self._interrupted.wait(POLL_SECONDS):
                self._leave(operation)

    def _leave(self, operation: Operation) -> None:
        if is_terminal(sys.stderr):
            self._cancelled.wait(SECOND_THOUGHTS)
        if self._cancelled.is_set():
            operation.cancel()
            with contextlib.suppress(OmnicodecError):  # it ends in any case, and expires
                operation.wait(SECOND_THOUGHTS)
                operation.delete()  # so that the same command begins anew
            raise Cancelled(f"interrupted, and {operation.name} cancelled")
        raise Cancelled(
            f"interrupted; {self._server.address} goes on with {operation.name}, and the same "
            f"command waits for it again"
        )

    def _on_signal(self, number: int, frame: Any) -> None:
        if not self._working:
            raise KeyboardInterrupt
        if self._interrupted.is_set():
            self._cancelled.set()
            return
        self._interrupted.set()
        seconds = f"{SECOND_THOUGHTS:g} seconds"
        self._to_tell.put(f"interrupted: Ctrl-C again within {seconds} cancels it on the server")

    def _tell(self) -> None:
        if told := self._to_tell.get():
            self._screen.stop()
            if is_terminal(sys.stderr):
                note(told)


def _key(path: Path | None, item: Media | bytes, spec: CodecSpec, chosen: Any) -> str:
    """Return what the same command on the same file has in common, and no other."""
    from omnicodec.service.client.requests import media_message

    who = [socket.gethostname(), os.getuid() if hasattr(os, "getuid") else os.getlogin()]
    where = None if path is None else str(path.resolve())
    message = media_message(item).SerializeToString(deterministic=True)
    content = hashlib.sha256(message).hexdigest()
    told = json.dumps([who, where, spec.fingerprint, spec.name, chosen, content], sort_keys=True)
    return f"cli-{hashlib.sha256(told.encode()).hexdigest()[:48]}"


def _is_unimplemented(error: Unavailable) -> bool:
    import grpc

    from omnicodec.service.client.errors import status_behind

    return status_behind(error) is grpc.StatusCode.UNIMPLEMENTED


def _is_lost(error: Unavailable) -> bool:
    import grpc

    from omnicodec.service.client.errors import status_behind

    return status_behind(error) is grpc.StatusCode.UNAVAILABLE
