"""The threads that do the work of operations, so many at once."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from google.protobuf import duration_pb2

from omnicodec.codecs import (
    MODALITIES,
    Cancelled,
    LimitExceeded,
    Progress,
    Work,
    compress,
)
from omnicodec.codecs.registry import load_named
from omnicodec.service import convert
from omnicodec.service.server.operations import previews
from omnicodec.service.server.operations.messages import progress_to_proto
from omnicodec.service.server.operations.store import CANCELLED, Store, Stored
from omnicodec.service.server.statuses import place_of, status_of
from omnicodec.service.targets import Targets
from omnicodec.v1 import codec_service_pb2 as pb

_log = logging.getLogger(__name__)

_REPORT_SECONDS: Final = 1.0
"""How often progress is written to disk; calls get it at once from memory."""

_MIN_PREVIEW_SECONDS: Final = 1.0

_ENVELOPE_BYTES: Final = 4096
"""What a message has room for beside a response: name, metadata, error."""


class Running:
    """One operation in work, as its codec sees it and as calls do."""

    def __init__(self, store: Store, stored: Stored) -> None:
        self._store, self._id = store, stored.id
        self._kept_at = self._drawn_at = 0.0
        self.targets = Targets()
        self.preview_seconds: float | None = None
        self.progress: pb.EncodeProgress | None = None
        self.preview = b""
        self.work = Work(
            listen=self._listen,
            enough=lambda progress: self.targets.met(progress),
            checkpoint=store.files.checkpoint(stored.id),
        )

    def keep(self) -> None:
        """Write the last report to disk."""
        if self.progress is not None:
            with suppress(sqlite3.Error):  # such as a full disk: no reason to end the work
                data = self.progress.SerializeToString()
                self._store.report(self._id, data, self.progress.share)

    def _listen(self, progress: Progress) -> None:
        self.progress = progress_to_proto(progress)
        now = time.monotonic()
        if not self._kept_at or now - self._kept_at >= _REPORT_SECONDS:
            self._kept_at = now
            self.keep()
        self._draw(progress, now)

    def _draw(self, progress: Progress, now: float) -> None:
        if self.preview_seconds is None or progress.preview is None:
            return
        if self._drawn_at and now - self._drawn_at < self.preview_seconds:
            return
        try:
            self.preview = previews.draw(progress.preview())
        except Exception as e:
            _log.error("a preview failed: %s", place_of(e))
            self.preview_seconds = None
        self._drawn_at = time.monotonic()


class Runner:
    """Works on the operations of `store`, at most `most` at once, the oldest first.

    Codecs run on `device`, and responses are at most `most_bytes` long. `ended` hears of each
    operation that is in work no more, from its thread.
    """

    def __init__(
        self,
        store: Store,
        *,
        device: str,
        most: int,
        most_bytes: int,
        ended: Callable[[str], None],
    ) -> None:
        self._store, self._device, self._ended = store, device, ended
        self._most, self._most_bytes = most, most_bytes
        self._lock = threading.Lock()
        self._running: dict[str, Running] = {}
        self._stopping = False

    def fill(self) -> None:
        """Begin what waits, as far as there is room."""
        with self._lock:
            while not self._stopping and len(self._running) < self._most:
                stored = self._store.claim()
                if stored is None:
                    return
                running = Running(self._store, stored)
                self._running[stored.id] = running
                # Work that does not heed its end must not keep the process from ending: what a
                # killed process leaves is made good by the next one.
                threading.Thread(
                    target=self._run, args=(stored, running), name="omnicodec-job", daemon=True
                ).start()

    def running(self, name: str) -> Running | None:
        """Return an operation in work; never waits, so that the event loop may ask."""
        return self._running.get(name)

    @property
    def idle(self) -> bool:
        return not self._running

    def cancel(self, name: str) -> Stored:
        """Have an operation end, soon or at once; raises `UnknownOperation`."""
        with self._lock:
            stored = self._store.cancel(name)
            if name in self._running:
                self._running[name].work.cancel()
        return stored

    def stop(self) -> None:
        """Begin no more, and have what is in work end with its checkpoint, for another day."""
        with self._lock:
            self._stopping = True
            for running in self._running.values():
                running.work.cancel()

    def _run(self, stored: Stored, running: Running) -> None:
        name = stored.id
        try:
            self._finish(name, running)
        except Exception as e:  # the state could not be written; the next start finds it
            _log.error("operation %s is left as it is: %s", name, place_of(e))
        with self._lock:
            del self._running[name]
        self._ended(name)
        try:
            self.fill()
        except sqlite3.Error as e:
            _log.error("no further operation can begin: %s", place_of(e))

    def _finish(self, name: str, running: Running) -> None:
        """Do the work, and keep what came of it."""
        try:
            try:
                response = self._encode(name, running)
            finally:
                running.keep()
        except Cancelled:
            if self._stopping and not self._store.get(name).cancel:
                self._store.put_back(name)
            else:
                self._store.fail(name, CANCELLED)
        except Exception as e:
            self._store.fail(name, status_of(e, "StartEncode"))
        else:
            try:
                self._store.succeed(name, response)
            except LimitExceeded as e:
                self._store.fail(name, status_of(e, "StartEncode"))

    def _encode(self, name: str, running: Running) -> bytes:
        request = pb.StartEncodeRequest.FromString(self._store.files.request(name))
        settings = settings_of(request)
        running.targets = targets_of(request)
        if request.HasField("preview_interval"):
            wanted = seconds_of(request.preview_interval)
            running.preview_seconds = max(wanted, _MIN_PREVIEW_SECONDS)
        codec = load_named(request.codec, device=self._device)
        media = convert.media_from_proto(request.item, MODALITIES[codec.spec.modality])
        if running.work.cancelled:  # not every codec would look
            raise Cancelled("the work was cancelled")
        settings["work"] = running.work
        if request.output == pb.StartEncodeRequest.OUTPUT_STREAM:
            stream = compress(media, codec, device=self._device, **settings)
            response = pb.StartEncodeResponse(stream=stream)
        else:
            (tokens,) = codec.encode([media], **settings)
            response = pb.StartEncodeResponse(tokens=convert.tokens_to_proto(tokens))
        if response.ByteSize() + _ENVELOPE_BYTES > self._most_bytes:
            raise LimitExceeded(f"the result is over the limit of {self._most_bytes:,} bytes")
        return response.SerializeToString()


def settings_of(request: pb.StartEncodeRequest) -> dict[str, Any]:
    """Return the settings of a request for `Codec.encode`."""
    names = ("quality", "effort", "method")
    return {name: getattr(request, name) for name in names if request.HasField(name)}


def seconds_of(duration: duration_pb2.Duration) -> float:
    """Return a duration in seconds, whatever its fields hold."""
    return duration.seconds + 1e-9 * duration.nanos


def targets_of(request: pb.StartEncodeRequest) -> Targets:
    """Return the targets of a request; raises `InvalidInput` for what nothing can meet."""
    return Targets(
        psnr=request.target_psnr if request.HasField("target_psnr") else None,
        nbytes=request.target_bytes if request.HasField("target_bytes") else None,
    )
