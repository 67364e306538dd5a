"""What cuts pieces into blocks and joins blocks again; layers that run in blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.hub.blocks import Cutter, OverlapAdd, Rows, in_step
from omnicodec.codecs.hub.causal import CausalLayers

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.lists(st.integers(0, 15), max_size=6),
)
def test_a_cutter_makes_the_same_blocks_of_all_pieces(
    size: int, step: int, pieces: list[int]
) -> None:
    step = min(size, step)
    whole = np.arange(2 * sum(pieces)).reshape(2, -1)
    cutter, at, found = Cutter(size, step), 0, []
    for piece in pieces:
        found += cutter.push(whole[:, at : at + piece])
        at += piece
    found += cutter.rest()
    starts = range(0, at, step)
    assert len(found) == len(starts)
    for start, block in zip(starts, found, strict=True):
        assert np.array_equal(block, whole[:, start : start + size])


@given(st.integers(2, 30), st.data())
def test_overlap_add_is_the_librarys(size: int, data: st.DataObject) -> None:
    from transformers import EncodecModel

    step = data.draw(st.integers(1, size))
    count = data.draw(st.integers(1, 5))
    last = data.draw(st.integers(max(1, size - step), size))
    draw = np.random.default_rng(size)
    lengths = [*[size] * (count - 1), last]
    blocks = [draw.standard_normal((2, 1, n)).astype(np.float32) for n in lengths]
    expected = EncodecModel._linear_overlap_add([torch.from_numpy(b) for b in blocks], step)
    joiner = OverlapAdd(step)
    found = [joiner.push(block) for block in blocks]
    rest = joiner.finish()
    assert rest is not None
    assert np.array_equal(np.concatenate([*found, rest], 2), expected.numpy())
    assert OverlapAdd(step).finish() is None


def test_rows_are_always_as_many_and_as_long() -> None:
    shapes = []

    def run(batch: object, lengths: object) -> object:
        shapes.append((tuple(batch.shape), list(lengths)))
        return batch * 2

    clips = [[np.full((1, n), i + 1.0, np.float32) for n in (4, 4, 3)[: i + 1]] for i in range(3)]
    found = list(in_step([iter(clip) for clip in clips], Rows(run, 5, 4, "cpu")))
    assert shapes == [
        ((5, 1, 4), [4, 4, 4, 0, 0]), ((5, 1, 4), [0, 4, 4, 0, 0]), ((5, 1, 4), [0, 0, 3, 0, 0]),
    ]  # fmt: skip
    assert [number for number, _, _ in found] == [0, 1, 2, 1, 2, 2]
    for number, length, values in found:
        assert np.array_equal(values[:, :length], np.full((1, length), 2 * number + 2))
    assert not found[-1][2][:, 3:].any()


def test_layers_of_another_kind_are_refused() -> None:
    with pytest.raises(InvalidInput, match="MaxPool1d does not run in blocks"):
        CausalLayers([torch.nn.ELU(), torch.nn.MaxPool1d(2)])
