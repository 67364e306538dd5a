"""What a client does, as steps that someone carries out: by blocking, or by awaiting.

A generator yields a `Call` and is sent the answer, a `StreamCall` and is sent the list of answers,
or is thrown a `grpc.RpcError`; it yields a `Pause` and is resumed afterwards. What it returns is
the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from omnicodec.codecs import LimitExceeded
from omnicodec.service.client.connection import Connection
from omnicodec.service.client.errors import error_of, pause_before

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """A method to call; `timeout` is in seconds, None for no limit."""

    method: str
    request: Message
    timeout: float | None


@dataclass(frozen=True)
class StreamCall:
    """A method that takes and gives many messages; `requests` makes them anew for each try."""

    method: str
    requests: Callable[[], Iterator[Message]]
    timeout: float | None


@dataclass(frozen=True)
class Pause:
    """Time to let pass."""

    seconds: float


Step = Call | StreamCall | Pause
Steps = Generator[Step, Any, T]


class Asking:
    """Asks one server, again where that helps."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def ask(self, method: str, request: Message, *, longer: float = 0.0) -> Steps[Any]:
        """Return the answer to one request; `longer` than the timeout it may take.

        The timeout is for all tries together. Raises the errors of codecs, and `Unavailable`.
        """
        connection = self.connection
        if request.ByteSize() > connection.max_message_bytes:
            raise LimitExceeded(
                f"a request of {request.ByteSize():,} bytes is over the limit of "
                f"{connection.max_message_bytes:,} bytes a message"
            )
        return (yield from self._ask(method, lambda left: Call(method, request, left), longer))

    def ask_stream(
        self, method: str, requests: Callable[[], Iterator[Message]]
    ) -> Steps[list[Any]]:
        """Return all answers to many messages; raises what `ask` raises."""
        answers: list[Any]
        answers = yield from self._ask(method, lambda left: StreamCall(method, requests, left))
        return answers

    def _ask(
        self,
        method: str,
        call: Callable[[float | None], Call | StreamCall],
        longer: float = 0.0,
    ) -> Steps[Any]:
        connection = self.connection
        timeout = connection.timeout
        ends = None if timeout is None else time.monotonic() + timeout + longer
        for tries in count(1):
            left = None if ends is None else max(ends - time.monotonic(), 0.001)
            try:
                return (yield call(left))
            except grpc.RpcError as e:
                pause = pause_before(e, method, tries, connection.retries)
                if pause is None or (ends is not None and time.monotonic() + pause >= ends):
                    raise error_of(e, connection.target, timeout) from e
            yield Pause(pause)
        raise AssertionError("not reached")
