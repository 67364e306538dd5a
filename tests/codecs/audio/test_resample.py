"""Resampling: as torchaudio does it, exact under chunking, and back at its own length."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs.audio._resample import (
    LARGEST_TERM,
    ROLLOFF,
    STEEPEST,
    ZERO_CROSSINGS,
    Resampler,
    Samples,
    ratio,
    resampler,
)

NOISE = np.random.default_rng(0).standard_normal(9000).astype(np.float32)


def run(by: Fraction, samples: Samples, cuts: list[int]) -> Samples:
    one = Resampler(by, 441)
    edges = pairwise([0, *cuts, samples.size])
    found = [one.push(samples[a:b]) for a, b in edges]
    return np.concatenate([*found, one.finish()])


@pytest.mark.parametrize(
    "rates", [(44_100, 24_000), (24_000, 44_100), (8000, 24_000), (48_000, 24_000)]
)
def test_it_is_what_torchaudio_does(rates: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    torchaudio = pytest.importorskip("torchaudio")
    source, target = rates
    ours = run(Fraction(target, source), NOISE, [])
    theirs = torchaudio.functional.resample(
        torch.from_numpy(NOISE), source, target,
        lowpass_filter_width=ZERO_CROSSINGS, rolloff=ROLLOFF,
    ).numpy()  # fmt: skip
    assert ours.size == theirs.size
    assert np.abs(ours - theirs).max() < 1e-4


@given(
    st.sampled_from([Fraction(80, 147), Fraction(3), Fraction(1, 2), Fraction(147, 80)]),
    st.lists(st.integers(0, 3000), max_size=8).map(sorted),
)
def test_cuts_change_no_bit(by: Fraction, cuts: list[int]) -> None:
    samples = NOISE[:3000]
    assert np.array_equal(run(by, samples, cuts), run(by, samples, []))


@given(st.integers(0, 2000), st.sampled_from([8000, 11_025, 22_050, 44_100, 192_000, 11_127]))
def test_there_and_back_has_enough_samples(length: int, rate: int) -> None:
    by = ratio(rate, 24_000)
    there = run(by, NOISE[:length], [])
    assert there.size == math.ceil(length * by)
    assert run(1 / by, there, []).size >= length


@given(st.integers(1, (1 << 31) - 1))
def test_ratios_are_small_and_close(rate: int) -> None:
    by = ratio(rate, 24_000)
    assert max(by.numerator, by.denominator) <= LARGEST_TERM
    wanted = min(max(24_000 / rate, 1 / STEEPEST), STEEPEST)
    assert float(by) == pytest.approx(wanted, rel=0.01)


def test_common_rates_are_exact() -> None:
    for rate in (8000, 11_025, 12_000, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000):
        assert ratio(rate, 24_000) == Fraction(24_000, rate)
    assert resampler(24_000, 24_000, ratio(24_000, 24_000)) is None


def test_tones_pass_and_what_is_too_high_does_not() -> None:
    time = np.arange(9600) / 48_000
    for hertz, gain in ((1000, 1.0), (9000, 1.0), (15_000, 0.0)):
        tone = np.sin(2 * np.pi * hertz * time).astype(np.float32)
        level = np.sqrt(np.mean(np.square(run(Fraction(1, 2), tone, [])[200:-200])))
        assert level == pytest.approx(gain / np.sqrt(2), abs=0.02)
