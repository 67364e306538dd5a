"""Residuals: the transform and back in integers, contexts, and the choice of latents."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omnicodec.models.inr.arm import Arms, arm_integers, around
from omnicodec.models.inr.arm_kernels import KNOWN
from omnicodec.models.inr.exact_arm import layers_at, room_for
from omnicodec.models.inr.pyramid import channels, planes, shapes
from omnicodec.models.inr.residual import LEVELS, STEP_BITS, corrected, restored, transformed
from omnicodec.models.inr.residual_planes import (
    PLANES,
    around_of,
    choose,
    contexts_of,
    cost_table,
    empty_planes,
    scales_of,
    see,
    side_of,
)


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / 9
    planes = [40 * np.sin(x + y) + 10 * np.cos(x / 3 + k) for k in range(3)]
    return np.stack(planes, 2).round().astype(np.int16)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (33, 70), (128, 96)])
def test_fine_steps_lose_little(size: tuple[int, int]) -> None:
    residual = smooth(*size)
    scales = transformed(residual)
    assert [y.shape for y in scales] == shapes(-(-size[0] // 16) * 16, -(-size[1] // 16) * 16, 4)
    whole = [np.round(y).astype(np.int32) for y in scales]
    back = restored(whole, 1 << STEP_BITS)[: size[0], : size[1]]
    assert np.sqrt(np.square(back - residual).mean()) < 1.5, "colours lose their finest bands"


def test_a_correction_is_the_sum_cut_to_pixels() -> None:
    rng = np.random.default_rng(3)
    scales = [
        (rng.integers(-40, 41, shape) * (rng.random(shape) < 0.02)).astype(np.int32)
        for shape in shapes(64, 320, LEVELS)
    ]
    for y in scales:  # most of a frame has no latents
        y[:, :, : y.shape[2] * 3 // 4] = 0
    predicted = rng.integers(0, 256, (51, 307, 3), np.uint8)
    expected = (predicted + restored(scales, 700)[:51, :307]).clip(0, 255)
    np.testing.assert_array_equal(corrected(predicted, scales, 700), expected)
    assert (expected != predicted).any()
    assert (expected == predicted)[:, :128].all()


def test_sizes_are_kept() -> None:
    noise = np.random.default_rng(0).normal(0, 20, (96, 96, 1)).round().astype(np.int16)
    residual = noise.repeat(3, 2)
    energy = sum(float(np.square(y).sum()) for y in transformed(residual))
    assert 0.9 < energy / float(np.square(residual.astype(float)).sum()) < 1.1


def some_planes(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    found = empty_planes(48, 64)
    for y in found:
        inner = y[2:-1, 2:-2]
        inner[:] = rng.integers(-3, 4, inner.shape) * rng.integers(0, 2, inner.shape)
    return found


def test_contexts_are_those_of_the_models() -> None:
    wide = some_planes(0)
    scales = [torch.from_numpy(y)[None].float() for y in scales_of(wide)]
    expected = around(scales)
    room = room_for()
    for which in range(len(planes(LEVELS))):
        height, width = wide[which].shape[0] - 3, wide[which].shape[1] - 4
        seen = around_of(wide, which)
        for r, c in ((0, 0), (height - 1, width - 1), (height // 2, width // 3)):
            see(seen, r, c, room)
            np.testing.assert_array_equal(
                room.contexts[KNOWN:] / 16, expected[which][0, :, r, c].numpy()
            )


def test_chosen_latents_cost_least() -> None:
    torch.manual_seed(0)
    arms = [Arms(count) for count in channels(LEVELS)]
    for some in arms:
        torch.nn.init.constant_(some.last_bias[:, 1], 8.0)
    integers = arm_integers(arms)
    wide, which = some_planes(1), 12
    plane = PLANES[which]
    wide[which][:] = 0
    height, width = wide[which].shape[0] - 3, wide[which].shape[1] - 4
    values = np.random.default_rng(2).normal(0, 1.5, (height, width)).astype(np.float32)
    active = np.random.default_rng(3).random((3, 4)) < 0.6
    bits, gain = np.zeros((3, 4), np.float32), np.zeros((3, 4), np.float32)
    net = layers_at(integers, plane, 0, {})
    for weight in (1e-6, 0.2, 100.0):
        chosen = wide[which]
        chosen[:] = 0
        choose(
            values, active, side_of(plane), chosen, around_of(wide, which), net, room_for(),
            cost_table(), weight, bits, gain,
        )  # fmt: skip
        inner = chosen[2:-1, 2:-2]
        mask = active.repeat(side_of(plane), 0).repeat(side_of(plane), 1)
        assert (inner[~mask] == 0).all()
        if weight == 1e-6:
            np.testing.assert_array_equal(inner[mask], np.round(values[mask]))
        if weight == 100.0:
            assert (inner == 0).all()
    count = int(mask.sum())
    found = np.empty((count, KNOWN + 5), np.int32)
    assert (
        contexts_of(wide[which], around_of(wide, which), active, side_of(plane), room_for(), found)
        == count
    )


def test_costs_are_those_of_laplace() -> None:
    table = cost_table()
    assert table.shape[0] == 40
    assert abs((2.0 ** -table[20, ::8]).sum() * 2 - 2.0 ** -table[20, 0] - 1) < 0.01, (
        "shares add up"
    )
    assert (np.diff(table, axis=1) >= -1e-3).all()
