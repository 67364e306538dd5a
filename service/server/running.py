"""Running a server: until a signal says stop, or beside other code in the same process."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from omnicodec.service.server import logs
from omnicodec.service.server.garbage import freeze
from omnicodec.service.server.options import ServerOptions
from omnicodec.service.server.processes import Supervisor
from omnicodec.service.server.server import Server


async def serve(options: ServerOptions) -> None:
    """Run a server until SIGTERM or SIGINT, then drain it; a second signal hurries.

    Logs a line with the bound address, to stderr unless logging was set up otherwise.
    Raises what `Server.start` raises.
    """
    logs.set_up(options.log_format)
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    server = Server(options) if options.processes == 1 else Supervisor(options)
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    # Before the start, as it logs the line that others wait for before they send a signal. On
    # Windows loops take no signals, and Ctrl-C arrives as a KeyboardInterrupt.
    with suppress(NotImplementedError):
        for number in signals:
            loop.add_signal_handler(number, on_signal)
    try:
        await server.start()
        freeze()
        try:
            await stop.wait()
        finally:
            await server.drain(hurry)
    finally:
        with suppress(NotImplementedError):
            for number in signals:
                loop.remove_signal_handler(number)


@dataclass(frozen=True)
class RunningServer:
    """A server in a thread of this process; `drain` stops it early and returns once it has."""

    address: str
    drain: Callable[[], None]
    metrics_address: str | None = None
    health_address: str | None = None


@contextmanager
def running_server(options: ServerOptions | None = None) -> Iterator[RunningServer]:
    """Run a server in a thread of its own, on a free port unless told otherwise.

    For tests, examples and notebooks. Only one event loop of a process may run gRPC, so
    clients beside it should be synchronous ones, such as `omnicodec.service.Client`.
    """
    server = Server(options or ServerOptions(listen="127.0.0.1:0"))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="omnicodec-server", daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result()

    drained = False

    def drain() -> None:
        nonlocal drained
        if not drained:
            drained = True
            run(server.drain())

    try:
        run(server.start())
        try:
            yield RunningServer(
                server.address, drain, server.metrics_address, server.health_address
            )
        finally:
            drain()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
