"""Admission: how much work the server takes on before it says that it is busy."""

from __future__ import annotations

import asyncio
from typing import Final

from omnicodec.codecs import LimitExceeded, Unavailable

RETRY_SECONDS: Final = 0.5
"""What a client that is turned away is told to wait."""


class Busy(LimitExceeded):
    """The server has as much work as it takes on; the same request may pass later."""


class Admission:
    """Counts the requests that are worked on, waiting or being answered.

    Belongs to one event loop and is not locked. It bounds requests, not health checks: a
    full server is still a healthy one.
    """

    def __init__(self, most_requests: int, most_bytes: int) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._requests = 0
        self._bytes = 0
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self, nbytes: int) -> None:
        """Count a request of `nbytes` in; `leave` must follow.

        Raises `Busy` when there are too many and `Unavailable` after `close`.
        """
        if self._closed:
            raise Unavailable("the server is shutting down")
        if self._requests >= self._most_requests or self._bytes + nbytes > self._most_bytes:
            raise Busy(f"the server is busy with {self._requests} requests; try again later")
        self._requests += 1
        self._bytes += nbytes
        self._idle.clear()

    def leave(self, nbytes: int) -> None:
        """Count a request out that `enter` let in."""
        self._requests -= 1
        self._bytes -= nbytes
        if not self._requests:
            self._idle.set()

    def close(self) -> None:
        """Let no further request in."""
        self._closed = True

    async def wait_idle(self) -> None:
        """Return once no request is left."""
        await self._idle.wait()
