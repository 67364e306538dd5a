"""HaarPSI against its definition, the figures of another library, and its bounds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import convolve2d

from omnicodec.codecs import Image
from omnicodec.service.evaluate.haarpsi import haarpsi

Pixels = NDArray[np.uint8]


def noisy(pixels: Pixels, amplitude: int) -> Pixels:
    noise = np.random.default_rng(7).integers(-amplitude, amplitude + 1, pixels.shape)
    return (pixels + noise).clip(0, 255).astype(np.uint8)


def by_definition(original: Pixels, decoded: Pixels) -> float:
    """Return HaarPSI written down from the paper, by plain convolutions."""

    def planes(pixels: Pixels) -> list[NDArray[np.float64]]:
        rgb = pixels.astype(np.float64)
        matrix = [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]]
        mixed = [sum(m * rgb[..., c] for c, m in enumerate(row)) for row in matrix]
        return [convolve2d(plane, np.ones((2, 2)) / 4)[1::2, 1::2] for plane in mixed]

    def same(plane: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
        half = kernel.shape[0] // 2
        whole = convolve2d(plane, kernel)
        return np.abs(whole[half : half + plane.shape[0], half : half + plane.shape[1]])

    def haar(plane: NDArray[np.float64], scale: int, axis: int) -> NDArray[np.float64]:
        kernel = np.full((2**scale, 2**scale), 2.0**-scale)
        kernel[: 2 ** (scale - 1)] *= -1
        return same(plane, kernel if axis == 0 else kernel.T)

    def alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return (2 * a * b + 30) / (a**2 + b**2 + 30)

    (y0, i0, q0), (y1, i1, q1) = planes(original), planes(decoded)
    maps, weights = [], []
    for axis in range(2):
        maps.append(sum(alike(haar(y0, j, axis), haar(y1, j, axis)) for j in (1, 2)) / 2)
        weights.append(np.maximum(haar(y0, 3, axis), haar(y1, 3, axis)))
    mean = np.ones((2, 2)) / 4
    maps.append((alike(same(i0, mean), same(i1, mean)) + alike(same(q0, mean), same(q1, mean))) / 2)
    weights.append((weights[0] + weights[1]) / 2)
    squashed = [1 / (1 + np.exp(-4.2 * m)) for m in maps]
    share = sum((s * w).sum() for s, w in zip(squashed, weights, strict=True))
    share /= sum(w.sum() for w in weights)
    return float((math.log(share / (1 - share)) / 4.2) ** 2)


@pytest.mark.parametrize("size", [(64, 80), (48, 96)])
@pytest.mark.parametrize("amplitude", [3, 30, 120])
def test_equals_the_definition(
    picture: Callable[..., Image], size: tuple[int, int], amplitude: int
) -> None:
    pixels = picture(*size, seed=3).pixels
    other = noisy(pixels, amplitude)
    assert haarpsi(pixels, other) == pytest.approx(by_definition(pixels, other), abs=1e-9)


@pytest.mark.parametrize("size", [(64, 80), (65, 80), (64, 81), (33, 47)])
def test_equals_piq(picture: Callable[..., Image], size: tuple[int, int]) -> None:
    """Which has two constants of the colours in one digit more."""
    piq = pytest.importorskip("piq")
    torch = pytest.importorskip("torch")
    pixels = picture(*size, seed=5).pixels
    other = noisy(pixels, 40)
    planes = [torch.from_numpy(p).permute(2, 0, 1)[None].double() for p in (pixels, other)]
    expected = float(piq.haarpsi(*planes, data_range=255))
    assert haarpsi(pixels, other) == pytest.approx(expected, abs=2e-4)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(16, 40), st.integers(16, 40))
def test_bounds_and_symmetry(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    value = haarpsi(a, b)
    assert value is not None
    assert 0 <= value < 1
    assert haarpsi(b, a) == pytest.approx(value)
    assert haarpsi(a, a) == pytest.approx(1)


def test_more_noise_is_worse(picture: Callable[..., Image]) -> None:
    pixels = picture(64, 64).pixels
    values = [haarpsi(pixels, noisy(pixels, n)) or 0 for n in (0, 4, 16, 64)]
    assert values == sorted(values, reverse=True)
    assert values[0] == 1


def test_what_is_too_small_or_empty_has_no_figure() -> None:
    assert haarpsi(np.zeros((15, 90, 3), np.uint8), np.zeros((15, 90, 3), np.uint8)) is None
    assert haarpsi(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)) is None
