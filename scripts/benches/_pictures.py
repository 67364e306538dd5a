"""Pictures of one size to measure speed on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import numpy as np

from omnicodec.codecs import Image, InvalidInput
from omnicodec.service.evaluate.data import Source

SIDE: Final = 256


def pictures(folder: Path | None, count: int) -> list[Image]:
    """Return `count` pictures of 256x256: middles of those in a folder, or generated ones."""
    if folder is None:
        return list(islice(_generated(), count))
    found = []
    for _, image in Source(folder, Image, report=print):
        assert isinstance(image, Image)
        y, x = (image.height - SIDE) // 2, (image.width - SIDE) // 2
        if y >= 0 and x >= 0:
            found.append(Image(np.ascontiguousarray(image.pixels[y : y + SIDE, x : x + SIDE])))
    if not found:
        raise InvalidInput(f"no pictures of {SIDE}x{SIDE} pixels or more in {str(folder)!r}")
    return list(islice(cycle(found), count))


def _generated() -> Iterator[Image]:
    """Yield gradients with noise for ever, always the same."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, SIDE)
    while True:
        a, b = rng.uniform(-120, 120, (2, 3))
        plane = 128 + a * ramp[:, None, None] + b * ramp[None, :, None]
        noisy = plane + rng.normal(0, rng.uniform(0, 30), (SIDE, SIDE, 3))
        yield Image(noisy.round().clip(0, 255).astype(np.uint8))
