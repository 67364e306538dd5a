"""The engine of this machine: processes that each write one shard after the other."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from omnicodec.codecs import Unavailable, errors
from omnicodec.codecs.threads import thread_count
from omnicodec.service.batch.engines import worker as module
from omnicodec.service.batch.engines.base import Committed, Engine, Event, Lost, Progress
from omnicodec.service.batch.engines.deaths import Deaths
from omnicodec.service.batch.folder import Folder

WRITE_SHARD: Final = "omnicodec.service.batch.shards:write_shard"

PATIENCE: Final = 600.0
"""Seconds without a sign of life after which a worker is taken for lost."""

_THREADS: Final = ("OMNICODEC_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")
_ONE: Final = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""Floats may be added up in another order by more threads, and tokens must not depend on those."""

_TICK: Final = 1.0
_STARTS: Final = 3
_LAST_SECONDS: Final = 5.0
_PIECE: Final = 1 << 16


class LocalEngine(Engine):
    """`workers` processes of `threads` threads each.

    By default there is one worker a core, or one a GPU where there are any, and they share the
    cores. `device` is as for `load`; with "auto" or "cuda" workers take one GPU after the other. A
    worker that says nothing for `patience` seconds is killed. `write` names the function that
    writes a shard, as "module:function".
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
        patience: float = PATIENCE,
        write: str = WRITE_SHARD,
    ) -> None:
        self.patience = patience
        self._workers, self._threads = workers, threads
        self._device, self._write = device, write

    def run(self, folder: Path, shards: Sequence[int]) -> Iterator[Event]:
        """Yield what happens until all shards are committed, as `Engine.run` says."""
        with _Crew(self, folder, shards) as crew:
            yield from crew.events()

    def workers(self, gpus: int | None) -> int:
        """Return how many workers there are beside so many GPUs; None where nobody knows yet."""
        if gpus is None and not self._workers and module.visible_gpus_wanted(self._device):
            return 1  # which will tell
        return self._workers or gpus or thread_count()

    def start(self, folder: Path, number: int, gpus: int | None) -> _Worker:
        """Start one of the workers."""
        workers = self._workers or gpus or thread_count()
        threads = self._threads or max(1, thread_count() // workers)
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", module.__name__),
                    *(str(folder), self._device, str(threads), str(number), self._write),
                ],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=self.inherited,
                env={
                    **os.environ,
                    **dict.fromkeys(_THREADS, str(threads)),
                    **_ONE,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                },
            )
        return _Worker(number, process, ours)


@dataclass
class _Worker:
    """A process, and what it does; `at` is the item that it said it comes to."""

    number: int
    process: subprocess.Popen[bytes]
    channel: socket.socket
    shard: int | None = None
    at: str = ""
    ready: bool = False
    heard: float = field(default_factory=time.monotonic)
    _rest: bytes = b""

    def order(self, shard: int, blamed: Mapping[str, str], careful: bool) -> None:
        """Give it a shard; if it is gone, reading from it tells."""
        self.shard, self.at, self.heard = shard, "", time.monotonic()
        line = json.dumps({"shard": shard, "blamed": blamed, "careful": careful})
        with suppress(OSError):
            self.channel.sendall(line.encode() + b"\n")

    def receive(self) -> Iterator[dict[str, Any]]:
        """Yield what it has sent; raises `EOFError` when it is gone."""
        try:
            piece = self.channel.recv(_PIECE)
        except OSError:
            piece = b""
        if not piece:
            raise EOFError
        self.heard = time.monotonic()
        *lines, self._rest = (self._rest + piece).split(b"\n")
        yield from map(json.loads, lines)

    def end(self) -> str:
        """Kill it unless it is gone by itself, and return what it died of."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_LAST_SECONDS)
        died = self.process.poll()
        self.kill()
        if died is None:
            return "it did not end"
        if died == module.OUT_OF_MEMORY:
            return "it had no memory left"
        with suppress(ValueError):
            return f"it was killed by {signal.Signals(-died).name}"
        return f"it ended with code {died}"

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        self.channel.close()


