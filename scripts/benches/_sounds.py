"""Clips of speech and music to measure on."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from omnicodec.codecs import Audio, InvalidInput
from omnicodec.service.evaluate.data import Source
from omnicodec.service.evaluate.sound_metrics import RATE, resampled

SHORTEST: Final = 1.0
LONGEST: Final = 12.0
"""Seconds of a clip: shorter ones have no PESQ to speak of, of longer ones it is the beginning."""

GROUPS: Final = ("speech", "music")
"""Folders that are measured one by one; without them, all of the data is one group."""


def groups(data: Path) -> dict[str, Path]:
    """Return the folders to measure on, by name."""
    found = {name: data / name for name in GROUPS if (data / name).is_dir()}
    return found or {data.resolve().name: data}


def clips(data: Path, count: int | None) -> dict[str, Audio]:
    """Return the first `count` clips of a file, a folder or a .tar shard, by relative name.

    Channels are averaged: rates of one channel are what is compared. Raises `InvalidInput`
    when there are none of a second or more.
    """
    found: dict[str, Audio] = {}
    for name, audio in Source(data, Audio, report=print):
        assert isinstance(audio, Audio)
        if audio.duration >= SHORTEST and (count is None or len(found) < count):
            take = round(LONGEST * audio.sample_rate)
            mono = audio.samples[:, :take].mean(0, keepdims=True, dtype=np.float64)
            found[name] = Audio(mono.astype(np.float32), audio.sample_rate)
    if not found:
        raise InvalidInput(f"no clips of {SHORTEST:g} s or more in {str(data)!r}")
    return found


def save(found: dict[str, Audio], folder: Path) -> None:
    """Write clips as FLAC files below a folder."""
    for name, audio in found.items():
        path = folder / Path(name).with_suffix(".flac")
        path.parent.mkdir(parents=True, exist_ok=True)
        audio.save(path)


def joined(found: dict[str, Audio], seconds: float | None = None) -> Audio:
    """Return clips one after another at 24 kHz, as far as `seconds`, repeated if need be."""
    row = np.concatenate([resampled(a.samples, a.sample_rate, RATE)[0] for a in found.values()])
    if seconds is not None:
        row = np.resize(row, round(seconds * RATE))
    return Audio(row[None], RATE)
