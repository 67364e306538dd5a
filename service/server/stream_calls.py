"""The way of a stream: messages in and out one by one, as fast as the work and the client go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any, ClassVar, Generic, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from grpc_status import rpc_status

from omnicodec.codecs import Unavailable
from omnicodec.service.server import wire
from omnicodec.service.server.admission import Busy
from omnicodec.service.server.batching import says_bulk
from omnicodec.service.server.calls import current
from omnicodec.service.server.jobs import Job
from omnicodec.service.server.refusals import Refusal
from omnicodec.service.server.statuses import status_of
from omnicodec.service.server.workers import Workers

M = TypeVar("M", bound=Message)


class Idle(Refusal, Unavailable):
    """Nothing came from the client, or it took nothing, for too long."""

    grpc_status: ClassVar[str] = "DEADLINE_EXCEEDED"
    reason: ClassVar[str] = "STREAM_IDLE"


class Room:
    """How many streams there may be, and how many bytes all of them keep in memory together.

    Belongs to one event loop and is not locked.
    """

    def __init__(self, most_streams: int, most_bytes: int) -> None:
        self.streams = self.nbytes = 0
        self.closed = False
        self._most_streams, self._most_bytes = most_streams, most_bytes
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self) -> None:
        """Count a stream in; `leave` must follow. Raises `Busy`, `Unavailable` after `close`."""
        if self.closed:
            raise Unavailable("the server is shutting down")
        if self.streams >= self._most_streams:
            current().metrics.refused("streams")
            raise Busy(f"the server is busy with {self.streams} streams; try again later")
        self.streams += 1
        self._idle.clear()

    def leave(self) -> None:
        """Count a stream out that `enter` let in."""
        self.streams -= 1
        if not self.streams:
            self._idle.set()

    def hold(self, nbytes: int) -> None:
        """Count so many bytes more, or less; raises `Busy` where there is no room for more."""
        if nbytes > 0 and self.nbytes + nbytes > self._most_bytes:
            current().metrics.refused("bytes")
            raise Busy("the server is busy with what other streams sent; try again later")
        self.nbytes += nbytes

    def close(self) -> None:
        """Let no further stream in."""
        self.closed = True

    async def wait_idle(self) -> None:
        """Return once no stream is left."""
        await self._idle.wait()


class StreamCall(Generic[M]):
    """One stream as its method sees it: `read` the next message, `keep` account of others.

    Nothing is read ahead: while a message is worked on or an answer is waiting for the client, gRPC
    holds back what follows, so a stream takes as much memory as its largest message and what
    its method keeps.
    """

    def __init__(
        self,
        context: grpc.aio.ServicerContext,
        kind: type[M],
        job: Job,
        workers: Workers,
        room: Room,
        *,
        idle_seconds: float,
        most_items: int,
    ) -> None:
        self.job = job
        self._context, self._kind = context, kind
        self._workers, self._room = workers, room
        self._idle_seconds, self._most_items = idle_seconds, most_items
        self._kept = self._counted = 0

    @property
    def metadata(self) -> dict[str, str | bytes]:
        """What the client sent with the call."""
        return dict(self._context.invocation_metadata() or ())

    async def read(self) -> M | None:
        """Return the next message; None once the client has closed its side.

        The one before it is no longer counted, unless as what is kept. Raises `Idle`, `Busy`, and
        what `wire.parse` raises.
        """
        data = await self._in_time(self._context.read(), "nothing came")
        self._count(0)
        if data is grpc.aio.EOF:
            return None
        current().receive(len(data))
        self._count(len(data))
        if len(data) <= wire.AT_ONCE_BYTES:
            return wire.parse(self._kind, data, self._most_items)
        return await self.job.run(self._workers.cpu, wire.parse, self._kind, data, self._most_items)

    def keep(self, nbytes: int) -> None:
        """Count so many bytes that are kept of all messages until now; raises `Busy`."""
        self._room.hold(nbytes - self._kept - self._counted)
        self._kept, self._counted = nbytes, 0

    async def write(self, answer: Message) -> None:
        """Send an answer, as soon as the client takes it. Raises `Idle`."""
        data = answer.SerializeToString()
        await self._in_time(self._context.write(data), "no answer was taken")
        current().send(len(data))

    def _count(self, nbytes: int) -> None:
        self._room.hold(nbytes - self._counted)
        self._counted = nbytes

    async def _in_time(self, waits: Awaitable[Any], what: str) -> Any:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await waits
        except TimeoutError:
            raise Idle(f"{what} for {self._idle_seconds:g} seconds, so the stream ends") from None
        except grpc.aio.InternalError:
            raise asyncio.CancelledError from None  # the client is gone


StreamMethod = Callable[[StreamCall[Any]], AsyncIterator[Message]]


class StreamService:
    """Answers the calls of one gRPC service that stream both ways.

    `methods` has, by name, the type of a request and what answers a call.
    """

    def __init__(
        self,
        full_name: str,
        methods: Mapping[str, tuple[type[Message], StreamMethod]],
        workers: Workers,
        room: Room,
        *,
        idle_seconds: float,
        most_items: int,
    ) -> None:
        self.full_name = full_name
        self._methods = methods
        self._workers, self._room = workers, room
        self._idle_seconds, self._most_items = idle_seconds, most_items

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what a server registers; messages are bytes to gRPC, as in `Service`."""
        handlers = {
            name: grpc.stream_stream_rpc_method_handler(self._handler(name, *how))
            for name, how in self._methods.items()
        }
        return grpc.method_handlers_generic_handler(self.full_name, handlers)

    def _handler(
        self, name: str, kind: type[Message], method: StreamMethod
    ) -> Callable[[Any, grpc.aio.ServicerContext], Awaitable[None]]:
        async def handle(_: Any, context: grpc.aio.ServicerContext) -> None:
            bulk = says_bulk(context.invocation_metadata())
            job = Job(context.time_remaining(), bulk=bulk)
            call = StreamCall(
                context,
                kind,
                job,
                self._workers,
                self._room,
                idle_seconds=self._idle_seconds,
                most_items=self._most_items,
            )
            entered = False
            try:
                self._room.enter()
                entered = True
                async with aclosing(method(call)) as answers:  # type: ignore[type-var]
                    async for answer in answers:
                        await call.write(answer)
            except Exception as error:  # CancelledError is none: that call needs no answer
                job.stop()
                call.keep(0)  # before a status that nobody may take for long
                status = rpc_status.to_status(status_of(error, name))
                with suppress(grpc.aio.InternalError):  # the client is gone
                    await context.abort_with_status(status)
            finally:
                job.stop()
                call.keep(0)
                if entered:
                    self._room.leave()

        return handle
