from __future__ import annotations

import json
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import InvalidInput
from omnicodec.service.batch.order import SHUFFLES, TAILS, Order, permuted

lengths = st.integers(0, 300)
shuffles = st.sampled_from(SHUFFLES)
worlds = st.integers(1, 7)
blocks = st.integers(1, 40)


def ranks(length: int, world: int, **options: Any) -> list[Order]:
    return [Order(length, rank=rank, world=world, **options) for rank in range(world)]


@given(lengths, shuffles, worlds, blocks, st.integers(1, 4), st.integers(0, 1 << 70))
@settings(max_examples=60)
def test_ranks_share_all_rows(
    length: int, shuffle: str, world: int, block: int, window: int, seed: int
) -> None:
    orders = ranks(length, world, shuffle=shuffle, block=block, window=window, seed=seed)
    found = [list(order) for order in orders]
    assert {len(rows) for rows in found} == {length // world}
    rows = [row for share in found for row in share]
    assert len(set(rows)) == len(rows) == length // world * world
    assert set(rows) <= set(range(length))
    repeated = [
        list(order)
        for order in ranks(
            length, world, shuffle=shuffle, block=block, window=window, seed=seed, tail="repeat"
        )
    ]
    assert {len(rows) for rows in repeated} == {-(-length // world)}
    assert {row for share in repeated for row in share} == set(range(length))


@given(lengths, shuffles, worlds, worlds, st.sampled_from(TAILS), st.data())
@settings(max_examples=60)
def test_it_goes_on_with_any_number_of_ranks(
    length: int, shuffle: str, before: int, after: int, tail: str, data: st.DataObject
) -> None:
    options: dict[str, Any] = {"shuffle": shuffle, "tail": tail, "block": 9, "window": 2}
    orders = ranks(length, before, **options)
    steps = data.draw(st.integers(0, len(orders[0])))
    first = [list(islice(iter(order), steps)) for order in orders]
    states = [json.loads(json.dumps(order.state_dict())) for order in orders]
    # Where they are is the same for all, so that any rank's state is good for any other.
    assert all(state == states[0] for state in states)
    assert orders[0].state_dict(given=steps) == states[0]
    left = length - states[0]["position"]
    if left < after and (tail == "drop" or left <= 0):
        return  # the next epoch begins
    again = ranks(length, after, **options)
    for order in again:
        order.load_state_dict(states[-1])
    second = [list(order) for order in again]
    rows = [row for share in first + second for row in share]
    if tail == "drop":
        assert len(set(rows)) == len(rows)
        assert length - len(rows) < after
    else:
        assert set(rows) == set(range(length))
    if before == after:
        whole = [list(order) for order in ranks(length, before, **options)]
        assert [a + b for a, b in zip(first, second, strict=True)] == whole


def test_epochs_follow_one_another() -> None:
    order = Order(50, seed=3)
    epochs = [list(order) for _ in range(3)]
    assert order.epoch == 2
    assert len({tuple(rows) for rows in epochs}) == 3
    assert epochs == [list(Order(50, seed=3, epoch=epoch)) for epoch in range(3)]
    assert list(Order(50, seed=4)) != epochs[0]
    assert len(order) == 50


def test_state_is_where_the_loop_is_not_where_the_loader_is() -> None:
    order = Order(40, rank=1, world=2)
    wanted = list(Order(40, rank=1, world=2))
    assert list(order) == wanted  # as a loader that has asked for all
    state = order.state_dict(given=7)
    again = Order(40, rank=1, world=2)
    again.load_state_dict(state)
    assert list(islice(again, 5)) == wanted[7:12]
    # Counted from where it was loaded.
    assert again.state_dict(given=3)["position"] == 20
    resumed = Order(40, rank=1, world=2)
    resumed.load_state_dict(again.state_dict(given=3))
    assert list(resumed) == wanted[10:]
    assert list(resumed) == list(Order(40, rank=1, world=2, epoch=1))
    assert resumed.state_dict(given=2)["position"] == 4


def test_full_shuffle_mixes_all() -> None:
    rows = np.array(list(Order(10_000)))
    assert abs(np.corrcoef(rows, np.arange(10_000))[0, 1]) < 0.05
    assert abs(np.corrcoef(rows[:-1], rows[1:])[0, 1]) < 0.05
    # Each row may come first, and none too often.
    firsts = np.bincount([next(iter(Order(20, seed=seed))) for seed in range(400)], minlength=20)
    assert firsts.min() >= 4
    assert firsts.max() <= 45


def test_block_shuffle_stays_within_a_window() -> None:
    rows = list(Order(1003, shuffle="block", block=10, window=4))
    assert sorted(rows) == list(range(1003))
    touched = [len({row // 10 for row in rows[at : at + 40]}) for at in range(0, 1000, 40)]
    assert max(touched) <= 5
    assert len({row // 10 for row in rows[:40]}) >= 4
    assert rows[:10] != sorted(rows[:10])


def test_a_billion_rows_take_no_memory() -> None:
    order = Order(10**9, rank=5, world=8)
    assert len(order) == 125_000_000
    order.load_state_dict(Order(10**9).state_dict() | {"position": 999_999_000})
    assert len(set(order)) == 125


@given(st.integers(1, 1 << 62), st.integers(0, 1 << 64 - 1), st.data())
@settings(max_examples=50)
def test_the_permutation_has_an_inverse(length: int, key: int, data: st.DataObject) -> None:
    some = data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=5, unique=True))
    numbers = np.array(some, np.uint64)
    lengths_, keys = (np.full(len(some), n, np.uint64) for n in (length, key))
    there = permuted(numbers, lengths_, keys)
    assert (there < length).all()
    assert len(set(there.tolist())) == len(some)
    np.testing.assert_array_equal(permuted(there, lengths_, keys, backward=True), numbers)


@pytest.mark.parametrize(
    "options",
    [{"length": -1}, {"rank": 2, "world": 2}, {"world": 0}, {"block": 0}, {"shuffle": "some"},
     {"tail": "x"}],
)  # fmt: skip
def test_arguments_that_are_none_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Order(**{"length": 5} | options)


@pytest.mark.parametrize(
    "change", [{"length": 6}, {"seed": 1}, {"shuffle": "none"}, {"position": -1}, {"epoch": None}]
)
def test_a_state_of_another_order_is_refused(change: dict[str, Any]) -> None:
    order = Order(5)
    with pytest.raises(InvalidInput, match="not a state of this order"):
        order.load_state_dict(order.state_dict() | change)
    with pytest.raises(InvalidInput, match="not a state of this order"):
        order.load_state_dict({})
