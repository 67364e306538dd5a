"""Threads for loops that release the GIL: items and chunks side by side, results in order."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Final, Generic, TypeVar

from omnicodec.codecs.errors import InvalidInput

T = TypeVar("T")
R = TypeVar("R")

AHEAD: Final = 4
"""Items for each thread that are begun before the first result is taken."""

ROOM: Final = 1 << 26
"""Bytes or positions of all items that are begun, unless it is a single one."""


def thread_count() -> int:
    """Return how many threads are used when a caller does not say.

    It is `OMNICODEC_THREADS`, else the number of cores that this process may run on. Raises
    `InvalidInput` when the variable is no number above 0.
    """
    if wanted := os.environ.get("OMNICODEC_THREADS"):
        if not wanted.isdecimal() or int(wanted) < 1:
            raise InvalidInput(f"OMNICODEC_THREADS is a number above 0, not {wanted!r}")
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):  # Linux; os.cpu_count counts cores of others as well
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    work: Callable[[T], R],
    items: Iterable[T],
    *,
    parallel: Callable[[T], bool] | bool = True,
    size: Callable[[T], int] = lambda _: 0,
    threads: int | None = None,
) -> Iterator[R]:
    """Yield `work(item)` for each item, in order, as `map` does, from several threads.

    Items that `parallel` says no to are worked on in the caller's thread while nothing else
    is. Items are taken as results are: there are never more than `AHEAD` times `threads`
    (None: `thread_count()`) begun, and of a `size` together that `ROOM` has room for. The
    error of an item, or of taking it, is raised where its result would come, and what has
    not begun by then never does. `work` may use this function itself.
    """
    threads = thread_count() if threads is None else threads
    if parallel is False or threads == 1:
        yield from map(work, items)
        return
    begun = _Begun(work, _pool(threads))
    source, failed = iter(items), None
    try:
        while True:
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception as e:  # behind the results of the items before it
                failed = e
                break
            if parallel is True or parallel(item):
                weight = size(item)
                while len(begun) >= AHEAD * threads or (begun and begun.size + weight > ROOM):
                    yield begun.first()
                begun.add(item, weight)
            else:
                while begun:
                    yield begun.first()
                yield work(item)
        while begun:
            yield begun.first()
        if failed is not None:
            raise failed
    finally:
        begun.cancel()


class _Begun(Generic[T, R]):
    """Items that threads of a pool work on or will, in order."""

    def __init__(self, work: Callable[[T], R], pool: ThreadPoolExecutor) -> None:
        self.size = 0
        self._work = work
        self._pool = pool
        self._queue: deque[tuple[T, int, Future[R]]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, item: T, size: int) -> None:
        self.size += size
        self._queue.append((item, size, self._pool.submit(self._work, item)))

    def first(self) -> R:
        """Return the result of the first item.

        A thread of the pool does not wait while there is something that no thread has begun:
        else all of them could be waiting for parts of their own work, for ever.
        """
        item, size, future = self._queue.popleft()
        self.size -= size
        if _this_thread.in_pool:
            if future.cancel():
                return self._work(item)
            while not future.done() and self._do_last():
                pass
        return future.result()

    def _do_last(self) -> bool:
        """Do the last item that no thread has begun, if there is one."""
        for index in reversed(range(len(self._queue))):
            item, size, future = self._queue[index]
            if future.cancel():
                done: Future[R] = Future()
                self._queue[index] = item, size, done
                try:
                    done.set_result(self._work(item))
                except Exception as e:
                    done.set_exception(e)
                return True
        return False

    def cancel(self) -> None:
        for _, _, future in self._queue:
            future.cancel()


class _ThisThread(threading.local):
    in_pool = False


_this_thread = _ThisThread()


def _enter_pool() -> None:
    _this_thread.in_pool = True


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "omnicodec", initializer=_enter_pool)


if hasattr(os, "register_at_fork"):  # a forked child has the pools, but not their threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
