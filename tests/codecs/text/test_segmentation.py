"""The rules by which texts are cut: causal, whole, and equal to their definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.text._cuts import limited
from omnicodec.codecs.text._segmentation import (
    HIGHEST,
    METHODS,
    Segmentation,
    after_spaces,
    calibrate,
)

CUTS = Segmentation(
    entropy=2000, monotonic=500, surprisal=9000, stride=3, longest=7, average=2500, rate=50
)
FIXED = replace(CUTS, rate=0)

# Words and signs, so that boundaries are common.
TEXTS = st.lists(st.sampled_from([b"a", b"word", b" ", b". ", b"\n", "é".encode(), b"7", b"\xff"]))
DATA = st.binary(max_size=80) | TEXTS.map(b"".join)


def of_past(data: bytes) -> NDArray[np.int32]:
    """Return made-up entropies: each a function of the two bytes before."""
    row = np.frombuffer(b"\0\0" + data, np.uint8).astype(np.int32)
    return (row[1:-1] * 37 + row[:-2] * 101) % 4001


def of_byte(data: bytes) -> NDArray[np.int32]:
    """Return made-up surprisals: each a function of the byte and the one before."""
    row = np.frombuffer(b"\0" + data, np.uint8).astype(np.int32)
    return (row[1:] * 53 + row[:-1] * 11) % 5003


def cut(data: bytes, method: str, cuts: Segmentation = CUTS) -> list[int]:
    return cuts.lengths(data, method, entropy=of_past, surprisal=of_byte).tolist()


for _method in METHODS:
    cut(b"compiles the loops, outside of a test's time", _method)


def starts(data: bytes, method: str, cuts: Segmentation = CUTS) -> list[int]:
    return np.cumsum([0, *cut(data, method, cuts)])[:-1].tolist()


@pytest.mark.parametrize("method", METHODS)
@given(data=DATA)
def test_patches_are_the_text(method: str, data: bytes) -> None:
    lengths = cut(data, method)
    assert sum(lengths) == len(data)
    assert all(1 <= n <= CUTS.longest for n in lengths)


@pytest.mark.parametrize("method", METHODS)
@given(data=DATA, rest=st.binary(max_size=9), at=st.integers(0, 80))
def test_a_boundary_depends_on_the_bytes_before_it(
    method: str, data: bytes, rest: bytes, at: int
) -> None:
    """Whatever follows a prefix, the boundaries up to and at its end are the same."""
    prefix = data[:at]
    whole = [s for s in starts(data + b"?", method) if s <= len(prefix)]
    other = [s for s in starts(prefix + rest + b"?", method) if s <= len(prefix)]
    assert whole == other
    assert [s for s in whole if s < len(prefix)] == starts(prefix, method)


@given(data=DATA)
def test_patches_begin_above_fixed_thresholds(data: bytes) -> None:
    entropy = of_past(data)
    begin = starts(data, "entropy", FIXED)
    assert begin == starts(data, "global")
    for i in range(1, len(data)):
        full = i - max(s for s in begin if s < i) == CUTS.longest
        assert (i in begin) == (entropy[i] > CUTS.entropy or full)
    begin = starts(data, "monotonic", FIXED)
    for i in range(1, len(data)):
        full = i - max(s for s in begin if s < i) == CUTS.longest
        assert (i in begin) == (entropy[i] - entropy[i - 1] > CUTS.monotonic or full)
    at = 0
    surprisal = of_byte(data)
    for n in cut(data, "surprisal", FIXED):
        assert surprisal[at : at + n - 1].sum() <= CUTS.surprisal
        at += n
        assert surprisal[at - n : at].sum() > CUTS.surprisal or n == CUTS.longest or at == len(data)


@given(data=DATA)
def test_thresholds_move_with_the_patches(data: bytes) -> None:
    level, start = 1000 * CUTS.entropy, 0
    entropy = of_past(data)
    for n in cut(data, "entropy")[:-1]:
        assert (1000 * entropy[start + 1 : start + n] <= level).all()
        start += n
        assert 1000 * entropy[start] > level or n == CUTS.longest
        level = min(max(level + CUTS.rate * (CUTS.average - 1000 * n), 0), 1000 * HIGHEST)


@pytest.mark.parametrize("method", ["entropy", "monotonic", "surprisal"])
@pytest.mark.parametrize("factor", [0.3, 1, 3])
def test_moving_thresholds_reach_the_average(method: str, factor: float) -> None:
    """However sure the byte model is; thresholds that do not move do not."""
    rng = np.random.default_rng(0)
    values = (rng.gamma(1.0, 1500.0, 20_000) * factor).astype(np.int32)

    def average(cuts: Segmentation) -> float:
        found = cuts.lengths(
            bytes(20_000), method, entropy=lambda _: values, surprisal=lambda _: values
        )
        return 20_000 / found.size

    assert average(CUTS) == pytest.approx(2.5, rel=0.05)
    assert average(FIXED) != pytest.approx(2.5, rel=0.03)


def test_space_rule() -> None:
    """A patch ends with the first of several signs."""
    assert cut(b"It was, he", "space") == [len(b"It "), len(b"was,"), len(b" he")]


def test_space_rule_by_definition() -> None:
    row = np.arange(256, dtype=np.uint8)
    pairs = np.stack([np.full(256, ord("x"), np.uint8), row, np.full(256, ord("y"), np.uint8)], 1)
    sign = np.array([after_spaces(pair)[2] for pair in pairs])
    letters = {*range(48, 58), *range(65, 91), *range(97, 123)}
    assert set(np.flatnonzero(~sign)) == letters | set(range(0x80, 0xC0))


def test_stride() -> None:
    assert cut(b"", "stride") == []
    assert cut(b"12345678", "stride") == [3, 3, 2]


def test_unknown_method() -> None:
    with pytest.raises(InvalidInput, match="unknown method 'words'; known: entropy, global"):
        cut(b"abc", "words")


@given(st.lists(st.integers(0, 100), min_size=1, max_size=60), st.integers(1000, 5000))
def test_calibration_is_the_least_threshold(values: list[int], average: int) -> None:
    row = np.array(values, np.int32)

    def patches(threshold: int) -> int:
        return int(limited(row > threshold, row.size).size)

    found = calibrate(patches, row.size, average)
    reached = [t for t in range(101) if 1000 * row.size >= average * patches(t)]
    assert found == (reached[0] if reached else HIGHEST)
