"""Who runs networks: one thread for each device, before them one queue, in it turns and batches.

A turn is a slice of one job's work. A batch is made of items of all jobs that have their codec,
settings and exact shape in common, for codecs that run several side by side on a device
(`Codec.shape_class`). What a batch is filled up with never changes an item's result: the codec
runs always as many as the batch may hold, with zeros for those that are missing, since kernels
are chosen by shape.

Large jobs give way to small ones. A job is bulk because of its size, or because its caller says
so (`PRIORITY_KEY`): nobody gains by saying something that is not true. What is bulk is due
`PATIENCE` seconds later than it came, and what is due first runs first, so that it gives way to
whatever comes meanwhile, but waits no longer than that for its place.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from omnicodec.service.server.metrics import Metrics

T = TypeVar("T")

PATIENCE: Final = 0.25
"""Seconds that bulk work gives way to other work."""

INTERACTIVE_ITEMS: Final = 8
"""Items of a request that is not bulk by its size."""

PRIORITY_KEY: Final = "omnicodec-priority"
"""Of a call's metadata; "bulk" makes it bulk whatever its size, anything else is ignored."""


def says_bulk(metadata: Iterable[tuple[str, str | bytes]] | None) -> bool:
    """Return whether the metadata of a call say that it is bulk."""
    return any(key == PRIORITY_KEY and value == "bulk" for key, value in metadata or ())


@dataclass(frozen=True)
class Batchable:
    """An item that may run beside others with the same `key`, by any of their `work`.

    `work` takes payloads and a device, and returns as many results. `codec` is for metrics and
    for knowing what is on its way. `check` raises what ends the item before it runs; `began` then
    hears of the seconds that it waited, and `ended` of those that it ran, and beside how many.
    """

    codec: str
    key: Hashable
    payload: Any
    work: Callable[[list[Any], str], list[Any]]
    check: Callable[[], None] = lambda: None
    began: Callable[[float], None] = lambda _: None
    ended: Callable[[float, int], None] = lambda *_: None


@dataclass(order=True)
class _Turn:
    due: float
    number: int
    work: Callable[[str], Any] = field(compare=False)
    future: Future[Any] = field(compare=False)

    def run(self, device: str) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.work(device)
        except BaseException as e:
            self.future.set_exception(e)
        else:
            self.future.set_result(result)


@dataclass(order=True)
class _Waiting:
    due: float
    number: int
    came: float = field(compare=False)
    item: Batchable = field(compare=False)
    future: Future[Any] = field(compare=False)


