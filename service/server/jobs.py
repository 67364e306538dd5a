"""Jobs: the work of one request, in threads, item by item, until it is stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from omnicodec.codecs import LimitExceeded, OmnicodecError
from omnicodec.codecs.threads import in_order
from omnicodec.service.server.batching import INTERACTIVE_ITEMS, Batchable, Owners
from omnicodec.service.server.calls import current
from omnicodec.service.server.metrics import Step

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


@dataclass(frozen=True)
class Stage:
    """One step of the work on an item: what is done, and in which threads.

    Items that `parallel` says yes to are worked on side by side, all others one by one. `step`
    is what metrics count it as, for the codec that `codec` names once the item is through.
    """

    pool: ThreadPoolExecutor
    work: Callable[[Any], Any]
    parallel: Callable[[Any], bool] = lambda _: False
    step: Step = Step.OPEN
    codec: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Compute:
    """The step that runs on a device: `work` takes items and the device.

    Items go one by one, or as many at once as a turn has time for if `together`. Those with a
    `shape_class` go into batches with items of other requests; `expects` is the codec whose
    batches may wait for the items of this request. Items that may take minutes go to the threads
    of `long`, and the device is shared.
    """

    owners: Owners
    work: Callable[[list[Any], str], list[Any]]
    codec: Callable[[Any], str]
    shape_class: Callable[[Any], Hashable | None] = lambda _: None
    parallel: Callable[[Any], bool] = lambda _: False
    together: bool = False
    expects: str = ""
    long: ThreadPoolExecutor | None = None


class Job:
    """The work of one request; `seconds` is what is left until its deadline.

    What is `bulk` gives way to other jobs; a job of many items is so anyway.
    """

    def __init__(self, seconds: float | None = None, *, bulk: bool = False) -> None:
        self.bulk = bulk
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._stopped = False
        self._last_words: list[Callable[[], None]] = []

    def stop(self) -> None:
        """Let nothing further begin."""
        self._stopped = True
        while self._last_words:
            self._last_words.pop()()

    def at_end(self, work: Callable[[], None]) -> None:
        """Call `work` once the job is stopped, as every job is in the end."""
        self._last_words.append(work)

    def check(self) -> None:
        """Raise `Stopped` once the job was stopped or its deadline has passed."""
        if self._stopped or (self._ends is not None and time.monotonic() >= self._ends):
            raise Stopped

    def seconds_left(self) -> float | None:
        """Return what is left until the deadline; None where there is none."""
        return None if self._ends is None else self._ends - time.monotonic()

    async def run(self, pool: Executor, work: Callable[..., T], *arguments: Any) -> T:
        """Return `work(*arguments)`, done in a thread of `pool`.

        A job that is stopped, or a caller that is cancelled, before a thread is free has
        nothing done.
        """

        def begin() -> T:
            self.check()
            return work(*arguments)

        context = copy_context()  # whose call it is
        return await asyncio.get_running_loop().run_in_executor(pool, context.run, begin)

    async def run_all(
        self,
        items: Sequence[Any],
        stages: Sequence[Stage | Compute],
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
        work = _Pipeline(self, stages, len(items))
        source = _Source(enumerate(items))
        results = _Results(size, most_bytes)
        rest: asyncio.Task[list[_Numbered]] | None = None
        try:
            while True:
                piece = await work.do(work.stages[0], source)
                if rest is not None:
                    results.add(await rest)
                if not piece:
                    return results.values
                rest = asyncio.create_task(work.finish(piece))
                rest.add_done_callback(_look_at_error)
        finally:
            if rest is not None:
                rest.cancel()
            work.close()


_Numbered = tuple[int, Any]


class _Source:
    """Numbered items that are still to be worked on; `at_once` where some go together."""

    def __init__(self, items: Iterator[_Numbered]) -> None:
        self.at_once = 1
        self._items = items

    def __iter__(self) -> Iterator[_Numbered]:
        return self._items


class _Pipeline:
    """The stages of one job, and how items go through them."""

    def __init__(self, job: Job, stages: Sequence[Stage | Compute], count: int) -> None:
        self.stages = stages
        self._job, self._count = job, count
        self._call = current()
        self._bulk = job.bulk or count > INTERACTIVE_ITEMS
        self._expected = [
            (stage, count) for stage in stages if isinstance(stage, Compute) and stage.expects
        ]
        for stage, number in self._expected:
            stage.owners.expect(stage.expects, number)

    def close(self) -> None:
        """Let no batch wait for what will not come any more."""
        while self._expected:
            stage, number = self._expected.pop()
            stage.owners.expect(stage.expects, -number)

    async def finish(self, piece: list[_Numbered]) -> list[_Numbered]:
        """Return what the stages behind the first one make of a piece."""
        for stage in self.stages[1:]:
            if isinstance(stage, Compute):
                piece = await self._compute(piece, stage)
                continue
            source, done = _Source(iter(piece)), list[_Numbered]()
            while len(done) < len(piece):
                done += await self.do(stage, source)
            piece = done
        return piece

    async def do(self, stage: Stage | Compute, source: _Source) -> list[_Numbered]:
        """Do the work of a stage on the next items until the slice is over.

        On one at least, if there is one. The slice also bounds memory: what is made in it is no
        more than a thread can write in that time, and one item, or the few that `in_order` begins.
        """
        if isinstance(stage, Stage):
            return await self._job.run(stage.pool, self._slice, source, stage)
        if stage.long is not None:
            device = stage.owners.devices[0]
            return await self._job.run(stage.long, self._turn, source, stage, device, 0.0)
        context, came = copy_context(), time.monotonic()

        def turn(device: str) -> list[_Numbered]:
            self._job.check()
            waited = time.monotonic() - came
            return context.run(self._turn, source, stage, device, waited)

        return await asyncio.wrap_future(stage.owners.turn(turn, bulk=self._bulk))

    async def _compute(self, piece: list[_Numbered], stage: Compute) -> list[_Numbered]:
        """Do the work of the stage that runs on a device: in batches, and in turns."""
        alone: list[_Numbered] = []
        batched: list[tuple[int, Future[Any]]] = []
        for index, item in piece:
            key = stage.shape_class(item)
            if key is None:
                alone.append((index, item))
            else:
                entry = self._batchable(stage, key, item)
                batched.append((index, stage.owners.batch(entry, bulk=self._bulk)))
        self._arrived(stage, len(piece))
        done: dict[int, Any] = {}
        try:
            source = _Source(iter(alone))
            while len(done) < len(alone):
                done.update(await self.do(stage, source))
            for index, future in batched:
                with naming(index, self._count):
                    done[index] = await asyncio.wrap_future(future)
        finally:
            for _, future in batched:
                future.cancel()
        return [(index, done[index]) for index, _ in piece]

    def _batchable(self, stage: Compute, key: Hashable, item: Any) -> Batchable:
        codec, call = stage.codec(item), self._call

        def began(waited: float) -> None:
            call.did(codec, Step.QUEUE, waited)

        def ended(seconds: float, batch: int) -> None:
            call.did(codec, Step.COMPUTE, seconds, batch=batch)

        return Batchable(codec, key, item, stage.work, self._job.check, began, ended)

    def _arrived(self, stage: Compute, count: int) -> None:
        """Note that items which batches might wait for are there."""
        for place, (expecting, number) in enumerate(self._expected):
            if expecting is stage:
                stage.owners.expect(stage.expects, -count)
                self._expected[place] = stage, number - count

    def _slice(self, source: _Source, stage: Stage) -> list[_Numbered]:
        def work(numbered: _Numbered) -> _Numbered:
            self._job.check()
            index, item = numbered
            began = time.monotonic()
            with naming(index, self._count):
                result = self._call.run(stage.work, item)
            if stage.codec is not None:
                self._call.did(stage.codec(item), stage.step, time.monotonic() - began)
            return index, result

        items = _until_over(source, time.monotonic() + SLICE_SECONDS)
        return list(in_order(work, items, parallel=lambda n: stage.parallel(n[1])))

    def _turn(self, source: _Source, stage: Compute, device: str, waited: float) -> list[_Numbered]:
        def work(group: list[_Numbered]) -> list[_Numbered]:
            self._job.check()
            began = time.monotonic()
            indices, items = zip(*group, strict=True)
            try:
                with naming(indices[0], self._count):
                    results = self._call.run(stage.work, list(items), device)
            except OmnicodecError:
                if len(group) == 1:
                    raise
                return [done for each in group for done in work([each])]  # which of them was it?
            seconds = (time.monotonic() - began) / len(group)
            self._call.metrics.batch(stage.codec(items[0]), len(group))
            while waits:  # the turn's first item waited for all others
                self._call.did(stage.codec(items[0]), Step.QUEUE, waits.pop())
            for item in items:
                self._call.did(stage.codec(item), Step.COMPUTE, seconds, batch=len(group))
            return list(zip(indices, results, strict=True))

        waits = [waited]
        ends = time.monotonic() + SLICE_SECONDS
        if not stage.together:
            alone = ([numbered] for numbered in _until_over(source, ends))
            found = in_order(work, alone, parallel=lambda group: stage.parallel(group[0][1]))
            return [done for (done,) in found]
        finished: list[_Numbered] = []
        while group := list(islice(source, source.at_once)):
            began = time.monotonic()
            finished += work(group)
            now = time.monotonic()
            if now - began < SLICE_SECONDS / 4:
                source.at_once *= 2
            elif now - began > SLICE_SECONDS:
                source.at_once = max(1, source.at_once // 2)
            if now >= ends:
                break
        return finished


def _until_over(source: _Source, ends: float) -> Iterator[_Numbered]:
    for numbered in source:
        yield numbered
        if time.monotonic() >= ends:
            return


class naming:  # noqa: N801  # a context manager that is cheap enough for every item
    """Say in errors of ours which item they are about, unless there is only one."""

    def __init__(self, index: int, count: int) -> None:
        self._index, self._count = index, count

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OmnicodecError) and self._count > 1:
            error.args = (f"item {self._index}: {error}",)


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
