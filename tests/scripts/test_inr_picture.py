"""The pictures of docs/inr.md."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from omnicodec.models.inr.motion.field import SECOND, Motion
from omnicodec.models.inr.pyramid import positions, split

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "inr_picture.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("inr_picture_under_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bands_stand_where_wavelets_have_them(script: ModuleType) -> None:
    scales = split(np.zeros(positions(64, 96), np.int32), 64, 96)
    scales[-1][0, 5, 7] = 40  # across, finest
    scales[-1][1, 5, 7] = -40  # down
    scales[-2][3, 2, 3] = 40  # of the first colour, across
    luma, colour = script.nested(scales, 0), script.nested(scales, 1)
    assert luma.shape == (64, 96)
    assert colour.shape == (32, 48)  # without the finest bands
    assert luma[5, 48 + 7] == 255
    assert luma[32 + 5, 7] == 0
    assert colour[2, 24 + 3] == 255
    assert luma[40, 60] == colour[20, 30] == 128  # nothing is mid-gray


def test_larger_latents_are_lighter(script: ModuleType) -> None:
    drawn = script.grays(np.arange(-30, 31)).astype(int)
    assert (np.diff(drawn) >= 0).all()
    assert (np.diff(drawn)[25:35] > 5).all()


def test_motion_is_coloured_by_direction(script: ModuleType) -> None:
    motion = Motion.still(40, 40, 2)
    motion.vectors[0, :, 3:, 1] = 8
    motion.vectors[0, :, :2, 1] = -8
    motion.modes[0, 0] = SECOND
    motion.vectors[1, :2, :2, 1] = 8  # as from the first, the other way
    drawn = script.field(motion, (40, 40))
    assert drawn.shape == (40, 40, 3)
    assert (drawn[0, 0] == drawn[39, 0]).all()
    assert (drawn[0, 39] != drawn[0, 0]).any()
    assert np.ptp(drawn[20, 20]) == 0  # what does not move has no colour


def test_the_clip_moves(script: ModuleType) -> None:
    frames = script.clip().frames
    assert frames.shape == (script.FRAMES, *script.SIDES, 3)
    # The camera goes 3 down and 2 to the right, where nothing crosses.
    assert (frames[1, 200:-3, :20] == frames[0, 203:, 2:22]).all()
