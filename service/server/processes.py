"""Several server processes on one port, and the one that starts them and keeps them going.

    supervisor ──pipe──▶ process 0   has the folder of jobs
        │      ──pipe──▶ process 1   passes calls about long encodes on to process 0
        └─ metrics of all

The kernel gives each connection to one of them (SO_REUSEPORT), where it stays. That pays where one
process cannot keep the machine busy: entropy coding and parsing hold Python's lock. Processes
are spawned, since gRPC does not survive a fork. Each is a whole server: limits such as `max_queue`,
and those of tokens, are of each; codecs are loaded in each.

One that dies is started again, later each time it dies soon. What the supervisor has to say goes
through pipes, so that a signal to the whole group, such as Ctrl-C or systemd's, counts once; when
the supervisor is gone the others drain, too.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Final

from omnicodec.codecs import OmnicodecError, Unavailable
from omnicodec.service.server import logs
from omnicodec.service.server.garbage import freeze
from omnicodec.service.server.options import ServerOptions
from omnicodec.service.server.server import Member, Server

_log = logging.getLogger(__name__)

FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Says where prometheus_client keeps the numbers of several processes."""

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_SETTLED_SECONDS: Final = 60.0
"""A process that lived that long is started again without delay."""

_LAST_SECONDS: Final = 5.0
"""What processes have beside the grace before they are killed."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_SPAWN: Final = multiprocessing.get_context("spawn")


class Reserved:
    """A port that is held for processes to share; raises `Unavailable` when it is another's.

    The socket is bound and never listens, so the kernel gives it no connections.
    """

    def __init__(self, listen: str) -> None:
        if not hasattr(socket, "SO_REUSEPORT"):
            raise Unavailable("processes cannot share a port on this system")
        host, _, port = listen.rpartition(":")
        try:
            family, _, _, _, address = socket.getaddrinfo(
                host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, socket.SOCK_STREAM) as alone:
                # Sharing would succeed beside another server that shares.
                alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                alone.bind(address)
                alone.listen()
                address = alone.getsockname()
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._socket.bind(address)
        except OSError as e:
            raise Unavailable(f"cannot listen on {listen}") from e
        self.address = f"{host}:{address[1]}"

    def close(self) -> None:
        self._socket.close()


@dataclass
class _Child:
    """A process as its supervisor sees it."""

    number: int
    process: SpawnProcess
    pipe: Connection
    began: float = field(default_factory=time.monotonic)
    error: str = ""


class Supervisor:
    """Runs `options.processes` servers; `start` and `drain` are called on one event loop.

    `address` is "HOST:PORT" with the port that was bound, from `start` on, and so is
    `metrics_address`, where there is one.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.address = options.listen
        self.metrics_address: str | None = None
        self._options = options
        self._children: dict[int, _Child] = {}
        self._waits: dict[int, float] = {}
        self._starts = 0
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._endpoint: Any = None

    async def start(self) -> None:
        """Start all processes, and return when all listen.

        Raises `Unavailable` with what the first one says that cannot start.
        """
        self._reserved = Reserved(self._options.listen)
        self.address = self._reserved.address
        self._folder = tempfile.TemporaryDirectory(prefix="omnicodec-")  # for its user alone
        self._metrics = Path(self._folder.name, "metrics")
        self._metrics.mkdir()
        try:
            self._serve_metrics()
            for number in range(self._options.processes):
                self._spawn(number)
            failures = await asyncio.gather(
                *(asyncio.to_thread(_wait_ready, child) for child in self._children.values())
            )
            if failed := [error for error in failures if error]:
                raise Unavailable(failed[0])
        except BaseException:
            for child in self._children.values():
                child.process.kill()
                child.process.join()
            self._close()
            raise
        for number in self._children:
            self._tasks.append(asyncio.create_task(self._keep(number)))
        _log.info("listening on %s, %d processes", self.address, self._options.processes)

    async def drain(self, hurry: asyncio.Event | None = None) -> None:
        """Have all processes drain, as `Server.drain` does, and return when they are gone."""
        self._stop.set()
        for child in self._children.values():
            _tell(child, "stop")
        hurrying = asyncio.create_task(self._hurry(hurry))
        ends = asyncio.get_running_loop().time() + self._options.grace_seconds + _LAST_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout_at(ends):
                await asyncio.gather(*self._tasks)
        hurrying.cancel()
        for child in self._children.values():
            if child.process.is_alive():
                _log.warning("process %d did not end and is killed", child.number)
                child.process.kill()
        for task in self._tasks:
            task.cancel()
        for child in self._children.values():
            child.process.join()
        self._close()
        _log.info("stopped listening on %s", self.address)

    async def _hurry(self, hurry: asyncio.Event | None) -> None:
        if hurry is not None:
            await hurry.wait()
            for child in self._children.values():
                _tell(child, "hurry")

    async def _keep(self, number: int) -> None:
        """Start a process again whenever it has ended, until all are to stop."""
        while True:
            child = self._children[number]
            await _ended(child.process)
            with suppress(EOFError, OSError):
                while child.pipe.poll():
                    child.error = child.pipe.recv()
            child.pipe.close()
            self._forget(child)
            if self._stop.is_set():
                return
            lived = time.monotonic() - child.began
            wait = 0.0
            if child.process.exitcode != 0 and lived < _SETTLED_SECONDS:
                wait = min(_LONGEST_WAIT, max(_FIRST_WAIT, 2 * self._waits.get(number, 0.0)))
            self._waits[number] = wait
            _log.error(
                "process %d ended with %s after %.0f s%s; the next one starts in %.1f s",
                number, child.process.exitcode, lived, _told(child), wait,
            )  # fmt: skip
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait)
            if self._stop.is_set():
                return
            self._spawn(number)

    def _spawn(self, number: int) -> None:
        options = replace(self._options, listen=self.address)
        member = Member(number, Path(self._folder.name))
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(
            target=run_member,
            args=(options, member, theirs, str(self._metrics)),
            name=f"omnicodec-server-{number}",
        )
        # A signal before it listens for signals would be its end; held back, it drains later.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._children[number] = _Child(number, process, ours)
        self._starts += 1

    def _serve_metrics(self) -> None:
        listen = self._options.metrics_listen
        if listen is not None:
            from omnicodec.service.server import prometheus

            registry = prometheus.of_all_processes(
                self._metrics, self.processes, lambda: self._starts
            )
            self._endpoint = prometheus.Endpoint(listen, registry)
            self.metrics_address = self._endpoint.address
            _log.info("metrics on http://%s/metrics", self.metrics_address)

    def processes(self) -> dict[int, int]:
        """Return the ids of the processes that are there, by their numbers."""
        return {n: c.process.pid for n, c in list(self._children.items()) if c.process.pid}

    def _forget(self, child: _Child) -> None:
        if self._endpoint is not None and child.process.pid is not None:
            from omnicodec.service.server import prometheus

            prometheus.forget(self._metrics, child.process.pid)

    def _close(self) -> None:
        if self._endpoint is not None:
            self._endpoint.close()
        self._reserved.close()
        self._folder.cleanup()


