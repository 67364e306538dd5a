"""The integers of a model of latents, against its floats and against Python's integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.models.inr.arm import Arms, arm_integers, around, floats_of
from omnicodec.models.inr.arm_kernels import CLASSES, HIDDEN, INPUTS, NEIGHBOURS
from omnicodec.models.inr.exact_arm import (
    FRACTIONS,
    MOST_MEAN,
    SHAPES,
    Layers,
    around_exact,
    layers_at,
    limited,
    predict,
    room_for,
    shared_arms,
)
from omnicodec.models.inr.pyramid import (
    CHANNELS,
    LARGEST,
    PLANES,
    Plane,
    join,
    padded,
    positions,
    shapes,
    split,
)

PLANE = Plane(4, 7)


def random_arms(rng: np.random.Generator, size: float) -> dict[str, np.ndarray]:
    arms = {}
    for scale, planes in enumerate(CHANNELS):
        for name, shape in {**SHAPES, "first_rate": (HIDDEN,)}.items():
            bits = FRACTIONS.get(name, FRACTIONS["first_bias"])
            values = np.round(rng.normal(0, size, (planes, *shape)) * (1 << bits))
            arms[f"arms.{scale}.{name}"] = limited(name, values)
    return arms


def by_definition(wide: np.ndarray, around: np.ndarray, r: int, c: int, net: Layers):
    """Return what `predict` should, in Python's integers."""
    x = [int(wide[r + 2 + a, c + 2 + b]) << 4 for a, b in NEIGHBOURS.tolist()]
    x += [int(v) for v in around[:, r, c]]

    def affine(matrix: np.ndarray, bias: np.ndarray, values: list[int]) -> list[int]:
        sums = [sum(int(w) * v for w, v in zip(column, values, strict=True)) for column in matrix.T]
        for total, b in zip(sums, bias, strict=True):
            assert abs(total) + abs(int(b)) < 1 << 31, "a sum leaves 32 bits"
        return [total + int(b) for total, b in zip(sums, bias, strict=True)]

    first = [min(max(v >> 5, 0), 32767) for v in affine(net.first, net.first_bias, x)]
    second = [min(max(v >> 9, 0), 32767) for v in affine(net.second, net.second_bias, first)]
    out = []
    for k in range(2):
        direct = sum(int(w) * v for w, v in zip(net.last[k, HIDDEN:], x, strict=True)) << 4
        hidden = sum(int(w) * v for w, v in zip(net.last[k, :HIDDEN], second, strict=True))
        out.append(direct + hidden + int(net.last_bias[k]))
    mean, which = (out[0] + (1 << 13)) >> 14, (out[1] + (1 << 16)) >> 17
    return min(max(mean, -MOST_MEAN), MOST_MEAN), min(max(which, 0), CLASSES - 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from([0.05, 0.5, 30.0]), st.sampled_from([2, 1023]))
def test_it_is_its_definition(seed: int, size: float, largest: int) -> None:
    rng = np.random.default_rng(seed)
    net = layers_at(random_arms(rng, size), PLANE, int(rng.integers(-400, 400)), {})
    wide = np.zeros((5, 8), np.int32)
    wide[2:, 2:-2] = rng.integers(-largest, largest + 1, (3, 4)) * rng.integers(0, 2, (3, 4))
    beyond = rng.integers(-16 * largest, 16 * largest + 1, (4, 3, 4)).astype(np.int32)
    beyond[:, 0] = 0
    room = room_for()
    for r in range(3):
        for c in range(4):
            found = predict(wide, beyond, r, c, net, room)
            assert tuple(map(int, found)) == by_definition(wide, beyond, r, c, net)


def test_it_is_close_to_the_floats() -> None:
    torch.manual_seed(1)
    arms = [Arms(count) for count in CHANNELS]
    with torch.no_grad():
        for some in arms:
            some.last.normal_(0, 0.1)
            some.first_rate.normal_(0, 0.3)
    integers = arm_integers(arms)
    for scale, some in enumerate(arms):
        names = {name: f"arms.{scale}.{name}" for name in some.state_dict()}
        floats = floats_of({names[name]: integers[names[name]] for name in names})
        some.load_state_dict({name: floats[key] for name, key in names.items()})
    scales = [torch.randint(-4, 5, (1, *shape)).float() for shape in shapes(96, 128)]
    exact = [x[0].numpy().astype(np.int32) for x in scales]
    for plane, planes in zip(PLANES, around(scales), strict=True):
        np.testing.assert_array_equal(around_exact(exact, plane) / 16, planes[0].numpy())
    beyond = around_exact(exact, PLANE)
    wide = np.zeros((26, 36), np.int32)
    wide[2:, 2:-2] = exact[PLANE.scale][PLANE.channel]
    net = layers_at(integers, PLANE, 128, {})
    w1, b1, w2, b2, w3, b3 = (w.detach() for w in arms[PLANE.scale].layers(0.5)[PLANE.channel])
    room = room_for()
    for r in range(24):
        for c in range(32):
            known = [float(wide[r + 2 + a, c + 2 + b]) for a, b in NEIGHBOURS.tolist()]
            x = torch.tensor([*known, *(beyond[:, r, c] / 16).tolist()])
            assert x.numel() == INPUTS
            hidden = torch.relu(w2 @ torch.relu(w1 @ x + b1) + b2)
            mean, which = (w3 @ torch.cat([hidden, x]) + b3).tolist()
            found = predict(wide, beyond, r, c, net, room)
            assert abs(found[0] / 8 - mean) < 0.15
            assert abs(found[1] - min(max(which, 0), CLASSES - 1)) < 0.7


def test_updates_are_added_and_cut() -> None:
    arms = random_arms(np.random.default_rng(0), 0.1)
    keys = [f"arms.{PLANE.scale}.{name}" for name in SHAPES]
    change = {key: np.full(arms[key].shape, 1 << 30, np.int32) for key in keys}
    net = layers_at(arms, PLANE, 0, change)
    assert (net.first == 4095).all()
    assert (net.second == 2047).all()
    other = layers_at(arms, Plane(2, 0), 0, change)
    same = layers_at(arms, Plane(2, 0), 0, {})
    for a, b in zip(same, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_networks_that_cannot_be() -> None:
    tensors = random_arms(np.random.default_rng(0), 0.1)
    assert shared_arms({**tensors, "more": np.zeros(1)}).keys() == tensors.keys()
    for bad in (
        {**tensors, "arms.3.first": tensors["arms.3.first"][:, :-1]},
        {**tensors, "arms.0.last": tensors["arms.0.last"].astype(np.int64)},
        {**tensors, "arms.1.second": np.full_like(tensors["arms.1.second"], 2048)},
        {k: v for k, v in tensors.items() if k != "arms.5.last_bias"},
    ):
        with pytest.raises(ValueError, match="layer"):
            shared_arms(bad)


@given(st.integers(1, 300), st.integers(1, 300))
def test_scales_are_a_row_and_back(height: int, width: int) -> None:
    height, width = padded(height, width)
    row = np.arange(positions(height, width))
    scales = split(row, height, width)
    assert [y.shape for y in scales] == shapes(height, width)
    np.testing.assert_array_equal(join(scales), row)
    assert scales[0][0, 0, 0] == 0, "coarse first"
    assert row.size * 2 == height * width * 3
    assert LARGEST == 1023
