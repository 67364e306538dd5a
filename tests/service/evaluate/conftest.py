"""Media to evaluate on, made here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import Audio, Image

Make = Callable[..., Image]


@pytest.fixture(scope="session")
def picture() -> Make:
    """Return a function that makes a smooth picture with some noise, the same each time."""

    def make(height: int = 48, width: int = 64, seed: int = 0) -> Image:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:height, 0:width]
        waves = [128 + 90 * np.sin(x / (5 + 2 * c) + seed) * np.cos(y / (9 - c)) for c in range(3)]
        noise = rng.integers(-8, 9, (height, width, 3))
        return Image((np.stack(waves, 2) + noise).clip(0, 255).astype(np.uint8))

    return make


@pytest.fixture(scope="session")
def sound() -> Callable[..., Audio]:
    """Return a function that makes sound like a voice: syllables of harmonics, and breath."""

    def make(seconds: float = 1.5, rate: int = 24_000, channels: int = 1, seed: int = 0) -> Audio:
        rng = np.random.default_rng(seed)
        time = np.arange(round(seconds * rate)) / rate
        rows = []
        for channel in range(channels):
            phase = 2 * np.pi * np.cumsum(110 + 30 * np.sin(3 * time + channel)) / rate
            voice = sum(np.sin(k * phase) / k for k in range(1, 20) if k * 140 < rate / 2)
            breath = rng.normal(0, 0.3, time.size)
            syllables = np.clip(np.sin(2 * np.pi * 2.5 * time), 0, None)
            rows.append(0.2 * syllables * (voice + breath))
        return Audio(np.array(rows, np.float32), rate)

    return make


@pytest.fixture
def pictures(tmp_path: Path, picture: Make) -> Path:
    """Return a folder with three pictures, one of them a level down, and a text."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    picture(seed=0).save(folder / "a.png")
    picture(40, 40, seed=1).save(folder / "b.PNG")
    picture(seed=2).save(folder / "more" / "c.webp")
    (folder / "notes.txt").write_text("not a picture")
    return folder
