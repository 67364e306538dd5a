"""Jobs: the work of one request, in threads, item by item, until it is stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from omnicodec.codecs import LimitExceeded, OmnicodecError
from omnicodec.codecs.threads import in_order

T = TypeVar("T")

SLICE_SECONDS: Final = 0.02
"""How long a job keeps a thread before others that wait have their turn."""


FIELD_BYTES: Final = 6
"""What a field of a message costs beside its content: a tag and a length under 2 GiB."""


class Stopped(Exception):
    """The call is over, so the rest of its work is pointless."""


class BatchTooLarge(LimitExceeded):
    """Only the first `fits` items of a batch fit one call."""

    def __init__(self, message: str, fits: int) -> None:
        super().__init__(message)
        self.fits = fits


class Workers:
    """The server's threads.

    `compute` is the one thread that runs networks: torch itself uses all cores, or the one
    device. `cpu` opens and saves media, does the entropy coding and parses messages. What is
    slow without a network is passed on to the threads of `in_order`, one for each core.
    """

    def __init__(self, cpu_threads: int) -> None:
        self.compute = ThreadPoolExecutor(1, "omnicodec-compute")
        self.cpu = ThreadPoolExecutor(cpu_threads, "omnicodec-cpu")

    def close(self) -> None:
        """Drop what has not begun; what has begun ends in its own time."""
        for pool in (self.compute, self.cpu):
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class Stage:
    """One step of the work on an item: what is done, and in which threads.

    Items that `parallel` says yes to are worked on side by side, all others one by one.
    """

    pool: ThreadPoolExecutor
    work: Callable[[Any], Any]
    parallel: Callable[[Any], bool] = lambda _: False


class Job:
    """The work of one request; `seconds` is what is left until its deadline."""

    def __init__(self, seconds: float | None = None) -> None:
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._stopped = False

    def stop(self) -> None:
        """Let nothing further begin."""
        self._stopped = True

    def check(self) -> None:
        """Raise `Stopped` once the job was stopped or its deadline has passed."""
        if self._stopped or (self._ends is not None and time.monotonic() >= self._ends):
            raise Stopped

    def seconds_left(self) -> float | None:
        """Return what is left until the deadline; None where there is none."""
        return None if self._ends is None else self._ends - time.monotonic()

    async def run(self, pool: ThreadPoolExecutor, work: Callable[..., T], *arguments: Any) -> T:
        """Return `work(*arguments)`, done in a thread of `pool`.

        A job that is stopped, or a caller that is cancelled, before a thread is free has
        nothing done.
        """

        def begin() -> T:
            self.check()
            return work(*arguments)

        return await asyncio.get_running_loop().run_in_executor(pool, begin)

    async def run_all(
        self,
        items: Sequence[Any],
        stages: Sequence[Stage],
        *,
        size: Callable[[Any], int],
        most_bytes: int,
    ) -> list[Any]:
        """Return what the stages make of each item, in order.

        While the later stages work on some items, the first one prepares the next, so that
        networks need not wait for files; there are never more than two such pieces in
        memory. Errors name the item. Raises `BatchTooLarge` as soon as the results are
        larger than `most_bytes` together, by `size` of each.
        """
        first, *later = stages
        source = iter(enumerate(items))
        results = _Results(size, most_bytes)
        rest: asyncio.Task[list[_Numbered]] | None = None
        try:
            while True:
                piece = await self.run(first.pool, self._take, source, first, len(items))
                if rest is not None:
                    results.add(await rest)
                if not piece:
                    return results.values
                rest = asyncio.create_task(self._finish(piece, later, len(items)))
                rest.add_done_callback(_look_at_error)
        finally:
            if rest is not None:
                rest.cancel()

    async def _finish(
        self, piece: list[_Numbered], stages: Sequence[Stage], count: int
    ) -> list[_Numbered]:
        for stage in stages:
            source = iter(piece)
            done: list[_Numbered] = []
            while len(done) < len(piece):
                done += await self.run(stage.pool, self._take, source, stage, count)
            piece = done
        return piece

    def _take(self, source: Iterator[_Numbered], stage: Stage, count: int) -> list[_Numbered]:
        """Work on the next items until the slice is over; on one at least, if there is one.

        The slice also bounds memory: what is made in it is no more than a thread can write
        in that time, and one item, or the few that `in_order` begins.
        """
        ends = time.monotonic() + SLICE_SECONDS

        def until_over() -> Iterator[_Numbered]:
            for numbered in source:
                yield numbered
                if time.monotonic() >= ends:
                    return

        def work(numbered: _Numbered) -> _Numbered:
            self.check()
            index, item = numbered
            try:
                return index, stage.work(item)
            except OmnicodecError as e:
                if count > 1:
                    e.args = (f"item {index}: {e}",)
                raise

        return list(in_order(work, until_over(), parallel=lambda n: stage.parallel(n[1])))


_Numbered = tuple[int, Any]


def _look_at_error(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from logging the error of a task that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


class _Results:
    """Results in order, as long as they fit one message."""

    def __init__(self, size: Callable[[Any], int], most_bytes: int) -> None:
        self.values: list[Any] = []
        self._size = size
        self._left = most_bytes
        self._most = most_bytes

    def add(self, piece: list[_Numbered]) -> None:
        for _, value in piece:
            self._left -= self._size(value) + FIELD_BYTES
            if self._left < 0:
                raise BatchTooLarge(
                    f"the results are over the limit of {self._most:,} bytes a message; "
                    f"{len(self.values)} items fit",
                    len(self.values),
                )
            self.values.append(value)
