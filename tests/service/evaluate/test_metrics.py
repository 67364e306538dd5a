"""Metrics against closed forms, the definition, and other libraries."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from omnicodec.codecs import Image
from omnicodec.service.evaluate.metrics import _similarity, ms_ssim, psnr

Pixels = NDArray[np.uint8]
Make = Callable[..., Image]


def flat(value: int, side: int = 176) -> Pixels:
    return np.full((side, side, 3), value, np.uint8)


def noisy(pixels: Pixels, amplitude: int, seed: int = 0) -> Pixels:
    noise = np.random.default_rng(seed).integers(-amplitude, amplitude + 1, pixels.shape)
    return (pixels + noise).clip(0, 255).astype(np.uint8)


def by_definition(original: Pixels, decoded: Pixels) -> float:
    """Return MS-SSIM written down from the paper, slowly and in double precision."""
    taps = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    taps /= taps.sum()

    def blur(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        both = correlate1d(correlate1d(plane, taps, 0), taps, 1)
        return both[5:-5, 5:-5]  # windows that lie inside the picture

    def halve(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        plane = np.pad(plane, [(0, n % 2) for n in plane.shape], "edge")
        return (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) / 4

    results = []
    for channel in range(3):
        x, y = (a[..., channel].astype(np.float64) for a in (original, decoded))
        result = 1.0
        for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            if scale:
                x, y = halve(x), halve(y)
            mx, my = blur(x), blur(y)
            xx, yy, xy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
            contrast = (2 * xy + 58.5225) / (xx + yy + 58.5225)
            luminance = (2 * mx * my + 6.5025) / (mx * mx + my * my + 6.5025)
            result *= (contrast if scale < 4 else contrast * luminance).mean() ** weight
        results.append(result)
    return sum(results) / 3


def test_psnr_of_equal_pictures_is_infinite(picture: Make) -> None:
    pixels = picture().pixels
    assert psnr(pixels, pixels) == math.inf


@pytest.mark.parametrize("error", [1, 5, 100, 255])
def test_psnr_of_a_constant_error(error: int) -> None:
    expected = 20 * math.log10(255 / error)
    assert psnr(flat(0), flat(error)) == pytest.approx(expected)
    assert psnr(flat(error), flat(0)) == pytest.approx(expected)  # no unsigned wrap-around


def test_psnr_counts_the_channels_together() -> None:
    decoded = flat(10)
    decoded[..., 2] += 6
    assert psnr(flat(10), decoded) == pytest.approx(10 * math.log10(255**2 / (36 / 3)))


def test_psnr_of_uniform_noise_is_that_of_its_variance() -> None:
    decoded = noisy(flat(128, 512), 10)  # integers -10..10: variance (21^2 - 1) / 12
    assert psnr(flat(128, 512), decoded) == pytest.approx(
        10 * math.log10(255**2 / (440 / 12)), abs=0.01
    )


def test_psnr_is_that_of_scikit_image(picture: Make) -> None:
    pixels = picture().pixels
    decoded = noisy(pixels, 20)
    assert psnr(pixels, decoded) == pytest.approx(peak_signal_noise_ratio(pixels, decoded))


def test_ms_ssim_of_equal_pictures_is_1(picture: Make) -> None:
    pixels = picture(161, 200).pixels
    assert ms_ssim(pixels, pixels) == pytest.approx(1)


def test_ms_ssim_of_flat_pictures_is_their_luminance_alone() -> None:
    luminance = (2 * 100 * 140 + 6.5025) / (100**2 + 140**2 + 6.5025)
    assert ms_ssim(flat(100), flat(140)) == pytest.approx(luminance**0.1333, abs=1e-4)


def test_ms_ssim_falls_as_noise_grows(picture: Make) -> None:
    pixels = picture(192, 192).pixels
    values = [ms_ssim(pixels, noisy(pixels, amplitude)) for amplitude in (2, 10, 40, 120)]
    assert values == sorted(values, key=lambda value: -(value or 0))
    assert len(set(values)) == 4


@pytest.mark.parametrize("size", [(176, 192), (161, 161), (167, 209)])
def test_ms_ssim_is_its_definition(picture: Make, size: tuple[int, int]) -> None:
    pixels = picture(*size).pixels
    decoded = noisy(pixels, 60)
    assert ms_ssim(pixels, decoded) == pytest.approx(by_definition(pixels, decoded), abs=2e-5)


def test_ms_ssim_is_that_of_other_libraries(picture: Make) -> None:
    """0.892370 with pytorch-msssim 1.0.0 and with piq 0.8.0, data_range=255."""
    pixels = picture(192, 256).pixels
    assert ms_ssim(pixels, noisy(pixels, 60)) == pytest.approx(0.892370, abs=2e-5)


def test_ms_ssim_does_not_exist_below_161_pixels(picture: Make) -> None:
    small, smallest = picture(160, 400).pixels, picture(161, 161).pixels
    assert ms_ssim(small, small) is None
    assert ms_ssim(smallest, smallest) is not None


def test_ms_ssim_of_a_negative_is_0_and_not_an_error(picture: Make) -> None:
    pixels = picture(176, 176).pixels
    assert ms_ssim(pixels, 255 - pixels) == 0


def test_one_scale_is_the_ssim_of_scikit_image(picture: Make) -> None:
    import torch

    pixels = picture(64, 80).pixels[..., 0]
    decoded = noisy(pixels, 40)
    x, y = (torch.from_numpy(a.copy()).float()[None, None] for a in (pixels, decoded))
    luminance, contrast = _similarity(x, y)
    expected = structural_similarity(
        pixels, decoded, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert float((luminance * contrast).mean()) == pytest.approx(expected, abs=1e-5)
