"""Training sounds: read once from tar shards or folders, then augmented crops in memory."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnicodec.codecs import InvalidInput, Unavailable
from omnicodec.service.train.files import read_files

Samples = NDArray[np.int16]


@dataclass(frozen=True)
class Sound:
    """`samples` is int16 `(T,)`; `weight` is how often it is drawn, relative to others."""

    samples: Samples
    weight: float


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How crops are varied: chances are 0 to 1, loudness is in dB of the root mean square."""

    mixing: float = 0.15
    filtering: float = 0.2
    silence: float = 0.02
    loudest: float = -10.0
    quietest: float = -38.0


def read_sounds(
    source: Path, weights: Mapping[str, float], rate: int, shortest: int
) -> list[Sound]:
    """Return all sounds below `source` in mono at `rate` Hz: files, and members of .tar shards.

    `weights` gives a factor by group, a shard's or folder's name; others count 1. A sound
    counts by its length too. Those under `shortest` samples, and files that hold no sound,
    are left out. Raises `InvalidInput` when nothing is left.
    """
    sounds = []
    for group, data in read_files(source):
        samples = _decode(data, rate)
        if samples is not None and samples.size >= shortest:
            sounds.append(Sound(samples, weights.get(group, 1.0) * samples.size))
    if not sounds:
        raise InvalidInput(f"no sounds of {shortest} samples or more in {str(source)!r}")
    return sounds


def crops(
    sounds: list[Sound], size: int, batch: int, seed: int, augmentation: Augmentation
) -> Tensor:
    """Return a batch of random crops, float32 `(batch, size)` within -1 to 1.

    The batch is a function of `seed`, so that a resumed run sees what an undisturbed one
    would have seen.
    """
    rng = random.Random(seed)
    weights = [sound.weight for sound in sounds]
    drawn = rng.choices(sounds, weights, k=batch)
    return torch.from_numpy(
        np.stack([_augmented(sound, sounds, weights, size, augmentation, rng) for sound in drawn])
    )


def _augmented(
    sound: Sound,
    sounds: list[Sound],
    weights: list[float],
    size: int,
    how: Augmentation,
    rng: random.Random,
) -> NDArray[np.float32]:
    if rng.random() < how.silence:
        return np.zeros(size, np.float32)
    crop = _crop(sound, size, rng)
    if rng.random() < how.filtering:
        crop = _filtered(crop, rng)
    crop = _at_level(crop, rng.uniform(how.quietest, how.loudest))
    if rng.random() < how.mixing:
        other = _crop(rng.choices(sounds, weights)[0], size, rng)
        crop = crop + _at_level(other, rng.uniform(how.quietest, how.loudest))
    # Turned down rather than clipped: what clips is a distortion that no one wants back.
    peak = float(np.abs(crop).max())
    return (crop * (rng.choice((-1, 1)) / max(1.0, peak))).astype(np.float32)


def _crop(sound: Sound, size: int, rng: random.Random) -> NDArray[np.float32]:
    start = rng.randrange(max(1, sound.samples.size - size + 1))
    crop = sound.samples[start : start + size].astype(np.float32) / 32768
    return np.pad(crop, (0, size - crop.size))


def _at_level(crop: NDArray[np.float32], decibels: float) -> NDArray[np.float32]:
    """Scale to a loudness; what is nearly silent is raised by 20 dB at most."""
    level = math.sqrt(float(np.mean(np.square(crop))))
    gain: float = 10 ** (decibels / 20) / max(level, 1e-6)
    return crop * np.float32(min(gain, 10.0))


def _filtered(crop: NDArray[np.float32], rng: random.Random) -> NDArray[np.float32]:
    """Apply a smooth random equalizer, and sometimes cut off what is above some frequency."""
    spectrum = np.fft.rfft(crop)
    place = np.linspace(0, 1, spectrum.size)
    knots = np.linspace(0, 1, 7)
    decibels = np.interp(np.sqrt(place), knots, [rng.uniform(-9, 9) for _ in knots])
    gain = 10 ** (decibels / 20)
    if rng.random() < 0.4:
        edge = rng.uniform(0.15, 0.9)  # of the highest frequency
        gain *= np.clip((edge + 0.03 - place) / 0.03, 0, 1)
    return np.fft.irfft(spectrum * gain, crop.size).astype(np.float32)


def _decode(data: bytes, rate: int) -> Samples | None:
    """Return a file's first sound stream in mono, or None where there is none."""
    try:
        import av
    except ImportError as e:
        raise Unavailable('reading sounds needs: pip install "omnicodec[video]"') from e
    pieces: list[Samples] = []
    try:
        with av.open(io.BytesIO(data), "r") as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
            for frame in container.decode(audio=0):
                pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    except (av.error.FFmpegError, IndexError, ValueError):
        return None
    return np.concatenate(pieces) if pieces else None