class Owners(Executor):
    """The threads that own the `devices`, one each, and the queue before them.

    A batch has at most `max_batch` items. It waits at most `max_wait` seconds for more, and only
    while items of its codec are on their way: an idle server adds nothing to an item's time.
    Threads begin when there is something to do.
    """

    def __init__(
        self,
        devices: Sequence[str],
        *,
        max_batch: int = 1,
        max_wait: float = 0.0,
        metrics: Metrics | None = None,
    ) -> None:
        self.devices = tuple(devices)
        self.max_batch = max_batch
        self._max_wait = max_wait
        self._metrics = metrics or Metrics()
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._turns: list[_Turn] = []
        self._own_turns: dict[str, list[_Turn]] = {device: [] for device in self.devices}
        self._batches: dict[Hashable, list[_Waiting]] = {}
        self._coming: Counter[str] = Counter()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a function in the thread of the first device, as `Executor.submit` has it."""
        return self.turn(lambda _: fn(*args, **kwargs), device=self.devices[0])

    def turn(
        self, work: Callable[[str], T], *, bulk: bool = False, device: str | None = None
    ) -> Future[T]:
        """Run `work`, which is given the device, on the device that is free first, or on one."""
        future: Future[T] = Future()
        with self._changed:
            self._begin()
            turn = _Turn(self._due(bulk), next(self._numbers), work, future)
            heapq.heappush(self._turns if device is None else self._own_turns[device], turn)
            self._changed.notify_all()
        return future

    def batch(self, item: Batchable, *, bulk: bool = False) -> Future[Any]:
        """Run an item in a batch; the future has its own result, or its own error."""
        future: Future[Any] = Future()
        with self._changed:
            self._begin()
            waiting = _Waiting(self._due(bulk), next(self._numbers), time.monotonic(), item, future)
            heapq.heappush(self._batches.setdefault(item.key, []), waiting)
            self._changed.notify_all()
        return future

    def expect(self, codec: str, count: int) -> None:
        """Say that so many items of a codec are on their way, or with a minus that they are not."""
        with self._changed:
            self._coming[codec] += count
            if not self._coming[codec]:
                del self._coming[codec]
                self._changed.notify_all()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads when nothing is left to do, or at once with `cancel_futures`."""
        with self._changed:
            self._closed = True
            if cancel_futures:
                turns = itertools.chain(self._turns, *self._own_turns.values())
                waiting = itertools.chain(*self._batches.values())
                for future in [*(t.future for t in turns), *(w.future for w in waiting)]:
                    future.cancel()
                    future.set_running_or_notify_cancel()
                self._turns.clear()
                self._batches.clear()
                for own in self._own_turns.values():
                    own.clear()
            self._changed.notify_all()
        if wait:
            for thread in self._threads:
                thread.join()

    @staticmethod
    def _due(bulk: bool) -> float:
        return time.monotonic() + (PATIENCE if bulk else 0.0)

    def _begin(self) -> None:
        if self._closed:
            raise RuntimeError("the threads were told to end")
        if not self._threads:
            for number, device in enumerate(self.devices):
                name = f"omnicodec-compute_{number}"
                thread = threading.Thread(target=self._own, args=(device,), name=name)
                self._threads.append(thread)
                thread.start()

    def _own(self, device: str) -> None:
        while True:
            with self._changed:
                work = self._next(device)
            match work:
                case None:
                    return
                case _Turn():
                    work.run(device)
                case _:
                    self._run(work, device)
            del work  # what it holds may be large

    def _next(self, device: str) -> _Turn | list[_Waiting] | None:
        """Wait for the work that is due first; None when there will be no more."""
        while True:
            now = time.monotonic()
            ripens: list[float] = []
            ready: list[tuple[_Turn | _Waiting, Callable[[], _Turn | list[_Waiting]]]] = []
            for turns in (self._turns, self._own_turns[device]):
                if turns:
                    ready.append((turns[0], partial(heapq.heappop, turns)))
            for key, batch in self._batches.items():
                ripe_at = self._ripe_at(batch)
                if ripe_at <= now:
                    ready.append((batch[0], partial(self._take, key)))
                else:
                    ripens.append(ripe_at)
            if ready:
                _, take = min(ready, key=lambda each: (each[0].due, each[0].number))
                return take()
            if self._closed and not ripens:
                return None
            self._changed.wait(min(ripens) - now if ripens else None)

    def _take(self, key: Hashable) -> list[_Waiting]:
        batch = self._batches[key]
        taken = [heapq.heappop(batch) for _ in range(min(len(batch), self.max_batch))]
        if not batch:
            del self._batches[key]
        return taken

    def _ripe_at(self, batch: list[_Waiting]) -> float:
        """Return when a batch need not wait for further items any more; 0 for now."""
        full = len(batch) >= self.max_batch
        if full or self._closed or not self._coming[batch[0].item.codec]:
            return 0.0
        return min(waiting.came for waiting in batch) + self._max_wait

    def _run(self, batch: list[_Waiting], device: str) -> None:
        """Run what is left of a batch; an error ends the item that it is about, and no other."""
        began = time.monotonic()
        live = [waiting for waiting in batch if _begins(waiting, began)]
        if not live:
            return
        item = live[0].item
        self._metrics.batch(item.codec, len(live))
        try:
            results = item.work([waiting.item.payload for waiting in live], device)
        except BaseException as e:
            if len(live) == 1:
                live[0].future.set_exception(e)
                return
            for waiting in live:
                try:
                    (result,) = waiting.item.work([waiting.item.payload], device)
                except BaseException as own:
                    waiting.future.set_exception(own)
                else:
                    waiting.future.set_result(result)
            return
        seconds = time.monotonic() - began
        for waiting, result in zip(live, results, strict=True):
            with suppress(Exception):  # what is counted must not cost a result
                waiting.item.ended(seconds, len(live))
            waiting.future.set_result(result)


def _begins(waiting: _Waiting, now: float) -> bool:
    """Return whether an item is still wanted, now that its batch is formed."""
    if not waiting.future.set_running_or_notify_cancel():
        return False
    try:
        waiting.item.check()
        waiting.item.began(now - waiting.came)
    except BaseException as e:
        waiting.future.set_exception(e)
        return False
    return True
