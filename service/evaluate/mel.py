"""Short-time spectra in mel bands: what compares sounds, and what pictures of them show."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_AT_ONCE: Final = 1 << 11  # frames, which bounds memory


def mel_bands(samples: Floats, rate: int, *, window: int, hop: int, bands: int) -> Iterator[Floats]:
    """Yield the band amplitudes of samples `(T,)`, in pieces `(frames, bands)`.

    Frames of `window` samples under a periodic Hann window are centred on every `hop`-th
    sample, the first included, with silence beyond both ends. Magnitudes are scaled so that
    a sine of full scale has 1 at its bin. A band is the root of a weighted mean of squared
    magnitudes under a triangle whose edges are evenly spaced from 0 to `rate / 2` on the scale
    2595 log10(1 + Hz / 700); a triangle between two bins takes the nearest one.
    """
    weights = mel_filters(rate, window, bands).T
    taper = np.hanning(window + 1)[:-1].astype(np.float32)
    taper *= 2 / taper.sum()
    padded = np.pad(samples, (window // 2, window - window // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[: samples.size + 1 : hop]
    for start in range(0, len(frames), _AT_ONCE):
        spectrum = np.fft.rfft(frames[start : start + _AT_ONCE] * taper).astype(np.complex64)
        power = spectrum.real**2 + spectrum.imag**2
        yield np.sqrt(power @ weights)


@lru_cache(maxsize=16)
def mel_filters(rate: int, window: int, bands: int) -> Floats:
    """Return the triangles `(bands, window // 2 + 1)`, each of which sums to 1."""
    edges = hertz(np.linspace(0.0, float(mel(rate / 2)), bands + 2)) * (window / rate)
    bins = np.arange(window // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    filters = np.minimum(rising, falling).clip(min=0)
    empty = np.flatnonzero(filters.sum(1) == 0)
    filters[empty, np.rint(centre[empty, 0]).astype(int)] = 1
    scaled: Floats = (filters / filters.sum(1, keepdims=True)).astype(np.float32)
    return scaled


def mel(frequency: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the place of frequencies in Hz on the mel scale."""
    return np.asarray(2595 * np.log10(1 + np.asarray(frequency) / 700))


def hertz(place: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the frequencies in Hz of places on the mel scale."""
    return np.asarray(700 * (10 ** (np.asarray(place) / 2595) - 1))
