"""Metrics of sound against closed forms, their definitions, and other libraries."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from omnicodec.codecs import Audio
from omnicodec.service.evaluate.sound_metrics import (
    MEL_FLOOR,
    MEL_WINDOWS,
    RATE,
    comparable,
    mel_distance,
    pesq,
    resampled,
    si_sdr,
    stoi,
)

Samples = NDArray[np.float32]
Make = Callable[..., Audio]


def noise(shape: tuple[int, int], seed: int = 0, scale: float = 0.1) -> Samples:
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(ratio=st.floats(0.01, 10), gain=st.floats(0.1, 8), seed=st.integers(0, 99))
def test_si_sdr_of_orthogonal_noise_is_the_ratio_of_energies(
    ratio: float, gain: float, seed: int
) -> None:
    x, e = noise((1, 4000), seed).astype(np.float64), noise((1, 4000), seed + 100)
    e = e - x * float((x * e).sum() / (x * x).sum())
    e *= ratio * np.sqrt((x * x).sum() / (e * e).sum())
    decoded = (gain * (x + e)).astype(np.float32)
    found = si_sdr(x.astype(np.float32), decoded)
    assert found == pytest.approx(-20 * math.log10(ratio), abs=0.01)


def test_si_sdr_at_its_ends() -> None:
    x = noise((2, 1000))
    assert si_sdr(x, x) == math.inf
    assert si_sdr(x, 0 * x) == -math.inf
    assert si_sdr(0 * x, x) is None


def test_mel_distance_of_a_gain_is_its_logarithm() -> None:
    x = noise((1, 24_000))  # far above the floor in every band
    assert mel_distance(x, x) == 0
    for gain in (0.5, 2.0):
        assert mel_distance(x, gain * x) == pytest.approx(math.log(2), rel=1e-3)


def test_mel_distance_of_silence_is_the_height_over_the_floor() -> None:
    x = noise((1, 24_000))
    silent = np.zeros_like(x)
    expected = mel_distance(x, silent)
    assert expected == mel_distance(silent, x)
    assert mel_distance(10 * x, silent) == pytest.approx(expected + math.log(10), rel=1e-4)
    assert mel_distance(silent, silent + MEL_FLOOR / 10) == 0
    assert mel_distance(x[:, :0], x[:, :0]) is None


def test_mel_distance_is_that_of_torchaudio(sound: Make) -> None:
    x, y = sound(1.0).samples, sound(1.0, seed=3).samples
    means = []
    for window, bands in MEL_WINDOWS:
        make = torchaudio.transforms.MelSpectrogram(
            RATE, window, hop_length=window // 4, n_mels=bands, power=2, pad_mode="constant"
        )
        filters = make.mel_scale.fb
        levels = []
        for samples in (x, y):
            power = make.spectrogram(torch.from_numpy(samples.copy()))[0] * (4 / window) ** 2
            mean = power.T @ (filters / filters.sum(0).clamp(min=1e-9))
            levels.append(mean.sqrt().clamp(min=MEL_FLOOR).log())
        means.append(float((levels[0] - levels[1]).abs().mean()))
    # Triangles without a bin, which some of the lowest are, are empty there.
    assert mel_distance(x, y) == pytest.approx(np.mean(means), rel=0.03)


def test_channels_are_averaged(sound: Make) -> None:
    x, y = sound(1.0, channels=2).samples, sound(1.0, channels=2, seed=5).samples
    for metric in (si_sdr, mel_distance):
        each = [metric(x[i : i + 1], y[i : i + 1]) for i in range(2)]
        assert metric(x, y) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("late", [-100, -3, 0, 2, 120])
@pytest.mark.parametrize("rate", [24_000, 48_000])
def test_decoded_sound_is_moved_to_where_it_fits(late: int, rate: int, sound: Make) -> None:
    original = sound(1.0, rate)
    shift = late * rate // 24_000
    moved = np.roll(original.samples, shift, 1)
    if shift > 0:
        moved[:, :shift] = 0
    elif shift < 0:
        moved[:, shift:] = 0
    x, y = comparable(original, Audio(0.5 * moved, rate))
    assert x.shape == y.shape
    assert x.shape[1] >= 24_000 - 2 * abs(late)
    inner = slice(200, -200)
    assert y[:, inner] == pytest.approx(0.5 * x[:, inner], abs=1e-3)


def test_rates_lengths_and_channels_may_differ(sound: Make) -> None:
    original = sound(0.8, 16_000, channels=2)
    decoded = Audio(resampled(original.samples[:1, :-900], 16_000, 48_000), 48_000)
    x, y = comparable(original, decoded)
    assert x.shape == y.shape
    assert (y[0] == y[1]).all()
    assert si_sdr(x[:1, 300:-300], y[:1, 300:-300]) > 30


def test_pesq_and_stoi_fall_as_noise_grows(sound: Make) -> None:
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    x = sound(3.0).samples
    for metric, best in ((pesq, 4.64), (stoi, 1.0)):
        values = [metric(x, x + noise(x.shape, 1, scale)) for scale in (0, 0.01, 0.1)]
        assert values[0] == pytest.approx(best, abs=0.01)
        assert values == sorted(values, key=lambda value: -(value or 0))


def test_pesq_is_that_of_the_package(sound: Make) -> None:
    library = pytest.importorskip("pesq")
    x = sound(3.0).samples
    y = x + noise(x.shape, 1, 0.02)
    a, b = (
        torchaudio.functional.resample(torch.from_numpy(s.copy()), 24_000, 16_000)[0].numpy()
        for s in (x, y)
    )
    assert pesq(x, y) == pytest.approx(library.pesq(16_000, a, b, "wb"), abs=0.02)


@pytest.mark.parametrize("metric", [pesq, stoi])
def test_what_cannot_be_scored_is_none(
    metric: Callable[[Samples, Samples], float | None], sound: Make
) -> None:
    pytest.importorskip(metric.__name__.replace("stoi", "pystoi"))
    x = sound(2.0).samples
    silent = np.zeros_like(x)
    for a, b in ((silent, silent), (x, silent), (x[:, :100], x[:, :100]), (x[:, :0], x[:, :0])):
        assert metric(a, b) is None


def test_one_silent_channel_does_not_hide_the_other(sound: Make) -> None:
    pytest.importorskip("pesq")
    x = sound(2.0).samples
    both = np.concatenate([x, np.zeros_like(x)])
    assert pesq(both, both) == pytest.approx(pesq(x, x))


def test_long_clips_are_scored_in_parts(sound: Make) -> None:
    """The reference code writes past its tables after 50 utterances."""
    pytest.importorskip("pesq")
    x = sound(30.5).samples
    y = x + noise(x.shape, 1, 0.02)
    value = pesq(x, y)
    part = pesq(x[:, : x.shape[1] // 3], y[:, : x.shape[1] // 3])
    assert value == pytest.approx(part, abs=0.15)


def test_without_the_packages_there_is_no_score(
    sound: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pesq", None)
    monkeypatch.setitem(sys.modules, "pystoi", None)
    x = sound(1.0).samples
    assert pesq(x, x) is None
    assert stoi(x, x) is None
