"""Prediction by motion, against its definition in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.models.inr.motion.compensation import compensate
from omnicodec.models.inr.motion.field import MEAN, Motion, length
from omnicodec.models.inr.motion.interpolation import FILTERS


def by_definition(references: list[np.ndarray], motion: Motion) -> np.ndarray:
    """Return what `compensate` should: four quarters a pixel, and one rounding."""
    height, width, _ = references[0].shape
    taps = FILTERS.astype(np.int64)
    total = np.zeros((height, width, 3), np.int64)
    last_row, last_column = motion.vectors.shape[1] - 1, motion.vectors.shape[2] - 1
    y, x = np.mgrid[:height, :width]
    for below in (0, 1):
        for after in (0, 1):
            r = np.clip((y + 4) // 8 - 1 + below, 0, last_row)
            c = np.clip((x + 4) // 8 - 1 + after, 0, last_column)
            down = np.abs((y + 4) % 8 + 0.5 - 8 * (1 - below)) * 2
            across = np.abs((x + 4) % 8 + 0.5 - 8 * (1 - after)) * 2
            share = (down * across).astype(np.int64)
            mode = motion.modes[r // 2, c // 2]
            for k, reference in enumerate(references):
                weight = share * np.where(mode == MEAN, 1, np.where(mode == k, 2, 0))
                v, h = motion.vectors[k, r, c, 0], motion.vectors[k, r, c, 1]
                for i in range(8):
                    for j in range(8):
                        rows = np.clip(y + (v >> 2) + i - 3, 0, height - 1)
                        columns = np.clip(x + (h >> 2) + j - 3, 0, width - 1)
                        filters = taps[v & 3, i] * taps[h & 3, j] * weight
                        total += filters[..., None] * reference[rows, columns].astype(np.int64)
    return np.clip((total + (1 << 20)) >> 21, 0, 255).astype(np.uint8)


def noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return (255 * rng.integers(0, 2, (height, width, 3))).astype(np.uint8)


@settings(max_examples=40)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from([1, 2]),
    st.sampled_from([0, 1, 9, 2000]),
    st.integers(0, 1 << 30),
)
def test_it_is_its_definition(
    height: int, width: int, references: int, most: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    frames = [noise(rng, height, width) for _ in range(references)]
    count = length(height, width, references)
    row = rng.integers(-most, most + 1, count) * rng.integers(0, 2, count)
    motion = Motion.from_row(row.astype(np.int32), height, width, references)
    found = compensate(frames, motion)
    assert np.array_equal(found, by_definition(frames, motion))
    assert np.array_equal(found, compensate(frames, motion, threads=2))


def test_whole_pixels_are_copied() -> None:
    rng = np.random.default_rng(0)
    frame = noise(rng, 40, 51)
    motion = Motion.still(40, 51, 1)
    assert np.array_equal(compensate([frame], motion), frame)
    motion.vectors[:] = [8, -12]
    found = compensate([frame], motion)
    assert np.array_equal(found[:-2, 3:], frame[2:, :-3])
    assert np.array_equal(found[-2:, 3:], np.stack([frame[-1, :-3]] * 2))


def test_the_mean_is_rounded_up() -> None:
    dark, bright = np.full((9, 20, 3), 10, np.uint8), np.full((9, 20, 3), 13, np.uint8)
    motion = Motion.still(9, 20, 2)
    motion.modes[:] = MEAN
    assert (compensate([dark, bright], motion) == 12).all()


def test_frames_that_must_not_be_written_are_read() -> None:
    frame = noise(np.random.default_rng(0), 20, 20)
    frame.flags.writeable = False
    motion = Motion.still(20, 20, 1)
    assert np.array_equal(compensate([frame[:, ::-1]], motion), frame[:, ::-1])


def test_motion_must_fit() -> None:
    frame = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(ValueError, match="does not fit"):
        compensate([frame], Motion.still(20, 20, 2))
    with pytest.raises(ValueError, match="does not fit"):
        compensate([frame], Motion.still(20, 40, 1))
    with pytest.raises(ValueError, match="does not fit"):
        compensate([frame, frame[1:]], Motion.still(20, 20, 2))
    assert compensate([frame[:0]], Motion.still(0, 20, 1)).shape == (0, 20, 3)
