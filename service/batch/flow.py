"""Stages of a pipeline in threads of their own, with bounded queues between them.

    with Flow() as flow:
        opened = flow.ahead(open_all(flow.ahead(read())))
        write = flow.behind(writer)
        for window in opened:
            write(encode(window))
        flow.finish()

What is passed on are lists of a bounded size ("windows"), so a queue that holds two of them is
bounded in bytes, and the price of a thread switch is paid once for many small items.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Generic, Self, TypeVar

from omnicodec.codecs import Cancelled

T = TypeVar("T")
R = TypeVar("R")

ROOM: Final = 2
"""Windows that wait between two stages."""

_LOOK: Final = 0.1
"""Seconds between two looks at whether somebody has cancelled, while there is nothing to do."""


class Flow:
    """Threads that work ahead of the caller, and behind; leaving the block ends all of them.

    An error of a stage is raised in the stage that it feeds, and so comes to the caller. With
    `threads` false everything runs in the caller's thread, one window after the other. When
    `cancel` is set, `Cancelled` is raised where the caller waits, and by `check`.
    """

    def __init__(self, *, threads: bool = True, cancel: threading.Event | None = None) -> None:
        self.threads = threads
        self._cancel = cancel
        self._stopped = threading.Event()
        self._channels: list[_Channel[Any]] = []
        self._threads: list[threading.Thread] = []
        self._drains: list[_Drain[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for channel in self._channels:
            channel.stop()
        for thread in self._threads:
            thread.join()

    def check(self) -> None:
        """Raise `Cancelled` when the work is to end: stages ask between steps that take long."""
        if self._stopped.is_set() or (self._cancel is not None and self._cancel.is_set()):
            raise Cancelled("the work on this shard was cancelled")

    def ahead(self, items: Iterator[T], room: int = ROOM) -> Iterator[T]:
        """Return an iterator over the same items, which a thread takes ahead, `room` at most."""
        if not self.threads:
            return self._checked(items)
        channel: _Channel[T] = self._channel(room)

        def run() -> None:
            try:
                for item in items:
                    channel.put(item)
            except BaseException as e:  # it is raised in the stage that waits for the items
                channel.end(e)
            else:
                channel.end()
            finally:
                close = getattr(items, "close", None)
                if close is not None:
                    close()

        self._start(run)
        return iter(channel)

    def behind(self, work: Callable[[T], None], room: int = ROOM) -> Callable[[T], None]:
        """Return a function that has a thread do `work` on items, in order; it waits for room.

        It raises what `work` has raised on an item before; `finish` waits for the last.
        """
        if not self.threads:
            return work
        drain = _Drain(self._channel(room), work)
        self._drains.append(drain)
        self._start(drain.run)
        return drain.put

    def finish(self) -> None:
        """Wait until all that was given to `behind` is done, and raise what went wrong there."""
        for drain in self._drains:
            drain.finish()

    def in_order(
        self,
        work: Callable[[T], R],
        items: Iterable[T],
        *,
        quick: Callable[[T], bool],
        size: Callable[[T], int],
        threads: int,
        room: int,
    ) -> Iterator[R]:
        """Yield `work(item)` of each item, in order; a pool does what is not `quick`.

        As many are begun as have a `size` of `room` together, and one at least.
        """
        if not self.threads:
            yield from map(work, items)
            return
        waiting: deque[tuple[int, Future[R]]] = deque()
        held = 0
        pool = ThreadPoolExecutor(threads, "omnicodec-open")
        try:
            for item in items:
                weight = size(item)
                while waiting and (held + weight > room or waiting[0][1].done()):
                    freed, done = waiting.popleft()
                    held -= freed
                    yield done.result()
                if not quick(item):
                    waiting.append((weight, pool.submit(work, item)))
                    held += weight
                elif waiting:
                    ready: Future[R] = Future()
                    ready.set_result(work(item))
                    waiting.append((weight, ready))
                    held += weight
                else:
                    yield work(item)
            while waiting:
                yield waiting.popleft()[1].result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _channel(self, room: int) -> _Channel[Any]:
        channel: _Channel[Any] = _Channel(room, self.check)
        self._channels.append(channel)
        return channel

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name="omnicodec-stage", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _checked(self, items: Iterator[T]) -> Iterator[T]:
        for item in items:
            self.check()
            yield item


class _Channel(Generic[T]):
    """A bounded queue of one writer and one reader, which ends with an error or without."""

    def __init__(self, room: int, check: Callable[[], None]) -> None:
        self._room, self.check = room, check
        self._changed = threading.Condition()
        self._queue: deque[T] = deque()
        self._ended = False
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        """Add an item when there is room; raises `Cancelled`."""
        with self._changed:
            self._wait(lambda: len(self._queue) < self._room)
            self._queue.append(item)
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes, and why, if it is an error."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def stop(self) -> None:
        """Wake up who waits, to see that the flow is over."""
        with self._changed:
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._wait(lambda: bool(self._queue) or self._ended)
                if not self._queue:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._queue.popleft()
                self._changed.notify_all()
            yield item

    def _wait(self, ready: Callable[[], bool]) -> None:
        self.check()
        while not ready():
            self._changed.wait(_LOOK)
            self.check()


class _Drain(Generic[T]):
    """Work behind the caller: items go in, and errors come back with the next one."""

    def __init__(self, channel: _Channel[T], work: Callable[[T], None]) -> None:
        self._channel, self._work = channel, work
        self._error: BaseException | None = None
        self._done = threading.Event()

    def put(self, item: T) -> None:
        self._raise()
        self._channel.put(item)

    def finish(self) -> None:
        self._channel.end()
        while not self._done.wait(_LOOK):
            self._channel.check()
        self._raise()

    def run(self) -> None:
        try:
            for item in self._channel:
                if self._error is None:  # behind an error, items are taken and dropped
                    self._try(item)
        except Cancelled as e:
            self._error = self._error or e
        finally:
            self._done.set()

    def _try(self, item: T) -> None:
        try:
            self._work(item)
        except BaseException as e:
            self._error = e

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