def _wait_ready(child: _Child) -> str:
    """Wait until a process listens, and return what is wrong, if anything."""
    try:
        child.error = child.pipe.recv()
    except (EOFError, OSError):
        child.process.join()
        return f"a server process ended with {child.process.exitcode} before it listened"
    return child.error


async def _ended(process: SpawnProcess) -> None:
    """Return once a process has ended."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)
    process.join()


def _told(child: _Child) -> str:
    return f" ({child.error})" if child.error else ""


def _tell(child: _Child, word: str) -> None:
    with suppress(OSError, ValueError):  # it has ended
        child.pipe.send(word)


def run_member(options: ServerOptions, member: Member, pipe: Connection, metrics: str) -> None:
    """Be one of the processes: serve until the supervisor says so, or is gone."""
    os.environ[FOLDER_VARIABLE] = metrics  # before prometheus_client is imported
    logs.set_up(options.log_format, process=member.number)
    asyncio.run(_serve_member(options, member, pipe))


async def _serve_member(options: ServerOptions, member: Member, pipe: Connection) -> None:
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen() -> None:
        try:
            word = pipe.recv()
        except (EOFError, OSError):  # the supervisor is gone
            loop.remove_reader(pipe.fileno())
            word = "stop"
        (hurry if word == "hurry" else stop).set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    loop.add_reader(pipe.fileno(), listen)
    server = Server(options, member)
    try:
        await server.start()
    except OmnicodecError as e:
        pipe.send(str(e))
        raise SystemExit(1) from None
    freeze()
    with suppress(OSError):
        pipe.send("")
    await stop.wait()
    await server.drain(hurry)
