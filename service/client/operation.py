"""A long encode on a server, as clients see it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.longrunning import operations_pb2
from google.protobuf import duration_pb2
from google.protobuf.message import DecodeError

from omnicodec.codecs import Image, OmnicodecError, Progress, Tokens, Unavailable
from omnicodec.service import convert
from omnicodec.service.client.errors import error_of_code, status_behind
from omnicodec.service.client.requests import Requests
from omnicodec.service.client.steps import Pause, Steps
from omnicodec.v1 import codec_service_pb2 as pb

if TYPE_CHECKING:
    from omnicodec.service.client.aio import AsyncClient
    from omnicodec.service.client.sync import Client

_WAIT_SECONDS: Final = 20.0
"""How long one call waits; proxies end calls in which nothing happens for long."""

_ASK_SECONDS: Final = 0.5
"""How long until a server that answers at once, or not at all, is asked again."""


class State(StrEnum):
    """What an operation is at; the last three do not change any more."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class _Steps:
    """What is known of an operation, and what it takes to know more."""

    def __init__(self, requests: Requests, message: Any) -> None:
        self.name: str = message.name
        self._requests = requests
        self._take(message)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.last_state}>"

    @property
    def last_state(self) -> State:
        """The state when the server was last asked, for example by `Client.operations`."""
        name = pb.StartEncodeMetadata.State.Name(self._metadata.state)
        return State(name.removeprefix("STATE_"))

    @property
    def codec(self) -> str:
        return self._metadata.codec

    @property
    def created(self) -> datetime:
        return self._metadata.create_time.ToDatetime(UTC)

    def _state(self) -> Steps[State]:
        yield from self._refresh()
        return self.last_state

    def _done(self) -> Steps[bool]:
        yield from self._refresh()
        return bool(self._message.done)

    def _progress(self) -> Steps[Progress | None]:
        yield from self._refresh()
        if not self._metadata.HasField("progress"):
            return None
        found, jpeg = self._metadata.progress, self._metadata.preview
        return Progress(
            share=found.share,
            step=found.step,
            bits=found.bits,
            psnr=found.psnr,
            seconds_left=found.seconds_left,
            preview=(lambda: Image.open(jpeg)) if jpeg else None,
        )

    def _wait(self, timeout: float | None) -> Steps[State]:
        ends = None if timeout is None else time.monotonic() + timeout
        patience = self._requests.connection.timeout
        answered = time.monotonic()
        while True:
            asked = time.monotonic()
            left = _WAIT_SECONDS if ends is None else min(_WAIT_SECONDS, ends - asked)
            try:
                yield from self._wait_once(max(left, 0.0))
            except Unavailable as e:
                lost = status_behind(e) is grpc.StatusCode.UNAVAILABLE
                late = ends is not None and time.monotonic() >= ends
                if not lost or late or (patience and time.monotonic() - answered >= patience):
                    raise
            else:
                answered = time.monotonic()
                if self._message.done:
                    return self.last_state
                if ends is not None and answered >= ends:
                    raise Unavailable(f"{self.name} has not ended within {timeout:g} s")
            if (rest := _ASK_SECONDS - (time.monotonic() - asked)) > 0:
                yield Pause(rest if ends is None else max(min(rest, ends - time.monotonic()), 0))

    def _result(self, timeout: float | None) -> Steps[Tokens | bytes]:
        if not self._message.done or not self._message.WhichOneof("result"):  # as in lists
            yield from self._wait(timeout)
        if self._message.HasField("error"):
            raise error_of_code(self._message.error.code, self._message.error.message)
        response = pb.StartEncodeResponse()
        if not self._message.response.Unpack(response):
            raise OmnicodecError(f"{self.name} ended without a result that is known here")
        if response.WhichOneof("output") == "stream":
            return response.stream
        return convert.tokens_from_proto(response.tokens)

    def _cancel(self) -> Steps[None]:
        request = operations_pb2.CancelOperationRequest(name=self.name)
        yield from self._requests.ask("CancelOperation", request)

    def _delete(self) -> Steps[None]:
        request = operations_pb2.DeleteOperationRequest(name=self.name)
        yield from self._requests.ask("DeleteOperation", request)

    def _refresh(self) -> Steps[None]:
        if not self._message.done:
            self._take((yield from self._requests.operation(self.name)))

    def _wait_once(self, seconds: float) -> Steps[None]:
        timeout = duration_pb2.Duration()
        timeout.FromMilliseconds(round(1000 * seconds))
        request = operations_pb2.WaitOperationRequest(name=self.name, timeout=timeout)
        self._take((yield from self._requests.ask("WaitOperation", request, longer=seconds)))

    def _take(self, message: Any) -> None:
        metadata = pb.StartEncodeMetadata()
        try:
            known = message.metadata.Unpack(metadata)
        except DecodeError:
            known = False
        if not known:
            raise OmnicodecError(f"{message.name} is not an operation of this service")
        self._message, self._metadata = message, metadata


