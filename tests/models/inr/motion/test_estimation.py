"""Motion that is found, in pictures whose motion is known."""

from __future__ import annotations

import numpy as np
import pytest

from omnicodec.models.inr.motion.compensation import compensate
from omnicodec.models.inr.motion.estimation import estimate
from omnicodec.models.inr.motion.field import FIRST, MEAN, SECOND, Motion


def scene(height: int, width: int, down: float, across: float, seed: int = 0) -> np.ndarray:
    """Return a smooth random picture seen through a window at (down, across)."""
    rng = np.random.default_rng(seed)
    y = np.arange(height)[:, None, None] + down
    x = np.arange(width)[None, :, None] + across
    waves = np.zeros((height, width, 3))
    for _ in range(24):
        a, b = rng.uniform(-0.7, 0.7, 2)
        waves = waves + rng.uniform(3, 12, 3) * np.sin(a * y + b * x + rng.uniform(0, 6, 3))
    return np.clip(np.round(128 + waves), 0, 255).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


@pytest.mark.parametrize(("down", "across"), [(0, 0), (9, -6), (-3, 1), (30, 50), (-90, 141)])
def test_a_shift_is_found(down: int, across: int) -> None:
    before, frame = scene(96, 128, 0, 0), scene(96, 128, down / 4, across / 4)
    motion = estimate(frame, [before], 20)
    middle = motion.vectors[0, 4:-4, 4:-4]
    share = (middle == [down, across]).all(-1).mean()
    inner = np.s_[32:-32, 40:-40]
    assert psnr(compensate([before], motion)[inner], frame[inner]) > 40
    assert share > 0.8


def test_each_block_has_the_reference_that_suits_it() -> None:
    left, right = scene(64, 128, 0, 0, 1), scene(64, 128, 0, 0, 2)
    frame = np.concatenate([left[:, :64], right[:, 64:]], 1)
    motion = estimate(frame, [left, right], 30)
    assert (motion.modes[:, :4] == FIRST).all()
    assert (motion.modes[:, 4:] == SECOND).all()
    assert not motion.vectors.any()


def test_a_frame_between_two_is_their_mean() -> None:
    rng = np.random.default_rng(0)
    clean = scene(64, 96, 0, 0)
    noisy = [
        np.clip(clean + rng.normal(0, 12, clean.shape), 0, 255).astype(np.uint8) for _ in range(2)
    ]
    motion = estimate(clean, noisy, 30)
    assert (motion.modes == MEAN).mean() > 0.9
    alone = psnr(compensate(noisy[:1], estimate(clean, noisy[:1], 30)), clean)
    assert psnr(compensate(noisy, motion), clean) > alone + 2


def test_blocks_are_split_where_quarters_move_apart() -> None:
    before, frame = scene(64, 64, 0, 0), scene(64, 64, 0, 0)
    moved = scene(64, 64, 0, 3)
    frame[24:40, 24:40] = moved[24:40, 24:40]  # four quarters of four blocks
    motion = estimate(frame, [before], 20)
    assert motion.split()[1:3, 1:3].all()
    assert motion.split().sum() == 4
    assert not estimate(frame, [before], 20, split=False).split().any()


def test_a_bit_that_is_dear_is_not_spent() -> None:
    before, frame = scene(64, 64, 0, 0), scene(64, 64, 0.5, 0.25)
    assert not estimate(frame, [before], 1e12).row().any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (16, 15), (33, 9), (0, 5)])
def test_any_size(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, *shape, 3)).astype(np.uint8)
    motion = estimate(frames[0], frames[1:], 5)
    again = Motion.from_row(motion.row(), *shape, 2)
    assert np.array_equal(again.row(), motion.row())
    assert compensate(frames[1:], motion).shape == frames[0].shape


def test_references_must_fit() -> None:
    frame = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(ValueError, match="does not fit"):
        estimate(frame, [frame[1:]], 10)
