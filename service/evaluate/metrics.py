"""How close a decoded picture is to its original."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

MS_SSIM_SIDE: Final = 161
"""The shortest side in pixels that MS-SSIM is defined for: 11 at the smallest scale."""

_PEAK: Final = 255.0
_WEIGHTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_C1: Final = (0.01 * _PEAK) ** 2
_C2: Final = (0.03 * _PEAK) ** 2


def psnr(original: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio in dB over all samples of two 8-bit pictures.

    The squared error is averaged over pixels and channels together. Equal pictures give
    infinity.
    """
    error = original.astype(np.int32) - decoded
    mse = float(np.mean(np.square(error), dtype=np.float64))
    return math.inf if mse == 0 else 10 * math.log10(_PEAK**2 / mse)


def ms_ssim(original: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float | None:
    """Return the multi-scale structural similarity of two uint8 `(H, W, 3)` pictures.

    1 for equal pictures; None where a side is under 161 pixels. After Wang, Simoncelli and
    Bovik, "Multiscale structural similarity for image quality assessment" (2003): 5 scales,
    Gaussian windows of 11x11 with sigma 1.5 inside the picture, K1 = 0.01, K2 = 0.03; each
    channel of RGB on its own, then their mean. An odd last row or column is averaged with
    itself when the scale is halved, as in TensorFlow; libraries that pad with zeros there
    differ from this, and from each other, by some 0.001 for odd sizes.
    """
    if min(original.shape[:2]) < MS_SSIM_SIDE:
        return None
    import torch

    values = []
    for channel in range(original.shape[2]):  # one at a time: large pictures need the memory
        x, y = (
            torch.from_numpy(np.ascontiguousarray(a[..., channel])).float()[None, None]
            for a in (original, decoded)
        )
        values.append(_multi_scale(x, y))
    return sum(values) / len(values)


def _multi_scale(x: Tensor, y: Tensor) -> float:
    """Return the MS-SSIM of two planes, float `(1, 1, H, W)` in 0 to 255."""
    import torch
    from torch.nn import functional as F

    product = 1.0
    with torch.inference_mode():
        for scale, weight in enumerate(_WEIGHTS):
            if scale:
                x, y = (F.avg_pool2d(a, 2, ceil_mode=True) for a in (x, y))
            luminance, contrast = _similarity(x, y)
            last = scale == len(_WEIGHTS) - 1
            value = float((luminance * contrast if last else contrast).mean())
            # A negative correlation has no real power; it counts as no similarity at all.
            product *= max(0.0, value) ** weight
    return product


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return SSIM's maps of luminance, and of contrast and structure, of `(1, 1, H, W)`."""
    import torch
    from torch.nn import functional as F

    taps = torch.exp(-((torch.arange(11.0) - 5) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()
    planes = torch.cat([x, y, x * x, y * y, x * y])
    planes = F.conv2d(F.conv2d(planes, taps.view(1, 1, 11, 1)), taps.view(1, 1, 1, 11))
    mean_x, mean_y, xx, yy, xy = planes.chunk(5)
    product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    luminance = (2 * product + _C1) / (squares + _C1)
    contrast = (2 * (xy - product) + _C2) / (xx + yy - squares + _C2)
    return luminance, contrast
