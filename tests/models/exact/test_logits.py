"""Frequencies that always add up, log-odds that are those of the softmax."""

from __future__ import annotations

import constriction
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnicodec.models.exact import argmax, cumulative, frequencies, log_odds
from omnicodec.models.exact.logits import exp_tables, softplus_entries, tree_depth
from omnicodec.models.exact.row_kernels import cumulative_row, log_odds_row

LOGIT = st.one_of(
    st.integers(-(2**15), 2**15 - 1), st.integers(-600, 600),
    st.sampled_from([-(2**15), 2**15 - 1, 0]),
)  # fmt: skip
ROWS = st.integers(1, 70).flatmap(
    lambda n: st.lists(st.lists(LOGIT, min_size=n, max_size=n), min_size=1, max_size=4)
)


@settings(deadline=None)
@given(ROWS, st.integers(7, 24))
def test_frequencies_add_up(rows: list[list[int]], total_bits: int) -> None:
    logits = torch.tensor(rows, dtype=torch.int16)
    f = frequencies(logits, total_bits)
    assert f.dtype == torch.int32
    assert f.shape == logits.shape
    assert int(f.min()) >= 1
    assert f.sum(-1).unique().tolist() == [1 << total_bits]
    high, low = exp_tables()
    for row, ends in zip(rows, cumulative(logits, total_bits).tolist(), strict=True):
        out = np.zeros(len(row) + 1, np.int64)
        cumulative_row(np.array(row, np.int32), total_bits, high, low, out)
        assert out.tolist() == ends


@pytest.mark.parametrize("logits", [
    torch.tensor([2**31 - 1, -(2**31), 0], dtype=torch.int32),
    torch.full((1 << 16,), -5, dtype=torch.int16),
    torch.tensor([7]),
])  # fmt: skip
def test_hostile_logits(logits: Tensor) -> None:
    f = frequencies(logits, 16)
    assert int(f.sum()) == 1 << 16
    assert int(f.min()) >= 1


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from([2, 17, 256]))
def test_frequencies_are_a_softmax(seed: int, symbols: int) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randint(-1500, 1500, (20, symbols), generator=random)
    p = torch.softmax(logits.double() / 256, -1)
    f = frequencies(logits, 24).double() / 2**24
    # 1 for each symbol, a rounding for each end, and the 2**-22 of the weights.
    assert (f - p).abs().max() < (symbols + 2) * 2.0**-22
    nats = (p * (p / f).log()).sum(-1)
    assert float(nats.max()) < 1e-3


def test_constriction_takes_frequencies() -> None:
    random = torch.Generator().manual_seed(4)
    logits = torch.randint(-2000, 2000, (500, 32), generator=random)
    p = (frequencies(logits) / 2.0**16).double().numpy()
    symbols = torch.multinomial(torch.from_numpy(p), 1, generator=random)[:, 0]
    symbols = symbols.numpy().astype(np.int32)
    family = constriction.stream.model.Categorical(perfect=False)
    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(symbols, family, p)
    words = encoder.get_compressed()
    bits = -np.log2(p[np.arange(500), symbols]).sum()
    assert bits <= 32 * len(words) <= bits + 64
    decoder = constriction.stream.queue.RangeDecoder(words)
    assert np.array_equal(decoder.decode(family, p), symbols)


@settings(deadline=None)
@given(ROWS.filter(lambda rows: len(rows[0]) > 1))
def test_log_odds_are_those_of_the_softmax(rows: list[list[int]]) -> None:
    logits = torch.tensor(rows)
    n = logits.shape[1]
    depth = tree_depth(n)
    got = log_odds(logits)
    assert got.shape == (len(rows), (1 << depth) - 1)
    wide = torch.full((len(rows), 1 << depth), float("-inf"), dtype=torch.float64)
    wide[:, :n] = logits.double() / 256
    for level in range(depth):
        halves = wide.unflatten(1, (1 << level, 2, -1)).logsumexp(-1)
        right = (256 * (halves[..., 1] - halves[..., 0])).clamp(-2047, 2047)
        nodes = got[:, (1 << level) - 1 : (2 << level) - 1]
        known = ~right.isnan()  # neither side has a symbol: anything will do
        assert (nodes - right)[known].abs().max() <= 2
    for row, right in zip(rows, got.tolist(), strict=True):
        sums, out = np.zeros(1 << depth, np.int64), np.zeros((1 << depth) - 1, np.int32)
        log_odds_row(np.array(row, np.int32), depth, softplus_entries(), sums, out)
        assert out.tolist() == right


def test_log_odds_of_two_symbols() -> None:
    logits = torch.tensor([[0, 256], [0, -100], [5, 5], [-9000, 9000]])
    assert log_odds(logits)[:, 0].tolist() == [256, -100, 0, 2047]


def test_argmax_takes_the_first() -> None:
    logits = torch.tensor([[3, 5, 5], [-7, -7, -9], [-(2**15), -1, -(2**15)]], dtype=torch.int16)
    assert argmax(logits).tolist() == [1, 0, 1]


def test_impossible_sizes_are_refused() -> None:
    logits = torch.zeros(5, dtype=torch.int32)
    for bits in (2, 25, -1):
        with pytest.raises(ValueError, match="do not share"):
            frequencies(logits, bits)
    with pytest.raises(ValueError, match="symbols"):
        frequencies(logits[:0])
    with pytest.raises(ValueError, match="symbols"):
        log_odds(logits[:1])
    with pytest.raises(ValueError, match="within"):
        log_odds(logits + (1 << 21))
