"""How close a decoded sound is to its original.

All metrics take float32 samples `(C, T)` of equal shapes; `comparable` makes them so. Channels
are measured one by one and averaged.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from statistics import fmean
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import Audio
from omnicodec.codecs.audio._resample import ratio, resampler
from omnicodec.service.evaluate.mel import mel_bands

Samples = NDArray[np.float32]

RATE: Final = 24_000
"""Hz at which sounds are compared."""

SPEECH_RATE: Final = 16_000
"""Hz of PESQ's wide band, and of STOI's input."""

MEL_WINDOWS: Final = ((512, 40), (1024, 80), (2048, 160))
"""Samples of a window and mel bands, of each resolution of `mel_distance`."""

MEL_FLOOR: Final = 10 ** (-105 / 20)
"""The amplitude, of full scale, below which a band counts as silent."""

PESQ_SECONDS: Final = 15
"""The longest clip that is scored as one: the reference code holds 50 utterances."""

_LAG_SECONDS: Final = 0.005
_LAG_FROM_SECONDS: Final = 30


def comparable(original: Audio, decoded: Audio) -> tuple[Samples, Samples]:
    """Return both at 24 kHz, as long as the shorter one, decoded moved onto the original.

    File formats take away their own delay, but Opus is some samples late at low rates: too
    little to be heard, and much for SI-SDR. So decoded sound is moved by up to 5 ms to where
    its correlation with the first 30 s of the original, channels added, is largest. Fewer
    decoded channels than the original has are repeated.
    """
    x = resampled(original.samples, original.sample_rate, RATE)
    y = resampled(decoded.samples, decoded.sample_rate, RATE)
    if len(x) != len(y):
        y = np.resize(y, (len(x), y.shape[1]))
    lag = _lag(x, y)
    x, y = x[:, max(0, -lag) :], y[:, max(0, lag) :]
    length = min(x.shape[1], y.shape[1])
    return x[:, :length], y[:, :length]


def resampled(samples: Samples, source: int, target: int) -> Samples:
    """Return samples `(C, T)` of rate `source` at rate `target`, in Hz."""
    if source == target:
        return samples
    rows = []
    for row in samples:
        filtering = resampler(source, target, ratio(source, target))
        if filtering is None:
            return samples
        rows.append(np.concatenate([filtering.push(row), filtering.finish()]))
    return np.stack(rows)


def pesq(original: Samples, decoded: Samples) -> float | None:
    """Return PESQ's wide-band listening quality of sounds at 24 kHz, about 1 to 4.64.

    ITU-T P.862.2 by the ITU's own code in the package `pesq`, at 16 kHz; a clip of more than
    15 s is scored in equal parts. None where there is no score: without the package, for
    silence, under a quarter of a second, and where no speech is found.
    """
    try:
        library: Any = import_module("pesq")
    except ImportError:
        return None

    def one(x: Samples, y: Samples) -> float | None:
        value = float(library.pesq(SPEECH_RATE, x, y, "wb", library.PesqError.RETURN_VALUES))
        return value if math.isfinite(value) and value > 0 else None

    return _mean_score(original, decoded, one, PESQ_SECONDS)


def stoi(original: Samples, decoded: Samples) -> float | None:
    """Return short-time objective intelligibility of sounds at 24 kHz, up to 1.

    Taal, Hendriks, Heusdens and Jensen, "An algorithm for intelligibility prediction of
    time-frequency weighted noisy speech" (2011), by the package `pystoi`. None without it,
    for silence, and for less than about 0.4 s of sound.
    """
    try:
        library: Any = import_module("pystoi")
    except ImportError:
        return None

    def one(x: Samples, y: Samples) -> float | None:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                value = float(library.stoi(x, y, SPEECH_RATE))
            except (RuntimeWarning, ValueError, IndexError):  # too short, once pauses are cut
                return None
        return value if math.isfinite(value) else None

    return _mean_score(original, decoded, one, None)


def si_sdr(original: Samples, decoded: Samples) -> float | None:
    """Return the scale-invariant signal-to-distortion ratio in dB; infinity for equal sounds.

    Le Roux, Wisdom, Erdogan and Hershey, "SDR - half-baked or well done?" (2019): the part
    of the decoded sound that lies along the original, over the rest. None for silence.
    """
    values = []
    for x, y in zip(original.astype(np.float64), decoded.astype(np.float64), strict=True):
        energy = float(x @ x)
        if energy == 0:
            continue
        target = (float(x @ y) / energy) * x
        signal, noise = float(target @ target), float(np.sum((y - target) ** 2))
        if signal == 0:
            values.append(-math.inf)
        else:
            values.append(10 * math.log10(signal / noise) if noise else math.inf)
    return fmean(values) if values else None


def mel_distance(original: Samples, decoded: Samples) -> float | None:
    """Return the multi-resolution log-mel distance of sounds at 24 kHz, 0 for equal ones.

    The mean over windows of 512, 1024 and 2048 samples, a quarter apart, with 40, 80 and 160
    mel bands from 0 to 12 kHz, of the mean absolute difference of natural logarithms of band
    amplitudes (`mel_bands`), over all bands and frames. Bands below -105 dB of full scale count as
    -105 dB: 1 is 8.7 dB everywhere, or a quarter of the bands lost at 35 dB above that floor.
    A format that cuts high frequencies off, as Opus does at 6 and 8 kbps and MP3 at 16,
    therefore lies far above one that fills them with anything.
    """
    if not original.size:
        return None
    means = []
    for window, bands in MEL_WINDOWS:
        total, count = 0.0, 0
        for x, y in zip(original, decoded, strict=True):
            spectra = (
                mel_bands(a, RATE, window=window, hop=window // 4, bands=bands) for a in (x, y)
            )
            for a, b in zip(*spectra, strict=True):
                levels = (np.log(np.maximum(part, MEL_FLOOR)) for part in (a, b))
                difference = np.abs(next(levels) - next(levels))
                total += float(difference.sum(dtype=np.float64))
                count += difference.size
        means.append(total / count)
    return fmean(means)


def _lag(x: Samples, y: Samples) -> int:
    """Return by how many samples `y` is late, within the limit; 0 where nothing says so."""
    take, reach = _LAG_FROM_SECONDS * RATE, round(_LAG_SECONDS * RATE)
    a, b = x.sum(0)[:take], y.sum(0)[:take]
    size = 1 << (max(a.size, b.size) + reach).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(a, size).conj() * np.fft.rfft(b, size), size)
    near = np.roll(correlation, reach)[: 2 * reach + 1]
    return int(near.argmax()) - reach if near.max() > 0 else 0


def _mean_score(
    original: Samples,
    decoded: Samples,
    score: Callable[[Samples, Samples], float | None],
    longest: int | None,
) -> float | None:
    """Return the mean of `score` at 16 kHz over channels, and over parts of `longest` seconds."""
    to_speech = partial(resampled, source=RATE, target=SPEECH_RATE)
    scores = [
        value
        for x, y in zip(to_speech(original), to_speech(decoded), strict=True)
        for a, b in _parts(x, y, longest)
        if a.any() and b.any() and (value := score(a, b)) is not None
    ]
    return fmean(scores) if scores else None


def _parts(x: Samples, y: Samples, longest: int | None) -> Iterator[tuple[Samples, Samples]]:
    count = max(1, math.ceil(x.size / (longest * SPEECH_RATE))) if longest else 1
    yield from zip(np.array_split(x, count), np.array_split(y, count), strict=True)
