"""Sound as a picture: time to the right, pitch upwards, level as colour."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import Audio
from omnicodec.service.evaluate.mel import mel, mel_bands

RANGE_DB: Final = 80
"""What lies further below the loudest level is black."""

_WIDTH, _HEIGHT = 420, 220  # of the plot, in pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 46, 6, 20  # room for the axes
_WINDOW_SECONDS: Final = 0.04
_KHZ: Final = (0.25, 0.5, 1, 2, 4, 8, 12, 16)

# From black over violet and orange to pale yellow, lightness rising evenly.
_COLOURS: Final = ((0, 0, 6), (60, 15, 112), (140, 41, 129), (222, 73, 104), (254, 159, 109),
                   (252, 253, 191))  # fmt: skip
_INK, _PAPER, _SOFT = (40, 40, 40), (255, 255, 255), (150, 150, 150)


def spectrogram(audio: Audio, loudest: float) -> bytes:
    """Return the spectrogram of a sound, channels averaged, as a WebP file with axes.

    Frequencies are evenly spaced on the mel scale. Colours run from `loudest`, a band's
    amplitude of full scale, down by 80 dB; with `loudest_band` of the original, its picture and
    that of its reconstruction can be compared.
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw

    page = Pillow.new("RGB", (_LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + _BOTTOM), _PAPER)
    decibels = 20 * np.log10(_bands(audio) / (loudest or 1.0) + 1e-10)
    levels = (1 + decibels / RANGE_DB).clip(0, 1)[:, ::-1].T  # low frequencies at the bottom
    plot = Pillow.fromarray((255 * levels).astype(np.uint8)).resize(
        (_WIDTH, _HEIGHT), Pillow.Resampling.BICUBIC
    )
    page.paste(Pillow.fromarray(_palette()[np.asarray(plot)]), (_LEFT, _TOP))
    scale = np.repeat(np.linspace(255, 0, _HEIGHT).astype(np.uint8)[:, None], 8, 1)
    page.paste(Pillow.fromarray(_palette()[scale]), (_LEFT + _WIDTH + 8, _TOP))
    draw = ImageDraw.Draw(page)
    for (x, y), text, anchor in _labels(audio):
        draw.text((x, y), text, fill=_INK, anchor=anchor, font_size=11)
    for y in (y for (x, y), _, _ in _labels(audio) if x < _LEFT):
        draw.line((_LEFT - 4, y, _LEFT - 1, y), fill=_SOFT)
    out = io.BytesIO()
    page.save(out, "WEBP", quality=88, method=4)
    return out.getvalue()


def loudest_band(audio: Audio) -> float:
    """Return the largest amplitude in the spectrogram of a sound, 0 for silence."""
    return float(_bands(audio).max())


def _bands(audio: Audio) -> NDArray[np.float32]:
    """Return band amplitudes `(columns, bands)`."""
    rate, length = audio.sample_rate, audio.samples.shape[1]
    hop, window = max(1, math.ceil(length / _WIDTH)), 2 * round(rate * _WINDOW_SECONDS / 2)
    power = np.zeros((length // hop + 1, _HEIGHT), np.float32)
    for row in audio.samples:
        pieces = mel_bands(row, rate, window=window, hop=hop, bands=_HEIGHT)
        power += np.concatenate(list(pieces)) ** 2 / len(audio.samples)
    return np.sqrt(power)


def _labels(audio: Audio) -> Iterator[tuple[tuple[float, float], str, str]]:
    """Yield the place of each label on the page, its text, and which side of it is there."""
    top = float(mel(audio.sample_rate / 2))
    for khz in _KHZ:
        if khz * 2000 <= audio.sample_rate:
            height = float(mel(1000 * khz)) / top * _HEIGHT
            last = khz * 2000 == audio.sample_rate
            yield (
                (_LEFT - 5, _TOP + 5 if last else _TOP + _HEIGHT - height),
                f"{khz:g}k" if khz >= 1 else f"{1000 * khz:g}",
                "rm",
            )
    seconds = audio.duration
    step = next((s for s in (0.1, 0.2, 0.5, 1, 2, 5) if seconds / s <= 8), 10)
    for index in range(int(seconds / step) + 1):
        x = _LEFT + index * step / max(seconds, step) * _WIDTH
        yield (x, _TOP + _HEIGHT + 4), f"{index * step:g} s", "mt"
    for level, side in ((0, "lt"), (-RANGE_DB // 2, "lm"), (-RANGE_DB, "lb")):
        yield (
            (_LEFT + _WIDTH + 19, _TOP - level / RANGE_DB * _HEIGHT),
            f"{level} dB" if level == 0 else f"{level}",
            side,
        )


def _palette() -> NDArray[np.uint8]:
    """Return 256 colours."""
    places = np.linspace(0, 255, len(_COLOURS))
    channels = np.array(_COLOURS, np.float64).T
    mixed = [np.interp(np.arange(256), places, channel) for channel in channels]
    return np.stack(mixed, 1).round().astype(np.uint8)
