"""One halving and one doubling of a picture, which begin as a wavelet and are trained from there.

The wavelet is that of Cohen, Daubechies and Feauveau with 9 and 7 taps, by lifting (Daubechies and
Sweldens 1998), as in JPEG 2000. Both ways are a single convolution over 5x5 positions of half the
resolution, in which it fits.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnicodec.models.inr.exact_kernels import Ints, extend

TAPS: Final = 5
"""Positions of half the resolution, a side, that a result sees."""

_STEPS: Final = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
_GAIN: Final = 1.149604398860241


def halving() -> Tensor:
    """Return kernels `(4, 4, 5, 5)` from a plane's four phases to its bands L, H, V and D.

    Phases are in the order of `pixel_unshuffle`: by row, then by column.
    """
    return _both(_taps(_split))


def doubling() -> Tensor:
    """Return kernels `(4, 4, 5, 5)` from the bands L, H, V and D to the four phases."""
    return _both(_taps(_merge))


def mirrored(planes: Tensor) -> Tensor:
    """Return planes `(B, C, h, w)` with 4 samples more on all sides, mirrored at the last ones."""
    for along in (2, 3):
        size = planes.shape[along]
        period = max(1, 2 * (size - 1))
        index = torch.arange(1 - TAPS, size + TAPS - 1, device=planes.device).remainder(period)
        planes = planes.index_select(
            along, torch.minimum(index, period - index).clamp(max=size - 1)
        )
    return planes


def extended(picture: Tensor, bands: Tensor) -> Tensor:
    """Return a small picture and its bands, `(B, C, h + 4, w + 4)`: L, then all H, all V, all D.

    Beyond the edges stands what the transform of a mirrored picture has there: low samples lie on
    the first row, high ones on the last. `bands` has H, V and D of each colour in turn.
    """
    kinds = (picture, bands[:, 0::3], bands[:, 1::3], bands[:, 2::3])
    parts = [
        _mirrored(_mirrored(part, 2, high=kind > 1), 3, high=kind % 2 == 1)
        for kind, part in enumerate(kinds)
    ]
    return torch.cat(parts, 1).contiguous(memory_format=torch.channels_last)


def extended_exact(picture: Ints, bands: Ints) -> Ints:
    """Return what `extended` does, for arrays `(C, h, w)`."""
    height, width = picture.shape[1:]
    out = np.empty((len(picture) + len(bands), height + 4, width + 4), np.int32)
    rows, columns = (
        np.stack([_mirror(size, high=False), _mirror(size, high=True)]) for size in (height, width)
    )
    extend(picture, bands, rows, columns, out)
    return out


def _mirror(size: int, *, high: bool) -> NDArray[np.intp]:
    """Return where the samples of `extended` along one direction come from."""
    before, after = ((1, 0), (size - 2, size - 3)) if high else ((2, 1), (size - 1, size - 2))
    index: NDArray[np.intp] = np.clip([*before, *range(size), *after], 0, size - 1)
    return index


def _mirrored(x: Tensor, along: int, *, high: bool) -> Tensor:
    index = torch.from_numpy(_mirror(x.shape[along], high=high)).to(x.device)
    return x.index_select(along, index)


def _both(taps: NDArray[np.float64]) -> Tensor:
    """Return taps `(to, from, 5)` of one direction as kernels of both."""
    kernels = np.einsum("abi,cdj->acbdij", taps, taps).reshape(4, 4, TAPS, TAPS)
    return torch.from_numpy(kernels).float()


def _taps(function: object) -> NDArray[np.float64]:
    """Return `(to, from, 5)`: what a result sees of its five neighbours in two sequences."""
    assert callable(function)
    size, middle = 32, 16
    taps = np.zeros((2, 2, TAPS))
    for source in (0, 1):
        pair = np.zeros((2, size))
        pair[source, middle] = 1
        taps[:, source] = function(pair)[:, middle - 2 : middle + 3][:, ::-1]
    return taps


def _split(pair: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return low and high halves of even and odd samples."""
    even, odd = pair.copy()
    for k, step in enumerate(_STEPS):
        if k % 2 == 0:
            odd += step * (even + np.roll(even, -1))
        else:
            even += step * (odd + np.roll(odd, 1))
    # Scaled to be as close to orthonormal as it gets: a flat signal of 1 becomes the root of 2.
    return np.stack([even * _GAIN, -odd / _GAIN])


def _merge(pair: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undo `_split`."""
    even, odd = pair[0] / _GAIN, -pair[1] * _GAIN
    for k in (3, 2, 1, 0):
        if k % 2 == 0:
            odd -= _STEPS[k] * (even + np.roll(even, -1))
        else:
            even -= _STEPS[k] * (odd + np.roll(odd, 1))
    return np.stack([even, odd])
