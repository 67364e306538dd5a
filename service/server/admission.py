"""Admission: how much work the server takes on before it says that it is busy."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import Final

from omnicodec.codecs import LimitExceeded, Unavailable
from omnicodec.service.server.calls import current
from omnicodec.service.server.metrics import Metrics

RETRY_SECONDS: Final = (0.05, 30.0)
"""The least and the most that a client that is turned away is told to wait."""

ALWAYS: Final = 8
"""Requests that may wait however long they take: there is always work for all threads."""

WINDOW: Final = 16
"""Items of a request that are in memory as media at a time, at most, for all that is estimated."""

_FIRST_PACE: Final = 0.05
_MEMORY_RETRY_SECONDS: Final = 0.5


class Busy(LimitExceeded):
    """The server has as much work as it takes on; the same request may pass in a while."""

    def __init__(self, message: str, retry_seconds: float = _MEMORY_RETRY_SECONDS) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class Admission:
    """Counts the requests that are worked on, waiting or being answered.

    Belongs to one event loop and is not locked. It bounds requests, not health checks: a
    full server is still a healthy one.
    """

    def __init__(
        self,
        most_requests: int,
        most_bytes: int,
        most_seconds: float = math.inf,
        *,
        metrics: Metrics | None = None,
    ) -> None:
        """Take the most requests, bytes, and seconds of waiting, as expected, of the next one.

        `metrics` hears how full it is, which is for the one queue that says how busy a server is.
        """
        self._metrics = metrics or Metrics()
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._most_seconds = most_seconds
        self._requests = 0
        self._bytes = 0
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        # With so many in it there is work for all threads, and between two that leave lies the
        # time that one takes. With fewer, one only sees how often requests come.
        self._busy = min(ALWAYS, most_requests)
        self._pace, self._measured = _FIRST_PACE, 0
        self._left_at = 0.0

    @property
    def retry_seconds(self) -> float:
        """When about half of what is in the queue now will be done, at the pace of late."""
        least, most = RETRY_SECONDS
        return min(most, max(least, self._pace * self._requests / 2))

    def enter(self, nbytes: int) -> None:
        """Count a request of `nbytes` in; `leave` must follow.

        Raises `Busy` when there are too many and `Unavailable` after `close`.
        """
        if self._closed:
            raise Unavailable("the server is shutting down")
        reason = ""
        if self._requests >= self._most_requests:
            reason = "queue"
        elif self._bytes + nbytes > self._most_bytes:
            reason = "bytes"
        elif (
            self._requests >= ALWAYS <= self._measured
            and self._requests * self._pace > self._most_seconds
        ):
            reason = "wait"
        if reason:
            current().metrics.refused(reason)
            raise Busy(
                f"the server is busy with {self._requests} requests; try again later",
                self.retry_seconds,
            )
        self._requests += 1
        if self._requests == self._busy:
            self._left_at = time.monotonic()
        self._bytes += nbytes
        self._idle.clear()
        self._metrics.waiting(self._requests, self._bytes)

    def leave(self, nbytes: int) -> None:
        """Count a request out that `enter` let in."""
        if self._requests >= self._busy:
            now = time.monotonic()
            self._measured += 1
            weight = max(0.1, 1 / self._measured)
            self._pace += weight * (now - self._left_at - self._pace)
            self._left_at = now
        self._requests -= 1
        self._bytes -= nbytes
        self._metrics.waiting(self._requests, self._bytes)
        if not self._requests:
            self._idle.set()

    def close(self) -> None:
        """Let no further request in."""
        self._closed = True

    async def wait_idle(self) -> None:
        """Return once no request is left."""
        await self._idle.wait()


class Memory:
    """What requests are expected to need of working memory, together at most `most` bytes.

    Reservations may be made and given back in any thread.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> None:
        """Take so much more, or raise `Busy`."""
        with self._lock:
            if nbytes > 0 and self.taken + nbytes > self.most:
                current().metrics.refused("cost")
                raise Busy("the server is busy with large items; try again later")
            self.taken += nbytes


class Reservation:
    """What one request is expected to need, item by item; it is given back by `close`.

    Items go through one after the other, so that a request needs no more at a time than
    `WINDOW` of its largest item.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._all = self._largest = self._held = 0
        self._closed = False
        self._lock = threading.Lock()

    def add(self, cost: int, instead_of: int = 0) -> None:
        """Add an item, or say that an item needs `cost` and not what was thought before.

        Raises `LimitExceeded` for what this server will never take on, and `Busy`.
        """
        most = self._memory.most
        if cost > most:
            current().metrics.refused("cost")
            raise LimitExceeded(
                f"the item needs about {cost:,} bytes of memory, over the limit of {most:,}"
            )
        with self._lock:
            total = self._all + cost - instead_of
            largest = max(self._largest, cost)
            held = min(total, WINDOW * largest, most)
            if self._closed:
                return
            self._memory.take(held - self._held)
            self._all, self._largest, self._held = total, largest, held

    def close(self) -> None:
        """Give everything back."""
        with self._lock:
            self._closed = True
            self._memory.take(-self._held)
            self._held = 0
