"""grpc.health.v1: of the server, of each of its services, and of each codec.

A codec is the service `omnicodec.codec.image/vq`: SERVING once it is loaded and warm, so that a
probe can wait for those named by `preload`, NOT_SERVING before. It may be used before: the
first call then waits until it is loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2

CODEC_PREFIX: Final = "omnicodec.codec."

SERVICE_NAME: Final[str] = health.SERVICE_NAME

# gRPC takes a parser that raises for a bug of the server, and one that returns None likewise.
_INVALID: Final = object()
_SAYS: Final = "the request is not a valid message of its type"

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """Answers health checks on the event loop that made it.

    That of grpc_health forgets all who watch a service as soon as one of them leaves.
    """

    def __init__(self, codecs: Iterable[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._status: dict[str, int] = {"": _NOT_SERVING}
        self._status.update({f"{CODEC_PREFIX}{name}": _NOT_SERVING for name in codecs})
        self._changed = asyncio.Event()
        self._closed = False

    def serve(self, services: Iterable[str]) -> None:
        """Call the server as a whole, and these services, SERVING."""
        self._set(dict.fromkeys(("", *services), _SERVING))

    def codec_loaded(self, name: str, seconds: float) -> None:
        """Call a codec SERVING; from any thread."""
        with suppress(RuntimeError):  # the loop is closed, and nobody asks
            self._loop.call_soon_threadsafe(self._set, {f"{CODEC_PREFIX}{name}": _SERVING})

    def close(self) -> None:
        """Call everything NOT_SERVING, for good."""
        self._set(dict.fromkeys(self._status, _NOT_SERVING))
        self._closed = True

    def _set(self, status: dict[str, int]) -> None:
        if not self._closed:
            self._status.update(status)
            self._changed.set()
            self._changed = asyncio.Event()

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what a server registers.

        As grpc_health has it, but what is no request is INVALID_ARGUMENT and not UNKNOWN.
        """
        into = health_pb2.HealthCheckResponse.SerializeToString
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self.Check, _parse, into),
                "Watch": grpc.unary_stream_rpc_method_handler(self.Watch, _parse, into),
            },
        )

    async def Check(  # noqa: N802
        self, request: Any, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """Answer with the status of a service, or NOT_FOUND."""
        if request is _INVALID:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _SAYS)
        status = self._status.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(  # noqa: N802
        self, request: Any, context: grpc.aio.ServicerContext
    ) -> None:
        """Send the status of a service now and whenever it changes."""
        if request is _INVALID:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _SAYS)
        last = None
        while True:
            changed = self._changed
            status = self._status.get(request.service, _UNKNOWN)
            if status != last:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                last = status
            await changed.wait()


def _parse(data: bytes) -> Any:
    try:
        return health_pb2.HealthCheckRequest.FromString(data)
    except DecodeError:
        return _INVALID
