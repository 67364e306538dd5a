"""Stages in threads: the same items in the same order, bounded, and all of them end together."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import Cancelled
from omnicodec.service.batch.flow import Flow


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(("omnicodec-stage", "omnicodec-open"))]


@given(items=st.lists(st.integers()), threads=st.booleans())
def test_stages_pass_all_on_in_order(items: list[int], threads: bool) -> None:
    written: list[int] = []
    with Flow(threads=threads) as flow:
        doubled = flow.ahead(2 * item for item in flow.ahead(iter(items)))
        write = flow.behind(written.append)
        for item in doubled:
            write(item + 1)
        flow.finish()
    assert written == [2 * item + 1 for item in items]


def test_a_stage_runs_only_so_far_ahead() -> None:
    taken = []

    def source() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with Flow() as flow:
        for number in flow.ahead(source(), room=3):
            # Three wait, one is in the stage's hand, and one is here.
            assert len(taken) <= number + 5


def test_without_threads_all_is_done_by_the_caller_when_it_is_asked_for() -> None:
    here = threading.current_thread()
    log: list[str] = []

    def source() -> Iterator[int]:
        for number in range(2):
            assert threading.current_thread() is here
            log.append(f"take {number}")
            yield number

    with Flow(threads=False) as flow:
        write = flow.behind(lambda number: log.append(f"write {number}"))
        for number in flow.ahead(source()):
            write(number)
        flow.finish()
    assert log == ["take 0", "write 0", "take 1", "write 1"]


def test_an_error_of_a_stage_comes_behind_what_it_had_passed_on() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("gone")

    with Flow() as flow:
        items = flow.ahead(flow.ahead(source()))
        assert (next(items), next(items)) == (1, 2)
        with pytest.raises(OSError, match="gone"):
            next(items)


def test_an_error_of_the_caller_ends_stages_that_wait_for_room() -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    def run() -> None:
        with Flow() as flow:
            next(flow.ahead(flow.ahead(source())))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert closed.is_set()


def test_an_error_behind_comes_back_and_what_follows_is_dropped() -> None:
    done = []

    def work(item: int) -> None:
        if item == 1:
            raise OSError("full")
        done.append(item)

    with Flow() as flow:
        put = flow.behind(work)
        put(0)
        put(1)
        with pytest.raises(OSError, match="full"):
            flow.finish()
        with pytest.raises(OSError, match="full"):
            put(2)
    assert done == [0]


def test_whoever_writes_more_than_there_is_room_for_hears_of_the_error() -> None:
    def work(_: int) -> None:
        raise OSError("full")

    def run() -> None:
        with Flow() as flow:
            put = flow.behind(work)
            for number in range(1000):
                put(number)

    with pytest.raises(OSError, match="full"):
        run()


def test_a_cancelled_flow_ends_where_the_caller_waits() -> None:
    cancel, taken, release = threading.Event(), threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        yield 1
        taken.wait(30)
        cancel.set()
        release.wait(30)

    with Flow(cancel=cancel) as flow:
        items = flow.ahead(source())
        assert next(items) == 1
        taken.set()
        with pytest.raises(Cancelled):
            next(items)
        release.set()


def test_a_cancelled_flow_ends_behind_the_caller_as_well() -> None:
    cancel, release = threading.Event(), threading.Event()

    def work(_: int) -> None:
        cancel.set()
        release.wait(30)

    with Flow(cancel=cancel) as flow:
        flow.behind(work)(1)
        with pytest.raises(Cancelled):
            flow.finish()
        release.set()


@given(
    items=st.lists(st.tuples(st.integers(0, 30), st.booleans())),
    threads=st.integers(1, 3),
    room=st.integers(0, 60),
)
def test_a_pool_keeps_order_and_its_room(
    items: list[tuple[int, bool]], threads: int, room: int
) -> None:
    lock = threading.Lock()
    begun: list[int] = []
    given_back = 0

    def work(numbered: tuple[int, tuple[int, bool]]) -> int:
        with lock:
            begun.append(numbered[1][0])
            # Besides what has room, there is one item that was begun, and one that was given.
            assert sum(begun) - given_back <= room + 2 * 30
        return numbered[0]

    with Flow() as flow:
        results = flow.in_order(
            work,
            enumerate(items),
            quick=lambda each: each[1][1],
            size=lambda each: each[1][0],
            threads=threads,
            room=room,
        )
        seen = []
        for number in results:
            seen.append(number)
            with lock:
                given_back += items[number][0]
    assert seen == list(range(len(items)))


def test_a_pool_is_gone_when_its_results_are_no_longer_wanted() -> None:
    release = threading.Event()
    with Flow() as flow:
        results = flow.in_order(
            lambda number: number and release.wait(30),
            range(10),
            quick=lambda _: False,
            size=lambda _: 1,
            threads=2,
            room=5,
        )
        assert next(results) == 0
        release.set()
        results.close()  # type: ignore[attr-defined]