class Operation(_Steps):
    """An encode that `Client.start_encode` began; it goes on without the client.

    `name` is what `Client.operation` finds it by again, from any process. Methods ask the server
    and raise what `Client`'s methods raise, `InvalidInput` for an operation that was deleted or
    has expired.
    """

    def __init__(self, client: Client, message: Any) -> None:
        super().__init__(client.requests, message)
        self._run = client.run

    def state(self) -> State:
        """Return what the operation is at."""
        return self._run(self._state())

    def done(self) -> bool:
        """Return whether the operation has ended, however it did."""
        return self._run(self._done())

    def progress(self) -> Progress | None:
        """Return how far the operation is; None before its codec's first report.

        `preview` is there where previews were asked for and one was drawn.
        """
        return self._run(self._progress())

    def wait(self, timeout: float | None = None) -> State:
        """Return the state once the operation has ended; None waits as long as that takes.

        A server that is restarted meanwhile is waited for, as long as the client's `timeout`.
        Raises `Unavailable` when the operation has not ended after `timeout` seconds.
        """
        return self._run(self._wait(timeout))

    def result(self, timeout: float | None = None) -> Tokens | bytes:
        """Return the tokens, or the .omc stream where that was asked for, once they are there.

        Raises what the encode raised, `Cancelled` for a cancelled one, and what `wait` raises.
        """
        return self._run(self._result(timeout))

    def cancel(self) -> None:
        """Ask the server to end the work; it does so soon, unless it is done before."""
        self._run(self._cancel())

    def delete(self) -> None:
        """Have the server forget an operation that has ended, with its result.

        Raises `InvalidInput` for one that has not ended: `cancel` it first.
        """
        self._run(self._delete())


class AsyncOperation(_Steps):
    """An encode that `AsyncClient.start_encode` began; the methods are those of `Operation`."""

    def __init__(self, client: AsyncClient, message: Any) -> None:
        super().__init__(client.requests, message)
        self._run = client.run

    async def state(self) -> State:
        """Return what the operation is at."""
        return await self._run(self._state())

    async def done(self) -> bool:
        """Return whether the operation has ended, however it did."""
        return await self._run(self._done())

    async def progress(self) -> Progress | None:
        """Return how far the operation is; None before its codec's first report."""
        return await self._run(self._progress())

    async def wait(self, timeout: float | None = None) -> State:
        """Return the state once the operation has ended; see `Operation.wait`."""
        return await self._run(self._wait(timeout))

    async def result(self, timeout: float | None = None) -> Tokens | bytes:
        """Return the tokens, or the .omc stream; see `Operation.result`."""
        return await self._run(self._result(timeout))

    async def cancel(self) -> None:
        """Ask the server to end the work."""
        await self._run(self._cancel())

    async def delete(self) -> None:
        """Have the server forget an operation that has ended, with its result."""
        await self._run(self._delete())
