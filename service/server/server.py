"""The server: one port with CodecService, Operations, health and reflection."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
from grpc_reflection.v1alpha import reflection

from omnicodec.codecs import Unavailable, available, load
from omnicodec.codecs.hub.reference import is_hub_name
from omnicodec.codecs.registry import resolve_device
from omnicodec.service.server.admission import Admission
from omnicodec.service.server.engine import Engine
from omnicodec.service.server.health import SERVICE_NAME as HEALTH_SERVICE
from omnicodec.service.server.health import Health
from omnicodec.service.server.inference import inference_services
from omnicodec.service.server.logs import RequestLog
from omnicodec.service.server.metrics import Metrics
from omnicodec.service.server.operations.calls import Operations
from omnicodec.service.server.operations.forwarding import SOCKET, ForwardedOperations
from omnicodec.service.server.options import ServerOptions
from omnicodec.service.server.security import Calls
from omnicodec.service.server.service import services
from omnicodec.service.server.stream_calls import Room
from omnicodec.service.server.streams import stream_service
from omnicodec.service.server.tls import server_credentials
from omnicodec.service.server.tokens import Tokens
from omnicodec.service.server.tracing import Tracer, make_tracer
from omnicodec.service.server.workers import Workers

_log = logging.getLogger(__name__)

# Open streams, such as those of Health.Watch, never end by themselves.
_STREAM_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Member:
    """One of several server processes that share a port: see processes.py.

    `folder` is theirs alone. The process with the number 0 has the folder of jobs, the others pass
    calls about long encodes on to it.
    """

    number: int
    folder: Path


class Server:
    """A server of one event loop; `start` and `drain` are called on it, once each.

    `address` is "HOST:PORT" with the port that was bound, from `start` on, and so are
    `metrics_address` and `health_address`, where there are some.
    """

    def __init__(self, options: ServerOptions, member: Member | None = None) -> None:
        self.address = options.listen
        self.metrics_address: str | None = None
        self.health_address: str | None = None
        self._options, self._member = options, member
        self._metrics = Metrics()
        self._tracer = Tracer()
        self._endpoint: Any = None
        self._health_server: Any = None

    async def start(self) -> None:
        """Load what is to be preloaded, then listen.

        Raises `Unavailable` when an address cannot be bound, an optional library is missing or
        the folder of jobs is another server's, `InvalidInput` for files that are wrong, and what
        loading raises.
        """
        options, member = self._options, self._member
        credentials = self._credentials()
        tokens = None if options.tokens is None else Tokens(options.tokens)
        self._watch()
        self._workers = Workers.of(options, self._metrics)
        self._engine = Engine(options, self._workers, self._metrics)
        self._operations = self._make_operations()
        try:
            await self._operations.open()
            self._health = Health(available())
            self._engine.codecs.loaded = self._health.codec_loaded
            await self._prepare()
            self._streams = Room(options.max_streams, options.max_queue_bytes)
            self._admission = Admission(
                options.max_queue,
                options.max_queue_bytes,
                options.max_queue_seconds,
                metrics=self._metrics,
            )
            # Who waits for an operation takes nobody's turn.
            self._waits = Admission(options.max_queue, options.max_queue_bytes)
            log = RequestLog(options.log_format == "json")
            self._server = grpc.aio.server(
                interceptors=[Calls(tokens, self._metrics, self._tracer, log)],
                options=_channel_options(options, shared=member is not None),
            )
            names = [HEALTH_SERVICE]
            for service in (
                *services(
                    self._engine,
                    self._operations,
                    self._workers,
                    options.max_items,
                    work=self._admission,
                    waits=self._waits,
                ),
                stream_service(options, self._engine, self._workers, self._streams),
                *inference_services(
                    options, self._engine, self._workers, work=self._admission, room=self._streams
                ),
            ):
                self._server.add_generic_rpc_handlers((service.handlers(),))
                if service.full_name not in names:  # of some, one part takes streams
                    names.append(service.full_name)
            self._server.add_generic_rpc_handlers((self._health.handlers(),))
            reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), self._server)
            port = self._bind(credentials)
            await self._serve_health()
        except BaseException:
            await self._close()
            raise
        await self._server.start()
        self._health.serve(names)
        self._operations.begin()
        self.address = f"{options.listen.rpartition(':')[0]}:{port}"
        if member is None:
            _log.info("listening on %s", self.address)

    async def drain(self, hurry: asyncio.Event | None = None) -> None:
        """Stop: let calls in progress end, turn new ones away, then close the port.

        Health answers NOT_SERVING meanwhile. What is not done after `grace_seconds`, or once
        `hurry` is set, is cancelled. Long encodes are not waited for: they leave checkpoints.
        """
        self._admission.close()
        self._waits.close()
        self._streams.close()
        self._health.close()
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
        if self._health_server is not None:
            await self._health_server.stop(None)
        await self._close()
        if self._member is None:
            _log.info("stopped listening on %s", self.address)

    async def _close(self) -> None:
        self._operations.close()
        self._workers.close()
        if self._endpoint is not None:
            self._endpoint.close()
        await asyncio.to_thread(self._tracer.close)

    def _watch(self) -> None:
        """Begin to count and to trace, as far as that is asked for."""
        options = self._options
        self._tracer = make_tracer(options.trace_endpoint)
        if options.metrics_listen is not None:
            from omnicodec.service.server import prometheus

            self._metrics = metrics = prometheus.PrometheusMetrics()
            if self._member is None:  # otherwise the supervisor has the endpoint
                registry = prometheus.of_this_process(metrics)
                self._endpoint = prometheus.Endpoint(options.metrics_listen, registry)
                self.metrics_address = self._endpoint.address
                _log.info("metrics on http://%s/metrics", self.metrics_address)

    def _make_operations(self) -> Operations | ForwardedOperations:
        if self._member is None or self._member.number == 0 or self._options.jobs is None:
            return Operations(self._options, self._workers, self._engine)
        return ForwardedOperations(self._member.folder)

    def _credentials(self) -> Any:
        options = self._options
        if options.tls_certificate is None or options.tls_key is None:
            return None
        return server_credentials(options.tls_certificate, options.tls_key, options.tls_client_ca)

    def _bind(self, credentials: Any) -> int:
        """Bind the port, and return which it is."""
        options, member = self._options, self._member
        if member is not None and member.number == 0 and options.jobs is not None:
            self._server.add_insecure_port(f"unix:{member.folder / SOCKET}")
        try:
            if credentials is None:
                return int(self._server.add_insecure_port(options.listen))
            return int(self._server.add_secure_port(options.listen, credentials))
        except RuntimeError as e:
            raise Unavailable(f"cannot listen on {options.listen}") from e

    async def _serve_health(self) -> None:
        """Answer health checks on a port of their own: probes may speak no TLS."""
        address = self._options.health_listen
        if address is None:
            return
        shared = int(self._member is not None)
        self._health_server = grpc.aio.server(options=[("grpc.so_reuseport", shared)])
        self._health_server.add_generic_rpc_handlers((self._health.handlers(),))
        try:
            port = self._health_server.add_insecure_port(address)
        except RuntimeError as e:
            raise Unavailable(f"cannot serve health checks on {address}") from e
        await self._health_server.start()
        self.health_address = f"{address.rpartition(':')[0]}:{port}"

    async def _wait_idle(self) -> None:
        for part in (self._admission, self._waits, self._streams, self._operations):
            await part.wait_idle()

    async def _prepare(self) -> None:
        """Notice a wrong device before the first client does, and load codecs."""
        loop = asyncio.get_running_loop()
        if self._options.device not in ("auto", "cpu"):
            await loop.run_in_executor(self._workers.compute, resolve_device, self._options.device)
        for name in self._options.preload:
            await loop.run_in_executor(self._workers.compute, self._preload, name)

    def _preload(self, name: str) -> None:
        """Load a codec; what a request names is found among published ones only after this."""
        if is_hub_name(name):
            name = load(name, device=self._workers.compute.devices[0]).spec.name
        self._engine.codecs.load(name)


def _channel_options(options: ServerOptions, *, shared: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.max_send_message_length", options.max_message_bytes),
        # gRPC checks the size of a compressed request after it has unpacked all of it, and 1 MB
        # of gzip can be 1 GB; so only uncompressed requests are taken.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        # Calls beyond these wait at the client; read, they would take memory before admission.
        ("grpc.max_concurrent_streams", 2 * options.max_queue + options.max_streams + 16),
        # With this a second server on the same port would start, and get half of the calls.
        ("grpc.so_reuseport", int(shared)),
        # Clients that are gone without a word are found out in 80 seconds instead of 2 hours, and
        # those that ask in turn, as proxies do every half minute, are not cut off for that.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.server_handshake_timeout_ms", 20_000),
    ]
