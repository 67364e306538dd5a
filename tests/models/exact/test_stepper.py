"""Steppers: states that are kept, restored and copied, and use from other compiled loops."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from omnicodec.models import exact
from omnicodec.models.exact.kernels import advance

Ids = Callable[[int, int], Tensor]


def test_a_kept_state_returns_to_its_step(
    sequence_network: exact.Network, sequence_ids: Ids
) -> None:
    ids = sequence_ids(2, 20).numpy()
    stepper = exact.Stepper(sequence_network)
    straight = stepper.run(ids[0])
    stepper.reset()
    stepper.run(ids[0, :8])
    kept = stepper.state.copy()
    stepper.run(ids[1, :5])
    stepper.state[:] = kept
    assert np.array_equal(stepper.run(ids[0, 8:]), straight[8:])


def test_copies_go_their_own_ways(sequence_network: exact.Network, sequence_ids: Ids) -> None:
    ids = sequence_ids(8, 50).numpy()
    stepper = exact.Stepper(sequence_network)
    expected = [exact.Stepper(sequence_network).run(item) for item in ids]
    copies = [stepper.copy() for _ in ids]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda pair: pair[0].run(pair[1]), zip(copies, ids, strict=True)))
    for mine, right in zip(got, expected, strict=True):
        assert np.array_equal(mine, right)
    assert stepper.state[0] == 0


def test_results_belong_to_the_caller(residual_network: exact.Network) -> None:
    stepper = exact.Stepper(residual_network)
    first = stepper.step([3, 4])
    kept = first.copy()
    stepper.step([5, 6])
    assert np.array_equal(first, kept)


def test_a_loop_of_ones_own(residual_network: exact.Network, sequence_ids: Ids) -> None:
    ids: NDArray[np.int64] = sequence_ids(1, 20)[0].numpy()
    stepper = exact.Stepper(residual_network)
    expected = stepper.run(ids)
    stepper.reset()
    outputs, registers = stepper.outputs, stepper.arrays[3]
    for row, right in zip(ids, expected, strict=True):
        advance(*stepper.arrays, row)
        assert registers[outputs.start : outputs.start + outputs.size].tolist() == right.tolist()


def test_what_a_stepper_does_not_take() -> None:
    with pytest.raises(TypeError, match="starts with an Embedding"):
        exact.Stepper(exact.Network([exact.Linear(2, 2)]))
    masked = exact.Network([exact.Embedding([5], 4), exact.MaskedConv2d(4, 4, 3, "A")])
    with pytest.raises(ValueError, match="over a grid"):
        exact.Stepper(masked)
    with pytest.raises(ValueError, match="2 ids for 1 tables"):
        exact.Stepper(exact.Network([exact.Embedding([5], 4)])).step([1, 2])
