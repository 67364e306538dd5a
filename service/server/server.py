"""The server: one port with CodecService, Operations, health and reflection."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from omnicodec.codecs import Unavailable
from omnicodec.codecs.registry import resolve_device
from omnicodec.service.server.admission import Admission
from omnicodec.service.server.engine import Engine
from omnicodec.service.server.jobs import Workers
from omnicodec.service.server.operations.calls import OPERATIONS, Operations
from omnicodec.service.server.options import ServerOptions
from omnicodec.service.server.service import SERVICE, services

_log = logging.getLogger(__name__)

# Open streams, such as those of Health.Watch, never end by themselves.
_STREAM_SECONDS: Final = 0.5


class Server:
    """A server of one event loop; `start` and `drain` are called on it, once each.

    `address` is "HOST:PORT" with the port that was bound, from `start` on.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.address = options.listen
        self._options = options
        self._workers = Workers(options.cpu_threads)
        self._engine = Engine(options, self._workers)
        self._operations = Operations(options, self._workers, self._engine)

    async def start(self) -> None:
        """Load what is to be preloaded, then listen.

        Raises `Unavailable` when the address cannot be bound or the folder of jobs is another
        server's, and what loading raises.
        """
        options = self._options
        try:
            await self._operations.open()
            await self._prepare()
            self._admission = Admission(options.max_queue, options.max_queue_bytes)
            # Who waits for an operation takes nobody's turn.
            self._waits = Admission(options.max_queue, options.max_queue_bytes)
            self._health = health.aio.HealthServicer()
            self._server = grpc.aio.server(options=_channel_options(options))
            for service in services(
                self._engine,
                self._operations,
                self._workers,
                options.max_items,
                work=self._admission,
                waits=self._waits,
            ):
                self._server.add_generic_rpc_handlers((service.handlers(),))
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
            names = (SERVICE.full_name, OPERATIONS.full_name, health.SERVICE_NAME)
            reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), self._server)
            try:
                port = self._server.add_insecure_port(options.listen)
            except RuntimeError as e:
                raise Unavailable(f"cannot listen on {options.listen}") from e
        except BaseException:
            self._operations.close()
            self._workers.close()
            raise
        await self._server.start()
        for name in (health.OVERALL_HEALTH, SERVICE.full_name, OPERATIONS.full_name):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._operations.begin()
        self.address = f"{options.listen.rpartition(':')[0]}:{port}"
        _log.info("listening on %s", self.address)

    async def drain(self, hurry: asyncio.Event | None = None) -> None:
        """Stop: let calls in progress end, turn new ones away, then close the port.

        Health answers NOT_SERVING meanwhile. What is not done after `grace_seconds`, or once
        `hurry` is set, is cancelled. Long encodes are not waited for: they leave checkpoints.
        """
        self._admission.close()
        self._waits.close()
        await self._health.enter_graceful_shutdown()
        self._operations.stop()
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._wait_idle())]
        if hurry is not None:
            waits.append(asyncio.create_task(hurry.wait()))
        await asyncio.wait(
            waits, timeout=self._options.grace_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        done = waits[0].done()
        for wait in waits:
            wait.cancel()
        await self._server.stop(_STREAM_SECONDS if done else None)
        self._operations.close()
        self._workers.close()
        _log.info("stopped listening on %s", self.address)

    async def _wait_idle(self) -> None:
        for part in (self._admission, self._waits, self._operations):
            await part.wait_idle()

    async def _prepare(self) -> None:
        """Notice a wrong device before the first client does, and load codecs."""
        loop = asyncio.get_running_loop()
        if self._options.device not in ("auto", "cpu"):
            await loop.run_in_executor(self._workers.compute, resolve_device, self._options.device)
        for name in self._options.preload:
            codec = await loop.run_in_executor(self._workers.compute, self._engine.load, name)
            await loop.run_in_executor(self._workers.compute, codec.warm)


def _channel_options(options: ServerOptions) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.max_send_message_length", options.max_message_bytes),
        # gRPC checks the size of a compressed request after it has unpacked all of it, and 1 MB
        # of gzip can be 1 GB; so only uncompressed requests are taken.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        # Calls beyond these wait at the client; read, they would take memory before admission.
        ("grpc.max_concurrent_streams", 2 * options.max_queue + 16),
        # Without this a second server on the same port starts, and gets half of the calls.
        ("grpc.so_reuseport", 0),
    ]
