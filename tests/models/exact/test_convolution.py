"""Convolutions against loops over their definitions, and what their masks must not see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.models import exact
from omnicodec.models.exact.convolution import Mask

MASKS: tuple[Mask, ...] = ("A", "B", "checkerboard")


def random_layer(layer: exact.Linear, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    layer.weight.copy_(torch.randint(-127, 128, layer.weight.shape, generator=random))
    layer.bias.copy_(torch.randint(-9999, 9999, layer.bias.shape, generator=random))
    layer.shift.copy_(torch.randint(5, 9, layer.shift.shape, generator=random))


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 4), st.integers(1, 5), st.integers(0, 12), st.integers(1, 3), st.integers(0, 999)
)
def test_causal_convolution_is_its_definition(
    kernel: int, dilation: int, length: int, batch: int, seed: int
) -> None:
    layer = exact.CausalConv1d(3, 5, kernel, dilation)
    random_layer(layer, seed)
    x = torch.randint(-128, 128, (batch, length, 3)).to(torch.int8)
    y = layer(x)
    assert y.shape == (batch, length, 5)
    for t in range(length):
        times = [t - (kernel - 1 - j) * dilation for j in range(kernel)]
        rows = [x[:, i] if i >= 0 else torch.zeros_like(x[:, 0]) for i in times]
        sums = torch.cat(rows, -1).long() @ layer.weight.long().t() + layer.bias
        assert torch.equal(y[:, t], exact.requantize(sums.int(), layer.shift, 8))


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([3, 5]), st.sampled_from(MASKS),
    st.integers(1, 7), st.integers(1, 7), st.integers(0, 999),
)  # fmt: skip
def test_masked_convolution_is_its_definition(
    kernel: int, mask: Mask, height: int, width: int, seed: int
) -> None:
    layer = exact.MaskedConv2d(2, 3, kernel, mask, 16)
    random_layer(layer, seed)
    x = torch.randint(-128, 128, (2, height, width, 2)).to(torch.int8)
    y = layer(x)
    for v in range(height):
        for u in range(width):
            seen = [(v + dy, u + dx) for dy, dx in exact.mask_offsets(kernel, mask)]
            rows = [
                x[:, a, b] if 0 <= a < height and 0 <= b < width else torch.zeros_like(x[:, 0, 0])
                for a, b in seen
            ]
            sums = torch.cat(rows, -1).long() @ layer.weight.long().t() + layer.bias
            expected = exact.requantize(sums.int(), layer.shift, 16)
            assert torch.equal(y[:, v, u], expected)
            assert torch.equal(layer.at(x, torch.tensor([v]), torch.tensor([u]))[:, 0], expected)


def test_masks_are_the_papers() -> None:
    def drawn(mask: Mask) -> list[str]:
        offsets = exact.mask_offsets(3, mask)
        return ["".join(".x"[(y, x) in offsets] for x in (-1, 0, 1)) for y in (-1, 0, 1)]

    assert drawn("A") == ["xxx", "x..", "..."]
    assert drawn("B") == ["xxx", "xx.", "..."]
    assert drawn("checkerboard") == [".x.", "x.x", ".x."]
    assert len(exact.mask_offsets(5, "A")) == 12


@pytest.mark.parametrize("mask", ["A", "B"])
def test_the_future_changes_nothing(mask: Mask) -> None:
    layer = exact.MaskedConv2d(2, 4, 5, mask)
    random_layer(layer, 5)
    x = torch.randint(-128, 128, (1, 5, 6, 2)).to(torch.int8)
    before = layer(x)
    for place in range(30):
        changed = x.clone()
        known = place + (mask == "B")
        changed.reshape(1, 30, 2)[:, known:] = 77
        assert torch.equal(layer(changed).reshape(30, 4)[place], before.reshape(30, 4)[place])


def test_two_passes_over_a_checkerboard() -> None:
    layer = exact.MaskedConv2d(3, 4, 5, "checkerboard")
    random_layer(layer, 6)
    x = torch.randint(-128, 128, (2, 6, 7, 3)).to(torch.int8)
    second = (torch.arange(6)[:, None] + torch.arange(7)) % 2 == 1
    known = torch.where(second[None, :, :, None], torch.zeros_like(x), x)
    rows, columns = second.nonzero(as_tuple=True)
    assert torch.equal(layer.at(known, rows, columns), layer(x)[:, rows, columns])
    with pytest.raises(TypeError, match="no raster order"):
        layer.open(1, (6, 7), torch.device("cpu"))


@pytest.mark.parametrize(
    "build",
    [
        lambda: exact.MaskedConv2d(1, 1, 4, "A"),
        lambda: exact.MaskedConv2d(1, 1, 1, "A"),
        lambda: exact.MaskedConv2d(1, 1, 3, "C"),
        lambda: exact.CausalConv1d(1, 1, 0),
        lambda: exact.CausalConv1d(1, 1, 3, 0),
        lambda: exact.CausalConv1d(40000, 1, 2),
    ],
)
def test_impossible_convolutions_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"mask|kernel|inputs"):
        build()


def test_wrong_shapes_are_refused() -> None:
    x = torch.zeros(1, 2, 2, 3, dtype=torch.int8)
    with pytest.raises(ValueError, match=r"\(B, T, C\)"):
        exact.CausalConv1d(3, 2, 2)(x)
    with pytest.raises(ValueError, match=r"\(B, T, C\)"):
        exact.MinGRU(3, 2)(x)
    with pytest.raises(ValueError, match=r"\(B, H, W, C\)"):
        exact.MaskedConv2d(3, 2, 3, "A")(x[0])
