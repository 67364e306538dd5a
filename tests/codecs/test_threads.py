"""Order, errors, bounds and nesting of work on several threads."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.threads import AHEAD, ROOM, in_order, thread_count


@given(st.lists(st.integers(0, 9)), st.integers(1, 4), st.integers(1, 10))
def test_results_are_those_of_map(items: list[int], threads: int, modulus: int) -> None:
    def work(item: int) -> int:
        time.sleep(item * 1e-5)
        return item + 1

    mixed = in_order(work, items, parallel=lambda i: i % modulus > 0, threads=threads)
    assert list(mixed) == list(map(work, items))


def test_items_are_side_by_side() -> None:
    met = threading.Barrier(3, timeout=10)
    assert len(list(in_order(lambda _: met.wait(), range(9), threads=3))) == 9


def test_items_alone_are_in_the_callers_thread_while_nothing_else_is() -> None:
    running = 0
    lock = threading.Lock()

    def work(_: int) -> bool:
        nonlocal running
        with lock:
            running += 1
            alone = running == 1 and threading.current_thread() is threading.main_thread()
        time.sleep(0.001)
        with lock:
            alone &= running == 1
            running -= 1
        return alone

    found = list(in_order(work, range(40), parallel=lambda i: i % 5 > 0, threads=2))
    assert all(found[::5])
    assert not all(found)


def test_no_more_is_begun_than_said() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in itertools.count():
            taken.append(item)
            yield item

    results = in_order(abs, items(), threads=2)
    for expected in range(100):
        assert next(results) == expected
        assert len(taken) <= expected + 1 + 2 * AHEAD
    results.close()


@pytest.mark.parametrize(("size", "most"), [(ROOM, 1), (ROOM + 1, 1), (ROOM // 3, 3)])
def test_large_items_are_fewer(size: int, most: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(50):
            taken.append(item)
            yield item

    results = in_order(abs, items(), size=lambda _: size, threads=2)
    for expected in range(50):
        assert next(results) == expected
        assert len(taken) <= expected + 1 + most


def test_a_thread_that_has_to_wait_does_other_parts_meanwhile() -> None:
    met = threading.Barrier(2, timeout=10)

    def part(item: int) -> int:
        # The first part ends only when the thread that gave it away does another.
        if item in (0, 5):
            met.wait()
        return item

    def whole(_: int) -> list[int]:
        begin.wait()
        return list(in_order(part, range(6), threads=2))

    begin = threading.Barrier(2, timeout=10)
    both = in_order(lambda i: whole(i) if i == 0 else begin.wait(), range(2), threads=2)
    assert next(both) == list(range(6))


def test_errors_of_parts_that_were_done_meanwhile_come_in_order() -> None:
    def part(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        if item > 2:
            raise ValueError(item)
        return item

    def whole(_: int) -> list[int]:
        found = []
        for item in in_order(part, range(6), threads=2):
            found.append(item)
        return found

    with pytest.raises(ValueError, match="^3$"):
        list(in_order(whole, range(3), threads=2))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_first_error_is_that_of_the_first_item(threads: int) -> None:
    def work(item: int) -> int:
        time.sleep(0.01 if item == 3 else 0)  # those behind it fail earlier
        if item >= 3:
            raise ValueError(item)
        return item

    results = in_order(work, range(1000), threads=threads)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="^3$"):
        next(results)
    assert list(results) == []


def test_nothing_begins_after_an_error() -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        raise ValueError(item)

    with pytest.raises(ValueError, match="^0$"):
        list(in_order(work, range(1000), threads=2))
    time.sleep(0.01)
    assert len(begun) <= 2 * AHEAD


def test_work_may_have_parts_on_threads_itself() -> None:
    def deep(level: int) -> int:
        return 1 if level == 0 else sum(in_order(deep, [level - 1] * 4, threads=2))

    results: list[int] = []
    call = threading.Thread(target=lambda: results.append(deep(4)), daemon=True)
    call.start()
    call.join(20)
    assert results == [4**4]


def test_a_forked_child_has_threads_of_its_own() -> None:
    assert sum(in_order(abs, range(10), threads=2)) == 45
    child = os.fork()
    if child == 0:
        met = threading.Barrier(2, timeout=10)
        code = 1
        try:
            list(in_order(lambda _: met.wait(), range(4), threads=2))
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_thread_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMNICODEC_THREADS", raising=False)
    assert thread_count() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("OMNICODEC_THREADS", "3")
    assert thread_count() == 3
    for wrong in ("0", "-1", "many", "1.5"):
        monkeypatch.setenv("OMNICODEC_THREADS", wrong)
        with pytest.raises(InvalidInput, match="OMNICODEC_THREADS"):
            thread_count()


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_taking_an_item_comes_behind_the_results_before_it(threads: int) -> None:
    def items() -> Iterator[int]:
        yield from range(4)
        raise ValueError("no more")

    results = in_order(lambda item: item, items(), threads=threads)
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="no more"):
        next(results)
