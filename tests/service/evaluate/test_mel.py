"""Mel bands: their scale, their filters, and that pieces do not show."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from omnicodec.service.evaluate import mel

Floats = NDArray[np.float32]


def bands(samples: Floats, window: int = 1024, hop: int = 256, count: int = 80) -> Floats:
    pieces = mel.mel_bands(samples, 24_000, window=window, hop=hop, bands=count)
    return np.concatenate(list(pieces))


@pytest.mark.parametrize(("window", "count"), [(512, 40), (1024, 80), (2048, 160), (640, 220)])
def test_filters_are_means_and_cover_every_band(window: int, count: int) -> None:
    filters = mel.mel_filters(24_000, window, count)
    assert filters.shape == (count, window // 2 + 1)
    assert filters.sum(1) == pytest.approx(np.ones(count), abs=1e-5)
    assert (filters >= 0).all()
    centres = filters.argmax(1)
    assert (np.diff(centres) >= 0).all()


def test_mel_scale_is_that_of_the_formula() -> None:
    assert float(mel.mel(1000.0)) == pytest.approx(999.99, abs=0.01)  # 1000 mel by its definition
    places = np.linspace(0, 12_000, 50)
    assert mel.hertz(mel.mel(places)) == pytest.approx(places)


@pytest.mark.parametrize("amplitude", [1.0, 0.01])
def test_a_sine_has_its_amplitude_at_its_bin(amplitude: float) -> None:
    frequency = 24_000 * 40 / 1024
    sine = amplitude * np.sin(2 * np.pi * frequency * np.arange(24_000) / 24_000)
    found = bands(sine.astype(np.float32))[10:-10]
    band = int(found[0].argmax())
    weights = mel.mel_filters(24_000, 1024, 80)[band]
    # A Hann window spreads a sine over three bins: half of its amplitude on either side.
    expected = amplitude * np.sqrt(weights[40] + 0.25 * (weights[39] + weights[41]))
    assert found[:, band] == pytest.approx(np.full(len(found), expected), rel=1e-3)


def test_frames_are_centred_and_pieces_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.1, 5000).astype(np.float32)
    whole = bands(samples)
    assert len(whole) == 5000 // 256 + 1
    monkeypatch.setattr(mel, "_AT_ONCE", 3)
    assert bands(samples) == pytest.approx(whole, rel=1e-5)
    click = np.zeros(5000, np.float32)
    click[256 * 7] = 1
    assert int(bands(click, window=512).sum(1).argmax()) == 7


def test_no_samples_are_one_silent_frame() -> None:
    assert not bands(np.zeros(0, np.float32)).any()
    assert bands(np.zeros(0, np.float32)).shape == (1, 80)
