"""A long encode on a server, as a client sees it."""

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
from omnicodec.v1 import codec_service_pb2 as pb

if TYPE_CHECKING:
    from omnicodec.service.client import Client

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


class Operation:
    """An encode that `Client.start_encode` began; it goes on without the client.

    `name` is what `Client.operation` finds it by again, from any process. Methods ask the server
    and raise what `Client`'s methods raise, `InvalidInput` for an operation that was deleted or
    has expired.
    """

    def __init__(self, client: Client, message: Any) -> None:
        self.name: str = message.name
        self._client = client
        self._take(message)

    def __repr__(self) -> str:
        return f"<Operation {self.name} {self.last_state}>"

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

    def state(self) -> State:
        """Return what the operation is at."""
        self._refresh()
        return self.last_state

    def done(self) -> bool:
        """Return whether the operation has ended, however it did."""
        self._refresh()
        return bool(self._message.done)

    def progress(self) -> Progress | None:
        """Return how far the operation is; None before its codec's first report.

        `preview` is there where previews were asked for and one was drawn.
        """
        self._refresh()
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

    def wait(self, timeout: float | None = None) -> State:
        """Return the state once the operation has ended; None waits as long as that takes.

        A server that is restarted meanwhile is waited for, as long as the client's `timeout`.
        Raises `Unavailable` when the operation has not ended after `timeout` seconds.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        patience = self._client.timeout
        answered = time.monotonic()
        while True:
            asked = time.monotonic()
            left = _WAIT_SECONDS if ends is None else min(_WAIT_SECONDS, ends - asked)
            try:
                self._wait_once(max(left, 0.0))
            except Unavailable as e:
                lost = isinstance(e.__cause__, grpc.RpcError) and (
                    e.__cause__.code() is grpc.StatusCode.UNAVAILABLE
                )
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
                time.sleep(rest if ends is None else max(min(rest, ends - time.monotonic()), 0))

    def result(self, timeout: float | None = None) -> Tokens | bytes:
        """Return the tokens, or the .omc stream where that was asked for, once they are there.

        Raises what the encode raised, `Cancelled` for a cancelled one, and what `wait` raises.
        """
        if not self._message.done or not self._message.WhichOneof("result"):  # as in lists
            self.wait(timeout)
        if self._message.HasField("error"):
            raise self._client.error_of(self._message.error.code, self._message.error.message)
        response = pb.StartEncodeResponse()
        if not self._message.response.Unpack(response):
            raise OmnicodecError(f"{self.name} ended without a result that is known here")
        if response.WhichOneof("output") == "stream":
            return response.stream
        return convert.tokens_from_proto(response.tokens)

    def cancel(self) -> None:
        """Ask the server to end the work; it does so soon, unless it is done before."""
        self._client.ask("CancelOperation", operations_pb2.CancelOperationRequest(name=self.name))

    def delete(self) -> None:
        """Have the server forget an operation that has ended, with its result.

        Raises `InvalidInput` for one that has not ended: `cancel` it first.
        """
        self._client.ask("DeleteOperation", operations_pb2.DeleteOperationRequest(name=self.name))

    def _refresh(self) -> None:
        if not self._message.done:
            request = operations_pb2.GetOperationRequest(name=self.name)
            self._take(self._client.ask("GetOperation", request))

    def _wait_once(self, seconds: float) -> None:
        timeout = duration_pb2.Duration()
        timeout.FromMilliseconds(round(1000 * seconds))
        request = operations_pb2.WaitOperationRequest(name=self.name, timeout=timeout)
        self._take(self._client.ask("WaitOperation", request, longer=seconds))

    def _take(self, message: Any) -> None:
        metadata = pb.StartEncodeMetadata()
        try:
            known = message.metadata.Unpack(metadata)
        except DecodeError:
            known = False
        if not known:
            raise OmnicodecError(f"{message.name} is not an operation of this service")
        self._message, self._metadata = message, metadata
