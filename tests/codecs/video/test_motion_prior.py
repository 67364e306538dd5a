"""Motion in a stream of rANS."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs.errors import CorruptStream, InvalidInput
from omnicodec.codecs.prior.rans import Codes, Source
from omnicodec.codecs.video._motion_prior import MotionPrior, fit_motion
from omnicodec.models.inr.motion.field import LARGEST, MEAN, Motion, length


def lively(height: int, width: int, references: int, seed: int) -> Motion:
    """Return motion like that of clips: areas that move alike, blocks and quarters of their own."""
    rng = np.random.default_rng(seed)
    motion = Motion.still(height, width, references)
    h, w = motion.modes.shape
    areas = rng.integers(-30, 31, (references, 3, 2))
    which = np.add.outer(np.arange(h) * 3 // max(h, 1), np.arange(w) // 4) % 3
    motion.vectors[:] = areas[:, which.repeat(2, 0).repeat(2, 1)]
    alone = rng.random((h, w)) < 0.1
    motion.vectors[:] += rng.integers(-4, 5, motion.vectors.shape) * np.kron(
        alone, np.ones((2, 2), int)
    )[None, ..., None].astype(np.int32)
    if references == 2:
        motion.modes[:] = np.where(alone, rng.integers(0, 3, (h, w)), (which + seed) % 3)
    return Motion.from_row(motion.row(), height, width, references)


def wild(height: int, width: int, references: int, most: int, seed: int) -> Motion:
    count = length(height, width, references)
    row = np.random.default_rng(seed).integers(-most, most + 1, count)
    return Motion.from_row(row.astype(np.int32), height, width, references)


def coded(prior: MotionPrior, motions: list[Motion]) -> bytes:
    codes = Codes()
    for motion in motions:
        prior.encode(motion, codes)
    return codes.finish()


SAMPLE = [lively(160, 320, references, seed) for references in (1, 2) for seed in range(4)]
SAMPLE += [Motion.still(640, 1280, references) for references in (1, 2)]
SAMPLE += [Motion.from_row(np.full(length(640, 1280, 2), MEAN, np.int32), 640, 1280, 2)]
FITTED = MotionPrior(fit_motion(SAMPLE))


@settings(max_examples=40)
@given(
    st.integers(1, 80),
    st.integers(1, 80),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 20, LARGEST]),
    st.integers(0, 1 << 30),
)
def test_motion_comes_back(height: int, width: int, references: int, most: int, seed: int) -> None:
    motions = [
        wild(height, width, references, most, seed),
        lively(height, width, references, seed),
        Motion.still(height, width, references),
    ]
    data = coded(FITTED, motions)
    source = Source(data)
    for motion in motions:
        found = FITTED.decode(source, height, width, references)
        assert np.array_equal(found.row(), motion.row())
    source.close()
    bits = sum(map(FITTED.bits, motions))
    assert bits <= 8 * len(data) <= bits * 1.01 + 64


def test_where_all_is_alike_a_block_takes_next_to_nothing() -> None:
    for references in (1, 2):
        still = Motion.still(640, 1280, references)
        assert FITTED.bits(still) < still.modes.size / 8
        moving = Motion.still(640, 1280, references)
        moving.modes[:] = MEAN * (references - 1)
        moving.vectors[:] = [-13, 40]
        assert FITTED.bits(moving) < still.modes.size / 8 + 100


def test_fitted_tables_are_better_than_even_ones() -> None:
    even = MotionPrior(fit_motion([]))
    for motion in (lively(160, 320, references, 99) for references in (1, 2)):
        assert FITTED.bits(motion) < 0.9 * even.bits(motion)


def test_even_tables_cost_what_33_symbols_do() -> None:
    even = MotionPrior(fit_motion([]))
    still = Motion.still(64, 64, 1)
    assert even.bits(still) == pytest.approx(16 * math.log2(33), rel=1e-3)


def test_motion_that_no_row_gives_is_refused() -> None:
    motion = Motion.still(20, 20, 2)
    motion.vectors[1, 0, 0, 0] = 1
    with pytest.raises(InvalidInput):
        FITTED.encode(motion, Codes())
    motion = Motion.still(20, 20, 1)
    motion.vectors[0, 0, 0, 0] = LARGEST + 1
    with pytest.raises(InvalidInput):
        FITTED.encode(motion, Codes())


@settings(max_examples=60)
@given(st.binary(min_size=5, max_size=400), st.sampled_from([1, 2]))
def test_bytes_of_anything_end_in_motion_or_an_error(data: bytes, references: int) -> None:
    try:
        source = Source(data)
        motion = FITTED.decode(source, 40, 72, references)
    except CorruptStream:
        return
    again = Motion.from_row(motion.row(), 40, 72, references)
    assert np.array_equal(again.row(), motion.row())


def test_tables_must_be_those_of_motion() -> None:
    tensors = fit_motion([])
    with pytest.raises(ValueError, match="missing"):
        MotionPrior({})
    with pytest.raises(ValueError, match="not the tables"):
        MotionPrior({"motion_frequencies": tensors["motion_frequencies"][1:]})
    broken = tensors["motion_frequencies"].copy()
    broken[0, 0, 0] += 1
    with pytest.raises(ValueError, match="add up"):
        MotionPrior({"motion_frequencies": broken})
