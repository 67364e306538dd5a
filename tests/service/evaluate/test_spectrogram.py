"""Pictures of sound: what is loud is bright, at the height of its pitch."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from omnicodec.codecs import Audio
from omnicodec.service.evaluate.mel import mel
from omnicodec.service.evaluate.spectrogram import (
    _HEIGHT,
    _LEFT,
    _TOP,
    _WIDTH,
    _palette,
    loudest_band,
    spectrogram,
)

EDGE = 12


def plot(audio: Audio, loudest: float | None = None) -> NDArray[np.float64]:
    """Return the lightness of the picture inside its axes, 0 to 255.

    The paper shines through at the very edge, as WebP has blocks, so that is left out.
    """
    data = spectrogram(audio, loudest_band(audio) if loudest is None else loudest)
    with Pillow.open(io.BytesIO(data)) as picture:
        pixels = np.asarray(picture.convert("L"), np.float64)
    return np.pad(
        pixels[_TOP + EDGE : _TOP + _HEIGHT - EDGE, _LEFT + EDGE : _LEFT + _WIDTH - EDGE], EDGE
    )


def sine(frequency: float, rate: int, seconds: float = 1.0, gain: float = 0.5) -> Audio:
    time = np.arange(round(rate * seconds)) / rate
    return Audio((gain * np.sin(2 * np.pi * frequency * time))[None].astype(np.float32), rate)


@pytest.mark.parametrize(("frequency", "rate"), [(500, 8_000), (1000, 24_000), (6000, 24_000)])
def test_a_sine_is_a_line_at_its_height(frequency: float, rate: int) -> None:
    rows = plot(sine(frequency, rate)).mean(1)
    expected = _HEIGHT * (1 - float(mel(frequency)) / float(mel(rate / 2)))
    assert int(rows.argmax()) == pytest.approx(expected, abs=3)
    assert rows.max() > 180
    assert np.median(rows) < 20


def test_time_runs_to_the_right() -> None:
    silent, loud = np.zeros((1, 12_000), np.float32), sine(1000, 24_000, 0.5).samples
    columns = plot(Audio(np.concatenate([silent, loud], 1), 24_000)).max(0)
    assert columns[: _WIDTH // 2 - 15].max() < 30
    assert columns[_WIDTH // 2 + 15 : -EDGE].min() > 150


def test_levels_are_those_of_the_original() -> None:
    loud, quiet = sine(1000, 24_000), sine(1000, 24_000, gain=0.05)
    reference = loudest_band(loud)
    assert loudest_band(quiet) == pytest.approx(reference / 10, rel=1e-3)
    assert plot(quiet, reference).max() < plot(loud, reference).max() - 20


@pytest.mark.parametrize("samples", [0, 1, 300, 24_000])
@pytest.mark.parametrize("rate", [8_000, 24_000])
def test_silence_of_any_length_is_black(samples: int, rate: int) -> None:
    assert plot(Audio(np.zeros((2, samples), np.float32), rate)).max() < 20


def test_colours_grow_lighter() -> None:
    lightness = _palette().astype(np.float64) @ (0.299, 0.587, 0.114)
    assert len(lightness) == 256
    assert (np.diff(lightness) > -0.6).all()
    assert lightness[-1] - lightness[0] > 230
