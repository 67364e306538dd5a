"""minGRU against its recurrence on Python's integers."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.models.exact import MinGRU, int8_matmul
from omnicodec.models.exact.recurrent import gate_table, recurrence

GATE = st.one_of(st.integers(0, 2**15 - 1), st.sampled_from([0, 1, 2**15 - 1]))
VALUE = st.one_of(st.integers(-(2**15), 2**15 - 1), st.sampled_from([-(2**15), 2**15 - 1]))


@settings(deadline=None)
@given(st.lists(st.tuples(GATE, VALUE), min_size=1, max_size=30), VALUE)
def test_recurrence_is_its_definition(steps: list[tuple[int, int]], first: int) -> None:
    h, expected = first, []
    for z, c in steps:
        h += (z * (c - h) + 2**14) >> 15
        expected.append(h)
    gate, candidate = (torch.tensor(x, dtype=torch.int16) for x in zip(*steps, strict=True))
    state = torch.tensor([[first]], dtype=torch.int32)
    out = recurrence(gate[None, :, None], candidate[None, :, None], state)
    assert out[0, :, 0].tolist() == expected
    assert state.tolist() == [[expected[-1]]]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(0, 15), st.sampled_from([8, 16]))
def test_the_compiled_walk_is_the_walk_in_torch(seed: int, length: int, bits: int) -> None:
    random = torch.Generator().manual_seed(seed)
    layer = MinGRU(7, 5, bits)
    for x, least, most in ((layer.weight, -127, 127), (layer.bias, -(2**17), 2**17)):
        x.copy_(torch.randint(least, most + 1, x.shape, generator=random))
    layer.shift.copy_(torch.randint(-2, 12, layer.shift.shape, generator=random))
    layer.shift_out.copy_(torch.randint(-3, 9, (1,), generator=random))
    x = torch.randint(-128, 128, (3, length, 7), generator=random).to(torch.int8)
    sums = int8_matmul(x.reshape(-1, 7), layer.weight).reshape(3, length, 10)
    state = layer.open(3, None, torch.device("cpu"))
    assert torch.equal(layer._walk_in_torch(sums, state), layer(x))


def test_the_gate_is_a_sigmoid_that_never_opens_fully() -> None:
    table = gate_table()
    q = np.arange(-128, 128)
    assert np.abs(table.numpy() - 2**15 / (1 + np.exp(-q / 16))).max() < 0.5001
    assert int(table.min()) > 0
    assert int(table.max()) < 2**15 - 1


def test_a_shut_gate_keeps_and_an_open_gate_takes() -> None:
    layer = MinGRU(1, 1, bits=16)
    layer.weight.copy_(torch.tensor([[127], [1]]))
    x = torch.tensor([[100, -100, -100, 50]], dtype=torch.int8)[..., None]
    y = layer(x)[0, :, 0].tolist()
    assert abs(y[0] - 100) <= 1
    assert abs(y[2] - 100) <= 1  # 2**-11 of the way to -100, twice
    assert abs(y[3] - 50) <= 1