class _Crew:
    """The workers of one run."""

    def __init__(self, engine: LocalEngine, folder: Path, shards: Sequence[int]) -> None:
        self._engine, self._folder = engine, folder
        self._waiting = deque(shards)
        self._workers: dict[int, _Worker] = {}
        self._deaths = Deaths()
        self._failed_starts = 0
        self._gpus: int | None = None
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers at once, and remove what they have begun."""
        for worker in self._workers.values():
            worker.process.kill()
        for worker in list(self._workers.values()):
            self._remove(worker)
            worker.kill()
            self._clean(worker)
        self._selector.close()

    def events(self) -> Iterator[Event]:
        """Yield what happens until all shards are committed."""
        while self._waiting or any(w.shard is not None for w in self._workers.values()):
            self._staff()
            for key, _ in self._selector.select(_TICK):
                yield from self._hear(key.data)
            now = time.monotonic()
            for worker in list(self._workers.values()):
                busy = worker.shard is not None or not worker.ready
                if busy and now - worker.heard > self._engine.patience:
                    self._remove(worker)
                    worker.kill()
                    yield from self._lose(worker, f"it said nothing for {now - worker.heard:.0f} s")

    def _staff(self) -> None:
        """Give shards to workers that have none, and start as many as there is work for."""
        for worker in self._workers.values():
            if self._waiting and worker.ready and worker.shard is None:
                shard = self._waiting.popleft()
                worker.order(shard, self._deaths.blamed(shard), self._deaths.any(shard))
        busy = sum(worker.shard is not None for worker in self._workers.values())
        wanted = min(self._engine.workers(self._gpus), busy + len(self._waiting))
        for number in range(self._engine.workers(self._gpus)):
            if len(self._workers) < wanted and number not in self._workers:
                worker = self._engine.start(self._folder, number, self._gpus)
                self._workers[number] = worker
                self._selector.register(worker.channel, selectors.EVENT_READ, worker)

    def _hear(self, worker: _Worker) -> Iterator[Event]:
        try:
            for message in worker.receive():
                yield from self._understand(worker, message)
        except EOFError:
            self._remove(worker)
            yield from self._lose(worker, worker.end())

    def _understand(self, worker: _Worker, message: dict[str, Any]) -> Iterator[Event]:
        match message:
            case {"at": position}:
                worker.at = position
            case {"progress": fields}:
                yield Progress(*fields)
            case {"ready": gpus}:
                worker.ready, self._gpus, self._failed_starts = True, gpus, 0
            case {"committed": shard}:
                worker.shard = None
                self._deaths.forget(shard)
                yield Committed(shard)
            case {"failed": name, "message": text, "trace": trace}:
                raise error_of(name, text, trace)

    def _lose(self, worker: _Worker, reason: str) -> Iterator[Event]:
        """Begin the shard of a worker that is gone again."""
        self._clean(worker)
        shard = worker.shard
        if shard is None:
            self._failed_starts += not worker.ready
            if self._failed_starts >= _STARTS:
                raise Unavailable(f"workers cannot be started: {reason}")
        elif Folder(self._folder).record_of(shard).exists():  # it died just behind the end
            yield Committed(shard)
        else:
            self._deaths.note(shard, worker.at, reason)
            self._waiting.appendleft(shard)
            yield Lost(shard, reason)

    def _remove(self, worker: _Worker) -> None:
        """Listen to a worker no more."""
        self._selector.unregister(worker.channel)
        del self._workers[worker.number]

    def _clean(self, worker: _Worker) -> None:
        """Remove what a worker that is gone had begun."""
        for path in Folder(self._folder).unfinished.glob(f"*-{worker.process.pid}-*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def error_of(name: str, text: str, trace: str) -> Exception:
    """Return the error that a worker told of: one of `codecs.errors`, else a `RuntimeError`."""
    kind = getattr(errors, name, RuntimeError)
    known = isinstance(kind, type) and issubclass(kind, errors.OmnicodecError)
    error: Exception = kind(text) if known else RuntimeError(text)
    error.add_note(trace)
    return error
