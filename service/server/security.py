"""What every call on the port passes: who it is, what that may do, and what is said of it after.

One interceptor, for all services, so that none can be forgotten. Health checks pass untouched:
a full server is a healthy one, and probes hold no tokens. Server reflection needs a token, as any
other call does, but is open to each.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Final

import grpc
import grpc.aio
from grpc_status import rpc_status

from omnicodec.service.server.calls import Call, enter
from omnicodec.service.server.logs import RequestLog
from omnicodec.service.server.metrics import Metrics
from omnicodec.service.server.statuses import status_of
from omnicodec.service.server.tokens import OverQuota, Tokens
from omnicodec.service.server.tracing import Tracer

HEALTH: Final = "grpc.health.v1.Health/"
REFLECTION: Final = "grpc.reflection."

Behavior = Callable[[Any, grpc.aio.ServicerContext], Awaitable[None]]

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Calls(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Lets calls in that have a token, where `tokens` are asked for, and follows each to its end.

    Whatever a handler raises that is no status yet becomes one, so that no exception's text
    gets out: gRPC itself would send it.
    """

    def __init__(
        self, tokens: Tokens | None, metrics: Metrics, tracer: Tracer, log: RequestLog
    ) -> None:
        self._tokens, self._metrics = tokens, metrics
        self._tracer, self._log = tracer, log

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler = await continuation(details)
        method = details.method.removeprefix("/")
        if handler is None or method.startswith(HEALTH):
            return handler
        metadata = dict(details.invocation_metadata or ())
        call = Call(method=method, metrics=self._metrics)
        chosen = metadata.get("x-request-id", "")
        if isinstance(chosen, str) and _REQUEST_ID.fullmatch(chosen):
            call.id = chosen
        call.authorization = metadata.get("authorization")
        self._tracer.begin(call, metadata)
        try:
            if self._tokens is not None:
                call.holder = self._tokens.holder(call.authorization)
                if not method.startswith(REFLECTION):
                    call.holder.check_method(method)
        except Exception as error:
            refused = error

            async def refuse(*_: Any) -> None:
                self._metrics.refused("token")
                raise refused

            # As if it took a stream, so that nothing of the request is read.
            return grpc.stream_stream_rpc_method_handler(self._followed(refuse, call))
        return self._wrapped(handler, call)

    def _wrapped(self, handler: grpc.RpcMethodHandler, call: Call) -> grpc.RpcMethodHandler:
        """Return a handler that is as the given one to a client, and writes its answers itself.

        So nobody has to ask gRPC when a call is over. grpc.aio holds such callbacks in a cycle with
        the call, which is freed when Python's collector comes by, and until then gRPC counts the
        call as going on: after `grpc.max_concurrent_streams` of them it refuses all further ones
        of the connection.
        """
        behavior = (
            handler.unary_unary
            or handler.unary_stream
            or handler.stream_unary
            or handler.stream_stream
        )

        async def answer(request: Any, context: grpc.aio.ServicerContext) -> None:
            with self._held(call):
                if inspect.isasyncgenfunction(behavior):
                    async with aclosing(behavior(request, context)) as messages:
                        async for message in messages:
                            await context.write(message)
                elif handler.response_streaming:
                    await behavior(request, context)
                else:
                    await context.write(await behavior(request, context))

        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
        return make(
            self._followed(answer, call),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    @contextmanager
    def _held(self, call: Call) -> Iterator[None]:
        """Count a call as one of its token's."""
        try:
            call.holder.begin()
        except OverQuota:
            self._metrics.refused("token")
            raise
        try:
            yield
        finally:
            call.holder.end()

    def _followed(self, answer: Behavior, call: Call) -> Behavior:
        """Return what answers a call, and says what became of it once all of it is sent."""

        async def followed(request: Any, context: grpc.aio.ServicerContext) -> None:
            enter(call)
            self._metrics.began(call.method)
            began = time.monotonic()
            try:
                try:
                    await answer(request, context)
                    call.done = True
                except grpc.aio.BaseError:  # a status already, or a client that is gone
                    raise
                except Exception as error:
                    name = call.method.rpartition("/")[2]
                    await context.abort_with_status(rpc_status.to_status(status_of(error, name)))
            except grpc.aio.AbortError as aborted:
                # The call keeps it and raises it again; with its traceback, in a cycle.
                aborted.__traceback__ = aborted.__context__ = None
            finally:
                code = _code(call, context)
                seconds = time.monotonic() - began
                self._metrics.ended(call.method, code, seconds, call.received, call.sent)
                self._tracer.end(call, code)
                self._log.write(call, code, seconds)

        return followed


def _code(call: Call, context: grpc.aio.ServicerContext) -> str:
    """Return the name of the status of a call that is over."""
    code = context.code()
    if code is None and call.done:
        return "OK"
    if code is None:  # ended by the client, or because its deadline has passed
        left = context.time_remaining()
        return "CANCELLED" if left is None or left > 0 else "DEADLINE_EXCEEDED"
    if isinstance(code, grpc.StatusCode):
        return str(code.name)
    return next((c.name for c in grpc.StatusCode if c.value[0] == code), "UNKNOWN")
